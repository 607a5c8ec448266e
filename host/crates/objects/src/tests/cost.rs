//! What an operation costs. If any of these steps went through all waits or messages, these tests would take hours.

use super::*;
use Operation::{Acquire, Finish, Release, Take};

const MANY: u32 = 200_000;

fn bench(form: ObjectForm) -> Bench {
    let limits = ParticipantLimits { in_flight: u32::MAX, waiting_bytes: u64::MAX, fast: false };
    Bench::of(vec![spec(form)], limits)
}

/// Row 0.9
#[test]
fn many_waits_are_served_or_end_without_going_through_all_of_them() {
    let mut bench = bench(ObjectForm::Lock);
    bench.ask(0, Acquire).unwrap();
    for ticket in 0..MANY {
        let timeout = (ticket % 3 == 0).then_some(Duration::from_millis(u64::from(MANY - ticket)));
        assert_eq!(bench.ask_of(1, ticket, 0, Acquire, timeout), []);
    }
    let timed_out = bench.pass(u64::from(MANY));
    assert_eq!(timed_out.len(), MANY.div_ceil(3) as usize);
    let mut holder = 0;
    for _ in 0..MANY / 3 {
        let answers = bench.ask_of(holder, MANY, 0, Release, None);
        assert_eq!(answers.len(), 2);
        holder = 1;
    }
    assert_eq!(bench.kill(1), []);
    assert_eq!(bench.machine.waiting(), 0);
    assert_eq!(bench.ask(2, Acquire), abandoned("p1"));
}

/// Rows 2.14 and 2.20
#[test]
fn many_messages_are_taken_and_returned_without_going_through_all_of_them() {
    let mut bench = bench(ObjectForm::Queue { capacity: None });
    for number in 0..MANY {
        bench.ask(0, Operation::Put(number.to_le_bytes().to_vec())).unwrap();
    }
    let mut ids = Vec::new();
    for number in 0..MANY {
        match bench.ask(1 + number % 2, Take) {
            Ok(Reply::Delivery { id, .. }) => ids.push(id),
            other => panic!("{other:?}"),
        }
    }
    for (number, id) in (0_u32..).zip(ids).step_by(4) {
        assert_eq!(bench.ask(1 + number % 2, Finish(id)), DONE);
    }
    bench.kill(2);
    bench.kill(1);
    for number in (0..MANY).filter(|number| number % 4 != 0) {
        assert_eq!(bench.ask(3, GET), Ok(Reply::Many(vec![number.to_le_bytes().to_vec()])));
    }
    assert_eq!(bench.look(3, GET), Err(ObjectError::Empty));
}

/// How many messages pass through a queue in a second, as far as the machine is concerned. Run by
/// hand, with `--run-ignored only --no-capture`.
#[test]
#[ignore = "it is a measurement"]
fn ten_million_messages_pass_through_a_queue() {
    for capacity in [None, Some(100)] {
        let mut bench = Bench::fast(ObjectForm::Queue { capacity });
        let mut got = 0_u32;
        for number in 0..10_000_000_u32 {
            if !bench.words.put(0, 0, &number.to_le_bytes()) {
                bench.ask(0, Operation::Put(number.to_le_bytes().to_vec())).unwrap();
            }
            while number - got >= 40 {
                let message = bench.words.take(1, 0).unwrap_or_else(|| match bench.ask(1, GET) {
                    Ok(Reply::Many(messages)) => messages.concat(),
                    other => panic!("{other:?}"),
                });
                assert_eq!(message, got.to_le_bytes());
                got += 1;
            }
        }
    }
}
