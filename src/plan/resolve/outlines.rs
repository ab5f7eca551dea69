//! That children can be made with their parameters: what an operator refuses for a child's tensors is a
//! mistake before a model is read.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Resolver;
use super::children::Children;
use crate::base::diagnostic::Diagnostic;
use crate::base::name::Name;
use crate::operator::{Unsuited, check_child};
use crate::plan::file::{Amount, CandidateSection, Given, Written};
use crate::plan::resolved::Candidate;

impl Resolver<'_> {
    /// Parameters of every tensor, and of all together. One mistake of a sweep is enough.
    pub(super) fn outlines_suit(&mut self, candidates: &[Candidate], children: &Children<'_>) {
        let mut told: BTreeSet<&Name> = BTreeSet::new();
        for candidate in candidates {
            let child = children.of(candidate).and_then(|child| child.as_ref().ok());
            let Some(facts) = child.filter(|_| !told.contains(&candidate.family)) else { continue };
            let tensors = facts.tensors.iter().map(|(name, shape)| (name.as_str(), shape));
            let given = (&candidate.parameters, &candidate.rules[..]);
            let parents = if candidate.slices.is_empty() { candidate.parents.len() } else { 1 };
            let Err(why) = check_child(candidate.operator, given, parents, tensors) else { continue };
            told.insert(&candidate.family);
            self.unsuited(candidate, &why);
        }
    }

    fn unsuited(&mut self, candidate: &Candidate, why: &Unsuited) {
        let section = self.section_of(candidate);
        let place = section.map(|section| {
            let written = match why.parameter {
                Some(parameter) => place_of(section, parameter),
                None => place_of_ramp(section),
            };
            written.unwrap_or_else(|| section.span.clone())
        });
        let message = format!("`{}`: {}", candidate.name, why.error);
        let mistake = Diagnostic::error(message, place.unwrap_or(0..0));
        self.mistake(match &why.tensor {
            Some(tensor) => mistake
                .expected("expected values that make sense together at every layer")
                .help(format!("they do not at `{tensor}`")),
            None => mistake.expected("expected what can be done with every tensor that is meant").help(
                "`rules` and `tensors` say which tensors are meant; `studbook inspect` lists their shapes",
            ),
        });
    }
}

/// Of the keys of a section and its rules, the place of the one that decides: the last of them.
fn place_of(section: &CandidateSection, key: &str) -> Option<Range<usize>> {
    let swept = section.sweep.iter().filter(|(name, _)| name.value == key).map(|(name, _)| name.span.clone());
    let own = written(section).filter(|(name, _)| name.value == key).map(|(_, written)| written.span.clone());
    own.chain(swept).next_back()
}

/// What is fine at the ends of a ramp and not between has a ramp for its reason.
fn place_of_ramp(section: &CandidateSection) -> Option<Range<usize>> {
    let ramp = |amount: &Amount| matches!(amount, Amount::Ramp(_));
    let has_ramp = |written: &Written| match written {
        Written::Ramp(_) => true,
        Written::List(amounts) => amounts.iter().any(ramp),
        Written::ByParent(amounts) => amounts.iter().any(|(_, amount)| ramp(amount)),
        Written::Number(_) | Written::Flag(_) | Written::Text(_) => false,
    };
    written(section).find(|(_, written)| has_ramp(&written.value)).map(|(_, written)| written.span.clone())
}

