//! Whether cases stand in texts that a model's ancestors were trained on.
//!
//! A case overlaps if any 13 of its words in a row stand in a text, in lower case and whatever is between
//! them: the length that GPT-3's authors chose (Brown et al., "Language Models are Few-Shot Learners", 2020,
//! appendix C). Its words follow each other as somebody would read them, which is how they were trained on:
//! within each of its texts, and from the prompt into each answer. A case of which no text has 13 words by
//! itself overlaps besides if any 8 bytes in a row of its longest text stand in one, or all of it if that
//! has fewer. That finds too much rather than too little: an overlap is a reason to look, and nothing found
//! is not "clean", since only declared texts were searched.
//!
//! What was found is not looked for again. So the search takes as long as cases and texts are, not one times
//! the other, even where all cases begin alike and the texts do so on every line.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::suite::Case;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// Words that make a long case recognisable.
pub const WORDS: usize = 13;
/// Bytes that make a short one recognisable.
pub const BYTES: usize = 8;

/// What is known of a suite and a model's training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contamination {
    /// `unknown` if any ancestor declares no training texts; else `searched`. There is no word for clean.
    pub status: String,
    /// Words in a row that were searched for.
    pub words: u64,
    /// Bytes in a row that were searched for in cases without a text of so many words.
    pub bytes: u64,
    /// Ancestors without declared texts.
    pub undeclared: Vec<Name>,
    /// The texts that were searched.
    pub texts: Vec<Sha256>,
    /// How many cases overlap with them.
    pub overlapping: u64,
    /// The first of those cases.
    pub first: Option<Name>,
}

impl Contamination {
    /// What follows from what was declared and searched.
    pub fn of(undeclared: Vec<Name>, texts: Vec<Sha256>, overlapping: &[Name]) -> Self {
        let whole = undeclared.is_empty() && !texts.is_empty();
        Self {
            status: if whole { "searched" } else { "unknown" }.to_owned(),
            words: WORDS as u64,
            bytes: BYTES as u64,
            undeclared,
            texts,
            overlapping: overlapping.len() as u64,
            first: overlapping.first().cloned(),
        }
    }
}

/// The words of a text in lower case.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// Runs of words of a case: each text, and what goes from one into the next.
fn runs(case: &Case) -> Vec<Vec<String>> {
    let prompt = case.body["prompt"].as_str();
    let texts = case.texts();
    // A prompt is read first, whatever its key is sorted behind.
    let rest = texts.iter().filter(|text| prompt != Some(**text));
    let ordered: Vec<Vec<String>> =
        prompt.iter().chain(rest).map(|text| words(text).collect::<Vec<_>>()).collect();
    let mut runs = vec![ordered.concat()];
    if let (Some(_), [first, others @ ..]) = (prompt, ordered.as_slice()) {
        // What the prompt has by itself is in the run of all. Of it, an answer needs the end.
        let end = &first[first.len().saturating_sub(WORDS - 1)..];
        runs.extend(others.iter().map(|other| [end, other].concat()));
    }
    runs
}

/// How many steps are taken between two looks at whether to stop.
const PACE: u64 = 1 << 16;

/// The cases that are still to be found, by what would tell.
struct Search<'c, 'g, E> {
    long: HashMap<String, Vec<usize>>,
    short: HashMap<&'c [u8], Vec<usize>>,
    found: Vec<bool>,
    steps: u64,
    go_on: &'g dyn Fn() -> Result<(), E>,
}

impl<'c, E> Search<'c, '_, E> {
    fn step(&mut self) -> Result<(), E> {
        self.steps += 1;
        if self.steps.is_multiple_of(PACE) { (self.go_on)() } else { Ok(()) }
    }

    fn look_for(&mut self, at: usize, case: &'c Case) -> Result<(), E> {
        for run in runs(case) {
            for gram in run.windows(WORDS) {
                self.step()?;
                self.long.entry(gram.join(" ")).or_default().push(at);
            }
        }
        let texts = case.texts();
        if texts.iter().any(|text| words(text).nth(WORDS - 1).is_some()) {
            return Ok(());
        }
        let Some(longest) = texts.into_iter().max_by_key(|text| text.len()) else { return Ok(()) };
        let bytes = longest.as_bytes();
        for gram in bytes.windows(bytes.len().clamp(1, BYTES)) {
            self.step()?;
            self.short.entry(gram).or_default().push(at);
        }
        Ok(())
    }

    /// Each of these cases was found by something that is not looked for any more.
    fn mark(&mut self, cases: Option<Vec<usize>>) -> Result<(), E> {
        for at in cases.into_iter().flatten() {
            self.step()?;
            self.found[at] = true;
        }
        Ok(())
    }

    fn bytes_in(&mut self, text: &[u8]) -> Result<(), E> {
        let lengths: HashSet<usize> = self.short.keys().map(|gram| gram.len()).collect();
        for length in lengths {
            for gram in text.windows(length) {
                self.step()?;
                let hit = self.short.remove(gram);
                self.mark(hit)?;
            }
        }
        Ok(())
    }

    fn words_in(&mut self, text: &[u8]) -> Result<(), E> {
        if self.long.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(text);
        let mut last = VecDeque::with_capacity(WORDS);
        for word in words(&text) {
            self.step()?;
            if last.len() == WORDS {
                last.pop_front();
            }
            last.push_back(word);
            if last.len() == WORDS {
                let hit = self.long.remove(&last.make_contiguous().join(" "));
                self.mark(hit)?;
            }
        }
        Ok(())
    }
}

