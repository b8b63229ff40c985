//! An allocator for one thread: blocks in a row, and all of the memory again
//! when the last block is given back, which is after each replay.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const SIZE: usize = 32 << 20;

#[repr(align(16))]
struct Bytes(UnsafeCell<[u8; SIZE]>);

// Loads and stores only: the smallest machines have no more of the atomics, and
// one thread needs no more.
struct Row {
    bytes: Bytes,
    /// Where the next block may start.
    next: AtomicUsize,
    /// How many blocks are in use.
    live: AtomicUsize,
}

// SAFETY: there is one thread.
unsafe impl Sync for Row {}

#[global_allocator]
static ROW: Row = Row {
    bytes: Bytes(UnsafeCell::new([0; SIZE])),
    next: AtomicUsize::new(0),
    live: AtomicUsize::new(0),
};

impl Row {
    fn start(&self) -> *mut u8 {
        self.bytes.0.get().cast()
    }

    /// Whether the block is the last one.
    fn is_last(&self, block: *mut u8, layout: Layout) -> bool {
        block.addr() + layout.size() == self.start().addr() + self.next.load(Relaxed)
    }
}

// SAFETY: blocks lie in `bytes`, aligned, and no two that are in use overlap:
// each starts where the one before ends or later, only the last one grows or
// shrinks, and only memory behind the last one, or that of none, is used again.
unsafe impl GlobalAlloc for Row {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let next = self.start().wrapping_add(self.next.load(Relaxed));
        let start = self.next.load(Relaxed) + next.align_offset(layout.align());
        let Some(end) = start.checked_add(layout.size()).filter(|&end| end <= SIZE) else {
            return null_mut();
        };
        self.next.store(end, Relaxed);
        self.live.store(self.live.load(Relaxed) + 1, Relaxed);
        self.start().wrapping_add(start)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let live = self.live.load(Relaxed) - 1;
        self.live.store(live, Relaxed);
        if live == 0 {
            self.next.store(0, Relaxed);
        } else if self.is_last(block, layout) {
            self.next.store(block.addr() - self.start().addr(), Relaxed);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if self.is_last(block, layout) {
            let start = block.addr() - self.start().addr();
            if let Some(end) = start.checked_add(size).filter(|&end| end <= SIZE) {
                self.next.store(end, Relaxed);
                return block;
            }
            return null_mut();
        }
        // SAFETY: the caller's promises; the new block is another one, and both
        // have what is copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            new
        }
    }
}
