//! Participants that send the manager of shared objects anything, and write anything into the words that they share with
//! it.
#![no_main]

use std::collections::BTreeSet;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use wasmpool_core::share::{ObjectForm, ObjectQuota, ObjectRights, ObjectSpec};
use wasmpool_objects::fast::{Credit, FastPath, PutOnCredit};
use wasmpool_objects::wire::{self, ManagerFrame, ParticipantFrame};
use wasmpool_objects::{ItemEnding, Machine, Outputs, ParticipantId, ParticipantLimits, Time};

const QUOTA: ObjectQuota = ObjectQuota { entries: 16, bytes: 1 << 10 };

#[derive(Arbitrary, Debug)]
enum Step {
    /// Any bytes.
    Bytes(Vec<u8>),
    /// A frame whose parts have the lengths that it says.
    Frame { kind: u8, head: Vec<u8>, payload: Vec<u8> },
    /// The process ends, and another takes its place.
    Death,
    /// Microseconds pass.
    Pause(u16),
}

/// Words in which a participant has written what it likes.
struct Hostile {
    words: Vec<u32>,
    rings: Vec<(u16, Option<String>, Vec<u8>)>,
}

impl Hostile {
    fn word(&mut self) -> u32 {
        self.words.pop().unwrap_or(1)
    }
}

impl FastPath for Hostile {
    fn grant_credit(&mut self, _: ParticipantId, _: u16, _: Credit) {}

    fn take_back_credit(&mut self, _: ParticipantId, _: u16) -> Credit {
        Credit { entries: self.word(), bytes: self.word().into() }
    }

    fn want_puts(&mut self, _: ParticipantId, _: u16, _: bool) {}

    fn puts_on_credit(&mut self, _: ParticipantId) -> Vec<PutOnCredit> {
        self.rings.pop().map(|(object, key, message)| PutOnCredit { object, key, message }).into_iter().collect()
    }

    fn send_ahead(&mut self, _: ParticipantId, object: u16, messages: &[&[u8]]) {
        let frame = wire::ahead(object, messages).to_vec();
        let expected = messages.iter().map(|message| message.to_vec()).collect();
        assert_eq!(ManagerFrame::decode(frame), Ok(ManagerFrame::Ahead { object, messages: expected }));
    }

    fn taken_ahead(&mut self, _: ParticipantId, _: u16) -> u32 {
        self.word()
    }

    fn recall_ahead(&mut self, _: ParticipantId, _: u16) -> u32 {
        self.word()
    }

    fn wake_when_taken(&mut self, _: ParticipantId, _: u16, _: u32) {}

    fn lend_lock(&mut self, _: ParticipantId, _: u16, _: bool) {}

    fn want_lock(&mut self, _: ParticipantId, _: u16) -> bool {
        self.word() & 1 == 0
    }

    fn holds_lock(&mut self, _: ParticipantId, _: u16) -> bool {
        self.word() & 1 == 0
    }

    fn take_back_lock(&mut self, _: ParticipantId, _: u16) -> bool {
        self.word() & 1 == 0
    }

    fn tell_change(&mut self, _: ParticipantId, _: u16) {}
}

fn forms() -> Vec<ObjectForm> {
    vec![
        ObjectForm::Queue { capacity: Some(4) },
        ObjectForm::Queue { capacity: None },
        ObjectForm::Pipe { duplex: true },
        ObjectForm::Lock,
        ObjectForm::Rlock,
        ObjectForm::Semaphore { slots: 2, bounded: true },
        ObjectForm::Event,
        ObjectForm::Condition,
        ObjectForm::Barrier { parties: 2 },
        ObjectForm::Dict,
        ObjectForm::List,
    ]
}

struct World {
    machine: Machine,
    grants: Vec<(u16, ObjectRights)>,
    /// The participant in each place.
    places: [ParticipantId; 3],
    joined: ParticipantId,
    /// Requests that were not answered.
    open: BTreeSet<(ParticipantId, u32)>,
}

impl World {
    fn join(&mut self, place: usize) {
        self.joined += 1;
        self.places[place] = self.joined;
        let limits = match place {
            0 => ParticipantLimits { in_flight: 4, waiting_bytes: 1 << 10, fast: false },
            _ => ParticipantLimits::WORKER,
        };
        self.machine.join(self.joined, format!("p{}", self.joined), &self.grants, limits).expect("it joins");
    }

