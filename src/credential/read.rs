//! Tells sessions apart by what they hold, never by how they are called, and reads them.

use std::{fs, io::Read as _, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_PAD_INDIFFERENT};

use super::{
    Fault, Files, Folder, Library, MAX_FILE, MAX_STRING, Passcode, Telegram, gotd, gramjs,
    grammers, mtcute, pyrogram,
    sqlite::{self, Tables},
    tdata, telethon, unreadable,
};

/// The largest JSON that is looked at, in bytes.
pub(super) const MAX_JSON: u64 = 1 << 20;

/// How much of a SQLite file's first bytes tells it from a text that begins alike.
const MIN_MAGIC: usize = 6;

/// What a zip archive begins with; an empty one begins with its end.
const ZIP: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

/// How much of a file tells what it is.
pub const START: usize = sqlite::HEADER;

/// A session that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The authorization.
    pub telegram: Telegram,
    /// The form that it was in, for example `pyrogram-sqlite-3`.
    pub format: String,
}

impl Found {
    fn new(telegram: Telegram, format: impl Into<String>) -> Self {
        Self { telegram, format: format.into() }
    }
}

/// One of several sessions of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number in the folder, from 1.
    pub number: u32,
    /// The session, or what is wrong with it.
    pub read: Result<Found, Fault>,
}

/// What a file seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A SQLite file.
    Sqlite,
    /// A zip archive.
    Zip,
    /// A JSON file.
    Json,
    /// A text.
    Text,
    /// Something else.
    Other,
}

impl Kind {
    /// Tells it by how a file begins: by [`START`] bytes of it, if it has as many.
    ///
    /// # Errors
    ///
    /// When that shows already that it is no session.
    pub fn of(start: &[u8]) -> Result<Self, Fault> {
        if start.is_empty() {
            return Err(Fault::Empty);
        }
        if start.starts_with(sqlite::MAGIC) {
            return Ok(Self::Sqlite);
        }
        if start.len() >= MIN_MAGIC && sqlite::MAGIC.starts_with(start) {
            let wanted = sqlite::HEADER as u64;
            return Err(Fault::Truncated { found: start.len() as u64, wanted });
        }
        if start.starts_with(tdata::MAGIC) {
            return Err(Fault::Unsupported { library: Library::DesktopFile });
        }
        if ZIP.iter().any(|magic| start.starts_with(magic)) {
            return Ok(Self::Zip);
        }
        if start.trim_ascii_start().starts_with(b"{") {
            return Ok(Self::Json);
        }
        if start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
            return Ok(Self::Text);
        }
        Ok(Self::Other)
    }

    /// Tells what a file of this machine is. A symbolic link is followed.
    ///
    /// # Errors
    ///
    /// When it is no file or cannot be read, or as [`Kind::of`].
    pub fn of_file(path: &Path) -> Result<Self, Fault> {
        let meta = fs::metadata(path).map_err(|error| unreadable(&error))?;
        if meta.is_dir() {
            return Err(Fault::NotAFile("a folder"));
        }
        if !meta.is_file() {
            return Err(Fault::NotAFile("a device or a pipe"));
        }
        Self::of(&read_at_most(path, START as u64)?)
    }
}

/// Reads a session file of any library without changing anything. A symbolic link is followed.
///
/// # Errors
///
/// When it is none, cannot be read, or does not hold a usable session.
pub fn read_file(path: &Path) -> Result<Found, Fault> {
    let path = fs::canonicalize(path).map_err(|error| unreadable(&error))?;
    let kind = Kind::of_file(&path)?;
    let length = fs::metadata(&path).map_err(|error| unreadable(&error))?.len();
    if length > MAX_FILE {
        return Err(Fault::TooLarge(MAX_FILE));
    }
    match kind {
        Kind::Sqlite => {
            let start = read_at_most(&path, sqlite::HEADER as u64)?;
            sqlite::read(&path, &start, database)
        }
        Kind::Json => json(&read_at_most(&path, MAX_JSON + 1)?),
        Kind::Text => text(&read_at_most(&path, MAX_STRING as u64 + 1)?),
        Kind::Zip | Kind::Other => Err(other(kind)),
    }
}

/// A file in memory, and what SQLite may have left beside it.
#[derive(Default)]
pub struct Bytes {
    /// The file.
    pub file: Vec<u8>,
    /// What lies beside it under its name and `-wal`.
    pub log: Option<Vec<u8>>,
    /// What lies beside it under its name and `-journal`.
    pub journal: Option<Vec<u8>>,
}

/// Reads a session file of any library that is in memory already.
///
/// # Errors
///
/// As [`read_file`].
pub fn read_bytes(bytes: Bytes) -> Result<Found, Fault> {
    let length = bytes.file.len();
    if length as u64 > MAX_FILE {
        return Err(Fault::TooLarge(MAX_FILE));
    }
    match Kind::of(&bytes.file[..length.min(START)])? {
        Kind::Sqlite => sqlite::read_bytes(bytes, database),
        Kind::Json => json(&bytes.file),
        Kind::Text => text(&bytes.file),
        kind @ (Kind::Zip | Kind::Other) => Err(other(kind)),
    }
}

