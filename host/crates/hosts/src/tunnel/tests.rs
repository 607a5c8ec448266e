use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::far::{Far, FarId, SiteLife, SiteName};
use super::near::{Loss, Near, NearEvent};
use super::packet::Packet;
use super::{Delivery, PATIENCE, SILENCE, Time};
use crate::names::{HostName, RunId};

const PART: usize = 7;
const LONGEST: usize = 500;

fn host(name: &str) -> SiteName {
    SiteName::of_host(HostName::new(name).unwrap(), RunId([3; 16]))
}

/// Passes all packets on until none is left.
fn exchange(near: &mut Near, far: &mut Far, name: &SiteName, now: Time) {
    loop {
        let to_far: Vec<Packet> = std::iter::from_fn(|| near.next_packet(now, PART)).collect();
        let none = to_far.is_empty();
        to_far.into_iter().for_each(|packet| far.receive(name, packet, now));
        let to_near: Vec<Packet> =
            std::iter::from_fn(|| far.next_packet(now, PART)).map(|(_, packet)| packet).collect();
        if none && to_near.is_empty() {
            return;
        }
        to_near.into_iter().for_each(|packet| near.receive(packet, now));
    }
}

fn taken(far: &mut Far, now: Time) -> Vec<(u32, Delivery)> {
    std::iter::from_fn(|| far.take(now)).map(|(id, delivery)| (id.participant, delivery)).collect()
}

#[test]
fn frames_pass_in_parts_and_the_end_is_confirmed() {
    let (mut near, mut far, name, now) = (Near::new(1, LONGEST), Far::new(9, LONGEST), host("a"), Time::ZERO);
    let number = near.open(b"hello".to_vec(), now);
    near.send(number, vec![5; 400]);
    near.ending(number);
    near.end(number);
    let mut came = Vec::new();
    for _ in 0..50 {
        exchange(&mut near, &mut far, &name, now);
        came.extend(taken(&mut far, now));
    }
    let wanted = [Delivery::Frame(b"hello".to_vec()), Delivery::Frame(vec![5; 400]), Delivery::Ending, Delivery::End];
    assert_eq!(came, wanted.map(|delivery| (number, delivery)));
    let id = FarId { site: SiteLife { name: name.clone(), life: 1 }, participant: number };
    far.close(&id, "");
    exchange(&mut near, &mut far, &name, now);
    assert_eq!(near.next_event(), Some(NearEvent::Ended(number)));
    assert_eq!((far.next_cut(), far.participants(), near.deadline()), (None, 0, None));
}

#[test]
fn a_host_that_is_silent_is_cut_off_and_what_it_still_sends_is_refused() {
    let (mut near, mut far, name) = (Near::new(1, LONGEST), Far::new(9, LONGEST), host("a"));
    let number = near.open(Vec::new(), Time::ZERO);
    exchange(&mut near, &mut far, &name, Time::ZERO);
    assert_eq!(taken(&mut far, Time::ZERO).len(), 1);
    far.tick(SILENCE - Duration::from_millis(1));
    assert_eq!(far.next_cut(), None);
    far.tick(SILENCE);
    assert_eq!(far.next_cut().map(|id| id.participant), Some(number));
    // It comes back, with something that it had sent meanwhile.
    let later = SILENCE * 2;
    near.send(number, vec![1]);
    near.tick(later);
    exchange(&mut near, &mut far, &name, later);
    assert_eq!(taken(&mut far, later), []);
    assert!(matches!(near.next_event(), Some(NearEvent::Cut(cut, _)) if cut == number));
    // Another one of the same host is as good as any.
    let other = near.open(vec![2], later);
    exchange(&mut near, &mut far, &name, later);
    assert_eq!(taken(&mut far, later), [(other, Delivery::Frame(vec![2]))]);
}

#[test]
fn a_participant_that_was_cut_off_and_sends_nothing_hears_of_it() {
    let (mut near, mut far, name) = (Near::new(1, LONGEST), Far::new(9, LONGEST), host("a"));
    let number = near.open(Vec::new(), Time::ZERO);
    exchange(&mut near, &mut far, &name, Time::ZERO);
    taken(&mut far, Time::ZERO);
    far.tick(SILENCE);
    // Its beat alone comes.
    let later = SILENCE + Duration::from_secs(1);
    near.tick(later);
    exchange(&mut near, &mut far, &name, later);
    assert!(matches!(near.next_event(), Some(NearEvent::Cut(cut, _)) if cut == number));
}

