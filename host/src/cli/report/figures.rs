//! The figures of a run, in the form in which `--report FILE.json` has them (docs/reports.md). The page is made of the same.

mod settings;

use serde::Serialize;

use settings::{SandboxFigures, SettingFigures, command_line, grants, sandbox, settings};

use super::record::{EventKind, MOST_ROWS, RanChunk, RanItem, RunEvent, RunRecorder};
use super::spans::Span;
use super::timeline::Cell;
use crate::cli::spec::RunSpec;
use wasmpool_core::outcome::OutcomeCounts;

/// The version of this form. Members may be added without a new one.
const VERSION: u32 = 1;
/// Maximum number of cells of all rows of a task, and of the chunks and items that are listed.
const CELLS: usize = 16_384;
const LISTED: usize = 500;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub format: &'static str,
    pub version: u32,
    pub wasmpool: &'static str,
    pub wasmtime: &'static str,
    pub kernel: String,
    pub architecture: &'static str,
    pub processors: usize,
    /// The command line, as words for a shell. Values of the task's environment are left out.
    pub command: String,
    /// The time at which it began, as in RFC 3339.
    pub began: String,
    pub elapsed_us: u64,
    pub end: RunEndFigures,
    pub items: ItemFigures,
    pub settings: SettingFigures,
    /// `None` over many machines, each of which has its own.
    pub sandbox: Option<SandboxFigures>,
    pub grants: Vec<String>,
    pub tasks: Vec<TaskFigures>,
}

