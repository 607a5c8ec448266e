//! Formats of files by their first bytes, for whoever is given a file in place of a text or of a task. What to do with each, they
//! say themselves.

/// The first bytes of gzip.
pub const GZIP: &[u8] = b"\x1f\x8b";
/// The first bytes of a frame of zstd.
pub const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    Lz4,
    /// Also that of spreadsheets, and of many packages.
    Zip,
    EmptyZip,
    SevenZip,
    Tar,
    Parquet,
    Sqlite,
    Elf,
    Windows,
    MacOs,
    /// A Java class, or a program for several processors of macOS.
    JavaClass,
    Bitcode,
    ObjectArchive,
    Image,
    Pdf,
    LfsPointer,
    Script,
}

const FORMATS: [(&[u8], FileFormat); 23] = [
    (GZIP, FileFormat::Gzip),
    (ZSTD, FileFormat::Zstd),
    (b"\xfd7zXZ\0", FileFormat::Xz),
    (b"\x04\x22\x4d\x18", FileFormat::Lz4),
    (b"PK\x03\x04", FileFormat::Zip),
    (b"PK\x05\x06", FileFormat::EmptyZip),
    (b"7z\xbc\xaf\x27\x1c", FileFormat::SevenZip),
    (b"PAR1", FileFormat::Parquet),
    (b"SQLite format 3\0", FileFormat::Sqlite),
    (b"\x7fELF", FileFormat::Elf),
    (b"MZ", FileFormat::Windows),
    (b"\xcf\xfa\xed\xfe", FileFormat::MacOs),
    (b"\xce\xfa\xed\xfe", FileFormat::MacOs),
    (b"\xca\xfe\xba\xbe", FileFormat::JavaClass),
    (b"BC\xc0\xde", FileFormat::Bitcode),
    (b"!<arch>\n", FileFormat::ObjectArchive),
    (b"\x89PNG", FileFormat::Image),
    (b"\xff\xd8\xff", FileFormat::Image),
    (b"GIF8", FileFormat::Image),
    (b"%PDF", FileFormat::Pdf),
    (b"version https://git-lfs.github.com/spec/", FileFormat::LfsPointer),
    (b"#!", FileFormat::Script),
    // Of any size of blocks: a digit stands between.
    (b"BZh", FileFormat::Bzip2),
];
/// What follows the size of blocks in bzip2.
const BZIP2_BLOCK: &[u8] = b"1AY&SY";
/// Place of what tells a tar archive, and what it is.
const TAR: (usize, &[u8]) = (257, b"ustar");

impl FileFormat {
    /// Returns the format of a file that begins like this. Some of the marks can begin a text, too.
    pub fn of(begin: &[u8]) -> Option<FileFormat> {
        let is_bzip2 = || begin.get(3).is_some_and(u8::is_ascii_digit) && begin[4..].starts_with(BZIP2_BLOCK);
        let known = FORMATS.iter().find(|(mark, _)| begin.starts_with(mark)).map(|(_, format)| *format);
        let known = known.filter(|format| *format != FileFormat::Bzip2 || is_bzip2());
        let is_tar = || begin.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1));
        known.or_else(|| is_tar().then_some(FileFormat::Tar))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_first_bytes() {
        let mut tar = vec![0; 300];
        tar[257..262].copy_from_slice(b"ustar");
        for (begin, wanted) in [
            (&b"\x1f\x8b\x08\0"[..], Some(FileFormat::Gzip)),
            (b"BZh91AY&SY", Some(FileFormat::Bzip2)),
            (b"BZh11AY&SY", Some(FileFormat::Bzip2)),
            (b"BZh9", None),
            (b"BZhang,1", None),
            (b"PAR1\x15", Some(FileFormat::Parquet)),
            (&tar, Some(FileFormat::Tar)),
            (b"", None),
            (b"id,name\n", None),
        ] {
            assert_eq!(FileFormat::of(begin), wanted, "{begin:?}");
        }
    }
}
