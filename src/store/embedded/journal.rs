//! The file of the embedded engine: an SQLite database, written by one thread.
//!
//! The thread takes all deeds that have come together into one transaction. When one fails, the
//! memory is ahead of the file, so everything that waits fails too and the memory is read anew.

use std::{
    collections::BTreeMap,
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

use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{oneshot, watch};

use super::{
    Memory, lock,
    place::{Place, has_other_names},
};
use crate::{
    pool::{
        Pool, PoolChange, PoolName, PoolRecord, Realm, SessionName, SessionRecord, Standing, Time,
    },
    store::{Crier, Error, Health, Notice, Result},
};

/// "TGAT": marks the file as ours.
const APPLICATION_ID: i32 = 0x5447_4154;
/// The layout of the tables.
const LAYOUT: i32 = 1;
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

/// A row to write.
#[derive(Debug)]
pub(super) enum Write {
    Pool { pool: PoolName, record: Vec<u8> },
    Deleted { pool: PoolName, past_epoch: Vec<u8> },
    Session { pool: PoolName, session: SessionName, record: Vec<u8>, standing: Vec<u8> },
    Standing { pool: PoolName, session: SessionName, standing: Vec<u8> },
    Removed { pool: PoolName, session: SessionName },
}

impl Write {
    /// The rows that changes stand for.
    pub(super) fn of(changes: Vec<PoolChange<'_>>) -> Result<Vec<Self>> {
        let write = |change| {
            Ok(match change {
                PoolChange::Pool(record) => {
                    Self::Pool { pool: record.name.clone(), record: encode(record)? }
                }
                PoolChange::Deleted(pool, past_epoch) => {
                    Self::Deleted { pool, past_epoch: encode(&past_epoch)? }
                }
                PoolChange::Session(pool, record, standing) => Self::Session {
                    pool: pool.clone(),
                    session: record.name.clone(),
                    record: encode(record)?,
                    standing: encode(standing)?,
                },
                PoolChange::Standing(pool, session, standing) => Self::Standing {
                    pool: pool.clone(),
                    session: session.clone(),
                    standing: encode(standing)?,
                },
                PoolChange::Removed(pool, session) => Self::Removed { pool: pool.clone(), session },
            })
        };
        changes.into_iter().map(write).collect()
    }
}

/// Deeds of one call that wait to be written.
#[derive(Debug)]
struct Entry {
    writes: Vec<Write>,
    /// What others hear once it is written.
    news: Vec<Notice>,
    written: oneshot::Sender<Result<()>>,
}

#[derive(Debug)]
enum Message {
    Entry(Entry),
    Close(oneshot::Sender<()>),
}

/// The way to the writing thread.
#[derive(Debug)]
pub(super) struct Journal {
    messages: mpsc::Sender<Message>,
    /// How many entries are not durable yet.
    pending: Arc<AtomicUsize>,
}

/// An open file, and where it is.
#[derive(Debug)]
pub(super) struct OpenFile {
    database: Connection,
    place: Place,
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
        let writer = Writer { file, inbox, memory, health, crier, pending: Arc::clone(&pending) };
        thread::Builder::new()
            .name("telegate-store".into())
            .spawn(move || writer.run())
            .expect("the operating system gives a thread at the start");
        (Self { messages, pending }, watcher)
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
        // When the thread is gone the sender is dropped with the message, and the waiter is told.
        let _ = self.messages.send(Message::Entry(Entry { writes, news, written }));
        waits
    }

    /// Writes what is queued and closes the file.
    pub(super) async fn close(&self) {
        let (closed, waits) = oneshot::channel();
        if self.messages.send(Message::Close(closed)).is_ok() {
            let _ = waits.await;
        }
    }
}

struct Writer {
    file: OpenFile,
    inbox: mpsc::Receiver<Message>,
    memory: Arc<Mutex<Memory>>,
    health: watch::Sender<Health>,
    crier: Crier,
    pending: Arc<AtomicUsize>,
}

impl Writer {
    fn run(mut self) {
        while let Ok(message) = self.inbox.recv() {
            let (mut entries, mut close) = self.gather(message);
            if !entries.is_empty() {
                match self.file.commit(&entries) {
                    Ok(()) => {
                        self.pending.fetch_sub(entries.len(), Ordering::SeqCst);
                        for notice in entries.iter_mut().flat_map(|entry| entry.news.drain(..)) {
                            self.crier.cry(notice);
                        }
                        acknowledge(entries, &Ok(()));
                    }
                    Err(fault) => close = self.recover(entries, &fault, close),
                }
            }
            if let Some(closed) = close {
                drop(self.file);
                let _ = closed.send(());
                return;
            }
        }
    }

