//! Merges the outcomes of several tasks over one input into one output.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use super::fan::InputSplitter;
use wasmpool_core::outcome::Failure;
use wasmpool_run::output::{OutcomeLines, OutputTarget};
use wasmpool_run::rendered::RenderedOutcomes;
use wasmpool_run::stdio::renew_status;
use wasmpool_run::supervisor::{EventSender, OutcomeRecord, OutcomeValue};

/// Number of bytes that are gathered for one write.
const WRITE: usize = 256 << 10;
/// Number of bytes of the length that precedes each framed outcome.
const LENGTH: usize = 8;

/// A message to the merger.
#[derive(Debug)]
pub enum MergeEvent {
    /// The next outcomes of a task, each framed by [`framed`].
    Outcomes {
        task: usize,
        groups: Vec<RenderedOutcomes>,
        /// The line that stands at the end of the terminal once they are printed there.
        line: Option<String>,
    },
    /// A task is set aside: from this item on it is given none, and each fails with this failure.
    SetAside { task: usize, from: u64, failure: Failure },
    /// No more outcomes of a task will come; `cut` is true if it ended before the input did.
    Ended { task: usize, cut: bool },
    /// The number of items that were read. Sent before any of them runs.
    Read(u64),
    /// No more messages will come.
    End {
        /// True if an error has ended the run.
        failed: bool,
    },
}

/// Appends an outcome as the merger takes it: its printed form, which may be empty, after its length.
pub fn framed(
    lines: &OutcomeLines,
    record: &mut OutcomeRecord<'_>,
    result: Result<OutcomeValue<'_>, Failure>,
    to: &mut Vec<u8>,
) -> Result<(), Failure> {
    let start = to.len();
    to.extend_from_slice(&[0; LENGTH]);
    let result = lines.outcome(record, result, to);
    let len = (to.len() - start - LENGTH) as u64;
    if let Some(length) = to.get_mut(start..).and_then(|frame| frame.first_chunk_mut()) {
        *length = len.to_ne_bytes();
    }
    result
}

/// Splits off the first frame.
fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    rest.split_at_checked(usize::try_from(u64::from_ne_bytes(*length)).ok()?)
}

/// Brings outcomes into order and writes them: by item, and for each item in the order of the tasks; or in the order in
/// which they arrive.
///
/// A task's window (see [`wasmpool_scheduler::Config::window`]) limits its outcomes that wait for those of other tasks.
#[derive(Debug)]
pub struct OutputMerger {
    ordered: bool,
    tracks: Vec<TaskTrack>,
    /// In ordered runs, the task whose outcome is next.
    turn: usize,
    read: u64,
    /// True if a task ended before the input did: items that it was not given are not reported.
    cut: bool,
    fan: Arc<InputSplitter>,
    target: OutputTarget,
    /// What the output begins with, until it is written.
    header: Vec<u8>,
    buffer: Vec<u8>,
    /// The line that stands at the end of the terminal once the buffer is written.
    line: Option<String>,
}

/// The outcomes of one task.
#[derive(Debug)]
struct TaskTrack {
    lines: OutcomeLines,
    supervisor: EventSender,
    waiting: VecDeque<Vec<u8>>,
    /// Number of bytes of the first group that were already taken.
    taken: usize,
    /// Number of bytes in the buffer, as the supervisor counts them.
    gathered: usize,
    state: TrackState,
    /// Number of items that the task was not given.
    untried: u64,
}

#[derive(Debug)]
enum TrackState {
    Live,
    SetAside { next: u64, failure: Failure },
    Ended,
}

impl TaskTrack {
    /// Moves the printed form of the next outcome to `to`, if there is one.
    fn take(&mut self, to: &mut Vec<u8>) -> bool {
        let Some(front) = self.waiting.front() else {
            return false;
        };
        let (line, rest) = split_frame(&front[self.taken..]).expect("outcomes are framed one by one");
        to.extend_from_slice(line);
        self.taken = front.len() - rest.len();
        self.gathered += line.len() + LENGTH;
        if rest.is_empty() {
            self.waiting.pop_front();
            self.taken = 0;
        }
        true
    }

    /// Prints the failure of the next item that the task was not given, if there is one among the first `read` items.
    fn take_untried(&mut self, read: u64, to: &mut Vec<u8>) -> bool {
        let TrackState::SetAside { next, failure } = &mut self.state else {
            return false;
        };
        if *next >= read {
            return false;
        }
        self.lines.untried(*next, failure, to);
        *next += 1;
        self.untried += 1;
        true
    }
}

