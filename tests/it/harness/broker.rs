//! A real broker: the built binary, in a process of its own that a test may kill.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use telegate::{
    client::{Client, Endpoint},
    proto::v1,
};

use super::{POLL_EVERY, STORE_KEY, STORE_KEYS, process::Guarded};

/// How long a broker may take to listen, and to serve.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// What the first line on its stdout says before the address.
const LISTENING: &str = "listening on ";

/// A broker process.
#[derive(Debug)]
pub(crate) struct Broker {
    process: Guarded,
    /// Where it listens.
    pub(crate) address: String,
}

impl Broker {
    /// Starts a broker on a store and a free port. Its log goes to `dir`.
    pub(crate) fn start(store: &str, dir: &Path) -> Self {
        Self::start_with(store, dir, &[])
    }

    /// Starts a broker with more arguments.
    pub(crate) fn start_with(store: &str, dir: &Path, more: &[&str]) -> Self {
        static BROKERS: AtomicU32 = AtomicU32::new(0);
        let number = BROKERS.fetch_add(1, Ordering::Relaxed);
        let log = dir.join(format!("broker{number}.log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_telegate"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--store", store])
            .args(more)
            .env(STORE_KEYS, STORE_KEY)
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a file for the log"));
        let mut process = Guarded::start(&mut command, dir).expect("the broker can be run");
        let stdout = process.child().stdout.take().expect("its stdout is a pipe");
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let first = told.recv_timeout(STARTS_WITHIN).unwrap_or_default();
        let Some(address) = first.strip_prefix(LISTENING).map(str::to_owned) else {
            let log = fs::read_to_string(&log).unwrap_or_default();
            panic!("the broker does not listen; it said {first:?}\n{log}");
        };
        Self { process, address }
    }

    /// A client with a connection of its own, once the broker serves.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.address).await
    }

    /// How much memory it has, in bytes.
    pub(crate) fn memory(&mut self) -> u64 {
        let path = format!("/proc/{}/status", self.process.child().id());
        let status = fs::read_to_string(path).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }

    /// `kill -9`.
    pub(crate) fn kill(self) {
        self.process.kill();
    }
}

/// A client with a connection of its own, once the broker serves.
pub(crate) async fn connect(address: &str) -> Client {
    connect_as(address, None).await
}

/// A client with a connection and a key of its own, once the broker serves.
pub(crate) async fn connect_as(address: &str, key: Option<&str>) -> Client {
    let deadline = Instant::now() + STARTS_WITHIN;
    loop {
        let key = key.map(str::to_owned);
        let endpoint = Endpoint { address: address.to_owned(), key, ..Endpoint::default() };
        if let Ok(client) = Client::connect(endpoint).await
            && client.list_pools(v1::ListPoolsRequest::default()).await.is_ok()
        {
            return client;
        }
        assert!(Instant::now() < deadline, "the broker at {address} does not serve");
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// A span on the wire.
#[expect(clippy::unnecessary_wraps, reason = "what messages have")]
pub(crate) fn wire(span: Duration) -> Option<pbjson_types::Duration> {
    let seconds = i64::try_from(span.as_secs()).expect("a span of this age");
    let nanos = i32::try_from(span.subsec_nanos()).expect("less than a second");
    Some(pbjson_types::Duration { seconds, nanos })
}

/// Makes a pool.
pub(crate) async fn make_pool(client: &Client, pool: &str, drain: Duration) {
    let policy = v1::PoolPolicy {
        min_ttl: wire(Duration::from_secs(1)),
        default_ttl: wire(Duration::from_secs(5)),
        drain: wire(drain),
        ..v1::PoolPolicy::default()
    };
    let pool = v1::Pool { name: pool.to_owned(), policy: Some(policy), ..v1::Pool::default() };
    let request = v1::CreatePoolRequest { pool: Some(pool), detail: String::new() };
    client.create_pool(request).await.expect("the pool is new");
}

/// Adds sessions `kind-0`, `kind-1`, … with a label `kind`.
pub(crate) async fn add_sessions(client: &Client, pool: &str, kind: &str, count: usize) {
    for number in 0..count {
        let name = format!("{kind}-{number}");
        let value = v1::credential::Value::Opaque(format!("{pool}/{name}").into_bytes());
        let session = v1::Session {
            pool: pool.to_owned(),
            name,
            labels: [("kind".to_owned(), kind.to_owned())].into(),
            ..v1::Session::default()
        };
        let credential = v1::Credential { value: Some(value), ..v1::Credential::default() };
        let request =
            v1::AddSessionRequest { session: Some(session), credential: Some(credential) };
        client.add_session(request).await.expect("the session is new");
    }
}

/// How many sessions of a pool are in each state.
pub(crate) async fn counts(client: &Client, pool: &str) -> Option<v1::SessionCounts> {
    let request = v1::GetPoolStatusRequest { pool: pool.to_owned() };
    client.get_pool_status(request).await.ok()?.status?.counts
}
