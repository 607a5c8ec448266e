//! Participants that lie. None of them harms another.

use super::*;
use Operation::{Acquire, Finish, Release, Set, Take, WaitEvent};

/// One object for each kind, and participant 20 with these rights on all of them.
fn all_kinds(rights: ObjectRights) -> (Bench, Vec<ObjectForm>) {
    let forms = vec![
        ObjectForm::Queue { capacity: Some(3) },
        ObjectForm::Pipe { duplex: true },
        ObjectForm::Lock,
        ObjectForm::Rlock,
        ObjectForm::Semaphore { slots: 1, bounded: true },
        ObjectForm::Event,
        ObjectForm::Condition,
        ObjectForm::Barrier { parties: 2 },
        ObjectForm::Dict,
        ObjectForm::List,
        ObjectForm::Namespace,
        ObjectForm::Array(wasmpool_core::share::NumberType::U8, 1),
    ];
    let mut bench = Bench::of(forms.iter().cloned().map(spec).collect(), PLAIN);
    let grants: Vec<_> = (0..forms.len() as u16).map(|object| (object, rights)).collect();
    bench.machine.join(20, "p20".to_owned(), &grants, PLAIN).unwrap();
    (bench, forms)
}

fn operations() -> Vec<Operation> {
    use crate::operation::PipeEnd::{First, Second};
    use Operation::*;
    let key = || "k".to_owned();
    let mut all =
        vec![Put(vec![1]), GET, Take, Finish(0), Operation::GiveBack(0), TaskDone, JoinQueue, Size, IsEmpty, IsFull];
    for end in [First, Second] {
        let recv = Recv { end, at_most: None };
        all.extend([OpenEnd(end), Send(end, vec![1]), recv, Poll(end), CloseEnd(end), PollAny(vec![(1, end)])]);
    }
    all.extend([Acquire, IsLocked, Slots, WaitCondition, Notify { most: 1 }, Release, IsSet, Set, WaitEvent, Clear]);
    all.extend([Parties, Waiting, IsBroken, WaitBarrier, Abort, Reset]);
    all.extend([
        DictGet(key()),
        DictSet(key(), vec![1]),
        DictSetMany(vec![(key(), vec![1])]),
        DictCompareAndSet { key: key(), version: None, value: vec![] },
        DictPop(key()),
        DictContains(key()),
        DictIncrement("n".to_owned(), 1),
        DictPage { after: None, most: 1 },
        DictKeys { after: None, most: 1 },
    ]);
    all.extend([
        ListInsert(0, vec![1]),
        ListGet(0),
        ListSet(0, vec![1]),
        ListCompareAndSet { index: 0, expected: vec![], value: vec![] },
        ListExtend(vec![vec![1]]),
        ListPop(0),
        ListRange { start: 0, most: 1 },
        Length,
        Empty,
        Shutdown { immediately: false },
    ]);
    all
}

/// Row 0.15
#[test]
fn every_operation_on_every_kind_of_object_is_answered_once() {
    let (mut bench, forms) = all_kinds(ObjectRights::ALL);
    for operation in operations() {
        let mut fits = 0;
        for object in 0..forms.len() as u16 {
            let answers = bench.ask_of(20, 0, object, operation.clone(), Some(Duration::ZERO));
            assert_eq!(answers.len(), 1, "{operation:?} of {:?}: {answers:?}", forms[usize::from(object)]);
            fits += u32::from(!matches!(&answers[0].answer, Err(ObjectError::Invalid(_))));
        }
        assert!(fits >= 1, "no kind of object has {operation:?}");
        if !matches!(operation, Operation::PollAny(_)) {
            assert!(fits <= 4, "{fits} kinds of objects have {operation:?}");
        }
    }
    assert_eq!(bench.machine.waiting(), 0);
    assert_eq!(bench.violations(), []);
}

