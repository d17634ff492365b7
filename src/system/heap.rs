//! The heap of a program that does one thing and ends.
//!
//! Blocks of sixteen bytes times a power of two, taken from one large mapping; what is larger than
//! 64 KiB is a mapping of its own. Listing the modules of a machine so costs one system call instead
//! of the dozens of musl's allocator, which returns every few pages to the kernel and asks for them again.
//!
//! What goes out of use is not taken back: the process ends soon, and so none of the places where
//! a list or a text goes out of use needs code for it, which was a tenth of the program. A list that
//! outgrows its block leaves the old one for others, so that growing costs what it holds. Whoever
//! needs memory for each of thousands of files uses one buffer for all of them.

use crate::error::{Called, Errno};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use rustix::mm::{MapFlags, MremapFlags, ProtFlags};

/// The smallest block, and the alignment of all.
const SMALLEST: usize = 16;
/// How many sizes of blocks there are: 16 bytes to 64 KiB.
const SIZES: usize = 13;
/// What is asked from the kernel at once; pages that nobody touches cost nothing.
const CHUNK: usize = 1 << 17;

/// The state: what is left of the chunk, and the blocks that were given back.
struct State {
    next: usize,
    end: usize,
    free: [*mut Link; SIZES],
}

/// What is in a block that was given back.
struct Link {
    next: *mut Link,
}

/// An allocator, by reference: the one that the program names as its own can be asked here, too.
pub struct Heap {
    state: UnsafeCell<State>,
}

/// The program's.
pub static HEAP: Heap = Heap::new();

/// What a step needs that must not end half-way: names and messages, not tables.
const RESERVE: usize = 1 << 15;

/// Makes sure of memory for a step that must not end half-way.
///
/// # Errors
/// The kernel has none.
pub fn reserve() -> Called<()> {
    match HEAP.has(RESERVE) {
        true => Ok(()),
        false => Err(Errno::NOMEM),
    }
}

#[allow(unsafe_code)]
// SAFETY: limopack starts no thread, so nobody else is in here at the same time.
unsafe impl Sync for Heap {}

impl Heap {
    /// A heap that has asked for nothing yet.
    const fn new() -> Self {
        Heap {
            state: UnsafeCell::new(State {
                next: 0,
                end: 0,
                free: [null_mut(); SIZES],
            }),
        }
    }
}

/// Which size of block a layout needs; `None` for a mapping of its own.
fn size_class(layout: &Layout) -> Option<usize> {
    let size = layout.size().max(SMALLEST);
    if layout.align() > SMALLEST || size > SMALLEST << (SIZES - 1) {
        return None;
    }
    Some((size.next_power_of_two() / SMALLEST).trailing_zeros() as usize)
}

/// Memory of zeros from the kernel; null if it has none.
#[allow(unsafe_code)]
fn map(size: usize) -> *mut u8 {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the place, so no memory of ours is replaced.
    let mapped =
        unsafe { rustix::mm::mmap_anonymous(null_mut(), size, protection, MapFlags::PRIVATE) };
    mapped.map_or(null_mut(), |start| start.cast())
}

/// The block; without one the program ends here with a word, and not in Rust's abort. Where files are
/// staged, [`reserve`] has seen to it that this does not happen.
#[allow(unsafe_code)]
fn or_end(block: *mut u8) -> *mut u8 {
    extern "C" {
        fn _exit(status: core::ffi::c_int) -> !;
    }
    if block.is_null() {
        crate::system::report::write_stderr(b"limopack: no memory: Cannot allocate memory\n");
        // SAFETY: a call of the C library's that asks for nothing, as POSIX has it.
        unsafe { _exit(1) };
    }
    block
}

/// Whether a block may hold something from before.
enum Block {
    Fresh(*mut u8),
    Used(*mut u8),
}

impl Heap {
    #[allow(unsafe_code)]
    fn take(&self, class: usize) -> Block {
        // SAFETY: one thread, and no call in here comes back to the allocator.
        let state = unsafe { &mut *self.state.get() };
        let first = state.free[class];
        if !first.is_null() {
            // SAFETY: `give_back` put a link into this block, and nobody has used it since.
            state.free[class] = unsafe { (*first).next };
            return Block::Used(first.cast());
        }
        let size = SMALLEST << class;
        if !self.has(size) {
            return Block::Fresh(or_end(null_mut()));
        }
        // SAFETY: as above.
        let state = unsafe { &mut *self.state.get() };
        let block = state.next;
        state.next += size;
        Block::Fresh(block as *mut u8)
    }

