//! A wire between broker and Redis that loses replies, so that a script has run and nobody hears
//! of it, or holds requests back, so that a script would run when nobody waits for it any more.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};

/// A proxy before a Redis.
pub(super) struct Proxy {
    port: u16,
    deeds: Arc<Deeds>,
    _wires: JoinSet<()>,
}

/// What the proxy does to scripts.
#[derive(Default)]
struct Deeds {
    /// The how manieth reply from now it loses; zero when none.
    loses: AtomicU32,
    /// Whether it holds the next request back.
    holds: AtomicBool,
    delivers: Notify,
    delivered: Notify,
    /// Whether it breaks down with the next reply that it loses.
    breaks: AtomicBool,
    /// Whether it lets nobody through.
    broken: AtomicBool,
}

impl Proxy {
    /// Before the Redis at an address.
    pub(super) async fn start(redis: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let (deeds, redis) = (Arc::new(Deeds::default()), redis.to_owned());
        let mut wires = JoinSet::new();
        let told = Arc::clone(&deeds);
        wires.spawn(async move {
            let mut wires = JoinSet::new();
            while let Ok((broker, _)) = listener.accept().await {
                if told.broken.load(Ordering::SeqCst) {
                    continue;
                }
                wires.spawn(wire(broker, redis.clone(), Arc::clone(&told)));
            }
        });
        Self { port, deeds, _wires: wires }
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Loses the reply to the next script, or to one after it, and its connection with it.
    pub(super) fn lose_reply(&self, nth: u32) {
        let before = self.deeds.loses.swap(nth, Ordering::SeqCst);
        assert_eq!(before, 0, "a reply that was to be lost was never sent");
    }

    /// Loses the reply to the next script, and lets nobody through from then on.
    pub(super) fn break_with_next_reply(&self) {
        self.deeds.breaks.store(true, Ordering::SeqCst);
        self.lose_reply(1);
    }

    /// Lets everybody through again.
    pub(super) fn repair(&self) {
        self.deeds.broken.store(false, Ordering::SeqCst);
    }

    /// Holds the request for the next script back.
    pub(super) fn hold_next_request(&self) {
        self.deeds.holds.store(true, Ordering::SeqCst);
    }

    /// Whether a request is held back.
    pub(super) fn holds_a_request(&self) -> bool {
        !self.deeds.holds.load(Ordering::SeqCst)
    }

    /// Delivers what is held back, and waits for what becomes of it.
    pub(super) async fn deliver(&self) {
        assert!(self.holds_a_request(), "nothing was held back");
        self.deeds.delivers.notify_one();
        self.deeds.delivered.notified().await;
    }
}

async fn wire(mut broker: TcpStream, redis: String, deeds: Arc<Deeds>) {
    let Ok(mut redis) = TcpStream::connect(redis).await else { return };
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut is_script = false;
    loop {
        tokio::select! {
            read = broker.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                let request = &asked[..read];
                is_script = request.windows(7).any(|word| word == b"EVALSHA");
                let held = is_script && deeds.holds.swap(false, Ordering::SeqCst);
                if held {
                    deeds.delivers.notified().await;
                }
                let sent = redis.write_all(request).await;
                if held {
                    // Either the answer, or that the server has dropped the connection.
                    let _ = redis.read(&mut answered).await;
                    deeds.delivered.notify_one();
                }
                if held || sent.is_err() {
                    return;
                }
            }
            read = redis.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                let lost = is_script && deeds.loses_this();
                if lost || broker.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Deeds {
    fn loses_this(&self) -> bool {
        let less = |nth: u32| nth.checked_sub(1);
        let loses = self.loses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) == Ok(1);
        if loses && self.breaks.swap(false, Ordering::SeqCst) {
            self.broken.store(true, Ordering::SeqCst);
        }
        loses
    }
}
