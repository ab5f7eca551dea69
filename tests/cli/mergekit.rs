//! What mergekit 0.1.5 made of the same configurations, from `tests/fixtures/mergekit_merges.py`.
//!
//! Where the definition leaves no choice the numbers are equal to the last bit. Where they are not, the
//! reason stands beside the bound.

use std::path::Path;

use studbook::model::{Package, open_package};

use crate::space::Space;

/// Equal but for the last bits. Numbers here are of about one, so the bounds are in steps of 2^-24, the
/// most that one rounding to f32 can be off by.
const NEAR: [(&str, u32); 13] = [
    // mergekit multiplies and adds in one step where the processor can, with one rounding; here there
    // are two, on every processor.
    ("linear", 3),
    ("linear_filters", 3),
    ("linear_not_normalized", 3),
    ("linear_slices", 3),
    // Lengths, angles and weights from sums in f32 there, in f64 here.
    ("slerp", 8),
    ("slerp_gradient", 8),
    ("nuslerp", 8),
    ("nuslerp_base", 8),
    ("nuslerp_columns", 8),
    ("nuslerp_rows", 8),
    ("model_stock", 16),
    ("model_stock_filter_wise", 16),
    ("karcher", 16),
];

/// Drawn elements: each model's draws are its program's own.
const DRAWN: [(&str, f32); 4] =
    [("drawn_dare_linear", 0.5), ("drawn_dare_ties", 0.5), ("drawn_della", 1.0), ("drawn_della_linear", 0.5)];

fn space() -> (Space, Vec<String>) {
    let space = Space::empty();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mergekit");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&fixtures).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            for file in ["config.json", "model.safetensors"] {
                space.write(&format!("{name}/{file}"), &std::fs::read(path.join(file)).unwrap());
            }
        } else {
            space.write(&name, &std::fs::read(&path).unwrap());
            names.extend(name.strip_suffix(".yml").map(str::to_owned));
        }
    }
    names.sort();
    (space, names)
}

fn open(space: &Space, name: &str) -> Package {
    open_package(&space.path(name)).unwrap().package
}

/// Both programs' children.
fn children(space: &Space, name: &str) -> [Package; 2] {
    let out = format!("out_{name}");
    space.studbook(&["merge", &format!("{name}.yml"), &out]).exits(0);
    [open(space, &format!("{name}.safetensors")), open(space, &out)]
}

/// The largest difference; `None` if all bits are equal.
fn difference(theirs: &Package, ours: &Package, name: &str) -> Option<f32> {
    assert_eq!(theirs.weights.infos().len(), ours.weights.infos().len(), "{name}");
    let mut largest = None;
    for their in theirs.weights.tensors() {
        let our = ours.weights.tensor(their.name).unwrap_or_else(|| panic!("{name} lacks {}", their.name));
        assert_eq!((their.dtype, their.shape), (our.dtype, our.shape), "{name}: {}", their.name);
        for (their, our) in their.to_f32().iter().zip(our.to_f32()) {
            if their.to_bits() != our.to_bits() {
                largest = Some(largest.unwrap_or(0.0_f32).max((their - our).abs()));
            }
        }
    }
    largest
}

#[test]
fn configurations_make_what_mergekit_makes_of_them() {
    let (space, names) = space();
    let mut equal = 0;
    for name in names.iter().filter(|name| !name.starts_with("drawn_")) {
        let [theirs, ours] = children(&space, name);
        let found = difference(&theirs, &ours, name);
        match NEAR.iter().find(|(near, _)| near == name) {
            Some((_, steps)) => {
                let bound = *steps as f32 / 2_f32.powi(24);
                assert!(
                    found.is_none_or(|found| found <= bound),
                    "{name}: {found:?}, expected at most {bound}"
                );
            }
            None => {
                assert_eq!(found, None, "{name}");
                equal += 1;
            }
        }
    }
    assert_eq!(equal, 11, "passthrough, task arithmetic, TIES, breadcrumbs and one linear merge");
}

#[test]
fn what_is_drawn_is_made_of_the_same_parts() {
    let (space, _) = space();
    let (base, parent) = (open(&space, "base"), open(&space, "a"));
    for (name, weight) in DRAWN {
        let (mut kept, mut elements) = ([0, 0], 0);
        let children = children(&space, name);
        for origin in base.weights.tensors() {
            let origin_values = origin.to_f32();
            let parents = parent.weights.tensor(origin.name).unwrap().to_f32();
            let deltas: Vec<f32> = parents.iter().zip(&origin_values).map(|(x, b)| x - b).collect();
            elements += deltas.len();
            for (child, kept) in children.iter().zip(&mut kept) {
                let child = child.weights.tensor(origin.name).unwrap().to_f32();
                let moved: Vec<f32> = child.iter().zip(&origin_values).map(|(x, b)| x - b).collect();
                let norm = |values: &[f32]| values.iter().map(|value| value.abs()).sum::<f32>();
                // An element has its difference times one factor, or none.
                let survivors: Vec<usize> = (0..moved.len()).filter(|i| moved[*i] != 0.0).collect();
                *kept += survivors.len();
                let whole: f32 = survivors.iter().map(|i| deltas[*i].abs()).sum();
                let factor = norm(&moved) / whole;
                for i in survivors {
                    let expected = factor * deltas[i];
                    assert!((moved[i] - expected).abs() < 1e-6, "{name} {}: {i}", origin.name);
                }
                // The factor gives back the norm of what was dropped: mergekit's rule.
                let expected = weight * norm(&deltas);
                assert!((norm(&moved) / expected - 1.0).abs() < 1e-4, "{name} {}", origin.name);
            }
        }
        for kept in kept {
            let share = kept as f64 / elements as f64;
            assert!((share - 0.6).abs() < 0.06, "{name}: {share} are kept");
        }
    }
}
