//! Ranks within a row: from 0 for the smallest magnitude; of equals the lower index ranks higher.
//!
//! Magnitudes are thrown into as many buckets as there are elements, evenly from zero to the largest, which for
//! weights leaves few in each: those are sorted by comparing. Elements are thrown from the end, and every sort
//! keeps the order of equals.
//!
//! Without sorting, an element's bucket says between which ranks it is, and that is mostly enough.

use super::magnitudes::magnitude;
use crate::base::wide::wide;

/// Longer buckets are left to a sort that does not mind.
const FEW: usize = 32;

/// Rows of fewer elements are thrown by adding 2^23, which leaves the nearest integer in a sum's last bits: a
/// conversion would have to mind infinities and numbers out of range.
const MANY: i32 = 1 << 22;

/// Room to sort in, used again for every row.
#[derive(Default)]
pub(super) struct Room {
    /// The bucket of each element.
    buckets: Vec<u32>,
    /// Where the next key of each bucket goes.
    places: Vec<u32>,
    keys: Vec<u64>,
}

impl Room {
    /// Throws a row into so many buckets; each then begins at its place and ends at the next one's.
    pub(super) fn fill(&mut self, row: &[f32], count: usize) {
        let Self { buckets, places, .. } = self;
        buckets.resize(row.len(), 0);
        places.clear();
        places.resize(count + 1, 0);
        throw(row, count, buckets);
        for bucket in &*buckets {
            places[*bucket as usize + 1] += 1;
        }
        let mut start = 0;
        for place in places {
            start += *place;
            *place = start;
        }
    }

    /// Between which ranks the elements of the row are.
    pub(super) fn bounds(&self) -> Bounds<'_> {
        Bounds { buckets: &self.buckets, places: &self.places }
    }

    /// Its rank.
    pub(super) fn rank_of(&self, row: &[f32], i: usize) -> usize {
        let bucket = self.buckets[i];
        let below = below(row, &self.buckets, bucket, magnitude(row[i]), i as u32);
        (self.places[bucket as usize] + below) as usize
    }
}

/// What buckets say of ranks.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    buckets: &'a [u32],
    places: &'a [u32],
}

impl Bounds<'_> {
    /// The least and the largest rank that element `i` can have.
    #[inline(always)]
    pub(super) fn of(self, i: usize) -> [usize; 2] {
        let bucket = self.buckets[i] as usize;
        [self.places[bucket] as usize, self.places[bucket + 1] as usize - 1]
    }
}

/// Ranks one row of fewer than 2^31 elements.
pub(super) fn rank(row: &[f32], room: &mut Room, ranks: &mut [i32]) {
    room.fill(row, row.len());
    let Room { buckets, places, keys } = room;
    keys.resize(row.len(), 0);
    for (i, (x, bucket)) in row.iter().zip(&*buckets).enumerate().rev() {
        let place = &mut places[*bucket as usize];
        keys[*place as usize] = u64::from(magnitude(*x)) << 32 | i as u64;
        *place += 1;
    }
    let mut start = 0;
    for end in &places[..row.len()] {
        sort(&mut keys[start..*end as usize]);
        start = *end as usize;
    }
    for (rank, key) in keys.iter().enumerate() {
        ranks[(key & u64::from(u32::MAX)) as usize] = rank as i32;
    }
}

wide! {
    /// The bucket of each element: larger magnitudes never go to lower ones. All go to the first if the largest
    /// magnitude is too small to be divided by.
    fn throw<'a>(row: &'a [f32], count: usize, buckets: &'a mut [u32]) {
        let largest = row.iter().map(|x| magnitude(*x).cast_signed()).fold(0, i32::max);
        let last = count.saturating_sub(1) as i32;
        let scale = last as f32 / f32::from_bits(largest.cast_unsigned());
        let scale = if scale.is_finite() { scale } else { 0.0 };
        // A rounded product may be above the last.
        if last < MANY {
            let whole = 2.0 * MANY as f32;
            for (bucket, x) in buckets.iter_mut().zip(row) {
                let sum = x.abs() * scale + whole;
                *bucket = sum.to_bits().wrapping_sub(whole.to_bits()).min(last.cast_unsigned());
            }
        } else {
            for (bucket, x) in buckets.iter_mut().zip(row) {
                *bucket = ((x.abs() * scale) as i32).min(last).cast_unsigned();
            }
        }
    }
}

wide! {
    /// How many elements of a bucket rank below one of them.
    fn below<'a>(row: &'a [f32], buckets: &'a [u32], bucket: u32, size: u32, index: u32) -> u32 {
        let mut count = 0;
        for ((x, other), i) in row.iter().zip(buckets).zip(0..) {
            let [x, size] = [magnitude(*x), size].map(u32::cast_signed);
            let is_below = (x < size) | ((x == size) & (i > index.cast_signed()));
            count += u32::from((*other == bucket) & is_below);
        }
        count
    }
}

/// Sorts keys by magnitude, equals as they are.
fn sort(keys: &mut [u64]) {
    if keys.len() > FEW {
        keys.sort_by_key(|key| key >> 32);
        return;
    }
    for end in 1..keys.len() {
        let key = keys[end];
        let mut place = end;
        while place > 0 && keys[place - 1] >> 32 > key >> 32 {
            keys[place] = keys[place - 1];
            place -= 1;
        }
        keys[place] = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_the_place_in_a_stable_sort(
            row in prop::collection::vec(
                prop_oneof![
                    (-4_i8..4).prop_map(f32::from),
                    any::<f32>().prop_filter("finite", |value| value.is_finite()),
                ],
                1..400,
            ),
        ) {
            let mut order: Vec<usize> = (0..row.len()).rev().collect();
            order.sort_by(|a, b| row[*a].abs().total_cmp(&row[*b].abs()));
            let mut room = Room::default();
            let mut ranks = vec![-1; row.len()];
            // Twice, because the room is used again.
            rank(&row[..row.len() / 2], &mut room, &mut vec![0; row.len() / 2]);
            rank(&row, &mut room, &mut ranks);
            for (place, i) in order.into_iter().enumerate() {
                prop_assert_eq!(ranks[i], place as i32);
            }
            for count in [row.len(), row.len().div_ceil(4), 1] {
                room.fill(&row, count);
                for (i, rank) in ranks.iter().enumerate() {
                    let [least, largest] = room.bounds().of(i);
                    prop_assert!((least..=largest).contains(&(*rank as usize)));
                    prop_assert_eq!(room.rank_of(&row, i), *rank as usize);
                }
            }
        }
    }
}
