//! SQLite files, as most libraries keep their sessions in them.
//!
//! A file is only ever read, and read by column name. Nothing appears beside it: where SQLite would
//! have to recover it first, a private copy is recovered instead.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, types::ValueRef};

use super::{Fault, MAX_FILE, MAX_STRING, read::Bytes, unreadable};

pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";
pub(super) const HEADER: usize = 100;
/// The first bytes of a rollback journal. As its last bytes they end the name of a super-journal.
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// How long a program that writes right now is waited for.
const PATIENCE: Duration = Duration::from_millis(250);
/// The most tables that are looked at.
const MAX_TABLES: usize = 256;

/// Reads a SQLite file without changing anything. The header is what the file begins with.
pub(super) fn read<T>(
    path: &Path,
    header: &[u8],
    reader: impl Fn(&Tables<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let header = whole_header(header)?;
    let before = stamps(path);
    let opened = match Way::choose(path, header)? {
        Way::Shared => open(path, "?mode=ro"),
        Way::Alone => open(path, "?mode=ro&immutable=1"),
        Way::Copy => return read_copy(path, reader),
    };
    match opened {
        Ok(db) => {
            let read = Tables::of(&db).and_then(|tables| reader(&tables));
            // What was read without locks is only right if nobody wrote meanwhile.
            if stamps(path) == before { read } else { Err(Fault::InUse) }
        }
        Err(error) if wants_recovery(&error) => read_copy(path, reader),
        Err(error) => Err(fault(&error)),
    }
}

/// Reads a SQLite file that is in memory. Only one that SQLite would have to recover first is
/// written out, into a private folder that is gone afterwards.
pub(super) fn read_bytes<T>(
    bytes: Bytes,
    reader: impl Fn(&Tables<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let Bytes { mut file, log, journal } = bytes;
    let header = whole_header(&file)?;
    let left_over = |part: Option<Vec<u8>>| part.filter(|bytes| !bytes.is_empty());
    let has_log = header[18] == 2 || header[19] == 2;
    let log = left_over(log).filter(|_| has_log);
    let journal = left_over(journal).filter(|_| !has_log);
    if log.is_some() || journal.is_some() {
        return read_written(file, log, journal, reader);
    }
    if has_log {
        // SQLite wants no log in memory. There is none, so the file is whole without one.
        file[18..20].fill(1);
    } else {
        cut_off(file.len() as u64, header)?;
    }
    let mut db = Connection::open_in_memory().map_err(|error| fault(&error))?;
    let length = file.len();
    db.deserialize_read_exact("main", &file[..], length, true).map_err(|error| fault(&error))?;
    harden(&db).map_err(|error| fault(&error))?;
    reader(&Tables::of(&db)?)
}

fn read_written<T>(
    file: Vec<u8>,
    log: Option<Vec<u8>>,
    journal: Option<Vec<u8>>,
    reader: impl Fn(&Tables<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let folder = tempfile::tempdir().map_err(|error| unreadable(&error))?;
    let copy = folder.path().join("copy");
    for (suffix, bytes) in [("", Some(file)), ("-wal", log), ("-journal", journal)] {
        let Some(bytes) = bytes else { continue };
        no_super_journal(suffix, &bytes)?;
        fs::write(beside(&copy, suffix), bytes).map_err(|error| unreadable(&error))?;
    }
    read_recovered(&copy, reader)
}

fn whole_header(start: &[u8]) -> Result<&[u8; HEADER], Fault> {
    let found = start.len() as u64;
    start.first_chunk().ok_or(Fault::Truncated { found, wanted: HEADER as u64 })
}

/// How a file is opened so that nothing is written.
enum Way {
    /// Beside other programs, with their locks.
    Shared,
    /// As a file that nobody has open: a database with a write-ahead log, but without a `-wal`
    /// file. SQLite would create one otherwise.
    Alone,
    /// From a copy: a reader of a `-wal` file writes into the `-shm` file.
    Copy,
}

impl Way {
    fn choose(path: &Path, header: &[u8; HEADER]) -> Result<Self, Fault> {
        if header[18] != 2 && header[19] != 2 {
            let length = fs::metadata(path).map_err(|error| unreadable(&error))?.len();
            cut_off(length, header)?;
            return Ok(Self::Shared);
        }
        let log = fs::metadata(beside(path, "-wal")).is_ok_and(|file| file.len() > 0);
        Ok(if log { Self::Copy } else { Self::Alone })
    }
}

/// Refuses a file that is shorter than its header says, where the header can be trusted.
fn cut_off(found: u64, header: &[u8; HEADER]) -> Result<(), Fault> {
    let word = |at| u32::from_be_bytes(std::array::from_fn(|i| header[at + i]));
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let wanted = page * u64::from(word(28));
    if word(24) == word(92) && found < wanted {
        return Err(Fault::Truncated { found, wanted });
    }
    Ok(())
}

fn open(path: &Path, options: &str) -> rusqlite::Result<Connection> {
    connect(path, options, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Opens a database that may be hostile, and looks into it once, so that what stands in the way of
/// reading shows here.
fn connect(path: &Path, options: &str, mode: OpenFlags) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            other => _ = write!(uri, "%{other:02x}"),
        }
    }
    uri.push_str(options);
    let flags = mode | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(uri, flags)?;
    db.busy_timeout(PATIENCE)?;
    harden(&db)?;
    db.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))?;
    Ok(db)
}

