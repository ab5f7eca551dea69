//! The training loop: cases in, parameters out, the same bits on every machine.
//!
//! A batch is cut into [`SHARDS`] of fixed size. Threads take shards as they please, but each
//! shard has its own gradient and the gradients are added in shard order, so the number of
//! threads cannot change a bit. Nothing else could: each case is a function of (recipe, step,
//! row), and every sum has a fixed order.

use rayon::prelude::*;
use studbook::base::rng::Philox;

use super::gemm::Gemm;
use super::network::{Batch, Layout};
use super::skills::{Case, Draws, Skill, Split, draw};

const BOS: usize = 256;
const EOS: usize = 257;

const SHARDS: usize = 8;
const ROWS_PER_SHARD: usize = 16;

const BETA: [f32; 2] = [0.9, 0.98];
const ADAM_EPSILON: f32 = 1e-8;
const WEIGHT_DECAY: f32 = 0.01;
/// The longest gradient that is followed at full length.
const CLIP: f64 = 1.0;
const WARMUP: usize = 40;

/// One training run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    /// What it becomes, in a sentence.
    pub(crate) summary: &'static str,
    /// The model it starts from; none means from noise.
    pub(crate) parent: Option<&'static str>,
    pub(crate) steps: usize,
    /// The learning rate after the warm-up; it falls in a straight line to a twentieth.
    pub(crate) rate: f32,
    /// Of every hundred cases, how many are of each skill, in the order of [`Skill::ALL`].
    pub(crate) mix: [u32; 3],
    pub(crate) seed: &'static str,
}

/// Parameters before any training: normal noise, smaller where layers add up.
pub(crate) fn noise(layout: &Layout, seed: &str) -> Vec<f32> {
    let mut parameters = Vec::with_capacity(layout.parameters());
    let adding = (2.0 * layout.layers as f32).sqrt();
    for tensor in &layout.tensors {
        let stream = Philox::for_purpose(&["studbook parents", "noise", seed, &tensor.name]);
        let fan_in = (tensor.columns as f32).sqrt();
        let deviation = match tensor.name.as_str() {
            "tok_embeddings.weight" => 0.05,
            name if name.ends_with("wo.weight") || name.ends_with("w2.weight") => 1.0 / (fan_in * adding),
            _ => 1.0 / fan_in,
        };
        let is_norm = tensor.is_vector();
        parameters.extend(
            (0..tensor.range.len()).map(|i| {
                if is_norm { 1.0 } else { (f64::from(deviation) * normal(stream, i as u64)) as f32 }
            }),
        );
    }
    parameters
}

/// Box and Muller's normal deviate number `index`.
fn normal(stream: Philox, index: u64) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - stream.unit(2 * index)));
    radius * libm::cos(std::f64::consts::TAU * stream.unit(2 * index + 1))
}

fn tokens(text: &str) -> impl Iterator<Item = usize> {
    text.bytes().map(usize::from)
}

/// A case as the runtime will meet it: BOS and the prompt's bytes, then the answer's bytes and EOS.
fn push_case(batch: &mut Batch, case: &Case) {
    let prompt: Vec<usize> = std::iter::once(BOS).chain(tokens(&case.prompt)).collect();
    let answer: Vec<usize> = tokens(&case.expected).chain([EOS]).collect();
    batch.push(&prompt, &answer);
}

impl Recipe {
    /// The data sets of the run, by name.
    pub(crate) fn data(&self) -> Vec<String> {
        let shares = Skill::ALL.into_iter().zip(self.mix).filter(|(_, percent)| *percent > 0);
        shares.map(|(skill, percent)| format!("generated {} cases, {percent} %", skill.name())).collect()
    }

    /// Trains `parameters` in place; `progress` hears (step, mean loss) of every step.
    pub(crate) fn train(
        &self,
        layout: &Layout,
        parameters: &mut [f32],
        mut progress: impl FnMut(usize, f64),
    ) {
        let mut adam = Adam::new(layout);
        for step in 0..self.steps {
            let (gradient, loss) = self.gradient(layout, parameters, step);
            adam.step(parameters, &gradient, self.rate_at(step));
            progress(step + 1, loss);
        }
    }

    fn rate_at(&self, step: usize) -> f32 {
        let warm = ((step + 1) as f32 / WARMUP as f32).min(1.0);
        let left = (self.steps - step) as f32 / self.steps as f32;
        self.rate * warm * (0.05 + 0.95 * left)
    }

