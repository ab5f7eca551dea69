//! The forward pass, for one sequence or many.
//!
//! Rows are tokens: of one prompt, of many prompts, or the next token of many sequences. All rows of a
//! pass go through each weight matrix together, because reading and widening weights is what costs; only
//! attention looks at sequences apart. Since every number of a row is computed in the same order whatever
//! its neighbours are, a batch has the bits of its sequences alone, and a prompt has the bits of its tokens
//! fed one by one.
//!
//! One pass is `pass`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::attention::Memory;
use super::config::Dimensions;
use super::error::RuntimeError;
use super::pass::{Pass, Row};
use super::rope::Rope;
use super::weights::Layout;
use crate::model::checkpoint::Checkpoint;
use crate::tensor::blocks;

/// Rows of one pass: enough to use each weight often, few enough that activations stay small.
const TILE: usize = 256;

/// A network ready to run. Cheap to open and to clone: weights stay where they are mapped.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    checkpoint: Arc<Checkpoint>,
    dimensions: Dimensions,
    layout: Layout,
    rope: Mutex<Arc<Rope>>,
}

/// Which logits a pass leaves in its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those after the last token fed: what comes next.
    Last,
    /// Those after every token fed, one row each: how likely was what came.
    All,
}

/// One sequence on its way through a model.
#[derive(Clone)]
pub struct Session {
    model: Model,
    context: usize,
    position: usize,
    pub(super) rope: Arc<Rope>,
    pub(super) memories: Vec<Memory>,
    pub(super) logits: Vec<f32>,
}

impl Model {
    /// Opens a checkpoint.
    ///
    /// # Errors
    ///
    /// As [`Dimensions::new`] of its configuration and [`Layout::new`] of its tensors. No element is checked.
    pub fn new(checkpoint: Arc<Checkpoint>) -> Result<Self, RuntimeError> {
        let dimensions = Dimensions::new(&checkpoint.config, checkpoint.naming.halves())?;
        let layout = Layout::new(&checkpoint, &dimensions)?;
        Ok(Self { inner: Arc::new(Inner { checkpoint, dimensions, layout, rope: Mutex::default() }) })
    }

    /// The checkpoint it runs.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.inner.checkpoint
    }

    /// Its dimensions.
    pub fn dimensions(&self) -> &Dimensions {
        &self.inner.dimensions
    }

    /// Feeds tokens to several sessions of this model at once. `tokens[i]` goes to `sessions[i]`, whose logits
    /// are then as if it had been fed alone.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Batch`] if there are not as many inputs as sessions, or a session is of another model;
    /// [`RuntimeError::Empty`], [`RuntimeError::Full`] or [`RuntimeError::Token`] of what cannot be fed. No
    /// session has changed then.
    pub fn feed_batch(
        &self,
        sessions: &mut [&mut Session],
        tokens: &[&[u32]],
        wanted: Wanted,
    ) -> Result<(), RuntimeError> {
        self.feed(sessions, tokens, wanted, true)
    }

    /// Feeds one token to each of several sessions.
    ///
    /// # Errors
    ///
    /// As [`Self::feed_batch`].
    pub fn step_batch(&self, sessions: &mut [&mut Session], tokens: &[u32]) -> Result<(), RuntimeError> {
        let tokens: Vec<_> = tokens.iter().map(std::slice::from_ref).collect();
        self.feed(sessions, &tokens, Wanted::Last, true)
    }

    /// `spread` allows other threads to help. It is off where whole batches already run side by side.
    pub(super) fn feed(
        &self,
        sessions: &mut [&mut Session],
        tokens: &[&[u32]],
        wanted: Wanted,
        spread: bool,
    ) -> Result<(), RuntimeError> {
        let Inner { checkpoint, dimensions, layout, .. } = &*self.inner;
        let rows = self.rows(sessions, tokens, wanted)?;
        let weights = layout.weights(checkpoint);
        for (session, tokens) in sessions.iter_mut().zip(tokens) {
            session.rope = self.rope(session.position + tokens.len());
            session.position += tokens.len();
            session.logits.clear();
        }
        let pass = Pass { weights, dimensions, spread };
        let mut run = || rows.chunks(TILE).for_each(|tile| pass.run(sessions, tile));
        if spread {
            blocks::inside(run);
        } else {
            run();
        }
        Ok(())
    }

    /// The rows of a pass, after checking everything that can be wrong with them.
    fn rows(
        &self,
        sessions: &[&mut Session],
        tokens: &[&[u32]],
        wanted: Wanted,
    ) -> Result<Vec<Row>, RuntimeError> {
        if sessions.len() != tokens.len() {
            let text = format!("{} sessions, {} inputs", sessions.len(), tokens.len());
            return Err(RuntimeError::Batch(text));
        }
        let mut rows = Vec::new();
        for (index, (session, tokens)) in sessions.iter().zip(tokens).enumerate() {
            if !Arc::ptr_eq(&self.inner, &session.model.inner) {
                return Err(RuntimeError::Batch(format!("session {index} belongs to another model")));
            }
            session.check(tokens)?;
            let last = tokens.len() - 1;
            rows.extend(tokens.iter().enumerate().map(|(place, token)| Row {
                session: index,
                position: session.position + place,
                token: *token,
                wanted: wanted == Wanted::All || place == last,
            }));
        }
        Ok(rows)
    }

    fn rope(&self, positions: usize) -> Arc<Rope> {
        // A table is replaced whole: whatever a panicking thread left behind is a good one.
        let mut rope = self.inner.rope.lock().unwrap_or_else(PoisonError::into_inner);
        *rope = rope.grown(positions, &self.inner.dimensions);
        Arc::clone(&rope)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("dimensions", &self.inner.dimensions).finish_non_exhaustive()
    }
}

