//! Telemetry: where log lines go, and how long things take.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use thiserror::Error;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What a filter must name to hear: these tell of every frame, and at their most talkative of
/// headers, in which API keys are.
const QUIET: &str = "h2=warn,hyper=warn,hyper_util=warn,rustls=warn,tonic=warn,tower=warn";

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
