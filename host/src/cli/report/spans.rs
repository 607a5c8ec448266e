//! Bounded collections: of the longest of very many spans of time, and of the first and last of very many events.

use std::collections::VecDeque;

/// A span of time of a row, in nanoseconds since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<T> {
    pub row: usize,
    pub from: u64,
    pub to: u64,
    /// How long it took: of an item what its worker says, which is not told exactly by where it stands.
    pub took: u64,
    pub what: T,
}

impl<T> Span<T> {
    /// Makes a span that took as long as it lasts.
    pub fn between(row: usize, from: u64, to: u64, what: T) -> Span<T> {
        Span { row, from, to, took: to.saturating_sub(from), what }
    }
}

/// The longest spans. If all are of one length, some of them.
#[derive(Clone, Debug)]
pub struct Spans<T> {
    most: usize,
    least: u64,
    spans: Vec<Span<T>>,
    left_out: u64,
}

impl<T> Spans<T> {
    /// Keeps at most this many, and at least half as many if there are.
    pub fn at_most(most: usize) -> Spans<T> {
        Spans { most: most.max(2), least: 0, spans: Vec::new(), left_out: 0 }
    }

    /// Returns the length from which a span is kept.
    #[inline]
    pub fn least(&self) -> u64 {
        self.least
    }

    /// Counts a span that is too short to be kept.
    #[inline]
    pub fn leave_out(&mut self) {
        self.left_out += 1;
    }

    pub fn push(&mut self, span: Span<T>) {
        if self.spans.len() == self.most {
            self.thin();
        }
        match span.took < self.least {
            true => self.leave_out(),
            false => self.spans.push(span),
        }
    }

    /// Leaves out the shorter half.
    fn thin(&mut self) {
        let keep = self.most / 2;
        let mut lengths: Vec<u64> = self.spans.iter().map(|span| span.took).collect();
        let (_, &mut least, longer) = lengths.select_nth_unstable(self.most - keep);
        // Of those that are as long as the shortest that are kept, there may be more than there is room for: then every
        // nth stays.
        let longer = longer.iter().filter(|&&length| length > least).count();
        let equal = self.spans.iter().filter(|span| span.took == least).count();
        let room = keep.saturating_sub(longer);
        let mut seen = 0;
        let before = self.spans.len();
        self.spans.retain(|span| match span.took.cmp(&least) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => {
                seen += 1;
                (seen * room).div_ceil(equal) > ((seen - 1) * room).div_ceil(equal)
            }
        });
        self.left_out += (before - self.spans.len()) as u64;
        self.least = least;
    }

    pub fn all(&self) -> &[Span<T>] {
        &self.spans
    }

    /// Returns the number of spans that were not kept.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Returns the longest of them, the longest first.
    pub fn longest(&self, most: usize) -> Vec<&Span<T>> {
        let mut spans: Vec<&Span<T>> = self.spans.iter().collect();
        spans.sort_by_key(|span| std::cmp::Reverse(span.took));
        spans.truncate(most);
        spans
    }
}

/// The first and the last of any number of events.
#[derive(Clone, Debug)]
pub struct FirstAndLast<T> {
    most: usize,
    first: Vec<T>,
    last: VecDeque<T>,
    left_out: u64,
}

impl<T> FirstAndLast<T> {
    /// Keeps at most this many of the first, and as many of the last.
    pub fn at_most(most: usize) -> FirstAndLast<T> {
        FirstAndLast { most, first: Vec::new(), last: VecDeque::new(), left_out: 0 }
    }

    pub fn push(&mut self, event: T) {
        if self.first.len() < self.most {
            return self.first.push(event);
        }
        if self.last.len() == self.most {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(event);
    }

    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.last)
    }

    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_longest_spans_are_kept_and_none_is_forgotten(lengths in proptest::collection::vec(0..50_u64, 0..500), most in 2..40_usize) {
            let mut spans = Spans::at_most(most);
            for (what, &length) in lengths.iter().enumerate() {
                spans.push(Span::between(0, 7, 7 + length, what));
            }
            prop_assert!(spans.all().len() <= most);
            prop_assert!(spans.all().len() >= lengths.len().min(most / 2));
            prop_assert_eq!(spans.all().len() as u64 + spans.left_out(), lengths.len() as u64);
            let longest = lengths.iter().max().copied().unwrap_or_default();
            prop_assert_eq!(spans.longest(1).first().map_or(0, |span| span.took), longest);
            let shortest = spans.all().iter().map(|span| span.took).min().unwrap_or_default();
            prop_assert!(shortest >= spans.least());
        }

        #[test]
        fn the_first_and_the_last_events_are_kept(count in 0..100_usize, most in 1..20_usize) {
            let mut events = FirstAndLast::at_most(most);
            (0..count).for_each(|event| events.push(event));
            let all: Vec<usize> = events.all().copied().collect();
            prop_assert_eq!(all.len() as u64 + events.left_out(), count as u64);
            prop_assert!(all.len() <= 2 * most && all.is_sorted());
            prop_assert_eq!((all.first().copied(), all.last().copied()), ((count > 0).then_some(0), count.checked_sub(1)));
        }
    }
}
