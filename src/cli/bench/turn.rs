//! One turn: the calls of a scenario, measured.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use telegate::{
    client::{Client, Code, Error},
    clock,
    proto::v1::{
        AcquireRequest, GetPoolStatusRequest, Lease, ReleaseRequest, ReportRequest, TelegramError,
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Scenario,
    ledger::{Granted, Ledger, Showed},
    tally::{Kind, Tally},
};
use crate::cli::span;

/// What is reported: an error that only says "try again", and closes nothing.
const REPORTED: (i32, &str, &str) = (500, "WORKER_BUSY_TOO_LONG_RETRY", "help.getConfig");
/// How long a worker pauses when the broker cannot be reached or does not serve: at least, and at
/// most where the broker tells how long.
const PAUSE: Duration = Duration::from_millis(100);
const MOST_PAUSE: Duration = Duration::from_secs(1);

/// What the turns of a load do.
#[derive(Clone, Debug)]
pub(super) struct Deeds {
    pub(super) scenario: Scenario,
    pub(super) pools: Vec<String>,
    pub(super) selector: String,
    pub(super) methods: Vec<String>,
    pub(super) ttl: Duration,
    pub(super) wait: Duration,
    pub(super) hold: Duration,
    pub(super) requests: Requests,
}

/// Whether Acquires carry a request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requests {
    Named,
    Unnamed,
}

/// What all workers of a thread share; the ledger is that of all threads.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) deeds: Deeds,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) tally: Mutex<Tally>,
    pub(super) stop: CancellationToken,
    /// Calls that begin before it are not counted.
    pub(super) counted_from: Instant,
    /// Makes request ids that no other load has.
    pub(super) series: u64,
    pub(super) requests: AtomicU64,
    /// Which pool is next.
    pub(super) rounds: AtomicUsize,
}

/// What a worker keeps from turn to turn.
#[derive(Debug, Default)]
pub(super) struct Kept {
    lease: Option<(Lease, Instant)>,
}

impl Shared {
    /// Does a turn. What is measured first is measured from the moment at which the turn was due.
    pub(super) async fn turn(&self, client: &Client, kept: &mut Kept, due: Instant) {
        let done = match self.deeds.scenario {
            Scenario::AcquireRelease | Scenario::Hold | Scenario::Wait => {
                self.lend(client, due).await
            }
            Scenario::Report => self.report(client, kept, due).await,
            Scenario::Status => self.status(client, due).await,
        };
        if done.is_some() && self.is_counted(due) {
            self.tally().turns += 1;
        }
    }

    /// Gives back what a worker still has.
    pub(super) async fn finish(&self, client: &Client, kept: &mut Kept) {
        if let Some((lease, _)) = kept.lease.take() {
            self.release(client, &lease).await;
        }
    }

    async fn lend(&self, client: &Client, due: Instant) -> Option<()> {
        let lease = self.acquire(client, due).await?;
        if self.deeds.scenario != Scenario::AcquireRelease && !self.deeds.hold.is_zero() {
            let held = tokio::time::sleep(self.deeds.hold);
            let _ = self.stop.run_until_cancelled(held).await;
        }
        self.release(client, &lease).await
    }

    async fn report(&self, client: &Client, kept: &mut Kept, due: Instant) -> Option<()> {
        let old = |lease: &(Lease, Instant)| lease.1.elapsed() > self.deeds.ttl / 2;
        if kept.lease.as_ref().is_some_and(old) {
            self.finish(client, kept).await;
        }
        let (lease, from) = if let Some((lease, _)) = &kept.lease {
            (lease, due)
        } else {
            let lease = self.acquire(client, due).await?;
            let now = clock::moment();
            (&kept.lease.insert((lease, now)).0, now)
        };
        let (code, name, method) = REPORTED;
        let request = ReportRequest {
            lease_id: lease.lease_id.clone(),
            error: Some(TelegramError {
                library: "telegate-bench".to_owned(),
                code,
                r#type: name.to_owned(),
                method: method.to_owned(),
                ..TelegramError::default()
            }),
        };
        let answer = client.report(request).await;
        self.note(Kind::Report, from, answer).await.map(drop)
    }

