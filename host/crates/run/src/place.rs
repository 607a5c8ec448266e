//! The directory and the identity of a file, independent of its name.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The identity of a file or directory, independent of its name: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(u64, u64);

impl FileId {
    pub fn of(metadata: &Metadata) -> FileId {
        FileId(metadata.dev(), metadata.ino())
    }
}

/// Returns the directory part of a file's path.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns a path of the file that is the same for `x` and `./x`: the last part may be a link, and no other is.
pub fn canonical_name(path: &Path) -> Option<PathBuf> {
    Some(directory_of(path).canonicalize().ok()?.join(path.file_name()?))
}

/// The identity of a file on a disk, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SameFile(FileId);

impl SameFile {
    pub fn of(file: &File) -> Option<SameFile> {
        file.metadata().ok().as_ref().and_then(SameFile::of_metadata)
    }

    pub fn of_metadata(metadata: &Metadata) -> Option<SameFile> {
        metadata.is_file().then(|| SameFile(FileId::of(metadata)))
    }
}

/// The part of a target that is complete: its number of bytes and their hash, so that neither another file nor a
/// changed one is taken for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileExtent {
    pub bytes: u64,
    pub hash: [u8; 32],
}

/// Syncs the directory of a file that was made, so that the file is found again: the one in which it is, whatever links
/// lead there. A file that has no path any more has none, and neither do some file systems sync directories.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let Ok(real) = path.canonicalize() else {
        return Ok(());
    };
    match File::open(directory_of(&real)).and_then(|directory| directory.sync_all()) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        // Whoever was handed an open file may have no right to its directory.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied && real != path => Ok(()),
        synced => synced,
    }
}
