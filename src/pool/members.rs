//! The sessions of a pool: add, remove, read, invalidate by name, restore.

use std::ops::Bound;

use super::{
    Change, Credential, EndCause, EventVerb, Fingerprint, Invalidation, KeyId, Labels, Mandate,
    Pool, Refusal, Secrets, Session, SessionName, SessionRecord, SessionState, SessionView,
    Standing, Time, reasoned, trail::Trail,
};

/// A session to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// Its name in the pool.
    pub name: SessionName,
    /// Free labels that selectors match.
    pub labels: Labels,
    /// A fingerprint of the credential.
    pub fingerprint: Fingerprint,
    /// The account that it belongs to, where known.
    pub account_id: Option<i64>,
    /// The proxy that its clients should use.
    pub proxy: Option<Credential>,
    /// How its clients present themselves.
    pub device: Option<Credential>,
    /// The secret that is lent.
    pub credential: Credential,
    /// The key that adds it.
    pub by: KeyId,
}

impl NewSession {
    /// The record of the session, added at a moment.
    #[must_use]
    pub fn into_record(self, now: Time) -> SessionRecord {
        SessionRecord {
            name: self.name,
            labels: self.labels,
            fingerprint: self.fingerprint,
            account_id: self.account_id,
            proxy: self.proxy,
            device: self.device,
            credential: self.credential,
            created_at: now,
        }
    }
}

impl Pool {
    /// Adds a session, free at once.
    ///
    /// # Errors
    ///
    /// `SessionExists`. That the credential is new is the realm's to check.
    pub fn add(&mut self, new: NewSession, now: Time) -> Result<SessionView, Refusal> {
        self.settle(now);
        let name = new.name.clone();
        if self.has(&name) {
            return Err(Refusal::SessionExists { pool: self.name(), session: name });
        }
        let standing = Standing { epoch: self.record.past_epoch, ..Standing::default() };
        let by = new.by.clone();
        self.insert(Session { record: new.into_record(now), standing, trail: Trail::default() });
        self.changes.push(Change::Session(name.clone()));
        self.note(&name, EventVerb::Add, Some(&by), "", now);
        self.view(&name, now)
    }

    /// Whether there is a session of that name.
    pub fn has(&self, name: &SessionName) -> bool {
        self.sessions.contains_key(name)
    }

    /// Removes a session that nobody holds or may still be connected with. Its trail goes with it,
    /// so the pool's tells why, if that was said.
    ///
    /// # Errors
    ///
    /// `SessionNotFound`, `InappropriateState`.
    pub fn remove(
        &mut self,
        name: &SessionName,
        on: &Mandate,
        now: Time,
    ) -> Result<SessionRecord, Refusal> {
        const WANTED: &[SessionState] = &[
            SessionState::Ready,
            SessionState::FloodWait,
            SessionState::Suspect,
            SessionState::Invalid,
        ];
        self.settle(now);
        self.session(name)?;
        self.settle_session(name, now);
        let standing = self.session(name)?.standing.clone();
        let state =
            if standing.rest_until > now { SessionState::Resting } else { standing.state(now) };
        if !WANTED.contains(&state) {
            let (pool, session) = (self.name(), name.clone());
            return Err(Refusal::InappropriateState { pool, session, state, wanted: WANTED });
        }
        if standing.epoch > self.record.past_epoch {
            self.record.past_epoch = standing.epoch;
            self.changes.push(Change::Pool);
        }
        self.unindex(name, &standing);
        let Some(session) = self.sessions.remove(name) else { return Err(self.no_session(name)) };
        self.delist(&session.record);
        self.changes.push(Change::Removed(name.clone()));
        if !on.detail.is_empty() {
            self.note_own(EventVerb::Remove, &on.by, reasoned(name.as_str(), &on.detail), now);
        }
        Ok(session.record)
    }

    /// Reads a session.
    ///
    /// # Errors
    ///
    /// `SessionNotFound`.
    pub fn get(&mut self, name: &SessionName, now: Time) -> Result<SessionView, Refusal> {
        self.session(name)?;
        self.settle_session(name, now);
        self.view(name, now)
    }

    /// Reads sessions by name, from the first after a name.
    pub fn list(
        &mut self,
        after: Option<&SessionName>,
        most: usize,
        now: Time,
    ) -> Vec<SessionView> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names: Vec<_> = self
            .sessions
            .range::<SessionName, _>((from, Bound::Unbounded))
            .take(most)
            .map(|(name, _)| name.clone())
            .collect();
        names.iter().filter_map(|name| self.get(name, now).ok()).collect()
    }

    /// Replaces the secret parts of a session if they are still those that were read, whatever its
    /// state. Tells whether they are the new ones now; a repetition finds them so.
    ///
    /// # Errors
    ///
    /// `SessionNotFound`.
    pub fn reseal(
        &mut self,
        name: &SessionName,
        read: &Secrets,
        new: Secrets,
    ) -> Result<bool, Refusal> {
        let missing = self.no_session(name);
        let session = self.sessions.get_mut(name).ok_or(missing)?;
        let kept = session.record.secrets();
        if kept == new {
            return Ok(true);
        }
        let still = kept == *read;
        if still {
            session.record = session.record.clone().with_secrets(new);
            self.changes.push(Change::Session(name.clone()));
        }
        Ok(still)
    }

    /// Takes a session out of the pool by name. The first reason stays. A lease that this ends
    /// drains.
    ///
    /// # Errors
    ///
    /// `SessionNotFound`.
    pub fn invalidate(
        &mut self,
        name: &SessionName,
        why: Invalidation,
        now: Time,
    ) -> Result<SessionView, Refusal> {
        self.settle(now);
        self.session(name)?;
        self.settle_session(name, now);
        self.condemn(name, why, now);
        self.view(name, now)
    }

    /// Makes a session INVALID unless it is. A lease that this ends drains.
    pub(super) fn condemn(&mut self, name: &SessionName, why: Invalidation, now: Time) {
        if self.sessions.get(name).is_none_or(|session| session.standing.invalid.is_some()) {
            return;
        }
        let drain = self.record.policy.drain;
        let (by, detail) = (why.by.clone(), why.summary());
        self.restand(name, |standing| {
            if standing.lease.is_some() {
                standing.end_lease(EndCause::Invalidated, now);
                standing.rest(now, drain);
            }
            standing.invalid = Some(why);
        });
        self.note(name, EventVerb::Invalidate, Some(&by), detail, now);
    }

    /// Brings an INVALID session back, and clears a SUSPECT one. What still runs is waited out: a
    /// drain, a cool-down.
    ///
    /// # Errors
    ///
    /// `SessionNotFound`, `InappropriateState`.
    pub fn restore(
        &mut self,
        name: &SessionName,
        on: &Mandate,
        now: Time,
    ) -> Result<SessionView, Refusal> {
        const WANTED: &[SessionState] = &[SessionState::Invalid, SessionState::Suspect];
        self.settle(now);
        self.session(name)?;
        self.settle_session(name, now);
        let standing = &self.session(name)?.standing;
        if standing.invalid.is_none() && standing.state(now) != SessionState::Suspect {
            return Err(Refusal::InappropriateState {
                pool: self.name(),
                session: name.clone(),
                state: standing.state(now),
                wanted: WANTED,
            });
        }
        self.restand(name, |standing| {
            standing.invalid = None;
            standing.suspect = None;
            standing.cool_downs.retain(|entry| entry.until > now);
        });
        self.note(name, EventVerb::Restore, Some(&on.by), on.detail.as_str(), now);
        self.settle_session(name, now);
        self.view(name, now)
    }
}
