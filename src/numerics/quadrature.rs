//! Gauss-Legendre rules (nodes by gauss-quad).

use gauss_quad::GaussLegendre;

/// Nodes and weights of the n-point Gauss-Legendre rule on [0, 1], n >= 2 (fewer are taken as 2): exact for polynomials
/// of degree 2 n - 1.
pub fn legendre(n: usize) -> Vec<(f64, f64)> {
    let Ok(rule) = GaussLegendre::new(n.max(2)) else { return Vec::new() };
    rule.iter().map(|(x, w)| (0.5 * (1.0 + x), 0.5 * w)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_exact_to_their_degree_and_no_further() {
        for n in [2usize, 3, 8, 20, 64] {
            let rule = legendre(n);
            let moment = |p: usize| rule.iter().map(|(x, w)| w * x.powi(p as i32)).sum::<f64>();
            for p in [0, 1, n, 2 * n - 1] {
                let exact = 1.0 / (p + 1) as f64;
                assert!((moment(p) - exact).abs() < 4e-16, "n = {n}, x^{p}: {:e}", moment(p) - exact);
            }
            if n <= 8 {
                assert!((moment(2 * n) - 1.0 / (2 * n + 1) as f64).abs() > 1e-12, "n = {n}");
            }
        }
    }
}
