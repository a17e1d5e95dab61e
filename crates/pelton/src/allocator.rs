//! The allocator: mimalloc. Rows, strings and scalars come and go by the million.

#![expect(unsafe_code, reason = "an allocator is written in no other way")]

use libmimalloc_sys as mi;
use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_long;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// mimalloc, which is asked for an alignment only where it is another than that of every block: asking is the longer way.
struct Allocator;

/// The alignment of every block.
const ALIGN: usize = 8;

// Sound: mimalloc gives what `GlobalAlloc` asks of it, blocks of at least the size and the alignment, which stay where they are until they are
// freed; its blocks are multiples of a word of eight bytes, and begin at one.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        unsafe { if align <= ALIGN { mi::mi_malloc(size) } else { mi::mi_malloc_aligned(size, align) } }.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        unsafe { if align <= ALIGN { mi::mi_zalloc(size) } else { mi::mi_zalloc_aligned(size, align) } }.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        unsafe { mi::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (block, align) = (block.cast(), layout.align());
        unsafe { if align <= ALIGN { mi::mi_realloc(block, size) } else { mi::mi_realloc_aligned(block, size, align) } }
            .cast()
    }
}

/// How long freed memory is kept for what is allocated next, in milliseconds. With mimalloc's own 10 the demo gives most of its memory back
/// between batches, and takes two seconds to get it again.
const KEEP_FREED_MS: c_long = 1000;

/// `mi_option_purge_delay` of mimalloc.h, which the crate does not name.
const PURGE_DELAY: mi::mi_option_t = 15;

/// To be called before anything else runs.
pub(crate) fn keep_freed_memory() {
    // Sound: an option is a number that the allocator reads when it gives memory back.
    unsafe { mi::mi_option_set(PURGE_DELAY, KEEP_FREED_MS) }
}
