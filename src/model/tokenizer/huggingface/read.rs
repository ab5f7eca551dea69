//! The file, key by key. A key that changes ids or text and is not known here is an error; so is a known
//! one with a value that is not.

use std::collections::{BTreeSet, HashMap};

use fancy_regex::Regex;
use serde_json::{Map, Value};

use super::HfTokenizer;
use super::added::{Added, AddedToken};
use super::bpe::{Bpe, Merges};
use super::decode::{Decoder, alphabet};
use super::error::{JsonError, unsupported, wrong};
use super::normalize::{Normalizer, Step};
use super::split::{Behavior, Cut, Prepend, Splitter};
use crate::base::canonical;
use crate::base::digest::Digest;

/// Longest file that is read.
const MAX_BYTES: usize = 64 << 20;

/// Ids are an index into a table: the largest one bounds it.
const MAX_ID: u32 = 1 << 22;

/// How GPT-2 cuts text.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

pub(super) fn read(bytes: &[u8]) -> Result<HfTokenizer, JsonError> {
    if bytes.len() > MAX_BYTES {
        return Err(JsonError::Long { found: bytes.len(), most: MAX_BYTES });
    }
    let mut file: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| JsonError::Json(error.to_string()))?;
    // What a batch is cut or filled to is no part of what a text means.
    for key in ["truncation", "padding", "version"] {
        file.remove(key);
    }
    let file = Value::Object(file);
    let root = Node { at: String::new(), value: &file };
    root.known(&["added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model"])?;

    let mut normalizer = Normalizer::default();
    for step in steps(root.get("normalizer"), "normalizers")? {
        normalizer.0.push(normal_step(&step)?);
    }
    let (splitter, byte_level) = pre_tokenizer(&root.get("pre_tokenizer"))?;
    let bpe = model(&root.get("model"), byte_level)?;
    let added = added_tokens(&root.get("added_tokens"))?;
    let around = post_processor(&root.get("post_processor"))?;
    let (decoder, strips_space) = decoder(&root.get("decoder"))?;
    let tokens = tokens(&bpe, &added, &decoder)?;
    let singles = singles(&bpe, &added, &decoder);
    if let Some(id) = around.iter().flatten().find(|id| tokens.get(**id as usize).is_none_or(Option::is_none))
    {
        return Err(wrong("/post_processor", format!("the id {id} is no token")));
    }
    let section = canonical::to_vec(&file).map_err(|error| JsonError::Json(error.to_string()))?;
    Ok(HfTokenizer {
        digest: Digest::of(&section),
        section,
        meaning: Default::default(),
        added: Added::new(added, &normalizer).map_err(|error| wrong("added_tokens", error))?,
        normalizer,
        splitter,
        bpe,
        around,
        tokens,
        singles,
        strips_space,
        ends: Vec::new(),
        begins: None,
    })
}

/// A value and where it stands.
struct Node<'v> {
    at: String,
    value: &'v Value,
}

static NULL: Value = Value::Null;

impl<'v> Node<'v> {
    /// The value under a key; null if there is none.
    fn get(&self, key: &str) -> Self {
        Node { at: format!("{}/{key}", self.at), value: self.value.get(key).unwrap_or(&NULL) }
    }

    fn items(&self) -> Result<Vec<Self>, JsonError> {
        let items = self.value.as_array().ok_or_else(|| wrong(&self.at, "should be a list"))?;
        Ok((0..)
            .zip(items)
            .map(|(i, value): (usize, _)| Node { at: format!("{}/{i}", self.at), value })
            .collect())
    }

    fn kind(&self) -> &'v str {
        self.value.get("type").and_then(Value::as_str).unwrap_or("of no type")
    }

    fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// Refuses keys that are not listed, `type` apart, unless they say nothing.
    fn known(&self, keys: &[&str]) -> Result<(), JsonError> {
        let object = self.value.as_object().ok_or_else(|| wrong(&self.at, "should be an object"))?;
        let stranger = |(key, value): &(&String, &Value)| {
            !keys.contains(&key.as_str())
                && *key != "type"
                && !value.is_null()
                && **value != Value::Bool(false)
        };
        match object.iter().find(stranger) {
            None => Ok(()),
            Some((key, _)) => Err(unsupported(&format!("{}/{key}", self.at), "a key")),
        }
    }

    fn text(&self) -> Result<&'v str, JsonError> {
        self.value.as_str().ok_or_else(|| wrong(&self.at, "should be a text"))
    }

    /// True or false; `usual` if nothing is said.
    fn truth(&self, usual: bool) -> Result<bool, JsonError> {
        match self.value {
            Value::Null => Ok(usual),
            Value::Bool(truth) => Ok(*truth),
            _ => Err(wrong(&self.at, "should be true or false")),
        }
    }

    fn id(&self) -> Result<u32, JsonError> {
        let id = self.value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id < MAX_ID);
        id.ok_or_else(|| wrong(&self.at, format!("should be an id below {MAX_ID}")))
    }

    /// One of the words of an enum.
    fn word<T: serde::de::DeserializeOwned>(&self) -> Result<T, JsonError> {
        serde_json::from_value(self.value.clone()).map_err(|error| wrong(&self.at, error))
    }

    fn unsupported(&self) -> JsonError {
        unsupported(&self.at, self.kind())
    }
}

