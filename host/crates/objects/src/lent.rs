//! Dicts and lists, of which one participant at a time may set or append without asking, and dicts of which participants
//! may remember entries.
//!
//! Who may set entries without asking is the only one that uses the dict: as soon as another asks for anything, it has to
//! ask, too. So nobody else remembers an entry that it sets.

use std::collections::BTreeSet;

use smallvec::SmallVec;
use wasmpool_core::share::ObjectQuota;

use crate::context::{Asker, Context, Step};
use crate::credits::Credits;
use crate::dict::Dict;
use crate::events::{ParticipantId, Violation};
use crate::fast::PutOnCredit;
use crate::list::List;
use crate::operation::{Answer, Operation};
use crate::usage::{Usage, room};

/// Takes back all credit before somebody changes the object. What is on the way comes as if it had been asked for at the
/// same time.
fn take_back(credits: &mut Credits, asker: &Asker, context: &mut Context) {
    credits.take_back(context);
    if credits.has(asker.participant) {
        // It sends nothing between subtracting credit and putting what it subtracted it for.
        let what = "subtracted credit and put nothing";
        context.outputs.violations.push(Violation { participant: asker.participant, what });
    }
}

/// Lends room to a participant that may go on as it began.
fn lend(credits: &mut Credits, asker: &Asker, same: bool, room: Usage, context: &mut Context) {
    if asker.fast {
        credits.grant(asker.participant, same, room, context);
    }
}

// ---- lists -----------------------------------------------------------------------------------------------------------

#[derive(Debug, Default)]
pub(crate) struct LentList {
    list: List,
    quota: ObjectQuota,
    credits: Credits,
}

impl LentList {
    pub(crate) fn new(quota: ObjectQuota) -> LentList {
        LentList { quota, ..LentList::default() }
    }

    pub(crate) fn ask(&mut self, asker: &Asker, operation: Operation, context: &mut Context) -> Step {
        let same = self.credits.has(asker.participant);
        let appends = matches!(operation, Operation::ListExtend(_));
        if operation.changes_entries() {
            take_back(&mut self.credits, asker, context);
        }
        let answer = self.apply(operation);
        if appends && answer.is_ok() {
            let room = room(self.list.usage(), self.credits.lent(), &self.quota);
            lend(&mut self.credits, asker, same, room, context);
        }
        Step::Answer(answer)
    }

    fn apply(&mut self, operation: Operation) -> Answer {
        self.list.lent = self.credits.lent();
        self.list.apply(operation, &self.quota)
    }

    /// Appends an element. Returns false if there was no credit for it.
    pub(crate) fn put_on_credit(&mut self, who: ParticipantId, put: PutOnCredit, context: &mut Context) -> bool {
        let spent = put.key.is_none() && self.credits.spend(who, put.cost(), context);
        if spent {
            self.list.push_reserved(put.message);
        }
        spent
    }

    pub(crate) fn creditors(&self) -> SmallVec<[ParticipantId; 2]> {
        self.credits.creditors()
    }

    pub(crate) fn left(&mut self, participant: ParticipantId, context: &mut Context) {
        self.credits.left(participant, context);
    }

    pub(crate) fn elements(&self) -> impl Iterator<Item = &[u8]> {
        self.list.elements()
    }

    /// Adds elements, which fit, before anybody uses the list.
    pub(crate) fn fill(&mut self, elements: Vec<Vec<u8>>) {
        drop(self.apply(Operation::ListExtend(elements)));
    }
}

// ---- dicts -----------------------------------------------------------------------------------------------------------

#[derive(Debug, Default)]
pub(crate) struct LentDict {
    dict: Dict,
    quota: ObjectQuota,
    credits: Credits,
    on_the_way: Option<OnTheWay>,
    /// Those who may remember entries.
    readers: BTreeSet<ParticipantId>,
}

/// Entries that a participant is about to put on credit, and that it has told its guest the versions of.
#[derive(Clone, Copy, Debug)]
struct OnTheWay {
    participant: ParticipantId,
    /// Version of the next of them, and how many there are.
    version: u64,
    count: u64,
}

