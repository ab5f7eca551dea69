//! How likely a model finds a text: log-likelihoods in nats, the same bits for any batch.
//!
//! The log-probability of a token is its logit minus the logarithm of the sum of all exponentials. That sum
//! runs in f64 in the order of the ids, from the largest logit down, with the exponential of `libm`:
//! no machine, batch or thread count changes a bit. Sums over tokens run in the order of the tokens.
//!
//! A continuation is cut from the whole: context and continuation are encoded together, and what comes after
//! as many tokens as the context has by itself is scored. Spaces that end the context are moved to the
//! continuation first, since most tokenizers begin words with them. That is how lm-evaluation-harness
//! counts, and with a byte tokenizer it is simply the continuation's bytes.
//!
//! Of a text that is read every token counts, the first one, too, which follows from what stands before the
//! text: what the tokenizer puts there, else BOS, else EOS. That, too, is how lm-evaluation-harness counts.
//! Without any of them a text cannot be read: its first token would be free, and bits per byte favour
//! tokenizers that put nothing before a text.
//!
//! A long text is read in windows. A window takes `window` tokens; the next begins `stride` tokens later and
//! scores only what no window before it scored, so each token of the text is scored exactly once, with at
//! least `window - stride` tokens before it from the second window on.

use super::error::RuntimeError;
use super::forward::{Model, Session, Wanted};
use crate::tensor::blocks;

/// Questions whose contexts go through the weights together.
const BATCH: usize = 16;

/// Tokens whose logits are held at once while a text is read.
const SLICE: usize = 64;

/// One context and its possible continuations.
#[derive(Debug, Clone)]
pub struct Question {
    /// What comes before; may be empty.
    pub context: String,
    /// What may come after it, each at least one token.
    pub continuations: Vec<String>,
}

/// How likely a continuation is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likelihood {
    /// Sum of the log-probabilities of its tokens, in nats.
    pub log_likelihood: f64,
    /// Its tokens.
    pub tokens: usize,
    /// Whether each of them is the likeliest where it stands.
    pub greedy: bool,
}

/// How a long text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Tokens of a window; at least 1, at most the model's context.
    pub window: usize,
    /// From the start of one window to that of the next: 1 to `window`.
    pub stride: usize,
}

/// How likely a text is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Sum of the log-probabilities of its tokens, in nats.
    pub log_likelihood: f64,
    /// Tokens scored: all of the text's; the one that stands before them is none of these.
    pub tokens: usize,
}

/// How far a model's predictions are from another one's, token by token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divergence {
    /// Sum over the tokens of KL(other || model), in nats.
    pub kl: f64,
    /// Tokens at which both find the same token likeliest.
    pub agreed: usize,
    /// Tokens compared.
    pub tokens: usize,
}

/// The logarithm of the sum of the exponentials of all logits.
fn log_sum_exp(logits: &[f32]) -> Result<f64, RuntimeError> {
    if let Some(token) = logits.iter().position(|logit| !logit.is_finite()) {
        return Err(RuntimeError::NotFinite { token: token as u32, value: logits[token] });
    }
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| libm::exp(f64::from(*logit) - most)).sum();
    Ok(most + libm::log(sum))
}

fn likeliest(logits: &[f32]) -> usize {
    (0..logits.len()).fold(0, |best, at| if logits[at] > logits[best] { at } else { best })
}

/// Scores the continuations of every question; the answers in their order.
pub fn likelihoods(model: &Model, questions: &[Question]) -> Vec<Result<Vec<Likelihood>, RuntimeError>> {
    let size = questions.len().div_ceil(blocks::workers()).clamp(1, BATCH);
    let batches: Vec<&[Question]> = questions.chunks(size).collect();
    let answers = blocks::map(&batches, |_, questions| one_batch(model, questions));
    answers.into_iter().flatten().collect()
}

/// A question on its way: its context is fed once, its continuations one after the other.
struct Asked {
    session: Session,
    context: usize,
    /// The logits after the context.
    first: Vec<f32>,
    continuations: Vec<Vec<u32>>,
    found: Vec<Likelihood>,
}

