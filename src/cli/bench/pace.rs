//! The pace of an open loop: turns begin when they are due, not when earlier ones are over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use telegate::clock;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long the pacer sleeps at least. Turns begin at most about so much late by its doing, and
/// what they are late is counted into their latency.
const SHORTEST_NAP: Duration = Duration::from_micros(50);

/// Hands out the turns of an open loop, each with the moment at which it is due.
#[derive(Debug)]
pub(super) struct Pace {
    due: Semaphore,
    begun: AtomicU64,
    start: Instant,
    every: Duration,
}

impl Pace {
    /// Begins to hand out so many turns a second, until it is stopped.
    pub(super) fn start(rate: u32, start: Instant, stop: CancellationToken) -> Arc<Self> {
        let every = Duration::from_secs(1) / rate.max(1);
        let pace =
            Arc::new(Self { due: Semaphore::new(0), begun: AtomicU64::new(0), start, every });
        let pacer = Arc::clone(&pace);
        // A thread of its own: timers of the runtime are only exact to the millisecond.
        thread::spawn(move || pacer.run(&stop));
        pace
    }

    /// Waits for the next turn and tells when it is due. Nothing when the load is over.
    pub(super) async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        Some(self.moment(self.begun.fetch_add(1, Ordering::Relaxed)))
    }

    /// How many turns have been due by a moment and not begun.
    pub(super) fn never_begun(&self, by: Instant) -> u64 {
        self.due_by(by).saturating_sub(self.begun.load(Ordering::Relaxed))
    }

    fn run(&self, stop: &CancellationToken) {
        let mut told = 0;
        while !stop.is_cancelled() {
            let now = clock::moment();
            let due = self.due_by(now);
            self.due.add_permits(usize::try_from(due - told).unwrap_or_default());
            told = due;
            let nap = self.moment(told).saturating_duration_since(now);
            thread::sleep(nap.max(SHORTEST_NAP));
        }
        self.due.close();
    }

    fn moment(&self, turn: u64) -> Instant {
        let nanos = u128::from(turn) * self.every.as_nanos();
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many turns are due at a moment; the first at the start.
    fn due_by(&self, moment: Instant) -> u64 {
        let Some(since) = moment.checked_duration_since(self.start) else { return 0 };
        u64::try_from(since.as_nanos() / self.every.as_nanos().max(1)).unwrap_or(u64::MAX) + 1
    }
}