fn harden(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    Ok(())
}

/// Copies a file and what SQLite left beside it into a private folder, recovers the copy and reads
/// it.
fn read_copy<T>(path: &Path, reader: impl Fn(&Tables<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
    let folder = tempfile::tempdir().map_err(|error| unreadable(&error))?;
    let copy = folder.path().join("copy");
    let before = stamps(path);
    for suffix in ["", "-wal", "-journal"] {
        let from = beside(path, suffix);
        match fs::metadata(&from) {
            Ok(meta) if !meta.is_file() => return Err(Fault::NotAFile("a device or a pipe")),
            Ok(meta) if meta.len() > MAX_FILE => return Err(Fault::TooLarge(MAX_FILE)),
            Ok(_) => {
                let bytes = fs::read(&from).map_err(|error| unreadable(&error))?;
                no_super_journal(suffix, &bytes)?;
                fs::write(beside(&copy, suffix), bytes).map_err(|error| unreadable(&error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&error)),
        }
    }
    if stamps(path) != before {
        return Err(Fault::InUse);
    }
    read_recovered(&copy, reader)
}

/// SQLite would delete the file that a super-journal's name leads to.
fn no_super_journal(suffix: &str, bytes: &[u8]) -> Result<(), Fault> {
    if suffix == "-journal" && bytes.ends_with(&JOURNAL_MAGIC) {
        return Err(Fault::Damaged("its journal belongs to several files".to_owned()));
    }
    Ok(())
}

fn read_recovered<T>(
    copy: &Path,
    reader: impl Fn(&Tables<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let db = connect(copy, "", OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|e| fault(&e))?;
    reader(&Tables::of(&db)?)
}

/// Whether SQLite would have to finish or undo what another program began.
fn wants_recovery(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

/// When a file and those beside it were last written, and how long they are.
fn stamps(path: &Path) -> [Option<(u64, Option<SystemTime>)>; 3] {
    ["", "-wal", "-journal"].map(|suffix| {
        let meta = fs::metadata(beside(path, suffix)).ok()?;
        Some((meta.len(), meta.modified().ok()))
    })
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The tables of an open file.
pub(super) struct Tables<'a> {
    db: &'a Connection,
    names: Vec<String>,
}

/// A column that is read.
#[derive(Clone, Copy)]
pub(super) enum Need {
    /// Without it the file is damaged.
    Always(&'static str),
    /// Some schemas have it.
    Perhaps(&'static str),
}

impl<'a> Tables<'a> {
    fn of(db: &'a Connection) -> Result<Self, Fault> {
        // Neither views nor virtual tables: both may compute for ever.
        let sql = format!(
            "select name from sqlite_schema where type = 'table' and rootpage > 0 \
             limit {MAX_TABLES}"
        );
        let names = db.prepare(&sql).and_then(|mut statement| {
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
        });
        Ok(Self { db, names: names.map_err(|error| fault(&error))? })
    }

    pub(super) fn has(&self, table: &str) -> bool {
        self.names.iter().any(|name| name == table)
    }

    pub(super) fn has_column(&self, table: &str, column: &str) -> Result<bool, Fault> {
        Ok(self.has(table) && self.columns(table)?.iter().any(|name| name == column))
    }

    /// The number in a table's first row, where it is one.
    pub(super) fn number(&self, table: &str, column: &'static str) -> Result<Option<i64>, Fault> {
        let rows = self.rows(table, &[Need::Always(column)], 1)?;
        Ok(rows.first().and_then(|row| row.int(0)))
    }

    /// The version that a program wrote into the file's header.
    pub(super) fn user_version(&self) -> Result<i64, Fault> {
        let version = self.db.query_row("pragma user_version", [], |row| row.get(0));
        version.map_err(|error| fault(&error))
    }

    /// The row of a table that must have one.
    pub(super) fn only_row(&self, table: &str, columns: &[Need]) -> Result<Record, Fault> {
        let mut rows = self.rows(table, columns, 2)?.into_iter();
        match (rows.next(), rows.next()) {
            (None, _) => Err(Fault::NotLoggedIn),
            (Some(_), Some(_)) => Err(Fault::Several),
            (Some(row), None) => Ok(row),
        }
    }

    /// The first rows of a table.
    pub(super) fn rows(
        &self,
        table: &str,
        columns: &[Need],
        most: usize,
    ) -> Result<Vec<Record>, Fault> {
        self.select(table, columns, &format!("limit {most}"))
    }

    /// The first row for which a condition holds.
    pub(super) fn first_where(
        &self,
        table: &str,
        columns: &[Need],
        condition: &'static str,
    ) -> Result<Option<Record>, Fault> {
        let rows = self.select(table, columns, &format!("where {condition} limit 1"))?;
        Ok(rows.into_iter().next())
    }

    fn select(&self, table: &str, columns: &[Need], which: &str) -> Result<Vec<Record>, Fault> {
        if !self.has(table) {
            return Err(Fault::Damaged(format!("it has no table {table}")));
        }
        let there = self.columns(table)?;
        let mut list = Vec::new();
        for need in columns {
            let (Need::Always(column) | Need::Perhaps(column)) = need;
            if there.iter().any(|name| name == column) {
                list.push(*column);
            } else if matches!(need, Need::Perhaps(_)) {
                list.push("null");
            } else {
                return Err(Fault::Damaged(format!("its table {table} has no column {column}")));
            }
        }
        let sql = format!("select {} from {table} {which}", list.join(", "));
        let count = list.len();
        let rows = self.db.prepare(&sql).and_then(|mut statement| {
            let record = |row: &rusqlite::Row<'_>| {
                (0..count).map(|at| row.get_ref(at).map(Cell::of)).collect::<Result<_, _>>()
            };
            statement.query_map([], record)?.collect::<rusqlite::Result<Vec<_>>>()
        });
        Ok(rows.map_err(|error| fault(&error))?.into_iter().map(Record).collect())
    }

    /// The stored columns of a table: generated and hidden ones are not among them.
    fn columns(&self, table: &str) -> Result<Vec<String>, Fault> {
        let columns =
            self.db.prepare("select name from pragma_table_info(?1)").and_then(|mut statement| {
                statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
            });
        columns.map_err(|error| fault(&error))
    }
}

/// A row, in the order of the columns that were asked for.
pub(super) struct Record(Vec<Cell>);

enum Cell {
    None,
    Int(i64),
    Text(String),
    /// The start of the bytes.
    Bytes(Vec<u8>),
}

impl Cell {
    fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Integer(number) => Self::Int(number),
            ValueRef::Text(text) => {
                let start = &text[..text.len().min(MAX_STRING)];
                Self::Text(String::from_utf8_lossy(start).into_owned())
            }
            ValueRef::Blob(bytes) => Self::Bytes(bytes[..bytes.len().min(MAX_STRING)].to_vec()),
            ValueRef::Null | ValueRef::Real(_) => Self::None,
        }
    }
}

impl Record {
    pub(super) fn int(&self, at: usize) -> Option<i64> {
        if let Some(Cell::Int(number)) = self.0.get(at) { Some(*number) } else { None }
    }

    pub(super) fn flag(&self, at: usize) -> Option<bool> {
        self.int(at).map(|number| number != 0)
    }

    pub(super) fn text(&self, at: usize) -> Option<&str> {
        if let Some(Cell::Text(text)) = self.0.get(at) { Some(text) } else { None }
    }

    /// An authorization key.
    pub(super) fn key(&self, at: usize) -> Result<&[u8], Fault> {
        match self.0.get(at) {
            Some(Cell::Bytes(bytes)) => Ok(bytes),
            None | Some(Cell::None) => Err(Fault::NotLoggedIn),
            Some(_) => Err(Fault::damaged("its authorization key is not binary")),
        }
    }
}

fn fault(error: &rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Fault::InUse,
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            Fault::Unreadable("SQLite cannot open it".to_owned())
        }
        Some(ErrorCode::SystemIoFailure) => Fault::Unreadable("reading it failed".to_owned()),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Fault::Damaged("SQLite finds its pages broken".to_owned())
        }
        _ => Fault::Damaged("SQLite cannot make sense of it".to_owned()),
    }
}
