//! Where a file lies, and which it is, whatever it is called.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Tells a file or directory from all others, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(u64, u64);

impl FileId {
    pub fn of(metadata: &Metadata) -> FileId {
        FileId(metadata.dev(), metadata.ino())
    }
}

/// Returns the directory that a file is in, as its path says.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the path of a file by which `x` and `./x` are the same: the last part may be a link, and no other is.
pub fn canonical_name(path: &Path) -> Option<PathBuf> {
    Some(directory_of(path).canonicalize().ok()?.join(path.file_name()?))
}

/// A file on a disk, whatever it is called.
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

/// How much of a target is whole: so many bytes, which have this hash, so that neither another file nor one that was changed
/// is taken for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    pub bytes: u64,
    pub hash: [u8; 32],
}

/// Makes sure that a file that was made is found in its directory again.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}
