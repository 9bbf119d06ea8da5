//! Keeping leases: one task and one stream for all leases of a client.
//!
//! A lease is renewed when a third of its TTL is over. What the stream does not answer in time is
//! renewed by a call of its own, and a lease that nobody has renewed by its deadline counts as
//! lost, because by then it may be somebody else's. The deadline counts from the asking, never from
//! the answer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{Client, Error, Loss, guard::span};
use crate::{
    clock::moment,
    proto::v1::{self, ErrorReason, LossCause, keep_alive_response::Event as Told},
};

/// The most leases that one message names.
const MAX_NAMED: usize = 1000;
/// How many messages wait for the broker.
const ASKS: usize = 64;
/// The shortest and the longest pause before a renewal that failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How long a renewal by a call of its own may take.
const CALL: Duration = Duration::from_secs(10);
/// After how long a stream that ended is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// The way to the task that keeps the leases of a client. It starts with the first lease, and ends
/// with the client.
#[derive(Debug, Default)]
pub(super) struct Upkeep(Mutex<Option<mpsc::UnboundedSender<Order>>>);

/// What the task is told to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Keep a lease.
    Keep(Box<Kept>),
    /// Keep this one no more.
    Forget(String),
}

/// A lease that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    lease: v1::Lease,
    wish: Option<pbjson_types::Duration>,
    ttl: Duration,
    deadline: Instant,
    renew_at: Instant,
    /// When it was first asked for since the last answer.
    asked: Option<Instant>,
    /// Who is told: more than one where the same request was made twice.
    lost: Vec<watch::Sender<Option<Loss>>>,
}

/// What the task hears.
enum Event {
    Opened(mpsc::Sender<v1::KeepAliveRequest>),
    Told(v1::KeepAliveResponse),
    Closed(Option<Error>),
    Renewed(String, Instant, Result<v1::RenewResponse, Error>),
}

impl Upkeep {
    /// Keeps a lease, and tells when it is lost.
    pub(super) fn keep(
        &self,
        client: &Client,
        lease: v1::Lease,
        wish: Option<pbjson_types::Duration>,
        asked_at: Instant,
    ) -> watch::Receiver<Option<Loss>> {
        let (lost, told) = watch::channel(None);
        let ttl = span(lease.ttl.as_ref());
        let (deadline, renew_at) = (asked_at + ttl, asked_at + ttl / 3);
        let kept = Kept { lease, wish, ttl, deadline, renew_at, asked: None, lost: vec![lost] };
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let order = Order::Keep(Box::new(kept));
        let refused = match orders.as_ref() {
            Some(task) => task.send(order).err().map(|refused| refused.0),
            None => Some(order),
        };
        // There is no task yet, or it ended with the runtime that it was on.
        if let Some(order) = refused {
            let (task, inbox) = mpsc::unbounded_channel();
            let _ = task.send(order);
            // A client of its own, so that the task does not keep itself alive.
            let client = Client { upkeep: std::sync::Arc::default(), ..client.clone() };
            tokio::spawn(Task::new(client).run(inbox));
            *orders = Some(task);
        }
        told
    }

    /// Tells the task something, if there is one.
    pub(super) fn order(&self, order: Order) {
        if let Some(task) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let _ = task.send(order);
        }
    }
}

/// The task.
struct Task {
    client: Client,
    kept: HashMap<String, Kept>,
    stream: Stream,
    events: mpsc::UnboundedSender<Event>,
    heard: mpsc::UnboundedReceiver<Event>,
}

/// The stream to the broker.
enum Stream {
    /// It can be opened from then on.
    Closed(Instant),
    Opening,
    Open(mpsc::Sender<v1::KeepAliveRequest>),
    /// This broker has none.
    None,
}

