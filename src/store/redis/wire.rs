//! One connection: dialled, checked, loaded with the scripts, and lost once and for all.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ErrorKind, PushInfo, PushKind, RedisError, RedisResult, Value,
    aio::{MultiplexedConnection, SendError},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{argument::Call, fault::Fault, options::Options, scripts::Scripts};
use crate::store::{Error, Result};

/// For how long connecting may take, checks and scripts included.
const DIAL: Duration = Duration::from_secs(1);
/// How many calls can be on their way to the connection.
const QUEUE: usize = 1024;
/// The oldest Redis that will do.
const OLDEST: (u32, u32) = (6, 2);

/// Makes connections.
pub(super) struct Dialer {
    client: Client,
    scripts: Arc<Scripts>,
}

/// One connection.
pub(super) struct Wire {
    connection: MultiplexedConnection,
    scripts: Arc<Scripts>,
    peer: Peer,
    loss: Arc<Loss>,
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

impl Dialer {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let client = Client::open(options.connection_info()?)
            .map_err(|error| Error::Broken(format!("the Redis URL is not usable: {error}")))?;
        Ok(Self { client, scripts: Arc::new(Scripts::new(options.clock)) })
    }

    /// Connects, sees that the server will do, drops the connection before, loads the scripts.
    pub(super) async fn dial(&self, before: Option<&Peer>) -> Result<Wire> {
        let addr = self.client.get_connection_info().addr();
        match timeout(DIAL, self.dial_unbounded(before)).await {
            Ok(Err(Error::Unavailable(why))) => Err(Error::Unavailable(format!("{addr}: {why}"))),
            Ok(answer) => answer,
            Err(_elapsed) => Err(Error::Unavailable(format!("{addr}: no answer in time"))),
        }
    }

    async fn dial_unbounded(&self, before: Option<&Peer>) -> Result<Wire> {
        let loss = Arc::new(Loss::default());
        let told = Arc::clone(&loss);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE)
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    told.tell("the connection ended");
                }
                Ok::<(), SendError>(())
            });
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connected.map_err(|error| unusable(&error))?;
        let mut hello = redis::pipe();
        hello.cmd("INFO").cmd("CLIENT").arg("ID");
        let (info, id): (String, u64) =
            hello.query_async(&mut connection).await.map_err(|error| unusable(&error))?;
        let run = check(&info)?;
        if before.is_none() && forgets(&info) {
            tracing::warn!(
                "Redis keeps no append-only file: a restart would lose leases and sessions; run: \
                 redis-cli CONFIG SET appendonly yes"
            );
        }
        if let Some(before) = before.filter(|before| before.run == run) {
            drop_peer(&mut connection, before).await?;
        }
        let wire =
            Wire { connection, scripts: Arc::clone(&self.scripts), peer: Peer { run, id }, loss };
        wire.load().await.map_err(|error| unusable(&error))?;
        Ok(wire)
    }
}

impl Wire {
    /// Runs a script.
    pub(super) async fn send(&self, call: &Call) -> RedisResult<Value> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.scripts.sha(call.verb)).arg(call.keys.len()).arg(&call.keys);
        for arg in &call.args {
            command.arg(arg.as_slice());
        }
        command.query_async(&mut self.connection.clone()).await
    }

    /// Loads the scripts that the server does not have.
    pub(super) async fn load(&self) -> RedisResult<()> {
        let mut connection = self.connection.clone();
        let mut ask = redis::cmd("SCRIPT");
        ask.arg("EXISTS");
        for script in self.scripts.iter() {
            ask.arg(&script.sha);
        }
        let known: Vec<bool> = ask.query_async(&mut connection).await?;
        let mut load = redis::pipe();
        for (script, _) in self.scripts.iter().zip(known).filter(|(_, is_known)| !is_known) {
            load.cmd("SCRIPT").arg("LOAD").arg(&script.code).ignore();
        }
        if load.is_empty() { Ok(()) } else { load.query_async(&mut connection).await }
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
async fn drop_peer(connection: &mut MultiplexedConnection, peer: &Peer) -> Result<()> {
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("ID").arg(peer.id);
    match kill.query_async::<u64>(connection).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("NOPERM") => {
            tracing::warn!("Redis does not let this user run CLIENT KILL; allow +client|kill");
            Ok(())
        }
        Err(error) => Err(unusable(&error)),
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
    if error.kind() == ErrorKind::RESP3NotSupported {
        let (major, minor) = OLDEST;
        return Error::Broken(format!("this Redis is too old; {major}.{minor} or newer is needed"));
    }
    Fault::of(error).into_error()
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
