//! Producers and consumers.

use std::time::Duration;

use wasmpool_guest::shared::{Error, Queue};

pub fn put_one(process: &str) -> Result<String, Error> {
    let numbers = Queue::open("numbers")?;
    if process != "parent" {
        numbers.put_json(&1, None)?;
        return Ok(String::new());
    }
    let got: [u32; 2] = [numbers.get_json(None)?, numbers.get_json(None)?];
    Ok(format!("{}\n{}\n", got[0], got[1]))
}

/// Puts names, and says so each time.
pub fn write(three: &[String]) -> Result<(), Error> {
    let (names, said) = (Queue::open("names")?, Queue::open("said")?);
    for name in three {
        said.put_json(&format!("Put {name} to queue"), None)?;
        names.put_json(name, None)?;
    }
    Ok(())
}

/// Gets names, and says so each time, for ever.
pub fn read() -> Result<(), Error> {
    let (names, said) = (Queue::open("names")?, Queue::open("said")?);
    loop {
        let name: String = names.get_json(None)?;
        said.put_json(&format!("Get {name} from queue"), None)?;
        names.task_done()?;
    }
}

pub fn produce() -> Result<(), Error> {
    let (numbers, said) = (Queue::open("numbers")?, Queue::open("said")?);
    for number in 0..3 {
        said.put_json(&format!("Producer put {number}"), None)?;
        numbers.put_json(&number, None)?;
    }
    Ok(())
}

/// Gets numbers for ever.
pub fn consume() -> Result<(), Error> {
    let (numbers, said) = (Queue::open("numbers")?, Queue::open("said")?);
    loop {
        let number: u32 = numbers.get_json(None)?;
        said.put_json(&format!("Consumer got {number}"), None)?;
        numbers.task_done()?;
    }
}

/// The producer waits until all is consumed, and ends the queue: so the consumer ends, and needs not be terminated.
pub fn produce_and_consume(process: &str) -> Result<String, Error> {
    let numbers = Queue::open("numbers")?;
    let mut said = String::new();
    if process == "producer" {
        for number in 0..3 {
            numbers.put_json(&number, None)?;
            said += &format!("Producer put {number}\n");
        }
        numbers.join(None)?;
        numbers.shutdown(false)?;
    } else {
        for delivery in numbers.deliveries() {
            let delivery = delivery?;
            said += &format!("Consumer got {}\n", delivery.json::<u32>()?);
            delivery.finish()?;
        }
    }
    Ok(said)
}

pub fn hello(process: &str) -> Result<String, Error> {
    let words = Queue::open("words")?;
    if process == "child" {
        words.put("hello", None)?;
        return Ok(String::new());
    }
    Ok(String::from_utf8_lossy(&words.get(None)?).into_owned() + "\n")
}

pub fn full_and_empty() -> Result<String, Error> {
    const NO_WAIT: Duration = Duration::ZERO;
    const SOON: Duration = Duration::from_millis(100);

    let one = Queue::open("one")?;
    one.put("first", None)?;
    let mut said = Vec::new();
    said.push(one.put("second", NO_WAIT).err());
    said.push(one.put("second", SOON).err());
    one.get(None)?;
    said.push(one.get(NO_WAIT).err());
    said.push(one.get(SOON).err());
    Ok(said.into_iter().map(|error| error.map_or("nothing\n".to_owned(), |error| format!("{error:?}\n"))).collect())
}
