//! Reading matrices people bring: CSV or white-space separated text, or NumPy `.npy`.

use std::path::Path;

use ndarray::Array2;

use crate::error::{Error, Result};

/// Reads a matrix from `.npy` (2-d, float64) or text (one row a line; commas, semicolons or blanks between numbers; `#`
/// starts a comment; a first line of words is a header).
///
/// # Errors
/// [`Error::File`], and [`Error::Parse`] with the line for ragged rows, words, NaN or infinity, and empty files.
pub fn read_matrix(path: &Path) -> Result<Array2<f64>> {
    let matrix = if path.extension().is_some_and(|e| e == "npy") { read_npy(path)? } else { read_text(path)? };
    if let Some(((row, column), value)) = matrix.indexed_iter().find(|(_, x)| !x.is_finite()) {
        return Err(Error::Parse {
            path: path.to_path_buf(),
            line: row + 1,
            problem: format!("entry {} of row {} is {value}, needs a finite number", column + 1, row + 1),
        });
    }
    Ok(matrix)
}

fn read_npy(path: &Path) -> Result<Array2<f64>> {
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    // What trained networks are saved in: float64, then float32.
    let wide: std::result::Result<Array2<f64>, _> = ndarray_npy::ReadNpyExt::read_npy(&bytes[..]);
    wide.or_else(|error| {
        let narrow: std::result::Result<Array2<f32>, _> = ndarray_npy::ReadNpyExt::read_npy(&bytes[..]);
        narrow.map(|matrix| matrix.mapv(f64::from)).map_err(|_| Error::Parse {
            path: path.to_path_buf(),
            line: 1,
            problem: format!("{error}; needs a two-dimensional float64 or float32 array"),
        })
    })
}

fn read_text(path: &Path) -> Result<Array2<f64>> {
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    let bad = |line: usize, problem: String| Error::Parse { path: path.to_path_buf(), line, problem };
    let text = String::from_utf8(bytes).map_err(|_| bad(1, "not a text file, needs numbers or .npy".into()))?;
    let mut rows: Vec<f64> = Vec::new();
    let (mut columns, mut count) = (0, 0);
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let words: Vec<&str> = line.split([',', ';', ' ', '\t']).filter(|word| !word.is_empty()).collect();
        let numbers: std::result::Result<Vec<f64>, _> = words.iter().map(|word| word.parse::<f64>()).collect();
        let numbers = match numbers {
            Ok(numbers) => numbers,
            Err(_) if count == 0 && words.iter().all(|word| word.parse::<f64>().is_err()) => continue,
            Err(_) => {
                let word = words.iter().find(|word| word.parse::<f64>().is_err()).unwrap_or(&"");
                return Err(bad(index + 1, format!("'{word}' is not a number")));
            }
        };
        if count > 0 && numbers.len() != columns {
            return Err(bad(
                index + 1,
                format!("the row has {} numbers, needs {columns} like the first", numbers.len()),
            ));
        }
        columns = numbers.len();
        count += 1;
        rows.extend(numbers);
    }
    if count == 0 {
        return Err(bad(1, "the file holds no numbers".into()));
    }
    Array2::from_shape_vec((count, columns), rows).map_err(|error| bad(1, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Array2<f64>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.csv");
        std::fs::write(&path, text).unwrap();
        read_matrix(&path)
    }

    #[test]
    fn reads_csv_blanks_header_and_comments() {
        let expected = ndarray::array![[1.0, 2.5], [-3e-2, 4.0]];
        for text in ["1,2.5\n-3e-2,4\n", "x,y\n1, 2.5\n-3e-2 , 4", "# note\n1 2.5\n\n-0.03\t4 # end\n"] {
            assert_eq!(read(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn reads_both_precisions_of_npy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("w.npy");
        let expected = ndarray::array![[1.0, 2.5], [-0.5, 4.0]];
        ndarray_npy::write_npy(&path, &expected).unwrap();
        assert_eq!(read_matrix(&path).unwrap(), expected);
        ndarray_npy::write_npy(&path, &expected.mapv(|x: f64| x as f32)).unwrap();
        assert_eq!(read_matrix(&path).unwrap(), expected);
        ndarray_npy::write_npy(&path, &ndarray::array![1.0, 2.0]).unwrap();
        assert!(matches!(read_matrix(&path), Err(Error::Parse { .. })));
    }

    #[test]
    fn refuses_ragged_nan_words_and_nothing() {
        for (text, line, part) in [
            ("1,2\n3\n", 2, "1 numbers, needs 2"),
            ("1,2\n3,NaN\n", 2, "needs a finite number"),
            ("1,2\n3,x\n", 2, "'x' is not a number"),
            ("1,y\n", 1, "'y' is not a number"),
            ("\n", 1, "no numbers"),
        ] {
            match read(text) {
                Err(Error::Parse { line: found, problem, .. }) => {
                    assert_eq!(found, line, "{text:?}");
                    assert!(problem.contains(part), "{text:?}: {problem}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
        assert!(matches!(read_matrix(Path::new("/nowhere/m.csv")), Err(Error::File { .. })));
    }
}
