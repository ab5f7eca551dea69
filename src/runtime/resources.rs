//! What it takes to run a model, computed from its dimensions: the same on every machine.
//!
//! A processor that makes one token after the other waits for memory: it reads every weight once a token,
//! and the keys and values of all tokens before. How many bytes that is decides which of two models is
//! faster, while a measured speed also depends on the machine, on what else it does, and on the day.

use super::error::RuntimeError;
use super::forward::Model;
use crate::tensor::view::TensorView;

/// What a sequence of some length takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Bytes held when the last token is made: weights as they are stored, keys and values of every token
    /// in f32 (of windowed layers, too: a session may be rewound), one row of logits. Activations of the prompt
    /// are not in it; they depend on how it is cut.
    pub memory: u64,
    /// Bytes read to make all new tokens, one at a time: weights, and the keys and values that each layer sees.
    pub read: u64,
}

/// What `new` tokens after a prompt of `prompt` tokens take. At least one token of each.
///
/// # Errors
///
/// If they are more than the model's context.
pub fn resources(model: &Model, prompt: u64, new: u64) -> Result<Resources, RuntimeError> {
    let dimensions = model.dimensions();
    let tokens = prompt.saturating_add(new);
    if tokens > dimensions.context as u64 {
        let context = usize::try_from(tokens).unwrap_or(usize::MAX);
        return Err(RuntimeError::Context { context, max_context: dimensions.context });
    }
    let stored = |tensor: TensorView<'_>| (tensor.data.len() + tensor.scales.len()) as u64;
    let checkpoint = model.checkpoint();
    let weights: u64 = checkpoint.tensors().map(stored).sum();
    // Only a row of the embedding is read for each token, unless it is the output matrix, too.
    let embedding = checkpoint.naming.from_slm1("tok_embeddings.weight");
    let embedding = embedding.filter(|_| !dimensions.tied).and_then(|name| checkpoint.tensor(&name));
    let unread = embedding.map_or(0, |tensor| stored(tensor) - stored(tensor) / dimensions.vocab as u64);
    // Keys and values of a token, in one layer.
    let remembered = (2 * dimensions.kv * size_of::<f32>()) as u64;
    let logits = (dimensions.vocab * size_of::<f32>()) as u64;
    // The last token made is never fed back; the i-th is made with `prompt` + i tokens behind it.
    let all = prompt * new + new * new.saturating_sub(1) / 2;
    let seen = (0..dimensions.layers).map(|layer| match dimensions.window(layer) {
        None => all,
        Some(window) => seen_in(window as u64, prompt, new),
    });
    Ok(Resources {
        memory: weights + remembered * dimensions.layers as u64 * tokens + logits,
        read: (weights - unread) * new + remembered * seen.sum::<u64>(),
    })
}

/// The positions that all new tokens together see through a window: as many as there are, at most the window.
fn seen_in(window: u64, prompt: u64, new: u64) -> u64 {
    let growing = window.saturating_sub(prompt).min(new);
    prompt.min(window) * growing + growing * growing.saturating_sub(1) / 2 + window * (new - growing)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::model::config::ModelConfig;
    use crate::model::variant::Variant;

    #[test]
    fn through_a_window_no_more_is_read_than_it_shows() {
        for (window, prompt, new) in [(1, 1, 1), (4, 1, 9), (4, 4, 3), (4, 9, 2), (100, 3, 5), (5, 2, 3)] {
            let expected: u64 = (0..new).map(|made| (prompt + made).min(window)).sum();
            assert_eq!(seen_in(window, prompt, new), expected, "{window} {prompt} {new}");
        }
        let config = fixture::windowed(3);
        let model = fixture::model(&config, crate::tensor::dtype::DType::F32);
        let plain = ModelConfig { variant: Variant { windows: None, ..config.variant.clone() }, ..config };
        let whole = fixture::model(&plain, crate::tensor::dtype::DType::F32);
        let [narrow, wide] = [&model, &whole].map(|model| resources(model, 3, 3).unwrap());
        // One layer of two looks back over three positions, where it could over 3, 4 and 5.
        let token = 2 * model.dimensions().kv as u64 * 4;
        assert_eq!((wide.read - narrow.read, wide.memory), (3 * token, narrow.memory));
    }

    #[test]
    fn it_is_the_sum_of_what_is_there() {
        let model = fixture::model(&fixture::config(), crate::tensor::dtype::DType::F32);
        let dimensions = model.dimensions();
        let weights: u64 =
            model.checkpoint().tensors().map(|tensor| tensor.shape.elements() as u64 * 4).sum();
        let one = resources(&model, 3, 1).unwrap();
        let token = (2 * dimensions.layers * dimensions.kv * 4) as u64;
        assert_eq!(one.memory, weights + 4 * token + dimensions.vocab as u64 * 4);
        let embedding = (dimensions.vocab * dimensions.hidden * 4) as u64;
        let unread = if dimensions.tied { 0 } else { embedding - dimensions.hidden as u64 * 4 };
        assert_eq!(one.read, weights - unread + 3 * token);
        // Three tokens after three: 3, 4 and 5 are behind them.
        assert_eq!(resources(&model, 3, 3).unwrap().read, 3 * (weights - unread) + 12 * token);
        assert!(resources(&model, dimensions.context as u64, 1).is_err());
    }
}
