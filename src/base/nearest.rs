//! "Did you mean": the known word nearest to one that is not known.

/// The candidate most like `word`, if any is alike enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_and_far() {
        let known = ["density", "weight", "lambda"];
        assert_eq!(nearest("densty", known), Some("density"));
        assert_eq!(nearest("lamda", known), Some("lambda"));
        assert_eq!(nearest("colour", known), None);
    }
}
