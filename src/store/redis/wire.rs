//! One connection: dialled, checked, loaded with the scripts, and lost once and for all.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::try_join_all;
use redis::{ConnectionInfo, RedisError, RedisResult, Value};
use tokio::{
    join,
    sync::Mutex,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    argument::Call,
    fault::Fault,
    gather::{self, Lanes},
    options::Options,
    pipe::{Mourner, Pipe},
    resp,
    scripts::{Script, Scripts},
    socket::Route,
};
use crate::{
    clock,
    store::{Error, Result},
};

/// For how long connecting may take, checks and scripts included.
const DIAL: Duration = Duration::from_secs(1);
/// The oldest Redis that will do.
const OLDEST: (u32, u32) = (6, 2);

/// Makes connections.
pub(super) struct Dialer {
    info: ConnectionInfo,
    route: Route,
    scripts: Arc<Scripts>,
    within: Duration,
}

/// One connection.
pub(super) struct Wire {
    pipe: Pipe,
    scripts: Arc<Scripts>,
    peer: Peer,
    loss: Arc<Loss>,
    /// When the scripts were last loaded. Held by whoever loads them, so that those who miss them
    /// together load them once.
    loaded: Mutex<Option<Instant>>,
}

/// Who talks to whom, so that the server can be told to drop a connection that is given up.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The server process; ids of connections mean nothing to another.
    run: String,
    /// The connection, as the server numbers it.
    id: u64,
}

impl Peer {
    /// Whether both connections are to one server process.
    pub(super) fn is_of_same_server(&self, other: &Self) -> bool {
        self.run == other.run
    }
}

/// That a connection is lost, and the first reason.
#[derive(Default)]
struct Loss {
    told: CancellationToken,
    why: OnceLock<String>,
}

impl Loss {
    fn tell(&self, why: &str) {
        self.why.get_or_init(|| why.to_owned());
        self.told.cancel();
    }
}

impl Mourner for Arc<Loss> {
    fn ended(&self, why: &str) {
        self.tell(why);
    }
}

impl Dialer {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let info = options.connection_info()?;
        let route = Route::of(&info)?;
        let scripts = Arc::new(Scripts::new(options.clock, options.shortcut));
        Ok(Self { info, route, scripts, within: DIAL.max(options.reply_within) })
    }

    /// Connects, sees that the server will do, drops the connection before, loads the first
    /// scripts.
    pub(super) async fn dial(&self, before: Option<&Peer>) -> Result<Wire> {
        let addr = self.info.addr();
        match timeout(self.within, self.dial_unbounded(before)).await {
            Ok(Err(Error::Unavailable(why))) => Err(Error::Unavailable(format!("{addr}: {why}"))),
            Ok(answer) => answer,
            Err(_elapsed) => Err(Error::Unavailable(format!("{addr}: no answer in time"))),
        }
    }

    async fn dial_unbounded(&self, before: Option<&Peer>) -> Result<Wire> {
        let loss = Arc::new(Loss::default());
        let connected = self.route.connect().await;
        let socket = connected.map_err(|error| Error::Unavailable(error.to_string()))?;
        let lanes = Lanes::new(Arc::clone(&self.scripts));
        let pipe = Pipe::over(socket, Arc::clone(&loss), lanes);
        // All at once: a broker that finds its way back has little time.
        let (entered, info, id) =
            join!(biased; self.enter(&pipe), ask(&pipe, &["INFO"]), ask(&pipe, &["CLIENT", "ID"]));
        entered?;
        let info: String = redis::from_redis_value(info.map_err(|error| unusable(&error))?)
            .map_err(|error| unusable(&error.into()))?;
        let run = check(&info)?;
        if before.is_none() && forgets(&info) {
            tracing::warn!(
                "Redis keeps no append-only file: a restart would lose leases and sessions; run: \
                 redis-cli CONFIG SET appendonly yes"
            );
        }
        let id = number(&id.map_err(|error| unusable(&error))?)?;
        if let Some(before) = before.filter(|before| before.run == run) {
            drop_peer(&pipe, before).await?;
        }
        let (scripts, peer) = (Arc::clone(&self.scripts), Peer { run, id });
        let wire = Wire { pipe, scripts, peer, loss, loaded: Mutex::default() };
        wire.load_these(Scripts::first).await.map_err(|error| unusable(&error))?;
        Ok(wire)
    }

    /// Says who calls.
    async fn enter(&self, pipe: &Pipe) -> Result<()> {
        let settings = self.info.redis_settings();
        let mut hello = vec!["HELLO", "3"];
        if let Some(password) = settings.password() {
            hello.extend(["AUTH", settings.username().unwrap_or("default"), password]);
        }
        let database = settings.db().to_string();
        let about = |what, value| async move {
            // Servers before 7.2 do not know it, and nothing depends on it.
            let _ = ask(pipe, &["CLIENT", "SETINFO", what, value]).await;
        };
        let select = async {
            if settings.db() == 0 {
                Ok(())
            } else {
                ask(pipe, &["SELECT", &database]).await.map(drop)
            }
        };
        let (let_in, selected, (), ()) = join!(
            biased;
            ask(pipe, &hello),
            select,
            about("LIB-NAME", "telegate"),
            about("LIB-VER", env!("CARGO_PKG_VERSION"))
        );
        let_in.map_err(|error| not_let_in(&error))?;
        selected.map_err(|error| unusable(&error))
    }
}

