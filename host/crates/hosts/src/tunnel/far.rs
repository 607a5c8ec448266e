//! The end of a tunnel at which the objects are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::packet::{Content, Packet};
use super::stream::{Delivery, Room, Stream, room_for};
use super::{BACKLOG, Breach, SILENCE, Time};
use crate::names::{HostName, RunId};

/// Maximum number of near ends, and of participants that a host has over all of its near ends, or a program, that are kept at a time.
const MOST_HOSTS: usize = 4096;
const MOST_PARTICIPANTS: usize = 1024;
/// Bytes of frames that arrive from a near end at a time, if none is longer. The others wait.
const MOST_ARRIVING: usize = 128 << 20;
/// Number of packets that wait for being sent beside those of streams.
const MOST_REPLIES: usize = 4096;
/// Time after which a host without participants is forgotten.
const FORGOTTEN: Time = Time::from_secs(3600);

/// Maximum number of near ends of one host, which has one for each run that it serves.
const MOST_SITES_OF_HOST: usize = 256;

/// The name of a near end: there is one on each host for each run, and one in each program that takes part by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SiteName {
    /// The host; of a program, the machine that it says it runs on.
    pub host: HostName,
    /// The run; of a program, a random number of its own.
    pub run: RunId,
    /// True for a program, whose name no host can have.
    pub is_program: bool,
}

impl SiteName {
    /// Returns the name of the near end that a host has for a run.
    pub fn of_host(host: HostName, run: RunId) -> SiteName {
        SiteName { host, run, is_program: false }
    }
}

/// One life of a near end: a host that is started again has a greater number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SiteLife {
    pub name: SiteName,
    pub life: u64,
}

/// A participant on another machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FarId {
    pub site: SiteLife,
    pub participant: u32,
}

#[derive(Debug)]
struct Site {
    life: u64,
    heard: Time,
    streams: BTreeMap<u32, Stream>,
    /// Participants that were cut off or have ended: none of them has a part in the objects again.
    over: Numbers,
    /// The reasons for which some were cut off, until the host knows.
    reasons: BTreeMap<u32, String>,
    /// True if it broke the protocol in this life.
    is_ignored: bool,
}

/// The state machine. See [`super`].
#[derive(Debug)]
pub struct Far {
    life: u64,
    /// Maximum bytes of a frame of a participant.
    longest: usize,
    /// Maximum number of participants that a host has over all of its near ends, or a program.
    most_of_host: usize,
    sites: BTreeMap<SiteName, Site>,
    /// Participants that may have something to send, or have something that was not taken.
    sending: BTreeSet<FarId>,
    arrived: BTreeSet<FarId>,
    replies: VecDeque<(SiteLife, Packet)>,
    cut: VecDeque<FarId>,
}

impl Far {
    /// Returns an end without participants. `life` distinguishes this process from all others, and is greater than those of
    /// processes whose place it takes.
    pub fn new(life: u64, longest: usize) -> Far {
        Far {
            life,
            longest,
            most_of_host: MOST_PARTICIPANTS,
            sites: BTreeMap::new(),
            sending: BTreeSet::new(),
            arrived: BTreeSet::new(),
            replies: VecDeque::new(),
            cut: VecDeque::new(),
        }
    }

    /// Sets how many participants the objects can have in all: no host takes more than half of their places.
    pub fn within(self, participants: u64) -> Far {
        let half = usize::try_from(participants / 2).unwrap_or(MOST_PARTICIPANTS);
        Far { most_of_host: half.clamp(1, MOST_PARTICIPANTS), ..self }
    }

    /// Returns the next participant that has lost its part in the objects without having ended: nothing more comes of it, and
    /// what it holds is to be released.
    pub fn next_cut(&mut self) -> Option<FarId> {
        self.cut.pop_front()
    }

