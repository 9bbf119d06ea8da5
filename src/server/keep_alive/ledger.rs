//! The leases of a stream, and when each needs a look: one timer serves them all.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::pool::{Lease, LeaseId, Mark, PoolName, SessionName, Span};

/// After how long a store that did not answer is asked again.
const RECHECK: Duration = Duration::from_secs(1);

/// The leases of a stream. One session has one living lease, so they are kept by session.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    kept: HashMap<(PoolName, SessionName), Kept>,
    due: BTreeMap<Due, LeaseId>,
    entries: u64,
}

/// When a lease needs a look; the number tells those of one moment apart.
type Due = (Instant, u64);

/// A lease as the store last told it.
#[derive(Debug)]
struct Kept {
    id: LeaseId,
    epoch: u64,
    mark: Mark,
    /// What it was last renewed for.
    ttl: Duration,
    deadline: Instant,
    due: Due,
    warned: Warned,
}

/// Whether the worker was told that a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Warned {
    NotYet,
    Since,
}

/// What a look at a lease came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// There is nothing to tell.
    Fine,
    /// It ends soon; how much is left of it.
    Ending(Span),
    /// It has run out, as far as time alone tells; its epoch.
    RunOut(u64),
}

impl Ledger {
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether the lease is kept here.
    pub(super) fn has(&self, id: &LeaseId) -> bool {
        self.find(id).is_some()
    }

    /// Takes in a lease that the store was asked for at a moment. Gives back another lease of the
    /// same session, which must be over.
    pub(super) fn enter(
        &mut self,
        id: &LeaseId,
        lease: &Lease,
        asked_at: Instant,
    ) -> Option<LeaseId> {
        let place = (id.pool.clone(), id.session.clone());
        let before = self.kept.get(&place).map(|kept| kept.id.clone());
        if let Some(before) = &before {
            self.forget(before);
        }
        self.entries += 1;
        let ttl = millis(lease.ttl);
        // Counted from the asking, not the answer, so that it is never later than the store's end.
        let deadline = asked_at + ttl;
        let due = (deadline - ttl / 3, self.entries);
        let (epoch, mark) = (lease.epoch, lease.mark());
        let kept = Kept { id: id.clone(), epoch, mark, ttl, deadline, due, warned: Warned::NotYet };
        self.kept.insert(place, kept);
        self.due.insert(due, id.clone());
        before.filter(|before| before != id)
    }

    /// Drops a lease, and tells its epoch.
    pub(super) fn forget(&mut self, id: &LeaseId) -> Option<u64> {
        let kept = self.find(id)?;
        let (epoch, due) = (kept.epoch, kept.due);
        self.due.remove(&due);
        self.kept.remove(&(id.pool.clone(), id.session.clone()));
        Some(epoch)
    }

    /// When the next lease needs a look.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The leases that need a look by now, at most so many.
    pub(super) fn due(&self, now: Instant, most: usize) -> Vec<LeaseId> {
        self.due
            .iter()
            .take_while(|((at, _), _)| *at <= now)
            .take(most)
            .map(|(_, id)| id.clone())
            .collect()
    }

    /// The lease of a session, if it has that epoch.
    pub(super) fn lease_of(
        &self,
        pool: &PoolName,
        session: &SessionName,
        epoch: u64,
    ) -> Option<LeaseId> {
        let kept = self.kept.get(&(pool.clone(), session.clone()))?;
        (kept.epoch == epoch).then(|| kept.id.clone())
    }

    /// All leases.
    pub(super) fn all(&self) -> Vec<LeaseId> {
        self.kept.values().map(|kept| kept.id.clone()).collect()
    }

    /// All leases as they were last seen.
    pub(super) fn marks(&self) -> Vec<(LeaseId, Mark)> {
        self.kept.values().map(|kept| (kept.id.clone(), kept.mark)).collect()
    }

    /// Takes in that the store still knows a lease, with so much left of it.
    pub(super) fn seen(
        &mut self,
        id: &LeaseId,
        lease: &Lease,
        asked_at: Instant,
        now: Instant,
    ) -> Finding {
        let left = millis(lease.ttl);
        let Some(kept) = self.find_mut(id) else { return Finding::Fine };
        // Renewed by another way, so that it counts anew.
        if lease.mark() != kept.mark {
            kept.warned = Warned::NotYet;
            kept.ttl = left;
        }
        kept.mark = lease.mark();
        kept.deadline = asked_at + left;
        self.plan(id, now)
    }

    /// Takes in that the store could not tell: time goes on all the same.
    pub(super) fn unseen(&mut self, id: &LeaseId, now: Instant) -> Finding {
        let Some(kept) = self.find(id) else { return Finding::Fine };
        if now >= kept.deadline {
            let epoch = kept.epoch;
            self.forget(id);
            return Finding::RunOut(epoch);
        }
        let finding = self.plan(id, now);
        if let Some(kept) = self.find(id) {
            let again = kept.due.0.min(now + RECHECK);
            self.postpone(id, again);
        }
        finding
    }

    /// How much is left of a lease.
    pub(super) fn left(&self, id: &LeaseId, now: Instant) -> Option<Span> {
        self.find(id).map(|kept| span(kept.deadline.saturating_duration_since(now)))
    }

    /// Sets when the lease needs its next look, and tells what is to be told now.
    fn plan(&mut self, id: &LeaseId, now: Instant) -> Finding {
        let Some(kept) = self.find_mut(id) else { return Finding::Fine };
        let warning = kept.deadline - (kept.ttl / 3).min(kept.deadline.duration_since(now));
        let (finding, next) = if kept.warned == Warned::Since {
            (Finding::Fine, kept.deadline)
        } else if warning > now {
            (Finding::Fine, warning)
        } else {
            kept.warned = Warned::Since;
            (Finding::Ending(span(kept.deadline.saturating_duration_since(now))), kept.deadline)
        };
        self.postpone(id, next);
        finding
    }

    fn postpone(&mut self, id: &LeaseId, to: Instant) {
        self.entries += 1;
        let due = (to, self.entries);
        let Some(kept) = self.find_mut(id) else { return };
        let before = std::mem::replace(&mut kept.due, due);
        self.due.remove(&before);
        self.due.insert(due, id.clone());
    }

    fn find(&self, id: &LeaseId) -> Option<&Kept> {
        let kept = self.kept.get(&(id.pool.clone(), id.session.clone()));
        kept.filter(|kept| kept.id == *id)
    }

    fn find_mut(&mut self, id: &LeaseId) -> Option<&mut Kept> {
        let kept = self.kept.get_mut(&(id.pool.clone(), id.session.clone()));
        kept.filter(|kept| kept.id == *id)
    }
}

const fn millis(span: Span) -> Duration {
    Duration::from_millis(span.0)
}

fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
