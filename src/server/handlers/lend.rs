//! Acquire, so that a caller that hung up never costs a session.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{runtime::Handle, time::sleep_until};
use tonic::Response;

use crate::{
    clock,
    pool::{Ask, Enqueued, Grant, LeaseSecret, Patience, PoolName, Priority, Span, Ticket},
    proto::v1,
    server::{
        call::Caller,
        convert::{self, Acquire},
        delivery::{Delivery, Parcel},
        status::Fault,
        waiting::{Seat, WaitingRoom},
    },
    store::{Error, Store},
    telemetry::Metrics,
};

/// For how long a store may be away under those who wait until they are told.
const RIDE_OUT: Duration = Duration::from_secs(30);
/// How long at least until it is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Acquires, to the end: the transport drops a handler whose caller is gone, and a grant that was
/// under way at that moment must still be undone.
pub(super) async fn acquire(
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    room: Arc<WaitingRoom>,
    caller: Caller,
    request: v1::AcquireRequest,
) -> Result<Response<v1::AcquireResponse>, Fault> {
    let Acquire { pool, ask, form, wait, priority } =
        convert::acquire(&request, caller.key(), secret()?)?;
    caller.enter(&pool)?;
    let audience = caller.audience();
    let call = caller.call.clone();
    let line = Line { store, metrics, room, pool };
    let delivery = if wait == Span::ZERO {
        ToTheEnd::of(granted(line, caller, ask)).await?
    } else {
        // Boxed, so that a call that does not wait does not carry the room for it.
        Box::pin(in_line(line, caller, ask, wait, priority)).await?
    };
    let gone = || Fault::Internal { cause: "a grant was taken back too early".to_owned() };
    let answer = delivery.peek(|pool, grant| convert::grant(pool, grant, form, audience));
    let answer = answer.ok_or_else(gone)?;
    match answer {
        Ok(answer) => {
            call.succeed(if answer.replayed { "REPLAYED" } else { "GRANTED" });
            let mut response = Response::new(answer);
            response.extensions_mut().insert(delivery);
            Ok(response)
        }
        Err(fault) => {
            delivery.recall().await;
            Err(fault)
        }
    }
}

/// Where a call is answered.
#[derive(Clone)]
struct Line {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    room: Arc<WaitingRoom>,
    pool: PoolName,
}

impl Line {
    fn deliver(self, caller: Caller, grant: Grant) -> Delivery {
        let Self { store, metrics, pool, .. } = self;
        Delivery::of(Parcel { store, metrics, caller, pool, grant })
    }
}

async fn granted(line: Line, caller: Caller, ask: Ask) -> Result<Delivery, Fault> {
    let grant = line.store.acquire(&line.pool, ask).await?;
    Ok(line.deliver(caller, grant))
}

/// Stands in line until a session is handed over or the wait is over, and then answers as if it
/// had not waited.
async fn in_line(
    line: Line,
    mut caller: Caller,
    mut ask: Ask,
    wait: Span,
    priority: Priority,
) -> Result<Delivery, Fault> {
    let since = clock::moment();
    let deadline = since + Duration::from_millis(wait.0);
    let ticket = Ticket(getrandom::u64().map_err(no_secrets)?);
    let keeps_place = ask.request.is_some();
    let mut seat = line.room.seat(&line.pool, ticket, ask.secret, deadline, keeps_place);
    let mut away_since = None;
    loop {
        let now = clock::moment();
        let patience =
            Patience { ticket, wait: millis(deadline.saturating_duration_since(now)), priority };
        let joined = joined(line.clone(), caller.clone(), ask.clone(), patience, seat);
        let mut wakes_at = deadline;
        seat = match ToTheEnd::of(joined).await? {
            Joined::Granted(delivery) => return Ok(delivery),
            Joined::Waiting(seat, next_due) => {
                away_since = None;
                if let Some(after) = next_due {
                    line.room.due(&line.pool, after);
                }
                seat
            }
            Joined::Away(seat, error) => {
                // Whoever waits already is not sent away because the store is for a moment.
                let is_new = ask.retried_for.is_none();
                if is_new || now > *away_since.get_or_insert(now) + RIDE_OUT {
                    return Err(error.into());
                }
                wakes_at = deadline.min(now + again(ticket));
                seat
            }
        };
        caller.step_aside();
        let over = tokio::select! {
            () = seat.called() => false,
            () = sleep_until(wakes_at) => wakes_at == deadline,
            () = caller.gate.closing() => return Err(Fault::ShuttingDown),
        };
        caller.step_back().await?;
        ask.retried_for = Some(millis(clock::moment().saturating_duration_since(since)));
        if over {
            let answer = ToTheEnd::of(granted(line, caller, ask)).await;
            seat.vacate();
            return answer;
        }
    }
}

enum Joined {
    Granted(Delivery),
    Waiting(Seat, Option<Span>),
    /// The store could not be asked. Passes by itself.
    Away(Seat, Error),
}

/// How long until a store that was away is asked again: not by all at the same time.
fn again(ticket: Ticket) -> Duration {
    AGAIN + Duration::from_millis(ticket.0 % 500)
}

/// Joins the line, or asks what has become of its place. The seat goes along, so that the line is
/// left only after it was joined.
async fn joined(
    line: Line,
    caller: Caller,
    ask: Ask,
    patience: Patience,
    seat: Seat,
) -> Result<Joined, Fault> {
    match line.store.enqueue(&line.pool, ask, patience).await {
        Ok(Enqueued::Granted(grant)) => {
            seat.vacate();
            Ok(Joined::Granted(line.deliver(caller, *grant)))
        }
        Ok(Enqueued::Waiting(place)) => Ok(Joined::Waiting(seat, place.next_due)),
        Err(error) if error.is_transient() => Ok(Joined::Away(seat, error)),
        Err(error) => Err(error.into()),
    }
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

fn secret() -> Result<LeaseSecret, Fault> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(no_secrets)?;
    Ok(LeaseSecret::new(bits))
}

fn no_secrets(error: getrandom::Error) -> Fault {
    Fault::Internal { cause: format!("the system gives no secrets: {error}") }
}
