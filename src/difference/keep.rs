//! An adapter of another format as a package: every number as it is.

use super::compare::measure;
use super::error::DifferenceError;
use super::extract::{Extracted, Made};
use super::pair::Pair;
use super::selection::{LeftOut, Selection, refuse_nothing};
use crate::base::sink::ArtifactSink;
use crate::model::Package;
use crate::model::adapter::package::{DENSE, Family, LOW_RANK, SPARSE};
use crate::model::adapter::write::{encode_pair, needs_wide};
use crate::model::adapter::{
    Adapter, AdapterIdentity, Delta, DeltaInfo, Layout, PlannedDelta, PlannedStored, Writer,
};
use crate::operator::Adapted;

/// Writes an adapter as a package for a base, and says what is in it.
///
/// # Errors
///
/// [`DifferenceError::Adapter`] of an adapter that is not for the base, [`DifferenceError::NotFinite`] of a
/// weight, [`DifferenceError::AllLeftOut`] if the selection leaves nothing of it, [`DifferenceError::Write`] if
/// the sink fails. What was written is worthless then.
pub fn keep(
    base: &Package,
    adapter: &Adapter,
    selection: Selection<'_>,
    sink: &mut dyn ArtifactSink,
) -> Result<Made, DifferenceError> {
    let identity = AdapterIdentity::of_package(base);
    let adapted = Adapted::on(base, adapter)?;
    let (mut deltas, mut planned) = (Vec::new(), Vec::new());
    let (mut extracted, mut left_out) = (Vec::new(), Vec::new());
    for info in adapter.infos() {
        let pair = Pair::of(&info.name, &base.weights, &adapted);
        // Every delta has its tensor, in its shape: that was checked just now.
        let (Some(pair), Some(delta)) = (pair, adapter.delta(&info.name)) else { continue };
        let sums = measure(&pair)?;
        if !selection.takes(base, &info.name) {
            let (tensor, shape) = (info.name.clone(), info.shape.clone());
            left_out.push(LeftOut { tensor, shape, measures: sums.finish() });
            continue;
        }
        let (plan, stored, numbers) = plan(info, &delta);
        extracted.push(Extracted {
            tensor: info.name.clone(),
            shape: info.shape.clone(),
            stored,
            numbers: numbers as u64,
            l2: sums.difference.sqrt(),
            captured: 1.0,
        });
        planned.push(plan);
        deltas.push(delta);
    }
    refuse_nothing(extracted.len(), &left_out)?;
    let layout = Layout::new(family(&planned), &identity, &planned)?;
    let mut writer = Writer::new(&layout, sink)?;
    for (delta, plan) in deltas.iter().zip(&planned) {
        write(delta, needs_wide(&plan.shape), &mut writer)?;
    }
    writer.finish()?;
    Ok(Made { deltas: extracted, left_out })
}

/// How a delta will be stored, the word for it, and how many numbers it has.
fn plan(info: &DeltaInfo, delta: &Delta<'_>) -> (PlannedDelta, &'static str, usize) {
    let (stored, word, numbers) = match delta {
        Delta::Dense(view) => (PlannedStored::Dense, "dense", view.shape.elements()),
        Delta::Sparse(pairs) => {
            let stored = PlannedStored::Sparse { pairs: pairs.len() as u64, wide: needs_wide(&info.shape) };
            (stored, "sparse", pairs.len())
        }
        Delta::LowRank(factors) => {
            let stored = PlannedStored::LowRank { rank: factors.rank, scale: factors.scale };
            (stored, "low-rank", factors.a.len() + factors.b.len())
        }
    };
    (PlannedDelta { name: info.name.clone(), shape: info.shape.clone(), stored }, word, numbers)
}

/// The family that holds these deltas: no format mixes sparse ones with others.
fn family(planned: &[PlannedDelta]) -> &'static Family {
    let any = |wanted: fn(&PlannedStored) -> bool| planned.iter().any(|delta| wanted(&delta.stored));
    if any(|stored| matches!(stored, PlannedStored::Sparse { .. })) {
        SPARSE
    } else if any(|stored| matches!(stored, PlannedStored::LowRank { .. })) {
        LOW_RANK
    } else {
        DENSE
    }
}

fn write(delta: &Delta<'_>, wide: bool, writer: &mut Writer<'_>) -> Result<(), DifferenceError> {
    match delta {
        Delta::Dense(view) => writer.put_f32(&view.f32s())?,
        Delta::Sparse(pairs) => {
            let mut bytes = Vec::new();
            for first in (0..pairs.len()).step_by(1 << 16) {
                bytes.clear();
                for i in first..pairs.len().min(first + (1 << 16)) {
                    let (index, delta) = pairs.get(i);
                    encode_pair(wide, index, delta, &mut bytes);
                }
                writer.put(&bytes)?;
            }
        }
        Delta::LowRank(factors) => {
            writer.put_f32(&factors.a)?;
            writer.put_f32(&factors.b)?;
        }
    }
    Ok(())
}
