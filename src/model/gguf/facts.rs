//! Facts: named values before the tensors.
//!
//! Every count is checked against the bytes that are left before anything is allocated for it, so a
//! file cannot ask for more memory than a small multiple of its own length.

use super::read::GgufError;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// A single-precision number.
    F32(f32),
    /// A double-precision number.
    F64(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(String),
    /// Bytes: an array of u8.
    Bytes(Vec<u8>),
    /// Any other array; all of one kind.
    List(Vec<Fact>),
}

/// Facts in file order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts(Vec<(String, Fact)>);

/// The codes of value types.
pub(super) mod kind {
    pub(in super::super) const U8: u32 = 0;
    pub(in super::super) const I8: u32 = 1;
    pub(in super::super) const U16: u32 = 2;
    pub(in super::super) const I16: u32 = 3;
    pub(in super::super) const U32: u32 = 4;
    pub(in super::super) const I32: u32 = 5;
    pub(in super::super) const F32: u32 = 6;
    pub(in super::super) const BOOL: u32 = 7;
    pub(in super::super) const TEXT: u32 = 8;
    pub(in super::super) const LIST: u32 = 9;
    pub(in super::super) const U64: u32 = 10;
    pub(in super::super) const I64: u32 = 11;
    pub(in super::super) const F64: u32 = 12;
}

impl Facts {
    /// The fact called `name`.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, fact)| fact)
    }

    /// An unsigned number called `name`; a signed one that is not negative will do.
    pub fn unsigned(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Fact::Unsigned(number) => Some(*number),
            Fact::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A number called `name`.
    pub fn number(&self, name: &str) -> Option<f32> {
        match self.get(name)? {
            Fact::F32(number) => Some(*number),
            Fact::F64(number) => Some(*number as f32),
            _ => None,
        }
    }

    /// The text called `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Fact::Text(text) => Some(text),
            _ => None,
        }
    }

    /// All of them, in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.0.iter().map(|(name, fact)| (name.as_str(), fact))
    }

    /// Number of facts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a fact at the end.
    pub fn push(&mut self, name: impl Into<String>, fact: Fact) {
        self.0.push((name.into(), fact));
    }
}

/// Bytes being read from front to back.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], GgufError> {
        let cut = || GgufError::Cut { at: self.at, what };
        let end = self.at.checked_add(count).ok_or_else(cut)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(cut)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let taken = self.take(N, what)?;
        Ok(std::array::from_fn(|i| taken[i]))
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of things that take at least `least` bytes each: never more than there can be.
    pub(super) fn count(&mut self, least: usize, what: &'static str) -> Result<usize, GgufError> {
        let at = self.at;
        let found = self.u64(what)?;
        let most = (self.bytes.len() - self.at) / least;
        usize::try_from(found).ok().filter(|count| *count <= most).ok_or(GgufError::Count {
            at,
            what,
            found,
            most,
        })
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<String, GgufError> {
        let length = self.count(1, what)?;
        let at = self.at;
        let bytes = self.take(length, what)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| GgufError::Text { at, what })
    }

    fn value(&mut self, code: u32, inside: bool) -> Result<Fact, GgufError> {
        const WHAT: &str = "a value";
        Ok(match code {
            kind::U8 => Fact::Unsigned(u64::from(self.array::<1>(WHAT)?[0])),
            kind::I8 => Fact::Signed(i64::from(i8::from_le_bytes(self.array(WHAT)?))),
            kind::U16 => Fact::Unsigned(u64::from(u16::from_le_bytes(self.array(WHAT)?))),
            kind::I16 => Fact::Signed(i64::from(i16::from_le_bytes(self.array(WHAT)?))),
            kind::U32 => Fact::Unsigned(u64::from(self.u32(WHAT)?)),
            kind::I32 => Fact::Signed(i64::from(i32::from_le_bytes(self.array(WHAT)?))),
            kind::U64 => Fact::Unsigned(self.u64(WHAT)?),
            kind::I64 => Fact::Signed(i64::from_le_bytes(self.array(WHAT)?)),
            kind::F32 => Fact::F32(f32::from_le_bytes(self.array(WHAT)?)),
            kind::F64 => Fact::F64(f64::from_le_bytes(self.array(WHAT)?)),
            kind::BOOL => match self.array::<1>(WHAT)?[0] {
                0 => Fact::Bool(false),
                1 => Fact::Bool(true),
                _ => return Err(GgufError::Bool { at: self.at - 1 }),
            },
            kind::TEXT => Fact::Text(self.text("a text")?),
            // Lists of lists are allowed by the format, and nothing has any.
            kind::LIST if !inside => self.list()?,
            code => return Err(GgufError::Kind { at: self.at, code }),
        })
    }

    fn list(&mut self) -> Result<Fact, GgufError> {
        let code = self.u32("the kind of a list")?;
        let least = match code {
            kind::U8 | kind::I8 | kind::BOOL => 1,
            kind::U16 | kind::I16 => 2,
            kind::U32 | kind::I32 | kind::F32 => 4,
            _ => 8,
        };
        let count = self.count(least, "the length of a list")?;
        if code == kind::U8 {
            return Ok(Fact::Bytes(self.take(count, "a list of bytes")?.to_vec()));
        }
        (0..count).map(|_| self.value(code, true)).collect::<Result<_, _>>().map(Fact::List)
    }

    /// So many facts; a name that comes twice is an error.
    pub(super) fn facts(&mut self, count: usize) -> Result<Facts, GgufError> {
        let mut names = std::collections::HashSet::new();
        let mut facts = Facts::default();
        for _ in 0..count {
            let at = self.at;
            let name = self.text("the name of a fact")?;
            let code = self.u32("the kind of a fact")?;
            let fact = self.value(code, false)?;
            if !names.insert(name.clone()) {
                return Err(GgufError::Twice { at, what: "fact", name });
            }
            facts.push(name, fact);
        }
        Ok(facts)
    }
}