#[test]
fn what_an_earlier_life_of_a_host_sends_is_not_heard() {
    let (mut far, name, now) = (Far::new(9, LONGEST), host("a"), Time::ZERO);
    let (mut first, mut second) = (Near::new(1, LONGEST), Near::new(2, LONGEST));
    first.open(vec![1], now);
    let old: Vec<Packet> = std::iter::from_fn(|| first.next_packet(now, PART)).collect();
    old.iter().cloned().for_each(|packet| far.receive(&name, packet, now));
    assert_eq!(taken(&mut far, now).len(), 1);
    second.open(vec![2], now);
    exchange(&mut second, &mut far, &name, now);
    assert_eq!(far.next_cut().map(|id| id.site.life), Some(1));
    old.into_iter().for_each(|packet| far.receive(&name, packet, now));
    assert_eq!(taken(&mut far, now), [(0, Delivery::Frame(vec![2]))]);
    assert_eq!((far.participants(), far.next_cut()), (1, None));
}

#[test]
fn the_objects_are_lost_if_nothing_is_heard_or_another_process_answers() {
    let (mut near, mut far, name) = (Near::new(1, LONGEST), Far::new(9, LONGEST), host("a"));
    near.open(Vec::new(), Time::ZERO);
    near.tick(PATIENCE - Duration::from_millis(1));
    assert_eq!(near.next_event(), None);
    near.tick(PATIENCE);
    assert_eq!(near.next_event(), Some(NearEvent::Lost(Loss::Silent)));
    let mut near = Near::new(2, LONGEST);
    near.open(Vec::new(), Time::ZERO);
    exchange(&mut near, &mut far, &name, Time::ZERO);
    let mut other = Far::new(10, LONGEST);
    let later = Duration::from_secs(2);
    near.tick(later);
    exchange(&mut near, &mut other, &name, later);
    assert_eq!(near.next_event(), Some(NearEvent::Lost(Loss::Restarted)));
}

#[test]
fn whoever_has_participants_hears_at_once_that_the_objects_are_no_more() {
    let (mut far, now) = (Far::new(9, LONGEST), Time::ZERO);
    let mut ends = ["a", "b", "c"].map(|name| (host(name), Near::new(1, LONGEST)));
    for (name, near) in &mut ends {
        near.open(vec![1], now);
        exchange(near, &mut far, name, now);
    }
    taken(&mut far, now);
    // One has no participant any more.
    ends[2].1.end(0);
    exchange(&mut ends[2].1, &mut far, &ends[2].0, now);
    assert_eq!(taken(&mut far, now), [(0, Delivery::End)]);
    far.close(&FarId { site: SiteLife { name: host("c"), life: 1 }, participant: 0 }, "");
    exchange(&mut ends[2].1, &mut far, &ends[2].0, now);
    far.end();
    let told: Vec<(SiteLife, Packet)> = std::iter::from_fn(|| far.next_packet(now, PART)).collect();
    assert_eq!(told.iter().map(|(to, _)| to.name.clone()).collect::<Vec<_>>(), [host("a"), host("b")]);
    for ((_, near), (_, packet)) in ends.iter_mut().zip(told) {
        near.receive(packet, now);
        assert_eq!(near.next_event(), Some(NearEvent::Lost(Loss::Ended)));
    }
}

/// One that stood still while another took its place is not heard, whether that is known to be the other or was heard first.
#[test]
fn what_a_process_says_whose_place_was_taken_changes_nothing() {
    for known in [None, Some(10)] {
        let (mut near, name, now) = (Near::to(known, 1, LONGEST), host("a"), Time::ZERO);
        let (mut late, mut far) = (Far::new(9, LONGEST), Far::new(10, LONGEST));
        near.open(vec![1], now);
        let sent: Vec<Packet> = std::iter::from_fn(|| near.next_packet(now, PART)).collect();
        sent.iter().cloned().for_each(|packet| late.receive(&name, packet, now));
        taken(&mut late, now);
        late.end();
        let said: Vec<Packet> = std::iter::from_fn(|| late.next_packet(now, PART)).map(|(_, packet)| packet).collect();
        assert!(!said.is_empty());
        let say = |near: &mut Near| said.iter().cloned().for_each(|packet| near.receive(packet, now));
        if known.is_some() {
            say(&mut near);
        }
        sent.into_iter().for_each(|packet| far.receive(&name, packet, now));
        exchange(&mut near, &mut far, &name, now);
        assert_eq!(taken(&mut far, now), [(0, Delivery::Frame(vec![1]))]);
        say(&mut near);
        assert_eq!(near.next_event(), None);
    }
}

