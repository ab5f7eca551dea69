//! Small whole files for every reader, made by this crate's writers or taken from other tools' files in
//! `tests/fixtures`. Damage starts from these, and from the plans and source manifests that were laid
//! beside them.

use std::collections::BTreeMap;

use studbook::base::digest::{Digest, Sha256};
use studbook::evaluate::{Outcome, outcome};
use studbook::ledger::leaf::NO_LEAF;
use studbook::ledger::tree::{Tree, leaf_hash};
use studbook::ledger::{EntryKind, Head, Leaf, NewEntry, Note};
use studbook::model::adapter::package::{DENSE, Family, LOW_RANK, SPARSE};
use studbook::model::adapter::{self, AdapterIdentity, Checksum, PlannedDelta, PlannedStored};
use studbook::model::gguf::{Architecture, facts::Fact, meaning, write as gguf};
use studbook::model::listing::{ListedFile, Listing};
use studbook::model::slm1::write::write_values;
use studbook::model::slm1::{self, Encoding};
use studbook::model::tokenizer::bpe1::{Bpe1, Merge};
use studbook::model::tokenizer::json::to_json;
use studbook::model::trained::manifest::Manifest;
use studbook::model::{
    ModelConfig, ModelWriter, Planned, Tokenizer, WriteError, huggingface, safetensors, trained,
};
use studbook::record;
use studbook::record::approval::Approval;
use studbook::registry::{
    Claims, Evidence, EvidenceKind, ModelFile, PIECE, SELECTOR_BUDGET, Selector, SelectorEntry, SourceKind,
    integrity, selector::SELECTOR_VERSION,
};
use studbook::tensor::dtype::DType;
use studbook::tensor::quantize;
use studbook::tensor::shape::Shape;

use super::readers::PARTS;

/// Reader, name, bytes.
type Seed = (&'static str, &'static str, Vec<u8>);

/// Every seed.
pub(super) fn all() -> Vec<Seed> {
    [models(), adapters(), tokenizers(), folders(), texts(), evidence()].concat()
}

fn config(tied_output: bool, vocab_size: u32) -> ModelConfig {
    ModelConfig {
        vocab_size,
        special_token_count: 4,
        hidden_size: 2,
        layer_count: 1,
        head_count: 1,
        kv_head_count: 1,
        head_dim: 2,
        ffn_size: 4,
        max_context: 16,
        rope_theta: 10_000.0,
        rms_norm_epsilon: 1e-5,
        tied_output,
        variant: Default::default(),
    }
}

fn bpe1() -> Tokenizer {
    let tokens = vec![(260, b"th".to_vec()), (261, b"the".to_vec())];
    let merge = |left: u8, right, output, rank| Merge { left: left.into(), right, output, rank };
    let merges =
        vec![merge(b't', b'h'.into(), 260, 0), Merge { left: 260, right: b'e'.into(), output: 261, rank: 1 }];
    Tokenizer::Bpe1(Bpe1::new(262, tokens, merges).unwrap().into())
}

/// The value of an element: small, of both signs, never all zero.
fn value(index: usize) -> f32 {
    (index % 7) as f32 * 0.25 - 0.5
}

fn slm1(tied: bool, tokenizer: &Tokenizer, encoding: Encoding) -> Vec<u8> {
    let layout = slm1::Layout::new(&config(tied, tokenizer.vocab_size()), tokenizer, encoding).unwrap();
    let mut file = Vec::new();
    write_values::<WriteError>(&layout, &mut file, |_, start, out| {
        out.iter_mut().zip(start..).for_each(|(out, index)| *out = value(index));
        Ok(())
    })
    .unwrap();
    file
}

fn planned(name: &str, dims: &[usize], dtype: DType) -> Planned {
    Planned { name: name.to_owned(), shape: Shape::new(dims.to_vec()).unwrap(), dtype, block_size: 0 }
}

/// Writes every planned tensor.
fn fill(writer: &mut dyn ModelWriter, planned: &[Planned]) {
    for tensor in planned {
        let values: Vec<f32> = (0..tensor.shape.elements()).map(value).collect();
        let (mut payload, mut scales) = (Vec::new(), Vec::new());
        let columns = tensor.shape.columns();
        quantize::encode_into(tensor.dtype, tensor.block_size, columns, &values, &mut payload, &mut scales)
            .unwrap();
        writer.payload(&payload).unwrap();
        writer.finish_tensor(&scales).unwrap();
    }
    writer.finish().unwrap();
}

