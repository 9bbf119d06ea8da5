//! Serving the line: who waits, who goes, and what is handed to whom.
//!
//! Whatever makes a session free offers it to the line in the same step, so that no waiter waits
//! while something that suits it is free.

use std::collections::BTreeSet;

use super::{
    Ask, Departure, EndCause, Enqueued, HAND_OVER, News, Patience, Place, Pool, PoolMode, Refusal,
    SERVE_LIMIT, SETTLE_LIMIT, SessionName, Span, Time, WALK_LIMIT, WaiterView, choose::Wish,
    seats::Seat, waiter::Waiter,
};

impl Pool {
    /// Acquires, and takes a place in the line when that is refused and waiting can help. Safe to
    /// repeat: a waiter keeps its place.
    ///
    /// # Errors
    ///
    /// As [`Pool::acquire`], and `WaitQueueFull`.
    pub fn enqueue(
        &mut self,
        ask: &Ask,
        patience: &Patience,
        now: Time,
    ) -> Result<Enqueued, Refusal> {
        self.settle(now);
        let refusal = match self.lend(ask, now) {
            Ok(grant) => {
                self.line.of_secret(ask.secret).and_then(|seq| self.line.remove(seq));
                return Ok(Enqueued::Granted(Box::new(grant)));
            }
            Err(refusal) => refusal,
        };
        let (Refusal::PoolBusy { counts, next, queue, .. }
        | Refusal::PoolFloodWait { counts, next, queue, .. }) = refusal
        else {
            return Err(refusal);
        };
        let deadline = now + patience.wait;
        if next.after > patience.wait && !self.may_be_released(ask, deadline, now) {
            return Err(refusal);
        }
        let known = self.line.of_request(ask).map(|waiter| (waiter.seq, waiter.ask.clone()));
        if let Some((_, before)) = &known
            && before.request != ask.request
        {
            let request_id = ask.request.as_ref().map_or_else(String::new, |tag| tag.id.clone());
            return Err(Refusal::RequestIdReused { pool: self.name(), request_id });
        }
        let known = known.map(|(seq, _)| seq).or_else(|| self.line.of_ticket(patience.ticket));
        let place = known.and_then(|seq| self.line.remove(seq));
        let mut waiter = Waiter {
            ticket: patience.ticket,
            ask: ask.clone(),
            priority: patience.priority,
            seq: 0,
            since: now,
            deadline,
            absent: false,
        };
        if let Some(place) = place {
            waiter.seq = place.seq;
            waiter.since = place.since;
        } else {
            let most = self.record.policy.max_waiters;
            if !self.line.has_room(&waiter.line(), most as usize) {
                let waiters = count(self.line.len());
                let pool = self.name();
                return Err(Refusal::WaitQueueFull { pool, waiters, most, counts, next, queue });
            }
            waiter.seq = self.line.next_seq();
        }
        let seq = waiter.seq;
        self.line.insert(waiter, now);
        Ok(Enqueued::Waiting(Place {
            position: count(self.line.up_to(seq)),
            waiters: count(self.line.present()),
            next_due: self.next_due(now),
        }))
    }

    /// Takes a waiter whose caller has gone out of the line, or keeps its place for a while. What
    /// it was handed meanwhile is taken back. Idempotent.
    pub fn leave(&mut self, departure: &Departure, now: Time) {
        self.settle(now);
        if let Some(seq) = self.line.of_ticket(departure.ticket) {
            self.depart(seq, departure.grace, now);
        } else if let Some(name) = self.session_of(departure.secret) {
            self.restand(&name, |standing| {
                if standing.lease.as_ref().is_some_and(|lease| lease.deliveries == 0) {
                    standing.end_lease(EndCause::Undone, now);
                }
            });
        }
        self.serve(now);
    }

    fn depart(&mut self, seq: u64, grace: Span, now: Time) {
        let Some(mut waiter) = self.line.remove(seq) else { return };
        if grace > Span::ZERO && waiter.ask.request.is_some() {
            waiter.absent = true;
            waiter.deadline = waiter.deadline.min(now + grace);
            self.line.insert(waiter, now);
        }
    }

    /// Does what is due and offers everything that is free to everybody. Tells in how long the
    /// next thing is due; nothing when nobody waits.
    pub fn tend(&mut self, now: Time) -> Option<Span> {
        self.settle(now);
        self.reconsider = true;
        self.serve(now);
        self.next_due(now)
    }

    /// The waiters that are there, in order of arrival, from the first after a number.
    pub fn waiters(&mut self, after: u64, most: usize, now: Time) -> Vec<WaiterView> {
        self.settle(now);
        self.serve(now);
        let view = |(i, waiter): (usize, &Waiter)| WaiterView {
            seq: waiter.seq,
            position: count(i + 1),
            holder: waiter.ask.holder.clone(),
            waited: now.since(waiter.since),
            remaining: waiter.deadline.since(now),
            selector: waiter.ask.selector.clone(),
            session: waiter.ask.session.clone(),
            priority: waiter.priority,
        };
        let waiting = self.line.waiters().enumerate();
        waiting.filter(|(_, waiter)| waiter.seq > after).take(most).map(view).collect()
    }

