//! Files of numbers: what is accepted can be written, and reads the same then.

use std::sync::Arc;

use studbook::base::digest::Digest;
use studbook::model::adapter::package::{DIGEST_AT, FAMILIES};
use studbook::model::adapter::{self, Adapter, Delta, Pairs, PlannedDelta, PlannedStored};
use studbook::model::gguf::facts::{Fact, Facts};
use studbook::model::slm1::{self, Encoding};
use studbook::model::tokenizer::HfTokenizer;
use studbook::model::tokenizer::json::{from_json, to_json};
use studbook::model::{ModelWriter, Planned, Tokenizer, Weights, WriteError, validate_values};
use studbook::model::{gguf as gguf_format, open_package_bytes, safetensors as safetensors_format};
use studbook::tensor::dtype::DType;

/// Most elements that are looked at one by one.
const LOOK: usize = 1 << 20;

pub(super) fn slm1(bytes: &[u8]) {
    let Ok(read) = slm1::read::read(Arc::new(bytes.to_vec())) else { return };
    whole(&read.weights);
    if validate_values(&read.weights).is_err() {
        return;
    }
    let layout = slm1::Layout::new(&read.config, &read.tokenizer, Encoding::new(DType::F32));
    let layout = layout.expect("what was read can be laid out");
    let mut file = Vec::new();
    slm1::write::write_values::<WriteError>(&layout, &mut file, |plan, start, out| {
        let view = read.weights.tensor(&plan.name).expect("a model has the tensors of its configuration");
        view.read_f32(start, out);
        Ok(())
    })
    .expect("what was read can be written");
    let again = slm1::read::read(Arc::new(file)).expect("what was written can be read");
    assert_eq!((&read.config, &read.tokenizer), (&again.config, &again.tokenizer));
    for view in read.weights.tensors() {
        let other = again.weights.tensor(view.name).expect("no tensor is lost");
        assert!(bits(&view.to_f32()).eq(bits(&other.to_f32())), "{}", view.name);
    }
}

pub(super) fn safetensors(bytes: &[u8]) {
    let _ = open_package_bytes(Arc::new(bytes.to_vec()));
    let Ok((weights, metadata)) = safetensors_format::read(Arc::new(bytes.to_vec())) else { return };
    whole(&weights);
    let write = |weights: &Weights| {
        let layout =
            safetensors_format::Layout::new(planned(weights), &metadata).expect("it can be laid out");
        let mut file = Vec::new();
        let mut writer = safetensors_format::Writer::new(&layout, &mut file).expect("a vector takes bytes");
        for planned in layout.planned() {
            let view = weights.tensor(&planned.name).expect("a planned tensor is there");
            writer.payload(view.data).expect("a payload has its length");
            writer.finish_tensor(view.scales).expect("a payload is whole");
        }
        writer.finish().expect("every tensor is there");
        file
    };
    let file = write(&weights);
    let (again, kept) = safetensors_format::read(Arc::new(file.clone())).expect("it can be read again");
    assert_eq!(kept, metadata);
    same(&weights, &again);
    assert!(write(&again) == file, "the written form is not a fixed point");
}

pub(super) fn gguf(bytes: &[u8]) {
    let _ = open_package_bytes(Arc::new(bytes.to_vec()));
    let Ok(read) = gguf_format::read(Arc::new(bytes.to_vec())) else { return };
    whole(&read.weights);
    // Where tensors lie is the writer's to say.
    let mut facts = Facts::default();
    for (name, fact) in read.facts.iter().filter(|(name, _)| *name != "general.alignment") {
        facts.push(name, fact.clone());
    }
    let layout =
        gguf_format::write::Layout::new(&facts, &[], &planned(&read.weights)).expect("it can be laid out");
    let mut file = Vec::new();
    let mut writer = gguf_format::write::Writer::new(&layout, &mut file).expect("a vector takes bytes");
    for view in read.weights.tensors() {
        writer.payload(view.data).expect("a payload has its length");
        writer.finish_tensor(view.scales).expect("a payload is whole");
    }
    writer.finish().expect("every tensor is there");
    let again = gguf_format::read(Arc::new(file)).expect("it can be read again");
    assert_eq!(format!("{:?}", again.facts), format!("{facts:?}"));
    same(&read.weights, &again.weights);
    // What becomes a tokenizer of SLM1 makes the ids that the file's own steps make.
    if let (Ok(ours), Ok(Some(theirs))) =
        (gguf_format::exact::tokenizer(&read.facts), gguf_format::vocabulary::tokenizer(&read.facts))
    {
        let names = match read.facts.get("tokenizer.ggml.tokens") {
            Some(Fact::List(tokens)) => {
                tokens.iter().skip(256).take(4).filter_map(text_of).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        };
        agree(&ours, &theirs, &names);
    }
}

fn text_of(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::Text(text) => Some(text),
        _ => None,
    }
}

/// Two tokenizers make the same ids of every text that spells no special token out.
fn agree(ours: &Tokenizer, theirs: &Tokenizer, specials: &[&str]) {
    for text in ["", "the cat's 12 hats", "aaaaaaaa", "é€ üé\u{1F44D}\0"] {
        if !specials.iter().any(|name| text.contains(name)) {
            assert_eq!(ours.encode_prompt(text), theirs.encode_prompt(text), "{text:?}");
        }
    }
}

pub(super) fn adapter(bytes: &[u8]) {
    adapter_as_it_is(bytes);
    // Behind a digest nothing damaged is looked at, so it is made to fit.
    let mut sealed = bytes.to_vec();
    if let Some(place) = sealed.get_mut(DIGEST_AT) {
        place.fill(0);
        let digest = Digest::of(&sealed);
        sealed[DIGEST_AT].copy_from_slice(digest.as_bytes());
        adapter_as_it_is(&sealed);
    }
}

