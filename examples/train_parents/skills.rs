//! The skills, their cases, and the wall between training and evaluation.
//!
//! A skill is a small exact task: one prompt, one right answer. There are three:
//!
//! ```text
//! add      "27+38="       -> "65"        two numbers from 10 to 99
//! reverse  "rev kqazb="   -> "bzaqk"     five to eight letters
//! sort     "sort kqazb="  -> "abkqz"     five to eight letters
//! ```
//!
//! The wall is a property of the case, not of a list: the BLAKE3 digest of a case's skill and
//! prompt names its [`Split`], once and for ever. The training generator draws a case, asks for
//! its split, and throws it away unless the answer is `Train`. No training run, however long and
//! with whatever seed, can meet a case of the other two splits:
//!
//! * `Select` is for choosing (which merge, which lambda, when to stop);
//! * `Gate` is for the numbers that are published: `examples/evals/*.jsonl` holds it.

use std::collections::BTreeSet;

use studbook::base::digest::Digest;
use studbook::base::rng::Philox;

/// A task whose success is exactly measurable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skill {
    Add,
    Reverse,
    Sort,
}

impl Skill {
    pub(crate) const ALL: [Self; 3] = [Self::Add, Self::Reverse, Self::Sort];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Reverse => "reverse",
            Self::Sort => "sort",
        }
    }
}

/// One question and its only right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) prompt: String,
    pub(crate) expected: String,
}

/// Who may see a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    Train,
    Select,
    Gate,
}

impl Split {
    /// One case in eight is for choosing, one in eight for the published numbers.
    pub(crate) fn of(skill: Skill, prompt: &str) -> Self {
        let digest = Digest::of(format!("studbook parents split 1\n{}\n{prompt}", skill.name()).as_bytes());
        match digest.as_bytes()[0] % 8 {
            0 => Self::Gate,
            1 => Self::Select,
            _ => Self::Train,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Select => "select",
            Self::Gate => "gate",
        }
    }
}

/// Random words in order, from a place in a Philox stream that is fixed by what they are for.
#[derive(Debug)]
pub(crate) struct Draws {
    stream: Philox,
    next: u64,
}

impl Draws {
    /// The words of item `index`: each item owns 2^20 of them, far more than any case uses.
    pub(crate) fn at(stream: Philox, index: u64) -> Self {
        Self { stream, next: index << 20 }
    }

    /// A number below `bound`, by multiplication (the bias is below `bound / 2^32`).
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let [word, ..] = self.stream.block(self.next);
        self.next += 1;
        ((u64::from(word) * u64::from(bound)) >> 32) as u32
    }
}

/// A case of `skill` in `split`: drawn again until the case's own digest says it belongs there.
pub(crate) fn draw(skill: Skill, split: Split, draws: &mut Draws) -> Case {
    loop {
        let case = draw_any(skill, draws);
        if Split::of(skill, &case.prompt) == split {
            return case;
        }
    }
}

fn draw_any(skill: Skill, draws: &mut Draws) -> Case {
    if skill == Skill::Add {
        let (left, right) = (10 + draws.below(90), 10 + draws.below(90));
        return Case { prompt: format!("{left}+{right}="), expected: (left + right).to_string() };
    }
    let length = 5 + draws.below(4);
    let mut letters: Vec<char> = (0..length).map(|_| char::from(b'a' + draws.below(26) as u8)).collect();
    let word: String = letters.iter().collect();
    match skill {
        Skill::Reverse => {
            letters.reverse();
            Case { prompt: format!("rev {word}="), expected: letters.into_iter().collect() }
        }
        _ => {
            letters.sort_unstable();
            Case { prompt: format!("sort {word}="), expected: letters.into_iter().collect() }
        }
    }
}

/// `count` different cases of one split, the same on every machine.
pub(crate) fn cases(skill: Skill, split: Split, count: usize) -> Vec<Case> {
    let stream = Philox::for_purpose(&["studbook parents", "cases", skill.name(), split.name()]);
    let mut seen = BTreeSet::new();
    (0..)
        .map(|index| draw(skill, split, &mut Draws::at(stream, index)))
        .filter(|case| seen.insert(case.prompt.clone()))
        .take(count)
        .collect()
}

/// The cases as `examples/evals/{skill}.jsonl` holds them, one JSON object per line.
pub(crate) fn json_lines(skill: Skill, cases: &[Case]) -> String {
    // Prompts and answers are digits, letters, '+', ' ' and '=': nothing needs escaping.
    let line = |(i, case): (usize, &Case)| {
        format!(
            "{{\"id\":\"{}-{:04}\",\"prompt\":\"{}\",\"expected\":\"{}\"}}\n",
            skill.name(),
            i + 1,
            case.prompt,
            case.expected
        )
    };
    cases.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_right() {
        for skill in Skill::ALL {
            for case in cases(skill, Split::Train, 50) {
                let word = case.prompt.trim_end_matches('=').rsplit(' ').next().unwrap();
                let answer = match skill {
                    Skill::Add => {
                        let (left, right) = word.split_once('+').unwrap();
                        (left.parse::<u32>().unwrap() + right.parse::<u32>().unwrap()).to_string()
                    }
                    Skill::Reverse => word.chars().rev().collect(),
                    Skill::Sort => {
                        let mut sorted: Vec<u8> = word.bytes().collect();
                        sorted.sort();
                        String::from_utf8(sorted).unwrap()
                    }
                };
                assert_eq!(case.expected, answer, "{}", case.prompt);
            }
        }
    }

    #[test]
    fn no_training_case_is_ever_a_held_out_case() {
        for skill in Skill::ALL {
            let held_out: BTreeSet<String> = [Split::Gate, Split::Select]
                .into_iter()
                .flat_map(|split| cases(skill, split, 250))
                .map(|case| case.prompt)
                .collect();
            assert_eq!(held_out.len(), 500, "the two held-out splits share a case");
            let stream = Philox::for_purpose(&["test"]);
            for index in 0..20_000 {
                let case = draw(skill, Split::Train, &mut Draws::at(stream, index));
                assert!(!held_out.contains(&case.prompt), "{}", case.prompt);
            }
        }
    }

    #[test]
    fn committed_cases_are_what_the_generator_makes() {
        for skill in Skill::ALL {
            let path = format!("{}/examples/evals/{}.jsonl", env!("CARGO_MANIFEST_DIR"), skill.name());
            let committed = std::fs::read_to_string(&path).expect(&path);
            assert_eq!(committed, json_lines(skill, &cases(skill, Split::Gate, super::super::GATE_CASES)));
        }
    }
}
