//! `telegate serve --demo`: a pool of made-up sessions, and lines to paste.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use telegate::{
    clock::Clock,
    config::{Config, StoreAddress, program},
    credential::{AUTH_KEY_LEN, Credential, Telegram},
    keys::{Hash, KeyFile, Role},
    pool::{KeyId, Mandate, NewSession, Policy, PoolName, Refusal, SessionName, Span},
    store::{self, Store, sealed::Sealing},
};
use tempfile::TempDir;

use super::failure::{Exit, Failure};

const POOL: &str = "demo";
/// The sessions: name, country, data centre.
const SESSIONS: [(&str, &str, u8); 3] = [("alice", "de", 2), ("bob", "fr", 4), ("carol", "it", 1)];

/// What a demo needs besides the broker.
pub(crate) struct Demo {
    key: String,
    key_file: PathBuf,
    /// Gone with the demo.
    folder: Option<TempDir>,
}

impl Demo {
    /// The folder that goes with the demo, if it has one.
    pub(crate) fn temporary(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.path().to_owned())
    }

    /// Chooses a temporary store unless one was named, and makes a worker's key beside it.
    pub(crate) fn prepare(config: &mut Config, default: &Config) -> Result<Self, Failure> {
        if config.server.tls.is_some() {
            return Err(Failure::new(Exit::Usage, "the demo serves without TLS")
                .next("leave out --demo, or the certificate"));
        }
        if config.server.keys.is_some() {
            return Err(Failure::new(Exit::Usage, "the demo makes a key file of its own")
                .next("leave out --demo, or --keys and TELEGATE_KEYS"));
        }
        let named = config.store != default.store;
        let (folder, place) = match &config.store {
            StoreAddress::Embedded(path) if named => {
                let place = path.parent().map(Path::to_owned).unwrap_or_default();
                fs::create_dir_all(&place).map_err(|error| cannot_write(&place, &error))?;
                (None, place)
            }
            _ => {
                let folder = tempfile::Builder::new().prefix("telegate-demo-").tempdir();
                let folder = folder.map_err(|error| cannot_write(Path::new("a folder"), &error))?;
                let place = folder.path().to_owned();
                (Some(folder), place)
            }
        };
        if !named {
            config.store = StoreAddress::Embedded(place.join("telegate.db"));
        }
        if config.sealing == Sealing::Without {
            config.sealing = Sealing::Unencrypted;
        }
        let keys = place.join("demo.keys.toml");
        let key_file = std::path::absolute(place.join("demo.key"))
            .map_err(|error| cannot_write(&place, &error))?;
        let key = worker_key(&keys, &key_file)?;
        config.server.keys = Some(keys);
        Ok(Self { key, key_file, folder })
    }

    /// Makes the pool and its sessions, where they are missing.
    pub(crate) async fn fill(&self, store: &dyn Store) -> Result<(), Failure> {
        let Some(pool) = PoolName::parse(POOL) else { return Ok(()) };
        // Nobody can still be connected with a made-up session, so none drains.
        let policy = Policy { drain: Span::ZERO, ..Policy::default() };
        let on = Mandate { by: KeyId::new("demo"), detail: String::new() };
        missing(store.create_pool(&pool, policy, &on).await.map(drop))?;
        for (name, country, dc_id) in SESSIONS {
            let Some(name) = SessionName::parse(name) else { continue };
            missing(store.add(&pool, made_up(name, country, dc_id)?).await.map(drop))?;
        }
        Ok(())
    }

    /// The lines to paste. Each works by itself, also again.
    pub(crate) fn lines(&self, address: SocketAddr) -> Result<String, Failure> {
        let program = program()
            .map_err(|error| Failure::new(Exit::Internal, format!("no program: {error}")))?;
        let (program, file) = (quoted(&program), quoted(&self.key_file));
        let to = reachable(address);
        let at = if to == default_address() { String::new() } else { format!(" --address {to}") };
        let telegate = |words: &str| format!("{program} {words} --key-file {file}{at}");
        let grpcurl = |method: &str, json: &str| {
            let header = format!("-H \"x-api-key: $(cat {file})\"");
            format!("grpcurl -plaintext {header} -d {json} {to} telegate.v1.SessionPool/{method}")
        };
        let first = format!("acquire --pool {POOL} --ttl 5m --request-id demo-1");
        let lease = format!("\"$({})\"", telegate(&format!("{first} --only lease")));
        let mut text = format!(
            "\n\nThe pool {POOL} has three made-up sessions: alice, bob and carol. A worker's key \
             is in {file}:\n\n  {}\n\nPaste these lines into another terminal, one by one.\n",
            self.key
        );
        let mut say = |about: &str, lines: &[String]| {
            let _ = write!(text, "\n  # {about}\n");
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
        };
        say(
            "Three leases. With a request id, asking again gets the same lease.",
            &[1, 2, 3].map(|n| {
                telegate(&format!("acquire --pool {POOL} --ttl 5m --request-id demo-{n}"))
            }),
        );
        say(
            "All are lent: POOL_BUSY, and when to try again. The exit code is 75.",
            &[telegate(&format!("acquire --pool {POOL}"))],
        );
        say("How the pool stands.", &[telegate(&format!("status {POOL}"))]);
        say("The first lease is given back.", &[telegate(&format!("release {lease}"))]);
        let ask = format!(r#"'{{"pool": "{POOL}", "ttl": "300s", "request_id": "demo-1"}}'"#);
        let pool = format!(r#"'{{"pool": "{POOL}"}}'"#);
        let lease = format!(r#"'{{"lease_id": "'{lease}'"}}'"#);
        say(
            "The same with grpcurl: a lease, POOL_BUSY with its details, status, release.",
            &[
                grpcurl("Acquire", &ask),
                grpcurl("Acquire", &pool),
                grpcurl("GetPoolStatus", &pool),
                grpcurl("Release", &lease),
            ],
        );
        Ok(text)
    }
}

/// The key of an earlier demo, while the key file knows it; else a new one.
fn worker_key(keys: &Path, key_file: &Path) -> Result<String, Failure> {
    let mut file = KeyFile::load_or_empty(keys)?;
    if let Ok(key) = fs::read_to_string(key_file)
        && file.entries().iter().any(|entry| entry.hash == Hash::of(key.trim()))
    {
        return Ok(key.trim().to_owned());
    }
    let now = Clock::system().now().0 / 1000;
    let (_, secret) = file.generate("demo", vec![Role::Worker], vec![POOL.to_owned()], now)?;
    file.save(keys)?;
    let key = secret.reveal().to_owned();
    let mut options = OpenOptions::new();
    let written = options.write(true).create(true).truncate(true).mode(0o600).open(key_file);
    written
        .and_then(|mut file| writeln!(file, "{key}"))
        .map_err(|error| cannot_write(key_file, &error))?;
    Ok(key)
}

fn made_up(name: SessionName, country: &str, dc_id: u8) -> Result<NewSession, Failure> {
    let mut auth_key = vec![0; AUTH_KEY_LEN];
    getrandom::fill(&mut auth_key).map_err(|error| {
        Failure::new(Exit::Internal, format!("the system gives no random numbers: {error}"))
    })?;
    let credential = Credential::Telegram(Telegram {
        dc_id,
        test: false,
        auth_key,
        address: None,
        user_id: None,
        is_bot: None,
        password: None,
        api_id: None,
    });
    Ok(NewSession {
        name,
        labels: [("country".to_owned(), country.to_owned())].into(),
        fingerprint: credential.fingerprint(),
        account_id: None,
        proxy: None,
        device: None,
        credential: credential.seal(),
        by: KeyId::new("demo"),
    })
}

/// What is there from an earlier demo is not missing.
fn missing(made: store::Result<()>) -> Result<(), Failure> {
    match made {
        Err(store::Error::Refused(refusal))
            if matches!(*refusal, Refusal::PoolExists { .. } | Refusal::SessionExists { .. }) =>
        {
            Ok(())
        }
        other => other.map_err(|error| {
            Failure::new(Exit::Unavailable, format!("the demo pool cannot be made: {error}"))
        }),
    }
}

/// Where a program on this machine finds a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Where the command looks for a broker by itself.
fn default_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 7311).into()
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Io, format!("{} cannot be written: {error}", path.display()))
        .next("name a store in a folder that this user may write, with --store embedded:PATH")
}
