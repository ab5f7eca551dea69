//! What is written is read back; what is damaged is refused, never a panic.

use std::sync::Arc;

use proptest::prelude::*;

use super::package::{ENTRY, FAMILIES, HEADER};
use super::write::{PlannedStored, encode_pair};
use super::*;
use crate::tensor::shape::Shape;

fn identity() -> AdapterIdentity {
    AdapterIdentity {
        tensor_count: 12,
        flags: 1,
        parameter_count: 4_824,
        tensor_layout_checksum: Checksum(0x0123_4567_89ab_cdef),
        tokenizer_checksum: Checksum(0xfedc_ba98_7654_3210),
    }
}

/// A delta with its numbers.
#[derive(Debug, Clone, PartialEq)]
struct Whole {
    name: String,
    shape: Vec<usize>,
    numbers: Numbers,
}

#[derive(Debug, Clone, PartialEq)]
enum Numbers {
    Dense(Vec<f32>),
    Sparse(Vec<(u64, f32)>, bool),
    LowRank { a: Vec<f32>, b: Vec<f32>, rank: usize, scale: f32 },
}

fn planned(whole: &Whole) -> PlannedDelta {
    let stored = match &whole.numbers {
        Numbers::Dense(_) => PlannedStored::Dense,
        Numbers::Sparse(pairs, wide) => PlannedStored::Sparse { pairs: pairs.len() as u64, wide: *wide },
        Numbers::LowRank { rank, scale, .. } => PlannedStored::LowRank { rank: *rank, scale: *scale },
    };
    PlannedDelta { name: whole.name.clone(), shape: Shape::new(whole.shape.clone()).unwrap(), stored }
}

fn bytes_of(whole: &Whole) -> Vec<u8> {
    let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    match &whole.numbers {
        Numbers::Dense(values) => floats(values),
        Numbers::Sparse(pairs, wide) => {
            let mut bytes = Vec::new();
            pairs.iter().for_each(|(index, delta)| encode_pair(*wide, *index, *delta, &mut bytes));
            bytes
        }
        Numbers::LowRank { a, b, .. } => [floats(a), floats(b)].concat(),
    }
}

fn write(family: &Family, deltas: &[Whole], piece: usize) -> Vec<u8> {
    let layout = Layout::new(family, &identity(), &deltas.iter().map(planned).collect::<Vec<_>>()).unwrap();
    let mut file = Vec::new();
    let mut writer = Writer::new(&layout, &mut file).unwrap();
    let data: Vec<u8> = deltas.iter().flat_map(bytes_of).collect();
    data.chunks(piece).for_each(|bytes| writer.put(bytes).unwrap());
    writer.finish().unwrap();
    assert_eq!(file.len() as u64, layout.total_bytes());
    file
}

fn read(file: &[u8]) -> Result<Adapter, AdapterError> {
    let adapter = open_bytes(Arc::new(file.to_vec()))?;
    adapter.validate()?;
    Ok(adapter)
}

fn refused(file: &[u8]) -> String {
    read(file).unwrap_err().to_string()
}

/// The adapter as it was given to the writer.
fn whole(adapter: &Adapter) -> Vec<Whole> {
    let numbers = |name: &str| match adapter.delta(name).unwrap() {
        Delta::Dense(view) => Numbers::Dense(view.to_f32()),
        Delta::Sparse(pairs) => {
            Numbers::Sparse((0..pairs.len()).map(|i| pairs.get(i)).collect(), matches!(pairs, Pairs::Wide(_)))
        }
        Delta::LowRank(factors) => Numbers::LowRank {
            a: factors.a.to_vec(),
            b: factors.b.to_vec(),
            rank: factors.rank,
            scale: factors.scale,
        },
    };
    let infos = adapter.infos().iter();
    infos
        .map(|info| Whole {
            name: info.name.clone(),
            shape: info.shape.dims().to_vec(),
            numbers: numbers(&info.name),
        })
        .collect()
}

/// One small package of each family.
fn samples() -> [Vec<u8>; 3] {
    let delta = |name: &str, shape: &[usize], numbers| Whole {
        name: name.to_owned(),
        shape: shape.to_vec(),
        numbers,
    };
    let [dense, sparse, low_rank] = FAMILIES;
    let floats = |count: usize| (0..count).map(|i| i as f32 * 0.5 - 1.0).collect::<Vec<_>>();
    [
        write(
            dense,
            &[
                delta("a.weight", &[2, 3], Numbers::Dense(floats(6))),
                delta("é", &[], Numbers::Dense(floats(1))),
            ],
            usize::MAX,
        ),
        write(
            sparse,
            &[
                delta("a.weight", &[3, 5], Numbers::Sparse(vec![(0, 1.0), (7, -2.0), (14, 0.5)], false)),
                delta("b", &[9], Numbers::Sparse(vec![(8, 3.0)], true)),
                delta("none", &[2], Numbers::Sparse(vec![], false)),
            ],
            5,
        ),
        write(
            low_rank,
            &[
                delta(
                    "a.weight",
                    &[2, 3],
                    Numbers::LowRank { a: floats(6), b: floats(4), rank: 2, scale: 0.25 },
                ),
                delta("norm", &[4], Numbers::Dense(floats(4))),
            ],
            7,
        ),
    ]
}

