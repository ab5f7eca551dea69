//! The words all mistakes share.
//!
//! A mistake has three parts, and each has its own place: the message says what is wrong, the label
//! at the caret begins with "expected" and says what would be right, help says what to do. Whoever
//! reads ten of them should not have to learn ten ways of saying the same.

use crate::base::diagnostic::Diagnostic;
use crate::base::nearest::nearest;

/// More names than this are counted, not listed.
const MOST_LISTED: usize = 12;

/// "expected one of ..." for a caret.
pub(crate) fn one_of(known: &[&str]) -> String {
    let quoted = |names: &[&str]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    match known {
        [] => "expected nothing here".to_owned(),
        [only] => format!("expected `{only}`"),
        _ if known.len() <= MOST_LISTED => format!("expected one of {}", quoted(known)),
        _ => {
            let (listed, rest) = known.split_at(MOST_LISTED);
            format!("expected one of {} or {} more", quoted(listed), rest.len())
        }
    }
}

/// Adds "did you mean" if one of the known words is near.
pub(crate) fn suggest(diagnostic: Diagnostic, word: &str, known: &[&str]) -> Diagnostic {
    match nearest(word, known.iter().copied()) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}

/// `1 parent`, `2 parents`, `2 entries`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let several = match noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u'])) {
        Some(stem) => format!("{stem}ies"),
        None => format!("{noun}s"),
    };
    format!("{number} {}", if number == 1 { noun } else { &several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(one_of(&["a"]), "expected `a`");
        assert_eq!(one_of(&["a", "b"]), "expected one of `a`, `b`");
        let many = ["x"; 20];
        assert!(one_of(&many).ends_with("`x` or 8 more"), "{}", one_of(&many));
    }

    #[test]
    fn only_near_words_are_suggested() {
        let helped = |word| suggest(Diagnostic::error("", 0..0), word, &["density", "weight"]).help;
        assert_eq!(helped("densty"), ["did you mean `density`?"]);
        assert!(helped("colour").is_empty());
        let counted = [(1, "parent"), (2, "parent"), (0, "entry"), (1, "entry"), (3, "key")];
        assert_eq!(
            counted.map(|(number, noun)| count(number, noun)),
            ["1 parent", "2 parents", "0 entries", "1 entry", "3 keys"]
        );
    }
}
