//! `studbook keys`: makes keys and shows their public halves.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::args::Format;
use super::context::Terminal;
use super::exit::{Exit, UsageError};
use crate::base::digest::Sha256;
use crate::disk::atomic;
use crate::report::table::Table;
use crate::trust::{KeyFile, Keyring, PublicKey, Role, Trust, TrustError, keyring};

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

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    keyid: Sha256,
    public: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signs: Option<bool>,
}

pub(super) fn run(command: &Keys, keys: Option<&Path>, terminal: &Terminal) -> anyhow::Result<Exit> {
    let keys = keys.unwrap_or(Path::new("keys"));
    match &command.command {
        KeysCommand::New(command) => new(command, keys, terminal),
        KeysCommand::List(command) => list(command, keys, terminal),
        KeysCommand::Show(command) => show(command, terminal),
    }
}

fn new(command: &KeysNew, keys: &Path, terminal: &Terminal) -> anyhow::Result<Exit> {
    let role = Role::from_word(&command.role).ok_or_else(|| {
        let roles = Role::ALL.map(Role::word).join(", ");
        UsageError::new(format!("there is no role `{}`", command.role)).hint(format!("one of {roles}"))
    })?;
    let name = command.name.as_deref().map(str::parse).transpose();
    let name = name.map_err(|error| UsageError::new(format!("--name: {error}")))?;
    let ring = Keyring::at(command.out.as_deref().unwrap_or(keys));
    let key = ring.generate(role, name.as_ref())?;
    let entry = Trust::entry(key.stem.as_str(), role, &key.public);
    writeln!(terminal.out(), "{}", key.public.id())?;
    if !terminal.is_quiet() {
        writeln!(terminal.err(), "secret: {}", ring.secret_path(&key.stem).display())?;
        writeln!(terminal.err(), "public: {}", ring.public_path(&key.stem).display())?;
    }
    match &command.trust {
        Some(path) => add_to(path, &entry)?,
        None if !terminal.is_quiet() => writeln!(terminal.err(), "\nFor the trust file:\n\n{entry}")?,
        None => {}
    }
    Ok(Exit::Complete)
}

/// Adds a key to a trust file, made if there is none. The result is read before it replaces anything.
fn add_to(path: &Path, entry: &str) -> anyhow::Result<()> {
    let before = match Trust::text(path) {
        Err(TrustError::Disk(error)) if error.is_not_found() => {
            "# Which key may sign which record.\n".to_owned()
        }
        other => other?,
    };
    let text = format!("{}\n\n{entry}", before.trim_end());
    Trust::parse(&text, path)?;
    Ok(atomic::replace(path, text.as_bytes())?)
}

fn list(command: &KeysList, keys: &Path, terminal: &Terminal) -> anyhow::Result<Exit> {
    let keys = Keyring::at(command.folder.as_deref().unwrap_or(keys)).list()?;
    if command.format == Format::Json {
        let rows: Vec<Shown<'_>> = keys.iter().map(shown).collect();
        terminal.json(&rows)?;
        return Ok(Exit::Complete);
    }
    let mut table = Table::new(&["key", "role", "keyid", "secret half"]);
    for key in &keys {
        let secret = if key.signs { "here" } else { "-" };
        table.row(&[key.stem.as_str(), key.role.word(), &key.public.id().to_hex(), secret]);
    }
    write!(terminal.out(), "{}", table.render())?;
    Ok(Exit::Complete)
}

fn shown(key: &KeyFile) -> Shown<'_> {
    Shown {
        role: Some(key.role),
        name: Some(key.stem.as_str()),
        keyid: key.public.id(),
        public: key.public.to_base64(),
        signs: Some(key.signs),
    }
}

fn show(command: &KeysShow, terminal: &Terminal) -> anyhow::Result<Exit> {
    let public = public_half(&command.key)?;
    match command.format {
        Format::Json => terminal.json(&Shown {
            role: None,
            name: None,
            keyid: public.id(),
            public: public.to_base64(),
            signs: None,
        })?,
        Format::Text => write!(terminal.out(), "{}\n{}", public.id(), public.to_pem())?,
    }
    Ok(Exit::Complete)
}

/// The public half of either file.
fn public_half(path: &Path) -> Result<PublicKey, TrustError> {
    match keyring::read_public(path) {
        Err(TrustError::BadKey { .. }) => Ok(keyring::read_secret(path)?.public()),
        other => other,
    }
}
