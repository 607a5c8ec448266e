//! What a run over many machines says of them: who is lost, and how many chunks run again for that. Hosts that are lost at about
//! the same time have one line.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use wasmpool_core::hosts::{HostChange, HostLoss};
use wasmpool_run::stdio::Level;

/// Time for which others are waited for to whom the same has happened, and time between two lines of the same kind.
const GATHERED: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(10);
/// Number of hosts that a line names.
const NAMED: usize = 3;

/// What has happened to the hosts of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostsEvent {
    Serve,
    Return,
    Leave,
    Lost(HostLoss),
}

/// A line that is to be told.
#[derive(Debug, Default)]
struct Waiting {
    since: Duration,
    hosts: BTreeSet<String>,
    /// Chunks that run again, or workers that there are more.
    count: usize,
}

/// A line, with its facts for programs.
#[derive(Clone, Debug, PartialEq)]
pub struct HostsLine {
    pub level: Level,
    pub facts: Vec<(&'static str, Value)>,
    pub text: String,
}

/// What is known of the hosts of a run, and what of that was told.
#[derive(Debug, Default)]
pub struct HostsNews {
    /// True if the user is told who comes and goes, too.
    all: bool,
    waiting: BTreeMap<HostsEvent, Waiting>,
    /// The hosts of the last line of each kind, and when it was told.
    told: BTreeMap<HostsEvent, (Duration, BTreeSet<String>)>,
    /// All hosts that were lost, and the chunks that ran again for that.
    lost: BTreeSet<String>,
    chunks: u64,
}

impl HostsNews {
    /// Returns news without anything yet. If not `all`, only of losses, and of who is heard again.
    pub fn new(all: bool) -> HostsNews {
        HostsNews { all, ..HostsNews::default() }
    }

    /// Takes in what has become of a host.
    pub fn add(&mut self, host: &str, change: HostChange, now: Duration) {
        let (event, count) = match change {
            HostChange::Serves { workers } => (HostsEvent::Serve, workers),
            HostChange::Returns => (HostsEvent::Return, 0),
            HostChange::Leaves => (HostsEvent::Leave, 0),
            HostChange::Lost { how, chunks } => (HostsEvent::Lost(how), chunks),
        };
        if let HostsEvent::Lost(how) = event {
            self.chunks += count as u64;
            if how.is_of_host() {
                self.lost.insert(host.to_owned());
            }
        }
        if !self.all && matches!(event, HostsEvent::Serve | HostsEvent::Leave) {
            return;
        }
        // Of each of several tasks, a host is lost by itself.
        let was_told = self.told.get(&event).is_some_and(|(at, hosts)| now < *at + EVERY && hosts.contains(host));
        if !was_told {
            let waiting = self.waiting.entry(event).or_insert_with(|| Waiting { since: now, ..Waiting::default() });
            waiting.hosts.insert(host.to_owned());
            waiting.count += count;
        }
    }

    /// Returns the lines that are to be told now; at the `end` of the run all that are left.
    pub fn due(&mut self, now: Duration, end: bool) -> Vec<HostsLine> {
        let told = &self.told;
        let is_due = |event: &HostsEvent, waiting: &Waiting| end || now >= told_at(told, *event, waiting);
        let due: Vec<(HostsEvent, Waiting)> =
            self.waiting.extract_if(.., |event, waiting| is_due(event, waiting)).collect();
        let line = |(event, waiting): (HostsEvent, Waiting)| {
            let line = waiting.line(event);
            self.told.insert(event, (now, waiting.hosts));
            line
        };
        due.into_iter().map(line).collect()
    }

    /// Returns the time at which the next line is to be told.
    pub fn next(&self) -> Option<Duration> {
        self.waiting.iter().map(|(&event, waiting)| told_at(&self.told, event, waiting)).min()
    }

