//! What a merge did: everything that it was made from, every parameter as it was used, and the command that
//! does it again. Where files lie is this machine's business: models are called by the last parts of their
//! paths, as many as tell them apart.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::assemble::Assembly;
use super::config::Config;
use super::filters::{UnmatchedFilter, unmatched};
use super::hashing::Underway;
use super::merge::Options;
use super::models::{Added, Models, Opened};
use super::networks::OtherConstant;
use super::template::{Chosen, OtherTemplate};
use crate::base::digest::{Digest, Sha256};
use crate::base::shell;
use crate::disk::mmap::Mapped;
use crate::model::buffer::{self, Buffer, BufferReceipt};
use crate::model::huggingface::{SHARD, Written};
use crate::operator::{Application, Parameters, TensorInputs};

const SCHEMA: &str = "studbook/merge-receipt/4";

/// What was done, and how to do it again.
#[derive(Debug, Serialize)]
pub struct Receipt {
    /// Version of this record.
    pub schema: &'static str,
    /// SHA-256 of the configuration's text.
    pub config_sha256: Sha256,
    /// The configuration's text.
    pub config: String,
    /// The method as the configuration calls it.
    pub method: &'static str,
    /// The operator that it is, and its version.
    pub operator: String,
    /// The seed.
    pub seed: String,
    /// Whether rows were taken as they lie, whatever tokens they are of.
    pub rows_by_number: bool,
    /// Tokens of the others behind those of the model whom the child is like, in a union that has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added_tokens: Option<SomeTokens>,
    /// Tokens of its tokenizer that its model had no row for, where rows were taken by token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rowless_tokens: Option<SomeTokens>,
    /// The models, in the order of the names the configuration gives them.
    pub inputs: Vec<Input>,
    /// Constants of the models' networks that are others in the child's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constants: Vec<OtherConstant>,
    /// The model whose tokenizer the child has, if that is not the one that it is like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer_of: Option<String>,
    /// The child's chat template, if it is another one than that of the tokenizer's model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<OtherTemplate>,
    /// Filters of the configuration that match no tensor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unmatched_filters: Vec<UnmatchedFilter>,
    /// What speaks against an adapter's being for its model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// What each of the child's tensors was made from, and how.
    pub steps: Vec<StepReceipt>,
    /// Tensors beside the weights, and whether the child has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buffers: Vec<BufferReceipt>,
    /// The child's files.
    pub outputs: Vec<Written>,
    /// What was found or drawn, and every tensor's digest and distance.
    pub application: Application,
    /// The command that makes the same bytes, where the configuration and the models are.
    pub recompute: String,
    /// What whoever typed it is told.
    #[serde(skip)]
    pub told: Told,
}

/// Tokens of a child, the first of them by name.
#[derive(Debug, Serialize)]
pub struct SomeTokens {
    /// How many.
    pub count: usize,
    /// The first of them, by their ids.
    pub first: Vec<String>,
}

/// How many of them are named.
const NAMED: usize = 8;

impl SomeTokens {
    fn of(tokens: &[String]) -> Self {
        Self { count: tokens.len(), first: tokens.iter().take(NAMED).cloned().collect() }
    }
}

/// What became otherwise than somebody may think, the models called as the configuration calls them.
#[derive(Debug)]
pub struct Told {
    /// Constants of the models' networks that are others in the child's.
    pub constants: Vec<OtherConstant>,
    /// What speaks against an adapter's being for its model.
    pub doubts: Vec<String>,
    /// The models that have the child's chat template, if the one that it is like has another or none.
    pub chat_template: Vec<String>,
}

/// A model that took part.
#[derive(Debug, Serialize)]
pub struct Input {
    /// What it is called here.
    pub model: String,
    /// Whether it is the base.
    pub base: bool,
    /// Whether the child's configuration and tokenizer are its.
    pub like: bool,
    /// Its files: tensors first, then configuration, tokenizer and the like, then an adapter's.
    pub files: Vec<InputFile>,
}

/// A file of a model.
#[derive(Debug, Serialize)]
pub struct InputFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Digest>,
}

/// How a tensor was made.
#[derive(Debug, Serialize)]
pub struct StepReceipt {
    /// The tensor.
    pub tensor: String,
    /// The base and its tensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<[String; 2]>,
    /// The models and their tensors.
    pub parents: Vec<[String; 2]>,
    /// Every parameter as it was used.
    pub parameters: Parameters,
}

/// A merge that was carried out.
pub(super) struct Done<'a> {
    pub(super) assembly: &'a Assembly,
    pub(super) inputs: &'a [TensorInputs<'a>],
    pub(super) models: &'a Models,
    pub(super) digests: &'a Underway<'a>,
    pub(super) buffers: &'a [Buffer],
    pub(super) constants: &'a [OtherConstant],
    pub(super) speaker: Option<&'a str>,
    pub(super) rowless: &'a [String],
    pub(super) template: Option<&'a Chosen>,
    pub(super) added_tokens: Option<&'a [String]>,
}

