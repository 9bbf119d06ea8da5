//! The bare rulebook as a store: nothing durable, nothing concurrent, nothing of its own.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use telegate::{
    clock::Clock,
    pool::{
        Ask, Assessment, Departure, Effect, Enqueued, Event, Grant, Invalidation, KeyId, Lease,
        LeaseId, LeaseMark, Lent, Mandate, Mark, NewSession, Patience, Policy, PolicyChange,
        PoolMode, PoolName, PoolStatus, PoolView, Realm, Refusal, ReleaseOutcome, Revocation,
        Revoked, Secrets, SessionChange, SessionName, SessionView, Span, Time, WaiterView,
        verdict::Scope,
    },
    store::{Crier, Health, Notice, Notices, Result, Store},
};
use tokio::sync::watch;

/// What the engines are compared with.
#[derive(Debug)]
pub(crate) struct Rulebook {
    realm: Mutex<Realm>,
    clock: Clock,
    health: watch::Sender<Health>,
    crier: Crier,
}

impl Rulebook {
    /// No pools yet, and a clock that a test moves.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            realm: Mutex::default(),
            clock,
            health: watch::Sender::new(Health::Up),
            crier: Crier::default(),
        }
    }

    fn realm(&self) -> Deed<'_> {
        let realm = self.realm.lock().unwrap_or_else(PoisonError::into_inner);
        Deed { realm, now: self.clock.now(), crier: &self.crier }
    }
}

/// The realm while a deed is done. It ends, as every deed does, with serving those who wait.
struct Deed<'a> {
    realm: MutexGuard<'a, Realm>,
    now: Time,
    crier: &'a Crier,
}

impl Deref for Deed<'_> {
    type Target = Realm;

    fn deref(&self) -> &Realm {
        &self.realm
    }
}

impl DerefMut for Deed<'_> {
    fn deref_mut(&mut self) -> &mut Realm {
        &mut self.realm
    }
}

impl Drop for Deed<'_> {
    fn drop(&mut self) {
        for (pool, news) in self.realm.serve(self.now) {
            self.crier.cry(Notice::of(pool, news));
        }
        drop(self.realm.take_changes());
    }
}

#[async_trait]
impl Store for Rulebook {
    async fn create_pool(&self, pool: &PoolName, policy: Policy, on: &Mandate) -> Result<PoolView> {
        Ok(self.realm().create_pool(pool, policy, on, self.clock.now())?)
    }

    async fn get_pool(&self, pool: &PoolName) -> Result<PoolView> {
        Ok(self.realm().view(pool, self.clock.now())?)
    }

    async fn list_pools(&self, after: Option<&PoolName>, most: usize) -> Result<Vec<PoolView>> {
        Ok(self.realm().list(after, most, self.clock.now()))
    }

    async fn update_pool(
        &self,
        pool: &PoolName,
        change: PolicyChange,
        on: &Mandate,
    ) -> Result<PoolView> {
        let (mut realm, now) = (self.realm(), self.clock.now());
        realm.pool(pool)?.update_policy(&change, on, now)?;
        Ok(realm.view(pool, now)?)
    }

    async fn delete_pool(&self, pool: &PoolName, on: &Mandate) -> Result<()> {
        Ok(self.realm().delete_pool(pool, on, self.clock.now())?)
    }

    async fn set_mode(&self, pool: &PoolName, mode: PoolMode, on: &Mandate) -> Result<PoolView> {
        let (mut realm, now) = (self.realm(), self.clock.now());
        realm.pool(pool)?.set_mode(mode, on, now);
        Ok(realm.view(pool, now)?)
    }

    async fn status(&self, pool: &PoolName) -> Result<PoolStatus> {
        Ok(self.realm().pool(pool)?.status(self.clock.now()))
    }

    async fn add(&self, pool: &PoolName, session: NewSession) -> Result<SessionView> {
        Ok(self.realm().add(pool, session, self.clock.now())?)
    }

    async fn update_session(
        &self,
        pool: &PoolName,
        session: &SessionName,
        change: SessionChange,
        on: &Mandate,
    ) -> Result<SessionView> {
        Ok(self.realm().pool(pool)?.update_session(session, change, on, self.clock.now())?)
    }

    async fn remove(&self, pool: &PoolName, session: &SessionName, on: &Mandate) -> Result<()> {
        Ok(self.realm().remove(pool, session, on, self.clock.now())?)
    }

    async fn get_session(&self, pool: &PoolName, session: &SessionName) -> Result<SessionView> {
        Ok(self.realm().pool(pool)?.get(session, self.clock.now())?)
    }

    async fn list_sessions(
        &self,
        pool: &PoolName,
        after: Option<&SessionName>,
        most: usize,
    ) -> Result<Vec<SessionView>> {
        Ok(self.realm().pool(pool)?.list(after, most, self.clock.now()))
    }

    async fn reseal(
        &self,
        pool: &PoolName,
        session: &SessionName,
        read: &Secrets,
        new: Secrets,
    ) -> Result<bool> {
        Ok(self.realm().pool(pool)?.reseal(session, read, new)?)
    }

    async fn acquire(&self, pool: &PoolName, ask: Ask) -> Result<Grant> {
        Ok(self.realm().pool(pool)?.acquire(&ask, self.clock.now())?)
    }

    async fn enqueue(&self, pool: &PoolName, ask: Ask, patience: Patience) -> Result<Enqueued> {
        Ok(self.realm().pool(pool)?.enqueue(&ask, &patience, self.clock.now())?)
    }

    async fn leave(&self, pool: &PoolName, departure: &Departure) -> Result<()> {
        if let Ok(pool) = self.realm().pool(pool) {
            pool.leave(departure, self.clock.now());
        }
        Ok(())
    }

