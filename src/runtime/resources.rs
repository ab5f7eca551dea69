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
    /// in f32, one row of logits. Activations of the prompt are not in it; they depend on how it is cut.
    pub memory: u64,
    /// Bytes read to make all new tokens, one at a time: weights, keys and values.
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
    let remembered = (2 * dimensions.layers * dimensions.kv * size_of::<f32>()) as u64;
    let logits = (dimensions.vocab * size_of::<f32>()) as u64;
    // The last token made is never fed back; the i-th is made with `prompt` + i tokens behind it.
    let behind = prompt * new + new * new.saturating_sub(1) / 2;
    Ok(Resources {
        memory: weights + remembered * tokens + logits,
        read: (weights - unread) * new + remembered * behind,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

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
