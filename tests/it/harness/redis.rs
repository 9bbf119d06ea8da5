//! A real Redis server: one that the whole test run shares, or one of a test's own to break.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use telegate::store::redis::{ClockSource, Options, Shortcut};
use tempfile::TempDir;

use super::{nothing_may_be_skipped, process::Guarded};

/// How often another port is tried when somebody was faster.
const PORT_TRIES: u32 = 5;
/// How long a server may take to answer its first command.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// Whether a server keeps what it was told when it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// It forgets everything.
    Nothing,
    /// It writes every command to its append-only file.
    Everything,
}

/// A Redis server of this test run.
#[derive(Debug)]
pub(crate) struct RedisServer {
    dir: TempDir,
    port: u16,
    keeps: Keeps,
    process: Option<Guarded>,
    talk: Mutex<Option<BufReader<TcpStream>>>,
}

/// The server that all tests share, each under its own key prefix. `None`, and a line that says
/// what is skipped, when the machine has no redis-server; a failure under `CI=true`.
pub(crate) fn shared() -> Option<&'static RedisServer> {
    static SHARED: OnceLock<Option<RedisServer>> = OnceLock::new();
    let server = SHARED.get_or_init(|| RedisServer::start(Keeps::Nothing));
    if server.is_none() {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        eprintln!("SKIPPED {name}: redis-server is not installed (apt-get install redis-server)");
    }
    server.as_ref()
}

/// A key prefix that no other case uses.
pub(crate) fn fresh_prefix() -> String {
    static CASES: AtomicU32 = AtomicU32::new(0);
    format!("case{}", CASES.fetch_add(1, Ordering::Relaxed))
}

/// A store of its own in a server, by a clock that a case moves. Patient: cases share a machine.
pub(crate) fn patient(server: &RedisServer, prefix: &str, shortcut: Shortcut) -> Options {
    let (prefix, clock) = (prefix.to_owned(), ClockSource::Key);
    let reply_within = Duration::from_secs(20);
    Options { prefix, clock, reply_within, shortcut, ..Options::new(&server.url()) }
}

impl RedisServer {
    /// Starts a server on a free port. `None` when the machine has no redis-server.
    pub(crate) fn start(keeps: Keeps) -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            assert!(!nothing_may_be_skipped(), "redis-server is not installed, and CI is true");
            return None;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut server = Self { dir, port: 0, keeps, process: None, talk: Mutex::default() };
        for _ in 0..PORT_TRIES {
            server.port = free_port();
            if server.start_again() {
                return Some(server);
            }
        }
        panic!("redis-server did not start on any of {PORT_TRIES} free ports");
    }

    /// Starts it again on its port, and tells whether it runs.
    pub(crate) fn start_again(&mut self) -> bool {
        let appends = if self.keeps == Keeps::Everything { "yes" } else { "no" };
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--save", "", "--appendonly", appends, "--appendfsync", "always"])
            .args(["--daemonize", "no", "--maxmemory-policy", "noeviction"])
            .arg("--dir")
            .arg(self.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let started = Guarded::start(&mut command, self.dir.path());
        let process = self.process.insert(started.expect("redis-server can be run"));
        let deadline = Instant::now() + STARTS_WITHIN;
        while Instant::now() < deadline && !process.has_ended() {
            let hello = connect(self.port).and_then(|mut talk| say(&mut talk, &["PING"]));
            if hello.is_ok_and(|answer| answer == "PONG") {
                return true;
            }
            thread::sleep(super::POLL_EVERY);
        }
        self.process = None;
        false
    }

    /// Stops it at once, as a power cut would.
    pub(crate) fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
        *self.talk() = None;
    }

    /// Makes it stand still until it is thawed.
    pub(crate) fn freeze(&self) {
        self.process.as_ref().expect("it runs").freeze();
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.process.as_ref().expect("it runs").thaw();
    }

    /// Where it listens, as the broker's `--store` takes it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it keeps its files.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Does a command and gives its answer, if that is not an array.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let mut kept = self.talk();
        for _ in 0..2 {
            if kept.is_none() {
                *kept = connect(self.port).ok();
            }
            if let Some(Ok(answer)) = kept.as_mut().map(|talk| say(talk, words)) {
                return answer;
            }
            // A test may have cut all connections, this one included.
            *kept = None;
        }
        panic!("Redis does not answer {}", words.first().unwrap_or(&"nothing"));
    }

    fn talk(&self) -> MutexGuard<'_, Option<BufReader<TcpStream>>> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound port").port()
}

fn connect(port: u16) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STARTS_WITHIN))?;
    Ok(BufReader::new(stream))
}

/// Says one command and reads one simple, bulk, integer or error answer.
fn say(talk: &mut BufReader<TcpStream>, words: &[&str]) -> std::io::Result<String> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.extend(["$", &word.len().to_string(), "\r\n", word, "\r\n"]);
    }
    talk.get_mut().write_all(command.as_bytes())?;
    let mut line = String::new();
    if talk.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let Some((kind, rest)) = line.trim_end().split_at_checked(1) else {
        return Err(std::io::ErrorKind::InvalidData.into());
    };
    let Some(len) = (kind == "$").then(|| rest.parse::<usize>().ok()).flatten() else {
        return Ok(rest.to_owned());
    };
    let mut bulk = vec![0; len + 2];
    talk.read_exact(&mut bulk)?;
    bulk.truncate(len);
    Ok(String::from_utf8_lossy(&bulk).into_owned())
}
