//! Small files are written together: every increment leaves a file or more, and a table of thousands of them is slow to plan, to read and
//! to record.
//!
//! By size in tiers: files of a tier are written together when there are many of them, and what comes of them belongs to a higher tier.
//! So a row is written again at most about once a tier, whatever the number of increments. Only files that the version before had are
//! taken: what comes of them has the same rows, which is noted, so that tables that read this one see that nothing changed.

use super::{Packed, Rows, Stop, Work, base};
use pelton_base::{Digest, Report, thousands};
use pelton_project::Build;
use pelton_query::{Catalog, DataFile, sql};
use std::collections::BTreeSet;

/// Files of this size and larger stay as they are: a quarter of the size at which files are cut.
pub(crate) const SMALL_BYTES_MAX: u64 = 16 << 20;

/// The sizes below which files belong to a tier. In the first, what a file costs whatever is in it outweighs its rows; the others are
/// narrower than `FILES_MAX`, so that as many files of one make a file of the next.
const TIERS: [u64; 3] = [64 << 10, 1 << 20, SMALL_BYTES_MAX];

/// The files of a tier from which on they are written together.
const FILES_MAX: usize = 32;

/// What is written together at once; what is left waits for the next increment.
const BYTES_MAX: u64 = 1 << 30;

const FILES: &str = "pelton_files";

/// The files to be written together.
fn groups(files: &[DataFile]) -> Vec<Vec<DataFile>> {
    let tier_of = |file: &DataFile| TIERS.iter().position(|below| file.bytes < *below);
    let tiers = (0..TIERS.len()).map(|tier| files.iter().filter(move |file| tier_of(file) == Some(tier)));
    let tiers = tiers.filter(|files| files.clone().count() >= FILES_MAX);
    tiers
        .map(|files| {
            let mut bytes = 0;
            let fits = |file: &&DataFile| {
                bytes += file.bytes;
                bytes <= BYTES_MAX
            };
            files.take_while(fits).cloned().collect()
        })
        .collect()
}

/// Writes small files of the version before together, where the increment left many.
pub(super) async fn small_files(work: &Work<'_>, mut rows: Rows) -> Result<Rows, Stop> {
    let staged: BTreeSet<&str> = rows.staged.iter().map(|file| file.path.as_str()).collect();
    let kept: Vec<DataFile> = rows.files.iter().filter(|file| !staged.contains(file.path.as_str())).cloned().collect();
    // What left no file made it no worse, and may turn out to be what was there before.
    let groups = if staged.is_empty() { Vec::new() } else { groups(&kept) };
    let mut count = 0;
    for (at, group) in groups.iter().enumerate() {
        count += group.len();
        work.building.progress(&work.node.name, format!("writing {} small files together", group.len()));
        match together(work, at, group).await {
            Ok(files) => {
                let paths = |files: &[DataFile]| files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
                let (from, into) = (paths(group), paths(&files));
                let gone: BTreeSet<&String> = from.iter().collect();
                rows.files.retain(|file| !gone.contains(&file.path));
                rows.files.extend(files.iter().cloned());
                rows.staged.extend(files);
                if let Some(memory) = &mut rows.memory {
                    memory.packed.push(Packed { from, into });
                }
            }
            Err(stop) => {
                base::discard(work, &rows.staged);
                return Err(stop);
            }
        }
    }
    if let Some(how) = rows.how.as_mut().filter(|_| count > 0) {
        how.push_str(&format!(", {} files written together", thousands(count as u64)));
    }
    Ok(rows)
}

/// Writes files as few; they are read and hashed as a whole anyway, so it is made sure that they have the rows that they had.
async fn together(work: &Work<'_>, at: usize, files: &[DataFile]) -> Result<Vec<DataFile>, Stop> {
    let catalog = Catalog::default().with(FILES, work.relation(files));
    let order: Vec<&str> = match work.table.build {
        Build::Merge | Build::History => work.table.increment.key.iter().map(|key| key.value.as_str()).collect(),
        _ => work.table.time.iter().map(|time| time.value.as_str()).collect(),
    };
    // In an order that makes the ranges of files narrow, where there will be several.
    let order = if order.is_empty() { String::new() } else { format!(" order by {}", sql::idents(order)) };
    let packed = work.stage(&catalog, &format!("select * from {FILES}{order}"), &format!("-packed{at}")).await?;
    let is_same = |files: &[DataFile]| {
        let digest = files.iter().filter_map(|file| file.rows_digest).fold(Digest::default(), Digest::plus);
        (files.iter().map(|file| file.rows).sum::<u64>(), digest)
    };
    if is_same(files) != is_same(&packed) {
        base::discard(work, &packed);
        let message = format!("{}: its files do not have the rows that they were written with", work.subject());
        return Err(Report::error("damaged-table", message).note("nothing was published").hint("pelton verify").into());
    }
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: impl IntoIterator<Item = u64>) -> Vec<DataFile> {
        let file = |(at, bytes)| DataFile {
            path: format!("{at}"),
            bytes,
            rows: 1,
            stats: None,
            rows_digest: None,
            digest: None,
        };
        sizes.into_iter().enumerate().map(file).collect()
    }

    #[test]
    fn many_files_of_a_size_are_written_together() {
        assert!(groups(&files([1000; FILES_MAX - 1])).is_empty());
        let mixed = [1000; FILES_MAX - 1].into_iter().chain([100_000; FILES_MAX - 1]).chain([2_000_000; FILES_MAX - 1]);
        assert!(groups(&files(mixed.chain([SMALL_BYTES_MAX; 100]))).is_empty());
        let many = [1000; FILES_MAX].into_iter().chain([100_000; FILES_MAX - 1]).chain([2_000_000; 40]);
        let sizes: Vec<(usize, u64)> = groups(&files(many)).iter().map(|group| (group.len(), group[0].bytes)).collect();
        assert_eq!(sizes, [(FILES_MAX, 1000), (40, 2_000_000)]);
        assert_eq!(groups(&files([SMALL_BYTES_MAX - 1; 200]))[0].len(), 64);
    }

    #[test]
    fn the_work_and_the_number_of_files_stay_bounded_whatever_the_number_of_increments() {
        for bytes_each in [1_500u64, 40_000, 300_000] {
            let (mut sizes, mut written, mut most) = (Vec::new(), 0u64, 0);
            let steps = 10_000u64;
            for _ in 0..steps {
                let all = files(sizes.iter().copied());
                let groups = groups(&all);
                let packed: BTreeSet<&str> = groups.iter().flatten().map(|file| file.path.as_str()).collect();
                let mut left: Vec<u64> =
                    all.iter().filter(|file| !packed.contains(file.path.as_str())).map(|file| file.bytes).collect();
                for group in &groups {
                    let bytes: u64 = group.iter().map(|file| file.bytes).sum();
                    written += bytes;
                    // Files are cut at 64 MiB.
                    left.extend((0..bytes / (64 << 20)).map(|_| 64 << 20));
                    left.push(bytes % (64 << 20));
                }
                left.push(bytes_each);
                most = most.max(left.iter().filter(|bytes| **bytes < SMALL_BYTES_MAX).count());
                sizes = left;
            }
            assert!(most <= TIERS.len() * FILES_MAX + 4, "{most} files of {bytes_each}");
            assert!(written <= 6 * steps * bytes_each, "{written} bytes for {} of {bytes_each}", steps * bytes_each);
        }
    }
}
