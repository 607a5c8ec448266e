//! Opens inputs without following links by which a task could have other files read.
//!
//! A task that may write to a directory can replace a file in it that is an input by a link, while the run goes on. So no
//! link in such a directory is followed out of it, and the way is walked by descriptors: whatever is changed on the
//! way, nothing else is opened.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::links::{Writable, leads_out, parts};
use crate::place::FileId;
use wasmpool_core::setting::Setting;
use wasmpool_core::text::ForeignText;

/// Maximum number of links that are followed, as in the kernel.
const MOST: u32 = 40;
/// How a part of a path is looked at.
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// What is known of the links that tasks may make, for whoever opens inputs.
#[derive(Clone, Debug, Default)]
pub struct InputLinks(Arc<KnownLinks>);

#[derive(Debug, Default)]
struct KnownLinks {
    /// Directories that the task may write to in this run.
    granted: Writable,
    /// True if a link that an earlier run may have left is told of, once.
    tells: bool,
    told: AtomicBool,
}

/// A directory on the way.
#[derive(Debug)]
struct Step {
    directory: OwnedFd,
    /// The place on the way of the granted directory that this is, or lies in.
    granted: Option<usize>,
}

/// Where the way is.
struct Walk<'a> {
    granted: &'a Writable,
    steps: Vec<Step>,
    /// The path of the last step, for messages.
    at: PathBuf,
}

impl InputLinks {
    /// Makes it for a run whose task may write to these directories.
    pub fn new(granted: Writable, tells: bool) -> InputLinks {
        InputLinks(Arc::new(KnownLinks { granted, tells, told: AtomicBool::new(false) }))
    }

    /// Opens a file for reading.
    pub fn open(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
        let KnownLinks { granted, tells, told } = &*self.0;
        if granted.is_empty() && (!tells || told.load(Ordering::Relaxed)) {
            return plain(path, flags);
        }
        match retried(|| rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)) {
            // There are links on the way, or this kernel, or a container, does not have the call.
            Err(Errno::LOOP | Errno::NOSYS | Errno::PERM) => {}
            opened => return Ok(opened?.into()),
        }
        if !granted.is_empty() {
            return Walk::to(path, flags, granted);
        }
        if let Some(link) = leads_out(path).filter(|_| !told.swap(true, Ordering::Relaxed)) {
            tell!(
                "wasmpool: the input {} is read by the link {}, which leads out of its directory",
                ForeignText::of(path),
                ForeignText::of(&link)
            );
        }
        plain(path, flags)
    }
}

fn plain(path: &Path, flags: OFlags) -> io::Result<File> {
    Ok(retried(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))?.into())
}

fn retried<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

impl<'a> Walk<'a> {
    fn to(path: &Path, flags: OFlags, granted: &'a Writable) -> io::Result<File> {
        let root = rustix::fs::openat(CWD, "/", LOOK | OFlags::DIRECTORY, Mode::empty())?;
        let mut walk = Walk { granted, steps: Vec::new(), at: PathBuf::from("/") };
        walk.step_into(root, granted.holds(Path::new("/")))?;
        walk.open(&std::env::current_dir()?.join(path), flags)
    }

