//! The same scenarios for the bare rules and for both engines.
//!
//! `cargo bench --bench scenarios` measures; `cargo test --bench scenarios` runs each scenario once
//! on a small pool, so that none of them rots.

#[path = "../tests/it/harness/process.rs"]
#[expect(dead_code, reason = "the tests' own; not all of it is of use here")]
mod process;
#[path = "../tests/it/harness/rulebook.rs"]
mod rulebook;

use std::{
    env,
    hint::black_box,
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use futures_util::{StreamExt as _, stream};
use telegate::{
    clock::Clock,
    pool::{
        Ask, Credential, Fingerprint, Holder, KeyId, LeaseId, LeaseSecret, Mandate, NewSession,
        Policy, PoolName, Report, Selector, SessionName, Span, Time, judge,
    },
    store::{
        Store,
        embedded::{Durability, EmbeddedStore},
        redis::{Options, RedisStore},
    },
};
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};

use crate::{process::Guarded, rulebook::Rulebook};

/// The pool in which a session is always free, and the one in which none ever is.
const POOL: &str = "bench";
const BUSY: &str = "busy";
/// The key that leases everything.
const KEY: &str = "k-bench";
/// How many sessions are added at once.
const ADDED_AT_ONCE: usize = 128;

/// An engine with its pools filled.
struct Scene {
    runtime: Runtime,
    store: Arc<dyn Store>,
    secrets: AtomicU64,
    _place: Place,
}

/// What must live as long as the engine.
enum Place {
    Nowhere,
    File { _dir: TempDir },
    Redis { _server: Guarded },
}

fn main() {
    // Cargo says `--bench` when it is to be measured, and nothing when it is a test.
    let measures = env::args().any(|arg| arg == "--bench");
    let sizes: &[usize] = if measures { &[1_000, 100_000] } else { &[50] };
    let mut criterion = Criterion::default().configure_from_args();
    verdicts(&mut criterion);
    for size in sizes {
        for (name, opened) in [
            ("rules", Some(rules())),
            ("embedded-process", Some(embedded(Durability::Process))),
            ("embedded-machine", Some(embedded(Durability::Machine))),
            ("redis", redis()),
        ] {
            let Some((runtime, store, place)) = opened else { continue };
            let scene = Scene { runtime, store, secrets: AtomicU64::new(1), _place: place };
            scene.runtime.block_on(scene.fill(*size));
            let mut group = criterion.benchmark_group(format!("{name}/{size}"));
            group.sample_size(20).measurement_time(Duration::from_secs(3));
            scenarios(&mut group, &scene);
            group.finish();
            scene.runtime.block_on(scene.store.close());
        }
    }
    criterion.final_summary();
}

fn scenarios(group: &mut BenchmarkGroup<'_, WallTime>, scene: &Scene) {
    // The label `rare` is that of one session, `free` that of all, and `gone` that of none.
    for (name, selector) in [
        ("acquire and release", ""),
        ("acquire one in all by value, release", "rare=yes"),
        ("acquire one in all by key, release", "rare"),
        ("acquire any but a label, release", "!gone,free=yes"),
    ] {
        let ask = Selector::parse(selector).expect("a selector");
        group.bench_function(name, |bencher| {
            bencher.iter(|| scene.runtime.block_on(scene.pair(&ask)));
        });
    }
    group.bench_function("acquire where none is free", |bencher| {
        let ask = scene.ask(&Selector::default());
        let busy = pool(BUSY);
        bencher.iter(|| scene.runtime.block_on(scene.store.acquire(&busy, ask.clone())).is_err());
    });
    group.bench_function("renew", |bencher| {
        let lease = scene.runtime.block_on(scene.acquire(&Selector::default()));
        let key = KeyId::new(KEY);
        let renew = || scene.runtime.block_on(scene.store.renew(&lease, &key, None));
        bencher.iter(|| renew().expect("the lease lives"));
        scene.runtime.block_on(scene.release(&lease));
    });
    group.bench_function("status", |bencher| {
        let name = pool(POOL);
        bencher.iter(|| scene.runtime.block_on(scene.store.status(&name)).expect("a status"));
    });
}

