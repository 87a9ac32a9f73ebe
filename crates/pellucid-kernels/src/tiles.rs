//! Matrix tiles: products of bf16 pairs with sums in f32 in the tile registers of processors that have them (Intel's AMX,
//! `amx_tile` and `amx_bf16`; Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18).
//!
//! A register holds 16 rows of 64 bytes. One instruction adds the product of 16 rows of 32 numbers with 32 × 16 numbers to
//! 16 × 16 sums; four registers of sums take two of either operand a step, so that as many are loaded as multiplied. Sums
//! run in steps of 32 numbers in order, whatever else is computed beside them. The compiler offers no such instructions on
//! stable Rust, so they are written out.

#![allow(unsafe_code)] // the instructions, and asking the system for leave to use them: each with its argument

use crate::columns::pieces;
use crate::kernel::{LANES, Pairs, split};
use std::sync::OnceLock;

/// Pairs of numbers in one step: the inner dimension goes on by twice as many.
pub const DEPTH: usize = 16;

/// Rows of one operand that are multiplied together, and columns of the other.
pub const SIDE: usize = LANES;

/// 32 rows of one step's pairs: as much as two registers hold.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Patch(
    /// `[row][pair]`, the first number of a pair in the low half.
    pub [[u32; DEPTH]; SIDE],
);

// SAFETY: 512 plain numbers and nothing else; 2,048 bytes fill the alignment without padding.
unsafe impl bytemuck::Zeroable for Patch {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for Patch {}

impl Patch {
    /// 1,024 zeros.
    pub const NONE: Self = Patch([[0; DEPTH]; SIDE]);
}

/// Steps of a right operand that stay in the nearest cache while many rows go by: 36 kB of usually 48.
const NEAR_STEPS: usize = 18;

/// Several products one after the other: how far each begins behind the one before.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Products.
    pub count: usize,
    /// Patches of the left operand.
    pub a: usize,
    /// Lanes of the right operand.
    pub b: usize,
    /// Numbers of the result.
    pub out: usize,
}

impl Course {
    /// One product.
    pub const ONE: Course = Course { count: 1, a: 0, b: 0, out: 0 };

    /// Numbers that an operand or a result must have, of which each product takes `each` and the next begins `step` further.
    fn reach(self, step: usize, each: usize) -> usize {
        self.count.checked_sub(1).map_or(0, |more| more * step + each)
    }
}

/// Memory that will be needed after a product: as much for each of its steps as a step of an operand takes. It is asked for while the
/// product is made, an eighth with each block of 32 rows or columns; asking reads nothing, and it may lie anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    /// Where it begins.
    pub start: *const Pairs,
    /// Bytes from one step's to the next step's.
    pub stride: usize,
}

impl Ahead {
    /// What lies behind an operand.
    fn behind(operand: &[Pairs]) -> Self {
        Ahead { start: operand.as_ptr_range().end, stride: size_of::<Patch>() }
    }

    /// For the steps from a later one on.
    fn from(self, step: usize) -> Self {
        Ahead { start: self.start.wrapping_byte_add(step * self.stride), ..self }
    }
}

/// Lanes of pairs that so many numbers of the inner dimension take, filled up to whole steps.
pub fn whole_steps(inner: usize) -> usize {
    inner.div_ceil(2 * DEPTH) * DEPTH
}

/// Whether products are made on tiles: where the processor has the registers, and wherever [`PLAIN`] is set.
pub fn tiles_are_here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| registers_are_here() || std::env::var_os(PLAIN).is_some())
}

/// Environment variable by which tests follow the ways of tiles on a processor without them: products are then those of their plain
/// definition, which is slow.
pub const PLAIN: &str = "PELLUCID_PLAIN_TILES";

/// Whether this processor has tile registers, multiplies bf16 in them, and the system lets this process use them.
fn registers_are_here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        return amx::granted();
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        false
    })
}

