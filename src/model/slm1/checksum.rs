//! The header's checksum: our reading of one that is described but not published.
//!
//! What is known, from prose only: a 64-bit rolling value over the whole file with the checksum's
//! own eight bytes read as zero; from a fixed start each byte is combined with its index into the
//! state, which is then rotated and multiplied by the FNV prime. The start, the way of combining
//! and the rotation are not known. [`ChecksumScheme::STUDBOOK`] chooses them, in this file only.
//! It is a placeholder: one genuine file will settle the matter, by adding a line here.
//!
//! Until then no choice is nearer the truth than another, so two things decide: every damaged byte
//! must show, and the sum must not be what a large child waits for. One chain over all bytes takes
//! five machine cycles a byte, and nothing shortens it. Eight chains side by side take one:
//!
//! ```text
//! byte     0  1  2  3  4  5  6  7   8  9 ...
//! lane     0  1  2  3  4  5  6  7   0  1 ...     lane = rotate(lane ^ (byte + round), 5) * prime
//! round    0  0  0  0  0  0  0  0   1  1 ...
//! ```
//!
//! A byte's index is its lane, in which it meets that lane's own start, and its round, which is
//! added to it. At the end the lanes enter one more chain as if they were the bytes of eight rounds.
//!
//! Each step is a bijection of the state for a given byte, and maps two bytes to two states: one
//! changed byte always changes its lane, and so the result.
//!
//! A checksum that does not match is a remark, not an error, and integrity never rests on it:
//! BLAKE3 and SHA-256 in the records do that.

use std::fmt;
use std::ops::Range;

/// Where the checksum lies in the header; these bytes count as zero.
pub const CHECKSUM_AT: Range<usize> = 100..108;

const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

const LANES: usize = 8;

type Lanes = [u64; LANES];

/// A way to fill in what is not published.
#[derive(Debug, Clone, Copy)]
pub struct ChecksumScheme {
    /// What reports call it.
    pub name: &'static str,
    start: u64,
    /// Takes bytes into the lanes, given the index of the first.
    absorb: fn(lanes: &mut Lanes, index: u64, bytes: &[u8]),
    /// What the lanes come to.
    fold: fn(start: u64, lanes: &Lanes) -> u64,
}

impl ChecksumScheme {
    /// The scheme Studbook writes: FNV's offset basis plus the lane, `state ^ (byte + round)`, five
    /// bits left, eight lanes.
    pub const STUDBOOK: Self = Self {
        name: "studbook-fnv-rot5x8",
        start: 0xcbf2_9ce4_8422_2325,
        absorb: absorb_in_lanes,
        fold: |start, lanes| (0..).zip(lanes).fold(start, |state, (round, lane)| step(state, *lane, round)),
    };

    /// Every scheme that is tried on reading; the first is the one written.
    pub const ALL: &[Self] = &[Self::STUDBOOK];
}

#[inline(always)]
fn step(state: u64, input: u64, round: u64) -> u64 {
    (state ^ input.wrapping_add(round)).rotate_left(5).wrapping_mul(FNV_PRIME)
}

fn absorb_in_lanes(lanes: &mut Lanes, index: u64, bytes: &[u8]) {
    let one_by_one = |lanes: &mut Lanes, index: u64, bytes: &[u8]| {
        for (index, byte) in (index..).zip(bytes) {
            let lane = &mut lanes[index as usize % LANES];
            *lane = step(*lane, u64::from(*byte), index / LANES as u64);
        }
    };
    // Up to the next whole round of lanes, then rounds, then what is left.
    let before = (index.next_multiple_of(LANES as u64) - index) as usize;
    let (first, rest) = bytes.split_at(before.min(bytes.len()));
    one_by_one(lanes, index, first);
    let index = index + first.len() as u64;
    let (rounds, last) = rest.as_chunks::<LANES>();
    // A copy that stays in registers.
    let mut states = *lanes;
    let mut round = index / LANES as u64;
    for bytes in rounds {
        for (state, byte) in states.iter_mut().zip(bytes) {
            *state = step(*state, u64::from(*byte), round);
        }
        round += 1;
    }
    *lanes = states;
    one_by_one(lanes, round * LANES as u64, last);
}

/// A checksum over bytes given in file order.
#[derive(Debug, Clone)]
pub struct Checksum {
    scheme: ChecksumScheme,
    lanes: Lanes,
    index: u64,
}

impl Checksum {
    /// Nothing read yet.
    pub fn new(scheme: ChecksumScheme) -> Self {
        Self { scheme, lanes: std::array::from_fn(|lane| scheme.start.wrapping_add(lane as u64)), index: 0 }
    }