fn one_batch(model: &Model, questions: &[Question]) -> Vec<Result<Vec<Likelihood>, RuntimeError>> {
    let mut asked: Vec<Result<Asked, RuntimeError>> =
        questions.iter().map(|question| Asked::new(model, question)).collect();
    let contexts: Vec<Vec<u32>> = questions
        .iter()
        .map(|question| split(model, &question.context, "").map_or(Vec::new(), |ids| ids.0))
        .collect();
    {
        let (mut sessions, mut tokens) = (Vec::new(), Vec::new());
        for (asked, context) in asked.iter_mut().zip(&contexts) {
            if let Ok(asked) = asked {
                sessions.push(&mut asked.session);
                tokens.push(context.as_slice());
            }
        }
        if sessions.is_empty() {
            return asked.into_iter().map(|asked| asked.map(|asked| asked.found)).collect();
        }
        if let Err(error) = model.feed(&mut sessions, &tokens, Wanted::Last, false) {
            return questions.iter().map(|_| Err(error.clone())).collect();
        }
    }
    for asked in asked.iter_mut().flatten() {
        asked.first = asked.session.logits().to_vec();
    }
    let most = questions.iter().map(|question| question.continuations.len()).max().unwrap_or(0);
    for choice in 0..most {
        score_choice(model, &mut asked, choice);
    }
    asked.into_iter().map(|asked| asked.map(|asked| asked.found)).collect()
}

impl Asked {
    fn new(model: &Model, question: &Question) -> Result<Self, RuntimeError> {
        let context = split(model, &question.context, "")?.0.len();
        let continuations: Vec<Vec<u32>> = question
            .continuations
            .iter()
            .map(|continuation| Ok(split(model, &question.context, continuation)?.1))
            .collect::<Result<_, RuntimeError>>()?;
        let room = model.dimensions().context;
        let mut longest = 0;
        for continuation in &continuations {
            if continuation.is_empty() {
                return Err(RuntimeError::Empty);
            }
            longest = longest.max(continuation.len());
        }
        // The last token of a continuation is predicted and never fed.
        let needed = context + longest.saturating_sub(1);
        if needed > room {
            return Err(RuntimeError::LongPrompt { tokens: needed, most: room });
        }
        let session = Session::new(model, needed.max(1))?;
        Ok(Self { session, context, first: Vec::new(), continuations, found: Vec::new() })
    }

    /// Judges choice `choice` from the logits that were just made.
    fn judge(&self, choice: usize) -> Result<Likelihood, RuntimeError> {
        let tokens = &self.continuations[choice];
        let vocab = self.first.len();
        let (mut sum, mut greedy) = (0.0, true);
        for (place, token) in tokens.iter().enumerate() {
            let logits = match place {
                0 => &self.first[..],
                _ => &self.session.logits()[(place - 1) * vocab..][..vocab],
            };
            sum += f64::from(logits[*token as usize]) - log_sum_exp(logits)?;
            greedy &= likeliest(logits) == *token as usize;
        }
        Ok(Likelihood { log_likelihood: sum, tokens: tokens.len(), greedy })
    }
}

/// One choice of every question that has so many; those of one token need no pass.
fn score_choice(model: &Model, asked: &mut [Result<Asked, RuntimeError>], choice: usize) {
    let fed = {
        let (mut sessions, mut tokens) = (Vec::new(), Vec::new());
        for asked in asked.iter_mut().flatten() {
            let Some(continuation) = asked.continuations.get(choice) else { continue };
            asked.session.rewind(asked.context);
            if let [front @ .., _] = continuation.as_slice()
                && !front.is_empty()
            {
                sessions.push(&mut asked.session);
                tokens.push(front);
            }
        }
        if sessions.is_empty() { Ok(()) } else { model.feed(&mut sessions, &tokens, Wanted::All, false) }
    };
    for entry in asked {
        let Ok(question) = entry else { continue };
        if choice >= question.continuations.len() {
            continue;
        }
        match fed.clone().and_then(|()| question.judge(choice)) {
            Ok(found) => question.found.push(found),
            Err(error) => *entry = Err(error),
        }
    }
}

/// Context and continuation as tokens, the first being the one that begins every sequence.
fn split(model: &Model, context: &str, continuation: &str) -> Result<(Vec<u32>, Vec<u32>), RuntimeError> {
    let ids = |text: &str| model.checkpoint().tokenizer.encode_prompt(text).map_err(RuntimeError::Text);
    let context_tokens = ids(&context[..context.trim_end().len()])?;
    let mut whole = ids(&format!("{context}{continuation}"))?;
    let rest = whole.split_off(context_tokens.len().min(whole.len()));
    Ok((context_tokens, rest))
}

