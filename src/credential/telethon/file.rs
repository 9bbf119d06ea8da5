//! Telethon's `.session` files: SQLite, schema versions 1 to 8.
//!
//! A file is only ever read. It is told apart by its content, never by its name, and read by
//! column name. Nothing appears beside it: where SQLite would have to recover it first, a private
//! copy is recovered instead.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::{self, Read as _},
    net::Ipv4Addr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Row, config::DbConfig, types::ValueRef};

use super::{Fault, Library, Telegram, session};

/// The largest file that is looked at, in bytes; its `-wal` or `-journal` has the same limit.
pub const MAX_FILE: u64 = 64 << 20;
/// The newest schema version of Telethon 1 that is understood.
pub const NEWEST_SCHEMA: i64 = 8;

const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER: usize = 100;
/// The first bytes of a rollback journal. As its last bytes they end the name of a super-journal.
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// How long a program that writes right now is waited for.
const PATIENCE: Duration = Duration::from_millis(250);
/// The most tables that are looked at.
const MAX_TABLES: usize = 256;

/// What a session file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFile {
    /// The authorization.
    pub telegram: Telegram,
    /// The version of Telethon's schema.
    pub schema: i64,
}

/// Reads a `.session` file of Telethon 1 without changing anything. A symbolic link is followed.
///
/// # Errors
///
/// When it is not one, cannot be read, or does not hold a usable session.
pub fn read_file(path: &Path) -> Result<SessionFile, Fault> {
    let path = fs::canonicalize(path).map_err(|error| unreadable(&error))?;
    let header = header(&path)?;
    let before = stamps(&path);
    let opened = match Way::choose(&path, &header)? {
        Way::Shared => open(&path, "?mode=ro"),
        Way::Alone => open(&path, "?mode=ro&immutable=1"),
        Way::Copy => return read_copy(&path),
    };
    match opened {
        Ok(db) => {
            let read = read(&db);
            // What was read without locks is only right if nobody wrote meanwhile.
            if stamps(&path) == before { read } else { Err(Fault::InUse) }
        }
        Err(error) if wants_recovery(&error) => read_copy(&path),
        Err(error) => Err(fault(&error)),
    }
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
            cut_off(path, header)?;
            return Ok(Self::Shared);
        }
        let log = fs::metadata(beside(path, "-wal")).is_ok_and(|file| file.len() > 0);
        Ok(if log { Self::Copy } else { Self::Alone })
    }
}

/// Reads the header of a SQLite file, or says what it is instead.
fn header(path: &Path) -> Result<[u8; HEADER], Fault> {
    let meta = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if meta.is_dir() {
        let desktop = path.join("key_datas").exists();
        return Err(if desktop {
            Fault::Later(Library::Desktop)
        } else {
            Fault::NotAFile("a folder")
        });
    }
    if !meta.is_file() {
        return Err(Fault::NotAFile("a device or a pipe"));
    }
    if meta.len() > MAX_FILE {
        return Err(Fault::TooLarge(meta.len()));
    }
    let file = fs::File::open(path).map_err(|error| unreadable(&error))?;
    let mut start = Vec::with_capacity(HEADER);
    file.take(HEADER as u64).read_to_end(&mut start).map_err(|error| unreadable(&error))?;
    if start.is_empty() {
        return Err(Fault::Empty);
    }
    if !start.starts_with(MAGIC) {
        return Err(not_sqlite(path, &start));
    }
    let found = meta.len();
    start.try_into().map_err(|_| Fault::Truncated { found, wanted: HEADER as u64 })
}

fn not_sqlite(path: &Path, start: &[u8]) -> Fault {
    if start.starts_with(b"TDF$") {
        return Fault::Later(Library::Desktop);
    }
    if start.trim_ascii_start().starts_with(b"{") {
        let gotd = fs::read_to_string(path).is_ok_and(|text| text.contains("\"AuthKeyID\""));
        return if gotd {
            Fault::Later(Library::Gotd)
        } else {
            Fault::Unknown("it is JSON, which describes a session but is none")
        };
    }
    if start.starts_with(b"1") && start.iter().all(u8::is_ascii) {
        return Fault::Unknown("it is text; Telethon strings are read from .txt files");
    }
    if MAGIC.starts_with(start) {
        return Fault::Truncated { found: start.len() as u64, wanted: HEADER as u64 };
    }
    Fault::Unknown("it is not a SQLite file")
}

/// Refuses a file that is shorter than its header says, where the header can be trusted.
fn cut_off(path: &Path, header: &[u8; HEADER]) -> Result<(), Fault> {
    let word = |at| u32::from_be_bytes(std::array::from_fn(|i| header[at + i]));
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let found = fs::metadata(path).map_err(|error| unreadable(&error))?.len();
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
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    db.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))?;
    Ok(db)
}

