//! A folder opened: files of tensors mapped, everything small read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::{FAMILY, HfConfig};
use super::error::FolderError;
use super::ids::Ids;
use super::root::Root;
use super::{NAME, order};
use crate::disk::mmap::Mapped;
use crate::model::buffer::Buffer;
use crate::model::listing::Place;
use crate::model::package::{Companion, Package};
use crate::model::safetensors::Metadata;
use crate::model::tokenizer::huggingface::JsonError;
use crate::model::tokenizer::{HfTokenizer, Tokenizer, json};
use crate::model::weights::{SharedBytes, TensorInfo, Weights};

/// The file with all tensors.
pub const SINGLE: &str = "model.safetensors";
/// The file that says which tensor is where.
pub const INDEX: &str = "model.safetensors.index.json";
/// How text becomes ids.
pub const TOKENIZER: &str = "tokenizer.json";
/// The network's dimensions.
pub const CONFIG: &str = "config.json";

/// How answers are made, and end.
pub const GENERATION: &str = "generation_config.json";

/// Files without tensors that make a model what it is, in the order in which they are kept.
pub const COMPANIONS: [&str; 18] = [
    CONFIG,
    GENERATION,
    TOKENIZER,
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
];

/// Whether a companion says how text becomes ids and back, and conversations text.
pub fn is_of_tokenizer(companion: &str) -> bool {
    ![CONFIG, GENERATION].contains(&companion) && !companion.ends_with("processor_config.json")
}

/// The longest companion that is read: twice the largest tokenizer there is.
pub const MAX_COMPANION: u64 = 64 << 20;
/// The longest index that is read: half a million tensors.
pub const MAX_INDEX: u64 = 64 << 20;
/// The longest configuration that is read.
pub const MAX_CONFIG: u64 = 1 << 20;

/// A model's folder.
#[derive(Debug)]
pub struct Folder {
    /// Where it is, links followed.
    pub path: PathBuf,
    /// The network, if it is of a family that is known.
    pub config: Option<HfConfig>,
    /// The files of tensors, by name.
    pub shards: Vec<Shard>,
    /// Every tensor, by name and layer; its part is an index of `shards`.
    pub tensors: Vec<TensorInfo>,
    /// Tensors that hold no weights, in the same order.
    pub buffers: Vec<Buffer>,
    /// Bytes of all tensors as the index counts them.
    pub total_size: Option<u64>,
    /// Small files to carry along, each one of [`COMPANIONS`] or a template.
    pub companions: Vec<Companion>,
    /// Which ids begin a sequence and end an answer.
    pub ids: Ids,
}

/// One file of tensors.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Its name in the folder.
    pub name: String,
    /// Its bytes and stamp.
    pub mapped: Arc<Mapped>,
    /// What it says about itself.
    pub metadata: Metadata,
}

impl Folder {
    /// The tensors with their bytes.
    pub fn weights(&self) -> Weights {
        let parts = self.shards.iter().map(|shard| shard.mapped.clone() as SharedBytes).collect();
        Weights::new(NAME, self.tensors.clone(), parts).with_buffers(self.buffers.clone())
    }

    /// The model as every format gives it.
    ///
    /// Its parts are held by its weights; the maps in [`Folder::shards`] tell whether they changed.
    pub fn package(&self) -> Package {
        let mut package = Package::of_weights(self.weights());
        package.config = match &self.config {
            Some(config) => config.network(),
            None => Err(match self.companion(CONFIG) {
                None => format!("there is no {CONFIG}"),
                Some(companion) => foreign(&companion.bytes),
            }),
        };
        package.tokenizer = match self.companion(TOKENIZER) {
            Some(companion) => self.tokenizer(&companion.bytes).map_err(|error| error.to_string()),
            None => Err(format!("there is no {TOKENIZER}")),
        };
        package.companions.clone_from(&self.companions);
        package
    }

    /// The folder's tokenizer: one of SLM1's if it can be and answers end as there, else as the file says.
    fn tokenizer(&self, file: &[u8]) -> Result<Tokenizer, JsonError> {
        if self.ids.end_as_slm1()
            && let Ok(tokenizer) = json::from_json(file)
        {
            return Ok(tokenizer);
        }
        let ends = self.ids.ends.clone().unwrap_or_default();
        let tokenizer = HfTokenizer::from_json(file)?.with_ends(ends).with_begin(self.ids.begin);
        Ok(Tokenizer::HuggingFace(Arc::new(tokenizer)))
    }

