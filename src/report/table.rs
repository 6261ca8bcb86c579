//! Typed tables: columns with unit and meaning, cells that are a value or missing with a reason.

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Integer(i64),
    /// Always finite: [`Value::real`] turns anything else into [`Value::Missing`].
    Real(f64),
    Text(String),
    /// Why there is no value.
    Missing(String),
}

impl Value {
    /// A real cell, or a missing one that says the number is not finite.
    pub fn real(x: f64) -> Value {
        if x.is_finite() { Value::Real(x) } else { Value::Missing("not finite".into()) }
    }

    /// The cell as a number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Integer(n) => Some(*n as f64),
            Value::Real(x) => Some(*x),
            _ => None,
        }
    }

    /// Full-precision text: shortest decimal that reads back to the same number; empty when missing.
    pub fn exact(&self) -> String {
        match self {
            Value::Integer(n) => n.to_string(),
            Value::Real(x) if *x != 0.0 && (x.abs() < 1e-4 || x.abs() >= 1e15) => format!("{x:e}"),
            Value::Real(x) => x.to_string(),
            Value::Text(text) => text.clone(),
            Value::Missing(_) => String::new(),
        }
    }

    /// Text for people: reals to about `digits` significant digits, `-` when missing.
    pub fn short(&self, digits: usize) -> String {
        match self {
            Value::Real(x) if *x == 0.0 => "0".into(),
            // Fixed form must keep two significant digits.
            Value::Real(x) if x.abs() < 1e-4 || x.abs() >= 1e6 || x.abs() < 10f64.powi(2 - digits.max(2) as i32) => {
                format!("{x:.*e}", digits.clamp(1, 4) - 1)
            }
            Value::Real(x) => {
                let whole = x.abs().log10().floor().max(0.0) as usize + 1;
                format!("{x:.*}", digits.saturating_sub(whole).max(2))
            }
            Value::Missing(_) => "-".into(),
            other => other.exact(),
        }
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Value::real(x)
    }
}
impl From<usize> for Value {
    fn from(n: usize) -> Self {
        Value::Integer(n as i64)
    }
}
impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Value::Integer(n as i64)
    }
}
impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

/// A column: name (field's standard term, used as CSV header), unit ("" for none) and a sentence on its meaning.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub unit: &'static str,
    pub meaning: String,
}

/// A table with typed cells.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    /// An empty table with columns `(name, unit, meaning)`.
    pub fn new(name: &str, columns: &[(&str, &'static str, &str)]) -> Self {
        let columns = columns
            .iter()
            .map(|&(name, unit, meaning)| Column { name: name.into(), unit, meaning: meaning.into() })
            .collect();
        Table { name: name.into(), columns, rows: Vec::new() }
    }

    /// Appends a row; it must have one cell per column.
    pub fn push(&mut self, row: Vec<Value>) {
        assert_eq!(row.len(), self.columns.len(), "a row of table {} has the wrong length", self.name);
        self.rows.push(row);
    }

    /// Index of a column.
    pub fn index(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }

    /// Every n-th row and the last, at most about `most`: what a terminal shows of a long table.
    pub fn thinned(&self, most: usize) -> Table {
        let step = self.rows.len().div_ceil(most.max(1)).max(1);
        let last = self.rows.len().saturating_sub(1);
        let kept = self.rows.iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last);
        Table {
            name: self.name.clone(),
            columns: self.columns.clone(),
            rows: kept.map(|(_, row)| row.clone()).collect(),
        }
    }

    /// All cells of a column as numbers; `None` where a cell is missing or text, or the column does not exist.
    pub fn numbers(&self, column: &str) -> Vec<Option<f64>> {
        let index = self.index(column);
        self.rows.iter().map(|row| index.and_then(|i| row[i].as_f64())).collect()
    }

    /// All cells of a column as text.
    pub fn texts(&self, column: &str) -> Vec<String> {
        let index = self.index(column);
        self.rows.iter().map(|row| index.map_or_else(String::new, |i| row[i].exact())).collect()
    }

    /// The table in aligned columns for a terminal: (column, significant digits).
    pub fn pretty(&self, columns: &[(&str, usize)]) -> String {
        let picked: Vec<(usize, usize)> =
            columns.iter().filter_map(|&(name, digits)| Some((self.index(name)?, digits))).collect();
        let mut cells: Vec<Vec<String>> = vec![picked.iter().map(|&(i, _)| self.columns[i].name.clone()).collect()];
        for row in &self.rows {
            cells.push(picked.iter().map(|&(i, digits)| row[i].short(digits)).collect());
        }
        let width: Vec<usize> =
            (0..picked.len()).map(|c| cells.iter().map(|row| row[c].chars().count()).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &cells {
            let mut line = String::new();
            for (c, cell) in row.iter().enumerate() {
                let numeric = self.rows.first().is_some_and(|first| first[picked[c].0].as_f64().is_some());
                let pad = width[c] - cell.chars().count();
                if c > 0 {
                    line.push_str("  ");
                }
                if numeric {
                    line.extend(std::iter::repeat_n(' ', pad));
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.extend(std::iter::repeat_n(' ', pad));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
