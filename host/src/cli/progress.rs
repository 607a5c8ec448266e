//! What a person sees of a run, on standard error: the bar, the first failures, the sum.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::Progress as When;
use crate::outcome::Failure;
use crate::output::{Counts, Watcher};

/// Failures that are told as they happen.
const TOLD: u32 = 5;
/// How often the bar is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// Follows a run.
pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    told: u32,
    last: Instant,
    read: Arc<AtomicU64>,
    size: Option<u64>,
}

impl Progress {
    /// `size` is that of the whole input in bytes, where it is known.
    pub fn new(when: When, quiet: bool, size: Option<u64>) -> Progress {
        let shown = match when {
            When::Auto => stderr().is_terminal() && !quiet,
            When::Always => true,
            When::Never => false,
        };
        let bar = shown.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(style("{spinner} {msg} {elapsed}"));
            bar
        });
        Progress { bar, quiet, told: 0, last: Instant::now(), read: Arc::default(), size }
    }

    /// Where the reader of the input counts bytes.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        self.read.clone()
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// The sum, where something failed.
    pub fn summary(&self, counts: &Counts) {
        if counts.failures() == 0 {
            return;
        }
        let kinds: Vec<String> = counts.failed.iter().map(|(kind, n)| format!("{n} {}", kind.name())).collect();
        eprintln!("wasmpool: {} of {} items failed: {}", counts.failures(), counts.done, kinds.join(", "));
    }

    fn say(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.println(message),
            None => eprintln!("{message}"),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Watcher for Progress {
    fn failed(&mut self, index: u64, failure: &Failure) {
        if self.quiet || self.told > TOLD {
            return;
        }
        self.told += 1;
        if self.told > TOLD {
            self.say("wasmpool: more items failed; --output-format records tells of each");
            return;
        }
        self.say(&format!("wasmpool: item {index} failed: {}: {}", failure.kind.name(), failure.message));
    }

    fn tick(&mut self, items: u64, counts: &Counts) {
        let Some(bar) = &self.bar else {
            return;
        };
        if self.last.elapsed() < EVERY {
            return;
        }
        self.last = Instant::now();
        // How many items there will be is known from the share of the input's bytes they were read from.
        let read = self.read.load(Ordering::Relaxed);
        if let Some(size) = self.size
            && read > 0
            && items > 0
        {
            if bar.length().is_none() {
                bar.set_style(style("{bar:30} {percent}% {msg} {elapsed} left {eta}"));
            }
            bar.set_length((items as f64 * size as f64 / read as f64) as u64);
        }
        bar.set_position(counts.done);
        bar.set_message(format!("{} done, {} failed, {:.0}/s", counts.done, counts.failures(), bar.per_sec()));
        bar.tick();
    }
}