fn safetensors_of(planned: &[Planned], metadata: &safetensors::Metadata) -> Vec<u8> {
    let layout = safetensors::Layout::new(planned.to_vec(), metadata).unwrap();
    let mut file = Vec::new();
    let mut writer = safetensors::Writer::new(&layout, &mut file).unwrap();
    fill(&mut writer, layout.planned());
    file
}

fn gguf_of(mut facts: studbook::model::gguf::facts::Facts, planned: &[Planned]) -> Vec<u8> {
    facts.push("x.list", Fact::List(vec![Fact::Text("é".to_owned()), Fact::Text(String::new())]));
    facts.push("x.bytes", Fact::Bytes(vec![1, 2, 3]));
    facts.push("x.double", Fact::F64(0.1));
    let layout = gguf::Layout::new(&facts, &[], planned).unwrap();
    let mut file = Vec::new();
    let mut writer = gguf::Writer::new(&layout, &mut file).unwrap();
    fill(&mut writer, planned);
    file
}

/// With a window in every layer but the first.
fn windowed(mut facts: studbook::model::gguf::facts::Facts) -> studbook::model::gguf::facts::Facts {
    let layers = facts.unsigned("gemma3.block_count").unwrap();
    let windowed = (0..layers).map(|layer| Fact::Bool(layer > 0)).collect();
    facts.push("gemma3.attention.sliding_window", Fact::Unsigned(2));
    facts.push("gemma3.attention.sliding_window_pattern", Fact::List(windowed));
    facts
}

fn models() -> Vec<Seed> {
    let btok = Tokenizer::Btok;
    let four = [DType::F32, DType::F16, DType::BF16, DType::F64]
        .into_iter()
        .enumerate()
        .map(|(i, dtype)| planned(&format!("t.{i}.weight"), &[2, 3][i % 2..], dtype))
        .collect::<Vec<_>>();
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let quantised = [
        planned("token_embd.weight", &[2, 32], DType::GgmlQ8_0),
        planned("output_norm.weight", &[7], DType::F32),
        planned("blk.0.attn_q.weight", &[2, 2], DType::F16),
        planned("scalar", &[1], DType::BF16),
    ];
    let facts = |architecture| meaning::facts(architecture, &config(true, 262), Some(&bpe1()));
    vec![
        ("slm1", "f32", slm1(false, &btok, Encoding::new(DType::F32))),
        ("slm1", "q8_bpe1", slm1(false, &bpe1(), Encoding::new(DType::Q8_0))),
        ("slm1", "q4_tied", slm1(true, &btok, Encoding::q4(2))),
        ("safetensors", "four_types", safetensors_of(&four, &metadata)),
        ("safetensors", "empty", safetensors_of(&[], &BTreeMap::new())),
        ("safetensors", "python", include_bytes!("../fixtures/safetensors_python.safetensors").to_vec()),
        ("gguf", "quantised", gguf_of(gguf::general("llama"), &quantised)),
        ("gguf", "meaning", gguf_of(facts(Architecture::Llama), &quantised[..1])),
        ("gguf", "meaning_qwen2", gguf_of(facts(Architecture::Qwen2), &quantised[..1])),
        ("gguf", "meaning_qwen3", gguf_of(facts(Architecture::Qwen3), &quantised[..1])),
        ("gguf", "meaning_olmo2", gguf_of(facts(Architecture::Olmo2), &quantised[..1])),
        ("gguf", "meaning_gemma3", gguf_of(windowed(facts(Architecture::Gemma3)), &quantised[..1])),
        ("gguf", "pairs", include_bytes!("../fixtures/gguf/pairs.gguf").to_vec()),
    ]
}

fn adapter_of(family: &Family, stored: &[(&str, &[usize], PlannedStored)], numbers: &[u8]) -> Vec<u8> {
    let identity = AdapterIdentity {
        tensor_count: 12,
        flags: 1,
        parameter_count: 4_824,
        tensor_layout_checksum: Checksum(1),
        tokenizer_checksum: Checksum(2),
    };
    let planned = stored.iter().map(|(name, dims, stored)| PlannedDelta {
        name: (*name).to_owned(),
        shape: Shape::new(dims.to_vec()).unwrap(),
        stored: *stored,
    });
    let layout = adapter::Layout::new(family, &identity, &planned.collect::<Vec<_>>()).unwrap();
    let mut file = Vec::new();
    let mut writer = adapter::Writer::new(&layout, &mut file).unwrap();
    writer.put(numbers).unwrap();
    writer.finish().unwrap();
    file
}

