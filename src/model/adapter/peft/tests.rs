//! Folders written here, numbers from NumPy.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::*;
use crate::model::adapter::{AdapterIdentity, Delta};
use crate::model::config::tests::tiny;
use crate::model::package::Companion;
use crate::model::slm1::{self, Encoding};
use crate::model::writer::{ModelWriter, Planned};
use crate::model::{ModelConfig, Tokenizer, WriteError};
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;

/// A safetensors file of f32 or bf16 tensors.
fn tensors(dtype: DType, tensors: &[(&str, &[usize], Vec<f32>)]) -> Vec<u8> {
    let planned = |(name, dims, _): &(&str, &[usize], Vec<f32>)| Planned {
        name: (*name).to_owned(),
        shape: Shape::new(dims.to_vec()).unwrap(),
        dtype,
        block_size: 0,
    };
    let layout =
        safetensors::Layout::new(tensors.iter().map(planned).collect(), &safetensors::Metadata::new())
            .unwrap();
    let mut file = Vec::new();
    let mut writer = safetensors::Writer::new(&layout, &mut file).unwrap();
    for (_, dims, values) in tensors {
        let columns = dims.last().copied().unwrap_or(1);
        let (mut payload, mut scales) = (Vec::new(), Vec::new());
        crate::tensor::quantize::encode_into(dtype, 0, columns, values, &mut payload, &mut scales).unwrap();
        writer.payload(&payload).unwrap();
        writer.finish_tensor(&scales).unwrap();
    }
    writer.finish().unwrap();
    file
}

