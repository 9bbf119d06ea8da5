//! How a pool stands: counts, state, and what comes free next.

use super::{Pool, PoolMode, Span, Time, seats::Line};

/// How many sessions are in each state. The states add up to `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// All sessions.
    pub total: u32,
    /// READY.
    pub free: u32,
    /// LEASED.
    pub leased: u32,
    /// RESTING.
    pub resting: u32,
    /// `FLOOD_WAIT`.
    pub flood_wait: u32,
    /// SUSPECT.
    pub suspect: u32,
    /// INVALID.
    pub invalid: u32,
}

/// What will make a session free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseCause {
    /// A lease reaches its expiry, if it is not released before.
    Lease,
    /// A rest ends.
    Rest,
    /// A cool-down ends.
    CoolDown,
}

/// When the next session is expected to be free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextRelease {
    /// How long until then.
    pub after: Span,
    /// What ends then.
    pub cause: ReleaseCause,
}

/// What a pool can do for a plain Acquire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolState {
    /// At least one session is free.
    Ready,
    /// All usable sessions are leased or resting.
    Busy,
    /// Nothing is free, and the soonest comes out of a cool-down.
    FloodWait,
    /// Sessions exist, none is usable without a person.
    Depleted,
    /// No sessions.
    Empty,
    /// The operator paused it.
    Paused,
    /// The operator is draining it.
    Draining,
}

/// Who waits for a pool, and how fast they are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// How many calls.
    pub waiters: u32,
    /// How long the first of them has waited.
    pub oldest_wait: Option<Span>,
    /// In what time one of them is served: of late, or since the last was if that is longer. None
    /// before the first was.
    pub pace: Option<Span>,
}

impl Queue {
    /// Where an Acquire that waits would stand if it came now.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.waiters as u64 + 1
    }

    /// How long it would wait, as far as that can be told: its place in the line times the pace,
    /// but not less than until the soonest release where no lease can be given back before. While
    /// no pace is known, as if all sessions became free when the next one does.
    #[must_use]
    pub fn estimated_wait(&self, counts: PoolCounts, next: NextRelease) -> Span {
        let usable = u64::from(counts.total - counts.invalid - counts.suspect).max(1);
        match self.pace {
            None => next.after.times(self.position().div_ceil(usable)),
            Some(pace) if counts.leased > 0 => pace.times(self.position()),
            Some(pace) => pace.times(self.position()).max(next.after),
        }
    }
}

/// How a pool stands at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStatus {
    /// What it can do.
    pub state: PoolState,
    /// How its sessions stand.
    pub counts: PoolCounts,
    /// What comes free next, when nothing is free.
    pub next: Option<NextRelease>,
    /// Who waits.
    pub queue: Queue,
    /// The moment.
    pub at: Time,
}

impl PoolStatus {
    /// How long an Acquire that came now would wait. None where that takes a person.
    #[must_use]
    pub fn estimated_wait(&self) -> Option<Span> {
        match self.state {
            PoolState::Ready => Some(Span::ZERO),
            PoolState::Busy | PoolState::FloodWait => {
                Some(self.queue.estimated_wait(self.counts, self.next?))
            }
            PoolState::Depleted | PoolState::Empty | PoolState::Paused | PoolState::Draining => {
                None
            }
        }
    }

    /// Derives the state from the facts.
    #[must_use]
    pub fn derive(
        mode: PoolMode,
        counts: PoolCounts,
        next: Option<NextRelease>,
        queue: Queue,
        at: Time,
    ) -> Self {
        let usable = counts.total - counts.invalid - counts.suspect;
        let state = match (mode, next) {
            (PoolMode::Paused, _) => PoolState::Paused,
            (PoolMode::Draining, _) => PoolState::Draining,
            _ if counts.total == 0 => PoolState::Empty,
            _ if counts.free > 0 => PoolState::Ready,
            _ if usable == 0 => PoolState::Depleted,
            (_, Some(NextRelease { cause: ReleaseCause::CoolDown, .. })) => PoolState::FloodWait,
            _ => PoolState::Busy,
        };
        let next = if counts.free > 0 { None } else { next };
        Self { state, counts, next, queue, at }
    }
}

impl Pool {
    /// How the pool stands.
    pub fn status(&mut self, now: Time) -> PoolStatus {
        self.settle(now);
        self.serve(now);
        let next = self.next_release(now);
        PoolStatus::derive(self.record.mode, self.counts(now), next, self.queue(now), now)
    }

    pub(super) fn queue(&self, now: Time) -> Queue {
        let oldest = self.line.waiters().next();
        Queue {
            waiters: count(self.line.present()),
            oldest_wait: oldest.map(|waiter| now.since(waiter.since)),
            pace: self.line.pace(now),
        }
    }

    /// Counts the sessions by state, what is due but not settled included.
    pub(super) fn counts(&self, now: Time) -> PoolCounts {
        let drain = self.record.policy.drain;
        let seats = &self.seats;
        let due =
            |line: &Line, by: Time| count(line.iter().take_while(|(at, _)| *at <= by).count());
        let expired = due(&seats.leases, now);
        let drained = if drain == Span::ZERO { expired } else { due(&seats.leases, now - drain) };
        let (rested, cooled) = (due(&seats.rests, now), due(&seats.floods, now));
        let total = count(self.sessions.len());
        let free = count(seats.free.len()) + rested + cooled + drained;
        let leased = count(seats.leases.len()) - expired;
        let resting = count(seats.rests.len()) - rested + expired - drained;
        let flood_wait = count(seats.floods.len()) - cooled;
        let suspect = count(seats.suspects.len());
        let invalid = total - free - leased - resting - flood_wait - suspect;
        PoolCounts { total, free, leased, resting, flood_wait, suspect, invalid }
    }
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
