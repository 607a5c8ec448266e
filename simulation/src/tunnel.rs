//! The tunnel to shared objects on another machine, driven through random schedules in virtual time.
//!
//! A seed determines a [`World`]: how many hosts and participants, how many frames, and what goes wrong. Packets are lost,
//! doubled, delayed and reordered; hosts are started again, and cut off for longer than they may be silent. Each frame is
//! known by whom it is of and how many came before it, so that it is seen whether it is delivered once, in order, and only as
//! long as its participant has a part in the objects.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use wasmpool_hosts::names::{HostName, RunId};
use wasmpool_hosts::tunnel::Delivery;
use wasmpool_hosts::tunnel::far::{Far, FarId, SiteName};
use wasmpool_hosts::tunnel::near::{Near, NearEvent};
use wasmpool_hosts::tunnel::packet::Packet;

use crate::random::Random;
use crate::seeds::{RunFigures, SeededWorld};
use crate::{Trace, Violation, promise};

/// Maximum bytes of a frame, and of a part.
const LONGEST: usize = 64;
const PART: usize = 8;
/// Steps after which a schedule that does not end has stopped.
const MOST_STEPS: u32 = 100_000;

/// What a seed determines.
#[derive(Clone, Debug)]
pub struct World {
    pub seed: u64,
    pub hosts: usize,
    pub participants: u64,
    pub frames: u64,
    /// In 1000 packets.
    pub lost: u32,
    pub doubled: u32,
    /// Milliseconds that a packet takes at most.
    pub delay: u64,
    /// Times that a host is started again, or cut off.
    pub restarts: u64,
    pub partitions: u64,
    /// True if hosts have room for one frame only: others are sent again until it is taken.
    pub tight: bool,
}

impl SeededWorld for World {
    type Figures = Figures;
    const VARIABLE: &'static str = "TUNNEL";