    fn stream(&mut self, id: &FarId) -> Option<&mut Stream> {
        let site = self.sites.get_mut(&id.site.name).filter(|site| site.life == id.site.life)?;
        site.streams.get_mut(&id.participant)
    }

    /// Sends a frame to a participant.
    pub fn send(&mut self, id: &FarId, frame: Vec<u8>) {
        if let Some(stream) = self.stream(id) {
            stream.send(frame);
            self.sending.insert(id.clone());
        }
    }

    /// Takes what has arrived next of a participant that does not leave too many answers untaken. Its first frame is what it
    /// was opened with.
    pub fn take(&mut self, now: Time) -> Option<(FarId, Delivery)> {
        let candidates: Vec<FarId> = self.arrived.iter().cloned().collect();
        for id in candidates {
            match self.stream(&id) {
                Some(stream) if stream.has_arrived() => {
                    if stream.backlog() > BACKLOG {
                        continue;
                    }
                    let taken = stream.take(now);
                    self.sending.insert(id.clone());
                    if let Some(delivery) = taken {
                        return Some((id, delivery));
                    }
                }
                _ => drop(self.arrived.remove(&id)),
            }
        }
        None
    }

    /// Forgets a participant, which has ended or has no part in the objects any more, and tells it so.
    pub fn close(&mut self, id: &FarId, why: &str) {
        let Some(site) = self.sites.get_mut(&id.site.name).filter(|site| site.life == id.site.life) else {
            return;
        };
        if site.streams.remove(&id.participant).is_some() {
            site.over.insert(id.participant);
            if !why.is_empty() {
                site.reasons.insert(id.participant, why.to_owned());
            }
            self.reply(&id.site, id.participant, Content::Gone(why.to_owned()));
        }
    }

    fn reply(&mut self, host: &SiteLife, participant: u32, content: Content) {
        if self.replies.len() < MOST_REPLIES {
            let packet = Packet { life: self.life, participant, base: 0, confirmed: 0, limit: 0, content };
            self.replies.push_back((host.clone(), packet));
        }
    }

    /// Tells all hosts that have participants that the objects are no more. Nothing else is sent to them.
    pub fn end(&mut self) {
        self.sending.clear();
        self.replies.clear();
        let sites = self.sites.iter().filter(|(_, site)| !site.streams.is_empty());
        let hosts: Vec<SiteLife> = sites.map(|(name, site)| SiteLife { name: name.clone(), life: site.life }).collect();
        hosts.iter().for_each(|host| self.reply(host, 0, Content::Over));
    }

    /// Handles a packet of a host.
    pub fn receive(&mut self, host: &SiteName, packet: Packet, now: Time) {
        let life = packet.life;
        let is_room = self.sites.contains_key(host) || self.makes_room_for(host);
        match self.sites.get(host) {
            Some(site) if site.life == life => {}
            // It is late: a host that is started again has a greater number, unless its clock was set back.
            Some(site) if life < site.life && now.saturating_sub(site.heard) < SILENCE => return,
            Some(_) => self.started_again(host, life),
            None if !is_room => return,
            None => {
                let site = Site {
                    life,
                    heard: now,
                    streams: BTreeMap::new(),
                    over: Numbers::default(),
                    reasons: BTreeMap::new(),
                    is_ignored: false,
                };
                self.sites.insert(host.clone(), site);
            }
        }
        let Some(site) = self.sites.get_mut(host) else { return };
        site.heard = now;
        if site.is_ignored {
            return;
        }
        let id = FarId { site: SiteLife { name: host.clone(), life }, participant: packet.participant };
        if let Content::Beat(known) = &packet.content {
            // Who was cut off and sends nothing has to hear of it.
            let over: Vec<u32> = known.iter().copied().filter(|number| site.over.has(*number)).collect();
            let known: BTreeSet<u32> = known.iter().copied().collect();
            site.reasons.retain(|number, _| known.contains(number));
            let why = |number| site.reasons.get(&number).cloned().unwrap_or_default();
            let gone: Vec<(u32, String)> = over.into_iter().map(|number| (number, why(number))).collect();
            gone.into_iter().for_each(|(number, why)| self.reply(&id.site, number, Content::Gone(why)));
            return self.reply(&id.site, 0, Content::Beat(Vec::new()));
        }
        if let Err(Breach(_)) = self.of_participant(&id, packet, now) {
            self.cut_all(host, "it broke the protocol of the tunnel");
            if let Some(site) = self.sites.get_mut(host) {
                site.is_ignored = true;
            }
        }
    }

