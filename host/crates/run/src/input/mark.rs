//! What the first bytes of an input say: the byte order mark that editors and spreadsheets put in front of a text, and formats
//! that are no text.

use wasmpool_core::magic::FileFormat;

/// The encoding that the text of an input must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextEncoding {
    /// UTF-8: a mark of any other encoding means that the text cannot be read.
    Utf8,
    /// UTF-8, or lines of any bytes.
    Lines,
    /// Any bytes: what looks like a mark is data.
    Bytes,
}

/// The byte order mark of UTF-8.
const UTF_8: &[u8] = b"\xef\xbb\xbf";

impl TextEncoding {
    /// Returns true if more must be read to decide what these first bytes mean.
    pub fn is_unsure(self, begin: &[u8]) -> bool {
        let marks: [&[u8]; 3] = [UTF_8, b"\xff\xfe\0\0", b"\xfe\xff\0\0"];
        self != TextEncoding::Bytes && marks.iter().any(|mark| begin.len() < mark.len() && is_begun(mark, begin))
    }

    /// Returns the length of the mark, or the name of the encoding that the text has instead.
    pub fn mark(self, begin: &[u8]) -> Result<usize, &'static str> {
        // The first character of a text is most likely ASCII, which has a zero byte in UTF-16.
        match (self, begin) {
            (TextEncoding::Bytes, _) => Ok(0),
            (_, [0xef, 0xbb, 0xbf, ..]) => Ok(UTF_8.len()),
            (_, [0xff, 0xfe, 0, 0, ..]) => Err("UTF-32"),
            (_, [0xff, 0xfe, _, 0, ..] | [0xfe, 0xff, 0, _, ..]) => Err("UTF-16"),
            (TextEncoding::Utf8, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) => Err("UTF-16"),
            // Neither JSON nor CSV has zero bytes.
            (TextEncoding::Utf8, [(1..), 0, (1..), 0, ..]) => Err("UTF-16LE"),
            (TextEncoding::Utf8, [0, (1..), 0, (1..), ..]) => Err("UTF-16BE"),
            _ => Ok(0),
        }
    }
}

/// A format that is not read: what the input is, and what makes it readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherFormat {
    pub what: &'static str,
    pub advice: &'static str,
}

impl OtherFormat {
    /// Returns what to say of a format that is not read, unless its first bytes could begin a text, too.
    fn of(format: FileFormat) -> Option<OtherFormat> {
        let (what, advice) = match format {
            FileFormat::Xz => ("compressed with xz", "xz -dc makes it readable"),
            FileFormat::Bzip2 => ("compressed with bzip2", "bzip2 -dc makes it readable"),
            FileFormat::Lz4 => ("compressed with lz4", "lz4 -dc makes it readable"),
            FileFormat::Zip => {
                ("a zip archive, as spreadsheets (.xlsx, .ods) are, too", "unzip it, or save the sheet as CSV")
            }
            FileFormat::Parquet => ("in the format Parquet", "convert it to CSV or JSON lines"),
            FileFormat::Sqlite => ("a database of SQLite", "sqlite3 -csv prints what is in it"),
            _ => return None,
        };
        Some(OtherFormat { what, advice })
    }
}

impl TextEncoding {
    /// Returns the format of an input that should be a text, but is none.
    pub fn other_format(self, begin: &[u8]) -> Option<OtherFormat> {
        // A line may begin with the four letters.
        let is_told = |format: &FileFormat| self == TextEncoding::Utf8 || *format != FileFormat::Parquet;
        FileFormat::of(begin).filter(is_told).and_then(OtherFormat::of)
    }
}

/// Returns true if these bytes may be the beginning of a mark. In UTF-16 the zero bytes count like a mark.
fn is_begun(mark: &[u8], begin: &[u8]) -> bool {
    let fixed = mark.iter().position(|byte| *byte == 0).unwrap_or(mark.len());
    mark[..fixed].starts_with(&begin[..fixed.min(begin.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_told_from_a_text_and_from_bytes() {
        use TextEncoding::{Bytes, Lines, Utf8};
        for (encoding, begin, wanted) in [
            (Utf8, &b"\xef\xbb\xbf1"[..], Ok(3)),
            (Lines, b"\xef\xbb\xbf", Ok(3)),
            (Bytes, b"\xef\xbb\xbf1", Ok(0)),
            (Utf8, b"\xff\xfe1\0", Err("UTF-16")),
            (Utf8, b"\xff\xfe\x3a\x4e", Err("UTF-16")),
            (Utf8, b"\xfe\xff\x0001", Err("UTF-16")),
            (Lines, b"\xff\xfea\0", Err("UTF-16")),
            (Lines, b"\xff\xfe\0\0", Err("UTF-32")),
            (Lines, b"\xff\xfe\nplain", Ok(0)),
            (Utf8, b"1\0\n\0", Err("UTF-16LE")),
            (Utf8, b"\x001\0\n", Err("UTF-16BE")),
            (Lines, b"1\0\n\0", Ok(0)),
            (Utf8, b"1\n", Ok(0)),
            (Utf8, b"", Ok(0)),
        ] {
            assert_eq!(encoding.mark(begin), wanted, "{encoding:?} {begin:?}");
        }
    }

    #[test]
    fn an_archive_is_known_whatever_it_is_read_as() {
        use TextEncoding::{Bytes, Lines, Utf8};
        for (begin, told) in [(&b"\xfd7zXZ\0"[..], [true; 3]), (b"PAR1", [true, false, false]), (b"a", [false; 3])] {
            assert_eq!([Utf8, Lines, Bytes].map(|encoding| encoding.other_format(begin).is_some()), told, "{begin:?}");
        }
    }

    #[test]
    fn more_is_waited_for_only_where_it_can_make_a_difference() {
        for (begin, unsure) in [
            (&b""[..], true),
            (b"1", false),
            (b"\xef", true),
            (b"\xef\xbb", true),
            (b"\xef\xbb\xbf", false),
            (b"\xefx", false),
            (b"\xff\xfe1", true),
            (b"\xff\xfe1\0", false),
        ] {
            assert_eq!(TextEncoding::Utf8.is_unsure(begin), unsure, "{begin:?}");
            assert!(!TextEncoding::Bytes.is_unsure(begin));
        }
    }
}
