//! Tells sessions apart by what they hold, never by how they are called, and reads them.

use std::{fs, io::Read as _, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_PAD_INDIFFERENT};

use super::{
    Fault, Library, MAX_FILE, MAX_STRING, Telegram, gotd, gramjs, grammers, mtcute, pyrogram,
    sqlite::{self, Tables},
    telethon, unreadable,
};

/// The largest JSON that is looked at, in bytes.
const MAX_JSON: u64 = 1 << 20;

/// How much of a SQLite file's first bytes tells it from a text that begins alike.
const MIN_MAGIC: usize = 6;

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

/// Reads a session file of any library without changing anything. A symbolic link is followed.
///
/// # Errors
///
/// When it is none, cannot be read, or does not hold a usable session.
pub fn read_file(path: &Path) -> Result<Found, Fault> {
    let path = fs::canonicalize(path).map_err(|error| unreadable(&error))?;
    let meta = fs::metadata(&path).map_err(|error| unreadable(&error))?;
    if meta.is_dir() {
        return Err(match foreign_folder(&path) {
            Some(library) => Fault::Unsupported { library },
            None => Fault::NotAFile("a folder"),
        });
    }
    if !meta.is_file() {
        return Err(Fault::NotAFile("a device or a pipe"));
    }
    if meta.len() > MAX_FILE {
        return Err(Fault::TooLarge(meta.len()));
    }
    let start = read_at_most(&path, sqlite::HEADER as u64)?;
    if start.is_empty() {
        return Err(Fault::Empty);
    }
    if start.starts_with(sqlite::MAGIC) {
        return sqlite::read(&path, &start, database);
    }
    if start.len() >= MIN_MAGIC && sqlite::MAGIC.starts_with(&start) {
        let wanted = sqlite::HEADER as u64;
        return Err(Fault::Truncated { found: start.len() as u64, wanted });
    }
    if start.starts_with(b"TDF$") {
        return Err(Fault::Unsupported { library: Library::Desktop });
    }
    if start.trim_ascii_start().starts_with(b"{") {
        return json(&path);
    }
    if start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return text_file(&path);
    }
    let binary = "it is neither SQLite, JSON nor text; WTelegramClient's encrypted files look so";
    Err(Fault::Unknown(binary))
}

/// The library whose session is a whole folder, if this is one.
#[must_use]
pub fn foreign_folder(folder: &Path) -> Option<Library> {
    let has = |name: &str| folder.join(name).is_file();
    if has("key_datas") {
        Some(Library::Desktop)
    } else if has("td.binlog") || has("td_test.binlog") {
        Some(Library::TdLib)
    } else {
        None
    }
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

fn json(path: &Path) -> Result<Found, Fault> {
    let text = read_at_most(path, MAX_JSON)?;
    if text.len() as u64 == MAX_JSON {
        return Err(Fault::Unknown("it is more JSON than any session has"));
    }
    Ok(Found::new(gotd::parse(&text)?, "gotd-json"))
}

fn text_file(path: &Path) -> Result<Found, Fault> {
    let text = read_at_most(path, MAX_STRING as u64 + 1)?;
    let foreign = Fault::Unknown("it is text, but not one session string");
    if text.len() > MAX_STRING {
        return Err(foreign);
    }
    match read_text(&String::from_utf8_lossy(&text)) {
        Err(Fault::NotBase64 | Fault::StringLength(_)) => Err(foreign),
        read => read,
    }
}

fn read_at_most(path: &Path, most: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| unreadable(&error))?;
    file.take(most).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    Ok(bytes)
}
