//! What can be typed: what goes with every command, and the commands. What each one takes stands in its file.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use super::{
    attest, check, completions, convert, diff, export, extract, generate, graph, init, inspect, keys, ledger,
    lineage, merge, operators, registry, revoke, run, smoke, verify, why,
};

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
    Init(init::Init),
    /// Check a plan: every mistake with its place
    Check(check::Check),
    /// Dry run: what would run and why, and which gates are pending; writes nothing
    Plan(Planned),
    /// Run a plan; what is unchanged is not run again
    Run(run::Run),
    /// How far a cycle is
    Status(Planned),
    /// Who is ranked where, and which differences are more than chance
    Review(Planned),
    /// Bring an approval for a pending gate, or the results of another harness
    Attest(attest::Attest),
    /// Explain why a stage would run: exactly what differs from its last key
    Why(why::Why),
    /// Draw a plan's stages
    Graph(graph::Graph),
    /// What candidates can be made by: operators, their parameters, ranges and sources
    Operators(operators::Operators),
    /// Show a model file or an adapter: header, tokenizer, tensors, digests
    Inspect(inspect::Inspect),
    /// Carry out a mergekit configuration, without a plan
    Merge(merge::Merge),
    /// Write a model as another format
    Convert(convert::Convert),
    /// How far two models are apart, tensor by tensor
    Diff(diff::Diff),
    /// Write what a model has and its base has not as an adapter
    Extract(extract::Extract),
    /// Generate text with a model
    Generate(generate::Generate),
    /// Write a candidate's whole dossier as one folder that can be checked anywhere
    Export(export::Export),
    /// Check everything a cycle's records bind, or a dossier
    Verify(verify::Verify),
    /// Run the smoke prompts in a browser: evidence for gates of the kind `browser_smoke`
    Smoke(smoke::Smoke),
    /// Admitted models in a folder for browsers
    Registry(registry::Command),
    /// Read and check the promotion ledger
    Ledger(ledger::Command),
    /// Make signing keys, and show their public halves
    Keys(keys::Keys),
    /// Whom a candidate comes from, to the roots, over all cycles
    Lineage(lineage::Lineage),
    /// Take something back for cause: it and all that descends from it
    Revoke(revoke::Revoke),
    /// No longer offer an admitted candidate, without blame
    Retire(revoke::Retire),
    /// Make an earlier admission the registry's default again
    Rollback(revoke::Retire),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

#[derive(Debug, clap::Args)]
pub(super) struct Planned {
    /// The plan file
    pub(super) plan: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

/// An amount of bytes as plans write it.
pub(super) fn size(text: &str) -> Result<u64, String> {
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
