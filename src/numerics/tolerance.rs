//! Named tolerances: every threshold of the crate that is not a formula's own stands here with its reason.

/// Largest gradient entry of a point called critical. Rounding of one gradient entry at unit norms is about 1e-15
/// times the number of units, so this leaves two orders of magnitude.
pub const RESIDUAL: f64 = 1e-13;

/// Two points whose canonical forms differ by less are the same critical point.
pub const SAME_POINT: f64 = 1e-8;

/// A direction outside span(V) that carries less of the weights than this, relative to the largest weight, and that is
/// separated from the others by a gap, is taken as absent when a state is reduced.
pub const TRANSVERSE: f64 = 1e-7;

/// Entries of an overlap matrix closer than this belong to one cluster when symmetry is determined. Points are polished
/// to about 1e-13 / smallest eigenvalue, so equal entries agree far better.
pub const CLUSTER: f64 = 1e-7;

/// Eigenvalues closer than this, relative to the largest, are printed as one with a multiplicity.
pub const MULTIPLICITY: f64 = 1e-9;

/// Eigenvalues larger than this times the largest are never called zero, whatever gap separates them.
pub const ZERO_MODE: f64 = 1e-9;

/// Relative asymmetry and relative negative eigenvalue that rounding may leave in a Gram matrix given as input.
pub const GRAM: f64 = 1e-10;

/// Largest entry of W W^T - I for rows that count as orthonormal.
pub const ORTHONORMAL: f64 = 1e-13;
