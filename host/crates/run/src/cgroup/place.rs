//! Finds the memory cgroup of this process, and decides where its children may have one. Pure: works on texts and
//! facts.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmpool_core::text::ForeignText;
use wasmpool_sandbox::surroundings::memberships;

/// Version of the kernel's interface to cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Each controller has a tree of its own.
    One,
    /// All controllers share one tree.
    Two,
}

/// Memory cgroup of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    pub version: Version,
    pub folder: PathBuf,
    /// True if no cgroup above it is visible, as in a container.
    pub topmost: bool,
}

/// The reason why there is no cgroup for the children of this process.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoCgroup {
    #[error("{file} cannot be read")]
    Unreadable { file: &'static str, source: Arc<io::Error> },
    #[error("this kernel or container shows no memory cgroup")]
    NotShown,
    #[error("no file system of cgroups with memory is mounted here")]
    NotMounted,
    #[error("the cgroup of this process is not below what is mounted here")]
    OutsideMount,
    /// The memory of a child would not count above it: workers would escape a limit that somebody has set.
    #[error("the memory cgroup of this process does not count that of cgroups below it")]
    NotCounted,
    #[error("the cgroup of this process was not delegated to it (Delegate=yes of systemd)")]
    NotDelegated,
    #[error("the cgroup was delegated, but this user may not write to it")]
    NotWritable,
    #[error("the cgroup was delegated without the memory controller")]
    NoMemory,
    #[error("the cgroup holds the program itself, which only the command moves (DelegateSubgroup= of systemd helps)")]
    HoldsProgram,
    #[error("the cgroup holds other processes too, which are not moved (give wasmpool one of its own)")]
    HoldsOthers,
    #[error("none can be made in {}", ForeignText::of(.place))]
    Refused { place: PathBuf, source: Arc<io::Error> },
    #[error("none was tried")]
    NotTried,
}

/// Finds the memory cgroup of a process in the texts of its `cgroup` and `mountinfo` in `/proc`.
pub fn own_cgroup(memberships: &str, mounts: &str) -> Result<Own, NoCgroup> {
    let (version, path) = membership(memberships).ok_or(NoCgroup::NotShown)?;
    let mount = mounts.lines().filter_map(Mount::read).rfind(|mount| mount.is_of(version));
    let mount = mount.ok_or(NoCgroup::NotMounted)?;
    // In a namespace of cgroups, one above its root begins with `..`.
    let below = path.strip_prefix(&mount.root).ok().filter(|below| !below.starts_with(".."));
    let below = below.ok_or(NoCgroup::OutsideMount)?;
    let topmost = below.as_os_str().is_empty();
    // Joining nothing would leave a slash at the end.
    let folder = if topmost { mount.point } else { mount.point.join(below) };
    Ok(Own { version, folder, topmost })
}

/// Returns the path of the cgroup that counts a process's memory, from the text of its `cgroup` in `/proc`. Where both
/// versions are in use, that is the one of version 1 if version 1 has the memory controller.
pub fn membership(text: &str) -> Option<(Version, PathBuf)> {
    let one = memberships(text).find(|(controllers, _)| controllers.split(',').any(|name| name == "memory"));
    let two = || memberships(text).find(|(controllers, _)| controllers.is_empty());
    match one {
        Some((_, path)) => Some((Version::One, path.into())),
        None => two().map(|(_, path)| (Version::Two, path.into())),
    }
}

/// Line of `mountinfo`.
struct Mount {
    /// Path within the file system that is mounted.
    root: PathBuf,
    point: PathBuf,
    kind: String,
    options: String,
}

impl Mount {
    fn read(line: &str) -> Option<Mount> {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (plain(place.next()?), plain(place.next()?));
        let mut system = system.split(' ');
        Some(Mount { root, point, kind: system.next()?.to_owned(), options: system.nth(1)?.to_owned() })
    }

    fn is_of(&self, version: Version) -> bool {
        match version {
            Version::One => self.kind == "cgroup" && self.options.split(',').any(|name| name == "memory"),
            Version::Two => self.kind == "cgroup2",
        }
    }
}

/// Returns a path without the kernel's escapes, such as `\040` for a space.
fn plain(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let escaped = behind.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Facts about a cgroup of version 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// True if systemd has marked it as delegated.
    pub delegated: bool,
    /// True if this user may create cgroups in it, and move processes between these.
    pub writable: bool,
    /// True if it can give its children the memory controller.
    pub memory: bool,
    /// Ids of the processes in it; 0 stands for one that cannot be seen here.
    pub processes: Vec<u32>,
}

