//! Matrix tiles: products of bf16 pairs with sums in f32 in the tile registers of processors that have them (Intel's AMX,
//! `amx_tile` and `amx_bf16`; Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18).
//!
//! A register holds 16 rows of 64 bytes. One instruction adds the product of 16 rows of 32 numbers with 32 × 16 numbers to
//! 16 × 16 sums; four registers of sums take two of either operand a step, so that as many are loaded as multiplied. Sums
//! run in steps of 32 numbers in order, whatever else is computed beside them. The compiler offers no such instructions on
//! stable Rust, so they are written out.

#![allow(unsafe_code)] // the instructions, and asking the system for leave to use them: each with its argument

use crate::kernel::{LANES, Lane, Pairs, split};
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

/// Sums of 32 rows and 32 columns.
pub type Square = [Lane<f32>; SIDE];

/// Whether this processor has tile registers, multiplies bf16 in them, and the system lets this process use them.
pub fn tiles_are_here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        return amx::granted();
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        false
    })
}

/// `sums[r][l] += Σ_s Σ_p a[s][r][p] · b[16 s + p][l]`, each a product of pairs, for the first `rows` (1 to 32) rows and all
/// 32 columns. `b` has sixteen lanes for each patch. Products of bf16 are exact in f32; how the two additions of a pair are
/// rounded is the processor's affair, and numbers too small for f32's normal range count as 0.
pub fn add_product(rows: usize, a: &[Patch], b: &[Pairs], sums: &mut Square) {
    let (from, to) = (sums.as_ptr().cast(), sums.as_mut_ptr().cast());
    // SAFETY: a square is 32 rows of 32 numbers without gaps, read first and then written.
    unsafe { run(rows, a, b, (from, LANES), (to, LANES)) };
}

/// The product alone, `Σ_s Σ_p a[s][r][p] · b[16 s + p][l]`, to `rows` (1 to 32) rows of 32 numbers, one every `stride` numbers.
pub fn product(rows: usize, a: &[Patch], b: &[Pairs], out: &mut [f32], stride: usize) {
    assert!(
        rows > 0 && stride >= LANES && out.len() >= (rows - 1) * stride + LANES,
        "no room for {rows} rows"
    );
    // SAFETY: the last of the rows ends within the slice.
    unsafe { product_at(rows, a, b, out.as_mut_ptr(), stride) };
}

/// As [`product`], to memory that holds anything.
///
/// # Safety
/// `rows` rows of 32 numbers, one every `stride` numbers from `out` on, may be written, and by nobody else meanwhile.
pub(crate) unsafe fn product_at(rows: usize, a: &[Patch], b: &[Pairs], out: *mut f32, stride: usize) {
    static NOTHING: Lane<f32> = Lane::ZERO;
    // SAFETY: the one lane of zeros is read for every row; the caller vouches for `out`.
    unsafe { run(rows, a, b, (NOTHING.0.as_ptr(), 0), (out, stride)) };
}

/// The sums at `from` and a product's, to `to`: each 32 numbers of `rows` rows, one every so many numbers.
///
/// # Safety
/// Those of `from` may be read and those of `to` written.
unsafe fn run(rows: usize, a: &[Patch], b: &[Pairs], from: (*const f32, usize), to: (*mut f32, usize)) {
    assert!((1..=SIDE).contains(&rows), "{rows} rows are multiplied");
    assert_eq!(a.len() * DEPTH, b.len(), "a patch goes with sixteen lanes");
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if tiles_are_here() && !a.is_empty() {
        // SAFETY: the line above has asked for the registers and the leave to use them; the lengths fit, and the caller
        // vouches for the rest.
        return unsafe { amx::run(rows, a, b, from, to) };
    }
    // SAFETY: the caller vouches for both.
    unsafe { run_plain(rows, a, b, from, to) };
}

