//! The server: one port, the whole stack in one function, one way in.

mod auth;
mod call;
mod convert;
mod delivery;
mod edge;
mod follow;
mod handlers;
mod health;
mod intake;
mod keep_alive;
mod metrics;
mod routes;
mod secrets;
mod socket;
pub mod status;
mod streams;
mod sync;
mod unary;
mod waiting;
mod watch_pool;

use std::{fs, future::Future, io, path::Path, path::PathBuf, sync::Arc};

use futures_util::TryStreamExt as _;
use thiserror::Error;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{
    service::Routes,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};
use tower::layer::util::{Identity as NoLayer, Stack};

use self::{
    auth::Keys,
    edge::{EdgeLayer, Gate},
    handlers::{AdminService, PoolService},
    routes::Fork,
    socket::Socket,
    unary::Workers,
};
use crate::{
    config::{ServerConfig, Tls},
    keys,
    proto::{self, v1::session_admin_server::SessionAdminServer},
    store::{Health, Store},
    telemetry::Metrics,
};

/// Why nothing is served. Each message says what to do next.
#[derive(Debug, Error)]
pub enum Error {
    /// The key file cannot be used.
    #[error(transparent)]
    Keys(keys::Error),
    /// The key file has no keys.
    #[error("key file {0} has no keys; make one with `telegate keys new`")]
    NoKeys(PathBuf),
    /// A file for TLS cannot be read.
    #[error("{path}: {source}; name a PEM file that this user may read")]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The files for TLS do not fit.
    #[error("tls: {0}; check that cert, key and client_ca are PEM and belong together")]
    Tls(String),
    /// The transport failed.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors for reflection cannot be read.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Where a broker is listened to.
#[derive(Debug)]
pub struct Listeners {
    /// For calls.
    pub calls: TcpListener,
    /// For the page of metrics; none where nobody scrapes it.
    pub metrics: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(calls: TcpListener) -> Self {
        Self { calls, metrics: None }
    }
}

/// Serves until `shutdown` resolves; then tells probes that it no longer serves, refuses new calls,
/// lets those under way finish, closes the connections, and returns. What takes longer than the
/// drain timeout is cut. Closing the store is the caller's.
///
/// # Errors
///
/// When keys or certificates cannot be used, before anything is served.
pub async fn serve(
    listeners: impl Into<Listeners>,
    store: Arc<dyn Store>,
    config: ServerConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let Listeners { calls, metrics: scraped } = listeners.into();
    let metrics = Arc::new(Metrics::default());
    let keys = Arc::new(Keys::open(config.keys.clone())?);
    let gate = Arc::new(Gate::new(keys.clone(), config.clone(), metrics.clone()));
    let mut reporter = tonic_health::server::HealthReporter::new();
    health::live(&reporter).await;
    health::tell(&reporter, Health::Down).await;
    let services = Services { store: store.clone(), keys: keys.clone(), metrics: metrics.clone() };
    let (transport, services) = stack(&config, gate.clone(), services, reporter.clone())?;
    let _page = scraped.map(|listener| {
        Task(tokio::spawn(metrics::serve(listener, metrics.clone(), store.clone())))
    });
    let following = health::follow(reporter.clone(), store.health(), metrics);
    let following = Task(tokio::spawn(following));
    let follow = |folder| Task(tokio::spawn(follow::follow(store.clone(), folder)));
    let _syncs: Vec<_> = config.syncs.iter().cloned().map(follow).collect();
    let _keys = Task(tokio::spawn(async move { keys.follow().await }));

    let incoming = TcpIncoming::from(calls).with_nodelay(Some(true)).map_ok(Socket::from);
    let (close, closing) = oneshot::channel::<()>();
    let serving = transport.serve_with_incoming_shutdown(services, incoming, async {
        let _ = closing.await;
    });
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => return Ok(served?),
        () = shutdown => tracing::info!("shutting down"),
    }

    drop(following);
    health::tell(&reporter, Health::Down).await;
    gate.shut();
    let finish = async {
        gate.idle().await;
        health::forget(&mut reporter).await;
        let _ = close.send(());
    };
    let drained = tokio::time::timeout(config.drain_timeout, async {
        let (served, ()) = tokio::join!(serving, finish);
        served
    });
    let Ok(served) = drained.await else {
        tracing::warn!("calls or connections outlasted the drain timeout and were cut");
        return Ok(());
    };
    Ok(served?)
}

/// What brings calls in from the sockets, and past the edge.
type Transport = Server<Stack<EdgeLayer, NoLayer>>;

/// What the services work with.
struct Services {
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    metrics: Arc<Metrics>,
}

/// Everything that a call passes, from the socket to the handlers.
fn stack(
    config: &ServerConfig,
    gate: Arc<Gate>,
    services: Services,
    reporter: tonic_health::server::HealthReporter,
) -> Result<(Transport, Fork<Workers>), Error> {
    let limits = &config.limits;
    let Services { store, keys, metrics } = services;
    let mut server = Server::builder()
        .max_concurrent_streams(limits.max_streams)
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout));
    if let Some(tls) = &config.tls {
        server = server.tls_config(tls_config(tls)?).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            Error::Tls(source.unwrap_or_else(|| error.to_string()))
        })?;
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let health = tonic_health::server::HealthService::from_health_reporter(reporter);
    let pool = PoolService::new(store.clone(), metrics, gate.clone());
    let pool = Workers::new(pool, limits.max_message);
    let admin = SessionAdminServer::new(AdminService::new(store, keys))
        .max_decoding_message_size(limits.max_message);
    let others = Routes::new(admin)
        .add_service(tonic_health::pb::health_server::HealthServer::new(health))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok((server.layer(EdgeLayer(gate)), Fork::new(pool, others)))
}

fn tls_config(tls: &Tls) -> Result<ServerTlsConfig, Error> {
    let identity = Identity::from_pem(read(&tls.cert)?, read(&tls.key)?);
    let config = ServerTlsConfig::new().identity(identity);
    Ok(match &tls.client_ca {
        Some(authority) => config.client_ca_root(Certificate::from_pem(read(authority)?)),
        None => config,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::TlsFile { path: path.to_owned(), source })
}

/// A task that ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
