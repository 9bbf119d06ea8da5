//! The only place that asks what time it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::pool::{Span, Time};

/// This moment, as timeouts count it.
#[must_use]
pub fn moment() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The embedded store's clock. (Redis brings its own.)
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock, read once and then carried forward by a monotonic one: a step of the
    /// machine's clock while the broker runs neither ends leases early nor keeps them late.
    System {
        /// What the machine's clock said at the start.
        start: Time,
        /// When that was.
        since: Instant,
    },
    /// A clock that a test moves.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock, starting now.
    #[must_use]
    pub fn system() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = Time(u64::try_from(unix.as_millis()).unwrap_or(u64::MAX));
        Self::System { start, since: Instant::now() }
    }

    /// The same clock, but never behind a moment that the store has seen: the machine's clock may
    /// have been set back while the broker was down.
    #[must_use]
    pub fn not_before(self, seen: Time) -> Self {
        match self {
            Self::System { start, since } => Self::System { start: start.max(seen), since },
            manual @ Self::Manual(_) => manual,
        }
    }

    /// A clock that stands still until it is moved.
    #[must_use]
    pub fn manual(at: Time) -> Self {
        Self::Manual(Arc::new(AtomicU64::new(at.0)))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Time {
        match self {
            Self::System { start, since } => {
                *start + Span(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
            }
            Self::Manual(at) => Time(at.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock forward; the machine's clock moves itself.
    pub fn advance(&self, span: Span) {
        if let Self::Manual(at) = self {
            at.fetch_add(span.0, Ordering::SeqCst);
        }
    }
}
