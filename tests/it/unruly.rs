//! A store that misbehaves when a test says so, around a real one.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use telegate::{
    pool::{
        Ask, Assessment, Departure, Effect, Enqueued, Event, Grant, Invalidation, KeyId, Lease,
        LeaseId, LeaseMark, Lent, Mandate, Mark, NewSession, Patience, Policy, PolicyChange,
        PoolMode, PoolName, PoolStatus, PoolView, ReleaseOutcome, Revocation, Revoked, Secrets,
        SessionChange, SessionName, SessionView, Span, WaiterView, verdict::Scope,
    },
    store::{Error, Health, Notices, Resealed, Result, Store},
};
use tokio::sync::{Semaphore, watch};

/// A store that fails, tarries or panics when a test says so, and otherwise is the one inside.
pub(crate) struct Unruly {
    inner: Arc<dyn Store>,
    health: watch::Sender<Health>,
    failures: Mutex<VecDeque<Error>>,
    /// Acquire takes one of these before it answers.
    answer: Semaphore,
    held: AtomicUsize,
    exit: Exit,
    meddling: Mutex<VecDeque<Secrets>>,
}

/// The way out of the line.
struct Exit {
    /// Who leaves takes one of these before that is done.
    open: Semaphore,
    under_way: AtomicUsize,
    most: AtomicUsize,
    failing: AtomicUsize,
    done: AtomicUsize,
}

impl Exit {
    fn failure(&self) -> Result<()> {
        let less = |left: usize| left.checked_sub(1);
        match self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => Err(Error::Unavailable("a test asked for it".to_owned())),
            Err(_) => Ok(()),
        }
    }
}

