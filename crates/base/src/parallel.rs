//! Work on many items by several threads, with the answers in the items' order: what comes out does not depend on the threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// As much as the main thread has: SQL is read by recursion.
const STACK_BYTES: usize = 8 << 20;

/// How many items a thread takes at a time: few enough that no thread waits long for the last one, enough that taking costs nothing.
const TAKEN: usize = 8;

/// Applies `answer` to every item on at most `threads` threads (0 means one a core); gives the answers in the order of the items.
///
/// A few items are done here and now. A panic of `answer` is passed on.
pub fn map<T: Sync, R: Send>(items: &[T], threads: usize, answer: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = match threads {
        0 => thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        threads => threads,
    };
    let threads = threads.min(items.len().div_ceil(TAKEN));
    if threads < 2 {
        return items.iter().map(answer).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut answers = Vec::new();
        loop {
            let from = next.fetch_add(TAKEN, Ordering::Relaxed);
            if from >= items.len() {
                return answers;
            }
            let until = items.len().min(from + TAKEN);
            answers.extend((from..until).map(|at| (at, answer(&items[at]))));
        }
    };
    let mut answers: Vec<(usize, R)> = thread::scope(|scope| {
        // Without a thread more the ones that are there do its part.
        let spawned: Vec<_> = (1..threads)
            .filter_map(|_| thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).ok())
            .collect();
        let mut answers = work();
        for thread in spawned {
            match thread.join() {
                Ok(more) => answers.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        answers
    });
    answers.sort_unstable_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_items_at_any_number_of_threads() {
        for count in [0, 1, 7, 8, 9, 1_000] {
            let items: Vec<usize> = (0..count).collect();
            let expected: Vec<usize> = items.iter().map(|item| item * 3).collect();
            for threads in [0, 1, 2, 3, 16] {
                assert_eq!(map(&items, threads, |item| item * 3), expected, "{count} items, {threads} threads");
            }
        }
    }

    #[test]
    fn a_panic_is_passed_on() {
        let items: Vec<usize> = (0..100).collect();
        let caught = std::panic::catch_unwind(|| map(&items, 2, |item| assert_ne!(*item, 60, "the sixtieth")));
        assert!(caught.is_err());
    }
}
