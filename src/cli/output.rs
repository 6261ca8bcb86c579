//! Where results go: table or JSON on stdout, notes on stderr, files into a directory.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Global;
use crate::error::{Error, Result};
use crate::figure::Caption;
use crate::report::{self, Report, Table};

/// The choices of the global options.
pub struct Output {
    pub json: bool,
    pub quiet: bool,
    verbose: bool,
    out: Option<PathBuf>,
    force: bool,
    print_spec: bool,
    spec: Option<PathBuf>,
}

impl Output {
    pub fn new(global: &Global) -> Output {
        Output {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            out: global.out.clone(),
            force: global.force,
            print_spec: global.print_spec,
            spec: global.spec.clone(),
        }
    }

    /// The spec file given with `--spec`, or the default.
    pub fn base_spec<S: DeserializeOwned>(&self, default: S) -> Result<S> {
        match &self.spec {
            Some(path) => read_spec(path),
            None => Ok(default),
        }
    }

    /// With `--print-spec`: prints it and returns true.
    pub fn printed_spec(&self, spec: &impl Serialize) -> bool {
        if self.print_spec {
            print(&toml::to_string(spec).unwrap_or_default());
        }
        self.print_spec
    }

    /// Refuses a directory given with `--out` that holds files or cannot be made, before anything is computed.
    pub fn check_directory(&self) -> Result<()> {
        let Some(path) = &self.out else { return Ok(()) };
        std::fs::create_dir_all(path).map_err(Error::file("create the directory", path))?;
        let mut entries = std::fs::read_dir(path).map_err(Error::file("list", path))?;
        if entries.next().is_some() && !self.force {
            return Err(Error::Occupied { path: path.clone() });
        }
        Ok(())
    }

    /// Refuses options that a verb has no use for.
    pub fn refuse_files_and_specs(&self, verb: &'static str) -> Result<()> {
        if self.out.is_some() || self.json || self.print_spec || self.spec.is_some() {
            return Err(Error::Spec {
                action: verb,
                problem: "--out, --json, --spec and --print-spec have no meaning here; leave them out".into(),
            });
        }
        Ok(())
    }

    /// The directory for files: the one given (which must be new, empty, or forced), or one named after verb and spec,
    /// which may be replaced because equal specs give equal files.
    pub fn directory(&self, name: &str, spec: &impl Serialize) -> Result<PathBuf> {
        let path = match &self.out {
            Some(path) => {
                self.check_directory()?;
                path.clone()
            }
            None => Path::new("committee-out").join(format!("{name}-{}", &report::hash(spec)[..8])),
        };
        std::fs::create_dir_all(&path).map_err(Error::file("create the directory", &path))?;
        let text = toml::to_string(spec).unwrap_or_default();
        report::replace(&path.join("spec.toml"), |out| out.write_all(text.as_bytes()))?;
        Ok(path)
    }

    /// Prints the report: the JSON document, or this table's columns and the notes.
    pub fn show(&self, report: &Report, table: &str, columns: &[(&str, usize)]) {
        if let Some(table) = report.table(table) {
            self.show_table(report, table, columns);
        }
    }

    /// As [`Output::show`] with a table that need not be the report's own.
    pub fn show_table(&self, report: &Report, table: &Table, columns: &[(&str, usize)]) {
        if self.json {
            print(&serde_json::to_string_pretty(&report.to_json()).unwrap_or_default());
            print("\n");
        } else {
            print(&table.pretty(columns));
        }
        for note in &report.notes {
            self.note(note);
        }
        if self.verbose {
            let p = &report.provenance;
            let features = p.features.join(", ");
            self.note(&format!("committee {} ({}), features: {features}, spec {}", p.version, p.git, p.spec_hash));
        }
    }

    /// A line under the table; nothing where the JSON document says it.
    pub fn below(&self, line: &str) {
        if !self.json {
            print(&format!("{line}\n"));
        }
    }

    /// A note on stderr.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }
}

/// `-` and eight digits that change with a file's content, for names of results that depend on it.
pub fn content_tag(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    format!("-{}", &report::hash(&bytes)[..8])
}

/// Reads a TOML spec; unknown keys are refused.
pub fn read_spec<S: DeserializeOwned>(path: &Path) -> Result<S> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        Error::Parse { path: path.to_path_buf(), line, problem: error.message().to_string() }
    })
}

/// Writes to stdout; a closed pipe ends the output, not the program.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let result = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = result
        && error.kind() != ErrorKind::BrokenPipe
    {
        say(&format!("error: cannot write to stdout: {error}"));
        std::process::exit(1);
    }
}

/// Writes a line to stderr; nowhere to write to is no failure.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Title and subtitle of a figure with the report's provenance.
pub fn caption(title: &str, subtitle: &str, report: &Report) -> Caption {
    let p = &report.provenance;
    Caption {
        title: title.to_string(),
        subtitle: subtitle.to_string(),
        provenance: format!("committee {} ({}), spec {}", p.version, p.git, p.spec_hash),
    }
}
