//! What the parents and their merges can do: exact answers per skill, by the crate's own runtime.
//!
//! Merges are made in memory by the crate's own operators, from the files as they are, once stored
//! as f32 and once as `q8_0`. An answer counts when greedy decoding gives the expected text to the
//! last byte and the model itself ended it.
//!
//! A merge is written as a line: operator, parents, parameters. With a name before a colon its
//! `q8_0` form becomes a parent for the lines that follow.
//!
//! ```text
//! child: task_delta add reverse sort lambda=0.5
//! blend child reverse weight=2,1
//! ```

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use studbook::model::{Checkpoint, open_bytes};
use studbook::operator::{self, Job, Parameters, Parent, Value};
use studbook::runtime::{GenerateOptions, Model, StopReason, generate_batch};
use studbook::tensor::dtype::DType;

use super::publish;
use super::skills::{self, Case, Skill, Split};

/// The longest right answer has eight bytes; EOS needs one token more.
const ANSWER_TOKENS: usize = 12;

/// The merges that are measured when nobody asks for others.
const MERGES: &[&str] = &[
    "blend add reverse sort",
    "blend add reverse",
    "blend add sort",
    "blend reverse sort",
    "task_delta add reverse sort lambda=0.3",
    "task_delta add reverse sort lambda=0.4",
    "task_delta add reverse sort lambda=0.5",
    "task_delta add reverse sort lambda=0.6",
    "task_delta add reverse sort lambda=0.8",
    "task_delta add reverse sort lambda=1",
    "task_delta add reverse sort lambda=1.5",
    "task_delta add reverse sort lambda=2",
    "task_delta add reverse sort lambda=3",
    "sign_merge add reverse sort density=0.3 lambda=0.6",
    "sign_merge add reverse sort density=0.3 lambda=1",
    "sign_merge add reverse sort density=0.5 lambda=0.6",
    "sign_merge add reverse sort density=0.5 lambda=1",
    "sign_merge add reverse sort density=0.5 lambda=1.5",
    "sign_merge add reverse sort density=0.7 lambda=0.6",
    "sign_merge add reverse sort density=0.7 lambda=1",
    "sign_merge add reverse sort density=0.7 lambda=1.5",
    // A second generation: the best child of the first, with more of what it lost.
    "child: task_delta add reverse sort lambda=0.5",
    "task_delta child reverse sort weight=0.7,0.3,0.15",
    "blend child reverse weight=2,1",
];

/// Prints a table of every parent and of `merges` (or of [`MERGES`]) on the cases of one split.
pub(crate) fn measure(folder: &Path, split: Split, merges: &[&str]) -> anyhow::Result<()> {
    let cases = Skill::ALL.map(|skill| skills::cases(skill, split, super::GATE_CASES));
    let names: Vec<&str> = super::RECIPES.iter().map(|recipe| recipe.name).collect();
    let models = names.iter().map(|name| Ok((*name, publish::open(folder, name)?)));
    let mut models: Vec<(&str, Checkpoint)> = models.collect::<anyhow::Result<_>>()?;
    println!("| model | stored | add | reverse | sort | mean |\n|---|---|---|---|---|---|");
    for (name, checkpoint) in &models {
        row(name, checkpoint, &cases)?;
    }
    for line in if merges.is_empty() { MERGES } else { merges } {
        let (name, merge) = line.split_once(": ").map_or((None, *line), |(name, merge)| (Some(name), merge));
        let made = |stored| make(merge, &models, stored).with_context(|| format!("`{merge}`"));
        let (full, quantised) = (made(DType::F32)?, made(DType::Q8_0)?);
        row(line, &full, &cases)?;
        row(line, &quantised, &cases)?;
        models.extend(name.map(|name| (name, quantised)));
    }
    Ok(())
}

fn row(name: &str, checkpoint: &Checkpoint, cases: &[Vec<Case>; 3]) -> anyhow::Result<()> {
    let stored = checkpoint.infos()[0].dtype;
    let model = Model::new(Arc::new(checkpoint.clone()))?;
    let mut percents = [0.0; 3];
    for (percent, cases) in percents.iter_mut().zip(cases) {
        *percent = 100.0 * exact(&model, cases)? as f64 / cases.len() as f64;
    }
    let [add, reverse, sort] = percents;
    let mean = percents.iter().sum::<f64>() / 3.0;
    println!("| {name} | {stored} | {add:.1} | {reverse:.1} | {sort:.1} | {mean:.1} |");
    Ok(())
}

fn exact(model: &Model, cases: &[Case]) -> anyhow::Result<usize> {
    let prompts: Vec<&str> = cases.iter().map(|case| case.prompt.as_str()).collect();
    let answers = generate_batch(model, &prompts, &GenerateOptions::greedy(ANSWER_TOKENS));
    let mut right = 0;
    for (answer, case) in answers.into_iter().zip(cases) {
        let answer = answer?;
        right += usize::from(answer.stop_reason == StopReason::EndOfSequence && answer.text == case.expected);
    }
    Ok(right)
}

fn make(merge: &str, models: &[(&str, Checkpoint)], stored: DType) -> anyhow::Result<Checkpoint> {
    let mut words = merge.split_whitespace();
    let operator = words.next().and_then(operator::find).context("no such operator")?;
    let parent = |name: &str| {
        let found = models.iter().find(|(other, _)| *other == name);
        found.map(|(name, checkpoint)| Parent::new(name, checkpoint))
    };
    let mut parents = Vec::new();
    let mut parameters = Parameters::new();
    for word in words {
        if let Some((name, text)) = word.split_once('=') {
            parameters.insert(name.to_owned(), value(text)?);
        } else {
            parents.push(parent(word).with_context(|| format!("no parent `{word}`"))?);
        }
    }
    let job = Job {
        operator,
        parameters: &parameters,
        rules: &[],
        seed: "1",
        candidate: merge,
        base: if operator.needs_base() { parent("base") } else { None },
        parents,
    };
    // All models here have one configuration and one tokenizer.
    let (_, like) = models.first().context("no models")?;
    let mut bytes = Vec::new();
    operator::apply_slm1(&job, like, stored, &mut bytes, &|| false)?;
    Ok(open_bytes(Arc::new(bytes))?)
}

/// `0.5`, `0.5,1,1` for each parent, `true`, `false` or a word.
fn value(text: &str) -> anyhow::Result<Value> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(str::parse).collect();
    Ok(match (text, numbers) {
        ("true" | "false", _) => Value::Flag(text == "true"),
        (_, Ok(numbers)) => match numbers[..] {
            [number] => Value::Number(number),
            _ => Value::PerParent(numbers),
        },
        (_, Err(_)) if text.chars().all(char::is_alphabetic) => Value::Choice(text.to_owned()),
        _ => bail!("`{text}` is no value"),
    })
}
