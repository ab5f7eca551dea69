//! The writer: values of every kind that serde knows, members sorted, nothing rounded.

use serde::{Serialize, ser};
use serde_json::Value;

use super::{CanonicalError, MAX_DEPTH, MAX_SAFE_INTEGER};

pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
}

/// An array or object being written. Object members wait here until they can be sorted.
pub(super) struct Compound<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
    items: usize,
    members: Vec<(String, Vec<u8>)>,
    key: Option<String>,
    /// Opened by `{"Variant":`, to be closed once more.
    wrapped: bool,
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\r' => out.extend_from_slice(b"\\r"),
            control if control < ' ' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(control)).as_bytes());
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, depth: 0 }
    }

    fn raw(self, text: &str) -> Result<(), CanonicalError> {
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn integer(self, value: i128) -> Result<(), CanonicalError> {
        if value.unsigned_abs() > u128::from(MAX_SAFE_INTEGER) {
            return Err(CanonicalError::Write(format!(
                "integer {value} is beyond 2^53-1; it must be written as a string"
            )));
        }
        self.raw(&value.to_string())
    }

    fn open(self, bracket: &str, wrapped: bool) -> Result<Compound<'a>, CanonicalError> {
        if self.depth >= MAX_DEPTH {
            return Err(CanonicalError::Write(format!("nesting deeper than {MAX_DEPTH}")));
        }
        self.out.extend_from_slice(bracket.as_bytes());
        let depth = self.depth + 1;
        Ok(Compound { out: self.out, depth, items: 0, members: Vec::new(), key: None, wrapped })
    }

    fn variant(&mut self, variant: &str) {
        self.out.push(b'{');
        write_string(self.out, variant);
        self.out.push(b':');
    }
}

macro_rules! integers {
    ($($integer:ident $method:ident),*) => {$(
        fn $method(self, value: $integer) -> Result<(), CanonicalError> {
            self.integer(value.into())
        }
    )*};
}

impl<'a> ser::Serializer for Writer<'a> {
    type Ok = ();
    type Error = CanonicalError;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = Compound<'a>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Compound<'a>;
    type SerializeStructVariant = Compound<'a>;

    fn serialize_bool(self, value: bool) -> Result<(), CanonicalError> {
        self.raw(if value { "true" } else { "false" })
    }
    integers!(i8 serialize_i8, i16 serialize_i16, i32 serialize_i32, i64 serialize_i64);
    integers!(u8 serialize_u8, u16 serialize_u16, u32 serialize_u32, u64 serialize_u64);

    fn serialize_f32(self, value: f32) -> Result<(), CanonicalError> {
        self.serialize_f64(value.into())
    }
    fn serialize_f64(self, value: f64) -> Result<(), CanonicalError> {
        if !value.is_finite() {
            return Err(CanonicalError::Write(format!("{value} is not a JSON number")));
        }
        self.raw(ryu_js::Buffer::new().format_finite(value))
    }
    fn serialize_char(self, value: char) -> Result<(), CanonicalError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }
    fn serialize_str(self, value: &str) -> Result<(), CanonicalError> {
        write_string(self.out, value);
        Ok(())
    }
    fn serialize_bytes(self, _: &[u8]) -> Result<(), CanonicalError> {
        Err(CanonicalError::Write("raw bytes have no JSON form".to_owned()))
    }
    fn serialize_none(self) -> Result<(), CanonicalError> {
        self.raw("null")
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CanonicalError> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), CanonicalError> {
        self.raw("null")
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CanonicalError> {
        self.raw("null")
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), CanonicalError> {
        self.serialize_str(variant)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        self.variant(variant);
        value.serialize(Writer { out: self.out, depth: self.depth + 1 })?;
        self.raw("}")
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'a>, CanonicalError> {
        self.open("[", false)
    }
    fn serialize_tuple(self, _: usize) -> Result<Compound<'a>, CanonicalError> {
        self.open("[", false)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'a>, CanonicalError> {
        self.open("[", false)
    }
    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, CanonicalError> {
        self.variant(variant);
        self.open("[", true)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'a>, CanonicalError> {
        self.open("{", false)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Compound<'a>, CanonicalError> {
        self.open("{", false)
    }
    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, CanonicalError> {
        self.variant(variant);
        self.open("{", true)
    }
}

impl Compound<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        if self.items > 0 {
            self.out.push(b',');
        }
        self.items += 1;
        value.serialize(Writer { out: self.out, depth: self.depth })
    }

    fn member<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), CanonicalError> {
        let mut out = Vec::new();
        value.serialize(Writer { out: &mut out, depth: self.depth })?;
        self.members.push((key, out));
        Ok(())
    }

    fn close_array(self) -> Result<(), CanonicalError> {
        self.out.extend_from_slice(if self.wrapped { b"]}" } else { b"]" });
        Ok(())
    }

    fn close_object(mut self) -> Result<(), CanonicalError> {
        // RFC 8785, 3.2.3: members are sorted by the UTF-16 code units of their names.
        self.members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        for (i, (key, value)) in self.members.iter().enumerate() {
            if i > 0 {
                if self.members[i - 1].0 == *key {
                    return Err(CanonicalError::Write(format!("duplicate key {key:?}")));
                }
                self.out.push(b',');
            }
            write_string(self.out, key);
            self.out.push(b':');
            self.out.extend_from_slice(value);
        }
        self.out.extend_from_slice(if self.wrapped { b"}}" } else { b"}" });
        Ok(())
    }
}

macro_rules! array_like {
    ($($trait:ident $method:ident),*) => {$(
        impl ser::$trait for Compound<'_> {
            type Ok = ();
            type Error = CanonicalError;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
                self.item(value)
            }
            fn end(self) -> Result<(), CanonicalError> {
                self.close_array()
            }
        }
    )*};
}
array_like!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

macro_rules! object_like {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Compound<'_> {
            type Ok = ();
            type Error = CanonicalError;
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), CanonicalError> {
                self.member(key.to_owned(), value)
            }
            fn end(self) -> Result<(), CanonicalError> {
                self.close_object()
            }
        }
    )*};
}
object_like!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = CanonicalError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CanonicalError> {
        match serde_json::to_value(key).map_err(|error| CanonicalError::Write(error.to_string()))? {
            Value::String(text) => self.key = Some(text),
            other => {
                return Err(CanonicalError::Write(format!("an object key must be text, not {other}")));
            }
        }
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        let key = self.key.take().expect("serde calls serialize_key first");
        self.member(key, value)
    }
    fn end(self) -> Result<(), CanonicalError> {
        self.close_object()
    }
}
