//! Sections to a plan: every name refers to something, every parameter has its value, every sweep
//! is spelled out, every file is there, and nothing can exceed the budget.
//!
//! A run may take hours, so whatever can be known before it is known here. The sections are gone
//! through one after the other; none stops the next, because a person wants all mistakes at once.
//! The price is that one slip must not be told twice: a name counts as known as soon as its section
//! is there, even if that section has mistakes of its own, and what is missing is not complained
//! about where something unreadable stands in its place.
//!
//! * `names`: what is declared, and what to say of a name that is not.
//! * `parents`: models and adapters opened, pools of earlier cycles looked up; `unfit`: why one is not. `children`:
//!   how what is made of them is stored.
//! * `candidates`, `parameters`, `rules`, `slices`, `sweep`: one section to one candidate or many.
//! * `champion`: who that is. `suites`, `options`, `gates`, `metric`, `review`: how candidates are judged.
//!   `demands`: what no model meets, or every one. `confidence`: how sure so many tests can be.
//!   `few`: that enough cases decide. `fits`: that cases have room in a model's context.
//! * `browser`: that whoever must run in a browser can. `uses`: that nobody is judged by the cases that
//!   chose them. `selection`: what chooses the parents of greedy soups.
//! * `outlines`: that children can be made with their parameters. `overruled`: what no tensor hears.
//!   `vocabularies`: that models whose tokens are matched say them. `networks`: that parents compute alike.
//! * `shown`: names whose files would have one name.
//! * `budget`: what the plan may cost, and what it would.
//! * `texts`: what parents were trained on, as far as it is declared.
//! * `unused`: what is declared and not used; worth a warning, once there are no mistakes.
//!
//! Plans are read whole but may hold 100,000 candidates: names are looked up in maps, sizes are
//! computed once for each parent, values of a sweep are checked once and not in every combination.

mod browser;
mod budget;
mod candidates;
mod champion;
mod children;
mod confidence;
mod demands;
mod few;
mod fits;
mod gates;
mod licences;
mod metric;
mod names;
mod networks;
mod options;
mod outlines;
mod overruled;
mod parameters;
mod parents;
mod pools;
mod registry;
mod review;
mod rules;
mod selection;
mod shown;
mod slices;
mod suites;
mod sweep;
#[cfg(test)]
pub(super) mod testing;
mod texts;
mod unfit;
mod unused;
mod uses;
mod vocabularies;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::names::Known;
use super::file::{CandidateSection, PlanFile};
use super::pool::ChosenBy;
use super::resolved::{Candidate, Champion, Origin, Parent, Plan};
use crate::base::diagnostic::{Diagnostic, Severity};
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::evaluate;
use crate::pedigree::PedigreeError;
use crate::pedigree::offered::retired;
use crate::store::Store;

/// Resolves a plan; `None` only if mistakes were reported. Warnings come with a plan.
pub fn resolve(
    file: &PlanFile,
    folder: &Path,
    sha256: Sha256,
    store: &Store,
    out: &mut Vec<Diagnostic>,
) -> Option<Plan> {
    let mut resolver = Resolver {
        file,
        folder,
        store,
        known: Known::of(file),
        cases: BTreeMap::new(),
        read: BTreeMap::new(),
        chosen_by: BTreeSet::new(),
        champion: None,
        out,
    };
    let plan = resolver.plan(sha256)?;
    let whole = out.iter().all(|diagnostic| diagnostic.severity != Severity::Error);
    if whole {
        out.extend(unused::unused(file, &plan));
    }
    whole.then_some(plan)
}

/// What all steps need. Each step is an `impl` of this in its own file.
struct Resolver<'p> {
    file: &'p PlanFile,
    /// What paths are relative to.
    folder: &'p Path,
    /// Where models of earlier cycles are.
    store: &'p Store,
    known: Known<'p>,
    /// Every case, and the suites it is in.
    cases: BTreeMap<Digest, BTreeSet<String>>,
    /// The suites, as far as they can be read.
    read: BTreeMap<Name, evaluate::Suite>,
    /// What chose parents in earlier cycles.
    chosen_by: BTreeSet<ChosenBy>,
    /// Whom gates mean by the champion.
    champion: Option<Champion>,
    out: &'p mut Vec<Diagnostic>,
}

