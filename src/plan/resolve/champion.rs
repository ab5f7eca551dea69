//! The champion: whom `versus = "champion"` means, looked up before the run and bound by digest.
//!
//! Looked up only if a gate asks for it. Whoever it is was admitted by the ledger of this store and stands;
//! a ledger that cannot be read, or a model that is gone, is a mistake and never "nobody".

use super::Resolver;
use super::unfit::Unfit;
use crate::base::diagnostic::Diagnostic;
use crate::base::digest::Sha256;
use crate::base::located::Located;
use crate::pedigree::champion::{Champion as Standing, last_admitted, named};
use crate::plan::file::ChampionSection;
use crate::plan::pool::PoolParent;
use crate::plan::resolved::{CHAMPION, Candidate, Champion, Origin};

impl Resolver<'_> {
    pub(super) fn find_champion(&mut self, candidates: &[Candidate]) {
        let file = self.file;
        let asking = file.gates.iter().filter_map(|gate| gate.versus.as_ref());
        let asked = asking.filter(|versus| versus.value == CHAMPION).map(|versus| versus.span.clone()).next();
        let Some(asked) = asked else {
            if let Some(section) = &file.champion {
                self.idle(section);
            }
            return;
        };
        if self.name_is_taken(candidates) {
            return;
        }
        let (found, span) = match &file.champion {
            Some(ChampionSection { manifest: Some(manifest), from_recipe: None, place: None, .. }) => {
                (self.by_manifest(manifest), manifest.span.clone())
            }
            Some(section @ ChampionSection { from_recipe: Some(recipe), manifest: None, .. }) => {
                (self.by_recipe(section, recipe), recipe.span.clone())
            }
            Some(section) if section.manifest.is_some() || section.place.is_some() => {
                return self.unclear(section);
            }
            _ => (self.by_ledger(), asked),
        };
        match found {
            Ok(standing) => {
                let champion = standing.map(champion);
                self.champion = champion.filter(|champion| self.is_here(champion, &span));
            }
            Err(Some(Unfit { why, lost })) => self.mistake(
                Diagnostic::error(format!("there is no telling who the champion is: {why}"), span)
                    .damage(lost)
                    .expected("expected a candidate that the ledger of this store admitted and that stands"),
            ),
            Err(None) => {}
        }
    }

    fn idle(&mut self, section: &ChampionSection) {
        self.mistake(
            Diagnostic::warning("no gate asks about the champion", section.span.clone())
                .expected(format!("expected a gate with `versus = \"{CHAMPION}\"`"))
                .help("remove `[champion]`"),
        );
    }

    fn unclear(&mut self, section: &ChampionSection) {
        self.mistake(
            Diagnostic::error("`[champion]` names its model in two ways, or half", section.span.clone())
                .expected("expected `manifest`, or `from_recipe` with or without `place`, or neither")
                .help("without either it is the last candidate that was admitted"),
        );
    }

    /// Its stages are called by that name.
    fn name_is_taken(&mut self, candidates: &[Candidate]) -> bool {
        let parents = self.file.parents.iter().map(|section| &section.name);
        let families = self.file.candidates.iter().map(|section| &section.name);
        let mut named = parents.chain(families).filter(|name| name.value.as_str() == CHAMPION);
        let span = match named.next() {
            Some(name) => name.span.clone(),
            None if candidates.iter().any(|candidate| candidate.name.as_str() == CHAMPION) => 0..0,
            None => return false,
        };
        self.mistake(
            Diagnostic::error(format!("`{CHAMPION}` is what a gate calls the last admitted candidate"), span)
                .expected("expected another name for this one")
                .help(format!("or compare with somebody else than `versus = \"{CHAMPION}\"`")),
        );
        true
    }

    fn by_ledger(&self) -> Found {
        // A cycle without a name is a mistake of its own.
        let name = self.file.cycle.as_ref().and_then(|cycle| cycle.name.as_ref()).ok_or(None)?;
        last_admitted(self.store, &name.value).map_err(|error| Some(error.into()))
    }

    fn by_manifest(&self, manifest: &Located<String>) -> Found {
        let sha256: Sha256 = manifest
            .value
            .parse()
            .map_err(|error| Some(format!("`manifest` is no SHA-256: {error}").into()))?;
        self.standing(sha256)
    }

    fn by_recipe(&mut self, section: &ChampionSection, recipe: &Located<String>) -> Found {
        let pool = self.pool(recipe).ok_or(None)?;
        let parent = self.place(section.place.as_ref(), recipe, &pool).ok_or(None)?;
        self.standing(parent.manifest)
    }

    fn standing(&self, manifest: Sha256) -> Found {
        let found = named(self.store, manifest).map_err(|error| Some(error.into()))?;
        found.map(Some).map_err(|why| Some(why.into()))
    }

    /// Whether its model is in the store.
    fn is_here(&mut self, champion: &Champion, span: &std::ops::Range<usize>) -> bool {
        let Origin::Pool { cycle, parent } = &champion.origin else { return false };
        let Err(error) = self.store.has_model(&parent.artifact) else { return true };
        let message = format!("the model of the champion `{}` is not in this store: {error}", parent.name);
        self.mistake(
            Diagnostic::error(message, span.clone())
                .damage(true)
                .expected("expected the model of an admitted candidate")
                .help(format!("run the plan of the cycle `{cycle}` with this store")),
        );
        false
    }
}

