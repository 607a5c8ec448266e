//! The line that shows a run's progress, cut to the width of the terminal.

use std::time::Duration;

/// What the line shows.
#[derive(Clone, Copy, Debug)]
pub struct ProgressFigures {
    pub done: u64,
    pub failed: u64,
    /// Number of items in all, if it can be told, and whether it is known for certain.
    pub all: Option<(u64, bool)>,
    /// Items of a second, of late.
    pub rate: Option<f64>,
    pub left: Option<Duration>,
    pub elapsed: Duration,
    /// What is counted: `items`, or `results` where each item has several.
    pub noun: &'static str,
}

/// The widths of the bar, with its brackets.
const NARROWEST_BAR: usize = 12;
const WIDEST_BAR: usize = 42;

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// What a line has of the figures.
#[derive(Clone, Copy, Debug)]
struct Parts {
    bar: bool,
    percent: bool,
    of_all: bool,
    rate: bool,
    left: bool,
    elapsed: bool,
    failed: bool,
}

const ALL: Parts =
    Parts { bar: true, percent: true, of_all: true, rate: true, left: true, elapsed: true, failed: true };

/// What is shown, from the widest terminal to the narrowest.
const CHOICES: [Parts; 9] = [
    ALL,
    Parts { elapsed: false, ..ALL },
    Parts { elapsed: false, of_all: false, ..ALL },
    Parts { elapsed: false, of_all: false, bar: false, ..ALL },
    Parts { elapsed: false, of_all: false, bar: false, rate: false, ..ALL },
    Parts { elapsed: false, of_all: false, bar: false, rate: false, percent: false, ..ALL },
    Parts { elapsed: false, of_all: false, bar: false, rate: false, left: false, ..ALL },
    Parts { elapsed: false, of_all: false, bar: false, rate: false, left: false, percent: false, ..ALL },
    Parts { bar: false, percent: false, of_all: false, rate: false, left: false, elapsed: false, failed: false },
];

impl ProgressFigures {
    /// Returns the richest line that is shorter than `width` columns.
    pub fn line(&self, width: usize, colours: bool) -> String {
        let most = width.saturating_sub(1);
        let fitting = CHOICES.iter().find_map(|&parts| {
            let bar = if parts.bar && self.share().is_some() { NARROWEST_BAR + 1 } else { 0 };
            let text = self.text(parts, false);
            let room = most.checked_sub(text.len() + bar)?;
            let bar = if bar > 0 { self.bar((NARROWEST_BAR + room).min(WIDEST_BAR), colours) } else { String::new() };
            Some(bar + &self.text(parts, colours))
        });
        fitting.unwrap_or_else(|| self.done.to_string().chars().take(most).collect())
    }

    /// Returns the line that is printed where no other can be replaced by it.
    pub fn sentence(&self) -> String {
        self.text(Parts { bar: false, ..ALL }, false)
    }

    /// Returns the part of all items that is done.
    fn share(&self) -> Option<f64> {
        let (all, _) = self.all?;
        (all > 0).then(|| (self.done as f64 / all as f64).min(1.0))
    }

    fn bar(&self, width: usize, colours: bool) -> String {
        let room = width - 2;
        let full = (self.share().unwrap_or_default() * room as f64) as usize;
        let tip = usize::from(full < room);
        let (green, plain) = if colours { (GREEN, PLAIN) } else { ("", "") };
        format!("[{green}{}{}{plain}{}] ", "=".repeat(full), ">".repeat(tip), " ".repeat(room - full - tip))
    }

    fn text(&self, parts: Parts, colours: bool) -> String {
        let mut texts = Vec::new();
        let noun = self.noun;
        let percent = match self.share() {
            Some(share) if parts.percent => format!("{}%  ", (share * 100.0) as u64),
            _ => String::new(),
        };
        texts.push(match self.all {
            Some((all, true)) if parts.of_all => format!("{} of {} {noun}", grouped(self.done), grouped(all)),
            Some((all, false)) if parts.of_all => format!("{} of about {} {noun}", grouped(self.done), grouped(all)),
            _ => format!("{} {noun}", grouped(self.done)),
        });
        if parts.failed {
            let failed = format!("{} failed", grouped(self.failed));
            texts.push(if colours && self.failed > 0 { format!("{RED}{failed}{PLAIN}") } else { failed });
        }
        if let Some(rate) = self.rate.filter(|_| parts.rate) {
            texts.push(rate_said(rate, noun));
        }
        if let Some(left) = self.left.filter(|_| parts.left) {
            texts.push(format!("{} left", duration_said(left)));
        }
        // Where the end is not known, the time shows that something goes on.
        if parts.elapsed || (parts.left && self.all.is_none()) {
            texts.push(format!("{} so far", duration_said(self.elapsed)));
        }
        percent + &texts.join(", ")
    }
}