/// The cases that overlap with any of the texts, in their order. `go_on` is asked now and then.
///
/// # Errors
///
/// That of `go_on`, which ends the search. The search itself never fails.
pub fn overlapping<E>(
    cases: &[Case],
    texts: &[&[u8]],
    go_on: &dyn Fn() -> Result<(), E>,
) -> Result<Vec<Name>, E> {
    let (long, short) = (HashMap::new(), HashMap::new());
    let mut search = Search { long, short, found: vec![false; cases.len()], steps: 0, go_on };
    for (at, case) in cases.iter().enumerate() {
        search.look_for(at, case)?;
    }
    for text in texts {
        go_on()?;
        search.bytes_in(text)?;
        search.words_in(text)?;
    }
    let found = cases.iter().zip(search.found).filter(|(_, found)| *found);
    Ok(found.map(|(case, _)| case.id.clone()).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;
    use serde_json::json;

    fn case(id: &str, text: &str) -> Case {
        Case { id: id.parse().unwrap(), body: json!({ "text": text }) }
    }

    fn found(cases: &[Case], text: &str) -> Vec<String> {
        let found = overlapping::<Infallible>(cases, &[text.as_bytes()], &|| Ok(()));
        found.unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn thirteen_words_in_a_row_are_an_overlap_and_twelve_are_not() {
        let all = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
        let cases = [case("a", all)];
        let thirteen = "x ONE, two; three four\nfive six seven eight nine ten eleven twelve THIRTEEN x";
        assert_eq!(found(&cases, thirteen), ["a"], "case and what is between words do not matter");
        let twelve = "x two three four five six seven eight nine ten eleven twelve thirteen x";
        assert_eq!(found(&cases, twelve), [""; 0]);
    }

    #[test]
    fn short_cases_are_found_by_their_bytes() {
        let cases = [case("sum", "16+48="), case("rev", "rev zkazqrhl="), case("other", "99+99=")];
        assert_eq!(found(&cases, "12+30=42\n16+48=64\n"), ["sum"]);
        assert_eq!(found(&cases, "rev zkazq, and 16+4"), ["rev"], "eight bytes are enough");
        assert_eq!(found(&cases, "rev zka and 16+4"), [""; 0]);
        assert_eq!(found(&cases, ""), [""; 0]);
    }

    #[test]
    fn words_go_on_from_the_prompt_into_the_answer() {
        let case = |body| [Case { id: "c".parse().unwrap(), body }];
        let asked = "One two three four five six seven:";
        let written = case(json!({ "prompt": asked, "expected": "eight nine ten eleven twelve more" }));
        let trained = "one two three four five six seven eight nine ten eleven twelve more";
        assert_eq!(found(&written, trained), ["c"]);
        // Neither the bytes of the prompt nor those of the answer are there: only the words tell.
        let apart = trained.replace(' ', "\n\n");
        assert_eq!(found(&written, &apart), ["c"]);
        assert_eq!(found(&written, &apart.replace("seven", "7")), [""; 0]);

        let chosen = case(json!({
            "answer": 1,
            "choices": ["nought", "eight nine ten eleven twelve more"],
            "prompt": asked,
        }));
        assert_eq!(found(&chosen, &apart), ["c"], "what is between prompt and choice is another choice");

        // Many words in all, but no text that is long by itself: it is known by its bytes, too.
        assert_eq!(found(&written, "he said: three four"), ["c"]);
        let long = case(json!({ "prompt": trained, "expected": "fourteen fifteen" }));
        assert_eq!(found(&long, "fourteen fifteen"), [""; 0], "a text of 13 words is known by them");
    }

    #[test]
    fn what_all_cases_begin_with_is_found_once() {
        let beginning = "one two three four five six seven eight nine ten eleven twelve thirteen";
        let cases: Vec<Case> =
            (0..1500).map(|i| case(&format!("c{i}"), &format!("{beginning} {i}"))).collect();
        let looks = Cell::new(0);
        let go_on = || -> Result<(), Infallible> {
            looks.set(looks.get() + 1);
            Ok(())
        };
        let text = format!("{beginning}\n").repeat(1500);
        let names = overlapping(&cases, &[text.as_bytes()], &go_on).unwrap();
        assert_eq!(names.len(), cases.len());
        // As many steps as there are words and grams; each line for each case would be two million.
        assert!(looks.get() <= 2, "{} looks", looks.get());
    }

    #[test]
    fn a_search_can_be_stopped() {
        let cases = [case("long", &"word ".repeat(20))];
        let text = "another ".repeat(3 * PACE as usize);
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            if asked.get() == 2 { Err("stopped") } else { Ok(()) }
        };
        assert_eq!(overlapping(&cases, &[text.as_bytes()], &stop), Err("stopped"));
        assert_eq!(asked.get(), 2, "the text was not read to its end");
    }

    #[test]
    fn nothing_is_ever_clean() {
        let name = |name: &str| name.parse::<Name>().unwrap();
        let text = Sha256::of(b"text");
        assert_eq!(Contamination::of(vec![name("base")], vec![text], &[]).status, "unknown");
        assert_eq!(Contamination::of(vec![], vec![], &[]).status, "unknown", "nothing was searched");
        let searched = Contamination::of(vec![], vec![text], &[name("c1"), name("c2")]);
        assert_eq!((searched.status.as_str(), searched.overlapping), ("searched", 2));
        assert_eq!(searched.first, Some(name("c1")));
    }
}
