//! The rows of the embedded engine's file: its tables, and what changes and all that is known look
//! like in them.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use rusqlite::{Connection, TransactionBehavior, params};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    journal::Durability,
    recent::{MAX_TOGETHER, Recent, Standings},
};
use crate::{
    pool::{
        Event, MAX_EVENTS, Pool, PoolChange, PoolName, PoolRecord, Realm, SessionName,
        SessionRecord, Standing, Time,
    },
    store::{Error, Result},
};

/// "TGAT": marks the file as ours.
const APPLICATION_ID: i32 = 0x5447_4154;
/// The layout of the tables.
const LAYOUT: i32 = 2;
/// The first layout, which had no table `recent`. It is brought up on opening.
const LAYOUT_WITHOUT_RECENT: i32 = 1;

/// After how many pages a commit copies the write-ahead log into the file: 32 MiB. A copy writes
/// each page once and syncs the file, and fewer than one call in a hundred should wait for that.
pub(super) const LOG_PAGES: u32 = 8192;

/// What stands for the name of a session where an event is of the pool itself.
const OWN: &str = "";

/// A row to write.
#[derive(Debug)]
pub(super) enum Write {
    Pool {
        pool: PoolName,
        record: Vec<u8>,
    },
    Deleted {
        pool: PoolName,
        past_epoch: Vec<u8>,
    },
    Session {
        pool: PoolName,
        session: SessionName,
        record: Vec<u8>,
        standing: Vec<u8>,
    },
    Standing {
        pool: PoolName,
        session: SessionName,
        standing: Vec<u8>,
    },
    /// Of the pool itself where no session is named.
    Event {
        pool: PoolName,
        session: Option<SessionName>,
        number: u64,
        event: Vec<u8>,
    },
    Removed {
        pool: PoolName,
        session: SessionName,
    },
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
                PoolChange::Event(pool, session, event) => Self::Event {
                    pool: pool.clone(),
                    session,
                    number: event.number,
                    event: encode(event)?,
                },
                PoolChange::Removed(pool, session) => Self::Removed { pool: pool.clone(), session },
            })
        };
        changes.into_iter().map(write).collect()
    }
}

/// Locks the file for this process and makes its tables if it is new. Tells what it is if it is
/// not ours.
pub(super) fn prepare(
    file: &Connection,
    durability: Durability,
) -> rusqlite::Result<Result<(), String>> {
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
    if objects > 0 && ![LAYOUT_WITHOUT_RECENT, LAYOUT].contains(&layout) {
        return Ok(Err(format!("has layout {layout}, and this version reads {LAYOUT}")));
    }
    file.pragma_update(None, "journal_mode", "WAL")?;
    file.pragma_update(None, "synchronous", synchronous)?;
    file.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
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
         CREATE TABLE IF NOT EXISTS event (
             pool TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL, event BLOB NOT NULL,
             PRIMARY KEY (pool, name, number)
         ) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS recent (
             number INTEGER PRIMARY KEY, standings BLOB NOT NULL
         );
         COMMIT;"
    ))?;
    Ok(Ok(()))
}

/// Writes rows in one transaction. How sessions stand goes to `recent`, of which only what is known
/// is given; nothing is when the last transaction failed.
pub(super) fn commit(
    file: &mut Connection,
    recent: &mut Option<Recent>,
    rows: &[&Write],
) -> Result<(), LoadFault> {
    let mut now = match recent.take() {
        Some(known) => known,
        None => Recent::read(file)?,
    };
    let standings = last_standings(rows);
    // What is known of a removed session is erased, from `recent` too.
    let is_in_recent = |row: &&Write| match row {
        Write::Removed { pool, session } => now.has(pool.as_str(), session.as_str()),
        _ => false,
    };
    let erases = rows.iter().any(is_in_recent);
    let is_all_standings = rows.iter().all(|row| matches!(row, Write::Standing { .. }));
    if now.is_at_rest() && is_all_standings && standings.len() <= MAX_TOGETHER {
        // A statement that stands alone is a transaction of its own, and two less to be read.
        now.append(file, &standings)?;
    } else {
        let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if erases {
            now.fold_everything(&transaction)?;
        } else {
            now.fold(&transaction, standings.len())?;
        }
        for row in rows {
            put(&transaction, row)?;
        }
        now.append(&transaction, &standings)?;
        transaction.commit()?;
    }
    *recent = Some(now);
    Ok(())
}

/// How each session stands in the end that is there in the end.
fn last_standings<'a>(rows: &[&'a Write]) -> Standings<'a> {
    let mut last = Standings::new();
    for row in rows {
        match row {
            Write::Session { pool, session, standing, .. }
            | Write::Standing { pool, session, standing } => {
                last.insert((pool.as_str(), session.as_str()), standing);
            }
            Write::Removed { pool, session } => {
                last.remove(&(pool.as_str(), session.as_str()));
            }
            Write::Pool { .. } | Write::Deleted { .. } | Write::Event { .. } => {}
        }
    }
    last
}

