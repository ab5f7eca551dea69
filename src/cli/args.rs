//! What can be typed.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Breed small language models offline, with evidence.
///
/// A breeding cycle is declared in a TOML plan. Studbook compiles it to stages, runs them with
/// content-addressed caching, and leaves a record of every step: what was combined, how to compute
/// it again, what was measured, and who admitted it.
#[derive(Debug, Parser)]
#[command(name = "studbook", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(super) struct Args {
    /// Where results are kept; `.studbook` beside the plan by default
    #[arg(long, global = true, env = "STUDBOOK_STORE", value_name = "DIR")]
    pub(super) store: Option<PathBuf>,
    /// Signing keys; the folder `keys` beside the plan by default
    #[arg(long, global = true, env = "STUDBOOK_KEYS", value_name = "DIR")]
    pub(super) keys: Option<PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(super) color: Color,
    /// Print results and errors only
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    /// Say more; repeat for more still
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Threads for arithmetic; all cores by default. Results do not depend on it
    #[arg(long, short = 'j', global = true, value_name = "N")]
    pub(super) threads: Option<NonZeroUsize>,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  complete; refused candidates are results, not errors
    1  a stage failed, or `diff --exit-code` found a difference
    2  a mistake in the plan or on the command line
    3  done, but gates are pending
    4  verification failed
    5  the environment failed: disk, permissions, store
   70  a bug in studbook
  130  interrupted";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a commented plan that runs
    Init(Init),
    /// Check a plan: every mistake with its place
    Check(PlanOnly),
    /// Dry run: what would run and why, and which gates are pending; writes nothing
    Plan(Planned),
    /// Run a plan; what is unchanged is not run again
    Run(Run),
    /// How far a cycle is
    Status(Planned),
    /// Who is ranked where, and which differences are more than chance
    Review(Planned),
    /// Bring an approval for a pending gate, or the results of another harness
    Attest(Attest),
    /// Explain why a stage would run: exactly what differs from its last key
    Why(Why),
    /// Draw a plan's stages
    Graph(Graph),
    /// What candidates can be made by: operators, their parameters, ranges and sources
    Operators(Operators),
    /// Show a model file or an adapter: header, tokenizer, tensors, digests
    Inspect(Inspect),
    /// Carry out a mergekit configuration, without a plan
    Merge(Merge),
    /// Write a model as another format
    Convert(Convert),
    /// How far two models are apart, tensor by tensor
    Diff(Diff),
    /// Write what a model has and its base has not as an adapter
    Extract(Extract),
    /// Generate text with a model
    Generate(Generate),
    /// Write a candidate's whole dossier as one folder that can be checked anywhere
    Export(Export),
    /// Check everything a cycle's records bind, or a dossier
    Verify(Verify),
    /// Run the smoke prompts in a browser: evidence for gates of the kind `browser_smoke`
    Smoke(Smoke),
    /// Admitted models in a folder for browsers
    Registry(Registry),
    /// Read and check the promotion ledger
    Ledger(Ledger),
    /// Make signing keys, and show their public halves
    Keys(Keys),
    /// Whom a candidate comes from, to the roots, over all cycles
    Lineage(Lineage),
    /// Take something back for cause: it and all that descends from it
    Revoke(Revoke),
    /// No longer offer an admitted candidate, without blame
    Retire(Retire),
    /// Make an earlier admission the registry's default again
    Rollback(Retire),
    /// Print a completion script for a shell
    Completions(Completions),
}

