//! How much memory a dense matrix may take, asked before it is allocated.

use crate::error::{Error, Result};

const GIB: f64 = (1u64 << 30) as f64;

/// Available memory in bytes (`MemAvailable` on Linux), or 4 GiB where the system does not say.
pub fn available() -> f64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse().ok());
    kib.map_or(4.0 * GIB, |kib: f64| kib * 1024.0)
}

/// Refuses a computation whose dense matrices (`copies` of size n x n in f64) exceed the available memory.
///
/// `advice` says what still works.
pub fn check_dense(action: &'static str, what: &str, n: usize, copies: usize, advice: &str) -> Result<()> {
    check(action, format!("{what} ({n} x {n})"), copies as f64 * (n as f64).powi(2), advice)
}

/// Refuses a computation that keeps more numbers (f64) at once than fit in the available memory.
pub fn check(action: &'static str, what: String, numbers: f64, advice: &str) -> Result<()> {
    let needed = 8.0 * numbers;
    let available = available();
    if needed > 0.8 * available {
        return Err(Error::Memory {
            action,
            what,
            needed_gib: needed / GIB,
            available_gib: available / GIB,
            advice: advice.to_string(),
        });
    }
    Ok(())
}
