//! Detects links that a task may have made on the way to a file that the host is about to write.
//!
//! A task that is granted a directory for writing can put a link into it, in this run or an earlier one,
//! where the user later has something written. The host must not follow it: it may write where the task may not.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use crate::place::{FileId, directory_of};

/// Maximum number of links that are followed, as in the kernel.
const MOST: usize = 40;

/// Directories in which a task may make links.
#[derive(Debug, Default)]
pub struct Writable(Vec<FileId>);

impl Writable {
    /// Makes it from the directories that are granted for writing.
    pub fn of<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Writable {
        let found = directories.into_iter().filter_map(|directory| fs::metadata(directory).ok());
        Writable(found.map(|metadata| FileId::of(&metadata)).collect())
    }

    /// Returns true if a directory, whose path must have no links, is one of these or lies below one.
    fn holds(&self, directory: &Path) -> bool {
        holding(directory, &self.0).is_some()
    }

    /// Returns the first link on the way to `path` that lies in one of these directories.
    pub fn link_to(&self, path: &Path) -> Option<PathBuf> {
        let links = if self.0.is_empty() { Vec::new() } else { links_to(path).unwrap_or_default() };
        links.into_iter().find(|link| link.parent().is_some_and(|directory| self.holds(directory)))
    }
}

/// Returns `path`, or a link that it leads to, if its target is relative and leads out of the link's own directory. A
/// task may have made such a link in any earlier run, in a directory that is not granted now.
pub fn leads_out(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST {
        let target = fs::read_link(&path).ok()?;
        if target.is_relative() && climbs(&target) {
            return Some(path);
        }
        path = path.parent()?.join(target);
    }
    None
}

/// Returns the path of the file that is opened or made by this path: that behind the links which its last part leads to, whether
/// or not there is such a file.
///
/// # Errors
///
/// An error of the kernel's for links that lead nowhere, such as to each other.
pub fn target_of(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST {
        match fs::read_link(&path) {
            Ok(target) => path = directory_of(&path).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(Errno::ELOOP.into())
}

/// Returns true if a relative path leads above its start.
fn climbs(path: &Path) -> bool {
    let mut depth = 0_i32;
    path.components().any(|part| {
        depth += match part {
            Component::ParentDir => -1,
            Component::Normal(_) => 1,
            Component::RootDir | Component::CurDir | Component::Prefix(_) => 0,
        };
        depth < 0
    })
}

/// Returns all links that are followed on the way to `path`, each as a path without other links. The way ends at what
/// does not exist, and at the links of `/proc`, which lead to an open file and not to a path.
pub fn links_to(path: &Path) -> io::Result<Vec<PathBuf>> {
    way_to(path).map(|(links, _)| links)
}

/// Returns where a path leads, without links, as far as it exists.
pub fn leads_to(path: &Path) -> io::Result<PathBuf> {
    way_to(path).map(|(_, end)| end)
}

/// Returns the index of the first directory in which a path ends, or in which it would be made, or that lies above
/// that.
pub fn lands_in(path: &Path, directories: &[FileId]) -> Option<usize> {
    if directories.is_empty() {
        return None;
    }
    // Something that exists and has no path, such as a pipe of `/dev/stdout`, lies in no directory.
    let place = if path.exists() { path.canonicalize() } else { leads_to(path) };
    holding(&place.ok()?, directories)
}

/// Returns the index of the first directory that is `place`, or lies above it. The path of `place` must have no links.
fn holding(place: &Path, directories: &[FileId]) -> Option<usize> {
    let above: Vec<FileId> =
        place.ancestors().filter_map(|above| fs::metadata(above).ok()).map(|found| FileId::of(&found)).collect();
    directories.iter().position(|id| above.contains(id))
}

/// Returns the links on the way to `path`, and where the way ends.
fn way_to(path: &Path) -> io::Result<(Vec<PathBuf>, PathBuf)> {
    let mut links = Vec::new();
    let mut at = if path.is_absolute() { PathBuf::from("/") } else { std::env::current_dir()? };
    let mut rest: VecDeque<OsString> = parts(path).collect();
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        match fs::symlink_metadata(&next) {
            Err(_) => break,
            Ok(found) if found.is_symlink() && next.starts_with("/proc") => break,
            Ok(found) if found.is_symlink() && links.len() == MOST => break,
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                parts(&target).rev().for_each(|part| rest.push_front(part));
                links.push(next);
            }
            Ok(_) => at = next,
        }
    }
    Ok((links, at))
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_that_leads_out_of_its_directory_is_told_from_others() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| folder.path().join(name);
        for (target, name, leads_out) in [
            ("../victim", "up", true),
            ("below/../../victim", "down-and-up", true),
            ("up", "twice", true),
            ("below/victim", "down", false),
            ("below/../victim", "beside", false),
            ("/dev/null", "absolute", false),
            ("circle", "circle", false),
        ] {
            symlink(target, path(name)).expect("a link");
            assert_eq!(super::leads_out(&path(name)).is_some(), leads_out, "{target}");
        }
        for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/null"] {
            assert_eq!(super::leads_out(Path::new(name)), None, "{name}");
        }
        assert_eq!(super::leads_out(&path("nothing")), None);
    }

    #[test]
    fn a_link_that_a_task_may_have_made_is_found_wherever_it_is_on_the_way() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let root = folder.path().canonicalize().expect("it is there");
        for directory in ["granted/below", "users"] {
            fs::create_dir_all(root.join(directory)).expect("made");
        }
        fs::write(root.join("users/victim"), "").expect("written");
        symlink("../users/victim", root.join("granted/file")).expect("a link");
        symlink("../users", root.join("granted/directory")).expect("a link");
        symlink("../../users/new", root.join("granted/below/dangling")).expect("a link");
        symlink(root.join("granted"), root.join("users/by-user")).expect("a link");
        symlink("victim", root.join("users/latest")).expect("a link");
        symlink("circle", root.join("granted/circle")).expect("a link");
        let granted = |writable: bool| {
            let host = root.join("granted");
            Writable::of(writable.then_some(host.as_path()))
        };
        for (path, link) in [
            ("granted/file", Some("granted/file")),
            ("granted/directory/new", Some("granted/directory")),
            ("granted/below/../directory/x", Some("granted/directory")),
            ("granted/below/dangling", Some("granted/below/dangling")),
            ("users/by-user/file", Some("granted/file")),
            ("granted/circle", Some("granted/circle")),
            ("granted/new", None),
            ("users/by-user/new", None),
            ("users/latest", None),
            ("users/victim", None),
            ("nowhere/at/all", None),
        ] {
            let found = granted(true).link_to(&root.join(path));
            assert_eq!(found, link.map(|link| root.join(link)), "{path}");
            assert_eq!(granted(false).link_to(&root.join(path)), None);
        }
        assert_eq!(granted(true).link_to(Path::new("/dev/stdout")), None);
    }
}
