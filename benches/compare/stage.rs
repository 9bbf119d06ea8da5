//! The stage: Redis servers, brokers and the bare parts, each a process on a free port.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use prost::Message as _;
use serde_json::Value;
use telegate::{
    client::{Client, Endpoint, Error},
    proto::v1,
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{canned::SESSION, process::Guarded, wire::Talk};

/// The pool that is measured.
pub(crate) const POOL: &str = "bench";
/// How long a process may take to listen.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// How many sessions are added at once.
const ADDED_AT_ONCE: u64 = 64;
/// What the brokers seal sessions with, as in production.
const STORE_KEY: &str = "tgsk_830a999d_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
/// How many calls may wait in a pool, and in a broker.
const MOST_WAITERS: u32 = 30_000;
/// The broker that was built.
pub(crate) const TELEGATE: &str = env!("CARGO_BIN_EXE_telegate");

/// Whether and how Redis writes what it is told to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appends {
    Never,
    EverySecond,
}

/// A Redis server.
pub(crate) struct Redis {
    process: Guarded,
    pub(crate) port: u16,
    _dir: TempDir,
}

impl Redis {
    /// Starts one. Nothing when the machine has none.
    pub(crate) fn start(appends: Appends) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = free.local_addr().expect("a bound port").port();
        drop(free);
        let append = if appends == Appends::EverySecond { "yes" } else { "no" };
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .args(["--appendonly", append, "--appendfsync", "everysec"])
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let Ok(mut process) = Guarded::start(&mut command, dir.path()) else {
            println!("redis-server is not installed; what needs it is left out\n");
            return None;
        };
        let deadline = Instant::now() + STARTS_WITHIN;
        while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(!process.has_ended() && Instant::now() < deadline, "Redis does not start");
            thread::sleep(Duration::from_millis(5));
        }
        Some(Self { process, port, _dir: dir })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn pid(&mut self) -> u32 {
        self.process.child().id()
    }

    pub(crate) fn talk(&self) -> Talk {
        Talk::to(self.port)
    }
}

/// A server of the API, of whatever kind.
pub(crate) struct Server {
    process: Guarded,
    pub(crate) address: String,
    pub(crate) key: Option<String>,
    /// What was kept in it goes with it.
    _dir: Option<TempDir>,
}

impl Server {
    /// Starts a broker on a store.
    pub(crate) fn broker(program: &str, store: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", store]).args(flags);
        command.env("TELEGATE_STORE_KEYS", STORE_KEY);
        command.env("TELEGATE_LIMITS_MAX_IN_FLIGHT", MOST_WAITERS.to_string());
        Self::program(&mut command)
    }

    /// Starts a broker that keeps its pools in a file of its own.
    pub(crate) fn embedded(program: &str, flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = format!("embedded:{}", dir.path().join("telegate.db").display());
        Self { _dir: Some(dir), ..Self::broker(program, &store, flags) }
    }

    /// Starts a part that this program plays itself.
    pub(crate) fn part(name: &str, with: &[&str]) -> Self {
        let this = std::env::current_exe().expect("this program's file");
        let mut command = Command::new(this);
        command.args(["--play", name]);
        for with in with {
            command.args(["--with", with]);
        }
        Self::program(&mut command)
    }

    /// Starts a program that prints where it listens.
    pub(crate) fn program(command: &mut Command) -> Self {
        command.env_remove("TELEGATE_CONFIG").stdout(Stdio::piped()).stderr(Stdio::null());
        let nowhere = Path::new("/nonexistent");
        let mut process = Guarded::start(command, nowhere).expect("the program can be run");
        let stdout = process.child().stdout.take().expect("its stdout is a pipe");
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let first = told.recv_timeout(STARTS_WITHIN).unwrap_or_default();
        let address = first
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("{command:?} does not listen; it said {first:?}"));
        Self { process, address: address.to_owned(), key: None, _dir: None }
    }

    /// Calls it with a key from then on; `dir` has the key file.
    pub(crate) fn with_key(self, key: &str, dir: TempDir) -> Self {
        Self { key: Some(key.to_owned()), _dir: Some(dir), ..self }
    }

    pub(crate) fn pid(&mut self) -> u32 {
        self.process.child().id()
    }

    /// Drives it with `telegate bench` and gives what that printed.
    pub(crate) fn drive(&self, flags: &[String]) -> Value {
        let output = self.generator(flags).output().expect("the bench can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{flags:?}: {said}");
        serde_json::from_slice(&output.stdout).expect("the bench prints JSON")
    }

    /// Drives it with `telegate bench` until what comes back is dropped.
    pub(crate) fn drive_on(&self, flags: &[String]) -> Guarded {
        let mut command = self.generator(flags);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Guarded::start(&mut command, Path::new("/nonexistent")).expect("the bench can be run")
    }

    fn generator(&self, flags: &[String]) -> Command {
        let mut command = Command::new(TELEGATE);
        command
            .args(["bench", "--json", "--pool", POOL, "--address", &self.address])
            .args(flags)
            .env_remove("TELEGATE_KEY");
        if let Some(key) = &self.key {
            command.env("TELEGATE_KEY", key);
        }
        command
    }

    pub(crate) async fn client(&self) -> Client {
        let endpoint = Endpoint {
            address: self.address.clone(),
            key: self.key.clone(),
            ..Endpoint::default()
        };
        Client::connect(endpoint).await.expect("the server serves")
    }
}

