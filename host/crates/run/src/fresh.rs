//! Files and directories that are made before it is known whether the run will take place.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::place::FileId;

/// A file that this process made and that nobody has written to. It is removed when this is dropped, so that a run that
/// is refused leaves nothing behind.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    id: FileId,
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Somebody may have replaced the file, or written something into it.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| FileId::of(&found) == self.id && found.len() == 0) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl NewFile {
    /// Keeps the file.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

/// A directory that is about to be made. It is removed when this is dropped, if it is empty.
#[derive(Debug)]
pub struct FreshDirectory(Option<PathBuf>);

impl FreshDirectory {
    /// Remembers the path, if there is one and nothing exists there yet.
    pub fn of(path: Option<&Path>) -> FreshDirectory {
        FreshDirectory(path.filter(|path| fs::symlink_metadata(path).is_err()).map(Path::to_owned))
    }

    /// Keeps the directory.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for FreshDirectory {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Opens a file with these options, and makes it if it does not exist.
pub fn open_or_make(options: &OpenOptions, path: &Path) -> io::Result<(File, Option<NewFile>)> {
    loop {
        match options.clone().open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            opened => return opened.map(|file| (file, None)),
        }
        match options.clone().create_new(true).open(path) {
            // Somebody else made it just now, or it is a link to a file that does not exist.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.exists() => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return options.clone().create(true).open(path).map(|file| (file, None));
            }
            made => {
                let file = made?;
                let id = FileId::of(&file.metadata()?);
                return Ok((file, Some(NewFile { path: path.to_owned(), id })));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_a_directory_that_was_made_here_and_is_empty_is_removed_again() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("results");
        let make = || {
            let made = FreshDirectory::of(Some(&path));
            fs::create_dir_all(&path).expect("it is made");
            made
        };
        drop(make());
        assert!(!path.exists());
        make().keep();
        drop(make());
        assert!(path.exists());
        fs::remove_dir(&path).expect("it is empty");
        let made = make();
        fs::write(path.join("0"), "x").expect("written");
        drop(made);
        assert!(path.exists());
        drop(FreshDirectory::of(None));
    }

    #[test]
    fn only_a_file_that_was_made_here_and_is_empty_is_removed_again() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("file");
        let mut options = File::options();
        options.write(true);
        drop(open_or_make(&options, &path).expect("it is made").1);
        assert!(!path.exists());

        let (mut file, fresh) = open_or_make(&options, &path).expect("it is made");
        file.write_all(b"x").expect("written");
        drop(fresh);
        assert!(path.exists());
        assert!(open_or_make(&options, &path).expect("it is there").1.is_none());

        fs::remove_file(&path).expect("removed");
        let (_, fresh) = open_or_make(&options, &path).expect("it is made");
        fs::rename(&path, folder.path().join("moved")).expect("moved");
        fs::write(&path, "").expect("another");
        drop(fresh);
        assert!(path.exists());

        fs::remove_file(&path).expect("removed");
        let (_, fresh) = open_or_make(&options, &path).expect("it is made");
        fresh.expect("new").keep();
        assert!(path.exists());
    }
}