/// Nothing, one step, or those of a sequence under `key`.
fn steps<'v>(node: Node<'v>, key: &str) -> Result<Vec<Node<'v>>, JsonError> {
    if node.is_null() {
        return Ok(Vec::new());
    }
    if node.kind() != "Sequence" {
        return Ok(vec![node]);
    }
    node.known(&[key])?;
    node.get(key).items()
}

/// `{"String": "..."}` or `{"Regex": "..."}`.
fn pattern(node: &Node<'_>) -> Result<Box<Regex>, JsonError> {
    node.known(&["String", "Regex"])?;
    let source = match node.get("String") {
        text if !text.is_null() => fancy_regex::escape(text.text()?).into_owned(),
        _ => node.get("Regex").text()?.to_owned(),
    };
    Regex::new(&source).map(Box::new).map_err(|error| wrong(&node.at, error))
}

fn normal_step(node: &Node<'_>) -> Result<Step, JsonError> {
    match node.kind() {
        "NFC" => Ok(Step::Nfc),
        "NFD" => Ok(Step::Nfd),
        "NFKC" => Ok(Step::Nfkc),
        "NFKD" => Ok(Step::Nfkd),
        "Lowercase" => Ok(Step::Lowercase),
        "Prepend" => Ok(Step::Prepend(node.get("prepend").text()?.to_owned())),
        "Replace" => {
            node.known(&["pattern", "content"])?;
            Ok(Step::Replace(pattern(&node.get("pattern"))?, node.get("content").text()?.to_owned()))
        }
        "Strip" => Ok(Step::Strip(node.get("strip_left").truth(true)?, node.get("strip_right").truth(true)?)),
        _ => Err(node.unsupported()),
    }
}

/// The steps, and whether they end in bytes: then the model's tokens are written in GPT-2's alphabet.
fn pre_tokenizer(node: &Node<'_>) -> Result<(Splitter, bool), JsonError> {
    let mut cuts = Vec::new();
    let mut byte_level = false;
    for step in steps(Node { at: node.at.clone(), value: node.value }, "pretokenizers")? {
        if byte_level {
            return Err(wrong(&step.at, "comes after `ByteLevel`, which must be the last step"));
        }
        byte_level = step.kind() == "ByteLevel";
        cut(&step, &mut cuts)?;
    }
    Ok((Splitter(cuts), byte_level))
}

fn cut(node: &Node<'_>, cuts: &mut Vec<Cut>) -> Result<(), JsonError> {
    let by = |source: &str, behavior, invert| {
        let pattern = Regex::new(source).map(Box::new).map_err(|error| wrong(&node.at, error))?;
        Ok::<_, JsonError>(Cut::Pattern { pattern, behavior, invert })
    };
    let cut = match node.kind() {
        "ByteLevel" => {
            node.known(&["add_prefix_space", "trim_offsets", "use_regex"])?;
            cuts.extend(node.get("add_prefix_space").truth(true)?.then_some(Cut::Space));
            if !node.get("use_regex").truth(true)? {
                return Ok(());
            }
            by(GPT2, Behavior::Isolated, false)?
        }
        "Split" => {
            node.known(&["pattern", "behavior", "invert"])?;
            let pattern = pattern(&node.get("pattern"))?;
            let invert = node.get("invert").truth(false)?;
            Cut::Pattern { pattern, behavior: node.get("behavior").word()?, invert }
        }
        "Digits" => {
            node.known(&["individual_digits"])?;
            let single = node.get("individual_digits").truth(false)?;
            by(r"\p{N}", if single { Behavior::Isolated } else { Behavior::Contiguous }, false)?
        }
        "Punctuation" => {
            node.known(&["behavior"])?;
            by(r"[!-/:-@\[-`{-~\p{P}]", node.get("behavior").word()?, false)?
        }
        "WhitespaceSplit" => by(r"\s", Behavior::Removed, false)?,
        "Metaspace" => {
            node.known(&["replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"])?;
            let scheme = node.get("prepend_scheme");
            let prepend = if scheme.is_null() {
                // Older files say it this way.
                if node.get("add_prefix_space").truth(true)? { Prepend::Always } else { Prepend::Never }
            } else {
                scheme.word()?
            };
            let replacement = node.get("replacement").text()?.to_owned();
            Cut::Metaspace { replacement, prepend, split: node.get("split").truth(true)? }
        }
        _ => return Err(node.unsupported()),
    };
    cuts.push(cut);
    Ok(())
}