impl Done<'_> {
    pub(super) fn receipt(
        &self,
        text: &str,
        config: &Config,
        options: &Options,
        application: Application,
        outputs: Vec<Written>,
    ) -> Receipt {
        let operator = self.assembly.operator;
        let paths: Vec<&str> = self.models.keys().map(String::as_str).collect();
        let names = short_names(&paths);
        let as_written = paths.iter().map(|path| (*path, (*path).to_owned())).collect();
        Receipt {
            schema: SCHEMA,
            config_sha256: Sha256::of(text.as_bytes()),
            config: text.to_owned(),
            method: config.method.name,
            operator: format!("{} {}", operator.name(), operator.version()),
            seed: options.seed.clone(),
            rows_by_number: options.rows_by_number,
            added_tokens: self.added_tokens.map(SomeTokens::of),
            rowless_tokens: (!self.rowless.is_empty()).then(|| SomeTokens::of(self.rowless)),
            inputs: self
                .models
                .iter()
                .map(|(name, opened)| self.input(config, &names, name, opened))
                .collect(),
            constants: self.constants(&names),
            tokenizer_of: self.speaker.map(|model| names[model].clone()),
            chat_template: self.template.map(|chosen| chosen.receipt(|model| names[model].clone())),
            unmatched_filters: unmatched(config, self.assembly, self.models),
            doubts: self.doubts(&names),
            steps: self.steps(&names),
            buffers: buffer::receipts(self.buffers, self.models.values().map(|opened| &opened.package)),
            outputs,
            application,
            recompute: recompute(options, self.models[&self.assembly.like].is_folder),
            told: Told {
                constants: self.constants(&as_written),
                doubts: self.doubts(&as_written),
                chat_template: self.template.map(|chosen| chosen.models.clone()).unwrap_or_default(),
            },
        }
    }

    fn constants(&self, names: &BTreeMap<&str, String>) -> Vec<OtherConstant> {
        let called = |found: &OtherConstant| OtherConstant {
            model: names[found.model.as_str()].clone(),
            ..found.clone()
        };
        self.constants.iter().map(called).collect()
    }

    fn doubts(&self, names: &BTreeMap<&str, String>) -> Vec<String> {
        let doubt = |(name, opened): (&String, &Opened)| {
            let doubt = opened.adapter.as_ref()?.adapter.doubt()?;
            Some(format!("`{}`: {doubt}", names[name.as_str()]))
        };
        self.models.iter().filter_map(doubt).collect()
    }

    fn steps(&self, names: &BTreeMap<&str, String>) -> Vec<StepReceipt> {
        let called = |(model, tensor): &(String, String)| [names[model.as_str()].clone(), tensor.clone()];
        let steps = self.assembly.steps.iter().zip(self.inputs);
        let receipt = steps.map(|(step, inputs)| StepReceipt {
            tensor: step.name.clone(),
            base: step.base.as_ref().map(called),
            parents: step.parents.iter().map(called).collect(),
            parameters: inputs.values.parameters().clone(),
        });
        receipt.collect()
    }

    fn input(&self, config: &Config, names: &BTreeMap<&str, String>, name: &str, opened: &Opened) -> Input {
        let mapped = |(part, (called, mapped)): (usize, &(String, Arc<Mapped>))| InputFile {
            name: called.clone(),
            bytes: mapped.stamp().bytes,
            blake3: self.digests.of(name, part),
        };
        let small = |name: &str, bytes: &[u8]| InputFile {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            blake3: self.digests.are_told().then(|| Digest::of(bytes)),
        };
        let mut files: Vec<InputFile> = opened.files.iter().enumerate().map(mapped).collect();
        files.extend(opened.package.companions.iter().map(|file| small(&file.name, &file.bytes)));
        if let Some(Added { files: own, .. }) = &opened.adapter {
            files.extend(own.iter().map(|(name, bytes)| small(name, bytes)));
        }
        Input {
            model: names[name].clone(),
            base: config.base.as_ref().is_some_and(|base| base.value == name),
            like: self.assembly.like == name,
            files,
        }
    }
}

/// What was typed, as far as it decides what came out. A bare file is never divided.
fn recompute(options: &Options, in_shards: bool) -> String {
    let mut typed = format!("studbook merge CONFIG.yml OUT --seed {}", shell::word(&options.seed));
    if in_shards {
        typed += &format!(" --shard {}", options.shard_size.unwrap_or(SHARD));
    }
    if options.rows_by_number {
        typed += " --rows-by-number";
    }
    typed
}

/// Each path by so many of its last parts that no two are the same; whole if they are all there is.
fn short_names<'n>(paths: &[&'n str]) -> BTreeMap<&'n str, String> {
    let last = |path: &str, parts: usize| {
        let all: Vec<_> = Path::new(path).components().collect();
        let kept = &all[all.len().saturating_sub(parts)..];
        kept.iter().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
    };
    let most = paths.iter().map(|path| Path::new(path).components().count()).max().unwrap_or(1);
    let all = |parts: usize| paths.iter().map(|path| (*path, last(path, parts))).collect();
    for parts in 1..=most {
        let names: BTreeMap<&str, String> = all(parts);
        let mut different: Vec<&String> = names.values().collect();
        different.sort();
        different.dedup();
        if different.len() == names.len() {
            return names;
        }
    }
    all(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_tells_them_apart() {
        let names = |paths: &[&str]| -> Vec<String> {
            let names = short_names(paths);
            paths.iter().map(|path| names[path].clone()).collect()
        };
        assert_eq!(names(&["/x/a", "b", "/y/c+/z/d"]), ["a", "b", "d"]);
        assert_eq!(
            names(&["/x/a/model.safetensors", "/x/b/model.safetensors"]),
            ["a/model.safetensors", "b/model.safetensors"]
        );
        assert_eq!(names(&["a", "./a"]), ["a", "./a"]);
    }
}
