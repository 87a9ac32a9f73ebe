//! Matrices and rows of numbers under construction: tasks on all threads write their parts, and nothing is cleared first.

#![allow(unsafe_code)] // memory that holds nothing yet, disjoint writes: each with its argument

use crate::kernel::{LANES, Pairs};
use crate::pages;
use crate::team;
use crate::tiles::{Patch, products_below, products_below_at};
use bytemuck::Zeroable;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A part of a sheet that one task writes: some columns of all its rows in order, then the next columns, until each of its
/// entries has been written once.
pub struct Block<'a> {
    /// Its rows of the sheet.
    pub rows: Range<usize>,
    /// Its columns.
    pub columns: Range<usize>,
    sheet: &'a Sheet,
    /// What is written next: the row, and the first of the columns.
    next: [usize; 2],
    /// Columns that are being written.
    width: usize,
}

/// A matrix under construction.
struct Sheet {
    start: *mut f32,
    width: usize,
}

// SAFETY: tasks write through it, each to the entries of its own block (`Block::take` checks), and nobody reads before
// all have ended.
unsafe impl Sync for Sheet {}

impl<'a> Block<'a> {
    /// Rows of a sheet with all their columns.
    fn new(sheet: &'a Sheet, rows: Range<usize>) -> Self {
        let next = [rows.start, 0];
        Block { rows, columns: 0..sheet.width, sheet, next, width: 0 }
    }

    /// Where the next rows' entries of some columns lie, which are then held to be written.
    fn take(&mut self, row: usize, rows: usize, column: usize, width: usize) -> *mut f32 {
        let [next_row, next_column] = self.next;
        let begins = row == self.rows.start;
        let inside = row + rows <= self.rows.end && column + width <= self.columns.end;
        let turn = [row, column] == self.next && rows > 0 && width > 0 && (begins || width == self.width);
        assert!(
            inside && turn,
            "{rows} rows from {row}, {width} columns from {column}: outside a task's block or out of turn \
             (row {next_row}, column {next_column})"
        );
        self.width = width;
        self.next = match row + rows == self.rows.end {
            true => [self.rows.start, column + width],
            false => [row + rows, column],
        };
        // SAFETY: the first entry lies inside the block, which lies inside the sheet.
        unsafe { self.sheet.start.add(row * self.sheet.width + column) }
    }

    /// Writes neighbouring entries of the next row.
    pub fn put(&mut self, row: usize, column: usize, values: &[f32]) {
        let to = self.take(row, 1, column, values.len());
        // SAFETY: the block lies in the sheet (`sheet` cuts it so) and no other task's block meets it, so these entries
        // are in the allocation and nobody else's while the block lives; f32 is written whatever was there.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()) };
    }

    /// Writes the first `width` numbers of each of a tile's rows, `(rows, 32)`, to the next rows.
    pub fn put_tile(&mut self, rows: Range<usize>, [column, width]: [usize; 2], tile: &[f32]) {
        assert!(width <= LANES && tile.len() == rows.len() * LANES, "a tile has 32 numbers for each row");
        let (to, stride) = (self.take(rows.start, rows.len(), column, width), self.sheet.width);
        for (r, values) in tile.as_chunks::<LANES>().0.iter().enumerate() {
            // SAFETY: as in `put`, for `width` columns of each of the rows.
            unsafe {
                let to = to.add(r * stride);
                match width {
                    LANES => to.cast::<[f32; LANES]>().write_unaligned(*values),
                    _ => std::ptr::copy_nonoverlapping(values.as_ptr(), to, width),
                }
            }
        }
    }

    /// Writes the first `width` numbers of each of some rows of `stride` to the next rows. It goes past the caches: for what is not read
    /// again soon.
    pub fn put_past(
        &mut self,
        rows: Range<usize>,
        [column, width]: [usize; 2],
        values: &[f32],
        stride: usize,
    ) {
        assert!(width <= stride && values.len() == rows.len() * stride, "{stride} numbers for each row");
        let (to, across) = (self.take(rows.start, rows.len(), column, width), self.sheet.width);
        for (r, values) in values.chunks_exact(stride).enumerate() {
            // SAFETY: as in `put`, for `width` columns of each of the rows.
            unsafe { store_past(&values[..width], to.add(r * across)) };
        }
        stored_past();
    }

