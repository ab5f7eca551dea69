//! Models and adapters of several files, written into a folder of this process and opened there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use studbook::model::adapter::{self, peft as peft_format};
use studbook::model::huggingface::{HfConfig, Index};
use studbook::model::listing::Listing;
use studbook::model::safetensors::{self, Metadata};
use studbook::model::trained::manifest::Manifest;
use studbook::model::{ModelWriter, Package, Planned, huggingface as huggingface_format, open_package};
use studbook::tensor::dtype::DType;
use studbook::tensor::shape::Shape;

use super::models::whole;
use super::parts;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("there is room for a folder");
}

/// Calls `with` on a folder that holds those parts that are not empty under these names.
pub(super) fn laid_out(names: &[&str], bytes: &[u8], with: impl FnOnce(&Path)) {
    let folder: PathBuf = FOLDER.with(|folder| folder.path().to_owned());
    let parts = parts(bytes);
    let files = names.iter().zip(parts.iter().copied().chain(std::iter::repeat(&b""[..])));
    for (name, bytes) in files {
        let path = folder.join(name);
        if bytes.is_empty() {
            let _ = std::fs::remove_file(&path);
        } else {
            std::fs::create_dir_all(path.parent().expect("it is in the folder")).expect("it can be made");
            std::fs::write(&path, bytes).expect("there is room for a file");
        }
    }
    with(&folder);
}

pub(super) fn huggingface(bytes: &[u8]) {
    if let Ok(Some(read)) = HfConfig::parse(bytes)
        && let Ok(network) = read.network()
    {
        network.validate().expect("a network that is computed has a valid configuration");
        let text = huggingface_format::settings::write(&network, DType::F32, None);
        let again = HfConfig::parse(&text).expect("what was written can be read").expect("it is a llama");
        assert_eq!(again.network().as_ref(), Ok(&network));
    }
    if let Ok(index) = Index::parse(bytes) {
        for file in index.files() {
            assert_eq!(Path::new(file).file_name(), Some(file.as_ref()), "{file:?} is more than a name");
        }
    }
    let names = [
        "hf/config.json",
        "hf/model.safetensors.index.json",
        "hf/model.safetensors",
        "hf/model-00001-of-00002.safetensors",
        "hf/model-00002-of-00002.safetensors",
        "hf/tokenizer.json",
    ];
    laid_out(&names, bytes, |folder| {
        if let Ok(opened) = open_package(&folder.join("hf")) {
            whole(&opened.package.weights);
        }
    });
}

pub(super) fn peft(bytes: &[u8]) {
    let names = ["peft/adapter_config.json", "peft/adapter_model.safetensors"];
    laid_out(&names, bytes, |folder| {
        let base = base();
        let Ok(adapter) = peft_format::open(&folder.join("peft"), &base) else { return };
        for info in adapter.infos() {
            let target = base.weights.tensor(&info.name).expect("every delta has its tensor in the base");
            assert_eq!(&info.shape, target.shape);
            let mut values = target.to_f32();
            adapter.delta(&info.name).expect("a listed delta is there").add_to(0, &mut values);
        }
        let _ = adapter.validate();
        let _ = adapter::open_for(&folder.join("peft"), &base);
    });
}

/// The model that adapters are for.
fn base() -> Package {
    let planned = ["self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj"].map(|module| Planned {
        name: format!("model.layers.0.{module}.weight"),
        shape: Shape::new(vec![4, 4]).expect("a shape"),
        dtype: DType::F32,
        block_size: 0,
    });
    let layout = safetensors::Layout::new(planned.to_vec(), &Metadata::new()).expect("a layout");
    let mut file = Vec::new();
    let mut writer = safetensors::Writer::new(&layout, &mut file).expect("a vector takes bytes");
    for _ in layout.planned() {
        writer.payload(&[0; 64]).expect("a payload");
        writer.finish_tensor(&[]).expect("a tensor");
    }
    writer.finish().expect("a file");
    studbook::model::open_package_bytes(Arc::new(file)).expect("a model")
}

pub(super) fn trained(bytes: &[u8]) {
    let text = parts(bytes)[0];
    if let Ok(Ok(read)) = std::str::from_utf8(text).map(Manifest::parse) {
        assert_eq!(Manifest::parse(&read.to_text()).as_ref(), Ok(&read));
    }
    let names = [
        "trained/source.manifest",
        "trained/tokenizer",
        "trained/t0",
        "trained/t1",
        "trained/t2",
        "trained/t3",
        "trained/t4",
        "trained/t5",
        "trained/t6",
        "trained/t7",
        "trained/t8",
        "trained/t9",
        "trained/t10",
    ];
    laid_out(&names, bytes, |folder| {
        if let Ok(opened) = open_package(&folder.join("trained")) {
            whole(&opened.package.weights);
            assert!(opened.package.config.is_ok() && opened.package.tokenizer.is_ok());
        }
    });
}

pub(super) fn listing(bytes: &[u8]) {
    if let Ok(read) = Listing::from_bytes(bytes) {
        assert_eq!(read.to_bytes(), bytes, "it has one spelling");
        for file in read.files() {
            let inside = Path::new("folder").join(&file.name);
            assert!(inside.starts_with("folder") && !file.name.split('/').any(|part| part == ".."));
        }
    }
}
