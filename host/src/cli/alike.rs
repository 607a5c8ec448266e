//! Finds out whether the first items of a run all fail in the same way: then the task or the input is probably not what
//! was meant, and whoever started the run wants to know it before the end.

use wasmpool_core::outcome::{Failure, FailureKind, OutcomeCounts};

/// Number of items that have to fail before that is said.
pub const MANY: u64 = 10;
/// Maximum number of characters of a message that are compared.
const COMPARED: usize = 200;

/// The first failures of a run.
#[derive(Debug, Default)]
pub struct FirstFailures {
    /// The kind and the form of the first one.
    first: Option<(FailureKind, String)>,
    /// True once the answer is known.
    is_known: bool,
}

impl FirstFailures {
    /// Notes a failure; `counts` are those of the run with it. Returns true, once, if [`MANY`] items are done and all of
    /// them failed alike.
    pub fn note(&mut self, failure: &Failure, counts: &OutcomeCounts) -> bool {
        if self.is_known {
            return false;
        }
        let form = (failure.kind, form(failure));
        let is_alike = *self.first.get_or_insert_with(|| form.clone()) == form;
        if !is_alike || counts.failures() < counts.done {
            self.is_known = true;
            return false;
        }
        self.is_known = counts.done >= MANY;
        self.is_known
    }
}

/// Returns what an item's failure has in common with others that have the same cause. Input of another format than the one
/// that is read is wrong in many ways.
fn form(failure: &Failure) -> String {
    match failure.kind {
        FailureKind::InvalidInput => String::new(),
        _ => of_message(&failure.message),
    }
}

/// Returns a message without what differs from item to item: numbers, and what is quoted.
fn of_message(message: &str) -> String {
    let mut form = String::new();
    let mut chars = message.chars().take(COMPARED);
    while let Some(c) = chars.next() {
        match c {
            '"' | '`' => {
                form.push(c);
                chars.by_ref().find(|other| *other == c);
            }
            c if c.is_numeric() => {
                if !form.ends_with('#') {
                    form.push('#');
                }
            }
            c => form.push(c),
        }
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns after how many of these outcomes it is said that all failed alike.
    fn said(outcomes: impl IntoIterator<Item = Option<(FailureKind, String)>>) -> Vec<u64> {
        let (mut first, mut counts, mut said) = (FirstFailures::default(), OutcomeCounts::default(), Vec::new());
        for outcome in outcomes {
            counts.count(outcome.as_ref().map(|(kind, _)| *kind));
            let failure = outcome.map(|(kind, message)| Failure::new(kind, message));
            if failure.is_some_and(|failure| first.note(&failure, &counts)) {
                said.push(counts.done);
            }
        }
        said
    }

    fn misfit(item: u64) -> Option<(FailureKind, String)> {
        Some((FailureKind::InvalidInput, format!("expected u32, got \"x{item}\", at {item}")))
    }

    #[test]
    fn failures_that_differ_in_numbers_and_quotes_are_alike_and_that_is_said_once() {
        assert_eq!(said((0..100).map(misfit)), [MANY]);
        assert_eq!(said((0..MANY - 1).map(misfit)), [0; 0]);
    }

    #[test]
    fn items_that_are_no_input_are_alike_whatever_is_wrong_with_each() {
        let ways = ["no value begins at column 1", "more follows the value at column 3", "expected `,` or `]`"];
        let items = ways.iter().cycle().take(20).map(|way| Some((FailureKind::InvalidInput, (*way).to_owned())));
        assert_eq!(said(items), [MANY]);
    }

    #[test]
    fn nothing_is_said_where_an_item_succeeded_or_failed_otherwise() {
        let other = || Some((FailureKind::Trap, "expected u32".to_owned()));
        for (place, odd) in [(0, None), (3, None), (3, other()), (9, other())] {
            let outcomes = (0..100).map(|item| if item == place { odd.clone() } else { misfit(item) });
            assert_eq!(said(outcomes), [0; 0], "{place}, {odd:?}");
        }
        let message = |text: &str| Some((FailureKind::Error, text.to_owned()));
        assert_eq!(said((0..20).map(|item| message(if item % 2 == 0 { "no stock" } else { "no price" }))), [0; 0]);
    }
}
