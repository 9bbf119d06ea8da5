//! The file of the embedded engine: an SQLite database, written by one thread.
//!
//! The thread takes all deeds that have come together into one transaction. When one fails, the
//! memory is ahead of the file, so everything that waits fails too and the memory is read anew.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{oneshot, watch};

use super::{
    Memory,
    ahead::Ahead,
    lock,
    place::{Place, has_other_names},
    recent::{Recent, fold_all},
    rows::{LoadFault, Write, commit, load, prepare, probe},
    turn::{Entry, Message, Open, Turn, Way},
};
use crate::{
    pool::{Realm, Time},
    store::{Crier, Error, Health, Notice, Result},
};

/// The most deeds that share one transaction.
const MAX_GATHERED: usize = 1024;
/// How long until the file is tried again after it failed.
const REOPEN_EVERY: Duration = Duration::from_millis(500);

/// How long an opening waits for another process to let go of the file.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// What an acknowledged call survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of the machine: every transaction reaches the disk before it is acknowledged.
    #[default]
    Machine,
    /// The death of the process (`kill -9`), not of the machine. After a power cut a lease of the
    /// last moments may be forgotten and its session lent again.
    Process,
}

/// The way to the writing thread.
#[derive(Debug)]
pub(super) struct Journal {
    way: Way,
    /// How many entries are not durable yet.
    pending: Arc<AtomicUsize>,
}

/// An open file, and where it is.
#[derive(Debug)]
pub(super) struct OpenFile {
    database: Connection,
    /// What is known of the newest commits. None: to be read, as after a failure.
    recent: Option<Recent>,
    place: Place,
    /// None: each commit is synced by itself.
    ahead: Option<Ahead>,
}

impl Journal {
    pub(super) fn start(
        file: OpenFile,
        memory: Arc<Mutex<Memory>>,
        crier: Crier,
    ) -> (Self, watch::Receiver<Health>) {
        let (messages, inbox) = mpsc::channel();
        let (health, watcher) = watch::channel(Health::Up);
        let pending = Arc::default();
        let open = Open::default();
        let way = Way::new(open.clone(), messages);
        let waiting = Arc::clone(&pending);
        let writer = Writer { file, open, inbox, memory, health, crier, pending: waiting };
        thread::Builder::new()
            .name("telegate-store".into())
            .spawn(move || writer.run())
            .expect("the operating system gives a thread at the start");
        (Self { way, pending }, watcher)
    }

    /// Whether all that was queued is durable. Asked with the memory locked, it tells whether the
    /// file has what the memory has.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.load(Ordering::SeqCst) == 0
    }

    /// Queues rows; what comes back resolves when they and all before them are durable.
    pub(super) fn write(
        &self,
        writes: Vec<Write>,
        news: Vec<Notice>,
    ) -> oneshot::Receiver<Result<()>> {
        self.pending.fetch_add(1, Ordering::SeqCst);
        let (written, waits) = oneshot::channel();
        self.way.enter(Entry { writes, news, written });
        waits
    }

    /// Writes what is queued and closes the file.
    pub(super) async fn close(&self) {
        if let Some(closed) = self.way.close() {
            let _ = closed.await;
        }
    }
}

struct Writer {
    file: OpenFile,
    open: Open,
    inbox: mpsc::Receiver<Message>,
    memory: Arc<Mutex<Memory>>,
    health: watch::Sender<Health>,
    crier: Crier,
    pending: Arc<AtomicUsize>,
}

impl Writer {
    fn run(mut self) {
        while let Ok(message) = self.inbox.recv() {
            let (mut turns, mut close) = self.gather(message);
            if !turns.is_empty() {
                match self.file.commit(&turns) {
                    Ok(()) => {
                        self.pending.fetch_sub(count(&turns), Ordering::SeqCst);
                        let entries = turns.iter_mut().flat_map(|turn| &mut turn.entries);
                        for notice in entries.flat_map(|entry| entry.news.drain(..)) {
                            self.crier.cry(notice);
                        }
                        answer(turns, &Ok(()));
                    }
                    Err(fault) => close = self.recover(turns, &fault, close),
                }
            }
            if let Some(closed) = close {
                self.file.close();
                let _ = closed.send(());
                return;
            }
        }
    }

