//! Acquire: which session is lent, and when none is, why not.

use std::collections::BTreeMap;

use super::{
    CoolDown, EndCause, Holder, KeyId, Lease, LeaseId, LeaseSecret, Pool, PoolMode, Refusal,
    RequestTag, Selector, SessionName, SessionRecord, Span, Time,
    choose::Wish,
    verdict::{Capability, Scope},
};

/// What an Acquire asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Who asks.
    pub holder: Holder,
    /// The wished TTL.
    pub ttl: Option<Span>,
    /// Which sessions would do.
    pub selector: Selector,
    /// The only session that would do.
    pub session: Option<SessionName>,
    /// The methods that it will call, however spelled.
    pub methods: Vec<String>,
    /// The chat or user that it will be about.
    pub peer: Option<String>,
    /// Whether a SUSPECT session would do.
    pub probe: bool,
    /// What makes the call safe to repeat.
    pub request: Option<RequestTag>,
    /// The secret of the lease, if one is granted: fresh random bits.
    pub secret: LeaseSecret,
    /// For how long the broker itself has been repeating this ask with the same secret, because a
    /// reply of the store was lost; `None` for the first attempt.
    pub retried_for: Option<Span>,
}

impl Ask {
    /// The scopes in which the session must not cool down, by key: each method, the capability
    /// that it needs, and the peer. Those of the whole session need no asking.
    #[must_use]
    pub fn scopes(&self) -> Vec<Scope> {
        let needed = self.methods.iter().filter_map(|method| Capability::needed_by(method));
        let mut scopes: BTreeMap<String, Scope> = BTreeMap::new();
        let methods = self.methods.iter().cloned().map(Scope::Method);
        let peer = self.peer.clone().map(Scope::Peer);
        for scope in methods.chain(needed.map(Scope::Capability)).chain(peer) {
            scopes.entry(scope.key()).or_insert(scope);
        }
        scopes.into_values().collect()
    }

    /// What is asked for, as text: asks with the same text are served by the same sessions.
    #[must_use]
    pub fn demand(&self) -> String {
        let session = self.session.as_ref().map_or("", SessionName::as_str);
        let mut demand = format!("{}\n{session}\n{}", self.selector, u8::from(self.probe));
        for scope in self.scopes() {
            demand.push('\n');
            demand.push_str(&scope.key());
        }
        demand
    }
}

/// A lease and what it lends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The lease.
    pub lease: Lease,
    /// What is known of the session, its credential included.
    pub record: SessionRecord,
    /// The session's cool-downs that run.
    pub cool_downs: Vec<CoolDown>,
    /// Whether an earlier call with the same request was granted it.
    pub replayed: bool,
    /// The moment of the grant or of its repetition.
    pub at: Time,
}

impl Pool {
    /// Leases the least recently used session that matches.
    ///
    /// # Errors
    ///
    /// The refusals of the contract's Acquire.
    pub fn acquire(&mut self, ask: &Ask, now: Time) -> Result<Grant, Refusal> {
        self.settle(now);
        if ask.retried_for.is_some()
            && let Some(seq) = self.line.of_secret(ask.secret)
        {
            self.line.remove(seq);
        }
        self.lend(ask, now)
    }

    /// Lends to one who stands in no line, after those who do.
    pub(super) fn lend(&mut self, ask: &Ask, now: Time) -> Result<Grant, Refusal> {
        self.serve(now);
        if let Some(grant) = self.replay(ask, now)? {
            return Ok(grant);
        }
        let name = self.pick(ask, now)?;
        Ok(self.grant(&name, ask, now))
    }

    /// Which session an Acquire would get. What makes the ask safe to repeat is ignored.
    ///
    /// # Errors
    ///
    /// The refusals of the contract's Acquire.
    pub fn explain(&mut self, ask: &Ask, now: Time) -> Result<SessionName, Refusal> {
        self.settle(now);
        self.serve(now);
        self.pick(ask, now)
    }

    /// The session that an ask gets, if it is no repetition.
    pub(super) fn pick(&mut self, ask: &Ask, now: Time) -> Result<SessionName, Refusal> {
        match self.record.mode {
            PoolMode::Active => {}
            PoolMode::Paused => return Err(Refusal::PoolPaused { pool: self.name() }),
            PoolMode::Draining => return Err(Refusal::PoolDraining { pool: self.name() }),
        }
        if self.sessions.is_empty() {
            return Err(Refusal::PoolEmpty { pool: self.name() });
        }
        if let Some(name) = &ask.session {
            self.session(name)?;
            self.settle_session(name, now);
        }
        let wish = Wish::of(ask);
        self.settle_scopes(&wish.scopes, now);
        self.choose(&wish, now)
    }

