//! Eigenvalues of points as a table.

use crate::landscape::Point;
use crate::report::Table;

/// The columns of a table of eigenvalues.
pub(super) fn spectrum_columns() -> Table {
    Table::new(
        "spectrum",
        &[
            ("point", "", "point and family"),
            ("block", "", "span: inside span(W, V); transverse: across it, once per further dimension"),
            ("eigenvalue", "", "eigenvalue of the Hessian of L"),
            ("multiplicity", "", "number of equal eigenvalues (to 1e-9 of the largest)"),
        ],
    )
}

/// Appends a point's eigenvalues.
pub(super) fn push_spectrum(table: &mut Table, name: &str, point: &Point) {
    for (block, levels) in [("span", &point.spectrum.span), ("transverse", &point.spectrum.transverse)] {
        for level in levels {
            table.push(vec![name.into(), block.into(), level.value.into(), level.multiplicity.into()]);
        }
    }
}
