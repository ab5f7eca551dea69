//! A configuration: what the file says, checked key by key, every mistake at once.
//!
//! Whatever is not supported is refused by its name. A recipe that is read and not carried out as
//! written would be another recipe.

mod template;
mod token_rows;
mod tokenizer;

use std::ops::Range;

use super::method::{METHODS, Method};
use super::setting::{Arm, Gradient, Setting, Settings};
use super::yaml::{self, Content, Node};
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::base::wording::{one_of, suggest};
use crate::tensor::dtype::DType;

pub use template::ChatTemplate;
pub use token_rows::{RowSource, TokenRow};
pub use tokenizer::{ByToken, TokenSource};

/// A merge.
#[derive(Debug)]
pub struct Config {
    /// How.
    pub method: &'static Method,
    /// The base model, as written.
    pub base: Option<Located<String>>,
    /// What the child consists of, from the first layer to the last.
    pub slices: Slices,
    /// Parameters of the whole merge.
    pub settings: Settings,
    /// How the child is stored, if not as the model it is like.
    pub dtype: Option<DType>,
    /// Rows by token, if it asks for them.
    pub by_token: Option<ByToken>,
    /// The child's chat template, if it asks for one.
    pub chat_template: Option<ChatTemplate>,
}

/// What a child consists of.
#[derive(Debug)]
pub enum Slices {
    /// Whole models.
    Whole(Vec<Source>),
    /// Layers of models, stacked.
    Stacked(Vec<Slice>),
}

/// Some layers of the child.
#[derive(Debug)]
pub struct Slice {
    /// Where they come from.
    pub sources: Vec<Source>,
    /// Parameters of this slice.
    pub settings: Settings,
    /// Its place.
    pub span: Range<usize>,
}

/// A model that takes part.
#[derive(Debug)]
pub struct Source {
    /// The model, as written.
    pub model: Located<String>,
    /// Which of its layers; all of a whole model.
    pub layers: Option<Range<usize>>,
    /// Parameters of this model.
    pub settings: Settings,
}

/// Longest text that is read.
const MAX_BYTES: usize = 1 << 20;

/// Reads a configuration.
///
/// # Errors
///
/// Its mistakes, in the order of the file; one alone if it has more than 1 MiB or is no YAML that
/// [`yaml::read`] takes.
pub fn parse(text: &str) -> Result<Config, Vec<Diagnostic>> {
    if text.len() > MAX_BYTES {
        let message = format!("{} bytes are too many for a merge", text.len());
        return Err(vec![Diagnostic::error(message, 0..0).expected("expected a merge configuration")]);
    }
    let root = yaml::read(text).map_err(|mistake| vec![mistake])?;
    let mut reader = Reader { mistakes: Vec::new() };
    let config = reader.config(&root);
    reader.mistakes.sort_by_key(|mistake| mistake.span.as_ref().map_or(0, |span| span.start));
    match config {
        Some(config) if reader.mistakes.is_empty() => Ok(config),
        _ => Err(reader.mistakes),
    }
}

const KEYS: &[&str] = &[
    "merge_method",
    "models",
    "slices",
    "base_model",
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer_source",
    "tokenizer",
    "chat_template",
    "name",
];

struct Reader {
    mistakes: Vec<Diagnostic>,
}

type Entries<'n> = &'n [(Located<String>, Node)];

fn get<'n>(entries: Entries<'n>, key: &str) -> Option<&'n Node> {
    let node = entries.iter().find(|(name, _)| name.value == key).map(|(_, node)| node);
    node.filter(|node| !node.is_nothing())
}

impl Reader {
    fn mistake(&mut self, message: impl Into<String>, span: &Range<usize>, expected: impl Into<String>) {
        self.mistakes.push(Diagnostic::error(message, span.clone()).expected(expected));
    }

