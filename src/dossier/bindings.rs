//! Whether the records are of each other: every digest that one holds of another, and every word that two
//! of them share.

use super::evidence::{Evidence, confident_gates};
use crate::base::digest::Sha256;
use crate::record::lineage::{Ancestor, LineageTemplate};
use crate::record::receipt::Used;

/// The reason is a sentence.
type Held = Result<(), String>;

fn same<T>(what: &str, bound: &T, found: &T) -> Held
where
    T: PartialEq + std::fmt::Display,
{
    if bound == found { Ok(()) } else { Err(format!("{what}: the record binds {bound}, found {found}")) }
}

fn demand(holds: bool, why: &str) -> Held {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

/// Checks all of them.
pub(super) fn check(evidence: &Evidence) -> Result<String, String> {
    names(evidence)?;
    lineage(evidence)?;
    receipt(evidence)?;
    registration(evidence)?;
    others(evidence)?;
    smoke(evidence)?;
    decision(evidence)?;
    let count = evidence.sources.len() + evidence.lineages.len() + evidence.measured.len() + 8;
    Ok(format!("{count} records name each other's digests"))
}

fn names(evidence: &Evidence) -> Held {
    let index = &evidence.index;
    same("the candidate manifest", &index.manifest, &evidence.manifest().subject.sha256)?;
    for (what, cycle, candidate) in [
        ("manifest", &evidence.manifest().body.cycle, &evidence.manifest().body.candidate),
        ("lineage template", &evidence.lineage().body.cycle, &evidence.lineage().body.candidate),
        ("promotion template", &evidence.promotion.body.cycle, &evidence.promotion.body.candidate),
        ("admission record", &evidence.admission.body.cycle, &evidence.admission.body.candidate),
    ] {
        let ours = (cycle, candidate) == (&index.cycle, &index.candidate);
        demand(
            ours,
            &format!(
                "the {what} is of {cycle}/{candidate}, the dossier of {}/{}",
                index.cycle, index.candidate
            ),
        )?;
    }
    for (name, source) in &evidence.sources {
        demand(
            source.body.name == *name,
            &format!("{:?} is the record of `{}`", source.path, source.body.name),
        )?;
    }
    demand(
        evidence.compat.body.candidate == index.candidate,
        "the compatibility report is of another candidate",
    )?;
    demand(evidence.receipt.body.candidate == index.candidate, "the operator receipt is of another candidate")
}

fn ancestor(evidence: &Evidence, ancestor: &Ancestor) -> Held {
    let name = &ancestor.name;
    let source = evidence
        .sources
        .get(name)
        .ok_or_else(|| format!("the source record of the parent `{name}` is missing"))?;
    same(&format!("the source record of `{name}`"), &ancestor.source, &source.subject.sha256)?;
    same(&format!("the bytes of `{name}`"), &ancestor.sha256, &source.body.artifact.sha256)?;
    same(&format!("the bytes of `{name}`"), &ancestor.blake3, &source.body.artifact.blake3)?;
    let adapts = source.body.adapter.as_ref().map(|adapter| &adapter.adapts);
    demand(
        adapts == ancestor.adapts.as_ref().map(|base| &base.name),
        &format!("`{name}` is added to another model than its lineage says"),
    )?;
    ancestor.adapts.iter().try_for_each(|base| self::ancestor(evidence, base))
}

fn lineage(evidence: &Evidence) -> Held {
    let (lineage, compat) = (&evidence.lineage().body, &evidence.compat);
    same("the compatibility report", &lineage.compatibility, &compat.subject.sha256)?;
    let bound = lineage.base.iter().chain(&lineage.parents).chain(&lineage.champion);
    bound.into_iter().try_for_each(|parent| ancestor(evidence, parent))?;
    demand(
        compat.body.operator == lineage.operator.name,
        "the compatibility report is for another operator",
    )?;
    for (name, source) in &compat.body.parents {
        let kept =
            evidence.sources.get(name).ok_or_else(|| format!("the source record of `{name}` is missing"))?;
        same(&format!("the source record of `{name}`"), source, &kept.subject.sha256)?;
    }
    for suite in &lineage.suites {
        let Some(bound) = suite.sha256 else { continue };
        let cases = evidence
            .suites
            .get(&suite.name)
            .ok_or_else(|| format!("the cases of `{}` are missing", suite.name))?;
        same(&format!("the cases of `{}`", suite.name), &bound, &Sha256::of(cases))?;
    }
    Ok(())
}

fn used(ancestor: &Ancestor, used: &Used) -> bool {
    let adapts = match (&ancestor.adapts, &used.adapts) {
        (Some(ancestor), Some(used)) => self::used(ancestor, used),
        (None, None) => true,
        _ => false,
    };
    adapts && (&ancestor.name, ancestor.blake3) == (&used.name, used.blake3)
}

fn receipt(evidence: &Evidence) -> Held {
    let (lineage, receipt, manifest) =
        (&evidence.lineage().body, &evidence.receipt, &evidence.manifest().body);
    same("the operator receipt", &manifest.receipt, &receipt.subject.sha256)?;
    same("the lineage template", &manifest.lineage, &evidence.lineage().subject.sha256)?;
    same("the artifact of the receipt", &receipt.body.output.digest, &manifest.artifact.blake3)?;
    demand(
        receipt.body.operator == lineage.operator,
        "the receipt is of another operator or other parameters than were promised",
    )?;
    demand(receipt.body.seed == lineage.seed, "the receipt has another seed than was promised")?;
    let base = match (&lineage.base, &receipt.body.base) {
        (Some(bound), Some(found)) => used(bound, found),
        (None, None) => true,
        _ => false,
    };
    let parents = lineage.parents.len() == receipt.body.parents.len()
        && lineage.parents.iter().zip(&receipt.body.parents).all(|(bound, found)| used(bound, found));
    demand(base && parents, "the receipt used other parents than were promised")
}

fn registration(evidence: &Evidence) -> Held {
    let (plan, index) = (&evidence.registration.body, &evidence.index);
    demand(plan.cycle == index.cycle, "the registered plan is of another cycle")?;
    let place = plan.candidates.iter().position(|name| *name == index.candidate);
    let bound = place.and_then(|at| *plan.lineages.get(at)?);
    let bound = bound.ok_or("the registered plan does not have this candidate")?;
    same(
        "the lineage template that the registered plan promised",
        &bound,
        &evidence.lineage().subject.sha256,
    )?;
    let lineage = &evidence.lineage().body;
    demand(plan.suites == lineage.suites, "the registered plan has other suites than the lineage")?;
    demand(plan.seed == lineage.seed, "the registered plan has another seed than the lineage")?;
    demand(plan.budget == lineage.budget, "the registered plan has another budget than the lineage")?;
    let registered = |gate: &serde_json::Value| {
        let all = plan.gates.as_array().into_iter().flatten();
        all.into_iter().any(|one| one.get("gate") == Some(gate))
    };
    let ours = lineage.gates.as_array().ok_or("the lineage has no list of gates")?;
    demand(ours.iter().all(registered), "the registered plan has other gates than the lineage")
}

/// Those it was compared with: their own records must fit as far as they are here.
fn others(evidence: &Evidence) -> Held {
    for (name, manifest) in &evidence.manifests {
        demand(
            manifest.body.candidate == *name,
            &format!("{:?} is the manifest of `{}`", manifest.path, manifest.body.candidate),
        )?;
        if let Some(lineage) = evidence.lineages.get(name) {
            same(&format!("the lineage of `{name}`"), &manifest.body.lineage, &lineage.subject.sha256)?;
        }
    }
    let Some(comparisons) = &evidence.comparisons else { return Ok(()) };
    for (name, lineage) in &evidence.lineages {
        demand(
            lineage.body.candidate == *name,
            &format!("{:?} is the lineage of `{}`", lineage.path, lineage.body.candidate),
        )?;
        let rows = comparisons.body.rows.iter().filter(|row| row.candidate == *name);
        let rows: Vec<String> = rows.map(|row| row.gate.to_string()).collect();
        demand(
            rows == asked(&lineage.body),
            &format!("the comparisons for `{name}` are not those that its lineage asks for"),
        )?;
    }
    Ok(())
}

fn asked(lineage: &LineageTemplate) -> Vec<String> {
    let gates = confident_gates(lineage).into_iter();
    gates.map(|(name, _)| name.as_str().unwrap_or_default().to_owned()).collect()
}

fn smoke(evidence: &Evidence) -> Held {
    let (smoke, manifest) = (&evidence.smoke.body, evidence.manifest());
    demand(smoke.subject.name == evidence.index.candidate, "the runtime smoke is of another candidate")?;
    same("the manifest of the runtime smoke", &smoke.subject.manifest, &manifest.subject.sha256)?;
    same("the artifact of the runtime smoke", &smoke.subject.artifact, &manifest.body.artifact.sha256)?;
    let ran: Vec<&str> = smoke.prompts.iter().map(|run| run.prompt.as_str()).collect();
    let asked = evidence.lineage().body.smoke.get("prompts").and_then(|it| it.as_array());
    let asked: Vec<&str> = asked.into_iter().flatten().filter_map(|it| it.as_str()).collect();
    demand(
        smoke.cannot_run.is_some() || ran == asked,
        "the runtime smoke ran other prompts than were promised",
    )?;
    Ok(())
}

fn decision(evidence: &Evidence) -> Held {
    let (promotion, admission) = (&evidence.promotion, &evidence.admission.body);
    let made = Some(evidence.manifest().subject.sha256);
    same("the promotion template", &admission.promotion, &promotion.subject.sha256)?;
    demand(admission.manifest == made, "the admission is of another manifest")?;
    demand(promotion.body.manifest == made, "the promotion template is of another manifest")?;
    let lineage = Some(evidence.lineage().subject.sha256);
    demand(promotion.body.lineage == lineage, "the promotion template is of another lineage")
}
