//! The layers of a configuration, as text with its origin, and their parsing.

use std::{
    collections::BTreeMap,
    fmt::Display,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use super::{
    Config, Environment, Faults, Limits, LogFormat, Overrides, ServerConfig, StoreAddress,
    SyncFolder, Tls, variables::variable, without_password,
};
use crate::{
    pool::PoolName,
    store::{
        embedded::Durability,
        sealed::{self as store_keys, Sealing, StoreKeys},
    },
};

/// Every field: its name in the file. In capitals, after `TELEGATE_`, with dots as underscores, it
/// is the name in the environment.
pub const FIELDS: [&str; 21] = [
    "listen",
    "store",
    "durability",
    "store_key_file",
    "keep_unencrypted",
    "keys",
    "log",
    "log_format",
    "drain_timeout",
    "sync",
    "demo",
    "metrics.listen",
    "tls.cert",
    "tls.key",
    "tls.client_ca",
    "limits.max_message",
    "limits.max_streams",
    "limits.max_in_flight",
    "limits.call_timeout",
    "limits.keepalive_interval",
    "limits.keepalive_timeout",
];

/// The variable that holds store keys themselves. No file and no flag does: both are easily seen.
const STORE_KEYS: &str = "TELEGATE_STORE_KEYS";
const ADDRESS_FORM: &str = "write an IP address and a port, for example 127.0.0.1:7311";
const STORE_FORM: &str =
    "write embedded:PATH, redis://HOST:PORT/DB or rediss://USER:PASSWORD@HOST:PORT/DB";
const SYNC_FORM: &str = "write POOL=FOLDER, several with commas between them";
const DURATION_FORM: &str = "write a number and a unit, for example 500ms, 30s, 5m or 1h";

/// What a layer said of a field, and which layer it was.
struct Said {
    text: String,
    origin: String,
}

/// All layers that were laid so far: the later ones hide the earlier ones.
#[derive(Default)]
pub(super) struct Layers {
    said: BTreeMap<&'static str, Said>,
    faults: Vec<String>,
}

impl Layers {
    pub(super) fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    pub(super) fn lay_file(&mut self, text: &str, origin: &str) {
        match text.parse::<toml::Table>() {
            Ok(table) => self.lay_table("", &table, origin),
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start);
                let line = text[..start].matches('\n').count();
                self.fault(format!("{origin}, line {}: {}", line + 1, error.message()));
            }
        }
    }

    fn lay_table(&mut self, prefix: &str, table: &toml::Table, origin: &str) {
        for (key, value) in table {
            let name = format!("{prefix}{key}");
            let text = match value {
                toml::Value::Table(inner) if prefix.is_empty() => {
                    self.lay_table(&format!("{name}."), inner, origin);
                    continue;
                }
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(yes) => yes.to_string(),
                _ => {
                    self.fault(format!("{name} ({origin}): write a text, a number, true or false"));
                    continue;
                }
            };
            match FIELDS.into_iter().find(|field| *field == name) {
                Some(field) => self.lay(field, text, origin.to_owned()),
                None => self.fault(format!(
                    "{name} ({origin}): there is no such field; there are {}",
                    FIELDS.join(", ")
                )),
            }
        }
    }

    pub(super) fn lay_environment(&mut self, environment: &Environment) {
        for field in FIELDS {
            let name = variable(field);
            if let Some(text) = environment.get(&name) {
                self.lay(field, text.clone(), name);
            }
        }
    }

    pub(super) fn lay_flags(&mut self, flags: &Overrides) {
        let Overrides { listen, store, keys, tls_cert, tls_key, tls_client_ca, .. } = flags;
        let Overrides { durability, store_key_file, keep_unencrypted, .. } = flags;
        let Overrides { log, log_format, drain_timeout, sync, demo, .. } = flags;
        let Overrides { metrics_listen, .. } = flags;
        for (field, text) in [
            ("listen", listen),
            ("store", store),
            ("durability", durability),
            ("store_key_file", store_key_file),
            ("keep_unencrypted", keep_unencrypted),
            ("keys", keys),
            ("metrics.listen", metrics_listen),
            ("tls.cert", tls_cert),
            ("tls.key", tls_key),
            ("tls.client_ca", tls_client_ca),
            ("log", log),
            ("log_format", log_format),
            ("drain_timeout", drain_timeout),
            ("sync", sync),
            ("demo", demo),
        ] {
            if let Some(text) = text {
                let flag = format!("--{}", field.replace(['.', '_'], "-"));
                self.lay(field, text.clone(), flag);
            }
        }
    }

    fn lay(&mut self, field: &'static str, text: String, origin: String) {
        self.said.insert(field, Said { text, origin });
    }

    /// What was said of a field; nothing when it was left empty.
    fn get(&self, field: &str) -> Option<&Said> {
        self.said.get(field).filter(|said| !said.text.is_empty())
    }

    fn read<T>(
        &mut self,
        field: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let Some(said) = self.get(field) else { return default };
        match parse(&said.text) {
            Ok(value) => value,
            Err(cure) => {
                let shown = without_password(&said.text);
                let fault = format!("{field} = {shown:?} ({}): {cure}", said.origin);
                self.fault(fault);
                default
            }
        }
    }

    fn path(&mut self, field: &'static str, home: Option<&Path>) -> Option<PathBuf> {
        self.read(field, None, |text| Ok(Some(expand(text, home))))
    }

    /// Parses every field once.
    pub(super) fn parse(mut self, environment: &Environment) -> Result<Config, Faults> {
        let home = environment.get("HOME").filter(|home| !home.is_empty()).map(Path::new);
        let listen = self.read("listen", SocketAddr::from(([127, 0, 0, 1], 7311)), address);
        let store = self.store(environment, home);
        let sealing = self.sealing(environment, home);
        let keys = self.path("keys", home);
        let config = Config {
            listen,
            store,
            durability: self.read("durability", Durability::default(), durability),
            sealing,
            log: self.read("log", "info".to_owned(), log_filter),
            log_format: self.read("log_format", LogFormat::Auto, log_format),
            demo: self.read("demo", false, yes_or_no),
            metrics: self.read("metrics.listen", None, |text| address(text).map(Some)),
            server: ServerConfig {
                keys,
                syncs: self.read("sync", Vec::new(), |text| syncs(text, home)),
                tls: self.tls(home),
                limits: self.limits(),
                drain_timeout: self.duration(
                    "drain_timeout",
                    ServerConfig::default().drain_timeout,
                    Duration::ZERO..=Duration::from_secs(3600),
                ),
                ..ServerConfig::default()
            },
        };
        if config.server.keys.is_none() && !config.listen.ip().is_loopback() {
            self.fault(format!(
                "listen = \"{}\": without API keys only a loopback address is listened on; make \
                 keys with `telegate keys new` and name their file with --keys, or listen on \
                 127.0.0.1",
                config.listen
            ));
        }
        if self.faults.is_empty() { Ok(config) } else { Err(Faults(self.faults)) }
    }

    fn store(&mut self, environment: &Environment, home: Option<&Path>) -> StoreAddress {
        let data = environment.get("XDG_DATA_HOME").filter(|path| Path::new(path).is_absolute());
        let data = data.map(PathBuf::from).or_else(|| Some(home?.join(".local/share")));
        if data.is_none() && self.get("store").is_none() {
            self.fault(format!("store: there is no home directory to keep it in; {STORE_FORM}"));
        }
        let default = data.unwrap_or_default().join("telegate/telegate.db");
        self.read("store", StoreAddress::Embedded(default), |text| {
            if text.starts_with("redis://") || text.starts_with("rediss://") {
                return Ok(StoreAddress::Redis(text.to_owned()));
            }
            match text.strip_prefix("embedded:") {
                Some(path) if !path.is_empty() => Ok(StoreAddress::Embedded(expand(path, home))),
                _ => Err(STORE_FORM.to_owned()),
            }
        })
    }

    /// The store keys come from a file or from the environment. There they are the value itself, so
    /// no message repeats it.
    fn sealing(&mut self, environment: &Environment, home: Option<&Path>) -> Sealing {
        let named = self.get("store_key_file");
        if let Some(said) = named.filter(|said| said.text.contains(store_keys::PREFIX)) {
            self.fault(format!(
                "store_key_file ({}): that is a store key, not a file; write it into a file, or \
                 give it as {STORE_KEYS}",
                said.origin
            ));
            return Sealing::Without;
        }
        let file = self.path("store_key_file", home);
        let given = environment.get(STORE_KEYS).filter(|keys| !keys.trim().is_empty());
        let unencrypted = self.read("keep_unencrypted", false, yes_or_no);
        if unencrypted && (file.is_some() || given.is_some()) {
            self.fault(format!(
                "keep_unencrypted = true: there are store keys to encrypt with; leave it out, or \
                 drop store_key_file and {STORE_KEYS}"
            ));
        }
        match (file, given) {
            (Some(_), Some(_)) => self.fault(format!(
                "store_key_file and {STORE_KEYS} both give store keys; drop one of them"
            )),
            (Some(path), None) => return Sealing::File(path),
            (None, Some(text)) => match StoreKeys::parse(text, STORE_KEYS) {
                Ok(keys) => return Sealing::Keys(keys),
                Err(error) => self.fault(error.to_string()),
            },
            (None, None) if unencrypted => return Sealing::Unencrypted,
            (None, None) => {}
        }
        Sealing::Without
    }

    fn tls(&mut self, home: Option<&Path>) -> Option<Tls> {
        let cert = self.path("tls.cert", home);
        let key = self.path("tls.key", home);
        let client_ca = self.path("tls.client_ca", home);
        match (cert, key, client_ca) {
            (Some(cert), Some(key), client_ca) => Some(Tls { cert, key, client_ca }),
            (None, None, None) => None,
            (None, _, _) => {
                self.fault("tls.cert is missing; TLS needs both tls.cert and tls.key".to_owned());
                None
            }
            (_, None, _) => {
                self.fault("tls.key is missing; TLS needs both tls.cert and tls.key".to_owned());
                None
            }
        }
    }

    fn limits(&mut self) -> Limits {
        let Limits {
            max_message,
            max_streams,
            max_in_flight,
            call_timeout,
            keepalive_interval,
            keepalive_timeout,
        } = Limits::default();
        let (tick, hour) = (Duration::from_millis(100), Duration::from_secs(3600));
        Limits {
            // The least lets the largest opaque credential pass.
            max_message: self.read("limits.max_message", max_message, |text| {
                within(bytes(text)?, &(128 * 1024..=64 * 1024 * 1024))
            }),
            max_streams: self.read("limits.max_streams", max_streams, |text| {
                within(number(text)?, &(1..=1_000_000))
            }),
            max_in_flight: self.read("limits.max_in_flight", max_in_flight, |text| {
                within(number(text)?, &(1..=1_000_000))
            }),
            call_timeout: self.duration("limits.call_timeout", call_timeout, tick..=hour),
            keepalive_interval: self.duration(
                "limits.keepalive_interval",
                keepalive_interval,
                tick..=hour,
            ),
            keepalive_timeout: self.duration(
                "limits.keepalive_timeout",
                keepalive_timeout,
                tick..=hour,
            ),
        }
    }

    fn duration(
        &mut self,
        field: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.read(field, default, |text| {
            let value = duration(text)?;
            let (least, most) = (range.start().as_secs_f64(), range.end().as_secs_f64());
            let cure = || format!("it must be from {least}s to {most}s");
            range.contains(&value).then_some(value).ok_or_else(cure)
        })
    }
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "write true or false".to_owned())
}