    /// The names of the tensors behind so many, and of the buffers behind so many.
    pub(super) fn names_after(&self, (tensors, buffers): (usize, usize)) -> impl Iterator<Item = &str> {
        let tensors = self.tensors.iter().skip(tensors).map(|info| info.name.as_str());
        tensors.chain(self.buffers.iter().skip(buffers).map(|buffer| buffer.name.as_str()))
    }

    /// Integers beside a configuration that says weights are packed may be those weights.
    fn check_unpacked(&self) -> Result<(), FolderError> {
        #[derive(serde::Deserialize)]
        struct Packed {
            quantization_config: Option<serde::de::IgnoredAny>,
        }
        let said = self.companion(CONFIG).and_then(|file| serde_json::from_slice(&file.bytes).ok());
        let Some(Packed { quantization_config: Some(_) }) = said else { return Ok(()) };
        let path = self.path.join(CONFIG);
        Err(match self.buffers.first() {
            Some(Buffer { name, kind, .. }) => FolderError::Packed { path, tensor: name.clone(), kind },
            None => FolderError::SaidToBePacked(path),
        })
    }

    /// The companion called `name`.
    pub fn companion(&self, name: &str) -> Option<&Companion> {
        self.companions.iter().find(|companion| companion.name == name)
    }
}

impl HfConfig {
    /// The configuration beside a model's weights, if there is one and its network is of a family that is known.
    pub fn of(package: &Package) -> Option<Self> {
        Self::parse(&package.companion(CONFIG)?.bytes).ok().flatten()
    }
}

/// Why a network is not computed here: what its configuration says it is, and what would be.
fn foreign(config: &[u8]) -> String {
    let said = match HfConfig::model_type(config) {
        Some(model_type) => format!("{CONFIG} says `model_type` `{model_type}`"),
        None => format!("{CONFIG} says no `model_type`"),
    };
    let run = FAMILY.map(|family| format!("`{family}`")).join(", ");
    format!("{said}; what is run here is {run} (merging works for any other, too)")
}

/// Opens a folder and checks that its files agree. Payloads are mapped, not read.
///
/// # Errors
///
/// As [`open_at`]; [`FolderError::NoFolder`] of another path, and [`FolderError::Leaves`] of a link out of the
/// folder.
pub fn open(folder: &Path) -> Result<Folder, FolderError> {
    open_at(&Place::folder(folder))
}

/// The names of the files that make a folder's model, companions first. Payloads are not looked at.
///
/// # Errors
///
/// [`FolderError::NoFolder`], [`FolderError::NoWeights`] or [`FolderError::TwoWeights`] of what is no model's
/// folder; [`FolderError::Index`], [`FolderError::TooLong`], [`FolderError::Templates`] or
/// [`FolderError::Leaves`] of a file that cannot be used; [`FolderError::Disk`] if it cannot be read.
pub fn names(folder: &Path) -> Result<Vec<String>, FolderError> {
    let root = Root::new(&Place::folder(folder))?;
    let mut names = Vec::new();
    for name in COMPANIONS {
        if root.file(name)?.is_some() {
            names.push(name.to_owned());
        }
    }
    names.extend(root.templates()?);
    match root.index()? {
        None => names.push(SINGLE.to_owned()),
        Some(index) => {
            names.push(INDEX.to_owned());
            names.extend(index.files().into_iter().map(str::to_owned));
        }
    }
    Ok(names)
}

