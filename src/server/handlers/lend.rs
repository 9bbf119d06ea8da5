//! Acquire, so that a caller that hung up never costs a session.

use std::sync::Arc;

use tokio::sync::oneshot;
use tonic::Response;

use crate::{
    pool::LeaseSecret,
    proto::v1,
    server::{
        call::Caller,
        convert::{self, Acquire},
        delivery::{Delivery, Parcel},
        status::Fault,
    },
    store::Store,
    telemetry::Metrics,
};

/// Acquires, in a task of its own: the transport drops a handler whose caller is gone, and a grant
/// that was under way at that moment must still be undone.
pub(super) async fn acquire(
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    caller: Caller,
    request: v1::AcquireRequest,
) -> Result<Response<v1::AcquireResponse>, Fault> {
    let Acquire { pool, ask, form } = convert::acquire(&request, caller.key(), secret()?)?;
    caller.enter(&pool)?;
    let audience = caller.audience();
    let call = caller.call.clone();
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let granted = store.acquire(&pool, ask).await;
        let delivery =
            granted.map(|grant| Delivery::of(Parcel { store, metrics, caller, pool, grant }));
        // When nobody listens any more, the delivery is dropped here, and so undone.
        let _ = tell.send(delivery);
    });
    let lost = |_| Fault::Internal { cause: "the task of an Acquire panicked".to_owned() };
    let delivery = told.await.map_err(lost)??;
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

fn secret() -> Result<LeaseSecret, Fault> {
    let mut bits = [0; 16];
    let none = |error| Fault::Internal { cause: format!("the system gives no secrets: {error}") };
    getrandom::fill(&mut bits).map_err(none)?;
    Ok(LeaseSecret::new(bits))
}
