//! The store's limit: the very scripts that the broker runs, driven by a client that does nothing
//! but pipeline them.
//!
//! What the broker sends for one Acquire and one Release is listened to, and then sent again and
//! again with fresh secrets. So this stays true whatever the scripts and their arguments become.

use std::{
    thread,
    time::{Duration, Instant},
};

use telegate::proto::v1;
use tokio::runtime::Runtime;

use crate::{
    canned::SESSION,
    stage::{POOL, Redis, Server},
    wire::{Talk, encode},
};

/// How many scripts are on their way at once.
const DEPTH: usize = 16;
/// How long a command that was sent may take to show.
const SHOWS_WITHIN: Duration = Duration::from_secs(2);

/// The commands of one Acquire and one Release.
pub(crate) struct Scripts {
    acquire: Vec<Vec<u8>>,
    release: Vec<Vec<u8>>,
    /// What stands in them for the lease's secret, and for its session.
    secret: Vec<u8>,
    session: Vec<u8>,
    /// How many commands the broker sent for the two calls.
    pub(crate) commands: usize,
}

/// What the bare scripts did.
pub(crate) struct Did {
    pub(crate) pairs: u64,
    pub(crate) took: Duration,
}

impl Scripts {
    /// Listens to what a broker sends to its Redis.
    pub(crate) fn of(server: &Server, redis: &Redis) -> Self {
        let mut monitor = redis.talk();
        monitor.send(&encode(&["MONITOR"]));
        monitor.answer();
        let lease = Runtime::new().expect("a runtime").block_on(async {
            let client = server.client().await;
            let ask = v1::AcquireRequest {
                pool: POOL.to_owned(),
                purpose: "telegate bench".to_owned(),
                ttl: Some(pbjson_types::Duration { seconds: 60, nanos: 0 }),
                ..v1::AcquireRequest::default()
            };
            let lease = client.acquire(ask).await.expect("a session is free").lease;
            let lease_id = lease.clone().unwrap_or_default().lease_id;
            let request = v1::ReleaseRequest { lease_id, ..v1::ReleaseRequest::default() };
            client.release(request).await.expect("it is released");
            lease.unwrap_or_default()
        });
        thread::sleep(SHOWS_WITHIN / 20);
        redis.talk().text(&["PING"]);
        let mut sent = Vec::new();
        loop {
            let line = monitor.line();
            let words = words(&line);
            if words.first().is_some_and(|word| word.eq_ignore_ascii_case(b"PING")) {
                break;
            }
            if !contains(&line, b" lua] ") {
                sent.push(words);
            }
        }
        let is_script = |words: &&Vec<Vec<u8>>| words[0].eq_ignore_ascii_case(b"EVALSHA");
        let mut scripts = sent.iter().filter(is_script).cloned();
        let (Some(acquire), Some(release)) = (scripts.next(), scripts.next()) else {
            panic!("the broker sent no two scripts for an Acquire and a Release");
        };
        let secret = lease.lease_id.rsplit('/').next().unwrap_or_default();
        Self {
            acquire,
            release,
            secret: secret.as_bytes().to_vec(),
            session: lease.session.into_bytes(),
            commands: sent.len(),
        }
    }

    /// Sends them, pipelined, for a while.
    pub(crate) fn drive(&self, redis: &Redis, span: Duration) -> Did {
        let mut talk = redis.talk();
        let start = Instant::now();
        let mut pairs = 0;
        while start.elapsed() < span {
            pairs += self.batch(&mut talk, DEPTH);
        }
        Did { pairs, took: start.elapsed() }
    }

    /// Sends them one at a time, and gives how long each Acquire took.
    pub(crate) fn one_by_one(&self, redis: &Redis, span: Duration) -> Vec<Duration> {
        let mut talk = redis.talk();
        let start = Instant::now();
        let mut took = Vec::new();
        while start.elapsed() < span {
            let secret = fresh();
            let acquire = encode(&replaced(&self.acquire, &self.secret, &secret));
            let sent = Instant::now();
            talk.send(&acquire);
            let session = session(&talk.answer());
            took.push(sent.elapsed());
            talk.send(&self.release(&secret, &session));
            talk.answer();
        }
        took
    }

    fn batch(&self, talk: &mut Talk, depth: usize) -> u64 {
        let secrets: Vec<_> = (0..depth).map(|_| fresh()).collect();
        let acquire = |secret: &Vec<u8>| encode(&replaced(&self.acquire, &self.secret, secret));
        talk.send(&secrets.iter().flat_map(acquire).collect::<Vec<_>>());
        let sessions: Vec<_> = secrets.iter().map(|_| session(&talk.answer())).collect();
        let pairs = secrets.iter().zip(&sessions);
        let releases = pairs.flat_map(|(secret, session)| self.release(secret, session));
        talk.send(&releases.collect::<Vec<_>>());
        for _ in &sessions {
            talk.answer();
        }
        depth as u64
    }

    fn release(&self, secret: &[u8], session: &[u8]) -> Vec<u8> {
        let release = replaced(&self.release, &self.secret, secret);
        encode(&replaced(&release, &self.session, session))
    }
}

/// A secret that no other lease has.
fn fresh() -> Vec<u8> {
    let number = u128::from(getrandom::u64().expect("random numbers"));
    format!("{:032x}", number << 64 | number).into_bytes()
}

/// The session's name in what a script answered.
fn session(answer: &[u8]) -> Vec<u8> {
    let pattern = SESSION.name(0);
    let is_name = |window: &&[u8]| {
        window[0] == pattern.as_bytes()[0] && window[1..].iter().all(u8::is_ascii_digit)
    };
    let name = answer.windows(pattern.len()).find(is_name);
    name.unwrap_or_else(|| panic!("no session: {}", String::from_utf8_lossy(answer))).to_vec()
}

fn replaced(words: &[Vec<u8>], old: &[u8], new: &[u8]) -> Vec<Vec<u8>> {
    let replace = |word: &Vec<u8>| {
        let mut word = word.clone();
        let mut at = 0;
        while at + old.len() <= word.len() {
            if word[at..].starts_with(old) {
                word[at..at + old.len()].copy_from_slice(new);
                at += old.len();
            } else {
                at += 1;
            }
        }
        word
    };
    words.iter().map(replace).collect()
}

fn contains(line: &[u8], piece: &[u8]) -> bool {
    line.windows(piece.len()).any(|window| window == piece)
}

/// The words of a line of MONITOR: quoted, with escapes.
fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match (&mut word, byte) {
            (None, b'"') => word = Some(Vec::new()),
            (None, _) => {}
            (Some(_), b'"') => words.extend(word.take()),
            (Some(word), b'\\') => word.push(match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'a') => 7,
                Some(b'b') => 8,
                Some(b'x') => {
                    let digits =
                        [bytes.next().unwrap_or_default(), bytes.next().unwrap_or_default()];
                    let digits = std::str::from_utf8(&digits).unwrap_or_default();
                    u8::from_str_radix(digits, 16).unwrap_or_default()
                }
                other => other.unwrap_or_default(),
            }),
            (Some(word), byte) => word.push(byte),
        }
    }
    words
}
