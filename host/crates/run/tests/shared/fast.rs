//! Puts on credit and messages ahead, which cost no question.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use wasmpool_core::share::ObjectForm;
use wasmpool_ipc::channel::words::NUMBERS;
use wasmpool_objects::operation::{Answer, ObjectError, Operation, Reply, Request};
use wasmpool_objects::wire::{self, ManagerFrame};
use wasmpool_run::shared::SharedObjects;

use crate::support::*;

const QUEUE: u16 = 0;

/// A participant that puts and gets as workers do.
struct Worker {
    client: Client,
    /// Number of the first message that was sent ahead and not looked at yet, and the messages from it on.
    first: u32,
    ahead: VecDeque<Vec<u8>>,
    /// How often it did something without asking.
    on_credit: u64,
    taken_ahead: u64,
}

impl Worker {
    fn new(objects: &SharedObjects, name: &str) -> Worker {
        let client = Client::new(objects, name);
        Worker { client, first: 0, ahead: VecDeque::new(), on_credit: 0, taken_ahead: 0 }
    }

    fn ask(&mut self, object: u16, operation: Operation, timeout: Option<Duration>) -> Answer {
        let request = Request { object, operation, timeout };
        self.client.channel.send(&wire::ask(0, &request).parts(), true).unwrap();
        loop {
            match ManagerFrame::decode(self.client.channel.recv().unwrap()).unwrap() {
                ManagerFrame::Answer { answer, .. } => return answer,
                ManagerFrame::Ahead { messages, .. } => self.ahead.extend(messages),
            }
        }
    }

    fn put(&mut self, message: &[u8]) {
        let frame = wire::put_on_credit(QUEUE, message);
        if self.client.channel.send_on_credit(QUEUE, message.len() as u64, &frame.parts()).unwrap() {
            self.on_credit += 1;
            return;
        }
        assert_eq!(self.ask(QUEUE, Operation::Put(message.to_vec()), SOON), Ok(Reply::Done));
    }

    fn get(&mut self, timeout: Option<Duration>) -> Result<Vec<u8>, ObjectError> {
        while let Some(message) = self.ahead.pop_front() {
            let number = self.first;
            self.first = (number + 1) % NUMBERS;
            if self.client.channel.take_ahead(QUEUE, number).unwrap() {
                self.taken_ahead += 1;
                return Ok(message);
            }
        }
        match self.ask(QUEUE, Operation::Get { most: 1 }, timeout)? {
            Reply::Many(mut messages) if messages.len() == 1 => Ok(messages.remove(0)),
            Reply::Bytes(message) => Ok(message),
            other => panic!("{other:?}"),
        }
    }
}

fn queue(capacity: Option<u32>) -> SharedObjects {
    objects(&[spec("jobs", ObjectForm::Queue { capacity })])
}

fn number(n: u64) -> Vec<u8> {
    let mut message = n.to_le_bytes().to_vec();
    message.resize(8 + n as usize % 100, 7);
    message
}

#[test]
fn a_stream_of_messages_keeps_its_order_and_is_no_stream_of_questions() {
    const MESSAGES: u64 = 50_000;
    for capacity in [None, Some(100), Some(1)] {
        let objects = queue(capacity);
        let (mut producer, mut consumer) = (Worker::new(&objects, "producer"), Worker::new(&objects, "consumer"));
        let messages = if capacity == Some(1) { MESSAGES / 10 } else { MESSAGES };
        let producing = thread::spawn(move || {
            (0..messages).for_each(|n| producer.put(&number(n)));
            producer
        });
        for n in 0..messages {
            assert_eq!(consumer.get(SOON), Ok(number(n)));
        }
        let producer = producing.join().unwrap();
        if capacity.is_none() {
            assert!(producer.on_credit > messages / 4, "{} puts on credit", producer.on_credit);
        }
        assert_eq!(consumer.get(NOW), Err(ObjectError::Empty));
    }
}

#[test]
fn a_put_that_returned_is_seen_by_every_get_that_starts_later() {
    let objects = queue(None);
    let (mut producer, mut consumer) = (Worker::new(&objects, "producer"), Worker::new(&objects, "consumer"));
    for n in 0..5000 {
        producer.put(&number(n));
        assert_eq!(consumer.get(NOW), Ok(number(n)));
    }
    assert!(producer.on_credit > 0);
}

