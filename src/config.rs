//! Configuration: defaults beside fields, laid over by a file, the environment and flags.
//!
//! Each value stays text until all layers are laid; then each is parsed once, and every fault is
//! told at once.

mod layers;
mod variables;

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

use self::layers::Layers;
pub use self::{layers::FIELDS, variables::slips};
use crate::{
    pool::PoolName,
    store::{embedded::Durability, sealed::Sealing},
};

/// How a broker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it listens. Default `127.0.0.1:7311`.
    pub listen: SocketAddr,
    /// Where pools are kept. Default: a file in the user's data directory.
    pub store: StoreAddress,
    /// What an acknowledged call survives, in a file of this machine. Default `machine`.
    pub durability: Durability,
    /// How credentials are kept in the store. Default: there is no store key, so none are taken in.
    pub sealing: Sealing,
    /// Which log lines are written. Default `info`.
    pub log: String,
    /// How they are written. Default `auto`.
    pub log_format: LogFormat,
    /// Whether a demo pool is made at the start. Default `false`.
    pub demo: bool,
    /// Where the metrics are served. Default: nowhere.
    pub metrics: Option<SocketAddr>,
    /// How calls are served.
    pub server: ServerConfig,
}

/// How calls are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The file with the API keys. Default: none, everybody is an admin.
    pub keys: Option<PathBuf>,
    /// The server's certificate. Default: none, no TLS.
    pub tls: Option<Tls>,
    /// What no caller may exceed.
    pub limits: Limits,
    /// How long calls under way and open connections may last after the shutdown began. Default
    /// 30 s.
    pub drain_timeout: Duration,
    /// Folders that pools are kept equal to. Default: none.
    pub syncs: Vec<SyncFolder>,
    /// How retry delays are spread. Not in the file: tests set it.
    pub jitter: Jitter,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            keys: None,
            tls: None,
            limits: Limits::default(),
            drain_timeout: Duration::from_secs(30),
            syncs: Vec::new(),
            jitter: Jitter::Random,
        }
    }
}

/// A folder that a pool is kept equal to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncFolder {
    /// The pool.
    pub pool: PoolName,
    /// The folder.
    pub folder: PathBuf,
}

/// Files for TLS, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority that must have signed the clients' certificates. Default: none, clients need
    /// none.
    pub client_ca: Option<PathBuf>,
}

/// What no caller may exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, in bytes. Default 1 MiB.
    pub max_message: usize,
    /// The most calls under way on one connection. Default 1000.
    pub max_streams: u32,
    /// The most calls under way on all connections; more stand in line. Default 10000.
    pub max_in_flight: usize,
    /// How long a call may take, its place in that line included. Default 30 s.
    pub call_timeout: Duration,
    /// How long a connection may be silent before it is pinged. Default 30 s.
    pub keepalive_interval: Duration,
    /// How long the answer to a ping may take. Default 10 s.
    pub keepalive_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 1024 * 1024,
            max_streams: 1000,
            max_in_flight: 10_000,
            call_timeout: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}

/// How retry delays are spread, so that callers who were refused together do not come back
/// together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// By chance, up to the most.
    Random,
    /// By as many per cent of the most.
    Fixed(u8),
}

/// Where pools are kept. Its `Debug` and `Display` hide a password.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// In a file of this machine.
    Embedded(PathBuf),
    /// In Redis, at this URL.
    Redis(String),
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(path) => write!(f, "embedded:{}", path.display()),
            Self::Redis(url) => f.write_str(&without_password(url)),
        }
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreAddress({self})")
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// JSON.
    Json,
}

/// What flags say, as text; the command line fills it.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--listen`.
    pub listen: Option<String>,
    /// `--store`.
    pub store: Option<String>,
    /// `--durability`.
    pub durability: Option<String>,
    /// `--store-key-file`.
    pub store_key_file: Option<String>,
    /// `--keep-unencrypted`.
    pub keep_unencrypted: Option<String>,
    /// `--keys`.
    pub keys: Option<String>,
    /// `--metrics-listen`.
    pub metrics_listen: Option<String>,
    /// `--tls-cert`.
    pub tls_cert: Option<String>,
    /// `--tls-key`.
    pub tls_key: Option<String>,
    /// `--tls-client-ca`.
    pub tls_client_ca: Option<String>,
    /// `--log`.
    pub log: Option<String>,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// `--drain-timeout`.
    pub drain_timeout: Option<String>,
    /// `--sync`, several with commas between them.
    pub sync: Option<String>,
    /// `--demo`.
    pub demo: Option<String>,
}

/// Everything that is wrong with a configuration: one line each, with the next step.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", .0.join("\n"))]
pub struct Faults(pub Vec<String>);

/// Environment variables, given from outside so that tests need not change the process.
pub type Environment = BTreeMap<String, String>;

/// The variables of this process.
#[must_use]
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The file of this program, for lines that people paste.
///
/// # Errors
///
/// When the system does not tell.
pub fn program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

impl Config {
    /// Lays file, environment and flags over the defaults.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn load(
        file: Option<&Path>,
        environment: &Environment,
        flags: &Overrides,
    ) -> Result<Self, Faults> {
        let mut layers = Layers::default();
        if let Some(path) = file {
            match fs::read_to_string(path) {
                Ok(text) => layers.lay_file(&text, &path.display().to_string()),
                Err(error) => layers.fault(format!(
                    "config {}: {error}; name a file that this user may read",
                    path.display()
                )),
            }
        }
        layers.lay_environment(environment);
        layers.lay_flags(flags);
        layers.parse(environment)
    }

    /// Lays the text of a file alone over the defaults.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn from_toml(text: &str, environment: &Environment) -> Result<Self, Faults> {
        let mut layers = Layers::default();
        layers.lay_file(text, "the file");
        layers.parse(environment)
    }
}

/// A URL whose password, if it has one, is starred out.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    match authority.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{scheme}://{user}:***@{host}{tail}"),
        _ => url.to_owned(),
    }
}