    async fn tend(&self, pool: &PoolName) -> Result<Option<Span>> {
        Ok(self.realm().pool(pool)?.tend(self.clock.now()))
    }

    async fn list_waiters(
        &self,
        pool: &PoolName,
        after: u64,
        most: usize,
    ) -> Result<Vec<WaiterView>> {
        Ok(self.realm().pool(pool)?.waiters(after, most, self.clock.now()))
    }

    async fn undo(&self, lease: &LeaseId, delivery: u32) -> Result<bool> {
        let mut realm = self.realm();
        let Ok(pool) = realm.pool(&lease.pool) else { return Ok(false) };
        Ok(pool.undo(lease, delivery, self.clock.now()))
    }

    async fn renew(&self, lease: &LeaseId, key: &KeyId, ttl: Option<Span>) -> Result<Lease> {
        let mut realm = self.realm();
        let pool = realm.pool(&lease.pool).map_err(|_| Refusal::LeaseNotFound)?;
        Ok(pool.renew(lease, key, ttl, self.clock.now())?)
    }

    async fn release(
        &self,
        lease: &LeaseId,
        key: &KeyId,
        rest: Span,
        error: Option<&Assessment>,
    ) -> Result<(ReleaseOutcome, Option<Effect>)> {
        let mut realm = self.realm();
        let pool = realm.pool(&lease.pool).map_err(|_| Refusal::LeaseNotFound)?;
        Ok(pool.release(lease, key, rest, error, self.clock.now())?)
    }

    async fn report(&self, lease: &LeaseId, key: &KeyId, error: &Assessment) -> Result<Effect> {
        let mut realm = self.realm();
        let pool = realm.pool(&lease.pool).map_err(|_| Refusal::LeaseNotFound)?;
        Ok(pool.report(lease, key, error, self.clock.now())?)
    }

    async fn afflict(
        &self,
        pool: &PoolName,
        account: i64,
        by: &KeyId,
        error: &Assessment,
    ) -> Result<u32> {
        Ok(self.realm().pool(pool)?.afflict(account, by, error, self.clock.now()))
    }

    async fn clear_cool_down(
        &self,
        pool: &PoolName,
        session: Option<&SessionName>,
        scope: &Scope,
        on: &Mandate,
    ) -> Result<Option<SessionView>> {
        Ok(self.realm().pool(pool)?.clear_cool_down(session, scope, on, self.clock.now())?)
    }

    async fn explain(&self, pool: &PoolName, ask: Ask) -> Result<SessionName> {
        Ok(self.realm().pool(pool)?.explain(&ask, self.clock.now())?)
    }

    async fn surrender(&self, lease: &LeaseId, why: Invalidation) -> Result<SessionView> {
        let (mut realm, now) = (self.realm(), self.clock.now());
        let pool = realm.pool(&lease.pool).map_err(|_| Refusal::LeaseNotFound)?;
        Ok(pool.surrender(lease, Invalidation { at: now, ..why }, now)?)
    }

    async fn invalidate(
        &self,
        pool: &PoolName,
        session: &SessionName,
        why: Invalidation,
    ) -> Result<SessionView> {
        let now = self.clock.now();
        let why = Invalidation { at: now, ..why };
        Ok(self.realm().pool(pool)?.invalidate(session, why, now)?)
    }

    async fn restore(
        &self,
        pool: &PoolName,
        session: &SessionName,
        on: &Mandate,
    ) -> Result<SessionView> {
        Ok(self.realm().pool(pool)?.restore(session, on, self.clock.now())?)
    }

    async fn list_leases(
        &self,
        pool: &PoolName,
        after: Option<&LeaseMark>,
        most: usize,
    ) -> Result<Vec<Lent>> {
        Ok(self.realm().pool(pool)?.list_leases(after, most, self.clock.now()))
    }

    async fn revoke_leases(&self, pool: &PoolName, which: &Revocation) -> Result<Revoked> {
        Ok(self.realm().pool(pool)?.revoke_leases(which, self.clock.now())?)
    }

    async fn history(
        &self,
        pool: &PoolName,
        session: Option<&SessionName>,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<Event>> {
        Ok(self.realm().history(pool, session, before, most, self.clock.now())?)
    }

    async fn renew_all(
        &self,
        leases: &[LeaseId],
        key: &KeyId,
        ttl: Option<Span>,
    ) -> Vec<Result<Lease>> {
        let (mut realm, now) = (self.realm(), self.clock.now());
        let mut renew = |lease: &LeaseId| {
            let pool = realm.pool(&lease.pool).map_err(|_| Refusal::LeaseNotFound)?;
            Ok(pool.renew(lease, key, ttl, now)?)
        };
        leases.iter().map(&mut renew).collect()
    }

    async fn inspect_all(&self, leases: &[LeaseId], key: &KeyId) -> Vec<Result<Lease>> {
        let (mut realm, now) = (self.realm(), self.clock.now());
        let mut inspect = |lease: &LeaseId| {
            let pool = realm.pool(&lease.pool).map_err(|_| Refusal::LeaseNotFound)?;
            Ok(pool.inspect(lease, key, now)?)
        };
        leases.iter().map(&mut inspect).collect()
    }

    async fn abandon_all(&self, leases: &[(LeaseId, Mark)], key: &KeyId) -> Vec<Result<bool>> {
        let (mut realm, now) = (self.realm(), self.clock.now());
        let mut abandon = |(lease, mark): &(LeaseId, Mark)| {
            let pool = realm.pool(&lease.pool).map_err(|_| Refusal::LeaseNotFound)?;
            Ok(pool.abandon(lease, key, *mark, now)?)
        };
        leases.iter().map(&mut abandon).collect()
    }

    fn notices(&self) -> Notices {
        self.crier.listen()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    async fn close(&self) {}
}