/// `out[stride · r + l] = Σ_s Σ_p a[s][r][p] · b[16 s + p][l]` with `s < steps` and `p < 16`, each a product of pairs, for
/// `rows` (1 to 32) rows and 32 columns; and as many more as `course` says. Products of bf16 are exact in f32; how the two
/// additions of a pair are rounded is the processor's affair, and numbers too small for f32's normal range count as 0.
/// Panics where an operand or the result is too short.
pub fn products(
    rows: usize,
    steps: usize,
    a: &[Patch],
    b: &[Pairs],
    out: &mut [f32],
    stride: usize,
    course: Course,
) {
    let each = rows.saturating_sub(1) * stride + LANES;
    assert!(stride >= LANES && out.len() >= course.reach(course.out, each), "no room for {rows} rows");
    // SAFETY: the last row of the last product ends within the slice.
    unsafe { products_at([rows, steps], a, b, out.as_mut_ptr(), stride, course, false, Ahead::behind(b)) };
}

/// Four products of registers, so many times, and nothing from memory: what the processor can do at most. Floating-point operations
/// done, 0 where there are no tile registers.
pub fn peak(times: u64) -> u64 {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if registers_are_here() && times > 0 {
        // SAFETY: the line above has asked for the registers and the leave to use them.
        unsafe { amx::peak(times) };
        return times * 4 * (2 * 16 * 16 * 32);
    }
    let _ = times;
    0
}

/// The product of any number of rows with 32 columns, one row every `stride` numbers: `a` has the patches of 32 rows after those
/// of the 32 before, each as many as `b` has times sixteen lanes.
pub fn products_below(rows: usize, a: &[Patch], b: &[Pairs], out: &mut [f32], stride: usize) {
    let reach = rows.checked_sub(1).map_or(0, |last| last * stride + LANES);
    assert!(stride >= LANES && out.len() >= reach, "no room for {rows} rows");
    // SAFETY: the last row ends within the slice.
    unsafe { products_below_at(rows, a, b, out.as_mut_ptr(), stride) };
}

/// The product of 32 rows with `blocks` times 32 columns, `(32, 32 · blocks)`: `b` has the lanes of 32 columns after those of the
/// 32 before, each as many as `a` has patches times sixteen.
pub fn products_beside(blocks: usize, a: &[Patch], b: &[Pairs], out: &mut [f32], ahead: Ahead) {
    let stride = blocks * LANES;
    assert!(out.len() >= SIDE * stride, "no room for {blocks} blocks of columns");
    let all = Course { count: blocks, a: 0, b: DEPTH * a.len(), out: LANES };
    let parts = if blocks > 1 { a.len().div_ceil(NEAR_STEPS).max(1) } else { 1 };
    for steps in pieces(0..a.len(), a.len().div_ceil(parts)) {
        let (a, b, ahead) = (&a[steps.clone()], &b[DEPTH * steps.start..], ahead.from(steps.start));
        // SAFETY: 32 rows of all blocks lie in the slice, and each piece goes on with the sums of the one before.
        unsafe { products_at([SIDE, a.len()], a, b, out.as_mut_ptr(), stride, all, steps.start > 0, ahead) };
    }
}

/// As [`products_below`], to memory that holds anything.
///
/// # Safety
/// `rows` rows of 32 numbers may be written from `out` on, and by nobody else meanwhile.
pub(crate) unsafe fn products_below_at(rows: usize, a: &[Patch], b: &[Pairs], out: *mut f32, stride: usize) {
    let steps = b.len() / DEPTH;
    let full = Course { count: rows / SIDE, a: steps, b: 0, out: SIDE * stride };
    // as many steps at a time as stay near for the rows after them; of few rows all at once
    let parts = if full.count > 1 { steps.div_ceil(NEAR_STEPS).max(1) } else { 1 };
    for steps in pieces(0..steps, steps.div_ceil(parts)) {
        let (a, ahead) = (&a[steps.start..], Ahead::behind(b).from(steps.start));
        let b = &b[DEPTH * steps.start..DEPTH * steps.end];
        // SAFETY: the caller vouches for all rows: here for those in whole blocks, whose sums each piece goes on with.
        unsafe { products_at([SIDE, steps.len()], a, b, out, stride, full, steps.start > 0, ahead) };
    }
    if !rows.is_multiple_of(SIDE) {
        let a = &a[full.count * steps..];
        // SAFETY: as above, for the rest of the rows.
        unsafe {
            let out = out.add(full.count * full.out);
            products_at([rows % SIDE, steps], a, b, out, stride, Course::ONE, false, Ahead::behind(b));
        }
    }
}

