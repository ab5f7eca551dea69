//! How children are stored: in the format of the model they are like, unless the cycle says another.

use std::collections::{BTreeMap, BTreeSet};

use super::Resolver;
use super::parents::Models;
use crate::base::diagnostic::Diagnostic;
use crate::base::name::Name;
use crate::convert::{Child, ConvertError, Form, Target, outline};
use crate::model::{Package, WriteError};
use crate::plan::resolved::Candidate;
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;

/// What a plan must know of the children of a model.
#[derive(Debug, Clone)]
pub(super) struct ChildFacts {
    /// Their format.
    pub(super) format: Target,
    /// Their exact length.
    pub(super) bytes: u64,
    /// That of the same child in f32, which a suite may hold it against; 0 if it is in f32 itself.
    pub(super) full: u64,
    /// Their tensors.
    pub(super) tensors: Vec<(String, Shape)>,
}

impl From<ConvertError> for NoChild {
    fn from(error: ConvertError) -> Self {
        let encoding = matches!(
            error,
            ConvertError::Encoding { .. }
                | ConvertError::Write(WriteError::Encoding { .. } | WriteError::Tensor { .. })
        );
        Self { why: error.to_string(), encoding }
    }
}

/// Why a model has no children of that form.
#[derive(Debug, Clone)]
pub(super) struct NoChild {
    why: String,
    /// Whether it is for the encoding alone, which the cycle says.
    encoding: bool,
}

/// What is known of the children of each candidate.
pub(super) struct Children<'m> {
    models: &'m Models,
    /// By sections that stack layers: their children are like no parent.
    stacked: BTreeMap<Name, Result<ChildFacts, NoChild>>,
}

impl Children<'_> {
    /// What is known of a candidate; nothing if a model of it cannot be opened.
    pub(super) fn of(&self, candidate: &Candidate) -> Option<&Result<ChildFacts, NoChild>> {
        if candidate.slices.is_empty() {
            Some(&self.models.get(candidate.like()?)?.child)
        } else {
            self.stacked.get(&candidate.family)
        }
    }
}

impl Resolver<'_> {
    /// Lays out what is not like a parent.
    pub(super) fn children<'m>(&self, candidates: &[Candidate], models: &'m Models) -> Children<'m> {
        let mut stacked = BTreeMap::new();
        for candidate in candidates.iter().filter(|candidate| !candidate.slices.is_empty()) {
            if stacked.contains_key(&candidate.family) || !self.slices_are_there(candidate, models) {
                continue;
            }
            let Some(like) = candidate.like().and_then(|like| models.get(like)) else { continue };
            let package = |name: &Name| models.get(name).map(|facts| &*facts.package);
            let child = outline(&like.package, &candidate.slices, candidate.tokens_of_base, &package)
                .map_err(NoChild::from)
                .and_then(|package| Self::child(&package, &like.form));
            stacked.insert(candidate.family.clone(), child);
        }
        Children { models, stacked }
    }

    /// The form of children like a model of this format. Without a word on it, `.slm` files are f32 and
    /// tensors of other formats as their model has them.
    pub(super) fn form(&self, format: &str) -> Form {
        let cycle = self.file.cycle.as_ref();
        let asked = cycle.and_then(|cycle| cycle.format.as_ref());
        let format = asked.map_or_else(|| Target::of_children(format), |asked| asked.value);
        let dtype = cycle.and_then(|cycle| cycle.output.as_ref()).map(|output| output.value);
        let shard = cycle.and_then(|cycle| cycle.shard.as_ref()).map(|shard| shard.value.0);
        let slm = (format == Target::Slm1).then_some(DType::F32);
        let shard = shard.filter(|_| format == Target::HuggingFace);
        Form { format, dtype: dtype.or(slm), shard, without_tokenizer: false }
    }

    /// Lays a child of a model out.
    pub(super) fn child(package: &Package, form: &Form) -> Result<ChildFacts, NoChild> {
        let child = Child::like(package, form, None)?;
        let tensors =
            child.planned().iter().map(|planned| (planned.name.clone(), planned.shape.clone())).collect();
        let in_full = child.planned().iter().all(|planned| planned.dtype == DType::F32);
        let full = if in_full { 0 } else { Child::like(package, &form.in_full(), None)?.total_bytes() };
        Ok(ChildFacts { format: form.format, bytes: child.total_bytes(), full, tensors })
    }

    /// Only children that somebody declares must be possible. Each reason is told once.
    pub(super) fn children_can_be_written(&mut self, candidates: &[Candidate], children: &Children<'_>) {
        self.shards_have_room();
        let mut told = BTreeSet::new();
        let of_likes: BTreeMap<&Name, &Candidate> =
            candidates.iter().filter_map(|candidate| Some((candidate.like()?, candidate))).collect();
        let stacked = candidates.iter().filter(|candidate| !candidate.slices.is_empty());
        let stacked = stacked.filter_map(|candidate| Some((candidate.like()?, candidate)));
        for (like, candidate) in of_likes.into_iter().chain(stacked) {
            let Some(Err(no)) = children.of(candidate) else { continue };
            let cycle = self.file.cycle.as_ref();
            let asked = cycle.and_then(|cycle| match &cycle.output {
                Some(output) if no.encoding => Some(output.span.clone()),
                _ => cycle.format.as_ref().map(|format| format.span.clone()),
            });
            let section = self.file.parents.iter().find(|section| section.name.value == *like);
            let span = asked.or_else(|| section.map(|section| section.name.span.clone())).unwrap_or(0..0);
            if !told.insert(no.why.clone()) {
                continue;
            }
            let help = if no.encoding {
                "change `output`, or `format` in `[cycle]`"
            } else {
                "set another `format` in `[cycle]`"
            };
            self.mistake(
                Diagnostic::error(format!("no child like `{like}` can be made: {}", no.why), span)
                    .expected("expected a format and an encoding that its children can have")
                    .help(help),
            );
        }
    }

    fn shards_have_room(&mut self) {
        let Some(shard) = self.file.cycle.as_ref().and_then(|cycle| cycle.shard.as_ref()) else { return };
        if shard.value.0 == 0 {
            self.mistake(
                Diagnostic::error("`shard` cannot be 0", shard.span.clone())
                    .expected("expected most bytes of tensors in one file of a folder, such as \"2 GiB\""),
            );
        }
    }
}
