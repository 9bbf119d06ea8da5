//! What a bench prints: a table for people, an object for programs.

use std::{collections::BTreeMap, time::Duration};

use clap::ValueEnum as _;
use serde::Serialize;

use super::{Args, load::Outcome, tally::Latency};
use crate::cli::{
    failure::Failure,
    print::{self, Output},
    span,
};

/// Prints what a load came to.
pub(super) fn outcome(args: &Args, outcome: &Outcome, output: Output) -> Result<(), Failure> {
    match output {
        Output::Human => table(args, outcome),
        Output::Json => print::json(&report(args, outcome)),
    }
}

fn table(args: &Args, outcome: &Outcome) -> Result<(), Failure> {
    let Outcome { tally, measured } = outcome;
    let loop_ = args.rate.map_or("closed loop".to_owned(), |rate| format!("{rate} turns/s"));
    print::line(&format!(
        "{}: {}, {loop_}, {} connections, {} in flight, {}\n",
        pools(&args.pool),
        scenario(args),
        args.connections,
        args.in_flight,
        span::seconds(*measured),
    ))?;
    let row = |name: &str, latency: &Latency| {
        let mut row = vec![
            name.to_owned(),
            latency.count().to_string(),
            format!("{:.0}", per_second(latency.count(), *measured)),
        ];
        row.extend([50.0, 90.0, 99.0, 99.9].map(|p| millis(latency.percentile(p))));
        row.push(millis(latency.most()));
        row
    };
    let mut rows: Vec<_> = tally.calls.iter().map(|(kind, took)| row(kind.name(), took)).collect();
    if tally.calls.len() > 1 {
        rows.push(row("all calls", &tally.all_calls()));
    }
    if tally.hand_overs.count() > 0 {
        rows.push(row("hand-over", &tally.hand_overs));
    }
    print::table(&["CALL", "COUNT", "PER S", "P50", "P90", "P99", "P99.9", "MAX"], rows)?;
    print::line("")?;
    let errors = tally.errors.iter().map(|(reason, count)| format!("{reason} {count}"));
    let errors = errors.collect::<Vec<_>>().join(", ");
    let unless_none = |count: u64| if count == 0 { String::new() } else { count.to_string() };
    print::record([
        ("turns per second", format!("{:.1}", per_second(tally.turns, *measured))),
        ("errors", if errors.is_empty() { "none".to_owned() } else { errors }),
        ("unfinished turns", unless_none(tally.unfinished)),
        ("turns never begun", unless_none(tally.never_begun)),
        ("double leases", tally.doubles.to_string()),
    ])
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    pools: &'a [String],
    scenario: String,
    connections: u32,
    in_flight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    seconds: f64,
    turns: u64,
    turns_per_second: f64,
    calls_per_second: f64,
    calls: BTreeMap<&'static str, Calls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hand_over: Option<Calls>,
    errors: &'a BTreeMap<String, u64>,
    unfinished_turns: u64,
    turns_never_begun: u64,
    double_leases: u64,
}

/// How long calls took, in milliseconds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    count: u64,
    per_second: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    #[serde(rename = "p99_9Ms")]
    p99_9_ms: f64,
    max_ms: f64,
}

fn report<'a>(args: &'a Args, outcome: &'a Outcome) -> Report<'a> {
    let Outcome { tally, measured } = outcome;
    let calls = |latency: &Latency| Calls {
        count: latency.count(),
        per_second: per_second(latency.count(), *measured),
        p50_ms: ms(latency.percentile(50.0)),
        p90_ms: ms(latency.percentile(90.0)),
        p99_ms: ms(latency.percentile(99.0)),
        p99_9_ms: ms(latency.percentile(99.9)),
        max_ms: ms(latency.most()),
    };
    Report {
        pools: &args.pool,
        scenario: scenario(args),
        connections: args.connections.get(),
        in_flight: args.in_flight.get(),
        rate: args.rate.map(std::num::NonZeroU32::get),
        seconds: measured.as_secs_f64(),
        turns: tally.turns,
        turns_per_second: per_second(tally.turns, *measured),
        calls_per_second: per_second(tally.answered(), *measured),
        calls: tally.calls.iter().map(|(kind, took)| (kind.name(), calls(took))).collect(),
        hand_over: (tally.hand_overs.count() > 0).then(|| calls(&tally.hand_overs)),
        errors: &tally.errors,
        unfinished_turns: tally.unfinished,
        turns_never_begun: tally.never_begun,
        double_leases: tally.doubles,
    }
}

fn pools(pools: &[String]) -> String {
    match pools {
        [pool] => format!("pool {}", print::printable(pool)),
        pools => format!("{} pools", pools.len()),
    }
}

fn scenario(args: &Args) -> String {
    let value = args.scenario.to_possible_value();
    value.map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people, not a count")]
fn per_second(count: u64, measured: Duration) -> f64 {
    if measured.is_zero() { 0.0 } else { count as f64 / measured.as_secs_f64() }
}

/// In milliseconds, to the microsecond.
fn ms(took: Duration) -> f64 {
    (took.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

fn millis(took: Duration) -> String {
    format!("{:.3}ms", ms(took))
}
