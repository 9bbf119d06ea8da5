//! The Redis engine: the rules of [`crate::pool`] in Lua, one script per verb, run atomically
//! inside the server by the server's clock.
//!
//! A verb is one round trip. When a connection breaks under a call, the call is repeated on the
//! next one, and answers as if it had run once.

mod amend;
mod argument;
mod batches;
mod credentials;
mod doubt;
mod ear;
mod fault;
mod gather;
mod kept;
mod keys;
mod leases;
mod link;
mod options;
mod pipe;
mod pools;
mod reply;
mod resp;
mod scripts;
mod socket;
mod wire;
mod witness;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio::sync::watch;

use self::{
    argument::{Call, PackedError, PackedWait, millis, mode_name, pack},
    doubt::Doubt,
    ear::Ear,
    keys::Keys,
    link::{Failure, Link},
    reply::{About, Reply, broken},
    scripts::Verb,
    witness::Witnesses,
};
use super::{Error, Health, Notices, Result, Store};
use crate::pool::{
    Ask, Assessment, Departure, Effect, Enqueued, Event, Grant, Invalidation, KeyId, Lease,
    LeaseId, LeaseMark, Lent, Mandate, Mark, NewSession, Policy, PolicyChange, PoolMode, PoolName,
    PoolStatus, PoolView, ReleaseOutcome, Revocation, Revoked, Secrets, SessionChange, SessionName,
    SessionState, SessionView, Span, WaiterView, verdict::Scope,
};

pub use options::{ClockSource, Options, Shortcut};

/// How many sessions, or names of pools, are read at once at most.
const MOST: usize = 1000;
/// The states in which a session can be restored.
const RESTORABLE: &[SessionState] = &[SessionState::Invalid, SessionState::Suspect];

/// Pools in Redis.
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    link: Link,
    keys: Keys,
    ear: Arc<Ear>,
    witnesses: Arc<Witnesses>,
}

impl RedisStore {
    /// Connects to a Redis and sees that it will do.
    ///
    /// # Errors
    ///
    /// `Broken` when the options, the password or the server's configuration need a person;
    /// `Unavailable` and `Recovering` when the same may succeed later.
    pub async fn connect(options: Options) -> Result<Self> {
        let keys = Keys::new(&options);
        let witnesses = Arc::new(Witnesses::new(keys.clone()));
        let ear = Arc::new(Ear::open(&options).await?);
        let link = Link::open(&options, Arc::clone(&ear), Arc::clone(&witnesses)).await?;
        Ok(Self { inner: Arc::new(Inner { link, keys, ear, witnesses }) })
    }

    async fn run(&self, call: Call) -> Result<Reply> {
        self.inner.link.run(&call, &mut self.inner.link.patience()).await
    }

    fn call(&self, verb: Verb, pool: &PoolName) -> Call {
        Call::new(verb, self.inner.keys.pool(pool))
    }

    /// Asks for a session. When a reply is lost the ask is repeated, and says so, so that a grant
    /// that was made for it is found again.
    async fn asked<T>(
        &self,
        pool: &PoolName,
        mut ask: Ask,
        call: impl Fn(&Ask) -> Call,
        read: impl Fn(Reply, About) -> Result<T>,
    ) -> Result<T> {
        let mut patience = self.inner.link.patience();
        let mut doubt = Doubt::new(&self.inner, pool, ask.secret);
        loop {
            ask.retried_for = patience.doubted_for().or(ask.retried_for);
            match self.inner.link.attempt(&call(&ask), &mut patience).await {
                Ok(reply) => {
                    let session = ask.session.as_ref();
                    let answer =
                        read(reply, About { session, ask: Some(&ask), ..About::pool(pool) });
                    if matches!(answer, Ok(_) | Err(Error::Refused(_) | Error::Recovering(_))) {
                        doubt.resolve();
                    }
                    return answer;
                }
                Err(Failure::Lost) => {}
                Err(Failure::Given(error)) => {
                    if !patience.in_doubt() {
                        doubt.resolve();
                    }
                    return Err(error);
                }
            }
        }
    }