    fn leave(&mut self, now: Time, place: usize, fast: &mut Hostile) {
        let who = self.places[place];
        let mut outputs = Outputs::default();
        self.machine.leave(now, who, fast, &mut outputs);
        self.check(outputs);
        self.open.retain(|(asker, _)| *asker != who);
        self.join(place);
    }

    /// Checks that each request is answered once, and returns the places of those that violated the protocol.
    fn check(&mut self, outputs: Outputs) -> Vec<usize> {
        for answered in outputs.answers {
            let key = (answered.participant, answered.ticket);
            assert!(self.open.remove(&key), "{key:?} was answered twice, or had not asked");
            let frame = wire::answer(answered.ticket, &answered.answer).to_vec();
            let expected = ManagerFrame::Answer { ticket: answered.ticket, answer: answered.answer };
            assert_eq!(ManagerFrame::decode(frame), Ok(expected));
        }
        let violators: BTreeSet<ParticipantId> = outputs.violations.iter().map(|one| one.participant).collect();
        (0..self.places.len()).filter(|place| violators.contains(&self.places[*place])).collect()
    }
}

fuzz_target!(|input: (Vec<(u8, Step)>, Vec<u32>, Vec<(u16, Option<String>, Vec<u8>)>)| {
    let (steps, words, rings) = input;
    let mut fast = Hostile { words, rings };
    let specs: Vec<ObjectSpec> = forms()
        .into_iter()
        .enumerate()
        .map(|(number, form)| ObjectSpec { name: format!("o{number}"), form, quota: QUOTA })
        .collect();
    let grants = (0..specs.len() as u16).map(|object| (object, ObjectRights::ALL)).collect();
    let mut world = World { machine: Machine::new(specs, 3), grants, places: [0; 3], joined: 0, open: BTreeSet::new() };
    (0..3).for_each(|place| world.join(place));
    let mut now = Time::ZERO;
    for (place, step) in steps.into_iter().take(200) {
        let place = usize::from(place) % 3;
        let who = world.places[place];
        let frame = match step {
            Step::Bytes(bytes) => bytes,
            Step::Frame { kind, head, payload } => {
                let length = (head.len() as u32 + 1).to_le_bytes();
                [&payload[..], &[kind % 6], &head, &length].concat()
            }
            Step::Death => {
                world.leave(now, place, &mut fast);
                continue;
            }
            Step::Pause(time) => {
                now += Duration::from_micros(time.into());
                let mut outputs = Outputs::default();
                world.machine.tick(now, &mut fast, &mut outputs);
                world.check(outputs);
                assert!(world.machine.next_deadline().is_none_or(|at| at > now), "something is overdue");
                continue;
            }
        };
        let mut outputs = Outputs::default();
        match ParticipantFrame::decode(frame.clone()) {
            Err(_) => {
                world.leave(now, place, &mut fast);
                continue;
            }
            Ok(decoded) => {
                assert_eq!(decoded.encode().to_vec(), frame, "a frame has one form");
                match decoded {
                    ParticipantFrame::Ask { ticket, request } => {
                        world.open.insert((who, ticket));
                        world.machine.ask(now, who, ticket, request, &mut fast, &mut outputs);
                    }
                    ParticipantFrame::PutOnCredit { object, message } => {
                        let put = PutOnCredit { object, key: None, message };
                        world.machine.put_on_credit(now, who, put, &mut fast, &mut outputs);
                    }
                    ParticipantFrame::SetOnCredit { object, key, value } => {
                        let put = PutOnCredit { object, key: Some(key), message: value };
                        world.machine.put_on_credit(now, who, put, &mut fast, &mut outputs);
                    }
                    ParticipantFrame::ItemBegan { item } => world.machine.item_began(who, item),
                    ParticipantFrame::Released { object } => {
                        world.machine.released(now, who, object, &mut fast, &mut outputs);
                    }
                    ParticipantFrame::ItemEnded { failed, .. } => {
                        let ending = if failed { ItemEnding::Failed } else { ItemEnding::Returned };
                        world.machine.item_ended(now, who, ending, &mut fast, &mut outputs);
                    }
                }
            }
        }
        for place in world.check(outputs) {
            world.leave(now, place, &mut fast);
        }
    }
    for place in 0..3 {
        world.leave(now, place, &mut fast);
    }
    assert_eq!(world.machine.waiting(), 0, "somebody waits for ever");
    for object in [0, 1, 9, 10] {
        let usage = world.machine.contents(object).expect("it has contents").usage();
        assert!(usage.bytes <= QUOTA.bytes && usage.entries <= QUOTA.entries, "{usage:?} is beyond the quota");
    }
});
