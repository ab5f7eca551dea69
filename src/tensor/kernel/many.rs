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
use super::lanes::{LANES, Lanes, added_up, multiply_add, rest};
use crate::base::wide::wide;

/// Rows and inputs of a tile. Nine sums, three rows, an input and a product are 14 vectors of the 16 that AVX2
/// has; where a sum takes two vectors, as in wasm, four sums do.
const TILE: usize = if cfg!(target_arch = "wasm32") { 2 } else { 3 };

/// Most rows of a block.
pub(super) const ROWS: usize = 24;

/// Rows of a block of rows of so many chunks. Inputs of long rows come from far away, where two threads get in
/// each other's way: twice the rows ask for them half as often. Short rows are slower that way (measured).
fn rows(chunks: usize) -> usize {
    if chunks > LONG { ROWS } else { ROWS / 2 }
}

/// Chunks of [`LANES`] columns of a row that is long.
const LONG: usize = 128;

/// Chunks of every cut of rows of so many, but for the last: cuts of about one width, of which a block of rows
/// fits the nearest cache.
fn cut(chunks: usize) -> usize {
    let most = if chunks > LONG { 48 } else { 64 };
    chunks.div_ceil(chunks.div_ceil(most).max(1)).max(1)
}

/// Lanes where a vector of them lies in one cache line: packed numbers that begin anywhere took a third longer,
/// since every other load would be of two lines (measured).
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Chunk(Lanes);

/// The sums of every row of a block with every input of a group.
type Sums = [[Chunk; ROWS]; TILE];

/// Room to work in, kept by each thread: it would be cleared anew for every piece otherwise.
#[derive(Default)]
struct Room {
    row: Vec<f32>,
    rows: Vec<Chunk>,
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
    numbers: Vec<Chunk>,
}

impl Packed {
    /// Rows of `columns` numbers, packed; `spread` allows other threads to help.
    pub(super) fn pack(&mut self, inputs: &[f32], columns: usize, spread: bool) {
        let (count, chunks) = (inputs.len() / columns, columns.div_ceil(LANES));
        let width = cut(chunks);
        (self.count, self.columns) = (count, columns);
        self.numbers.resize(count * chunks, Chunk::default());
        let lay_out = |index: usize, out: &mut [Chunk]| {
            let length = out.len() / count * TILE;
            for (group, out) in inputs.chunks(TILE * columns).zip(out.chunks_mut(length)) {
                let mut rows = [&[][..]; TILE];
                rows.iter_mut().zip(group.chunks_exact(columns)).for_each(|(row, input)| *row = input);
                pack(&rows[..group.len() / columns], index * width, out);
            }
        };
        if spread {
            crate::tensor::blocks::for_each_chunk(&mut self.numbers, width * count, lay_out);
        } else {
            self.numbers.chunks_mut(width * count).enumerate().for_each(|(index, out)| lay_out(index, out));
        }
    }
}

/// Puts the chunks from `first` on of all `rows` side by side, as many as `out` has room for.
#[inline(always)]
fn pack(rows: &[&[f32]], first: usize, out: &mut [Chunk]) {
    for (place, row) in rows.iter().enumerate() {
        let whole = row.as_chunks::<LANES>().0;
        let mut out = out.chunks_exact_mut(rows.len());
        for (chunk, out) in whole[first.min(whole.len())..].iter().zip(out.by_ref()) {
            out[place].0 = *chunk;
        }
        if let Some(out) = out.next() {
            out[place].0 = rest(row);
        }
    }
}