/// One window of one text: which tokens are fed, and from which on their successors are scored.
struct Window {
    text: usize,
    begin: usize,
    scored: usize,
    end: usize,
}

/// Cuts sequences of `lengths` tokens, the beginning token included.
fn windows(lengths: &[usize], cut: Windows) -> Vec<Window> {
    let mut found = Vec::new();
    for (text, length) in lengths.iter().enumerate() {
        // The last token has no successor.
        let inputs = length.saturating_sub(1);
        let (mut begin, mut scored) = (0, 0);
        while scored < inputs {
            let end = (begin + cut.window).min(inputs);
            found.push(Window { text, begin, scored, end });
            scored = end;
            begin += cut.stride;
        }
    }
    found
}

fn check(model: &Model, cut: Windows) -> Result<(), RuntimeError> {
    let max_context = model.dimensions().context;
    if cut.window == 0 || cut.window > max_context || cut.stride == 0 || cut.stride > cut.window {
        return Err(RuntimeError::Context { context: cut.window, max_context });
    }
    Ok(())
}

/// The tokens of texts, each with one that stands before them.
fn whole(model: &Model, texts: &[&str]) -> Result<Vec<Vec<u32>>, RuntimeError> {
    let tokenizer = &model.checkpoint().tokenizer;
    let ids =
        |text| tokenizer.encode_whole(text).map_err(RuntimeError::Text)?.ok_or(RuntimeError::NoBeginning);
    texts.iter().map(|text| ids(text)).collect()
}

/// Reads texts in windows: how likely each is. Windows run side by side.
///
/// # Errors
///
/// [`RuntimeError::Context`] of a window or stride that [`Windows`] does not allow; [`RuntimeError::Text`] or
/// [`RuntimeError::NoBeginning`] of a text that has no tokens to be read; [`RuntimeError::NotFinite`] of a
/// logit.
pub fn read(model: &Model, texts: &[&str], cut: Windows) -> Result<Vec<Reading>, RuntimeError> {
    check(model, cut)?;
    let tokens = whole(model, texts)?;
    let pieces = windows(&tokens.iter().map(Vec::len).collect::<Vec<_>>(), cut);
    let sums = blocks::try_map(&pieces, |_, piece| {
        let mut sum = 0.0;
        walk(&[model], &tokens[piece.text], piece, &mut |next, logits| {
            sum += f64::from(logits[0][next as usize]) - log_sum_exp(logits[0])?;
            Ok(())
        })?;
        Ok::<f64, RuntimeError>(sum)
    })?;
    let mut readings: Vec<Reading> = tokens
        .iter()
        .map(|tokens| Reading { log_likelihood: 0.0, tokens: tokens.len().saturating_sub(1) })
        .collect();
    for (piece, sum) in pieces.iter().zip(sums) {
        readings[piece.text].log_likelihood += sum;
    }
    Ok(readings)
}

/// Reads texts with two models of one vocabulary: how far `model` is from `other`.
///
/// # Errors
///
/// As [`read`], of either model, and [`RuntimeError::Batch`] if their tokenizers differ.
pub fn divergences(
    model: &Model,
    other: &Model,
    texts: &[&str],
    cut: Windows,
) -> Result<Vec<Divergence>, RuntimeError> {
    check(model, cut)?;
    check(other, cut)?;
    if model.checkpoint().tokenizer != other.checkpoint().tokenizer {
        return Err(RuntimeError::Batch("the two models have different tokenizers".to_owned()));
    }
    let tokens = whole(model, texts)?;
    let pieces = windows(&tokens.iter().map(Vec::len).collect::<Vec<_>>(), cut);
    let parts = blocks::try_map(&pieces, |_, piece| {
        let (mut kl, mut agreed) = (0.0, 0);
        walk(&[model, other], &tokens[piece.text], piece, &mut |_, logits| {
            kl += divergence(logits[1], logits[0])?;
            agreed += usize::from(likeliest(logits[0]) == likeliest(logits[1]));
            Ok(())
        })?;
        Ok::<_, RuntimeError>((kl, agreed))
    })?;
    let mut found: Vec<Divergence> = tokens
        .iter()
        .map(|tokens| Divergence { kl: 0.0, agreed: 0, tokens: tokens.len().saturating_sub(1) })
        .collect();
    for (piece, (kl, agreed)) in pieces.iter().zip(parts) {
        found[piece.text].kl += kl;
        found[piece.text].agreed += agreed;
    }
    Ok(found)
}

