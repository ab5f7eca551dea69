//! A matrix times many inputs: what a prompt or a batch costs.
//!
//! Three rows meet three inputs, and their nine sums stay in registers: each number that is read is used three
//! times. Both sides are laid out for that first, so that a tile reads two streams and nothing else. Long rows
//! are cut, that a block of rows may stay near the core while every input passes by; the lanes of every sum are
//! put away and taken up again, which changes neither their order nor a bit.
//!
//! ```text
//! packed inputs   cut of columns, group of inputs, chunk of eight columns, input
//! packed rows     cut of columns, group of rows,   chunk of eight columns, row       of one block of rows
//! ```

use std::cell::Cell;
use std::ops::Range;

use super::Matrix;
use super::lanes::{LANES, Lanes, multiply_add, rest};
use crate::base::wide::{FETCHES, fetch, wide};

/// Rows and inputs of a tile. Nine sums, three rows, an input and a product are 14 vectors of the 16 that AVX2
/// has; where a sum takes two vectors, as in wasm, four sums do.
const TILE: usize = if cfg!(target_arch = "wasm32") { 2 } else { 3 };

/// Groups of rows in a block.
const GROUPS: usize = 24 / TILE;

/// Rows of a block.
pub(super) const ROWS: usize = GROUPS * TILE;

/// Chunks of [`LANES`] columns that a row is cut into: so much of a block of rows, and of three inputs, fits the
/// nearest cache.
const CHUNKS: usize = 32;

/// The sums of a tile: of every input with every row.
type Sums = [[Lanes; TILE]; TILE];

/// Room to work in, kept by each thread: it would be cleared anew for every piece otherwise.
#[derive(Default)]
struct Room {
    row: Vec<f32>,
    rows: Vec<Lanes>,
    sums: Vec<Sums>,
}

thread_local! {
    static ROOM: Cell<Room> = Cell::default();
}

/// Inputs laid out for tiles.
#[derive(Debug, Default)]
pub(super) struct Packed {
    count: usize,
    columns: usize,
    numbers: Vec<Lanes>,
}

impl Packed {
    /// Rows of `columns` numbers, packed; `spread` allows other threads to help.
    pub(super) fn pack(&mut self, inputs: &[f32], columns: usize, spread: bool) {
        let (count, chunks) = (inputs.len() / columns, columns.div_ceil(LANES));
        (self.count, self.columns) = (count, columns);
        self.numbers.resize(count * chunks, [0.0; LANES]);
        let cut = |index: usize, out: &mut [Lanes]| {
            let (mut inputs, mut out) = (inputs, out);
            let length = out.len() / count;
            while !inputs.is_empty() {
                let (group, others) = inputs.split_at(inputs.len().min(TILE * columns));
                let (place, rest) = out.split_at_mut(group.len() / columns * length);
                pack(group, columns, index * CHUNKS, place);
                (inputs, out) = (others, rest);
            }
        };
        if spread {
            crate::tensor::blocks::for_each_chunk(&mut self.numbers, CHUNKS * count, cut);
        } else {
            self.numbers.chunks_mut(CHUNKS * count).enumerate().for_each(|(index, out)| cut(index, out));
        }
    }
}

/// Puts the chunks from `first` on of all `rows` side by side, as many as `out` has room for.
#[inline(always)]
fn pack(rows: &[f32], columns: usize, first: usize, out: &mut [Lanes]) {
    let count = rows.len() / columns;
    for (place, row) in rows.chunks_exact(columns).enumerate() {
        let (whole, _) = row.as_chunks::<LANES>();
        let places = out.iter_mut().skip(place).step_by(count);
        for (out, at) in places.zip(first..) {
            *out = if at < whole.len() { whole[at] } else { rest(row) };
        }
    }
}

/// The rows of `range` times every input: `out` has a slice for each, of `range.len()` numbers.
pub(super) fn multiply(matrix: &Matrix<'_>, range: Range<usize>, inputs: &Packed, out: &mut [&mut [f32]]) {
    let mut room = ROOM.take();
    for first in range.clone().step_by(ROWS) {
        let block = first..range.end.min(first + ROWS);
        multiply_block(matrix, block, inputs, &mut room, first - range.start, out);
    }
    ROOM.set(room);
}

