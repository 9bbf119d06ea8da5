//! The edge: what every call passes before a handler sees it, and every answer on its way out.
//!
//! Request id, shutdown, key, role, a place among the calls under way, the time limit; and on the
//! way out details for the errors that the transport made itself, and one line in the log.

use std::{
    borrow::Cow,
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt as _, future::CatchUnwind};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::{
    auth::{Keys, Principal, roles_for},
    call::{Call, Caller, Outcome, REQUEST_ID, Weight},
    delivery::Delivery,
    routes::Answering,
    status::{Fault, code_name, is_of_a_pool, made_by_transport, status},
};
use crate::{
    config::ServerConfig,
    telemetry::{Metrics, Stopwatch},
};

/// Services that need no key: probes and tools ask them.
const OPEN: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// Calls that last for as long as the caller sends; their handlers do not let it be silent.
const STREAMED: [&str; 2] =
    ["/telegate.v1.SessionAdmin/ImportSessions", "/telegate.v1.SessionAdmin/SyncSessions"];

/// Tells a client how it may compress; kept when an error of the transport is given details.
const ENCODINGS: &str = "grpc-accept-encoding";

/// What all calls share.
#[derive(Debug)]
pub(super) struct Gate {
    keys: Arc<Keys>,
    config: ServerConfig,
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
    shut: CancellationToken,
}

impl Gate {
    /// An open gate.
    pub(super) fn new(keys: Arc<Keys>, config: ServerConfig, metrics: Arc<Metrics>) -> Self {
        let places = Arc::new(Semaphore::new(config.limits.max_in_flight));
        Self { keys, config, metrics, places, shut: CancellationToken::new() }
    }

    /// Lets nobody in any more, and tells the streams to end.
    pub(super) fn shut(&self) {
        self.shut.cancel();
    }

    /// Waits until no call is under way.
    pub(super) async fn idle(&self) {
        let all = u32::try_from(self.config.limits.max_in_flight).unwrap_or(u32::MAX);
        // Whoever stood in line before comes first, so this is the last.
        let _ = self.places.acquire_many(all).await;
    }

    fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Arc<Principal>, Fault> {
        if self.is_shut() {
            return Err(Fault::ShuttingDown);
        }
        let principal = self.keys.authenticate(headers)?;
        if let Some(roles) = roles_for(path) {
            principal.need(roles)?;
        }
        Ok(principal)
    }

    /// Whether a key that was let in is still what it was.
    pub(super) fn still_admits(&self, principal: &Principal) -> bool {
        self.keys.still_admit(principal)
    }

    /// Whether nobody is let in any more.
    pub(super) fn is_shut(&self) -> bool {
        self.shut.is_cancelled()
    }

    /// Resolves when nobody is let in any more.
    pub(super) async fn closing(&self) {
        self.shut.cancelled().await;
    }

    pub(super) async fn place(&self) -> Result<Arc<OwnedSemaphorePermit>, Fault> {
        let place = self.places.clone().acquire_owned().await;
        place.map(Arc::new).map_err(|_| Fault::ShuttingDown)
    }

    /// A place, if there is one that nobody waits for.
    fn place_now(&self) -> Option<Arc<OwnedSemaphorePermit>> {
        self.places.clone().try_acquire_owned().ok().map(Arc::new)
    }
}

/// Puts the edge before a service.
#[derive(Clone, Debug)]
pub(super) struct EdgeLayer(pub(super) Arc<Gate>);

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge { gate: self.0.clone(), inner }
    }
}

/// A service behind the edge.
#[derive(Clone, Debug)]
pub(super) struct Edge<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl<S> Service<Request<Body>> for Edge<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answering>
        + Clone
        + Send
        + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    /// The request is passed on before there is a future, so that no call holds it that waits.
    fn call(&mut self, request: Request<Body>) -> Answering {
        let call = Arc::new(Call::new(request.headers(), self.gate.config.jitter));
        let path = request.uri().path();
        if OPEN.iter().any(|service| path.starts_with(service)) {
            return Box::pin(pass(self.inner.call(request), call));
        }
        let watch = Stopwatch::start();
        let admitted = self.gate.admit(path, request.headers());
        let visit = Visit { gate: self.gate.clone(), call, path: path.to_owned(), watch };
        match admitted {
            Ok(principal) => {
                let work = self.enter(request, visit.call.clone(), principal.clone());
                Box::pin(visit.answer(work, principal))
            }
            Err(fault) => Box::pin(async move { Ok(visit.leave(Err(fault), "")) }),
        }
    }
}

impl<S> Edge<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answering>
        + Clone
        + Send
        + 'static,
{
    /// Lets a call in, now or when there is a place for it.
    fn enter(
        &mut self,
        mut request: Request<Body>,
        call: Arc<Call>,
        principal: Arc<Principal>,
    ) -> Answering {
        let (gate, place) = (self.gate.clone(), self.gate.place_now());
        let mut caller = Caller { call, principal, gate, place };
        if caller.place.is_some() {
            request.extensions_mut().insert(caller);
            return self.inner.call(request);
        }
        // The one that was polled ready is taken, and its clone left for the next call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            if let Err(fault) = caller.step_back().await {
                return Ok(status(fault, &caller.call).into_http());
            }
            request.extensions_mut().insert(caller);
            inner.call(request).await
        })
    }
}

