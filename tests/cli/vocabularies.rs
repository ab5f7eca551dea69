//! What makes ids of text goes from `.slm` to GGUF and back; of other people's GGUF files it becomes an
//! `.slm` tokenizer where both make the same ids of every text, and is refused with the reason where not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use studbook::base::rng::Philox;
use studbook::convert::{Options, Target, convert};
use studbook::model::gguf::facts::{Fact, Facts};
use studbook::model::slm1::write::write_values;
use studbook::model::slm1::{Encoding, Layout};
use studbook::model::tokenizer::{Bpe1, Merge, Tokenizer};
use studbook::model::{ModelConfig, Package, WriteError, open_package};
use studbook::runtime::{Model, Session};
use studbook::tensor::dtype::DType;

use crate::space::{Space, config, model};

const TEXTS: [&str; 7] = ["", "a", "the other", "tttheé €", "  x\n\n3", "it's 'the 👍", "\u{0}<bos>\u{7f}"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn open(path: &Path) -> Package {
    open_package(path).unwrap().package
}

fn logits(package: &Package, tokens: &[u32]) -> Vec<f32> {
    let model = Model::new(Arc::new(package.checkpoint().unwrap())).unwrap();
    Session::new(&model, 64).unwrap().feed_all(tokens).unwrap().to_vec()
}

/// Pairs over the whole text, one of them not of the bytes it says, an id that stands for nothing.
fn pairs() -> Tokenizer {
    let tokens = [(260, "th"), (261, "the"), (262, "e "), (264, "xy")];
    let merges = [(116, 104, 260), (260, 101, 261), (101, 32, 262), (97, 98, 264)];
    let tokens = tokens.map(|(id, text)| (id, text.as_bytes().to_vec())).to_vec();
    let merge = |(rank, (left, right, output))| Merge { left, right, output, rank };
    Tokenizer::Bpe1(Bpe1::new(266, tokens, (0..).zip(merges).map(merge).collect()).unwrap().into())
}

fn slm(tokenizer: &Tokenizer, dtype: DType) -> Vec<u8> {
    let config = ModelConfig { vocab_size: tokenizer.vocab_size(), special_token_count: 5, ..config() };
    // Rows of eight.
    let encoding = if dtype == DType::Q4_0 { Encoding::q4(4) } else { Encoding::new(dtype) };
    let layout = Layout::new(&config, tokenizer, encoding).unwrap();
    let mut bytes = Vec::new();
    write_values::<WriteError>(&layout, &mut bytes, |tensor, start, out| {
        let random = Philox::for_purpose(&["vocabularies", &tensor.name]);
        out.iter_mut().zip(start..).for_each(|(out, i)| *out = (random.unit(i as u64) - 0.5) as f32);
        Ok(())
    })
    .unwrap();
    bytes
}

#[test]
fn an_slm_file_comes_back_from_gguf_with_its_ids_and_logits() {
    let space = Space::empty();
    for tokenizer in [Tokenizer::Btok, pairs()] {
        for dtype in [DType::F32, DType::Q8_0, DType::Q4_0] {
            space.write("a.slm", &slm(&tokenizer, dtype));
            space.studbook(&["convert", "a.slm", "a.gguf", "--force"]).exits(0);
            space.studbook(&["convert", "a.gguf", "b.slm", "--force"]).exits(0);
            let [a, there, b] = ["a.slm", "a.gguf", "b.slm"].map(|name| open(&space.path(name)));
            assert_eq!(b.tokenizer.as_ref(), Ok(&tokenizer));
            assert_eq!(there.tokenizer, b.tokenizer);
            assert_eq!((&a.config, &there.config), (&b.config, &b.config));
            let ids = b.tokenizer.as_ref().unwrap().encode(&TEXTS.concat()).unwrap();
            assert_eq!(ids, tokenizer.encode(&TEXTS.concat()).unwrap());
            for package in [&there, &b] {
                let (found, expected) = (logits(package, &ids), logits(&a, &ids));
                // Of what was quantised, the weights are the same and sums are rounded elsewhere.
                let most = if dtype == DType::F32 { 0.0 } else { 1e-5 };
                assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= most), "{dtype}");
                assert_eq!(found.len(), expected.len());
            }
            for tensor in a.weights.tensors() {
                let back = b.weights.tensor(tensor.name).unwrap();
                assert!(back.to_f32() == tensor.to_f32(), "{}", tensor.name);
            }
            let [before, after] = ["a.slm", "b.slm"].map(|name| std::fs::read(space.path(name)).unwrap());
            assert!(dtype != DType::F32 || before == after);
        }
    }
    // A file whose section was damaged is not read as if it had none.
    let mut bytes = std::fs::read(space.path("a.gguf")).unwrap();
    let at = bytes.windows(4).position(|window| window == b"BPE1").unwrap();
    bytes[at + 4] = 9;
    space.write("a.gguf", &bytes);
    let said = space.studbook(&["convert", "a.gguf", "c.slm"]).exits(2);
    said.complains("`studbook.tokenizer.slm1`: tokenizer version 9");
    assert!(!space.path("c.slm").exists());
}

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