/// The parameters of a section, then those of its rules.
fn written(section: &CandidateSection) -> impl DoubleEndedIterator<Item = &Given> {
    section.parameters.iter().chain(section.rules.iter().flat_map(|rule| &rule.parameters))
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};

    /// `GOOD` with another first candidate.
    fn with(candidate: &str) -> String {
        let from = "operator = \"blend\"\nparents = [\"one\", \"two\"]";
        assert!(GOOD.contains(from));
        GOOD.replace(from, candidate)
    }

    /// The place and the text of the only mistake.
    fn only(plan: &str) -> (String, String) {
        let found = mistakes(plan);
        assert_eq!(found.len(), 1, "{found:?}");
        (plan[found[0].span.clone().unwrap()].to_owned(), found[0].message.clone())
    }

    const TWO: &str = "parents = [\"one\", \"two\"]";

    #[test]
    fn a_structure_must_divide_the_rows_it_is_for() {
        let prune = |more: &str| {
            GOOD.replace(
                "operator = \"blend\"\nparents = [\"one\", \"two\"]",
                &format!("operator = \"prune\"\nparents = [\"one\"]\n{more}"),
            )
        };
        let text = prune("structure = \"2:16\"");
        let found = mistakes(&text);
        assert_eq!(
            found[0].message,
            "`average`: prune: `tok_embeddings.weight` has rows of 8, which cannot be cut into groups of 16 for the \
             structure 2:16; choose other `tensors`"
        );
        assert_eq!(&text[found[0].span.clone().unwrap()], "\"2:16\"");
        Folder::new().plan(&prune("structure = \"2:4\""));
        Folder::new().plan(&prune("structure = \"2:16\"\ntensors = \"*.w2.*\""));
        let ruled = prune("structure = \"2:4\"\nrules = [{ tensors = \"*.wo.*\", structure = \"3:5\" }]");
        assert!(mistakes(&ruled)[0].message.contains("`layers.0.wo.weight` has rows of 8"));
    }

    /// The tensors of one layer take a ramp's last number, those outside of it its first.
    #[test]
    fn what_holds_for_the_whole_model_is_no_ramp_and_in_no_rule() {
        let whole = |parameter: &str, tensor: &str| {
            format!("`{parameter}` holds for the whole model and cannot be another for `{tensor}`")
        };
        for (operator, given, place, parameter) in [
            ("federated", "samples = { ramp = [1, 2] }", "{ ramp = [1, 2] }", "samples"),
            ("federated", "rules = [{ tensors = \"layers.*\", clip_norm = 7 }]", "7", "clip_norm"),
            ("federated", "clip_norm = { ramp = [1, 1, 2] }", "{ ramp = [1, 1, 2] }", "clip_norm"),
            (
                "crossover",
                "rules = [{ tensors = \"layers.*\", scheme = \"n_point:1\" }]",
                "\"n_point:1\"",
                "scheme",
            ),
        ] {
            let plan = with(&format!("operator = \"{operator}\"\n{TWO}\n{given}"));
            let (at, message) = only(&plan);
            assert_eq!(at, place);
            assert!(message.contains(&format!("`{parameter}` holds for the whole model")), "{message}");
        }
        // A rule may say what holds anyhow.
        let same = "rules = [{ tensors = \"layers.*\", scheme = \"uniform\" }]";
        Folder::new().plan(&with(&format!("operator = \"crossover\"\n{TWO}\n{same}")));
        let plan = with(&format!("operator = \"federated\"\n{TWO}\nsamples = {{ ramp = [1, 2] }}"));
        assert!(only(&plan).1.ends_with(&whole("samples", "layers.0.attn_norm.weight")), "{}", only(&plan).1);
    }

    /// Fine at the ends and where the ramp bends; in the middle of three layers the weights are 1 and -1.
    #[test]
    fn values_make_sense_at_every_layer() {
        let plan =
            with(&format!("operator = \"blend\"\n{TWO}\nweight = {{ one = 1, two = {{ ramp = [1, -3] }} }}"));
        Folder::new().plan(&plan);
        let found = Folder::layered(3).mistakes(&plan);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].message.starts_with("`average`: blend: the weights sum to zero"), "{found:?}");
        assert_eq!(&plan[found[0].span.clone().unwrap()], "{ one = 1, two = { ramp = [1, -3] } }");
        assert_eq!(found[0].help, ["they do not at `layers.1.attn_norm.weight`"]);
    }

    #[test]
    fn what_competes_globally_has_one_density() {
        let plan = with(
            "operator = \"prune\"\nparents = [\"one\"]\nscope = \"global\"\ndensity = { ramp = [0.1, 1] }",
        );
        let (at, message) = only(&plan);
        assert_eq!(at, "{ ramp = [0.1, 1] }");
        assert!(message.contains("elements compete globally, so one density must hold for all"), "{message}");
    }

    #[test]
    fn cuts_have_units_between_them() {
        let scheme = |points: usize| {
            with(&format!(
                "operator = \"crossover\"\n{TWO}\nunit = \"tensor\"\nscheme = \"n_point:{points}\""
            ))
        };
        Folder::new().plan(&scheme(10));
        let (at, message) = only(&scheme(11));
        assert_eq!(at, "\"n_point:11\"");
        assert!(message.ends_with("`n_point:11` cuts between units, and the model has only 11"), "{message}");
    }
}