/// Row 6.12
#[test]
fn an_operation_without_its_right_is_denied_by_the_name_of_the_right() {
    use crate::operation::PipeEnd::{First, Second};
    let read = ObjectRights { first: true, second: false };
    let write = ObjectRights { first: false, second: true };
    let dict = || Operation::DictSet("k".to_owned(), vec![]);
    for (rights, object, operation, right) in [
        (read, 0, put("a"), "put"),
        (read, 0, Operation::Shutdown { immediately: true }, "put"),
        (write, 0, GET, "get"),
        (write, 0, Take, "get"),
        (write, 0, Finish(0), "get"),
        (write, 0, Operation::GiveBack(0), "get"),
        (write, 0, Operation::TaskDone, "get"),
        (read, 1, Operation::OpenEnd(Second), "second"),
        (write, 1, Operation::OpenEnd(First), "first"),
        (write, 1, Operation::PollAny(vec![(1, First)]), "first"),
        (read, 5, Set, "write"),
        (read, 5, Operation::Clear, "write"),
        (write, 5, WaitEvent, "read"),
        (read, 8, dict(), "write"),
        (read, 8, Operation::DictPop("k".to_owned()), "write"),
        (read, 8, Operation::Empty, "write"),
        (write, 8, Operation::DictGet("k".to_owned()), "read"),
        (read, 9, Operation::ListExtend(vec![]), "write"),
        (read, 10, dict(), "write"),
    ] {
        let (mut bench, _) = all_kinds(rights);
        let answers = bench.ask_of(20, 0, object, operation.clone(), None);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].answer, Err(ObjectError::Denied(right.to_owned())), "{operation:?}");
    }
}

/// Row 0.14
#[test]
fn an_object_that_was_not_granted_or_does_not_exist_is_denied() {
    let (mut bench, _) = all_kinds(ObjectRights::ALL);
    bench.machine.join(30, "p30".to_owned(), &[(2, ObjectRights::ALL)], PLAIN).unwrap();
    for object in [0, 3, 999, u16::MAX] {
        let answers = bench.ask_of(30, 0, object, Acquire, None);
        assert!(matches!(answers[0].answer, Err(ObjectError::Denied(_))), "{answers:?}");
    }
    assert_eq!(bench.ask_of(30, 0, 2, Acquire, None)[0].answer, ACQUIRED);
}

/// Row 6.19
#[test]
fn no_more_requests_wait_than_may_be_in_flight() {
    let mut bench = Bench::of(vec![spec(ObjectForm::Event)], ParticipantLimits { in_flight: 2, ..PLAIN });
    assert_eq!(bench.ask_of(0, 1, 0, WaitEvent, None), []);
    assert_eq!(bench.ask_of(0, 2, 0, WaitEvent, None), []);
    let answers = bench.ask_of(0, 3, 0, WaitEvent, None);
    assert!(matches!(&answers[0].answer, Err(ObjectError::Quota(which)) if which == "operations in flight: 2"));
    assert_eq!(bench.ask_of(1, 0, 0, Set, None).len(), 3);
    assert_eq!(bench.violations(), []);
}

#[test]
fn a_ticket_that_waits_cannot_be_used_again() {
    let mut bench = Bench::new(ObjectForm::Event);
    bench.wait(0, WaitEvent);
    assert_eq!(bench.all_of(0, WaitEvent, None), []);
    assert_eq!(bench.violations().len(), 1);
    assert_eq!(bench.all_of(1, Set, None), [(0, YES), (1, DONE)]);
}

#[test]
fn who_has_not_joined_is_not_answered() {
    let mut bench = Bench::new(ObjectForm::Event);
    assert_eq!(bench.all_of(77, Set, None), []);
    assert_eq!(bench.violations()[0].participant, 77);
    assert_eq!(bench.ask(0, Operation::IsSet), NO);
    assert_eq!(bench.end(77), []);
    assert_eq!(bench.kill(77), []);
}

