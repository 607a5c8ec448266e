//! Tests of the promises of shared objects. A row is one of the table of what Python's objects promise, and what is
//! promised here in its place; its number is in the comment of each test.

mod barriers;
mod conditions;
mod cost;
mod deadlines;
mod events;
mod fast_path;
mod hostile;
mod lent;
mod locks;
mod pipes;
mod queues;
mod semaphores;
mod words;

use std::time::Duration;

use wasmpool_core::share::{ObjectForm, ObjectQuota, ObjectRights, ObjectSpec};

use crate::fast::PutOnCredit;
use crate::operation::{Acquisition, Answer, ObjectError, Operation, Reply, Request};
use crate::{Answered, ItemEnding, Machine, Outputs, ParticipantId, ParticipantLimits, Ticket, Time, Violation};
use words::Words;

/// Participants that each test can use.
const ALL: u32 = 10;

/// A machine with one object, and participants 0 to 9, called `p0` to `p9`. Each asks one thing at a time, and its ticket
/// is its number.
struct Bench {
    machine: Machine,
    words: Words,
    now: Time,
    outputs: Outputs,
}

/// Many requests at a time, and no fast path.
const PLAIN: ParticipantLimits = ParticipantLimits { in_flight: 100, waiting_bytes: 1 << 20, fast: false };

fn spec(form: ObjectForm) -> ObjectSpec {
    ObjectSpec { name: "it".to_owned(), form, quota: ObjectQuota::default() }
}

impl Bench {
    fn new(form: ObjectForm) -> Bench {
        Bench::of(vec![spec(form)], PLAIN)
    }

    fn fast(form: ObjectForm) -> Bench {
        Bench::of(vec![spec(form)], ParticipantLimits::WORKER)
    }

    fn with_quota(form: ObjectForm, entries: u64, bytes: u64) -> Bench {
        Bench::of(vec![ObjectSpec { quota: ObjectQuota { entries, bytes }, ..spec(form) }], PLAIN)
    }

    fn of(specs: Vec<ObjectSpec>, limits: ParticipantLimits) -> Bench {
        let objects = specs.len() as u16;
        let mut machine = Machine::new(specs, ALL);
        for participant in 0..ALL {
            let grants: Vec<_> = (0..objects).map(|object| (object, ObjectRights::ALL)).collect();
            machine.join(participant, format!("p{participant}"), &grants, limits).unwrap();
        }
        Bench { machine, words: Words::default(), now: Duration::from_secs(1000), outputs: Outputs::default() }
    }

    /// Asks with a ticket and of an object of its own, and returns all that came of it.
    fn ask_of(
        &mut self,
        participant: ParticipantId,
        ticket: Ticket,
        object: u16,
        operation: Operation,
        timeout: Option<Duration>,
    ) -> Vec<Answered> {
        let request = Request { object, operation, timeout };
        self.machine.ask(self.now, participant, ticket, request, &mut self.words, &mut self.outputs);
        self.answers()
    }

    /// Asks, and returns all answers that came of it, by participant.
    fn all_of(
        &mut self,
        participant: ParticipantId,
        operation: Operation,
        timeout: Option<Duration>,
    ) -> Vec<(ParticipantId, Answer)> {
        let answers = self.ask_of(participant, participant, 0, operation, timeout);
        answers.into_iter().map(|answered| (answered.participant, answered.answer)).collect()
    }

    /// Asks without a timeout, and returns the answer. Nobody else is answered.
    fn ask(&mut self, participant: ParticipantId, operation: Operation) -> Answer {
        let mut answers = self.all_of(participant, operation.clone(), None);
        assert_eq!(answers.len(), 1, "{operation:?} of {participant}: {answers:?}");
        let (who, answer) = answers.remove(0);
        assert_eq!(who, participant);
        answer
    }

    /// Looks once: the timeout is 0.
    fn look(&mut self, participant: ParticipantId, operation: Operation) -> Answer {
        let mut answers = self.all_of(participant, operation.clone(), Some(Duration::ZERO));
        assert_eq!(answers.len(), 1, "{operation:?} of {participant}: {answers:?}");
        answers.remove(0).1
    }

    /// Asks for something that has to wait.
    fn wait(&mut self, participant: ParticipantId, operation: Operation) {
        let answers = self.all_of(participant, operation.clone(), None);
        assert_eq!(answers, [], "{operation:?} of {participant}");
    }

