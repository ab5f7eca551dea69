//! The plan room as a person meets it: a text in, a plan or a page of mistakes out.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::resolve::testing::{Folder, GOOD};
use super::{Findings, check};
use crate::base::diagnostic::Severity;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

/// The page of mistakes for a golden plan; its files are looked for where there are none.
fn page(name: &str) -> String {
    let source = std::fs::read_to_string(format!("{GOLDEN}/{name}.toml")).unwrap();
    let (plan, diagnostics) = check(&source, Path::new("nowhere"), &Folder::new().store());
    assert!(plan.is_none());
    Findings { path: format!("{name}.toml").into(), source, diagnostics }.render(false)
}

/// `STUDBOOK_BLESS=1` writes the pages anew; read them before committing them.
fn assert_golden(name: &str) {
    let (found, path) = (page(name), format!("{GOLDEN}/{name}.txt"));
    if std::env::var_os("STUDBOOK_BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found, expected, "\n{found}");
}

#[test]
fn a_page_of_mistakes() {
    assert_golden("plan_mistakes");
}

#[test]
fn an_empty_plan_says_what_to_write() {
    assert_golden("plan_empty");
}

#[test]
fn a_broken_plan_says_only_that() {
    assert_golden("plan_broken");
}

#[test]
fn every_mistake_has_a_place_and_an_expectation() {
    let store = Folder::new().store();
    for name in ["plan_mistakes", "plan_empty", "plan_broken"] {
        let source = std::fs::read_to_string(format!("{GOLDEN}/{name}.toml")).unwrap();
        for found in check(&source, Path::new("nowhere"), &store).1 {
            assert!(found.span.is_some(), "{found:?}");
            assert!(found.label.starts_with("expected "), "{found:?}");
            assert!(!found.label.contains("expected expected"), "{found:?}");
            assert!(!found.message.ends_with('.') && !found.label.ends_with('.'), "{found:?}");
        }
    }
}

#[test]
fn a_child_is_stored_as_its_format_can() {
    let folder = Folder::new();
    for (output, message) in [
        ("bf16", "slm children cannot be stored as bf16; possible are f32, q8_0, q4_0"),
        ("f64", "a child cannot be stored as f64"),
        ("f8", "unknown encoding \"f8\""),
    ] {
        let source = GOOD.replacen("output = \"q8_0\"", &format!("output = \"{output}\""), 1);
        let (plan, diagnostics) = folder.check(&source);
        assert!(plan.is_none());
        assert!(diagnostics.iter().any(|found| found.message.contains(message)), "{diagnostics:?}");
    }
}

#[test]
fn thousands_of_mistakes_are_counted_not_printed() {
    let sections = (0..3000).map(|i| format!("[candidates.c{i}]\noperator = \"bland\"\nparents = []\n"));
    let source = GOOD.replace("[smoke]", &(sections.collect::<String>() + "[smoke]"));
    let folder = Folder::new();
    let start = Instant::now();
    let (_, diagnostics) = folder.check(&source);
    let text = Findings { path: "plan.toml".into(), source, diagnostics }.render(false);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(text.ends_with("\n... and 2900 more\n"), "{}", &text[text.len() - 300..]);
}

/// A sweep of 10,000 candidates, and 10,000 sections with one each.
#[test]
fn large_plans_resolve_in_time_that_grows_with_them() {
    let folder = Folder::new();
    let budget = GOOD.replace("candidates = 8", "candidates = 10000").replace("\"8 MiB\"", "\"1 GB\"");
    let numbers = |count: u32| (0..count).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let swept = budget.replace("lambda = [0.3, 0.5]", &format!("lambda = [{}]", numbers(9998)));
    let mut sections = String::new();
    for i in 0..9996 {
        write!(sections, "[candidates.c{i}]\noperator = \"blend\"\nparents = [\"one\", \"two\"]\n").unwrap();
    }
    let listed = budget.replace("[smoke]", &(sections + "[smoke]"));
    for text in [swept, listed] {
        let start = Instant::now();
        let plan = folder.plan(&text);
        let took = start.elapsed();
        assert_eq!(plan.candidates.len(), 10_000);
        // A hundred times what it takes; one quadratic step takes more.
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}

/// What people and editors do to a plan.
#[derive(Debug, Clone)]
enum Slip {
    Cut(usize, usize),
    Insert(usize, String),
    RepeatLine(usize),
    DropLine(usize),
    SwapLines(usize, usize),
}

fn slip() -> impl Strategy<Value = Slip> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "[",
            "]",
            "\"",
            "=",
            "\n",
            "{",
            "}",
            ",",
            "-1",
            "1e999",
            "nan",
            "1979-05-27",
            "[[gate]]\n",
            "[eval]\n",
            "sweep = { lambda = [1, 2] }\n",
            "parents = \"one\"\n",
            "\u{feff}",
            "\u{0}",
            "\t",
            "é",
            "9999999999999999999",
            "'''",
            "a.b = 1\n",
            "[candidates.one]\n",
            "[[parents]]\n",
            "max = \"x\"\n",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    prop_oneof![
        (any::<usize>(), 0_usize..40).prop_map(|(at, length)| Slip::Cut(at, length)),
        (any::<usize>(), piece).prop_map(|(at, text)| Slip::Insert(at, text)),
        any::<usize>().prop_map(Slip::RepeatLine),
        any::<usize>().prop_map(Slip::DropLine),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Slip::SwapLines(a, b)),
    ]
}

