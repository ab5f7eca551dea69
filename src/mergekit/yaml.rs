//! YAML to a tree of nodes, each with its place in the text.
//!
//! The parser gives events; types are not guessed from them: a scalar keeps its text, and who asks
//! for a number parses one. So `1e-3`, which is a text to one version of YAML and a number to the
//! next, is a number wherever a number is wanted, and `no` is never a surprise where a name is.
//!
//! What can grow without bound is bounded: the text, the depth, and the nodes that aliases stand for.
//! Tags, merge keys, several documents and one key twice are refused: a recipe that means something by
//! them would be read as something else.

use std::collections::BTreeMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;

/// Deepest nesting.
const MAX_DEPTH: usize = 32;
/// Most nodes, those that aliases stand for included.
const MAX_NODES: usize = 50_000;

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The value.
    pub content: Content,
    /// Its bytes in the text; those of the alias, for what an alias stands for.
    pub span: Range<usize>,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A scalar as written, without quotes and escapes.
    Scalar {
        /// The text.
        text: String,
        /// Whether it stood without quotes, so that it may be more than a text.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in written order.
    Map(Vec<(Located<String>, Node)>),
}

impl Node {
    /// Whether nothing is written here: no value at all, `~` or `null`.
    pub fn is_nothing(&self) -> bool {
        match &self.content {
            Content::Scalar { text, plain: true } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A finite number, in quotes or not. Neither `010`, which is eight to some, nor `1:30`.
    pub fn number(&self) -> Option<f64> {
        let text = self.text()?.trim();
        let digits = text.trim_start_matches(['+', '-']);
        let octal = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
        let begins = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if octal || !begins || text.len() > digits.len() + 1 {
            return None;
        }
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A whole number of zero or more.
    pub fn whole(&self) -> Option<usize> {
        let text = self.text()?;
        (self.number().is_some() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse().ok())
            .flatten()
    }

    /// Yes or no, in the words the field's tool takes.
    pub fn flag(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" | "1.0" | "y" | "t" => Some(true),
            "false" | "no" | "off" | "0" | "0.0" | "n" | "f" => Some(false),
            _ => None,
        }
    }

    /// What it is, for people.
    pub fn describe(&self) -> String {
        match &self.content {
            _ if self.is_nothing() => "nothing".to_owned(),
            Content::Scalar { text, plain: true } if self.number().is_some() => text.clone(),
            Content::Scalar { text, .. } => {
                format!("the text {:?}", text.chars().take(40).collect::<String>())
            }
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a mapping".to_owned(),
        }
    }

    fn nodes(&self) -> usize {
        let inner: usize = match &self.content {
            Content::Scalar { .. } => 0,
            Content::List(items) => items.iter().map(Self::nodes).sum(),
            Content::Map(entries) => entries.iter().map(|(_, value)| value.nodes()).sum(),
        };
        inner + 1
    }
}

/// Reads a text with one document.
///
/// # Errors
///
/// The first mistake, with its place: text that is no YAML, no document or a second one, a tag, a merge key, a
/// key that is no text or comes twice, an alias of what it is part of, more than 50,000 values, or values
/// nested deeper than 32.
pub fn read(text: &str) -> Result<Node, Diagnostic> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        places: places(text),
        anchors: BTreeMap::new(),
        nodes: 0,
    };
    reader.document()
}

/// The byte at which each character begins, and the end: the parser counts characters.
fn places(text: &str) -> Vec<usize> {
    text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect()
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    places: Vec<usize>,
    /// Finished nodes that an alias may stand for.
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Result<Node, Diagnostic> {
        let mut root = None;
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(Diagnostic::error("there is a second document", place)
                        .expected("expected the end of the file")
                        .help("give every merge a file of its own"));
                }
                Event::StreamStart | Event::Nothing | Event::DocumentStart(_) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, place, 0)?),
            }
        }
        root.ok_or_else(|| Diagnostic::error("the file is empty", 0..0).expected("expected a merge"))
    }

    fn next(&mut self) -> Result<(Event<'t>, Range<usize>), Diagnostic> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let place = self.place(span);
                Ok((event, place))
            }
            Some(Err(error)) => {
                let at = self.byte(error.marker().index());
                let message = format!("this is not YAML: {}", error.info());
                Err(Diagnostic::error(message, at..at).expected("expected something else here"))
            }
            None => Ok((Event::StreamEnd, 0..0)),
        }
    }

    fn byte(&self, character: usize) -> usize {
        self.places.get(character).or(self.places.last()).copied().unwrap_or(0)
    }

    fn place(&self, span: Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }

    fn count(&mut self, nodes: usize, place: &Range<usize>) -> Result<(), Diagnostic> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(Diagnostic::error(format!("there are more than {MAX_NODES} values"), place.clone())
                .expected("expected fewer values")
                .help("what aliases stand for counts each time"));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'t>, place: Range<usize>, depth: usize) -> Result<Node, Diagnostic> {
        if depth > MAX_DEPTH {
            return Err(Diagnostic::error(format!("values are nested deeper than {MAX_DEPTH}"), place)
                .expected("expected less nesting"));
        }
        self.count(1, &place)?;
        let (anchor, tag, node) = match event {
            Event::Alias(anchor) => return self.alias(anchor, place),
            Event::Scalar(text, style, anchor, tag) => {
                let content = Content::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                (anchor, tag, Node { content, span: place.clone() })
            }
            Event::SequenceStart(anchor, tag) => (anchor, tag, self.list(place.clone(), depth)?),
            Event::MappingStart(anchor, tag) => (anchor, tag, self.map(place.clone(), depth)?),
            _ => return Err(Diagnostic::error("a value is missing", place).expected("expected a value")),
        };
        if let Some(tag) = tag {
            return Err(Diagnostic::error(format!("tags such as `{tag}` are not supported"), place)
                .expected("expected a plain value"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, place: Range<usize>) -> Result<Node, Diagnostic> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Diagnostic::error("this alias stands for something it is itself part of", place)
                .expected("expected an alias of a finished value"));
        };
        let node = Node { content: node.content.clone(), span: place.clone() };
        self.count(node.nodes(), &place)?;
        Ok(node)
    }

    fn list(&mut self, place: Range<usize>, depth: usize) -> Result<Node, Diagnostic> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, end) => {
                    return Ok(Node { content: Content::List(items), span: around(place, end) });
                }
                (event, place) => items.push(self.node(event, place, depth + 1)?),
            }
        }
    }

    fn map(&mut self, place: Range<usize>, depth: usize) -> Result<Node, Diagnostic> {
        let mut entries: Vec<(Located<String>, Node)> = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, end) => {
                    return Ok(Node { content: Content::Map(entries), span: around(place, end) });
                }
                (event, place) => self.node(event, place, depth + 1)?,
            };
            let key = key_of(key)?;
            if entries.iter().any(|(known, _)| known.value == key.value) {
                return Err(Diagnostic::error(format!("`{}` comes twice", key.value), key.span)
                    .expected("expected each key once"));
            }
            let (event, place) = self.next()?;
            entries.push((key, self.node(event, place, depth + 1)?));
        }
    }
}

