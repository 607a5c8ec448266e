//! `wasmpool cache`: the cache of compiled tasks, shown and cleaned.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::args::{CacheArgs, CacheCommand};
use super::exit::{Exit, Stop};
use super::print;
use wasmpool_core::text::{ForeignText, bytes_said};
use wasmpool_run::compile::{ArtifactCache, CacheEntry};
use wasmpool_run::error::Error;

/// Number of digits of a task's hash that are shown.
const DIGITS: usize = 12;

pub fn cache(args: &CacheArgs) -> Result<Exit, Stop> {
    let cache = ArtifactCache::of_user();
    let directory = cache.directory()?;
    let text = match &args.command {
        CacheCommand::Dir => [directory.as_os_str().as_bytes(), b"\n"].concat(),
        CacheCommand::List => listed(&cache.list()?, &directory.to_string_lossy()).into_bytes(),
        CacheCommand::Clean { older } => {
            let removed = cache.clean(*older)?;
            format!("removed {} from {}\n", in_all(&removed), ForeignText::of(&directory)).into_bytes()
        }
    };
    Ok(print(&text).map_err(Error::output)?)
}

/// Returns a line for each entry, the one last used at the end, and a line with the sum.
fn listed(entries: &[CacheEntry], directory: &str) -> String {
    let mut out = String::new();
    let width = entries.iter().map(|entry| bytes_said(entry.bytes).len()).max().unwrap_or_default();
    if !entries.is_empty() {
        out += &format!("{:<DIGITS$}  {:<width$}  {:<10}  {}\n", "task", "size", "last used", "made by");
    }
    for entry in entries {
        let hash = entry.hash.get(..DIGITS).unwrap_or("unfinished");
        let by = if entry.unfinished { String::new() } else { format!("wasmpool {}", entry.version) };
        let used = age(entry.used.elapsed().unwrap_or_default());
        let row = format!("{hash:<DIGITS$}  {:<width$}  {used:<10}  {by}", bytes_said(entry.bytes));
        out += row.trim_end();
        out.push('\n');
    }
    out += &format!("{} in {}\n", in_all(entries), ForeignText::of(directory));
    out
}

fn in_all(entries: &[CacheEntry]) -> String {
    let count = match entries.len() {
        0 => return "nothing".to_owned(),
        1 => "1 compiled task".to_owned(),
        count => format!("{count} compiled tasks"),
    };
    format!("{count}, {}", bytes_said(entries.iter().map(|entry| entry.bytes).sum()))
}

/// Returns an age in its largest unit.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_said_in_one_unit() {
        for (seconds, said) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 min ago"),
            (7199, "1 h ago"),
            (86_400, "1 d ago"),
            (3_000_000, "34 d ago"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), said);
        }
    }
}