    /// Returns what the summary of a run says of hosts that were lost, and its facts, if there were any.
    pub fn summary(&self) -> Option<(String, [(&'static str, Value); 2])> {
        let (hosts, chunks) = (self.lost.len(), self.chunks);
        if hosts == 0 && chunks == 0 {
            return None;
        }
        let lost = match hosts {
            0 => String::new(),
            1 => "1 host was lost, ".to_owned(),
            hosts => format!("{hosts} hosts were lost, "),
        };
        let s = if chunks == 1 { "" } else { "s" };
        Some((
            format!("{lost}{chunks} chunk{s} ran again"),
            [("hosts_lost", hosts.into()), ("chunks_run_again", chunks.into())],
        ))
    }
}

/// Returns the time at which a line is told that waits.
fn told_at(
    told: &BTreeMap<HostsEvent, (Duration, BTreeSet<String>)>,
    event: HostsEvent,
    waiting: &Waiting,
) -> Duration {
    let gathered = waiting.since + GATHERED;
    told.get(&event).map_or(gathered, |(at, _)| gathered.max(*at + EVERY))
}

impl Waiting {
    fn line(&self, event: HostsEvent) -> HostsLine {
        let (one, count) = (self.hosts.len() == 1, self.count);
        let chunks = || {
            let (s, they) = (if count == 1 { "" } else { "s" }, if one { "it" } else { "they" });
            match count {
                0 => format!("{they} had no chunk that has to run again"),
                _ => format!("{count} chunk{s} that {they} had run{} again", if count == 1 { "s" } else { "" }),
            }
        };
        let either = |singular: &'static str, plural: &'static str| if one { singular } else { plural };
        let (level, word, said) = match event {
            HostsEvent::Serve => {
                let workers = if count == 1 { "worker" } else { "workers" };
                (Level::Info, "serves", format!("{} this run, with {count} {workers}", either("serves", "serve")))
            }
            HostsEvent::Return => {
                let again = either("is heard again, and serves", "are heard again, and serve");
                (Level::Info, "returns", format!("{again} this run"))
            }
            HostsEvent::Leave => {
                (Level::Info, "leaves", format!("{} this run: told to end", either("leaves", "leave")))
            }
            HostsEvent::Lost(how) => {
                let what = match how {
                    HostLoss::Silent => either("is not heard any more", "are not heard any more"),
                    HostLoss::Restarted => either("was started again", "were started again"),
                    HostLoss::Breaks => {
                        either("breaks the protocol, and is ignored", "break the protocol, and are ignored")
                    }
                    HostLoss::AnswersNothing => either("answers nothing", "answer nothing"),
                    HostLoss::GivesUp => either("gave up chunks", "gave up chunks"),
                };
                (Level::Warning, "lost", format!("{what}; {}", chunks()))
            }
        };
        let mut facts =
            vec![("hosts", Value::from_iter(self.hosts.iter().map(String::as_str))), ("change", word.into())];
        match event {
            HostsEvent::Serve => facts.push(("workers", count.into())),
            HostsEvent::Lost(_) => facts.push(("chunks", count.into())),
            HostsEvent::Return | HostsEvent::Leave => {}
        }
        HostsLine { level, facts, text: format!("{} {said}", self.names()) }
    }

    /// Returns the hosts by their names, of which a few are shown.
    fn names(&self) -> String {
        let shown: Vec<&str> = self.hosts.iter().take(NAMED).map(String::as_str).collect();
        let host = if self.hosts.len() == 1 { "host" } else { "hosts" };
        match self.hosts.len() - shown.len() {
            0 => format!("{host} {}", shown.join(", ")),
            more => format!("{host} {} and {more} more", shown.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn lost(chunks: usize) -> HostChange {
        HostChange::Lost { how: HostLoss::Silent, chunks }
    }

    fn texts(lines: Vec<HostsLine>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn hosts_that_are_lost_together_have_one_line_and_no_more_than_one_comes_in_ten_seconds() {
        let mut news = HostsNews::new(false);
        for host in ["a", "b", "c", "d", "e"] {
            news.add(host, lost(2), s(5));
        }
        assert_eq!((news.next(), texts(news.due(s(5), false))), (Some(s(6)), vec![]));
        let first = "hosts a, b, c and 2 more are not heard any more; 10 chunks that they had run again";
        assert_eq!(texts(news.due(s(6), false)), [first]);
        news.add("f", lost(1), s(7));
        assert_eq!((news.next(), texts(news.due(s(15), false))), (Some(s(16)), vec![]));
        // Another task has lost the same host.
        news.add("a", lost(3), s(8));
        let second = "host f is not heard any more; 1 chunk that it had runs again";
        assert_eq!(texts(news.due(s(16), false)), [second]);
        assert_eq!(news.next(), None);
        let (text, facts) = news.summary().unwrap();
        assert_eq!(text, "6 hosts were lost, 14 chunks ran again");
        assert_eq!(facts, [("hosts_lost", 6.into()), ("chunks_run_again", 14.into())]);
    }

    #[test]
    fn a_host_that_comes_or_goes_by_itself_is_told_only_if_all_is() {
        for all in [false, true] {
            let mut news = HostsNews::new(all);
            news.add("a", HostChange::Serves { workers: 1 }, s(0));
            news.add("a", HostChange::Leaves, s(9));
            let told = texts(news.due(s(30), false));
            let expected = ["host a serves this run, with 1 worker", "host a leaves this run: told to end"];
            assert_eq!(told, if all { expected.to_vec() } else { vec![] });
            assert_eq!(news.summary(), None);
        }
    }

    #[test]
    fn what_was_not_told_yet_is_told_at_the_end() {
        let mut news = HostsNews::new(false);
        news.add("a", lost(0), s(1));
        let lines = news.due(s(1), true);
        assert_eq!(lines[0].text, "host a is not heard any more; it had no chunk that has to run again");
        assert_eq!(lines[0].level, Level::Warning);
        let facts = [("hosts", Value::from(vec!["a"])), ("change", "lost".into()), ("chunks", 0.into())];
        assert_eq!((lines.len(), &lines[0].facts[..]), (1, &facts[..]));
    }
}
