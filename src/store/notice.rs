//! What a broker hears without asking, whoever did it.

use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

use crate::pool::{Ending, News, PoolName, Span, Ticket};

/// How many notices a listener may be behind before it misses some.
const BACKLOG: usize = 4096;

/// Something that happened. A hint: what holds is what the store answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A session was handed to a waiter of this broker, and is to be collected.
    Handed(Ticket),
    /// Something that may serve the line of a pool is due, sooner than was known.
    Due {
        /// The pool.
        pool: PoolName,
        /// How long until then.
        after: Span,
    },
    /// A lease was ended against its holder's will.
    LeaseEnded(Ending),
    /// Notices may have been lost: whoever waits for one asks instead.
    Missed,
}

/// Where a listener hears notices.
#[derive(Debug)]
pub struct Notices(broadcast::Receiver<Notice>);

/// Where notice is given. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Crier(broadcast::Sender<Notice>);

impl Notice {
    /// What the rules tell of a pool, as others hear it.
    #[must_use]
    pub fn of(pool: PoolName, news: News) -> Self {
        match news {
            News::Handed(ticket) => Self::Handed(ticket),
            News::Due(after) => Self::Due { pool, after },
            News::Ended(ending) => Self::LeaseEnded(ending),
        }
    }
}

impl Notices {
    /// Waits for the next one. None: the store has been let go.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.0.recv().await {
            Ok(notice) => Some(notice),
            Err(RecvError::Lagged(_)) => Some(Notice::Missed),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next one, if there is one already.
    pub fn try_next(&mut self) -> Option<Notice> {
        match self.0.try_recv() {
            Ok(notice) => Some(notice),
            Err(TryRecvError::Lagged(_)) => Some(Notice::Missed),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

impl Default for Crier {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl Crier {
    /// Hears what is cried from now on.
    #[must_use]
    pub fn listen(&self) -> Notices {
        Notices(self.0.subscribe())
    }

    /// Gives notice to all who listen, if anybody does.
    pub fn cry(&self, notice: Notice) {
        let _ = self.0.send(notice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_too_far_behind_knows_to_have_missed_some() {
        let crier = Crier::default();
        let mut notices = crier.listen();
        for ticket in 0..=BACKLOG as u64 {
            crier.cry(Notice::Handed(Ticket(ticket)));
        }
        assert_eq!(notices.next().await, Some(Notice::Missed));
        assert_eq!(notices.try_next(), Some(Notice::Handed(Ticket(1))));
        drop(crier);
        while notices.try_next().is_some() {}
        assert_eq!(notices.next().await, None);
    }
}
