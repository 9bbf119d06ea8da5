//! `make bench`: Telegate beside the bare things that it is made of, in one run.
//!
//! Everything is started on free ports, driven in turn by `telegate bench`, round after round, and
//! shown as ratios within a round: the machine may be shared, so only what ran side by side
//! compares. A program of its own plays each part, so that what each costs can be told apart.

mod bare;
mod canned;
mod cost;
mod echo;
mod figures;
mod goals;
mod handover;
mod load;
mod memory;
mod peer;
mod plain;
#[path = "../../tests/it/harness/process.rs"]
#[expect(dead_code, reason = "the tests' own; not all of it is of use here")]
mod process;
mod scale;
mod single;
mod stage;
mod start;
mod wire;

use std::time::Duration;

use clap::{Parser, ValueEnum};

use self::{
    echo::{Acquires, Threads},
    goals::Goals,
};

/// Measures Telegate beside the bare things that it is made of.
#[derive(Parser)]
#[command(name = "compare")]
struct Cli {
    /// What is measured; all of it unless some is named.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// How many rounds, after one that is not counted.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// For how many seconds each subject is driven in a round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How many calls are under way in `load`. Left out: 256, and then 64 beside the plain broker.
    #[arg(long)]
    in_flight: Option<usize>,
    /// In `load`, only subjects whose name has this in it, besides the ceiling; several may be
    /// given.
    #[arg(long)]
    only: Vec<String>,
    /// A broker to compare besides the one that was built, as NAME=PROGRAM; several may be given.
    #[arg(long)]
    rival: Vec<String>,
    /// In `scale`, how many sessions the largest pool has.
    #[arg(long, default_value_t = 1_000_000)]
    largest: u64,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// What this program plays for itself.
    #[arg(long, hide = true)]
    play: Option<String>,
    /// For `--play`: where the replies or the pool are.
    #[arg(long, hide = true)]
    with: Vec<String>,
}

/// A part of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Acquire and Release at many calls under way.
    Load,
    /// One call at a time.
    Single,
    /// Sessions that are handed to those who wait.
    Wait,
    /// Pools of a thousand to a million sessions, rare demands, many pools. Takes a while.
    Scale,
    /// What a waiting call takes in the broker.
    Memory,
    /// From the start of the program to the first answer, and its size.
    Start,
}

impl Cli {
    fn wants(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    fn wants_subject(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only))
    }

    fn span(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn main() {
    let cli = Cli::parse();
    match cli.play.as_deref() {
        Some("echo") => return echo::play(Threads::All, Acquires::Answered, &cli.with),
        Some("echo-single") => return echo::play(Threads::One, Acquires::Answered, &cli.with),
        Some("echo-parked") => return echo::play(Threads::One, Acquires::Parked, &cli.with),
        Some("plain") => return plain::play(&cli.with),
        Some(other) => panic!("nobody plays {other}"),
        None => {}
    }
    let mut goals = Goals::default();
    if cli.wants(Part::Load) {
        load::compare(&cli, &mut goals);
    }
    if cli.wants(Part::Single) {
        single::compare(&cli, &mut goals);
    }
    if cli.wants(Part::Wait) {
        handover::compare(&cli, &mut goals);
    }
    if cli.wants(Part::Scale) {
        scale::compare(&cli, &mut goals);
    }
    if cli.wants(Part::Memory) {
        memory::measure(&mut goals);
    }
    if cli.wants(Part::Start) {
        start::measure(&cli, &mut goals);
    }
    goals.print();
}