/// Opens a model whose files may lie anywhere.
///
/// # Errors
///
/// [`FolderError::NoWeights`] or [`FolderError::TwoWeights`] if it has none, or both kinds;
/// [`FolderError::Config`], [`FolderError::Ids`], [`FolderError::Index`] or [`FolderError::Shard`] of a file
/// that cannot be used, [`FolderError::TooLong`] of one beside the weights; [`FolderError::MissingShard`],
/// [`FolderError::NotInShard`] or [`FolderError::NotInIndex`] where index and files disagree;
/// [`FolderError::Packed`] or [`FolderError::SaidToBePacked`] of packed weights; [`FolderError::Disk`] if a
/// file cannot be read.
pub fn open_at(place: &Place) -> Result<Folder, FolderError> {
    let root = Root::new(place)?;
    let companions = root.companions()?;
    let config = match companions.iter().find(|companion| companion.name == CONFIG) {
        Some(companion) => HfConfig::parse(&companion.bytes)
            .map_err(|source| FolderError::Config { path: root.0.path(CONFIG), source })?,
        None => None,
    };
    let mut ids = Ids::default();
    for name in [CONFIG, GENERATION] {
        if let Some(file) = companions.iter().find(|companion| companion.name == name) {
            ids.take(&file.bytes).map_err(|source| FolderError::Ids { path: root.0.path(name), source })?;
        }
    }
    let index = root.index()?;
    let mut model = Folder {
        config,
        ids,
        shards: Vec::new(),
        tensors: Vec::new(),
        buffers: Vec::new(),
        total_size: index.as_ref().and_then(|index| index.total_size),
        companions,
        path: root.0.root().to_owned(),
    };
    match &index {
        None => root.shard(SINGLE, &mut model)?,
        Some(index) => root.shards(index, &mut model)?,
    }
    model.tensors.sort_by(|a, b| order::by_layer(&a.name, &b.name));
    model.buffers.sort_by(|a, b| order::by_layer(&a.name, &b.name));
    model.check_unpacked()?;
    Ok(model)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::model::safetensors::{Layout, Writer};
    use crate::model::tokenizer::json::to_json;
    use crate::model::writer::{ModelWriter, Planned};
    use crate::tensor::dtype::DType;
    use crate::tensor::shape::Shape;

    const NETWORK: &str = r#"{"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 11,
        "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 32,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-6}"#;

    /// A safetensors file of bf16 vectors: each holds its number, twice.
    fn shard(tensors: &[(&str, u8)]) -> Vec<u8> {
        let plan = |(name, _): &(&str, u8)| Planned {
            name: (*name).to_owned(),
            shape: Shape::new(vec![2]).unwrap(),
            dtype: DType::BF16,
            block_size: 0,
        };
        let metadata = Metadata::from([("format".to_owned(), "pt".to_owned())]);
        let layout = Layout::new(tensors.iter().map(plan).collect(), &metadata).unwrap();
        let mut file = Vec::new();
        let mut writer = Writer::new(&layout, &mut file).unwrap();
        for (_, number) in tensors {
            let bytes = (f32::from(*number).to_bits() >> 16) as u16;
            writer.payload(&[bytes.to_le_bytes(), bytes.to_le_bytes()].concat()).unwrap();
            writer.finish_tensor(&[]).unwrap();
        }
        writer.finish().unwrap();
        file
    }

    /// A folder of two files with an index.
    fn sharded() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("config.json", NETWORK.as_bytes());
        write("tokenizer.json", b"{\"of\": \"somebody\"}");
        write("README.md", b"not carried");
        write("model-1.safetensors", &shard(&[("model.layers.10.w", 3), ("model.layers.2.w", 2)]));
        write("model-2.safetensors", &shard(&[("model.norm.w", 4), ("lm_head.w", 1)]));
        index(
            folder.path(),
            &[("model.layers.10.w", 1), ("model.layers.2.w", 1), ("model.norm.w", 2), ("lm_head.w", 2)],
        );
        folder
    }

    fn index(folder: &Path, tensors: &[(&str, u8)]) {
        let entry = |(tensor, file): &(&str, u8)| format!("\"{tensor}\": \"model-{file}.safetensors\"");
        let entries: Vec<_> = tensors.iter().map(entry).collect();
        let text =
            format!("{{\"metadata\": {{\"total_size\": 16}}, \"weight_map\": {{{}}}}}", entries.join(", "));
        std::fs::write(folder.join("model.safetensors.index.json"), text).unwrap();
    }

    fn names(folder: &Folder) -> Vec<&str> {
        folder.tensors.iter().map(|info| info.name.as_str()).collect()
    }

    fn refused(folder: &Path) -> String {
        open(folder).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_of_several_files() {
        let folder = sharded();
        let model = open(folder.path()).unwrap();
        assert_eq!(names(&model), ["lm_head.w", "model.layers.2.w", "model.layers.10.w", "model.norm.w"]);
        assert_eq!(
            model.shards.iter().map(|shard| shard.name.as_str()).collect::<Vec<_>>(),
            ["model-1.safetensors", "model-2.safetensors"]
        );
        assert!(
            model.shards.iter().all(|shard| shard.metadata["format"] == "pt" && shard.mapped.unchanged())
        );
        let weights = model.weights();
        let values: Vec<f32> = weights.tensors().flat_map(|view| view.to_f32()).collect();
        assert_eq!(values, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]);
        assert_eq!((weights.format(), weights.parameters(), model.total_size), ("huggingface", 8, Some(16)));
        assert_eq!(model.config.as_ref().unwrap().head_dim, 4);
        assert_eq!(
            model.companions.iter().map(|companion| companion.name.as_str()).collect::<Vec<_>>(),
            ["config.json", "tokenizer.json"]
        );
        assert_eq!(model.companion("tokenizer.json").unwrap().bytes, b"{\"of\": \"somebody\"}");
    }

    #[test]
    fn a_folder_is_a_package() {
        let folder = sharded();
        let package = open(folder.path()).unwrap().package();
        assert_eq!(package.weights.infos().len(), 4);
        let config = package.config.unwrap();
        assert_eq!((config.layer_count, config.head_dim, config.max_context), (11, 4, 64));
        assert!(package.tokenizer.unwrap_err().contains("`/of` is a key"));
        assert_eq!(package.companions.len(), 2);

        std::fs::write(folder.path().join("tokenizer.json"), to_json(&Tokenizer::Btok).unwrap()).unwrap();
        std::fs::remove_file(folder.path().join("config.json")).unwrap();
        let package = open(folder.path()).unwrap().package();
        assert!(package.tokenizer.is_ok());
        assert_eq!(package.config, Err("there is no config.json".to_owned()));
    }

    #[test]
    fn a_folder_of_one_file_with_every_companion_and_another_network() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.safetensors"), shard(&[("b", 2), ("a", 1)])).unwrap();
        let model = open(folder.path()).unwrap();
        assert_eq!(
            (names(&model), model.config.is_none(), model.companions.len()),
            (vec!["a", "b"], true, 0)
        );
        for name in COMPANIONS {
            std::fs::write(folder.path().join(name), format!("{{\"model_type\": \"{name}\"}}")).unwrap();
        }
        let model = open(folder.path()).unwrap();
        assert!(model.companions.iter().map(|companion| companion.name.as_str()).eq(COMPANIONS));
        assert!(model.config.is_none());
    }

    #[test]
    fn what_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none");
        assert!(matches!(open(&missing), Err(FolderError::Disk(error)) if error.is_not_found()));
        std::fs::write(&missing, b"").unwrap();
        assert!(refused(&missing).contains("is no folder"));
        assert!(
            refused(folder.path())
                .ends_with("has neither model.safetensors nor model.safetensors.index.json")
        );
        std::fs::write(folder.path().join("pytorch_model.bin"), b"").unwrap();
        assert!(refused(folder.path()).contains("save them as safetensors"));

        let folder = sharded();
        std::fs::remove_file(folder.path().join("model-2.safetensors")).unwrap();
        let error = refused(folder.path());
        assert!(
            error.contains("model-2.safetensors is not there") && error.contains("\"lm_head.w\""),
            "{error}"
        );
    }

    #[test]
    fn index_and_files_must_agree_both_ways() {
        let folder = sharded();
        let all = [("model.layers.10.w", 1), ("model.layers.2.w", 1), ("model.norm.w", 2), ("lm_head.w", 2)];
        index(folder.path(), &all[1..]);
        let error = refused(folder.path());
        assert!(
            error.contains(
                "model-1.safetensors has a tensor \"model.layers.10.w\", which the index does not list"
            ),
            "{error}"
        );
        index(folder.path(), &[&all[..3], &[("lm_head.w", 1)]].concat());
        let error = refused(folder.path());
        assert!(
            error.contains(
                "model-2.safetensors has a tensor \"lm_head.w\", which the index says is in model-1.safetensors"
            ),
            "{error}"
        );
        index(folder.path(), &[&all[..], &[("model.extra.w", 2)]].concat());
        let error = refused(folder.path());
        assert!(error.contains("model-2.safetensors has no tensor \"model.extra.w\""), "{error}");
        index(folder.path(), &all);
        open(folder.path()).unwrap();
        std::fs::write(folder.path().join("model.safetensors"), shard(&[("a", 1)])).unwrap();
        assert!(refused(folder.path()).contains("both model.safetensors and model.safetensors.index.json"));
    }

    /// An end that cannot be read, or is another than SLM1's, is not taken for SLM1's own or for none.
    #[test]
    fn answers_end_as_the_folder_says() {
        let folder = sharded();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("tokenizer.json", &to_json(&Tokenizer::Btok).unwrap());
        let tokenizer = |end: &str| {
            write("generation_config.json", format!("{{\"eos_token_id\": {end}}}").as_bytes());
            open(folder.path()).unwrap().package().tokenizer.unwrap()
        };
        assert_eq!(tokenizer("257"), Tokenizer::Btok);
        assert_eq!(tokenizer("null"), Tokenizer::Btok);
        let other = tokenizer("258");
        assert!(other.is_end(258) && !other.is_end(257) && other.kind() == "tokenizer.json");
        assert_eq!(other.encode("a"), Ok(vec![256, 97]));
        assert!(!tokenizer("-1").is_end(257), "whoever saved it without an end means none");
        write("generation_config.json", b"{\"eos_token_id\": [2, null]}");
        let error = refused(folder.path());
        assert!(
            error.contains("generation_config.json has eos_token_id [2,null]; expected an id"),
            "{error}"
        );
    }

    #[test]
    fn links_stay_inside() {
        let folder = sharded();
        let outside = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path(), outside.path());
        // Within the folder a link is as good as a file.
        std::fs::create_dir(inside.join("blobs")).unwrap();
        std::fs::rename(inside.join("model-1.safetensors"), inside.join("blobs/abc")).unwrap();
        symlink("blobs/abc", inside.join("model-1.safetensors")).unwrap();
        open(inside).unwrap();

        for name in ["model-2.safetensors", "tokenizer.json", "model.safetensors.index.json", "config.json"] {
            std::fs::rename(inside.join(name), outside.join(name)).unwrap();
            symlink(outside.join(name), inside.join(name)).unwrap();
            let error = refused(inside);
            assert!(error.contains(name) && error.contains("leads out of the model's folder"), "{error}");
            std::fs::remove_file(inside.join(name)).unwrap();
            std::fs::rename(outside.join(name), inside.join(name)).unwrap();
        }
        // A companion that was there once is not left out in silence.
        symlink("nowhere", inside.join("vocab.json")).unwrap();
        assert!(refused(inside).contains("cannot follow the link"));
        std::fs::remove_file(inside.join("vocab.json")).unwrap();
        // A download cache keeps the files of all revisions beside them.
        let snapshot = outside.join("snapshots/1");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir(outside.join("blobs")).unwrap();
        for (i, entry) in std::fs::read_dir(inside).unwrap().enumerate() {
            let entry = entry.unwrap();
            if entry.path().is_file() {
                std::fs::copy(entry.path(), outside.join(format!("blobs/{i}"))).unwrap();
                symlink(format!("../../blobs/{i}"), snapshot.join(entry.file_name())).unwrap();
            }
        }
        open(&snapshot).unwrap();
        // The folder itself may be a link.
        symlink(inside, outside.join("model")).unwrap();
        open(&outside.join("model")).unwrap();
    }

    #[test]
    fn damaged_files_are_named() {
        let damaged = |name: &str, bytes: &[u8]| {
            let folder = sharded();
            std::fs::write(folder.path().join(name), bytes).unwrap();
            let error = refused(folder.path());
            assert!(error.contains(name), "{error}");
            error
        };
        assert!(damaged("config.json", b"{").contains("config.json is not a usable configuration: EOF"));
        assert!(
            damaged("config.json", &vec![b' '; MAX_CONFIG as usize + 1])
                .contains("has 1048577 bytes; at most 1048576")
        );
        assert!(damaged("model.safetensors.index.json", b"{}").contains("missing field `weight_map`"));
        assert!(
            damaged("model-1.safetensors", b"version https")
                .contains("not a usable safetensors file: the file is a pointer of Git LFS")
        );
        assert!(
            damaged("model-1.safetensors", b"{\"format\": \"pt\"}")
                .contains("not a usable safetensors file: the header's length")
        );
        let escape = br#"{"weight_map": {"a": "../model-1.safetensors"}}"#;
        assert!(damaged("model.safetensors.index.json", escape).contains("\"../model-1.safetensors\""));
        let folder = sharded();
        std::fs::create_dir(folder.path().join("merges.txt")).unwrap();
        assert!(refused(folder.path()).contains("merges.txt: is not a regular file"));
    }
}
