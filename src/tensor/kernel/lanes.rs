//! Eight partial sums, and the order in which a dot product adds them up.

use crate::base::wide::added_across;

/// Partial sums of a dot product.
pub const LANES: usize = 8;

/// One of eight neighbours each.
pub(super) type Lanes = [f32; LANES];

/// The dot product of two slices of one length, in the order every product in this program has.
#[inline]
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    debug_assert_eq!(left.len(), right.len());
    let [sum] = dots([left], right);
    sum
}

/// The dot products of several rows with one input: each has the bits of [`dot`].
#[inline(always)]
pub fn dots<const A: usize>(rows: [&[f32]; A], input: &[f32]) -> [f32; A] {
    let mut lanes = [[0.0_f32; LANES]; A];
    let chunks = input.as_chunks::<LANES>().0;
    // Said once, so that the loop below needs no bounds checks and stays in registers.
    let row_chunks = rows.map(|row| &row.as_chunks::<LANES>().0[..chunks.len()]);
    for (at, chunk) in chunks.iter().enumerate() {
        for a in 0..A {
            multiply_add(&mut lanes[a], &row_chunks[a][at], chunk);
        }
    }
    if chunks.len() * LANES < input.len() {
        for a in 0..A {
            multiply_add(&mut lanes[a], &rest(rows[a]), &rest(input));
        }
    }
    added_up(&lanes)
}

/// The eight lanes of every sum added up.
#[inline(always)]
pub(super) fn added_up<const N: usize>(lanes: &[Lanes; N]) -> [f32; N] {
    // Written out: of a loop, the compiler makes one across sums.
    let halves = lanes.map(|[a, b, c, d, e, f, g, h]| [a + e, b + f, c + g, d + h]);
    if cfg!(target_arch = "x86_64") && N.is_multiple_of(4) { finish_fours(&halves) } else { finish(&halves) }
}

/// The rest of the tree, of four sums together.
#[inline(always)]
fn finish_fours<const N: usize>(halves: &[[f32; LANES / 2]; N]) -> [f32; N] {
    let mut sums = [0.0; N];
    for (sums, halves) in sums.as_chunks_mut::<4>().0.iter_mut().zip(halves.as_chunks::<4>().0) {
        *sums = added_across(*halves);
    }
    sums
}

/// The rest of the tree. Kept apart: seen together with the loop above, its pairs lure the compiler into
/// vectors of two, four times slower (measured with rustc 1.95).
#[inline(never)]
fn finish<const N: usize>(halves: &[[f32; LANES / 2]; N]) -> [f32; N] {
    halves.map(|half| (half[0] + half[2]) + (half[1] + half[3]))
}

/// Two roundings, never one: `mul_add` would follow the CPU.
#[inline(always)]
pub(super) fn multiply_add(sum: &mut Lanes, left: &Lanes, right: &Lanes) {
    for lane in 0..LANES {
        sum[lane] += left[lane] * right[lane];
    }
}

/// What is left over after whole chunks, with zeros after it.
#[inline(always)]
pub(super) fn rest(values: &[f32]) -> Lanes {
    let mut lanes = [0.0; LANES];
    let values = values.as_chunks::<LANES>().1;
    lanes[..values.len()].copy_from_slice(values);
    lanes
}