    /// Writes products of matrix tiles to the next `rows` rows and `width` (at most 32) columns: `a` has the patches of 32 rows
    /// after those of the 32 before, each as many as `b` has times sixteen lanes.
    pub fn put_products(
        &mut self,
        [row, rows]: [usize; 2],
        [column, width]: [usize; 2],
        a: &[Patch],
        b: &[Pairs],
    ) {
        if width < LANES {
            let mut made = vec![0f32; rows * LANES];
            products_below(rows, a, b, &mut made, LANES);
            return self.put_tile(row..row + rows, [column, width], &made);
        }
        let (to, stride) = (self.take(row, rows, column, LANES), self.sheet.width);
        // SAFETY: as in `put`, for 32 columns of each of the rows.
        unsafe { products_below_at(rows, a, b, to, stride) };
    }

    /// Whether everything is written.
    fn is_whole(&self) -> bool {
        self.columns.is_empty() || self.next == [self.rows.start, self.columns.end]
    }
}

/// Writes numbers so that they do not take the place of others in the caches, and are not fetched before.
///
/// # Safety
/// As many numbers may be written from `to` on. Nobody else may read them before [`stored_past`].
unsafe fn store_past(values: &[f32], to: *mut f32) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_mm_loadu_ps, _mm_stream_ps};
        let lead = to.align_offset(64).min(values.len());
        let (first, rest) = values.split_at(lead);
        let (whole, last) = rest.as_chunks::<16>();
        // SAFETY: the caller vouches for all numbers; whole lines are written where they begin, which is aligned.
        unsafe {
            std::ptr::copy_nonoverlapping(first.as_ptr(), to, lead);
            let to = to.add(lead);
            for (i, line) in whole.iter().enumerate() {
                for (j, four) in line.as_chunks::<4>().0.iter().enumerate() {
                    _mm_stream_ps(to.add(16 * i + 4 * j), _mm_loadu_ps(four.as_ptr()));
                }
            }
            std::ptr::copy_nonoverlapping(last.as_ptr(), to.add(16 * whole.len()), last.len());
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: the caller vouches for all numbers.
    unsafe {
        std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len());
    }
}