/// Writes facts as the format has them.
pub(super) fn encode(facts: &Facts, out: &mut Vec<u8>) {
    for (name, fact) in facts.iter() {
        put_text(name, out);
        out.extend_from_slice(&code_of(fact).to_le_bytes());
        put(fact, out);
    }
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn code_of(fact: &Fact) -> u32 {
    match fact {
        Fact::Unsigned(number) if u32::try_from(*number).is_ok() => kind::U32,
        Fact::Unsigned(_) => kind::U64,
        Fact::Signed(number) if i32::try_from(*number).is_ok() => kind::I32,
        Fact::Signed(_) => kind::I64,
        Fact::F32(_) => kind::F32,
        Fact::F64(_) => kind::F64,
        Fact::Bool(_) => kind::BOOL,
        Fact::Text(_) => kind::TEXT,
        Fact::Bytes(_) | Fact::List(_) => kind::LIST,
    }
}

fn put(fact: &Fact, out: &mut Vec<u8>) {
    match fact {
        Fact::Unsigned(number) => match u32::try_from(*number) {
            Ok(number) => out.extend_from_slice(&number.to_le_bytes()),
            Err(_) => out.extend_from_slice(&number.to_le_bytes()),
        },
        Fact::Signed(number) => match i32::try_from(*number) {
            Ok(number) => out.extend_from_slice(&number.to_le_bytes()),
            Err(_) => out.extend_from_slice(&number.to_le_bytes()),
        },
        Fact::F32(number) => out.extend_from_slice(&number.to_le_bytes()),
        Fact::F64(number) => out.extend_from_slice(&number.to_le_bytes()),
        Fact::Bool(truth) => out.push(u8::from(*truth)),
        Fact::Text(text) => put_text(text, out),
        Fact::Bytes(bytes) => {
            out.extend_from_slice(&kind::U8.to_le_bytes());
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        Fact::List(facts) => {
            // One kind for all: the widest of theirs.
            let code = facts.iter().map(code_of).max().unwrap_or(kind::U32);
            out.extend_from_slice(&code.to_le_bytes());
            out.extend_from_slice(&(facts.len() as u64).to_le_bytes());
            facts.iter().for_each(|fact| put_as(code, fact, out));
        }
    }
}

fn put_as(code: u32, fact: &Fact, out: &mut Vec<u8>) {
    match (code, fact) {
        (kind::U64, Fact::Unsigned(number)) => out.extend_from_slice(&number.to_le_bytes()),
        (kind::I64, Fact::Signed(number)) => out.extend_from_slice(&number.to_le_bytes()),
        (_, fact) => put(fact, out),
    }
}
