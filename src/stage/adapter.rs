//! Parents where stages meet them: models of any format, and adapters with the models they are added to.

use std::path::Path;

use super::StageError;
use crate::base::name::Name;
use crate::convert::{RunError, checkpoint};
use crate::model::adapter::OpenedAdapter;
use crate::model::{Checkpoint, OpenedPackage};
use crate::operator::{Adapted, Tensors};

/// A parent as it lies on the disk: a model, or a model and what is added to it.
pub(super) struct Whole {
    /// The model.
    pub(super) model: OpenedPackage,
    /// What is added to it.
    pub(super) adapter: Option<OpenedAdapter>,
}

impl Whole {
    /// The model with its adapter on it, if it has one; everything about the two is checked here.
    pub(super) fn adapted(&self) -> Result<Option<Adapted<'_>>, StageError> {
        let Some(opened) = &self.adapter else { return Ok(None) };
        let adapted = Adapted::on(&self.model.package, &opened.adapter)
            .map_err(|error| StageError::Refused(format!("{}: {error}", opened.mapped.path().display())))?;
        Ok(Some(adapted))
    }

    /// A model that can be run, or why it is none. One with an adapter on it is made in memory, as f32.
    pub(super) fn runnable(&self, name: &Name) -> Result<Result<Checkpoint, String>, StageError> {
        let adapted = self.adapted()?;
        let tensors = adapted.as_ref().map(|adapted| adapted as &dyn Tensors);
        match checkpoint(&self.model.package, tensors, name.as_str()) {
            Ok(checkpoint) => Ok(Ok(checkpoint)),
            Err(RunError::Operator(error)) => Err(error.into()),
            Err(why) => Ok(Err(why.to_string())),
        }
    }

    /// A file that is not what it was when it was opened.
    pub(super) fn edited(&self) -> Option<&Path> {
        let adapter = self.adapter.as_ref().map(|opened| &opened.mapped);
        let adapter = adapter.filter(|mapped| !mapped.unchanged()).map(|mapped| mapped.path());
        self.model.edited().or(adapter)
    }
}