fn adapters() -> Vec<Seed> {
    let floats = |count: usize| (0..count).flat_map(|i| value(i).to_le_bytes()).collect::<Vec<u8>>();
    let narrow = |index: u32| [index.to_le_bytes(), 0.5_f32.to_le_bytes()].concat();
    let wide = |index: u64| [&index.to_le_bytes()[..], &0.5_f32.to_le_bytes()].concat();
    let sparse = [narrow(0), narrow(7), narrow(14), wide(8)].concat();
    let dense: [(&str, &[usize], _); 2] =
        [("a.weight", &[2, 3], PlannedStored::Dense), ("é", &[], PlannedStored::Dense)];
    let pairs: [(&str, &[usize], _); 2] = [
        ("a.weight", &[3, 5], PlannedStored::Sparse { pairs: 3, wide: false }),
        ("b", &[9], PlannedStored::Sparse { pairs: 1, wide: true }),
    ];
    let factors: [(&str, &[usize], _); 2] = [
        ("a.weight", &[2, 3], PlannedStored::LowRank { rank: 2, scale: 0.25 }),
        ("norm", &[4], PlannedStored::Dense),
    ];
    vec![
        ("adapter", "dense", adapter_of(DENSE, &dense, &floats(7))),
        ("adapter", "sparse", adapter_of(SPARSE, &pairs, &sparse)),
        ("adapter", "low_rank", adapter_of(LOW_RANK, &factors, &floats(14))),
    ]
}

fn tokenizers() -> Vec<Seed> {
    vec![
        ("tokenizer", "btok", Tokenizer::Btok.to_section()),
        ("tokenizer", "bpe1", bpe1().to_section()),
        ("tokenizer", "json", to_json(&bpe1()).unwrap()),
    ]
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.join(PARTS)
}

fn listing(names: &[&str]) -> Vec<u8> {
    let file = |name: &&str| ListedFile {
        name: (*name).to_owned(),
        bytes: name.len() as u64,
        blake3: Digest::of(name.as_bytes()),
    };
    Listing::new(names.iter().map(file).collect()).unwrap().to_bytes()
}

fn folders() -> Vec<Seed> {
    let network = config(true, 260);
    let settings = huggingface::settings::write(&network, DType::F32, None);
    let none = BTreeMap::new();
    let one = safetensors_of(&[planned("model.norm.weight", &[2], DType::F32)], &none);
    let two = safetensors_of(&[planned("model.embed_tokens.weight", &[260, 2], DType::BF16)], &none);
    let index = br#"{"metadata":{"total_size":1048},"weight_map":{"model.norm.weight":"model-00001-of-00002.safetensors","model.embed_tokens.weight":"model-00002-of-00002.safetensors"}}"#;
    let other = br#"{"model_type":"mistral","vocab_size":300,"hidden_size":8,"intermediate_size":16,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"max_position_embeddings":64,"sliding_window":32,"rms_norm_eps":1e-05,"rope_theta":1000000.0,"rope_parameters":{"rope_type":"default"},"tie_word_embeddings":false,"torch_dtype":"bfloat16"}"#;
    let gemma3 = br#"{"model_type":"gemma3_text","vocab_size":300,"hidden_size":8,"intermediate_size":16,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":4,"query_pre_attn_scalar":4,"max_position_embeddings":64,"sliding_window":3,"sliding_window_pattern":2,"layer_types":["sliding_attention","full_attention"],"rms_norm_eps":1e-06,"rope_theta":1000000.0,"rope_local_base_freq":1e4,"rope_parameters":{"full_attention":{"rope_type":"linear","factor":8.0},"sliding_attention":{"rope_type":"default"}},"final_logit_softcapping":null,"torch_dtype":"bfloat16"}"#;
    let lora = br#"{"peft_type":"LORA","r":2,"lora_alpha":4,"target_modules":["q_proj","v_proj"],"rank_pattern":{"v_proj":1},"use_rslora":false}"#;
    let regex = br#"{"peft_type":"LORA","r":2,"lora_alpha":4.0,"target_modules":".*q_proj","use_rslora":true,"fan_in_fan_out":false}"#;
    let factor = |module: &str, letter: &str, dims: &[usize]| {
        let name = format!("base_model.model.model.layers.0.self_attn.{module}.lora_{letter}.weight");
        planned(&name, dims, DType::F32)
    };
    let query = [factor("q_proj", "A", &[2, 4]), factor("q_proj", "B", &[4, 2])];
    let value_of = [factor("v_proj", "A", &[1, 4]), factor("v_proj", "B", &[4, 1])];
    let both = safetensors_of(&[&query[..], &value_of[..]].concat(), &none);
    vec![
        ("huggingface", "config", settings.clone()),
        ("huggingface", "mistral", other.to_vec()),
        ("huggingface", "gemma3", gemma3.to_vec()),
        ("huggingface", "index", index.to_vec()),
        ("huggingface", "one_file", joined(&[&settings, b"", &one])),
        (
            "huggingface",
            "two_files",
            joined(&[&settings, index, b"", &one, &two, &to_json(&bpe1()).unwrap()]),
        ),
        ("peft", "lists", joined(&[lora, &both])),
        ("peft", "pattern", joined(&[regex, &safetensors_of(&query, &none)])),
        ("trained", "model", trained_source(&network)),
        ("trained", "manifest", manifest(&network).to_text().into_bytes()),
        ("listing", "folder", listing(&["config.json", "model.safetensors"])),
        ("listing", "deep", listing(&["source.manifest", "tensors/norm.weight.f32"])),
    ]
}

