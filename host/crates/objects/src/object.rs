//! One object of any kind.

use smallvec::SmallVec;
use wasmpool_core::share::{ObjectForm, ObjectSpec};

use crate::contents::Contents;
use crate::context::{Asker, Context, Ending, Step, wrong_kind};
use crate::events::ParticipantId;
use crate::fast::PutOnCredit;
use crate::lent::{LentDict, LentList};
use crate::operation::Operation;
use crate::pipe::Pipe;
use crate::queue::Queue;
use crate::sync::barrier::Barrier;
use crate::sync::condition::Condition;
use crate::sync::event::Event;
use crate::sync::lock::Lock;
use crate::sync::semaphore::Semaphore;
use crate::waits::WaitId;

#[derive(Debug)]
pub(crate) enum Object {
    Queue(Box<Queue>),
    Pipe(Box<Pipe>),
    Lock(Lock),
    Semaphore(Semaphore),
    Event(Event),
    Condition(Condition),
    Barrier(Barrier),
    Dict(Box<LentDict>),
    List(Box<LentList>),
    /// Values and arrays are in the memory of those who use them.
    Mapped,
}

impl Object {
    pub(crate) fn new(spec: &ObjectSpec) -> Object {
        match spec.form {
            ObjectForm::Queue { capacity } => Object::Queue(Box::new(Queue::new(capacity, spec.quota))),
            ObjectForm::Pipe { duplex } => Object::Pipe(Box::new(Pipe::new(duplex, spec.quota))),
            ObjectForm::Lock => Object::Lock(Lock::lent(false)),
            ObjectForm::Rlock => Object::Lock(Lock::lent(true)),
            ObjectForm::Semaphore { slots, bounded } => Object::Semaphore(Semaphore::new(slots, bounded)),
            ObjectForm::Event => Object::Event(Event::default()),
            ObjectForm::Condition => Object::Condition(Condition::new()),
            ObjectForm::Barrier { parties } => Object::Barrier(Barrier::new(parties)),
            ObjectForm::Dict | ObjectForm::Namespace => Object::Dict(Box::new(LentDict::new(spec.quota))),
            ObjectForm::List => Object::List(Box::new(LentList::new(spec.quota))),
            ObjectForm::Value(_) | ObjectForm::Array(..) => Object::Mapped,
        }
    }

    pub(crate) fn ask(&mut self, asker: &Asker, operation: Operation, context: &mut Context) -> Step {
        match self {
            Object::Queue(queue) => queue.ask(asker, operation, context),
            Object::Pipe(pipe) => pipe.ask(asker, operation, context),
            Object::Lock(lock) => lock.ask(asker, &operation, context),
            Object::Semaphore(semaphore) => semaphore.ask(asker, &operation, context),
            Object::Event(event) => event.ask(asker, &operation, context),
            Object::Condition(condition) => condition.ask(asker, &operation, context),
            Object::Barrier(barrier) => barrier.ask(asker, &operation, context),
            Object::Dict(dict) => dict.ask(asker, operation, context),
            Object::List(list) => list.ask(asker, operation, context),
            Object::Mapped => Step::Answer(Err(wrong_kind("a number in shared memory"))),
        }
    }

    /// Ends a request whose time is over, or lets it wait on without a deadline.
    pub(crate) fn timed_out(&mut self, id: WaitId, who: &str, context: &mut Context) -> Step {
        match self {
            Object::Queue(queue) => queue.timed_out(id, context),
            Object::Pipe(pipe) => pipe.timed_out(id, context),
            Object::Lock(lock) => lock.timed_out(id),
            Object::Semaphore(semaphore) => semaphore.timed_out(id),
            Object::Event(event) => event.timed_out(id),
            Object::Condition(condition) => condition.timed_out(id),
            Object::Barrier(barrier) => barrier.timed_out(id, who, context),
            Object::Dict(..) | Object::List(..) | Object::Mapped => Step::Wait,
        }
    }

    /// Forgets a request that waits, because the item of `who` ended.
    pub(crate) fn dropped(&mut self, id: WaitId, who: &str, context: &mut Context) {
        match self {
            Object::Queue(queue) => queue.dropped(id),
            Object::Pipe(pipe) => pipe.dropped(id),
            Object::Lock(lock) => drop(lock.dropped(id)),
            Object::Semaphore(semaphore) => semaphore.dropped(id),
            Object::Event(event) => event.dropped(id),
            Object::Condition(condition) => condition.dropped(id, context),
            Object::Barrier(barrier) => barrier.dropped(id, who, context),
            Object::Dict(..) | Object::List(..) | Object::Mapped => {}
        }
    }

