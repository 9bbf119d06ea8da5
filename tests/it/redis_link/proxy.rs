//! A wire between broker and Redis that loses replies: the script has run, nobody hears of it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A proxy before a Redis.
pub(super) struct Proxy {
    port: u16,
    losses: Arc<AtomicU32>,
    _wires: JoinSet<()>,
}

impl Proxy {
    /// Before the Redis at a port.
    pub(super) async fn start(redis: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let losses = Arc::new(AtomicU32::new(0));
        let mut wires = JoinSet::new();
        let told = Arc::clone(&losses);
        wires.spawn(async move {
            let mut wires = JoinSet::new();
            while let Ok((broker, _)) = listener.accept().await {
                wires.spawn(wire(broker, redis.clone(), Arc::clone(&told)));
            }
        });
        Self { port, losses, _wires: wires }
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Loses the reply to the next script, and its connection with it.
    pub(super) fn lose_next_reply(&self) {
        self.losses.store(1, Ordering::SeqCst);
    }

    /// Whether all replies that were to be lost have been.
    pub(super) fn has_lost_it(&self) -> bool {
        self.losses.load(Ordering::SeqCst) == 0
    }
}

async fn wire(mut broker: TcpStream, redis: String, losses: Arc<AtomicU32>) {
    let Ok(mut redis) = TcpStream::connect(redis).await else { return };
    let (mut asked, mut answered) = ([0; 65_536], [0; 65_536]);
    let mut is_script = false;
    loop {
        tokio::select! {
            read = broker.read(&mut asked) => {
                let Ok(1..) = read else { return };
                let read = read.unwrap_or(0);
                is_script = asked[..read].windows(7).any(|word| word == b"EVALSHA");
                if redis.write_all(&asked[..read]).await.is_err() {
                    return;
                }
            }
            read = redis.read(&mut answered) => {
                let Ok(1..) = read else { return };
                let read = read.unwrap_or(0);
                let lost = is_script
                    && losses.compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
                if lost || broker.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
