//! Tests of the frames, and properties of them.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::operation::{Acquisition, ObjectError, Operation, PipeEnd, Reply};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn entries() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    vec((text(), bytes()), 0..5)
}

fn operation() -> impl Strategy<Value = Operation> {
    let end = || prop_oneof![Just(PipeEnd::First), Just(PipeEnd::Second)];
    let plain = proptest::sample::select(vec![
        Operation::Take,
        Operation::TaskDone,
        Operation::JoinQueue,
        Operation::Size,
        Operation::IsEmpty,
        Operation::IsFull,
        Operation::Acquire,
        Operation::Release,
        Operation::IsLocked,
        Operation::Token,
        Operation::Settle,
        Operation::LastToken,
        Operation::Slots,
        Operation::WaitCondition,
        Operation::IsSet,
        Operation::Set,
        Operation::Clear,
        Operation::WaitEvent,
        Operation::Parties,
        Operation::Waiting,
        Operation::IsBroken,
        Operation::WaitBarrier,
        Operation::Abort,
        Operation::Reset,
        Operation::Length,
        Operation::Empty,
    ]);
    let waiting = prop_oneof![
        bytes().prop_map(Operation::Put),
        any::<u32>().prop_map(|most| Operation::Get { most }),
        any::<u64>().prop_map(Operation::Finish),
        any::<u64>().prop_map(Operation::GiveBack),
        any::<bool>().prop_map(|immediately| Operation::Shutdown { immediately }),
        end().prop_map(Operation::OpenEnd),
        end().prop_map(Operation::CloseEnd),
        (end(), bytes()).prop_map(|(end, message)| Operation::Send(end, message)),
        (end(), any::<Option<u64>>()).prop_map(|(end, at_most)| Operation::Recv { end, at_most }),
        end().prop_map(Operation::Poll),
        vec((any::<u16>(), end()), 0..5).prop_map(Operation::PollAny),
        any::<u32>().prop_map(|most| Operation::Notify { most }),
        bytes().prop_map(Operation::Numbers),
    ];
    let after = || proptest::option::of(text());
    let dict = prop_oneof![
        text().prop_map(Operation::DictGet),
        (text(), bytes()).prop_map(|(key, value)| Operation::DictSet(key, value)),
        entries().prop_map(Operation::DictSetMany),
        (text(), any::<Option<u64>>(), bytes()).prop_map(|(key, version, value)| Operation::DictCompareAndSet {
            key,
            version,
            value
        }),
        text().prop_map(Operation::DictPop),
        text().prop_map(Operation::DictContains),
        (text(), any::<i64>()).prop_map(|(key, by)| Operation::DictIncrement(key, by)),
        (after(), any::<u32>()).prop_map(|(after, most)| Operation::DictPage { after, most }),
        (after(), any::<u32>()).prop_map(|(after, most)| Operation::DictKeys { after, most }),
    ];
    let list = prop_oneof![
        any::<i64>().prop_map(Operation::ListGet),
        (any::<i64>(), bytes()).prop_map(|(index, value)| Operation::ListSet(index, value)),
        (any::<i64>(), bytes(), bytes()).prop_map(|(index, expected, value)| Operation::ListCompareAndSet {
            index,
            expected,
            value
        }),
        vec(bytes(), 0..5).prop_map(Operation::ListExtend),
        (any::<i64>(), bytes()).prop_map(|(index, value)| Operation::ListInsert(index, value)),
        any::<i64>().prop_map(Operation::ListPop),
        (any::<u64>(), any::<u32>()).prop_map(|(start, most)| Operation::ListRange { start, most }),
    ];
    prop_oneof![plain, waiting, dict, list]
}

fn error() -> impl Strategy<Value = ObjectError> {
    let plain = proptest::sample::select(vec![
        ObjectError::Closed,
        ObjectError::Full,
        ObjectError::Empty,
        ObjectError::Timeout,
        ObjectError::NotHeld,
        ObjectError::NotHolder,
        ObjectError::TooMany,
        ObjectError::Eof,
        ObjectError::ClosedByPeer,
        ObjectError::NotReadable,
        ObjectError::NotWritable,
    ]);
    prop_oneof![
        plain,
        text().prop_map(ObjectError::Denied),
        text().prop_map(ObjectError::Quota),
        text().prop_map(ObjectError::Broken),
        any::<u64>().prop_map(ObjectError::TooLong),
        text().prop_map(ObjectError::OutOfRange),
        text().prop_map(ObjectError::Invalid),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        Just(Reply::Done),
        any::<bool>().prop_map(Reply::Bool),
        any::<u64>().prop_map(Reply::Number),
        any::<i64>().prop_map(Reply::Signed),
        bytes().prop_map(Reply::Bytes),
        vec(bytes(), 0..5).prop_map(Reply::Many),
        (any::<u64>(), bytes(), any::<bool>()).prop_map(|(id, item, redelivered)| Reply::Delivery {
            id,
            item,
            redelivered
        }),
        Just(Reply::Acquired(Acquisition::Acquired)),
        text().prop_map(|by| Reply::Acquired(Acquisition::Abandoned(by))),
        Just(Reply::Acquired(Acquisition::TimedOut)),
        proptest::option::of((bytes(), any::<u64>())).prop_map(Reply::Entry),
        proptest::option::of(bytes()).prop_map(Reply::MaybeBytes),
        any::<Option<u64>>().prop_map(Reply::MaybeNumber),
        entries().prop_map(Reply::Page),
        vec(text(), 0..5).prop_map(Reply::Keys),
        vec(any::<u32>(), 0..5).prop_map(Reply::Places),
    ]
}

