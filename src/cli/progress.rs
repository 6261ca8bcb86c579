//! Progress on stderr: rate and remaining time, only on a terminal.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar, hidden when stderr is no terminal or with `--quiet`.
pub struct Progress {
    bar: ProgressBar,
    begun: AtomicBool,
}

impl Progress {
    /// A bar for this many runs.
    pub fn new(total: u64, quiet: bool) -> Progress {
        let bar = if quiet || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            let style = ProgressStyle::with_template(
                "{bar:30} {pos}/{len} runs  {per_sec}  {elapsed} elapsed, {eta} to go{msg}",
            );
            ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        };
        Progress { bar, begun: AtomicBool::new(false) }
    }

    /// Shows the state; runs that were finished before do not count towards the rate.
    pub fn show(&self, done: usize, unresolved: usize) {
        if !self.begun.swap(true, Relaxed) {
            self.bar.set_position(done as u64);
            self.bar.reset_eta();
            return;
        }
        self.bar.set_position(done as u64);
        if unresolved > 0 {
            self.bar.set_message(format!("  ({unresolved} unresolved)"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
