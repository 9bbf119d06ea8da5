//! Encryption at rest: a store around a store, so that the one inside never sees a secret.
//!
//! What goes in is sealed with the first store key: the credential, the proxy and the device
//! profile of a session. What a holder is given is opened; what operators look at is opened but
//! for the credential, which nobody looks at. What does not open is not lent: the lease is undone.

mod delivery;
mod form;
mod keys;
mod ring;
mod rotation;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tokio::{sync::watch, task::JoinHandle};

pub use self::{
    form::OVERHEAD,
    keys::{KeyError, MAX_KEYS, PREFIX, StoreKey, StoreKeyId, StoreKeys},
};
use self::{
    form::{Field, Place, Stuck},
    ring::Ring,
};
use super::{Error, Health, Notices, Resealed, Result, Store};
use crate::pool::{
    Ask, Assessment, Credential, Departure, Effect, Enqueued, Event, Grant, Invalidation, KeyId,
    Lease, LeaseId, LeaseMark, Lent, Mandate, Mark, NewSession, Patience, Policy, PolicyChange,
    PoolMode, PoolName, PoolStatus, PoolView, ReleaseOutcome, Revocation, Revoked, Secrets,
    SessionChange, SessionName, SessionRecord, SessionView, Span, WaiterView, verdict::Scope,
};

/// How the secrets of sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Sealed with the keys of a file, which is re-read when it changes.
    File(PathBuf),
    /// Sealed with these keys.
    Keys(StoreKeys),
    /// There is no key, and so no new session is taken in.
    Without,
    /// There is no key, and new sessions are kept in plain text. For demos and development.
    Unencrypted,
}

/// A store that keeps the secrets of sessions sealed in another.
pub struct SealedStore {
    inner: Arc<dyn Store>,
    ring: Arc<Ring>,
    keeps_plain: bool,
    following: JoinHandle<()>,
}

impl SealedStore {
    /// Puts itself around a store. Needs a runtime: it follows the file of its keys.
    ///
    /// # Errors
    ///
    /// When there are no keys where they should be.
    pub fn new(inner: Arc<dyn Store>, sealing: Sealing) -> Result<Self, KeyError> {
        let keeps_plain = sealing == Sealing::Unencrypted;
        let ring = Arc::new(Ring::open(sealing)?);
        let followed = Arc::clone(&ring);
        let following = tokio::spawn(async move { followed.follow().await });
        Ok(Self { inner, ring, keeps_plain, following })
    }

    /// Seals the secrets of a session.
    fn seal(&self, place: Place<'_>, secrets: Secrets) -> Result<Secrets> {
        let Some(keys) = self.ring.keys() else {
            return if self.keeps_plain { Ok(secrets) } else { Err(Error::NoKey) };
        };
        sealed(keys.first(), place, &secrets)
    }

    /// Seals what a session's secrets change to. They are bound to its credential, so the change is
    /// for the session that has this one only.
    async fn seal_change(
        &self,
        pool: &PoolName,
        session: &SessionName,
        change: SessionChange,
    ) -> Result<SessionChange> {
        let keys = match self.ring.keys() {
            Some(keys) => keys,
            None if self.keeps_plain || !change.has_secrets() => return Ok(change),
            None => return Err(Error::NoKey),
        };
        let fingerprint = self.inner.get_session(pool, session).await?.record.fingerprint;
        let place = Place { pool, session, fingerprint: &fingerprint };
        let proxy =
            change.proxy.try_map(|plain| seal_one(keys.first(), place, Field::Proxy, &plain))?;
        let device =
            change.device.try_map(|plain| seal_one(keys.first(), place, Field::Device, &plain))?;
        Ok(SessionChange { proxy, device, fingerprint: Some(fingerprint), ..change })
    }

    /// Opens all secrets of a session, for its holder.
    fn open(&self, pool: &PoolName, record: SessionRecord) -> Result<SessionRecord> {
        match opened(self.ring.keys().as_deref(), Place::of(pool, &record), record.secrets()) {
            Ok(secrets) => Ok(record.with_secrets(secrets)),
            Err((field, stuck)) => Err(Error::Broken(format!(
                "session {} of pool {pool}: its {} {stuck}",
                record.name,
                field.name()
            ))),
        }
    }