fn model(node: &Node<'_>, byte_level: bool) -> Result<Bpe, JsonError> {
    if !["BPE", "of no type"].contains(&node.kind()) {
        return Err(node.unsupported());
    }
    for key in ["dropout", "continuing_subword_prefix", "end_of_word_suffix"] {
        let setting = node.get(key);
        if !setting.is_null() && setting.value.as_str() != Some("") && setting.value.as_f64() != Some(0.0) {
            return Err(unsupported(&setting.at, setting.value));
        }
    }
    node.known(&[
        "dropout",
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "unk_token",
        "fuse_unk",
        "byte_fallback",
        "ignore_merges",
        "vocab",
        "merges",
    ])?;
    let vocab = vocabulary(&node.get("vocab"))?;
    let merges = merges(&node.get("merges"), &vocab)?;
    let fallback = node.get("byte_fallback").truth(false)?.then(|| {
        let byte = |byte: u8| {
            let own = vocab.get(&format!("<0x{byte:02X}>"));
            // A character that is a token is never spelled in bytes, and these bytes are in no other one.
            let character =
                || vocab.get(char::from(byte).encode_utf8(&mut [0; 4])).filter(|_| byte.is_ascii());
            own.or_else(character).copied()
        };
        (0..=255).map(byte).collect::<Option<Vec<u32>>>()
    });
    if fallback == Some(None) {
        return Err(wrong(&node.get("byte_fallback").at, "the vocabulary has not all of <0x00> to <0xFF>"));
    }
    let unknown = node.get("unk_token");
    let unknown = if unknown.is_null() {
        None
    } else {
        let text = unknown.text()?;
        let id = vocab.get(text).ok_or_else(|| wrong(&unknown.at, format!("{text:?} is no token")))?;
        Some((*id, node.get("fuse_unk").truth(false)?))
    };
    let ignore_merges = node.get("ignore_merges").truth(false)?;
    Ok(Bpe { vocab, merges, byte_level, ignore_merges, fallback: fallback.flatten(), unknown })
}

fn vocabulary(node: &Node<'_>) -> Result<HashMap<String, u32>, JsonError> {
    let entries = node.value.as_object().ok_or_else(|| wrong(&node.at, "should be an object"))?;
    entries.keys().map(|text| Ok((text.clone(), node.get(text).id()?))).collect()
}

fn merges(node: &Node<'_>, vocab: &HashMap<String, u32>) -> Result<Merges, JsonError> {
    let items = node.value.as_array().ok_or_else(|| wrong(&node.at, "should be a list"))?;
    let mut merges = HashMap::with_capacity(items.len());
    for (rank, merge) in (0_u32..).zip(items) {
        // Older files join the two by a space.
        let pair = match merge {
            Value::String(text) => text.split_once(' '),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(left), Value::String(right)] => Some((left.as_str(), right.as_str())),
                _ => None,
            },
            _ => None,
        };
        let at = || format!("{}/{rank}", node.at);
        let (left, right) = pair.ok_or_else(|| wrong(&at(), "should be two texts"))?;
        let id = |text: &str| {
            let id = vocab.get(text).copied();
            id.ok_or_else(|| wrong(&at(), format!("{text:?} is not in the vocabulary")))
        };
        merges.insert((id(left)?, id(right)?), (rank, id(&format!("{left}{right}"))?));
    }
    Ok(merges)
}

fn added_tokens(node: &Node<'_>) -> Result<Vec<AddedToken>, JsonError> {
    if node.is_null() {
        return Ok(Vec::new());
    }
    let read = |token: Node<'_>| {
        token.known(&["id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"])?;
        Ok(AddedToken {
            id: token.get("id").id()?,
            content: token.get("content").text()?.to_owned(),
            single_word: token.get("single_word").truth(false)?,
            lstrip: token.get("lstrip").truth(false)?,
            rstrip: token.get("rstrip").truth(false)?,
            normalized: token.get("normalized").truth(true)?,
            special: token.get("special").truth(false)?,
        })
    };
    node.items()?.into_iter().map(read).collect()
}

