//! The table of an evidence test.

/// Collects lines, prints them, and fails at the end when one did not pass.
pub struct Lines {
    name: &'static str,
    failed: usize,
}

impl Lines {
    pub fn new(name: &'static str) -> Lines {
        println!("# {name}, committee {}", env!("CARGO_PKG_VERSION"));
        println!("line | measured | bar | pass");
        Lines { name, failed: 0 }
    }

    pub fn line(&mut self, line: &str, measured: impl std::fmt::Display, bar: &str, pass: bool) {
        println!("{line} | {measured} | {bar} | {}", if pass { "yes" } else { "NO" });
        self.failed += usize::from(!pass);
    }

    /// A measurement without a bar.
    pub fn note(&self, text: &str) {
        println!("  {text}");
    }

    pub fn close(self) {
        assert_eq!(self.failed, 0, "{}: {} lines did not pass", self.name, self.failed);
    }
}
