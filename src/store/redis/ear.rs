//! What a broker hears from Redis without asking: to whom sessions were handed, and what is due.
//!
//! It listens on the connection that its calls go over, so that whoever hears can also answer. A
//! channel of its own lets the scripts see whether a broker still lives: they publish, and count
//! who heard it.

use redis::{PushInfo, PushKind, RedisResult, Value, aio::MultiplexedConnection};
use tokio::sync::broadcast;

use super::options::Options;
use crate::{
    pool::{PoolName, Span, Ticket},
    store::{NOTICES, Notice},
};

/// The ear of one broker.
pub(super) struct Ear {
    /// Where this broker alone is told.
    channel: String,
    /// Where all brokers are told.
    due: String,
    notices: broadcast::Sender<Notice>,
}

impl Ear {
    pub(super) fn new(options: &Options) -> Self {
        let mut own = [0; 8];
        // Without randomness no lease could be granted either; the channel then is the process's.
        if getrandom::fill(&mut own).is_err() {
            own = u64::from(std::process::id()).to_be_bytes();
        }
        let own = u64::from_be_bytes(own);
        let (notices, _) = broadcast::channel(NOTICES);
        let prefix = &options.prefix;
        let channel = format!("{prefix}:broker:{own:016x}");
        Self { channel, due: format!("{prefix}:due"), notices }
    }

    /// The channel on which this broker alone is told.
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Listens on a new connection.
    pub(super) async fn attach(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        connection.subscribe(&[&self.channel, &self.due]).await
    }

    /// Tells that what was published while there was no connection was not heard.
    pub(super) fn missed(&self) {
        let _ = self.notices.send(Notice::Missed);
    }

    /// Hears what the server pushes.
    pub(super) fn hear(&self, push: &PushInfo) {
        let heard = match (&push.kind, push.data.as_slice()) {
            (PushKind::Message, [channel, message]) if text(channel) == Some(&self.due) => {
                due(message)
            }
            (PushKind::Message, [_, message]) => text(message)
                .and_then(|text| text.parse().ok())
                .map(|it| Notice::Handed(Ticket(it))),
            _ => None,
        };
        if let Some(notice) = heard {
            let _ = self.notices.send(notice);
        }
    }
}

/// Reads `pool milliseconds`.
fn due(message: &Value) -> Option<Notice> {
    let (pool, after) = text(message)?.split_once(' ')?;
    Some(Notice::Due { pool: PoolName::parse(pool)?, after: Span(after.parse().ok()?) })
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
