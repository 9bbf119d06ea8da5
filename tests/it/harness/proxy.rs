//! A wire that misbehaves: it cuts connections, closes one direction of them, is slow, or lets
//! nothing through while both ends believe that they are connected.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// A proxy before a server.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
    _wires: JoinSet<()>,
}

struct State {
    /// Where the server listens now.
    server: Mutex<String>,
    mood: watch::Sender<Mood>,
    blows: watch::Sender<(u64, Blow)>,
}

/// How a proxy passes things on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// At once.
    Good,
    /// After a while.
    Slow(Duration),
    /// Not at all, and without telling anybody.
    Deaf,
}

/// What happens to the connections that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// They are gone.
    Cut,
    /// One direction of them ends.
    HalfClose(Direction),
}

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

impl Proxy {
    /// Before the server at an address.
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let state = Arc::new(State {
            server: Mutex::new(server.to_owned()),
            mood: watch::Sender::new(Mood::Good),
            blows: watch::Sender::new((0, Blow::Cut)),
        });
        let mut wires = JoinSet::new();
        let told = Arc::clone(&state);
        wires.spawn(async move {
            let mut wires = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while wires.try_join_next().is_some() {}
                wires.spawn(wire(client, Arc::clone(&told)));
            }
        });
        Self { port, state, _wires: wires }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The server listens elsewhere now.
    pub(crate) fn lead_to(&self, server: &str) {
        server.clone_into(&mut self.state.server.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Passes things on like this from now on.
    pub(crate) fn be(&self, mood: Mood) {
        self.state.mood.send_replace(mood);
    }

    /// Does this to the connections that there are.
    pub(crate) fn strike(&self, blow: Blow) {
        self.state.blows.send_modify(|(count, last)| (*count, *last) = (*count + 1, blow));
    }
}

async fn wire(client: TcpStream, state: Arc<State>) {
    let server = state.server.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let blows = [state.blows.subscribe(), state.blows.subscribe()];
    let Ok(server) = TcpStream::connect(server).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let [one, other] = blows;
    let to_server = pump(from_client, to_server, Direction::ToServer, &state, one);
    let to_client = pump(from_server, to_client, Direction::ToClient, &state, other);
    // Both ends are let go when one direction was cut, or both have ended.
    let _ = tokio::try_join!(to_server, to_client);
}

/// That a connection was cut.
struct Cut;

/// Passes one direction on, until it ends by itself or by a blow.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    state: &State,
    mut blows: watch::Receiver<(u64, Blow)>,
) -> Result<(), Cut> {
    let mut bytes = vec![0; 65_536];
    let mut moods = state.mood.subscribe();
    loop {
        let passed = async {
            let read = from.read(&mut bytes).await?;
            let mood = *moods.borrow_and_update();
            if let Mood::Slow(by) = mood {
                tokio::time::sleep(by).await;
            }
            // Whoever is deaf passes it on later.
            let _ = moods.wait_for(|mood| *mood != Mood::Deaf).await.map(drop);
            match read {
                0 => to.shutdown().await?,
                _ => to.write_all(&bytes[..read]).await?,
            }
            std::io::Result::Ok(read)
        };
        tokio::select! {
            passed = passed => match passed {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(_) => return Err(Cut),
            },
            struck = struck(&mut blows, direction) => {
                struck?;
                let _ = to.shutdown().await;
                // Nothing more goes this way, until the connection is cut.
                loop {
                    blows.changed().await.map_err(|_| Cut)?;
                    if blows.borrow_and_update().1 == Blow::Cut {
                        return Err(Cut);
                    }
                }
            }
        }
    }
}

/// Waits for a blow that ends a direction.
async fn struck(blows: &mut watch::Receiver<(u64, Blow)>, direction: Direction) -> Result<(), Cut> {
    loop {
        blows.changed().await.map_err(|_| Cut)?;
        match blows.borrow_and_update().1 {
            Blow::Cut => return Err(Cut),
            Blow::HalfClose(one) if one == direction => return Ok(()),
            Blow::HalfClose(_) => {}
        }
    }
}
