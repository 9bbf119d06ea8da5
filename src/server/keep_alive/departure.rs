//! What a stream leaves behind: leases that are released after a grace, unless they were taken up
//! again.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::sleep};

use crate::{
    pool::{KeyId, LeaseId, Mark, Span},
    server::edge::Gate,
    store::Store,
};

/// How many ended streams are remembered at once. The leases of more live on until their TTL.
const MOST: usize = 4096;

/// The ended streams whose leases are to be released.
#[derive(Clone)]
pub(super) struct Departures {
    store: Arc<dyn Store>,
    places: Arc<Semaphore>,
}

/// What a stream leaves behind.
pub(super) struct Left {
    /// The leases, as they were last seen.
    pub(super) leases: Vec<(LeaseId, Mark)>,
    /// Whose they are.
    pub(super) key: KeyId,
    /// How long somebody may come back for them.
    pub(super) grace: Span,
    /// What let their holder in. When it shuts, they are left alone.
    pub(super) gate: Arc<Gate>,
}

impl Departures {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, places: Arc::new(Semaphore::new(MOST)) }
    }

    /// Waits the grace out and releases what nobody has come back for. A broker that is shutting
    /// down cannot know whether a worker is gone, so it leaves the leases to their TTL.
    pub(super) async fn wait(&self, left: Left) {
        let Left { leases, key, grace, gate } = left;
        let Ok(_place) = self.places.try_acquire() else {
            tracing::warn!(%key, leases = leases.len(), "too many streams ended at once; \
                           their leases live on until their TTL is over");
            return;
        };
        tokio::select! {
            () = gate.closing() => return,
            () = sleep(Duration::from_millis(grace.0)) => {}
        }
        for ((id, _), answer) in leases.iter().zip(self.store.abandon_all(&leases, &key).await) {
            let (pool, session) = (&id.pool, &id.session);
            match answer {
                Ok(true) => tracing::info!(%key, %pool, %session, "released: its worker is gone"),
                Ok(false) => tracing::debug!(%key, %pool, %session, "taken up again in time"),
                Err(error) if error.is_transient() => tracing::warn!(
                    %key, %pool, %session, %error,
                    "not released although its worker is gone; the lease ends with its TTL"
                ),
                // It had ended before.
                Err(_) => {}
            }
        }
    }
}
