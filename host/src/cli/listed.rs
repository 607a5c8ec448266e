//! What to tell somebody whose input is to be a list of files, and whose first line names none.

use std::fs;
use std::path::{Path, PathBuf};

use wasmpool_core::text::{ForeignText, ShellWord};

/// A list of files, as it was asked for.
#[derive(Debug)]
pub struct ListOfFiles {
    /// The inputs that were named.
    pub inputs: Vec<PathBuf>,
    /// True if each path ends with a NUL.
    pub null: bool,
}

impl ListOfFiles {
    /// Returns how the list is probably meant if there is no file of this name, which stands in it.
    pub fn advice(&self, listed: &str) -> Option<String> {
        let is_there = |name: &str| fs::symlink_metadata(name).is_ok();
        if is_there(listed) {
            return None;
        }
        if !self.null && listed.contains('\0') {
            // That is what the failure itself says.
            return None;
        }
        Some(if self.null && listed.contains('\n') {
            "the paths of the list end with newlines, and --null is for those that end with NULs: leave it out"
                .to_owned()
        } else if listed.strip_suffix('\r').is_some_and(is_there) {
            "the lines of the list end with \\r\\n, and the \\r is taken for a part of each path: tr -d '\\r' removes it"
                .to_owned()
        } else {
            match self.inputs.iter().find(|input| *input != Path::new("-")) {
                Some(input) => format!(
                    "{} is read as a list: with --input-format files each line is the path of a file; to give the task the \
                     file itself, put its path into a list: echo {} | wasmpool …",
                    ForeignText::of(input),
                    ShellWord::of(input)
                ),
                None => "with --input-format files each line of the input is the path of a file; --input-format lines gives \
                         the task the line itself"
                    .to_owned(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_told_how_it_was_probably_meant() {
        let folder = tempfile::TempDir::new().expect("a temporary directory");
        let there = folder.path().join("a").display().to_string();
        fs::write(&there, "").expect("written");
        let of = |null, inputs: &[&str], listed: &str| {
            let list = ListOfFiles { inputs: inputs.iter().map(PathBuf::from).collect(), null };
            list.advice(listed).unwrap_or_default()
        };
        assert_eq!(of(false, &["list"], &there), "");
        assert!(of(false, &["photo.png"], "\u{fffd}PNG").contains("echo photo.png |"));
        assert!(of(false, &["-"], "apple").contains("--input-format lines"));
        assert_eq!(of(false, &[], "a\0b"), "");
        assert!(of(true, &[], "a\nb").contains("leave it out"));
        assert!(of(false, &["list"], &format!("{there}\r")).contains("tr -d"));
        assert!(of(false, &["list"], "gone\r").contains("echo list |"));
    }
}