fn manifest(network: &ModelConfig) -> Manifest {
    let layout = slm1::Layout::new(network, &Tokenizer::Btok, Encoding::new(DType::F32)).unwrap();
    let mut tensors = trained::write::files(&layout.planned());
    tensors.iter_mut().enumerate().for_each(|(i, file)| file.path = format!("t{i}"));
    Manifest {
        source_kind: "converted-trained".to_owned(),
        licence: "MIT".to_owned(),
        datasets: vec!["generated".to_owned()],
        training: "two steps".to_owned(),
        config: network.clone(),
        tokenizer: "tokenizer".to_owned(),
        tensors,
    }
}

fn trained_source(network: &ModelConfig) -> Vec<u8> {
    let manifest = manifest(network);
    let mut parts = vec![manifest.to_text().into_bytes(), Tokenizer::Btok.to_section()];
    for file in &manifest.tensors {
        parts.push((0..file.bytes as usize / 4).flat_map(|i| value(i).to_le_bytes()).collect());
    }
    parts.join(PARTS)
}

fn texts() -> Vec<Seed> {
    let ties = "merge_method: ties\nbase_model: base\nmodels:\n  - model: a\n    parameters:\n      weight: [0, 0.5, 1]\n      density:\n        - filter: mlp\n          value: 0.5\n        - value: &d 0.25\n  - {model: \"b\", parameters: {weight: 1e-1, density: *d}}\nparameters:\n  normalize: true\n  lambda: 0.5 # half\ndtype: float32\ntokenizer_source: base\n";
    let slices = "slices:\n- sources:\n  - model: a\n    layer_range: [0, 2]\n- sources:\n  - model: b\n    layer_range: [1, 3]\nmerge_method: passthrough\nout_dtype: bfloat16\n";
    let pool = "cycle = \"first\"\nreview = \"0000000000000000000000000000000000000000000000000000000000000001\"\n\n[[parent]]\nname = \"average\"\nartifact = \"0000000000000000000000000000000000000000000000000000000000000002\"\nbytes = 863040\nmanifest = \"0000000000000000000000000000000000000000000000000000000000000003\"\nrank = 1\nlicences = [\"MIT\"]\ndata = []\ntrained = true\n";
    vec![
        ("mergekit", "ties", ties.as_bytes().to_vec()),
        ("mergekit", "slices", slices.as_bytes().to_vec()),
        ("source", "pool", pool.as_bytes().to_vec()),
    ]
}

fn leaves() -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    for (index, kind) in
        [EntryKind::Plan, EntryKind::Admission, EntryKind::Revocation].into_iter().enumerate()
    {
        let about = kind != EntryKind::Plan;
        let entry = NewEntry {
            kind,
            cycle: "first".parse().unwrap(),
            candidate: about.then(|| "average".parse().unwrap()),
            subject: about.then(|| Sha256::of(b"manifest")),
            record: Sha256::of(&[index as u8]),
            predicate_type: "https://studbook.invalid/record/v1".to_owned(),
            registration: kind.is_decision().then_some(0),
        };
        let prev = leaves.last().map_or(NO_LEAF, |leaf| Sha256::of(&leaf.to_bytes().unwrap()));
        leaves.push(Leaf::new(entry, index as u64, prev, "2026-01-01T00:00:00Z".to_owned()).unwrap());
    }
    leaves
}

