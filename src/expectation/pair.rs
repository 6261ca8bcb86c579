//! Two Gaussian fields: norms and angle, accurate also when they are (anti)parallel.

use std::f64::consts::PI;

/// Geometry of two fields u.x, v.x: standard deviations |u|, |v| and the angle theta between u and v.
///
/// A zero field has no angle; the convention is theta = pi/2, and every average multiplies it by the zero norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    pub norm_u: f64,
    pub norm_v: f64,
    /// Correlation cos theta.
    pub cosine: f64,
    /// sin theta, relative accuracy 1e-15 also near 0 and pi when made from vectors.
    pub sine: f64,
    /// pi - theta, relative accuracy 1e-15 also near theta = pi when made from vectors.
    pub supplement: f64,
}

impl Pair {
    /// From the vectors themselves: half-chords |u^ - v^|, |u^ + v^| give the angle without cancellation
    /// (theory 02, eq. 02-chord). u and v have equal length.
    pub fn from_vectors(u: &[f64], v: &[f64]) -> Pair {
        let (norm_u, norm_v) = (norm(u), norm(v));
        if norm_u == 0.0 || norm_v == 0.0 {
            return Pair::undefined(norm_u, norm_v);
        }
        let along: f64 = u.iter().zip(v).map(|(a, b)| (a / norm_u) * (b / norm_v)).sum();
        let (mut minus, mut plus) = (0.0, 0.0);
        for (a, b) in u.iter().zip(v) {
            let (a, b) = (a / norm_u, b / norm_v);
            minus += (a - b) * (a - b);
            plus += (a + b) * (a + b);
        }
        let chord = nearer_chord(u, v, norm_u, norm_v, if along >= 0.0 { minus } else { plus });
        Pair::from_chord(norm_u, norm_v, chord, along < 0.0)
    }

    /// As [`Pair::from_vectors`] for coordinates (entry of u, entry of v, number of such coordinates). The numbers may be
    /// negative as long as the squared norms are not.
    pub fn from_counted(vectors: &[[f64; 3]]) -> Pair {
        let square = |a: usize| vectors.iter().map(|p| p[a] * p[a] * p[2]).sum::<f64>().max(0.0).sqrt();
        let (norm_u, norm_v) = (square(0), square(1));
        if norm_u == 0.0 || norm_v == 0.0 {
            return Pair::undefined(norm_u, norm_v);
        }
        let (mut along, mut minus, mut plus) = (0.0, 0.0, 0.0);
        for [a, b, n] in vectors {
            let (a, b) = (a / norm_u, b / norm_v);
            along += n * a * b;
            minus += n * (a - b) * (a - b);
            plus += n * (a + b) * (a + b);
        }
        let squared = if along >= 0.0 { minus } else { plus };
        let chord = if squared > 0.01 {
            squared.sqrt()
        } else {
            let mut sum = 0.0;
            for (i, p) in vectors.iter().enumerate() {
                for q in &vectors[..i] {
                    let cross = difference_of_products(p[0], q[1], q[0], p[1]) / norm_u / norm_v;
                    sum += p[2] * q[2] * cross * cross;
                }
            }
            chord_of_sine(sum.max(0.0).sqrt())
        };
        Pair::from_chord(norm_u, norm_v, chord, along < 0.0)
    }

    /// From the covariances C_uu, C_vv, C_uv. The angle is as good as the correlation allows: absolute error about
    /// 1e-16 / sin theta.
    pub fn from_covariance(c_uu: f64, c_vv: f64, c_uv: f64) -> Pair {
        let (norm_u, norm_v) = (c_uu.max(0.0).sqrt(), c_vv.max(0.0).sqrt());
        if norm_u == 0.0 || norm_v == 0.0 {
            return Pair::undefined(norm_u, norm_v);
        }
        let cosine = (c_uv / (norm_u * norm_v)).clamp(-1.0, 1.0);
        let sine = ((1.0 - cosine) * (1.0 + cosine)).sqrt();
        Pair { norm_u, norm_v, cosine, sine, supplement: sine.atan2(-cosine) }
    }

    fn undefined(norm_u: f64, norm_v: f64) -> Pair {
        Pair { norm_u, norm_v, cosine: 0.0, sine: 1.0, supplement: PI / 2.0 }
    }

    /// From the chord |u^ -+ v^| to the nearer of +-v^, at most sqrt 2.
    fn from_chord(norm_u: f64, norm_v: f64, chord: f64, obtuse: bool) -> Pair {
        let half = 0.5 * chord;
        let acute = 2.0 * half.min(1.0).asin();
        let sine = chord * ((1.0 - half) * (1.0 + half)).max(0.0).sqrt();
        let cosine = 1.0 - 2.0 * half * half;
        if obtuse {
            Pair { norm_u, norm_v, cosine: -cosine, sine, supplement: acute }
        } else {
            Pair { norm_u, norm_v, cosine, sine, supplement: PI - acute }
        }
    }

    /// Covariance C_uv = |u| |v| cos theta.
    pub fn covariance(&self) -> f64 {
        self.norm_u * self.norm_v * self.cosine
    }
}

/// Euclidean norm without overflow or underflow.
pub fn norm(u: &[f64]) -> f64 {
    let largest = u.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    if (1e-140..1e140).contains(&largest) {
        return u.iter().map(|x| x * x).sum::<f64>().sqrt();
    }
    largest * u.iter().map(|x| (x / largest) * (x / largest)).sum::<f64>().sqrt()
}

/// Chord between u^ and the nearer of +-v^, from its square where that is large. Below 0.1 the rounding of the unit
/// vectors would show at relative size 1e-16 / chord; the cross components u_i v_j - u_j v_i are free of it.
fn nearer_chord(u: &[f64], v: &[f64], norm_u: f64, norm_v: f64, squared: f64) -> f64 {
    if squared > 0.01 {
        return squared.sqrt();
    }
    let mut sum = 0.0;
    for i in 0..u.len() {
        for j in 0..i {
            let cross = difference_of_products(u[i], v[j], u[j], v[i]) / norm_u / norm_v;
            sum += cross * cross;
        }
    }
    chord_of_sine(sum.sqrt())
}

/// chord = 2 sin(theta / 2) with sin theta = |u x v| / (|u| |v|), theta acute.
fn chord_of_sine(sine: f64) -> f64 {
    2.0 * (0.5 * sine.min(1.0).asin()).sin()
}

/// a b - c d with one rounding error of the result's own size (Kahan).
fn difference_of_products(a: f64, b: f64, c: f64, d: f64) -> f64 {
    let product = c * d;
    let error = (-c).mul_add(d, product);
    a.mul_add(b, -product) + error
}
