//! Growth of the scheduler's own time with workers and items.

use std::collections::VecDeque;
use std::time::Duration;

use wasmpool_scheduler::{Action, ChunkSize, OutcomeEnd, Scheduler, SchedulerConfig, Time, Verdict, WorkerId};

/// Number of items that one read brings.
const BATCH: u64 = 1_000;

/// Returns the nanoseconds of processor time per item of a run in which nothing goes wrong, including the driver: one
/// turn of a supervisor's loop for each chunk.
pub fn ns_per_item(workers: usize, items: u64, chunk: u32) -> f64 {
    let start = processor_time();
    let mut scheduler = Scheduler::new(SchedulerConfig {
        chunk: ChunkSize::Fixed(chunk),
        ..SchedulerConfig::of_limits(Duration::from_secs(30), workers)
    });
    let (mut now, mut read, mut emitted) = (Time::ZERO, 0, 0);
    // The chunks that workers have to answer; the worker that was given one first is the first to answer.
    let mut in_work: VecDeque<(WorkerId, u32)> = VecDeque::new();
    let mut answered = vec![0_u64; workers];
    while !scheduler.finished() {
        while scheduler.wants_input() && read < items {
            let count = BATCH.min(items - read);
            scheduler.input(&vec![10; count as usize]);
            read += count;
            if read == items {
                scheduler.input_ended();
            }
        }
        while let Some(action) = scheduler.next_action() {
            match action {
                Action::Spawn(id) => {
                    scheduler.worker_spawned(id, now);
                    scheduler.worker_ready(id, now);
                }
                Action::Send { worker, count, .. } => in_work.push_back((worker, count)),
                Action::Emit { .. } => emitted += 1,
                other => panic!("nothing goes wrong here, and yet: {other:?}"),
            }
        }
        now += Duration::from_micros(10);
        if let Some((id, count)) = in_work.pop_front()
            && let Some(answered) = answered.get_mut(id as usize)
        {
            std::hint::black_box(scheduler.has_several_in_work(id));
            scheduler.observed(id, *answered + 1, *answered + 1, now, now);
            for _ in 0..count {
                if let Verdict::Keep { chunk, .. } =
                    scheduler.outcome(id, OutcomeEnd::Final, Duration::from_micros(10), now)
                {
                    scheduler.account_kept(chunk, 10);
                    scheduler.written(10);
                }
            }
            *answered += u64::from(count);
            scheduler.progress(id, 10, now);
        }
        scheduler.tick(now);
        std::hint::black_box(scheduler.next_deadline());
    }
    assert!(emitted > 0 || items == 0, "something was emitted");
    (processor_time() - start) as f64 / items as f64
}

/// Returns the nanoseconds that this process has run, since the machine may be busy with other things.
fn processor_time() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux tells");
    let nanoseconds = text.split_ascii_whitespace().next().and_then(|first| first.parse().ok());
    nanoseconds.expect("a number")
}

/// Prints a row for each number of workers.
pub fn print_table() {
    let sizes = [100_000, 1_000_000, 10_000_000];
    println!("the scheduler's processor time per item in nanoseconds, with chunks of 1 (of 64)");
    println!("{:>8} {}", "workers", sizes.map(|items| format!("{:>22}", format!("{items} items"))).join(""));
    for workers in [1, 10, 100, 1_000, 10_000] {
        let cell = |items| format!("{:.0} ({:.0})", ns_per_item(workers, items, 1), ns_per_item(workers, items, 64));
        println!("{workers:>8} {}", sizes.map(|items| format!("{:>22}", cell(items))).join(""));
    }
}
