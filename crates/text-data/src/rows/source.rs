//! The text of a file: unpacked where it is gzip, as UTF-8 where it is UTF-16.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use super::{open_file, unreadable};
use crate::error::DataError;

/// What a file may unpack to, whatever its size, in bytes.
const UNPACKED_BYTES: u64 = 256 << 20;
/// What a file may unpack to, as a multiple of its own size. Records pack to a tenth, seldom to a fiftieth.
const UNPACKED_TIMES: u64 = 200;

/// First bytes of files that hold no text, what such a file is, and what to do with it.
const NO_TEXT: [(&[u8], &str, &str); 11] = [
    (b"PAR1", "a Parquet file", "unpack it if it is packed, and name it .parquet"),
    (b"ARROW1", "an Arrow file", "write it as Parquet, which `datasets` does with to_parquet"),
    (b"\xff\xff\xff\xff", "an Arrow stream", "write it as Parquet, which `datasets` does with to_parquet"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", "unpack it with `zstd -d`, or pack it with gzip"),
    (b"\xfd7zXZ\0", "packed with xz", "unpack it with `xz -d`, or pack it with gzip"),
    (b"BZh", "packed with bzip2", "unpack it with `bzip2 -d`, or pack it with gzip"),
    (b"PK\x03\x04", "a zip archive or an Excel table", "unpack it, or save the table as CSV"),
    (b"\x04\x22\x4d\x18", "packed with lz4", "unpack it with `lz4 -d`, or pack it with gzip"),
    (b"SQLite format 3\0", "an SQLite database", "write its table as CSV or JSON lines"),
    (b"\xff\xfe\0\0", "UTF-32 text", "save it as UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32 text", "save it as UTF-8"),
];

/// Opens `path` as UTF-8 text.
///
/// # Errors
/// [`DataError::NotFound`], [`DataError::Unreadable`]; [`DataError::NoText`] for a file that holds none.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>, DataError> {
    let file = open_file(path)?;
    let packed_bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let mut reader: Box<dyn BufRead> = Box::new(BufReader::new(file));
    if reader.fill_buf().map_err(unreadable(path))?.starts_with(b"\x1f\x8b") {
        let limit = UNPACKED_BYTES.max(packed_bytes.saturating_mul(UNPACKED_TIMES));
        let inner = MultiGzDecoder::new(reader);
        reader = Box::new(BufReader::new(Unpacked { inner, left: limit, limit }));
    }
    let start = reader.fill_buf().map_err(unreadable(path))?;
    let no_text = NO_TEXT.iter().find(|(magic, ..)| start.starts_with(magic));
    let no_text = no_text.map(|(_, found, way_out)| (*found, *way_out));
    let is_tar = start.get(257..262) == Some(b"ustar");
    let no_text = no_text.or(is_tar.then_some(("a tar archive", "unpack it")));
    if let Some((found, way_out)) = no_text {
        return Err(DataError::NoText { path: path.to_owned(), found, way_out });
    }
    let Some((big_endian, mark)) = utf_16(start) else { return Ok(reader) };
    reader.consume(mark);
    Ok(Box::new(BufReader::new(FromUtf16 { inner: reader, big_endian, text: Vec::new(), written: 0 })))
}

/// Whether the text that begins so is UTF-16: whether its greater byte comes first, and bytes of the mark that says so.
/// Without a mark it is told by the zeros in every other byte of its first characters.
fn utf_16(start: &[u8]) -> Option<(bool, usize)> {
    match start {
        [0xff, 0xfe, ..] => Some((false, 2)),
        [0xfe, 0xff, ..] => Some((true, 2)),
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => Some((false, 0)),
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => Some((true, 0)),
        _ => None,
    }
}

/// Damage of a file's bytes, as the cause of an error of reading.
#[derive(Debug)]
pub(super) struct Damage {
    /// The name of what the bytes should be, such as `gzip`.
    pub(super) format: &'static str,
    reason: String,
}

impl Damage {
    fn error(format: &'static str, reason: impl Into<String>) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self { format, reason: reason.into() })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.reason)
    }
}

impl std::error::Error for Damage {}

/// What is unpacked, up to a limit: a few bytes may unpack to more than any disk holds.
struct Unpacked<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Damage::error("gzip", "it ends too early"),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Damage::error("gzip", format!("it is damaged ({error})"))
            }
            _ => error,
        })?;
        let Some(left) = self.left.checked_sub(read as u64) else {
            let reason = format!(
                "it unpacks to more than {} MiB, {UNPACKED_TIMES} times its size or more; unpack it first if it is meant so",
                self.limit >> 20
            );
            return Err(Damage::error("gzip", reason));
        };
        self.left = left;
        Ok(read)
    }
}