    /// Whether the chunk, or a new one, has that many bytes left.
    #[allow(unsafe_code)]
    fn has(&self, size: usize) -> bool {
        // SAFETY: as in `take`, which looks at the state anew afterwards.
        let state = unsafe { &mut *self.state.get() };
        if state.end - state.next < size {
            let chunk = map(CHUNK);
            if chunk.is_null() {
                return false;
            }
            state.next = chunk as usize;
            state.end = state.next + CHUNK;
        }
        true
    }

    /// Takes a block back that a list has outgrown; what is no block but a mapping grows where it is.
    ///
    /// # Safety
    /// The block is one of ours, of this class, and nobody uses it any more.
    #[allow(unsafe_code)]
    unsafe fn give_back(&self, block: *mut u8, class: usize) {
        // SAFETY: as in `take`; the caller vouches for the block, which is aligned and large enough
        // for a link.
        unsafe {
            let state = &mut *self.state.get();
            let link: *mut Link = block.cast();
            (*link).next = state.free[class];
            state.free[class] = link;
        }
    }
}

#[allow(unsafe_code)]
// SAFETY: blocks are disjoint, as large as their class or mapping, aligned to 16 bytes or to a
// page, and given out again only after `realloc` has moved what was in them.
unsafe impl GlobalAlloc for &Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match size_class(&layout).map(|class| self.take(class)) {
            Some(Block::Fresh(block) | Block::Used(block)) => block,
            None => or_end(map(layout.size())),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match size_class(&layout).map(|class| self.take(class)) {
            Some(Block::Fresh(block)) => block,
            Some(Block::Used(block)) => {
                // SAFETY: the block is at least as large as the layout.
                unsafe { block.write_bytes(0, layout.size()) };
                block
            }
            None => or_end(map(layout.size())),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // What shrinks stays where it is.
        if size <= layout.size() {
            return block;
        }
        let Ok(new) = Layout::from_size_align(size, layout.align()) else {
            return null_mut();
        };
        let old = size_class(&layout);
        if old.is_some() && old == size_class(&new) {
            return block;
        }
        let Some(old) = old else {
            // SAFETY: the mapping is ours and may move; its owner has one pointer to it.
            let moved = unsafe {
                rustix::mm::mremap(block.cast(), layout.size(), size, MremapFlags::MAYMOVE)
            };
            return or_end(moved.map_or(null_mut(), |start| start.cast()));
        };
        // SAFETY: two disjoint blocks, each at least as large as what is copied.
        unsafe {
            let moved = self.alloc(new);
            moved.copy_from_nonoverlapping(block, layout.size());
            self.give_back(block, old);
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_the_smallest_block_that_holds_it() {
        let class = |size| size_class(&Layout::from_size_align(size, 1).unwrap());
        assert_eq!(
            (class(0), class(16), class(17), class(65536)),
            (Some(0), Some(0), Some(1), Some(12))
        );
        assert_eq!(class(65537), None);
        assert_eq!(size_class(&Layout::from_size_align(8, 32).unwrap()), None);
    }

    #[test]
    #[allow(unsafe_code)]
    fn blocks_keep_their_bytes_while_others_come_and_go() {
        let heap = &Heap::new();
        let mut blocks: Vec<(*mut u8, usize, u8)> = Vec::new();
        let layout = |size: usize| Layout::from_size_align(size, 8).unwrap();
        let mut seed = 1_u32;
        for step in 0..20_000_u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let size = 1 + (seed >> 8) as usize % if step % 50 == 0 { 200_000 } else { 700 };
            let tag = step as u8;
            // SAFETY: each block is written and read within the size that it was asked with.
            unsafe {
                match seed % 3 {
                    0 if !blocks.is_empty() => {
                        let (block, old, tag) =
                            blocks.swap_remove(seed as usize / 7 % blocks.len());
                        assert!((0..old).all(|at| *block.add(at) == tag));
                        heap.dealloc(block, layout(old));
                    }
                    1 if !blocks.is_empty() => {
                        let at = seed as usize / 7 % blocks.len();
                        let (block, old, tag) = blocks[at];
                        let moved = heap.realloc(block, layout(old), size);
                        assert!((0..old.min(size)).all(|at| *moved.add(at) == tag));
                        moved.write_bytes(tag, size);
                        blocks[at] = (moved, size, tag);
                    }
                    _ => {
                        let block = heap.alloc_zeroed(layout(size));
                        assert!((0..size).all(|at| *block.add(at) == 0));
                        block.write_bytes(tag, size);
                        blocks.push((block, size, tag));
                    }
                }
            }
        }
    }
}