fn evidence() -> Vec<Seed> {
    let leaves: Vec<Vec<u8>> = leaves().iter().map(|leaf| leaf.to_bytes().unwrap()).collect();
    let framed = |leaf: &Vec<u8>| [&[(leaf.len() >> 8) as u8, leaf.len() as u8], &leaf[..]].concat();
    let bundle: Vec<u8> = leaves.iter().flat_map(framed).collect();
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
    let tile: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf_hash(leaf).as_bytes()).collect();
    let head = Head { root: tree.root(), size: 3, ..Head::empty("studbook.test") };
    let checkpoint = Note::unsigned(head.to_text()).to_text().into_bytes();
    let empty = Note::unsigned(Head::empty("studbook.test").to_text()).to_text().into_bytes();
    let outcomes = ["4", "", "é\u{0}\u{1F9EC}"].into_iter().enumerate().map(|(i, output)| {
        let id = format!("case-{i}").parse().unwrap();
        Outcome::new(&id, &serde_json::json!({ "output": output, "correct": i == 0 })).unwrap()
    });
    let suite = include_str!("../../examples/evals/add.jsonl").lines().take(4).collect::<Vec<_>>().join("\n");
    let numbers = r#"{"a":[1,-0.5,1e-7,1e21,9007199254740991,true,null],"é":{"":"\u0000\n\"\\"},"z":[[[]]]}"#;
    vec![
        ("leaf", "plan", leaves[0].clone()),
        ("leaf", "admission", leaves[1].clone()),
        ("ledger", "three", joined(&[&checkpoint, &bundle, &tile])),
        (
            "ledger",
            "unfinished",
            joined(&[&checkpoint, &bundle, &tile, &[&bundle[..], b"{\"candidate"].concat()]),
        ),
        ("ledger", "empty", empty),
        ("evaluation", "suite", suite.into_bytes()),
        ("evaluation", "outcomes", outcome::to_jsonl(&outcomes.collect::<Vec<_>>())),
        ("selector", "one", selector(&["average"])),
        ("selector", "two", selector(&["average", "ties"])),
        ("json", "numbers", numbers.as_bytes().to_vec()),
        ("json", "approval", approval()),
    ]
}

fn selector(ids: &[&str]) -> Vec<u8> {
    let entry = |id: &&str| {
        let sha256 = Sha256::of(id.as_bytes());
        SelectorEntry {
            id: id.parse().unwrap(),
            cycle: "first".parse().unwrap(),
            model: ModelFile {
                path: format!("models/{sha256}.{id}.slm"),
                bytes: 1000,
                sha256,
                blake3: Digest::of(id.as_bytes()),
                integrity: integrity::integrity(sha256),
                piece_bytes: PIECE as u64,
                pieces: vec![sha256],
            },
            manifest: Sha256::of(b"manifest"),
            admission: Sha256::of(b"admission"),
            ledger_index: 3,
            evidence: vec![Evidence {
                kind: EvidenceKind::Promotion,
                suite: None,
                sha256: Sha256::of(b"promotion"),
            }],
            format: "slm1".to_owned(),
            context: 64,
            vocab: 260,
            claims: Claims::smoke_only(SourceKind::ConvertedTrained),
            licence: "Apache-2.0 AND (MIT OR BSD-3-Clause)".to_owned(),
            route: id.parse().unwrap(),
            budget_bytes: SELECTOR_BUDGET,
        }
    };
    let default = Some(ids[0].parse().unwrap());
    Selector { version: SELECTOR_VERSION, default, entries: ids.iter().map(entry).collect() }
        .to_bytes()
        .unwrap()
}

fn approval() -> Vec<u8> {
    let approval = Approval {
        gate: "release".parse().unwrap(),
        manifest: Sha256::of(b"manifest"),
        lineage: Sha256::of(b"lineage"),
        approve: true,
        by: "ci".to_owned(),
        reason: "é".to_owned(),
    };
    record::to_bytes(&approval).unwrap()
}