impl Unruly {
    pub(crate) const MANY: usize = 1_000_000;

    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            health: watch::Sender::new(Health::Up),
            failures: Mutex::default(),
            answer: Semaphore::new(Self::MANY),
            held: AtomicUsize::new(0),
            exit: Exit {
                open: Semaphore::new(Self::MANY),
                under_way: AtomicUsize::new(0),
                most: AtomicUsize::new(0),
                failing: AtomicUsize::new(0),
                done: AtomicUsize::new(0),
            },
            meddling: Mutex::default(),
        }
    }

    pub(crate) fn set_health(&self, health: Health) {
        self.health.send_replace(health);
    }

    /// Fails the next `status`, `list_pools` or `renew_all` so.
    pub(crate) fn fail_next(&self, error: Error) {
        self.failures.lock().unwrap().push_back(error);
    }

    /// Changes the secret parts of a session to these just before the next `reseal` of one.
    pub(crate) fn meddle_next(&self, secrets: Secrets) {
        self.meddling.lock().unwrap().push_back(secrets);
    }

    /// Lets no Acquire answer until `go_on`.
    pub(crate) fn hold_answers(&self) {
        self.answer.forget_permits(usize::MAX);
    }

    /// How many Acquires are done and may not answer yet.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    pub(crate) fn go_on(&self) {
        self.answer.add_permits(Self::MANY);
    }

    /// Lets nobody leave the line until `let_leave`, and then fails so many.
    pub(crate) fn hold_leaving(&self, failing: usize) {
        self.exit.open.forget_permits(usize::MAX);
        self.exit.failing.store(failing, Ordering::SeqCst);
    }

    /// Lets so many go on.
    pub(crate) fn let_leave(&self, count: usize) {
        self.exit.open.add_permits(count);
    }

    /// How many are leaving the line, how many at once at most, and how many have left.
    pub(crate) fn leaving(&self) -> [usize; 3] {
        [&self.exit.under_way, &self.exit.most, &self.exit.done]
            .map(|count| count.load(Ordering::SeqCst))
    }

    fn failure(&self) -> Result<()> {
        self.failures.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Store for Unruly {
    async fn create_pool(&self, pool: &PoolName, policy: Policy, on: &Mandate) -> Result<PoolView> {
        self.inner.create_pool(pool, policy, on).await
    }

    async fn get_pool(&self, pool: &PoolName) -> Result<PoolView> {
        self.inner.get_pool(pool).await
    }

    async fn list_pools(&self, after: Option<&PoolName>, most: usize) -> Result<Vec<PoolView>> {
        self.failure()?;
        self.inner.list_pools(after, most).await
    }

    async fn update_pool(
        &self,
        pool: &PoolName,
        change: PolicyChange,
        on: &Mandate,
    ) -> Result<PoolView> {
        self.inner.update_pool(pool, change, on).await
    }

    async fn delete_pool(&self, pool: &PoolName, on: &Mandate) -> Result<()> {
        self.inner.delete_pool(pool, on).await
    }

    async fn set_mode(&self, pool: &PoolName, mode: PoolMode, on: &Mandate) -> Result<PoolView> {
        self.inner.set_mode(pool, mode, on).await
    }

    async fn status(&self, pool: &PoolName) -> Result<PoolStatus> {
        self.failure()?;
        self.inner.status(pool).await
    }

    async fn add(&self, pool: &PoolName, session: NewSession) -> Result<SessionView> {
        self.inner.add(pool, session).await
    }

    async fn update_session(
        &self,
        pool: &PoolName,
        session: &SessionName,
        change: SessionChange,
        on: &Mandate,
    ) -> Result<SessionView> {
        self.inner.update_session(pool, session, change, on).await
    }

    async fn remove(&self, pool: &PoolName, session: &SessionName, on: &Mandate) -> Result<()> {
        assert_ne!(session.as_str(), "panic", "a test asked for it");
        self.inner.remove(pool, session, on).await
    }

    async fn get_session(&self, pool: &PoolName, session: &SessionName) -> Result<SessionView> {
        self.inner.get_session(pool, session).await
    }

    async fn list_sessions(
        &self,
        pool: &PoolName,
        after: Option<&SessionName>,
        most: usize,
    ) -> Result<Vec<SessionView>> {
        self.inner.list_sessions(pool, after, most).await
    }

    async fn reseal(
        &self,
        pool: &PoolName,
        session: &SessionName,
        read: &Secrets,
        new: Secrets,
    ) -> Result<bool> {
        let meddling = self.meddling.lock().unwrap().pop_front();
        if let Some(other) = meddling {
            assert!(self.inner.reseal(pool, session, read, other).await?, "nobody else meddles");
        }
        self.inner.reseal(pool, session, read, new).await
    }

    async fn reseal_sessions(
        &self,
        pool: &PoolName,
        after: Option<&SessionName>,
        most: usize,
    ) -> Result<Resealed> {
        self.inner.reseal_sessions(pool, after, most).await
    }

    async fn acquire(&self, pool: &PoolName, ask: Ask) -> Result<Grant> {
        let grant = self.inner.acquire(pool, ask).await;
        self.held.fetch_add(1, Ordering::SeqCst);
        self.answer.acquire().await.unwrap().forget();
        self.held.fetch_sub(1, Ordering::SeqCst);
        grant
    }

    async fn enqueue(&self, pool: &PoolName, ask: Ask, patience: Patience) -> Result<Enqueued> {
        self.inner.enqueue(pool, ask, patience).await
    }

    async fn leave(&self, pool: &PoolName, departure: &Departure) -> Result<()> {
        let exit = &self.exit;
        let under_way = exit.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        exit.most.fetch_max(under_way, Ordering::SeqCst);
        exit.open.acquire().await.unwrap().forget();
        exit.under_way.fetch_sub(1, Ordering::SeqCst);
        exit.failure()?;
        self.inner.leave(pool, departure).await?;
        exit.done.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn tend(&self, pool: &PoolName) -> Result<Option<Span>> {
        self.inner.tend(pool).await
    }

    async fn list_waiters(
        &self,
        pool: &PoolName,
        after: u64,
        most: usize,
    ) -> Result<Vec<WaiterView>> {
        self.inner.list_waiters(pool, after, most).await
    }

    async fn undo(&self, lease: &LeaseId, delivery: u32) -> Result<bool> {
        self.inner.undo(lease, delivery).await
    }

    async fn renew(&self, lease: &LeaseId, key: &KeyId, ttl: Option<Span>) -> Result<Lease> {
        self.inner.renew(lease, key, ttl).await
    }

    async fn release(
        &self,
        lease: &LeaseId,
        key: &KeyId,
        rest: Span,
        error: Option<&Assessment>,
    ) -> Result<(ReleaseOutcome, Option<Effect>)> {
        self.inner.release(lease, key, rest, error).await
    }

    async fn report(&self, lease: &LeaseId, key: &KeyId, error: &Assessment) -> Result<Effect> {
        self.inner.report(lease, key, error).await
    }

    async fn afflict(
        &self,
        pool: &PoolName,
        account: i64,
        by: &KeyId,
        error: &Assessment,
    ) -> Result<u32> {
        self.inner.afflict(pool, account, by, error).await
    }

    async fn clear_cool_down(
        &self,
        pool: &PoolName,
        session: Option<&SessionName>,
        scope: &Scope,
        on: &Mandate,
    ) -> Result<Option<SessionView>> {
        self.inner.clear_cool_down(pool, session, scope, on).await
    }

    async fn explain(&self, pool: &PoolName, ask: Ask) -> Result<SessionName> {
        self.inner.explain(pool, ask).await
    }

    async fn surrender(&self, lease: &LeaseId, why: Invalidation) -> Result<SessionView> {
        self.inner.surrender(lease, why).await
    }

    async fn invalidate(
        &self,
        pool: &PoolName,
        session: &SessionName,
        why: Invalidation,
    ) -> Result<SessionView> {
        self.inner.invalidate(pool, session, why).await
    }

    async fn restore(
        &self,
        pool: &PoolName,
        session: &SessionName,
        on: &Mandate,
    ) -> Result<SessionView> {
        self.inner.restore(pool, session, on).await
    }

    async fn list_leases(
        &self,
        pool: &PoolName,
        after: Option<&LeaseMark>,
        most: usize,
    ) -> Result<Vec<Lent>> {
        self.inner.list_leases(pool, after, most).await
    }

    async fn revoke_leases(&self, pool: &PoolName, which: &Revocation) -> Result<Revoked> {
        self.inner.revoke_leases(pool, which).await
    }

    async fn history(
        &self,
        pool: &PoolName,
        session: Option<&SessionName>,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<Event>> {
        self.inner.history(pool, session, before, most).await
    }

    async fn renew_all(
        &self,
        leases: &[LeaseId],
        key: &KeyId,
        ttl: Option<Span>,
    ) -> Vec<Result<Lease>> {
        match self.failure() {
            Err(error) => leases.iter().map(|_| Err(error.clone())).collect(),
            Ok(()) => self.inner.renew_all(leases, key, ttl).await,
        }
    }

    async fn inspect_all(&self, leases: &[LeaseId], key: &KeyId) -> Vec<Result<Lease>> {
        self.inner.inspect_all(leases, key).await
    }

    async fn abandon_all(&self, leases: &[(LeaseId, Mark)], key: &KeyId) -> Vec<Result<bool>> {
        self.inner.abandon_all(leases, key).await
    }

    fn notices(&self) -> Notices {
        self.inner.notices()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
