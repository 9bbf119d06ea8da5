//! The leases of a pool, as operators see them and end them.

use std::ops::Bound;

use super::{
    EndCause, EventVerb, KeyId, Lease, LeaseId, LeaseSecret, Pool, Refusal, Selector, SessionName,
    Time,
};

/// A place in the order in which the leases of a pool expire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseMark {
    /// When the lease there expires.
    pub expires_at: Time,
    /// Its session.
    pub session: SessionName,
}

/// A running lease, and what it lends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lent {
    /// The session.
    pub session: SessionName,
    /// The lease.
    pub lease: Lease,
}

impl Lent {
    /// Where it stands in the order of expiry.
    #[must_use]
    pub fn mark(&self) -> LeaseMark {
        LeaseMark { expires_at: self.lease.expires_at, session: self.session.clone() }
    }
}

/// Which leases are ended before their time, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Which.
    pub target: Target,
    /// Why; told to their holders.
    pub detail: String,
    /// The key that ends them.
    pub by: KeyId,
    /// Where the call before left off; nothing for the first.
    pub from: Option<Progress>,
}

/// Leases by what they have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// That of a session.
    Session(SessionName),
    /// This one.
    Lease(LeaseId),
    /// Those of a key.
    Key(KeyId),
    /// Those of sessions that match.
    Selector(Selector),
}

/// How far a revocation has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// When it began: leases that were granted later are spared.
    pub since: Time,
    /// The last lease that was looked at.
    pub after: LeaseMark,
}

/// What one step of a revocation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The leases that it ended, as they were.
    pub ended: Vec<Lent>,
    /// Where the next step goes on; nothing when all is done.
    pub next: Option<Progress>,
}

/// At how many leases one step of a revocation looks.
pub const REVOKE_STEP: usize = 256;

impl Pool {
    /// Reads running leases in the order in which they expire, from the first after a mark. A
    /// renewal moves a lease on, so whoever walks along them misses none and may meet one twice.
    pub fn list_leases(&mut self, after: Option<&LeaseMark>, most: usize, now: Time) -> Vec<Lent> {
        self.settle(now);
        self.leases_after(after, now).take(most).collect()
    }

    /// Ends leases before their time; their sessions drain. Of many leases, one call looks at
    /// [`REVOKE_STEP`] and tells where to go on.
    ///
    /// # Errors
    ///
    /// `SessionNotFound`.
    pub fn revoke_leases(
        &mut self,
        revocation: &Revocation,
        now: Time,
    ) -> Result<Revoked, Refusal> {
        self.settle(now);
        let Revocation { target, detail, by, from } = revocation;
        let one = match target {
            Target::Session(name) => {
                self.session(name)?;
                Some((name, None))
            }
            Target::Lease(id) => Some((&id.session, Some(id.secret))),
            Target::Key(_) | Target::Selector(_) => None,
        };
        let (found, next) = match one {
            Some((name, secret)) => (self.running(name, secret, now).into_iter().collect(), None),
            None => self.next_that_fit(target, from.as_ref(), now),
        };
        let drain = self.record.policy.drain;
        for lent in &found {
            self.restand(&lent.session, |standing| {
                standing.end_lease(EndCause::Revoked, now);
                standing.rest(now, drain);
                if let Some(ended) = &mut standing.ended {
                    ended.detail.clone_from(detail);
                }
            });
            self.note(&lent.session, EventVerb::Revoke, Some(by), detail.as_str(), now);
        }
        Ok(Revoked { ended: found, next })
    }

    /// The running lease of a session, if it has this secret.
    fn running(
        &mut self,
        name: &SessionName,
        secret: Option<LeaseSecret>,
        now: Time,
    ) -> Option<Lent> {
        self.settle_session(name, now);
        let lease = self.sessions.get(name)?.standing.lease.clone()?;
        let fits = secret.is_none_or(|secret| lease.secret == secret);
        fits.then(|| Lent { session: name.clone(), lease })
    }

    /// Those of the next leases that fit, and where to go on.
    fn next_that_fit(
        &self,
        target: &Target,
        from: Option<&Progress>,
        now: Time,
    ) -> (Vec<Lent>, Option<Progress>) {
        let since = from.map_or(now, |progress| progress.since);
        let after = from.map(|progress| &progress.after);
        let mut seen: Vec<_> = self.leases_after(after, now).take(REVOKE_STEP).collect();
        let last = seen.last().filter(|_| seen.len() == REVOKE_STEP);
        let next = last.map(|last| Progress { since, after: last.mark() });
        seen.retain(|lent| {
            lent.lease.granted_at <= since
                && match target {
                    Target::Key(key) => lent.lease.holder.key == *key,
                    Target::Selector(selector) => self.matches(&lent.session, selector),
                    Target::Session(_) | Target::Lease(_) => false,
                }
        });
        (seen, next)
    }

    fn leases_after(
        &self,
        after: Option<&LeaseMark>,
        now: Time,
    ) -> impl Iterator<Item = Lent> + use<'_> {
        let after = after.map(|mark| (mark.expires_at, mark.session.clone()));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let running =
            self.seats.leases.range((from, Bound::Unbounded)).filter(move |(at, _)| *at > now);
        running.filter_map(|(_, name)| {
            let lease = self.sessions.get(name)?.standing.lease.clone()?;
            Some(Lent { session: name.clone(), lease })
        })
    }
}
