//! Intervals for shares, tests on counts, comparisons of samples (distributions by statrs).

use ndarray::{ArrayView1, ArrayView2, Axis};
use statrs::distribution::{Beta, ChiSquared, ContinuousCDF, Discrete, Hypergeometric};
use statrs::function::beta::checked_beta_reg;
use statrs::function::erf::erfc;

use super::linalg;

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

/// Fisher's exact test, two-sided, that two shares are one: `hits` of `runs` each. The p-value is the probability, given
/// all hits, of every split at most as likely as this one.
pub fn fisher(hits: [usize; 2], runs: [usize; 2]) -> f64 {
    let (all, total) = (runs[0] + runs[1], hits[0] + hits[1]);
    let Ok(law) = Hypergeometric::new(all as u64, total as u64, runs[0] as u64) else { return f64::NAN };
    let own = law.ln_pmf(hits[0] as u64);
    let splits = total.saturating_sub(runs[1])..=total.min(runs[0]);
    let rounding = 1e-7;
    let likely = splits.map(|x| law.ln_pmf(x as u64)).filter(|&p| p <= own + rounding);
    likely.map(f64::exp).sum::<f64>().min(1.0)
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

/// Probability that a standard normal is farther from 0 than z; relative error below 1e-9 down to the smallest doubles.
pub fn two_sided_normal(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// Probability that Student's t with these degrees of freedom is farther from 0 than t. Few runs make a standard error
/// uncertain itself: with 32 of them the normal law calls 1 in 3000 what is 1 in 900.
pub fn two_sided_t(t: f64, degrees: f64) -> f64 {
    // Beyond, the two differ by less than 1e-3 relative out to |t| = 8.
    if degrees > 1e6 || t == 0.0 {
        return two_sided_normal(t);
    }
    if !t.is_finite() {
        return if t.is_nan() { f64::NAN } else { 0.0 };
    }
    checked_beta_reg(degrees / 2.0, 0.5, degrees / (degrees + t * t)).unwrap_or(f64::NAN)
}

/// Hotelling's test that the mean of a sample of vectors is the expected one: `rows` holds one sample per row (runs x
/// entries, all finite). One p-value for all entries together, by the law of F; it sees shifts along directions in which the
/// sample hardly varies, which the entries one by one do not.
///
/// Directions without variance (conserved combinations) are left out; 1 when none remains or there are too few runs.
pub fn hotelling(rows: ArrayView2<f64>, expected: &[f64]) -> f64 {
    let (runs, entries) = rows.dim();
    if runs <= entries + 1 {
        return 1.0;
    }
    let n = runs as f64;
    let mean = rows.sum_axis(Axis(0)) / n;
    let centred = &rows - &mean;
    // In units of the standard deviations, so that the cut below means the same for every entry.
    let mut scale = centred.map_axis(Axis(0), |column| (column.dot(&column) / (n - 1.0)).sqrt());
    scale.zip_mut_with(&mean, |scale, mean| *scale = scale.max(1e-9 * mean.abs()).max(f64::MIN_POSITIVE));
    let centred = centred / &scale;
    let shift = (&mean - &ArrayView1::from(expected)) / &scale;
    let Ok((values, vectors)) = linalg::eigh((centred.t().dot(&centred) / (n - 1.0)).view()) else { return 1.0 };
    let largest = linalg::max_abs(&values);
    let along = vectors.t().dot(&shift);
    let kept: Vec<usize> = (0..entries).filter(|&i| values[i] > 1e-9 * largest).collect();
    let p = kept.len() as f64;
    let square: f64 = kept.iter().map(|&i| along[i] * along[i] / values[i]).sum();
    if kept.is_empty() || !square.is_finite() {
        return 1.0;
    }
    // F = n (n - p) square / (p (n - 1)) with p and n - p degrees of freedom: its upper tail as a beta function.
    let f = n * (n - p) / (p * (n - 1.0)) * square;
    checked_beta_reg(0.5 * (n - p), 0.5 * p, (n - p) / (n - p + p * f)).unwrap_or(f64::NAN)
}

/// Holm's step-down adjustment: p-values of a family of tests, to be compared with the level of the whole family, whatever
/// the dependence between the tests. Values that are no numbers stay so and count as no tests.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).filter(|&i| !p_values[i].is_nan()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]));
    let mut adjusted = vec![f64::NAN; p_values.len()];
    let mut least: f64 = 0.0;
    for (rank, &i) in order.iter().enumerate() {
        least = least.max((order.len() - rank) as f64 * p_values[i]).min(1.0);
        adjusted[i] = least;
    }
    adjusted
}

/// The smallest of Holm's adjusted p-values: that of the family. 1 for no tests.
pub fn holm_smallest(p_values: &[f64]) -> f64 {
    holm(p_values).into_iter().filter(|p| !p.is_nan()).fold(1.0, f64::min)
}

/// A statistic that is about standard normal when there is no difference, and its two-sided p-value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    pub z: f64,
    pub p_value: f64,
}

/// Size and central moments of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub size: usize,
    pub mean: f64,
    /// Divided by size - 1.
    pub variance: f64,
    /// Mean fourth power of the deviation from the mean.
    pub fourth: f64,
}

