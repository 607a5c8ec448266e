//! Participants as this process sees them: their channels, what they asked and was not handled yet, and the words by
//! which they put and get without asking.

use std::collections::{BTreeMap, VecDeque};

use wasmpool_ipc::channel::server::ChannelServer;
use wasmpool_ipc::channel::words::{self, NUMBERS, distance};
use wasmpool_ipc::channel::{Heard, RING, Violation};
use wasmpool_objects::fast::{Credit, FastPath, PutOnCredit};
use wasmpool_objects::operation::{Answer, Reply, Request};
use wasmpool_objects::wire::{self, ParticipantFrame};
use wasmpool_objects::{ItemEnding, ParticipantId};

/// Length from which on a message is worth more than a copy.
const LONG: usize = 64 << 10;

/// Something that a participant sent, in its order.
#[derive(Debug)]
pub enum Sent {
    Ask {
        ticket: u32,
        request: Request,
    },
    /// A lock that was lent to it and is wanted.
    Released {
        object: u16,
    },
    ItemEnded(ItemEnding),
    ItemBegan(u64),
}

/// All participants.
#[derive(Debug, Default)]
pub struct Peers {
    all: BTreeMap<ParticipantId, Peer>,
    /// True if there is something to look at again at once.
    pub again: bool,
}

#[derive(Debug)]
pub struct Peer {
    channel: ChannelServer,
    /// What was read and is not handled yet, without puts on credit, and how much of it there may be.
    sent: VecDeque<Sent>,
    most: usize,
    /// Reads of a whole ring after which the longest request is complete.
    reads: usize,
    ahead: BTreeMap<u16, Batch>,
    /// True if its socket has something.
    pub rung: bool,
    /// True if it is being killed: nothing more is given to it.
    pub ending: bool,
    /// True if nothing more comes than what is in its ring.
    ended: bool,
    /// What it did that no participant does.
    pub broken: Option<String>,
}

/// The last messages that were sent ahead.
#[derive(Clone, Copy, Debug, Default)]
struct Batch {
    /// Number of the first of them, how many they are, and number of the first message behind them.
    first: u32,
    count: u32,
    next: u32,
}

impl Peer {
    /// `most` is the number of requests that are read before one of them is handled, and `longest` the length of the
    /// longest request.
    pub fn new(channel: ChannelServer, most: usize, longest: u32) -> Peer {
        Peer {
            channel,
            sent: VecDeque::new(),
            most,
            reads: longest as usize / RING + 2,
            ahead: BTreeMap::new(),
            rung: false,
            ending: false,
            ended: false,
            broken: None,
        }
    }

    /// Reads as much as the ring holds. Returns the puts on credit; the rest waits to be taken.
    ///
    /// All that was in the ring when this was called is read, and a participant that goes on writing does not keep it
    /// from returning.
    fn read(&mut self) -> Vec<PutOnCredit> {
        let mut puts = Vec::new();
        let mut left = RING;
        while left > 0 && self.broken.is_none() && self.sent.len() < self.most {
            let frame = match self.channel.read() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(e) => {
                    self.breaks(e);
                    break;
                }
            };
            left = left.saturating_sub(frame.len() + size_of::<u32>());
            match ParticipantFrame::decode(frame) {
                Ok(ParticipantFrame::PutOnCredit { object, message }) => {
                    puts.push(PutOnCredit { object, key: None, message });
                }
                Ok(ParticipantFrame::SetOnCredit { object, key, value }) => {
                    puts.push(PutOnCredit { object, key: Some(key), message: value });
                }
                Ok(ParticipantFrame::Released { object }) => self.sent.push_back(Sent::Released { object }),
                Ok(ParticipantFrame::Ask { ticket, request }) => self.sent.push_back(Sent::Ask { ticket, request }),
                // Which item it was matters to nobody: a participant has one at a time.
                Ok(ParticipantFrame::ItemEnded { failed, .. }) => {
                    self.item_ended(if failed { ItemEnding::Failed } else { ItemEnding::Returned });
                }
                Ok(ParticipantFrame::ItemBegan { item }) => self.sent.push_back(Sent::ItemBegan(item)),
                Err(e) => self.broken = Some(e.to_string()),
            }
        }
        puts
    }

    /// Keeps the end of an item. Without a request in between, several ends are one: what was put on credit between them
    /// was read already.
    fn item_ended(&mut self, ending: ItemEnding) {
        match self.sent.back_mut() {
            Some(Sent::ItemEnded(before)) => {
                if ending == ItemEnding::Failed {
                    *before = ending;
                }
            }
            _ => self.sent.push_back(Sent::ItemEnded(ending)),
        }
    }

    /// Returns true if what it sent is not handled, because it leaves too many answers untaken.
    fn has_to_wait(&self) -> bool {
        self.channel.is_behind() && !self.ended
    }

    /// Returns true if there may be something in its ring, or something was read that can be handled.
    fn has_more(&self) -> bool {
        !self.sent.is_empty() && !self.has_to_wait() || self.channel.has_requests()
    }

    /// Hears a bell that has come. If there are more, its socket still has something when it is next waited for.
    fn hear(&mut self) {
        self.rung = false;
        match self.channel.heard() {
            Ok(Heard::Rung | Heard::Silence) => {}
            Ok(Heard::End) => self.end(),
            Err(e) => self.breaks(e),
        }
    }

    /// Takes note that nothing more comes from it than what is in its ring.
    pub fn end(&mut self) {
        self.ended = true;
        self.channel.end();
    }

    fn breaks(&mut self, violation: Violation) {
        self.broken.get_or_insert_with(|| violation.0.to_owned());
    }

    fn check(&mut self, done: Result<(), Violation>) {
        if let Err(violation) = done {
            self.breaks(violation);
        }
    }
}

