//! The connection: one, shared by all calls, watched without polling, and replaced when it breaks.
//!
//! A call whose connection breaks under it may have run or not. What that means differs from verb
//! to verb, so [`Link::attempt`] tells, and [`Link::run`] repeats for verbs that may be repeated.
//! Nothing that was sent over a broken connection can run after a repetition: before a new
//! connection is used, the server is told to drop the old one.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{RedisResult, Value};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    argument::Call,
    ear::Ear,
    fault::Fault,
    options::Options,
    reply::Reply,
    wire::{Dialer, Peer, Wire},
    witness::Witnesses,
};
use crate::{
    clock,
    pool::Span,
    store::{Error, Health, Result},
};

/// For how much longer a call tries than it waits for the reply of a silent connection, so that
/// there is time for another.
const SECOND_TRY: Duration = Duration::from_millis(200);
/// How much longer than its patience a call may take, when the connection came back at the end.
const GRACE: Duration = Duration::from_millis(250);
/// How often a call loads the scripts before it gives up.
const LOADS: u32 = 3;
/// For how long nothing is sent to a server that has started anew, so that every broker can ask it
/// what it still knows before any of them lends again: longer than the longest pause below.
const SETTLE: Duration = Duration::from_secs(1);
/// The first and the longest pause between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// The connection to Redis.
pub(super) struct Link {
    state: watch::Receiver<State>,
    health: watch::Receiver<Health>,
    closing: CancellationToken,
    reply_within: Duration,
    anchor: Anchor,
}

/// A timer that is due before those of the calls that come after it, and that no answer takes back.
///
/// Whenever one is set that is due before all others, the runtime writes to itself in order to wake
/// and set its alarm anew. A call that comes alone would cost that each time; so it costs it once
/// in the time that a reply may take.
#[derive(Default)]
struct Anchor(Mutex<Option<Instant>>);

#[derive(Clone)]
enum State {
    Up(Arc<Wire>),
    Down { since: Instant, why: Why },
}

/// Why there is no connection.
#[derive(Clone)]
enum Why {
    Unavailable(String),
    Recovering(String),
    Broken(String),
}

/// For how long a call tries, and whether it may have run already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    total: Duration,
    until: Instant,
    doubted: Option<Instant>,
}

/// Why an attempt has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The script may have run or not. There is time for another attempt, or the next one says so.
    Lost,
    /// There will be no answer.
    Given(Error),
}

impl Patience {
    /// One that lasts so long.
    pub(super) fn lasting(total: Duration) -> Self {
        Self { total, until: clock::moment() + total, doubted: None }
    }

    /// What is left of it for the next step of a call: another script, not run yet.
    pub(super) fn without_doubt(self) -> Self {
        Self { doubted: None, ..self }
    }

    /// Whether an earlier attempt may have run.
    pub(super) fn in_doubt(&self) -> bool {
        self.doubted.is_some()
    }

