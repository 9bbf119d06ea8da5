//! What a broker hears from Redis without asking: to whom sessions were handed, what is due, and
//! which leases were ended against their holders' will.
//!
//! It listens on a connection of its own, because a server drops one that listens as soon as few
//! megabytes of answers wait in it, and calls must not go down with it. What is told while the ear
//! is away is lost, so all who listen are told that much when it is back. Each broker has a channel
//! of its own beside the common one, so that the scripts see whether it still lives: they publish,
//! and count who heard it.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, PushInfo, PushKind, Value,
    aio::{MultiplexedConnection, SendError},
};
use serde::{Deserialize as _, de::IntoDeserializer as _};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{options::Options, wire::unusable};
use crate::{
    pool::{EndCause, Ending, PoolName, SessionName, Span, Ticket},
    store::{Crier, Error, Notice, Notices, Result},
};

/// For how long connecting and subscribing may take.
const DIAL: Duration = Duration::from_secs(1);
/// The first and the longest pause between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// The ear of one broker. When it is dropped, it hears nothing any more.
pub(super) struct Ear {
    /// Where this broker alone is told.
    channel: String,
    crier: Crier,
    anew: Arc<Notify>,
    closing: CancellationToken,
}

/// Keeps a connection that listens.
struct Listener {
    client: Client,
    /// Where this broker alone is told.
    own: String,
    /// Where all brokers are told.
    common: String,
    crier: Crier,
    anew: Arc<Notify>,
}

/// A connection that listens.
struct Line {
    _connection: MultiplexedConnection,
    lost: CancellationToken,
}

impl Ear {
    /// Listens from now on.
    pub(super) async fn open(options: &Options) -> Result<Self> {
        let mut own = [0; 8];
        // Without randomness no lease could be granted either; the channel then is the process's.
        if getrandom::fill(&mut own).is_err() {
            own = u64::from(std::process::id()).to_be_bytes();
        }
        let channel = format!("{}:broker:{:016x}", options.prefix, u64::from_be_bytes(own));
        let client = Client::open(options.connection_info()?)
            .map_err(|error| Error::Broken(format!("the Redis URL is not usable: {error}")))?;
        let (crier, anew) = (Crier::default(), Arc::new(Notify::new()));
        let closing = CancellationToken::new();
        let listener = Listener {
            client,
            own: channel.clone(),
            common: format!("{}:notices", options.prefix),
            crier: crier.clone(),
            anew: Arc::clone(&anew),
        };
        let line = listener.dial().await?;
        tokio::spawn(closing.clone().run_until_cancelled_owned(listener.run(line)));
        Ok(Self { channel, crier, anew, closing })
    }

    /// The channel on which this broker alone is told.
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn listen(&self) -> Notices {
        self.crier.listen()
    }

    /// Connects anew: the calls have, and what they reach now may be another server.
    pub(super) fn anew(&self) {
        self.anew.notify_one();
    }

    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.close();
    }
}

impl Listener {
    async fn run(self, first: Line) {
        let mut line = first;
        loop {
            tokio::select! {
                () = line.lost.cancelled() => {}
                () = self.anew.notified() => {}
            }
            // What still hears goes on hearing meanwhile: those who wait at a broker that nobody
            // hears lose their places.
            line = self.redial().await;
            self.crier.cry(Notice::Missed);
        }
    }

    async fn redial(&self) -> Line {
        let (mut pause, mut is_told) = (BACKOFF.0, false);
        loop {
            match self.dial().await {
                Ok(line) => return line,
                // The link tells of a server that is gone; this is not seen there.
                Err(Error::Broken(why)) if !is_told => {
                    tracing::error!(why, "Redis does not let this broker listen");
                    is_told = true;
                }
                Err(_) => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    async fn dial(&self) -> Result<Line> {
        let late = |_elapsed| Error::Unavailable("Redis does not answer".to_owned());
        timeout(DIAL, self.dial_unbounded()).await.map_err(late)?
    }

    async fn dial_unbounded(&self) -> Result<Line> {
        let lost = CancellationToken::new();
        let (told, crier, own) = (lost.clone(), self.crier.clone(), self.own.clone());
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                match push.kind {
                    PushKind::Disconnection => told.cancel(),
                    PushKind::Message => {
                        if let Some(notice) = heard(&own, &push.data) {
                            crier.cry(notice);
                        }
                    }
                    _ => {}
                }
                Ok::<(), SendError>(())
            });
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connected.map_err(|error| unusable(&error))?;
        let listens = connection.subscribe(&[&self.own, &self.common]).await;
        listens.map_err(|error| unusable(&error))?;
        // The scripts publish as the same user: what it may not do is better known now.
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&self.own).arg("");
        let published = publish.query_async::<u64>(&mut connection).await;
        published.map_err(|error| unusable(&error))?;
        Ok(Line { _connection: connection, lost })
    }
}

/// What a push of the server tells: the channel and the message. What is not understood is of a
/// later version, and passed over.
fn heard(own: &str, push: &[Value]) -> Option<Notice> {
    let [Value::BulkString(channel), Value::BulkString(message)] = push else { return None };
    let message = std::str::from_utf8(message).ok()?;
    if channel == own.as_bytes() {
        return message.parse().ok().map(|it| Notice::Handed(Ticket(it)));
    }
    read(message)
}

/// Reads `due pool milliseconds` or `ended pool session epoch cause` (`lua/tell.lua`).
fn read(message: &str) -> Option<Notice> {
    let mut words = message.split(' ');
    match (words.next()?, PoolName::parse(words.next()?)?) {
        ("due", pool) => Some(Notice::Due { pool, after: Span(words.next()?.parse().ok()?) }),
        ("ended", pool) => {
            let session = SessionName::parse(words.next()?)?;
            let epoch = words.next()?.parse().ok()?;
            let cause: serde::de::value::StrDeserializer<serde::de::value::Error> =
                words.next()?.into_deserializer();
            let cause = EndCause::deserialize(cause).ok()?;
            Some(Notice::LeaseEnded(Ending { pool, session, epoch, cause }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_scripts_tell_is_read_and_anything_else_is_not() {
        let Some(Notice::LeaseEnded(ending)) = read("ended demo +49 17 Invalidated") else {
            panic!("not read")
        };
        assert_eq!((ending.pool.as_str(), ending.session.as_str()), ("demo", "+49"));
        assert_eq!((ending.epoch, ending.cause), (17, EndCause::Invalidated));
        let pool = PoolName::parse("demo").unwrap();
        assert_eq!(read("due demo 250"), Some(Notice::Due { pool, after: Span(250) }));
        for strange in ["", "ended", "ended demo a 17", "ended demo a x Revoked", "due demo x"] {
            assert_eq!(read(strange), None, "{strange}");
        }
        assert_eq!(read("ended demo a 1 Lost"), None);
    }

    #[test]
    fn a_ticket_is_heard_on_the_own_channel_only() {
        let message = |channel: &str, text: &str| {
            [channel, text].map(|text| Value::BulkString(text.as_bytes().to_vec()))
        };
        let handed = Some(Notice::Handed(Ticket(17)));
        assert_eq!(heard("t:broker:1", &message("t:broker:1", "17")), handed);
        assert_eq!(heard("t:broker:1", &message("t:notices", "17")), None);
        assert_eq!(heard("t:broker:1", &message("t:broker:1", "")), None);
    }
}