/// Returns an end with participants, which are told frames of so many bytes, and what it has at most while they come.
fn told(lengths: &[usize], room: usize) -> (Near, Far, BTreeMap<u32, usize>, usize) {
    let (mut near, mut far, name) = (Near::new(1, LONGEST), Far::new(9, LONGEST), host("a"));
    near.set_room(room);
    let mut now = Time::ZERO;
    lengths.iter().for_each(|_| _ = near.open(vec![1], now));
    exchange(&mut near, &mut far, &name, now);
    for (id, _) in std::iter::from_fn(|| far.take(now)).collect::<Vec<_>>() {
        far.send(&id, vec![7; lengths[id.participant as usize]]);
    }
    let (mut came, mut most) = (BTreeMap::new(), 0);
    for _ in 0..500 {
        // All that is on its way comes a packet at a time, of each participant in turn.
        let mut packets: VecDeque<Packet> =
            std::iter::from_fn(|| far.next_packet(now, PART)).map(|(_, it)| it).collect();
        packets.make_contiguous().sort_by_key(|packet| packet.base);
        for packet in packets {
            near.receive(packet, now);
            most = most.max((0..lengths.len() as u32).map(|number| near.held(number)).sum());
            came.extend(near.take(now, |_| true).map(|(number, frame)| (number, frame.len())));
        }
        std::iter::from_fn(|| near.next_packet(now, PART)).for_each(|packet| far.receive(&name, packet, now));
        now += Duration::from_millis(100);
        near.tick(now);
        far.tick(now);
    }
    (near, far, came, most)
}

#[test]
fn an_end_holds_no_more_than_it_has_room_for_and_all_frames_come_all_the_same() {
    let lengths = [300, 200, 320, 310, 250];
    let (mut near, _, came, most) = told(&lengths, 400);
    assert_eq!(came.into_values().collect::<Vec<_>>(), lengths);
    assert!(most <= 800, "{most}");
    assert_eq!(near.next_event(), None);
    // It shows that there was need.
    let (.., most) = told(&lengths, usize::MAX);
    assert!(most > 800, "{most}");
}

#[test]
fn nobody_is_cut_off_for_frames_that_come_twice_or_that_wait_to_be_taken() {
    let (mut near, mut far, name, now) = (Near::new(1, LONGEST), Far::new(9, LONGEST), host("a"), Time::ZERO);
    near.set_room(PART);
    let number = near.open(vec![1], now);
    exchange(&mut near, &mut far, &name, now);
    let (id, _) = far.take(now).expect("its first frame");
    (0..2).for_each(|_| far.send(&id, vec![7; PART]));
    let packets: Vec<Packet> = std::iter::from_fn(|| far.next_packet(now, PART)).map(|(_, it)| it).collect();
    // Each part fills the room, and comes twice before anything is taken.
    packets.iter().chain(&packets).for_each(|packet| near.receive(packet.clone(), now));
    assert_eq!(near.next_event(), None);
    assert!(near.held(number) <= PART + 1, "{}", near.held(number));
    assert_eq!(near.take(now, |_| true), Some((number, vec![7; PART])));
}

#[test]
fn who_is_told_more_than_there_is_room_for_is_cut_off_alone_and_the_other_end_hears_of_it() {
    let (mut near, mut far, came, _) = told(&[300, 450, 310], 400);
    assert_eq!(came, BTreeMap::from([(0, 300), (2, 310)]));
    assert!(matches!(near.next_event(), Some(NearEvent::Cut(1, why)) if why.contains("room")));
    assert_eq!(near.next_event(), None);
    let ended = taken(&mut far, Time::from_secs(60));
    assert_eq!(ended, [(1, Delivery::End)]);
}

