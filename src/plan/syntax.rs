//! One walker over TOML tables.
//!
//! Deserialising whole sections at once would stop at the first mistake and lose the places of the
//! rest. Here each key is asked for by name and kind; whoever is done calls [`Table::finish`], and
//! every key nobody asked for is an unknown one.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::base::canonical::MAX_SAFE_INTEGER;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::plan::wording::{one_of, suggest};

/// Where mistakes are collected.
pub type Report<'r> = &'r RefCell<Vec<Diagnostic>>;

/// A value of a plan as a kind of thing.
pub trait FromToml: Sized {
    /// What a person should have written, such as "a number".
    const EXPECTED: &'static str;
    /// Reads the value.
    ///
    /// # Errors
    ///
    /// What is wrong with it beyond its kind; nothing if it is of another kind.
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>>;
}

/// A table being read.
pub struct Table<'t, 'r> {
    /// How messages call it: `[candidates.ties]`.
    pub title: String,
    /// Where it is.
    pub span: Range<usize>,
    entries: Vec<(Located<String>, &'t Spanned<DeValue<'t>>)>,
    asked: Vec<&'static str>,
    report: Report<'r>,
}

impl<'t, 'r> Table<'t, 'r> {
    /// A table of the document.
    pub fn new(
        title: impl Into<String>,
        span: Range<usize>,
        table: &'t DeTable<'t>,
        report: Report<'r>,
    ) -> Self {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| (Located::new(key.get_ref().to_string(), key.span()), value))
            .collect();
        // The parser sorts by name; people mean the order they wrote.
        entries.sort_by_key(|(key, _)| key.span.start);
        Self { title: title.into(), span, entries, asked: Vec::new(), report }
    }

    /// Reports a mistake.
    pub fn mistake(&self, diagnostic: Diagnostic) {
        self.report.borrow_mut().push(diagnostic);
    }

    /// How many mistakes there are so far, in all tables.
    pub fn mistakes(&self) -> usize {
        self.report.borrow().len()
    }

    fn take(&mut self, key: &'static str) -> Option<(Located<String>, &'t Spanned<DeValue<'t>>)> {
        self.asked.push(key);
        let place = self.entries.iter().position(|(name, _)| name.value == key)?;
        Some(self.entries.remove(place))
    }

    /// The value of `key`, if it is there and right.
    pub fn optional<T: FromToml>(&mut self, key: &'static str) -> Option<Located<T>> {
        let (_, value) = self.take(key)?;
        self.read(key, value)
    }

    /// The value of `key`; its absence is a mistake.
    pub fn required<T: FromToml>(&mut self, key: &'static str) -> Option<Located<T>> {
        match self.take(key) {
            Some((_, value)) => self.read(key, value),
            None => {
                self.missing(key, T::EXPECTED);
                None
            }
        }
    }

    fn missing(&self, key: &str, what: &str) {
        let message = format!("{} needs `{key}`", self.title);
        self.mistake(
            Diagnostic::error(message, self.span.clone()).expected(format!("expected `{key}`, {what}")),
        );
    }

    /// A list under `key`; its absence is a mistake.
    pub fn required_list<T: FromToml>(&mut self, key: &'static str) -> Option<Located<Vec<Located<T>>>> {
        let list = self.list(key);
        if list.is_none() {
            self.missing(key, &format!("a list of {}", plural(T::EXPECTED)));
        }
        list
    }

    /// A list under `key`; each wrong item is its own mistake and left out. Something that is no list
    /// is one mistake and an empty list, so that nobody complains that the key is missing.
    pub fn list<T: FromToml>(&mut self, key: &'static str) -> Option<Located<Vec<Located<T>>>> {
        let (_, value) = self.take(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            let message = format!("`{key}` in {} is {}, not a list", self.title, describe(value.get_ref()));
            self.mistake(
                Diagnostic::error(message, value.span())
                    .expected(format!("expected a list of {}", plural(T::EXPECTED))),
            );
            return Some(Located::new(Vec::new(), value.span()));
        };
        let read = items.iter().filter_map(|item| self.read(key, item)).collect();
        Some(Located::new(read, value.span()))
    }

    /// A table under `key`.
    pub fn table(&mut self, key: &'static str) -> Option<Table<'t, 'r>> {
        let (_, value) = self.take(key)?;
        self.inner(format!("[{key}]"), value)
    }

    /// The tables under `key`: `[key.NAME]`, with their names.
    pub fn named_tables(&mut self, key: &'static str) -> Vec<(Located<String>, Table<'t, 'r>)> {
        let Some((_, value)) = self.take(key) else { return Vec::new() };
        let Some(outer) = self.inner(format!("[{key}]"), value) else { return Vec::new() };
        let entries = outer.entries.clone();
        entries
            .into_iter()
            .filter_map(|(name, value)| {
                let table = self.inner(format!("[{key}.{}]", name.value), value)?;
                Some((name, table))
            })
            .collect()
    }

    /// The tables under `key`: `[[key]]`.
    pub fn array_of_tables(&mut self, key: &'static str) -> Vec<Table<'t, 'r>> {
        self.tables(key).map_or_else(Vec::new, |tables| tables.value)
    }

    /// The same with their place, if the key is there.
    pub fn tables(&mut self, key: &'static str) -> Option<Located<Vec<Table<'t, 'r>>>> {
        let (_, value) = self.take(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            let message = format!("`{key}` is {}, not a list of tables", describe(value.get_ref()));
            self.mistake(
                Diagnostic::error(message, value.span())
                    .expected(format!("expected `[[{key}]]` before each of them")),
            );
            return Some(Located::new(Vec::new(), value.span()));
        };
        let tables = items.iter().filter_map(|item| self.inner(format!("[[{key}]]"), item)).collect();
        Some(Located::new(tables, value.span()))
    }

    /// Everything nobody has asked for yet, in source order, for tables with open keys.
    pub fn rest(&mut self) -> Vec<(Located<String>, &'t Spanned<DeValue<'t>>)> {
        std::mem::take(&mut self.entries)
    }

    /// Where this table's mistakes go.
    pub fn report(&self) -> Report<'r> {
        self.report
    }

    /// Ends the reading: what is left is unknown. Says how many mistakes there are then, in all tables.
    pub fn finish(mut self) -> usize {
        for (key, _) in self.rest() {
            let message = format!("unknown key `{}` in {}", key.value, self.title);
            let diagnostic = Diagnostic::error(message, key.span.clone()).expected(one_of(&self.asked));
            self.mistake(suggest(diagnostic, &key.value, &self.asked));
        }
        self.mistakes()
    }

    /// Reads one value.
    pub fn read<T: FromToml>(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<T>> {
        match T::from_toml(value.get_ref()) {
            Ok(read) => Some(Located::new(read, value.span())),
            Err(why) => {
                let message = match why {
                    Some(why) => format!("`{key}` in {}: {why}", self.title),
                    None => format!("`{key}` in {} cannot be {}", self.title, describe(value.get_ref())),
                };
                self.mistake(
                    Diagnostic::error(message, value.span()).expected(format!("expected {}", T::EXPECTED)),
                );
                None
            }
        }
    }

    fn inner(&self, title: String, value: &'t Spanned<DeValue<'t>>) -> Option<Table<'t, 'r>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Table::new(title, value.span(), table, self.report)),
            other => {
                let message = format!("{title} is {}, not a table", describe(other));
                self.mistake(Diagnostic::error(message, value.span()).expected("expected a table"));
                None
            }
        }
    }
}

