//! The page of metrics, on a port of its own: what Prometheus asks, in plain HTTP.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

use crate::{
    store::Store,
    telemetry::{Metrics, PoolReading, Reading},
};

/// The only page.
const PATH: &str = "/metrics";
/// The form of the page.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The most connections at once; more stand in line.
const MAX_CONNECTIONS: usize = 16;
/// How long a connection may last: it is for one page.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an asker may take to ask.
const HEADER_PATIENCE: Duration = Duration::from_secs(5);
/// How long the pools may take to be read; what is not read by then is left out.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// The most pools that are read at a scrape.
const MAX_POOLS: usize = 1000;
/// How many of them are asked for at once.
const PAGE: usize = 100;
/// How long to wait when the system gives no connection, for example for want of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves the page until it is dropped.
pub(super) async fn serve(listener: TcpListener, metrics: Arc<Metrics>, store: Arc<dyn Store>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // One reading at a time, however many ask.
    let reading = Arc::new(Semaphore::new(1));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "no connection for metrics");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let (metrics, store, reading) = (metrics.clone(), store.clone(), reading.clone());
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let (metrics, store, reading) = (&metrics, store.as_ref(), &reading);
                async move { Ok::<_, Infallible>(page(&request, metrics, store, reading).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // What goes wrong here is the asker's to see.
            let _ = tokio::time::timeout(PATIENCE, connection).await;
        });
    }
}

async fn page(
    request: &Request<Incoming>,
    metrics: &Metrics,
    store: &dyn Store,
    reading: &Semaphore,
) -> Response<String> {
    if request.uri().path() != PATH {
        return plain(StatusCode::NOT_FOUND, "The metrics are at /metrics.\n");
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "The metrics are there to GET.\n");
    }
    let _turn = reading.acquire().await;
    let text = metrics.text(&read(store).await);
    let mut response = Response::new(text);
    let form = HeaderValue::from_static(OPEN_METRICS);
    response.headers_mut().insert(header::CONTENT_TYPE, form);
    response
}

fn plain(code: StatusCode, text: &str) -> Response<String> {
    let mut response = Response::new(text.to_owned());
    *response.status_mut() = code;
    response
}

/// Counts the sessions of the pools, boundedly.
async fn read(store: &dyn Store) -> Reading {
    let mut reading = Reading { pools: Vec::new(), is_partial: true };
    let whole = tokio::time::timeout(READ_PATIENCE, async {
        let mut after = None;
        while reading.pools.len() < MAX_POOLS {
            let Ok(page) = store.list_pools(after.as_ref(), PAGE).await else { return };
            let is_last = page.len() < PAGE;
            after = page.last().map(|view| view.record.name.clone());
            reading.pools.extend(page.into_iter().map(|view| PoolReading {
                pool: view.record.name,
                counts: view.status.counts,
                brakes: view.brakes.len(),
            }));
            if is_last {
                reading.is_partial = false;
                return;
            }
        }
    });
    if whole.await.is_err() {
        tracing::warn!("the pools took too long to read; metrics of some are missing");
    }
    reading
}
