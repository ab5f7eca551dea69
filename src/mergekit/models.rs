//! The models of a configuration: found, opened, adapters put on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::assemble::named;
use super::config::Config;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::base::shell;
use crate::convert::{ConvertError, View};
use crate::disk::fresh;
use crate::disk::mmap::Mapped;
use crate::model::adapter::{self, Adapter, AdapterError, peft};
use crate::model::{ModelError, Package, gguf, huggingface, open_package, slm1};
use crate::operator::{Adapted, Tensors};

/// A model that was opened.
pub(super) struct Opened {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The model.
    pub(super) package: Package,
    /// Its files of tensors, by name; its tensors say which of them they are in.
    pub(super) files: Vec<(String, Arc<Mapped>)>,
    /// Whether its child is a folder.
    pub(super) is_folder: bool,
    /// What is added to it.
    pub(super) adapter: Option<Added>,
}

/// An adapter that was opened.
pub(super) struct Added {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The adapter.
    pub(super) adapter: Adapter,
    /// Its files, by name.
    pub(super) files: Vec<(String, Vec<u8>)>,
}

/// The opened models by the names the configuration gives them.
pub(super) type Models = BTreeMap<String, Opened>;

/// The tensors of the models that have adapters on them, by the same names.
pub(super) type OnTop<'m> = BTreeMap<&'m str, Adapted<'m>>;

/// Why models cannot be opened.
pub(super) enum OpenError {
    /// What the configuration names is not there.
    Mistakes(Vec<Diagnostic>),
    /// A file of a model.
    Model(ModelError),
    /// A file of an adapter.
    Adapter(AdapterError),
}

/// Opens every model; all that are not there are told at once.
pub(super) fn open(config: &Config, path: &Path) -> Result<Models, OpenError> {
    let (mut models, mut mistakes) = (Models::new(), Vec::new());
    for model in named(config) {
        let Some((place, adapter)) = find(&model.value, path) else {
            mistakes.push(
                Diagnostic::error(format!("`{}` is not here", model.value), model.span.clone())
                    .expected("expected a folder or a file on this machine")
                    .help("nothing is fetched; paths are relative to where you are, or to this file"),
            );
            continue;
        };
        let mut opened = open_one(place).map_err(OpenError::Model)?;
        if let Some(mistake) = says_more(model, &opened) {
            mistakes.push(mistake);
            continue;
        }
        if let Some(place) = adapter {
            match adapter::open_for(&place, &opened.package).map_err(OpenError::Adapter)? {
                Some(adapter) => {
                    let files = files_of(&place).map_err(OpenError::Adapter)?;
                    opened.adapter = Some(Added { path: place, adapter, files });
                }
                None => mistakes.push(
                    Diagnostic::error(
                        format!("`{}` adds something that is no adapter", model.value),
                        model.span.clone(),
                    )
                    .expected("expected MODEL+ADAPTER, a PEFT folder or a package of `studbook extract`"),
                ),
            }
        }
        models.insert(model.value.clone(), opened);
    }
    if mistakes.is_empty() { Ok(models) } else { Err(OpenError::Mistakes(mistakes)) }
}

/// A child is a folder or a bare file of tensors. What a file of another format says beside them (network,
/// vocabulary) would go nowhere, so it is refused and not dropped.
fn says_more(model: &Located<String>, opened: &Opened) -> Option<Diagnostic> {
    let format = opened.package.weights.format();
    [gguf::NAME, slm1::NAME].contains(&format).then(|| {
        let message =
            format!("`{}` is a {format} file, whose network and vocabulary a merge would lose", model.value);
        let convert =
            format!("studbook convert {} FOLDER --to hugging-face", shell::path(Path::new(&model.value)));
        Diagnostic::error(message, model.span.clone())
            .expected("expected a model folder, or a safetensors file")
            .help(format!("`{convert}` makes a folder of it"))
    })
}

/// Where a model is, and the adapter that is added to it: `MODEL` or `MODEL+ADAPTER`.
fn find(model: &str, config: &Path) -> Option<(PathBuf, Option<PathBuf>)> {
    let locate = |name: &str| {
        let beside = fresh::folder_of(config).join(name);
        [PathBuf::from(name), beside].into_iter().find(|path| !name.is_empty() && path.exists())
    };
    if let Some(place) = locate(model) {
        return Some((place, None));
    }
    let (model, adapter) = model.split_once('+')?;
    Some((locate(model)?, Some(locate(adapter)?)))
}

fn open_one(path: PathBuf) -> Result<Opened, ModelError> {
    let opened = open_package(&path)?;
    // The companions of a Hugging Face folder go to the child; a trained source has none, and its
    // child is a file.
    let is_folder = opened.is_folder && opened.package.weights.format() == huggingface::NAME;
    Ok(Opened { path, package: opened.package, files: opened.files, is_folder, adapter: None })
}

/// The files of an adapter, which are small beside a model's.
fn files_of(place: &Path) -> Result<Vec<(String, Vec<u8>)>, AdapterError> {
    let read = |path: &Path| {
        let mapped = Mapped::open(path)?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok((name, mapped.as_ref().to_vec()))
    };
    if place.is_dir() {
        peft::FILES.iter().map(|name| read(&place.join(name))).collect()
    } else {
        Ok(vec![read(place)?])
    }
}

/// Puts every adapter on its model, after all checks that they belong together.
pub(super) fn adapted(models: &Models) -> Result<OnTop<'_>, AdapterError> {
    let mut on_top = OnTop::new();
    for (name, opened) in models {
        if let Some(Added { path, adapter, .. }) = &opened.adapter {
            let adapted = Adapted::on(&opened.package, adapter)
                .map_err(|error| AdapterError::InFile { path: path.clone(), source: Box::new(error) })?;
            on_top.insert(name, adapted);
        }
    }
    Ok(on_top)
}

/// Whether the child has an output matrix of its own: if one of its models has one.
pub(super) fn has_own_output(models: &Models) -> bool {
    models.values().any(|Opened { package, .. }| {
        let output = package.naming.map(|naming| naming.token_matrices()[1].clone());
        let is_there = output.is_some_and(|output| package.weights.info(&output).is_some());
        let is_tied = package.config.as_ref().is_ok_and(|config| config.tied_output);
        is_there && !is_tied
    })
}

impl Opened {
    /// Its tensors as the child has them, but for the order of their rows.
    pub(super) fn view<'m>(
        &'m self,
        adapted: Option<&'m Adapted<'m>>,
        own_output: bool,
    ) -> Result<View<'m>, ConvertError> {
        let tensors = adapted.map_or(&self.package.weights as &dyn Tensors, |adapted| adapted);
        let view = View::new(&self.package, tensors, None, self.package.weights.format())?;
        Ok(if own_output { view.with_output(self.package.naming) } else { view })
    }

    /// Whether it lacks an output matrix that its child has.
    pub(super) fn becomes_untied(&self, own_output: bool) -> bool {
        let tied = self.package.config.as_ref().is_ok_and(|config| config.tied_output);
        let output = self.package.naming.map(|naming| naming.token_matrices()[1].clone());
        own_output && (tied || output.is_some_and(|output| self.package.weights.info(&output).is_none()))
    }
}
