//! Turns: the deeds that go to the writing thread together, and are answered together.
//!
//! A runtime takes up many calls before it looks for new ones. Were each sent as it comes, the
//! writing thread would wake for the first and commit that one alone; were each answered as its
//! commit is done, it would wake the runtime once for each. So a turn goes when the runtime has
//! come around to a task that the first deed of it has queued, behind all that had come before; and
//! a commit is answered by one task on that runtime. No time is waited: who comes alone goes alone.
//!
//! What sends and what answers does so when it is dropped. So a caller that hangs up and a runtime
//! that goes away make no difference to the others of a turn.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
};

use tokio::{runtime::Handle, sync::oneshot};

use super::rows::Write;
use crate::store::{Error, Notice, Result};

/// The most deeds of a turn. With more, the runtime would run out of calls to take up while the
/// thread writes.
const MAX_TURN: usize = 32;

/// Deeds of one call that wait to be written.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) writes: Vec<Write>,
    /// What others hear once it is written.
    pub(super) news: Vec<Notice>,
    pub(super) written: oneshot::Sender<Result<()>>,
}

/// The deeds of one turn, in their order.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) entries: Vec<Entry>,
    /// Where they wait. None: not on a runtime.
    runtime: Option<Handle>,
}

#[derive(Debug)]
pub(super) enum Message {
    Turn(Turn),
    Close(oneshot::Sender<()>),
}

/// The deeds that have come and are not sent yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Open(Arc<Mutex<Vec<Entry>>>);

/// The way to the writing thread, for deeds in their order.
#[derive(Clone, Debug)]
pub(super) struct Way {
    open: Open,
    messages: mpsc::Sender<Message>,
}

/// What sends the deeds that are open when it is dropped.
struct Departure {
    way: Way,
    runtime: Option<Handle>,
}

/// What tells those who wait when it is dropped.
struct Answers {
    entries: Vec<Entry>,
    outcome: Result<(), String>,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes them away. What was taken before is in the inbox by then.
    pub(super) fn take(&self) -> Vec<Entry> {
        mem::take(&mut *self.lock())
    }
}

impl Way {
    pub(super) fn new(open: Open, messages: mpsc::Sender<Message>) -> Self {
        Self { open, messages }
    }

    /// Takes a deed in.
    pub(super) fn enter(&self, entry: Entry) {
        let runtime = Handle::try_current().ok();
        let is_first = {
            let mut open = self.open.lock();
            open.push(entry);
            if open.len() == MAX_TURN {
                self.send(&mut open, runtime.clone());
            }
            open.len() == 1
        };
        if is_first {
            let departure = Departure { way: self.clone(), runtime: runtime.clone() };
            if let Some(runtime) = runtime {
                runtime.spawn(async move { drop(departure) });
            }
        }
    }

    /// Sends the deeds that are open.
    fn depart(&self, runtime: Option<Handle>) {
        self.send(&mut self.open.lock(), runtime);
    }

    /// Sends deeds. Done with the open ones locked, so that turns cannot overtake each other.
    fn send(&self, open: &mut Vec<Entry>, runtime: Option<Handle>) {
        let entries = mem::take(open);
        if !entries.is_empty() {
            // When the thread is gone the senders are dropped, and the waiters are told.
            let _ = self.messages.send(Message::Turn(Turn { entries, runtime }));
        }
    }

    /// Sends what is open, and asks to close the file. None: it is closed.
    pub(super) fn close(&self) -> Option<oneshot::Receiver<()>> {
        self.depart(Handle::try_current().ok());
        let (closed, waits) = oneshot::channel();
        self.messages.send(Message::Close(closed)).is_ok().then_some(waits)
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.way.depart(self.runtime.take());
    }
}

impl Turn {
    /// Deeds that are not sent any more.
    pub(super) fn of(entries: Vec<Entry>) -> Self {
        Self { entries, runtime: None }
    }

    /// Tells all who wait what became of their deeds.
    pub(super) fn answer(self, outcome: &Result<(), String>) {
        let answers = Answers { entries: self.entries, outcome: outcome.clone() };
        if let Some(runtime) = self.runtime {
            runtime.spawn(async move { drop(answers) });
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        for entry in mem::take(&mut self.entries) {
            let outcome = self.outcome.clone().map_err(Error::Unavailable);
            // A caller that hung up does not hear it; its deed stands all the same.
            let _ = entry.written.send(outcome);
        }
    }
}