fn slipped(text: &str, slip: &Slip) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let place = |at: usize, length: usize| if length == 0 { 0 } else { at % length };
    match slip {
        Slip::Cut(at, length) => {
            let from = place(*at, characters.len());
            let to = (from + length).min(characters.len());
            characters.drain(from..to);
            return characters.into_iter().collect();
        }
        Slip::Insert(at, piece) => {
            let at = place(*at, characters.len());
            characters.splice(at..at, piece.chars());
            return characters.into_iter().collect();
        }
        Slip::RepeatLine(at) if !lines.is_empty() => {
            lines.insert(place(*at, lines.len()), lines[place(*at, lines.len())]);
        }
        Slip::DropLine(at) if !lines.is_empty() => drop(lines.remove(place(*at, lines.len()))),
        Slip::SwapLines(a, b) if !lines.is_empty() => {
            let count = lines.len();
            lines.swap(place(*a, count), place(*b, count));
        }
        _ => {}
    }
    lines.concat()
}

/// Whatever the text: a plan or errors, never both, never neither; and a page that can be printed.
fn holds(text: &str, folder: &Folder) {
    let start = Instant::now();
    let (plan, diagnostics) = folder.check(text);
    let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
    assert_eq!(plan.is_none(), errors > 0, "{diagnostics:?}");
    for found in &diagnostics {
        let span = found.span.clone().unwrap();
        assert!(text.get(span.clone()).is_some(), "{span:?} is no place in the text");
    }
    let nothing = diagnostics.is_empty();
    let page = Findings { path: "plan.toml".into(), source: text.to_owned(), diagnostics }.render(false);
    assert_eq!(page.is_empty(), nothing);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_slip_never_panics(slips in prop::collection::vec(slip(), 1..8)) {
        thread_local!(static FOLDER: Folder = Folder::new());
        let text = slips.iter().fold(GOOD.to_owned(), |text, slip| slipped(&text, slip));
        FOLDER.with(|folder| holds(&text, folder));
    }

    #[test]
    fn any_text_never_panics(text in any::<String>(), toml in "([a-z.\\[\\]{}=\", \n0-9]{0,20}){0,8}") {
        thread_local!(static FOLDER: Folder = Folder::new());
        FOLDER.with(|folder| {
            holds(&text, folder);
            holds(&toml, folder);
        });
    }

    /// The file itself may hold anything.
    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = Folder::new();
        folder.write("plan.toml", &bytes);
        prop_assert!(super::load(&folder.path("plan.toml"), &folder.store()).is_err());
    }
}
