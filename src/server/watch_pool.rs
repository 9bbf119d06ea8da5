//! `WatchPool`: streams of a pool's status. However many watch a pool, one task reads its status
//! for all of them, for as long as somebody does.
//!
//! The task reads as often as a watcher may be told: to tell of every deed would cost every deed.
//! A watcher keeps no backlog: it reads the newest status when its connection has
//! room for it, and is told how many it missed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::{sync::watch, time::sleep};
use tonic::Status;

use super::{
    call::Caller,
    convert,
    status::{Fault, status},
    streams::Seat,
};
use crate::{
    pool::{PoolName, PoolStatus, Queue, Time},
    proto::v1,
    store::{Error, Store},
};

/// The shortest time between two readings of one pool: watchers are told at most 4 times a second.
const COALESCE: Duration = Duration::from_millis(250);

/// The pools that are watched.
#[derive(Clone)]
pub(super) struct Watchtower {
    store: Arc<dyn Store>,
    watched: Arc<Mutex<HashMap<PoolName, Arc<watch::Sender<Scene>>>>>,
}

/// What there is to see of a pool.
#[derive(Clone, Debug)]
enum Scene {
    /// The status, and how many there were before it.
    Status(PoolStatus, u64),
    /// Nothing any more; why.
    Over(Error),
}

/// One watcher.
struct Watcher {
    pool: PoolName,
    scenes: watch::Receiver<Scene>,
    told: PoolStatus,
    /// The number of the newest status that it was told or did not need.
    number: u64,
    stage: Stage,
    caller: Caller,
    _seat: Seat,
}

enum Stage {
    First,
    Later,
    Over,
}

impl Watchtower {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, watched: Arc::default() }
    }

    /// Shows a pool's status now and whenever it changes.
    pub(super) async fn watch(
        &self,
        caller: Caller,
        seat: Seat,
        request: v1::WatchPoolRequest,
    ) -> Result<impl Stream<Item = Result<v1::WatchPoolResponse, Status>> + Send + 'static, Fault>
    {
        let pool = convert::pool(&request.pool)?;
        caller.enter(&pool)?;
        let told = self.store.status(&pool).await?;
        let mut scenes = self.scenes(&pool, told);
        // What was there before may be newer than what was read here, or the same.
        scenes.mark_changed();
        let number = match &*scenes.borrow() {
            Scene::Status(_, number) => number.saturating_sub(1),
            Scene::Over(_) => 0,
        };
        let caller = caller.aside();
        let watcher =
            Watcher { pool, scenes, told, number, stage: Stage::First, caller, _seat: seat };
        Ok(stream::unfold(watcher, |mut watcher| async move {
            watcher.next().await.map(|shown| (shown, watcher))
        }))
    }

    /// What is seen of a pool, by a task that ends when nobody looks.
    fn scenes(&self, pool: &PoolName, first: PoolStatus) -> watch::Receiver<Scene> {
        let mut watched = self.lock();
        if let Some(scenes) = watched.get(pool) {
            return scenes.subscribe();
        }
        let (scenes, seen) = watch::channel(Scene::Status(first, 0));
        let scenes = Arc::new(scenes);
        watched.insert(pool.clone(), scenes.clone());
        tokio::spawn(self.clone().look(pool.clone(), scenes));
        seen
    }

    async fn look(self, pool: PoolName, scenes: Arc<watch::Sender<Scene>>) {
        loop {
            match self.store.status(&pool).await {
                Ok(status) => _ = scenes.send_if_modified(|scene| scene.take(status)),
                Err(error) => {
                    self.lock().remove(&pool);
                    scenes.send_replace(Scene::Over(error));
                    return;
                }
            }
            tokio::select! {
                () = sleep(COALESCE) => {}
                () = scenes.closed() => {
                    let mut watched = self.lock();
                    if scenes.receiver_count() == 0 {
                        watched.remove(&pool);
                        return;
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PoolName, Arc<watch::Sender<Scene>>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scene {
    /// Takes a status in, and tells whether it is another one.
    fn take(&mut self, status: PoolStatus) -> bool {
        match self {
            Self::Status(before, number) if !is_same(before, &status) => {
                *self = Self::Status(status, *number + 1);
                true
            }
            Self::Status(..) | Self::Over(_) => false,
        }
    }
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<v1::WatchPoolResponse, Status>> {
        match self.stage {
            Stage::First => {
                self.stage = Stage::Later;
                return Some(Ok(self.show(0)));
            }
            Stage::Later => {}
            Stage::Over => return None,
        }
        loop {
            tokio::select! {
                biased;
                () = self.caller.gate.closing() => return Some(self.end(Fault::ShuttingDown)),
                _ = self.scenes.changed() => {}
            }
            if let Err(fault) = self.caller.is_still_known() {
                return Some(self.end(fault));
            }
            let scene = self.scenes.borrow_and_update().clone();
            match scene {
                Scene::Over(error) => return Some(self.end(Fault::Store(error))),
                Scene::Status(status, number) => {
                    let missed = (number - self.number).saturating_sub(1);
                    self.number = number;
                    if !is_same(&self.told, &status) || missed > 0 {
                        self.told = status;
                        return Some(Ok(self.show(missed)));
                    }
                }
            }
        }
    }

    fn show(&self, missed: u64) -> v1::WatchPoolResponse {
        let status = Some(convert::pool_status(&self.pool, &self.told));
        v1::WatchPoolResponse { status, missed }
    }

    fn end(&mut self, why: Fault) -> Result<v1::WatchPoolResponse, Status> {
        self.stage = Stage::Over;
        Err(status(why, &self.caller.call))
    }
}

/// Whether nothing is new but the time: what comes free next comes at the same moment, and the
/// first waiter has come at the same.
fn is_same(one: &PoolStatus, other: &PoolStatus) -> bool {
    let moments = |status: &PoolStatus| {
        let next = status.next.map(|next| (status.at + next.after, next.cause));
        (next, status.queue.oldest_wait.map(|waited| status.at - waited))
    };
    let still = |status: &PoolStatus| {
        let queue = Queue { oldest_wait: None, pace: None, ..status.queue };
        PoolStatus { at: Time::default(), next: None, queue, ..*status }
    };
    still(one) == still(other) && moments(one) == moments(other)
}