/// KL(p || q) of the two distributions these logits stand for, in nats; never below 0.
fn divergence(p: &[f32], q: &[f32]) -> Result<f64, RuntimeError> {
    let (all_p, all_q) = (log_sum_exp(p)?, log_sum_exp(q)?);
    let terms = p.iter().zip(q).map(|(p, q)| {
        let (log_p, log_q) = (f64::from(*p) - all_p, f64::from(*q) - all_q);
        libm::exp(log_p) * (log_p - log_q)
    });
    Ok(terms.sum::<f64>().max(0.0))
}

/// Sees a scored token and each model's logits before it.
type See<'s> = &'s mut dyn FnMut(u32, &[&[f32]]) -> Result<(), RuntimeError>;

/// Feeds a window and hands every scored token to `see`.
fn walk(models: &[&Model], tokens: &[u32], piece: &Window, see: See<'_>) -> Result<(), RuntimeError> {
    let mut sessions: Vec<Session> = models
        .iter()
        .map(|model| Session::new(model, piece.end - piece.begin))
        .collect::<Result<_, RuntimeError>>()?;
    let mut at = piece.begin;
    while at < piece.end {
        // What is only context needs no logits but the last.
        let (to, wanted) = match at < piece.scored {
            true => (piece.scored.min(at + SLICE), Wanted::Last),
            false => (piece.end.min(at + SLICE), Wanted::All),
        };
        for (model, session) in models.iter().zip(&mut sessions) {
            model.feed(&mut [session], &[&tokens[at..to]], wanted, false)?;
        }
        if wanted == Wanted::All {
            for place in at..to {
                let rows: Vec<&[f32]> = sessions
                    .iter()
                    .zip(models)
                    .map(|(session, model)| {
                        let vocab = model.dimensions().vocab;
                        &session.logits()[(place - at) * vocab..][..vocab]
                    })
                    .collect();
                see(tokens[place + 1], &rows)?;
            }
        }
        at = to;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fixture;
    use crate::tensor::dtype::DType;

    fn model() -> Model {
        fixture::model(&fixture::config(), DType::Q8_0)
    }

    fn question(context: &str, continuations: &[&str]) -> Question {
        Question {
            context: context.to_owned(),
            continuations: continuations.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    /// Straight from the definition: probabilities of a softmax in f64, token by token.
    fn by_hand(model: &Model, tokens: &[u32], from: usize) -> f64 {
        let mut session = Session::new(model, tokens.len()).unwrap();
        let vocab = model.dimensions().vocab;
        let logits = session.feed_all(&tokens[..tokens.len() - 1]).unwrap().to_vec();
        let mut product = 1.0_f64;
        for place in from..tokens.len() {
            let row = &logits[(place - 1) * vocab..][..vocab];
            let all: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
            product *= f64::from(row[tokens[place] as usize]).exp() / all;
        }
        product.ln()
    }

    #[test]
    fn a_continuation_has_the_product_of_its_tokens_probabilities() {
        let model = model();
        let found = likelihoods(&model, &[question("abc", &["de", "x", "longer one"])]);
        let found = found[0].as_ref().unwrap();
        for (found, text) in found.iter().zip(["de", "x", "longer one"]) {
            let tokens = model.checkpoint().tokenizer.encode_prompt(&format!("abc{text}")).unwrap();
            let expected = by_hand(&model, &tokens, 4);
            assert!((found.log_likelihood - expected).abs() < 1e-9, "{found:?} {expected}");
            assert_eq!(found.tokens, text.len());
        }
    }

    #[test]
    fn spaces_at_the_end_belong_to_the_continuation() {
        let model = model();
        let both = likelihoods(&model, &[question("abc ", &["d"]), question("abc", &[" d"])]);
        assert_eq!(both[0], both[1]);
        assert_eq!(both[0].as_ref().unwrap()[0].tokens, 2);
    }

    #[test]
    fn batches_change_no_bit_and_errors_stay_alone() {
        let model = model();
        let mut questions: Vec<Question> = (0..40_usize)
            .map(|i| question(&"the quick brown"[..i % 15], &["a", &"xyz"[..1 + i % 3], "qq"]))
            .collect();
        questions[7] = question(&"x".repeat(40), &["a"]);
        questions[9] = question("abc", &[""]);
        let single: Vec<_> =
            questions.iter().map(|one| likelihoods(&model, std::slice::from_ref(one)).remove(0)).collect();
        assert_eq!(likelihoods(&model, &questions), single);
        assert!(matches!(single[7], Err(RuntimeError::LongPrompt { .. })));
        assert_eq!(single[9], Err(RuntimeError::Empty));
        assert_eq!(single.iter().filter(|answer| answer.is_ok()).count(), 38);
    }

    #[test]
    fn greedy_is_what_generation_would_say() {
        let model = model();
        let options = crate::runtime::GenerateOptions::greedy(3);
        let said = crate::runtime::generate_batch(&model, &["abc"], &options).remove(0).unwrap();
        // Only bytes that are text can be asked for as text.
        if said.tokens.len() == 3 && said.tokens.iter().all(|token| *token < 128) {
            let found = likelihoods(&model, &[question("abc", &[&said.text])]).remove(0).unwrap();
            assert!(found[0].greedy);
        }
        let mut session = Session::new(&model, 8).unwrap();
        let best = likeliest(session.feed(&[256, 97]).unwrap());
        let other = if best == 98 { "c" } else { "b" };
        let found = likelihoods(&model, &[question("a", &[other])]).remove(0).unwrap();
        assert!(!found[0].greedy);
    }

    #[test]
    fn every_token_is_scored_once_whatever_the_windows() {
        let lengths = [1, 2, 9, 30];
        for (window, stride) in [(4, 4), (4, 1), (8, 5), (31, 31)] {
            let mut seen: Vec<Vec<usize>> = lengths.iter().map(|length| vec![0; *length]).collect();
            for piece in windows(&lengths, Windows { window, stride }) {
                assert!(piece.end - piece.begin <= window && piece.begin <= piece.scored);
                let before = piece.scored - piece.begin;
                assert!(piece.begin == 0 || before >= window - stride, "context is kept");
                for at in piece.scored..piece.end {
                    seen[piece.text][at + 1] += 1;
                }
            }
            for counts in seen {
                assert_eq!(counts[0], 0);
                assert!(counts[1..].iter().all(|count| *count == 1), "{window} {stride}");
            }
        }
    }

    #[test]
    fn one_window_over_all_is_the_text_itself() {
        let model = model();
        let text = "some words to read";
        let tokens = model.checkpoint().tokenizer.encode_prompt(text).unwrap();
        let whole = read(&model, &[text], Windows { window: 32, stride: 32 }).unwrap()[0];
        assert_eq!(whole.tokens, text.len());
        assert!((whole.log_likelihood - by_hand(&model, &tokens, 1)).abs() < 1e-9);
        // Windows of one token know nothing of what came before.
        let alone = read(&model, &[text], Windows { window: 1, stride: 1 }).unwrap()[0];
        let pairs: f64 = tokens.windows(2).map(|pair| by_hand(&model, pair, 1)).sum();
        assert!((alone.log_likelihood - pairs).abs() < 1e-9);
        for cut in [(0, 1), (1, 0), (2, 3), (33, 1)] {
            assert!(read(&model, &[text], Windows { window: cut.0, stride: cut.1 }).is_err());
        }
    }

    #[test]
    fn a_model_does_not_differ_from_itself_and_a_quantised_one_does() {
        let config = fixture::config();
        let (full, small) = (fixture::model(&config, DType::F32), fixture::model(&config, DType::Q4_0));
        let cut = Windows { window: 16, stride: 8 };
        let texts = ["some words to read", "and others"];
        for none in divergences(&full, &full, &texts, cut).unwrap() {
            assert_eq!((none.kl, none.agreed), (0.0, none.tokens));
        }
        let found = divergences(&small, &full, &texts, cut).unwrap();
        assert!(found.iter().all(|one| one.kl > 0.0 && one.agreed <= one.tokens));
        assert_eq!(
            divergences(&small, &full, &texts[..1], cut).unwrap()[0],
            found[0],
            "batches change nothing"
        );
        // KL of (1/2, 1/2) from (3/4, 1/4): ln 2 - (ln 3) / 2.
        let known = divergence(&[0.0, 0.0], &[3.0_f32.ln(), 0.0]).unwrap();
        assert!((known - (2.0_f64.ln() - 3.0_f64.ln() / 2.0)).abs() < 1e-7, "{known}");
    }
}