/// As [`products`], to memory that holds anything; or on top of the sums of earlier steps that lie there (`more`), which gives the
/// bits of all steps at once.
///
/// # Safety
/// For each product of the course `rows` rows of 32 numbers, one every `stride` numbers, may be written from its place on, and
/// by nobody else meanwhile; and they have been written where there is more to come.
unsafe fn products_at(
    [rows, steps]: [usize; 2],
    a: &[Patch],
    b: &[Pairs],
    out: *mut f32,
    stride: usize,
    course: Course,
    more: bool,
    ahead: Ahead,
) {
    assert!((1..=SIDE).contains(&rows), "{rows} rows are multiplied");
    let fits = course.reach(course.a, steps) <= a.len() && course.reach(course.b, DEPTH * steps) <= b.len();
    assert!(fits, "{} patches and {} lanes for {course:?} of {steps} steps", a.len(), b.len());
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if registers_are_here() && steps > 0 && course.count > 0 {
        // SAFETY: the line above has asked for the registers and the leave to use them; the operands are long enough, and
        // the caller vouches for the result.
        return unsafe { amx::run([rows, steps], a.as_ptr(), b.as_ptr(), out, stride, course, more, ahead) };
    }
    for i in 0..course.count {
        let (a, b) = (&a[i * course.a..][..steps], &b[i * course.b..][..DEPTH * steps]);
        // SAFETY: the caller vouches for every product of the course.
        unsafe { product_plain(rows, a, b, out.add(i * course.out), stride, more) };
    }
}

