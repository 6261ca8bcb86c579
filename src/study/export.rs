//! The report of a stored search, without computing runs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::landscape::{LandscapeSpec, report};
use crate::error::{Error, Result};
use crate::landscape::catalogue::Catalogue;
use crate::model::TeacherSpec;
use crate::report::Report;

/// What to export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportSpec {
    /// Database written by `landscape --db`.
    pub db: PathBuf,
    /// Only runs below this number; `None`: all.
    pub runs: Option<u64>,
}

/// Reads a database and reports it as `landscape` would.
///
/// # Errors
/// Those of opening the store; [`Error::Count`] when it holds no runs.
pub fn export(spec: &ExportSpec) -> Result<Report> {
    let mut catalogue = Catalogue::open_existing(Path::new(&spec.db))?;
    let census = catalogue.census(spec.runs.unwrap_or(u64::MAX))?;
    if census.runs.is_empty() {
        return Err(Error::Count {
            action: "export",
            quantity: "finished runs in the database",
            value: 0,
            needs: "at least 1 (run `committee landscape --db FILE` first)".into(),
        });
    }
    let problem = catalogue.problem();
    let effective = LandscapeSpec {
        students: problem.students,
        teachers: problem.teacher.units(),
        dimension: Some(problem.law.dimension),
        init_scale: problem.law.scale,
        runs: census.runs.len() as u64,
        seed: problem.seed,
        teacher: TeacherSpec::default(),
        activation: problem.teacher.activation(),
        rule: problem.rule,
    };
    let mut report = report("export", &effective, &census, problem);
    report.spec = serde_json::to_value(spec).unwrap_or_default();
    report.notes.insert(0, format!("Stored problem: {}.", catalogue.summary()));
    Ok(report)
}