/// What a value is, for people.
pub fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn plural(expected: &str) -> String {
    let Some(one) = expected.strip_prefix("a ").or_else(|| expected.strip_prefix("an ")) else {
        return expected.to_owned();
    };
    let (noun, rest) = one.split_at(one.find([' ', ',']).unwrap_or(one.len()));
    format!("{noun}s{rest}")
}

impl FromToml for String {
    const EXPECTED: &'static str = "a text in quotes";
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>> {
        value.as_str().map(str::to_owned).ok_or(None)
    }
}

impl FromToml for bool {
    const EXPECTED: &'static str = "`true` or `false`";
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>> {
        value.as_bool().ok_or(None)
    }
}

impl FromToml for f64 {
    const EXPECTED: &'static str = "a number";
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>> {
        let number = match value {
            DeValue::Integer(number) => exact(integer(number)?)?,
            DeValue::Float(number) => number.as_str().parse().map_err(|_| None)?,
            _ => return Err(None),
        };
        if number.is_finite() { Ok(number) } else { Err(Some(format!("{number} is not a finite number"))) }
    }
}

impl FromToml for u64 {
    const EXPECTED: &'static str = "a whole number";
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>> {
        match value {
            DeValue::Integer(number) => {
                let number = integer(number)?;
                let number = Self::try_from(number).map_err(|_| Some(format!("{number} is negative")))?;
                if number > MAX_SAFE_INTEGER { Err(beyond(number)) } else { Ok(number) }
            }
            _ => Err(None),
        }
    }
}

/// An amount of bytes: a number, or a text such as `"32 MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromToml for Bytes {
    const EXPECTED: &'static str =
        "an amount of bytes, such as 1048576 or \"32 MiB\" (B, kB, MB, GB, KiB, MiB, GiB)";
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>> {
        let DeValue::String(text) = value else { return u64::from_toml(value).map(Self) };
        let bytes: Self = text.parse().map_err(|()| Some(format!("{text:?} is not an amount of bytes")))?;
        if bytes.0 > MAX_SAFE_INTEGER { Err(beyond(format_args!("{text:?}"))) } else { Ok(bytes) }
    }
}