    /// Serves the line, and tells what others must hear of it.
    pub(super) fn news(&mut self, now: Time) -> Vec<News> {
        self.serve(now);
        let mut news: Vec<_> =
            std::mem::take(&mut self.handed).into_iter().map(News::Handed).collect();
        news.extend(std::mem::take(&mut self.endings).into_iter().map(News::Ended));
        if let Some(due) = self.next_due(now) {
            let at = now + due;
            if self.announced <= now || at < self.announced {
                self.announced = at;
                news.push(News::Due(due));
            }
        }
        news
    }

    /// Offers what has become free to the line.
    pub(super) fn serve(&mut self, now: Time) {
        let freed = std::mem::take(&mut self.freed);
        if self.line.is_empty() {
            self.reconsider = false;
            return;
        }
        self.line.drop_due(now, SETTLE_LIMIT);
        if self.record.mode != PoolMode::Active {
            return;
        }
        for name in freed {
            self.offer(&name, now);
        }
        if self.reconsider {
            self.reconsider = self.offer_all(now);
        }
    }

    /// Offers all that is free to all that wait, boundedly. Tells whether something is left over.
    fn offer_all(&mut self, now: Time) -> bool {
        let mut left = SERVE_LIMIT;
        for ask in self.line.demands() {
            while let Ok(name) = self.pick(&ask, now) {
                if left == 0 {
                    return true;
                }
                if !self.offer(&name, now) {
                    break;
                }
                left -= 1;
            }
        }
        false
    }

    /// Hands a session to whose turn it is, if it suits anybody.
    fn offer(&mut self, name: &SessionName, now: Time) -> bool {
        let next = self.line.next(now, |ask| self.would_do(name, ask, now));
        let Some(waiter) = next.map(|waiter| waiter.seq).and_then(|seq| self.line.serve(seq, now))
        else {
            return false;
        };
        self.grant(name, &waiter.ask, now);
        self.restand(name, |standing| {
            if let Some(lease) = &mut standing.lease {
                lease.deliveries = 0;
                lease.expires_at = now + HAND_OVER;
            }
        });
        self.handed.push(waiter.ticket);
        true
    }

    /// In how long something is due that may serve the line.
    fn next_due(&self, now: Time) -> Option<Span> {
        if self.line.present() == 0 {
            return None;
        }
        // What a pool that does not lend has left over is served when it lends again.
        if self.reconsider && self.record.mode == PoolMode::Active {
            return Some(Span::ZERO);
        }
        self.soonest_change(now).map(|at| at.since(now))
    }
}

impl Pool {
    /// Whether a session that nobody holds would do for an ask now.
    fn would_do(&self, name: &SessionName, ask: &Ask, now: Time) -> bool {
        let seat = self.sessions.get(name).and_then(|session| session.standing.seat());
        let is_open = match seat {
            Some(Seat::Free(_)) => true,
            Some(Seat::Suspect(from)) => ask.probe && from <= now,
            _ => false,
        };
        let wish = Wish::of(ask);
        is_open
            && ask.session.as_ref().is_none_or(|wanted| wanted == name)
            && self.fits(name, &wish)
            && self.brakes_until(&wish.scopes, now).is_none()
    }

    /// Whether an ask could be met in time if every lease were given back now.
    fn may_be_released(&self, ask: &Ask, deadline: Time, now: Time) -> bool {
        let wish = Wish::of(ask);
        if self.brakes_until(&wish.scopes, now).is_some_and(|until| until > deadline) {
            return false;
        }
        let does = |name: &SessionName| {
            let standing = self.sessions.get(name).map(|session| &session.standing);
            self.matches(name, &ask.selector)
                && standing.is_some_and(|standing| {
                    let cools = standing.cools_until(&wish.scopes);
                    standing.lease.is_some() && cools.is_none_or(|until| until <= deadline)
                })
        };
        if let Some(name) = &ask.session {
            return does(name);
        }
        let mut leased = self.seats.leases.iter().map(|(_, name)| name);
        leased.by_ref().take(WALK_LIMIT).any(does) || leased.next().is_some()
    }

    /// When something changes next by itself.
    fn soonest_change(&self, now: Time) -> Option<Time> {
        let seats = &self.seats;
        let first = |line: &BTreeSet<(Time, SessionName)>| line.first().map(|(at, _)| *at);
        let queues = [&seats.leases, &seats.rests, &seats.floods, &seats.thaws];
        let suspect = seats.suspects.iter().map(|(at, _)| *at).find(|at| *at > now);
        let brakes = self.record.brakes.iter().map(|brake| brake.until).filter(|at| *at > now);
        queues.into_iter().filter_map(first).chain(suspect).chain(brakes).min()
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
