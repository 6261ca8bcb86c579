//! Special functions.

/// erf x, to 1e-15 (libm; that of statrs 0.19 is good to 6e-11 only).
#[inline]
pub fn erf(x: f64) -> f64 {
    libm::erf(x)
}