/// The library whose session is a whole folder, if this is one.
#[must_use]
pub fn library_of(files: &dyn Files) -> Option<Library> {
    if files.has(tdata::KEYS) {
        Some(Library::Desktop)
    } else if tdata::is_old(files) {
        Some(Library::OldDesktop)
    } else if files.has("td.binlog") || files.has("td_test.binlog") {
        Some(Library::TdLib)
    } else {
        None
    }
}

/// Reads a folder that holds one library's sessions, without changing anything.
///
/// # Errors
///
/// When it is none, cannot be read, or is locked. What is wrong with one account is told with that
/// account.
pub fn read_folder(files: &dyn Files, passcode: &Passcode) -> Result<Vec<Account>, Fault> {
    match library_of(files) {
        Some(Library::Desktop) => {}
        Some(library) => return Err(Fault::Unsupported { library }),
        None => return Err(Fault::NotAFile("a folder")),
    }
    let account = |account: tdata::Account| Account {
        number: account.number + 1,
        read: account.read.map(|telegram| Found::new(telegram, "tdata")),
    };
    Ok(tdata::read(files, passcode)?.into_iter().map(account).collect())
}

/// The library whose session is a whole folder of this machine, if this is one.
#[must_use]
pub fn foreign_folder(folder: &Path) -> Option<Library> {
    library_of(&Folder(folder))
}

/// Reads a session string of any library, however it was wrapped, padded or spelt.
///
/// # Errors
///
/// When it is none, or does not hold a usable session.
pub fn read_text(text: &str) -> Result<Found, Fault> {
    if text.len() > MAX_STRING {
        return Err(Fault::TooLong(text.len()));
    }
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if text.is_empty() {
        return Err(Fault::Empty);
    }
    if let Some(body) = text.strip_prefix('1') {
        return beginning_with_1(&decode(body).ok_or(Fault::NotBase64)?);
    }
    let unknown = "it does not look like a session string of any library";
    let bytes = decode(&text).ok_or(Fault::Unknown(unknown))?;
    if pyrogram::LENGTHS.contains(&bytes.len()) {
        return Ok(Found::new(pyrogram::parse(&bytes)?, "pyrogram-string"));
    }
    if matches!(bytes.first(), Some(1..=3)) && bytes.len() > super::AUTH_KEY_LEN {
        let (telegram, version) = mtcute::parse(&bytes)?;
        return Ok(Found::new(telegram, format!("mtcute-string-{version}")));
    }
    Err(Fault::Unknown(unknown))
}

/// Telethon's strings and GramJS's both begin with 1, and some are equally long.
fn beginning_with_1(bytes: &[u8]) -> Result<Found, Fault> {
    let [ipv4, ipv6] = telethon::LENGTHS;
    if bytes.len() != ipv4
        && let Some(end) = gramjs::address_end(bytes)
    {
        return Ok(Found::new(gramjs::parse(bytes, end)?, "gramjs-string"));
    }
    if bytes.len() != ipv4 && bytes.len() != ipv6 {
        return Err(Fault::StringLength(bytes.len()));
    }
    Ok(Found::new(telethon::parse(bytes)?, "telethon-string"))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.replace('+', "-").replace('/', "_");
    URL_SAFE_PAD_INDIFFERENT.decode(text).ok()
}

fn database(tables: &Tables<'_>) -> Result<Found, Fault> {
    if tables.has_column("version", "number")? {
        let (telegram, library, schema) = pyrogram::read(tables)?;
        return Ok(Found::new(telegram, format!("{library}-sqlite-{schema}")));
    }
    if tables.has_column("version", "version")? {
        let (telegram, schema) = telethon::read(tables)?;
        return Ok(Found::new(telegram, format!("telethon-sqlite-{schema}")));
    }
    if tables.has("dc_home") && tables.has("dc_option") {
        let (telegram, schema) = grammers::read(tables)?;
        return Ok(Found::new(telegram, format!("grammers-sqlite-{schema}")));
    }
    if tables.has("auth_keys") && tables.has("key_value") {
        return Err(Fault::Unsupported { library: Library::MtcuteFile });
    }
    Err(Fault::Unknown("it is a SQLite file, but has no session's tables"))
}

fn json(text: &[u8]) -> Result<Found, Fault> {
    if text.len() as u64 > MAX_JSON {
        return Err(Fault::Unknown("it is more JSON than any session has"));
    }
    Ok(Found::new(gotd::parse(text)?, "gotd-json"))
}

fn text(text: &[u8]) -> Result<Found, Fault> {
    let foreign = Fault::Unknown("it is text, but not one session string");
    if text.len() > MAX_STRING {
        return Err(foreign);
    }
    match read_text(&String::from_utf8_lossy(text)) {
        Err(Fault::NotBase64 | Fault::StringLength(_)) => Err(foreign),
        read => read,
    }
}

fn other(kind: Kind) -> Fault {
    Fault::Unknown(if kind == Kind::Zip {
        "it is a zip archive"
    } else {
        "it is neither SQLite, JSON nor text; WTelegramClient's encrypted files look so"
    })
}

/// The first bytes of a file of this machine.
pub(super) fn read_at_most(path: &Path, most: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| unreadable(&error))?;
    file.take(most).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    Ok(bytes)
}
