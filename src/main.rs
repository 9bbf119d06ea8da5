//! The command `telegate`: parse, run, exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(command) => cli::run(command),
        Err(code) => code,
    }
}