impl OutputMerger {
    /// Makes a merger. Each task has a way of printing and a supervisor, which is told how many of its bytes were
    /// written.
    pub fn new(
        ordered: bool,
        tasks: Vec<(OutcomeLines, EventSender)>,
        fan: Arc<InputSplitter>,
        target: OutputTarget,
        header: Vec<u8>,
    ) -> OutputMerger {
        let track = |(lines, supervisor)| TaskTrack {
            lines,
            supervisor,
            waiting: VecDeque::new(),
            taken: 0,
            gathered: 0,
            state: TrackState::Live,
            untried: 0,
        };
        let tracks = tasks.into_iter().map(track).collect();
        OutputMerger {
            ordered,
            tracks,
            turn: 0,
            read: 0,
            cut: false,
            fan,
            target,
            header,
            buffer: Vec::new(),
            line: None,
        }
    }

    /// Writes outcomes until no more come, and returns how many items each task was not given.
    pub fn run(mut self, news: &Receiver<MergeEvent>) -> io::Result<Vec<u64>> {
        let mut has_failed = false;
        'all: while let Ok(mut next) = news.recv() {
            loop {
                if let MergeEvent::End { failed } = next {
                    has_failed = failed;
                    break 'all;
                }
                self.take(next)?;
                next = match news.try_recv() {
                    Ok(next) => next,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => break 'all,
                };
            }
            self.write()?;
        }
        self.write()?;
        // A run that could do nothing leaves alone what was there.
        if !has_failed {
            self.target.begin()?;
            self.write_header()?;
        }
        Ok(self.tracks.iter().map(|track| track.untried).collect())
    }

    fn take(&mut self, news: MergeEvent) -> io::Result<()> {
        match news {
            MergeEvent::Outcomes { task, groups, line } => {
                self.line = line.or(self.line.take());
                self.tracks[task].waiting.extend(groups.into_iter().map(|group| group.results));
            }
            MergeEvent::SetAside { task, from, failure } => {
                self.change(task, TrackState::SetAside { next: from, failure })
            }
            MergeEvent::Ended { task, cut } => {
                self.cut |= cut;
                self.change(task, TrackState::Ended);
            }
            MergeEvent::Read(read) => {
                self.read = read;
                self.fan.noted();
            }
            MergeEvent::End { .. } => {}
        }
        if self.ordered { self.take_in_order() } else { self.take_all() }
    }

    fn change(&mut self, task: usize, state: TrackState) {
        self.tracks[task].state = state;
    }

    fn take_all(&mut self) -> io::Result<()> {
        for task in 0..self.tracks.len() {
            while let Some(track) = self.tracks.get_mut(task)
                && (track.take(&mut self.buffer) || track.take_untried(self.read, &mut self.buffer))
            {
                self.write_if_full()?;
            }
        }
        Ok(())
    }

    fn take_in_order(&mut self) -> io::Result<()> {
        let (read, cut) = (self.read, self.cut);
        let goes_on = |track: &TaskTrack| match &track.state {
            TrackState::Live => true,
            TrackState::SetAside { next, .. } => !track.waiting.is_empty() || (!cut && *next < read),
            TrackState::Ended => !track.waiting.is_empty(),
        };
        // If no task can have an outcome of the next item, there may be no next item.
        while self.turn > 0 || self.tracks.iter().any(goes_on) {
            let Some(track) = self.tracks.get_mut(self.turn) else {
                self.turn = 0;
                continue;
            };
            let taken = track.take(&mut self.buffer) || track.take_untried(read, &mut self.buffer);
            // A task that has ended has no outcome of this item, because the run was cut short.
            if !taken && !matches!(track.state, TrackState::Ended) {
                break;
            }
            self.turn += 1;
            self.write_if_full()?;
        }
        Ok(())
    }

    fn write_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= WRITE { self.write() } else { Ok(()) }
    }

    fn write_header(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.header) {
            header if header.is_empty() => Ok(()),
            header => self.target.write(&header),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            if let Some(line) = self.line.take() {
                renew_status(line);
            }
            self.write_header()?;
            self.target.write(&self.buffer)?;
            self.buffer.clear();
        }
        for track in &mut self.tracks {
            let bytes = std::mem::take(&mut track.gathered);
            if bytes > 0 {
                track.supervisor.written(bytes);
            }
        }
        Ok(())
    }
}
