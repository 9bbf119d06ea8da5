//! `telegate completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, failure::Failure, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "telegate", &mut script);
    print::line(String::from_utf8_lossy(&script).trim_end())
}
