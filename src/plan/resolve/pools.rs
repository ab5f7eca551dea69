//! Parent pools: whether one is as the recipe stage of its cycle wrote it, and who is in it.

use super::Resolver;
use super::unfit::Unfit;
use crate::base::diagnostic::Diagnostic;
use crate::base::digest::Digest;
use crate::base::located::Located;
use crate::disk::small::read_small_text;
use crate::pedigree::offered::{Offered, offered};
use crate::plan::pool::{MAX_POOL, ParentPool, PoolParent};
use crate::plan::wording::count;
use crate::store::{ActionResult, Event, Happened};

impl Resolver<'_> {
    /// What a pool says of a parent is what the parent's own record says; what it says besides, a recipe stage of this
    /// store said.
    pub(super) fn vouched(&self, parent: &PoolParent, pool: &ParentPool) -> Result<(), Unfit> {
        let written = self.wrote(pool)?;
        let found = offered(self.store, parent.manifest, written)??;
        let said = Offered {
            artifact: parent.artifact,
            bytes: parent.bytes,
            licences: parent.licences.clone(),
            data: parent.data.clone(),
            trained: parent.trained,
        };
        let differs = |what: &str| Err(format!("its record says otherwise about its {what}").into());
        match () {
            () if said == found && written => Ok(()),
            () if said == found => Err(self.unwritten(pool)),
            () if (said.artifact, said.bytes) != (found.artifact, found.bytes) => differs("bytes"),
            () if said.licences != found.licences => differs("licences"),
            () if said.data != found.data => differs("data"),
            () => differs("training"),
        }
    }

    /// Whether a recipe stage of this store wrote a pool as it is.
    fn wrote(&self, pool: &ParentPool) -> Result<bool, String> {
        let digest = Digest::of(pool.to_toml().as_bytes());
        let results = self.store.every_result().map_err(|error| error.to_string())?;
        let wrote = |result: &ActionResult| result.outputs.get("pool").is_some_and(|it| it.digest == digest);
        Ok(results.iter().any(wrote))
    }

    /// Why nothing says that a recipe stage wrote a pool: it did not, or what it said is lost. The log has that there
    /// was something, and so has the store if it holds the text.
    fn unwritten(&self, pool: &ParentPool) -> Unfit {
        let stage = format!("recipe:{}", pool.cycle);
        let made = |event: &&Event| event.stage == stage && !matches!(event.happened, Happened::Failed(_));
        let is_gone = |event: &Event| matches!(self.store.recorded(&event.key), Ok(None));
        let events = self.store.events(&pool.cycle).unwrap_or_default();
        let kept = self.store.read(&Digest::of(pool.to_toml().as_bytes())).is_ok();
        let lost = kept || events.iter().rfind(made).is_some_and(is_gone);
        let why = match lost {
            true => format!(
                "what {stage} made is lost, and with it what says that the pool is as its cycle wrote it: put it back \
                 from a copy of the store, or run the plan of `{}` again",
                pool.cycle
            ),
            false => "no cycle of this store wrote the pool as it is".to_owned(),
        };
        Unfit { why, lost }
    }

    pub(super) fn pool(&mut self, recipe: &Located<String>) -> Option<ParentPool> {
        let path = self.folder.join(&recipe.value);
        if !self.file_exists(&path, recipe) {
            return None;
        }
        let pool = read_small_text("read", &path, MAX_POOL)
            .map_err(|error| error.to_string())
            .and_then(|text| ParentPool::from_toml(&text).map_err(|error| error.message().to_owned()));
        let refused = |why: String| {
            Diagnostic::error(format!("{} is not a parent pool: {why}", path.display()), recipe.span.clone())
                .expected("expected the pool.toml of an earlier cycle")
                .help("run that cycle's plan first; its pool appears under runs/CYCLE/12-recipe/")
        };
        pool.map_err(|why| self.mistake(refused(why))).ok()
    }

    pub(super) fn place(
        &mut self,
        given: Option<&Located<u64>>,
        recipe: &Located<String>,
        pool: &ParentPool,
    ) -> Option<PoolParent> {
        let place = given.map_or(1, |place| place.value);
        let index = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
        let chosen = index.and_then(|index| pool.parents.get(index));
        if chosen.is_none() {
            let span = given.map_or(&recipe.span, |place| &place.span);
            let expected = match pool.parents.len() {
                0 => "expected a pool with parents; this one is empty".to_owned(),
                places => format!("expected 1 to {places}: the pool has {}", count(places, "place")),
            };
            let message = format!("the pool of `{}` has no place {place}", pool.cycle);
            self.mistake(Diagnostic::error(message, span.clone()).expected(expected));
        }
        chosen.cloned()
    }
}
