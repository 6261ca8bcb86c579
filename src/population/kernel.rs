//! Matrix products and sums in a fixed order, compiled for each instruction set by their callers.

/// Vector width every padded row length is a multiple of.
pub const LANES: usize = 8;

/// n rounded up to a multiple of [`LANES`].
pub fn padded(n: usize) -> usize {
    n.div_ceil(LANES) * LANES
}

/// C += A B for A (m x k, row stride `lda`), B (k x n, row stride `ldb`), C (m x n, row stride `ldc`); n a multiple of
/// [`LANES`], and B readable for n entries from each row's start. Sums run over k in order, so the result does not depend
/// on the instruction set.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // the BLAS calling convention
// Loops are written out: a closure would not inherit the caller's instruction set.
pub fn multiply(m: usize, k: usize, n: usize, a: &[f64], lda: usize, b: &[f64], ldb: usize, c: &mut [f64], ldc: usize) {
    let mut i = 0;
    while i < m {
        let mut j = 0;
        while j < n {
            if i + 4 <= m {
                tile::<4>(i, j, k, a, lda, b, ldb, c, ldc, true);
            } else {
                tile::<1>(i, j, k, a, lda, b, ldb, c, ldc, true);
            }
            j += LANES;
        }
        i += if i + 4 <= m { 4 } else { 1 };
    }
}

/// C = A B as [`multiply`] for a symmetric product: only the tiles that reach the diagonal or lie above it are written.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub fn multiply_upper(
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
        let mut j = i / LANES * LANES;
        while j < n {
            if i + 4 <= m {
                tile::<4>(i, j, k, a, lda, b, ldb, c, ldc, false);
            } else {
                tile::<1>(i, j, k, a, lda, b, ldb, c, ldc, false);
            }
            j += LANES;
        }
        i += if i + 4 <= m { 4 } else { 1 };
    }
}

/// One tile of ROWS x LANES entries of the product, added to C or written over it.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn tile<const ROWS: usize>(
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
    assert!(k > 0 && (i + ROWS - 1) * lda + k <= a.len() && (k - 1) * ldb + j + LANES <= b.len());
    let mut sum = [[0.0f64; LANES]; ROWS];
    for l in 0..k {
        // SAFETY: the largest index read is (i + ROWS - 1) lda + k - 1 in a and (k - 1) ldb + j + LANES - 1 in b, both
        // inside by the assertion above. Checked indexing here costs a third of the gradient's instructions.
        unsafe {
            let row = &*b.as_ptr().add(l * ldb + j).cast::<[f64; LANES]>();
            for r in 0..ROWS {
                let factor = *a.get_unchecked((i + r) * lda + l);
                for t in 0..LANES {
                    sum[r][t] += factor * row[t];
                }
            }
        }
    }
    for r in 0..ROWS {
        let out: &mut [f64; LANES] = (&mut c[(i + r) * ldc + j..][..LANES]).try_into().expect("eight entries");
        for t in 0..LANES {
            out[t] = if add { out[t] + sum[r][t] } else { sum[r][t] };
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