/// Who it is, if there is one; or why that is not known, unless it was told already.
type Found = Result<Option<Standing>, Option<Unfit>>;

fn champion(Standing { manifest, body }: Standing) -> Champion {
    let trained = body.claims.is_trained();
    let parent = PoolParent {
        name: body.candidate,
        artifact: body.artifact.blake3,
        bytes: body.artifact.bytes,
        manifest,
        rank: 0,
        licences: body.licences,
        data: body.data,
        trained,
    };
    let name = CHAMPION.parse().expect("a proper name");
    Champion { name, origin: Origin::Pool { cycle: body.cycle, parent }, manifest }
}

#[cfg(test)]
mod tests {
    use crate::base::digest::Sha256;
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};
    use crate::plan::{GateRule, Versus};

    fn with(section: &str) -> String {
        let asking = GOOD.replace("versus = \"best-parent\"", "versus = \"champion\"");
        asking.replace("[review]", &format!("{section}\n[review]"))
    }

    fn versus(plan: &str) -> Versus {
        let plan = Folder::new().plan(plan);
        assert_eq!(plan.champion, None, "nothing was ever admitted here");
        let mut rules = plan.gates.into_iter().filter_map(|gate| match gate.rule {
            GateRule::Metric(rule) => rule.versus,
            GateRule::Approval(_) | GateRule::BrowserSmoke => None,
        });
        rules.next_back().unwrap()
    }

    #[test]
    fn where_nobody_was_admitted_it_is_who_is_declared_or_nobody() {
        let nobody = versus(&with(""));
        assert_eq!(nobody, Versus::Champion { manifest: None, otherwise: None });
        assert_eq!(nobody.settled(), None);
        let declared = versus(&with("[champion]\notherwise = \"no-op\""));
        assert_eq!(declared.settled(), Some(&Versus::NoOp("base".parse().unwrap())));
    }

    #[test]
    fn what_is_no_champion_is_told() {
        let said = |plan: &str| mistakes(plan).into_iter().map(|found| found.message).collect::<Vec<_>>();
        let stranger = Sha256::of(b"stranger");
        assert_eq!(
            said(&with(&format!("[champion]\nmanifest = \"{stranger}\""))),
            [format!(
                "there is no telling who the champion is: the ledger of this store did not admit {}",
                stranger.short()
            )]
        );
        assert!(said(&with("[champion]\nmanifest = \"x\""))[0].contains("`manifest` is no SHA-256"));
        assert_eq!(
            said(&with("[champion]\nplace = 1")),
            ["`[champion]` names its model in two ways, or half"]
        );
        assert!(said(&with("[champion]\nfrom_recipe = \"p.toml\""))[0].ends_with("p.toml does not exist"));
        assert_eq!(said(&with("[champion]\notherwise = \"champion\"")), ["unknown parent `champion`"]);
        let parent = with("[parents.champion]\nsource = \"one.slm\"\n");
        assert_eq!(said(&parent), ["`champion` is what a gate calls the last admitted candidate"]);
        let (_, found) = Folder::new().check(&GOOD.replace("[review]", "[champion]\n[review]"));
        assert_eq!(found[0].message, "no gate asks about the champion");
    }
}