/// How the run ended.
#[derive(Clone, Debug, Serialize)]
pub struct RunEndFigures {
    /// `complete`, `halted`, `interrupted`, `output-closed` or `error`.
    pub how: &'static str,
    pub exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The outcomes of the run. With several tasks, each item has one for each.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ItemFigures {
    pub done: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// How many of those that are done an earlier run of the same journal did.
    pub done_before: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct TaskFigures {
    /// The name of `--task`, or else the path.
    pub name: String,
    pub done: u64,
    pub failed: u64,
    pub retried: u64,
    pub workers: WorkerFigures,
    pub instances: InstanceFigures,
    pub times: TimeFigures,
    pub failures: Vec<KindFigures>,
    pub timeline: TimelineFigures,
    pub chunks: ListFigures<ChunkFigures>,
    pub longest_items: Vec<LongItemFigures>,
    pub events: ListFigures<EventFigures>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct WorkerFigures {
    pub started: u64,
    pub died: u64,
    pub late: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct InstanceFigures {
    pub made: u64,
    pub restored: u64,
}

/// How long items took, as their records say (`elapsed_us`): by the clock of the worker, or of the host where that ended the
/// worker.
#[derive(Clone, Debug, Serialize)]
pub struct TimeFigures {
    pub count: u64,
    pub total_us: u64,
    pub mean_us: f64,
    pub least_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub most_us: f64,
    pub histogram: Vec<BucketFigures>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct BucketFigures {
    pub from_us: f64,
    pub to_us: f64,
    pub count: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct KindFigures {
    pub kind: &'static str,
    pub count: u64,
    pub examples: Vec<ExampleFigures>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ExampleFigures {
    pub message: String,
    pub index: u64,
    pub count: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<String>,
}

/// What each worker did when, in buckets of time that are equally wide.
#[derive(Clone, Debug, Serialize)]
pub struct TimelineFigures {
    pub bucket_us: u64,
    pub done: Vec<u64>,
    pub failed: Vec<u64>,
    /// The width of the buckets of `rows`, a multiple of the other.
    pub row_bucket_us: u64,
    pub rows: Vec<RowFigures>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RowFigures {
    pub name: String,
    /// Number of worker processes that had this place, one after the other.
    pub workers: u64,
    /// In thousandths of the bucket's time.
    pub busy: Vec<u64>,
    pub done: Vec<u64>,
    pub failed: Vec<u64>,
    /// When its workers were started, ready and ended.
    pub lives: Vec<LifeFigures>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct LifeFigures {
    pub worker: u64,
    pub pid: u32,
    pub from_us: u64,
    pub ready_us: Option<u64>,
    pub to_us: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ListFigures<T> {
    pub listed: Vec<T>,
    pub left_out: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct ChunkFigures {
    pub row: usize,
    pub worker: u64,
    pub from_us: u64,
    pub to_us: u64,
    pub first: u64,
    pub count: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct LongItemFigures {
    pub row: usize,
    pub worker: u64,
    /// Where it stands among all others, by the host's clock: it had ended when the host heard of it.
    pub from_us: u64,
    pub to_us: u64,
    /// How long it took, as in `times` and in its record.
    pub elapsed_us: u64,
    pub index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
pub struct EventFigures {
    pub row: usize,
    pub worker: u64,
    pub at_us: u64,
    /// `restarted`, `died` or `late`.
    pub what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub how: String,
}

impl EventKind {
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Restarted => "restarted",
            EventKind::Died => "died",
            EventKind::Late => "late",
        }
    }
}

/// Microseconds of nanoseconds.
fn us(ns: u64) -> u64 {
    ns / 1000
}

fn exact_us(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

/// Returns the number of a worker as records and messages have it.
pub fn numbered(worker: u32) -> u64 {
    u64::from(worker) + 1
}

impl Report {
    /// Makes the report of a run. The recorders have come to their end, which was after `elapsed` nanoseconds.
    pub fn new(
        spec: &RunSpec,
        workers: usize,
        began: String,
        elapsed: u64,
        end: RunEndFigures,
        (counts, done_before): (&OutcomeCounts, u64),
        recorders: Vec<(String, RunRecorder)>,
    ) -> Report {
        let kernel = nix::sys::utsname::uname()
            .map_or_else(|_| String::new(), |system| system.release().to_string_lossy().into_owned());
        let lacking = recorders.iter().flat_map(|(_, recorder)| recorder.lacking.iter().copied()).collect::<Vec<_>>();
        let widest = recorders.iter().map(|(_, recorder)| recorder.timeline.width()).max().unwrap_or_default();
        Report {
            format: "wasmpool-report",
            version: VERSION,
            wasmpool: env!("CARGO_PKG_VERSION"),
            wasmtime: wasmpool_core::artifact::WASMTIME,
            kernel,
            architecture: std::env::consts::ARCH,
            processors: wasmpool_sandbox::surroundings::processors(),
            command: command_line(std::env::args_os()),
            began,
            elapsed_us: us(elapsed),
            end,
            items: ItemFigures {
                done: counts.done,
                succeeded: counts.done.saturating_sub(counts.failures()),
                failed: counts.failures(),
                done_before,
            },
            settings: settings(spec, workers),
            sandbox: (!spec.items.over_hosts()).then(|| sandbox(*spec.sandbox, &lacking)),
            grants: grants(spec),
            tasks: recorders.into_iter().map(|(name, recorder)| TaskFigures::of(name, recorder, widest)).collect(),
        }
    }
}

impl TaskFigures {
    fn of(name: String, mut recorder: RunRecorder, widest: u64) -> TaskFigures {
        recorder.timeline.widen_to(widest);
        let failures = recorder.failures.iter().map(|(kind, of_kind)| KindFigures {
            kind: kind.name(),
            count: of_kind.count,
            examples: of_kind
                .examples
                .iter()
                .map(|example| ExampleFigures {
                    message: example.message.clone(),
                    index: example.index,
                    count: example.count,
                    trace: example.trace.clone(),
                })
                .collect(),
        });
        let mut failures: Vec<KindFigures> = failures.collect();
        failures.sort_by_key(|kind| std::cmp::Reverse(kind.count));
        let mut chunks: Vec<ChunkFigures> = recorder.chunks.longest(LISTED).into_iter().map(ChunkFigures::of).collect();
        chunks.sort_by_key(|chunk| (chunk.from_us, chunk.row));
        let left_out = recorder.chunks.left_out() + (recorder.chunks.all().len() - chunks.len()) as u64;
        TaskFigures {
            name,
            done: recorder.done,
            failed: failures.iter().map(|kind| kind.count).sum(),
            retried: recorder.retried,
            workers: WorkerFigures { started: recorder.started, died: recorder.died, late: recorder.late },
            instances: InstanceFigures { made: recorder.instances.made, restored: recorder.instances.restored },
            times: TimeFigures::of(&recorder),
            failures,
            timeline: TimelineFigures::of(&recorder),
            chunks: ListFigures { listed: chunks, left_out },
            longest_items: recorder.items.longest(LISTED).into_iter().map(LongItemFigures::of).collect(),
            events: ListFigures {
                listed: recorder.events.all().map(EventFigures::of).collect(),
                left_out: recorder.events.left_out(),
            },
        }
    }
}

impl TimeFigures {
    fn of(recorder: &RunRecorder) -> TimeFigures {
        let times = &recorder.times;
        let quantile = |share| exact_us(times.quantile(share));
        TimeFigures {
            count: times.count(),
            total_us: u64::try_from(times.sum() / 1000).unwrap_or(u64::MAX),
            mean_us: exact_us(times.mean()),
            least_us: exact_us(times.least()),
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            most_us: exact_us(times.most()),
            histogram: times
                .coarse(4)
                .into_iter()
                .map(|(from, to, count)| BucketFigures { from_us: exact_us(from), to_us: exact_us(to), count })
                .collect(),
        }
    }
}

impl TimelineFigures {
    fn of(recorder: &RunRecorder) -> TimelineFigures {
        let timeline = &recorder.timeline;
        let total = timeline.total();
        let rows = recorder.rows();
        // Fewer buckets where there are many rows.
        let mut step = 1;
        while rows.len() * total.len().div_ceil(step) > CELLS {
            step *= 2;
        }
        let row_bucket = timeline.width() * step as u64;
        let empty = Vec::new();
        let rows = rows.iter().enumerate().map(|(nth, row)| {
            let cells: Vec<Cell> = coarse(timeline.rows().get(nth).unwrap_or(&empty), step);
            let at_once = if nth == MOST_ROWS { row.workers.max(1) } else { 1 };
            RowFigures {
                name: row.name.clone().unwrap_or_else(|| (nth + 1).to_string()),
                workers: row.workers,
                busy: cells.iter().map(|cell| thousandths(cell.busy / at_once, row_bucket)).collect(),
                done: cells.iter().map(|cell| cell.done).collect(),
                failed: cells.iter().map(|cell| cell.failed).collect(),
                lives: recorder
                    .lives
                    .all()
                    .filter(|life| life.row == nth)
                    .map(|life| LifeFigures {
                        worker: numbered(life.worker),
                        pid: life.pid,
                        from_us: us(life.from),
                        ready_us: life.ready.map(us),
                        to_us: life.to.map(us),
                    })
                    .collect(),
            }
        });
        TimelineFigures {
            bucket_us: us(timeline.width()),
            done: total.iter().map(|cell| cell.done).collect(),
            failed: total.iter().map(|cell| cell.failed).collect(),
            row_bucket_us: us(row_bucket),
            rows: rows.collect(),
        }
    }
}

fn thousandths(part: u64, whole: u64) -> u64 {
    (part as f64 / whole as f64 * 1000.0).round().min(1000.0) as u64
}

/// Returns the sums of every `step` cells.
fn coarse(cells: &[Cell], step: usize) -> Vec<Cell> {
    let sum = |some: &[Cell]| Cell {
        busy: some.iter().fold(0, |sum, cell| cell.busy.saturating_add(sum)),
        done: some.iter().map(|cell| cell.done).sum(),
        failed: some.iter().map(|cell| cell.failed).sum(),
    };
    cells.chunks(step).map(sum).collect()
}

impl ChunkFigures {
    pub fn of(span: &Span<RanChunk>) -> ChunkFigures {
        let what = span.what;
        ChunkFigures {
            row: span.row,
            worker: numbered(what.worker),
            from_us: us(span.from),
            to_us: us(span.to),
            first: what.first,
            count: what.count,
        }
    }
}

impl LongItemFigures {
    pub fn of(span: &Span<RanItem>) -> LongItemFigures {
        let what = span.what;
        LongItemFigures {
            row: span.row,
            worker: numbered(what.worker),
            from_us: us(span.from),
            to_us: us(span.to),
            elapsed_us: us(span.took),
            index: what.index,
            failed: what.failed.map(|kind| kind.name()),
        }
    }
}

impl EventFigures {
    pub fn of(event: &RunEvent) -> EventFigures {
        EventFigures {
            row: event.row,
            worker: numbered(event.worker),
            at_us: us(event.at),
            what: event.what.name(),
            item: event.item,
            how: event.how.clone(),
        }
    }
}
