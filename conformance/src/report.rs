//! What became of the assertions.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Report {
    passed: u64,
    failed: Vec<String>,
    /// Assertions that were not made, by the reason.
    left_out: BTreeMap<String, u64>,
    files: BTreeMap<String, String>,
}

impl Report {
    pub fn pass(&mut self) {
        self.passed += 1;
    }

    pub fn fail(&mut self, place: &str, why: &str) {
        let line = format!("{place}: {why}");
        println!("FAILED {line}");
        self.failed.push(line);
    }

    pub fn leave_out(&mut self, why: &str, assertions: u64) {
        if assertions > 0 {
            *self.left_out.entry(why.to_owned()).or_default() += assertions;
        }
    }

    pub fn leave_out_file(&mut self, file: &str, why: &str) {
        self.files.insert(file.to_owned(), why.to_owned());
    }

    /// Whether nothing failed, and something was tried.
    pub fn is_good(&self) -> bool {
        self.failed.is_empty() && self.passed > 0
    }

    pub fn print(&self) {
        println!("{} assertions passed, {} failed", self.passed, self.failed.len());
        for (why, count) in &self.left_out {
            println!("{count} left out: {why}");
        }
        for (file, why) in &self.files {
            println!("{file} left out: {why}");
        }
    }
}
