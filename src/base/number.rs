//! Numbers for people: one that is very large or very small is not written out in hundreds of digits.

/// A number as a message has it.
pub(crate) fn number(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-5..1e16).contains(&size) { format!("{number:e}") } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn no_number_is_longer_than_it_says() {
        for (value, text) in [
            (0.0, "0"),
            (0.02, "0.02"),
            (-1e9, "-1000000000"),
            (1e16, "1e16"),
            (-1e308, "-1e308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