impl Session {
    /// A sequence of at most `context` tokens. Memory is taken as tokens come.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Context`] if `context` is 0, or more than the model's.
    pub fn new(model: &Model, context: usize) -> Result<Self, RuntimeError> {
        let dimensions = model.dimensions();
        let max_context = dimensions.context;
        if context == 0 || context > max_context {
            return Err(RuntimeError::Context { context, max_context });
        }
        Ok(Self {
            model: model.clone(),
            context,
            position: 0,
            rope: Arc::default(),
            memories: vec![Memory::default(); dimensions.layers],
            logits: Vec::new(),
        })
    }

    /// Feeds tokens; the logits after the last one.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Empty`] of no tokens, [`RuntimeError::Full`] of more than there is room for,
    /// [`RuntimeError::Token`] of one outside the vocabulary. Nothing has been fed then.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<&[f32], RuntimeError> {
        let model = self.model.clone();
        model.feed_batch(&mut [self], &[tokens], Wanted::Last)?;
        Ok(&self.logits)
    }

    /// Feeds tokens; the logits after every one of them, a row each.
    ///
    /// # Errors
    ///
    /// As [`Self::feed`].
    pub fn feed_all(&mut self, tokens: &[u32]) -> Result<&[f32], RuntimeError> {
        let model = self.model.clone();
        model.feed_batch(&mut [self], &[tokens], Wanted::All)?;
        Ok(&self.logits)
    }

    /// Feeds one token; the logits after it.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Full`] if there is no room for it, [`RuntimeError::Token`] if it is outside the
    /// vocabulary.
    pub fn step(&mut self, token: u32) -> Result<&[f32], RuntimeError> {
        self.feed(&[token])
    }

    /// What the last pass left: rows of as many logits as the vocabulary has ids.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Tokens fed so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Tokens there is room for in all.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Forgets everything after the first `position` tokens, to try another continuation.
    pub fn rewind(&mut self, position: usize) {
        if position < self.position {
            self.position = position;
            self.logits.clear();
            let kv = self.model.dimensions().kv;
            for memory in &mut self.memories {
                memory.truncate(position * kv);
            }
        }
    }

    fn check(&self, tokens: &[u32]) -> Result<(), RuntimeError> {
        let vocab = self.model.dimensions().vocab;
        let &Self { position, context, .. } = self;
        if tokens.is_empty() {
            return Err(RuntimeError::Empty);
        }
        if tokens.len() > context - position {
            return Err(RuntimeError::Full { tokens: tokens.len(), position, context });
        }
        match tokens.iter().find(|token| **token as usize >= vocab) {
            Some(token) => Err(RuntimeError::Token { token: *token, vocab }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("position", &self.position)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::config::ModelConfig;
    use crate::model::variant::Variant;
    use crate::model::windows::Windows;
    use crate::runtime::fixture;
    use crate::tensor::dtype::DType;

    fn same_bits(left: &[f32], right: &[f32]) -> bool {
        left.len() == right.len() && left.iter().zip(right).all(|(a, b)| a.to_bits() == b.to_bits())
    }

    fn tokens() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(0_u32..260, 1..20)
    }

    fn network() -> impl Strategy<Value = ModelConfig> {
        prop::sample::select(fixture::networks())
    }

    fn dtype() -> impl Strategy<Value = DType> {
        prop::sample::select(fixture::DTYPES.to_vec())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_prompt_has_the_bits_of_its_tokens_however_it_is_cut(
            dtype in dtype(), network in network(), tokens in tokens(), cuts in prop::collection::vec(1_usize..6, 20),
        ) {
            let model = fixture::model(&network, dtype);
            let mut whole = Session::new(&model, 32).unwrap();
            let all = whole.feed_all(&tokens).unwrap().to_vec();
            let (mut cut, mut singles) = (Session::new(&model, 32).unwrap(), Session::new(&model, 32).unwrap());
            let (mut rest, mut cuts) = (tokens.as_slice(), cuts.into_iter());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                let last = cut.feed(piece).unwrap().to_vec();
                let end = tokens.len() - after.len();
                prop_assert!(same_bits(&last, &all[(end - 1) * 260..end * 260]));
                rest = after;
            }
            for (token, row) in tokens.iter().zip(all.chunks(260)) {
                prop_assert!(same_bits(singles.step(*token).unwrap(), row));
            }
        }

        #[test]
        fn a_batch_has_the_bits_of_its_sequences_alone(
            dtype in dtype(), network in network(), prompts in prop::collection::vec(tokens(), 1..40), spread: bool,
            next in 0_u32..260,
        ) {
            let model = fixture::model(&network, dtype);
            let mut sessions: Vec<_> = prompts.iter().map(|_| Session::new(&model, 32).unwrap()).collect();
            let mut together: Vec<_> = sessions.iter_mut().collect();
            let inputs: Vec<_> = prompts.iter().map(Vec::as_slice).collect();
            model.feed(&mut together, &inputs, Wanted::All, spread).unwrap();
            let first: Vec<_> = together.iter().map(|session| session.logits().to_vec()).collect();
            model.step_batch(&mut together, &vec![next; prompts.len()]).unwrap();
            for ((prompt, first), session) in prompts.iter().zip(&first).zip(&sessions) {
                let mut alone = Session::new(&model, 32).unwrap();
                prop_assert!(same_bits(alone.feed_all(prompt).unwrap(), first));
                prop_assert!(same_bits(alone.step(next).unwrap(), session.logits()));
            }
        }
    }

    /// What a token sees of the past, layer by layer: with one windowed layer of two, what the last token is told by a
    /// position that left the window comes through the other layer alone; with both, not at all.
    #[test]
    fn a_window_hides_what_is_behind_it() {
        let last = |full: &[u32], tokens: &[u32]| {
            let config = fixture::windowed(3);
            let windows = config.variant.windows.clone().unwrap();
            let windows = Some(Windows { full: full.to_vec(), ..windows });
            let config = ModelConfig { variant: Variant { windows, ..config.variant }, ..config };
            let model = fixture::model(&config, DType::F32);
            Session::new(&model, 32).unwrap().feed(tokens).unwrap().to_vec()
        };
        // Two layers of three positions reach four back.
        let (one, other) = ([9, 256, 1, 2, 3, 4], [7, 256, 1, 2, 3, 4]);
        assert!(same_bits(&last(&[], &one), &last(&[], &other)));
        let (one, other) = (&one[..5], &other[..5]);
        assert!(!same_bits(&last(&[], one), &last(&[], other)), "the last of four is seen");
        for full in [&[0][..], &[1], &[0, 1]] {
            assert!(
                !same_bits(&last(full, &[9, 256, 1, 2, 3, 4]), &last(full, &[7, 256, 1, 2, 3, 4])),
                "{full:?}"
            );
        }
    }

    #[test]
    fn odd_addresses_change_nothing() {
        let config = fixture::config();
        for dtype in fixture::DTYPES {
            let shifted = fixture::Tensors::of(&config, dtype).shifted().checkpoint();
            let shifted = Model::new(Arc::new(shifted)).unwrap();
            let straight = fixture::model(&config, dtype);
            let tokens = [256, 1, 2, 3];
            let mut sessions = [&shifted, &straight].map(|model| Session::new(model, 8).unwrap());
            let [a, b] = sessions.each_mut().map(|session| session.feed(&tokens).unwrap());
            assert!(same_bits(a, b), "{dtype}");
        }
    }

    #[test]
    fn weights_of_another_encoding_are_their_numbers() {
        let logits = |dtype| {
            let model = fixture::model(&fixture::config(), dtype);
            Session::new(&model, 8).unwrap().feed(&[256, 1, 2, 3]).unwrap().to_vec()
        };
        let expected = logits(DType::F32);
        assert!(same_bits(&logits(DType::F64), &expected));
        let near = |dtype, most: f32| {
            let largest = expected.iter().fold(0.0_f32, |largest, logit| largest.max(logit.abs()));
            let differs = logits(dtype).iter().zip(&expected).any(|(a, b)| a != b);
            let close = logits(dtype).iter().zip(&expected).all(|(a, b)| (a - b).abs() < most * largest);
            differs && close
        };
        assert!(near(DType::F16, 1e-2) && near(DType::BF16, 1e-1));
    }

    #[test]
    fn a_rewound_session_continues_as_if_nothing_had_been() {
        let model = fixture::model(&fixture::config(), DType::Q8_0);
        let mut session = Session::new(&model, 8).unwrap();
        session.feed(&[256, 10, 11, 12]).unwrap();
        session.rewind(2);
        let again = session.feed(&[20, 21]).unwrap().to_vec();
        let mut fresh = Session::new(&model, 8).unwrap();
        assert!(same_bits(&again, fresh.feed(&[256, 10, 20, 21]).unwrap()));
    }

    #[test]
    fn what_cannot_be_fed_is_refused_and_changes_nothing() {
        let model = fixture::model(&fixture::config(), DType::F32);
        assert!(matches!(Session::new(&model, 0), Err(RuntimeError::Context { .. })));
        assert!(matches!(Session::new(&model, 33), Err(RuntimeError::Context { .. })));
        let mut session = Session::new(&model, 3).unwrap();
        let after_one = session.feed(&[1]).unwrap().to_vec();
        assert_eq!(session.feed(&[]), Err(RuntimeError::Empty));
        assert_eq!(session.feed(&[260]), Err(RuntimeError::Token { token: 260, vocab: 260 }));
        assert_eq!(session.feed(&[1, 2, 3]), Err(RuntimeError::Full { tokens: 3, position: 1, context: 3 }));
        assert_eq!((session.position(), session.logits()), (1, after_one.as_slice()));
        let other = fixture::model(&fixture::config(), DType::F32);
        let error = other.step_batch(&mut [&mut session], &[1]).unwrap_err();
        assert!(matches!(error, RuntimeError::Batch(_)), "{error}");
        let error = model.step_batch(&mut [&mut session], &[]).unwrap_err();
        assert!(matches!(error, RuntimeError::Batch(_)), "{error}");
    }

    #[test]
    fn long_prompts_cross_tiles_without_a_seam() {
        let config = crate::model::config::ModelConfig { max_context: 600, ..fixture::config() };
        let model = fixture::model(&config, DType::F32);
        let tokens: Vec<u32> = (0..600).map(|i| i * 7 % 260).collect();
        let mut whole = Session::new(&model, 600).unwrap();
        let whole = whole.feed(&tokens).unwrap().to_vec();
        let mut cut = Session::new(&model, 600).unwrap();
        cut.feed(&tokens[..100]).unwrap();
        assert!(same_bits(&whole, cut.feed(&tokens[100..]).unwrap()));
    }

    /// Wide enough that every step of a pass is cut into pieces.
    #[cfg(feature = "engine")]
    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let tokens: Vec<u32> = (0..100).map(|i| i * 7 % 260).collect();
        let logits = |model: &Model, threads, spread| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut session = Session::new(model, 100).unwrap();
            pool.install(|| model.feed(&mut [&mut session], &[&tokens], Wanted::All, spread)).unwrap();
            session.logits().to_vec()
        };
        for network in fixture::networks() {
            let config = crate::model::config::ModelConfig {
                hidden_size: 128,
                head_dim: 32,
                ffn_size: 352,
                max_context: 100,
                ..network
            };
            let model = fixture::model(&config, DType::Q8_0);
            let alone = logits(&model, 1, false);
            for threads in [1, 2, 7] {
                let same = same_bits(&logits(&model, threads, true), &alone);
                assert!(same, "{threads} threads, {}", config.variant);
            }
        }
    }

    #[derive(serde::Deserialize)]
    struct Reference {
        name: String,
        config: crate::model::config::ModelConfig,
        dtype: DType,
        tokens: Vec<u32>,
        ids: Vec<usize>,
        largest: f64,
        logits: Vec<Vec<f64>>,
    }

    /// NumPy in double precision, from a script that shares no code with this pass. Single precision rounds
    /// at 6e-8; a few dozen roundings on the way leave less than 1e-5 of the largest logit.
    #[test]
    fn logits_agree_with_the_reference() {
        let text = include_str!("../../tests/fixtures/reference_logits.json");
        let references: Vec<Reference> = serde_json::from_str(text).unwrap();
        assert_eq!(references.len(), 4);
        for reference in references {
            let model = fixture::model(&reference.config, reference.dtype);
            let mut session = Session::new(&model, reference.tokens.len()).unwrap();
            let logits = session.feed_all(&reference.tokens).unwrap();
            let mut worst = 0.0_f64;
            assert_eq!(reference.logits.len(), reference.tokens.len());
            for (ours, theirs) in logits.chunks(260).zip(&reference.logits) {
                for (id, theirs) in reference.ids.iter().zip(theirs) {
                    worst = worst.max((f64::from(ours[*id]) - theirs).abs() / reference.largest);
                }
            }
            assert!(worst < 1e-5, "{}: off by {worst:e} of the largest logit", reference.name);
        }
    }
}
