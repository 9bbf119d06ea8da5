//! Acquire, so that a caller that hung up never costs a session.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::TryFutureExt as _;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};
use tonic::{Request, Response};

use super::{Answering, caller};

use crate::{
    clock,
    pool::{Ask, Enqueued, Grant, Patience, PoolName, Priority, Span, Ticket},
    proto::v1,
    server::{
        call::{Call, Caller},
        convert::{self, Acquire, Audience, Form},
        delivery::{Delivery, Parcel},
        secrets::secret,
        status::{Fault, status},
        waiting::{Seat, WaitingRoom},
    },
    store::{Error, Store},
    telemetry::Metrics,
};

/// For how long a store may be away under those who wait until they are told.
const RIDE_OUT: Duration = Duration::from_secs(30);
/// How long at least until it is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Lends sessions.
pub(super) struct Lender {
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) room: Arc<WaitingRoom>,
}

impl Lender {
    /// Acquires, to the end: the transport drops a handler whose caller is gone, and a grant that
    /// was under way at that moment must still be undone.
    ///
    /// What can be done at once is done before there is a future, and the request is let go, so
    /// that a call that waits holds only what it still needs.
    pub(super) fn acquire(
        self,
        request: Request<v1::AcquireRequest>,
    ) -> Answering<'static, v1::AcquireResponse> {
        let caller = match caller(&request) {
            Ok(caller) => caller,
            Err(refused) => return Box::pin(async { Err(refused) }),
        };
        let call = caller.call.clone();
        let begun = self.begin(caller, &request.into_inner());
        begun.unwrap_or_else(|fault| Box::pin(async move { Err(status(fault, &call)) }))
    }

    fn begin(
        self,
        caller: Caller,
        request: &v1::AcquireRequest,
    ) -> Result<Answering<'static, v1::AcquireResponse>, Fault> {
        let Acquire { pool, ask, form, wait, priority } =
            convert::acquire(request, caller.key(), secret().map_err(no_secrets)?)?;
        caller.enter(&pool)?;
        let call = caller.call.clone();
        let wording = Wording { form, audience: caller.audience(), call: call.clone() };
        let told = move |fault| status(fault, &call);
        let Self { store, metrics, room } = self;
        let line = Line { store, metrics, pool };
        if wait == Span::ZERO {
            let work = async move {
                let grant = line.store.acquire(&line.pool, ask).await?;
                wording.answer(line.deliver(caller, grant)).await
            };
            return Ok(Box::pin(ToTheEnd::of(work).map_err(told)));
        }
        let ticket = Ticket(getrandom::u64().map_err(no_secrets)?);
        let since = clock::moment();
        let deadline = since + Duration::from_millis(wait.0);
        let seat = room.seat(&line.pool, ticket, ask.secret, deadline, ask.request.is_some());
        let waiter = Waiter { metrics: line.metrics, caller, ask, seat, priority, since };
        Ok(Box::pin(in_line(Box::new(waiter), wording).map_err(told)))
    }
}

/// Where a call is answered.
struct Line {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    pool: PoolName,
}

impl Line {
    fn deliver(self, caller: Caller, grant: Grant) -> Delivery {
        let Self { store, metrics, pool } = self;
        Delivery::of(Parcel { store, metrics, caller, pool, grant })
    }
}

/// How a grant is put into words.
struct Wording {
    form: Form,
    audience: Audience,
    call: Arc<Call>,
}

impl Wording {
    /// Answers with a grant. One for which there are no words is taken back.
    async fn answer(self, delivery: Delivery) -> Result<Response<v1::AcquireResponse>, Fault> {
        let fault = match self.put(&delivery) {
            Ok(answer) => {
                self.call.succeed(if answer.replayed { "REPLAYED" } else { "GRANTED" });
                let mut response = Response::new(answer);
                response.extensions_mut().insert(delivery);
                return Ok(response);
            }
            Err(fault) => fault,
        };
        Box::pin(delivery.recall()).await;
        Err(fault)
    }

    fn put(&self, delivery: &Delivery) -> Result<v1::AcquireResponse, Fault> {
        let put = |pool: &_, grant: &_| convert::grant(pool, grant, self.form, self.audience);
        let gone = || Fault::Internal { cause: "a grant was taken back too early".to_owned() };
        delivery.peek(put).ok_or_else(gone)?
    }
}

/// A call that stands in line. When it is dropped, it leaves the line.
struct Waiter {
    metrics: Arc<Metrics>,
    caller: Caller,
    ask: Ask,
    seat: Seat,
    priority: Priority,
    since: Instant,
}

