//! Matrices and rows of numbers under construction: tasks on all threads write their parts, and nothing is cleared first.

#![allow(unsafe_code)] // memory that holds nothing yet, disjoint writes: each with its argument

use crate::kernel::{LANES, Pairs};
use crate::pages;
use crate::team;
use crate::tiles::{Patch, products_below, products_below_at};
use bytemuck::Zeroable;
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

/// How a matrix of so many columns lies in memory.
#[derive(Clone, Copy, Debug)]
pub enum Layout {
    /// Row after row.
    Rows(usize),
    /// 32 columns of all rows after the 32 before, the last filled up: `(⌈columns / 32⌉, rows, 32)`. It is written a tile of 32 columns
    /// at a time.
    Panels(usize),
}

impl Layout {
    /// Columns, those that fill up included.
    fn width(self) -> usize {
        match self {
            Layout::Rows(columns) => columns,
            Layout::Panels(columns) => columns.next_multiple_of(LANES),
        }
    }
}

/// A matrix under construction.
struct Sheet {
    start: *mut f32,
    /// Columns, and numbers from row to row.
    width: usize,
    stride: usize,
    /// Numbers from 32 columns to the next 32, where these do not lie beside them.
    panel: Option<usize>,
}

impl Sheet {
    fn new(start: *mut f32, rows: usize, layout: Layout) -> Self {
        let width = layout.width();
        match layout {
            Layout::Rows(_) => Sheet { start, width, stride: width, panel: None },
            Layout::Panels(_) => Sheet { start, width, stride: LANES, panel: Some(rows * LANES) },
        }
    }
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
        let columns = match self.sheet.panel {
            None => column,
            Some(panel) => {
                assert!(
                    column.is_multiple_of(LANES) && width == LANES,
                    "{width} columns from {column} of panels"
                );
                column / LANES * panel
            }
        };
        // SAFETY: the first entry lies inside the block, which lies inside the sheet.
        unsafe { self.sheet.start.add(row * self.sheet.stride + columns) }
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
        let (to, stride) = (self.take(rows.start, rows.len(), column, width), self.sheet.stride);
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
        let (to, across) = (self.take(rows.start, rows.len(), column, width), self.sheet.stride);
        if width == stride && width == across {
            // SAFETY: as in `put`, for rows without gaps.
            unsafe { store_past(values, to) };
            return stored_past();
        }
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
        let (to, stride) = (self.take(row, rows, column, LANES), self.sheet.stride);
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
    let sheet = Sheet::new(out.as_mut_ptr(), rows, Layout::Rows(width));
    let [down, right] = step.map(|s| s.max(1));
    let across = width.div_ceil(right);
    team::share_out(rows.div_ceil(down) * across, &|i| {
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

/// Matrices of the same rows and such layouts, made on all threads, at most `group` rows at a time: `make` is given a block of each,
/// all its columns, and room, of which `room` makes as many as there are tasks at a time.
pub fn sheets<R: Send>(
    rows: usize,
    layouts: &[Layout],
    group: usize,
    room: impl Fn() -> R + Sync,
    make: impl Fn(&mut R, &mut [Block<'_>]) + Sync,
) -> Vec<Vec<f32>> {
    let group = group.max(1);
    let parts: Vec<usize> = (0..rows).step_by(group).map(|from| group.min(rows - from)).collect();
    sheets_of(&parts, layouts, room, make)
}

/// As [`sheets`], of so many rows at a time.
pub fn sheets_of<R: Send>(
    parts: &[usize],
    layouts: &[Layout],
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
    let mut all: Vec<Vec<f32>> = layouts.iter().map(|layout| pages::room(rows * layout.width())).collect();
    let sheets: Vec<Sheet> = all
        .iter_mut()
        .zip(layouts)
        .map(|(out, layout)| Sheet::new(out.as_mut_ptr(), rows, *layout))
        .collect();
    // rooms that are free: one for each thread is made, and not one for each task
    let rooms = Mutex::new(Vec::new());
    let free = || rooms.lock().unwrap_or_else(PoisonError::into_inner);
    let parts: Vec<_> = parts.into_iter().filter(|here| !here.is_empty()).collect();
    team::share_out(parts.len(), &|i| {
        let here = &parts[i];
        let taken = free().pop();
        let mut mine = taken.unwrap_or_else(&room);
        let block = |sheet| Block::new(sheet, here.clone());
        let mut blocks: Vec<Block<'_>> = sheets.iter().map(block).collect();
        make(&mut mine, &mut blocks);
        assert!(blocks.iter().all(Block::is_whole), "a task left something of its block unwritten");
        free().push(mine);
    });
    for (out, layout) in all.iter_mut().zip(layouts) {
        // SAFETY: the blocks cover the sheet, and each task has written all of its own.
        unsafe { out.set_len(rows * layout.width()) };
    }
    all
}

/// Where numbers begin of which each task gets some of its own.
struct Places<T>(*mut T);

// SAFETY: tasks write through it, each to places that no other task has (`in_chunks`).
unsafe impl<T: Send> Sync for Places<T> {}

impl<T: Send> Places<T> {
    /// Calls `each` on all threads with the index of a chunk's first place, where it lies, and how many places it has.
    fn in_chunks(self, count: usize, chunk: usize, each: impl Fn(usize, *mut T, usize) + Sync) {
        let chunk = chunk.max(1);
        let places = &self;
        team::share_out(count.div_ceil(chunk), &move |i| {
            let from = i * chunk;
            each(from, places.0.wrapping_add(from), chunk.min(count - from));
        });
    }
}

/// Some numbers on all threads, `chunk` at a time: `each` is given the index of a chunk's first number and the chunk.
pub fn in_chunks<T: Send>(all: &mut [T], chunk: usize, each: impl Fn(usize, &mut [T]) + Sync) {
    Places(all.as_mut_ptr()).in_chunks(all.len(), chunk, |from, part, count| {
        // SAFETY: the chunk lies in the slice, which is borrowed, and each task has one of its own.
        each(from, unsafe { std::slice::from_raw_parts_mut(part, count) });
    });
}

/// Some things on all threads, one at a time: `each` is given a thing's index and the thing.
pub fn one_by_one<T: Send>(all: &mut [T], each: impl Fn(usize, &mut T) + Sync) {
    in_chunks(all, 1, |at, one| one.iter_mut().for_each(|one| each(at, one)));
}

/// Numbers made of those at the same places on all threads, `chunk` at a time: `change` is given the index of a chunk's first number
/// and a copy of the chunk.
pub fn changed(x: &[f32], chunk: usize, change: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let mut out = pages::room::<f32>(x.len());
    Places(out.as_mut_ptr()).in_chunks(x.len(), chunk, |from, part, count| {
        // SAFETY: memory for as many numbers that nobody else sees while this task has it, all of which are written first.
        let part = unsafe {
            std::ptr::copy_nonoverlapping(x[from..from + count].as_ptr(), part, count);
            std::slice::from_raw_parts_mut(part, count)
        };
        change(from, part);
    });
    // SAFETY: every chunk has been written, and together they are the first `x.len()`.
    unsafe { out.set_len(x.len()) };
    out
}

/// So many numbers made on all threads, `chunk` at a time: `make` is given the index of a chunk's first number and the chunk,
/// which holds zeros.
pub fn made<T: Zeroable + Send>(count: usize, chunk: usize, make: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    let mut out = pages::room::<T>(count);
    Places(out.as_mut_ptr()).in_chunks(count, chunk, |from, part, count| {
        // SAFETY: memory for `T` that nobody else sees while this task has it; zero bytes are a `T`, as `Zeroable` says.
        let part = unsafe {
            part.write_bytes(0, count);
            std::slice::from_raw_parts_mut(part, count)
        };
        make(from, part);
    });
    // SAFETY: every chunk has been cleared, and together they are the first `count`.
    unsafe { out.set_len(count) };
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
            assert_eq!(made(count, chunk, make), want);
            let mut written = vec![0f32; count];
            in_chunks(&mut written, chunk, make);
            assert_eq!(written, want);
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
            &[2, 0, 3].map(Layout::Rows),
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
    fn panels_lie_after_each_other() {
        for past in [true, false] {
            let all = sheets(
                7,
                &[Layout::Panels(75)],
                3,
                || (),
                |(), blocks| {
                    for block in blocks {
                        let rows = block.rows.clone();
                        for column in (0..block.columns.end).step_by(LANES) {
                            let tile: Vec<f32> = rows
                                .clone()
                                .flat_map(|r| (0..LANES).map(move |l| (r * 100 + column + l) as f32))
                                .collect();
                            match past {
                                true => block.put_past(rows.clone(), [column, LANES], &tile, LANES),
                                false => block.put_tile(rows.clone(), [column, LANES], &tile),
                            }
                        }
                    }
                },
            );
            let at = |i: usize| (i / LANES % 7 * 100 + i / (7 * LANES) * LANES + i % LANES) as f32;
            assert_eq!(all[0], (0..3 * 7 * LANES).map(at).collect::<Vec<_>>());
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
