//! What is due: expired leases go to drain, ended rests and cool-downs become free.

use super::{
    EndCause, Ended, EventVerb, Lease, Pool, SessionName, Span, Standing, Time, seats::Line,
};

/// The most that one call settles of each kind: expired leases, ended cool-downs of whole sessions,
/// ended rests, ended narrow cool-downs. What is left over is counted right all the same, and
/// settled by the calls that follow.
pub const SETTLE_LIMIT: usize = 64;

impl Pool {
    /// Settles what is due, boundedly.
    pub(super) fn settle(&mut self, now: Time) {
        for name in due(&self.seats.leases, now) {
            self.expire(&name);
        }
        for name in due(&self.seats.floods, now) {
            self.wake(&name, now);
        }
        for name in due(&self.seats.rests, now) {
            self.wake(&name, now);
        }
        for name in due(&self.seats.thaws, now) {
            self.thaw(&name, now);
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
        if standing.invalid.is_some() {
            if standing.rest_until > Time::default() && standing.rest_until <= now {
                self.restand(name, |standing| standing.rest_until = Time::default());
            }
            return;
        }
        let is_over = |until: Time| until > Time::default() && until <= now;
        if standing.lease.is_none()
            && standing.suspect.is_none()
            && is_over(standing.rest_until.max(standing.whole()))
        {
            self.wake(name, now);
        } else if standing.cool_downs.iter().any(|e| !e.scope.is_whole() && e.until <= now) {
            self.thaw(name, now);
        }
    }

    /// Settles what is due of some scopes, because an Acquire asks for them.
    pub(super) fn settle_scopes(&mut self, scopes: &[String], now: Time) {
        for scope in scopes {
            let line = self.seats.line(scope).take(SETTLE_LIMIT);
            let due = line.take_while(|(at, _)| *at <= now).map(|(_, name)| name.clone());
            for name in due.collect::<Vec<_>>() {
                self.thaw(&name, now);
            }
        }
    }

    fn expire(&mut self, name: &SessionName) {
        let drain = self.record.policy.drain;
        let Some(lease) = self.sessions.get(name).and_then(|s| s.standing.lease.clone()) else {
            return;
        };
        let expiry = lease.expires_at;
        self.restand(name, |standing| {
            // What was handed to a waiter and never collected was in nobody's hands.
            if lease.deliveries == 0 {
                standing.end_lease(EndCause::Undone, expiry);
            } else {
                standing.end_lease(EndCause::Expired, expiry);
                standing.rest(expiry, drain);
            }
        });
        if lease.deliveries > 0 {
            let held = format!("held by {}", lease.holder.key);
            self.note(name, EventVerb::Expire, None, held, expiry);
        }
    }

    /// Ends a rest, and every cool-down that is over.
    fn wake(&mut self, name: &SessionName, now: Time) {
        self.restand(name, |standing| {
            standing.rest_until = Time::default();
            standing.cool_downs.retain(|entry| entry.until > now);
        });
    }

    /// Ends the narrow cool-downs that are over.
    fn thaw(&mut self, name: &SessionName, now: Time) {
        self.restand(name, |standing| {
            standing.cool_downs.retain(|entry| entry.scope.is_whole() || entry.until > now);
        });
    }
}

fn due(line: &Line, now: Time) -> Vec<SessionName> {
    let due = line.iter().take(SETTLE_LIMIT).take_while(|(at, _)| *at <= now);
    due.map(|(_, name)| name.clone()).collect()
}

impl Standing {
    /// Ends the lease, if there is one, and remembers how.
    pub(super) fn end_lease(&mut self, cause: EndCause, at: Time) {
        if let Some(lease) = self.lease.take() {
            let Lease { secret, epoch, holder, .. } = lease;
            let (holder, detail) = (Some(holder.key), String::new());
            self.ended = Some(Ended { secret, epoch, cause, at, holder, detail });
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