#[test]
fn who_breaks_the_protocol_is_cut_off_with_all_that_it_has() {
    let (mut near, mut far, name, now) = (Near::new(1, 1 << 20), Far::new(9, LONGEST), host("liar"), Time::ZERO);
    let mut good = Near::new(7, LONGEST);
    good.open(Vec::new(), now);
    exchange(&mut good, &mut far, &host("good"), now);
    near.open(Vec::new(), now);
    let second = near.open(Vec::new(), now);
    near.send(second, vec![0; LONGEST + 1]);
    for _ in 0..20 {
        exchange(&mut near, &mut far, &name, now);
        taken(&mut far, now);
    }
    let cut: Vec<u32> = std::iter::from_fn(|| far.next_cut()).map(|id| id.participant).collect();
    assert_eq!(cut, [0, 1]);
    assert_eq!(far.participants(), 1);
}

/// A network that loses, doubles, delays and reorders.
#[derive(Default)]
struct Network {
    on_its_way: Vec<(Time, u64, bool, usize, Packet)>,
    sent: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Each participant's frames come to the other end once each, in order; and its end comes behind them.
    #[test]
    fn frames_come_once_each_in_order_whatever_becomes_of_packets(
        seed in any::<u64>(),
        sizes in proptest::collection::vec(0..60_usize, 1..40),
        loss in 0..40_u64,
        doubles in 0..40_u64,
        delay in 1..900_u64,
    ) {
        let mut state = seed | 1;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below.max(1)
        };
        let names = [host("a"), host("b")];
        let mut near = [Near::new(1, LONGEST), Near::new(2, LONGEST)];
        let mut far = Far::new(9, LONGEST);
        let mut network = Network::default();
        let mut wanted: BTreeMap<(usize, u32), VecDeque<Vec<u8>>> = BTreeMap::new();
        let mut back: BTreeMap<(usize, u32), VecDeque<Vec<u8>>> = BTreeMap::new();
        let mut ended = Vec::new();
        for (site, near) in near.iter_mut().enumerate() {
            for _ in 0..2 {
                let number = near.open(vec![site as u8], Time::ZERO);
                let frames = wanted.entry((site, number)).or_default();
                frames.push_back(vec![site as u8]);
                for (at, size) in sizes.iter().enumerate() {
                    let frame = vec![(at + number as usize) as u8; *size];
                    near.send(number, frame.clone());
                    frames.push_back(frame);
                }
                near.end(number);
            }
        }
        let mut now = Time::ZERO;
        for _ in 0..200_000 {
            // What is sent gets on its way, unless it is lost.
            for (site, near) in near.iter_mut().enumerate() {
                while let Some(packet) = near.next_packet(now, PART) {
                    for _ in 0..=u8::from(random(100) < doubles) {
                        if random(100) >= loss {
                            let at = now + Duration::from_millis(random(delay));
                            network.sent += 1;
                            network.on_its_way.push((at, network.sent, true, site, packet.clone()));
                        }
                    }
                }
            }
            while let Some((to, packet)) = far.next_packet(now, PART) {
                let site = usize::from(to.name == names[1]);
                if random(100) >= loss {
                    let at = now + Duration::from_millis(random(delay));
                    network.sent += 1;
                    network.on_its_way.push((at, network.sent, false, site, packet));
                }
            }
            network.on_its_way.sort_by_key(|(at, number, ..)| (*at, *number));
            let first = network.on_its_way.first().map(|(at, ..)| *at);
            let timers = near.iter().filter_map(Near::deadline).chain(far.deadline());
            let Some(next) = timers.chain(first).min() else { break };
            now = now.max(next);
            // Beats are never so late that a host counts as silent.
            far.messages_pass_again(now);
            near.iter_mut().for_each(|near| near.tick(now));
            far.tick(now);
            while network.on_its_way.first().is_some_and(|(at, ..)| *at <= now) {
                let (_, _, to_far, site, packet) = network.on_its_way.remove(0);
                match to_far {
                    true => far.receive(&names[site], packet, now),
                    false => near[site].receive(packet, now),
                }
            }
            while let Some((id, delivery)) = far.take(now) {
                let key = (usize::from(id.site.name == names[1]), id.participant);
                match delivery {
                    Delivery::Frame(frame) => {
                        prop_assert_eq!(wanted.get_mut(&key).and_then(VecDeque::pop_front), Some(frame.clone()));
                        far.send(&id, frame.clone());
                        back.entry(key).or_default().push_back(frame);
                    }
                    Delivery::Ending => prop_assert!(false),
                    Delivery::End => {
                        prop_assert_eq!(wanted.get(&key).map(VecDeque::len), Some(0));
                        far.close(&id, "");
                    }
                }
            }
            for (site, near) in near.iter_mut().enumerate() {
                while let Some((number, frame)) = near.take(now, |_| true) {
                    let own = back.get_mut(&(site, number)).and_then(VecDeque::pop_front);
                    prop_assert_eq!(own, Some(frame));
                }
                while let Some(event) = near.next_event() {
                    prop_assert!(matches!(event, NearEvent::Ended(_)), "{event:?}");
                    ended.push(event);
                }
            }
            prop_assert_eq!(far.next_cut(), None);
        }
        prop_assert_eq!(ended.len(), 4, "all have ended: {:?}", now);
    }

    #[test]
    fn any_packets_do_no_harm(
        packets in proptest::collection::vec((0..3_u64, 0..3_u32, 0..20_u64, 0..20_u64, 0..40_u64, 0..8_u8, 0..9_u64, 0..9_usize), 0..60),
    ) {
        use super::packet::{Content, PartKind};
        let (mut near, mut far, name, now) = (Near::new(1, LONGEST), Far::new(0, LONGEST), host("a"), Time::ZERO);
        near.open(vec![1; 30], now);
        for (life, participant, base, confirmed, limit, kind, number, length) in packets {
            let part = |kind| Content::Part { number, kind, bytes: vec![0; length].into() };
            let content = match kind {
                0 => Content::Nothing,
                1 => Content::Beat(vec![participant]),
                2 => Content::Ask,
                3 => Content::Gone("so".to_owned()),
                4 => part(PartKind::More),
                5 => part(PartKind::Last),
                6 => part(PartKind::Ending),
                _ => part(PartKind::End),
            };
            let packet = Packet { life, participant, base, confirmed, limit, content };
            far.receive(&name, packet.clone(), now);
            near.receive(packet, now);
            let _ = (far.next_packet(now, PART), near.next_packet(now, PART), far.take(now), near.take(now, |_| true));
        }
    }
}

