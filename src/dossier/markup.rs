//! Other people's words in documents: spelled so that they stay words.

use crate::base::canonical;

/// In HTML, between tags or in a quoted attribute.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if misleads(c) => out.push_str(&format!("<u>U+{:04X}</u>", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// In a line of Markdown, table cells included.
pub(super) fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '|' | '~' | '!' => out.extend(['\\', c]),
            c if misleads(c) => out.push_str(&format!("U+{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// A YAML scalar: JSON's spelling of a text is one.
pub(super) fn yaml(text: &str) -> String {
    canonical::to_string(text).expect("a text can be written")
}

/// A number in its one spelling.
pub(super) fn number(value: f64) -> String {
    canonical::to_string(&value).unwrap_or_else(|_| "null".to_owned())
}

/// Characters that cannot be seen, or turn the direction of what follows.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A number of bytes for people, the exact one beside it.
pub(super) fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {} ({count} B)", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_elses_words_become_markup() {
        let bad = "<img src=x onerror=\"alert(1)\"> & 'a'\u{202e}\n";
        assert_eq!(
            html(bad),
            "&lt;img src=x onerror=&quot;alert(1)&quot;&gt; &amp; &#39;a&#39;<u>U+202E</u><u>U+000A</u>"
        );
        assert_eq!(markdown("a|b [x](y) <i>\n# t"), "a\\|b \\[x\\]\\(y\\) &lt;i&gt;U+000A\\# t");
        assert_eq!(yaml("a: \"b\"\n- c"), r#""a: \"b\"\n- c""#);
        assert_eq!((bytes(100), bytes(863_040)), ("100 B".to_owned(), "842.8 KiB (863040 B)".to_owned()));
    }
}
