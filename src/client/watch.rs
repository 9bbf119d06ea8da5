//! Watching a pool.

use tonic::Streaming;

use super::{Client, Error};
use crate::proto::v1;

/// A pool's status as it changes.
pub struct PoolWatch {
    client: Client,
    shown: Streaming<v1::WatchPoolResponse>,
}

impl Client {
    /// Watches a pool's status: first the present one, then each change.
    ///
    /// # Errors
    ///
    /// Those that the contract names for `WatchPool`.
    pub async fn watch_pool(&self, request: v1::WatchPoolRequest) -> Result<PoolWatch, Error> {
        match self.pool.clone().watch_pool(request).await {
            Ok(shown) => Ok(PoolWatch { client: self.clone(), shown: shown.into_inner() }),
            Err(status) => Err(self.error(&status)),
        }
    }
}

impl PoolWatch {
    /// The next status; nothing when the broker has nothing more to show.
    ///
    /// # Errors
    ///
    /// When the watch ends: the pool was deleted, the store does not answer, the broker shuts down
    /// or is gone.
    pub async fn next(&mut self) -> Result<Option<v1::WatchPoolResponse>, Error> {
        self.shown.message().await.map_err(|status| self.client.error(&status))
    }
}