    fn open(&mut self, path: &Path, flags: OFlags) -> io::Result<File> {
        // Each part with the step that it must not leave, if it is of a link that a task may have made.
        let mut rest: VecDeque<(OsString, Option<usize>)> = parts(path).map(|part| (part, None)).collect();
        let (mut passed, mut links) = (None, 0);
        while let Some((part, floor)) = rest.pop_front() {
            if part == ".." {
                if self.steps.len() > 1 {
                    self.steps.pop();
                    self.at.pop();
                }
                match floor.or(passed) {
                    Some(floor) if self.steps.len() <= floor => return Err(self.refused()),
                    _ => continue,
                }
            }
            let top = self.steps.last().ok_or(Errno::NOENT)?;
            let found = retried(|| rustix::fs::openat(&top.directory, &*part, LOOK | OFlags::NOFOLLOW, Mode::empty()))?;
            let kind = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
            if kind == FileType::Symlink && self.at.starts_with("/proc") {
                // It leads to an open file rather than to a path, which is not a task's doing.
                let followed = if rest.is_empty() { flags } else { LOOK };
                let opened = retried(|| rustix::fs::openat(&top.directory, &*part, followed, Mode::empty()))?;
                if rest.is_empty() {
                    return Ok(opened.into());
                }
                self.begin_at(opened)?;
                continue;
            }
            if kind == FileType::Symlink {
                self.at.push(&part);
                links += 1;
                if links > MOST {
                    return Err(Errno::LOOP.into());
                }
                let target = retried(|| rustix::fs::readlinkat(&found, "", Vec::new()))?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                let floor = match top.granted {
                    Some(_) if target.is_absolute() => return Err(self.refused()),
                    granted => granted,
                };
                self.at.pop();
                if target.is_absolute() {
                    self.steps.truncate(1);
                    self.at = PathBuf::from("/");
                }
                passed = passed.or(floor);
                parts(&target).rev().for_each(|part| rest.push_front((part, floor)));
                continue;
            }
            if rest.is_empty() {
                // If it is a link by now, this fails.
                let last = flags | OFlags::NOFOLLOW;
                return Ok(retried(|| rustix::fs::openat(&top.directory, &*part, last, Mode::empty()))?.into());
            }
            if kind != FileType::Directory {
                return Err(Errno::NOTDIR.into());
            }
            self.at.push(&part);
            self.step_into(found, false)?;
        }
        let top = self.steps.last().ok_or(Errno::NOENT)?;
        Ok(retried(|| rustix::fs::openat(&top.directory, ".", flags, Mode::empty()))?.into())
    }

    /// Goes on from another directory than the last.
    fn begin_at(&mut self, directory: OwnedFd) -> io::Result<()> {
        let real = std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
        let is_within = self.granted.holds(&real);
        (self.steps, self.at) = (Vec::new(), real);
        self.step_into(directory, is_within)
    }

    fn step_into(&mut self, directory: OwnedFd, is_within: bool) -> io::Result<()> {
        let file = File::from(directory);
        let is_granted = is_within || self.granted.contains(FileId::of(&file.metadata()?));
        let here = is_granted.then_some(self.steps.len());
        let granted = self.steps.last().and_then(|above| above.granted).or(here);
        self.steps.push(Step { directory: file.into(), granted });
        Ok(())
    }

    fn refused(&self) -> io::Error {
        io::Error::other(format!(
            "it is reached by a link that leads out of a directory that the task may write to ({}), at {}",
            Setting::Dir,
            ForeignText::of(&self.at)
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_in_a_granted_directory_is_followed_within_it_and_not_out_of_it() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let root = folder.path().canonicalize().expect("it is there");
        for directory in ["granted/below", "users"] {
            fs::create_dir_all(root.join(directory)).expect("made");
        }
        fs::write(root.join("users/secret"), "secret").expect("written");
        fs::write(root.join("granted/below/file"), "file").expect("written");
        for (target, name) in [
            ("../users/secret", "granted/out"),
            ("../users", "granted/directory"),
            ("..", "granted/up"),
            ("up/users/secret", "granted/by-up"),
            (".", "granted/here"),
            ("below/file", "granted/in"),
            ("../in", "granted/below/back"),
            ("granted", "by-user"),
        ] {
            symlink(target, root.join(name)).expect("a link");
        }
        symlink(root.join("users/secret"), root.join("granted/absolute")).expect("a link");
        symlink(root.join("granted"), root.join("absolute")).expect("a link");
        let of = |granted: bool| {
            let host = root.join("granted");
            InputLinks::new(Writable::of(granted.then_some(host.as_path())), false)
        };
        let read = |granted: bool, name: &str| {
            let mut text = String::new();
            of(granted).open(&root.join(name), OFlags::empty())?.read_to_string(&mut text).map(|_| text)
        };
        for (name, content) in [
            ("granted/below/file", Some("file")),
            ("granted/in", Some("file")),
            ("granted/below/back", Some("file")),
            ("by-user/in", Some("file")),
            ("absolute/below/../in", Some("file")),
            ("by-user/../users/secret", Some("secret")),
            ("users/secret", Some("secret")),
            ("granted/out", None),
            ("granted/directory/secret", None),
            ("granted/by-up", None),
            ("granted/up/users/secret", None),
            ("granted/here/../users/secret", None),
            ("granted/absolute", None),
            ("by-user/out", None),
            ("nothing", None),
        ] {
            assert_eq!(read(true, name).ok().as_deref(), content, "{name}");
            if name != "nothing" {
                assert!(read(false, name).is_ok(), "{name}");
            }
        }
    }
}
