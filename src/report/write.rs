//! CSV, JSON and NPZ forms of a report.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::{Report, SCHEMA, Table, Value};
use crate::error::{Error, Result};

impl Table {
    /// Writes the table as CSV (RFC 4180, one header line, full precision, empty cells where a value is missing).
    pub fn write_csv(&self, out: &mut impl Write) -> std::io::Result<()> {
        let header: Vec<String> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        writeln!(out, "{}", header.join(","))?;
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|value| quoted(&value.exact())).collect();
            writeln!(out, "{}", cells.join(","))?;
        }
        Ok(())
    }

    /// Rows as JSON objects; a missing cell is `null` beside `<column>_missing` with the reason.
    pub fn to_json(&self) -> serde_json::Value {
        let rows = self.rows.iter().map(|row| {
            let mut object = serde_json::Map::new();
            for (column, value) in self.columns.iter().zip(row) {
                let json = match value {
                    Value::Integer(n) => (*n).into(),
                    Value::Real(x) => (*x).into(),
                    Value::Text(text) => text.clone().into(),
                    Value::Missing(reason) => {
                        object.insert(format!("{}_missing", column.name), reason.clone().into());
                        serde_json::Value::Null
                    }
                };
                object.insert(column.name.clone(), json);
            }
            serde_json::Value::Object(object)
        });
        rows.collect::<Vec<_>>().into()
    }

    /// Column names, units and meanings as JSON.
    fn columns_to_json(&self) -> serde_json::Value {
        let columns = self
            .columns
            .iter()
            .map(|column| serde_json::json!({ "name": column.name, "unit": column.unit, "meaning": column.meaning }));
        columns.collect::<Vec<_>>().into()
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_string() }
}

impl Report {
    /// The JSON document: schema, version, verb, spec, provenance, results, notes, meaning of every table column.
    pub fn to_json(&self) -> serde_json::Value {
        let mut document = serde_json::Map::new();
        document.insert("schema".into(), SCHEMA.into());
        document.insert("version".into(), self.provenance.version.into());
        document.insert("verb".into(), self.verb.into());
        document.insert("spec".into(), self.spec.clone());
        document.insert("provenance".into(), serde_json::to_value(&self.provenance).unwrap_or_default());
        for (name, value) in &self.results {
            document.insert(name.clone(), value.clone());
        }
        document.insert("notes".into(), self.notes.clone().into());
        let columns: serde_json::Map<_, _> =
            self.tables.iter().map(|table| (table.name.clone(), table.columns_to_json())).collect();
        document.insert("columns".into(), columns.into());
        document.into()
    }

    /// Writes `report.json`, `<table>.csv` and, when there are arrays, `arrays.npz` into a directory that exists.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(&self.to_json()).unwrap_or_default();
        replace(&directory.join("report.json"), |out| writeln!(out, "{json}"))?;
        for table in &self.tables {
            replace(&directory.join(format!("{}.csv", table.name)), |out| table.write_csv(out))?;
        }
        if !self.arrays.is_empty() {
            self.write_npz(&directory.join("arrays.npz"))?;
        }
        Ok(())
    }

    /// Writes all arrays into one NPZ file.
    pub fn write_npz(&self, path: &Path) -> Result<()> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut npz = ndarray_npy::NpzWriter::new(&mut bytes);
        let failed = |problem: String| Error::File {
            action: "write",
            path: path.to_path_buf(),
            source: std::io::Error::other(problem),
        };
        for (name, array) in &self.arrays {
            npz.add_array(name.as_str(), array).map_err(|error| failed(error.to_string()))?;
        }
        npz.finish().map_err(|error| failed(error.to_string()))?;
        replace(path, |out| out.write_all(bytes.get_ref()))
    }
}

/// Writes a file under a temporary name and renames it, so that a full disk or a crash never leaves half a file.
pub fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = path.with_file_name(name);
    let result = (|| {
        let mut out = BufWriter::new(File::create(&part)?);
        write(&mut out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        std::fs::rename(&part, path)
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    result.map_err(Error::file("write", path))
}
