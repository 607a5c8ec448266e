//! The world of a seed: the objects of a run, who uses them, and what goes wrong.

use std::time::Duration;

use super::figures::Figures;
use super::play::Simulation;
use crate::Violation;
use crate::random::{Random, mix};
use crate::seeds::SeededWorld;
use crate::trace::Trace;
use wasmpool_core::share::{ObjectForm, ObjectQuota, ObjectRights, ObjectSpec};

/// How a participant behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActorKind {
    /// One request at a time, puts on credit, messages ahead.
    Worker,
    /// Several requests at a time, each of which is asked for.
    Host,
    /// A worker that also does what no honest one does.
    Liar,
}

/// One participant, and after its death the next one in its place.
#[derive(Clone, Debug)]
pub struct ActorPlan {
    pub kind: ActorKind,
    pub in_flight: u32,
    /// What it may do with each object; none with those that it was not granted.
    pub rights: Vec<Option<ObjectRights>>,
    /// Objects that it prefers, out of 1000 choices.
    pub favourite: (u16, u32),
}

#[derive(Clone, Debug)]
pub struct World {
    pub seed: u64,
    pub objects: Vec<ObjectSpec>,
    pub actors: Vec<ActorPlan>,
    /// Number of participants that can run at once, as the machine is told.
    pub at_once: u32,
    /// Number of steps of all participants together.
    pub steps: u64,
    /// Most time between two steps of a participant, and until the manager does what it was woken for.
    pub pause: Duration,
    pub latency: Duration,
    /// Steps out of 1000 that are the death of a participant, or the end of its item.
    pub deaths: u32,
    pub ends: u32,
    /// Looks of the manager at shared memory, out of 1000, during which a participant does something.
    pub meanwhile: u32,
    /// Requests out of 1000 that wait without a timeout, and that do not wait at all.
    pub endless: u32,
    pub impatient: u32,
    /// Time after which a participant that waits is killed.
    pub patience: Duration,
}

fn form(random: &mut Random) -> ObjectForm {
    match random.below(17) {
        0..6 => ObjectForm::Queue { capacity: (random.below(4) > 0).then(|| random.magnitude(40).max(1) as u32) },
        6 => ObjectForm::Lock,
        7 => ObjectForm::Rlock,
        8 => ObjectForm::Semaphore { slots: random.below(4) as u32, bounded: random.per_mille(500) },
        9 => ObjectForm::Event,
        10 | 11 => ObjectForm::Condition,
        12 => ObjectForm::Barrier { parties: random.between(1, 4) as u32 },
        13 => ObjectForm::Dict,
        14 => ObjectForm::List,
        _ => ObjectForm::Pipe { duplex: random.per_mille(500) },
    }
}

impl SeededWorld for World {
    type Figures = Figures;
    const VARIABLE: &'static str = "OBJECTS";

    fn drawn(seed: u64) -> World {
        let random = &mut Random::new(mix(seed ^ 0x0b1e_c750));
        let us = Duration::from_micros;
        let count = random.between(1, 3);
        let objects: Vec<ObjectSpec> = (0..count)
            .map(|number| ObjectSpec {
                name: format!("object{number}"),
                form: form(random),
                quota: ObjectQuota {
                    entries: if random.per_mille(800) { 1 << 20 } else { random.magnitude(20).max(1) },
                    bytes: match random.below(3) {
                        0 => 64 << 20,
                        1 => random.between(400, 4_000),
                        _ => random.between(40, 400),
                    },
                },
            })
            .collect();
        let liars = random.per_mille(200);
        let actors: Vec<ActorPlan> = (0..random.between(2, 6))
            .map(|_| {
                let kind = match random.below(10) {
                    0 if liars => ActorKind::Liar,
                    1 | 2 => ActorKind::Host,
                    _ => ActorKind::Worker,
                };
                let right = |random: &mut Random, form: &ObjectForm| match form {
                    ObjectForm::Queue { .. } => match random.below(4) {
                        0 => Some(ObjectRights { first: true, second: false }),
                        1 => Some(ObjectRights { first: false, second: true }),
                        _ => Some(ObjectRights::ALL),
                    },
                    _ => random.per_mille(950).then_some(ObjectRights::ALL),
                };
                ActorPlan {
                    kind,
                    in_flight: if kind == ActorKind::Host { random.between(1, 4) as u32 } else { 1 },
                    rights: objects.iter().map(|object| right(random, &object.form)).collect(),
                    favourite: (random.below(count) as u16, random.below(1000) as u32),
                }
            })
            .collect();
        let rate = |random: &mut Random, most| if random.per_mille(500) { random.below(most) as u32 } else { 0 };
        World {
            seed,
            at_once: if random.per_mille(900) { 8 } else { random.between(1, 3) as u32 },
            steps: 20 + random.magnitude(400),
            pause: us(1 + random.magnitude(3_000)),
            latency: us(random.magnitude(300)),
            deaths: rate(random, 60),
            ends: rate(random, 120),
            meanwhile: rate(random, 700),
            endless: random.below(600) as u32,
            impatient: random.below(400) as u32,
            patience: us(1_000 + random.magnitude(50_000)),
            objects,
            actors,
        }
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn smaller(&self) -> Vec<World> {
        let with = |change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            world
        };
        let mut worlds = vec![
            with(&|w| w.steps /= 2),
            with(&|w| w.steps = w.steps.saturating_sub(5)),
            with(&|w| w.steps = w.steps.saturating_sub(1)),
            with(&|w| w.deaths = 0),
            with(&|w| w.ends = 0),
            with(&|w| w.meanwhile = 0),
            with(&|w| w.impatient = 0),
            with(&|w| w.endless = 0),
            with(&|w| w.latency = Duration::from_micros(1)),
        ];
        for gone in 0..self.actors.len() {
            worlds.push(with(&|w| drop(w.actors.remove(gone))));
        }
        for last in 1..self.objects.len() {
            worlds.push(with(&|w| {
                w.objects.truncate(last);
                for actor in &mut w.actors {
                    actor.rights.truncate(last);
                    actor.favourite.0 %= last as u16;
                }
            }));
        }
        worlds.retain(|world| !world.actors.is_empty());
        worlds
    }

    fn play(&self, trace: Trace) -> Result<Figures, Violation> {
        Simulation::new(self, trace).run()
    }
}