async fn pass(answering: Answering, call: Arc<Call>) -> Result<Response<Body>, Infallible> {
    let mut response = answering.await?;
    stamp(&mut response, &call);
    Ok(response)
}

/// The work behind the edge, whose panics are caught.
type Work = CatchUnwind<AssertUnwindSafe<Answering>>;

/// A call on its way through the edge.
struct Visit {
    gate: Arc<Gate>,
    call: Arc<Call>,
    path: String,
    watch: Stopwatch,
}

impl Visit {
    /// The call to its end. Written so that what it takes over is in the future once: an `async fn`
    /// would have room for it as argument and as variable.
    fn answer(
        self,
        work: Answering,
        principal: Arc<Principal>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send {
        let mut work = AssertUnwindSafe(work).catch_unwind();
        async move {
            let span = tracing::info_span!("call", request_id = self.call.id.as_str());
            let answered = self.in_time(&mut work).instrument(span).await;
            Ok(self.leave(answered, principal.key.as_str()))
        }
    }

    /// Waits for an answer for as long as a call may take.
    async fn in_time(&self, work: &mut Work) -> Result<Response<Body>, Fault> {
        let limit = self.gate.config.limits.call_timeout;
        let answered = if STREAMED.contains(&self.path.as_str()) {
            work.await
        } else {
            loop {
                match tokio::time::timeout(limit, &mut *work).await {
                    Ok(answered) => break answered,
                    // Its own patience bounds a call that stands in line.
                    Err(_elapsed) if self.call.is_waiting() => {}
                    Err(_elapsed) => return Err(Fault::Late),
                }
            }
        };
        match answered {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(never)) => match never {},
            Err(_) => Err(Fault::Internal { cause: "a handler panicked".to_owned() }),
        }
    }

    /// The answer as it leaves, logged and counted.
    fn leave(self, answered: Result<Response<Body>, Fault>, key: &str) -> Response<Body> {
        let Self { gate, call, path, watch } = self;
        let mut response = match answered {
            Ok(mut response) => match response.extensions_mut().remove::<Delivery>() {
                Some(delivery) => response.map(|body| delivery.into_body(body)),
                None => response,
            },
            Err(fault) => status(fault, &call).into_http(),
        };
        detail(&mut response, &call, &path, gate.config.limits.max_message);
        stamp(&mut response, &call);
        let took = watch.elapsed();
        log(&call, &path, key, took);
        count(&gate.metrics, &call, &path, took);
        response
    }
}

/// Gives an error that the transport made itself the details that all errors have.
fn detail(response: &mut Response<Body>, call: &Call, path: &str, most: usize) {
    if call.outcome().is_some() {
        return;
    }
    let Some(fault) = made_by_transport(response.headers(), path, most) else { return };
    let mut detailed: Response<Body> = status(fault, call).into_http();
    if let Some(kept) = response.headers_mut().remove(ENCODINGS) {
        detailed.headers_mut().insert(ENCODINGS, kept);
    }
    *response = detailed;
}

fn stamp(response: &mut Response<Body>, call: &Call) {
    if let Ok(mut id) = HeaderValue::from_str(&call.id) {
        // It never comes again, so the tables of HTTP/2 should not remember it.
        id.set_sensitive(true);
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

/// Writes the one line of a call: an error when a person must act, a warning when the store fails.
fn log(call: &Call, path: &str, key: &str, took: Duration) {
    macro_rules! line {
        ($level:ident, $text:literal, $($more:tt)*) => {{
            let pool = call.pool().map_or("", |pool| pool.as_str());
            let method = path.rsplit('/').next().unwrap_or_default();
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let request_id = call.id.as_str();
            tracing::$level!(method, request_id, key, pool, ms, $($more)*, $text)
        }};
    }
    let Some(Outcome { code, reason, weight, cause }) = call.outcome() else {
        line!(debug, "call answered", code = "OK");
        return;
    };
    let cause = cause.as_deref();
    match weight {
        Weight::Bug => line!(error, "call failed", ?code, reason, cause),
        Weight::Outage => line!(warn, "call not served", ?code, reason, cause),
        Weight::Refusal => line!(info, "call refused", ?code, reason, cause),
    }
}

/// What is called when no method of the contract is: callers must not make series as they like.
const NO_METHOD: &str = "-";

fn count(metrics: &Metrics, call: &Call, path: &str, took: Duration) {
    let method = path.rsplit('/').next().filter(|_| roles_for(path).is_some());
    let method = method.unwrap_or(NO_METHOD);
    let (code, reason) = match call.outcome() {
        Some(outcome) => (Cow::Owned(code_name(outcome.code)), outcome.reason),
        None => (Cow::Borrowed("OK"), ""),
    };
    metrics.called(method, code, reason, took);
    if method == "Acquire" {
        let outcome = call.outcome().map(|outcome| outcome.reason).or(call.success());
        let pool = call.pool().filter(|_| reason.is_empty() || is_of_a_pool(reason));
        metrics.acquired(pool, outcome.unwrap_or("GRANTED"));
    }
}