/// Returns a number with its thousands grouped.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a rate in words.
pub fn rate_said(rate: f64, noun: &str) -> String {
    match rate {
        rate if rate >= 10.0 => format!("{} {noun}/s", grouped(rate.round() as u64)),
        rate if rate >= 1.0 => format!("{rate:.1} {noun}/s"),
        rate if rate * 60.0 >= 1.0 => format!("{:.1} {noun}/min", rate * 60.0),
        rate => format!("{:.1} {noun}/h", rate * 3600.0),
    }
}

/// Returns a duration in words, in its two largest units.
pub fn duration_said(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let two = |large: u64, unit: &str, small: u64, below: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {below}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// Returns a duration that has passed in words, with a tenth of a second where it is short.
pub fn elapsed_said(elapsed: Duration) -> String {
    match elapsed.as_secs_f64() {
        seconds if seconds < 0.9995 => format!("{:.0} ms", seconds * 1000.0),
        seconds if seconds < 59.95 => format!("{seconds:.1} s"),
        _ => duration_said(elapsed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn columns(line: &str) -> usize {
        [GREEN, RED, PLAIN].iter().fold(line.to_owned(), |line, code| line.replace(code, "")).chars().count()
    }

    fn figures() -> impl Strategy<Value = ProgressFigures> {
        let numbers = (any::<u32>(), any::<u32>(), proptest::option::of((any::<u64>(), any::<bool>())));
        let times = (proptest::option::of(0.0..1e9_f64), proptest::option::of(0..10_000_000_u64), 0..10_000_000_u64);
        (numbers, times).prop_map(|((done, failed, all), (rate, left, elapsed))| ProgressFigures {
            done: done.into(),
            failed: failed.into(),
            all,
            rate,
            left: left.map(Duration::from_secs),
            elapsed: Duration::from_secs(elapsed),
            noun: "items",
        })
    }

    proptest! {
        #[test]
        fn the_line_is_shorter_than_the_terminal_is_wide_and_says_what_is_done(figures in figures(), width in 0..300_usize, colours: bool) {
            let line = figures.line(width, colours);
            prop_assert!(columns(&line) <= width.saturating_sub(1), "{:?} of {}", line, width);
            if width > 26 {
                prop_assert!(line.contains(&format!("{} items", grouped(figures.done))) || line.contains(" of "), "{:?}", line);
            }
            prop_assert!(!line.contains('\n'));
            if !colours {
                prop_assert!(!line.contains('\x1b'));
            }
        }

        #[test]
        fn a_wider_terminal_shows_no_less(figures in figures(), width in 30..200_usize) {
            let (narrow, wide) = (figures.line(width, false), figures.line(width + 1, false));
            prop_assert!(wide.len() >= narrow.len(), "{:?} {:?}", narrow, wide);
        }
    }

    #[test]
    fn what_the_numbers_mean_stands_beside_them() {
        let figures = ProgressFigures {
            done: 1234,
            failed: 3,
            all: Some((10_000, false)),
            rate: Some(812.4),
            left: Some(Duration::from_secs(11)),
            elapsed: Duration::from_secs(2),
            noun: "items",
        };
        let lines = [
            (40, "12%  1,234 items, 3 failed, 11 s left"),
            (60, "12%  1,234 items, 3 failed, 812 items/s, 11 s left"),
            (80, "[=>        ] 12%  1,234 of about 10,000 items, 3 failed, 812 items/s, 11 s left"),
            (
                200,
                "[====>                                   ] 12%  1,234 of about 10,000 items, 3 failed, 812 items/s, \
                 11 s left, 2 s so far",
            ),
        ];
        for (width, line) in lines {
            assert_eq!(figures.line(width, false), line);
        }
        let open = ProgressFigures { all: None, left: None, ..figures };
        assert_eq!(open.line(80, false), "1,234 items, 3 failed, 812 items/s, 2 s so far");
    }

    #[test]
    fn numbers_and_times_are_said_as_people_say_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.001, 0.5, 2.34, 1e4].map(|rate| rate_said(rate, "items")),
            ["3.6 items/h", "30.0 items/min", "2.3 items/s", "10,000 items/s"]
        );
        let times = [0, 59, 60, 200, 7200, 7500, 90_000].map(|seconds| duration_said(Duration::from_secs(seconds)));
        assert_eq!(times, ["0 s", "59 s", "1 min", "3 min 20 s", "2 h", "2 h 5 min", "1 d 1 h"]);
        assert_eq!(
            [4, 999, 1000, 12_345].map(|ms| elapsed_said(Duration::from_millis(ms))),
            ["4 ms", "999 ms", "1.0 s", "12.3 s"]
        );
    }
}