    /// Takes what else has come, boundedly.
    fn gather(&self, first: Message) -> (Vec<Turn>, Option<oneshot::Sender<()>>) {
        let mut turns = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Turn(turn) => turns.push(turn),
                Message::Close(closed) => return (turns, Some(closed)),
            }
            next = if count(&turns) < MAX_GATHERED { self.inbox.try_recv().ok() } else { None };
        }
        (turns, None)
    }

    /// After a failed write: fails everything that built on it, and reads the memory anew, or gives
    /// up when the store is to be closed. Gives back who waits for that.
    fn recover(
        &mut self,
        turns: Vec<Turn>,
        fault: &str,
        mut close: Option<oneshot::Sender<()>>,
    ) -> Option<oneshot::Sender<()>> {
        tracing::error!(error = fault, "the store's file cannot be written; nothing is granted");
        self.health.send_replace(Health::Down);
        let why = format!("the store's file cannot be written: {fault}");
        let mut failed = count(&turns);
        answer(turns, &Err(why.clone()));
        loop {
            let Ok(mut memory) = lock(&self.memory) else { return close };
            // Nothing new comes in while the memory is locked, so after this nothing is queued.
            let mut late = vec![Turn::of(self.open.take())];
            while let Ok(message) = self.inbox.try_recv() {
                match message {
                    Message::Turn(turn) => late.push(turn),
                    Message::Close(closed) => close = Some(closed),
                }
            }
            failed += count(&late);
            answer(late, &Err(why.clone()));
            match self.file.read_anew() {
                Ok(realm) => {
                    *memory = Memory::Up(realm);
                    self.pending.fetch_sub(failed, Ordering::SeqCst);
                    self.health.send_replace(Health::Up);
                    // Those who waited stood in the memory only.
                    self.crier.cry(Notice::Missed);
                    tracing::info!("the store's file can be written again");
                    return close;
                }
                Err(_) => *memory = Memory::Down(why.clone()),
            }
            drop(memory);
            if close.is_some() {
                return close;
            }
            thread::sleep(REOPEN_EVERY);
        }
    }
}

impl OpenFile {
    /// Writes what came together, and sees that whoever opens the file next will find it.
    fn commit(&mut self, turns: &[Turn]) -> Result<(), String> {
        let entries = turns.iter().flat_map(|turn| &turn.entries);
        let rows: Vec<_> = entries.flat_map(|entry| &entry.writes).collect();
        if !rows.is_empty() {
            let written = commit(&mut self.database, &mut self.recent, &rows);
            written.map_err(|fault| fault.to_string())?;
            self.ahead.iter_mut().for_each(Ahead::committed);
        }
        self.place.check()
    }

    /// Reads everything in the file, if it can be written again.
    fn read_anew(&mut self) -> Result<Realm, LoadFault> {
        let (realm, _) = read(&mut self.database)?;
        probe(&self.database)?;
        self.recent = None;
        self.place.check().map_err(LoadFault::Record)?;
        Ok(realm)
    }

    /// Leaves the file as small as it can be. What cannot be folded is folded on opening.
    fn close(mut self) {
        if let Err(fault) = fold_all(&mut self.database) {
            tracing::debug!(error = %fault, "the newest commits were left as they are");
        }
    }
}

/// Folds what is recent, and reads everything.
fn read(file: &mut Connection) -> Result<(Realm, Time), LoadFault> {
    fold_all(file)?;
    load(file)
}

/// How many deeds some turns have.
fn count(turns: &[Turn]) -> usize {
    turns.iter().map(|turn| turn.entries.len()).sum()
}

fn answer(turns: Vec<Turn>, outcome: &Result<(), String>) {
    for turn in turns {
        turn.answer(outcome);
    }
}

/// Opens the file and reads everything in it, with the latest moment that it knows of.
pub(super) fn open(path: &Path, durability: Durability) -> Result<(OpenFile, Realm, Time)> {
    let name = path.display();
    let unreachable = |fault: std::io::Error| Error::Unavailable(format!("{name}: {fault}"));
    create(path).map_err(unreachable)?;
    if has_other_names(path).map_err(unreachable)? {
        return Err(Error::Broken(format!(
            "{name} has more than one name (hard links), and its newest writes may be beside \
             another of them; keep one name"
        )));
    }
    let explain = |fault: rusqlite::Error| match fault.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Unavailable(format!(
            "{name} is open in another process; one broker at a time can use it"
        )),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Error::Broken(format!(
            "{name} is damaged or not a Telegate store ({fault}); restore it from a backup or name \
             another file"
        )),
        _ => Error::Unavailable(format!("{name}: {fault}")),
    };
    let mut file = Connection::open(path).map_err(explain)?;
    file.busy_timeout(LOCK_PATIENCE).map_err(explain)?;
    let layout = prepare(&file, durability).map_err(explain)?;
    if let Err(found) = layout {
        return Err(Error::Broken(format!("{name} {found}; name another file")));
    }
    let (realm, seen) = read(&mut file).map_err(|fault| match fault {
        LoadFault::Sqlite(fault) => explain(fault),
        LoadFault::Record(what) => Error::Broken(format!("{name}: {what}")),
    })?;
    let place = Place::of(path).map_err(unreachable)?;
    let log = match durability {
        Durability::Machine => None,
        Durability::Process => place.log().and_then(|log| fs::File::open(log).ok()),
    };
    let ahead = log.and_then(Ahead::of);
    Ok((OpenFile { database: file, recent: None, place, ahead }, realm, seen))
}

/// Makes the file and its folder, if they are missing, for their owner only.
fn create(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}
