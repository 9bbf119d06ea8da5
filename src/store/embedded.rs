//! The embedded engine: the rules in this process, durable in one file.
//!
//! A deed runs under a mutex, in memory; what it changed goes to the [`journal`], in the same
//! order, and the answer waits until it is written. Deeds that come while a write is under way
//! share the next one.

mod ahead;
mod journal;
mod place;
mod recent;
mod rows;
mod turn;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use tokio::sync::watch;

pub use self::journal::Durability;
use self::{journal::Journal, rows::Write};
use super::{
    Error, Health, Notice, Notices, Result, Store,
    batch::{batches, in_order},
    notice::Crier,
};
use crate::{
    clock::Clock,
    pool::{
        Ask, Assessment, Departure, Effect, Enqueued, Event, Grant, Invalidation, KeyId, Lease,
        LeaseId, LeaseMark, Lent, Mandate, Mark, NewSession, Patience, Policy, PolicyChange, Pool,
        PoolMode, PoolName, PoolStatus, PoolView, Realm, Refusal, ReleaseOutcome, Revocation,
        Revoked, Secrets, SessionChange, SessionName, SessionView, Span, Time, WaiterView,
        verdict::Scope,
    },
};

/// A store in one file of this machine. One process at a time can open it.
#[derive(Debug)]
pub struct EmbeddedStore {
    memory: Arc<Mutex<Memory>>,
    journal: Journal,
    clock: Clock,
    health: watch::Receiver<Health>,
    crier: Crier,
}

/// What the deeds run on.
#[derive(Debug)]
enum Memory {
    /// All pools, as the file has them or soon will.
    Up(Realm),
    /// The file could not be written or read; why.
    Down(String),
}

impl EmbeddedStore {
    /// Opens the file, or makes it, readable to its owner only.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when another process has it open or it cannot be reached,
    /// [`Error::Broken`] when it is not a store of this version or is damaged. It is then left as
    /// it is.
    pub fn open(path: &Path, clock: Clock, durability: Durability) -> Result<Self> {
        let (file, realm, seen) = journal::open(path, durability)?;
        let memory = Arc::new(Mutex::new(Memory::Up(realm)));
        let crier = Crier::default();
        let (journal, health) = Journal::start(file, Arc::clone(&memory), crier.clone());
        Ok(Self { memory, journal, clock: clock.not_before(seen), health, crier })
    }

    /// Does a deed on all pools and waits until what it changed is durable.
    async fn deed<T>(
        &self,
        deed: impl FnOnce(&mut Realm, Time) -> Result<T, Refusal> + Send,
    ) -> Result<T> {
        let (answer, written) = {
            let mut memory = lock(&self.memory)?;
            let realm = match &mut *memory {
                Memory::Up(realm) => realm,
                Memory::Down(why) => return Err(Error::Unavailable(why.clone())),
            };
            let now = self.clock.now();
            let answer = deed(realm, now);
            let news = realm.serve(now).into_iter();
            let news: Vec<_> = news.map(|(pool, news)| Notice::of(pool, news)).collect();
            let writes = Write::of(realm.take_changes())?;
            // Sent under the lock, so that the file sees the deeds in their order.
            // One that changed nothing may tell of what is not durable yet, so it waits too.
            let is_told = writes.is_empty() && self.journal.is_idle();
            if is_told {
                for notice in news {
                    self.crier.cry(notice);
                }
                (answer, None)
            } else {
                (answer, Some(self.journal.write(writes, news)))
            }
        };
        if let Some(written) = written {
            written.await.map_err(|_| Error::Unavailable("the store was closed".into()))??;
        }
        Ok(answer?)
    }

    /// Does a deed on one pool.
    async fn in_pool<T>(
        &self,
        pool: &PoolName,
        deed: impl FnOnce(&mut Pool, Time) -> Result<T, Refusal> + Send,
    ) -> Result<T> {
        self.deed(|realm, now| deed(realm.pool(pool)?, now)).await
    }

    /// Does a deed on the pool of a lease; an unknown pool knows no lease.
    async fn with_lease<T>(
        &self,
        lease: &LeaseId,
        deed: impl FnOnce(&mut Pool, Time) -> Result<T, Refusal> + Send,
    ) -> Result<T> {
        self.deed(|realm, now| {
            deed(realm.pool(&lease.pool).map_err(|_| Refusal::LeaseNotFound)?, now)
        })
        .await
    }