    /// Releases what the participant's item holds.
    pub(crate) fn ended(&mut self, ending: &Ending, context: &mut Context) {
        match self {
            Object::Queue(queue) => queue.ended(ending, context),
            Object::Pipe(pipe) => pipe.ended(ending, context),
            Object::Lock(lock) => lock.ended(ending, context),
            Object::Semaphore(semaphore) => semaphore.ended(ending, context),
            Object::Condition(condition) => condition.ended(ending, context),
            Object::Barrier(barrier) => barrier.ended(ending, context),
            Object::Event(_) | Object::Dict(..) | Object::List(..) | Object::Mapped => {}
        }
    }

    /// Takes back what the participant itself holds, which has ended.
    pub(crate) fn left(&mut self, participant: ParticipantId, context: &mut Context) {
        match self {
            Object::Queue(queue) => queue.left(participant, context),
            Object::Dict(dict) => dict.left(participant, context),
            Object::List(list) => list.left(participant, context),
            _ => {}
        }
    }

    /// Adds what was put on credit. Returns false if there was no credit for it.
    pub(crate) fn put_on_credit(
        &mut self,
        participant: ParticipantId,
        put: PutOnCredit,
        context: &mut Context,
    ) -> bool {
        match self {
            Object::Queue(queue) if put.key.is_none() => queue.put_on_credit(participant, put.message, context),
            Object::Dict(dict) => dict.put_on_credit(participant, put, context),
            Object::List(list) => list.put_on_credit(participant, put, context),
            _ => false,
        }
    }

    /// Returns the participants of which puts on credit may still come.
    pub(crate) fn creditors(&self) -> SmallVec<[ParticipantId; 2]> {
        match self {
            Object::Queue(queue) => queue.creditors(),
            Object::Dict(dict) => dict.creditors(),
            Object::List(list) => list.creditors(),
            _ => SmallVec::new(),
        }
    }

    /// Looks at what was taken or released, and says what is wanted. Returns the participants that were just told that their puts
    /// are wanted, and may have put something before.
    pub(crate) fn settle(&mut self, context: &mut Context) -> SmallVec<[ParticipantId; 2]> {
        match self {
            Object::Queue(queue) => queue.settle(context),
            Object::Lock(lock) => {
                lock.settle(context);
                SmallVec::new()
            }
            _ => SmallVec::new(),
        }
    }

    /// Returns true if somebody waits for a participant to take messages that it has ahead.
    pub(crate) fn looks(&self) -> bool {
        matches!(self, Object::Queue(queue) if queue.looks())
    }

    /// Returns what the object holds.
    pub(crate) fn contents(&self) -> Option<Contents> {
        match self {
            Object::Queue(queue) => Some(Contents::Sequence(queue.messages())),
            Object::Lock(lock) => Some(Contents::Flag(lock.is_held())),
            Object::Semaphore(semaphore) => Some(Contents::Slots(semaphore.slots())),
            Object::Event(event) => Some(Contents::Flag(event.is_set())),
            Object::Condition(condition) => Some(Contents::Flag(condition.is_held())),
            Object::Dict(dict) => {
                let entries = dict.entries().map(|(key, value)| (key.to_owned(), value.to_owned()));
                Some(Contents::Entries(entries.collect()))
            }
            Object::List(list) => Some(Contents::Sequence(list.elements().map(<[u8]>::to_vec).collect())),
            Object::Pipe(_) | Object::Barrier(_) | Object::Mapped => None,
        }
    }

    /// Adds contents, which fit this object, before anybody uses it.
    pub(crate) fn fill(&mut self, contents: Contents) {
        match (self, contents) {
            (Object::Queue(queue), Contents::Sequence(messages)) => queue.fill(messages),
            (Object::Semaphore(semaphore), Contents::Slots(slots)) => semaphore.fill(slots),
            (Object::Event(event), Contents::Flag(set)) => event.fill(set),
            // Neither can be refused: the quotas were checked.
            (Object::Dict(dict), Contents::Entries(entries)) => dict.fill(entries.into_iter().collect()),
            (Object::List(list), Contents::Sequence(all)) => list.fill(all),
            _ => {}
        }
    }
}