    /// Returns true if there is room for another near end of this host, after the one of it was forgotten that has been without
    /// participants for longest, if need be.
    fn makes_room_for(&mut self, host: &SiteName) -> bool {
        let is_of_host = |name: &SiteName| name.host == host.host && name.is_program == host.is_program;
        let of_host: Vec<_> = self.sites.iter().filter(|(name, _)| is_of_host(name)).collect();
        if of_host.len() >= MOST_SITES_OF_HOST && !host.is_program {
            let idle = of_host.into_iter().filter(|(_, site)| site.streams.is_empty() && !site.is_ignored);
            let Some(idle) = idle.min_by_key(|(_, site)| site.heard).map(|(name, _)| name.clone()) else {
                return false;
            };
            self.sites.remove(&idle);
        }
        self.sites.len() < MOST_HOSTS
    }

    /// Returns the number of participants that a host has at its other near ends. What programs say of their machine counts for
    /// nothing.
    fn participants_elsewhere(&self, name: &SiteName) -> usize {
        let is_other =
            |other: &SiteName| !name.is_program && !other.is_program && other.host == name.host && other != name;
        self.sites.iter().filter(|(other, _)| is_other(other)).map(|(_, site)| site.streams.len()).sum()
    }

    fn of_participant(&mut self, id: &FarId, mut packet: Packet, now: Time) -> Result<(), Breach> {
        let longest = self.longest;
        let opens = self.sites.get(&id.site.name).is_some_and(|site| !site.streams.contains_key(&id.participant));
        let others = if opens { self.participants_elsewhere(&id.site.name) } else { 0 };
        let Some(site) = self.sites.get_mut(&id.site.name) else { return Ok(()) };
        let number = id.participant;
        if !site.streams.contains_key(&number) {
            let gone = site.over.has(number).then(|| site.reasons.get(&number).cloned().unwrap_or_default());
            let is_first = matches!(packet.content, Content::Part { number: 0, .. }) && packet.base == 0;
            let why = match gone {
                Some(why) => why,
                None if packet.base > 0 => "its part in the shared objects was lost".to_owned(),
                // The first part is on its way, or will come again.
                None if !is_first => return Ok(()),
                None if site.streams.len() + others >= self.most_of_host => {
                    format!("a host can have {} participants at a time", self.most_of_host)
                }
                None => {
                    site.streams.insert(number, Stream::new(longest));
                    String::new()
                }
            };
            if !site.streams.contains_key(&number) {
                self.reply(&id.site, number, Content::Gone(why));
                return Ok(());
            }
        }
        let streams = site.streams.iter().map(|(number, stream)| (*number, stream));
        if room_for(streams, number, &packet, MOST_ARRIVING.max(longest)) != Room::Enough {
            // What it says of the other direction counts all the same.
            packet.content = Content::Nothing;
        }
        let Some(stream) = site.streams.get_mut(&number) else { return Ok(()) };
        stream.receive(packet, now)?;
        if stream.has_arrived() {
            self.arrived.insert(id.clone());
        }
        self.sending.insert(id.clone());
        Ok(())
    }

    /// Handles that another process has the name of a host.
    fn started_again(&mut self, host: &SiteName, life: u64) {
        self.cut_all(host, "its host was started again");
        if let Some(site) = self.sites.get_mut(host) {
            site.life = life;
            site.over = Numbers::default();
            site.reasons.clear();
            site.is_ignored = false;
        }
    }