/// Files that the package `gguf` wrote. The ids are those of the library `tokenizers`, which cuts text as the
/// file says before it merges; the logits those of the library transformers.
#[test]
fn vocabularies_of_bytes_and_characters_become_slm_tokenizers() {
    let space = Space::empty();
    let convert = |name: &str| {
        let (from, to) = (fixture(&format!("gguf/{name}.gguf")), format!("{name}.slm"));
        space.studbook(&["convert", from.to_str().unwrap(), &to]).exits(0);
        (open(&from), open(&space.path(&to)))
    };
    let (there, pairs) = convert("pairs");
    let tokenizer = pairs.tokenizer.clone().unwrap();
    assert_eq!((tokenizer.kind(), tokenizer.vocab_size()), ("BPE1", 268));
    let cases = std::fs::read(fixture("gguf/pairs.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    assert!(cases.len() > 5);
    for Case { text, ids } in &cases {
        assert_eq!(tokenizer.encode_prompt(text).unwrap(), *ids, "{text:?}");
        assert_eq!(tokenizer.decode(ids).unwrap(), *text);
        assert!(logits(&there, ids) == logits(&pairs, ids), "{text:?}");
    }
    let words = |name: &str| {
        space
            .studbook(&["generate", name, "--prompt", "é€", "--max-tokens", "12", "--temperature", "2"])
            .exits(0)
            .out
    };
    assert_eq!(words("pairs.slm"), words(fixture("gguf/pairs.gguf").to_str().unwrap()));
    // The names of its special tokens are only in the file; a folder has them, and comes back the same.
    let from = fixture("gguf/pairs.gguf");
    space.studbook(&["convert", from.to_str().unwrap(), "folder", "--to", "hugging-face"]).exits(0);
    assert!(space.read("folder/tokenizer.json").contains("\"<unk>\""));
    space.studbook(&["convert", "folder", "again.slm"]).exits(0);
    assert!(
        std::fs::read(space.path("pairs.slm")).unwrap() == std::fs::read(space.path("again.slm")).unwrap()
    );

    let (there, bytes) = convert("bytes");
    assert_eq!(bytes.tokenizer, Ok(Tokenizer::Btok));
    #[derive(serde::Deserialize)]
    struct Reference {
        tokens: Vec<u32>,
        rows: Vec<usize>,
        cases: Vec<Logits>,
    }
    #[derive(serde::Deserialize)]
    struct Logits {
        name: String,
        logits: Vec<Vec<f32>>,
    }
    let reference = std::fs::read(fixture("transformers/logits.json")).unwrap();
    let Reference { tokens, rows, cases } = serde_json::from_slice(&reference).unwrap();
    let theirs = &cases.iter().find(|case| case.name == "llama-untied").unwrap().logits;
    let ours = logits(&bytes, &tokens);
    assert!(ours == logits(&there, &tokens));
    for (row, theirs) in rows.iter().zip(theirs) {
        let ours = &ours[row * 260..(row + 1) * 260];
        assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-4), "row {row}");
    }
}