    fn config(&mut self, root: &Node) -> Option<Config> {
        let entries = self.map(root, "the configuration", KEYS)?;
        let method = self.method(entries);
        let base = get(entries, "base_model").and_then(|node| self.model(node));
        let settings = self.settings(entries, method);
        let dtype = self.dtype(entries);
        let by_token = self.tokenizer(entries);
        let chat_template = self.chat_template(entries);
        let slices = match (get(entries, "models"), get(entries, "slices")) {
            (Some(models), None) => Some(Slices::Whole(self.sources(models, "models", method, false))),
            (None, Some(slices)) => Some(Slices::Stacked(self.slices(slices, method))),
            (Some(_), Some(slices)) => {
                self.mistake("there are `models` and `slices`", &slices.span, "expected one of them");
                None
            }
            (None, None) => {
                self.mistake("no model is named", &(0..0), "expected `models` or `slices`");
                None
            }
        };
        let method = method?;
        if method.base.is_required() && base.is_none() && get(entries, "base_model").is_none() {
            let message = format!("`{}` needs a base model", method.name);
            self.mistake(message, &(0..0), "expected `base_model`");
        }
        Some(Config { method, base, slices: slices?, settings, dtype, by_token, chat_template })
    }

    fn map<'n>(&mut self, node: &'n Node, what: &str, keys: &[&str]) -> Option<Entries<'n>> {
        let Content::Map(entries) = &node.content else {
            let message = format!("{what} is {}", node.describe());
            self.mistake(message, &node.span, "expected a mapping of keys to values");
            return None;
        };
        for (key, _) in entries.iter().filter(|(key, _)| !keys.contains(&key.value.as_str())) {
            let unknown = Diagnostic::error(format!("{what} has no `{}` here", key.value), key.span.clone());
            self.mistakes.push(suggest(unknown.expected(one_of(keys)), &key.value, keys));
        }
        Some(entries)
    }

    fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.content {
            Content::List(items) => items,
            _ => {
                let message = format!("`{what}` is {}", node.describe());
                self.mistake(message, &node.span, "expected a list");
                &[]
            }
        }
    }

    fn text(&mut self, node: &Node, what: &str) -> Option<Located<String>> {
        match node.text() {
            Some(text) if !text.is_empty() => Some(Located::new(text.to_owned(), node.span.clone())),
            _ => {
                let message = format!("`{what}` is {}", node.describe());
                self.mistake(message, &node.span, "expected a text");
                None
            }
        }
    }

    fn method(&mut self, entries: Entries<'_>) -> Option<&'static Method> {
        let Some(node) = get(entries, "merge_method") else {
            self.mistake("the method is not named", &(0..0), "expected `merge_method`");
            return None;
        };
        let name = self.text(node, "merge_method")?;
        let found = METHODS.iter().find(|method| method.name == name.value);
        if found.is_none() {
            let known: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
            let message = format!("`{}` is no merge method", name.value);
            let mistake = Diagnostic::error(message, name.span.clone()).expected(one_of(&known));
            self.mistakes.push(suggest(mistake, &name.value, &known));
        }
        found
    }

    /// A model as a text, or as mergekit's own mapping of it: `{model: {path: MODEL}, lora: {path: ADAPTER}}`.
    fn model(&mut self, node: &Node) -> Option<Located<String>> {
        if !matches!(node.content, Content::Map(_)) {
            return self.text(node, "model");
        }
        let entries = self.map(node, "a model", &["model", "lora", "path"])?;
        if get(entries, "model").is_none() {
            return self.path(node);
        }
        let mut place = |key: &str| get(entries, key).map(|node| self.path(node));
        match (place("model")??, place("lora")) {
            (model, None) => Some(model),
            (model, Some(adapter)) => {
                Some(Located::new(format!("{}+{}", model.value, adapter?.value), node.span.clone()))
            }
        }
    }

    fn path(&mut self, node: &Node) -> Option<Located<String>> {
        if !matches!(node.content, Content::Map(_)) {
            return self.text(node, "path");
        }
        let entries = self.map(node, "a path", &["path"])?;
        match get(entries, "path") {
            Some(path) => self.text(path, "path"),
            None => {
                self.mistake("this names no model", &node.span, "expected `path`");
                None
            }
        }
    }

    fn sources(
        &mut self,
        node: &Node,
        what: &str,
        method: Option<&'static Method>,
        sliced: bool,
    ) -> Vec<Source> {
        let keys: &[&str] =
            if sliced { &["model", "layer_range", "parameters"] } else { &["model", "parameters"] };
        let mut found = Vec::new();
        for item in self.list(node, what) {
            let Some(entries) = self.map(item, "a model's entry", keys) else { continue };
            let settings = self.settings(entries, method);
            self.no_shared(&settings, method);
            let Some(model) = get(entries, "model") else {
                self.mistake("this entry names no model", &item.span, "expected `model`");
                continue;
            };
            let Some(model) = self.model(model) else { continue };
            let layers = if sliced { self.layers(entries, &item.span) } else { None };
            if !sliced && found.iter().any(|other: &Source| other.model.value == model.value) {
                let message = format!("`{}` is named twice", model.value);
                self.mistake(message, &model.span, "expected every model once");
            }
            if !sliced || layers.is_some() {
                found.push(Source { model, layers, settings });
            }
        }
        found
    }

    /// Under a model, what is one for all models would change nothing.
    fn no_shared(&mut self, settings: &Settings, method: Option<&'static Method>) {
        for (name, setting) in settings {
            if method.is_some_and(|method| method.is_shared(name)) {
                let message =
                    format!("`{name}` is one for all models, and changes nothing under one of them");
                self.mistake(
                    message,
                    &setting.span,
                    "expected it under `parameters` of the merge or a slice",
                );
            }
        }
    }

    fn layers(&mut self, entries: Entries<'_>, place: &Range<usize>) -> Option<Range<usize>> {
        let Some(node) = get(entries, "layer_range") else {
            self.mistake("no layers are named", place, "expected `layer_range: [FIRST, END]`");
            return None;
        };
        let numbers: Vec<Option<usize>> = self.list(node, "layer_range").iter().map(Node::whole).collect();
        match numbers[..] {
            [Some(first), Some(end)] if first < end => Some(first..end),
            _ => {
                let expected = "expected two whole numbers, the first layer and the one after the last";
                self.mistake("these are no layers", &node.span, expected);
                None
            }
        }
    }

    fn slices(&mut self, node: &Node, method: Option<&'static Method>) -> Vec<Slice> {
        let mut slices = Vec::new();
        for item in self.list(node, "slices") {
            let Some(entries) = self.map(item, "a slice", &["sources", "parameters"]) else { continue };
            let settings = self.settings(entries, method);
            let Some(sources) = get(entries, "sources") else {
                self.mistake("this slice has no sources", &item.span, "expected `sources`");
                continue;
            };
            let sources = self.sources(sources, "sources", method, true);
            let count = |source: &Source| source.layers.as_ref().map_or(0, Range::len);
            if let Some(other) = sources.iter().find(|source| count(source) != count(&sources[0])) {
                let (found, expected) = (count(other), count(&sources[0]));
                let message = format!("`{}` gives {found} layers to this slice", other.model.value);
                self.mistake(message, &other.model.span, format!("expected {expected}, as from the first"));
            }
            slices.push(Slice { sources, settings, span: item.span.clone() });
        }
        slices
    }

    fn dtype(&mut self, entries: Entries<'_>) -> Option<DType> {
        let mut read = |key: &str| {
            let text = self.text(get(entries, key)?, key)?;
            let dtype = match text.value.as_str() {
                "float32" => Some(DType::F32),
                "float16" => Some(DType::F16),
                "bfloat16" => Some(DType::BF16),
                "float64" => Some(DType::F64),
                _ => None,
            };
            if dtype.is_none() {
                let message = format!("`{key}` cannot be `{}`", text.value);
                self.mistake(message, &text.span, "expected float32, float16, bfloat16 or float64");
            }
            dtype
        };
        let (computed, out) = (read("dtype"), read("out_dtype"));
        out.or(computed)
    }

    fn settings(&mut self, entries: Entries<'_>, method: Option<&'static Method>) -> Settings {
        let Some(node) = get(entries, "parameters") else { return Settings::new() };
        let Content::Map(given) = &node.content else {
            let message = format!("`parameters` is {}", node.describe());
            self.mistake(message, &node.span, "expected a mapping of parameters to values");
            return Settings::new();
        };
        let mut settings = Settings::new();
        for (name, value) in given {
            if let Some(method) = method {
                let known: Vec<&str> = method.takes.iter().map(|takes| takes.name).collect();
                if method.idle.contains(&name.value.as_str()) {
                    // It changes nothing; what is written there is a value nevertheless.
                    self.setting(&name.value, value);
                    continue;
                }
                if !method.is_instead(&name.value) && !known.contains(&name.value.as_str()) {
                    let message = format!("`{}` has no parameter `{}`", method.name, name.value);
                    let mistake = Diagnostic::error(message, name.span.clone()).expected(one_of(&known));
                    self.mistakes.push(suggest(mistake, &name.value, &known));
                    continue;
                }
            }
            let is_flag = method.is_some_and(|method| method.is_flag(&name.value));
            let setting = self.setting(&name.value, value);
            let setting =
                if is_flag { setting.and_then(|it| self.flags(&name.value, it, value)) } else { setting };
            if let Some(setting) = setting {
                settings.insert(name.value.clone(), Located::new(setting, value.span.clone()));
            }
        }
        settings
    }

    /// Numbers where something is on or off: they are not interpolated.
    fn flags(&mut self, name: &str, mut setting: Setting, node: &Node) -> Option<Setting> {
        for arm in &mut setting.arms {
            let Gradient::Numbers(numbers) = &arm.value else { continue };
            if let Some(number) = numbers.iter().find(|number| ![0.0, 1.0].contains(*number)) {
                let message = format!("`{name}` is {number}");
                self.mistake(message, &node.span, "expected `true` or `false`, or 1 or 0 for them");
                return None;
            }
            arm.value = Gradient::Flags(numbers.iter().map(|number| *number != 0.0).collect());
        }
        Some(setting)
    }

    fn setting(&mut self, name: &str, node: &Node) -> Option<Setting> {
        let arms = match &node.content {
            Content::List(items) if items.iter().any(|item| matches!(item.content, Content::Map(_))) => {
                items.iter().map(|item| self.arm(name, item)).collect::<Option<Vec<_>>>()?
            }
            Content::Map(_) => vec![self.arm(name, node)?],
            _ => vec![Arm { filter: None, value: self.gradient(name, node)? }],
        };
        Some(Setting { arms })
    }

    fn arm(&mut self, name: &str, node: &Node) -> Option<Arm> {
        let entries = self.map(node, "a filter", &["filter", "value"])?;
        let filter = match get(entries, "filter") {
            None => None,
            Some(filter) => Some(self.text(filter, "filter")?.value).filter(|filter| filter != "*"),
        };
        let Some(value) = get(entries, "value") else {
            self.mistake(format!("this filter of `{name}` has no value"), &node.span, "expected `value`");
            return None;
        };
        Some(Arm { filter, value: self.gradient(name, value)? })
    }

    fn gradient(&mut self, name: &str, node: &Node) -> Option<Gradient> {
        let items = match &node.content {
            Content::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            self.mistake(format!("the gradient of `{name}` is empty"), &node.span, "expected numbers");
            return None;
        }
        let numbers: Option<Vec<f64>> = items.iter().map(Node::number).collect();
        let flags: Option<Vec<bool>> = items.iter().map(Node::flag).collect();
        match (numbers, flags) {
            (Some(numbers), _) => Some(Gradient::Numbers(numbers)),
            (None, Some(flags)) => Some(Gradient::Flags(flags)),
            (None, None) => {
                let message = format!("`{name}` is {}", node.describe());
                self.mistake(message, &node.span, "expected a number, `true`, `false`, or a list of them");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