/// Row 6.19
#[test]
fn messages_that_wait_to_be_put_hold_a_bounded_number_of_bytes() {
    let quota = ObjectQuota { entries: 1, bytes: 1000 };
    let specs = vec![ObjectSpec { quota, ..spec(ObjectForm::Queue { capacity: None }) }];
    let mut bench = Bench::of(specs, ParticipantLimits { waiting_bytes: 500, ..PLAIN });
    bench.ask(1, put("x")).unwrap();
    let long = || put(&"x".repeat(400));
    assert_eq!(bench.ask_of(0, 1, 0, long(), None), [], "one may always wait");
    let answers = bench.ask_of(0, 2, 0, long(), None);
    assert!(matches!(&answers[0].answer, Err(ObjectError::Quota(which)) if which.contains("wait to be put")));
    assert_eq!(bench.ask_of(0, 3, 0, put("short"), None), []);
}

#[test]
fn a_put_without_credit_is_a_violation_and_puts_nothing() {
    let mut bench = Bench::fast(ObjectForm::Queue { capacity: None });
    bench.words.write(0, 0, b"a");
    bench.words.write(1, 9, b"a");
    bench.read(0);
    bench.read(1);
    let violators: Vec<_> = bench.violations().into_iter().map(|violation| violation.participant).collect();
    assert_eq!(violators, [0, 1]);
    assert_eq!(bench.ask(2, Operation::Size), number(0));
}

#[test]
fn a_put_of_more_bytes_than_its_credit_is_a_violation_and_puts_nothing() {
    let mut bench = Bench::fast(ObjectForm::Queue { capacity: None });
    bench.put(0, "a").unwrap().unwrap();
    let bytes = bench.words.credits[&(0, 0)].bytes as usize;
    bench.words.write(0, 0, &vec![0; bytes + 1]);
    bench.read(0);
    assert_eq!(bench.violations().len(), 1);
    assert_eq!(bench.ask(2, Operation::Size), number(1));
}

#[test]
fn credit_that_a_participant_wrote_for_itself_is_not_believed() {
    let mut bench = Bench::fast(ObjectForm::Queue { capacity: Some(100) });
    bench.put(0, "a").unwrap().unwrap();
    let granted = bench.words.credit(0);
    bench.words.credits.insert((0, 0), crate::fast::Credit { entries: u32::MAX, bytes: u64::MAX });
    for _ in 0..granted {
        assert!(bench.words.put(0, 0, b"x"));
    }
    bench.read(0);
    assert_eq!(bench.violations(), []);
    assert!(bench.words.put(0, 0, b"x"));
    bench.read(0);
    assert_eq!(bench.violations().len(), 1);
    assert_eq!(bench.ask(1, Operation::Size), number(u64::from(granted) + 1));
    // What it says is left is no more than it had.
    for _ in 0..99 - granted {
        assert_eq!(bench.look(1, put("y")), DONE);
    }
    assert_eq!(bench.look(1, put("y")), Err(ObjectError::Full));
}

#[test]
fn who_hides_credit_to_hold_room_is_found_when_it_asks() {
    let mut bench = Bench::fast(ObjectForm::Queue { capacity: Some(100) });
    bench.put(0, "a").unwrap().unwrap();
    bench.words.credits.clear();
    bench.ask(0, put("b")).unwrap();
    assert_eq!(bench.violations()[0].participant, 0);
    bench.kill(0);
    for _ in 0..98 {
        assert_eq!(bench.look(1, put("y")), DONE);
    }
}

#[test]
fn messages_that_a_participant_says_it_took_are_no_more_than_it_had() {
    for lie in [0, 1, 5, u32::MAX] {
        let mut bench = Bench::fast(ObjectForm::Queue { capacity: None });
        for number in 0..30 {
            bench.put(0, &number.to_string()).unwrap().unwrap();
        }
        for _ in 0..5 {
            bench.get(1).unwrap();
        }
        bench.words.liars.insert(1, lie);
        let Ok(Reply::Number(before)) = bench.ask(2, Operation::Size) else { panic!() };
        bench.words.liars.insert(1, 0);
        let Ok(Reply::Number(after)) = bench.ask(2, Operation::Size) else { panic!() };
        assert_eq!(before, after, "what was taken stays taken");
        let mut left = 0;
        while bench.get(2).is_some() {
            left += 1;
        }
        assert_eq!(left, after);
        bench.kill(1);
        bench.kill(2);
        assert_eq!(bench.ask(3, Operation::JoinQueue), YES);
    }
}

