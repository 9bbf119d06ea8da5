//! Waiters: Acquires that stand in line until a session is free for them.

use serde::{Deserialize, Serialize};

use super::{Ask, Ending, Grant, Holder, KeyId, LeaseSecret, Selector, SessionName, Span, Time};

/// How long a class waits before it counts as the next better one, so that nobody starves.
pub const AGEING: Span = Span::secs(30);
/// How long a session that was handed to a waiter is kept for it. Its broker collects it within
/// milliseconds, or is dead.
pub const HAND_OVER: Span = Span::secs(2);
/// The most hand-overs of one call. What is left over is due at once.
pub const SERVE_LIMIT: usize = 64;
/// The most sub-lines of a pool: kinds of demand, times classes, times keys.
pub const MAX_LINES: usize = 1024;

/// The public name of a waiter: random, and no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Where in the line a call stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Priority {
    /// Before the others.
    High,
    /// In order of arrival.
    #[default]
    Normal,
    /// Behind the others.
    Low,
}

impl Priority {
    /// The level of one that has waited so long; the least is served first.
    #[must_use]
    pub const fn level(self, waited: Span) -> u64 {
        (self as u64).saturating_sub(waited.0 / AGEING.0)
    }
}

/// How an Acquire may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The waiter's public name.
    pub ticket: Ticket,
    /// For how long.
    pub wait: Span,
    /// Where in the line.
    pub priority: Priority,
}

/// What came of an Acquire that may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// A lease at once.
    Granted(Box<Grant>),
    /// A place in the line.
    Waiting(Place),
}

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How many came before and still wait, and this one.
    pub position: u32,
    /// How many wait.
    pub waiters: u32,
    /// How long until something is due that may serve the line.
    pub next_due: Option<Span>,
}

/// What others must hear of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A session was handed to this waiter, and is to be collected.
    Handed(Ticket),
    /// Something is due in this long, sooner than was told before.
    Due(Span),
    /// A lease was ended against its holder's will.
    Ended(Ending),
}

/// A caller that has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Its waiter.
    pub ticket: Ticket,
    /// The secret of the lease that it would have got, or was handed meanwhile.
    pub secret: LeaseSecret,
    /// How long its place is kept, if it named its request.
    pub grace: Span,
}

/// A waiter as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaiterView {
    /// Its number: rises with every arrival in the pool.
    pub seq: u64,
    /// How many came before and still wait, and this one.
    pub position: u32,
    /// Who waits.
    pub holder: Holder,
    /// How long it has waited.
    pub waited: Span,
    /// How long it would still wait.
    pub remaining: Span,
    /// Which sessions would do.
    pub selector: Selector,
    /// The only session that would do.
    pub session: Option<SessionName>,
    /// Its class.
    pub priority: Priority,
}

/// An ask in the line.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) ask: Ask,
    pub(super) priority: Priority,
    pub(super) seq: u64,
    pub(super) since: Time,
    /// When its caller will have gone, or when its kept place is given up.
    pub(super) deadline: Time,
    /// Whether its caller has gone and may come back.
    pub(super) absent: bool,
}

impl Waiter {
    /// Its sub-line.
    pub(super) fn line(&self) -> LineKey {
        LineKey {
            demand: self.ask.demand(),
            priority: self.priority,
            key: self.ask.holder.key.clone(),
        }
    }

    /// The request that it stands for, if its caller named it.
    pub(super) fn request(&self) -> Option<(KeyId, String)> {
        let tag = self.ask.request.as_ref()?;
        Some((self.ask.holder.key.clone(), tag.id.clone()))
    }
}

/// A sub-line: those who want the same, with the same right to it, in order of arrival.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LineKey {
    pub(super) demand: String,
    pub(super) priority: Priority,
    pub(super) key: KeyId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_ages_into_the_next_better_one() {
        for (class, secs, level) in [
            (Priority::High, 0, 0),
            (Priority::Normal, 29, 1),
            (Priority::Normal, 30, 0),
            (Priority::Normal, 3000, 0),
            (Priority::Low, 0, 2),
            (Priority::Low, 59, 1),
            (Priority::Low, 60, 0),
        ] {
            assert_eq!(class.level(Span::secs(secs)), level, "{class:?} after {secs} s");
        }
    }
}
