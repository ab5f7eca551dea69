//! How children are stored: in the format of the model they are like, unless the cycle says another.

use std::collections::BTreeSet;

use super::Resolver;
use super::parents::Models;
use crate::base::diagnostic::Diagnostic;
use crate::convert::{Child, ConvertError, Form, Target};
use crate::model::{Package, WriteError};
use crate::plan::resolved::Candidate;
use crate::tensor::dtype::DType;

/// What a plan must know of the children of a model.
#[derive(Debug, Clone)]
pub(super) struct ChildFacts {
    /// Their format.
    pub(super) format: Target,
    /// Their exact length.
    pub(super) bytes: u64,
    /// Their tensors' names.
    pub(super) tensors: Vec<String>,
}

/// Why a model has no children of that form.
#[derive(Debug, Clone)]
pub(super) struct NoChild {
    why: String,
    /// Whether it is for the encoding alone, which the cycle says.
    encoding: bool,
}

impl Resolver<'_> {
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
        let child = Child::like(package, form, None).map_err(|error| NoChild {
            encoding: matches!(
                error,
                ConvertError::Encoding { .. }
                    | ConvertError::Write(WriteError::Encoding { .. } | WriteError::Tensor { .. })
            ),
            why: error.to_string(),
        })?;
        let tensors = child.planned().iter().map(|planned| planned.name.clone()).collect();
        Ok(ChildFacts { format: form.format, bytes: child.total_bytes(), tensors })
    }

    /// Only children that somebody declares must be possible. Each reason is told once.
    pub(super) fn children_can_be_written(&mut self, candidates: &[Candidate], models: &Models) {
        self.shards_have_room();
        let mut told = BTreeSet::new();
        for like in candidates.iter().filter_map(Candidate::like).collect::<BTreeSet<_>>() {
            let Some(Err(no)) = models.get(like).map(|facts| &facts.child) else { continue };
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
