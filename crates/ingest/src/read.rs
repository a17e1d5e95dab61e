//! Bytes of a file on their way to a parser: hashed as they lie on the disk, decompressed, and decoded to UTF-8.
//!
//! Nothing here holds more than a window of the file: [`Window`] grows to the longest record, and a record is bounded.

use crate::error::IngestError;
use crate::list::{Compression, InputFile};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use pelton_base::Digest;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::rc::Rc;
use xxhash_rust::xxh3::Xxh3;

/// The longest record, in bytes of UTF-8: a line without end, or a quote that is never closed, must not fill the memory.
pub(crate) const RECORD_BYTES_MAX: usize = 16 << 20;

/// How much a window reads at first; it doubles while a record is longer.
const WINDOW_BYTES: usize = 256 << 10;

/// How much is decoded at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// A byte that no UTF-8 text contains: it stands where the file's bytes are not text of its encoding, so that the record around
/// it, and no other, is found to be unreadable.
const NOT_TEXT: u8 = 0xFF;

/// The digest of a file's raw bytes, without reading more of it than a chunk at a time.
pub fn digest_file(file: &InputFile) -> Result<Digest, IngestError> {
    let raw = Raw::open(file)?;
    raw.rest().map_err(|error| IngestError::read(file, error))
}

/// An open file whose bytes are hashed as they pass.
#[derive(Clone)]
pub(crate) struct Raw(Rc<RefCell<(Box<dyn Read>, Xxh3)>>);

impl Raw {
    /// Opens a file.
    pub(crate) fn open(file: &InputFile) -> Result<Self, IngestError> {
        let opened: Box<dyn Read> = match &file.text {
            Some(text) => Box::new(io::Cursor::new(text.as_bytes().to_vec())),
            None => Box::new(File::open(&file.absolute).map_err(|error| IngestError::read(file, error))?),
        };
        Ok(Raw(Rc::new(RefCell::new((opened, Xxh3::new())))))
    }

    /// Reads to the end and gives the digest of all bytes that passed.
    pub(crate) fn rest(mut self) -> io::Result<Digest> {
        let mut chunk = vec![0; CHUNK_BYTES];
        while self.read(&mut chunk)? > 0 {}
        let digest = self.0.borrow().1.digest128();
        Ok(Digest(digest))
    }
}

impl Read for Raw {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (file, hasher) = &mut *self.0.borrow_mut();
        let count = file.read(into)?;
        hasher.update(&into[..count]);
        Ok(count)
    }
}

/// A file's decompressed bytes, and the raw file to take the digest from at the end.
pub(crate) fn decompressed(file: &InputFile) -> Result<(Box<dyn Read>, Raw), IngestError> {
    let raw = Raw::open(file)?;
    let bytes: Box<dyn Read> = match file.compression {
        Compression::None => Box::new(raw.clone()),
        // Archives that were appended to have several members; all of them are the file.
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(raw.clone())),
        Compression::Zstd => {
            Box::new(zstd::stream::read::Decoder::new(raw.clone()).map_err(|error| IngestError::read(file, error))?)
        }
    };
    Ok((bytes, raw))
}

/// A file's text as UTF-8, where bytes that are not text of the encoding stand out as invalid UTF-8. A byte order mark is taken
/// off, and decides when it contradicts `encoding`.
pub(crate) fn text(file: &InputFile, encoding: &'static Encoding) -> Result<(Window, Raw), IngestError> {
    let (mut bytes, raw) = decompressed(file)?;
    let mut head = Vec::with_capacity(3);
    // A byte order mark has at most three bytes.
    while head.len() < 3 {
        let mut byte = [0];
        match bytes.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => head.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(IngestError::read(file, error)),
        }
    }
    let (encoding, mark) = Encoding::for_bom(&head).unwrap_or((encoding, 0));
    head.drain(..mark);
    let input = io::Cursor::new(head).chain(bytes);
    let input: Box<dyn Read> = if encoding == UTF_8 {
        Box::new(input)
    } else {
        Box::new(Transcoder {
            input,
            decoder: encoding.new_decoder_without_bom_handling(),
            text: Vec::new(),
            at: 0,
            ended: false,
        })
    };
    Ok((Window { input, buffer: Vec::new(), start: 0, end: 0, ended: false }, raw))
}