/// UTF-16 as UTF-8.
struct FromUtf16<R> {
    inner: R,
    big_endian: bool,
    /// Text that was read, of which `written` bytes were given on.
    text: Vec<u8>,
    written: usize,
}

impl<R: BufRead> FromUtf16<R> {
    fn unit(&mut self) -> io::Result<Option<u16>> {
        let mut bytes = [0; 2];
        for (index, slot) in bytes.iter_mut().enumerate() {
            let Some(byte) = self.inner.fill_buf()?.first().copied() else {
                if index == 0 {
                    return Ok(None);
                }
                return Err(Damage::error("UTF-16", "it ends in the middle of a character"));
            };
            *slot = byte;
            self.inner.consume(1);
        }
        Ok(Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }))
    }

    fn character(&mut self) -> io::Result<Option<char>> {
        let Some(first) = self.unit()? else { return Ok(None) };
        let mut units = vec![first];
        if (0xd800..0xdc00).contains(&first) {
            units.extend(self.unit()?);
        }
        match char::decode_utf16(units).next() {
            Some(Ok(character)) => Ok(Some(character)),
            _ => Err(Damage::error("UTF-16", format!("it holds half of a surrogate pair, {first:04x}"))),
        }
    }
}

impl<R: BufRead> Read for FromUtf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.written == self.text.len() {
            self.text.clear();
            self.written = 0;
            while self.text.len() < 4096 {
                let Some(character) = self.character()? else { break };
                self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        let given = buffer.len().min(self.text.len() - self.written);
        buffer[..given].copy_from_slice(&self.text[self.written..self.written + given]);
        self.written += given;
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn read(bytes: &[u8]) -> Result<String, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        let mut text = String::new();
        open(&path)?.read_to_string(&mut text).map_err(unreadable(&path))?;
        Ok(text)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn utf_16(text: &str, big_endian: bool) -> Vec<u8> {
        text.encode_utf16()
            .flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() })
            .collect()
    }

    #[test]
    fn gzip_is_unpacked_whatever_the_name_and_in_parts() {
        assert_eq!(read(&gzip(b"one")).unwrap(), "one");
        assert_eq!(read(&[gzip(b"one"), gzip(b" two")].concat()).unwrap(), "one two");
        assert_eq!(read(&gzip(&utf_16("\u{feff}{é😀", false))).unwrap(), "{é😀");
    }

    #[test]
    fn utf_16_is_told_by_its_mark_or_its_zeros() {
        let long = "{\"ä\": \"😀\"}\n".repeat(3000);
        for big_endian in [false, true] {
            for text in ["\u{feff}{\"a\"", "{\"a\"", long.as_str()] {
                assert_eq!(read(&utf_16(text, big_endian)).unwrap(), text.trim_start_matches('\u{feff}'));
            }
        }
        let half = read(&[0xff, 0xfe, b'{', 0, 0x3d, 0xd8]).unwrap_err().to_string();
        assert!(half.contains("cannot be read as UTF-16: it holds half of a surrogate pair, d83d"), "{half}");
        let odd = read(&[0xff, 0xfe, b'{', 0, b'a']).unwrap_err().to_string();
        assert!(odd.contains("ends in the middle"), "{odd}");
    }

    #[test]
    fn what_unpacks_to_far_too_much_or_is_damaged_is_an_error() {
        let bomb = gzip(&vec![b' '; (UNPACKED_BYTES + 1) as usize]);
        let error = read(&bomb).unwrap_err().to_string();
        assert!(error.contains("as gzip: it unpacks to more than 256 MiB"), "{error}");
        let whole = gzip(&b"one two three four".repeat(50));
        let cut = read(&whole[..whole.len() - 12]).unwrap_err().to_string();
        assert!(cut.contains("as gzip: it ends too early"), "{cut}");
        let mut damaged = whole;
        for byte in damaged.iter_mut().skip(12).take(8) {
            *byte ^= 0x55;
        }
        assert!(read(&damaged).unwrap_err().to_string().contains("as gzip: it "));
    }

    #[test]
    fn what_is_no_text_is_named() {
        for (magic, found, _) in NO_TEXT {
            let error = read(&[magic, b" and what follows"].concat()).unwrap_err().to_string();
            assert!(error.ends_with(&format!("is {found}")), "{error}");
        }
        assert!(read(&gzip(b"PAR1....")).unwrap_err().to_string().ends_with("is a Parquet file"));
    }
}
