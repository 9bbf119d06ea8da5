//! The waiting room of this broker: calls that stand in a pool's line, and one timer per pool.
//!
//! A call that waits costs the store nothing: it is woken by a notice that a session was handed to
//! it, or by its own patience. The timer of a pool does what is due there when nobody else does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::{Notify, futures::Notified, mpsc},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::edge::Gate;
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
/// How many calls ask again at once, after notices may have been missed, and how many leave at
/// once.
const ROUND: usize = 64;
/// How many calls that have gone may wait to leave the line. What more there are, the store drops
/// when their wait is over.
const MOST_GONE: usize = 16_384;
/// How long such a round is given.
const ROUND_TIME: Duration = Duration::from_millis(10);

/// All calls of this broker that wait.
pub(super) struct WaitingRoom {
    store: Arc<dyn Store>,
    parked: Mutex<Parked>,
    gone: mpsc::Sender<Gone>,
}

/// A call that has gone, and has to leave the line.
struct Gone {
    pool: PoolName,
    departure: Departure,
    /// When the store itself drops the waiter.
    until: Instant,
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
    /// When the call gives up, and the store itself drops the waiter.
    until: Instant,
    called: Arc<Notify>,
    leaves: bool,
}

impl WaitingRoom {
    /// An empty room that hears what the store has to tell, and when the broker closes.
    pub(super) fn open(store: Arc<dyn Store>, gate: Arc<Gate>) -> Arc<Self> {
        let (gone, leaving) = mpsc::channel(MOST_GONE);
        tokio::spawn(see_off(store.clone(), leaving));
        let room = Arc::new(Self { store, parked: Mutex::default(), gone });
        let notices = room.store.notices();
        let (weak, closing) = (Arc::downgrade(&room), Arc::downgrade(&room));
        tokio::spawn(async move {
            gate.closing().await;
            if let Some(room) = closing.upgrade() {
                room.parked().seats.values().for_each(|called| called.notify_one());
            }
        });
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
    fn due(&self, pool: &PoolName, after: Span) {
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
    /// Resolves when the call should ask again, or the broker closes.
    pub(super) fn called(&self) -> Notified<'_> {
        self.called.notified()
    }

    /// The pool in whose line it is.
    pub(super) fn pool(&self) -> &PoolName {
        &self.pool
    }

    /// The store that has the line.
    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.room.store
    }

    /// The waiter's name.
    pub(super) fn ticket(&self) -> Ticket {
        self.departure.ticket
    }

    /// When the call gives up.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Notes that something is due in the pool.
    pub(super) fn due(&self, after: Span) {
        self.room.due(&self.pool, after);
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
        let (pool, departure, until) = (self.pool.clone(), self.departure.clone(), self.until);
        if self.room.gone.try_send(Gone { pool, departure, until }).is_err() {
            tracing::debug!(pool = %self.pool, "too many have gone to leave the line at once");
        }
    }
}

/// Has those who have gone leave the line, some at a time, so that a store which hardly answers is
/// not asked by all of them at once. One that does not answer is asked until it does, or until it
/// has dropped the waiter by itself: else a session would be handed to nobody.
async fn see_off(store: Arc<dyn Store>, mut leaving: mpsc::Receiver<Gone>) {
    let (mut round, mut pause) = (Vec::<Gone>::new(), LEAVING.0);
    loop {
        if round.is_empty() && leaving.recv_many(&mut round, ROUND).await == 0 {
            return;
        }
        while round.len() < ROUND
            && let Ok(gone) = leaving.try_recv()
        {
            round.push(gone);
        }
        let left = round.iter().map(|gone| store.leave(&gone.pool, &gone.departure));
        let left = join_all(left).await;
        let now = clock::moment();
        let stays = |(gone, left): (Gone, Result<(), Error>)| {
            let error = left.err()?;
            if error.is_transient() && now < gone.until {
                return Some(gone);
            }
            tracing::debug!(pool = %gone.pool, %error, "a caller left, and its place did not");
            None
        };
        round = round.into_iter().zip(left).filter_map(stays).collect();
        if round.is_empty() {
            pause = LEAVING.0;
        } else {
            sleep(pause).await;
            pause = (pause * 2).min(LEAVING.1);
        }
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
