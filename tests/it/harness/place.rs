//! Where the store of a stage is kept, and how it ends and is opened again.

use std::{fs, sync::Arc, time::Duration};

use telegate::{
    clock::Clock,
    pool::Time,
    store::{
        Error, Health, Store,
        embedded::{Durability, EmbeddedStore},
        redis::{RedisStore, Shortcut},
    },
};
use tempfile::TempDir;

use super::{
    eventually,
    redis::{self, RedisServer},
    rulebook::Rulebook,
    stage::Engine,
};

/// Where a store is kept.
pub(super) enum Place {
    Nowhere { clock: Clock },
    File { dir: TempDir, clock: Clock, ends: u64 },
    Prefix { server: &'static RedisServer, name: String, shortcut: Shortcut },
}

impl Place {
    /// A place where nothing is yet. `None` when the machine lacks what the engine needs.
    pub(super) fn of(engine: Engine, clock: Clock) -> Option<Self> {
        Some(match engine {
            Engine::Rulebook => Self::Nowhere { clock },
            Engine::Embedded => {
                let dir = tempfile::tempdir().expect("a temporary directory");
                Self::File { dir, clock, ends: 0 }
            }
            Engine::Redis => Self::prefix(Shortcut::Taken)?,
            Engine::Ruled => Self::prefix(Shortcut::Barred)?,
        })
    }

    fn prefix(shortcut: Shortcut) -> Option<Self> {
        Some(Self::Prefix { server: redis::shared()?, name: redis::fresh_prefix(), shortcut })
    }

    pub(super) fn set_clock(&self, at: Time) {
        match self {
            Self::Nowhere { clock } | Self::File { clock, .. } => {
                clock.advance(at.since(clock.now()));
            }
            Self::Prefix { server, name, .. } => {
                server.command(&["SET", &format!("{name}:clock"), &at.0.to_string()]);
            }
        }
    }

    /// Ends what has it open; a file's by turns as `kill -9` does, and in peace. Tells whether it
    /// can be opened again.
    pub(super) async fn end(&mut self, store: &dyn Store) -> bool {
        match self {
            Self::Nowhere { .. } => return false,
            Self::File { dir, ends, .. } => {
                *ends += 1;
                if *ends % 2 == 1 {
                    *dir = left_by_the_dead(dir);
                } else {
                    store.close().await;
                }
            }
            Self::Prefix { .. } => store.close().await,
        }
        true
    }

    pub(super) async fn connect(&self) -> Arc<dyn Store> {
        let store: Arc<dyn Store> =
            match self {
                Self::Nowhere { clock } => Arc::new(Rulebook::new(clock.clone())),
                Self::File { dir, clock, .. } => {
                    let path = dir.path().join("store");
                    let store = EmbeddedStore::open(&path, clock.clone(), Durability::Process);
                    Arc::new(store.expect("the file can be opened"))
                }
                Self::Prefix { server, name, shortcut } => {
                    let options = redis::patient(server, name, *shortcut);
                    // Many stages are built at once, and a connection has its time.
                    let patience = options.reply_within;
                    let store = eventually("Redis can be reached", patience, async || {
                        match RedisStore::connect(options.clone()).await {
                            Err(Error::Unavailable(_)) => None,
                            answer => Some(answer.expect("it will do")),
                        }
                    });
                    Arc::new(store.await)
                }
            };
        let health = store.health();
        eventually("the store serves", Duration::from_secs(20), async || {
            (*health.borrow() == Health::Up).then_some(())
        })
        .await;
        store
    }
}

/// The files of a folder as they are while a store has them open: what a `kill -9` would leave.
pub(crate) fn left_by_the_dead(dir: &TempDir) -> TempDir {
    let left = tempfile::tempdir().expect("a temporary directory");
    for file in fs::read_dir(dir.path()).expect("the folder is there") {
        let file = file.expect("the folder can be read");
        fs::copy(file.path(), left.path().join(file.file_name())).expect("a file is copied");
    }
    left
}