/// A model of bare tensors.
fn bare(named: &[(&str, &[usize])]) -> Package {
    let all: Vec<_> =
        named.iter().map(|(name, dims)| (*name, *dims, vec![1.0; dims.iter().product()])).collect();
    crate::model::open_package_bytes(Arc::new(tensors(DType::F32, &all))).unwrap()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(settings: &str, factors: &[u8]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(CONFIG, format!("{{\"peft_type\":\"LORA\",{settings}}}").as_bytes());
        folder.write(FACTORS, factors);
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn sums(adapter: &Adapter, tensor: &str) -> Vec<f32> {
    let shape = adapter.infos().iter().find(|info| info.name == tensor).unwrap().shape.clone();
    let mut values = vec![0.0; shape.elements()];
    adapter.delta(tensor).unwrap().add_to(0, &mut values);
    values
}

#[derive(Deserialize)]
struct Fixture {
    lora: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    rows: usize,
    columns: usize,
    rank: usize,
    alpha: f64,
    rslora: bool,
    seed: u64,
    delta: Vec<f64>,
}

/// The inputs of tests/fixtures/adapters.py.
fn values(seed: u64, elements: usize) -> Vec<f32> {
    let step = 1.0 / 1024.0;
    (0..elements as u64)
        .map(|i| {
            let mut x = (i * 2_654_435_761 + seed * 40_503) as u32;
            x ^= x >> 15;
            x = x.wrapping_mul(2_246_822_519);
            x ^= x >> 13;
            let signed = i64::from(x) - (1 << 31);
            ((signed as f64 / (step * 2_147_483_648.0)).floor() * step) as f32
        })
        .collect()
}

#[test]
fn products_are_numpys() {
    let fixture: Fixture =
        serde_json::from_str(include_str!("../../../../tests/fixtures/adapters.json")).unwrap();
    for case in fixture.lora {
        let (rows, columns, rank) = (case.rows, case.columns, case.rank);
        let (a, b) = (values(case.seed, rank * columns), values(case.seed + 1, rows * rank));
        let (a_name, b_name) = ("base_model.model.m.q.lora_A.weight", "base_model.model.m.q.lora_B.weight");
        let factors = tensors(DType::F32, &[(a_name, &[rank, columns], a), (b_name, &[rows, rank], b)]);
        let settings = |more: &str| {
            format!("\"r\":{rank},\"lora_alpha\":{},\"use_rslora\":{}{more}", case.alpha, case.rslora)
        };
        let near = |found: &[f32], expected: &mut dyn Iterator<Item = f64>| {
            found.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() <= 1e-6 * b.abs().max(1.0))
        };
        let folder = Folder::new(&settings(",\"target_modules\":[\"q\"]"), &factors);
        let adapter = open(folder.path(), &bare(&[("m.q.weight", &[rows, columns])])).unwrap();
        adapter.validate().unwrap();
        assert!(near(&sums(&adapter, "m.q.weight"), &mut case.delta.iter().copied()));
        // The same folder for a weight that is stored the other way round.
        let folder = Folder::new(&settings(",\"fan_in_fan_out\":true"), &factors);
        let adapter = open(folder.path(), &bare(&[("m.q.weight", &[columns, rows])])).unwrap();
        let mut turned = (0..rows * columns).map(|i| case.delta[i % rows * columns + i / rows]);
        assert!(near(&sums(&adapter, "m.q.weight"), &mut turned));
    }
}

/// By hand, B = [1; 2], A = [3 4]: PEFT 0.21.2 decides by the kind of module, whatever the settings say.
#[test]
fn the_kind_of_module_decides_which_way_a_product_lies() {
    let sums = |network: Option<&str>, module: &str, more: &str| {
        let [a, b] = ["A", "B"].map(|factor| format!("base_model.model.m.{module}.lora_{factor}.weight"));
        let factors = tensors(DType::F32, &[(&a, &[1, 2], vec![3.0, 4.0]), (&b, &[2, 1], vec![1.0, 2.0])]);
        let folder = Folder::new(&format!("\"r\":1,\"lora_alpha\":1{more}"), &factors);
        let tensor = format!("m.{module}.weight");
        let mut base = bare(&[(&tensor, &[2, 2])]);
        base.companions.extend(network.map(|network| Companion {
            name: "config.json".to_owned(),
            bytes: format!("{{\"model_type\":\"{network}\"}}").into_bytes(),
        }));
        sums(&open(folder.path(), &base).unwrap(), &tensor)
    };
    let (plain, turned) = ([3.0, 4.0, 6.0, 8.0], [3.0, 6.0, 4.0, 8.0]);
    let fan_in = ",\"fan_in_fan_out\":true";
    assert_eq!(sums(Some("llama"), "q_proj", fan_in), plain);
    assert_eq!(sums(Some("gpt2"), "c_attn", fan_in), turned);
    assert_eq!(sums(Some("gpt2"), "c_attn", ""), turned);
    assert_eq!(sums(Some("gpt2"), "lm_head", fan_in), plain);
    assert_eq!(sums(Some("gpt_bigcode"), "c_attn", ""), plain);
    assert_eq!(sums(None, "c_attn", fan_in), turned);
    assert_eq!(sums(None, "c_attn", ""), plain);
}

/// What the library saves beside the factors of an embedding is the base's own, or another base.
#[test]
fn a_copy_of_the_bases_layer_is_left_alone_and_any_other_is_refused() {
    let base = bare(&[("embed.weight", &[2, 3]), ("head.weight", &[2, 3])]);
    let with = |copy: &str, dims: &[usize], values: Vec<f32>| {
        let factors = tensors(
            DType::F32,
            &[
                ("base_model.model.embed.lora_embedding_A", &[1, 2], vec![3.0, 4.0]),
                ("base_model.model.embed.lora_embedding_B", &[3, 1], vec![1.0, 2.0, 3.0]),
                (copy, dims, values),
            ],
        );
        let folder = Folder::new("\"r\":1,\"lora_alpha\":1", &factors);
        open(folder.path(), &base).map_err(|error| error.to_string())
    };
    let ones = || vec![1.0; 6];
    for name in ["base_model.model.embed.base_layer.weight", "base_model.model.head.weight"] {
        let adapter = with(name, &[2, 3], ones()).unwrap();
        assert_eq!(adapter.infos().len(), 1, "{name}");
        let mut other = ones();
        other[5] = 1.5;
        let error = with(name, &[2, 3], other).unwrap_err();
        assert!(error.contains(name) && error.contains("is a whole layer and not the base's"), "{error}");
        assert!(with(name, &[3, 2], ones()).unwrap_err().contains("not the base's"));
    }
    for stranger in
        ["base_model.model.embed.lora_magnitude_vector.weight", "embed.weight", "base_model.model.x"]
    {
        assert!(with(stranger, &[2, 3], ones()).unwrap_err().contains("is no LoRA factor"), "{stranger}");
    }
}

/// An embedding's product is transposed: by hand, B = [1; 2], A = [3 4 5].
#[test]
fn embeddings_are_transposed() {
    let factors = tensors(
        DType::BF16,
        &[
            ("base_model.model.embed.lora_embedding_A", &[1, 3], vec![3.0, 4.0, 5.0]),
            ("base_model.model.embed.lora_embedding_B", &[2, 1], vec![1.0, 2.0]),
        ],
    );
    let folder = Folder::new("\"r\":1,\"lora_alpha\":2", &factors);
    let base = bare(&[("other", &[2]), ("embed.weight", &[3, 2])]);
    let adapter = open(folder.path(), &base).unwrap();
    assert_eq!(sums(&adapter, "embed.weight"), [6.0, 12.0, 8.0, 16.0, 10.0, 20.0]);
    assert_eq!(adapter.identity(), Some(&AdapterIdentity::of_package(&base)));
    assert_eq!((adapter.format(), adapter.numbers()), (NAME, 5));
}

fn slm(config: &ModelConfig) -> Package {
    let layout = slm1::Layout::new(config, &Tokenizer::Btok, Encoding::new(DType::F32)).unwrap();
    let mut file = Vec::new();
    slm1::write::write_values::<WriteError>(&layout, &mut file, |_, _, out| {
        out.fill(0.5);
        Ok(())
    })
    .unwrap();
    crate::model::open_package_bytes(Arc::new(file)).unwrap()
}

/// The product of a Hugging Face module on an SLM1 tensor: the rows of each head in another order.
#[test]
fn names_and_rows_are_translated() {
    let module = |part: &str, factor| format!("base_model.model.model.layers.0.{part}.lora_{factor}.weight");
    let names = [
        module("self_attn.q_proj", 'A'),
        module("self_attn.q_proj", 'B'),
        module("mlp.down_proj", 'A'),
        module("mlp.down_proj", 'B'),
    ];
    let numbers: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let factors = tensors(
        DType::F32,
        &[
            (&names[0], &[1, 8], vec![1.0; 8]),
            (&names[1], &[8, 1], numbers.clone()),
            (&names[2], &[1, 16], vec![1.0; 16]),
            (&names[3], &[8, 1], numbers),
        ],
    );
    let folder = Folder::new("\"r\":1,\"lora_alpha\":1", &factors);
    let adapter = open(folder.path(), &slm(&tiny())).unwrap();
    let order: Vec<&str> = adapter.infos().iter().map(|info| info.name.as_str()).collect();
    assert_eq!(order, ["layers.0.wq.weight", "layers.0.w2.weight"], "in the model's order");
    let rows = |tensor: &str, columns: usize| -> Vec<f32> {
        sums(&adapter, tensor).into_iter().step_by(columns).collect()
    };
    // Two heads of four rows: halves become neighbours.
    assert_eq!(rows("layers.0.wq.weight", 8), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    assert_eq!(rows("layers.0.w2.weight", 16), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    let Delta::LowRank(found) = adapter.delta("layers.0.wq.weight").unwrap() else { panic!("low rank") };
    assert_eq!((found.rank, found.scale), (1, 1.0));
}

#[test]
fn what_does_not_fit_is_named() {
    let a = "base_model.model.m.q.lora_A.weight";
    let b = "base_model.model.m.q.lora_B.weight";
    let base = bare(&[("m.q.weight", &[3, 4])]);
    let refused = |settings: &str, list: &[(&str, &[usize])]| {
        let all: Vec<_> =
            list.iter().map(|(name, dims)| (*name, *dims, vec![1.0; dims.iter().product()])).collect();
        let folder = Folder::new(settings, &tensors(DType::F32, &all));
        open(folder.path(), &base).unwrap_err().to_string()
    };
    let plain = "\"r\":2,\"lora_alpha\":1";
    assert_eq!(
        refused(plain, &[(a, &[2, 5]), (b, &[3, 2])]),
        "the factors of module `m.q` make a matrix of 3x5; tensor `m.q.weight` is 3x4"
    );
    assert_eq!(
        refused(plain, &[(a, &[3, 4]), (b, &[3, 3])]),
        "module `m.q` has a factor A of 3x4 and B of 3x3; the settings give it rank 2"
    );
    assert_eq!(refused(plain, &[(a, &[2, 4])]), "module `m.q` has no factor B");
    assert_eq!(refused(plain, &[(b, &[3, 2])]), "module `m.q` has no factor A");
    let other = "base_model.model.m.q.lora_A.default.weight";
    assert_eq!(
        refused(plain, &[(a, &[2, 4]), (other, &[2, 4]), (b, &[3, 2])]),
        "module `m.q` has two factors A"
    );
    assert_eq!(
        refused(
            plain,
            &[
                ("base_model.model.m.k.lora_A.weight", &[2, 4]),
                ("base_model.model.m.k.lora_B.weight", &[3, 2])
            ]
        ),
        "module `m.k` has factors, but the model has no tensor `m.k.weight`"
    );
    let listed = format!("{plain},\"target_modules\":[\"k\"]");
    assert_eq!(
        refused(&listed, &[(a, &[2, 4]), (b, &[3, 2])]),
        "module `m.q` has factors, but target_modules does not list it"
    );
    for stranger in
        ["base_model.model.lm_head.weight", "m.q.lora_A.weight", "base_model.model.m.q.lora_magnitude_vector"]
    {
        assert!(refused(plain, &[(stranger, &[2, 4])]).contains(stranger));
    }
    assert!(refused(plain, &[(a, &[2, 4, 1, 1]), (b, &[3, 2])]).contains("lora_A"), "no matrix");
    assert!(refused("\"r\":2,\"lora_alpha\":1,\"use_dora\":true", &[]).contains("use_dora"));
}

#[test]
fn files_are_looked_at() {
    let base = bare(&[("m.q.weight", &[3, 4])]);
    let folder = Folder::new("\"r\":2,\"lora_alpha\":1", b"no tensors");
    assert!(is_one(folder.path()));
    let error = |folder: &Folder| open(folder.path(), &base).unwrap_err().to_string();
    assert!(error(&folder).starts_with("adapter_model.safetensors is not a usable safetensors file"));
    std::fs::rename(folder.path().join(FACTORS), folder.path().join(PICKLED)).unwrap();
    assert!(error(&folder).contains("a Python pickle"), "{}", error(&folder));
    folder.write(CONFIG, &vec![b' '; 2 << 20]);
    assert!(error(&folder).ends_with("adapter_config.json: has more than 1048576 bytes"));
    std::fs::remove_file(folder.path().join(CONFIG)).unwrap();
    assert!(!is_one(folder.path()));
    assert!(error(&folder).contains(CONFIG));
}
