//! A broker on a socket of its own, for tests of the transport.

use std::{
    fmt::Write as _,
    io,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use telegate::{
    clock::Clock,
    config::{Jitter, ServerConfig},
    keys::{KeyFile, Role},
    pool::Time,
    proto::v1::{
        self, session_admin_client::SessionAdminClient, session_pool_client::SessionPoolClient,
    },
    server::{self, Listeners},
    store::{
        Store,
        embedded::{Durability, EmbeddedStore},
        sealed::SealedStore,
    },
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;
use tracing::{
    Dispatch,
    subscriber::{DefaultGuard, NoSubscriber},
};

use crate::{
    harness::{self, STORE_KEY},
    unruly::Unruly,
};

/// The moment at which every test begins.
pub(crate) const START: Time = Time(1_763_750_000_000);
/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker that serves until it is dropped.
pub(crate) struct Broker {
    pub(crate) address: String,
    /// Where its metrics are.
    pub(crate) page: String,
    pub(crate) store: Arc<Unruly>,
    pub(crate) clock: Clock,
    pub(crate) folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) served: Option<JoinHandle<Result<(), server::Error>>>,
}

impl Broker {
    /// A broker without keys.
    pub(crate) async fn start() -> Self {
        Self::with(|_, config| config).await
    }

    /// A broker whose configuration a test changes; it may put files into the folder.
    pub(crate) async fn with(change: impl FnOnce(&TempDir, ServerConfig) -> ServerConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = ServerConfig { jitter: Jitter::Fixed(50), ..ServerConfig::default() };
        let config = change(&folder, config);
        let clock = Clock::manual(START);
        let file = folder.path().join("telegate.db");
        let store = EmbeddedStore::open(&file, clock.clone(), Durability::Process).unwrap();
        Self::serve(Arc::new(store), clock, folder, config).await
    }

    /// A broker without keys on a store that a test made, and whose clock it moves itself.
    pub(crate) async fn over(store: Arc<dyn Store>) -> Self {
        let config = ServerConfig { jitter: Jitter::Fixed(50), ..ServerConfig::default() };
        Self::serve(store, Clock::manual(START), tempfile::tempdir().unwrap(), config).await
    }

    async fn serve(
        store: Arc<dyn Store>,
        clock: Clock,
        folder: TempDir,
        config: ServerConfig,
    ) -> Self {
        let sealing = harness::sealing(&[STORE_KEY]);
        let sealed = SealedStore::new(store, sealing).unwrap();
        let store = Arc::new(Unruly::new(Arc::new(sealed)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let metrics = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let page = metrics.local_addr().unwrap().to_string();
        let listeners = Listeners { calls: listener, metrics: Some(metrics) };
        let (stop, stopped) = oneshot::channel();
        let serving = server::serve(listeners, store.clone(), config, async {
            let _ = stopped.await;
        });
        let served = Some(tokio::spawn(serving));
        Self { address, page, store, clock, folder, stop: Some(stop), served }
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    pub(crate) fn pool(&self) -> SessionPoolClient<Channel> {
        SessionPoolClient::new(self.channel())
    }

    pub(crate) fn admin(&self) -> SessionAdminClient<Channel> {
        SessionAdminClient::new(self.channel())
    }

    /// Makes a pool with sessions, over the wire.
    pub(crate) async fn fill(&self, pool: &str, sessions: &[&str]) {
        let request = v1::CreatePoolRequest {
            pool: Some(v1::Pool { name: pool.into(), ..v1::Pool::default() }),
            detail: String::new(),
        };
        self.admin().create_pool(request).await.unwrap();
        for session in sessions {
            self.admin().add_session(new_session(pool, session)).await.unwrap();
        }
    }

    pub(crate) async fn acquire(&self, pool: &str) -> Result<v1::AcquireResponse, Status> {
        let request = v1::AcquireRequest { pool: pool.into(), ..v1::AcquireRequest::default() };
        self.pool().acquire(request).await.map(tonic::Response::into_inner)
    }

    /// Asks the port of the metrics something in plain HTTP; gives the answer, head and all.
    pub(crate) async fn ask_page(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.page).await.unwrap();
        stream
            .write_all(format!("{request} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// The metrics as they are scraped.
    pub(crate) async fn metrics(&self) -> String {
        self.ask_page("GET /metrics").await
    }

    pub(crate) async fn free(&self, pool: &str) -> u32 {
        let request = v1::GetPoolStatusRequest { pool: pool.into() };
        let status = self.pool().get_pool_status(request).await.unwrap().into_inner();
        status.status.unwrap().counts.unwrap().free
    }
}

/// An opaque session whose credential is made of its names.
pub(crate) fn new_session(pool: &str, session: &str) -> v1::AddSessionRequest {
    v1::AddSessionRequest {
        session: Some(v1::Session {
            pool: pool.into(),
            name: session.into(),
            ..v1::Session::default()
        }),
        credential: Some(v1::Credential {
            value: Some(v1::credential::Value::Opaque(format!("{pool}/{session}").into_bytes())),
            ..v1::Credential::default()
        }),
    }
}

/// Writes a key file; gives the keys' texts.
pub(crate) fn write_keys(folder: &TempDir, keys: &[(&[Role], &[&str])]) -> Vec<String> {
    let mut file = KeyFile::default();
    let texts = keys
        .iter()
        .map(|(roles, pools)| {
            let pools = pools.iter().map(|pool| (*pool).to_owned()).collect();
            let (_, secret) = file.generate("test", roles.to_vec(), pools, 0).unwrap();
            secret.reveal().to_owned()
        })
        .collect();
    file.save(&folder.path().join("keys.toml")).unwrap();
    texts
}

/// A request with an API key.
pub(crate) fn keyed<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-api-key", MetadataValue::try_from(key).unwrap());
    request
}

/// Asks again and again until the answer is yes.
pub(crate) async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    harness::eventually(what, PATIENCE, async || ask().await.then_some(())).await;
}

/// The log lines of this test's thread, on which everything runs that the test starts.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Takes log lines in until the guard is dropped.
    pub(crate) fn capture() -> (Self, DefaultGuard) {
        Self::capture_of("debug")
    }

    /// Takes log lines of some modules in, from some level on.
    pub(crate) fn capture_of(filter: &str) -> (Self, DefaultGuard) {
        // While there is but one subscriber, tracing lets the thread that comes to a line first
        // decide for all whether it is wanted, and a thread of another test has none.
        static SECOND: LazyLock<Dispatch> =
            LazyLock::new(|| Dispatch::new(NoSubscriber::default()));
        LazyLock::force(&SECOND);
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    /// The lines so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines so far that contain a text.
    pub(crate) fn with(&self, part: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The reason of an error.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// A status as a client sees it, in full: code, message, every detail, trailers.
pub(crate) fn seen(status: &Status) -> String {
    let mut out = format!("{:?}: {}\n", status.code(), status.message());
    let details = status.get_error_details();
    if let Some(info) = details.error_info() {
        let _ = writeln!(out, "ErrorInfo {} {}", info.reason, info.domain);
        let mut metadata: Vec<_> = info.metadata.iter().collect();
        metadata.sort();
        for (key, value) in metadata {
            let _ = writeln!(out, "  {key}: {value}");
        }
    }
    let request_id = details.request_info().map(|info| info.request_id.clone());
    if request_id.is_some() {
        out.push_str("RequestInfo (id)\n");
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        let _ = writeln!(out, "RetryInfo {delay:?}");
    }
    for violation in details.quota_failure().iter().flat_map(|quota| &quota.violations) {
        let _ = writeln!(out, "QuotaFailure {}: {}", violation.subject, violation.description);
    }
    for need in details.precondition_failure().iter().flat_map(|failure| &failure.violations) {
        let _ = writeln!(
            out,
            "PreconditionFailure {} {}: {}",
            need.r#type, need.subject, need.description
        );
    }
    for violation in details.bad_request().iter().flat_map(|bad| &bad.field_violations) {
        let _ = writeln!(out, "BadRequest {}: {}", violation.field, violation.description);
    }
    if let Some(resource) = details.resource_info() {
        let name = &resource.resource_name;
        let _ = writeln!(out, "ResourceInfo {} '{name}'", resource.resource_type);
    }
    for link in details.help().iter().flat_map(|help| &help.links) {
        let _ = writeln!(out, "Help {} {}", link.description, link.url);
    }
    if let Some(words) = details.localized_message() {
        let _ = writeln!(out, "LocalizedMessage {}: {}", words.locale, words.message);
    }
    let trailers = status.metadata().clone().into_headers();
    let mut trailers: Vec<_> = trailers
        .iter()
        .filter(|(name, _)| !["date", "content-type", "content-length"].contains(&name.as_str()))
        .map(|(name, value)| {
            let value = value.to_str().unwrap();
            let same = Some(value) == request_id.as_deref();
            format!("{name}: {}\n", if same { "(id)" } else { value })
        })
        .collect();
    trailers.sort();
    out.extend(trailers);
    assert_ne!(status.code(), Code::Ok);
    out
}
