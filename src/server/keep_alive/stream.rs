//! One stream: what it is asked, what falls due, what the store gives notice of.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tonic::{Status, Streaming};

use super::{
    departure::Left,
    ledger::{Finding, Ledger},
};
use crate::{
    clock::moment,
    pool::{EndCause, Lease, LeaseId, Refusal, Time},
    proto::v1,
    server::{
        call::Caller,
        convert::{self, Departure, KeepAlive},
        status::{Fault, broken_stream},
    },
    store::{Error, Notice, Notices, Store},
};

/// The most leases that a stream keeps.
const MAX_LEASES: usize = 10_000;
/// The most leases that are looked at together.
const LOOKS: usize = 1024;
/// For how long a look waits for the store before time alone decides.
const LOOK: Duration = Duration::from_millis(500);

/// What a worker is told.
pub(super) type Answer = Result<v1::KeepAliveResponse, Status>;

/// A stream and its leases.
pub(super) struct Upkeep {
    store: Arc<dyn Store>,
    caller: Caller,
    out: mpsc::Sender<Box<Answer>>,
    ledger: Ledger,
    departure: Departure,
}

/// How a stream ended.
#[derive(Debug)]
pub(super) enum End {
    /// By its worker, or with its connection.
    Gone,
    /// By the server's shutdown.
    Closing,
    /// Because the worker said something wrong.
    Refused(Fault),
}

/// What a stream waits for.
enum Event {
    Closing,
    Gone,
    Notice(Notice),
    Due,
    Said(Result<Option<v1::KeepAliveRequest>, Status>),
}

impl End {
    /// What the worker is told of it, if it may still listen.
    pub(super) fn into_fault(self) -> Option<Fault> {
        match self {
            Self::Gone => None,
            Self::Closing => Some(Fault::ShuttingDown),
            Self::Refused(fault) => Some(fault),
        }
    }
}