impl Wire {
    /// Runs a script; with others of its pool, if it is of a kind that can.
    pub(super) async fn send(&self, call: &Call) -> RedisResult<Value> {
        if call.verb.gathered().is_some() {
            return self.pipe.join(call).await;
        }
        self.pipe
            .ask(|out| {
                gather::begin(out, self.scripts.sha(call.verb), &call.keys, call.count);
                out.extend_from_slice(&call.words);
            })
            .await
    }

    /// Loads the scripts that the server does not have, unless that was done after a call was sent
    /// that missed one.
    pub(super) async fn load(&self, missed: Instant) -> RedisResult<()> {
        let mut loaded = self.loaded.lock().await;
        if loaded.is_some_and(|at| at >= missed) {
            return Ok(());
        }
        let begun = clock::moment();
        self.load_these(Scripts::iter).await?;
        *loaded = Some(begun);
        Ok(())
    }

    /// Loads the scripts that dialling left out, so that no call must, unless the connection is
    /// lost meanwhile. A call that misses one nevertheless says what is wrong.
    pub(super) async fn load_rest(&self) {
        let _ = self.loss.told.run_until_cancelled(self.load(clock::moment())).await;
    }

    /// Loads those of these scripts that the server does not have.
    async fn load_these<'a, I>(&'a self, these: impl Fn(&'a Scripts) -> I) -> RedisResult<()>
    where
        I: Iterator<Item = &'a Script>,
    {
        let mut asked = vec!["SCRIPT", "EXISTS"];
        asked.extend(these(&self.scripts).map(|script| script.sha.as_str()));
        let known: Vec<bool> = redis::from_redis_value(ask(&self.pipe, &asked).await?)?;
        let load = async |code: &str| ask(&self.pipe, &["SCRIPT", "LOAD", code]).await;
        let missing = these(&self.scripts).zip(known).filter(|(_, is_known)| !is_known);
        try_join_all(missing.map(|(script, _)| load(&script.code))).await.map(drop)
    }

    /// How many calls were answered so far.
    pub(super) fn answers(&self) -> u64 {
        self.pipe.answers()
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Gives the connection up. Its calls under way go on until it is dropped.
    pub(super) fn lose(&self, why: &str) {
        self.loss.tell(why);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.loss.told.is_cancelled()
    }

    /// Waits until the connection is lost, and says why.
    pub(super) async fn lost(&self) -> String {
        self.loss.told.cancelled().await;
        self.loss.why.get().cloned().unwrap_or_default()
    }
}

/// Has the server drop a connection that was given up, so that nothing which is still on its way
/// there runs after it was repeated here.
async fn drop_peer(pipe: &Pipe, peer: &Peer) -> Result<()> {
    match ask(pipe, &["CLIENT", "KILL", "ID", &peer.id.to_string()]).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("NOPERM") => {
            tracing::warn!("Redis does not let this user run CLIENT KILL; allow +client|kill");
            Ok(())
        }
        Err(error) => Err(unusable(&error)),
    }
}

/// Does a command that is no script.
fn ask(pipe: &Pipe, words: &[&str]) -> impl Future<Output = RedisResult<Value>> {
    pipe.ask(move |out| {
        resp::command(out, words.len());
        for word in words {
            resp::word(out, word);
        }
    })
}

fn number(value: &Value) -> Result<u64> {
    match value {
        Value::Int(number) if *number >= 0 => Ok(number.unsigned_abs()),
        _ => Err(Error::Broken("Redis does not tell the number of its connection".to_owned())),
    }
}

/// Sees that the server will do, and tells which process it is.
fn check(info: &str) -> Result<String> {
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let version = field("redis_version").unwrap_or_default();
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST {
        let (major, minor) = OLDEST;
        return Err(Error::Broken(format!(
            "Redis {version} is too old; {major}.{minor} or newer is needed"
        )));
    }
    if field("loading").is_some_and(|loading| loading != "0") {
        return Err(Error::Recovering("Redis is loading its data".to_owned()));
    }
    if field("role").is_some_and(|role| role != "master") {
        return Err(Error::Recovering("Redis is a replica and takes no writes".to_owned()));
    }
    let policy = field("maxmemory_policy").unwrap_or("noeviction");
    if policy != "noeviction" {
        return Err(Error::Broken(format!(
            "Redis has maxmemory-policy {policy} and would forget leases; run: \
             redis-cli CONFIG SET maxmemory-policy noeviction"
        )));
    }
    Ok(field("run_id").unwrap_or_default().to_owned())
}

/// Whether the server writes what it is told to no file as it is told.
fn forgets(info: &str) -> bool {
    info.lines().any(|line| line.trim() == "aof_enabled:0")
}

/// What an error means while connecting.
pub(super) fn unusable(error: &RedisError) -> Error {
    Fault::of(error).into_error()
}

/// What an error means when it is the answer to the first command.
fn not_let_in(error: &RedisError) -> Error {
    let said = error.to_string();
    match error.code() {
        Some("WRONGPASS" | "NOAUTH") => Error::Broken(format!(
            "Redis does not let this user in: {said}; check user and password"
        )),
        Some("NOPROTO" | "ERR") if said.contains("unknown command") => {
            let (major, minor) = OLDEST;
            Error::Broken(format!("this Redis is too old; {major}.{minor} or newer is needed"))
        }
        _ => unusable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nloading:0\r\n\
                        maxmemory_policy:noeviction\r\nrole:master\r\n";

    #[test]
    fn a_server_that_will_do_tells_which_process_it_is() {
        assert_eq!(check(GOOD).unwrap(), "abc");
        assert_eq!(check(&GOOD.replace("7.0.15", "6.2.0")).unwrap(), "abc");
        assert_eq!(check(&GOOD.replace("7.0.15", "10.0.0")).unwrap(), "abc");
    }

    #[test]
    fn a_server_without_an_append_only_file_is_known() {
        assert!(forgets("# Persistence\r\naof_enabled:0\r\n"));
        assert!(!forgets("# Persistence\r\naof_enabled:1\r\n"));
    }

    #[test]
    fn a_server_that_will_not_do_is_told_why() {
        for (good, bad, why) in [
            ("7.0.15", "6.0.16", "too old"),
            ("7.0.15", "", "too old"),
            (":noeviction", ":allkeys-lru", "CONFIG SET maxmemory-policy noeviction"),
        ] {
            let said = check(&GOOD.replace(good, bad)).unwrap_err();
            assert!(matches!(&said, Error::Broken(said) if said.contains(why)), "{said}");
        }
        for (good, bad) in [("loading:0", "loading:1"), ("role:master", "role:slave")] {
            let said = check(&GOOD.replace(good, bad)).unwrap_err();
            assert!(matches!(said, Error::Recovering(_)), "{said}");
        }
    }
}