#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The plan to write
    #[arg(default_value = "cycle.toml")]
    pub(super) plan: PathBuf,
    /// Models to combine, of any format; every .slm file beside the plan by default
    #[arg(long = "parent", value_name = "MODEL")]
    pub(super) parents: Vec<PathBuf>,
    /// The model the parents were fine-tuned from
    #[arg(long, value_name = "MODEL")]
    pub(super) base: Option<PathBuf>,
    /// Cases to measure on, as JSON Lines: of exact match, multiple choice, or texts for bits per byte
    #[arg(long = "suite", value_name = "CASES")]
    pub(super) suites: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct PlanOnly {
    /// The plan file
    pub(super) plan: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct Planned {
    /// The plan file
    pub(super) plan: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The plan file
    pub(super) plan: PathBuf,
    /// Start nothing new after the first failure; by default other candidates go on
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Attest {
    /// The plan file
    pub(super) plan: PathBuf,
    /// The candidate; for a suite, a parent too
    pub(super) candidate: String,
    /// The approval gate
    #[arg(long, required_unless_present = "suite", conflicts_with = "suite")]
    pub(super) gate: Option<String>,
    /// Instead of a gate: the external suite that results are brought for
    #[arg(long, requires = "results", requires = "samples")]
    pub(super) suite: Option<String>,
    /// The results file of lm-evaluation-harness
    #[arg(long, value_name = "JSON", requires = "suite")]
    pub(super) results: Option<PathBuf>,
    /// Its samples file
    #[arg(long, value_name = "JSONL", requires = "suite")]
    pub(super) samples: Option<PathBuf>,
    /// Who approves, or brings
    #[arg(long, value_name = "NAME")]
    pub(super) by: String,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    /// Sign it with this approver's key; a gate that names keys counts nothing else
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// Reject instead of approve
    #[arg(long)]
    pub(super) reject: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Why {
    /// The plan file
    pub(super) plan: PathBuf,
    /// The stage, such as operator:ties
    pub(super) stage: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Graph {
    /// The plan file
    pub(super) plan: PathBuf,
    /// The notation
    #[arg(long, value_enum, default_value_t = Notation::Mermaid)]
    pub(super) format: Notation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Notation {
    /// For Markdown pages
    Mermaid,
    /// For Graphviz
    Dot,
}

#[derive(Debug, clap::Args)]
pub(super) struct Operators {
    /// One of them, with its parameters
    pub(super) operator: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The model or adapter: a file, or a folder
    pub(super) model: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Merge {
    /// The configuration, a YAML file
    pub(super) config: PathBuf,
    /// What to write: a folder where the models are folders, else a safetensors file
    pub(super) out: PathBuf,
    /// What all randomness derives from
    #[arg(long, default_value = "0", value_name = "TEXT")]
    pub(super) seed: String,
    /// Most bytes of tensors in one file of a folder, such as "2 GiB"; by default 5 GB
    #[arg(long, alias = "shard-size", value_name = "SIZE", value_parser = size)]
    pub(super) shard: Option<u64>,
    /// Take rows as they lie where the models' tokens differ
    #[arg(long)]
    pub(super) rows_by_number: bool,
    /// Leave the inputs' digests out of the receipt: saves hashing them
    #[arg(long)]
    pub(super) no_input_digests: bool,
    /// Hash the inputs, also those that did not change since an earlier merge hashed them
    #[arg(long, conflicts_with = "no_input_digests")]
    pub(super) rehash: bool,
    /// Replace what is there; a folder only if it holds a model and nothing else
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Convert {
    /// The model: a file, a folder, or MODEL+ADAPTER, the two as one; with `--base`, the adapter
    pub(super) model: PathBuf,
    /// What to write; its ending says the format
    pub(super) out: PathBuf,
    /// The model that an adapter is for: a PEFT folder becomes an .sbl package, a package a PEFT folder
    #[arg(
        long,
        value_name = "MODEL",
        conflicts_with_all = ["to", "dtype", "shard", "tokenizer", "without_tokenizer"]
    )]
    pub(super) base: Option<PathBuf>,
    /// The format, where the ending does not say it
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(super) to: Option<ConvertTo>,
    /// How matrices are stored; by default as they are, or as f32 where the format has no such encoding
    #[arg(long, value_name = "ENCODING")]
    pub(super) dtype: Option<String>,
    /// Most bytes of tensors in one file of a folder, such as "2 GiB"
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) shard: Option<u64>,
    /// A tokenizer.json, or a model whose tokenizer the new one gets
    #[arg(long, value_name = "FILE")]
    pub(super) tokenizer: Option<PathBuf>,
    /// Leave the tokenizer out of a GGUF file
    #[arg(long, conflicts_with = "tokenizer")]
    pub(super) without_tokenizer: bool,
    /// Replace what is there; a folder only if it holds a model and nothing else
    #[arg(long)]
    pub(super) force: bool,
}

/// A format to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ConvertTo {
    /// An SLM1 file
    Slm,
    /// A GGUF file
    Gguf,
    /// A folder with config.json, tokenizer.json and safetensors
    HuggingFace,
    /// A safetensors file: tensors under the names they have
    Safetensors,
    /// A folder with a manifest and raw f32 files
    TrainedSource,
}

#[derive(Debug, clap::Args)]
pub(super) struct Diff {
    /// The model that differences are taken from: a file, a folder, or MODEL+ADAPTER
    pub(super) first: PathBuf,
    /// The other model
    pub(super) second: PathBuf,
    /// Exit with 1 if they differ; how they are stored does not matter
    #[arg(long)]
    pub(super) exit_code: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Extract {
    /// The model that the adapter will be for: a file, or a folder
    pub(super) base: PathBuf,
    /// What differs from it: a model, or an adapter for it
    pub(super) model: PathBuf,
    /// The adapter to write
    pub(super) out: PathBuf,
    /// How the difference is kept; an adapter's own way by default
    #[arg(long = "as", value_enum, value_name = "FORM")]
    pub(super) form: Option<AdapterForm>,
    /// Sparse: the share of each tensor's elements, largest first; all that differ by default
    #[arg(long, value_name = "D")]
    pub(super) density: Option<f64>,
    /// Low rank: the rank of each matrix's factors
    #[arg(long, value_name = "R")]
    pub(super) rank: Option<NonZeroUsize>,
    /// Tensors of the base that the adapter is for, by a pattern with `*` and `?`; repeat for more. All by default
    #[arg(long, value_name = "PATTERN")]
    pub(super) only: Vec<String>,
    /// Tensors that are left out, by such a pattern; what they differ by is shown. Repeat for more
    #[arg(long, value_name = "PATTERN")]
    pub(super) skip: Vec<String>,
    /// Matrices of linear modules only, as a PEFT LoRA needs it: no norms, biases, embeddings
    #[arg(long)]
    pub(super) linear_only: bool,
    /// Replace the file that is there
    #[arg(long)]
    pub(super) force: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

/// How an adapter keeps a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AdapterForm {
    /// Every element
    Dense,
    /// Some elements, as pairs of index and number
    Sparse,
    /// Two narrow matrices for each matrix
    LowRank,
}

#[derive(Debug, clap::Args)]
pub(super) struct Generate {
    /// The model: a file, a Hugging Face folder, or MODEL+ADAPTER
    pub(super) model: PathBuf,
    /// Another tokenizer than the model's own: a tokenizer.json, or a model that has one
    #[arg(long, value_name = "FILE")]
    pub(super) tokenizer: Option<PathBuf>,
    /// What to go on from
    #[arg(long, short)]
    pub(super) prompt: String,
    /// Most tokens to generate
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub(super) max_tokens: usize,
    /// 0 always takes the likeliest token
    #[arg(long, default_value_t = 0.0, value_name = "T", allow_hyphen_values = true)]
    pub(super) temperature: f32,
    /// Choose among the K likeliest tokens, 1 to 1024
    #[arg(long, default_value_t = 40, value_name = "K", allow_hyphen_values = true)]
    pub(super) top_k: u32,
    /// Choose among the likeliest tokens that together have this probability
    #[arg(long, default_value_t = 1.0, value_name = "P", allow_hyphen_values = true)]
    pub(super) top_p: f32,
    /// Seed of the choices
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) seed: u64,
}

#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// The plan file
    pub(super) plan: PathBuf,
    /// The candidate, admitted or refused
    pub(super) candidate: String,
    /// The folder to write
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: PathBuf,
    /// Replace the dossier that is there
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The plan file, or the folder of a dossier
    pub(super) plan: PathBuf,
    /// Run every operator again, ask every model again, and compare bytes; of a dossier, the model alone
    #[arg(long)]
    pub(super) recompute: bool,
    /// For a dossier: the trust file that says whose signatures count
    #[arg(long, value_name = "FILE")]
    pub(super) trust: Option<PathBuf>,
    /// For a dossier: your copy of the ledger's folder, which must extend the dossier's proofs
    #[arg(long, value_name = "FOLDER")]
    pub(super) ledger: Option<PathBuf>,
    /// Recompute only what is this candidate's
    #[arg(long, requires = "recompute", value_name = "NAME")]
    pub(super) candidate: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Smoke {
    /// The plan file
    pub(super) plan: PathBuf,
    /// In a headless Chromium (a native smoke is part of every run)
    #[arg(long, required = true)]
    pub(super) browser: bool,
    /// Only this candidate; by default all that such a gate is for
    #[arg(long, value_name = "NAME")]
    pub(super) candidate: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Registry {
    #[command(subcommand)]
    pub(super) command: RegistryCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum RegistryCommand {
    /// Run a plan as far as its registry and say where it is
    Build(RegistryOf),
    /// Serve a plan's registry on 127.0.0.1, until Ctrl-C
    Serve(RegistryServe),
}

#[derive(Debug, clap::Args)]
pub(super) struct RegistryOf {
    /// The plan file
    pub(super) plan: PathBuf,
    /// Copy the folder here, for a web server
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RegistryServe {
    /// The plan file, or the folder of a registry
    pub(super) plan: PathBuf,
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 8320, value_name = "PORT")]
    pub(super) port: u16,
}

#[derive(Debug, clap::Args)]
pub(super) struct Ledger {
    #[command(subcommand)]
    pub(super) command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Print the entries
    Log(LedgerOf),
    /// Print the head: what to remember to notice any change
    Head(LedgerOf),
    /// Check every entry, tile and signature, and that the log extends the remembered head
    Check(LedgerCheck),
    /// Write the proof that an entry is in the log
    Prove(LedgerProve),
    /// Check by a proof that the log extends what you remember of it, and remember it
    Witness(LedgerWitness),
    /// Witness the log, and sign its checkpoint with a key of your own
    Cosign(LedgerCosign),
    /// Check an unsigned ledger and sign its checkpoint with the log's key
    Sign(LedgerSign),
}

#[derive(Debug, clap::Args)]
pub(super) struct LedgerOf {
    /// A plan whose store holds the ledger; `.studbook` here by default
    pub(super) plan: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct LedgerCheck {
    #[command(flatten)]
    pub(super) of: LedgerOf,
    /// A head you noted yourself, as `ledger head` prints it
    #[arg(long, value_names = ["SIZE", "SHA256"], num_args = 2)]
    pub(super) expect: Option<Vec<String>>,
    /// Check this proof; the ledger need not be there, but is asked if it is
    #[arg(long, value_name = "FILE", conflicts_with = "expect")]
    pub(super) proof: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub(super) struct LedgerProve {
    #[command(flatten)]
    pub(super) of: LedgerOf,
    /// The entry's number, a candidate, or the SHA-256 of a record
    pub(super) entry: String,
    /// The file to write; standard output by default
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct LedgerWitness {
    #[command(flatten)]
    pub(super) of: LedgerOf,
    /// Where you remember what you saw; keep it where the log's owner cannot write
    #[arg(long, value_name = "FILE")]
    pub(super) memory: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct LedgerCosign {
    #[command(flatten)]
    pub(super) of: LedgerOf,
    /// Your secret key
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
    /// Your name; the key file's by default
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Where you remember what you saw; beside the key by default
    #[arg(long, value_name = "FILE")]
    pub(super) memory: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct LedgerSign {
    #[command(flatten)]
    pub(super) of: LedgerOf,
    /// The log's secret key
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    pub(super) command: KeysCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key, Ed25519 or for the role `model` ECDSA P-256; its id is printed
    New(KeysNew),
    /// Every key of a folder
    List(KeysList),
    /// The id and the public half of one key
    Show(KeysShow),
}

#[derive(Debug, clap::Args)]
pub(super) struct KeysNew {
    /// producer, evaluator, promoter, approver, log, registry, witness or model
    pub(super) role: String,
    /// Whose, where a role has several keys; the files are then called ROLE.NAME
    #[arg(long)]
    pub(super) name: Option<String>,
    /// The folder to put it in; that of `--keys`, or else `keys`, by default
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Add it to this trust file
    #[arg(long, value_name = "FILE")]
    pub(super) trust: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct KeysList {
    /// The folder of keys; that of `--keys`, or else `keys`, by default
    #[arg(value_name = "DIR")]
    pub(super) folder: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct KeysShow {
    /// The key file: either half
    pub(super) key: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub(super) struct Lineage {
    /// A plan whose store holds it; `.studbook` here by default
    pub(super) plan: Option<PathBuf>,
    /// The candidate: its name, CYCLE/NAME, or the beginning of its manifest's or artifact's digest
    pub(super) candidate: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = LineageFormat::Text)]
    pub(super) format: LineageFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LineageFormat {
    /// A tree for people
    Text,
    /// For Markdown pages
    Mermaid,
    /// For programs
    Json,
}

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// What: a candidate as in `lineage`, or the SHA-256 of a source record, model, suite or key
    #[arg(required_unless_present = "dataset", conflicts_with = "dataset")]
    pub(super) digest: Option<String>,
    /// A plan whose store it concerns; `.studbook` here by default
    #[arg(long, value_name = "PLAN")]
    pub(super) plan: Option<PathBuf>,
    /// A data set, by the name that sources declare
    #[arg(long, value_name = "NAME")]
    pub(super) dataset: Option<String>,
    /// Why
    #[arg(long)]
    pub(super) reason: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Retire {
    /// The candidate, as in `lineage`
    pub(super) candidate: String,
    /// A plan whose store it is in; `.studbook` here by default
    #[arg(long, value_name = "PLAN")]
    pub(super) plan: Option<PathBuf>,
    /// Why
    #[arg(long)]
    pub(super) reason: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

/// An amount of bytes as plans write it.
fn size(text: &str) -> Result<u64, String> {
    let parsed: Result<crate::plan::syntax::Bytes, ()> = text.parse();
    match parsed.map(|bytes| bytes.0) {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("expected an amount of bytes, such as 1048576 or \"2 GiB\" \
                  (B, kB, MB, GB, KiB, MiB, GiB)"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