#[test]
fn a_request_in_the_name_of_what_another_holds_is_refused() {
    let mut bench = Bench::new(ObjectForm::Lock);
    bench.ask(0, Acquire).unwrap();
    for liar in 1..ALL {
        assert_eq!(bench.ask(liar, Release), Err(ObjectError::NotHolder));
        bench.end(liar);
    }
    assert_eq!(bench.ask(0, Release), DONE);
}

#[test]
fn an_operation_that_an_object_does_not_have_changes_nothing() {
    let mut bench = Bench::new(ObjectForm::Lock);
    assert!(matches!(bench.ask(0, put("a")), Err(ObjectError::Invalid(_))));
    assert!(matches!(bench.ask(0, Operation::WaitCondition), Err(ObjectError::Invalid(_))));
    assert_eq!(bench.ask(1, Acquire), ACQUIRED);
}

#[test]
fn a_name_or_number_that_is_taken_cannot_join() {
    use crate::JoinError;
    let mut bench = Bench::new(ObjectForm::Lock);
    assert_eq!(bench.machine.join(0, "again".to_owned(), &[], PLAIN), Err(JoinError::Taken));
    let far = [(5, ObjectRights::ALL)];
    assert_eq!(bench.machine.join(50, "new".to_owned(), &far, PLAIN), Err(JoinError::NoSuchObject(5)));
}

/// Row 0.12
#[test]
fn a_request_of_too_many_parts_is_refused_and_an_answer_has_no_more() {
    use crate::operation::MOST_PARTS;
    let entries = |count: usize| (0..count).map(|number| (format!("{number:08}"), Vec::new())).collect::<Vec<_>>();
    let (mut dict, mut list) = (Bench::new(ObjectForm::Dict), Bench::new(ObjectForm::List));
    for bench in [&mut dict, &mut list] {
        let refused = match bench.machine.form(0) {
            Some(ObjectForm::Dict) => bench.ask(0, Operation::DictSetMany(entries(MOST_PARTS + 1))),
            _ => bench.ask(0, Operation::ListExtend(vec![Vec::new(); MOST_PARTS + 1])),
        };
        assert!(matches!(refused, Err(ObjectError::Quota(_))), "{refused:?}");
        assert_eq!(bench.ask(0, Operation::Length), number(0));
    }
    assert_eq!(dict.ask(0, Operation::DictSetMany(entries(MOST_PARTS))), DONE);
    assert_eq!(list.ask(0, Operation::ListExtend(vec![Vec::new(); MOST_PARTS])), DONE);
    dict.ask(0, Operation::DictSet("z".to_owned(), Vec::new())).unwrap();
    assert_eq!(list.ask(0, Operation::ListExtend(vec![Vec::new()])), DONE);
    let all = u32::MAX;
    let page = dict.ask(0, Operation::DictPage { after: None, most: all });
    assert!(matches!(page, Ok(Reply::Page(page)) if page.len() == MOST_PARTS));
    let keys = dict.ask(0, Operation::DictKeys { after: None, most: all });
    assert!(matches!(keys, Ok(Reply::Keys(keys)) if keys.len() == MOST_PARTS));
    let range = list.ask(0, Operation::ListRange { start: 0, most: all });
    assert!(matches!(range, Ok(Reply::Many(range)) if range.len() == MOST_PARTS));
    let mut queue = Bench::new(ObjectForm::Queue { capacity: None });
    (0..=MOST_PARTS).for_each(|_| assert_eq!(queue.ask(0, put("")), DONE));
    let got = queue.ask(0, Operation::Get { most: all });
    assert!(matches!(got, Ok(Reply::Many(got)) if got.len() == MOST_PARTS));
}
