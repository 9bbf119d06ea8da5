//! The command `telegate`: parse, run, exit code.

mod cli;

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Each call allocates a few dozen times; docs/performance.md has what this gives.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(command) => cli::run(command),
        Err(code) => code,
    }
}
