//! Which process starts when, which is started again, and which is ended: a state machine without a clock.

use std::time::Duration;

use super::file::Restart;
use super::plan::{Plan, Until};

/// The pause before the first restart of a process. It doubles with each, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// All processes of a run, by their places among [`Plan::instances`].
#[derive(Debug)]
pub struct StartOrder {
    processes: Vec<Process>,
    /// True if nothing is started any more.
    stopping: bool,
}

#[derive(Debug)]
struct Process {
    /// What has to have happened before.
    after: Vec<(usize, Until)>,
    daemon: bool,
    restart: Restart,
    restarts: Option<u32>,
    attempts: u32,
    has_started: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// `told` says that it was told to end.
    Running {
        told: bool,
    },
    /// Is started again at this time.
    Paused(Duration),
    Ended {
        well: bool,
    },
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAct {
    Start(usize),
    /// A daemon that nobody needs any more.
    Terminate(usize),
    /// It will not be started again: its last attempt counts.
    Settle(usize),
    /// It will not be started at all.
    Cancel(usize, Never),
}

/// Why a process is never started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {
    Stopping,
    /// It is a daemon, and the others have ended.
    NotNeeded,
    /// This process failed, or was never started.
    After(usize),
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    Success,
    Failure,
    Terminated,
}

impl StartOrder {
    pub fn of(plan: &Plan) -> StartOrder {
        let instances = plan.instances();
        let all_of = |process: usize| {
            instances.iter().enumerate().filter(move |(_, (other, _))| *other == process).map(|(place, _)| place)
        };
        let processes = instances.iter().filter_map(|(process, _)| plan.processes.get(*process)).map(|process| {
            let after = process.after.iter();
            Process {
                after: after.flat_map(|after| all_of(after.process).map(|place| (place, after.until))).collect(),
                daemon: process.daemon,
                restart: process.restart,
                restarts: process.restarts,
                attempts: 0,
                has_started: false,
                state: State::Waiting,
            }
        });
        StartOrder { processes: processes.collect(), stopping: false }
    }

    /// Returns the next thing to do at this time, until there is nothing.
    pub fn next(&mut self, now: Duration) -> Option<NextAct> {
        let is_over = self.processes.iter().all(|process| process.daemon || process.has_ended());
        for place in 0..self.processes.len() {
            let never = self.never(place, is_over);
            let may_start = self.may_start(place);
            let process = self.processes.get_mut(place)?;
            let unwanted = self.stopping || process.daemon && is_over;
            match process.state {
                State::Waiting => {
                    if let Some(never) = never {
                        process.state = State::Ended { well: false };
                        return Some(NextAct::Cancel(place, never));
                    }
                    if may_start {
                        process.begin();
                        return Some(NextAct::Start(place));
                    }
                }
                State::Paused(_) if unwanted => {
                    process.state = State::Ended { well: false };
                    return Some(NextAct::Settle(place));
                }
                State::Paused(until) if until <= now => {
                    process.begin();
                    return Some(NextAct::Start(place));
                }
                State::Running { told: false } if process.daemon && is_over => {
                    process.state = State::Running { told: true };
                    return Some(NextAct::Terminate(place));
                }
                State::Paused(_) | State::Running { .. } | State::Ended { .. } => {}
            }
        }
        None
    }

    fn never(&self, place: usize, is_over: bool) -> Option<Never> {
        let process = self.processes.get(place)?;
        if self.stopping {
            return Some(Never::Stopping);
        }
        if process.daemon && is_over {
            return Some(Never::NotNeeded);
        }
        let is_lost = |(other, until): &&(usize, Until)| {
            self.processes.get(*other).is_some_and(|other| match (other.state, until) {
                (State::Ended { .. }, Until::Started) => !other.has_started,
                (State::Ended { well }, Until::Ended) => !well,
                _ => false,
            })
        };
        process.after.iter().find(is_lost).map(|(other, _)| Never::After(*other))
    }

    fn may_start(&self, place: usize) -> bool {
        let Some(process) = self.processes.get(place) else {
            return false;
        };
        process.after.iter().all(|(other, until)| {
            self.processes.get(*other).is_some_and(|other| match until {
                Until::Started => other.has_started,
                Until::Ended => other.state == State::Ended { well: true },
            })
        })
    }

    /// Notes that a process has loaded its task.
    pub fn started(&mut self, place: usize) {
        if let Some(process) = self.processes.get_mut(place) {
            process.has_started = true;
        }
    }

    /// Notes the end of an attempt. Returns true if there will be another.
    pub fn ended(&mut self, place: usize, end: AttemptEnd, now: Duration) -> bool {
        let is_over = self.processes.iter().all(|process| process.daemon || process.has_ended());
        let stopping = self.stopping;
        let Some(process) = self.processes.get_mut(place) else {
            return false;
        };
        let wanted = match process.restart {
            Restart::Never => false,
            Restart::OnFailure => end == AttemptEnd::Failure,
            Restart::Always => end != AttemptEnd::Terminated,
        };
        let more = process.restarts.is_none_or(|most| process.attempts <= most);
        let again = wanted && more && !stopping && !(process.daemon && is_over);
        process.state = match again {
            true => State::Paused(now.saturating_add(pause(process.attempts))),
            false => State::Ended { well: end == AttemptEnd::Success },
        };
        again
    }

    /// Starts nothing any more.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Returns how often this process was started.
    pub fn attempts(&self, place: usize) -> u32 {
        self.processes.get(place).map_or(0, |process| process.attempts)
    }

    pub fn has_ended(&self, place: usize) -> bool {
        self.processes.get(place).is_none_or(Process::has_ended)
    }

    /// Returns true if all processes have ended.
    pub fn is_over(&self) -> bool {
        self.processes.iter().all(Process::has_ended)
    }

    /// Returns the time at which the next process is started again.
    pub fn deadline(&self) -> Option<Duration> {
        let due = |process: &Process| match process.state {
            State::Paused(until) => Some(until),
            _ => None,
        };
        self.processes.iter().filter_map(due).min()
    }
}

impl Process {
    fn begin(&mut self) {
        self.attempts += 1;
        self.state = State::Running { told: false };
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }
}

/// Returns the pause after this many attempts.
fn pause(attempts: u32) -> Duration {
    let doubled = attempts.saturating_sub(1).min(10);
    PAUSE.saturating_mul(1 << doubled).min(LONGEST_PAUSE)
}