    fn drawn(seed: u64) -> World {
        let mut random = Random::new(seed ^ 0x7475_6e6e_656c);
        World {
            seed,
            hosts: random.between(1, 3) as usize,
            participants: random.between(1, 3),
            frames: random.magnitude(40),
            lost: [0, 20, 300][random.below(3) as usize],
            doubled: [0, 20, 300][random.below(3) as usize],
            delay: [1, 50, 3000][random.below(3) as usize],
            restarts: random.below(3),
            partitions: random.below(3),
            tight: random.below(2) == 1,
        }
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn smaller(&self) -> Vec<World> {
        let world = || self.clone();
        vec![
            World { hosts: 1, ..world() },
            World { participants: 1, ..world() },
            World { frames: self.frames / 2, ..world() },
            World { lost: 0, ..world() },
            World { doubled: 0, ..world() },
            World { delay: 1, ..world() },
            World { restarts: 0, ..world() },
            World { partitions: 0, ..world() },
            World { tight: false, ..world() },
        ]
    }

    fn play(&self, trace: Trace) -> Result<Figures, Violation> {
        Play::new(self, trace).run()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub frames: u64,
    pub packets: u64,
    pub lost: u64,
    pub doubled: u64,
    pub cut: u64,
    pub ended: u64,
    /// The hash of all events.
    pub hash: u64,
}

impl RunFigures for Figures {
    fn add(&mut self, other: &Figures) {
        self.frames += other.frames;
        self.packets += other.packets;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.cut += other.cut;
        self.ended += other.ended;
        self.hash = self.hash.wrapping_add(other.hash);
    }

    fn hash(&self) -> u64 {
        self.hash
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Figures { frames, packets, lost, doubled, cut, ended, .. } = self;
        write!(
            f,
            "{frames} frames, {packets} packets, {lost} of them lost, {doubled} doubled, {cut} participants cut off, {ended} ended"
        )
    }
}

/// One participant: the number of its host, the host's life, and its own number.
type Key = (usize, u64, u32);

struct Play {
    random: Random,
    trace: Trace,
    world: World,
    now: Duration,
    near: Vec<Near>,
    lives: Vec<u64>,
    /// Until when nothing passes between a host and the objects.
    apart: Vec<Duration>,
    far: Far,
    /// Packets on their way: when they arrive, in which order they were sent, from or to which host and life.
    on_its_way: BTreeMap<(Duration, u64), (bool, usize, u64, Packet)>,
    sent: u64,
    /// Frames that the far end and a participant have yet to get.
    there: BTreeMap<Key, VecDeque<Vec<u8>>>,
    back: BTreeMap<Key, VecDeque<Vec<u8>>>,
    /// Participants that have no part in the objects any more, and those that know of their end.
    over: BTreeSet<Key>,
    done: BTreeSet<Key>,
    figures: Figures,
}

fn site(host: usize) -> SiteName {
    SiteName { host: HostName::of_text(&format!("h{host}")), run: RunId([1; 16]), is_program: false }
}

impl Play {
    fn new(world: &World, trace: Trace) -> Play {
        Play {
            random: Random::new(world.seed),
            trace,
            world: world.clone(),
            now: Duration::ZERO,
            near: Vec::new(),
            lives: Vec::new(),
            apart: vec![Duration::ZERO; world.hosts],
            far: Far::new(1, LONGEST),
            on_its_way: BTreeMap::new(),
            sent: 0,
            there: BTreeMap::new(),
            back: BTreeMap::new(),
            over: BTreeSet::new(),
            done: BTreeSet::new(),
            figures: Figures::default(),
        }
    }

    fn run(mut self) -> Result<Figures, Violation> {
        for host in 0..self.world.hosts {
            let near = self.near_end(host as u64 + 1);
            self.near.push(near);
            self.lives.push(host as u64 + 1);
            self.people(host);
        }
        let mut disturbances: Vec<(u64, bool)> = Vec::new();
        for _ in 0..self.world.restarts {
            disturbances.push((self.random.below(5_000), true));
        }
        for _ in 0..self.world.partitions {
            disturbances.push((self.random.below(5_000), false));
        }
        disturbances.sort_unstable();
        let mut disturbances: VecDeque<(u64, bool)> = disturbances.into();
        for _ in 0..MOST_STEPS {
            self.send();
            let timers = self.near.iter().filter_map(Near::deadline).chain(self.far.deadline());
            let arrival = self.on_its_way.keys().next().map(|(at, _)| *at);
            let disturbed = disturbances.front().map(|(at, _)| Duration::from_millis(*at));
            let Some(next) = timers.chain(arrival).chain(disturbed).min() else {
                return self.end();
            };
            self.now = self.now.max(next);
            while let Some((_, restart)) = disturbances.pop_front_if(|(at, _)| Duration::from_millis(*at) <= self.now) {
                let host = self.random.below(self.world.hosts as u64) as usize;
                match restart {
                    true => self.start_again(host),
                    false => {
                        self.apart[host] = self.now + Duration::from_millis(self.random.below(12_000));
                        self.trace.note(self.now, &("apart", host, self.apart[host]));
                    }
                }
            }
            let now = self.now;
            self.near.iter_mut().for_each(|near| near.tick(now));
            self.far.tick(now);
            self.arrive();
            self.deliver()?;
        }
        Err("the schedule does not end".to_owned())
    }

    fn near_end(&self, life: u64) -> Near {
        let mut near = Near::new(life, LONGEST);
        if self.world.tight {
            near.set_room(LONGEST);
        }
        near
    }

    /// Gives a host participants, each with frames to send.
    fn people(&mut self, host: usize) {
        for _ in 0..self.world.participants {
            let frames = self.random.below(self.world.frames + 1);
            let hello = vec![host as u8];
            let number = self.near[host].open(hello.clone(), self.now);
            let key = (host, self.lives[host], number);
            let all = self.there.entry(key).or_default();
            all.push_back(hello);
            for nth in 0..frames {
                let frame = vec![(nth + u64::from(number)) as u8; self.random.below(LONGEST as u64 + 1) as usize];
                self.near[host].send(number, frame.clone());
                all.push_back(frame);
            }
            self.near[host].end(number);
        }
    }

    fn start_again(&mut self, host: usize) {
        let life = self.lives[host] + 100;
        self.trace.note(self.now, &("started again", host, life));
        // Nobody waits for what the earlier life had.
        self.done.extend(self.there.keys().filter(|key| key.0 == host).copied());
        self.lives[host] = life;
        self.near[host] = self.near_end(life);
        self.people(host);
    }

    fn send(&mut self) {
        for host in 0..self.world.hosts {
            while let Some(packet) = self.near[host].next_packet(self.now, PART) {
                self.on_its_way(true, host, packet);
            }
        }
        while let Some((to, packet)) = self.far.next_packet(self.now, PART) {
            let host = (0..self.world.hosts).find(|host| site(*host) == to.name);
            // What is for an earlier life has another subject.
            if let Some(host) = host.filter(|host| self.lives[*host] == to.life) {
                self.on_its_way(false, host, packet);
            }
        }
    }

    fn on_its_way(&mut self, to_far: bool, host: usize, packet: Packet) {
        self.figures.packets += 1;
        if self.apart[host] > self.now || self.random.per_mille(self.world.lost) {
            self.figures.lost += 1;
            return;
        }
        let copies = 1 + u64::from(self.random.per_mille(self.world.doubled));
        self.figures.doubled += copies - 1;
        for _ in 0..copies {
            let at = self.now + Duration::from_millis(self.random.below(self.world.delay));
            self.sent += 1;
            self.on_its_way.insert((at, self.sent), (to_far, host, self.lives[host], packet.clone()));
        }
    }

    fn arrive(&mut self) {
        while let Some(first) = self.on_its_way.first_entry().filter(|first| first.key().0 <= self.now) {
            let (to_far, host, life, packet) = first.remove();
            let Packet { participant, base, confirmed, .. } = &packet;
            self.trace.note(self.now, &(to_far, host, *participant, *base, *confirmed));
            match to_far {
                true => self.far.receive(&site(host), packet, self.now),
                false if life == self.lives[host] => self.near[host].receive(packet, self.now),
                false => {}
            }
        }
    }

    fn key(&self, id: &FarId) -> Key {
        let host = (0..self.world.hosts).find(|host| site(*host) == id.site.name).unwrap_or_default();
        (host, id.site.life, id.participant)
    }

    fn deliver(&mut self) -> Result<(), Violation> {
        while let Some(id) = self.far.next_cut() {
            let key = self.key(&id);
            promise!(self.over.insert(key), "{key:?} is cut off twice, or after its end");
            self.figures.cut += 1;
        }
        while let Some((id, delivery)) = self.far.take(self.now) {
            let key = self.key(&id);
            promise!(!self.over.contains(&key), "{key:?} delivers something after it had no part any more");
            match delivery {
                Delivery::Frame(frame) => {
                    let wanted = self.there.get_mut(&key).and_then(VecDeque::pop_front);
                    promise!(wanted.as_ref() == Some(&frame), "{key:?} delivers {frame:?}, and sent {wanted:?}");
                    self.figures.frames += 1;
                    self.far.send(&id, frame.clone());
                    self.back.entry(key).or_default().push_back(frame);
                }
                Delivery::Ending => return Err(format!("{key:?} never said that it is being ended")),
                Delivery::End => {
                    promise!(self.there.get(&key).is_none_or(VecDeque::is_empty), "{key:?} ends before all came");
                    self.over.insert(key);
                    self.far.close(&id, "");
                }
            }
        }
        for host in 0..self.world.hosts {
            let life = self.lives[host];
            while let Some((number, frame)) = self.near[host].take(self.now, |_| true) {
                let wanted = self.back.get_mut(&(host, life, number)).and_then(VecDeque::pop_front);
                promise!(wanted.as_ref() == Some(&frame), "{host} {number} gets {frame:?}, and was sent {wanted:?}");
            }
            while let Some(event) = self.near[host].next_event() {
                match event {
                    NearEvent::Ended(number) | NearEvent::Cut(number, _) => {
                        let key = (host, life, number);
                        promise!(self.over.contains(&key), "{key:?} hears of an end that did not happen");
                        promise!(self.done.insert(key), "{key:?} hears twice that it is over");
                        self.figures.ended += 1;
                    }
                    NearEvent::Lost(loss) => return Err(format!("{host} has lost the objects: {loss:?}")),
                }
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<Figures, Violation> {
        let waiting: Vec<&Key> = self.there.keys().filter(|key| !self.done.contains(key)).collect();
        promise!(waiting.is_empty(), "{waiting:?} never hear of their end");
        promise!(self.far.participants() == 0, "{} participants are left", self.far.participants());
        self.figures.hash = self.trace.hash();
        Ok(self.figures)
    }
}
