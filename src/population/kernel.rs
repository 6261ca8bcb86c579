//! Matrix products and sums in a fixed order, compiled for each instruction set by their callers.

/// Vector width every padded row length is a multiple of.
pub const LANES: usize = 8;

/// n rounded up to a multiple of [`LANES`].
pub fn padded(n: usize) -> usize {
    n.div_ceil(LANES) * LANES
}

/// C += A B for A (m x k, row stride `lda`), B (k x n, row stride `ldb`), C (m x n, row stride `ldc`); n a multiple of
/// [`LANES`]. Sums run over k in order, so the result does not depend on the instruction set.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // the BLAS calling convention
pub fn multiply(m: usize, k: usize, n: usize, a: &[f64], lda: usize, b: &[f64], ldb: usize, c: &mut [f64], ldc: usize) {
    let mut i = 0;
    while i + 4 <= m {
        tile::<4>(i, k, n, a, lda, b, ldb, c, ldc);
        i += 4;
    }
    while i < m {
        tile::<1>(i, k, n, a, lda, b, ldb, c, ldc);
        i += 1;
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn tile<const ROWS: usize>(
    i: usize,
    k: usize,
    n: usize,
    a: &[f64],
    lda: usize,
    b: &[f64],
    ldb: usize,
    c: &mut [f64],
    ldc: usize,
) {
    let mut j = 0;
    while j < n {
        let mut sum = [[0.0f64; LANES]; ROWS];
        for l in 0..k {
            let row: &[f64; LANES] = b[l * ldb + j..l * ldb + j + LANES].try_into().expect("eight entries");
            for (r, sum) in sum.iter_mut().enumerate() {
                let factor = a[(i + r) * lda + l];
                for t in 0..LANES {
                    sum[t] += factor * row[t];
                }
            }
        }
        for (r, sum) in sum.iter().enumerate() {
            let out = &mut c[(i + r) * ldc + j..(i + r) * ldc + j + LANES];
            for t in 0..LANES {
                out[t] += sum[t];
            }
        }
        j += LANES;
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