impl FromStr for Bytes {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let factor = match text[unit_at..].trim() {
            "" | "B" => Some(1),
            // Of 1000 bytes, however the k is written: those of 1024 have an i.
            "kB" | "KB" => Some(1000),
            "MB" => Some(1_000_000),
            "GB" => Some(1_000_000_000),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1_u64 << 30),
            _ => None,
        };
        let bytes =
            text[..unit_at].parse::<u64>().ok().zip(factor).and_then(|(n, factor)| n.checked_mul(factor));
        bytes.map(Self).ok_or(())
    }
}

/// What is no integer of TOML is only too long for one.
fn integer(number: &toml::de::DeInteger<'_>) -> Result<i64, Option<String>> {
    i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| beyond(number.as_str()))
}

/// The number that is meant: some large integers are no f64, and the nearest one is not what was written.
fn exact(number: i64) -> Result<f64, Option<String>> {
    let near = number as f64;
    // Wider than both: the nearest f64 may be beyond i64.
    if near as i128 == i128::from(number) { Ok(near) } else { Err(beyond(number)) }
}

/// Records are JSON, where larger integers are not the same for every reader; whoever writes one in a plan
/// is told here, not by the stage that binds it.
fn beyond(number: impl Display) -> Option<String> {
    Some(format!("{number} is too large: whole numbers up to {MAX_SAFE_INTEGER} are kept exactly"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_an_amount_of_bytes() {
        let of = |text: &str| text.parse::<Bytes>().map(|bytes| bytes.0);
        for text in ["8000", "8000 B", "8 kB", "8 KB", "8KB"] {
            assert_eq!(of(text), Ok(8000), "{text}");
        }
        assert_eq!((of("8 KiB"), of("2GiB"), of("3 GB")), (Ok(8192), Ok(2 << 30), Ok(3_000_000_000)));
        for text in ["8 K", "8 kb", "KB", "8 KB 1", "-1"] {
            assert_eq!(of(text), Err(()), "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_as_large_as_records_keep_them() {
        fn of<T: FromToml>(value: &str) -> Result<T, Option<String>> {
            let text = format!("a = {value}");
            let table = DeTable::parse(&text).unwrap();
            T::from_toml(table.get_ref().get("a").unwrap().get_ref())
        }
        let most = MAX_SAFE_INTEGER;
        assert_eq!(of::<u64>(&most.to_string()), Ok(most));
        assert_eq!(of::<Bytes>(&format!("\"{most} B\"")), Ok(Bytes(most)));
        assert_eq!(of::<f64>("9007199254740992"), Ok(9_007_199_254_740_992.0));
        let too_large = |error: Option<String>| error.unwrap().contains("up to 9007199254740991 are kept");
        for value in ["9007199254740992", "0x20000000000001", "9223372036854775807", "99999999999999999999"] {
            assert!(too_large(of::<u64>(value).unwrap_err()), "{value}");
            assert!(too_large(of::<Bytes>(value).unwrap_err()), "{value}");
        }
        assert!(too_large(of::<Bytes>("\"9007199254740992\"").unwrap_err()));
        assert!(too_large(of::<Bytes>("\"8388608 GiB\"").unwrap_err()));
        for value in ["9007199254740993", "-9007199254740993", "9223372036854775807"] {
            assert!(too_large(of::<f64>(value).unwrap_err()), "{value}");
        }
    }

    #[test]
    fn everything_wrong_is_reported_at_its_place() {
        let text = "name = 3\nsed = \"x\"\nsize = \"3 MB\"\nlimit = \"3 potatoes\"\n";
        let table = DeTable::parse(text).unwrap();
        let report = RefCell::new(Vec::new());
        let mut reader = Table::new("[cycle]", table.span(), table.get_ref(), &report);
        assert!(reader.optional::<String>("name").is_none());
        assert!(reader.optional::<String>("seed").is_none());
        assert_eq!(reader.required::<Bytes>("size").unwrap().value, Bytes(3_000_000));
        assert!(reader.required::<Bytes>("limit").is_none());
        assert!(reader.required::<f64>("other").is_none());
        reader.finish();
        let messages: Vec<_> = report.borrow().iter().map(|d| d.message.clone()).collect();
        assert_eq!(
            messages,
            [
                "`name` in [cycle] cannot be the number 3",
                "`limit` in [cycle]: \"3 potatoes\" is not an amount of bytes",
                "[cycle] needs `other`",
                "unknown key `sed` in [cycle]",
            ]
        );
        assert_eq!(report.borrow()[3].help, ["did you mean `seed`?"]);
        assert_eq!(&text[report.borrow()[3].span.clone().unwrap()], "sed");
    }
}