#[test]
fn fields_lie_where_they_are_documented() {
    let [dense, sparse, low_rank] = samples();
    assert_eq!([&dense[..4], &sparse[..4], &low_rank[..4]], [b"SBD1", b"SBS1", b"SBL1"]);
    let word = |file: &[u8], at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let long = |file: &[u8], at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    for file in [&dense, &sparse, &low_rank] {
        assert_eq!([4, 8, 12].map(|at| word(file, at)), [1, 128, 1]);
        assert_eq!([16, 24].map(|at| long(file, at)), [12, 4_824]);
        assert_eq!([32, 40].map(|at| long(file, at)), [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
        assert_eq!([48, 88].map(|at| long(file, at)), [128, file.len() as u64]);
        assert!(file.len().is_multiple_of(64) && long(file, 80).is_multiple_of(64));
        let mut zeroed = file.clone();
        zeroed[96..128].fill(0);
        assert_eq!(file[96..128], *crate::base::digest::Digest::of(&zeroed).as_bytes());
    }
    // The first entry of the low-rank package: its name, kind 3, 2x3, rank 2, A and B one behind the
    // other, scale 1/4.
    let entry = &low_rank[128..256];
    let name = long(entry, 0) as usize;
    assert_eq!(&low_rank[name..name + word(entry, 8) as usize], b"a.weight");
    assert_eq!([12, 16, 20].map(|at| word(entry, at)), [3, 2, 0]);
    assert_eq!([24, 64, 72, 80].map(|at| long(entry, at)), [2, 2, 3, 0]);
    let data = long(&low_rank, 80);
    assert_eq!([32, 40].map(|at| long(entry, at)), [data, data + 64]);
    assert_eq!(f32::from_bits(word(entry, 48)), 0.25);
    assert_eq!(low_rank[data as usize..data as usize + 4], (-1.0_f32).to_le_bytes());
    // The second pair of the first sparse delta.
    let pairs = long(&sparse[128..], 32) as usize;
    assert_eq!(word(&sparse, pairs + 8), 7);
    assert_eq!(f32::from_bits(word(&sparse, pairs + 12)), -2.0);
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for file in samples() {
        assert!(read(&file).is_ok());
        for length in 0..file.len() {
            let error = refused(&file[..length]);
            assert!(!error.is_empty(), "cut at {length}");
        }
        let mut longer = file.clone();
        longer.push(0);
        assert!(refused(&longer).contains("file length (byte 88)"), "{}", refused(&longer));
    }
}

/// The digest sees every byte; without it, what is read is still safe to use.
#[test]
fn a_flipped_byte_is_refused() {
    for file in samples() {
        for at in 0..file.len() {
            for flip in [0x01, 0x02, 0x10, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[at] ^= flip;
                assert!(read(&damaged).is_err(), "byte {at}");
                if let Ok(adapter) = open_bytes(Arc::new(damaged)) {
                    use_it(&adapter);
                }
            }
        }
    }
}

/// Reads all of an adapter that was opened and not validated.
fn use_it(adapter: &Adapter) {
    for info in adapter.infos() {
        if info.shape.elements() < 1 << 16 {
            let mut values = vec![0.0; info.shape.elements()];
            adapter.delta(&info.name).unwrap().add_to(0, &mut values);
        }
    }
}

/// Fields set to the values that overflow sums and products.
#[test]
fn extreme_fields_are_refused_or_harmless() {
    for file in samples() {
        for at in (0..96).step_by(4).chain((HEADER..HEADER + 2 * ENTRY - 8).step_by(4)) {
            let extremes =
                [0_u64, 1, u64::MAX, u64::MAX - 63, 1 << 63, 0x7fff_ffff_ffff_ffc0, 0xffff_ffc0, 1 << 32];
            for extreme in extremes {
                for length in [4, 8] {
                    let mut damaged = file.clone();
                    damaged[at..at + length].copy_from_slice(&extreme.to_le_bytes()[..length]);
                    if let Ok(adapter) = open_bytes(Arc::new(damaged)) {
                        use_it(&adapter);
                    }
                }
            }
        }
    }
}

/// The file with bytes replaced and its digest put right.
fn forged(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file[96..128].fill(0);
    let digest = crate::base::digest::Digest::of(&file);
    file[96..128].copy_from_slice(digest.as_bytes());
    file
}

#[test]
fn refusals_say_what_where_and_what_was_expected() {
    let [dense, sparse, low_rank] = samples();
    let long = |file: &[u8], at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    let values = long(&dense, HEADER + 32) as usize;
    let pairs = long(&sparse, HEADER + 32) as usize;
    let b = long(&low_rank, HEADER + 40) as usize;
    let nan = f32::NAN.to_le_bytes();
    let entry = |index: usize, at: usize| HEADER + index * ENTRY + at;
    let cases: [(Vec<u8>, &[&str]); 22] = [
        (forged(&dense, 0, b"ADP1"), &["begins with \"ADP1\"", "\"SBD1\""]),
        (dense[..100].to_vec(), &["has 100 bytes", "cut short"]),
        (forged(&dense, 4, &[2]), &["version (byte 4) is 2", "expected 1"]),
        (forged(&dense, 8, &[127]), &["header length (byte 8) is 127"]),
        (forged(&dense, 16, &[1]), &["entries (byte 56) is 2", "at most the model's 1 tensors"]),
        (forged(&dense, 48, &[129]), &["directory at (byte 48) is 129", "a multiple of 64"]),
        (forged(&dense, 73, &[0xff]), &["the list of names", "the file has"]),
        (forged(&dense, entry(0, 12), &[2]), &["entry 0, field kind (byte 140) is 2", "expected 1", "sbd1"]),
        (forged(&dense, entry(0, 0), &[1]), &["field name", "a name inside the list"]),
        (forged(&dense, entry(0, 8), &[0]), &["field name", "0 bytes at byte"]),
        (forged(&dense, entry(0, 16), &[9]), &["dimensions", "is 9", "at most 8"]),
        (forged(&dense, entry(0, 64), &[0]), &["a.weight", "dimension of zero"]),
        (forged(&dense, entry(0, 24), &[5]), &["count", "is 5", "expected 6"]),
        (forged(&dense, entry(0, 53), &[1]), &["reserved"]),
        (forged(&dense, entry(1, 32), &(values as u64).to_le_bytes()), &["values of", "inside"]),
        (forged(&dense, values + 8, &nan), &["tensor a.weight, value 2 is NaN"]),
        (forged(&sparse, pairs + 8, &[0]), &["tensor a.weight, pair 1 is for element 0", "1 or more"]),
        (forged(&sparse, pairs + 16, &[15]), &["pair 2 is for element 15", "15 elements"]),
        (forged(&sparse, pairs + 12, &nan), &["tensor a.weight, pair 1 is NaN"]),
        (forged(&low_rank, entry(0, 24), &[0]), &["count", "a rank of 1 or more"]),
        (forged(&low_rank, entry(0, 48), &nan), &["scale", "is NaN", "finite"]),
        (forged(&low_rank, b + 12, &nan), &["tensor a.weight, element of B 3 is NaN"]),
    ];
    for (file, parts) in cases {
        let error = refused(&file);
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} are not all in: {error}");
    }
    let mut quiet = dense.clone();
    quiet[values] ^= 1;
    assert!(refused(&quiet).starts_with("the adapter is damaged"), "{}", refused(&quiet));
    let mut twice = dense.clone();
    twice.copy_within(entry(0, 0)..entry(0, 16), entry(1, 0));
    assert!(refused(&twice).contains("tensor a.weight has two directory entries, 0 and 1"));
}

#[test]
fn a_claim_of_billions_allocates_nothing() {
    let [dense, sparse, low_rank] = samples();
    let huge = |file: &[u8], at: usize, value: u64| refused(&forged(file, at, &value.to_le_bytes()));
    assert!(huge(&dense, 64 + HEADER, 1 << 40).contains("count"));
    let wide = forged(&sparse, 64 + HEADER, &(1_u64 << 28).to_le_bytes());
    assert!(huge(&wide, 24 + HEADER, 1 << 28).contains("the file has"));
    assert!(huge(&low_rank, 24 + HEADER, 1 << 40).contains("the file has"));
    assert!(huge(&low_rank, 24 + HEADER, u64::MAX).contains("a rank of 1 or more"));
    let mut many = dense;
    many[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    many[56..60].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refused(&many).contains("the directory is 549755813760 bytes"), "{}", refused(&many));
}

#[test]
fn a_model_must_fit() {
    let [dense, ..] = samples();
    let adapter = read(&dense).unwrap();
    let right = [("a.weight", Shape::new(vec![2, 3]).unwrap()), ("é", Shape::new(vec![]).unwrap())];
    let wrong = Shape::new(vec![3, 2]).unwrap();
    let find = |name: &str| right.iter().find(|(known, _)| *known == name).map(|(_, shape)| shape);
    adapter.check_fits(&identity(), find).unwrap();
    let other = AdapterIdentity { tensor_count: 11, flags: 0, ..identity() };
    assert_eq!(
        adapter.check_fits(&other, find).unwrap_err().to_string(),
        "the adapter is for another model: tensor_count is 12 in the adapter and 11 in the model; \
         flags is 1 in the adapter and 0 in the model"
    );
    let hint = "put the tokenizer.json that the adapter was made with beside the model";
    for (tensor_count, is_told) in [(12, true), (11, false)] {
        let tokenizer_checksum = crate::model::adapter::identity::Checksum(7);
        let other = AdapterIdentity { tensor_count, tokenizer_checksum, ..identity() };
        let told = adapter.check_fits(&other, find).unwrap_err().to_string();
        assert!(
            told.contains("and 0000000000000007 in the model") && told.contains(hint) == is_told,
            "{told}"
        );
    }
    assert_eq!(
        adapter.check_fits(&identity(), |_| Some(&wrong)).unwrap_err().to_string(),
        "the adapter's delta for tensor a.weight is 2x3; the tensor is 3x2"
    );
    assert_eq!(
        adapter.check_fits(&identity(), |name| find(name).filter(|_| name == "é")).unwrap_err().to_string(),
        "the adapter changes tensor a.weight, which the model does not have"
    );
}

#[test]
fn the_writer_holds_to_its_layout() {
    let plan = PlannedDelta {
        name: "t".to_owned(),
        shape: Shape::new(vec![3]).unwrap(),
        stored: PlannedStored::Dense,
    };
    let layout = Layout::new(FAMILIES[0], &identity(), &[plan]).unwrap();
    let mut file = Vec::new();
    let mut writer = Writer::new(&layout, &mut file).unwrap();
    writer.put_f32(&[1.0, 2.0]).unwrap();
    let error = writer.finish().unwrap_err().to_string();
    assert_eq!(error, "tensor t: 8 bytes of a delta were written where its shape needs 12");
    let mut file = Vec::new();
    let mut writer = Writer::new(&layout, &mut file).unwrap();
    assert!(writer.put_f32(&[1.0, 2.0, 3.0, 4.0]).is_err());
}

fn numbers(count: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(any::<f32>().prop_filter("finite", |value| value.is_finite()), count)
}

fn deltas(family: usize) -> impl Strategy<Value = Vec<Whole>> {
    let shape = prop::collection::vec(1_usize..5, 0..4);
    let delta = (shape, any::<bool>(), 1_usize..4).prop_flat_map(move |(shape, other, rank)| {
        let elements: usize = shape.iter().product();
        let columns = shape.last().copied().unwrap_or(1);
        let kind = match family {
            0 => numbers(elements).prop_map(Numbers::Dense).boxed(),
            1 => prop::collection::btree_map(0..elements as u64, -9.0_f32..9.0, 0..=elements)
                .prop_map(move |pairs| Numbers::Sparse(pairs.into_iter().collect(), other))
                .boxed(),
            _ if other => numbers(elements).prop_map(Numbers::Dense).boxed(),
            _ => (numbers(rank * columns), numbers(elements / columns * rank), -3.0_f32..3.0)
                .prop_map(move |(a, b, scale)| Numbers::LowRank { a, b, rank, scale })
                .boxed(),
        };
        kind.prop_map(move |numbers| (shape.clone(), numbers))
    });
    prop::collection::vec(delta, 0..5).prop_map(|deltas| {
        let named = |(i, (shape, numbers))| Whole { name: format!("layer.{i}"), shape, numbers };
        deltas.into_iter().enumerate().map(named).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        (family, deltas) in (0_usize..3).prop_flat_map(|family| (Just(family), deltas(family))),
        piece in 1_usize..200,
    ) {
        let file = write(FAMILIES[family], &deltas, piece);
        let adapter = read(&file).unwrap();
        prop_assert_eq!(adapter.format(), FAMILIES[family].name);
        prop_assert_eq!(adapter.identity(), Some(&identity()));
        prop_assert_eq!(&whole(&adapter), &deltas);
        // Pieces do not matter, nor does writing again.
        prop_assert_eq!(write(FAMILIES[family], &whole(&adapter), usize::MAX), file);
    }

    #[test]
    fn many_damaged_bytes_are_refused_or_harmless(
        sample in 0_usize..3,
        damage in prop::collection::vec((0_usize..600, any::<u8>()), 1..6),
    ) {
        let mut file = samples()[sample].clone();
        for (at, byte) in damage {
            let end = file.len();
            file[at % end] = byte;
        }
        if let Ok(adapter) = open_bytes(Arc::new(file)) {
            use_it(&adapter);
        }
    }
}
