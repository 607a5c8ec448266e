//! The processes of a run that share a queue: some make jobs, some work through them, and one says that there will be no more.

use wasmpool_guest::shared::{Error, Queue, Value};

wit_bindgen::generate!();

struct Pipeline;
export!(Pipeline);

impl Guest for Pipeline {
    fn make(count: u32) -> Result<(), String> {
        make(count).map_err(|error| error.to_string())
    }

    fn close() -> Result<(), String> {
        Queue::open("jobs").and_then(|jobs| jobs.shutdown(false)).map_err(|error| error.to_string())
    }

    fn work() -> Result<u32, String> {
        work().map_err(|error| error.to_string())
    }
}

fn make(count: u32) -> Result<(), Error> {
    let jobs = Queue::open("jobs")?;
    (1..=count).try_for_each(|job| jobs.put_json(&job, None))
}

/// A job that is taken and not finished is at the front of the queue again if this ends, so that none is lost.
fn work() -> Result<u32, Error> {
    let (jobs, total) = (Queue::open("jobs")?, Value::<i64>::open("total")?);
    let mut count = 0;
    for job in jobs.deliveries() {
        let job = job?;
        total.add(job.json()?)?;
        job.finish()?;
        count += 1;
    }
    Ok(count)
}