/// The vocabulary of a file is that of an `.slm` file, so both are parents of one child.
#[test]
fn a_gguf_file_and_an_slm_file_are_bred_together() {
    let space = Space::empty();
    space.write("one.gguf", &std::fs::read(fixture("gguf/pairs.gguf")).unwrap());
    space.studbook(&["convert", "one.gguf", "two.slm"]).exits(0);
    let plan = "[cycle]\nname = \"mixed\"\nseed = \"7\"\nformat = \"slm\"\n\n\
                [budget]\ncandidates = 1\nartifact = \"1 MiB\"\ndisk = \"8 MiB\"\nseconds = 600\n\n\
                [parents.one]\nsource = \"one.gguf\"\n\n[parents.two]\nsource = \"two.slm\"\n\n\
                [candidates.same]\noperator = \"blend\"\nparents = [\"one\", \"two\"]\nweight = 0.5\n\n\
                [smoke]\nprompts = [\"ab\"]\nmax_tokens = 2\n\n\
                [[gate]]\nname = \"size\"\nkind = \"metric\"\nmetric = \"artifact_bytes\"\nmax = 1000000\n";
    space.write("plan.toml", plan.as_bytes());
    space.studbook(&["run", "plan.toml"]).exits(0).says("admitted");
    space.studbook(&["diff", "two.slm", ".studbook/runs/mixed/04-operator/same.slm", "--exit-code"]).exits(0);
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says("MATCH");
    // One that cannot be a tokenizer of an `.slm` file makes no such child, and the plan says so.
    let names = changed(&space, "other.gguf", &|name, fact| match name {
        "eos_token_id" => Some(Fact::Unsigned(97)),
        _ => Some(fact),
    });
    space.edit("plan.toml", "one.gguf", names);
    let said = space.studbook(&["check", "plan.toml"]).exits(2);
    said.complains("no child like `one` can be made").complains("`tokenizer.ggml.eos_token_id` is 97");
}

/// `pairs.gguf` with other facts of its tokenizer.
fn changed<'n>(space: &Space, name: &'n str, change: &dyn Fn(&str, Fact) -> Option<Fact>) -> &'n str {
    let mut package = open(&fixture("gguf/pairs.gguf"));
    let mut facts = Facts::default();
    for (name, fact) in package.facts.as_ref().unwrap().iter() {
        let fact = match name.strip_prefix("tokenizer.ggml.") {
            None => Some(fact.clone()),
            Some(short) => change(short, fact.clone()),
        };
        fact.into_iter().for_each(|fact| facts.push(name, fact));
    }
    package.facts = Some(Arc::new(facts));
    let options = Options {
        target: Target::Gguf,
        dtype: None,
        shard: None,
        tokenizer: None,
        without_tokenizer: false,
        replace: true,
    };
    convert(&package, &package.weights, options, &space.path(name), &|| false).unwrap();
    name
}