    /// Does a deed on each of some leases, of which many come with each visit to the memory.
    async fn on_each<L: Sync, T: Send>(
        &self,
        leases: &[L],
        id: impl Fn(&L) -> &LeaseId + Sync,
        deed: impl Fn(&mut Pool, &L, Time) -> Result<T, Refusal> + Sync,
    ) -> Vec<Result<T>> {
        let mut answered = Vec::new();
        for batch in batches(leases.iter().map(|lease| &id(lease).pool)) {
            let visit = self.deed(|realm, now| {
                let each = |place: &usize| {
                    let pool = realm.pool(&batch.pool).map_err(|_| Refusal::LeaseNotFound)?;
                    Ok(deed(pool, &leases[*place], now)?)
                };
                Ok(batch.places.iter().map(each).collect())
            });
            let answers = visit.await;
            answered.push((batch, answers));
        }
        in_order(answered)
    }
}

/// Locks the memory. A rule that panicked may have left it half changed, so nothing is granted
/// from it any more.
fn lock(memory: &Mutex<Memory>) -> Result<MutexGuard<'_, Memory>> {
    memory.lock().map_err(|_| Error::Broken("a rule panicked; restart the broker".into()))
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn create_pool(&self, pool: &PoolName, policy: Policy, on: &Mandate) -> Result<PoolView> {
        self.deed(|realm, now| realm.create_pool(pool, policy, on, now)).await
    }

    async fn get_pool(&self, pool: &PoolName) -> Result<PoolView> {
        self.deed(|realm, now| realm.view(pool, now)).await
    }

    async fn list_pools(&self, after: Option<&PoolName>, most: usize) -> Result<Vec<PoolView>> {
        self.deed(|realm, now| Ok(realm.list(after, most, now))).await
    }

    async fn update_pool(
        &self,
        pool: &PoolName,
        change: PolicyChange,
        on: &Mandate,
    ) -> Result<PoolView> {
        self.deed(|realm, now| {
            realm.pool(pool)?.update_policy(&change, on, now)?;
            realm.view(pool, now)
        })
        .await
    }

    async fn delete_pool(&self, pool: &PoolName, on: &Mandate) -> Result<()> {
        self.deed(|realm, now| realm.delete_pool(pool, on, now)).await
    }

    async fn set_mode(&self, pool: &PoolName, mode: PoolMode, on: &Mandate) -> Result<PoolView> {
        self.deed(|realm, now| {
            realm.pool(pool)?.set_mode(mode, on, now);
            realm.view(pool, now)
        })
        .await
    }

    async fn status(&self, pool: &PoolName) -> Result<PoolStatus> {
        self.in_pool(pool, |pool, now| Ok(pool.status(now))).await
    }

    async fn add(&self, pool: &PoolName, session: NewSession) -> Result<SessionView> {
        self.deed(|realm, now| realm.add(pool, session, now)).await
    }

    async fn update_session(
        &self,
        pool: &PoolName,
        session: &SessionName,
        change: SessionChange,
        on: &Mandate,
    ) -> Result<SessionView> {
        self.in_pool(pool, |pool, now| pool.update_session(session, change, on, now)).await
    }

    async fn remove(&self, pool: &PoolName, session: &SessionName, on: &Mandate) -> Result<()> {
        self.deed(|realm, now| realm.remove(pool, session, on, now)).await
    }

    async fn get_session(&self, pool: &PoolName, session: &SessionName) -> Result<SessionView> {
        self.in_pool(pool, |pool, now| pool.get(session, now)).await
    }

    async fn list_sessions(
        &self,
        pool: &PoolName,
        after: Option<&SessionName>,
        most: usize,
    ) -> Result<Vec<SessionView>> {
        self.in_pool(pool, |pool, now| Ok(pool.list(after, most, now))).await
    }

    async fn reseal(
        &self,
        pool: &PoolName,
        session: &SessionName,
        read: &Secrets,
        new: Secrets,
    ) -> Result<bool> {
        self.in_pool(pool, |pool, _| pool.reseal(session, read, new)).await
    }

    async fn acquire(&self, pool: &PoolName, ask: Ask) -> Result<Grant> {
        self.in_pool(pool, |pool, now| pool.acquire(&ask, now)).await
    }

    async fn enqueue(&self, pool: &PoolName, ask: Ask, patience: Patience) -> Result<Enqueued> {
        self.in_pool(pool, |pool, now| pool.enqueue(&ask, &patience, now)).await
    }

    async fn leave(&self, pool: &PoolName, departure: &Departure) -> Result<()> {
        let left = self.in_pool(pool, |pool, now| {
            pool.leave(departure, now);
            Ok(())
        });
        match left.await {
            Err(Error::Refused(_)) => Ok(()),
            other => other,
        }
    }

    async fn tend(&self, pool: &PoolName) -> Result<Option<Span>> {
        self.in_pool(pool, |pool, now| Ok(pool.tend(now))).await
    }

    async fn list_waiters(
        &self,
        pool: &PoolName,
        after: u64,
        most: usize,
    ) -> Result<Vec<WaiterView>> {
        self.in_pool(pool, |pool, now| Ok(pool.waiters(after, most, now))).await
    }

    async fn undo(&self, lease: &LeaseId, delivery: u32) -> Result<bool> {
        let undone =
            self.in_pool(&lease.pool, |pool, now| Ok(pool.undo(lease, delivery, now))).await;
        match undone {
            Err(Error::Refused(refusal)) if matches!(*refusal, Refusal::PoolNotFound { .. }) => {
                Ok(false)
            }
            other => other,
        }
    }

    async fn renew(&self, lease: &LeaseId, key: &KeyId, ttl: Option<Span>) -> Result<Lease> {
        self.with_lease(lease, |pool, now| pool.renew(lease, key, ttl, now)).await
    }

    async fn release(
        &self,
        lease: &LeaseId,
        key: &KeyId,
        rest: Span,
        error: Option<&Assessment>,
    ) -> Result<(ReleaseOutcome, Option<Effect>)> {
        self.with_lease(lease, |pool, now| pool.release(lease, key, rest, error, now)).await
    }

    async fn report(&self, lease: &LeaseId, key: &KeyId, error: &Assessment) -> Result<Effect> {
        self.with_lease(lease, |pool, now| pool.report(lease, key, error, now)).await
    }

    async fn afflict(
        &self,
        pool: &PoolName,
        account: i64,
        by: &KeyId,
        error: &Assessment,
    ) -> Result<u32> {
        self.in_pool(pool, |pool, now| Ok(pool.afflict(account, by, error, now))).await
    }

    async fn clear_cool_down(
        &self,
        pool: &PoolName,
        session: Option<&SessionName>,
        scope: &Scope,
        on: &Mandate,
    ) -> Result<Option<SessionView>> {
        self.in_pool(pool, |pool, now| pool.clear_cool_down(session, scope, on, now)).await
    }

    async fn explain(&self, pool: &PoolName, ask: Ask) -> Result<SessionName> {
        self.in_pool(pool, |pool, now| pool.explain(&ask, now)).await
    }

    async fn surrender(&self, lease: &LeaseId, why: Invalidation) -> Result<SessionView> {
        self.with_lease(lease, |pool, now| {
            pool.surrender(lease, Invalidation { at: now, ..why }, now)
        })
        .await
    }

    async fn invalidate(
        &self,
        pool: &PoolName,
        session: &SessionName,
        why: Invalidation,
    ) -> Result<SessionView> {
        self.in_pool(pool, |pool, now| {
            pool.invalidate(session, Invalidation { at: now, ..why }, now)
        })
        .await
    }

    async fn restore(
        &self,
        pool: &PoolName,
        session: &SessionName,
        on: &Mandate,
    ) -> Result<SessionView> {
        self.in_pool(pool, |pool, now| pool.restore(session, on, now)).await
    }

    async fn list_leases(
        &self,
        pool: &PoolName,
        after: Option<&LeaseMark>,
        most: usize,
    ) -> Result<Vec<Lent>> {
        self.in_pool(pool, |pool, now| Ok(pool.list_leases(after, most, now))).await
    }

    async fn revoke_leases(&self, pool: &PoolName, which: &Revocation) -> Result<Revoked> {
        self.in_pool(pool, |pool, now| pool.revoke_leases(which, now)).await
    }

    async fn history(
        &self,
        pool: &PoolName,
        session: Option<&SessionName>,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<Event>> {
        self.deed(|realm, now| realm.history(pool, session, before, most, now)).await
    }

    async fn renew_all(
        &self,
        leases: &[LeaseId],
        key: &KeyId,
        ttl: Option<Span>,
    ) -> Vec<Result<Lease>> {
        self.on_each(leases, |id| id, |pool, id, now| pool.renew(id, key, ttl, now)).await
    }

    async fn inspect_all(&self, leases: &[LeaseId], key: &KeyId) -> Vec<Result<Lease>> {
        self.on_each(leases, |id| id, |pool, id, now| pool.inspect(id, key, now)).await
    }

    async fn abandon_all(&self, leases: &[(LeaseId, Mark)], key: &KeyId) -> Vec<Result<bool>> {
        let deed = |pool: &mut Pool, (id, mark): &(LeaseId, Mark), now: Time| {
            pool.abandon(id, key, *mark, now)
        };
        self.on_each(leases, |(id, _)| id, deed).await
    }

    fn notices(&self) -> Notices {
        self.crier.listen()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    async fn close(&self) {
        self.journal.close().await;
    }
}
