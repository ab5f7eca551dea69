//! Where two records first differ: whoever is told that they do should not have to look for it.

use serde::Serialize;
use serde_json::Value;

/// The first place in which `found` is not as `expected`, with both values, as a phrase; none if they are alike.
/// What cannot be written as JSON is alike to nothing.
pub(crate) fn first<T: Serialize>(found: &T, expected: &T) -> Option<String> {
    match (serde_json::to_value(found), serde_json::to_value(expected)) {
        (Ok(found), Ok(expected)) => below("", Some(&found), Some(&expected)),
        (Err(error), _) | (_, Err(error)) => Some(error.to_string()),
    }
}

fn below(place: &str, found: Option<&Value>, expected: Option<&Value>) -> Option<String> {
    let inside = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    match (found, expected) {
        (found, expected) if found == expected => None,
        (Some(Value::Object(found)), Some(Value::Object(expected))) => {
            let mut names: Vec<&String> = found.keys().chain(expected.keys()).collect();
            names.sort();
            names.into_iter().find_map(|name| below(&inside(name), found.get(name), expected.get(name)))
        }
        (Some(Value::Array(found)), Some(Value::Array(expected))) => (0..found.len().max(expected.len()))
            .find_map(|at| below(&inside(&at.to_string()), found.get(at), expected.get(at))),
        (found, expected) => Some(format!("`{place}` is {}, expected {}", shown(found), shown(expected))),
    }
}

/// The beginning of a value.
fn shown(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "not there".to_owned(), Value::to_string);
    if text.chars().count() <= 80 { text } else { text.chars().take(77).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::first;
    use serde_json::json;

    #[test]
    fn the_place_is_named_with_both_values() {
        let one = json!({ "a": 1, "b": [{ "c": 0.5 }, 2] });
        assert_eq!(first(&one, &one), None);
        let other = json!({ "a": 1, "b": [{ "c": 0.75 }, 2] });
        assert_eq!(first(&one, &other).unwrap(), "`b.0.c` is 0.5, expected 0.75");
        assert_eq!(first(&one, &json!({ "b": one["b"] })).unwrap(), "`a` is 1, expected not there");
        assert_eq!(
            first(&json!([]), &json!(["x".repeat(200)])).unwrap().len(),
            "`0` is not there, expected ".len() + 80
        );
    }
}
