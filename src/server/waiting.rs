//! The waiting room of this broker: calls that stand in a pool's line, and one timer per pool.
//!
//! A call that waits costs the store nothing: it is woken by a notice that a session was handed to
//! it, or by its own patience. The timer of a pool does what is due there when nobody else does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    clock,
    pool::{Departure, LeaseSecret, PoolName, Span, Ticket},
    store::{Error, Notice, Store},
};

/// How long the place of a caller is kept that named its request and has gone.
const GRACE: Span = Span::secs(5);
/// How long until a store that could not be asked what is due is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// The first and the longest pause between attempts to leave a line whose store does not answer.
const LEAVING: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The least time between two looks at what is due in a pool.
const LEAST: Duration = Duration::from_millis(1);
/// How many calls ask again at once, after notices may have been missed.
const ROUND: usize = 64;
/// How long such a round is given.
const ROUND_TIME: Duration = Duration::from_millis(10);

/// All calls of this broker that wait.
pub(super) struct WaitingRoom {
    store: Arc<dyn Store>,
    parked: Mutex<Parked>,
}

#[derive(Default)]
struct Parked {
    seats: HashMap<Ticket, Arc<Notify>>,
    pools: HashMap<PoolName, Timer>,
}

/// What does what is due in a pool for as long as anybody of this broker waits for it.
struct Timer {
    seats: usize,
    bell: Arc<Bell>,
    task: JoinHandle<()>,
}

/// What wakes the timer of a pool.
#[derive(Default)]
struct Bell {
    due: Mutex<Option<Instant>>,
    changed: Notify,
}

/// The place of a call in the waiting room. When it is dropped, the call leaves the line.
pub(super) struct Seat {
    room: Arc<WaitingRoom>,
    pool: PoolName,
    departure: Departure,
    /// When the store itself drops the waiter.
    until: Instant,
    called: Arc<Notify>,
    leaves: bool,
}

impl WaitingRoom {
    /// An empty room that hears what the store has to tell.
    pub(super) fn open(store: Arc<dyn Store>) -> Arc<Self> {
        let room = Arc::new(Self { store, parked: Mutex::default() });
        let notices = room.store.notices();
        let weak = Arc::downgrade(&room);
        tokio::spawn(async move {
            let mut notices = notices;
            while let Some(notice) = notices.next().await {
                let Some(room) = weak.upgrade() else { return };
                room.hear(notice);
            }
        });
        room
    }

    /// Takes a seat, before the line is joined, so that no notice can come too early.
    pub(super) fn seat(
        self: &Arc<Self>,
        pool: &PoolName,
        ticket: Ticket,
        secret: LeaseSecret,
        until: Instant,
        keeps_place: bool,
    ) -> Seat {
        let called = Arc::new(Notify::new());
        let mut parked = self.parked();
        parked.seats.insert(ticket, called.clone());
        let timer = parked.pools.entry(pool.clone()).or_insert_with(|| {
            let bell = Arc::<Bell>::default();
            let task = tokio::spawn(keep_time(Arc::downgrade(self), pool.clone(), bell.clone()));
            Timer { seats: 0, bell, task }
        });
        timer.seats += 1;
        drop(parked);
        let grace = if keeps_place { GRACE } else { Span::ZERO };
        let departure = Departure { ticket, secret, grace };
        Seat { room: self.clone(), pool: pool.clone(), departure, until, called, leaves: true }
    }

    /// Notes that something is due in a pool, if that is sooner than was known.
    pub(super) fn due(&self, pool: &PoolName, after: Span) {
        if let Some(timer) = self.parked().pools.get(pool) {
            timer.bell.set(clock::moment() + Duration::from_millis(after.0));
        }
    }

    fn hear(self: &Arc<Self>, notice: Notice) {
        match notice {
            Notice::Handed(ticket) => {
                if let Some(called) = self.parked().seats.get(&ticket) {
                    called.notify_one();
                }
            }
            Notice::Due { pool, after } => self.due(&pool, after),
            Notice::LeaseEnded(_) => {}
            Notice::Missed => {
                let all: Vec<_> = self.parked().seats.values().cloned().collect();
                tokio::spawn(async move {
                    for round in all.chunks(ROUND) {
                        for called in round {
                            called.notify_one();
                        }
                        sleep(ROUND_TIME).await;
                    }
                });
            }
        }
    }

    fn parked(&self) -> MutexGuard<'_, Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Waits until the call should ask again.
    pub(super) async fn called(&self) {
        self.called.notified().await;
    }

    /// The store knows of no waiter any more: nothing is left to leave.
    pub(super) fn vacate(mut self) {
        self.leaves = false;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut parked = self.room.parked();
        parked.seats.remove(&self.departure.ticket);
        if let Some(timer) = parked.pools.get_mut(&self.pool) {
            timer.seats -= 1;
            if timer.seats == 0
                && let Some(timer) = parked.pools.remove(&self.pool)
            {
                timer.task.abort();
            }
        }
        drop(parked);
        if !self.leaves {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let (store, pool) = (self.room.store.clone(), self.pool.clone());
            runtime.spawn(leave(store, pool, self.departure.clone(), self.until));
        }
    }
}

/// Leaves the line. A store that does not answer is asked until it does, or until it has dropped
/// the waiter by itself: else a session would be handed to nobody.
async fn leave(store: Arc<dyn Store>, pool: PoolName, departure: Departure, until: Instant) {
    let mut pause = LEAVING.0;
    while let Err(error) = store.leave(&pool, &departure).await {
        if !error.is_transient() || clock::moment() >= until {
            tracing::debug!(%pool, %error, "a caller left, and its place did not");
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LEAVING.1);
    }
}

impl Bell {
    /// Notes a moment at which something is due, if that is sooner than was known.
    fn set(&self, at: Instant) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.is_none_or(|known| at < known) {
            *due = Some(at);
            self.changed.notify_one();
        }
    }

    /// Waits until something is due. Nothing is known to be due then.
    async fn rung(&self) {
        loop {
            let next = *self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(at) = next else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(at) => {
                    *self.due.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    return;
                }
                () = self.changed.notified() => {}
            }
        }
    }
}

/// Does what is due in a pool.
async fn keep_time(room: Weak<WaitingRoom>, pool: PoolName, bell: Arc<Bell>) {
    loop {
        bell.rung().await;
        let Some(room) = room.upgrade() else { return };
        let tended = room.store.tend(&pool).await;
        let now = clock::moment();
        match tended {
            Ok(Some(after)) => bell.set(now + Duration::from_millis(after.0).max(LEAST)),
            Ok(None) => {}
            // The pool is gone: whoever waits for it asks again, and is told.
            Err(Error::Refused(_)) => room.hear(Notice::Missed),
            Err(_) => bell.set(now + PAUSE),
        }
    }
}
