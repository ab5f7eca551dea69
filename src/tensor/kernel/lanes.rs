//! Eight partial sums, and the order in which a dot product adds them up.

/// Partial sums of a dot product.
pub const LANES: usize = 8;

/// One of eight neighbours each.
pub(super) type Lanes = [f32; LANES];

/// The dot product of two slices of one length, in the order every product in this program has.
#[inline]
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    debug_assert_eq!(left.len(), right.len());
    let [[sum]] = sums([left], [right]);
    sum
}

/// The dot products of several rows with one input: each has the bits of [`dot`].
#[inline(always)]
pub fn dots<const A: usize>(rows: [&[f32]; A], input: &[f32]) -> [f32; A] {
    sums(rows, [input]).map(|[sum]| sum)
}

/// Every dot product of `A` rows with `B` inputs of one length.
#[inline(always)]
pub(super) fn sums<const A: usize, const B: usize>(rows: [&[f32]; A], inputs: [&[f32]; B]) -> [[f32; B]; A] {
    let mut lanes = [[[0.0_f32; LANES]; B]; A];
    let row_chunks = rows.map(|row| row.as_chunks::<LANES>().0);
    let input_chunks = inputs.map(|input| input.as_chunks::<LANES>().0);
    let whole = row_chunks[0].len();
    // Said once, so that the loop below needs no bounds checks and stays in registers.
    let row_chunks = row_chunks.map(|chunks| &chunks[..whole]);
    let input_chunks = input_chunks.map(|chunks| &chunks[..whole]);
    for chunk in 0..whole {
        for a in 0..A {
            for b in 0..B {
                multiply_add(&mut lanes[a][b], &row_chunks[a][chunk], &input_chunks[b][chunk]);
            }
        }
    }
    if whole * LANES < rows[0].len() {
        let row_rests = rows.map(rest);
        let input_rests = inputs.map(rest);
        for a in 0..A {
            for b in 0..B {
                multiply_add(&mut lanes[a][b], &row_rests[a], &input_rests[b]);
            }
        }
    }
    added_up(&lanes)
}

/// The eight lanes of every sum added up.
#[inline(always)]
pub(super) fn added_up<const A: usize, const B: usize>(lanes: &[[Lanes; B]; A]) -> [[f32; B]; A] {
    let mut halves = [[[0.0_f32; LANES / 2]; B]; A];
    for a in 0..A {
        for b in 0..B {
            for lane in 0..LANES / 2 {
                halves[a][b][lane] = lanes[a][b][lane] + lanes[a][b][lane + LANES / 2];
            }
        }
    }
    finish(&halves)
}

/// The rest of the tree. Kept apart: seen together with the loop above, its pairs lure the compiler into
/// vectors of two, four times slower (measured with rustc 1.95).
#[inline(never)]
pub(super) fn finish<const A: usize, const B: usize>(halves: &[[[f32; LANES / 2]; B]; A]) -> [[f32; B]; A] {
    let mut sums = [[0.0; B]; A];
    for a in 0..A {
        for b in 0..B {
            let half = &halves[a][b];
            sums[a][b] = (half[0] + half[2]) + (half[1] + half[3]);
        }
    }
    sums
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