    fn lease_call(&self, verb: Verb, lease: &LeaseId) -> Call {
        self.call(verb, &lease.pool).with(lease.session.as_str()).with(lease.secret.to_hex())
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn create_pool(&self, pool: &PoolName, policy: Policy, on: &Mandate) -> Result<PoolView> {
        self.made_pool(pool, policy, on).await
    }

    async fn get_pool(&self, pool: &PoolName) -> Result<PoolView> {
        self.run(self.call(Verb::GetPool, pool)).await?.pool_view(About::pool(pool))
    }

    async fn list_pools(&self, after: Option<&PoolName>, most: usize) -> Result<Vec<PoolView>> {
        self.pools_after(after, most).await
    }

    async fn update_pool(
        &self,
        pool: &PoolName,
        change: PolicyChange,
        on: &Mandate,
    ) -> Result<PoolView> {
        self.inner.update_pool(pool, &change, on).await
    }

    async fn delete_pool(&self, pool: &PoolName, on: &Mandate) -> Result<()> {
        self.unmade_pool(pool, on).await
    }

    async fn set_mode(&self, pool: &PoolName, mode: PoolMode, on: &Mandate) -> Result<PoolView> {
        let call =
            self.call(Verb::SetMode, pool).with(mode_name(mode)).with(mode.verb().name()).on(on);
        self.run(call).await?.pool_view(About::pool(pool))
    }

    async fn status(&self, pool: &PoolName) -> Result<PoolStatus> {
        let view = self.run(self.call(Verb::Status, pool)).await?.pool_view(About::pool(pool))?;
        Ok(view.status)
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
        self.inner.update_session(pool, session, &change, on).await
    }

    async fn remove(&self, pool: &PoolName, session: &SessionName, on: &Mandate) -> Result<()> {
        self.inner.remove(pool, session, on).await
    }

    async fn get_session(&self, pool: &PoolName, session: &SessionName) -> Result<SessionView> {
        let call = self.call(Verb::GetSession, pool).with(session.as_str());
        self.run(call).await?.session_view(About::session(pool, session))
    }

    async fn list_sessions(
        &self,
        pool: &PoolName,
        after: Option<&SessionName>,
        most: usize,
    ) -> Result<Vec<SessionView>> {
        let mut views: Vec<SessionView> = Vec::new();
        loop {
            let chunk = (most - views.len()).min(MOST);
            let last = views.last().map(|view| &view.record.name).or(after);
            let call = self
                .call(Verb::ListSessions, pool)
                .with(last.map_or("", SessionName::as_str))
                .with(chunk.to_string());
            let more = self.run(call).await?.session_views(About::pool(pool))?;
            let is_last = more.len() < chunk;
            views.extend(more);
            if is_last || views.len() >= most {
                return Ok(views);
            }
        }
    }

    async fn reseal(
        &self,
        pool: &PoolName,
        session: &SessionName,
        read: &Secrets,
        new: Secrets,
    ) -> Result<bool> {
        self.inner.reseal(pool, session, read, new).await
    }

    async fn acquire(&self, pool: &PoolName, ask: Ask) -> Result<Grant> {
        let call = |ask: &Ask| {
            let verb = if ask.retried_for.is_some() { Verb::Collect } else { Verb::Acquire };
            self.call(verb, pool).ask(ask)
        };
        let grant = self.asked(pool, ask, call, Reply::grant).await?;
        self.inner.witnesses.note(pool, &grant.record.name, &grant.lease);
        Ok(grant)
    }

    async fn enqueue(
        &self,
        pool: &PoolName,
        ask: Ask,
        wait: crate::pool::Patience,
    ) -> Result<Enqueued> {
        let call = |ask: &Ask| {
            let wait = PackedWait::new(ask, &wait, self.inner.ear.channel());
            self.call(Verb::Enqueue, pool).ask(ask).packed(&wait)
        };
        let enqueued = self.asked(pool, ask, call, Reply::enqueued).await?;
        if let Enqueued::Granted(grant) = &enqueued {
            self.inner.witnesses.note(pool, &grant.record.name, &grant.lease);
        }
        Ok(enqueued)
    }

    async fn leave(&self, pool: &PoolName, departure: &Departure) -> Result<()> {
        let call = self
            .call(Verb::Leave, pool)
            .with(departure.ticket.0.to_string())
            .with(departure.secret.to_hex())
            .with(departure.grace.0.to_string());
        self.run(call).await?.expect("left", About::pool(pool)).map(drop)
    }

    async fn tend(&self, pool: &PoolName) -> Result<Option<Span>> {
        self.run(self.call(Verb::Tend, pool)).await?.due(About::pool(pool))
    }

    async fn list_waiters(
        &self,
        pool: &PoolName,
        after: u64,
        most: usize,
    ) -> Result<Vec<WaiterView>> {
        let call = self
            .call(Verb::ListWaiters, pool)
            .with(after.to_string())
            .with(most.min(MOST).to_string());
        self.run(call).await?.waiters(About::pool(pool))
    }

    async fn undo(&self, lease: &LeaseId, delivery: u32) -> Result<bool> {
        let mut patience = self.inner.link.patience();
        let call = self.lease_call(Verb::Undo, lease).with(delivery.to_string());
        let reply = self.inner.link.run(&call, &mut patience).await?;
        let mut undone = reply.expect("undone", About::pool(&lease.pool))?;
        let (now, ever) = (undone.flag()?, undone.flag()?);
        Ok(now || ever && patience.in_doubt())
    }

    async fn renew(&self, lease: &LeaseId, key: &KeyId, ttl: Option<Span>) -> Result<Lease> {
        let call = self.lease_call(Verb::Renew, lease).with(key.as_str()).with(millis(ttl));
        let renewed = self.run(call).await?.lease(About::session(&lease.pool, &lease.session))?;
        self.inner.witnesses.note(&lease.pool, &lease.session, &renewed);
        Ok(renewed)
    }

    async fn release(
        &self,
        lease: &LeaseId,
        key: &KeyId,
        rest: Span,
        error: Option<&Assessment>,
    ) -> Result<(ReleaseOutcome, Option<Effect>)> {
        let mut patience = self.inner.link.patience();
        let call = self
            .lease_call(Verb::Release, lease)
            .with(key.as_str())
            .with(millis(Some(rest)))
            .with(error.map(|error| pack(&PackedError::new(error))).unwrap_or_default());
        let reply = self.inner.link.run(&call, &mut patience).await?;
        if reply.is("already_ended") {
            let mut ended = reply;
            // An end after a lost reply is taken for this call's own doing.
            let outcome = if patience.in_doubt() {
                ReleaseOutcome::Released
            } else {
                ReleaseOutcome::AlreadyEnded
            };
            return Ok((outcome, ended.effect()?));
        }
        let mut released = reply.expect("released", About::session(&lease.pool, &lease.session))?;
        Ok((ReleaseOutcome::Released, released.effect()?))
    }

    async fn report(&self, lease: &LeaseId, key: &KeyId, error: &Assessment) -> Result<Effect> {
        let call = self
            .lease_call(Verb::Report, lease)
            .with(key.as_str())
            .packed(&PackedError::new(error));
        let about = About::session(&lease.pool, &lease.session);
        let effect = self.run(call).await?.expect("reported", about)?.effect()?;
        effect.ok_or_else(|| broken("a report that tells nothing"))
    }

    async fn afflict(
        &self,
        pool: &PoolName,
        account: i64,
        by: &KeyId,
        error: &Assessment,
    ) -> Result<u32> {
        let call = self
            .call(Verb::Afflict, pool)
            .with(account.to_string())
            .with(by.as_str())
            .packed(&PackedError::new(error));
        let touched = self.run(call).await?.expect("afflicted", About::pool(pool))?.number()?;
        u32::try_from(touched).map_err(|_| broken("a count beyond all bounds"))
    }

    async fn clear_cool_down(
        &self,
        pool: &PoolName,
        session: Option<&SessionName>,
        scope: &Scope,
        on: &Mandate,
    ) -> Result<Option<SessionView>> {
        let call = self
            .call(Verb::ClearCoolDown, pool)
            .with(session.map_or("", SessionName::as_str))
            .with(scope.key())
            .on(on);
        let reply = self.run(call).await?;
        match session {
            Some(session) => reply.session_view(About::session(pool, session)).map(Some),
            None => reply.expect("cleared", About::pool(pool)).map(|_| None),
        }
    }

    async fn explain(&self, pool: &PoolName, ask: Ask) -> Result<SessionName> {
        let call = self.call(Verb::Explain, pool).ask(&ask);
        let session = ask.session.as_ref();
        let about = About { session, ask: Some(&ask), ..About::pool(pool) };
        self.run(call).await?.chosen(about)
    }

    async fn surrender(&self, lease: &LeaseId, why: Invalidation) -> Result<SessionView> {
        let call = self.lease_call(Verb::Surrender, lease).packed(&why);
        self.run(call).await?.session_view(About::session(&lease.pool, &lease.session))
    }

    async fn invalidate(
        &self,
        pool: &PoolName,
        session: &SessionName,
        why: Invalidation,
    ) -> Result<SessionView> {
        let call = self.call(Verb::Invalidate, pool).with(session.as_str());
        let call = call.packed(&why);
        self.run(call).await?.session_view(About::session(pool, session))
    }

    async fn restore(
        &self,
        pool: &PoolName,
        session: &SessionName,
        on: &Mandate,
    ) -> Result<SessionView> {
        let mut patience = self.inner.link.patience();
        let call = self.call(Verb::Restore, pool).with(session.as_str()).on(on);
        let reply = self.inner.link.run(&call, &mut patience).await?;
        if reply.is("inappropriate_state") && patience.in_doubt() {
            // Taken for the doing of an attempt whose reply was lost.
            return self.get_session(pool, session).await;
        }
        reply.session_view(About { wanted: RESTORABLE, ..About::session(pool, session) })
    }

    async fn renew_all(
        &self,
        leases: &[LeaseId],
        key: &KeyId,
        ttl: Option<Span>,
    ) -> Vec<Result<Lease>> {
        self.extend_all(leases, key, ttl).await
    }

    async fn inspect_all(&self, leases: &[LeaseId], key: &KeyId) -> Vec<Result<Lease>> {
        self.look_at_all(leases, key).await
    }

    async fn abandon_all(&self, leases: &[(LeaseId, Mark)], key: &KeyId) -> Vec<Result<bool>> {
        self.give_up_all(leases, key).await
    }

    fn notices(&self) -> Notices {
        self.inner.ear.listen()
    }

    async fn list_leases(
        &self,
        pool: &PoolName,
        after: Option<&LeaseMark>,
        most: usize,
    ) -> Result<Vec<Lent>> {
        self.leases_after(pool, after, most).await
    }

    async fn revoke_leases(&self, pool: &PoolName, which: &Revocation) -> Result<Revoked> {
        self.revoke(pool, which).await
    }

    async fn history(
        &self,
        pool: &PoolName,
        session: Option<&SessionName>,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<Event>> {
        self.events_of(pool, session, before, most).await
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.inner.link.health()
    }

    async fn close(&self) {
        self.inner.link.close();
        self.inner.ear.close();
    }
}

/// Shows nothing of what is kept.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("keys", &self.inner.keys).finish_non_exhaustive()
    }
}
