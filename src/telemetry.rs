//! Telemetry: where log lines go, how long things take, and every metric by name.

mod metrics;

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use thiserror::Error;
use tracing_subscriber::EnvFilter;

pub use self::metrics::{Metrics, PoolReading, Reading};
use crate::config::LogFormat;

/// What a filter must name to hear: these tell of every frame, and at their most talkative of
/// headers, in which API keys are.
const QUIET: &str = "h2=warn,hyper=warn,hyper_util=warn,rustls=warn,tonic=warn,tower=warn";

/// A metric as it is scraped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in full, with its unit.
    pub name: &'static str,
    /// What it tells.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
}

/// What ends the name of a counter.
const TOTAL: &str = "_total";
/// What ends the name of a length of time, after its unit.
const SECONDS: &str = "_seconds";

macro_rules! metrics {
    ($($name:ident: $text:literal, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $name: Metric =
                Metric { name: $text, help: $help, labels: &[$($label),*] };
        )*

        /// Every metric.
        pub const METRICS: &[Metric] = &[$($name),*];
    };
}

metrics! {
    CALLS: "telegate_calls_total", ["method", "code", "reason"],
        "Calls answered, by method, gRPC code and reason; the reason is empty for OK";
    CALL_DURATION: "telegate_call_duration_seconds", ["method"],
        "How long calls took until they were answered, by method";
    ACQUIRES: "telegate_acquires_total", ["pool", "outcome"],
        "Acquires by pool and outcome: GRANTED, REPLAYED, or the reason of the refusal";
    GRANTS_UNDONE: "telegate_grants_undone_total", ["outcome"],
        "Grants that did not reach their caller: UNDONE, KEPT by another answer, or FAILED to undo";
    REPORTS: "telegate_reports_total", ["rule", "action"],
        "Errors of Telegram that were reported, by rule and action";
    ESCALATIONS: "telegate_escalations_total", ["rule"],
        "Escalations that reports brought about, by rule";
    UNKNOWN_ERRORS: "telegate_unknown_errors_total", ["rule", "code"],
        "Reported errors that no rule knows by name, by the default rule that decided and the code";
    LEASE_BREACHES: "telegate_lease_breaches_total", ["pool"],
        "Sessions that were used over two connections at once and so destroyed, by pool";
    STORE_UP: "telegate_store_up", [],
        "Whether the store serves: 1 or 0";
    SESSIONS: "telegate_sessions", ["pool", "state"],
        "Sessions by pool and state, counted at the scrape";
    BRAKES: "telegate_braked_methods", ["pool"],
        "Methods that a pool does not lend for, by escalation, counted at the scrape";
    POOLS_UNREAD: "telegate_pools_unread", [],
        "Whether pools are missing from this scrape, being too many or too slow to read: 1 or 0";
}

/// Why no log lines can be written.
#[derive(Debug, Error)]
pub enum Error {
    /// The filter is not one.
    #[error("log filter {0:?} is not one; write a level such as info")]
    Filter(String),
    /// Somebody else writes log lines already.
    #[error("log lines are written already")]
    Twice,
}

/// Writes log lines to stderr from now on.
///
/// # Errors
///
/// When the filter is not one, or when it was called before.
pub fn init(filter: &str, format: LogFormat) -> Result<(), Error> {
    let quiet = format!("{QUIET},{filter}");
    let filter = EnvFilter::try_new(quiet).map_err(|_| Error::Filter(filter.to_owned()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let terminal = io::stderr().is_terminal();
    let done = match format {
        LogFormat::Auto if terminal => lines.with_target(false).try_init(),
        LogFormat::Text => lines.with_target(false).with_ansi(terminal).try_init(),
        LogFormat::Auto | LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    done.map_err(|_| Error::Twice)
}

/// Measures how long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to measure.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has been.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