/// From the opening to the end of the last line that belongs to it.
fn around(start: Range<usize>, end: Range<usize>) -> Range<usize> {
    start.start..end.end.max(start.end)
}

fn key_of(node: Node) -> Result<Located<String>, Diagnostic> {
    match node.content {
        Content::Scalar { text, .. } if text != "<<" => Ok(Located::new(text, node.span)),
        Content::Scalar { .. } => Err(Diagnostic::error("merge keys are not supported", node.span)
            .expected("expected the keys themselves")),
        _ => Err(Diagnostic::error("a key must be a text", node.span).expected("expected a text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::diagnostic::position;
    use proptest::prelude::*;

    fn refused(text: &str) -> (String, (usize, usize)) {
        let error = read(text).expect_err(text);
        let place = position(&error, text);
        (error.message, place)
    }

    #[test]
    fn nodes_know_their_places() {
        let text = "é: [1, two]\nb:\n  - c: 'x y'\n";
        let root = read(text).unwrap();
        let Content::Map(entries) = &root.content else { panic!("{root:?}") };
        assert_eq!(&text[entries[0].0.span.clone()], "é");
        let Content::List(items) = &entries[0].1.content else { panic!() };
        assert_eq!(&text[items[1].span.clone()], "two");
        let Content::List(items) = &entries[1].1.content else { panic!() };
        let Content::Map(inner) = &items[0].content else { panic!() };
        assert_eq!(&text[inner[0].1.span.clone()], "'x y'");
        assert_eq!(inner[0].1.text(), Some("x y"));
    }

    #[test]
    fn scalars_are_what_is_asked_for() {
        let node =
            |text: &str| Node { content: Content::Scalar { text: text.to_owned(), plain: true }, span: 0..0 };
        for (text, number) in
            [("1", 1.0), ("-0.5", -0.5), ("1e-3", 0.001), (".5", 0.5), ("+2", 2.0), ("0", 0.0)]
        {
            assert_eq!(node(text).number(), Some(number), "{text}");
        }
        for text in ["010", "1:30", "nan", "inf", ".inf", "1e999", "x", "", "--1", "+-1", "0x10"] {
            assert_eq!(node(text).number(), None, "{text}");
        }
        assert_eq!((node("32").whole(), node("3.0").whole(), node("-1").whole()), (Some(32), None, None));
        assert_eq!(
            (node("Yes").flag(), node("off").flag(), node("2").flag()),
            (Some(true), Some(false), None)
        );
        assert!(node("~").is_nothing() && node("").is_nothing() && !node("0").is_nothing());
    }

    #[test]
    fn what_would_be_misread_is_refused() {
        assert_eq!(refused("a: 1\na: 2\n"), ("`a` comes twice".to_owned(), (2, 1)));
        assert_eq!(refused("a: 1\n---\nb: 2\n").0, "there is a second document");
        assert_eq!(refused("a: !!float 1\n").0, "tags such as `tag:yaml.org,2002:!float` are not supported");
        assert_eq!(refused("a: &x {b: 1}\nc:\n  <<: *x\n"), ("merge keys are not supported".into(), (3, 3)));
        assert_eq!(refused("a: &x [*x]\n").0, "this alias stands for something it is itself part of");
        assert_eq!(refused("").0, "the file is empty");
        let (message, place) = refused("a: [1, 2\nb: 3\n");
        assert!(message.starts_with("this is not YAML: "), "{message}");
        assert_eq!(place.0, 2);
        assert!(refused(&"[".repeat(100)).0.contains("nested deeper"));
        assert!(refused(&"[".repeat(5000)).0.contains("limit exceeded"));
        assert!(refused(&"- ".repeat(5000)).0.contains("nested deeper"));
    }

    /// "A billion laughs": ten aliases of ten aliases of ...
    #[test]
    fn aliases_cannot_grow_without_bound() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let inner = vec![format!("*a{}", level - 1); 10].join(", ");
            text += &format!("a{level}: &a{level} [{inner}]\n");
        }
        assert!(refused(&text).0.contains("more than 50000 values"));
        assert!(read("a: &x 0.5\nb: [*x, *x]\n").is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_a_tree_or_a_mistake(text in "[-a&*:\\[\\]{}, \n'\"#|>!?<~0é]{0,60}") {
            if let Err(error) = read(&text) {
                prop_assert!(error.span.is_some());
            }
        }
    }
}