/// Copies a file and what SQLite left beside it into a private folder, recovers the copy and reads
/// it.
fn read_copy(path: &Path) -> Result<SessionFile, Fault> {
    let folder = tempfile::tempdir().map_err(|error| unreadable(&error))?;
    let copy = folder.path().join("copy");
    let before = stamps(path);
    for suffix in ["", "-wal", "-journal"] {
        let from = beside(path, suffix);
        match fs::metadata(&from) {
            Ok(meta) if !meta.is_file() => return Err(Fault::NotAFile("a device or a pipe")),
            Ok(meta) if meta.len() > MAX_FILE => return Err(Fault::TooLarge(meta.len())),
            Ok(_) => {
                let bytes = fs::read(&from).map_err(|error| unreadable(&error))?;
                // SQLite would delete the file that a super-journal's name leads to.
                if suffix == "-journal" && bytes.ends_with(&JOURNAL_MAGIC) {
                    return Err(Fault::Damaged("its journal belongs to several files".to_owned()));
                }
                fs::write(beside(&copy, suffix), bytes).map_err(|error| unreadable(&error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&error)),
        }
    }
    if stamps(path) != before {
        return Err(Fault::InUse);
    }
    let db = connect(&copy, "", OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|e| fault(&e))?;
    read(&db)
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

fn read(db: &Connection) -> Result<SessionFile, Fault> {
    let schema = schema(db)?;
    let columns = columns(db, "sessions").map_err(|error| fault(&error))?;
    for wanted in ["dc_id", "server_address", "port", "auth_key"] {
        if !columns.iter().any(|column| column == wanted) {
            return Err(Fault::Damaged(format!("its table sessions has no column {wanted}")));
        }
    }
    let sql = "select dc_id, server_address, port, auth_key from sessions limit 2";
    let rows = rows(db, sql, |row| Ok(session_of(row))).map_err(|error| fault(&error))?;
    let mut rows = rows.into_iter();
    match (rows.next(), rows.next()) {
        (None, _) => Err(Fault::NotLoggedIn),
        (Some(_), Some(_)) => Err(Fault::Several),
        (Some(telegram), None) => Ok(SessionFile { telegram: telegram?, schema }),
    }
}

/// Tells the library by its tables and columns, and Telethon's schema by its version.
fn schema(db: &Connection) -> Result<i64, Fault> {
    let sql = format!(
        "select name from sqlite_schema where type = 'table' and rootpage > 0 limit {MAX_TABLES}"
    );
    let tables: Vec<String> = rows(db, &sql, |row| row.get(0)).map_err(|error| fault(&error))?;
    let has = |table: &str| tables.iter().any(|name| name == table);
    let version = columns(db, "version").map_err(|error| fault(&error))?;
    let versioned = |column: &str| has("version") && version.iter().any(|name| name == column);
    if versioned("number") {
        let kurigram = has("usernames") || has("update_state");
        return Err(Fault::Later(if kurigram { Library::Kurigram } else { Library::Pyrogram }));
    }
    if !versioned("version") {
        return Err(match () {
            () if has("dc_home") => Fault::Later(Library::Grammers),
            () if has("auth_keys") && has("key_value") => Fault::Later(Library::Mtcute),
            () => Fault::Unknown("it is a SQLite file, but has no session's tables"),
        });
    }
    if has("datacenter") && has("user") {
        return Err(Fault::Later(Library::Telethon2));
    }
    let found: Option<i64> =
        rows(db, "select version from version limit 1", |row| Ok(row.get_ref(0)?.as_i64().ok()))
            .map_err(|error| fault(&error))?
            .into_iter()
            .next()
            .flatten();
    match found {
        Some(schema @ 1..=NEWEST_SCHEMA) if has("sessions") => Ok(schema),
        Some(schema) if schema > NEWEST_SCHEMA => Err(Fault::NewerSchema(schema)),
        _ => Err(Fault::Damaged("it names no schema version, or has no sessions".to_owned())),
    }
}

fn session_of(row: &Row<'_>) -> Result<Telegram, Fault> {
    let value = |at| row.get_ref(at).unwrap_or(ValueRef::Null);
    let dc = value(0).as_i64().unwrap_or(0);
    let ip: Option<Ipv4Addr> = value(1).as_str().ok().and_then(|ip| ip.parse().ok());
    let port = value(2).as_i64().ok().and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
    match value(3) {
        ValueRef::Blob(key) => session(dc, ip, port, key),
        ValueRef::Null => Err(Fault::NotLoggedIn),
        _ => Err(Fault::Damaged("its authorization key is not binary".to_owned())),
    }
}

/// The stored columns of a table: generated and hidden ones are not among them.
fn columns(db: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare("select name from pragma_table_info(?1)")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

fn rows<T>(
    db: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    db.prepare(sql)?.query_map([], read)?.collect()
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

fn unreadable(error: &io::Error) -> Fault {
    Fault::Unreadable(match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    })
}
