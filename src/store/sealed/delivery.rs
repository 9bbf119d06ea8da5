//! Grants on their way to their holders: their secrets are opened, and a grant whose secrets do not
//! open is taken back.

use std::sync::Arc;

use super::{SealedStore, Store};
use crate::{
    pool::{Ask, Grant, Lease, LeaseId, LeaseSecret, PoolName, Span},
    store::Result,
};

impl SealedStore {
    /// A grant as its holder needs it. One that cannot be opened is taken back.
    pub(super) async fn opened(&self, pool: &PoolName, ask: Ask, grant: Grant) -> Result<Grant> {
        let Lease { secret, deliveries, .. } = grant.lease;
        let granted = LeaseId { pool: pool.clone(), session: grant.record.name.clone(), secret };
        match self.open(pool, grant.record) {
            Ok(record) => Ok(Grant { record, ..grant }),
            Err(error) => {
                // In a task, so that it is done even if the caller leaves meanwhile.
                let back = take_back(Arc::clone(&self.inner), granted, deliveries, ask);
                let _ = tokio::spawn(back).await;
                Err(error)
            }
        }
    }
}

/// Takes back a grant that cannot be delivered because the session does not open, and lets the
/// others have their turn first.
async fn take_back(store: Arc<dyn Store>, granted: LeaseId, deliveries: u32, ask: Ask) {
    let LeaseId { pool, session, .. } = &granted;
    match store.undo(&granted, deliveries).await {
        Ok(true) => {}
        // Somebody else has been given it too.
        Ok(false) => return,
        Err(error) => {
            tracing::warn!(
                %pool, %session, %error,
                "a lease of a session that does not open was not undone; it ends when its TTL is \
                 over"
            );
            return;
        }
    }
    // An undone grant leaves no use behind: the same session would be the next one for ever.
    let mut bits = [0; 16];
    if getrandom::fill(&mut bits).is_err() {
        return;
    }
    let secret = LeaseSecret::new(bits);
    let key = ask.holder.key.clone();
    let (named, request, ttl) = (Some(session.clone()), None, None);
    let again = Ask { session: named, secret, request, ttl, retried_for: None, ..ask };
    if store.acquire(pool, again).await.is_ok() {
        let _ = store.release(&LeaseId { secret, ..granted }, &key, Span::ZERO, None).await;
    }
}