    fn cut_all(&mut self, host: &SiteName, why: &str) {
        let Some(site) = self.sites.get_mut(host) else { return };
        let host = SiteLife { name: host.clone(), life: site.life };
        for number in std::mem::take(&mut site.streams).into_keys() {
            site.over.insert(number);
            site.reasons.insert(number, why.to_owned());
            self.cut.push_back(FarId { site: host.clone(), participant: number });
        }
    }

    /// Handles that time has passed while messages could pass.
    pub fn tick(&mut self, now: Time) {
        let is_silent = |site: &Site| !site.streams.is_empty() && now.saturating_sub(site.heard) >= SILENCE;
        let silent: Vec<SiteName> =
            self.sites.iter().filter(|(_, site)| is_silent(site)).map(|(host, _)| host.clone()).collect();
        for host in silent {
            self.cut_all(&host, "its host was not heard for 5 s, and has no part in what it held any more");
        }
        self.sites.retain(|_, site| !site.streams.is_empty() || now.saturating_sub(site.heard) < FORGOTTEN);
        for (name, site) in &self.sites {
            for (&participant, stream) in &site.streams {
                if stream.deadline().is_some_and(|at| at <= now) {
                    let site = SiteLife { name: name.clone(), life: site.life };
                    self.sending.insert(FarId { site, participant });
                }
            }
        }
    }

    /// Handles that messages pass again after they could not: the silence was nobody's, and all may be lost that was sent
    /// meanwhile.
    pub fn messages_pass_again(&mut self, now: Time) {
        for (name, site) in &mut self.sites {
            site.heard = now;
            for (&participant, stream) in &mut site.streams {
                stream.send_again(now);
                let site = SiteLife { name: name.clone(), life: site.life };
                self.sending.insert(FarId { site, participant });
            }
        }
    }

    /// Returns the next packet to be sent, and to whom. Its parts have no more than so many bytes.
    pub fn next_packet(&mut self, now: Time, longest_part: usize) -> Option<(SiteLife, Packet)> {
        if let Some(reply) = self.replies.pop_front() {
            return Some(reply);
        }
        let life = self.life;
        while let Some(id) = self.sending.first().cloned() {
            let packet = self.stream(&id).and_then(|stream| stream.next_packet(now, longest_part));
            match packet {
                Some(packet) => {
                    return Some((id.site, Packet { life, participant: id.participant, ..packet }));
                }
                None => drop(self.sending.remove(&id)),
            }
        }
        None
    }

    /// Returns the time at which [`Far::tick`] and [`Far::next_packet`] have something to do.
    pub fn deadline(&self) -> Option<Time> {
        let sites = self.sites.values().filter(|site| !site.streams.is_empty());
        let of_site = |site: &Site| {
            let of_streams = site.streams.values().filter_map(Stream::deadline);
            of_streams.chain([site.heard + SILENCE]).min()
        };
        sites.filter_map(of_site).min()
    }

    /// Returns the number of participants.
    pub fn participants(&self) -> usize {
        self.sites.values().map(|site| site.streams.len()).sum()
    }
}

/// A set of numbers, of which most follow each other.
#[derive(Debug, Default)]
struct Numbers {
    /// Ranges that do not touch: the last number of each, by its first.
    ranges: BTreeMap<u32, u32>,
}

impl Numbers {
    fn has(&self, number: u32) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, last)| *last >= number)
    }

    fn insert(&mut self, number: u32) {
        if self.has(number) {
            return;
        }
        let (mut first, mut last) = (number, number);
        if let Some((&before, &end)) = self.ranges.range(..number).next_back()
            && end.checked_add(1) == Some(number)
        {
            first = before;
        }
        if let Some(after) = number.checked_add(1)
            && let Some(end) = self.ranges.remove(&after)
        {
            last = end;
        }
        self.ranges.insert(first, last);
    }
}