impl Task {
    fn new(client: Client) -> Self {
        let (events, heard) = mpsc::unbounded_channel();
        let stream = Stream::Closed(moment());
        Self { client, kept: HashMap::new(), stream, events, heard }
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let due = self.kept.values().map(|kept| kept.renew_at.min(kept.deadline)).min();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Keep(kept)) => self.take_in(*kept),
                    Some(Order::Forget(id)) => _ = self.kept.remove(&id),
                    None => return,
                },
                Some(event) = self.heard.recv() => self.hear(event),
                () = until(due) => self.renew_due(),
            }
        }
    }

    fn take_in(&mut self, mut kept: Kept) {
        let id = kept.lease.lease_id.clone();
        if let Some(before) = self.kept.remove(&id) {
            kept.lost.extend(before.lost);
        }
        self.kept.insert(id, kept);
        self.open();
    }

    /// Opens the stream, unless it is open or has just been closed.
    fn open(&mut self) {
        match self.stream {
            Stream::Closed(since) if moment() >= since => self.stream = Stream::Opening,
            _ => return,
        }
        let (client, events) = (self.client.clone(), self.events.clone());
        tokio::spawn(async move {
            let (asks, asked) = mpsc::channel(ASKS);
            let opened = client.pool.clone().keep_alive(ReceiverStream::new(asked)).await;
            let closed = match opened {
                Ok(opened) => {
                    let mut told = opened.into_inner();
                    let _ = events.send(Event::Opened(asks));
                    loop {
                        match told.message().await {
                            Ok(Some(answer)) => _ = events.send(Event::Told(answer)),
                            Ok(None) => break None,
                            Err(status) => break Some(status),
                        }
                        if events.is_closed() {
                            return;
                        }
                    }
                }
                Err(status) => Some(status),
            };
            let _ = events.send(Event::Closed(closed.map(|status| client.error(&status))));
        });
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Opened(asks) => {
                self.stream = Stream::Open(asks);
                // Named at once, so that the broker can tell when one is revoked.
                let now = moment();
                self.kept.values_mut().for_each(|kept| kept.renew_at = now);
            }
            Event::Closed(error) => {
                let has_none = matches!(&error, Some(Error::Refused(refused))
                    if refused.reason == Some(ErrorReason::NotImplemented));
                let again = Stream::Closed(moment() + REOPEN);
                self.stream = if has_none { Stream::None } else { again };
                let now = moment();
                for kept in self.kept.values_mut().filter(|kept| kept.asked.is_some()) {
                    kept.renew_at = now;
                }
            }
            Event::Told(v1::KeepAliveResponse { lease_id, event }) => match event {
                Some(Told::Renewed(lease)) => self.renewed(&lease_id, &lease, None),
                Some(Told::Ending(_)) => self.again(&lease_id),
                Some(Told::Lost(lost)) => self.lose(&lease_id, lost),
                None => {}
            },
            Event::Renewed(id, asked_at, answer) => match answer {
                Ok(v1::RenewResponse { lease: Some(lease) }) => {
                    self.renewed(&id, &lease, Some(asked_at));
                }
                Err(Error::Refused(refused)) if is_final(refused.reason) => {
                    let cause = refused.metadata.get("cause").map(String::as_str);
                    let cause = format!("LOSS_CAUSE_{}", cause.unwrap_or("UNSPECIFIED"));
                    let cause = LossCause::from_str_name(&cause).unwrap_or_default().into();
                    let detail = refused.metadata.get("detail").cloned().unwrap_or_default();
                    let reason = refused.reason_name;
                    self.lose(&id, v1::LeaseLost { cause, epoch: 0, reason, detail });
                }
                Ok(_) | Err(_) => self.again(&id),
            },
        }
    }

    /// Takes in that a lease was renewed, at the earliest when it was asked for.
    fn renewed(&mut self, id: &str, lease: &v1::Lease, asked_at: Option<Instant>) {
        let Some(kept) = self.kept.get_mut(id) else { return };
        let Some(asked) = asked_at.or(kept.asked) else { return };
        kept.asked = None;
        kept.ttl = span(lease.ttl.as_ref());
        kept.deadline = kept.deadline.max(asked + kept.ttl);
        kept.renew_at = asked + kept.ttl / 3;
    }

    /// Tries a renewal again soon.
    fn again(&mut self, id: &str) {
        if let Some(kept) = self.kept.get_mut(id) {
            kept.asked = None;
            kept.renew_at = moment() + retry(kept.ttl);
        }
    }

    fn lose(&mut self, id: &str, told: v1::LeaseLost) {
        if let Some(kept) = self.kept.remove(id) {
            let cause = told.cause();
            let v1::LeaseLost { epoch, reason, detail, .. } = told;
            let epoch = if epoch == 0 { kept.lease.epoch } else { epoch };
            let loss = Loss { cause, epoch, reason, detail, ..Loss::expired(&kept.lease) };
            for lost in &kept.lost {
                lost.send_replace(Some(loss.clone()));
            }
        }
    }

    /// Renews what is due, and loses what nobody has renewed in time.
    fn renew_due(&mut self) {
        let now = moment();
        let over = self.kept.iter().filter(|(_, kept)| kept.deadline <= now);
        for id in over.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            let (cause, reason) = (LossCause::Expired.into(), "LEASE_LOST".to_owned());
            self.lose(&id, v1::LeaseLost { cause, epoch: 0, reason, detail: String::new() });
        }
        self.open();
        let mut messages: HashMap<Option<(i64, i32)>, Vec<String>> = HashMap::new();
        let mut calls = Vec::new();
        let is_open = matches!(&self.stream, Stream::Open(asks) if !asks.is_closed());
        for (id, kept) in self.kept.iter_mut().filter(|(_, kept)| kept.renew_at <= now) {
            // What the stream has not answered is asked for by a call.
            let by_stream = is_open && kept.asked.is_none();
            kept.renew_at = now + retry(kept.ttl);
            if by_stream {
                kept.asked = Some(now);
                let wish = kept.wish.as_ref().map(|wish| (wish.seconds, wish.nanos));
                messages.entry(wish).or_default().push(id.clone());
            } else {
                calls.push(v1::RenewRequest { lease_id: id.clone(), ttl: kept.wish });
            }
        }
        for (wish, ids) in messages {
            self.ask(wish, &ids);
        }
        for request in calls {
            let (client, events) = (self.client.clone(), self.events.clone());
            tokio::spawn(async move {
                let id = request.lease_id.clone();
                let event = match timeout(CALL, client.renew(request)).await {
                    Ok(answer) => Event::Renewed(id, now, answer),
                    Err(_elapsed) => return,
                };
                let _ = events.send(event);
            });
        }
    }

    fn ask(&self, wish: Option<(i64, i32)>, ids: &[String]) {
        let Stream::Open(asks) = &self.stream else { return };
        for ids in ids.chunks(MAX_NAMED) {
            let ttl = wish.map(|(seconds, nanos)| pbjson_types::Duration { seconds, nanos });
            let lease_ids = ids.to_vec();
            // A stream that is stuck answers nothing, and then calls are made instead.
            let request = v1::KeepAliveRequest { lease_ids, ttl, ..Default::default() };
            let _ = asks.try_send(request);
        }
    }
}

fn retry(ttl: Duration) -> Duration {
    (ttl / 9).clamp(RETRY.0, RETRY.1)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Whether a refusal says that the lease is not the caller's any more.
pub(super) fn is_final(reason: Option<ErrorReason>) -> bool {
    matches!(
        reason,
        Some(ErrorReason::LeaseLost | ErrorReason::LeaseNotFound | ErrorReason::PermissionMissing)
    )
}