    /// Takes the next bytes of the file; those of the checksum itself count as zero.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        // At most once per file: cut out what lies within the checksum's own bytes.
        if self.index < CHECKSUM_AT.end as u64 {
            let before = (CHECKSUM_AT.start as u64).saturating_sub(self.index) as usize;
            let (plain, after) = rest.split_at(before.min(rest.len()));
            self.absorb(plain);
            let own =
                (CHECKSUM_AT.end as u64).saturating_sub(self.index.max(CHECKSUM_AT.start as u64)) as usize;
            let inside = if plain.len() == before { own.min(after.len()) } else { 0 };
            self.absorb(&[0; 8][..inside]);
            rest = &after[inside..];
        }
        self.absorb(rest);
    }

    fn absorb(&mut self, bytes: &[u8]) {
        (self.scheme.absorb)(&mut self.lanes, self.index, bytes);
        self.index += bytes.len() as u64;
    }

    /// The value for the header. Zero is no checksum there, so it becomes one.
    pub fn finish(&self) -> u64 {
        (self.scheme.fold)(self.scheme.start, &self.lanes).max(1)
    }
}

/// What can be said about a file's checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChecksumVerdict {
    /// A known scheme gives the stored value.
    Matches {
        /// Its name.
        scheme: &'static str,
    },
    /// None does: the file is damaged, or its writer uses a scheme that is not known here.
    NotVerified {
        /// The value in the header; `None` if the file is too short to have one.
        stored: Option<u64>,
        /// What Studbook's scheme gives.
        computed: u64,
    },
}

impl fmt::Display for ChecksumVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matches { scheme } => write!(f, "matches scheme {scheme}"),
            Self::NotVerified { stored: Some(stored), computed } => write!(
                f,
                "not verified (unknown scheme): {stored:016x} is stored, {} gives {computed:016x}",
                ChecksumScheme::STUDBOOK.name
            ),
            Self::NotVerified { stored: None, .. } => {
                f.write_str("not verified: the file has no whole header")
            }
        }
    }
}

/// Tries every known scheme on a whole file.
pub fn checksum_verdict(bytes: &[u8]) -> ChecksumVerdict {
    let stored =
        bytes.get(CHECKSUM_AT).and_then(|bytes| bytes.first_chunk()).map(|word| u64::from_le_bytes(*word));
    let compute = |scheme: &ChecksumScheme| {
        let mut checksum = Checksum::new(*scheme);
        checksum.update(bytes);
        checksum.finish()
    };
    let computed = compute(&ChecksumScheme::STUDBOOK);
    let others = ChecksumScheme::ALL[1..].iter().map(|scheme| (scheme.name, compute(scheme)));
    let mut values = std::iter::once((ChecksumScheme::STUDBOOK.name, computed)).chain(others);
    match values.find(|(_, value)| stored == Some(*value)) {
        Some((scheme, _)) => ChecksumVerdict::Matches { scheme },
        None => ChecksumVerdict::NotVerified { stored, computed },
    }
}

/// A checksum that grows while a file is written: here, or on a thread of its own.
pub(super) enum Running {
    Here(Checksum),
    #[cfg(feature = "engine")]
    Beside(thread::Beside),
}

impl Running {
    /// A checksum for a file of `bytes` bytes; small ones are not worth a thread.
    pub(super) fn for_file(bytes: u64) -> Self {
        #[cfg(feature = "engine")]
        if bytes >= 8 * thread::PIECE as u64
            && let Some(beside) = thread::Beside::start()
        {
            return Self::Beside(beside);
        }
        let _ = bytes;
        Self::Here(Checksum::new(ChecksumScheme::STUDBOOK))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Here(checksum) => checksum.update(bytes),
            #[cfg(feature = "engine")]
            Self::Beside(beside) => beside.update(bytes),
        }
    }

    pub(super) fn finish(self) -> u64 {
        match self {
            Self::Here(checksum) => checksum.finish(),
            #[cfg(feature = "engine")]
            Self::Beside(beside) => beside.finish(),
        }
    }
}

#[cfg(feature = "engine")]
mod thread {
    //! Bytes are copied into pieces; a bounded channel carries them to the thread, another one
    //! brings the empty pieces back. Dropping the sender ends the thread.

    use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
    use std::thread::{Builder, JoinHandle};

    use super::{Checksum, ChecksumScheme};

    /// Bytes handed over at a time.
    pub(super) const PIECE: usize = 1 << 18;
    /// Pieces on their way at most.
    const DEPTH: usize = 8;

    pub(in super::super) struct Beside {
        piece: Vec<u8>,
        full: SyncSender<Vec<u8>>,
        empty: Receiver<Vec<u8>>,
        thread: JoinHandle<u64>,
    }

    impl Beside {
        /// Nothing if the machine has no thread to give.
        pub(super) fn start() -> Option<Self> {
            let (full, pieces) = sync_channel(DEPTH);
            let (back, empty) = channel();
            let thread =
                Builder::new().name("slm1-checksum".to_owned()).spawn(move || run(&pieces, &back)).ok()?;
            Some(Self { piece: Vec::with_capacity(PIECE), full, empty, thread })
        }