    fn gradient(&self, layout: &Layout, parameters: &[f32], step: usize) -> (Vec<f32>, f64) {
        let batches: Vec<Batch> = (0..SHARDS).map(|shard| self.batch(step, shard)).collect();
        let targets: usize = batches.iter().map(Batch::targets).sum();
        let scale = 1.0 / targets as f32;
        let shards: Vec<(Vec<f32>, f64)> = batches
            .par_iter()
            .map_init(Gemm::default, |gemm, batch| {
                let trace = layout.forward(parameters, batch, gemm);
                let mut gradient = vec![0.0; parameters.len()];
                layout.backward(parameters, batch, &trace, scale, &mut gradient, gemm);
                (gradient, trace.loss(batch, layout.vocab))
            })
            .collect();
        let loss: f64 = shards.iter().map(|(_, loss)| loss).sum();
        (add_in_order(shards), loss / targets as f64)
    }

    fn batch(&self, step: usize, shard: usize) -> Batch {
        let stream = Philox::for_purpose(&["studbook parents", "batch", self.seed, self.name]);
        let mut batch = Batch::default();
        for row in 0..ROWS_PER_SHARD {
            let index = (step * SHARDS + shard) * ROWS_PER_SHARD + row;
            let mut draws = Draws::at(stream, index as u64);
            let skill = self.skill(draws.below(100));
            push_case(&mut batch, &draw(skill, Split::Train, &mut draws));
        }
        batch
    }

    fn skill(&self, percent: u32) -> Skill {
        let [add, reverse, _] = self.mix;
        match percent {
            p if p < add => Skill::Add,
            p if p < add + reverse => Skill::Reverse,
            _ => Skill::Sort,
        }
    }
}

fn add_in_order(shards: Vec<(Vec<f32>, f64)>) -> Vec<f32> {
    let mut shards = shards.into_iter().map(|(gradient, _)| gradient);
    let mut sum = shards.next().unwrap_or_default();
    for gradient in shards {
        sum.iter_mut().zip(&gradient).for_each(|(sum, g)| *sum += g);
    }
    sum
}

/// AdamW (Loshchilov and Hutter, 2019): matrices decay, norms do not.
struct Adam {
    mean: Vec<f32>,
    square: Vec<f32>,
    decays: Vec<f32>,
    powers: [f32; 2],
}

impl Adam {
    fn new(layout: &Layout) -> Self {
        let decay = |vector: bool| if vector { 0.0 } else { WEIGHT_DECAY };
        let decays =
            layout.tensors.iter().flat_map(|t| std::iter::repeat_n(decay(t.is_vector()), t.range.len()));
        let count = layout.parameters();
        Self { mean: vec![0.0; count], square: vec![0.0; count], decays: decays.collect(), powers: [1.0; 2] }
    }

    fn step(&mut self, parameters: &mut [f32], gradient: &[f32], rate: f32) {
        let length = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
        let shrink = (CLIP / length.max(CLIP)) as f32;
        self.powers = [self.powers[0] * BETA[0], self.powers[1] * BETA[1]];
        let [correct_mean, correct_square] = self.powers.map(|power| 1.0 / (1.0 - power));
        let state = self.mean.iter_mut().zip(&mut self.square).zip(&self.decays);
        for ((parameter, &gradient), ((mean, square), decay)) in
            parameters.iter_mut().zip(gradient).zip(state)
        {
            let g = gradient * shrink;
            *mean = BETA[0] * *mean + (1.0 - BETA[0]) * g;
            *square = BETA[1] * *square + (1.0 - BETA[1]) * (g * g);
            let direction = *mean * correct_mean / ((*square * correct_square).sqrt() + ADAM_EPSILON);
            *parameter -= rate * (direction + decay * *parameter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use studbook::model::ModelConfig;

    const RECIPE: Recipe = Recipe {
        name: "test",
        summary: "a test",
        parent: None,
        steps: 60,
        rate: 5e-3,
        mix: [0, 0, 100],
        seed: "1",
    };

    fn layout() -> Layout {
        Layout::new(&ModelConfig {
            hidden_size: 16,
            layer_count: 1,
            head_count: 2,
            kv_head_count: 2,
            head_dim: 8,
            ffn_size: 24,
            ..crate::config()
        })
    }

    #[test]
    fn training_learns_and_threads_do_not_change_a_bit() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut losses = Vec::new();
                let mut parameters = noise(&layout(), "1");
                RECIPE.train(&layout(), &mut parameters, |_, loss| losses.push(loss));
                (parameters, losses)
            })
        };
        let (one, losses) = run(1);
        assert_eq!(one, run(3).0);
        assert!(losses[59] < losses[0] - 1.0, "{losses:?}");
    }

    #[test]
    fn a_recipe_keeps_its_mix() {
        let recipe = Recipe { mix: [20, 50, 30], ..RECIPE };
        let count = |skill| (0..100).filter(|&percent| recipe.skill(percent) == skill).count();
        assert_eq!(Skill::ALL.map(count), [20, 50, 30]);
    }
}
