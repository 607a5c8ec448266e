//! Where the items of a batch came from.
//!
//! Most items stand on consecutive lines of one input, so what is kept is where such a run of lines begins: an item that is
//! like the one before it costs nothing.

use std::fmt::{self, Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

/// The places of consecutive items, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemPlaces {
    /// By the first item, as its number in the batch.
    runs: Vec<PlaceRun>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PlaceRun {
    first: usize,
    place: StoredPlace,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum StoredPlace {
    /// This line of an input; each further item of the run is one line further down.
    Line { input: Arc<str>, line: u64 },
    /// A place with a name of its own, of one item.
    Named { source: Box<str>, index: Option<u64> },
}

/// Where an item came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemPlace<'a> {
    /// A line of an input, counted from 1.
    Line { input: &'a str, line: u64 },
    /// A file, or what an earlier run called the place of the item, with the index that it had there.
    Named { source: &'a str, index: Option<u64> },
}

impl Display for ItemPlace<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            ItemPlace::Line { input, line } => write!(f, "{input}:{line}"),
            ItemPlace::Named { source, .. } => f.write_str(source),
        }
    }
}

impl ItemPlaces {
    /// Returns the place of an item.
    pub fn of(&self, item: usize) -> Option<ItemPlace<'_>> {
        let behind = self.runs.partition_point(|run| run.first <= item);
        let PlaceRun { first, place } = self.runs.get(behind.checked_sub(1)?)?;
        match place {
            StoredPlace::Line { input, line } => Some(ItemPlace::Line { input, line: line + (item - first) as u64 }),
            StoredPlace::Named { source, index } if *first == item => Some(ItemPlace::Named { source, index: *index }),
            StoredPlace::Named { .. } => None,
        }
    }

    /// Notes that an item stands on this line, and those behind it on the lines that follow.
    pub(super) fn line(&mut self, item: usize, input: &Arc<str>, line: u64) {
        if let Some(PlaceRun { first, place: StoredPlace::Line { input: last, line: begin } }) = self.runs.last()
            && Arc::ptr_eq(last, input)
            && begin + (item - first) as u64 == line
        {
            return;
        }
        self.push(item, StoredPlace::Line { input: input.clone(), line });
    }

    /// Notes the place of one item.
    pub(super) fn named(&mut self, item: usize, source: &str, index: Option<u64>) {
        self.push(item, StoredPlace::Named { source: source.into(), index });
    }

    fn push(&mut self, first: usize, place: StoredPlace) {
        // An item of a line that turned out to be blank was never added.
        self.runs.pop_if(|run| run.first == first);
        self.runs.push(PlaceRun { first, place });
    }

    /// Appends the places of some items of another batch, the first of which becomes the item `at` here.
    pub(super) fn append(&mut self, at: usize, from: &ItemPlaces, items: Range<usize>) {
        let begin = from.runs.partition_point(|run| run.first <= items.start).saturating_sub(1);
        for PlaceRun { first, place } in from.runs[begin..].iter().take_while(|run| run.first < items.end) {
            let first = *first.max(&items.start);
            let here = at + (first - items.start);
            match (place, from.of(first)) {
                (StoredPlace::Line { input, .. }, Some(ItemPlace::Line { line, .. })) => self.line(here, input, line),
                (StoredPlace::Named { source, index }, Some(_)) => self.named(here, source, *index),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is noted of an item: nothing, the next line, some line of an input, or a name.
    #[derive(Clone, Debug)]
    enum Noted {
        Next,
        Line(usize, u64),
        Named(String),
    }

    fn noted() -> impl Strategy<Value = Noted> {
        prop_oneof![
            3 => Just(Noted::Next),
            1 => (0..2usize, 1..9u64).prop_map(|(input, line)| Noted::Line(input, line)),
            1 => "[a-z]{0,3}".prop_map(Noted::Named),
        ]
    }

    proptest! {
        #[test]
        fn every_item_has_the_place_that_was_noted_however_batches_are_cut(
            items in proptest::collection::vec(noted(), 0..30),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let inputs: [Arc<str>; 2] = ["a".into(), "b".into()];
            let mut places = ItemPlaces::default();
            let mut expected: Vec<Option<(String, u64)>> = Vec::new();
            for (item, noted) in items.iter().enumerate() {
                let last = expected.last().cloned().flatten();
                expected.push(match noted {
                    // Behind a line stands the next; behind a name nothing is known.
                    Noted::Next => last.filter(|(_, line)| *line > 0).map(|(input, line)| (input, line + 1)),
                    Noted::Line(input, line) => {
                        places.line(item, &inputs[*input], *line);
                        Some((inputs[*input].to_string(), *line))
                    }
                    Noted::Named(name) => {
                        places.named(item, name, Some(7));
                        Some((name.clone(), 0))
                    }
                });
            }
            let told = |places: &ItemPlaces| -> Vec<Option<(String, u64)>> {
                let of = |item| match places.of(item)? {
                    ItemPlace::Line { input, line } => Some((input.to_owned(), line)),
                    ItemPlace::Named { source, .. } => Some((source.to_owned(), 0)),
                };
                (0..items.len()).map(of).collect()
            };
            prop_assert_eq!(&told(&places), &expected);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(items.len() + 1)).collect();
            cuts.extend([0, items.len()]);
            cuts.sort_unstable();
            let mut joined = ItemPlaces::default();
            for part in cuts.windows(2) {
                joined.append(part[0], &places, part[0]..part[1]);
            }
            prop_assert_eq!(told(&joined), expected);
        }
    }

    #[test]
    fn consecutive_lines_take_the_room_of_one() {
        let input: Arc<str> = "a".into();
        let mut places = ItemPlaces::default();
        (0..1000).for_each(|item| places.line(item, &input, 7 + item as u64));
        assert_eq!(places.runs.len(), 1);
        assert_eq!(places.of(999), Some(ItemPlace::Line { input: "a", line: 1006 }));
    }
}
