//! Whether an answer reached its caller: a grant that did not is undone.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tonic::{Status, body::Body, codegen::Bytes};

use super::call::Caller;
use crate::{
    pool::{Grant, LeaseId, PoolName},
    store::Store,
    telemetry::Metrics,
};

/// A grant on its way to the caller: from the store through the handler and the edge into the
/// body of the answer. Wherever on that way it is dropped, it is undone.
#[derive(Clone)]
pub(super) struct Delivery(Arc<Undelivered>);

struct Undelivered(Mutex<Option<Parcel>>);

/// What is delivered, and what an undo needs.
pub(super) struct Parcel {
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    /// Keeps the call's place among those under way, so that a shutdown waits for an undo.
    pub(super) caller: Caller,
    pub(super) pool: PoolName,
    pub(super) grant: Grant,
}

impl Delivery {
    /// Sends a grant on its way.
    pub(super) fn of(parcel: Parcel) -> Self {
        Self(Arc::new(Undelivered(Mutex::new(Some(parcel)))))
    }

    /// Looks at what is on its way, if it still is.
    pub(super) fn peek<T>(&self, look: impl FnOnce(&PoolName, &Grant) -> T) -> Option<T> {
        let parcel = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        parcel.as_ref().map(|parcel| look(&parcel.pool, &parcel.grant))
    }

    /// Takes it back, and waits until it is undone.
    pub(super) async fn recall(self) {
        if let Some(parcel) = self.0.take() {
            // In a task, so that it is done even if the caller leaves meanwhile.
            let _ = tokio::spawn(parcel.undo()).await;
        }
    }

    /// Puts it into the body of the answer.
    pub(super) fn into_body(self, body: Body) -> Body {
        Body::new(Carried { body, delivery: Some(self) })
    }

    /// The caller has it.
    fn done(self) {
        drop(self.0.take());
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delivery")
    }
}

impl Undelivered {
    fn take(&self) -> Option<Parcel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        if let (Some(parcel), Ok(runtime)) = (self.take(), Handle::try_current()) {
            runtime.spawn(parcel.undo());
        }
    }
}

impl Parcel {
    async fn undo(self) {
        let Self { store, metrics, caller, pool, grant } = self;
        let session = grant.record.name;
        let secret = grant.lease.secret;
        let id = LeaseId { pool: pool.clone(), session: session.clone(), secret };
        let request_id = &caller.call.id;
        match store.undo(&id, grant.lease.deliveries).await {
            Ok(undone) => {
                metrics.undone(if undone { "UNDONE" } else { "KEPT" });
                tracing::info!(request_id, %pool, %session, undone, "a grant was not delivered");
            }
            Err(error) => {
                metrics.undone("FAILED");
                tracing::warn!(
                    request_id, %pool, %session, %error,
                    "a grant was neither delivered nor undone; it ends when its TTL is over"
                );
            }
        }
    }
}

/// A body that carries a delivery. The transport drops a body whose stream is gone, and asks one
/// for its last frame otherwise.
struct Carried {
    body: Body,
    delivery: Option<Delivery>,
}

impl http_body::Body for Carried {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let last = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            Poll::Ready(None) => true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if last && let Some(delivery) = self.delivery.take() {
            delivery.done();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