impl Waiter {
    /// For how much longer it waits, and where.
    fn patience(&self, now: Instant) -> Patience {
        let wait = millis(self.seat.until().saturating_duration_since(now));
        Patience { ticket: self.seat.ticket(), wait, priority: self.priority }
    }

    /// The store knows of no waiter any more: all that is left is to deliver.
    fn vacate(self, grant: Grant) -> Delivery {
        let Self { metrics, caller, seat, .. } = self;
        let line = Line { store: seat.store().clone(), metrics, pool: seat.pool().clone() };
        seat.vacate();
        line.deliver(caller, grant)
    }
}

/// Stands in line until a session is handed over or the wait is over, and then answers as if it
/// had not waited.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
fn in_line(
    mut waiter: Box<Waiter>,
    wording: Wording,
) -> impl Future<Output = Result<Response<v1::AcquireResponse>, Fault>> + Send {
    async move {
        let mut away_since = None;
        loop {
            let mut wakes_at = waiter.seat.until();
            waiter = match ToTheEnd::of(joined(waiter)).await? {
                Joined::Granted(delivery) => return wording.answer(delivery).await,
                Joined::Waiting(waiter, next_due) => {
                    away_since = None;
                    if let Some(after) = next_due {
                        waiter.seat.due(after);
                    }
                    waiter
                }
                Joined::Away(waiter, error) => {
                    // Whoever waits already is not sent away because the store is for a moment.
                    let (now, is_new) = (clock::moment(), waiter.ask.retried_for.is_none());
                    if is_new || now > *away_since.get_or_insert(now) + RIDE_OUT {
                        return Err(error.into());
                    }
                    wakes_at = waiter.seat.until().min(now + again(waiter.seat.ticket()));
                    waiter
                }
            };
            if waiter.caller.gate.is_shut() {
                return Err(Fault::ShuttingDown);
            }
            waiter.caller.step_aside();
            let over = tokio::select! {
                () = waiter.seat.called() => false,
                () = sleep_until(wakes_at) => wakes_at == waiter.seat.until(),
            };
            if waiter.caller.gate.is_shut() {
                return Err(Fault::ShuttingDown);
            }
            waiter.caller.step_back().await?;
            let now = clock::moment();
            waiter.ask.retried_for = Some(millis(now.saturating_duration_since(waiter.since)));
            if over {
                let delivery = ToTheEnd::of(asked_last(waiter)).await?;
                return wording.answer(delivery).await;
            }
        }
    }
}

enum Joined {
    Granted(Delivery),
    Waiting(Box<Waiter>, Option<Span>),
    /// The store could not be asked. Passes by itself.
    Away(Box<Waiter>, Error),
}

/// Joins the line, or asks what has become of its place. The seat goes along, so that the line is
/// left only after it was joined.
async fn joined(waiter: Box<Waiter>) -> Result<Joined, Fault> {
    let (seat, patience) = (&waiter.seat, waiter.patience(clock::moment()));
    match seat.store().enqueue(seat.pool(), waiter.ask.clone(), patience).await {
        Ok(Enqueued::Granted(grant)) => Ok(Joined::Granted(waiter.vacate(*grant))),
        Ok(Enqueued::Waiting(place)) => Ok(Joined::Waiting(waiter, place.next_due)),
        Err(error) if error.is_transient() => Ok(Joined::Away(waiter, error)),
        Err(error) => Err(error.into()),
    }
}

/// Asks once more when the wait is over, and leaves the line with that.
async fn asked_last(waiter: Box<Waiter>) -> Result<Delivery, Fault> {
    let Waiter { metrics, caller, ask, seat, .. } = *waiter;
    let line = Line { store: seat.store().clone(), metrics, pool: seat.pool().clone() };
    let asked = line.store.acquire(&line.pool, ask).await;
    seat.vacate();
    Ok(line.deliver(caller, asked?))
}

/// How long until a store that was away is asked again: not by all at the same time.
fn again(ticket: Ticket) -> Duration {
    AGAIN + Duration::from_millis(ticket.0 % 500)
}

fn millis(span: Duration) -> Span {
    Span(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// Work that is finished by a task of its own when nobody waits for it any more. What comes of it
/// then is dropped, and a delivery that is dropped is undone.
struct ToTheEnd<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> ToTheEnd<F> {
    fn of(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToTheEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out, so that work that panics is not taken up again.
        let Some(mut work) = self.0.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.0 = Some(work);
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

fn no_secrets(error: getrandom::Error) -> Fault {
    Fault::Internal { cause: format!("the system gives no secrets: {error}") }
}