impl LentDict {
    pub(crate) fn new(quota: ObjectQuota) -> LentDict {
        LentDict { quota, ..LentDict::default() }
    }

    pub(crate) fn ask(&mut self, asker: &Asker, operation: Operation, context: &mut Context) -> Step {
        let same = self.credits.has(asker.participant);
        let (changes, sets) = (operation.changes_entries(), matches!(operation, Operation::DictSet(..)));
        let is_remembered = sets || matches!(operation, Operation::DictGet(_));
        if changes || self.credits.holder().is_some_and(|holder| holder != asker.participant) {
            self.take_back(asker, context);
        }
        let answer = self.apply(operation);
        if answer.is_ok() {
            if changes {
                self.tell_readers(asker.participant, context);
            }
            if is_remembered && asker.fast {
                self.let_remember(asker.participant, context);
            }
            if sets {
                let room = room(self.dict.usage(), self.credits.lent(), &self.quota);
                lend(&mut self.credits, asker, same, room, context);
            }
        }
        Step::Answer(answer)
    }

    /// Lets a participant remember what it is answered, unless another may set it without asking: that would be done
    /// before this one could be told.
    fn let_remember(&mut self, participant: ParticipantId, context: &mut Context) {
        match self.credits.creditors().iter().all(|creditor| *creditor == participant) {
            true => drop(self.readers.insert(participant)),
            false => context.fast.tell_change(participant, context.object),
        }
    }

    fn apply(&mut self, operation: Operation) -> Answer {
        self.dict.lent = self.credits.lent();
        self.dict.apply(operation, &self.quota)
    }

    /// Takes back all credit. Whoever put something that has not come yet knows which versions it has, so nothing else
    /// gets these.
    fn take_back(&mut self, asker: &Asker, context: &mut Context) {
        let holder = self.credits.holder();
        take_back(&mut self.credits, asker, context);
        if let Some(participant) = holder {
            let count = self.credits.on_the_way(participant);
            let version = self.dict.reserve(count);
            self.on_the_way = (count > 0).then_some(OnTheWay { participant, version, count });
        }
    }

    /// Tells all but one that what they remember is not true any more.
    fn tell_readers(&mut self, but: ParticipantId, context: &mut Context) {
        let remains = self.readers.remove(&but);
        for reader in std::mem::take(&mut self.readers) {
            context.fast.tell_change(reader, context.object);
        }
        if remains {
            self.readers.insert(but);
        }
    }

    /// Sets an entry. Returns false if there was no credit for it.
    pub(crate) fn put_on_credit(&mut self, who: ParticipantId, put: PutOnCredit, context: &mut Context) -> bool {
        let cost = put.cost();
        let Some(key) = put.key else { return false };
        if !self.credits.spend(who, cost, context) {
            return false;
        }
        let version = self.next_version(who);
        self.dict.set_reserved(key, put.message, version);
        true
    }

    fn next_version(&mut self, who: ParticipantId) -> u64 {
        match &mut self.on_the_way {
            Some(on_the_way) if on_the_way.participant == who && on_the_way.count > 0 => {
                let version = on_the_way.version;
                on_the_way.version += 1;
                on_the_way.count -= 1;
                version
            }
            _ => self.dict.reserve(1),
        }
    }

    pub(crate) fn creditors(&self) -> SmallVec<[ParticipantId; 2]> {
        self.credits.creditors()
    }

    pub(crate) fn left(&mut self, participant: ParticipantId, context: &mut Context) {
        self.credits.left(participant, context);
        self.readers.remove(&participant);
        self.on_the_way.take_if(|on_the_way| on_the_way.participant == participant);
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.dict.entries()
    }

    /// Adds entries, which fit, before anybody uses the dict.
    pub(crate) fn fill(&mut self, entries: Vec<(String, Vec<u8>)>) {
        drop(self.apply(Operation::DictSetMany(entries)));
    }
}
