//! How many streams may be open. Each costs memory for as long as it lives.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::status::Fault;

/// The most streams that one connection may have open.
const MAX_PER_CONNECTION: usize = 64;
/// The most streams that all connections may have open.
const MAX_IN_ALL: usize = 65_536;

/// The open streams.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    in_all: usize,
    /// By the far end of their connection.
    of: HashMap<Option<SocketAddr>, usize>,
}

/// The place of an open stream; dropped with it.
#[derive(Debug)]
pub(super) struct Seat {
    streams: Streams,
    peer: Option<SocketAddr>,
}

impl Streams {
    /// Opens one more, or refuses.
    pub(super) fn open(&self, peer: Option<SocketAddr>) -> Result<Seat, Fault> {
        let mut open = self.lock();
        if open.in_all >= MAX_IN_ALL {
            return Err(Fault::TooManyStreams { most: MAX_IN_ALL });
        }
        let count = open.of.entry(peer).or_default();
        if *count >= MAX_PER_CONNECTION {
            return Err(Fault::TooManyStreams { most: MAX_PER_CONNECTION });
        }
        *count += 1;
        open.in_all += 1;
        Ok(Seat { streams: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        open.in_all -= 1;
        if let Some(count) = open.of.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.of.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_its_streams_and_no_more_until_one_ends() {
        let streams = Streams::default();
        let peer = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let mut seats: Vec<_> =
            (0..MAX_PER_CONNECTION).map(|_| streams.open(peer(1)).unwrap()).collect();
        assert!(matches!(streams.open(peer(1)), Err(Fault::TooManyStreams { most: 64 })));
        let other = streams.open(peer(2)).unwrap();
        seats.pop();
        seats.push(streams.open(peer(1)).unwrap());
        drop((seats, other));
        let open = streams.lock();
        assert_eq!((open.in_all, open.of.len()), (0, 0));
    }
}