/// Writes a row, but not how a session stands.
fn put(file: &Connection, row: &Write) -> rusqlite::Result<()> {
    match row {
        Write::Pool { pool, record } => {
            file.prepare_cached("INSERT OR REPLACE INTO pool VALUES (?1, ?2)")?
                .execute(params![pool.as_str(), record])?;
        }
        Write::Deleted { pool, past_epoch } => {
            file.execute("DELETE FROM pool WHERE name = ?1", [pool.as_str()])?;
            file.prepare_cached("INSERT OR REPLACE INTO past_pool VALUES (?1, ?2)")?
                .execute(params![pool.as_str(), past_epoch])?;
        }
        Write::Session { pool, session, record, .. } => {
            file.prepare_cached("INSERT OR REPLACE INTO session VALUES (?1, ?2, ?3)")?
                .execute(params![pool.as_str(), session.as_str(), record])?;
        }
        Write::Standing { .. } => {}
        Write::Event { pool, session, number, event } => {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            let gone = number - i64::try_from(MAX_EVENTS).unwrap_or(i64::MAX);
            let (pool, session) =
                (pool.as_str(), session.as_ref().map_or(OWN, SessionName::as_str));
            file.prepare_cached("INSERT OR REPLACE INTO event VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![pool, session, number, event])?;
            file.prepare_cached(
                "DELETE FROM event WHERE pool = ?1 AND name = ?2 AND number <= ?3",
            )?
            .execute(params![pool, session, gone])?;
        }
        Write::Removed { pool, session } => {
            let key = [pool.as_str(), session.as_str()];
            file.execute("DELETE FROM event WHERE pool = ?1 AND name = ?2", key)?;
            file.execute("DELETE FROM session WHERE pool = ?1 AND name = ?2", key)?;
            file.execute("DELETE FROM standing WHERE pool = ?1 AND name = ?2", key)?;
        }
    }
    Ok(())
}

/// Writes how a session of a pool stands.
pub(super) fn put_standing(
    file: &Connection,
    (pool, session): (&str, &str),
    standing: &[u8],
) -> rusqlite::Result<()> {
    file.prepare_cached("INSERT OR REPLACE INTO standing VALUES (?1, ?2, ?3)")?
        .execute(params![pool, session, standing])?;
    Ok(())
}

/// Whether the file can be written, by writing what it has already.
pub(super) fn probe(file: &Connection) -> Result<(), LoadFault> {
    Ok(file.pragma_update(None, "user_version", LAYOUT)?)
}

/// Why the file could not be read.
#[derive(Debug)]
pub(super) enum LoadFault {
    Sqlite(rusqlite::Error),
    Record(String),
}

impl fmt::Display for LoadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(fault) => fault.fmt(f),
            Self::Record(what) => f.write_str(what),
        }
    }
}

impl From<rusqlite::Error> for LoadFault {
    fn from(fault: rusqlite::Error) -> Self {
        Self::Sqlite(fault)
    }
}

type Members = BTreeMap<String, Vec<(SessionRecord, Standing, Vec<Event>)>>;

/// Reads everything but `recent`, with the latest moment that it knows of.
pub(super) fn load(file: &Connection) -> Result<(Realm, Time), LoadFault> {
    let mut members = Members::new();
    let mut seen = Time::default();
    let mut trails = trails(file)?;
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
        let key = (pool, name);
        let trail = trails.remove(&key).unwrap_or_default();
        members.entry(key.0).or_default().push((record, standing, trail));
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
        let epoch = decode(past, || format!("the past of pool {name}"))?;
        let trail = trails.remove(&(name, OWN.to_owned())).unwrap_or_default();
        realm.restore_past(known, epoch, trail);
    }
    let mut statement = file.prepare("SELECT name, record FROM pool")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let record = row.get_ref(1)?.as_blob().unwrap_or_default();
        let record: PoolRecord = decode(record, || format!("pool {name}"))?;
        let sessions = members.remove(&name).unwrap_or_default();
        let trail = trails.remove(&(name, OWN.to_owned())).unwrap_or_default();
        realm.restore_pool(Pool::restored(record, sessions).with_trail(trail));
    }
    match members.into_keys().next() {
        Some(orphan) => Err(LoadFault::Record(format!("pool {orphan} is missing"))),
        None => Ok((realm, seen)),
    }
}

/// The trails of all sessions and pools.
fn trails(file: &Connection) -> Result<HashMap<(String, String), Vec<Event>>, LoadFault> {
    let mut trails = HashMap::<_, Vec<_>>::new();
    let mut statement = file.prepare("SELECT pool, name, event FROM event ORDER BY number")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (pool, name): (String, String) = (row.get(0)?, row.get(1)?);
        let what = || format!("an event of session {name} of pool {pool}");
        let event: Event = decode(row.get_ref(2)?.as_blob().unwrap_or_default(), what)?;
        trails.entry((pool, name)).or_default().push(event);
    }
    Ok(trails)
}

/// How long the row of a leased session is; few are longer.
const ROW: usize = 512;

fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ROW);
    let mut named = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    record.serialize(&mut named).map_err(|fault| Error::Broken(fault.to_string()))?;
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    what: impl FnOnce() -> String,
) -> Result<T, LoadFault> {
    rmp_serde::from_slice(bytes)
        .map_err(|fault| LoadFault::Record(format!("{} cannot be read: {fault}", what())))
}