fn adapter_as_it_is(bytes: &[u8]) {
    let Ok(read) = adapter::open_bytes(Arc::new(bytes.to_vec())) else { return };
    if read.validate().is_err() {
        return;
    }
    let file = write_adapter(bytes, &read);
    let again = adapter::open_bytes(Arc::new(file.clone())).expect("it can be read again");
    again.validate().expect("what was written is whole");
    assert_eq!(read.identity(), again.identity());
    for info in read.infos() {
        if info.shape.elements() <= LOOK {
            let sums = [&read, &again].map(|adapter| {
                let mut values = vec![0.0; info.shape.elements()];
                adapter.delta(&info.name).expect("a listed delta is there").add_to(0, &mut values);
                values
            });
            assert!(bits(&sums[0]).eq(bits(&sums[1])), "{}", info.name);
        }
    }
    assert!(write_adapter(&file, &again) == file, "the written form is not a fixed point");
}

fn write_adapter(bytes: &[u8], adapter: &Adapter) -> Vec<u8> {
    let family = FAMILIES.into_iter().find(|family| bytes.starts_with(&family.magic)).expect("it was read");
    let deltas = adapter.infos().iter().map(|info| {
        let stored = match adapter.delta(&info.name).expect("a listed delta is there") {
            Delta::Dense(_) => PlannedStored::Dense,
            Delta::Sparse(pairs) => {
                PlannedStored::Sparse { pairs: pairs.len() as u64, wide: matches!(pairs, Pairs::Wide(_)) }
            }
            Delta::LowRank(factors) => PlannedStored::LowRank { rank: factors.rank, scale: factors.scale },
        };
        PlannedDelta { name: info.name.clone(), shape: info.shape.clone(), stored }
    });
    let identity = adapter.identity().expect("a package says what it is for");
    let layout =
        adapter::Layout::new(family, identity, &deltas.collect::<Vec<_>>()).expect("it can be laid out");
    let mut file = Vec::new();
    let mut writer = adapter::Writer::new(&layout, &mut file).expect("a vector takes bytes");
    for info in adapter.infos() {
        match adapter.delta(&info.name).expect("a listed delta is there") {
            Delta::Dense(view) => writer.put(view.data),
            Delta::Sparse(pairs) => (0..pairs.len()).try_for_each(|i| {
                let (index, delta) = pairs.get(i);
                let width = if matches!(pairs, Pairs::Wide(_)) { 8 } else { 4 };
                writer.put(&index.to_le_bytes()[..width])?;
                writer.put(&delta.to_le_bytes())
            }),
            Delta::LowRank(factors) => writer.put_f32(&factors.a).and_then(|()| writer.put_f32(&factors.b)),
        }
        .expect("numbers fit their places");
    }
    writer.finish().expect("every number is there");
    file
}

pub(super) fn tokenizer(bytes: &[u8]) {
    if let Ok(read) = Tokenizer::from_section(bytes) {
        let again = Tokenizer::from_section(&read.to_section()).expect("a written section can be read");
        assert_eq!(again, read);
        speaks(&read);
    }
    if let Ok(read) = from_json(bytes) {
        let text = to_json(&read).expect("what was read can be written");
        let again = from_json(&text).expect("it can be read again");
        assert_eq!(again, read);
        speaks(&read);
        if let Ok(theirs) = HfTokenizer::from_json(bytes) {
            let file: serde_json::Value = serde_json::from_slice(bytes).expect("it was read");
            let added = file["added_tokens"].as_array().into_iter().flatten();
            let names: Vec<&str> = added.filter_map(|token| token["content"].as_str()).collect();
            agree(&read, &Tokenizer::HuggingFace(theirs.into()), &names);
        }
    }
}

/// Text becomes ids and the same text again, if every merge stands for the bytes it is made of: SLM1 does
/// not ask for that, `tokenizer.json` does.
fn speaks(tokenizer: &Tokenizer) {
    let joins = to_json(tokenizer).is_ok();
    for text in ["", "the cat", "aaaaaaaa", "é\u{1F9EC}\0"] {
        let Ok(ids) = tokenizer.encode(text) else { continue };
        assert!(ids.iter().all(|id| *id < tokenizer.vocab_size()));
        let again = tokenizer.decode_lossy(&ids).expect("ids of its own are known");
        assert!(!joins || again == text, "{again:?} was {text:?}");
    }
}

/// Every tensor is inside its file and can be read to the end.
pub(super) fn whole(weights: &Weights) {
    for view in weights.tensors() {
        if view.shape.elements() <= LOOK {
            assert_eq!(view.to_f32().len(), view.shape.elements());
        }
        assert!(weights.tensor(view.name).is_some());
    }
    let _ = validate_values(weights);
}

fn planned(weights: &Weights) -> Vec<Planned> {
    let planned = weights.infos().iter().map(|info| Planned {
        name: info.name.clone(),
        shape: info.shape.clone(),
        dtype: info.dtype,
        block_size: info.block_size,
    });
    planned.collect()
}

fn same(one: &Weights, other: &Weights) {
    assert_eq!(one.infos().len(), other.infos().len());
    for view in one.tensors() {
        let other = other.tensor(view.name).expect("no tensor is lost");
        assert_eq!((view.dtype, view.shape), (other.dtype, other.shape), "{}", view.name);
        assert!(view.data == other.data, "{}", view.name);
    }
}

fn bits(values: &[f32]) -> impl Iterator<Item = u32> {
    values.iter().map(|value| value.to_bits())
}
