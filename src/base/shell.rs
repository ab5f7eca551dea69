//! Commands that a person pastes: what is typed for a word that a shell would take apart.

use std::borrow::Cow;
use std::path::Path;

/// A word as a POSIX shell reads it back: as it is, or in single quotes, in which nothing means anything.
pub(crate) fn word(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./,:+=@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("'{}'", text.replace('\'', r"'\''"))),
    }
}

/// A path as a word that is no flag, whatever the file is called.
pub(crate) fn path(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.starts_with('-') { format!("./{}", word(&text)) } else { word(&text).into_owned() }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn plain_words_stay_as_they_are() {
        for plain in ["plans/first-cycle.toml", "0", "Zürich_2.toml", "a,b:c+d=e@f%"] {
            assert_eq!(word(plain), plain);
        }
    }

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        for text in ["", "my plans/x.toml", "it's", "$HOME `id` \"x\"", "a\\b", "*", "~/x", "a\nb", "''", "#"]
        {
            let printed =
                Command::new("sh").args(["-c", &format!("printf %s {}", word(text))]).output().unwrap();
            assert_eq!(String::from_utf8(printed.stdout).unwrap(), text);
        }
    }

    #[test]
    fn a_path_is_no_flag() {
        assert_eq!(path(Path::new("-x y.toml")), "./'-x y.toml'");
        assert_eq!(path(Path::new("x y.toml")), "'x y.toml'");
    }
}