impl Sample {
    /// Moments of these values; NaN where there are too few.
    pub fn new(values: impl Iterator<Item = f64> + Clone) -> Sample {
        let size = values.clone().count();
        let n = size as f64;
        let mean = values.clone().sum::<f64>() / n;
        let power = |p: i32| values.clone().map(|x| (x - mean).powi(p)).sum::<f64>();
        Sample { size, mean, variance: power(2) / (n - 1.0), fourth: power(4) / n }
    }

    /// Standard error of the mean.
    pub fn standard_error(&self) -> f64 {
        (self.variance / self.size as f64).sqrt()
    }

    /// Whether the mean is `expected`: Student's t. A sample without spread agrees up to `rounding`.
    pub fn against(&self, expected: f64, rounding: f64) -> Test {
        let difference = self.mean - expected;
        self::quotient(difference, self.standard_error(), (self.size - self.size.min(1)) as f64, rounding)
    }

    /// Whether two means are equal: Welch's t, degrees of freedom by Satterthwaite.
    pub fn compare_means(&self, other: &Sample, rounding: f64) -> Test {
        let [first, second] = [self, other].map(|s| s.variance / s.size as f64);
        let degrees = (first + second).powi(2)
            / (first * first / (self.size as f64 - 1.0) + second * second / (other.size as f64 - 1.0));
        quotient(self.mean - other.mean, (first + second).sqrt(), degrees, rounding)
    }

    /// Whether two variances are equal: the difference of their logarithms over its standard error, whose square is
    /// (kurtosis - 1) / (size - 1) for each sample, with the kurtosis of both together. The logarithm takes away most of the
    /// skewness, the kurtosis what normality would assume. It is taken as 3, the normal law's, where it is found below: few
    /// values underestimate it. Samples without spread are taken as equal.
    pub fn compare_variances(&self, other: &Sample) -> Test {
        let degrees = |s: &Sample| s.size as f64 - 1.0;
        if self.variance == 0.0 && other.variance == 0.0 {
            return Test { z: 0.0, p_value: 1.0 };
        }
        let total = degrees(self) + degrees(other);
        // Each sample in units of its own deviation: under the alternative too, the kurtosis is that of the shape.
        let kurtosis = [self, other].map(|s| degrees(s) * s.fourth / s.variance.powi(2)).iter().sum::<f64>() / total;
        let error = ((kurtosis.max(3.0) - 1.0) * (1.0 / degrees(self) + 1.0 / degrees(other))).sqrt();
        quotient((self.variance / other.variance).ln(), error, total, 0.0)
    }
}

fn quotient(difference: f64, error: f64, degrees: f64, rounding: f64) -> Test {
    if difference.abs() <= rounding {
        return Test { z: 0.0, p_value: 1.0 };
    }
    let z = difference / error;
    Test { z, p_value: two_sided_t(z, degrees) }
}

