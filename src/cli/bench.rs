//! `telegate bench`: a load generator for a broker of one's own.

mod ledger;
mod load;
mod pace;
mod show;
mod tally;
mod turn;

use std::{num::NonZeroU32, time::Duration};

use clap::ValueEnum;
use telegate::proto::v1::GetPoolStatusRequest;

use self::{load::Load, turn::Deeds};
use super::{
    broker::Broker,
    failure::{Exit, Failure},
    print::Output,
    span,
};

/// The most connections that one generator opens.
const MOST_CONNECTIONS: i64 = 1_000;
/// The most calls that one generator keeps under way.
const MOST_IN_FLIGHT: i64 = 100_000;
/// The most turns a second that are asked for.
const MOST_RATE: i64 = 10_000_000;
/// The most threads that generate load.
const MOST_THREADS: i64 = 64;

/// A turn is one round of the scenario. Leases of the pool's sessions are taken, so name a pool
/// whose sessions nobody needs meanwhile.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The pool. Its sessions are leased, and so kept from its workers. With several, the turns go
    /// round them.
    #[arg(long, required = true, value_delimiter = ',')]
    pool: Vec<String>,
    /// What each turn does.
    #[arg(long, value_enum, default_value_t = Scenario::AcquireRelease)]
    scenario: Scenario,
    /// How many connections are opened.
    #[arg(long, default_value = "8", value_parser = at_most(MOST_CONNECTIONS))]
    connections: NonZeroU32,
    /// How many turns are under way at once, at most, spread over the connections.
    #[arg(long, default_value = "64", value_parser = at_most(MOST_IN_FLIGHT))]
    in_flight: NonZeroU32,
    /// How many turns begin each second, whether or not earlier ones are over (open loop). Left
    /// out: a turn begins when one is over (closed loop).
    #[arg(long, value_name = "PER_SECOND", value_parser = at_most(MOST_RATE))]
    rate: Option<NonZeroU32>,
    /// For how long is measured.
    #[arg(long, default_value = "10s", value_parser = span::parse)]
    duration: Duration,
    /// For how long load is made before it is measured.
    #[arg(long, default_value = "1s", value_parser = span::parse)]
    warm_up: Duration,
    /// How long a lease is held, in the scenarios hold and wait.
    #[arg(long, default_value = "10ms", value_parser = span::parse)]
    hold: Duration,
    /// How long the broker may hold an Acquire, in the scenario wait.
    #[arg(long, default_value = "10s", value_parser = span::parse)]
    wait: Duration,
    /// The wished TTL of the leases.
    #[arg(long, default_value = "60s", value_parser = span::parse)]
    ttl: Duration,
    /// Which sessions would do, for example `country=de`.
    #[arg(long, default_value = "", hide_default_value = true)]
    selector: String,
    /// A method that the leases are for; may be given several times.
    #[arg(long)]
    method: Vec<String>,
    /// Send a fresh request id with each Acquire, as workers do that repeat lost calls.
    #[arg(long)]
    request_ids: bool,
    /// How many threads make the load.
    #[arg(long, default_value = "1", value_parser = at_most(MOST_THREADS))]
    threads: NonZeroU32,
}

/// What a turn does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Acquire, Release.
    AcquireRelease,
    /// Acquire, hold the lease for a while, Release.
    Hold,
    /// The same with waiting Acquires: for more turns under way than there are sessions. Measures
    /// the hand-over too, from the sending of a Release to the answer of the waiter served by it.
    Wait,
    /// Report of an error that closes nothing, under a lease that is kept for many turns.
    Report,
    /// `GetPoolStatus`.
    Status,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let client = broker.connect().await?;
    for pool in &args.pool {
        // One that is not there is told once, not a hundred thousand times.
        let asked = GetPoolStatusRequest { pool: pool.clone() };
        client.get_pool_status(asked).await?;
    }
    let deeds = Deeds {
        scenario: args.scenario,
        pools: args.pool.clone(),
        selector: args.selector.clone(),
        methods: args.method.clone(),
        ttl: args.ttl,
        wait: args.wait,
        hold: args.hold,
        requests: if args.request_ids { turn::Requests::Named } else { turn::Requests::Unnamed },
    };
    let load = Load {
        connections: args.connections.get(),
        in_flight: args.in_flight.get(),
        threads: args.threads.get(),
        rate: args.rate.map(NonZeroU32::get),
        warm_up: args.warm_up,
        duration: args.duration,
    };
    let outcome = load.run(deeds, broker).await?;
    show::outcome(&args, &outcome, output)?;
    if outcome.tally.doubles > 0 {
        let what = format!("{} double leases were seen", outcome.tally.doubles);
        return Err(Failure::new(Exit::Internal, what)
            .next("stop using it, and report this with the broker's version and log"));
    }
    if outcome.tally.turns == 0 {
        return Err(Failure::new(Exit::Refused, "no turn was done"));
    }
    Ok(())
}

fn at_most(most: i64) -> impl Fn(&str) -> Result<NonZeroU32, String> + Clone {
    move |text: &str| {
        let number = text.parse::<NonZeroU32>().ok().filter(|n| i64::from(n.get()) <= most);
        number.ok_or_else(|| format!("write a number from 1 to {most}"))
    }
}
