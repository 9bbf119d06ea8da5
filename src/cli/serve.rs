//! `telegate serve`.

use std::{
    fmt::Write as _, fs, future::ready, io, net::SocketAddr, path::PathBuf, process, sync::Arc,
};

use telegate::{
    clock::Clock,
    config::{Config, Overrides, StoreAddress, environment},
    server::{self, Listeners},
    store::{
        self, Store,
        embedded::EmbeddedStore,
        redis::{Options, RedisStore},
        sealed::{SealedStore, Sealing},
    },
    telemetry,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    demo::Demo,
    failure::{Exit, Failure},
    print,
};

/// What a process that a signal ended exits with, by the shells' custom: 128 and SIGTERM.
const CUT_SHORT: i32 = 143;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen [default: 127.0.0.1:7311].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where pools are kept: embedded:PATH, redis://… or rediss://… [default: a file in the user's
    /// data directory; with --demo a temporary one].
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// What an acknowledged call survives when pools are in a file: the loss of power (machine), or
    /// the death of the broker alone (process), which is faster [default: machine].
    #[arg(long, value_name = "WHAT")]
    durability: Option<String>,
    /// The file with the store keys that encrypt credentials; `telegate keys new-store` makes them.
    /// Without one the broker takes no sessions in. `TELEGATE_STORE_KEYS` can hold them instead.
    #[arg(long, value_name = "FILE")]
    store_key_file: Option<String>,
    /// Keep credentials in the store as they are, without a key: for development only.
    #[arg(long)]
    keep_unencrypted: bool,
    /// The file with the API keys. Without one everybody may do everything, on loopback only.
    #[arg(long, value_name = "FILE")]
    keys: Option<String>,
    /// A configuration file; flags and `TELEGATE_…` variables win over it [env: `TELEGATE_CONFIG`].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where Prometheus finds the metrics, without TLS and keys [default: nowhere].
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<String>,
    /// The server's certificate chain, in PEM.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// The authority that must have signed the clients' certificates, in PEM.
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<String>,
    /// Which log lines are written to stderr, for example info or debug.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How they are written: auto, text or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// How long calls under way may last after the shutdown began [default: 30s].
    #[arg(long, value_name = "DURATION")]
    drain_timeout: Option<String>,
    /// Keep a pool equal to a folder of session files, when it changes and every hour; the pool is
    /// made if there is none. May be given several times. See `telegate sync --help`.
    #[arg(long, value_name = "POOL=FOLDER")]
    sync: Vec<String>,
    /// Make a pool with three made-up sessions and a worker's key, and print lines to paste.
    #[arg(long)]
    demo: bool,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let demo = args.demo;
    let flags = Overrides {
        listen: args.listen,
        store: args.store,
        durability: args.durability,
        store_key_file: args.store_key_file,
        keep_unencrypted: args.keep_unencrypted.then(|| "true".to_owned()),
        keys: args.keys,
        metrics_listen: args.metrics_listen,
        tls_cert: args.tls_cert,
        tls_key: args.tls_key,
        tls_client_ca: args.tls_client_ca,
        log: args.log,
        log_format: args.log_format,
        drain_timeout: args.drain_timeout,
        sync: (!args.sync.is_empty()).then(|| args.sync.join(",")),
        demo: demo.then(|| "true".to_owned()),
    };
    let wrong = |faults: telegate::config::Faults| Failure::new(Exit::Usage, faults.to_string());
    let environment = environment();
    let named = environment.get("TELEGATE_CONFIG").filter(|path| !path.is_empty());
    let file = args.config.or_else(|| named.map(PathBuf::from));
    let mut config = Config::load(file.as_deref(), &environment, &flags).map_err(wrong)?;
    telemetry::init(&config.log, config.log_format)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let shutdown = Shutdown::new()?;
    let demo = if config.demo {
        let default = Config::from_toml("", &environment).map_err(wrong)?;
        Some(Demo::prepare(&mut config, &default)?)
    } else {
        None
    };
    let (listener, address) = bind(config.listen, "--listen").await?;
    let metrics = match config.metrics {
        Some(address) => Some(bind(address, "--metrics-listen").await?),
        None => None,
    };
    let store = sealed(open(&config).await?, config.sealing).await?;
    let mut said = format!("listening on {address}");
    if let Some((_, address)) = &metrics {
        let _ = write!(said, "\nmetrics at http://{address}/metrics");
    }
    if let Some(demo) = &demo {
        demo.fill(store.as_ref()).await?;
        said += &demo.lines(address)?;
    }
    let listeners = Listeners { calls: listener, metrics: metrics.map(|(listener, _)| listener) };
    let serving = server::serve(
        listeners,
        Arc::clone(&store),
        config.server,
        shutdown.asked(demo.as_ref().and_then(Demo::temporary)),
    );
    tokio::pin!(serving);
    let served = tokio::select! {
        biased;
        // What stands in the way of serving shows before anything is said.
        served = &mut serving => served,
        () = ready(()) => {
            print::line(&said)?;
            serving.await
        }
    };
    store.close().await;
    Ok(served?)
}