    /// As `wait`, with a timeout in milliseconds.
    fn wait_for(&mut self, participant: ParticipantId, operation: Operation, timeout: u64) {
        let answers = self.all_of(participant, operation.clone(), Some(Duration::from_millis(timeout)));
        assert_eq!(answers, [], "{operation:?} of {participant}");
    }

    fn answers(&mut self) -> Vec<Answered> {
        std::mem::take(&mut self.outputs.answers)
    }

    fn by_participant(&mut self) -> Vec<(ParticipantId, Answer)> {
        self.answers().into_iter().map(|answered| (answered.participant, answered.answer)).collect()
    }

    fn violations(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.outputs.violations)
    }

    /// Ends an item of its own accord.
    fn end(&mut self, participant: ParticipantId) -> Vec<(ParticipantId, Answer)> {
        self.end_as(participant, ItemEnding::Returned)
    }

    fn end_as(&mut self, participant: ParticipantId, ending: ItemEnding) -> Vec<(ParticipantId, Answer)> {
        self.words.give_back(participant);
        self.machine.item_ended(self.now, participant, ending, &mut self.words, &mut self.outputs);
        self.by_participant()
    }

    /// Says that a participant is being killed.
    fn stop_waiting(&mut self, participant: ParticipantId) -> Vec<(ParticipantId, Answer)> {
        self.machine.stop_waiting(self.now, participant, &mut self.words, &mut self.outputs);
        self.by_participant()
    }

    /// Kills the process of a participant.
    fn kill(&mut self, participant: ParticipantId) -> Vec<(ParticipantId, Answer)> {
        self.machine.leave(self.now, participant, &mut self.words, &mut self.outputs);
        self.words.forget(participant);
        self.by_participant()
    }

    /// Lets milliseconds pass, and the machine see it.
    fn pass(&mut self, milliseconds: u64) -> Vec<(ParticipantId, Answer)> {
        self.now += Duration::from_millis(milliseconds);
        self.tick()
    }

    fn tick(&mut self) -> Vec<(ParticipantId, Answer)> {
        self.machine.tick(self.now, &mut self.words, &mut self.outputs);
        self.by_participant()
    }

    /// Hands over what lies in a participant's ring.
    fn read(&mut self, participant: ParticipantId) -> Vec<(ParticipantId, Answer)> {
        for put in self.words.read(participant) {
            self.machine.put_on_credit(self.now, participant, put, &mut self.words, &mut self.outputs);
        }
        self.by_participant()
    }

    /// Puts as a worker does: on credit if there is any, else by asking.
    fn put(&mut self, participant: ParticipantId, text: &str) -> Option<Answer> {
        if self.words.put(participant, 0, text.as_bytes()) {
            return Some(DONE);
        }
        let answers = self.all_of(participant, Operation::Put(text.into()), None);
        answers.into_iter().find(|(who, _)| *who == participant).map(|(_, answer)| answer)
    }

    /// Gets as a worker does: from what it has ahead if there is any, else by asking. Looks once.
    fn get(&mut self, participant: ParticipantId) -> Option<String> {
        if let Some(message) = self.words.take(participant, 0) {
            return Some(String::from_utf8(message).unwrap());
        }
        match self.look(participant, GET) {
            Ok(Reply::Many(messages)) => Some(String::from_utf8(messages.concat()).unwrap()),
            Err(ObjectError::Empty) => None,
            other => panic!("{other:?}"),
        }
    }
}

const GET: Operation = Operation::Get { most: 1 };
const DONE: Answer = Ok(Reply::Done);
const ACQUIRED: Answer = Ok(Reply::Acquired(Acquisition::Acquired));
const TIMED_OUT: Answer = Ok(Reply::Acquired(Acquisition::TimedOut));
const YES: Answer = Ok(Reply::Bool(true));
const NO: Answer = Ok(Reply::Bool(false));

fn abandoned(by: &str) -> Answer {
    Ok(Reply::Acquired(Acquisition::Abandoned(by.to_owned())))
}

fn number(number: u64) -> Answer {
    Ok(Reply::Number(number))
}

fn put(text: &str) -> Operation {
    Operation::Put(text.into())
}

fn one(text: &str) -> Answer {
    Ok(Reply::Many(vec![text.into()]))
}