        pub(super) fn update(&mut self, bytes: &[u8]) {
            let mut rest = bytes;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(PIECE - self.piece.len()));
                self.piece.extend_from_slice(now);
                rest = later;
                if self.piece.len() == PIECE {
                    self.hand_over();
                }
            }
        }

        fn hand_over(&mut self) {
            let fresh = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
            let full = std::mem::replace(&mut self.piece, fresh);
            self.full.send(full).expect("the thread lives until the sender is dropped");
        }

        pub(super) fn finish(mut self) -> u64 {
            self.hand_over();
            drop(self.full);
            self.thread.join().expect("the thread only does arithmetic")
        }
    }

    fn run(pieces: &Receiver<Vec<u8>>, back: &Sender<Vec<u8>>) -> u64 {
        let mut checksum = Checksum::new(ChecksumScheme::STUDBOOK);
        for mut piece in pieces {
            checksum.update(&piece);
            piece.clear();
            // Nobody waits for it any more once the last piece is on its way.
            let _ = back.send(piece);
        }
        checksum.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition read literally, one byte at a time.
    fn literal(bytes: &[u8]) -> u64 {
        let step = |state: u64, input: u64, round: u64| {
            let wide = u128::from(state ^ input.wrapping_add(round)) << 5;
            (wide as u64 | (wide >> 64) as u64).wrapping_mul(1_099_511_628_211)
        };
        let start = 0xcbf2_9ce4_8422_2325_u64;
        let mut lanes = [0, 1, 2, 3, 4, 5, 6, 7].map(|lane| start + lane);
        for (index, byte) in bytes.iter().enumerate() {
            let byte = if (100..108).contains(&index) { 0 } else { *byte };
            lanes[index % 8] = step(lanes[index % 8], byte.into(), (index / 8) as u64);
        }
        (0..8).fold(start, |state, i| step(state, lanes[i], i as u64))
    }

    fn of(bytes: &[u8]) -> u64 {
        let mut checksum = Checksum::new(ChecksumScheme::STUDBOOK);
        checksum.update(bytes);
        checksum.finish()
    }

    /// Computed by tests/fixtures/checksum.py.
    #[test]
    fn known_answers() {
        let file: Vec<u8> = (0..1000_u32).map(|i| (i * 37 % 251 + 1) as u8).collect();
        for (length, expected) in KNOWN {
            assert_eq!(of(&file[..length]), expected, "of {length} bytes");
        }
    }

    const KNOWN: [(usize, u64); 5] = [
        (0, 0xe2fe_720a_d261_c699),
        (1, 0x953d_6bd2_8796_0af2),
        (104, 0x572b_92c7_9028_38bb),
        (109, 0x98d7_3532_8392_a096),
        (1000, 0xfcbc_e30d_9cfe_28a0),
    ];

    #[test]
    fn one_flipped_bit_anywhere_shows() {
        let mut file: Vec<u8> = (0..300_u32).map(|i| (i * 37 % 251 + 1) as u8).collect();
        let whole = of(&file);
        for at in 0..file.len() * 8 {
            file[at / 8] ^= 1 << (at % 8);
            assert_eq!(of(&file) == whole, CHECKSUM_AT.contains(&(at / 8)), "bit {at}");
            file[at / 8] ^= 1 << (at % 8);
        }
        for (one, other) in [(200, 208), (200, 201), (200, 209)] {
            file.swap(one, other);
            assert_ne!(of(&file), whole, "bytes {one} and {other} in each other's place");
            file.swap(one, other);
        }
    }

    #[test]
    fn any_cut_gives_the_literal_value() {
        let bytes: Vec<u8> = (0..400_u32).map(|i| (i * 37 % 251) as u8 + 1).collect();
        for length in [0, 1, 99, 100, 101, 107, 108, 109, 400] {
            for piece in [1, 3, 7, 8, 9, 50, 100, 104, 108, 399, 400] {
                let mut checksum = Checksum::new(ChecksumScheme::STUDBOOK);
                bytes[..length].chunks(piece).for_each(|bytes| checksum.update(bytes));
                assert_eq!(checksum.finish(), literal(&bytes[..length]), "{length} in pieces of {piece}");
            }
        }
    }

    #[cfg(feature = "engine")]
    #[test]
    fn the_thread_gives_the_same_value() {
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
        for piece in [1_000_003, 77_777, thread::PIECE] {
            let mut running = Running::for_file(bytes.len() as u64);
            assert!(matches!(running, Running::Beside(_)));
            bytes.chunks(piece).for_each(|bytes| running.update(bytes));
            assert_eq!(running.finish(), literal(&bytes));
        }
    }

    #[test]
    fn verdicts() {
        let mut file = vec![7; 200];
        let ChecksumVerdict::NotVerified { stored, computed } = checksum_verdict(&file) else {
            panic!("matched by chance");
        };
        assert_eq!(stored, Some(0x0707_0707_0707_0707));
        file[CHECKSUM_AT].copy_from_slice(&computed.to_le_bytes());
        assert_eq!(checksum_verdict(&file), ChecksumVerdict::Matches { scheme: "studbook-fnv-rot5x8" });
        file[150] ^= 1;
        assert!(checksum_verdict(&file).to_string().starts_with("not verified (unknown scheme)"));
        assert!(matches!(checksum_verdict(&[]), ChecksumVerdict::NotVerified { stored: None, .. }));
    }
}