/// A block of rows times every input, to `place` in each slice of `out`.
fn multiply_block(
    matrix: &Matrix<'_>,
    block: Range<usize>,
    inputs: &Packed,
    room: &mut Room,
    place: usize,
    out: &mut [&mut [f32]],
) {
    let &Packed { count, columns, ref numbers } = inputs;
    let (groups, chunks) = (block.len().div_ceil(TILE), columns.div_ceil(LANES));
    let Room { row, rows, sums } = room;
    row.resize(TILE * columns, 0.0);
    rows.resize(groups * TILE * chunks, [0.0; LANES]);
    let mut scales = [1.0; ROWS];
    pack_rows(matrix, block.clone(), row, rows, &mut scales);
    sums.clear();
    sums.resize(count.div_ceil(TILE) * groups, [[[0.0; LANES]; TILE]; TILE]);
    for (rows, numbers) in rows.chunks(CHUNKS * groups * TILE).zip(numbers.chunks(CHUNKS * count)) {
        let mut numbers = numbers.chunks(numbers.len() / count * TILE).peekable();
        for sums in sums.chunks_exact_mut(groups) {
            let Some(group) = numbers.next() else { break };
            strip(rows, group, numbers.peek().copied().unwrap_or_default(), sums);
        }
    }
    let mut done = [[[0.0; TILE]; TILE]; GROUPS];
    for (sums, out) in sums.chunks_exact(groups).zip(out.chunks_mut(TILE)) {
        add_up(sums, &mut done);
        for (input, out) in out.iter_mut().enumerate() {
            let tiles = out[place..place + block.len()].chunks_mut(TILE).zip(scales.as_chunks::<TILE>().0);
            for ((out, scales), done) in tiles.zip(&done) {
                for ((out, scale), sum) in out.iter_mut().zip(scales).zip(&done[input]) {
                    *out = sum * scale;
                }
            }
        }
    }
}

/// Widens and packs a block of rows. Those that fill up the last group are zeros.
#[inline(always)]
fn pack_rows(
    matrix: &Matrix<'_>,
    block: Range<usize>,
    buffer: &mut [f32],
    out: &mut [Lanes],
    scales: &mut [f32; ROWS],
) {
    let columns = matrix.columns;
    let (groups, chunks) = (block.len().div_ceil(TILE), columns.div_ceil(LANES));
    for group in 0..groups {
        for (place, buffer) in buffer.chunks_exact_mut(columns).enumerate() {
            let row = block.start + group * TILE + place;
            if row < block.end {
                scales[group * TILE + place] = matrix.widen(row, buffer);
            } else {
                buffer.fill(0.0);
            }
        }
        for (cut, first) in out.chunks_mut(CHUNKS * groups * TILE).zip((0..chunks).step_by(CHUNKS)) {
            let length = cut.len() / groups;
            pack(buffer, columns, first, &mut cut[group * length..(group + 1) * length]);
        }
    }
}

wide! {
    /// Adds every product of the groups of rows with one group of inputs to its lanes. The `next` inputs are
    /// fetched little by little meanwhile: nothing else would ask for them in time.
    fn strip<'a>(rows: &'a [Lanes], inputs: &'a [Lanes], next: &'a [Lanes], sums: &'a mut [Sums]) {
        let length = rows.len() / sums.len();
        let mut next = next.chunks(length.div_ceil(sums.len()) * TILE);
        for (rows, sums) in rows.chunks_exact(length).zip(sums) {
            if FETCHES {
                next.next().unwrap_or_default().iter().step_by(2).for_each(fetch);
            }
            match inputs.len() * TILE / length {
                1 => tile::<1>(rows, inputs, sums),
                2 => tile::<2>(rows, inputs, sums),
                _ => tile::<TILE>(rows, inputs, sums),
            }
        }
    }

    /// The lanes of every sum of up to [`GROUPS`] tiles added up, in the order of [`super::lanes::added_up`]:
    /// whole steps of the tree one after the other, since vectors are made of neighbouring sums here.
    fn add_up<'a>(sums: &'a [Sums], done: &'a mut [[[f32; TILE]; TILE]; GROUPS]) {
        let mut halves = [[0.0_f32; LANES / 2]; GROUPS * TILE * TILE];
        for (half, lanes) in halves.iter_mut().zip(sums.as_flattened().as_flattened()) {
            for lane in 0..LANES / 2 {
                half[lane] = lanes[lane] + lanes[lane + LANES / 2];
            }
        }
        for (done, half) in done.as_flattened_mut().as_flattened_mut().iter_mut().zip(&halves) {
            *done = (half[0] + half[2]) + (half[1] + half[3]);
        }
    }
}

/// Adds every product of a group of rows with `B` inputs to its lanes, which stay in registers meanwhile.
#[inline(always)]
fn tile<const B: usize>(rows: &[Lanes], inputs: &[Lanes], sums: &mut Sums) {
    let Some(sums) = sums.first_chunk_mut::<B>() else { return };
    let mut lanes = *sums;
    for (rows, inputs) in rows.as_chunks::<TILE>().0.iter().zip(inputs.as_chunks::<B>().0) {
        for b in 0..B {
            for a in 0..TILE {
                multiply_add(&mut lanes[b][a], &rows[a], &inputs[b]);
            }
        }
    }
    *sums = lanes;
}
