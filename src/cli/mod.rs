//! The command line: arguments in, one library call, words out.
//!
//! Data goes to standard output, talk to standard error; what prints data also prints it as JSON
//! with `--format json`. How a command ended is one of the codes in `exit`.

mod adapter;
mod args;
mod attest;
mod check;
mod completions;
mod context;
mod convert;
mod diff;
mod exit;
mod export;
mod external;
mod extract;
mod generate;
mod graph;
mod init;
mod inspect;
mod keys;
mod ledger;
mod lineage;
mod merge;
mod model;
mod operators;
mod package;
mod plan;
mod registry;
mod reporter;
mod review;
mod revoke;
mod rollback;
mod run;
mod smoke;
mod status;
mod verify;
mod why;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use context::Terminal;
pub use exit::Exit;

/// Parses the arguments, runs the command, tells how it ended.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not mistakes.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Complete };
            let _ = error.print();
            return exit.into();
        }
    };
    init_tracing(args.verbose);
    let terminal = Terminal::new(args.color, args.quiet);
    match run_command(&args, &terminal) {
        Ok(exit) => exit.into(),
        Err(error) => exit::tell(&error, &terminal).into(),
    }
}

fn run_command(args: &Args, terminal: &Terminal) -> anyhow::Result<Exit> {
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global()?;
    }
    match &args.command {
        Command::Init(command) => init::run(args, command, terminal),
        Command::Check(command) => check::run(args, command, terminal),
        Command::Plan(command) => plan::run(args, command, terminal),
        Command::Run(command) => run::run(args, command, terminal),
        Command::Status(command) => status::run(args, command, terminal),
        Command::Review(command) => review::run(args, command, terminal),
        Command::Attest(command) => attest::run(args, command, terminal),
        Command::Why(command) => why::run(args, command, terminal),
        Command::Graph(command) => graph::run(args, command, terminal),
        Command::Operators(command) => operators::run(command, terminal),
        Command::Inspect(command) => inspect::run(command, terminal),
        Command::Merge(command) => merge::run(command, terminal),
        Command::Convert(command) => convert::run(command, terminal),
        Command::Diff(command) => diff::run(command, terminal),
        Command::Extract(command) => extract::run(command, terminal),
        Command::Generate(command) => generate::run(command, terminal),
        Command::Export(command) => export::run(args, command, terminal),
        Command::Verify(command) => verify::run(args, command, terminal),
        Command::Smoke(command) => smoke::run(args, command, terminal),
        Command::Registry(command) => registry::run(args, command, terminal),
        Command::Ledger(command) => ledger::run(args, command, terminal),
        Command::Keys(command) => keys::run(command, args.keys.as_deref(), terminal),
        Command::Lineage(command) => lineage::run(args, command, terminal),
        Command::Revoke(command) => revoke::revoke(args, command, terminal),
        Command::Retire(command) => revoke::retire(args, command, terminal),
        Command::Rollback(command) => rollback::run(args, command, terminal),
        Command::Completions(command) => completions::run(command, terminal),
    }
}

fn init_tracing(verbose: u8) {
    use tracing_subscriber::filter::LevelFilter;
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .with_ansi(anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never)
        .init();
}