/// The encoding of a label of the WHATWG standard; `None` when there is none, or when it is one that the standard refuses to decode.
pub(crate) fn encoding(label: &str) -> Option<&'static Encoding> {
    let found = Encoding::for_label_no_replacement(label.as_bytes());
    // "utf-16" alone means little-endian in the standard; names in capitals and with `_` are common in settings.
    found.or_else(|| match label.to_ascii_lowercase().replace('_', "-").as_str() {
        "utf-16-le" => Some(UTF_16LE),
        "utf-16-be" => Some(UTF_16BE),
        other => Encoding::for_label_no_replacement(other.as_bytes()),
    })
}

/// Decodes to UTF-8 while reading.
struct Transcoder<R> {
    input: R,
    decoder: Decoder,
    text: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read> Transcoder<R> {
    fn decode_more(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let count = self.input.read(&mut chunk)?;
        self.ended = count == 0;
        let mut source = &chunk[..count];
        self.text.clear();
        self.at = 0;
        loop {
            let room = self.decoder.max_utf8_buffer_length_without_replacement(source.len()).unwrap_or(CHUNK_BYTES * 4);
            let filled = self.text.len();
            self.text.resize(filled + room, 0);
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(source, &mut self.text[filled..], self.ended);
            self.text.truncate(filled + written);
            source = &source[read..];
            match result {
                DecoderResult::InputEmpty => return Ok(()),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(_, _) => self.text.push(NOT_TEXT),
            }
        }
    }
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() {
            if self.ended {
                return Ok(0);
            }
            self.decode_more()?;
        }
        let count = into.len().min(self.text.len() - self.at);
        into[..count].copy_from_slice(&self.text[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// The part of a text that a parser looks at: grows to a whole record, and moves on by record.
pub(crate) struct Window {
    input: Box<dyn Read>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
}

impl Window {
    /// What was read and not consumed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether [`Window::bytes`] reach to the end of the file.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Moves on by `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "no more is consumed than there is");
    }

    /// Whether the window is as long as a record may be.
    pub(crate) fn is_full(&self) -> bool {
        self.end - self.start >= RECORD_BYTES_MAX
    }

    /// Reads until the window is full, doubling it when a single record fills it already, so that a record that is looked at
    /// again after each call is looked at a logarithmic number of times.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < WINDOW_BYTES {
            self.buffer.resize(WINDOW_BYTES, 0);
        } else if self.end * 2 > self.buffer.len() {
            let length = (self.buffer.len() * 2).min(RECORD_BYTES_MAX);
            self.buffer.resize(length.max(self.buffer.len()), 0);
        }
        while self.end < self.buffer.len() && !self.ended {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Drops everything up to and with the next line end; gives the number of bytes dropped. For lines too long to look at.
    pub(crate) fn skip_line(&mut self, line_end: u8) -> io::Result<u64> {
        let mut dropped = 0;
        loop {
            if let Some(at) = memchr::memchr(line_end, self.bytes()) {
                self.consume(at + 1);
                return Ok(dropped + at as u64 + 1);
            }
            dropped += self.bytes().len() as u64;
            self.consume(self.bytes().len());
            if self.ended {
                return Ok(dropped);
            }
            self.fill()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_encodings_are_forgiving_in_spelling_alone() {
        assert_eq!(encoding("utf-8"), Some(UTF_8));
        assert_eq!(encoding("UTF-16LE"), Some(UTF_16LE));
        assert_eq!(encoding("utf_16_be"), Some(UTF_16BE));
        assert_eq!(encoding("latin1"), Some(encoding_rs::WINDOWS_1252));
        assert_eq!(encoding("utf-9"), None);
        assert_eq!(encoding("iso-2022-kr"), None);
    }
}
