//! `KeepAlive`: streams that renew leases, warn before one ends, and tell at once when one is lost.
//!
//! A stream is a task with one timer. Notices of the store are hints: what a stream tells of a
//! lease is what the store answers when it is asked, so that nothing false is ever told, and so
//! that a hint which was missed costs a question and no lease.

mod departure;
mod ledger;
mod stream;

use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use self::{departure::Departures, stream::Upkeep};
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
        let (out, answers) = mpsc::channel(ANSWERS);
        let upkeep = Upkeep::new(self.store.clone(), caller.aside(), out);
        tokio::spawn(run(self.clone(), upkeep, seat, requests));
        ReceiverStream::new(answers)
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
    mut upkeep: Upkeep,
    seat: Seat,
    requests: Streaming<v1::KeepAliveRequest>,
) {
    let notices = keeper.endings.listen();
    let end = upkeep.run(requests, notices).await;
    let caller = upkeep.caller();
    let (leases, request_id) = (upkeep.leases(), caller.call.id.as_str());
    tracing::debug!(request_id, leases, ?end, "a stream that kept leases has ended");
    let left = upkeep.depart(&end);
    if let Some(fault) = end.into_fault() {
        let last = status(fault, &upkeep.caller().call);
        // Whoever does not read is not waited for.
        let _ = upkeep.out().try_send(Err(last));
    }
    drop((upkeep, seat));
    if let Some(left) = left {
        keeper.departures.wait(left).await;
    }
}
