//! Inputs that are compressed with gzip or zstd, which their first bytes tell. They are decompressed as they are read.

use std::fmt::{self, Debug, Formatter};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use flate2::bufread::GzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use wasmpool_core::magic::{GZIP, ZSTD};

/// Compressed bytes of one read.
const BLOCK: usize = 128 << 10;
/// What follows the first bytes of gzip: the only method that there is.
const DEFLATED: u8 = 8;
/// The first bytes of a frame of zstd that holds no data, but for half of the first.
const SKIPPED: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

/// A way in which an input is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// Returns the compression of an input that begins with these bytes, if it is compressed.
    pub fn of(begin: &[u8]) -> Option<Compression> {
        match begin {
            _ if begin.strip_prefix(GZIP).and_then(<[u8]>::first) == Some(&DEFLATED) => Some(Compression::Gzip),
            _ if begin.starts_with(ZSTD) => Some(Compression::Zstd),
            [first, rest @ ..] if first & 0xf0 == SKIPPED[0] && rest.starts_with(&SKIPPED[1..]) => {
                Some(Compression::Zstd)
            }
            _ => None,
        }
    }

    /// Returns true if more must be read to know.
    pub fn is_unsure(begin: &[u8]) -> bool {
        let first = begin.first().map(|first| first & 0xf0);
        let skipped = first == Some(SKIPPED[0]) && is_begun(&SKIPPED[1..], &begin[1..]);
        is_begun(GZIP, begin) || begin == GZIP || is_begun(ZSTD, begin) || skipped
    }

    fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }
}

fn is_begun(mark: &[u8], begin: &[u8]) -> bool {
    begin.len() < mark.len() && mark.starts_with(begin)
}

/// Decompresses what `source` yields, of which the first bytes were already read.
pub struct DecompressedInput {
    compression: Compression,
    decoder: Decoder,
    state: Arc<AtomicU8>,
}

/// What became of the source: it can be read, was read to its end, or cannot be read.
const READABLE: u8 = 0;
const ENDED: u8 = 1;
const FAILED: u8 = 2;

type Source = BufReader<io::Chain<io::Cursor<Vec<u8>>, WatchedSource>>;

/// A source that says what became of it.
struct WatchedSource {
    source: Box<dyn Read + Send>,
    state: Arc<AtomicU8>,
}

enum Decoder {
    /// Within a member of gzip.
    Member(Box<GzDecoder<Source>>),
    /// In front of a member of gzip, or at the end; true if zeros were read, which pad the last block of a tape.
    Between(Source, bool),
    /// Frames of zstd; true if one is being decoded.
    Frames(Source, Box<FrameDecoder>, bool),
    /// The end, or an error.
    Ended,
}

impl DecompressedInput {
    pub fn new(compression: Compression, begin: Vec<u8>, source: Box<dyn Read + Send>) -> DecompressedInput {
        let state = Arc::new(AtomicU8::new(READABLE));
        let source = WatchedSource { source, state: state.clone() };
        let source = BufReader::with_capacity(BLOCK, io::Cursor::new(begin).chain(source));
        let decoder = match compression {
            Compression::Gzip => Decoder::Between(source, false),
            Compression::Zstd => Decoder::Frames(source, Box::new(FrameDecoder::new()), false),
        };
        DecompressedInput { compression, decoder, state }
    }

    /// Reads decompressed bytes; 0 at the end.
    ///
    /// # Errors
    ///
    /// Says that the compressed data breaks off, or is damaged, unless it cannot be read at all.
    pub fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(to);
        read.map_err(|e| {
            self.decoder = Decoder::Ended;
            let name = self.compression.name();
            match self.state.load(Ordering::Relaxed) {
                FAILED => e,
                ENDED => io::Error::other(format!("its {name} data breaks off; is the file truncated?")),
                _ => io::Error::other(format!("its {name} data is damaged: {e}")),
            }
        })
    }
}

impl Debug for DecompressedInput {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecompressedInput").field("compression", &self.compression).finish_non_exhaustive()
    }
}

impl Decoder {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            *self = match std::mem::replace(self, Decoder::Ended) {
                Decoder::Member(mut member) => match member.read(to)? {
                    0 => Decoder::Between(member.into_inner(), false),
                    count => {
                        *self = Decoder::Member(member);
                        return Ok(count);
                    }
                },
                Decoder::Between(mut source, padded) => {
                    let bytes = source.fill_buf()?;
                    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                    match bytes.first() {
                        None => return Ok(0),
                        Some(0) => {
                            source.consume(zeros);
                            Decoder::Between(source, true)
                        }
                        Some(first) if *first == GZIP[0] && !padded => {
                            Decoder::Member(Box::new(GzDecoder::new(source)))
                        }
                        Some(_) => return Err(io::Error::other("something else follows it")),
                    }
                }
                Decoder::Frames(mut source, mut frame, within) => {
                    let next = if within { frame_part(&mut source, &mut frame, to)? } else { None };
                    match next {
                        Some(count) => {
                            *self = Decoder::Frames(source, frame, true);
                            return Ok(count);
                        }
                        None if source.fill_buf()?.is_empty() => return Ok(0),
                        None => {
                            let within = begin_frame(&mut source, &mut frame)?;
                            Decoder::Frames(source, frame, within)
                        }
                    }
                }
                Decoder::Ended => return Ok(0),
            };
        }
    }
}

