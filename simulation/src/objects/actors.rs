//! What participants ask next.

use std::time::Duration;

use super::channels::Channels;
use super::world::ActorKind;
use wasmpool_core::share::{ObjectForm, ObjectRights, ObjectSpec};
use wasmpool_objects::ParticipantId;
use wasmpool_objects::operation::{Operation, PipeEnd, Request};

/// What a participant remembers of its item.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// Locks and slots that it holds, as often as it acquired them.
    pub(super) held: Vec<u16>,
    pub(super) deliveries: Vec<(u16, u64)>,
    pub(super) ends: Vec<(u16, PipeEnd)>,
    /// Versions that it has seen.
    pub(super) version: Option<u64>,
}

impl Channels<'_> {
    /// Returns the object that a participant uses next.
    pub(super) fn some_object(&mut self, who: ParticipantId) -> u16 {
        let (favourite, share) = self.all.get(&who).map_or((0, 0), |channel| channel.favourite);
        match self.random.per_mille(share) {
            true => favourite,
            false => self.random.below(self.world.objects.len() as u64) as u16,
        }
    }

    /// Returns what a participant asks of an object, if it can ask anything.
    pub(super) fn some_request(&mut self, who: ParticipantId, object: u16, memory: &Memory) -> Option<Request> {
        let channel = self.all.get(&who)?;
        let lies = channel.kind == ActorKind::Liar && self.random.per_mille(100);
        let right = channel.rights.get(usize::from(object)).copied().flatten();
        let right = if lies { Some(ObjectRights::ALL) } else { right }?;
        let world = self.world;
        let spec = world.objects.get(usize::from(object))?;
        let operation = self.some_operation(spec, object, right, memory)?;
        let timeout = match self.random.below(1000) as u32 {
            n if n < world.endless => None,
            n if n < world.endless + world.impatient => Some(Duration::ZERO),
            _ => Some(Duration::from_nanos(self.random.magnitude(5_000_000))),
        };
        Some(Request { object, operation, timeout })
    }

    fn some_operation(
        &mut self,
        spec: &ObjectSpec,
        object: u16,
        right: ObjectRights,
        memory: &Memory,
    ) -> Option<Operation> {
        let holds = memory.held.contains(&object);
        let draw = self.random.below(100);
        Some(match spec.form {
            ObjectForm::Queue { .. } => return self.some_queue_operation(spec, object, right, memory),
            ObjectForm::Lock | ObjectForm::Rlock => match (holds, draw) {
                (true, 0..75) | (false, 0..4) => Operation::Release,
                (_, 75..82) => Operation::IsLocked,
                _ => Operation::Acquire,
            },
            ObjectForm::Semaphore { .. } => match (holds, draw) {
                (true, 0..60) | (false, 0..8) => Operation::Release,
                (_, 60..70) => Operation::Slots,
                _ => Operation::Acquire,
            },
            ObjectForm::Condition => match (holds, draw) {
                (true, 0..35) | (false, 0..3) => Operation::WaitCondition,
                (true, 35..60) | (false, 3..6) => Operation::Notify { most: self.random.below(4) as u32 },
                (true, 60..90) | (false, 6..9) => Operation::Release,
                (false, 9..12) => Operation::IsLocked,
                _ => Operation::Acquire,
            },
            ObjectForm::Event => match draw {
                0..25 => Operation::Set,
                25..45 => Operation::Clear,
                45..90 => Operation::WaitEvent,
                _ => Operation::IsSet,
            },
            ObjectForm::Barrier { .. } => match draw {
                0..70 => Operation::WaitBarrier,
                70..73 => Operation::Abort,
                73..85 => Operation::Reset,
                85..90 => Operation::IsBroken,
                90..95 => Operation::Waiting,
                _ => Operation::Parties,
            },
            ObjectForm::Pipe { .. } => {
                let own: Vec<PipeEnd> =
                    memory.ends.iter().filter(|(of, _)| *of == object).map(|(_, end)| *end).collect();
                let any = if self.random.per_mille(500) { PipeEnd::First } else { PipeEnd::Second };
                let end = match own.len() as u64 {
                    0 => any,
                    count => own.get(self.random.below(count) as usize).copied().unwrap_or(any),
                };
                match (own.is_empty(), draw) {
                    (true, 0..90) | (false, 0..10) => Operation::OpenEnd(any),
                    (_, 10..50) => Operation::Send(end, self.compose(spec.quota.bytes)),
                    (_, 50..80) => {
                        let at_most = self.random.per_mille(300).then(|| self.random.magnitude(60));
                        Operation::Recv { end, at_most }
                    }
                    (_, 80..92) => Operation::Poll(end),
                    _ => Operation::CloseEnd(end),
                }
            }
            ObjectForm::Dict | ObjectForm::Namespace => {
                let key = ["a", "b", "c", ""].get(self.random.below(4) as usize).copied().unwrap_or("").to_owned();
                let value = match self.random.below(3) {
                    0 => self.compose(spec.quota.bytes),
                    _ => self.random.magnitude(1_000_000).to_string().into_bytes(),
                };
                match draw {
                    0..25 => Operation::DictSet(key, value),
                    25..45 => Operation::DictIncrement(key, self.random.magnitude(u64::MAX) as i64),
                    45..60 => Operation::DictCompareAndSet { key, version: memory.version, value },
                    60..80 => Operation::DictGet(key),
                    80..88 => Operation::DictPop(key),
                    88..94 => Operation::DictPage { after: Some(key), most: self.random.below(4) as u32 },
                    94..98 => Operation::Length,
                    _ => Operation::Empty,
                }
            }
            ObjectForm::List => {
                let index = self.random.below(9) as i64 - 4;
                let value = self.compose(spec.quota.bytes);
                match draw {
                    0..20 => Operation::ListExtend(vec![value]),
                    20..40 => Operation::ListInsert(index, value),
                    40..60 => Operation::ListSet(index, value),
                    60..75 => Operation::ListGet(index),
                    75..92 => Operation::ListPop(index),
                    92..98 => Operation::Length,
                    _ => Operation::Empty,
                }
            }
            ObjectForm::Value(_) | ObjectForm::Array(..) => return None,
        })
    }

    fn some_queue_operation(
        &mut self,
        spec: &ObjectSpec,
        object: u16,
        right: ObjectRights,
        memory: &Memory,
    ) -> Option<Operation> {
        let delivery = memory.deliveries.iter().find(|(of, _)| *of == object).map(|(_, delivery)| *delivery);
        let operation = match self.random.below(1000) {
            0..430 => Operation::Put(self.compose(spec.quota.bytes)),
            430..700 => {
                let most = if self.random.per_mille(700) { 1 } else { self.random.between(1, 5) as u32 };
                Operation::Get { most }
            }
            700..800 => Operation::Take,
            800..880 => match delivery {
                Some(delivery) if self.random.per_mille(200) => Operation::GiveBack(delivery),
                Some(delivery) => Operation::Finish(delivery),
                None => Operation::Finish(self.random.below(5)),
            },
            880..930 => Operation::TaskDone,
            930..945 => Operation::JoinQueue,
            945..965 => Operation::Size,
            965..980 => Operation::IsEmpty,
            980..997 => Operation::IsFull,
            _ => Operation::Shutdown { immediately: self.random.per_mille(500) },
        };
        let (first, second) = match operation {
            Operation::Put(_) | Operation::Shutdown { .. } => (false, true),
            Operation::Get { .. }
            | Operation::Take
            | Operation::Finish(_)
            | Operation::GiveBack(_)
            | Operation::TaskDone => (true, false),
            _ => (false, false),
        };
        ((right.first || !first) && (right.second || !second)).then_some(operation)
    }
}