/// Place of the workers' cgroup of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Beside the cgroup of this process, which was started in a leaf (`DelegateSubgroup=` of systemd).
    Beside,
    /// Below the cgroup of this process, which has to move to a leaf first: no process may be in a cgroup whose
    /// children have a limit of memory.
    BelowAfterMoving,
}

/// Decides where the workers' cgroup of version 2 goes. Only a cgroup that is marked as delegated is used: that of a
/// container looks the same otherwise, and `docker exec` fails when processes are moved out of it.
pub fn choose(own: &Seen, above: Option<&Seen>, this: u32, may_move: bool) -> Result<Choice, NoCgroup> {
    let usable = |seen: &Seen| match seen {
        Seen { delegated: false, .. } => Err(NoCgroup::NotDelegated),
        Seen { writable: false, .. } => Err(NoCgroup::NotWritable),
        Seen { memory: false, .. } => Err(NoCgroup::NoMemory),
        _ => Ok(()),
    };
    if let Some(above) = above.filter(|above| above.delegated && above.processes.is_empty()) {
        return usable(above).map(|()| Choice::Beside);
    }
    usable(own)?;
    match may_move {
        false => Err(NoCgroup::HoldsProgram),
        true if own.processes != [this] => Err(NoCgroup::HoldsOthers),
        true => Ok(Choice::BelowAfterMoving),
    }
}

/// Returns the cgroup above this one if both may belong to one unit of systemd. `DelegateSubgroup=` puts the processes
/// of a unit into a cgroup below the delegated one, under a name that the unit chooses. The cgroup above that of a unit
/// belongs to systemd itself, and is marked too if it is that of an ordinary user's systemd.
pub fn above(own: &Own) -> Option<&Path> {
    let name = own.folder.file_name()?.to_str()?;
    let is_unit = [".service", ".scope", ".slice"].iter().any(|suffix| name.ends_with(suffix));
    if own.topmost || is_unit { None } else { own.folder.parent() }
}

/// Returns the names that the cgroup of a process's workers may have: the first that is not in use.
pub fn names_of_workers(pid: u32) -> impl Iterator<Item = String> {
    /// More than any process id, so that the names of two processes in one namespace differ.
    const APART: u64 = 10_000_000;
    const MOST: u64 = 1000;
    (0..MOST).map(move |n| format!("{PREFIX}{}", u64::from(pid) + n * APART))
}

/// Returns the name of the leaf that a process moves to.
pub fn name_of_leaf(pid: u32) -> String {
    format!("{PREFIX}{pid}{HOST}")
}

/// Returns true if a cgroup has a name that one of these functions gives.
pub fn is_ours(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(PREFIX));
    let number = name.map(|name| name.strip_suffix(HOST).unwrap_or(name));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

