//! A load: threads, connections, workers, and how it ends.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize},
    },
    thread,
    time::Duration,
};

use telegate::{client::Client, clock};
use tokio::{
    runtime,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    ledger::Ledger,
    pace::Pace,
    tally::Tally,
    turn::{Deeds, Kept, Shared},
};
use crate::cli::{
    broker::Broker,
    failure::{Exit, Failure},
};

/// How long turns under way may last after the load was stopped.
const GRACE: Duration = Duration::from_secs(5);

/// How much load is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) connections: u32,
    pub(super) in_flight: u32,
    pub(super) threads: u32,
    pub(super) rate: Option<u32>,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
}

/// What a load came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    /// For how long was measured.
    pub(super) measured: Duration,
}

/// When a load begins, told to all threads at once.
#[derive(Clone, Debug)]
struct Begin {
    counted_from: Instant,
    pace: Option<Arc<Pace>>,
}

impl Load {
    /// Makes the load until its time is over or the user interrupts it.
    pub(super) async fn run(self, deeds: Deeds, broker: &Broker) -> Result<Outcome, Failure> {
        let stop = CancellationToken::new();
        // However this ends, the threads do too.
        let _stopped = stop.clone().drop_guard();
        let ledger = Arc::<Mutex<Ledger>>::default();
        let series = getrandom::u64().map_err(|error| {
            Failure::new(Exit::Internal, format!("the system gives no random numbers: {error}"))
        })?;
        let (starter, begun) = watch::channel(None);
        let (told, mut tellings) = mpsc::unbounded_channel();
        let threads = self.threads.min(self.connections).min(self.in_flight);
        for number in 0..threads {
            let part = Part {
                connections: share(self.connections.min(self.in_flight), threads, number),
                workers: share(self.in_flight, threads, number),
                broker: broker.clone(),
                deeds: deeds.clone(),
                ledger: Arc::clone(&ledger),
                series: series.wrapping_add(u64::from(number)),
                begun: begun.clone(),
                stop: stop.clone(),
                told: told.clone(),
            };
            thread::spawn(move || part.run());
        }
        drop(told);
        for _ in 0..threads {
            match tellings.recv().await {
                Some(Told::Connected) => {}
                Some(Told::Failed(failure)) => return Err(failure),
                Some(Told::Done(_)) | None => return Err(thread_died()),
            }
        }
        let start = clock::moment();
        let counted_from = start + self.warm_up;
        let pace = self.rate.map(|rate| Pace::start(rate, start, stop.clone()));
        starter.send_replace(Some(Begin { counted_from, pace: pace.clone() }));
        tokio::select! {
            () = tokio::time::sleep_until(counted_from + self.duration) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        let ended = clock::moment();
        stop.cancel();
        let mut tally = Tally::default();
        for _ in 0..threads {
            match tellings.recv().await {
                Some(Told::Done(part)) => tally.add(&part),
                Some(Told::Failed(failure)) => return Err(failure),
                Some(Told::Connected) | None => return Err(thread_died()),
            }
        }
        tally.never_begun = pace.map_or(0, |pace| pace.never_begun(ended));
        Ok(Outcome { tally, measured: ended.saturating_duration_since(counted_from) })
    }
}

/// What a thread tells.
enum Told {
    Connected,
    Done(Box<Tally>),
    Failed(Failure),
}

/// The part of a load that one thread makes. A runtime of one thread costs least, so that most of
/// the machine is left to what is measured.
struct Part {
    connections: u32,
    workers: u32,
    broker: Broker,
    deeds: Deeds,
    ledger: Arc<Mutex<Ledger>>,
    series: u64,
    begun: watch::Receiver<Option<Begin>>,
    stop: CancellationToken,
    told: mpsc::UnboundedSender<Told>,
}

impl Part {
    fn run(self) {
        let told = self.told.clone();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let done = match runtime {
            Ok(runtime) => runtime.block_on(self.load()),
            Err(error) => Err(Failure::new(Exit::Internal, format!("no runtime: {error}"))),
        };
        let _ = told.send(match done {
            Ok(tally) => Told::Done(Box::new(tally)),
            Err(failure) => Told::Failed(failure),
        });
    }

    async fn load(mut self) -> Result<Tally, Failure> {
        let mut clients = Vec::new();
        for _ in 0..self.connections {
            clients.push(self.broker.connect().await?);
        }
        let _ = self.told.send(Told::Connected);
        let begin = self.begun.wait_for(Option::is_some).await.map_err(|_| thread_died())?.clone();
        let Some(Begin { counted_from, pace }) = begin else { return Err(thread_died()) };
        let shared = Arc::new(Shared {
            deeds: self.deeds,
            ledger: self.ledger,
            tally: Mutex::default(),
            stop: self.stop.clone(),
            counted_from,
            series: self.series,
            requests: AtomicU64::new(0),
            rounds: AtomicUsize::new(0),
        });
        let mut workers = JoinSet::new();
        for client in clients.iter().cycle().take(self.workers as usize) {
            let (shared, client, pace) = (Arc::clone(&shared), client.clone(), pace.clone());
            workers.spawn(async move { work(&shared, &client, pace.as_deref()).await });
        }
        self.stop.cancelled().await;
        let deadline = clock::moment() + GRACE;
        while let Ok(Some(_)) = timeout_at(deadline, workers.join_next()).await {}
        let hung = u64::try_from(workers.len()).unwrap_or(u64::MAX);
        workers.shutdown().await;
        let mut tally = shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.unfinished += hung;
        Ok(std::mem::take(&mut *tally))
    }
}

async fn work(shared: &Shared, client: &Client, pace: Option<&Pace>) {
    let mut kept = Kept::default();
    while !shared.stop.is_cancelled() {
        let due = match pace {
            None => clock::moment(),
            Some(pace) => match pace.next().await {
                Some(due) => due,
                None => break,
            },
        };
        shared.turn(client, &mut kept, due).await;
    }
    shared.finish(client, &mut kept).await;
}

/// The share of one of many, the first ones taking what is left over.
fn share(whole: u32, parts: u32, number: u32) -> u32 {
    whole / parts + u32::from(number < whole % parts)
}

fn thread_died() -> Failure {
    Failure::new(Exit::Internal, "a thread of the load died")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (whole, parts) in [(8, 1), (8, 3), (1, 1), (64, 7)] {
            let shares: Vec<_> = (0..parts).map(|number| share(whole, parts, number)).collect();
            assert_eq!(shares.iter().sum::<u32>(), whole);
            assert!(shares[0] - shares[shares.len() - 1] <= 1, "{shares:?}");
        }
    }
}