impl Upkeep {
    pub(super) fn new(
        store: Arc<dyn Store>,
        caller: Caller,
        out: mpsc::Sender<Box<Answer>>,
    ) -> Self {
        Self { store, caller, out, ledger: Ledger::default(), departure: Departure::default() }
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn out(&self) -> &mpsc::Sender<Box<Answer>> {
        &self.out
    }

    /// How many leases it keeps.
    pub(super) fn leases(&self) -> usize {
        self.ledger.len()
    }

    /// What is left to be released after such an end.
    pub(super) fn depart(&self, end: &End) -> Option<Left> {
        let Departure::ReleaseAfter(grace) = self.departure else { return None };
        if matches!(end, End::Closing) || self.ledger.len() == 0 {
            return None;
        }
        let (leases, key) = (self.ledger.marks(), self.caller.key());
        Some(Left { leases, key, grace, gate: self.caller.gate.clone() })
    }

    /// Runs until the stream ends.
    pub(super) async fn run(
        &mut self,
        requests: &mut Streaming<v1::KeepAliveRequest>,
        notices: &mut Notices,
    ) -> End {
        loop {
            let due = self.ledger.next_due();
            let event = tokio::select! {
                biased;
                () = self.caller.gate.closing() => Event::Closing,
                () = self.out.closed() => Event::Gone,
                Some(notice) = notices.next() => Event::Notice(notice),
                () = until(due) => Event::Due,
                said = requests.message() => Event::Said(said),
            };
            // Boxed, so that a stream on which nothing happens does not carry the room for it.
            let done = match event {
                Event::Closing => Err(End::Closing),
                Event::Gone | Event::Said(Ok(None)) => Err(End::Gone),
                // Also a connection that broke; then nobody hears it.
                Event::Said(Err(status)) => Err(End::Refused(broken_stream(&status))),
                Event::Said(Ok(Some(request))) => Box::pin(self.asked(&request)).await,
                Event::Notice(notice) => {
                    let concerned = self.concerned(notice, notices);
                    Box::pin(self.look_at(concerned)).await
                }
                Event::Due => {
                    let due = self.ledger.due(moment(), LOOKS);
                    Box::pin(self.look_at(due)).await
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Renews what a message names.
    async fn asked(&mut self, request: &v1::KeepAliveRequest) -> Result<(), End> {
        let asked = convert::keep_alive(request).map_err(End::Refused)?;
        self.caller.is_still_known().map_err(End::Refused)?;
        let KeepAlive { leases, ttl, departure } = asked;
        self.departure = departure.unwrap_or(self.departure);
        let new = leases.iter().filter(|id| !self.ledger.has(id)).count();
        if self.ledger.len() + new > MAX_LEASES {
            return Err(End::Refused(convert::too_many_leases(MAX_LEASES)));
        }
        let mut allowed = Vec::with_capacity(leases.len());
        for id in leases {
            match self.caller.enter(&id.pool) {
                Ok(()) => allowed.push(id),
                Err(fault) => self.send(convert::lost(&id, fault)).await?,
            }
        }
        let asked_at = moment();
        let answers = self.store.renew_all(&allowed, &self.caller.key(), ttl).await;
        let mut unrenewed = Vec::new();
        for (id, answer) in allowed.into_iter().zip(answers) {
            match answer {
                Ok(lease) => {
                    let before = self.ledger.enter(&id, &lease, asked_at);
                    self.send(convert::renewed(&id, &lease)).await?;
                    if let Some(before) = before {
                        self.look_at_one_that_is_over(before).await?;
                    }
                }
                Err(error) if keeps_lease(&error) => unrenewed.push((id, error)),
                Err(error) => self.lose(&id, error).await?,
            }
        }
        self.not_renewed(unrenewed).await
    }

    /// Tells of leases that live and could not be renewed, with what is left of them.
    async fn not_renewed(&mut self, unrenewed: Vec<(LeaseId, Error)>) -> Result<(), End> {
        let (ids, errors): (Vec<_>, Vec<_>) = unrenewed.into_iter().unzip();
        if ids.is_empty() {
            return Ok(());
        }
        let asked_at = moment();
        let answers = self.inspect(&ids).await;
        for ((id, error), answer) in ids.into_iter().zip(errors).zip(answers) {
            report(&error);
            let left = match answer {
                Ok(lease) => {
                    self.ledger.enter(&id, &lease, asked_at);
                    Some(lease.ttl)
                }
                Err(lost) if !keeps_lease(&lost) => {
                    self.lose(&id, lost).await?;
                    continue;
                }
                Err(_) => self.ledger.left(&id, moment()),
            };
            self.send(convert::ending(&id, left, Some(error))).await?;
        }
        Ok(())
    }

    /// The leases that a notice, and those that have come after it, are about.
    fn concerned(&self, first: Notice, notices: &mut Notices) -> Vec<LeaseId> {
        let mut concerned = Vec::new();
        let mut next = Some(first);
        while let Some(notice) = next {
            match notice {
                Notice::LeaseEnded(ending) => concerned.extend(self.ledger.lease_of(
                    &ending.pool,
                    &ending.session,
                    ending.epoch,
                )),
                Notice::Missed => return self.ledger.all(),
                Notice::Handed(_) | Notice::Due { .. } => {}
            }
            next = if concerned.len() < LOOKS { notices.try_next() } else { None };
        }
        concerned
    }

    /// Asks the store how leases stand, and tells what must be told.
    async fn look_at(&mut self, ids: Vec<LeaseId>) -> Result<(), End> {
        if ids.is_empty() {
            return Ok(());
        }
        let asked_at = moment();
        let answers = self.inspect(&ids).await;
        for (id, answer) in ids.iter().zip(answers) {
            let finding = match answer {
                Ok(lease) => self.ledger.seen(id, &lease, asked_at, moment()),
                Err(error) if keeps_lease(&error) => {
                    report(&error);
                    self.ledger.unseen(id, moment())
                }
                Err(error) => {
                    self.lose(id, error).await?;
                    continue;
                }
            };
            match finding {
                Finding::Fine => {}
                Finding::Ending(left) => self.send(convert::ending(id, Some(left), None)).await?,
                Finding::RunOut(epoch) => {
                    let over = run_out(id, epoch);
                    self.send(convert::lost(id, Fault::Store(over))).await?;
                }
            }
        }
        Ok(())
    }

    /// A newer lease of the session was named, so this one is over; the store knows how.
    async fn look_at_one_that_is_over(&mut self, id: LeaseId) -> Result<(), End> {
        match self.inspect(std::slice::from_ref(&id)).await.pop() {
            Some(Err(error)) if !keeps_lease(&error) => self.lose(&id, error).await,
            _ => Ok(()),
        }
    }

    async fn inspect(&self, ids: &[LeaseId]) -> Vec<Result<Lease, Error>> {
        let key = self.caller.key();
        let looked = timeout(LOOK, self.store.inspect_all(ids, &key)).await;
        let late = || Err(Error::Unavailable("it did not answer in time".into()));
        looked.unwrap_or_else(|_elapsed| ids.iter().map(|_| late()).collect())
    }

    async fn lose(&mut self, id: &LeaseId, error: Error) -> Result<(), End> {
        self.ledger.forget(id);
        self.send(convert::lost(id, Fault::Store(error))).await
    }

    /// Sends an answer, when the worker reads.
    async fn send(&self, answer: v1::KeepAliveResponse) -> Result<(), End> {
        tokio::select! {
            biased;
            () = self.caller.gate.closing() => Err(End::Closing),
            sent = self.out.send(Box::new(Ok(answer))) => sent.map_err(|_| End::Gone),
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Whether a lease may live on although it was not renewed or seen.
fn keeps_lease(error: &Error) -> bool {
    match error {
        Error::Refused(refusal) => matches!(**refusal, Refusal::PoolDraining { .. }),
        Error::Unavailable(_) | Error::Recovering(_) | Error::Broken(_) | Error::NoKey => true,
    }
}

/// What a person must act on is logged here: on a stream no call fails that could tell it.
fn report(error: &Error) {
    if let Error::Broken(why) = error {
        tracing::error!(error = why, "leases cannot be kept");
    }
}

/// That a lease has run out by the time that was granted, whatever the store would say: it cannot
/// be asked.
fn run_out(id: &LeaseId, epoch: u64) -> Error {
    let (pool, session) = (id.pool.clone(), id.session.clone());
    let (cause, at, detail) = (EndCause::Expired, Time::default(), String::new());
    Refusal::LeaseLost { pool, session, cause, epoch, at, detail }.into()
}