/// # Safety
/// As for [`run`].
unsafe fn run_plain(rows: usize, a: &[Patch], b: &[Pairs], from: (*const f32, usize), to: (*mut f32, usize)) {
    for r in 0..rows {
        // SAFETY: 32 numbers of a row that may be read; they need not be aligned.
        let mut sums = unsafe { from.0.add(r * from.1).cast::<[f32; LANES]>().read_unaligned() };
        for (a, b) in a.iter().zip(b.as_chunks::<DEPTH>().0) {
            for (pair, b) in a.0[r].iter().zip(b) {
                let [first, second] = split(*pair);
                sums.iter_mut().zip(&b.0).for_each(|(sum, b)| {
                    let [b, c] = split(*b);
                    *sum += first * b + second * c;
                });
            }
        }
        // SAFETY: 32 numbers of a row that may be written.
        unsafe { to.0.add(r * to.1).cast::<[f32; LANES]>().write_unaligned(sums) };
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx {
    use super::{Patch, SIDE};
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

    /// The loop over steps, without and with the lower rows of the sums.
    ///
    /// Both load their sums, add a product for each step and store them. A step loads the 2,048 bytes of a patch, as one or
    /// two times 16 rows of 64 bytes below each other, and the 2,048 bytes of sixteen lanes, as the left and the right half of
    /// 16 rows of 128 bytes.
    macro_rules! tile_loop {
        ($first:literal, [$($begin:literal),*], [$($step:literal),*], [$($end:literal),*], $($operand:tt)*) => {
            asm!(
                "ldtilecfg [{shapes}]",
                "tileloadd tmm0, [{from} + {skip}]",
                "tileloadd tmm1, [{from} + {skip} + 64]",
                $($begin,)*
                "2:",
                "tileloadd tmm4, [{a} + {row}]",
                "tileloadd tmm6, [{b} + {row} * 2]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b} + {row} * 2 + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                $($step,)*
                "add {a}, 2048",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{to} + {stride}], tmm0",
                "tilestored [{to} + {stride} + 64], tmm1",
                $($end,)*
                "tilerelease",
                row = in(reg) $first,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
                $($operand)*
            )
        };
    }

    /// As [`super::run`].
    ///
    /// # Safety
    /// As there; and the process may use tile registers, `rows` is 1 to 32, `b` has sixteen lanes for each patch, and there
    /// is a patch.
    pub(super) unsafe fn run(
        rows: usize,
        a: &[Patch],
        b: &[Pairs],
        (from, skip): (*const f32, usize),
        (to, stride): (*mut f32, usize),
    ) {
        const { assert!(size_of::<Patch>() == 2048 && 16 * size_of::<Pairs>() == 2048) };
        let shapes = SHAPES[rows].0.as_ptr();
        let (skip, stride) = (4 * skip, 4 * stride);
        let (a, b, steps) = (a.as_ptr(), b.as_ptr(), a.len());
        if rows > SIDE / 2 {
            // SAFETY: sums are loaded from and stored to `rows` rows of 128 bytes; the loop runs once for each step that both
            // slices have. Shapes are configured first and released last, in this one block, and nothing else is clobbered.
            unsafe {
                tile_loop!(
                    64usize,
                    [
                        "mov {low}, {skip}",
                        "shl {low}, 4",
                        "add {from}, {low}",
                        "tileloadd tmm2, [{from} + {skip}]",
                        "tileloadd tmm3, [{from} + {skip} + 64]"
                    ],
                    [
                        "tileloadd tmm5, [{a} + {row} + 1024]",
                        "tdpbf16ps tmm2, tmm5, tmm6",
                        "tdpbf16ps tmm3, tmm5, tmm7"
                    ],
                    [
                        "mov {low}, {stride}",
                        "shl {low}, 4",
                        "add {to}, {low}",
                        "tilestored [{to} + {stride}], tmm2",
                        "tilestored [{to} + {stride} + 64], tmm3"
                    ],
                    shapes = in(reg) shapes,
                    from = inout(reg) from => _,
                    skip = in(reg) skip,
                    to = inout(reg) to => _,
                    stride = in(reg) stride,
                    a = inout(reg) a => _,
                    b = inout(reg) b => _,
                    steps = inout(reg) steps => _,
                    low = out(reg) _,
                );
            }
        } else {
            // SAFETY: as above, for at most 16 rows.
            unsafe {
                tile_loop!(
                    64usize,
                    [],
                    [],
                    [],
                    shapes = in(reg) shapes,
                    from = in(reg) from,
                    skip = in(reg) skip,
                    to = in(reg) to,
                    stride = in(reg) stride,
                    a = inout(reg) a => _,
                    b = inout(reg) b => _,
                    steps = inout(reg) steps => _,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::bf16_bits;

    fn pair(i: usize, step: f32) -> u32 {
        let at = i as f32 * step;
        bf16_bits(at.sin()) | bf16_bits((at + 0.5).cos()) << 16
    }

    /// Both versions against sums in f64 of the same bf16 numbers, added and alone.
    #[test]
    fn products_of_tiles_equal_their_definition() {
        for steps in [0usize, 1, 2, 5] {
            for rows in [1, 7, 15, 16, 17, 25, 32] {
                let a: Vec<Patch> = (0..steps)
                    .map(|s| {
                        Patch(std::array::from_fn(|r| {
                            std::array::from_fn(|p| pair((s * SIDE + r) * DEPTH + p, 0.7))
                        }))
                    })
                    .collect();
                let b: Vec<Pairs> = (0..steps * DEPTH)
                    .map(|p| Lane(std::array::from_fn(|l| pair(p * LANES + l, 0.3))))
                    .collect();
                let begin: Square = std::array::from_fn(|r| Lane([r as f32; LANES]));
                let mut added = begin;
                add_product(rows, &a, &b, &mut added);
                let stride = LANES + 5;
                let (mut alone, mut plain) = (vec![7f32; SIDE * stride], vec![7f32; SIDE * stride]);
                product(rows, &a, &b, &mut alone, stride);
                let zero = Lane::<f32>::ZERO;
                // SAFETY: the lane is read for every row, and the rows lie in the vector.
                unsafe { run_plain(rows, &a, &b, (zero.0.as_ptr(), 0), (plain.as_mut_ptr(), stride)) };
                for r in 0..SIDE {
                    for l in 0..stride {
                        let term = |p: usize| {
                            let a = split(a[p / DEPTH].0[r][p % DEPTH]).map(f64::from);
                            let b = split(b[p].0[l]).map(f64::from);
                            a[0] * b[0] + a[1] * b[1]
                        };
                        let inside = r < rows && l < LANES;
                        let sum = if inside { (0..steps * DEPTH).map(term).sum() } else { 7.0 };
                        for found in [alone[r * stride + l], plain[r * stride + l]] {
                            assert!(
                                (f64::from(found) - sum).abs() < 3e-5,
                                "{rows} rows, {steps} steps, {r}/{l}"
                            );
                        }
                        if l < LANES {
                            let want = r as f64 + if inside { sum } else { 0.0 };
                            assert!((f64::from(added[r].0[l]) - want).abs() < 3e-5, "{rows} rows, {r}/{l}");
                        }
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
        let mut all = [Lane::ZERO; SIDE];
        add_product(SIDE, &a, &b, &mut all);
        for rows in 1..SIDE {
            let mut few = [Lane::ZERO; SIDE];
            add_product(rows, &a, &b, &mut few);
            assert!(few[..rows] == all[..rows], "{rows} rows");
        }
    }

    #[test]
    #[should_panic(expected = "sixteen lanes")]
    fn operands_of_other_lengths_are_refused() {
        add_product(1, &[Patch::NONE], &[Pairs::NONE; 15], &mut [Lane::ZERO; SIDE]);
    }
}