    /// Takes what else has come, boundedly.
    fn gather(&self, first: Message) -> (Vec<Entry>, Option<oneshot::Sender<()>>) {
        let mut entries = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Entry(entry) => entries.push(entry),
                Message::Close(closed) => return (entries, Some(closed)),
            }
            next = if entries.len() < MAX_GATHERED { self.inbox.try_recv().ok() } else { None };
        }
        (entries, None)
    }

    /// After a failed write: fails everything that built on it, and reads the memory anew, or gives
    /// up when the store is to be closed. Gives back who waits for that.
    fn recover(
        &mut self,
        entries: Vec<Entry>,
        fault: &str,
        mut close: Option<oneshot::Sender<()>>,
    ) -> Option<oneshot::Sender<()>> {
        tracing::error!(error = fault, "the store's file cannot be written; nothing is granted");
        self.health.send_replace(Health::Down);
        let why = format!("the store's file cannot be written: {fault}");
        let mut failed = entries.len();
        acknowledge(entries, &Err(why.clone()));
        loop {
            let Ok(mut memory) = lock(&self.memory) else { return close };
            // Nothing new comes in while the memory is locked, so after this the queue is empty.
            while let Ok(message) = self.inbox.try_recv() {
                match message {
                    Message::Entry(entry) => {
                        failed += 1;
                        acknowledge(vec![entry], &Err(why.clone()));
                    }
                    Message::Close(closed) => close = Some(closed),
                }
            }
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
    fn commit(&mut self, entries: &[Entry]) -> Result<(), String> {
        if entries.iter().any(|entry| !entry.writes.is_empty()) {
            commit(&mut self.database, entries).map_err(|fault| fault.to_string())?;
        }
        self.place.check()
    }

    /// Reads everything in the file, if it can be written again.
    fn read_anew(&self) -> Result<Realm, LoadFault> {
        let (realm, _) = load(&self.database)?;
        probe(&self.database)?;
        self.place.check().map_err(LoadFault::Record)?;
        Ok(realm)
    }
}

fn acknowledge(entries: Vec<Entry>, outcome: &Result<(), String>) {
    for entry in entries {
        let outcome = outcome.clone().map_err(Error::Unavailable);
        // A caller that hung up does not hear it; its deed stands all the same.
        let _ = entry.written.send(outcome);
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
    let file = Connection::open(path).map_err(explain)?;
    file.busy_timeout(LOCK_PATIENCE).map_err(explain)?;
    let layout = prepare(&file, durability).map_err(explain)?;
    if let Err(found) = layout {
        return Err(Error::Broken(format!("{name} {found}; name another file")));
    }
    let (realm, seen) = load(&file).map_err(|fault| match fault {
        LoadFault::Sqlite(fault) => explain(fault),
        LoadFault::Record(what) => Error::Broken(format!("{name}: {what}")),
    })?;
    let place = Place::of(path).map_err(unreachable)?;
    Ok((OpenFile { database: file, place }, realm, seen))
}

/// Makes the file and its folder, if they are missing, for their owner only.
fn create(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

/// Locks the file for this process and makes its tables if it is new. Tells what it is if it is
/// not ours.
fn prepare(file: &Connection, durability: Durability) -> rusqlite::Result<Result<(), String>> {
    let synchronous = match durability {
        Durability::Machine => "FULL",
        Durability::Process => "NORMAL",
    };
    // The exclusive lock is taken by the first write and held until the file is closed.
    file.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let objects: i64 = file.query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0))?;
    let id: i32 = file.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let layout: i32 = file.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if objects > 0 && id != APPLICATION_ID {
        return Ok(Err("is another program's database".into()));
    }
    if objects > 0 && layout != LAYOUT {
        return Ok(Err(format!("has layout {layout}, and this version reads {LAYOUT}")));
    }
    file.pragma_update(None, "journal_mode", "WAL")?;
    file.pragma_update(None, "synchronous", synchronous)?;
    // What was replaced or removed is overwritten: it may have been a secret in plain text.
    file.pragma_update(None, "secure_delete", "ON")?;
    file.execute_batch(&format!(
        "BEGIN EXCLUSIVE;
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {LAYOUT};
         CREATE TABLE IF NOT EXISTS pool (
             name TEXT PRIMARY KEY, record BLOB NOT NULL
         ) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS past_pool (
             name TEXT PRIMARY KEY, past_epoch BLOB NOT NULL
         ) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS session (
             pool TEXT NOT NULL, name TEXT NOT NULL, record BLOB NOT NULL,
             PRIMARY KEY (pool, name)
         ) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS standing (
             pool TEXT NOT NULL, name TEXT NOT NULL, standing BLOB NOT NULL,
             PRIMARY KEY (pool, name)
         ) WITHOUT ROWID;
         COMMIT;"
    ))?;
    Ok(Ok(()))
}

fn commit(file: &mut Connection, entries: &[Entry]) -> rusqlite::Result<()> {
    let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for write in entries.iter().flat_map(|entry| &entry.writes) {
        match write {
            Write::Pool { pool, record } => transaction
                .prepare_cached("INSERT OR REPLACE INTO pool VALUES (?1, ?2)")?
                .execute(params![pool.as_str(), record])?,
            Write::Deleted { pool, past_epoch } => {
                transaction.execute("DELETE FROM pool WHERE name = ?1", [pool.as_str()])?;
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO past_pool VALUES (?1, ?2)")?
                    .execute(params![pool.as_str(), past_epoch])?
            }
            Write::Session { pool, session, record, standing } => {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO session VALUES (?1, ?2, ?3)")?
                    .execute(params![pool.as_str(), session.as_str(), record])?;
                put_standing(&transaction, pool, session, standing)?
            }
            Write::Standing { pool, session, standing } => {
                put_standing(&transaction, pool, session, standing)?
            }
            Write::Removed { pool, session } => {
                let key = [pool.as_str(), session.as_str()];
                transaction.execute("DELETE FROM session WHERE pool = ?1 AND name = ?2", key)?;
                transaction.execute("DELETE FROM standing WHERE pool = ?1 AND name = ?2", key)?
            }
        };
    }
    transaction.commit()
}

fn put_standing(
    file: &Connection,
    pool: &PoolName,
    session: &SessionName,
    standing: &[u8],
) -> rusqlite::Result<usize> {
    file.prepare_cached("INSERT OR REPLACE INTO standing VALUES (?1, ?2, ?3)")?.execute(params![
        pool.as_str(),
        session.as_str(),
        standing
    ])
}

/// Whether the file can be written, by writing what it has already.
fn probe(file: &Connection) -> Result<(), LoadFault> {
    Ok(file.pragma_update(None, "user_version", LAYOUT)?)
}

/// Why the file could not be read.
#[derive(Debug)]
enum LoadFault {
    Sqlite(rusqlite::Error),
    Record(String),
}

impl From<rusqlite::Error> for LoadFault {
    fn from(fault: rusqlite::Error) -> Self {
        Self::Sqlite(fault)
    }
}

type Members = BTreeMap<String, Vec<(SessionRecord, Standing)>>;

fn load(file: &Connection) -> Result<(Realm, Time), LoadFault> {
    let mut members = Members::new();
    let mut seen = Time::default();
    let mut statement = file.prepare(
        "SELECT session.pool, session.name, record, standing
         FROM session LEFT JOIN standing USING (pool, name)",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (pool, name): (String, String) = (row.get(0)?, row.get(1)?);
        let what = || format!("session {name} of pool {pool}");
        let record: SessionRecord = decode(row.get_ref(2)?.as_blob().unwrap_or_default(), what)?;
        let standing: Standing = decode(row.get_ref(3)?.as_blob().unwrap_or_default(), what)?;
        let granted = standing.lease.as_ref().map_or(Time::default(), |lease| lease.granted_at);
        seen = seen.max(record.created_at).max(standing.last_used).max(granted);
        members.entry(pool).or_default().push((record, standing));
    }
    let mut realm = Realm::default();
    let mut statement = file.prepare(
        "SELECT name, past_epoch FROM past_pool WHERE name NOT IN (SELECT name FROM pool)",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let known = PoolName::parse(&name);
        let known = known.ok_or_else(|| LoadFault::Record(format!("{name} is no pool name")))?;
        let past = row.get_ref(1)?.as_blob().unwrap_or_default();
        realm.restore_past(known, decode(past, || format!("the past of pool {name}"))?);
    }
    let mut statement = file.prepare("SELECT name, record FROM pool")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let record = row.get_ref(1)?.as_blob().unwrap_or_default();
        let record: PoolRecord = decode(record, || format!("pool {name}"))?;
        let sessions = members.remove(&name).unwrap_or_default();
        realm.restore_pool(Pool::restored(record, sessions));
    }
    match members.into_keys().next() {
        Some(orphan) => Err(LoadFault::Record(format!("pool {orphan} is missing"))),
        None => Ok((realm, seen)),
    }
}

fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(record).map_err(|fault| Error::Broken(fault.to_string()))
}

fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    what: impl FnOnce() -> String,
) -> Result<T, LoadFault> {
    rmp_serde::from_slice(bytes)
        .map_err(|fault| LoadFault::Record(format!("{} cannot be read: {fault}", what())))
}
