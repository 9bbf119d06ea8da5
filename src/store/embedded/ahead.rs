//! Syncs the write-ahead log ahead of SQLite, on a thread of its own.
//!
//! Now and then SQLite copies its log into the file, and first sees that the log has reached the
//! disk. With [`Durability::Process`] nothing of it was synced before, so a commit would wait for
//! megabytes that go to the disk. Here they go while other commits are written, and what is left
//! for SQLite is the rest. Nothing depends on this: SQLite syncs all the same, and hears of what
//! fails.
//!
//! [`Durability::Process`]: super::Durability::Process

use std::{fs::File, sync::mpsc, thread};

/// After how many commits the log is synced.
const COMMITS: usize = 32;

/// The way to the thread that syncs.
#[derive(Debug)]
pub(super) struct Ahead {
    commits: usize,
    due: mpsc::SyncSender<()>,
}

impl Ahead {
    /// Syncs a log from now on. None: there is no thread to be had.
    pub(super) fn of(log: File) -> Option<Self> {
        let (ahead, due) = Self::waiting();
        let sync = move || {
            while due.recv().is_ok() {
                let _ = log.sync_data();
            }
        };
        thread::Builder::new().name("telegate-sync".into()).spawn(sync).ok()?;
        Some(ahead)
    }

    fn waiting() -> (Self, mpsc::Receiver<()>) {
        // One that comes while the log is being synced waits; more would sync nothing more.
        let (due, waits) = mpsc::sync_channel(1);
        (Self { commits: 0, due }, waits)
    }

    /// Takes note of a commit, and waits for nothing.
    pub(super) fn committed(&mut self) {
        self.commits += 1;
        if self.commits == COMMITS {
            self.commits = 0;
            let _ = self.due.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_synced_now_and_then_and_nobody_waits_for_it() {
        let (mut ahead, due) = Ahead::waiting();
        for _ in 1..COMMITS {
            ahead.committed();
        }
        due.try_recv().unwrap_err();
        // Nobody takes these.
        for _ in 0..3 * COMMITS {
            ahead.committed();
        }
        due.try_recv().unwrap();
        due.try_recv().unwrap_err();
        // And again.
        for _ in 0..COMMITS {
            ahead.committed();
        }
        due.try_recv().unwrap();
        drop(due);
        for _ in 0..2 * COMMITS {
            ahead.committed();
        }
    }
}