    /// Opens what of a session people look at. What does not open is left out: they must see the
    /// session to mend it.
    fn show(&self, pool: &PoolName, view: SessionView) -> (SessionView, Option<Stuck>) {
        let SessionView { record, standing, at } = view;
        let keys = self.ring.keys();
        let place = Place::of(pool, &record);
        let mut fault = None;
        let mut look = |field, kept: Option<&Credential>| match form::open(
            keys.as_deref(),
            place,
            field,
            kept?.0.clone(),
        ) {
            Ok(plain) => Some(Credential(plain)),
            Err(stuck) => {
                fault = Some(stuck);
                None
            }
        };
        let proxy = look(Field::Proxy, record.proxy.as_ref());
        let device = look(Field::Device, record.device.as_ref());
        (SessionView { record: SessionRecord { proxy, device, ..record }, standing, at }, fault)
    }

    fn show_one(&self, pool: &PoolName, view: SessionView) -> SessionView {
        self.show_all(pool, vec![view]).pop().expect("what went in comes out")
    }

    fn show_all(&self, pool: &PoolName, views: Vec<SessionView>) -> Vec<SessionView> {
        let mut first = None;
        let mut faults = 0;
        let mut show = |view| {
            let (view, fault) = self.show(pool, view);
            if let Some(stuck) = fault {
                faults += 1;
                first.get_or_insert_with(|| (view.record.name.clone(), stuck));
            }
            view
        };
        let views = views.into_iter().map(&mut show).collect();
        if let Some((session, stuck)) = first {
            tracing::warn!(
                %pool, %session, sessions = faults,
                "a proxy or device profile is not shown because it {stuck}"
            );
        }
        views
    }
}

impl Drop for SealedStore {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl<'a> Place<'a> {
    fn of(pool: &'a PoolName, record: &'a SessionRecord) -> Self {
        Self { pool, session: &record.name, fingerprint: &record.fingerprint }
    }
}

/// Secrets, sealed.
fn sealed(key: &StoreKey, place: Place<'_>, secrets: &Secrets) -> Result<Secrets> {
    let seal = |field, plain: &Credential| seal_one(key, place, field, plain);
    Ok(Secrets {
        credential: seal(Field::Credential, &secrets.credential)?,
        proxy: secrets.proxy.as_ref().map(|proxy| seal(Field::Proxy, proxy)).transpose()?,
        device: secrets.device.as_ref().map(|device| seal(Field::Device, device)).transpose()?,
    })
}

/// One secret, sealed.
fn seal_one(
    key: &StoreKey,
    place: Place<'_>,
    field: Field,
    plain: &Credential,
) -> Result<Credential> {
    let sealed = form::seal(key, place, field, &plain.0).map(Credential);
    sealed.map_err(|error| Error::Broken(format!("the system gives no random bits: {error}")))
}

/// Secrets, opened; or the first that does not open.
fn opened(
    keys: Option<&StoreKeys>,
    place: Place<'_>,
    secrets: Secrets,
) -> Result<Secrets, (Field, Stuck)> {
    let open = |field, kept: Credential| {
        form::open(keys, place, field, kept.0).map(Credential).map_err(|stuck| (field, stuck))
    };
    let Secrets { credential, proxy, device } = secrets;
    Ok(Secrets {
        credential: open(Field::Credential, credential)?,
        proxy: proxy.map(|proxy| open(Field::Proxy, proxy)).transpose()?,
        device: device.map(|device| open(Field::Device, device)).transpose()?,
    })
}

#[async_trait]
impl Store for SealedStore {
    async fn create_pool(&self, pool: &PoolName, policy: Policy, on: &Mandate) -> Result<PoolView> {
        self.inner.create_pool(pool, policy, on).await
    }

    async fn get_pool(&self, pool: &PoolName) -> Result<PoolView> {
        self.inner.get_pool(pool).await
    }

    async fn list_pools(&self, after: Option<&PoolName>, most: usize) -> Result<Vec<PoolView>> {
        self.inner.list_pools(after, most).await
    }