impl<'p> Resolver<'p> {
    /// Where the file says of a candidate, or of the sweep that it is of.
    fn section_of(&self, candidate: &Candidate) -> Option<&'p CandidateSection> {
        self.file.candidates.iter().find(|section| section.name.value == candidate.family)
    }
}

impl Resolver<'_> {
    fn plan(&mut self, sha256: Sha256) -> Option<Plan> {
        let cycle = self.cycle();
        let budget = self.budget();
        let (parents, models) = self.parents();
        let texts = self.texts(&parents);
        let candidates = self.candidates();
        self.slices_fit(&candidates, &models);
        let children = self.children(&candidates, &models);
        self.children_can_be_written(&candidates, &children);
        self.rules_meet_tensors(&candidates, &children);
        self.overruled(&candidates, &children);
        self.outlines_suit(&candidates, &children);
        self.vocabularies_known(&candidates, &models);
        self.networks_agree(&candidates, &models);
        let smoke = self.smoke();
        self.prompts_fit(&smoke, &models);
        let suites = self.suites();
        self.suites_fit(&suites, &models);
        self.labels_differ(&candidates);
        self.files_differ(&candidates);
        self.find_champion(&candidates);
        let gates = self.gates(&suites);
        self.browsers_can_run(&gates, &candidates, &children);
        self.confidence_in_reach(&gates, &candidates);
        self.enough_cases(&gates);
        self.selections(&candidates, &suites, &gates);
        let licences = self.licences();
        let review = self.review(&suites);
        self.uses_kept(&suites, &gates, &review);
        let pool_size = self.pool_size();
        let registry = self.registry();
        if let Some(budget) = budget {
            self.within_budget(budget, &candidates, &suites, &children);
        }
        let cycle = cycle?;
        let retired = self.retired(&cycle.name, &parents);
        Some(Plan {
            sha256,
            cycle,
            budget: budget?,
            parents,
            candidates,
            smoke,
            suites,
            gates,
            licences,
            champion: self.champion.take(),
            review,
            texts,
            chosen_by: std::mem::take(&mut self.chosen_by).into_iter().collect(),
            pool_size,
            retired,
            registry,
        })
    }

    /// What may not be offered any more. A ledger that cannot be read offers nothing: its own stage says why.
    fn retired(&mut self, cycle: &Name, parents: &[Parent]) -> BTreeMap<Sha256, u64> {
        let bred = parents.iter().filter_map(|parent| match &parent.origin {
            Origin::Pool { parent, .. } => Some(parent.manifest),
            Origin::File { .. } => None,
        });
        match retired(self.store, cycle, &bred.collect::<Vec<_>>()) {
            Err(error @ PedigreeError::Unreadable { .. }) => {
                self.mistake(Diagnostic::error(error.to_string(), 0..0).damage(true));
                BTreeMap::new()
            }
            other => other.unwrap_or_default(),
        }
    }

    fn mistake(&mut self, diagnostic: Diagnostic) {
        self.out.push(diagnostic);
    }

    /// A section nobody wrote has no place; the top of the plan is where people look for it.
    fn section_missing(&mut self, section: &str, add: &str) {
        self.mistake(
            Diagnostic::error(format!("the plan has no {section}"), 0..0)
                .expected(format!("expected {section} somewhere in this file"))
                .help(add.to_owned()),
        );
    }

    /// Whether a mistake inside this place was already told; what follows from it is not another one.
    fn told(&self, span: &std::ops::Range<usize>) -> bool {
        let inside = |told: &std::ops::Range<usize>| span.start <= told.start && told.end <= span.end;
        self.out.iter().any(|diagnostic| diagnostic.span.as_ref().is_some_and(inside))
    }
}