impl Peers {
    pub fn ids(&self) -> Vec<ParticipantId> {
        self.all.keys().copied().collect()
    }

    pub fn insert(&mut self, id: ParticipantId, peer: Peer) {
        self.all.insert(id, peer);
    }

    pub fn get_mut(&mut self, id: ParticipantId) -> Option<&mut Peer> {
        self.all.get_mut(&id)
    }

    /// Forgets a participant, and closes its channel.
    pub fn remove(&mut self, id: ParticipantId) -> Option<Peer> {
        self.all.remove(&id)
    }

    /// Hears the bells of all whose sockets have something.
    pub fn hear(&mut self) {
        self.all.values_mut().filter(|peer| peer.rung).for_each(Peer::hear);
    }

    /// Reads what a participant has in its ring, and returns its puts on credit.
    pub fn read(&mut self, id: ParticipantId) -> Vec<PutOnCredit> {
        self.all.get_mut(&id).map(Peer::read).unwrap_or_default()
    }

    /// Takes the next thing that a participant sent, without its puts on credit. There is none while it leaves too many
    /// answers untaken, as long as it lives.
    pub fn take(&mut self, id: ParticipantId) -> Option<Sent> {
        self.all.get_mut(&id).filter(|peer| peer.broken.is_none() && !peer.has_to_wait())?.sent.pop_front()
    }

    /// Returns true if the next thing that a participant sent is a request whose answer may be long.
    pub fn asks_to_be_told(&self, id: ParticipantId) -> bool {
        let next = self.all.get(&id).and_then(|peer| peer.sent.front());
        matches!(next, Some(Sent::Ask { request, .. }) if request.operation.tells())
    }

    /// Returns how often the ring of a participant that has ended is read at most.
    pub fn last_reads(&self, id: ParticipantId) -> usize {
        self.all.get(&id).map_or(0, |peer| peer.reads)
    }

    /// Returns true if there may be something in the ring, or something was read that is not handled.
    pub fn has_more(&self, id: ParticipantId) -> bool {
        self.all.get(&id).is_some_and(Peer::has_more)
    }

    /// Returns the participants that are to be removed: those that have ended or did what no participant does.
    pub fn leaving(&self) -> Vec<ParticipantId> {
        self.all.iter().filter(|(_, peer)| peer.ended || peer.broken.is_some()).map(|(id, _)| *id).collect()
    }

    pub fn first_broken(&self) -> Option<ParticipantId> {
        self.all.iter().find(|(_, peer)| peer.broken.is_some()).map(|(id, _)| *id)
    }

    pub fn break_off(&mut self, id: ParticipantId, why: &str) {
        if let Some(peer) = self.all.get_mut(&id) {
            peer.broken.get_or_insert_with(|| why.to_owned());
        }
    }

    pub fn answer(&mut self, id: ParticipantId, ticket: u32, mut answer: Answer) {
        let Some(peer) = self.all.get_mut(&id) else { return };
        // What of a long message does not fit the ring is kept without a copy.
        let length = message_of(&mut answer).map_or(0, |message| message.len());
        let rest = match wire::answer(ticket, &answer).parts().as_slice() {
            [message, rest] if length > LONG && message.len() == length => Some(rest.to_vec()),
            _ => None,
        };
        let written = match (rest, message_of(&mut answer)) {
            (Some(rest), Some(message)) => peer.channel.write_long(std::mem::take(message), &rest),
            _ => peer.channel.write(&wire::answer(ticket, &answer).parts()),
        };
        peer.check(written);
    }

    /// Makes all that was written visible, and wakes those who wait for it.
    pub fn wake(&mut self) {
        for peer in self.all.values_mut() {
            let woken = peer.channel.wake();
            peer.check(woken);
        }
    }

    /// Returns true if anybody has something that can be read.
    pub fn any_more(&self) -> bool {
        self.all.values().any(Peer::has_more)
    }

