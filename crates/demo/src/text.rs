//! Bytes of the data files: numbers, times and ids formatted straight into a buffer, and the file behind it.

use crate::calendar::{DAY, civil};
use crate::{DemoError, WrittenFile};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// A buffer is written out when it holds this many bytes, so that memory does not grow with the file.
const BUFFER_BYTES: usize = 1 << 20;

/// A data file under construction: append to `line`, then call [`Sink::end_line`].
pub(crate) struct Sink {
    file: File,
    written: WrittenFile,
    /// What is not in the file yet.
    pub(crate) buffer: Vec<u8>,
}

impl Sink {
    /// Creates the file at `path`, relative to `folder`, and the folders above it.
    pub(crate) fn create(folder: &Path, path: &str) -> Result<Self, DemoError> {
        let full = folder.join(path);
        let failed = |source| DemoError::Write { path: path.to_string(), source };
        if let Some(parent) = full.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let file = File::create_new(&full).map_err(failed)?;
        let written = WrittenFile { path: path.to_string(), lines: 0, bytes: 0 };
        Ok(Sink { file, written, buffer: Vec::with_capacity(BUFFER_BYTES + 4_096) })
    }

    /// Ends a line, and writes the buffer when it is full.
    pub(crate) fn end_line(&mut self) -> Result<(), DemoError> {
        self.buffer.push(b'\n');
        self.written.lines += 1;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), DemoError> {
        self.written.bytes += self.buffer.len() as u64;
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|source| DemoError::Write { path: self.written.path.clone(), source })
    }

    /// Writes what is left and says what the file became.
    pub(crate) fn finish(mut self) -> Result<WrittenFile, DemoError> {
        self.flush()?;
        Ok(self.written)
    }
}

/// Appends a number.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    push_padded(out, number, 1);
}

/// Appends a number with zeros in front, up to `width` digits.
pub(crate) fn push_padded(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let first = at.min(digits.len() - width);
    out.extend_from_slice(&digits[first..]);
}

/// Appends cents as an amount with two decimals after `point`.
pub(crate) fn push_amount(out: &mut Vec<u8>, cents: i64, point: u8) {
    let cents = cents.unsigned_abs();
    push_number(out, cents / 100);
    out.push(point);
    push_padded(out, cents % 100, 2);
}

/// Appends seconds since 1970 as `2025-03-01T12:00:00Z`.
pub(crate) fn push_time(out: &mut Vec<u8>, at: i64) {
    let (year, month, day) = civil(at.div_euclid(DAY));
    let second = at.rem_euclid(DAY) as u64;
    push_padded(out, year as u64, 4);
    for (before, part) in [
        (b'-', month as u64),
        (b'-', day as u64),
        (b'T', second / 3_600),
        (b':', second / 60 % 60),
        (b':', second % 60),
    ] {
        out.push(before);
        push_padded(out, part, 2);
    }
    out.push(b'Z');
}

/// Appends a device's id: `d` and twelve hexadecimal digits.
pub(crate) fn push_device(out: &mut Vec<u8>, device: u64) {
    out.push(b'd');
    for shift in (16..64).step_by(4).rev() {
        out.push(b"0123456789abcdef"[(device >> shift) as usize & 15]);
    }
}

/// Appends a merchant's id: `m` and six digits.
pub(crate) fn push_merchant(out: &mut Vec<u8>, merchant: u64) {
    out.push(b'm');
    push_padded(out, merchant + 1, 6);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_read_as_people_write_them() {
        assert_eq!(text(|out| push_number(out, 0)), "0");
        assert_eq!(text(|out| push_number(out, u64::MAX)), u64::MAX.to_string());
        assert_eq!(text(|out| push_amount(out, 1_205, b'.')), "12.05");
        assert_eq!(text(|out| push_amount(out, 7, b',')), "0,07");
        assert_eq!(text(|out| push_time(out, 1_735_689_599)), "2024-12-31T23:59:59Z");
        assert_eq!(text(|out| push_device(out, 0x0123_4567_89AB_CDEF)), "d0123456789ab");
        assert_eq!(text(|out| push_merchant(out, 41)), "m000042");
    }
}