    async fn set_mode(&self, pool: &PoolName, mode: PoolMode, on: &Mandate) -> Result<PoolView> {
        self.inner.set_mode(pool, mode, on).await
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

    async fn status(&self, pool: &PoolName) -> Result<PoolStatus> {
        self.inner.status(pool).await
    }

    async fn add(&self, pool: &PoolName, session: NewSession) -> Result<SessionView> {
        let NewSession { name, fingerprint, credential, proxy, device, .. } = &session;
        let place = Place { pool, session: name, fingerprint };
        let plain = Secrets {
            credential: credential.clone(),
            proxy: proxy.clone(),
            device: device.clone(),
        };
        let Secrets { credential, proxy, device } = self.seal(place, plain)?;
        let added = NewSession { proxy, device, credential, ..session };
        Ok(self.show_one(pool, self.inner.add(pool, added).await?))
    }

    async fn update_session(
        &self,
        pool: &PoolName,
        session: &SessionName,
        change: SessionChange,
        on: &Mandate,
    ) -> Result<SessionView> {
        let change = self.seal_change(pool, session, change).await?;
        Ok(self.show_one(pool, self.inner.update_session(pool, session, change, on).await?))
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

    async fn remove(&self, pool: &PoolName, session: &SessionName, on: &Mandate) -> Result<()> {
        self.inner.remove(pool, session, on).await
    }

    async fn get_session(&self, pool: &PoolName, session: &SessionName) -> Result<SessionView> {
        Ok(self.show_one(pool, self.inner.get_session(pool, session).await?))
    }

    async fn list_sessions(
        &self,
        pool: &PoolName,
        after: Option<&SessionName>,
        most: usize,
    ) -> Result<Vec<SessionView>> {
        Ok(self.show_all(pool, self.inner.list_sessions(pool, after, most).await?))
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

    async fn reseal_sessions(
        &self,
        pool: &PoolName,
        after: Option<&SessionName>,
        most: usize,
    ) -> Result<Resealed> {
        let keys = self.ring.keys().ok_or(Error::NoKey)?;
        rotation::reseal(self.inner.as_ref(), &keys, pool, after, most).await
    }

    async fn acquire(&self, pool: &PoolName, ask: Ask) -> Result<Grant> {
        let grant = self.inner.acquire(pool, ask.clone()).await?;
        self.opened(pool, ask, grant).await
    }

    async fn enqueue(&self, pool: &PoolName, ask: Ask, patience: Patience) -> Result<Enqueued> {
        match self.inner.enqueue(pool, ask.clone(), patience).await? {
            Enqueued::Granted(grant) => {
                let grant = self.opened(pool, ask, *grant).await?;
                Ok(Enqueued::Granted(Box::new(grant)))
            }
            waiting @ Enqueued::Waiting(_) => Ok(waiting),
        }
    }

    async fn leave(&self, pool: &PoolName, departure: &Departure) -> Result<()> {
        self.inner.leave(pool, departure).await
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
        let view = self.inner.clear_cool_down(pool, session, scope, on).await?;
        Ok(view.map(|view| self.show_one(pool, view)))
    }

    async fn explain(&self, pool: &PoolName, ask: Ask) -> Result<SessionName> {
        self.inner.explain(pool, ask).await
    }

    async fn surrender(&self, lease: &LeaseId, why: Invalidation) -> Result<SessionView> {
        Ok(self.show_one(&lease.pool, self.inner.surrender(lease, why).await?))
    }

    async fn invalidate(
        &self,
        pool: &PoolName,
        session: &SessionName,
        why: Invalidation,
    ) -> Result<SessionView> {
        Ok(self.show_one(pool, self.inner.invalidate(pool, session, why).await?))
    }

    async fn restore(
        &self,
        pool: &PoolName,
        session: &SessionName,
        on: &Mandate,
    ) -> Result<SessionView> {
        Ok(self.show_one(pool, self.inner.restore(pool, session, on).await?))
    }

    async fn renew_all(
        &self,
        leases: &[LeaseId],
        key: &KeyId,
        ttl: Option<Span>,
    ) -> Vec<Result<Lease>> {
        self.inner.renew_all(leases, key, ttl).await
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
        self.inner.health()
    }

    async fn close(&self) {
        self.following.abort();
        self.inner.close().await;
    }
}
