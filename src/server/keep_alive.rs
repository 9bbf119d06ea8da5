//! `KeepAlive`: streams that renew leases, warn before one ends, and tell at once when one is lost.
//!
//! A stream is a task with one timer. Notices of the store are hints: what a stream tells of a
//! lease is what the store answers when it is asked, so that nothing false is ever told, and so
//! that a hint which was missed costs a question and no lease.

mod departure;
mod ledger;
mod stream;

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use self::{
    departure::Departures,
    stream::{Answer, Upkeep},
};
use super::{call::Caller, status::status, streams::Seat};
use crate::{
    proto::v1,
    store::{Crier, Notice, Notices, Store},
};

/// How many answers wait for a worker before nothing more is read from it.
const ANSWERS: usize = 256;

/// Keeps the leases of all streams.
#[derive(Clone)]
pub(super) struct Keeper {
    store: Arc<dyn Store>,
    departures: Departures,
    endings: Crier,
}

impl Keeper {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let departures = Departures::new(store.clone());
        let endings = Crier::default();
        tokio::spawn(sift(store.notices(), endings.clone()));
        Self { store, departures, endings }
    }

    /// Keeps leases for as long as the stream lives, in a task of its own: what happens after its
    /// end happens without it.
    pub(super) fn keep(
        &self,
        caller: Caller,
        seat: Seat,
        requests: Streaming<v1::KeepAliveRequest>,
    ) -> impl Stream<Item = Result<v1::KeepAliveResponse, Status>> + Send + 'static {
        // A channel has room for 32 items at once, and all of it for as long as the stream lives.
        let (out, answers) = mpsc::channel::<Box<Answer>>(ANSWERS);
        let upkeep = Upkeep::new(self.store.clone(), caller.aside(), out);
        tokio::spawn(run(self.clone(), Box::new(upkeep), seat, Box::new(requests)));
        ReceiverStream::new(answers).map(|answer| *answer)
    }
}

/// Passes on what concerns leases, so that no stream wakes for what concerns those who wait.
async fn sift(mut notices: Notices, endings: Crier) {
    while let Some(notice) = notices.next().await {
        match notice {
            Notice::LeaseEnded(_) | Notice::Missed => endings.cry(notice),
            Notice::Handed(_) | Notice::Due { .. } => {}
        }
    }
}

async fn run(
    keeper: Keeper,
    mut upkeep: Box<Upkeep>,
    seat: Seat,
    mut requests: Box<Streaming<v1::KeepAliveRequest>>,
) {
    let mut notices = keeper.endings.listen();
    let end = upkeep.run(&mut requests, &mut notices).await;
    let caller = upkeep.caller();
    let (leases, request_id) = (upkeep.leases(), caller.call.id.as_str());
    tracing::debug!(request_id, leases, ?end, "a stream that kept leases has ended");
    let left = upkeep.depart(&end);
    if let Some(fault) = end.into_fault() {
        let last = status(fault, &upkeep.caller().call);
        // Whoever does not read is not waited for.
        let _ = upkeep.out().try_send(Box::new(Err(last)));
    }
    drop((upkeep, seat, requests, notices));
    if let Some(left) = left {
        Box::pin(keeper.departures.wait(left)).await;
    }
}
