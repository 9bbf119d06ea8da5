//! Keeping and giving back: renew, release, invalidate by lease.

use super::{
    Assessment, Effect, EndCause, EventVerb, Invalidation, KeyId, Lease, LeaseId, Mark, Pool,
    PoolMode, Refusal, SessionView, Span, Time,
};

/// What a Release did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// It gave the session back.
    Released,
    /// The lease had ended before by its holder's own deed, or longer ago than is remembered.
    AlreadyEnded,
}

impl Pool {
    /// Extends a lease from now; never shortens it.
    ///
    /// # Errors
    ///
    /// `LeaseLost`, `LeaseNotFound`, `NotHolder`, `PoolDraining`.
    pub fn renew(
        &mut self,
        id: &LeaseId,
        key: &KeyId,
        ttl: Option<Span>,
        now: Time,
    ) -> Result<Lease, Refusal> {
        self.settle(now);
        self.held(id, key, now)?;
        if self.record.mode == PoolMode::Draining {
            return Err(Refusal::PoolDraining { pool: self.name() });
        }
        let ttl = self.record.policy.clamp_ttl(ttl);
        self.restand(&id.session, |standing| {
            if let Some(lease) = &mut standing.lease {
                let wished = (now + ttl).min(lease.max_expires_at);
                lease.expires_at = lease.expires_at.max(wished);
                lease.ttl = lease.expires_at.since(now);
                lease.renewals += 1;
            }
        });
        self.held(id, key, now)
    }

    /// The lease, if its key still holds it, with what is left of it as its TTL. Changes nothing.
    ///
    /// # Errors
    ///
    /// `LeaseLost`, `LeaseNotFound`, `NotHolder`.
    pub fn inspect(&mut self, id: &LeaseId, key: &KeyId, now: Time) -> Result<Lease, Refusal> {
        self.settle(now);
        let lease = self.held(id, key, now)?;
        Ok(Lease { ttl: lease.expires_at.since(now), ..lease })
    }

    /// Gives a session back for a holder that has vanished, unless the lease has been taken up
    /// since it was marked. Tells whether it did. The session drains: its holder may have lost the
    /// broker only, and still be connected.
    ///
    /// # Errors
    ///
    /// `LeaseLost`, `LeaseNotFound`, `NotHolder`.
    pub fn abandon(
        &mut self,
        id: &LeaseId,
        key: &KeyId,
        mark: Mark,
        now: Time,
    ) -> Result<bool, Refusal> {
        self.settle(now);
        if self.held(id, key, now)?.mark() != mark {
            return Ok(false);
        }
        let policy = &self.record.policy;
        let rest = policy.rest.max(policy.drain);
        self.restand(&id.session, |standing| {
            standing.end_lease(EndCause::Released, now);
            standing.rest(now, rest);
        });
        Ok(true)
    }

    /// Gives a session back, after taking note of the error that ended the work, if one did. Twice
    /// is in order. The error is taken note of also where the release is refused.
    ///
    /// # Errors
    ///
    /// `LeaseLost`, `LeaseNotFound`, `NotHolder`.
    pub fn release(
        &mut self,
        id: &LeaseId,
        key: &KeyId,
        rest: Span,
        error: Option<&Assessment>,
        now: Time,
    ) -> Result<(ReleaseOutcome, Option<Effect>), Refusal> {
        self.settle(now);
        let effect = error.and_then(|error| self.take_note(id, key, error, now).ok());
        let outcome = match self.held(id, key, now) {
            Ok(lease) => {
                let rest = rest.max(self.record.policy.rest);
                self.restand(&id.session, |standing| {
                    if error.is_none() && standing.is_probed_by(lease.epoch) {
                        standing.suspect = None;
                    }
                    standing.end_lease(EndCause::Released, now);
                    standing.rest(now, rest);
                });
                ReleaseOutcome::Released
            }
            Err(Refusal::LeaseLost { cause, .. })
                if cause.by_holder() || cause == EndCause::Superseded =>
            {
                ReleaseOutcome::AlreadyEnded
            }
            Err(refusal) => return Err(refusal),
        };
        Ok((outcome, effect))
    }

    /// Takes the session of a lease out of the pool, for its holder. Twice is in order.
    ///
    /// # Errors
    ///
    /// `LeaseLost`, `LeaseNotFound`, `NotHolder`.
    pub fn surrender(
        &mut self,
        id: &LeaseId,
        why: Invalidation,
        now: Time,
    ) -> Result<SessionView, Refusal> {
        self.settle(now);
        match self.held(id, &why.by, now) {
            Ok(_) => {
                let (by, detail) = (why.by.clone(), why.summary());
                self.restand(&id.session, |standing| {
                    standing.end_lease(EndCause::Surrendered, now);
                    standing.invalid = Some(why);
                });
                self.note(&id.session, EventVerb::Surrender, Some(&by), detail, now);
            }
            Err(Refusal::LeaseLost { cause: EndCause::Surrendered, .. }) => {}
            Err(refusal) => return Err(refusal),
        }
        self.view(&id.session, now)
    }

    /// The lease, if this key holds it; what became of it, if not.
    pub(super) fn held(&mut self, id: &LeaseId, key: &KeyId, now: Time) -> Result<Lease, Refusal> {
        self.settle_session(&id.session, now);
        let Some(session) = self.sessions.get(&id.session) else {
            return Err(Refusal::LeaseNotFound);
        };
        let standing = &session.standing;
        let (pool, session) = (self.name(), id.session.clone());
        match (&standing.lease, &standing.ended) {
            (Some(lease), _) if lease.secret == id.secret => {
                if Self::is_holder(lease, key) {
                    return Ok(lease.clone());
                }
                Err(Refusal::NotHolder { pool, session })
            }
            (_, Some(ended)) if ended.secret == id.secret => Err(Refusal::LeaseLost {
                pool,
                session,
                cause: ended.cause,
                epoch: ended.epoch,
                at: ended.at,
                detail: ended.detail.clone(),
            }),
            // Only the last lease of a session is remembered, so an id that matches none is taken
            // for an older one: whoever has it must stop.
            (_, Some(_)) => Err(Refusal::LeaseLost {
                pool,
                session,
                cause: EndCause::Superseded,
                epoch: standing.epoch,
                at: standing.lease.as_ref().map_or(standing.last_used, |lease| lease.granted_at),
                detail: String::new(),
            }),
            (_, None) => Err(Refusal::LeaseNotFound),
        }
    }
}