/// The rows of `range` times every input: `out` has a slice for each, of `range.len()` numbers.
pub(super) fn multiply(matrix: &Matrix<'_>, range: Range<usize>, inputs: &Packed, out: &mut [&mut [f32]]) {
    let mut room = ROOM.take();
    let rows = rows(inputs.columns.div_ceil(LANES));
    for first in range.clone().step_by(rows) {
        let block = first..range.end.min(first + rows);
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
    let width = cut(chunks);
    let cuts = chunks.div_ceil(width);
    let Room { row, rows, sums } = room;
    row.resize(TILE * columns, 0.0);
    rows.resize(groups * TILE * chunks, Chunk::default());
    let mut scales = [1.0; ROWS];
    pack_rows(matrix, block.clone(), row, rows, &mut scales);
    // Without a second cut nothing is put away, and all groups share one place.
    sums.resize(if cuts == 1 { 1 } else { count.div_ceil(TILE) }, [[Chunk::default(); ROWS]; TILE]);
    let places = sums.len();
    for (cut, rows) in rows.chunks(width * groups * TILE).enumerate() {
        let length = rows.len() / groups;
        let numbers = numbers[cut * width * count..][..length / TILE * count].chunks(length);
        for (group, (inputs, out)) in numbers.zip(out.chunks_mut(TILE)).enumerate() {
            let sums = &mut sums[group % places];
            strip(rows, length, inputs, cut == 0, sums);
            if cut + 1 == cuts {
                let mut done = [[0.0; ROWS]; TILE];
                add_up(sums, block.len(), &mut done);
                for (out, done) in out.iter_mut().zip(&done) {
                    for ((out, sum), scale) in
                        out[place..place + block.len()].iter_mut().zip(done).zip(&scales)
                    {
                        *out = sum * scale;
                    }
                }
            }
        }
    }
}

wide! {
    /// Widens and packs a block of rows. Those that fill up the last group are zeros.
    fn pack_rows<'a>(
        matrix: &'a Matrix<'a>,
        block: Range<usize>,
        buffer: &'a mut [f32],
        out: &'a mut [Chunk],
        scales: &'a mut [f32; ROWS],
    ) {
        let columns = matrix.columns;
        let (groups, chunks) = (block.len().div_ceil(TILE), columns.div_ceil(LANES));
        let width = cut(chunks);
        for group in 0..groups {
            let mut rows = [&[][..]; TILE];
            for (place, buffer) in buffer.chunks_exact_mut(columns).enumerate() {
                let row = block.start + group * TILE + place;
                if row < block.end {
                    (rows[place], scales[group * TILE + place]) = matrix.row(row, buffer);
                } else {
                    buffer.fill(0.0);
                    rows[place] = buffer;
                }
            }
            for (cut, first) in out.chunks_mut(width * groups * TILE).zip((0..chunks).step_by(width)) {
                let length = cut.len() / groups;
                pack(&rows, first, &mut cut[group * length..(group + 1) * length]);
            }
        }
    }
}

/// Adds every product of groups of rows, `length` chunks each, with one group of inputs to its lanes.
fn strip(rows: &[Chunk], length: usize, inputs: &[Chunk], begins: bool, sums: &mut Sums) {
    for (rows, place) in rows.chunks_exact(length).zip((0..).step_by(TILE)) {
        match inputs.len() * TILE / length {
            1 => tile_of_one(rows, inputs, begins, place, sums),
            2 if TILE > 2 => tile_of_two(rows, inputs, begins, place, sums),
            _ => tile_of_all(rows, inputs, begins, place, sums),
        }
    }
}

wide! {
    // Each alone, or the compiler makes three loop variables of one.
    fn tile_of_one<'a>(
        rows: &'a [Chunk], inputs: &'a [Chunk], begins: bool, place: usize, sums: &'a mut Sums,
    ) {
        tile::<1>(rows, inputs, begins, place, sums);
    }

    fn tile_of_two<'a>(
        rows: &'a [Chunk], inputs: &'a [Chunk], begins: bool, place: usize, sums: &'a mut Sums,
    ) {
        tile::<2>(rows, inputs, begins, place, sums);
    }

    fn tile_of_all<'a>(
        rows: &'a [Chunk], inputs: &'a [Chunk], begins: bool, place: usize, sums: &'a mut Sums,
    ) {
        tile::<TILE>(rows, inputs, begins, place, sums);
    }

    /// The lanes of the first `rows` sums of every input added up.
    fn add_up<'a>(sums: &'a Sums, rows: usize, done: &'a mut [[f32; ROWS]; TILE]) {
        for (done, sums) in done.iter_mut().zip(sums) {
            let fours = done.as_chunks_mut::<4>().0.iter_mut().zip(sums.as_chunks::<4>().0);
            for (done, sums) in fours.take(rows.div_ceil(4)) {
                *done = added_up(&sums.map(|sum| sum.0));
            }
        }
    }
}

/// Adds every product of a group of rows with `B` inputs to its lanes, which stay in registers meanwhile. What
/// `begins` has nothing to take up.
#[inline(always)]
fn tile<const B: usize>(rows: &[Chunk], inputs: &[Chunk], begins: bool, place: usize, sums: &mut Sums) {
    let mut lanes = [[Chunk::default(); TILE]; B];
    if !begins {
        for (lanes, sums) in lanes.iter_mut().zip(&*sums) {
            lanes.copy_from_slice(&sums[place..place + TILE]);
        }
    }
    for (rows, inputs) in rows.as_chunks::<TILE>().0.iter().zip(inputs.as_chunks::<B>().0) {
        for b in 0..B {
            for a in 0..TILE {
                multiply_add(&mut lanes[b][a].0, &rows[a].0, &inputs[b].0);
            }
        }
    }
    for (sums, lanes) in sums.iter_mut().zip(lanes) {
        sums[place..place + TILE].copy_from_slice(&lanes);
    }
}
