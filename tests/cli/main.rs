//! Drives the real `studbook`.
//!
//! One binary, one file for each thing a person does. `space` makes a folder with tiny models, a
//! plan and a store; nothing here looks inside the library to see whether it worked.

mod space;

mod adapter;
mod attested;
mod bad_input;
mod browser;
mod buffers;
mod champion;
mod claims;
mod convert;
mod crash;
mod decided;
mod declare;
mod documents;
mod dossier;
mod dry_run;
mod evaluate;
mod force;
mod forged;
mod formats;
mod gguf;
mod greedy;
mod hostile;
mod keys;
mod keys_revoked;
mod later;
mod licences;
mod lineage;
mod lm_eval;
mod merge;
mod mergekit;
mod misfits;
mod networks;
mod operators;
mod peft;
mod registry;
mod resume;
mod run;
mod selection;
mod signed_ledger;
mod slices;
mod stacks;
mod strange_files;
mod swapped;
mod templates;
mod uses;
mod verdicts;
mod verify;
mod vocabularies;