    async fn status(&self, client: &Client, due: Instant) -> Option<()> {
        let request = GetPoolStatusRequest { pool: self.pool() };
        let answer = client.get_pool_status(request).await;
        self.note(Kind::GetPoolStatus, due, answer).await.map(drop)
    }

    async fn acquire(&self, client: &Client, due: Instant) -> Option<Lease> {
        let call = client.acquire(self.request());
        let sent = clock::moment();
        let answer = if self.deeds.scenario == Scenario::Wait {
            // Whoever still waits when the load is stopped hangs up.
            let Some(answer) = self.stop.run_until_cancelled(call).await else {
                self.tally().unfinished += u64::from(self.is_counted(due));
                return None;
            };
            answer
        } else {
            call.await
        };
        let granted = self.note(Kind::Acquire, due, answer).await?;
        let replayed = granted.replayed;
        let lease = granted.lease?;
        if !replayed {
            self.enter(&lease, sent);
        }
        Some(lease)
    }

    async fn release(&self, client: &Client, lease: &Lease) -> Option<()> {
        let sent = clock::moment();
        self.ledger().releasing(&lease.pool, &lease.session, &lease.lease_id, sent);
        let request =
            ReleaseRequest { lease_id: lease.lease_id.clone(), ..ReleaseRequest::default() };
        let answer = client.release(request).await;
        self.note(Kind::Release, sent, answer).await.map(drop)
    }

    fn request(&self) -> AcquireRequest {
        let wait = (self.deeds.scenario == Scenario::Wait).then(|| span::to_wire(self.deeds.wait));
        let request_id = match self.deeds.requests {
            Requests::Unnamed => String::new(),
            Requests::Named => {
                let number = self.requests.fetch_add(1, Ordering::Relaxed);
                format!("bench-{:016x}-{number}", self.series)
            }
        };
        AcquireRequest {
            pool: self.pool(),
            ttl: Some(span::to_wire(self.deeds.ttl)),
            wait,
            request_id,
            methods: self.deeds.methods.clone(),
            selector: self.deeds.selector.clone(),
            purpose: "telegate bench".to_owned(),
            ..AcquireRequest::default()
        }
    }

    fn pool(&self) -> String {
        let pools = &self.deeds.pools;
        pools[self.rounds.fetch_add(1, Ordering::Relaxed) % pools.len()].clone()
    }

    /// Enters a fresh lease into the ledger.
    fn enter(&self, lease: &Lease, sent: Instant) {
        let answered = clock::moment();
        let ttl = lease.ttl.as_ref().map(span::of_wire).unwrap_or_default();
        let showed = self.ledger().granted(Granted {
            pool: &lease.pool,
            session: &lease.session,
            lease: &lease.lease_id,
            epoch: lease.epoch,
            ttl,
            sent,
            answered,
        });
        match showed {
            // Seen in the warm-up too: a double lease is never in order.
            Showed::Double => self.tally().doubles += 1,
            Showed::Sole(Some(took)) if self.is_counted(sent) => {
                self.tally().hand_overs.note(took);
            }
            Showed::Sole(_) => {}
        }
    }

    async fn note<T>(&self, kind: Kind, from: Instant, answer: Result<T, Error>) -> Option<T> {
        let took = from.elapsed();
        let counted = self.is_counted(from);
        match answer {
            Ok(answer) => {
                if counted {
                    self.tally().calls.entry(kind).or_default().note(took);
                }
                Some(answer)
            }
            Err(error) => {
                if counted {
                    self.tally().error(&error);
                }
                let pause = match &error {
                    Error::Unreachable { .. } => Some(PAUSE),
                    // As told, like a good client: a broker whose store is away needs no calls.
                    Error::Refused(no) if no.code == Code::Unavailable => {
                        Some(no.retry_after.unwrap_or_default().clamp(PAUSE, MOST_PAUSE))
                    }
                    _ => None,
                };
                if let Some(pause) = pause {
                    let _ = self.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                }
                None
            }
        }
    }

    fn is_counted(&self, from: Instant) -> bool {
        from >= self.counted_from
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