/// After this, what [`store_past`] wrote can be read as anything else.
fn stored_past() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 processor has the instruction, which touches no memory.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// A `(rows, width)` matrix made on all threads, block by block of at most `step` rows and columns, each written as
/// [`Block`] says.
pub fn sheet(rows: usize, width: usize, step: [usize; 2], make: impl Fn(&mut Block<'_>) + Sync) -> Vec<f32> {
    let mut out = pages::room::<f32>(rows * width);
    let sheet = Sheet { start: out.as_mut_ptr(), width };
    let [down, right] = step.map(|s| s.max(1));
    let across = width.div_ceil(right);
    (0..rows.div_ceil(down) * across).into_par_iter().for_each(|i| {
        let cut = |at: usize, step: usize, end: usize| at * step..(at * step + step).min(end);
        let (rows, columns) = (cut(i / across, down, rows), cut(i % across, right, width));
        let next = [rows.start, columns.start];
        let mut block = Block { rows, columns, sheet: &sheet, next, width: 0 };
        make(&mut block);
        assert!(block.is_whole(), "a task left something of its block unwritten");
    });
    // SAFETY: the blocks cover the sheet, and each task has written all of its own.
    unsafe { out.set_len(rows * width) };
    out
}

/// Matrices of the same rows and such widths, made on all threads, at most `group` rows at a time: `make` is given a block of each,
/// all its columns, and room, of which `room` makes as many as there are tasks at a time.
pub fn sheets<R: Send>(
    rows: usize,
    widths: &[usize],
    group: usize,
    room: impl Fn() -> R + Sync,
    make: impl Fn(&mut R, &mut [Block<'_>]) + Sync,
) -> Vec<Vec<f32>> {
    let group = group.max(1);
    let parts: Vec<usize> = (0..rows).step_by(group).map(|from| group.min(rows - from)).collect();
    sheets_of(&parts, widths, room, make)
}

/// As [`sheets`], of so many rows at a time.
pub fn sheets_of<R: Send>(
    parts: &[usize],
    widths: &[usize],
    room: impl Fn() -> R + Sync,
    make: impl Fn(&mut R, &mut [Block<'_>]) + Sync,
) -> Vec<Vec<f32>> {
    let mut rows = 0;
    let parts: Vec<Range<usize>> = parts
        .iter()
        .map(|part| {
            rows += part;
            rows - part..rows
        })
        .collect();
    let mut all: Vec<Vec<f32>> = widths.iter().map(|width| pages::room(rows * width)).collect();
    let sheets: Vec<Sheet> =
        all.iter_mut().zip(widths).map(|(out, &width)| Sheet { start: out.as_mut_ptr(), width }).collect();
    // rooms that are free: one for each thread is made, and not one for each task
    let rooms = Mutex::new(Vec::new());
    let free = || rooms.lock().unwrap_or_else(PoisonError::into_inner);
    parts.into_par_iter().filter(|here| !here.is_empty()).for_each(|here| {
        let taken = free().pop();
        let mut mine = taken.unwrap_or_else(&room);
        let block = |sheet| Block::new(sheet, here.clone());
        let mut blocks: Vec<Block<'_>> = sheets.iter().map(block).collect();
        make(&mut mine, &mut blocks);
        assert!(blocks.iter().all(Block::is_whole), "a task left something of its block unwritten");
        free().push(mine);
    });
    for (out, width) in all.iter_mut().zip(widths) {
        // SAFETY: the blocks cover the sheet, and each task has written all of its own.
        unsafe { out.set_len(rows * width) };
    }
    all
}

/// Numbers made of those at the same places on all threads, `chunk` at a time: `change` is given the index of a chunk's first number
/// and a copy of the chunk.
pub fn changed(x: &[f32], chunk: usize, change: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let chunk = chunk.max(1);
    let mut out = pages::room::<f32>(x.len());
    let parts = out.spare_capacity_mut()[..x.len()].par_chunks_mut(chunk);
    parts.zip(x.par_chunks(chunk)).enumerate().for_each(|(i, (part, x))| {
        // SAFETY: memory for as many numbers that nobody else sees while this task has it, all of which are written first.
        let part = unsafe {
            std::ptr::copy_nonoverlapping(x.as_ptr(), part.as_mut_ptr().cast(), x.len());
            std::slice::from_raw_parts_mut(part.as_mut_ptr().cast::<f32>(), x.len())
        };
        change(i * chunk, part);
    });
    // SAFETY: every chunk has been written, and together they are the first `x.len()`.
    unsafe { out.set_len(x.len()) };
    out
}

/// So many numbers made on all threads, `chunk` at a time: `make` is given the index of a chunk's first number and the chunk,
/// which holds zeros.
pub fn made<T: Zeroable + Send>(count: usize, chunk: usize, make: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    let chunk = chunk.max(1);
    let mut out = pages::room::<T>(count);
    out.spare_capacity_mut()[..count].par_chunks_mut(chunk).enumerate().for_each(|(i, part)| {
        // SAFETY: memory for `T` that nobody else sees while this task has it; zero bytes are a `T`, as `Zeroable` says.
        let part = unsafe {
            part.as_mut_ptr().write_bytes(0, part.len());
            std::slice::from_raw_parts_mut(part.as_mut_ptr().cast::<T>(), part.len())
        };
        make(i * chunk, part);
    });
    // SAFETY: every chunk has been cleared, and together they are the first `count`.
    unsafe { out.set_len(count) };
    out
}

/// As [`made`], by the [`team`]: for what takes tens of microseconds.
pub fn made_soon(count: usize, chunk: usize, make: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let chunk = chunk.max(1);
    let mut out = vec![0f32; count];
    let sheet = Sheet { start: out.as_mut_ptr(), width: count };
    team::share_out(count.div_ceil(chunk), &|i| {
        let (sheet, from) = (&sheet, i * chunk);
        // SAFETY: the chunk lies in the vector, which nobody else touches meanwhile, and each task has one of its own.
        let part = unsafe { std::slice::from_raw_parts_mut(sheet.start.add(from), chunk.min(count - from)) };
        make(from, part);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_is_what_its_blocks_write() {
        let out = sheet(7, 10, [3, 4], |block| {
            for row in block.rows.clone() {
                let values: Vec<f32> = block.columns.clone().map(|c| (row * 10 + c) as f32).collect();
                block.put(row, block.columns.start, &values);
            }
        });
        assert_eq!(out, (0..70).map(|i| i as f32).collect::<Vec<_>>());
        assert!(sheet(0, 10, [3, 4], |_| ()).is_empty() && sheet(3, 0, [3, 4], |_| ()).is_empty());
    }

    #[test]
    fn what_goes_past_the_caches_arrives() {
        let out = sheet(7, 61, [3, 40], |block| {
            let (rows, columns) = (block.rows.clone(), block.columns.clone());
            // more numbers in a row than are written
            let value = |row: usize, at: usize| (row * 61 + columns.start + at) as f32;
            let values: Vec<f32> = rows.clone().flat_map(|r| (0..43).map(move |at| value(r, at))).collect();
            block.put_past(rows, [columns.start, columns.len()], &values, 43);
        });
        assert_eq!(out, (0..7 * 61).map(|i| i as f32).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_made_chunk_by_chunk_is_whole() {
        for (count, chunk) in [(0, 3), (7, 3), (9, 3), (5, 0), (5, 100)] {
            let make = |from: usize, part: &mut [f32]| {
                assert!(part.iter().all(|v| *v == 0.0));
                part.iter_mut().enumerate().for_each(|(i, v)| *v = (from + i) as f32);
            };
            let want: Vec<f32> = (0..count).map(|i| i as f32).collect();
            assert_eq!(
                (made(count, chunk, make), made_soon(count, chunk, make)),
                (want.clone(), want.clone())
            );
            let twice = |from: usize, part: &mut [f32]| {
                assert!(part.first().is_none_or(|first| *first == from as f32));
                part.iter_mut().for_each(|v| *v *= 2.0);
            };
            let want: Vec<f32> = want.iter().map(|v| v * 2.0).collect();
            assert_eq!(changed(&made(count, chunk, make), chunk, twice), want);
        }
    }

    #[test]
    fn sheets_of_the_same_rows_are_what_their_blocks_write() {
        let all = sheets(
            7,
            &[2, 0, 3],
            3,
            || (),
            |(), blocks| {
                for block in blocks {
                    for row in block.rows.clone() {
                        let values: Vec<f32> = block.columns.clone().map(|c| (row * 10 + c) as f32).collect();
                        if !values.is_empty() {
                            block.put(row, 0, &values);
                        }
                    }
                }
            },
        );
        for (found, width) in all.iter().zip([2, 0, 3]) {
            let want = (0..7).flat_map(|r| (0..width).map(move |c| (r * 10 + c) as f32));
            assert_eq!(*found, want.collect::<Vec<_>>());
        }
    }

    #[test]
    #[should_panic(expected = "outside a task's block")]
    fn no_task_writes_beyond_its_block() {
        sheet(4, 8, [4, 8], |block| block.put(0, 0, &[0.0; 9]));
    }

    #[test]
    #[should_panic(expected = "out of turn")]
    fn no_task_writes_an_entry_twice() {
        sheet(4, 8, [4, 8], |block| (0..2).for_each(|_| block.put(0, 0, &[0.0; 8])));
    }

    #[test]
    #[should_panic(expected = "unwritten")]
    fn no_task_leaves_something_out() {
        sheet(4, 8, [4, 8], |block| (0..4).for_each(|row| block.put(row, 0, &[0.0; 7])));
    }
}
