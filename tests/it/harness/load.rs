//! Load: many clients that acquire, work a little, renew, release, vanish and hang up, and write
//! down what they held and when.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::select;
use telegate::{
    client::{Client, Error},
    proto::v1::{self, ErrorReason},
};
use tokio::task::JoinSet;

use super::broker::{connect, wire};
use crate::{
    history::Held,
    model::dice::{Dice, any_seed},
};

/// The TTL of a lease that is released.
const TTL: Duration = Duration::from_secs(5);
/// The TTL of a lease that perhaps nobody releases.
const SHORT_TTL: Duration = Duration::from_secs(1);

/// What clients do besides acquiring and releasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// Nothing.
    Good,
    /// Now and then one vanishes with its lease, one hangs up before it has an answer, and one
    /// asks twice at once with the same request id and hangs up on the slower answer.
    Bad,
}

/// A load under way.
pub(crate) struct Load {
    state: Arc<State>,
    clients: JoinSet<Diary>,
}

struct State {
    pool: String,
    selector: String,
    manners: Manners,
    began: Instant,
    granted: AtomicUsize,
    stopped: AtomicBool,
}

/// What a load came to.
#[derive(Debug, Default)]
pub(crate) struct Diary {
    /// Who held what and when.
    pub(crate) held: Vec<Held>,
    /// What ended a client's turns before the load was stopped.
    pub(crate) errors: Vec<Error>,
}

impl Load {
    /// Lets clients loose on the sessions of a kind, spread over brokers. `began` is the zero of
    /// the history's times.
    pub(crate) fn start(
        addresses: &[&str],
        (pool, kind): (&str, &str),
        clients: u64,
        manners: Manners,
        began: Instant,
    ) -> Self {
        let state = Arc::new(State {
            pool: pool.to_owned(),
            selector: format!("kind={kind}"),
            manners,
            began,
            granted: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let mut running = JoinSet::new();
        for (number, address) in (0..clients).zip(addresses.iter().cycle()) {
            let (state, address) = (Arc::clone(&state), (*address).to_owned());
            running.spawn(async move {
                let client = connect(&address).await;
                let mut diary = Diary::default();
                // Each load its own: a request id that came again would be a repetition.
                let mut dice = Dice::new(any_seed() + number);
                while !state.stopped.load(Ordering::Relaxed) {
                    if let Err(error) = state.turn(&client, &mut dice, &mut diary).await {
                        diary.errors.push(error);
                        break;
                    }
                }
                diary
            });
        }
        Self { state, clients: running }
    }

    /// How many leases were granted so far.
    pub(crate) fn granted(&self) -> usize {
        self.state.granted.load(Ordering::Relaxed)
    }

    /// Lets each client finish its turn, and collects what they wrote down.
    pub(crate) async fn stop(mut self) -> Diary {
        self.state.stopped.store(true, Ordering::Relaxed);
        let mut all = Diary::default();
        while let Some(diary) = self.clients.join_next().await {
            let diary = diary.expect("a client does not panic");
            all.held.extend(diary.held);
            all.errors.extend(diary.errors);
        }
        all
    }
}

impl State {
    /// Acquires, works a little, gives back. A busy pool is in order; any other error is not.
    async fn turn(&self, client: &Client, dice: &mut Dice, diary: &mut Diary) -> Result<(), Error> {
        let bad = self.manners == Manners::Bad;
        let (vanishes, hangs_up) = (bad && dice.once_in(100), bad && dice.once_in(30));
        let twice = bad && dice.once_in(20);
        let ttl = if vanishes || hangs_up || twice { SHORT_TTL } else { TTL };
        let sent = self.began.elapsed();
        let request = self.request(ttl, dice);
        let patience = if hangs_up { Duration::from_micros(dice.below(3_000)) } else { TTL * 4 };
        let answer = async {
            if twice {
                let (one, other) = (client.acquire(request.clone()), client.acquire(request));
                return select(pin!(one), pin!(other)).await.factor_first().0;
            }
            client.acquire(request).await
        };
        let Ok(answer) = tokio::time::timeout(patience, answer).await else { return Ok(()) };
        let reply = match answer {
            Ok(reply) => reply,
            Err(Error::Refused(no)) if no.reason == Some(ErrorReason::PoolBusy) => {
                tokio::time::sleep(Duration::from_millis(5 + dice.below(60))).await;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let from = self.began.elapsed();
        self.granted.fetch_add(1, Ordering::Relaxed);
        let lease = reply.lease.unwrap_or_default();
        // Whoever asked twice works longer: the slower answer is on its way back meanwhile.
        let work = if twice { 20 } else { dice.below(4) };
        tokio::time::sleep(Duration::from_millis(work)).await;
        // A client that hears nothing more counts its TTL from the moment it asked.
        let end = sent + ttl;
        let mut told = Ok(());
        if twice || dice.once_in(4) {
            let (lease_id, ttl) = (lease.lease_id.clone(), wire(ttl));
            told = client.renew(v1::RenewRequest { lease_id, ttl }).await.map(drop);
        }
        let until = if vanishes { end } else { self.began.elapsed().min(end) };
        diary.held.push(Held { session: lease.session, epoch: lease.epoch, from, until });
        if told.is_ok() && !vanishes {
            let request = v1::ReleaseRequest { lease_id: lease.lease_id, ..Default::default() };
            told = client.release(request).await.map(drop);
        }
        match told {
            // In order on a machine that stood still for longer than the TTL.
            Err(Error::Refused(no))
                if no.reason == Some(ErrorReason::LeaseLost) && self.began.elapsed() >= end =>
            {
                Ok(())
            }
            told => told,
        }
    }

    fn request(&self, ttl: Duration, dice: &mut Dice) -> v1::AcquireRequest {
        let mut id = || format!("r{}-{}", dice.below(u64::MAX), dice.below(u64::MAX));
        v1::AcquireRequest {
            pool: self.pool.clone(),
            selector: self.selector.clone(),
            ttl: wire(ttl),
            request_id: id(),
            ..v1::AcquireRequest::default()
        }
    }
}
