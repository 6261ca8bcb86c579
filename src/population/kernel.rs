//! Matrix products and sums in a fixed order, compiled for each instruction set by their callers.

/// Vector width every padded row length is a multiple of.
pub const LANES: usize = 8;

/// n rounded up to a multiple of [`LANES`].
pub fn padded(n: usize) -> usize {
    n.div_ceil(LANES) * LANES
}

/// C += A B for A (m x k, row stride `lda`), B (k x n, row stride `ldb`), C (m x n, row stride `ldc`); n a multiple of
/// [`LANES`], and B readable for n entries from each row's start. Sums run over k in order, so the result does not depend
/// on the instruction set, nor on WIDE, the number of vectors in a tile (as many as the registers hold).
#[inline(always)]
#[allow(clippy::too_many_arguments)] // the BLAS calling convention
// Loops are written out: a closure would not inherit the caller's instruction set.
pub fn multiply<const WIDE: usize>(
    m: usize,
    k: usize,
    n: usize,
    a: &[f64],
    lda: usize,
    b: &[f64],
    ldb: usize,
    c: &mut [f64],
    ldc: usize,
) {
    let mut i = 0;
    while i < m {
        i += strip::<WIDE>(i, 0, m, k, n, a, lda, b, ldb, c, ldc, true);
    }
}

/// C = A B as [`multiply`] for a symmetric product: only the tiles that reach the diagonal or lie above it are written.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub fn multiply_upper<const WIDE: usize>(
    m: usize,
    k: usize,
    n: usize,
    a: &[f64],
    lda: usize,
    b: &[f64],
    ldb: usize,
    c: &mut [f64],
    ldc: usize,
) {
    let mut i = 0;
    while i < m {
        i += strip::<WIDE>(i, i / LANES * LANES, m, k, n, a, lda, b, ldb, c, ldc, false);
    }
}

/// Four rows (or one) of the product from column j on, in tiles of WIDE vectors and single ones; returns the number of
/// rows.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn strip<const WIDE: usize>(
    i: usize,
    mut j: usize,
    m: usize,
    k: usize,
    n: usize,
    a: &[f64],
    lda: usize,
    b: &[f64],
    ldb: usize,
    c: &mut [f64],
    ldc: usize,
    add: bool,
) -> usize {
    let rows = if i + 4 <= m { 4 } else { 1 };
    while j < n {
        let wide = j + WIDE * LANES <= n;
        match (rows, wide) {
            (4, true) => tile::<4, WIDE>(i, j, k, a, lda, b, ldb, c, ldc, add),
            (4, false) => tile::<4, 1>(i, j, k, a, lda, b, ldb, c, ldc, add),
            (_, true) => tile::<1, WIDE>(i, j, k, a, lda, b, ldb, c, ldc, add),
            (_, false) => tile::<1, 1>(i, j, k, a, lda, b, ldb, c, ldc, add),
        }
        j += if wide { WIDE * LANES } else { LANES };
    }
    rows
}

/// One tile of ROWS x (WIDE LANES) entries of the product, added to C or written over it.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn tile<const ROWS: usize, const WIDE: usize>(
    i: usize,
    j: usize,
    k: usize,
    a: &[f64],
    lda: usize,
    b: &[f64],
    ldb: usize,
    c: &mut [f64],
    ldc: usize,
    add: bool,
) {
    assert!(k > 0 && (i + ROWS - 1) * lda + k <= a.len() && (k - 1) * ldb + j + WIDE * LANES <= b.len());
    let mut sum = [[[0.0f64; LANES]; WIDE]; ROWS];
    for l in 0..k {
        // SAFETY: the largest index read is (i + ROWS - 1) lda + k - 1 in a and (k - 1) ldb + j + WIDE LANES - 1 in b,
        // both inside by the assertion above. Checked indexing here costs a third of the gradient's instructions.
        unsafe {
            let row = &*b.as_ptr().add(l * ldb + j).cast::<[[f64; LANES]; WIDE]>();
            for r in 0..ROWS {
                let factor = *a.get_unchecked((i + r) * lda + l);
                for v in 0..WIDE {
                    for t in 0..LANES {
                        sum[r][v][t] += factor * row[v][t];
                    }
                }
            }
        }
    }
    for r in 0..ROWS {
        for v in 0..WIDE {
            let start = (i + r) * ldc + j + v * LANES;
            let out: &mut [f64; LANES] = (&mut c[start..start + LANES]).try_into().expect("eight entries");
            for t in 0..LANES {
                out[t] = if add { out[t] + sum[r][v][t] } else { sum[r][v][t] };
            }
        }
    }
}

/// Sum of x_i y_i in eight interleaved partial sums, added in a fixed order.
#[inline(always)]
pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len().min(y.len());
    let mut sum = [0.0f64; LANES];
    let whole = n / LANES * LANES;
    for (x, y) in x[..whole].chunks_exact(LANES).zip(y[..whole].chunks_exact(LANES)) {
        for t in 0..LANES {
            sum[t] += x[t] * y[t];
        }
    }
    for i in whole..n {
        sum[i - whole] += x[i] * y[i];
    }
    ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]))
}
