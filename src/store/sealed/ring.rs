//! The store keys that are in force, and the file that they are re-read from.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use super::{
    Sealing,
    keys::{KeyError, StoreKeys},
};

/// How often the file is looked at.
const POLL: Duration = Duration::from_secs(1);

/// The keys that are in force.
#[derive(Debug)]
pub(super) struct Ring {
    file: Option<PathBuf>,
    keys: RwLock<Option<Arc<StoreKeys>>>,
}

impl Ring {
    pub(super) fn open(sealing: Sealing) -> Result<Self, KeyError> {
        let (file, keys) = match sealing {
            Sealing::File(path) => {
                let keys = StoreKeys::load(&path)?;
                (Some(path), Some(keys))
            }
            Sealing::Keys(keys) => (None, Some(keys)),
            Sealing::Without | Sealing::Unencrypted => (None, None),
        };
        Ok(Self { file, keys: RwLock::new(keys.map(Arc::new)) })
    }

    pub(super) fn keys(&self) -> Option<Arc<StoreKeys>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes changes of the file up, for ever. A file that is not in order keeps the old keys: a
    /// slip in an editor must not make the sessions unreadable.
    pub(super) async fn follow(&self) {
        let Some(path) = &self.file else { return };
        let mut told = None;
        let mut tick = tokio::time::interval(POLL);
        loop {
            tick.tick().await;
            let wrong = match StoreKeys::load(path) {
                Ok(keys) => {
                    if self.keys().as_deref() != Some(&keys) {
                        let ids: Vec<_> = keys.ids().map(|id| id.to_string()).collect();
                        tracing::info!(keys = ids.join(","), "store keys re-read");
                        *self.keys.write().unwrap_or_else(PoisonError::into_inner) =
                            Some(Arc::new(keys));
                    }
                    None
                }
                Err(error) => Some(error.to_string()),
            };
            if wrong != told
                && let Some(error) = &wrong
            {
                tracing::error!(error, "store keys not re-read; the old ones stay");
            }
            told = wrong;
        }
    }
}