/// A host that invents runs takes nobody's place but its own.
#[test]
fn near_ends_of_one_host_leave_room_for_others() {
    let mut far = Far::new(1, 1 << 20);
    let of_run = |run: u16| {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&run.to_le_bytes());
        SiteName::of_host(HostName::new("many").unwrap(), RunId(bytes))
    };
    for run in 0..5000 {
        let mut near = Near::new(2, 1 << 20);
        near.open(b"hello".to_vec(), Time::ZERO);
        exchange(&mut near, &mut far, &of_run(run), Time::ZERO);
    }
    assert!(far.participants() <= 256, "{}", far.participants());
    let mut near = Near::new(2, 1 << 20);
    near.open(b"hello".to_vec(), Time::ZERO);
    let before = far.participants();
    exchange(&mut near, &mut far, &host("other"), Time::ZERO);
    assert_eq!(far.participants(), before + 1);
}

/// Over all runs that it claims to serve.
#[test]
fn one_host_takes_no_more_places_than_a_host_has() {
    let mut far = Far::new(1, 1 << 10);
    for run in 0..3_u8 {
        let mut near = Near::new(2, 1 << 10);
        (0..600).for_each(|_| _ = near.open(vec![1], Time::ZERO));
        let name = SiteName::of_host(HostName::new("many").unwrap(), RunId([run; 16]));
        exchange(&mut near, &mut far, &name, Time::ZERO);
    }
    assert_eq!(far.participants(), 1024);
    let mut near = Near::new(2, 1 << 10);
    near.open(vec![1], Time::ZERO);
    exchange(&mut near, &mut far, &host("other"), Time::ZERO);
    assert_eq!(far.participants(), 1025);
}

/// Also where the process that keeps the objects may have few descriptors.
#[test]
fn one_host_takes_no_more_than_half_of_the_places_that_there_are() {
    let mut far = Far::new(1, 1 << 10).within(100);
    for (name, seen) in [("many", 50), ("other", 100)] {
        let mut near = Near::new(2, 1 << 10);
        (0..600).for_each(|_| _ = near.open(vec![1], Time::ZERO));
        exchange(&mut near, &mut far, &host(name), Time::ZERO);
        assert_eq!(far.participants(), seen);
    }
}