fn participant_frame() -> impl Strategy<Value = ParticipantFrame> {
    let timeout = proptest::option::of((any::<u64>(), 0..1_000_000_000_u32));
    prop_oneof![
        8 => (any::<u32>(), any::<u16>(), operation(), timeout).prop_map(|(ticket, object, operation, timeout)| {
            let timeout = timeout.map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds));
            ParticipantFrame::Ask { ticket, request: Request { object, operation, timeout } }
        }),
        1 => (any::<u16>(), bytes()).prop_map(|(object, message)| ParticipantFrame::PutOnCredit { object, message }),
        1 => (any::<u16>(), ".{0,20}", bytes())
            .prop_map(|(object, key, value)| ParticipantFrame::SetOnCredit { object, key, value }),
        1 => any::<u16>().prop_map(|object| ParticipantFrame::Released { object }),
        1 => any::<(u64, bool)>().prop_map(|(item, failed)| ParticipantFrame::ItemEnded { item, failed }),
        1 => any::<u64>().prop_map(|item| ParticipantFrame::ItemBegan { item }),
    ]
}

fn manager_frame() -> impl Strategy<Value = ManagerFrame> {
    prop_oneof![
        4 => (any::<u32>(), reply()).prop_map(|(ticket, reply)| ManagerFrame::Answer { ticket, answer: Ok(reply) }),
        2 => (any::<u32>(), error()).prop_map(|(ticket, error)| ManagerFrame::Answer { ticket, answer: Err(error) }),
        1 => (any::<u16>(), vec(bytes(), 0..5)).prop_map(|(object, messages)| ManagerFrame::Ahead { object, messages }),
    ]
}