    /// Takes back a grant that could not be delivered, unless another call was given it too: its
    /// caller may have it by that one. Tells whether it did.
    pub fn undo(&mut self, id: &LeaseId, delivery: u32, now: Time) -> bool {
        self.settle(now);
        self.settle_session(&id.session, now);
        let undelivered = self
            .sessions
            .get(&id.session)
            .and_then(|session| session.standing.lease.as_ref())
            .is_some_and(|lease| lease.secret == id.secret && lease.deliveries == 1)
            && delivery == 1;
        if undelivered {
            self.restand(&id.session, |standing| standing.end_lease(EndCause::Undone, now));
        }
        undelivered
    }

    fn replay(&mut self, ask: &Ask, now: Time) -> Result<Option<Grant>, Refusal> {
        let granted_before = ask.retried_for.and_then(|_| self.session_of(ask.secret));
        if let Some(name) = granted_before {
            self.settle_session(&name, now);
            let lease = self.session(&name)?.standing.lease.as_ref();
            if lease.is_some_and(|lease| lease.secret == ask.secret) {
                // The same call as before, so no other delivery.
                self.collect(&name, now);
                return Ok(self.standing_grant(&name, now));
            }
        }
        let Some(tag) = &ask.request else { return Ok(None) };
        let key = (ask.holder.key.clone(), tag.id.clone());
        let Some(name) = self.requests.get(&key).cloned() else { return Ok(None) };
        self.settle_session(&name, now);
        let standing = &self.session(&name)?.standing;
        match standing.lease.as_ref().and_then(|lease| lease.request.as_ref()) {
            Some(known) if known == tag => Ok(self.redeliver(&name, now)),
            Some(known) if known.id == tag.id => {
                Err(Refusal::RequestIdReused { pool: self.name(), request_id: tag.id.clone() })
            }
            _ => Ok(None),
        }
    }

    /// Takes what was handed to a waiter into its hands: only now the lease begins in earnest.
    /// Tells whether it had to be taken.
    fn collect(&mut self, name: &SessionName, now: Time) -> bool {
        let lease = self.sessions.get(name).and_then(|session| session.standing.lease.as_ref());
        let handed = lease.is_some_and(|lease| lease.deliveries == 0);
        if handed {
            let max_expires_at = now + self.record.policy.max_lifetime;
            self.restand(name, |standing| {
                if let Some(lease) = &mut standing.lease {
                    lease.deliveries = 1;
                    lease.granted_at = now;
                    lease.expires_at = now + lease.ttl;
                    lease.max_expires_at = max_expires_at;
                }
            });
        }
        handed
    }

    fn redeliver(&mut self, name: &SessionName, now: Time) -> Option<Grant> {
        if self.collect(name, now) {
            return self.standing_grant(name, now);
        }
        self.restand(name, |standing| {
            if let Some(lease) = &mut standing.lease {
                lease.deliveries += 1;
            }
        });
        self.standing_grant(name, now).map(|grant| Grant { replayed: true, ..grant })
    }

    /// The lease that a session is held under, as it was granted.
    fn standing_grant(&self, name: &SessionName, now: Time) -> Option<Grant> {
        let session = self.sessions.get(name)?;
        let lease = session.standing.lease.clone()?;
        let cool_downs = session.standing.running(now);
        Some(Grant { lease, record: session.record.clone(), cool_downs, replayed: false, at: now })
    }

    pub(super) fn session_of(&self, secret: LeaseSecret) -> Option<SessionName> {
        let holds = |name: &&SessionName| {
            let lease = self.sessions.get(*name).and_then(|s| s.standing.lease.as_ref());
            lease.is_some_and(|lease| lease.secret == secret)
        };
        self.seats.leases.iter().map(|(_, name)| name).find(holds).cloned()
    }

    pub(super) fn grant(&mut self, name: &SessionName, ask: &Ask, now: Time) -> Grant {
        let policy = &self.record.policy;
        let ttl = policy.clamp_ttl(ask.ttl);
        let max_expires_at = now + policy.max_lifetime;
        self.restand(name, |standing| {
            // Counted from the clock, so that it rises even when the store has lost the newest
            // grants.
            standing.epoch = (standing.epoch + 1).max(now.0);
            standing.lease = Some(Lease {
                secret: ask.secret,
                epoch: standing.epoch,
                holder: ask.holder.clone(),
                request: ask.request.clone(),
                granted_at: now,
                expires_at: now + ttl,
                max_expires_at,
                ttl,
                deliveries: 1,
                renewals: 0,
            });
        });
        let session = &self.sessions[name];
        let lease = session.standing.lease.clone().expect("it was granted above");
        let cool_downs = session.standing.running(now);
        Grant { lease, record: session.record.clone(), cool_downs, replayed: false, at: now }
    }

    /// Who may use a lease: its holder's key.
    pub(super) fn is_holder(lease: &Lease, key: &KeyId) -> bool {
        lease.holder.key == *key
    }
}
