//! What is due: expired leases go to drain, ended rests become free.

use super::{EndCause, Ended, Pool, SessionName, Span, Standing, Time};

/// The most expired leases, and the most ended rests, that one call settles. What is left over is
/// counted right all the same, and settled by the calls that follow.
pub const SETTLE_LIMIT: usize = 64;

impl Pool {
    /// Settles what is due, boundedly.
    pub(super) fn settle(&mut self, now: Time) {
        for _ in 0..SETTLE_LIMIT {
            match self.leases.first() {
                Some((at, name)) if *at <= now => {
                    let name = name.clone();
                    self.expire(&name);
                }
                _ => break,
            }
        }
        for _ in 0..SETTLE_LIMIT {
            match self.rests.first() {
                Some((at, name)) if *at <= now => {
                    let name = name.clone();
                    self.end_rest(&name);
                }
                _ => break,
            }
        }
    }

    /// Settles one session, because a call names it.
    pub(super) fn settle_session(&mut self, name: &SessionName, now: Time) {
        let Some(session) = self.sessions.get(name) else { return };
        if session.standing.lease.as_ref().is_some_and(|lease| lease.expires_at <= now) {
            self.expire(name);
        }
        let Some(session) = self.sessions.get(name) else { return };
        let standing = &session.standing;
        let rests = standing.lease.is_none() && standing.rest_until > Time::default();
        if rests && standing.rest_until <= now {
            self.end_rest(name);
        }
    }

    fn expire(&mut self, name: &SessionName) {
        let drain = self.record.policy.drain;
        self.restand(name, |standing| {
            let expiry = standing.lease.as_ref().map_or(standing.last_used, |l| l.expires_at);
            standing.end_lease(EndCause::Expired, expiry);
            standing.rest(expiry, drain);
        });
    }

    fn end_rest(&mut self, name: &SessionName) {
        self.restand(name, |standing| standing.rest_until = Time::default());
    }
}

impl Standing {
    /// Ends the lease, if there is one, and remembers how.
    pub(super) fn end_lease(&mut self, cause: EndCause, at: Time) {
        if let Some(lease) = self.lease.take() {
            let holder = Some(lease.holder.key);
            self.ended =
                Some(Ended { secret: lease.secret, epoch: lease.epoch, cause, at, holder });
            if cause != EndCause::Undone {
                self.last_used = at;
            }
        }
    }

    /// Rests for a span from a moment.
    pub(super) fn rest(&mut self, from: Time, span: Span) {
        self.rest_until = if span == Span::ZERO { Time::default() } else { from + span };
    }
}
