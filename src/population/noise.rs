//! Second moments of the one-sample gradient: what a finite learning rate adds to the equations.
//!
//! N_ik = E[e^2 g'(lambda_i) g'(lambda_k)] is a sum over pairs of units of four-field averages. Each set of units whose
//! fields are all positive enters several of them, so the sum runs over distinct sets of at most four units, every
//! orthant probability being computed once (theory 06, eq. 06-sets). Sets of four go through the vectorised kernel in
//! blocks, on all threads of the current pool when there are many.

use ndarray::Array2;
use rayon::prelude::*;

use super::Fields;
use super::activation_noise::{erf_moment_growth, erf_moments, erf_step_growth, leaky_moments, linear_moments};
use crate::expectation::orthant::{self, Quadruples};
use crate::expectation::quadruple::{self, three_moments, two_moments};
use crate::expectation::{Averages, Erf, Leaky};
use crate::model::Activation;
use crate::numerics::level::Level;

/// Quadruples in one block.
const LANES: usize = 8;

/// Number of sets of four above which the threads share them.
const PARALLEL: usize = 4000;

/// N_ik = E[e^2 g'(lambda_i) g'(lambda_k)], K x K, symmetric, for one task; readouts enter e only. Label noise is not
/// included. Rows of zero students are zero where g has a kink.
///
/// Absolute error about 1e-14 times the sum of |readout| |norm| squared; positive semidefinite to that error. Leaky ReLU
/// costs 16 times as much as ReLU; linear and erf need no orthants.
pub fn error_moments(fields: &Fields) -> Array2<f64> {
    error_moments_with(fields, Level::best())
}

/// As [`error_moments`] on a chosen instruction set; the result is the same to the last bit.
pub fn error_moments_with(fields: &Fields, level: Level) -> Array2<f64> {
    match fields.activation() {
        Activation::Relu => ramp_moments(fields, level),
        Activation::LeakyRelu { slope } => leaky_moments(fields, slope, level),
        Activation::Linear => linear_moments(fields),
        Activation::Erf => erf_moments(fields),
    }
}

/// From these moments N at d = infinity, those of inputs in d dimensions: E[e^2 g'_i g'_k |x|^2] / d (theory 11, eq.
/// 11-length).
pub fn error_moments_at(moments: Array2<f64>, fields: &Fields, inverse_dimension: f64) -> Array2<f64> {
    match fields.activation() {
        _ if inverse_dimension == 0.0 => moments,
        Activation::Erf => moments + erf_moment_growth(fields) * (2.0 * inverse_dimension),
        _ => moments * (1.0 + 2.0 * inverse_dimension),
    }
}

/// As [`error_moments_at`] for [`step_moments`]: E[g'_i g'_k |x|^2] / d.
pub fn step_moments_at(fields: &Fields, inverse_dimension: f64) -> Array2<f64> {
    let moments = step_moments(fields);
    match fields.activation() {
        Activation::Erf if inverse_dimension > 0.0 => moments + erf_step_growth(fields) * (2.0 * inverse_dimension),
        _ => moments,
    }
}

/// N for ReLU.
pub(super) fn ramp_moments(fields: &Fields, level: Level) -> Array2<f64> {
    let (k, units) = (fields.students(), fields.units());
    let alive: Vec<usize> = (0..units).filter(|&u| fields.norm(u) > 0.0).collect();
    let students = alive.iter().filter(|&&u| u < k).count();
    let pairs: Vec<(usize, usize)> = (0..students).flat_map(|i| (i + 1..students).map(move |j| (i, j))).collect();
    let work = |&(_, second): &(usize, usize)| {
        let rest = alive.len() - second - 1;
        rest * rest.saturating_sub(1) / 2
    };
    let sets = Sets { fields, alive: &alive, students };
    // Parts of equal work, always the same ones: the sum does not depend on the number of threads.
    let total: usize = pairs.iter().map(work).sum();
    let mut parts: Vec<Vec<(usize, usize)>> = vec![Vec::new()];
    let share = total.div_ceil(32).max(512);
    let mut filled = 0;
    for pair in &pairs {
        if filled >= share {
            parts.push(Vec::new());
            filled = 0;
        }
        filled += work(pair);
        if let Some(part) = parts.last_mut() {
            part.push(*pair);
        }
    }
    let run = |part: &Vec<(usize, usize)>| {
        let mut moments = vec![0.0; students * students];
        sets.four(level, part, &mut moments);
        moments
    };
    let partial: Vec<Vec<f64>> =
        if total > PARALLEL { parts.par_iter().map(run).collect() } else { parts.iter().map(run).collect() };
    let mut sum = vec![0.0; students * students];
    sets.at_most_three(&mut sum);
    for part in &partial {
        sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
    }
    let mut moments = Array2::zeros((k, k));
    for i in 0..students {
        for j in i..students {
            moments[[alive[i], alive[j]]] = sum[i * students + j];
            moments[[alive[j], alive[i]]] = sum[i * students + j];
        }
    }
    moments
}

