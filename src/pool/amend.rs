//! What an operator changes of a pool and its sessions while they are in use.

use std::collections::BTreeMap;

use super::{
    Change, Credential, EventVerb, Fingerprint, Labels, MAX_LABELS, Mandate, Policy, PolicyChange,
    Pool, PoolName, Refusal, Session, SessionName, SessionRecord, SessionView, Time, reasoned,
};

/// What becomes of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It becomes this.
    Set(T),
    /// It is no more.
    Clear,
}

impl<T> Edit<T> {
    /// What it sets, made into something else.
    ///
    /// # Errors
    ///
    /// As the making.
    pub fn try_map<E>(self, make: impl FnOnce(T) -> Result<T, E>) -> Result<Self, E> {
        match self {
            Self::Set(value) => make(value).map(Self::Set),
            other => Ok(other),
        }
    }

    fn apply(self, value: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Set(new) => *value = Some(new),
            Self::Clear => *value = None,
        }
    }
}

/// What becomes of a session's record; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionChange {
    /// The credential that the session must still have; nothing: any.
    pub fingerprint: Option<Fingerprint>,
    /// Labels instead of all that it has.
    pub labels: Option<Labels>,
    /// Labels to set, and those without a value to take off; done last.
    pub edits: BTreeMap<String, Option<String>>,
    /// The proxy that its clients should use.
    pub proxy: Edit<Credential>,
    /// How its clients present themselves.
    pub device: Edit<Credential>,
    /// The account that it belongs to.
    pub account_id: Edit<i64>,
}

/// What of a policy is another now, and why, for the pool's trail.
#[must_use]
pub fn policy_changed(before: &Policy, after: &Policy, why: &str) -> String {
    let (old, new) = (&before.escalation, &after.escalation);
    let parts = [
        ("min_ttl", before.min_ttl.to_string(), after.min_ttl.to_string()),
        ("default_ttl", before.default_ttl.to_string(), after.default_ttl.to_string()),
        ("max_ttl", before.max_ttl.to_string(), after.max_ttl.to_string()),
        ("max_lifetime", before.max_lifetime.to_string(), after.max_lifetime.to_string()),
        ("rest", before.rest.to_string(), after.rest.to_string()),
        ("drain", before.drain.to_string(), after.drain.to_string()),
        ("max_waiters", before.max_waiters.to_string(), after.max_waiters.to_string()),
        ("escalation.disabled", old.disabled.to_string(), new.disabled.to_string()),
        (
            "escalation.session_methods",
            old.session_methods.to_string(),
            new.session_methods.to_string(),
        ),
        (
            "escalation.session_window",
            old.session_window.to_string(),
            new.session_window.to_string(),
        ),
        ("escalation.session_wait", old.session_wait.to_string(), new.session_wait.to_string()),
        ("escalation.session_rest", old.session_rest.to_string(), new.session_rest.to_string()),
        (
            "escalation.method_sessions",
            old.method_sessions.to_string(),
            new.method_sessions.to_string(),
        ),
        ("escalation.method_window", old.method_window.to_string(), new.method_window.to_string()),
        ("escalation.method_wait", old.method_wait.to_string(), new.method_wait.to_string()),
        ("escalation.method_brake", old.method_brake.to_string(), new.method_brake.to_string()),
    ];
    let other = parts.into_iter().filter(|(_, before, after)| before != after);
    let told: Vec<_> =
        other.map(|(part, before, after)| format!("{part} {before} -> {after}")).collect();
    reasoned(&told.join(", "), why)
}

impl PolicyChange {
    /// The policy that it makes of a pool's.
    ///
    /// # Errors
    ///
    /// `PolicyUnfit`.
    pub fn fit(&self, pool: &PoolName, policy: &Policy) -> Result<Policy, Refusal> {
        let policy = self.apply(policy);
        match policy.faults() {
            faults if faults.is_empty() => Ok(policy),
            faults => Err(Refusal::PolicyUnfit { pool: pool.clone(), faults }),
        }
    }
}

impl SessionChange {
    /// Whether it sets anything that is kept sealed.
    #[must_use]
    pub const fn has_secrets(&self) -> bool {
        matches!(self.proxy, Edit::Set(_)) || matches!(self.device, Edit::Set(_))
    }

    /// The record that it makes of a session's.
    ///
    /// # Errors
    ///
    /// `SessionNotFound` when it has another credential by now, `TooManyLabels`.
    pub fn fit(self, pool: &PoolName, record: &SessionRecord) -> Result<SessionRecord, Refusal> {
        let mut record = record.clone();
        if self.fingerprint.is_some_and(|wanted| wanted != record.fingerprint) {
            return Err(Refusal::SessionNotFound { pool: pool.clone(), session: record.name });
        }
        if let Some(labels) = self.labels {
            record.labels = labels;
        }
        for (key, value) in self.edits {
            match value {
                Some(value) => _ = record.labels.insert(key, value),
                None => _ = record.labels.remove(&key),
            }
        }
        self.proxy.apply(&mut record.proxy);
        self.device.apply(&mut record.device);
        self.account_id.apply(&mut record.account_id);
        let count = record.labels.len();
        if count > MAX_LABELS {
            let (pool, session) = (pool.clone(), record.name);
            return Err(Refusal::TooManyLabels { pool, session, count });
        }
        Ok(record)
    }
}

/// What of a session is another now.
#[must_use]
pub fn changed(before: &SessionRecord, after: &SessionRecord) -> String {
    let parts = [
        ("labels", before.labels != after.labels),
        ("proxy", before.proxy != after.proxy),
        ("device", before.device != after.device),
        ("account_id", before.account_id != after.account_id),
    ];
    let changed = parts.into_iter().filter(|(_, other)| *other).map(|(part, _)| part);
    changed.collect::<Vec<_>>().join(", ")
}

impl Pool {
    /// Changes the policy. What runs keeps what it was given; what begins from now on follows the
    /// new one.
    ///
    /// # Errors
    ///
    /// `PolicyUnfit`.
    pub fn update_policy(
        &mut self,
        change: &PolicyChange,
        on: &Mandate,
        now: Time,
    ) -> Result<(), Refusal> {
        let policy = change.fit(&self.record.name, &self.record.policy)?;
        // What is due is due by the policy under which it became so.
        self.settle(now);
        if self.record.policy != policy {
            let what = policy_changed(&self.record.policy, &policy, &on.detail);
            self.record.policy = policy;
            self.record.updated_at = now;
            self.changes.push(Change::Pool);
            self.note_own(EventVerb::Update, &on.by, what, now);
        }
        Ok(())
    }

    /// Changes what is known of a session, however it stands. A lease that runs goes on.
    ///
    /// # Errors
    ///
    /// `SessionNotFound`, `TooManyLabels`.
    pub fn update_session(
        &mut self,
        name: &SessionName,
        change: SessionChange,
        on: &Mandate,
        now: Time,
    ) -> Result<SessionView, Refusal> {
        let record = change.fit(&self.record.name, &self.session(name)?.record)?;
        self.settle(now);
        self.settle_session(name, now);
        let Session { record: before, standing, .. } = self.session(name)?.clone();
        if before != record {
            self.delist(&before);
            self.enlist(&record);
            let what = reasoned(&changed(&before, &record), &on.detail);
            if let Some(session) = self.sessions.get_mut(name) {
                session.record = record;
            }
            self.changes.push(Change::Session(name.clone()));
            self.note(name, EventVerb::Update, Some(&on.by), what, now);
            // It may suit somebody now whom it did not suit before.
            self.put_up(name, &standing);
        }
        self.view(name, now)
    }
}
