//! Confirms that new data equal those stored beside a figure.

use std::path::Path;

use crate::error::{Error, Result};
use crate::report::{Table, Value};

/// Compares a CSV file written by [`Table::write_csv`] with a new table, cell by cell. Numbers may differ by `tolerance`,
/// absolute or relative to the larger one; text must be equal and a missing cell must stay missing. With `prefix` the new
/// table may have fewer rows, which are compared with the first ones.
pub fn compare(old_csv: &Path, new: &Table, tolerance: f64, prefix: bool) -> Result<()> {
    let text = std::fs::read_to_string(old_csv).map_err(Error::file("read", old_csv))?;
    let mut old =
        parse(&text).map_err(|(line, problem)| Error::Parse { path: old_csv.to_path_buf(), line, problem })?;
    let differs = |problem: String| Error::FigureDiffers { path: old_csv.to_path_buf(), problem };
    let names: Vec<&str> = new.columns.iter().map(|column| column.name.as_str()).collect();
    let header = if old.is_empty() { Vec::new() } else { old.remove(0) };
    if header != names {
        return Err(differs(format!("columns are `{}`, were `{}`", names.join(","), header.join(","))));
    }
    if old.len() != new.rows.len() && !(prefix && old.len() > new.rows.len()) {
        return Err(differs(format!("there are {} rows, were {}", new.rows.len(), old.len())));
    }
    for (i, (before, after)) in old.iter().zip(&new.rows).enumerate() {
        if before.len() != after.len() {
            let (now, then) = (after.len(), before.len());
            return Err(differs(format!("row {} has {now} cells, had {then}", i + 1)));
        }
        for ((name, before), after) in names.iter().zip(before).zip(after) {
            if !equal(before, after, tolerance) {
                let shown = |text: &str| if text.is_empty() { "missing".to_string() } else { format!("`{text}`") };
                let (now, then) = (shown(&after.exact()), shown(before));
                return Err(differs(format!("row {}, column `{name}` is {now}, was {then}", i + 1)));
            }
        }
    }
    Ok(())
}

fn equal(before: &str, after: &Value, tolerance: f64) -> bool {
    match (after.as_f64(), before.parse::<f64>()) {
        (Some(b), Ok(a)) => before == after.exact() || (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0),
        (Some(_), Err(_)) => false,
        (None, _) => before == after.exact(),
    }
}

/// The records of an RFC 4180 text, or the line of what is wrong with it.
fn parse(text: &str) -> std::result::Result<Vec<Vec<String>>, (usize, String)> {
    let mut records = Vec::new();
    let mut record: Vec<String> = Vec::new();
    let mut cell = String::new();
    let (mut quoted, mut line, mut opened) = (false, 1, 1);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\n' {
            line += 1;
        }
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => {
                rest.next();
                cell.push('"');
            }
            '"' if quoted => {
                quoted = false;
                if !matches!(rest.peek(), None | Some(',' | '\n' | '\r')) {
                    return Err((line, "text after a closing quotation mark".into()));
                }
            }
            '"' if cell.is_empty() => (quoted, opened) = (true, line),
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\r' if !quoted && rest.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            other => cell.push(other),
        }
    }
    if quoted {
        return Err((opened, "a quotation mark is not closed".into()));
    }
    if !record.is_empty() || !cell.is_empty() {
        record.push(cell);
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("levels", &[("family", "", ""), ("loss", "", ""), ("hits", "", "")]);
        table.push(vec!["block, \"m=7\"\nsecond".into(), 0.060243.into(), 100usize.into()]);
        table.push(vec!["".into(), Value::Missing("not hit".into()), 0usize.into()]);
        table.push(vec!["tiny".into(), 3.5e-17.into(), 7usize.into()]);
        table
    }

    fn stored(directory: &tempfile::TempDir) -> std::path::PathBuf {
        let path = directory.path().join("levels.csv");
        let mut bytes = Vec::new();
        table().write_csv(&mut bytes).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn a_table_equals_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        compare(&stored(&directory), &table(), 0.0, false).unwrap();
    }

    #[test]
    fn a_prefix_is_compared_with_the_first_rows() {
        let directory = tempfile::tempdir().unwrap();
        let path = stored(&directory);
        let mut new = table();
        new.rows.pop();
        compare(&path, &new, 0.0, true).unwrap();
        new.rows[0][2] = Value::Integer(101);
        assert!(compare(&path, &new, 0.0, true).is_err());
    }

    #[test]
    fn a_change_in_the_last_given_place_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = stored(&directory);
        let mut new = table();
        new.rows[0][1] = Value::Real(0.060243 + 0.9e-9);
        compare(&path, &new, 1e-9, false).unwrap();
        new.rows[0][1] = Value::Real(0.060243 + 1.1e-9);
        let error = compare(&path, &new, 1e-9, false).unwrap_err();
        assert!(matches!(error, Error::FigureDiffers { .. }));
        let text = error.to_string();
        assert!(text.contains("row 1, column `loss` is `0.0602430011`, was `0.060243`"), "{text}");
        new = table();
        new.rows[0][2] = Value::Integer(101);
        assert!(compare(&path, &new, 1e-9, false).is_err());
    }

    #[test]
    fn changed_text_rows_columns_and_gaps_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = stored(&directory);
        let changes: [fn(&mut Table); 5] = [
            |table| table.rows[2][0] = "Tiny".into(),
            |table| table.rows[1][1] = Value::Real(0.0),
            |table| table.rows[2][1] = Value::Missing("lost".into()),
            |table| drop(table.rows.pop()),
            |table| table.columns[2].name = "count".into(),
        ];
        for change in changes {
            let mut new = table();
            change(&mut new);
            assert!(matches!(compare(&path, &new, 1e-6, false), Err(Error::FigureDiffers { .. })));
        }
    }

    #[test]
    fn an_open_quotation_is_refused_with_its_line() {
        assert_eq!(parse("a,b\n1,\"x\n").unwrap_err().0, 2);
        assert_eq!(parse("a\n\nb").unwrap(), [[""; 1].map(|_| "a".to_string()), ["".into()], ["b".into()]]);
    }
}