const PREFIX: &str = "wasmpool-";
const HOST: &str = "-host";

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "9:name=systemd:/user.slice\n4:hugetlb,memory:/user.slice/run\n2:cpu:/\n0::/user.slice/session\n";
    const ONE_MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,hugetlb,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const TWO_MOUNTS: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    fn found(memberships: &str, mounts: &str) -> Result<(Version, String), String> {
        let found = own_cgroup(memberships, mounts).map_err(|why| why.to_string());
        found.map(|own| (own.version, own.folder.display().to_string()))
    }

    #[test]
    fn the_cgroup_of_a_process_is_found_in_either_version() {
        let one = "/sys/fs/cgroup/memory/user.slice/run";
        assert_eq!(found(ONE, ONE_MOUNTS), Ok((Version::One, one.to_owned())));
        assert_eq!(
            found("0::/user.slice/a.scope\n", TWO_MOUNTS),
            Ok((Version::Two, "/sys/fs/cgroup/user.slice/a.scope".to_owned()))
        );
        // Both are mounted, and the memory controller is in the second.
        let hybrid = "4:cpu:/\n0::/a.scope\n";
        assert_eq!(found(hybrid, ONE_MOUNTS), Ok((Version::Two, "/sys/fs/cgroup/unified/a.scope".to_owned())));
    }

    #[test]
    fn in_a_container_the_path_begins_where_the_mount_does() {
        let inside = "35 31 0:32 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let found_one = own_cgroup("4:memory:/docker/ab\n", inside).map(|own| (own.folder, own.topmost));
        assert_eq!(found_one.ok(), Some((PathBuf::from("/sys/fs/cgroup/memory"), true)));
        assert_eq!(found("4:memory:/docker/ab/c\n", inside), Ok((Version::One, "/sys/fs/cgroup/memory/c".to_owned())));
        assert!(own_cgroup("0::/\n", TWO_MOUNTS).is_ok_and(|own| own.topmost));
    }

    #[test]
    fn a_cgroup_that_cannot_be_reached_or_is_not_there_is_told_with_its_reason() {
        let inside = "35 31 0:32 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert!(found("4:memory:/docker/cd\n", inside).is_err_and(|why| why.contains("not below")));
        assert!(found("0::/../b\n", TWO_MOUNTS).is_err_and(|why| why.contains("not below")));
        assert!(found(ONE, TWO_MOUNTS).is_err_and(|why| why.contains("mounted")));
        assert!(found("", ONE_MOUNTS).is_err_and(|why| why.contains("no memory cgroup")));
        assert!(found("nonsense\n\n", "nonsense\n\n - \n").is_err());
    }

    #[test]
    fn escapes_of_the_kernel_in_paths_are_undone() {
        let spaced = "30 23 0:26 / /a\\040b\\134c rw - cgroup2 cgroup2 rw\n";
        assert_eq!(found("0::/x\n", spaced), Ok((Version::Two, "/a b\\c/x".to_owned())));
    }

    fn delegated(processes: &[u32]) -> Seen {
        Seen { delegated: true, writable: true, memory: true, processes: processes.to_vec() }
    }

    #[test]
    fn the_second_version_is_touched_only_where_it_is_delegated() {
        let plain = |processes: &[u32]| Seen { delegated: false, ..delegated(processes) };
        // The root of a container: ours alone, writable, with the controller.
        assert!(choose(&plain(&[7]), None, 7, true).is_err_and(|why| why.to_string().contains("not delegated")));
        assert!(
            choose(&plain(&[7]), Some(&plain(&[])), 7, true)
                .is_err_and(|why| why.to_string().contains("not delegated"))
        );
        let unwritable = Seen { writable: false, ..delegated(&[7]) };
        assert!(choose(&unwritable, None, 7, true).is_err_and(|why| why.to_string().contains("write")));
        let without = Seen { memory: false, ..delegated(&[7]) };
        assert!(choose(&without, None, 7, true).is_err_and(|why| why.to_string().contains("memory controller")));
    }

    #[test]
    fn what_systemd_keeps_for_itself_is_never_taken_for_the_rest_of_a_unit() {
        let above_of =
            |path: &str| above(&own_cgroup(&format!("0::{path}\n"), TWO_MOUNTS).expect("a cgroup")).map(Path::to_owned);
        assert_eq!(above_of("/a.service/main"), Some(PathBuf::from("/sys/fs/cgroup/a.service")));
        for unit in ["/", "/user@7.service/a.scope", "/user@7.service/app.slice", "/user@7.service/a.service"] {
            assert_eq!(above_of(unit), None, "{unit}");
        }
    }

    #[test]
    fn only_the_command_moves_and_only_itself() {
        assert_eq!(choose(&delegated(&[7]), None, 7, true).ok(), Some(Choice::BelowAfterMoving));
        assert!(choose(&delegated(&[7]), None, 7, false).is_err());
        for others in [&[7, 8][..], &[0, 7], &[8], &[]] {
            assert!(
                choose(&delegated(others), None, 7, true).is_err_and(|why| why.to_string().contains("other")),
                "{others:?}"
            );
        }
    }

    #[test]
    fn in_a_leaf_of_a_delegated_cgroup_nobody_has_to_move() {
        let leaf = Seen { delegated: false, ..delegated(&[7, 8]) };
        for may_move in [false, true] {
            assert_eq!(choose(&leaf, Some(&delegated(&[])), 7, may_move).ok(), Some(Choice::Beside));
        }
        // Another process is there, so no child of it may have a limit.
        assert!(choose(&leaf, Some(&delegated(&[9])), 7, true).is_err());
    }

    #[test]
    fn names_are_known_again_and_no_others() {
        let mut names = names_of_workers(7).chain([name_of_leaf(7)]);
        assert!(names.all(|name| is_ours(&Path::new("/a").join(name))));
        for other in ["wasmpool-", "wasmpool-test-7", "wasmpool-7x", "wasmpool--host", "x-7", "wasmpool"] {
            assert!(!is_ours(&Path::new("/a").join(other)), "{other}");
        }
    }
}
