//! The `studbook` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    studbook::cli::main()
}
