//! Segment files: a magic, then frames of length, checksum and payload, appended and never changed.
//!
//! ```text
//! 8 bytes  "PELLOG" 0 1
//! frames   u32 length (little endian) | u32 checksum: the low half of XXH3-64 of the payload | payload
//! ```
//!
//! A process that was killed leaves at most one frame unfinished, at the end: its prediction was never answered, so it is
//! dropped. A frame that is whole but not what its checksum says is damage.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// How a segment begins; the last byte is the format's number.
pub(crate) const MAGIC: &[u8; 8] = b"PELLOG\0\x01";

/// No record is longer: a frame that claims to be is damage, not a reason to allocate.
const RECORD_BYTES_MAX: u32 = 256 << 20;

/// Records on their way to a segment, framed.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    pub(super) rows: usize,
}

impl Frames {
    /// Adds the record that `write` appends.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let head = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 8]);
        write(&mut self.bytes);
        let payload = &self.bytes[head + 8..];
        let length = u32::try_from(payload.len()).expect("a record comes from a request, whose size is limited");
        let checksum = checksum(payload);
        self.bytes[head..head + 4].copy_from_slice(&length.to_le_bytes());
        self.bytes[head + 4..head + 8].copy_from_slice(&checksum.to_le_bytes());
        self.rows += 1;
    }

    /// The frames as they are written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn checksum(payload: &[u8]) -> u32 {
    (xxh3_64(payload) & u64::from(u32::MAX)) as u32
}

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With its last record.
    Whole,
    /// With a record that was not finished.
    Torn,
    /// With bytes that are not what was written, from this offset on.
    Damaged(u64),
}

/// Reads a segment's records in order, until `each` says that it has seen enough by giving `false`.
pub(crate) fn read(path: &Path, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<End> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut magic = [0; 8];
    let got = fill(&mut file, &mut magic)?;
    if magic[..got] != MAGIC[..got] {
        return Ok(End::Damaged(0));
    }
    if got < magic.len() {
        return Ok(if got == 0 { End::Whole } else { End::Torn });
    }
    let mut offset = MAGIC.len() as u64;
    let mut payload = Vec::new();
    loop {
        let mut head = [0; 8];
        match fill(&mut file, &mut head)? {
            0 => return Ok(End::Whole),
            8 => {}
            _ => return Ok(End::Torn),
        }
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if length == 0 || length > RECORD_BYTES_MAX {
            return Ok(End::Damaged(offset));
        }
        payload.resize(length as usize, 0);
        if fill(&mut file, &mut payload)? < payload.len() {
            return Ok(End::Torn);
        }
        if checksum(&payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Ok(End::Damaged(offset));
        }
        if !each(&payload) {
            return Ok(End::Whole);
        }
        offset += 8 + u64::from(length);
    }
}

/// Reads until `buffer` is full or the file ends; gives how much was read.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < buffer.len() {
        match file.read(&mut buffer[at..]) {
            Ok(0) => break,
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}
