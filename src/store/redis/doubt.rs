//! Grants that may have been made for nobody, and are taken back.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{Inner, argument::Call, link::Patience, scripts::Verb};
use crate::pool::{LeaseSecret, PoolName};

/// For how long a grant that may have been made for nobody is taken back; after that it expires.
const RECALL: Duration = Duration::from_secs(60);

/// That a lease may have been granted to a call which nobody hears any more: its connection broke,
/// or its caller hung up. Dropped unresolved, it has the grant taken back.
pub(super) struct Doubt<'a> {
    inner: &'a Arc<Inner>,
    pool: &'a PoolName,
    secret: LeaseSecret,
    resolved: bool,
}

impl<'a> Doubt<'a> {
    pub(super) fn new(inner: &'a Arc<Inner>, pool: &'a PoolName, secret: LeaseSecret) -> Self {
        Self { inner, pool, secret, resolved: false }
    }

    pub(super) fn resolve(&mut self) {
        self.resolved = true;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        let (false, Ok(runtime)) = (self.resolved, Handle::try_current()) else { return };
        let inner = Arc::clone(self.inner);
        let call = Call::new(Verb::Undo, inner.keys.pool(self.pool))
            .with("")
            .with(self.secret.to_hex())
            .with("1");
        runtime.spawn(async move {
            // A lease that cannot be taken back expires.
            let _ = inner.link.run(&call, &mut Patience::lasting(RECALL)).await;
        });
    }
}
