//! The format of the input, if nobody said it: what the names of the files say.

use std::path::{Path, PathBuf};

use super::UsageError;
use crate::cli::args::InputFormat;
use crate::cli::source::Sourced;
use wasmpool_run::input::extension;

/// Extensions of files of CSV.
const CSV: [&str; 3] = ["csv", "tsv", "tab"];

/// Returns the format that was said, or else that of the files' names.
///
/// # Errors
///
/// Fails if some of the files are CSV by their names, and others are not.
pub fn of_input(said: Sourced<Option<InputFormat>>, input: &[PathBuf]) -> Result<Sourced<InputFormat>, UsageError> {
    let csv = input.iter().find(|path| is_csv(path));
    let other = input.iter().find(|path| !is_csv(path));
    match (*said, csv, other) {
        (Some(format), ..) => Ok(said.map(|_| format)),
        (None, Some(csv), Some(other)) => Err(UsageError::FormatsOfNames { csv: csv.clone(), other: other.clone() }),
        (None, Some(_), None) => Ok(said.map(|_| InputFormat::Csv)),
        (None, None, _) => Ok(said.map(|_| InputFormat::Jsonl)),
    }
}

fn is_csv(path: &Path) -> bool {
    extension(path).is_some_and(|found| CSV.iter().any(|one| found.eq_ignore_ascii_case(one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_that_of_the_files_names_unless_it_is_said() {
        let of = |said, names: &[&str]| {
            let input: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
            of_input(Sourced::default_of(said), &input).map(|format| *format).map_err(|e| e.to_string())
        };
        assert_eq!(of(None, &[]), Ok(InputFormat::Jsonl));
        assert_eq!(of(None, &["-"]), Ok(InputFormat::Jsonl));
        assert_eq!(of(None, &["a.csv", "dir/B.TSV", "c.csv.gz", "d.tsv.zst"]), Ok(InputFormat::Csv));
        assert_eq!(of(None, &["a.jsonl", "b.gz", "csv"]), Ok(InputFormat::Jsonl));
        assert_eq!(of(Some(InputFormat::Lines), &["a.csv", "b.jsonl"]), Ok(InputFormat::Lines));
        assert!(of(None, &["a.csv", "-"]).is_err_and(|e| e.contains("a.csv is CSV by its name, and - is not")));
    }
}