/// # Safety
/// `rows` rows of 32 numbers, one every `stride`, may be written, and have been where there is more to come.
unsafe fn product_plain(rows: usize, a: &[Patch], b: &[Pairs], out: *mut f32, stride: usize, more: bool) {
    for r in 0..rows {
        // SAFETY: 32 numbers of a row that may be written; they need not be aligned.
        let out = unsafe { out.add(r * stride).cast::<[f32; LANES]>() };
        // SAFETY: the caller has written them if there is more to come.
        let mut sums = if more { unsafe { out.read_unaligned() } } else { [0f32; LANES] };
        for (a, b) in a.iter().zip(b.as_chunks::<DEPTH>().0) {
            for (pair, b) in a.0[r].iter().zip(b) {
                let [first, second] = split(*pair);
                sums.iter_mut().zip(&b.0).for_each(|(sum, b)| {
                    let [b, c] = split(*b);
                    *sum += first * b + second * c;
                });
            }
        }
        // SAFETY: as above.
        unsafe { out.write_unaligned(sums) };
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx {
    use super::{Ahead, Course, DEPTH, Patch, SIDE};
    use crate::kernel::Pairs;
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;

    /// Whether CPUID tells of `amx_tile` and `amx_bf16` and the kernel grants the registers' state to this process.
    pub(super) fn granted() -> bool {
        const BF16: u32 = 1 << 22;
        const TILE: u32 = 1 << 24;
        // leaf 0 says how many leaves there are
        if __cpuid_count(0, 0).eax < 7 || __cpuid_count(7, 0).edx & (BF16 | TILE) != BF16 | TILE {
            return false;
        }
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const TILE_DATA: libc::c_long = 18;
        // SAFETY: a system call with two integers that touches no memory of ours; where it is not known it fails.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
    }

    /// What `ldtilecfg` reads: palette 1, and for each register its rows and the bytes of a row.
    #[repr(C, align(64))]
    struct Shapes([u8; 64]);

    /// Registers 0, 1 and 4 hold the upper rows of sums and of a patch, 2, 3 and 5 the lower ones, 6 and 7 sixteen half lanes.
    const fn shapes(rows: usize) -> Shapes {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut at = 0;
        while at < 8 {
            bytes[16 + 2 * at] = 64;
            bytes[48 + at] = match at {
                6 | 7 => 16,
                0 | 1 | 4 if rows < 16 => rows as u8,
                2 | 3 | 5 if rows > 16 => (rows - 16) as u8,
                _ => 16,
            };
            at += 1;
        }
        Shapes(bytes)
    }

    /// For 0 to 32 rows.
    static SHAPES: [Shapes; SIDE + 1] = {
        let mut all = [const { shapes(0) }; SIDE + 1];
        let mut rows = 0;
        while rows <= SIDE {
            all[rows] = shapes(rows);
            rows += 1;
        }
        all
    };

    /// What is added between steps and between products, where the loop finds it.
    #[repr(C)]
    struct Between {
        steps: usize,
        /// Bytes from what is asked for with one step to what is asked for with the next.
        ahead: usize,
        /// Bytes from where one product ends to where the next begins.
        next_a: isize,
        next_b: isize,
        next_out: usize,
        next_ahead: isize,
    }

    /// As [`super::peak`].
    ///
    /// # Safety
    /// The process may use tile registers, and `times` is not 0.
    pub(super) unsafe fn peak(times: u64) {
        // SAFETY: registers alone are used; they are configured first and released last.
        unsafe {
            asm!(
                "ldtilecfg [{shapes}]",
                "2:",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "dec {times}",
                "jnz 2b",
                "tilerelease",
                shapes = in(reg) SHAPES[SIDE].0.as_ptr(),
                times = inout(reg) times => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    /// As [`super::products_at`].
    ///
    /// # Safety
    /// As there; and the process may use tile registers, `rows` is 1 to 32, there is a product and a step, and both operands
    /// have what every product of the course takes.
    pub(super) unsafe fn run(
        [rows, steps]: [usize; 2],
        a: *const Patch,
        b: *const Pairs,
        out: *mut f32,
        stride: usize,
        course: Course,
        more: bool,
        ahead: Ahead,
    ) {
        const { assert!(size_of::<Patch>() == 2048 && DEPTH * size_of::<Pairs>() == 2048) };
        let shapes = SHAPES[rows].0.as_ptr();
        // from the end of one product to the beginning of the next
        let taken = (2048 * steps).cast_signed();
        let stride = 4 * stride;
        let between = Between {
            steps,
            ahead: ahead.stride,
            next_a: (course.a * size_of::<Patch>()).cast_signed() - taken,
            next_b: (course.b * size_of::<Pairs>()).cast_signed() - taken,
            next_out: 4 * course.out,
            next_ahead: 256 - (steps * ahead.stride).cast_signed(),
        };
        // The loop over products and their steps: with or without the lower rows of the sums, which begin with zeros or with what is
        // there; and with the operand that is another in each product loaded so that it does not push the other out of the nearest
        // cache (`t1`), where all products take the same.
        //
        // A step loads the 2,048 bytes of a patch, as one or two times 16 rows of 64 bytes below each other, and the 2,048 bytes
        // of sixteen lanes, as the left and the right half of 16 rows of 128 bytes. It also asks for an eighth as many bytes of
        // what comes after: where eight products share an operand, the next one is near by then. Configuring takes as long as many steps, so it
        // is done once for all products of a course. And it asks for two rows of where the sums go, which may lie far away, to write there.
        macro_rules! tile_loop {
            ($a:literal, $b:literal, [$($begin:literal),*], [$($step:expr),*], [$($store:literal),*]) => {
                asm!(
                    "ldtilecfg [{free}]",
                    "3:",
                    $($begin,)*
                    "mov {left}, [{between}]",
                    "mov {free}, {out}",
                    "2:",
                    "prefetcht1 [{ahead}]",
                    "prefetcht1 [{ahead} + 64]",
                    "prefetcht1 [{ahead} + 128]",
                    "prefetcht1 [{ahead} + 192]",
                    "prefetchw [{free}]",
                    "prefetchw [{free} + 64]",
                    "prefetchw [{free} + {stride}]",
                    "prefetchw [{free} + {stride} + 64]",
                    "lea {free}, [{free} + {stride} * 2]",
                    concat!($a, " tmm4, [{a} + {row}]"),
                    concat!($b, " tmm6, [{b} + {row} * 2]"),
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    concat!($b, " tmm7, [{b} + {row} * 2 + 64]"),
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    $($step,)*
                    "add {a}, 2048",
                    "add {b}, 2048",
                    "add {ahead}, [{between} + 8]",
                    "dec {left}",
                    "jnz 2b",
                    "tilestored [{out} + {stride}], tmm0",
                    "tilestored [{out} + {stride} + 64], tmm1",
                    $($store,)*
                    "add {a}, [{between} + 16]",
                    "add {b}, [{between} + 24]",
                    "add {out}, [{between} + 32]",
                    "add {ahead}, [{between} + 40]",
                    "dec {count}",
                    "jnz 3b",
                    "tilerelease",
                    row = in(reg) 64usize,
                    left = out(reg) _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    // the shapes, and then for whatever is needed between products
                    free = inout(reg) shapes => _,
                    between = in(reg) &raw const between,
                    a = inout(reg) a => _,
                    b = inout(reg) b => _,
                    ahead = inout(reg) ahead.start => _,
                    out = inout(reg) out => _,
                    stride = in(reg) stride,
                    count = inout(reg) course.count => _,
                    options(nostack),
                )
            };
        }
        macro_rules! half_loop {
            ($a:literal, $b:literal, [$($begin:literal),*]) => {
                tile_loop!($a, $b, [$($begin),*], [], [])
            };
        }
        macro_rules! whole_loop {
            ($a:literal, $b:literal, [$($begin:literal),*]) => {
                tile_loop!(
                    $a,
                    $b,
                    [$($begin),*],
                    [
                        concat!($a, " tmm5, [{a} + {row} + 1024]"),
                        "tdpbf16ps tmm2, tmm5, tmm6",
                        "tdpbf16ps tmm3, tmm5, tmm7"
                    ],
                    [
                        "mov {free}, {stride}",
                        "shl {free}, 4",
                        "add {free}, {out}",
                        "tilestored [{free} + {stride}], tmm2",
                        "tilestored [{free} + {stride} + 64], tmm3"
                    ]
                )
            };
        }
        macro_rules! whole_loop_on {
            ($a:literal, $b:literal) => {
                whole_loop!(
                    $a,
                    $b,
                    [
                        "tileloadd tmm0, [{out} + {stride}]",
                        "tileloadd tmm1, [{out} + {stride} + 64]",
                        "mov {free}, {stride}",
                        "shl {free}, 4",
                        "add {free}, {out}",
                        "tileloadd tmm2, [{free} + {stride}]",
                        "tileloadd tmm3, [{free} + {stride} + 64]"
                    ]
                )
            };
        }
        // SAFETY: each product stores `rows` rows of 128 bytes, one every `stride` bytes, and reads them before where there is more
        // to come; its loop runs once for each of its steps, which both operands have. Shapes are configured first and released
        // last, in one block, and nothing else is clobbered.
        unsafe {
            match (rows > SIDE / 2, more, course.a == 0) {
                (true, false, false) => whole_loop!(
                    "tileloaddt1",
                    "tileloadd",
                    ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"]
                ),
                (true, false, true) => whole_loop!(
                    "tileloadd",
                    "tileloaddt1",
                    ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"]
                ),
                (true, true, false) => whole_loop_on!("tileloaddt1", "tileloadd"),
                (true, true, true) => whole_loop_on!("tileloadd", "tileloaddt1"),
                (false, false, _) => half_loop!("tileloadd", "tileloadd", ["tilezero tmm0", "tilezero tmm1"]),
                (false, true, _) => half_loop!(
                    "tileloadd",
                    "tileloadd",
                    ["tileloadd tmm0, [{out} + {stride}]", "tileloadd tmm1, [{out} + {stride} + 64]"]
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Lane;
    use crate::simd::bf16_bits;

    fn pair(i: usize, step: f32) -> u32 {
        let at = i as f32 * step;
        bf16_bits(at.sin()) | bf16_bits((at + 0.5).cos()) << 16
    }

    /// Both versions against sums in f64 of the same bf16 numbers, one product and several.
    #[test]
    fn products_of_tiles_equal_their_definition() {
        for (steps, count) in [(0usize, 1usize), (1, 1), (2, 3), (5, 2), (3, 0)] {
            for rows in [1, 7, 15, 16, 17, 25, 32] {
                let patch = |s: usize| {
                    let at = move |r: usize, p: usize| pair((s * SIDE + r) * DEPTH + p, 0.7);
                    Patch(std::array::from_fn(|r| std::array::from_fn(|p| at(r, p))))
                };
                let a: Vec<Patch> = (0..count * steps + 1).map(patch).collect();
                let lane = |p: usize| Lane(std::array::from_fn(|l| pair(p * LANES + l, 0.3)));
                let b: Vec<Pairs> = (0..(count + steps) * DEPTH).map(lane).collect();
                // the left operand begins anew each time, the right one goes on by a step, results lie below each other
                let (stride, below) = (LANES + 5, SIDE * (LANES + 5));
                let course = Course { count, a: steps, b: DEPTH, out: below };
                let mut found = vec![7f32; (count + 1) * below];
                products(rows, steps, &a, &b, &mut found, stride, course);
                let mut plain = vec![7f32; found.len()];
                for i in 0..count {
                    let (a, b) = (&a[i * steps..][..steps], &b[i * DEPTH..][..DEPTH * steps]);
                    // SAFETY: the rows lie in the vector.
                    unsafe { product_plain(rows, a, b, plain[i * below..].as_mut_ptr(), stride, false) };
                }
                for (at, (found, plain)) in found.iter().zip(&plain).enumerate() {
                    let (i, r, l) = (at / below, at % below / stride, at % stride);
                    let term = |p: usize| {
                        let a = split(a[i * steps + p / DEPTH].0[r][p % DEPTH]).map(f64::from);
                        let b = split(b[i * DEPTH + p].0[l]).map(f64::from);
                        a[0] * b[0] + a[1] * b[1]
                    };
                    let inside = i < count && r < rows && l < LANES;
                    let want = if inside { (0..steps * DEPTH).map(term).sum() } else { 7.0 };
                    for found in [found, plain] {
                        let error = (f64::from(*found) - want).abs();
                        assert!(error < 3e-5, "{rows} rows, {count} of {steps} steps, {i} {r} {l}: {error}");
                    }
                }
            }
        }
    }

    /// A row's sums are the same alone and among others.
    #[test]
    fn rows_of_a_tile_do_not_know_each_other() {
        let a = [Patch(std::array::from_fn(|r| std::array::from_fn(|p| pair(r * DEPTH + p, 0.9)))); 3];
        let b: Vec<Pairs> =
            (0..48).map(|p| Lane(std::array::from_fn(|l| pair(p * LANES + l, 0.4)))).collect();
        let of = |rows: usize| {
            let mut out = vec![0f32; rows * LANES];
            products(rows, 3, &a, &b, &mut out, LANES, Course::ONE);
            out
        };
        let all = of(SIDE);
        (1..SIDE).for_each(|rows| assert!(of(rows) == all[..rows * LANES], "{rows} rows"));
    }

    /// Many steps are taken in pieces for many rows, and at once for few: the sums are the same.
    #[test]
    fn pieces_of_a_long_product_make_the_bits_of_the_whole() {
        let (rows, steps) = (3 * SIDE + 5, 2 * NEAR_STEPS + 7);
        let patch = |i: usize| {
            Patch(std::array::from_fn(|r| std::array::from_fn(|p| pair((i * SIDE + r) * DEPTH + p, 0.7))))
        };
        let a: Vec<Patch> = (0..rows.div_ceil(SIDE) * steps).map(patch).collect();
        let b: Vec<Pairs> =
            (0..steps * DEPTH).map(|p| Lane(std::array::from_fn(|l| pair(p * LANES + l, 0.3)))).collect();
        let stride = LANES + 3;
        let mut found = vec![7f32; rows * stride];
        products_below(rows, &a, &b, &mut found, stride);
        for (i, found) in found.chunks(SIDE * stride).enumerate() {
            let mut whole = vec![7f32; found.len()];
            products(found.len() / stride, steps, &a[i * steps..], &b, &mut whole, stride, Course::ONE);
            assert!(found == whole, "block {i}");
        }
    }

    #[test]
    #[should_panic(expected = "15 lanes")]
    fn operands_that_are_too_short_are_refused() {
        products(1, 1, &[Patch::NONE], &[Pairs::NONE; 15], &mut [0.0; LANES], LANES, Course::ONE);
    }

    #[test]
    #[should_panic(expected = "no room")]
    fn results_that_are_too_short_are_refused() {
        let course = Course { count: 2, a: 0, b: 0, out: 1 };
        products(1, 1, &[Patch::NONE], &[Pairs::NONE; 16], &mut [0.0; LANES], LANES, course);
    }
}
