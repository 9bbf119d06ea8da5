//! Keeps pools equal to folders while the broker serves: when a folder changes, and every hour.
//!
//! Folders are looked at, not listened to: what they tell differs from one file system to the next,
//! and those over a network tell nothing.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    convert, intake,
    status::Fault,
    sync::{Effect, Emptying, Order, Report, SOURCE, Strangers, Sync},
};
use crate::{
    config::SyncFolder,
    inventory::{Piece, Stock, Ways},
    pool::{KeyId, Mandate, Policy, PoolName, Refusal},
    proto::v1::{ImportOutcome, ImportRow},
    store::{self, Store},
};

/// How often a folder is looked at. It is read once it looks the same twice.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After how many looks it is read in any case: an hour.
const READ_AFTER: u32 = 1800;
/// After how many looks it is read again when something is left to be done.
const RETRY_AFTER: u32 = 15;
/// How many pieces are read ahead.
const AHEAD: usize = 64;
/// Who adds a session of a folder, as its trail tells.
const FOLLOWER: &str = "serve-sync";
/// How deep folders are looked into.
const MAX_DEPTH: usize = 64;

/// Keeps a pool equal to a folder, for as long as it is polled.
pub(super) async fn follow(store: Arc<dyn Store>, folder: SyncFolder) {
    let mut last = None;
    let mut seen = None;
    let mut looks = 0;
    let mut wait = 0;
    let mut told = BTreeSet::new();
    let mut looking = tokio::time::interval(LOOK_EVERY);
    looking.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looking.tick().await;
        looks += 1;
        let now = look(folder.folder.clone()).await;
        let is_settled = seen == Some(now);
        seen = Some(now);
        if looks < wait && (last == Some(now) || !is_settled) {
            continue;
        }
        // The first time nothing is known to have settled, and nothing is removed unseen either.
        let done = read(&store, &folder).await;
        last = Some(now);
        looks = 0;
        wait = match &done {
            Ok(report) if report.waiting == 0 => READ_AFTER,
            _ => RETRY_AFTER,
        };
        log(&folder, done, &mut told);
    }
}

/// Why a folder is not read.
enum Stop {
    /// The folder or its manifest.
    Folder(String),
    /// The store, or what the sync would do.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

async fn read(store: &Arc<dyn Store>, folder: &SyncFolder) -> Result<Report, Stop> {
    let (sender, mut pieces) = mpsc::channel(AHEAD);
    let SyncFolder { pool, folder } = folder.clone();
    let (opened, is_open) = tokio::sync::oneshot::channel();
    tokio::task::spawn_blocking(move || match Stock::open(&folder, None, Ways::default()) {
        Err(why) => _ = opened.send(Err(why)),
        Ok(stock) => {
            let _ = opened.send(Ok(()));
            for piece in stock.pieces() {
                if sender.blocking_send(Some(piece)).is_err() {
                    return;
                }
            }
            // Its absence tells that reading broke off.
            let _ = sender.blocking_send(None);
        }
    });
    let broke_off = || Stop::Folder("reading it broke off".to_owned());
    is_open.await.map_err(|_| broke_off())?.map_err(Stop::Folder)?;
    make(store, &pool).await?;
    let sees = |_: &PoolName| true;
    let order = Order {
        pool: pool.clone(),
        source: SOURCE.to_owned(),
        effect: Effect::Real,
        emptying: Emptying::Refused,
        strangers: Strangers::Left,
        on: Mandate { by: KeyId::new(FOLLOWER), detail: String::new() },
    };
    let mut sync = Sync::begin(store, &sees, order).await?;
    loop {
        match pieces.recv().await {
            Some(Some(piece)) => take(&mut sync, &pool, piece).await?,
            Some(None) => return Ok(sync.end().await?),
            None => return Err(broke_off()),
        }
    }
}

async fn take(sync: &mut Sync<'_>, pool: &PoolName, piece: Piece) -> Result<(), Fault> {
    match piece {
        Piece::Copy(_) => Ok(()),
        Piece::Unreadable { row, name } => {
            sync.miss(row, name);
            Ok(())
        }
        Piece::Session { mut row, new } => {
            let name = new.name;
            let request = new.entry.request(pool.as_str(), &name);
            match convert::add_session(&request, KeyId::new(FOLLOWER)) {
                Ok((_, session)) => sync.want(row, session).await,
                Err(fault) => {
                    row.detail = intake::misshapen(fault)?;
                    sync.miss(row, Some(name));
                    Ok(())
                }
            }
        }
    }
}

/// Makes the pool, if there is none.
async fn make(store: &Arc<dyn Store>, pool: &PoolName) -> Result<(), Fault> {
    match store.get_pool(pool).await {
        Ok(_) => return Ok(()),
        Err(store::Error::Refused(refusal)) if matches!(*refusal, Refusal::PoolNotFound { .. }) => {
        }
        Err(error) => return Err(error.into()),
    }
    let on = Mandate { by: KeyId::new(FOLLOWER), detail: "for its folder".to_owned() };
    match store.create_pool(pool, Policy::default(), &on).await {
        Ok(_) => {
            tracing::info!(pool = pool.as_str(), "pool made for its folder");
            Ok(())
        }
        Err(store::Error::Refused(refusal)) if matches!(*refusal, Refusal::PoolExists { .. }) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Tells what a sync did. What cannot be taken is told once, until it is something else.
fn log(folder: &SyncFolder, done: Result<Report, Stop>, told: &mut BTreeSet<String>) {
    let (pool, place) = (folder.pool.as_str(), folder.folder.display());
    let stop = match done {
        Ok(report) => {
            let count = |outcome| report.rows.iter().filter(|row| row.outcome() == outcome).count();
            let [added, updated, removed, spared, refused] = [
                ImportOutcome::Added,
                ImportOutcome::Updated,
                ImportOutcome::Removed,
                ImportOutcome::Spared,
                ImportOutcome::Refused,
            ]
            .map(count);
            let unchanged = report.unchanged;
            tracing::info!(
                pool, folder = %place, added, updated, removed, spared, unchanged, refused,
                "pool synced with its folder"
            );
            let line = |row: &ImportRow| format!("{}: {}", row.file_name, row.detail);
            let is_refused = |row: &&ImportRow| row.outcome() == ImportOutcome::Refused;
            let now: BTreeSet<_> = report.rows.iter().filter(is_refused).map(line).collect();
            for line in now.difference(told) {
                tracing::warn!(pool, "a file is not taken: {line}");
            }
            *told = now;
            return;
        }
        Err(Stop::Folder(why)) => why,
        Err(Stop::Fault(fault)) => match intake::misshapen(fault) {
            Ok(why) => why,
            Err(Fault::Store(error)) => error.to_string(),
            Err(_) => "a bug".to_owned(),
        },
    };
    if !told.contains(&stop) {
        tracing::warn!(pool, folder = %place, "pool not synced with its folder: {stop}");
    }
    *told = BTreeSet::from([stop]);
}

/// What a folder looks like: a digest of all names, lengths and times in it.
async fn look(folder: PathBuf) -> u64 {
    let looked = tokio::task::spawn_blocking(move || {
        let mut digest = DefaultHasher::new();
        look_into(&folder, 0, &mut digest);
        digest.finish()
    });
    looked.await.unwrap_or_default()
}

fn look_into(folder: &Path, depth: usize, digest: &mut DefaultHasher) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    for path in paths {
        path.hash(digest);
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() && depth < MAX_DEPTH {
            look_into(&path, depth + 1, digest);
        } else {
            (meta.len(), meta.modified().ok()).hash(digest);
        }
    }
}