/// A session whose credential has the size of a real one, with two labels. The first of a pool is
/// rare, and says so.
fn session(pool: &str, number: u64) -> v1::AddSessionRequest {
    let mut auth_key = vec![0; 256];
    getrandom::fill(&mut auth_key).expect("random numbers");
    let telegram = v1::TelegramCredential { dc_id: 2, auth_key, ..Default::default() };
    let value = v1::credential::Value::Telegram(telegram);
    let second = if number == 0 { ("rare", "yes") } else { ("tier", "a") };
    let labels = [("country", "de"), second].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let session = v1::Session {
        pool: pool.to_owned(),
        name: SESSION.name(number),
        labels: labels.into(),
        ..v1::Session::default()
    };
    v1::AddSessionRequest {
        session: Some(session),
        credential: Some(v1::Credential { value: Some(value), ..Default::default() }),
    }
}

/// What the pools are called: the one that is measured, and others beside it.
pub(crate) fn pool_name(number: u64) -> String {
    if number == 0 { POOL.to_owned() } else { format!("{POOL}-{number}") }
}

/// Makes the pool in a broker, with so many sessions.
pub(crate) fn fill(server: &Server, sessions: u64) {
    fill_pools(server, 1, sessions);
}

/// Makes pools in a broker, each with so many sessions.
pub(crate) fn fill_pools(server: &Server, pools: u64, each: u64) {
    Runtime::new().expect("a runtime").block_on(async {
        let client = server.client().await;
        for number in 0..pools {
            make_pool(&client, pool_name(number)).await;
        }
        let mut adding = JoinSet::new();
        for worker in 0..ADDED_AT_ONCE {
            let client = client.clone();
            let mine = (worker..pools * each).step_by(usize::try_from(ADDED_AT_ONCE).unwrap_or(1));
            adding.spawn(async move {
                for number in mine {
                    let session = session(&pool_name(number / each), number % each);
                    add(&client, session).await;
                }
            });
        }
        while let Some(added) = adding.join_next().await {
            added.expect("all sessions are added");
        }
    });
}

/// Adds a session; again where the store did not answer in time, as on a busy machine.
async fn add(client: &Client, session: v1::AddSessionRequest) {
    while let Err(error) = client.add_session(session.clone()).await {
        match error {
            Error::Refused(no) if no.reason_name == "SESSION_ALREADY_EXISTS" => return,
            Error::Refused(no) if no.retry_after.is_some() => {}
            error => panic!("a session cannot be added: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn make_pool(client: &Client, name: String) {
    // Nothing escalates: a brake on a method would stop what one session in many is asked for.
    let escalation = v1::EscalationPolicy { disabled: true, ..Default::default() };
    let policy = v1::PoolPolicy {
        escalation: Some(escalation),
        max_waiters: Some(MOST_WAITERS),
        ..Default::default()
    };
    let pool = v1::Pool { name, policy: Some(policy), ..v1::Pool::default() };
    let request = v1::CreatePoolRequest { pool: Some(pool), detail: String::new() };
    while let Err(error) = client.create_pool(request.clone()).await {
        assert!(!error.to_string().contains("exist"), "the pool is there already");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Real replies of a broker, in files, for what only repeats them.
pub(crate) struct Replies {
    dir: TempDir,
}

impl Replies {
    /// Asks a broker whose pool is filled, and leaves nothing leased.
    pub(crate) fn of(server: &Server) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Runtime::new().expect("a runtime").block_on(async {
            let client = server.client().await;
            let ask = v1::AcquireRequest {
                pool: POOL.to_owned(),
                session: SESSION.name(0),
                purpose: "telegate bench".to_owned(),
                ..v1::AcquireRequest::default()
            };
            let acquired = client.acquire(ask).await.expect("a session is free");
            let lease_id = acquired.lease.clone().unwrap_or_default().lease_id;
            let request = v1::ReleaseRequest { lease_id, ..v1::ReleaseRequest::default() };
            let released = client.release(request).await.expect("it is released");
            let request = v1::GetPoolStatusRequest { pool: POOL.to_owned() };
            let status = client.get_pool_status(request).await.expect("a status");
            for (name, bytes) in [
                ("acquire", acquired.encode_to_vec()),
                ("release", released.encode_to_vec()),
                ("status", status.encode_to_vec()),
            ] {
                fs::write(dir.path().join(name), bytes).expect("a file for a reply");
            }
        });
        Self { dir }
    }

    /// The files with the replies to Acquire, Release and `GetPoolStatus`.
    pub(crate) fn paths(&self) -> [String; 3] {
        ["acquire", "release", "status"].map(|it| self.path(it))
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.dir.path().join(name);
        path.display().to_string()
    }

    /// The bare echo, on all threads or on one.
    pub(crate) fn echo(&self, part: &str) -> Server {
        let [acquire, release, status] = self.paths();
        Server::part(part, &[&acquire, &release, &status])
    }

    /// The plain broker on a Redis.
    pub(crate) fn plain(&self, redis: &Redis, sessions: u64) -> Server {
        Server::part("plain", &[&redis.url(), &self.path("acquire"), &sessions.to_string()])
    }
}

/// Makes a key file with one key of a worker and admin, and gives the file and the key.
pub(crate) fn keys(dir: &Path) -> (String, String) {
    let file = dir.join("keys.toml").display().to_string();
    let made = Command::new(TELEGATE)
        .args(["keys", "--keys", &file, "new", "--name", "bench", "--role", "admin"])
        .arg("--json")
        .output()
        .expect("a key can be made");
    let made: Value = serde_json::from_slice(&made.stdout).expect("a key as JSON");
    (file, made["key"].as_str().expect("a key").to_owned())
}