/// A change of a frame on its way.
#[derive(Clone, Debug)]
enum Damage {
    Set(proptest::sample::Index, u8),
    Flip(proptest::sample::Index, u8),
    Cut(proptest::sample::Index),
    Insert(proptest::sample::Index, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let at = any::<proptest::sample::Index>;
    vec(
        prop_oneof![
            // Bytes that are likely to be lengths, counts, truth values or kinds.
            (at(), prop_oneof![0..20_u8, any::<u8>()]).prop_map(|(at, byte)| Damage::Set(at, byte)),
            (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
            at().prop_map(Damage::Cut),
            (at(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        ],
        1..4,
    )
}

fn damaged(mut frame: Vec<u8>, all: Vec<Damage>) -> Vec<u8> {
    for damage in all {
        let length = frame.len();
        if length == 0 {
            break;
        }
        match damage {
            Damage::Set(at, byte) => frame[at.index(length)] = byte,
            Damage::Flip(at, bit) => frame[at.index(length)] ^= 1 << bit,
            Damage::Cut(at) => frame.truncate(at.index(length)),
            Damage::Insert(at, bytes) => {
                let at = at.index(length);
                frame.splice(at..at, bytes);
            }
        }
    }
    frame
}

/// Checks that bytes are refused, or are the one form of what they decode to.
fn has_one_form(frame: Vec<u8>) {
    if let Ok(decoded) = ParticipantFrame::decode(frame.clone()) {
        assert_eq!(decoded.encode().to_vec(), frame);
    }
    if let Ok(decoded) = ManagerFrame::decode(frame.clone()) {
        assert_eq!(decoded.encode().to_vec(), frame);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_a_participant_sends_arrives_as_it_was(frame in participant_frame()) {
        let sent = frame.encode();
        prop_assert_eq!(sent.len(), sent.to_vec().len());
        prop_assert_eq!(ParticipantFrame::decode(sent.to_vec()), Ok(frame.clone()));
    }

    #[test]
    fn what_the_manager_sends_arrives_as_it_was(frame in manager_frame()) {
        prop_assert_eq!(ManagerFrame::decode(frame.encode().to_vec()), Ok(frame.clone()));
    }

    #[test]
    fn any_bytes_are_refused_or_have_one_form(frame in vec(any::<u8>(), 0..64)) {
        has_one_form(frame);
    }

    #[test]
    fn a_damaged_frame_of_a_participant_is_refused_or_has_one_form(frame in participant_frame(), damage in damage()) {
        has_one_form(damaged(frame.encode().to_vec(), damage));
    }

    #[test]
    fn a_damaged_frame_of_the_manager_is_refused_or_has_one_form(frame in manager_frame(), damage in damage()) {
        has_one_form(damaged(frame.encode().to_vec(), damage));
    }

    #[test]
    fn a_frame_that_is_too_long_or_too_short_is_refused(frame in participant_frame(), cut in 1..4_usize) {
        let whole = frame.encode().to_vec();
        let mut longer = whole.clone();
        longer.extend(vec![0; cut]);
        prop_assert!(ParticipantFrame::decode(longer).is_err());
        prop_assert!(ParticipantFrame::decode(whole[..whole.len() - cut].to_vec()).is_err());
    }
}

/// A frame whose head is these bytes.
fn with_head(payload: &[u8], head: &[u8]) -> Vec<u8> {
    [payload, head, &(head.len() as u32).to_le_bytes()].concat()
}

#[test]
fn a_message_is_neither_copied_to_be_sent_nor_when_it_arrives() {
    let message = vec![7; 1 << 20];
    let request = Request { object: 3, operation: Operation::Put(message), timeout: None };
    let Operation::Put(message) = &request.operation else { unreachable!() };
    let frame = ask(1, &request);
    assert_eq!(frame.parts()[0].as_ptr(), message.as_ptr());
    let came = frame.to_vec();
    let place = came.as_ptr();
    let Ok(ParticipantFrame::Ask { request: Request { operation: Operation::Put(got), .. }, .. }) =
        ParticipantFrame::decode(came)
    else {
        panic!("it was not decoded");
    };
    assert_eq!(got.as_ptr(), place);
    assert_eq!(&got, message);
}

#[test]
fn a_count_of_parts_that_did_not_come_allocates_nothing() {
    for count in [2_u64, 1 << 20, u64::MAX / 24, u64::MAX] {
        let head = [&[AHEAD, 0, 0][..], &count.to_le_bytes()].concat();
        assert!(ManagerFrame::decode(with_head(b"", &head)).is_err());
        let keys = [&[ANSWER, 0, 0, 0, 0, 16][..], &count.to_le_bytes(), &[0; 8]].concat();
        assert!(ManagerFrame::decode(with_head(b"", &keys)).is_err());
    }
}

#[test]
fn lengths_that_are_not_those_of_their_parts_are_refused() {
    for lengths in [[1_u64, 1], [4, 0], [u64::MAX, 4], [2, u64::MAX]] {
        let head = [&[AHEAD, 0, 0][..], &2_u64.to_le_bytes(), &lengths[0].to_le_bytes(), &lengths[1].to_le_bytes()];
        assert!(ManagerFrame::decode(with_head(b"abc", &head.concat())).is_err(), "{lengths:?}");
    }
}

#[test]
fn a_key_that_is_not_utf_8_is_refused() {
    let mut frame = ask(0, &Request { object: 0, operation: Operation::DictGet("ab".into()), timeout: None }).to_vec();
    let key = frame.len() - 6;
    assert!(ParticipantFrame::decode(frame.clone()).is_ok());
    frame[key] = 0xff;
    assert_eq!(ParticipantFrame::decode(frame), Err(Malformed("a text is not UTF-8")));
}

#[test]
fn a_short_message_keeps_no_long_memory() {
    let mut frame = Vec::with_capacity(1 << 20);
    frame.extend(put_on_credit(0, b"short").to_vec());
    let Ok(ParticipantFrame::PutOnCredit { message, .. }) = ParticipantFrame::decode(frame) else {
        panic!("it was not decoded");
    };
    assert!(message.capacity() < 200, "{}", message.capacity());
}

#[test]
fn a_put_of_a_message_that_stays_where_it_is_is_the_same_request() {
    for timeout in [None, Some(Duration::ZERO), Some(Duration::from_nanos(u64::MAX))] {
        let request = Request { object: 9, operation: Operation::Put(b"message".to_vec()), timeout };
        assert_eq!(ask_to_put(7, 9, b"message", timeout).to_vec(), ask(7, &request).to_vec());
    }
}

#[test]
fn a_frame_of_more_parts_than_one_may_have_is_refused_before_they_are_read() {
    use crate::operation::MOST_PARTS;
    let request = |operation| Request { object: 0, operation, timeout: None };
    for count in [MOST_PARTS, MOST_PARTS + 1] {
        for operation in [
            Operation::ListExtend(vec![Vec::new(); count]),
            Operation::DictSetMany(vec![(String::new(), Vec::new()); count]),
            Operation::PollAny(vec![(0, PipeEnd::First); count]),
        ] {
            let read = ParticipantFrame::decode(ask(0, &request(operation)).to_vec());
            assert_eq!(read.is_ok(), count == MOST_PARTS, "{count}");
        }
    }
}
