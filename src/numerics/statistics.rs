//! Intervals for shares and tests on counts (distributions by statrs).

use statrs::distribution::{Beta, ChiSquared, ContinuousCDF};

/// Clopper-Pearson interval of a share: `hits` of `runs` at the given confidence (for example 0.95).
/// Exact for binomial counts; `(0, 1)` when there are no runs.
pub fn clopper_pearson(hits: usize, runs: usize, confidence: f64) -> (f64, f64) {
    let tail = (1.0 - confidence) / 2.0;
    let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map_or(f64::NAN, |law| law.inverse_cdf(p));
    let (x, n) = (hits as f64, runs as f64);
    let low = if hits == 0 { 0.0 } else { quantile(x, n - x + 1.0, tail) };
    let high = if hits >= runs { 1.0 } else { quantile(x + 1.0, n - x, 1.0 - tail) };
    (low, high)
}

/// Outcome of a chi-square test.
#[derive(Clone, Copy, Debug)]
pub struct ChiSquare {
    pub statistic: f64,
    pub degrees: usize,
    pub p_value: f64,
}

/// Chi-square test that two samples of counts come from one law (homogeneity of a 2 x n table).
///
/// Columns are merged from the right until each expected count is at least 5, so give rare outcomes last.
pub fn homogeneity(first: &[usize], second: &[usize]) -> ChiSquare {
    let total = [first.iter().sum::<usize>() as f64, second.iter().sum::<usize>() as f64];
    let smaller = total[0].min(total[1]) / (total[0] + total[1]);
    let mut columns: Vec<[f64; 2]> = Vec::new();
    let mut open = [0.0, 0.0];
    for (&x, &y) in first.iter().zip(second) {
        open = [open[0] + x as f64, open[1] + y as f64];
        if (open[0] + open[1]) * smaller >= 5.0 {
            columns.push(open);
            open = [0.0, 0.0];
        }
    }
    match columns.last_mut() {
        Some(last) => *last = [last[0] + open[0], last[1] + open[1]],
        None => columns.push(open),
    }
    let mut statistic = 0.0;
    for column in &columns {
        let share = (column[0] + column[1]) / (total[0] + total[1]);
        for side in 0..2 {
            let expected = share * total[side];
            if expected > 0.0 {
                statistic += (column[side] - expected).powi(2) / expected;
            }
        }
    }
    let degrees = columns.len().saturating_sub(1);
    ChiSquare { statistic, degrees, p_value: upper_tail(statistic, degrees) }
}

fn upper_tail(statistic: f64, degrees: usize) -> f64 {
    if degrees == 0 {
        return 1.0;
    }
    ChiSquared::new(degrees as f64).map_or(f64::NAN, |law| law.sf(statistic))
}

/// Slope and intercept of the least-squares line through points (x, y).
pub fn line_fit(x: &[f64], y: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let sxy: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
    let sxx: f64 = x.iter().map(|x| (x - mx).powi(2)).sum();
    (sxy / sxx, my - sxy / sxx * mx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::random;
    use rand::Rng;

    #[test]
    fn clopper_pearson_known_values() {
        // Closed forms at the ends: 1 - (tail)^(1/n); and the defining binomial tail sums in between.
        let (low, high) = clopper_pearson(0, 10, 0.95);
        assert_eq!(low, 0.0);
        assert!((high - (1.0 - 0.025f64.powf(0.1))).abs() < 1e-9);
        let (low, high) = clopper_pearson(3, 12, 0.95);
        let binomial = |k: usize, p: f64| {
            let choose: f64 = (0..k).map(|i| (12 - i) as f64 / (i + 1) as f64).product();
            choose * p.powi(k as i32) * (1.0 - p).powi(12 - k as i32)
        };
        let at_least: f64 = (3..=12).map(|k| binomial(k, low)).sum();
        let at_most: f64 = (0..=3).map(|k| binomial(k, high)).sum();
        assert!((at_least - 0.025).abs() < 1e-8 && (at_most - 0.025).abs() < 1e-8, "{at_least} {at_most}");
        assert_eq!(clopper_pearson(10, 10, 0.95).1, 1.0);
    }

    /// A pair: equal laws are rejected about as often as the level says, a law off by 2 points is rejected.
    #[test]
    fn homogeneity_accepts_equal_and_rejects_different_laws() {
        let draw = |seed: u64, shift: f64, n: usize| {
            let mut rng = random::stream(seed, &[9]);
            let mut counts = vec![0usize; 4];
            for _ in 0..n {
                let u: f64 = rng.random();
                let cell = if u < 0.3 + shift {
                    0
                } else if u < 0.6 {
                    1
                } else if u < 0.9 {
                    2
                } else {
                    3
                };
                counts[cell] += 1;
            }
            counts
        };
        let rejected =
            (0..200).filter(|&s| homogeneity(&draw(s, 0.0, 2000), &draw(s + 1000, 0.0, 2000)).p_value < 0.05).count();
        assert!((2..=22).contains(&rejected), "rejected {rejected} of 200 at level 0.05");
        let wrong = homogeneity(&draw(1, 0.0, 40_000), &draw(2, 0.02, 40_000));
        assert!(wrong.p_value < 1e-6, "p = {}", wrong.p_value);
    }

    #[test]
    fn rare_columns_are_merged() {
        let test = homogeneity(&[50, 50, 1, 0], &[48, 50, 0, 1]);
        assert_eq!(test.degrees, 1);
    }

    #[test]
    fn line_fit_is_exact_on_a_line() {
        let (slope, intercept) = line_fit(&[0.0, 1.0, 3.0], &[1.0, -1.0, -5.0]);
        assert!((slope + 2.0).abs() < 1e-14 && (intercept - 1.0).abs() < 1e-14);
    }
}
