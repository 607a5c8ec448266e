//! Limits of the control groups that this process is in, of either version.

use std::fs;
use std::path::{Path, PathBuf};

use wasmpool_core::text::ForeignText;

/// A limit of control groups, in both versions.
struct Limit {
    /// Name of the controller in version 1.
    controller: &'static str,
    /// Names of the file in version 1 and in version 2.
    files: [&'static str; 2],
}

const MEMORY: Limit = Limit { controller: "memory", files: ["memory.limit_in_bytes", "memory.max"] };
const PROCESSES: Limit = Limit { controller: "pids", files: ["pids.max", "pids.max"] };
/// File that holds the number of processes, beside the limit on them.
const CURRENT: &str = "pids.current";

/// Returns the number of bytes of memory that this process and all that it starts may use together: the lowest limit of
/// the cgroups it is in.
pub fn memory_of_all() -> Option<u64> {
    // Version 1 has a very large number for "no limit".
    MEMORY.files_of(&own_memberships()).filter_map(|file| number(&file)).filter(|bytes| *bytes < 1 << 60).min()
}

/// A limit on the number of processes and threads of a control group and all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processes {
    file: PathBuf,
    pub most: u64,
    current: Option<u64>,
}

impl Processes {
    /// Returns true if there is no room for another process.
    pub fn is_full(&self) -> bool {
        self.current.is_some_and(|current| current >= self.most)
    }

    /// Returns in words what it allows, and where that is set.
    pub fn describe(&self) -> String {
        let has = self.current.map(|current| format!(", and has {current}")).unwrap_or_default();
        format!("a control group may have {} processes and threads{has} ({})", self.most, ForeignText::of(&self.file))
    }
}

/// Returns the limit on processes that leaves the least room, of all groups that this process is in.
pub fn processes() -> Option<Processes> {
    tightest(PROCESSES.files_of(&own_memberships()), number)
}

/// Returns the limit that leaves the least room, of these files that hold one.
fn tightest(files: impl Iterator<Item = PathBuf>, number: impl Fn(&Path) -> Option<u64>) -> Option<Processes> {
    let limits = files.filter_map(|file| {
        let (most, current) = (number(&file)?, number(&file.with_file_name(CURRENT)));
        Some(Processes { file, most, current })
    });
    limits.min_by_key(|limit| limit.most.saturating_sub(limit.current.unwrap_or(0)))
}

/// Returns the cgroups that the text of a process's `cgroup` in `/proc` names: the controllers of each, separated by
/// commas (none in version 2), and its path.
pub fn memberships(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let fields = |line| {
        let mut fields = str::splitn(line, 3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    };
    text.lines().filter_map(fields)
}

fn own_memberships() -> String {
    fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

/// Returns the number that a file holds, if it is one.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

impl Limit {
    /// Returns the files that may hold it, of the groups that a process is in and of those above them.
    fn files_of<'a>(&'a self, text: &'a str) -> impl Iterator<Item = PathBuf> {
        let [first, second] = self.files;
        memberships(text).flat_map(move |(controllers, own)| {
            let (roots, file): (Vec<PathBuf>, _) = match controllers {
                "" => (vec!["/sys/fs/cgroup".into(), "/sys/fs/cgroup/unified".into()], second),
                some if some.split(',').any(|one| one == self.controller) => {
                    (vec![Path::new("/sys/fs/cgroup").join(self.controller)], first)
                }
                _ => (Vec::new(), ""),
            };
            let own = Path::new(own.trim_start_matches('/'));
            roots.into_iter().flat_map(move |root| own.ancestors().map(move |group| root.join(group).join(file)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(limit: &Limit, memberships: &str) -> Vec<String> {
        limit.files_of(memberships).map(|file| file.display().to_string()).collect()
    }

    #[test]
    fn limits_are_looked_for_in_all_groups_above() {
        assert_eq!(
            files(&MEMORY, "5:cpu:/x\n4:hugetlb,memory:/a/b\n"),
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert_eq!(
            files(&MEMORY, "0::/user.slice"),
            [
                "/sys/fs/cgroup/user.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/unified/user.slice/memory.max",
                "/sys/fs/cgroup/unified/memory.max",
            ]
        );
        assert_eq!(
            files(&PROCESSES, "8:pids:/a\n0::/"),
            [
                "/sys/fs/cgroup/pids/a/pids.max",
                "/sys/fs/cgroup/pids/pids.max",
                "/sys/fs/cgroup/pids.max",
                "/sys/fs/cgroup/unified/pids.max",
            ]
        );
        assert!(files(&MEMORY, "1:name=systemd:/\n\nnonsense").is_empty());
    }

    #[test]
    fn of_several_limits_that_with_least_room_is_told_with_its_file() {
        // The inner group has the smaller limit, and the outer one is full.
        let numbers = [("a/b/pids.max", 50), ("a/b/pids.current", 3), ("a/pids.max", 70), ("a/pids.current", 70)];
        let number = |file: &Path| {
            numbers.iter().find(|(name, _)| Path::new("/sys/fs/cgroup").join(name) == file).map(|(_, number)| *number)
        };
        let found = tightest(PROCESSES.files_of("0::/a/b"), number).expect("a limit");
        assert!(found.is_full());
        assert_eq!(
            found.describe(),
            "a control group may have 70 processes and threads, and has 70 (/sys/fs/cgroup/a/pids.max)"
        );
        let of_inner = |file: &Path| number(file).filter(|_| file.starts_with("/sys/fs/cgroup/a/b"));
        let inner = tightest(PROCESSES.files_of("0::/a/b"), of_inner);
        assert_eq!(inner.map(|limit| (limit.is_full(), limit.most)), Some((false, 50)));
        assert_eq!(tightest(PROCESSES.files_of("0::/"), number), None);
    }
}