/// A slope with its standard error, from points whose y have known standard errors.
pub fn line_fit_with_errors(x: &[f64], y: &[f64], errors: &[f64]) -> (f64, f64) {
    let (slope, _) = line_fit(x, y);
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let squares: f64 = x.iter().map(|x| (x - mean).powi(2)).sum();
    let variance: f64 = x.iter().zip(errors).map(|(x, e)| ((x - mean) / squares * e).powi(2)).sum();
    (slope, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::random;
    use rand::Rng;

    /// Fisher's tea tasting: 3 of 4 against 1 of 4 has p = 34/70. By hand: 0 of 5 against 5 of 5 has p = 2/252.
    #[test]
    fn fisher_is_exact() {
        assert!((fisher([3, 1], [4, 4]) - 34.0 / 70.0).abs() < 1e-12);
        assert!((fisher([0, 5], [5, 5]) - 2.0 / 252.0).abs() < 1e-12);
        assert_eq!(fisher([0, 0], [10, 20]), 1.0);
        // Near the chi-square test at large counts.
        let (exact, chi) = (fisher([1325, 1412], [10_000; 2]), homogeneity(&[1325, 8675], &[1412, 8588]).p_value);
        assert!((exact / chi - 1.0).abs() < 0.1, "{exact} {chi}");
    }

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
    fn tails_are_accurate_far_out() {
        // 35-digit values of erfc(z / sqrt 2).
        for (z, expected) in [(0.0, 1.0), (1.96, 0.04999579029644087), (10.0, 1.523970604832105e-23)] {
            assert!((two_sided_normal(z) / expected - 1.0).abs() < 1e-9, "{z}: {}", two_sided_normal(z));
        }
        // Closed forms at 1 and 2 degrees of freedom; the normal law at many.
        assert!((two_sided_t(1.0, 1.0) - 0.5).abs() < 1e-9);
        let t = 1e4f64;
        assert!((two_sided_t(t, 2.0) * t * t - 1.0).abs() < 1e-6);
        assert!((two_sided_t(5.0, 1e6) / two_sided_normal(5.0) - 1.0).abs() < 1e-3);
        assert_eq!(two_sided_t(f64::INFINITY, 3.0), 0.0);
    }

    #[test]
    fn holm_by_hand() {
        let adjusted = holm(&[0.01, 0.04, f64::NAN, 0.03, 0.005]);
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, f64::NAN, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-15 || expected.is_nan() && found.is_nan(), "{adjusted:?}");
        }
        assert_eq!(holm(&[0.9, 0.6]), vec![1.0, 1.0]);
        assert_eq!(holm_smallest(&[]), 1.0);
    }

    /// A pair for each comparison: families of 20 tests on 32 or 200 runs are rejected about as often as the level says; a
    /// mean off by a third of a deviation and a variance off by a third are rejected.
    #[test]
    fn comparisons_hold_their_level_and_see_a_difference() {
        use rand_distr::StandardNormal;
        let draw = |seed: u64, n: usize, shift: f64, scale: f64| {
            let mut rng = random::stream(seed, &[10]);
            let values: Vec<f64> = (0..n).map(|_| shift + scale * rng.sample::<f64, _>(StandardNormal)).collect();
            Sample::new(values.iter().copied())
        };
        for n in [32, 200] {
            let mut rejected = [0; 3];
            for family in 0..500u64 {
                let pairs = || {
                    (0..20)
                        .map(move |i| family * 40 + 2 * i)
                        .map(|s| (draw(s, n, 0.0, 1.0), draw(s + 1, 2 * n, 0.0, 1.0)))
                };
                let families: [Vec<f64>; 3] = [
                    pairs().map(|(x, _)| x.against(0.0, 0.0).p_value).collect(),
                    pairs().map(|(x, y)| x.compare_means(&y, 0.0).p_value).collect(),
                    pairs().map(|(x, y)| x.compare_variances(&y).p_value).collect(),
                ];
                for (count, family) in rejected.iter_mut().zip(&families) {
                    *count += usize::from(holm_smallest(family) < 0.05);
                }
            }
            // 25 expected, standard deviation 5. The variance test is asymptotic: a third more is allowed.
            assert!(
                rejected[..2].iter().all(|&r| (8..=42).contains(&r)) && rejected[2] <= 55,
                "{n}: {rejected:?} of 500"
            );
        }
        let (plain, other) = (draw(1, 2000, 0.0, 1.0), draw(2, 2000, 0.35, 1.15));
        assert!(other.against(0.0, 0.0).p_value < 1e-9);
        assert!(plain.compare_means(&other, 0.0).p_value < 1e-9);
        assert!(plain.compare_variances(&other).p_value < 1e-6);
        let still = Sample::new([2.0, 2.0].into_iter());
        assert_eq!(still.against(2.0 + 1e-14, 1e-12).p_value, 1.0);
        assert_eq!(still.against(2.1, 1e-12).p_value, 0.0);
    }

    #[test]
    fn slope_error_by_hand() {
        let (slope, error) = line_fit_with_errors(&[0.0, 2.0], &[1.0, 0.0], &[0.3, 0.4]);
        assert!((slope + 0.5).abs() < 1e-15 && (error - 0.25).abs() < 1e-15);
    }

    #[test]
    fn line_fit_is_exact_on_a_line() {
        let (slope, intercept) = line_fit(&[0.0, 1.0, 3.0], &[1.0, -1.0, -5.0]);
        assert!((slope + 2.0).abs() < 1e-14 && (intercept - 1.0).abs() < 1e-14);
    }

    /// A pair: the right mean is refused as often as the level says; a shift of a tenth of a standard deviation along the
    /// difference of two nearly equal entries, far below the errors of the entries themselves, is seen.
    #[test]
    fn hotelling_holds_its_level_and_sees_small_directions() {
        let sample = |seed: u64, shift: f64| {
            let mut rng = random::stream(seed, &[11]);
            let mut rows = ndarray::Array2::<f64>::zeros((200, 3));
            for mut row in rows.rows_mut() {
                let normal = |rng: &mut rand_chacha::ChaCha8Rng| -> f64 { rng.sample(rand_distr::StandardNormal) };
                let common = normal(&mut rng);
                let small = 1e-3 * normal(&mut rng);
                (row[0], row[1], row[2]) = (common, common + small + shift, normal(&mut rng));
            }
            rows
        };
        let p = |seed: u64, shift: f64| hotelling(sample(seed, shift).view(), &[0.0; 3]);
        let refused = (0..400).filter(|&seed| p(seed, 0.0) < 0.05).count();
        assert!((8..=35).contains(&refused), "refused {refused} of 400 at level 0.05");
        assert!(p(1, 1e-3) < 1e-12, "{}", p(1, 1e-3));
        let alone = Sample::new(sample(1, 1e-3).column(1).to_vec().into_iter()).against(0.0, 0.0);
        assert!(alone.p_value > 1e-3);
        // A conserved entry is left out.
        let mut constant = sample(2, 0.0);
        constant.column_mut(2).fill(0.7);
        assert!(hotelling(constant.view(), &[0.0, 0.0, 0.7]) > 1e-3);
        assert_eq!(hotelling(sample(3, 0.0).slice(ndarray::s![..4, ..]), &[0.0; 3]), 1.0);
    }
}