    /// Announces that this process is about to sleep. Returns true if it must not, because there is something to do.
    pub fn announce(&mut self) -> bool {
        let mut awake = std::mem::take(&mut self.again);
        for peer in self.all.values_mut() {
            awake |= peer.channel.announce() || peer.has_more() || peer.ended || peer.broken.is_some();
        }
        awake
    }

    pub fn retract(&self) {
        self.all.values().for_each(|peer| peer.channel.retract());
    }

    fn batch(&self, id: ParticipantId, object: u16) -> Option<(&Peer, Batch)> {
        let peer = self.all.get(&id)?;
        Some((peer, peer.ahead.get(&object).copied().unwrap_or_default()))
    }
}

/// Returns the message that an answer consists of, if it is one.
fn message_of(answer: &mut Answer) -> Option<&mut Vec<u8>> {
    match answer.as_mut().ok()? {
        Reply::Bytes(message) | Reply::MaybeBytes(Some(message)) | Reply::Entry(Some((message, _))) => Some(message),
        Reply::Delivery { item, .. } => Some(item),
        Reply::Many(messages) => match messages.as_mut_slice() {
            [message] => Some(message),
            _ => None,
        },
        _ => None,
    }
}

impl FastPath for Peers {
    fn grant_credit(&mut self, participant: ParticipantId, object: u16, credit: Credit) {
        if let Some(peer) = self.all.get(&participant) {
            let credit = words::Credit::capped(credit.entries, credit.bytes);
            peer.channel.words(object).credit.grant(credit);
        }
    }

    fn take_back_credit(&mut self, participant: ParticipantId, object: u16) -> Credit {
        let Some(peer) = self.all.get(&participant) else { return Credit::default() };
        let words::Credit { entries, bytes } = peer.channel.words(object).credit.take_back();
        Credit { entries, bytes }
    }

    fn want_puts(&mut self, participant: ParticipantId, object: u16, wanted: bool) {
        if let Some(peer) = self.all.get(&participant) {
            peer.channel.words(object).credit.want(wanted);
        }
    }

    fn puts_on_credit(&mut self, participant: ParticipantId) -> Vec<PutOnCredit> {
        self.read(participant)
    }

    fn send_ahead(&mut self, participant: ParticipantId, object: u16, messages: &[&[u8]]) {
        let Some(peer) = self.all.get_mut(&participant) else { return };
        // There are far fewer than `NUMBERS` in a batch.
        let count = messages.len() as u32;
        let batch = peer.ahead.entry(object).or_default();
        *batch = Batch { first: batch.next, count, next: (batch.next + count) % NUMBERS };
        let written = peer.channel.write(&wire::ahead(object, messages).parts());
        peer.channel.words(object).ahead.extend(count);
        peer.check(written);
    }

    fn taken_ahead(&mut self, participant: ParticipantId, object: u16) -> u32 {
        let Some((peer, batch)) = self.batch(participant, object) else { return 0 };
        distance(batch.first, peer.channel.words(object).ahead.next()).min(batch.count)
    }

    fn recall_ahead(&mut self, participant: ParticipantId, object: u16) -> u32 {
        let Some((peer, batch)) = self.batch(participant, object) else { return 0 };
        distance(batch.first, peer.channel.words(object).ahead.recall(batch.next)).min(batch.count)
    }

    fn wake_when_taken(&mut self, participant: ParticipantId, object: u16, taken: u32) {
        let Some((peer, batch)) = self.batch(participant, object) else { return };
        let next = peer.channel.words(object).ahead.await_next((batch.first + taken) % NUMBERS);
        // If it has taken them already, no bell comes.
        self.again |= distance(batch.first, next) >= taken;
        if let Some(peer) = self.all.get_mut(&participant) {
            peer.channel.expect_bell();
        }
    }

    fn lend_lock(&mut self, participant: ParticipantId, object: u16, nests: bool) {
        if let Some(peer) = self.all.get(&participant) {
            peer.channel.words(object).lock.lend(nests);
        }
    }

    fn want_lock(&mut self, participant: ParticipantId, object: u16) -> bool {
        self.all.get(&participant).is_none_or(|peer| peer.channel.words(object).lock.want())
    }

    fn holds_lock(&mut self, participant: ParticipantId, object: u16) -> bool {
        self.all.get(&participant).is_some_and(|peer| peer.channel.words(object).lock.is_held())
    }

    fn take_back_lock(&mut self, participant: ParticipantId, object: u16) -> bool {
        self.all.get(&participant).is_some_and(|peer| peer.channel.words(object).lock.take_back())
    }

    fn tell_change(&mut self, participant: ParticipantId, object: u16) {
        if let Some(peer) = self.all.get(&participant) {
            peer.channel.words(object).changes.tell();
        }
    }
}