    /// How long ago the first attempt was sent that may have run.
    pub(super) fn doubted_for(&self) -> Option<Span> {
        let since = clock::moment().saturating_duration_since(self.doubted?);
        Some(Span(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Link {
    /// Connects, once, and keeps the connection from then on.
    pub(super) async fn open(
        options: &Options,
        ear: Arc<Ear>,
        witnesses: Arc<Witnesses>,
    ) -> Result<Self> {
        let dialer = Dialer::new(options)?;
        let wire = dialer.dial(None).await?;
        let (state, state_seen) = watch::channel(State::Up(Arc::new(wire)));
        let (health, health_seen) = watch::channel(Health::Up);
        let closing = CancellationToken::new();
        let keeper = Keeper { dialer, ear, witnesses, state, health };
        tokio::spawn(closing.clone().run_until_cancelled_owned(keeper.run()));
        let reply_within = options.reply_within;
        let anchor = Anchor::default();
        Ok(Self { state: state_seen, health: health_seen, closing, reply_within, anchor })
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// The patience of a caller.
    pub(super) fn patience(&self) -> Patience {
        Patience::lasting(self.reply_within + SECOND_TRY)
    }

    /// Lets go of the connection, when the calls under way are answered.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// Runs a script that may be repeated when its reply was lost.
    pub(super) async fn run(&self, call: &Call, patience: &mut Patience) -> Result<Reply> {
        loop {
            match self.attempt(call, patience).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Lost) => {}
                Err(Failure::Given(error)) => return Err(error),
            }
        }
    }

    /// Runs a script; repeats only what certainly did not run.
    pub(super) async fn attempt(
        &self,
        call: &Call,
        patience: &mut Patience,
    ) -> Result<Reply, Failure> {
        let mut loads = 0;
        loop {
            let wire = self.wire(patience).await.map_err(Failure::Given)?;
            let sent = clock::moment();
            let Some(answer) = self.answer(&wire, call, patience.until + GRACE).await else {
                patience.doubted.get_or_insert(sent);
                return Err(Failure::Lost);
            };
            let fault = match answer {
                Ok(value) => return Reply::read(value).map_err(Failure::Given),
                Err(error) => Fault::of(&error),
            };
            match fault {
                Fault::Unloaded if loads < LOADS => {
                    loads += 1;
                    // A failure shows in the next round.
                    let _ = timeout_at(sent + self.reply_within, wire.load(sent)).await;
                }
                Fault::Lost(why) => {
                    patience.doubted.get_or_insert(sent);
                    wire.lose(&why);
                    return Err(Failure::Lost);
                }
                Fault::Recovering(why) => wire.lose(&why),
                fault => return Err(Failure::Given(fault.into_error())),
            }
        }
    }

    /// The connection, as soon as there is one.
    async fn wire(&self, patience: &Patience) -> Result<Arc<Wire>> {
        let moment = clock::moment();
        if patience.in_doubt() && moment >= patience.until {
            return Err(Error::Unavailable("Redis did not answer in time".to_owned()));
        }
        match &*self.state.borrow() {
            // So it nearly always is; whoever has to wait for it may take longer.
            State::Up(wire) if !wire.is_lost() => return Ok(Arc::clone(wire)),
            State::Down { since, why } if moment >= *since + patience.total => {
                return Err(why.clone().into());
            }
            State::Up(_) | State::Down { .. } => {}
        }
        let mut state = self.state.clone();
        let usable = |state: &State| matches!(state, State::Up(wire) if !wire.is_lost());
        let seen = timeout_at(patience.until, state.wait_for(usable)).await;
        match seen {
            Ok(Ok(state)) => match &*state {
                State::Up(wire) => Ok(Arc::clone(wire)),
                State::Down { why, .. } => Err(why.clone().into()),
            },
            Ok(Err(_closed)) => Err(Error::Unavailable("the store is closed".to_owned())),
            Err(_elapsed) => match &*self.state.borrow() {
                State::Up(_) => Err(Error::Unavailable("Redis does not answer".to_owned())),
                State::Down { why, .. } => Err(why.clone().into()),
            },
        }
    }

    /// Waits for an answer, but not beyond a moment. A connection that is silent for too long is
    /// given up; one that answers others is only slow, and to give it up would fail all its calls.
    async fn answer(&self, wire: &Wire, call: &Call, until: Instant) -> Option<RedisResult<Value>> {
        let mut sent = pin!(wire.send(call));
        let mut heard = wire.answers();
        let mut since = clock::moment();
        self.anchor.hold(since, self.reply_within);
        loop {
            let enough = since + self.reply_within;
            if let Ok(answer) = timeout_at(until.min(enough), sent.as_mut()).await {
                return Some(answer);
            }
            let answers = wire.answers();
            if until < enough {
                return None;
            } else if answers == heard {
                wire.lose("no answer in time");
                return None;
            }
            (heard, since) = (answers, enough);
        }
    }
}

impl Anchor {
    /// Sets the timer, unless it is set.
    fn hold(&self, now: Instant, span: Duration) {
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if due.is_none_or(|due| due <= now) {
            *due = Some(now + span);
            tokio::spawn(sleep_until(now + span));
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl From<Why> for Error {
    fn from(why: Why) -> Self {
        match why {
            Why::Unavailable(said) => Self::Unavailable(said),
            Why::Recovering(said) => Self::Recovering(said),
            Why::Broken(said) => Self::Broken(said),
        }
    }
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        match error {
            Error::Recovering(said) => Self::Recovering(said),
            Error::Unavailable(said) => Self::Unavailable(said),
            Error::Broken(said) => Self::Broken(said),
            other @ (Error::Refused(_) | Error::NoKey) => Self::Broken(other.to_string()),
        }
    }
}

/// Replaces the connection whenever it is lost. Between losses it sleeps.
struct Keeper {
    dialer: Dialer,
    ear: Arc<Ear>,
    witnesses: Arc<Witnesses>,
    state: watch::Sender<State>,
    health: watch::Sender<Health>,
}

impl Keeper {
    async fn run(self) {
        loop {
            let State::Up(wire) = self.state.borrow().clone() else { return };
            wire.load_rest().await;
            let lost = wire.lost().await;
            let peer = wire.peer().clone();
            drop(wire);
            let since = clock::moment();
            self.down(since, Why::Unavailable(lost.clone()));
            let wire = self.redial(&peer, since, &lost).await;
            self.state.send_replace(State::Up(Arc::new(wire)));
            self.health.send_replace(Health::Up);
            // Perhaps to another server.
            self.ear.anew();
            tracing::info!(after_ms = since.elapsed().as_millis(), "Redis is connected again");
        }
    }

    async fn redial(&self, peer: &Peer, since: Instant, lost: &str) -> Wire {
        let mut pause = BACKOFF.0;
        loop {
            match self.meet(peer, since).await {
                Ok(wire) => return wire,
                Err(error) => {
                    // A connection that is replaced at once is no outage.
                    if self.health.send_replace(Health::Down) == Health::Up {
                        tracing::warn!(%error, lost, "Redis is gone; reconnecting");
                    }
                    self.down(since, error.into());
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// Connects, and if the server has started anew, asks what it still knows.
    async fn meet(&self, before: &Peer, since: Instant) -> Result<Wire> {
        let wire = self.dialer.dial(Some(before)).await?;
        if !wire.peer().is_of_same_server(before) {
            self.health.send_replace(Health::Down);
            self.down(since, Why::Recovering("Redis has started anew".to_owned()));
            timeout_at(clock::moment() + SETTLE, self.witnesses.question(&wire))
                .await
                .map_err(|_| Error::Unavailable("Redis does not answer".to_owned()))??;
            sleep(SETTLE).await;
        }
        Ok(wire)
    }

    fn down(&self, since: Instant, why: Why) {
        self.state.send_replace(State::Down { since, why });
    }
}

/// However the keeper ends, nobody is left with the connection.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.down(clock::moment(), Why::Unavailable("the store is closed".to_owned()));
        self.health.send_replace(Health::Down);
    }
}
