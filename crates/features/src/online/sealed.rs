//! A file with a digest of itself at its end, and redb's view of the part before it.

use pelton_base::Digest;
use pelton_base::fail::{self, Point};
use redb::StorageBackend;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use xxhash_rust::xxh3::Xxh3Default;

/// What every trailer begins with.
const MAGIC: &[u8; 16] = b"pelton-online-1\n";

/// Magic, then the digest.
const TRAILER_BYTES: u64 = 32;

/// The piece in which a file is read to compute its digest.
const PIECE_BYTES: usize = 1 << 20;

/// Appends the trailer to the file at `partial`, syncs it and puts it in its place at `path`.
pub(super) fn seal(partial: &Path, path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).open(partial)?;
    let bytes = file.metadata()?.len();
    let digest = digest_of(&file, bytes)?;
    file.write_all(MAGIC)?;
    file.write_all(&digest.0.to_le_bytes())?;
    file.sync_all()?;
    fail::before(Point::OnlinePlace)?;
    fs::rename(partial, path)?;
    // The rename itself must survive a power cut.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Opens a sealed file and reads it once; the inner error says why it is not what was written.
pub(super) fn open(path: &Path) -> io::Result<Result<Sealed, &'static str>> {
    let file = File::open(path)?;
    let Some(bytes) = file.metadata()?.len().checked_sub(TRAILER_BYTES) else { return Ok(Err("it is too short")) };
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.read_exact_at(&mut trailer, bytes)?;
    let (magic, digest) = trailer.split_at(MAGIC.len());
    if magic != MAGIC {
        return Ok(Err("it is no online store, or a part of one"));
    }
    if digest != digest_of(&file, bytes)?.0.to_le_bytes() {
        return Ok(Err("its bytes are not what was written"));
    }
    Ok(Ok(Sealed { file, bytes }))
}

fn digest_of(file: &File, bytes: u64) -> io::Result<Digest> {
    let mut hash = Xxh3Default::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < bytes {
        let wanted = PIECE_BYTES.min((bytes - at) as usize);
        file.read_exact_at(&mut piece[..wanted], at)?;
        hash.update(&piece[..wanted]);
        at += wanted as u64;
    }
    Ok(Digest(hash.digest128()))
}

/// The part of a sealed file before its trailer, to be read only.
#[derive(Debug)]
pub(super) struct Sealed {
    file: File,
    bytes: u64,
}

fn refused() -> io::Error {
    io::ErrorKind::ReadOnlyFilesystem.into()
}

impl StorageBackend for Sealed {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, _: u64) -> Result<(), io::Error> {
        Err(refused())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8]) -> Result<(), io::Error> {
        Err(refused())
    }
}