/// E[g'(lambda_i) g'(lambda_k)], K x K: what label noise of variance 1 adds. Rows of zero students are zero where g has a
/// kink.
pub fn step_moments(fields: &Fields) -> Array2<f64> {
    let k = fields.students();
    match fields.activation().negative_slope() {
        Some(0.0) => {}
        Some(slope) => {
            return Array2::from_shape_fn((k, k), |(i, j)| {
                let alive = fields.is_alive(i) && fields.is_alive(j);
                if alive { Leaky { slope }.pair(&fields.pair(i, j)).d_uv } else { 0.0 }
            });
        }
        None => return Array2::from_shape_fn((k, k), |(i, j)| Erf.pair(&fields.pair(i, j)).d_uv),
    }
    Array2::from_shape_fn((k, k), |(i, j)| {
        if fields.norm(i) == 0.0 || fields.norm(j) == 0.0 {
            0.0
        } else if i == j {
            0.5
        } else {
            orthant::p2(fields.link(i, j).a)
        }
    })
}

/// Sets of units with non-zero norm, students first; moments are students x students, upper triangle, in that numbering.
struct Sets<'a> {
    fields: &'a Fields,
    alive: &'a [usize],
    students: usize,
}

impl Sets<'_> {
    fn link(&self, i: usize, j: usize) -> &orthant::Link {
        self.fields.link(self.alive[i], self.alive[j])
    }

    /// Readout times norm.
    fn strength(&self, i: usize) -> f64 {
        self.fields.readout(self.alive[i]) * self.fields.norm(self.alive[i])
    }

    /// Sets of one, two and three units.
    fn at_most_three(&self, moments: &mut [f64]) {
        let (k, units) = (self.students, self.alive.len());
        let strengths: Vec<f64> = (0..units).map(|u| self.strength(u)).collect();
        let mut add = |i: usize, j: usize, x: f64| moments[i.min(j) * k + i.max(j)] += x;
        for i in 0..k {
            let c = strengths[i];
            add(i, i, 0.5 * c * c);
            for j in i + 1..units {
                let d = strengths[j];
                let [square, product] = two_moments(self.link(i, j));
                add(i, i, d * d * square + 2.0 * c * d * product);
                if j < k {
                    add(j, j, c * c * square + 2.0 * c * d * product);
                    add(i, j, (c * c + d * d) * square + 2.0 * c * d * product);
                }
                for l in j + 1..units {
                    let e = strengths[l];
                    let [ii, jj, ll, ij, il, jl] = three_moments(self.link(i, j), self.link(i, l), self.link(j, l));
                    let (ij, il, jl) = (2.0 * c * d * ij, 2.0 * c * e * il, 2.0 * d * e * jl);
                    add(i, i, jl);
                    if j < k {
                        add(j, j, il);
                        add(i, j, e * e * ll + il + jl);
                    }
                    if l < k {
                        add(l, l, ij);
                        add(i, l, d * d * jj + ij + jl);
                        add(j, l, c * c * ii + ij + il);
                    }
                }
            }
        }
    }

    /// Sets of four whose two first members are these pairs of students.
    fn four(&self, level: Level, pairs: &[(usize, usize)], moments: &mut [f64]) {
        match level {
            Level::Baseline => self.four_body(pairs, moments),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level above the baseline is only made by `Level::available` after detection of its features.
            Level::Avx2 => unsafe { self.four_avx2(pairs, moments) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx512 => unsafe { self.four_avx512(pairs, moments) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => self.four_body(pairs, moments),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn four_avx2(&self, pairs: &[(usize, usize)], moments: &mut [f64]) {
        self.four_body(pairs, moments);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    unsafe fn four_avx512(&self, pairs: &[(usize, usize)], moments: &mut [f64]) {
        self.four_body(pairs, moments);
    }

    #[inline(always)]
    fn four_body(&self, pairs: &[(usize, usize)], moments: &mut [f64]) {
        let units = self.alive.len();
        let strengths: Vec<f64> = (0..units).map(|u| self.strength(u)).collect();
        // One open block for each of the two ways to P4.
        let mut blocks = [Quadruples::<LANES>::ZERO; 2];
        let mut members = [[[0usize; 4]; LANES]; 2];
        let mut filled = [0; 2];
        for &(i, j) in pairs {
            for l in j + 1..units {
                for m in l + 1..units {
                    let links = [(i, j), (i, l), (i, m), (j, l), (j, m), (l, m)].map(|(i, j)| self.link(i, j));
                    let weak = usize::from(orthant::is_weak(links.map(|link| link.r)));
                    for (p, link) in links.into_iter().enumerate() {
                        blocks[weak].set(filled[weak], p, link);
                    }
                    members[weak][filled[weak]] = [i, j, l, m];
                    filled[weak] += 1;
                    if filled[weak] == LANES {
                        self.add_block(&strengths, weak == 1, &blocks[weak], &members[weak], moments);
                        filled[weak] = 0;
                    }
                }
            }
        }
        for weak in [0, 1] {
            self.add_block(&strengths, weak == 1, &blocks[weak], &members[weak][..filled[weak]], moments);
        }
    }

    /// Adds one block of sets of four: for each pair of students in a set, the two others are the averaged product.
    #[inline(always)]
    fn add_block(
        &self,
        strengths: &[f64],
        weak: bool,
        block: &Quadruples<LANES>,
        members: &[[usize; 4]],
        moments: &mut [f64],
    ) {
        let k = self.students;
        if members.is_empty() {
            return;
        }
        let orthants = if weak { orthant::body_weak(block) } else { orthant::body(block) };
        for (pair, (first, second)) in orthant::PAIRS.into_iter().enumerate() {
            if !members.iter().any(|set| set[second] < k) {
                continue;
            }
            // The pair listed last to first is the complement.
            let (c, d) = orthant::PAIRS[5 - pair];
            let mut value = [0.0; LANES];
            quadruple::product(block, &orthants.p4, &orthants.given, [first, second, c, d], &mut value);
            for (set, value) in members.iter().zip(value) {
                if set[second] < k {
                    moments[set[first] * k + set[second]] += 2.0 * strengths[set[c]] * strengths[set[d]] * value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expectation::{Averages, Quad, Relu};
    use crate::model::{InitialLaw, Teacher, Weights};
    use crate::numerics::linalg;

    /// The sum over all pairs of units, each a four-field average of its own.
    fn direct(weights: &Weights, teacher: &Teacher) -> Array2<f64> {
        let (k, d) = weights.rows().dim();
        let mut units: Vec<(f64, Vec<f64>)> =
            weights.rows().rows().into_iter().zip(weights.readouts().row(0)).map(|(w, a)| (*a, w.to_vec())).collect();
        for (v, b) in teacher.vectors().rows().into_iter().zip(teacher.readouts().row(0)) {
            let mut v = v.to_vec();
            v.resize(d, 0.0);
            units.push((-b, v));
        }
        Array2::from_shape_fn((k, k), |(i, j)| {
            let mut sum = 0.0;
            for (a, u) in &units {
                for (b, v) in &units {
                    sum += a * b * Relu.quadruple(&Quad::from_vectors([&units[i].1, &units[j].1, u, v])).value;
                }
            }
            sum
        })
    }

    #[test]
    fn the_sum_over_sets_is_the_sum_over_pairs() {
        for (k, m, rho, zero) in
            [(1, 1, 0.0, false), (2, 2, 0.0, false), (4, 3, 0.4, false), (3, 5, -0.2, false), (4, 2, 0.0, true)]
        {
            let teacher = Teacher::correlated(m, rho).unwrap();
            let law = InitialLaw::new(9, 1.0, &teacher).unwrap();
            let start = law.draw(k, &teacher, 5, 0).unwrap();
            let mut rows = start.rows().clone();
            if zero {
                rows.row_mut(1).fill(0.0);
            }
            let a = Array2::from_shape_fn((1, k), |(_, i)| 1.0 - 0.3 * i as f64);
            let weights = Weights::new(rows, Some(a), &teacher).unwrap();
            let moments = error_moments(&Fields::from_weights(&weights, &teacher, 0));
            let difference = linalg::max_abs(&(&moments - &direct(&weights, &teacher)));
            assert!(difference < 1e-13, "K = {k}, M = {m}: {difference:e}");
            assert!(linalg::eigvalsh(moments.view()).unwrap()[0] > -1e-13);
        }
    }

    /// Renaming students and teachers renames N.
    #[test]
    fn permuted_units_give_the_permuted_moments() {
        let teacher = Teacher::orthonormal(3).unwrap();
        let start = InitialLaw::new(9, 1.0, &teacher).unwrap().draw(4, &teacher, 5, 0).unwrap();
        let overlaps = start.overlaps(&teacher);
        let moments = error_moments(&Fields::from_overlaps(&overlaps, &teacher, 0));
        let (students, teachers) = ([2, 0, 3, 1], [1, 2, 0]);
        let q = Array2::from_shape_fn((4, 4), |(i, j)| overlaps.q()[[students[i], students[j]]]);
        let r = Array2::from_shape_fn((4, 3), |(i, m)| overlaps.r()[[students[i], teachers[m]]]);
        let permuted = error_moments(&Fields::from_matrices(&q, &r, overlaps.readouts(), &teacher, 0));
        for i in 0..4 {
            for j in 0..4 {
                assert!((permuted[[i, j]] - moments[[students[i], students[j]]]).abs() < 1e-14);
            }
        }
        assert!((moments[[0, 1]] - moments[[2, 3]]).abs() > 1e-3);
    }

    #[test]
    fn every_level_and_any_number_of_threads_give_the_same_bits() {
        let teacher = Teacher::orthonormal(9).unwrap();
        let start = InitialLaw::new(40, 1.0, &teacher).unwrap().draw(9, &teacher, 5, 0).unwrap();
        let fields = Fields::from_weights(&start, &teacher, 0);
        let run = |threads, level| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let moments = pool.install(|| error_moments_with(&fields, level));
            moments.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        for level in Level::available() {
            for threads in [1, 2, 3] {
                assert_eq!(run(threads, level), run(1, Level::Baseline), "{level:?}, {threads} threads");
            }
        }
    }
}
