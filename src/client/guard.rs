//! A lease that is kept, and given back when its guard goes.

use std::{fmt, time::Duration};

use thiserror::Error as ThisError;
use tokio::{runtime::Handle, sync::watch, time::Instant};

use super::{Client, Error, upkeep::Order};
use crate::proto::v1::{self, LossCause};

/// A lease that renews itself in the background, and is released when it is dropped.
///
/// Its `Debug` shows no secret.
pub struct LeaseGuard {
    client: Client,
    lease: v1::Lease,
    session: v1::Session,
    credential: v1::Credential,
    lost: watch::Receiver<Option<Loss>>,
    released: bool,
}

/// That a lease is over against its holder's will: disconnect the session at once.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[error(
    "the lease of session {session} of pool {pool} is lost ({}){}",
    self.cause_name(), self.why()
)]
pub struct Loss {
    /// The pool.
    pub pool: String,
    /// The session.
    pub session: String,
    /// Why, as far as the broker told. EXPIRED also where it could not be asked in time.
    pub cause: LossCause,
    /// The fencing number of the lease.
    pub epoch: u64,
    /// One of the contract's reasons, for example `LEASE_LOST`.
    pub reason: String,
    /// Why, in the words of who revoked it; empty when nobody said.
    pub detail: String,
}

impl Loss {
    /// The cause's name without the contract's prefix: `EXPIRED`.
    #[must_use]
    pub fn cause_name(&self) -> &'static str {
        self.cause.as_str_name().trim_start_matches("LOSS_CAUSE_")
    }

    /// Why, as a message ends.
    fn why(&self) -> String {
        if self.detail.is_empty() { String::new() } else { format!(": {}", self.detail) }
    }
}

impl LeaseGuard {
    /// Keeps a lease from now on. `asked_at` is when it was asked for, which its TTL counts from.
    pub(super) fn new(
        client: &Client,
        granted: v1::AcquireResponse,
        wish: Option<pbjson_types::Duration>,
        asked_at: Instant,
    ) -> Self {
        let lease = granted.lease.unwrap_or_default();
        let session = granted.session.unwrap_or_default();
        let credential = granted.credential.unwrap_or_default();
        let lost = client.upkeep.keep(client, lease.clone(), wish, asked_at);
        let client = client.clone();
        Self { client, lease, session, credential, lost, released: false }
    }

    /// The lease as it was granted.
    #[must_use]
    pub fn lease(&self) -> &v1::Lease {
        &self.lease
    }

    /// The session that it lends.
    #[must_use]
    pub fn session(&self) -> &v1::Session {
        &self.session
    }

    /// The secret that it lends.
    #[must_use]
    pub fn credential(&self) -> &v1::Credential {
        &self.credential
    }

    /// Waits until the lease is lost. Where the broker cannot be reached, that is when it may have
    /// run out.
    pub async fn lost(&self) -> Loss {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await.map(|lost| lost.clone()) {
            Ok(Some(lost)) => lost,
            // The task that keeps leases is gone with its runtime.
            _ => Loss::expired(self.lease()),
        }
    }

    /// Whether the lease is lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    /// Does some work, unless and until the lease is lost: then the work is dropped where it is.
    ///
    /// # Errors
    ///
    /// The loss.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Loss> {
        tokio::select! {
            biased;
            lost = self.lost() => Err(lost),
            done = work => Ok(done),
        }
    }

    /// Gives the session back. Disconnect from Telegram first.
    ///
    /// # Errors
    ///
    /// When the broker does not take it: the lease then lives until its TTL is over, or was lost.
    pub async fn release(self) -> Result<v1::ReleaseResponse, Error> {
        self.release_with(v1::ReleaseRequest::default()).await
    }

    /// Gives the session back with a rest, or with the error that ended the work; the lease's id is
    /// filled in.
    ///
    /// # Errors
    ///
    /// As for [`LeaseGuard::release`].
    pub async fn release_with(
        mut self,
        request: v1::ReleaseRequest,
    ) -> Result<v1::ReleaseResponse, Error> {
        let lease_id = self.lease().lease_id.clone();
        self.released = true;
        self.client.upkeep.order(Order::Forget(lease_id.clone()));
        self.client.release(v1::ReleaseRequest { lease_id, ..request }).await
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        let lease_id = self.lease().lease_id.clone();
        self.client.upkeep.order(Order::Forget(lease_id.clone()));
        if self.is_lost() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let client = self.client.clone();
            runtime.spawn(async move {
                let request = v1::ReleaseRequest { lease_id, ..v1::ReleaseRequest::default() };
                // What cannot be released ends with its TTL.
                let _ = client.release(request).await;
            });
        }
    }
}

impl fmt::Debug for LeaseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lease = self.lease();
        f.debug_struct("LeaseGuard")
            .field("pool", &lease.pool)
            .field("session", &lease.session)
            .field("epoch", &lease.epoch)
            .finish_non_exhaustive()
    }
}

impl Loss {
    /// That nobody could say that the lease lives.
    pub(super) fn expired(lease: &v1::Lease) -> Self {
        let (cause, reason) = (LossCause::Expired, "LEASE_LOST".to_owned());
        let (pool, session) = (lease.pool.clone(), lease.session.clone());
        Self { pool, session, cause, epoch: lease.epoch, reason, detail: String::new() }
    }
}

/// A span of the contract; a negative one is none.
pub(super) fn span(span: Option<&pbjson_types::Duration>) -> Duration {
    let Some(span) = span else { return Duration::ZERO };
    let nanos = u32::try_from(span.nanos).unwrap_or_default();
    u64::try_from(span.seconds).map_or(Duration::ZERO, |secs| Duration::new(secs, nanos))
}