/// Folders that pools are kept equal to.
fn syncs(text: &str, home: Option<&Path>) -> Result<Vec<SyncFolder>, String> {
    let mut syncs: Vec<SyncFolder> = Vec::new();
    for part in text.split(',') {
        let (pool, folder) = part.split_once('=').unwrap_or_default();
        let pool = PoolName::parse(pool.trim());
        let folder = folder.trim();
        let Some(pool) = pool.filter(|_| !folder.is_empty()) else {
            return Err(SYNC_FORM.to_owned());
        };
        if syncs.iter().any(|sync| sync.pool == pool) {
            return Err(format!("pool {pool} has two folders; name one that has both"));
        }
        syncs.push(SyncFolder { pool, folder: expand(folder, home) });
    }
    Ok(syncs)
}

fn expand(text: &str, home: Option<&Path>) -> PathBuf {
    match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| ADDRESS_FORM.to_owned())
}

fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("write a level such as info, or a filter such as info,telegate=debug".into()),
    }
}

fn durability(text: &str) -> Result<Durability, String> {
    match text {
        "machine" => Ok(Durability::Machine),
        "process" => Ok(Durability::Process),
        _ => Err("write machine or process".to_owned()),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write auto, text or json".to_owned()),
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "write a whole number".to_owned())
}

fn bytes(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.split_at(digits_of(text)) {
        (digits, "" | "B") => (digits, 1),
        (digits, "KiB") => (digits, 1024),
        (digits, "MiB") => (digits, 1024 * 1024),
        _ => return Err("write a number of bytes, or for example 256KiB or 1MiB".to_owned()),
    };
    number::<usize>(digits)?.checked_mul(unit).ok_or_else(|| "it is too large".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(digits_of(text));
    let value: u64 = digits.parse().map_err(|_| DURATION_FORM.to_owned())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(DURATION_FORM.to_owned()),
    };
    value.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| DURATION_FORM.to_owned())
}

fn digits_of(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
}

fn within<T: PartialOrd + Display>(value: T, range: &RangeInclusive<T>) -> Result<T, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(format!("it must be from {} to {}", range.start(), range.end()))
}