/// Begins the next frame of zstd. Returns false for one without data, which is skipped.
fn begin_frame(source: &mut Source, frame: &mut FrameDecoder) -> io::Result<bool> {
    match frame.reset(&mut *source) {
        Ok(()) => Ok(true),
        Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
            let length = u64::from(length);
            match io::copy(&mut source.take(length), &mut io::sink())? == length {
                true => Ok(false),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::BadMagicNumber(_))) => {
            Err(io::Error::other("something else follows it"))
        }
        Err(e) => Err(io::Error::other(e)),
    }
}

/// Reads from a frame of zstd. Returns `None` at its end.
fn frame_part(source: &mut Source, frame: &mut FrameDecoder, to: &mut [u8]) -> io::Result<Option<usize>> {
    while frame.can_collect() == 0 {
        if frame.is_finished() {
            let (told, found) = (frame.get_checksum_from_data(), frame.get_calculated_checksum());
            return match told.is_some() && told != found {
                true => Err(io::Error::other("its checksum does not match")),
                false => Ok(None),
            };
        }
        frame.decode_blocks(&mut *source, BlockDecodingStrategy::UptoBlocks(1)).map_err(io::Error::other)?;
    }
    frame.read(to).map(Some)
}

impl Read for WatchedSource {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(to);
        match &read {
            Ok(0) => self.state.store(ENDED, Ordering::Relaxed),
            Ok(_) => {}
            Err(_) => self.state.store(FAILED, Ordering::Relaxed),
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).and_then(|()| encoder.finish()).expect("memory can be written")
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    /// Yields bytes in pieces of this size.
    struct InPieces(Vec<u8>, usize, usize);

    impl Read for InPieces {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(to.len()).min(self.0.len() - self.2);
            to[..count].copy_from_slice(&self.0[self.2..self.2 + count]);
            self.2 += count;
            Ok(count)
        }
    }

    fn read(compressed: &[u8], piece: usize, asked: usize) -> Result<Vec<u8>, String> {
        let compression = Compression::of(compressed).expect("it is compressed");
        let (begin, rest) = compressed.split_at(4);
        let source = InPieces(rest.to_vec(), piece, 0);
        let mut input = DecompressedInput::new(compression, begin.to_vec(), Box::new(source));
        let (mut all, mut part) = (Vec::new(), vec![0; asked]);
        loop {
            match input.read(&mut part).map_err(|e| e.to_string())? {
                0 => return Ok(all),
                count => all.extend_from_slice(&part[..count]),
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_compressed_in_any_number_of_parts_is_read_as_it_was(
            texts in proptest::collection::vec("[a-f\n]{0,300}", 1..4), piece in 1..99usize, asked in 1..99usize,
        ) {
            for compress in [gzip, zstd] {
                let compressed: Vec<u8> = texts.iter().flat_map(|text| compress(text.as_bytes())).collect();
                prop_assert_eq!(read(&compressed, piece, asked), Ok(texts.concat().into_bytes()));
            }
        }

        #[test]
        fn data_that_breaks_off_is_never_taken_for_all_there_is(text in "[a-z\n]{1,300}", at in any::<prop::sample::Index>()) {
            for (compress, name) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstd, "zstd")] {
                let compressed = compress(text.as_bytes());
                let whole = 4 + at.index(compressed.len() - 4);
                let said = format!("its {name} data breaks off; is the file truncated?");
                prop_assert_eq!(read(&compressed[..whole], 64, 64), Err(said));
            }
        }
    }

    #[test]
    fn damage_is_told_from_padding_and_from_frames_without_data() {
        let text = b"one\ntwo\n".repeat(100);
        let padded = [gzip(&text), vec![0; 700]].concat();
        assert_eq!(read(&padded, 64, 64).as_ref(), Ok(&text));
        let skipped = [&b"\x5a\x2a\x4d\x18\x03\0\0\0abc"[..], &zstd(&text)].concat();
        assert_eq!(read(&skipped, 64, 64).as_ref(), Ok(&text));
        let followed = [gzip(&text), b"plain".to_vec()].concat();
        assert!(read(&followed, 64, 64).is_err_and(|e| e.contains("something else follows it")));
        let followed = [zstd(&text), gzip(&text)].concat();
        let said = read(&followed, 64, 64).expect_err("two compressions");
        assert!(said.contains("something else follows it") && !said.contains("Magic"), "{said}");
        let mut damaged = gzip(&text);
        let checksum = damaged.len() - 6;
        damaged[checksum] ^= 1;
        assert!(read(&damaged, 64, 64).is_err_and(|e| e.starts_with("its gzip data is damaged")));
    }

    #[test]
    fn what_is_compressed_is_told_by_as_few_bytes_as_it_takes() {
        for (begin, unsure, wanted) in [
            (&b""[..], true, None),
            (b"{", false, None),
            (b"\x1f\x8b", true, None),
            (b"\x1f\x8b\x08", false, Some(Compression::Gzip)),
            (b"\x1f\x8b\x07", false, None),
            (b"(", true, None),
            (b"(1)\n", false, None),
            (b"\x28\xb5\x2f\xfd", false, Some(Compression::Zstd)),
            (b"P", true, None),
            (b"P\n", false, None),
            (b"\x5f\x2a\x4d\x18", false, Some(Compression::Zstd)),
        ] {
            assert_eq!(Compression::is_unsure(begin), unsure, "{begin:?}");
            assert_eq!(Compression::of(begin), wanted, "{begin:?}");
        }
    }
}
