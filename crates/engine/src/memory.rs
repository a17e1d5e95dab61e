//! [`Pool`]: shares out a query's memory so that sorts leave room for what comes after them.
//!
//! A sort that has spilled takes as much memory for merging its files as it can get, and holds it until its last row. What merges the sorts of
//! several threads needs some too, and cannot spill. DataFusion's own pools have no room for it then, and the query fails although everything
//! that is large in it is on disk. Here every sort has an equal part of five eighths of the memory for what it collects, and as much for what it
//! merges; what else can spill has an equal part of the whole, as in DataFusion's `FairSpillPool`; what cannot may take what is left.

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use std::fmt::{self, Display};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The part of the memory that sorts may have, in eighths.
const SORTS_EIGHTHS: usize = 5;

/// A pool of memory with a limit.
#[derive(Debug)]
pub(crate) struct Pool {
    bytes: usize,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// How many consumers can spill, sorts that collect among them.
    spillers: usize,
    /// How many sorts there are: what merges is there from the first row to the last, what collects is gone before the first one leaves.
    sorts: usize,
    /// Bytes of those that can spill, and of those that cannot.
    spillable: usize,
    fixed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    /// A sort that collects rows, and writes them to a file when there are too many.
    Sort,
    /// A sort that merges what it collected. It takes more files together when it has more memory.
    Merge,
    Spiller,
    Other,
}

impl Who {
    fn is(consumer: &MemoryConsumer) -> Who {
        match consumer.name() {
            name if name.starts_with("ExternalSorter[") => Who::Sort,
            name if name.starts_with("ExternalSorterMerge[") => Who::Merge,
            _ if consumer.can_spill() => Who::Spiller,
            _ => Who::Other,
        }
    }
}

impl Pool {
    pub(crate) fn new(bytes: usize) -> Self {
        Pool { bytes, shared: Mutex::default() }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a consumer may have at most.
    fn part(&self, shared: &Shared, who: Who, has: usize) -> usize {
        let of_sort = self.bytes / 8 * SORTS_EIGHTHS / shared.sorts.max(1);
        let of_spiller = self.bytes.saturating_sub(shared.fixed) / shared.spillers.max(1);
        let left = self.bytes.saturating_sub(shared.fixed + shared.spillable);
        match who {
            Who::Sort => of_sort.min(of_spiller),
            Who::Merge => of_sort.min(has + left),
            Who::Spiller => of_spiller,
            Who::Other => has + left,
        }
    }
}

impl Shared {
    fn bytes_of(&mut self, consumer: &MemoryConsumer) -> &mut usize {
        if consumer.can_spill() { &mut self.spillable } else { &mut self.fixed }
    }
}

impl MemoryPool for Pool {
    fn name(&self) -> &'static str {
        "pelton"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        let mut shared = self.shared();
        shared.spillers += usize::from(consumer.can_spill());
        shared.sorts += usize::from(Who::is(consumer) == Who::Merge);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut shared = self.shared();
        shared.spillers -= usize::from(consumer.can_spill());
        shared.sorts -= usize::from(Who::is(consumer) == Who::Merge);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.shared().bytes_of(reservation.consumer()) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        *self.shared().bytes_of(reservation.consumer()) -= shrink;
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let consumer = reservation.consumer();
        let mut shared = self.shared();
        let part = self.part(&shared, Who::is(consumer), reservation.size());
        if reservation.size() + additional > part {
            let message = format!(
                "allocation failed for {} with {} bytes, which may have {part} of {} and asked for {additional} more",
                consumer.name(),
                reservation.size(),
                self.bytes
            );
            return Err(DataFusionError::ResourcesExhausted(message));
        }
        *shared.bytes_of(consumer) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let shared = self.shared();
        shared.spillable + shared.fixed
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

impl Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}