async fn bind(address: SocketAddr, flag: &str) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind(address).await;
    listener.and_then(|listener| Ok((listener.local_addr()?, listener))).map_or_else(
        |error| Err(not_bound(address, flag, &error)),
        |(address, listener)| Ok((listener, address)),
    )
}

fn not_bound(address: SocketAddr, flag: &str, error: &io::Error) -> Failure {
    let (exit, cause, next) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            Exit::Unavailable,
            "another program listens there".to_owned(),
            "stop that program, or choose another port",
        ),
        io::ErrorKind::PermissionDenied => {
            (Exit::Permission, "this user may not".to_owned(), "choose a port above 1023")
        }
        io::ErrorKind::AddrNotAvailable => (
            Exit::Usage,
            "this machine does not have that address".to_owned(),
            "choose one of its addresses",
        ),
        _ => (Exit::Unavailable, error.to_string(), "choose another address"),
    };
    let next = format!("{next} with {flag}");
    Failure::new(exit, format!("{address} cannot be listened on: {cause}")).next(next)
}

async fn open(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    let address = &config.store;
    let opened: store::Result<Arc<dyn Store>> = match address {
        StoreAddress::Embedded(path) => {
            let clock = Clock::system();
            EmbeddedStore::open(path, clock, config.durability)
                .map(|store| Arc::new(store) as Arc<dyn Store>)
        }
        StoreAddress::Redis(url) => RedisStore::connect(Options::new(url))
            .await
            .map(|store| Arc::new(store) as Arc<dyn Store>),
    };
    opened.map_err(|error| {
        let failure = |exit| Failure::new(exit, format!("{address}: {error}"));
        match (&error, address) {
            // Its message says what to do.
            (store::Error::Broken(_), StoreAddress::Embedded(_)) => failure(Exit::Io),
            (_, StoreAddress::Embedded(_)) => failure(Exit::Io)
                .next("stop the broker that has it, or name a file that this user may write"),
            (store::Error::Broken(_), StoreAddress::Redis(_)) => failure(Exit::Unavailable)
                .next("mend that in Redis, or name another store with --store"),
            (_, StoreAddress::Redis(_)) => {
                failure(Exit::Unavailable).next("start it, or name another store with --store")
            }
        }
    })
}

/// Puts the sealing around the store.
async fn sealed(store: Arc<dyn Store>, sealing: Sealing) -> Result<Arc<dyn Store>, Failure> {
    match &sealing {
        Sealing::File(_) | Sealing::Keys(_) => {}
        Sealing::Without => tracing::warn!(
            "there is no store key, so no sessions are taken in; make one with `telegate keys \
             new-store --store-key-file FILE`, and serve with --store-key-file FILE"
        ),
        Sealing::Unencrypted => {
            tracing::warn!("credentials are kept unencrypted: who reads the store has them");
        }
    }
    match SealedStore::new(Arc::clone(&store), sealing) {
        Ok(sealed) => Ok(Arc::new(sealed)),
        Err(error) => {
            store.close().await;
            Err(error.into())
        }
    }
}

/// The signals that end a broker: the first lets it finish, the second does not.
struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    fn new() -> Result<Self, Failure> {
        let failed = |error| Failure::new(Exit::Internal, format!("no signals: {error}"));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    /// Waits for the first, and leaves somebody to wait for the second, who takes the folder of a
    /// demo away.
    async fn asked(mut self, folder: Option<PathBuf>) {
        self.one().await;
        tokio::spawn(async move {
            self.one().await;
            if let Some(folder) = folder {
                let _ = fs::remove_dir_all(folder);
            }
            process::exit(CUT_SHORT);
        });
    }

    async fn one(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl From<server::Error> for Failure {
    fn from(error: server::Error) -> Self {
        use server::Error;
        let exit = match &error {
            Error::Keys(_) | Error::NoKeys(_) | Error::Tls(_) => Exit::Usage,
            Error::TlsFile { .. } => Exit::Io,
            Error::Transport(_) => Exit::Unavailable,
            Error::Reflection(_) => Exit::Internal,
        };
        Self::new(exit, error.to_string())
    }
}