/// The ids before and after those of a text.
fn post_processor(node: &Node<'_>) -> Result<[Vec<u32>; 2], JsonError> {
    let mut around = [Vec::new(), Vec::new()];
    for step in steps(Node { at: node.at.clone(), value: node.value }, "processors")? {
        match step.kind() {
            // It moves offsets, which nobody asks for here.
            "ByteLevel" => {}
            "TemplateProcessing" => {
                let [before, after] = template(&step)?;
                around[0].splice(0..0, before);
                around[1].extend(after);
            }
            _ => return Err(step.unsupported()),
        }
    }
    Ok(around)
}

fn template(node: &Node<'_>) -> Result<[Vec<u32>; 2], JsonError> {
    let mut around = [Vec::new(), Vec::new()];
    let mut texts = 0;
    let single = node.get("single");
    for piece in single.items()? {
        if !piece.get("Sequence").is_null() {
            texts += 1;
            continue;
        }
        let name = piece.get("SpecialToken").get("id").text()?;
        let ids = node.get("special_tokens").get(name).get("ids");
        for id in ids.items()? {
            around[usize::from(texts > 0)].push(id.id()?);
        }
    }
    if texts == 1 { Ok(around) } else { Err(wrong(&single.at, "should have the text once")) }
}

/// How tokens become bytes, and whether the text then loses a space in front.
fn decoder(node: &Node<'_>) -> Result<(Decoder, bool), JsonError> {
    let (mut replace, mut bytes, mut strips) = (Vec::new(), false, false);
    for step in steps(Node { at: node.at.clone(), value: node.value }, "decoders")? {
        match step.kind() {
            "ByteLevel" if replace.is_empty() && !bytes && !strips => return Ok((Decoder::ByteLevel, false)),
            "Replace" => {
                let from = step.get("pattern").get("String").text()?.to_owned();
                replace.push((from, step.get("content").text()?.to_owned()));
            }
            "ByteFallback" => bytes = true,
            // One text out of many: what comes after looks at its ends.
            "Fuse" => {}
            "Strip" => {
                let (start, stop) = (step.get("start"), step.get("stop"));
                let one_space = step.get("content").value.as_str() == Some(" ")
                    && start.value.as_u64() == Some(1)
                    && stop.value.as_u64() == Some(0);
                if !one_space {
                    return Err(unsupported(&step.at, step.value));
                }
                strips = true;
            }
            "Metaspace" => {
                replace.push((step.get("replacement").text()?.to_owned(), " ".to_owned()));
                let scheme = step.get("prepend_scheme");
                strips = if scheme.is_null() {
                    step.get("add_prefix_space").truth(true)?
                } else {
                    scheme.word::<Prepend>()? != Prepend::Never
                };
            }
            _ => return Err(step.unsupported()),
        }
    }
    if node.is_null() {
        return Err(unsupported(&node.at, "nothing, so ids become words apart"));
    }
    Ok((Decoder::Pieces { replace, bytes }, strips))
}

/// The ids that stand for single bytes.
fn singles(bpe: &Bpe, added: &[AddedToken], decoder: &Decoder) -> BTreeSet<u32> {
    let is_single = |text: &str| decoder.single(text).is_some();
    let own = bpe.vocab.iter().filter(|(text, _)| is_single(text)).map(|(_, id)| *id);
    let mut found: BTreeSet<u32> = own.collect();
    for token in added {
        let _ = match !token.special && is_single(&token.content) {
            true => found.insert(token.id),
            false => found.remove(&token.id),
        };
    }
    found
}

/// The bytes of every id: none for special ones.
fn tokens(bpe: &Bpe, added: &[AddedToken], decoder: &Decoder) -> Result<Vec<Option<Box<[u8]>>>, JsonError> {
    let largest = bpe.vocab.values().copied().chain(added.iter().map(|token| token.id)).max();
    let Some(largest) = largest else { return Err(wrong("/model/vocab", "there are no tokens")) };
    let alphabet = alphabet();
    let mut tokens = vec![None; largest as usize + 1];
    let mut twice = None;
    for (text, id) in &bpe.vocab {
        let bytes = decoder.bytes(text, &alphabet).into_boxed_slice();
        // The smallest, so that the message does not hang on the order of a map.
        if tokens[*id as usize].replace(bytes).is_some() {
            twice = Some(twice.map_or(*id, |other: u32| other.min(*id)));
        }
    }
    if let Some(id) = twice {
        return Err(wrong("/model/vocab", format!("the id {id} has two tokens")));
    }
    for token in added {
        let bytes = if token.special { Vec::new() } else { decoder.bytes(&token.content, &alphabet) };
        tokens[token.id as usize] = Some(bytes.into_boxed_slice());
    }
    Ok(tokens)
}