/// What an error means: no store is asked.
fn verdicts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verdict");
    let now = Time(1_750_000_000_000);
    for (name, code, error) in [
        ("the first rule", 420, "FLOOD_WAIT_17"),
        ("a name that no rule knows", 400, "SOMETHING_NEW_INVALID"),
    ] {
        let report = Report { code, message: error.to_owned(), ..Report::default() };
        group.bench_function(name, |bencher| bencher.iter(|| judge(black_box(&report), now)));
    }
    group.finish();
}

impl Scene {
    async fn fill(&self, size: usize) {
        let on = Mandate { by: KeyId::new("op"), detail: String::new() };
        for name in [POOL, BUSY] {
            let policy = Policy { default_ttl: Span::hours(1), ..Policy::default() };
            self.store.create_pool(&pool(name), policy, &on).await.expect("the pool is new");
        }
        let added = stream::iter(0..size).map(|number| async move {
            let session = session(number, number == size / 2);
            self.store.add(&pool(POOL), session).await.expect("the session is new");
        });
        added.buffer_unordered(ADDED_AT_ONCE).collect::<()>().await;
        self.store.add(&pool(BUSY), session(size, false)).await.expect("the session is new");
        let ask = self.ask(&Selector::default());
        self.store.acquire(&pool(BUSY), ask).await.expect("it is free");
    }

    fn ask(&self, selector: &Selector) -> Ask {
        let secret = u128::from(self.secrets.fetch_add(1, Ordering::Relaxed));
        Ask {
            holder: Holder { key: KeyId::new(KEY), purpose: "bench".to_owned() },
            ttl: None,
            selector: selector.clone(),
            session: None,
            methods: Vec::new(),
            peer: None,
            probe: false,
            request: None,
            secret: LeaseSecret::new(secret.to_be_bytes()),
            retried_for: None,
        }
    }

    async fn pair(&self, selector: &Selector) -> LeaseId {
        let lease = self.acquire(selector).await;
        self.release(&lease).await;
        lease
    }

    async fn acquire(&self, selector: &Selector) -> LeaseId {
        let pool = pool(POOL);
        let grant = self.store.acquire(&pool, self.ask(selector)).await.expect("one is free");
        LeaseId { pool, session: grant.record.name, secret: grant.lease.secret }
    }

    async fn release(&self, lease: &LeaseId) {
        let key = KeyId::new(KEY);
        self.store.release(lease, &key, Span::ZERO, None).await.expect("the lease lives");
    }
}

fn pool(name: &str) -> PoolName {
    PoolName::parse(name).expect("a name")
}

fn session(number: usize, rare: bool) -> NewSession {
    let mut labels = vec![("country".to_owned(), "de".to_owned())];
    labels.push(("free".to_owned(), "yes".to_owned()));
    if rare {
        labels.push(("rare".to_owned(), "yes".to_owned()));
    }
    NewSession {
        name: SessionName::parse(&format!("s{number:09}")).expect("a name"),
        labels: labels.into_iter().collect(),
        fingerprint: Fingerprint::new(&format!("{number:064x}")),
        account_id: None,
        proxy: None,
        device: None,
        credential: Credential(vec![7; 271]),
        by: KeyId::new(KEY),
    }
}

fn one_thread() -> Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn rules() -> (Runtime, Arc<dyn Store>, Place) {
    (one_thread(), Arc::new(Rulebook::new(Clock::system())), Place::Nowhere)
}

fn embedded(durability: Durability) -> (Runtime, Arc<dyn Store>, Place) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("telegate.db");
    let store = EmbeddedStore::open(&path, Clock::system(), durability).expect("a new store");
    (one_thread(), Arc::new(store), Place::File { _dir: dir })
}

/// Nothing when the machine has no redis-server.
fn redis() -> Option<(Runtime, Arc<dyn Store>, Place)> {
    let dir = env::temp_dir();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = free.local_addr().expect("a bound port").port();
    drop(free);
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let nowhere = std::path::Path::new("/nonexistent");
    let Ok(mut server) = Guarded::start(&mut command, nowhere) else {
        eprintln!("skipped: redis-server is missing; see `make tools`");
        return None;
    };
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(!server.has_ended(), "redis-server does not start");
        thread::sleep(Duration::from_millis(5));
    }
    let runtime = one_thread();
    let options = Options::new(&format!("redis://127.0.0.1:{port}"));
    let store = runtime.block_on(RedisStore::connect(options)).expect("a new Redis");
    Some((runtime, Arc::new(store), Place::Redis { _server: server }))
}