#[test]
fn messages_ahead_of_one_consumer_are_there_for_another_in_their_order() {
    let objects = queue(None);
    let mut producer = Worker::new(&objects, "producer");
    let (mut first, mut second) = (Worker::new(&objects, "first"), Worker::new(&objects, "second"));
    (0..300).for_each(|n| producer.put(&number(n)));
    for n in (0..300).step_by(3) {
        assert_eq!(first.get(NOW), Ok(number(n)));
        assert_eq!(first.get(NOW), Ok(number(n + 1)));
        assert_eq!(second.get(NOW), Ok(number(n + 2)));
    }
    assert_eq!(first.get(NOW), Err(ObjectError::Empty));
    assert_eq!(second.get(NOW), Err(ObjectError::Empty));
}

#[test]
fn messages_ahead_of_a_consumer_that_dies_are_not_lost() {
    let objects = queue(None);
    let (mut producer, mut first) = (Worker::new(&objects, "producer"), Worker::new(&objects, "first"));
    (0..200).for_each(|n| producer.put(&number(n)));
    for n in 0..70 {
        assert_eq!(first.get(NOW), Ok(number(n)));
    }
    assert!(first.taken_ahead > 0);
    drop(first);
    objects.host().settle().unwrap();
    let mut second = Worker::new(&objects, "second");
    for n in 70..200 {
        assert_eq!(second.get(NOW), Ok(number(n)));
    }
}

#[test]
fn each_message_of_many_producers_is_got_once_by_one_of_many_consumers() {
    const EACH: u64 = 5000;
    let objects = queue(Some(100));
    let producers: Vec<_> = (0..3)
        .map(|who| {
            let mut producer = Worker::new(&objects, "producer");
            thread::spawn(move || (0..EACH).for_each(|n| producer.put(&(who * EACH + n).to_le_bytes())))
        })
        .collect();
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let mut consumer = Worker::new(&objects, "consumer");
            thread::spawn(move || {
                let mut got = Vec::new();
                while let Ok(message) = consumer.get(SOON) {
                    got.push(u64::from_le_bytes(message.try_into().unwrap()));
                }
                got
            })
        })
        .collect();
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    let shutdown = Operation::Shutdown { immediately: false };
    assert_eq!(objects.host().ask(QUEUE, shutdown, None).unwrap(), Ok(Reply::Done));
    let mut got: Vec<u64> = consumers.into_iter().flat_map(|consumer| consumer.join().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, (0..3 * EACH).collect::<Vec<_>>());
}

/// Prints how many operations there are in a second. It fails for nothing: another run beside it halves the figures.
#[test]
#[ignore = "measures"]
fn rates() {
    fn rate(what: &str, count: u64, work: impl FnOnce()) {
        let start = Instant::now();
        work();
        let seconds = start.elapsed().as_secs_f64();
        println!("{what}: {:.0}/s", count as f64 / seconds);
    }
    for (what, capacity, count, size) in
        [("queue", None, 1_000_000, 1024), ("queue of 100", Some(100), 500_000, 1024), ("1 MiB", None, 4000, 1 << 20)]
    {
        let objects = queue(capacity);
        let (mut producer, mut consumer) = (Worker::new(&objects, "producer"), Worker::new(&objects, "consumer"));
        rate(what, count, || {
            let message = vec![7; size];
            let producing = thread::spawn(move || (0..count).for_each(|_| producer.put(&message)));
            (0..count).for_each(|_| drop(consumer.get(SOON).unwrap()));
            producing.join().unwrap();
        });
    }
    let objects = objects(&[
        spec("jobs", ObjectForm::Queue { capacity: None }),
        spec("d", ObjectForm::Dict),
        spec("l", ObjectForm::Lock),
    ]);
    let mut worker = Worker::new(&objects, "worker");
    rate("dict set and get", 50_000, || {
        for _ in 0..50_000 {
            worker.ask(1, Operation::DictSet("key".to_owned(), b"value".to_vec()), None).unwrap();
            worker.ask(1, Operation::DictGet("key".to_owned()), None).unwrap();
        }
    });
    rate("lock", 50_000, || {
        for _ in 0..50_000 {
            worker.ask(2, Operation::Acquire, None).unwrap();
            worker.ask(2, Operation::Release, None).unwrap();
        }
    });
    rate("host: dict get", 20_000, || {
        for _ in 0..20_000 {
            objects.host().ask(1, Operation::DictGet("key".to_owned()), None).unwrap().unwrap();
        }
    });
}
