//! The two loops over d: scalar product and update, compiled for each processor level with the same bits.

use crate::numerics::level::Level;

/// Partial sums side by side: four AVX-512 registers, enough to hide the latency of an addition.
const LANES: usize = 32;

/// Coordinates handled at a time: the inputs of a chunk and one student's part of it stay in the first cache.
pub const CHUNK: usize = 1024;

/// u . x.
pub fn dot(level: Level, u: &[f64], x: &[f64]) -> f64 {
    match level {
        Level::Baseline => dot_body(u, x),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level above the baseline is only made by `Level::available` after detection of its features.
        Level::Avx2 => unsafe { dot_avx2(u, x) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 => unsafe { dot_avx512(u, x) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => dot_body(u, x),
    }
}

/// u <- s u + c v, then u . x.
pub fn update_dot(level: Level, u: &mut [f64], s: f64, c: f64, v: &[f64], x: &[f64]) -> f64 {
    match level {
        Level::Baseline => update_dot_body(u, s, c, v, x),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { update_dot_avx2(u, s, c, v, x) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 => unsafe { update_dot_avx512(u, s, c, v, x) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => update_dot_body(u, s, c, v, x),
    }
}

/// u <- s u + c v.
pub fn update(level: Level, u: &mut [f64], s: f64, c: f64, v: &[f64]) {
    match level {
        Level::Baseline => update_body(u, s, c, v),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { update_avx2(u, s, c, v) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 => unsafe { update_avx512(u, s, c, v) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => update_body(u, s, c, v),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn dot_avx2(u: &[f64], x: &[f64]) -> f64 {
    dot_body(u, x)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn dot_avx512(u: &[f64], x: &[f64]) -> f64 {
    dot_body(u, x)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn update_dot_avx2(u: &mut [f64], s: f64, c: f64, v: &[f64], x: &[f64]) -> f64 {
    update_dot_body(u, s, c, v, x)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn update_dot_avx512(u: &mut [f64], s: f64, c: f64, v: &[f64], x: &[f64]) -> f64 {
    update_dot_body(u, s, c, v, x)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn update_avx2(u: &mut [f64], s: f64, c: f64, v: &[f64]) {
    update_body(u, s, c, v);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn update_avx512(u: &mut [f64], s: f64, c: f64, v: &[f64]) {
    update_body(u, s, c, v);
}

#[inline(always)]
fn total(mut sums: [f64; LANES]) -> f64 {
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            sums[l] += sums[l + width];
        }
        width /= 2;
    }
    sums[0]
}

#[inline(always)]
fn dot_body(u: &[f64], x: &[f64]) -> f64 {
    let n = u.len().min(x.len());
    let whole = n / LANES * LANES;
    let mut sums = [0.0; LANES];
    for (u, x) in u[..whole].chunks_exact(LANES).zip(x[..whole].chunks_exact(LANES)) {
        for l in 0..LANES {
            sums[l] += u[l] * x[l];
        }
    }
    let rest: f64 = u[whole..n].iter().zip(&x[whole..n]).map(|(u, x)| u * x).sum();
    total(sums) + rest
}

#[inline(always)]
fn update_dot_body(u: &mut [f64], s: f64, c: f64, v: &[f64], x: &[f64]) -> f64 {
    let n = u.len().min(x.len()).min(v.len());
    let whole = n / LANES * LANES;
    let mut sums = [0.0; LANES];
    let blocks = u[..whole].chunks_exact_mut(LANES).zip(v[..whole].chunks_exact(LANES));
    for ((u, v), x) in blocks.zip(x[..whole].chunks_exact(LANES)) {
        for l in 0..LANES {
            u[l] = s * u[l] + c * v[l];
            sums[l] += u[l] * x[l];
        }
    }
    let mut rest = 0.0;
    for i in whole..n {
        u[i] = s * u[i] + c * v[i];
        rest += u[i] * x[i];
    }
    total(sums) + rest
}

#[inline(always)]
fn update_body(u: &mut [f64], s: f64, c: f64, v: &[f64]) {
    for (u, v) in u.iter_mut().zip(v) {
        *u = s * *u + c * v;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_gives_the_same_bits_and_the_right_numbers() {
        for n in [0, 1, 7, 32, 33, 100, 1000] {
            let wave = |phase: f64| (0..n).map(|i| (phase + 1.7 * i as f64).sin()).collect::<Vec<f64>>();
            let (u, v, x) = (wave(0.1), wave(0.2), wave(0.3));
            let run = |level| {
                let (mut first, mut second) = (u.clone(), u.clone());
                let product = update_dot(level, &mut first, 0.9, 0.3, &v, &x);
                update(level, &mut second, 0.9, 0.3, &v);
                assert_eq!(first, second);
                (dot(level, &u, &x), product, first)
            };
            let (plain, updated, new) = run(Level::Baseline);
            let exact = |u: &[f64]| u.iter().zip(&x).map(|(u, x)| u * x).sum::<f64>();
            assert!((plain - exact(&u)).abs() < 1e-11 && (updated - exact(&new)).abs() < 1e-11);
            assert!(new.iter().zip(&u).zip(&v).all(|((new, u), v)| *new == 0.9 * u + 0.3 * v));
            for level in Level::available() {
                assert_eq!(run(level), (plain, updated, new.clone()), "{level:?}, n = {n}");
            }
        }
    }
}
