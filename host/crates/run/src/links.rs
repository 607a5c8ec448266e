//! Detects links that a task may have made on the way to a file that the host is about to write.
//!
//! A task that is granted a directory for writing can put a link into it, in this run or an earlier one,
//! where the user later has something written. The host must not follow it: it may write where the task may not.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

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

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if a directory is one of these.
    pub fn contains(&self, directory: FileId) -> bool {
        self.0.contains(&directory)
    }

    /// Returns true if a directory, whose path must have no links, is one of these or lies below one.
    pub fn holds(&self, directory: &Path) -> bool {
        holding(directory, &self.0).is_some()
    }

    /// Returns the first link on the way to `path` that lies in one of these directories.
    pub fn link_to(&self, path: &Path) -> Option<PathBuf> {
        let links = if self.0.is_empty() { Vec::new() } else { links_to(path).unwrap_or_default() };
        links.into_iter().find(|link| link.parent().is_some_and(|directory| self.holds(directory)))
    }
}

/// Returns the first link on the way to `path` that a task may have left there in an earlier run, in a directory that is
/// not granted now: one whose target is relative and leads above the directory that it lies in.
///
/// A task makes no other links that lead out of what it is granted: WASI refuses absolute targets. The way is followed
/// step by step, since a link may lead out by another one. These links are somebody else's: absolute ones, those in a
/// directory that this user may not write to, and those above the directory in which the user's shell is.
pub fn leads_out(path: &Path) -> Option<PathBuf> {
    let (mut at, rest) = start_of(path)?;
    // Each part of the way with the link that it comes from.
    let mut rest: VecDeque<(OsString, Option<Rc<RelativeLink>>)> = parts(&rest).map(|part| (part, None)).collect();
    let mut passed: Option<Rc<RelativeLink>> = None;
    let mut count = 0;
    while let Some((part, of)) = rest.pop_front() {
        if part == ".." {
            at.pop();
            // What follows a link in the user's own path goes on from where the link has led.
            match of.as_ref().or(passed.as_ref()) {
                Some(link) if !at.starts_with(&link.directory) => return Some(link.directory.join(&link.name)),
                _ => continue,
            }
        }
        let next = at.join(&part);
        match fs::symlink_metadata(&next) {
            Err(_) => return None,
            Ok(found) if found.is_symlink() && (next.starts_with("/proc") || count == MOST) => return None,
            Ok(found) if found.is_symlink() => {
                count += 1;
                let target = fs::read_link(&next).ok()?;
                let mut link = None;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                } else if access(&at, AccessFlags::W_OK).is_ok() {
                    link = Some(Rc::new(RelativeLink { directory: at.clone(), name: part }));
                    passed = passed.or_else(|| link.clone());
                }
                parts(&target).rev().for_each(|part| rest.push_front((part, link.clone())));
            }
            Ok(_) => at = next,
        }
    }
    None
}

/// A link with a relative target, in a directory that this user may write to.
struct RelativeLink {
    directory: PathBuf,
    name: OsString,
}

/// Returns where the way to a path starts, without links, and the rest of the path. Links on the way to the directory in
/// which the user's shell is are not looked at: the user has followed them.
fn start_of(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let current = std::env::current_dir().ok()?;
    if !path.is_absolute() {
        return Some((current, path.to_owned()));
    }
    let shell = std::env::var_os("PWD").map(PathBuf::from).filter(|shell| {
        let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        let id = |path: &Path| fs::metadata(path).ok().map(|found| FileId::of(&found));
        shell.is_absolute()
            && shell.components().all(is_plain)
            && id(shell).is_some_and(|shell| id(&current) == Some(shell))
    });
    match shell.and_then(|shell| path.strip_prefix(shell).ok().map(Path::to_owned)) {
        Some(rest) => Some((current, rest)),
        None => Some((PathBuf::from("/"), path.to_owned())),
    }
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

/// Returns the parts of a path that lead somewhere.
pub fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
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
        for (target, name) in [
            ("../", "up"),
            ("below/../../victim", "down-and-up"),
            ("up", "twice"),
            ("below/victim", "down"),
            ("below/../victim", "beside"),
            ("/dev/null", "absolute"),
            ("circle", "circle"),
            ("real/below", "into"),
            ("into/../beside", "along"),
            (".", "here"),
        ] {
            symlink(target, path(name)).expect("a link");
        }
        fs::create_dir_all(path("real/below")).expect("made");
        fs::create_dir_all(path("below")).expect("made");
        symlink(path("real"), path("to-directory")).expect("a link");
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        symlink(elsewhere.path(), path("away")).expect("a link");
        symlink("away/../victim", path("by-absolute")).expect("a link");
        for (name, leads_out) in [
            ("up", true),
            ("up/victim", true),
            ("down-and-up", true),
            ("twice", true),
            ("twice/victim", true),
            ("real/../up/x", true),
            ("down", false),
            ("beside", false),
            ("absolute", false),
            ("circle", false),
            ("into/new", false),
            ("along", false),
            ("here/../victim", true),
            ("by-absolute", true),
            ("to-directory/below/new", false),
            ("to-directory/../new", false),
        ] {
            assert_eq!(super::leads_out(&path(name)).is_some(), leads_out, "{name}");
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