#[test]
fn what_slm_tokenizers_cannot_say_is_refused_with_the_reason() {
    let space = Space::empty();
    let text = |text: &str| Fact::Text(text.to_owned());
    let refused = |change: &dyn Fn(&str, Fact) -> Option<Fact>, why: &str| {
        let file = changed(&space, "x.gguf", change);
        let said = space.studbook(&["convert", file, "x.slm"]).exits(2);
        said.complains("cannot be written as slm1").complains(why).complains("--tokenizer FILE");
        assert!(!space.path("x.slm").exists());
    };
    let instead = |wanted: &'static str, other: Fact| {
        move |name: &str, fact: Fact| Some(if name == wanted { other.clone() } else { fact })
    };
    for (model, why) in [
        ("llama", "its model `llama` is sentencepiece's pieces and scores"),
        ("bert", "its model `bert` is WordPiece"),
        ("t5", "its model `t5` is sentencepiece's unigram model"),
        ("own", "its model `own` is not known here"),
    ] {
        refused(&instead("model", text(model)), why);
    }
    refused(&instead("pre", text("qwen2")), "`qwen2` (`tokenizer.ggml.pre`) composes characters");
    refused(
        &instead("pre", text("superbpe")),
        "how `superbpe` (`tokenizer.ggml.pre`) cuts text is not known",
    );
    refused(&instead("eos_token_id", Fact::Unsigned(2)), "`tokenizer.ggml.eos_token_id` is 2; in .slm");
    refused(&instead("add_bos_token", Fact::Bool(false)), "does not put BOS, the id 256, in front of a text");
    refused(
        &|name, fact| (name != "eos_token_id").then_some(fact),
        "`tokenizer.ggml.eos_token_id` is missing",
    );

    // One token or its type.
    let place = |wanted: &'static str, at: usize, other: Fact| {
        move |name: &str, fact: Fact| match (name == wanted, fact) {
            (true, Fact::List(mut items)) => {
                items[at] = other.clone();
                Some(Fact::List(items))
            }
            (_, fact) => Some(fact),
        }
    };
    refused(&place("tokens", 97, text("!!")), "its token 97 is \"!!\"; in .slm tokenizers the ids 0 to 255");
    refused(&place("token_type", 257, Fact::Signed(4)), "the token \"</s>\" is looked for in the text");
    refused(&place("token_type", 258, Fact::Signed(1)), "no special token has the id 258");
    refused(&place("token_type", 267, Fact::Signed(3)), "besides pieces of text it has the token");
    refused(&place("merges", 7, text("t h")), "merge 7 names a token that is not there");
    // A merge over the boundary of two characters.
    let english = |name: &str, fact: Fact| {
        place("merges", 7, text("t h"))(name, fact)
            .and_then(|fact| place("tokens", 267, text("th"))(name, fact))
    };
    refused(&english, "the token \"th\" could lie across a cut");
    // Another one that fits is at hand.
    space.write("given.slm", &slm(&pairs_of_rows(268), DType::F32));
    changed(&space, "x.gguf", &english);
    space.studbook(&["convert", "x.gguf", "x.slm", "--tokenizer", "given.slm"]).exits(0);
    space.write("btok.slm", &model(&config(), "a", DType::F32));
    let said = space.studbook(&["convert", "x.gguf", "y.slm", "--tokenizer", "btok.slm"]).exits(2);
    said.complains("the tokenizer has 260 ids and the model 268");

    // A file that names no cut, or any of these, cuts nothing that matters.
    let same = |change: &dyn Fn(&str, Fact) -> Option<Fact>| {
        changed(&space, "x.gguf", change);
        space.studbook(&["convert", "x.gguf", "x.slm", "--force"]).exits(0);
        open(&space.path("x.slm")).tokenizer.unwrap()
    };
    let expected = open(&fixture("gguf/pairs.gguf")).tokenizer.unwrap();
    for pre in ["smollm", "llama-bpe", "default"] {
        assert_eq!(same(&instead("pre", text(pre))), expected, "{pre}");
    }
    assert_eq!(same(&|name, fact| (name != "pre").then_some(fact)), expected);
    // A folder's tokenizer is refused with its reason, too.
    let folder = fixture("mergekit/tokens");
    let said = space.studbook(&["convert", folder.to_str().unwrap(), "l.slm"]).exits(2);
    said.complains("a tokenizer.json cannot be an SLM1 tokenizer: ");
}

/// A tokenizer of so many ids, most of which stand for nothing.
fn pairs_of_rows(rows: u32) -> Tokenizer {
    Tokenizer::Bpe1(Bpe1::new(rows, Vec::new(), Vec::new()).unwrap().into())
}
