//! Finds processes that can never end, since each waits for another.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{PlannedProcess, Until};
use crate::cli::share::SharedObject;
use wasmpool_core::share::ObjectForm;

/// Something that happens once in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Start(usize),
    End(usize),
}

/// Returns the places of processes that wait for each other in a circle, so that none of them ever ends.
pub fn of(processes: &[PlannedProcess], objects: &[SharedObject]) -> BTreeSet<usize> {
    let mut waits: BTreeMap<Moment, Vec<Moment>> = BTreeMap::new();
    for (place, process) in processes.iter().enumerate() {
        waits.entry(Moment::End(place)).or_default().push(Moment::Start(place));
        for after in &process.after {
            let awaited = match after.until {
                Until::Started => Moment::Start(after.process),
                Until::Ended => Moment::End(after.process),
            };
            waits.entry(Moment::Start(place)).or_default().push(awaited);
        }
        if let Some(writer) = process.stdin {
            // Its input ends with the writer, and a writer whose pipe is full waits for it.
            waits.entry(Moment::End(place)).or_default().push(Moment::End(writer));
            waits.entry(Moment::End(writer)).or_default().push(Moment::Start(place));
        }
    }
    for (receiver, sender) in one_way_pipes(processes, objects) {
        // What it receives begins and ends with the sender.
        waits.entry(Moment::End(receiver)).or_default().push(Moment::Start(sender));
    }
    let mut waits: BTreeSet<(Moment, Moment)> =
        waits.into_iter().flat_map(|(one, others)| others.into_iter().map(move |other| (one, other))).collect();
    // What waits for nothing happens, and what nobody waits for is in no circle. The rest is in circles, or between two.
    loop {
        let before = waits.len();
        let waiting: BTreeSet<Moment> = waits.iter().map(|(one, _)| *one).collect();
        waits.retain(|(_, other)| waiting.contains(other));
        let awaited: BTreeSet<Moment> = waits.iter().map(|(_, other)| *other).collect();
        waits.retain(|(one, _)| awaited.contains(one));
        if waits.len() == before {
            break;
        }
    }
    let places = waits.into_iter().map(|(one, _)| match one {
        Moment::Start(place) | Moment::End(place) => place,
    });
    places.collect()
}

/// Returns which process receives and which one sends at each pipe between two processes that goes in one direction.
fn one_way_pipes(processes: &[PlannedProcess], objects: &[SharedObject]) -> Vec<(usize, usize)> {
    let mut pipes = Vec::new();
    for (pipe, object) in objects.iter().enumerate() {
        if !matches!(object.spec.form, ObjectForm::Pipe { duplex: false }) {
            continue;
        }
        let holders = processes.iter().enumerate().filter_map(|(place, process)| {
            let (_, rights) = process.rights.iter().find(|(object, _)| *object == pipe)?;
            Some((place, rights.first, rights.second))
        });
        match holders.collect::<Vec<_>>().as_slice() {
            [(receiver, true, false), (sender, false, true)] | [(sender, false, true), (receiver, true, false)] => {
                pipes.push((*receiver, *sender));
            }
            _ => {}
        }
    }
    pipes
}
