//! Where sessions come from: files, folders, archives, lines. One at a time, never all at once.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead, BufReader, Cursor, Read as _},
    path::{Path, PathBuf},
};

use super::{Item, Sidecars, Ways, archive, item, sidecar::MAX_SIDECAR, sidecar::Sidecar};
use crate::credential::{
    Bytes, Fault, Files as _, Folder, Found, Kind, MAX_STRING, START, foreign_folder, read_bytes,
    read_file, read_folder, read_text,
};

/// How deep folders are followed.
const MAX_DEPTH: usize = 64;

/// Something that may hold sessions.
#[derive(Debug)]
pub struct Source(What);

#[derive(Debug)]
enum What {
    File(PathBuf),
    /// A file that a folder has, whose name promises nothing.
    Guess(PathBuf),
    Line {
        file_name: String,
        stem: Option<String>,
        text: Vec<u8>,
        /// Whether the file was found in a folder, so that the line promises nothing.
        is_guess: bool,
    },
    Fault {
        file_name: String,
        /// What the sessions would be named after, if it were right; nothing if nobody knows.
        stem: Option<String>,
        fault: Fault,
    },
}

impl Source {
    /// Reads it; nothing if it was a guess, and wrong. Blocks.
    #[must_use]
    pub fn read(self, ways: &Ways) -> Vec<Item> {
        match self.0 {
            What::Guess(path) => {
                let mut items = read_path(&path, ways);
                // An archive has left out already what is none.
                if Kind::of_file(&path) != Ok(Kind::Zip) {
                    items.retain(|item| !item.read.as_ref().is_err_and(nothing_like_a_session));
                }
                items
            }
            What::File(path) => {
                let items = read_path(&path, ways);
                if items.is_empty() && !is_sidecar(&path) {
                    let fault = Fault::Unknown("there is no session in it");
                    let file_name = path.display().to_string();
                    return vec![item(file_name, None, Err(fault), None, ways)];
                }
                items
            }
            What::Line { file_name, stem, text, is_guess } => {
                line(file_name, stem, &text, is_guess, ways)
            }
            What::Fault { file_name, stem, fault } => {
                vec![item(file_name, stem, Err(fault), None, ways)]
            }
        }
    }
}

fn line(
    file_name: String,
    stem: Option<String>,
    text: &[u8],
    is_guess: bool,
    ways: &Ways,
) -> Vec<Item> {
    let read = read_text(&String::from_utf8_lossy(text));
    if is_guess && read.as_ref().is_err_and(nothing_like_a_session) {
        return Vec::new();
    }
    vec![item(file_name, stem, read, None, ways)]
}

/// Reads a file, or a folder that is one library's.
fn read_path(path: &Path, ways: &Ways) -> Vec<Item> {
    let file_name = path.display().to_string();
    let one = |read| vec![item(file_name.clone(), stem(path), read, None, ways)];
    if path.is_dir() {
        return read_accounts(path, ways);
    }
    match Kind::of_file(path) {
        Ok(Kind::Zip) => match File::open(path) {
            Ok(file) => archive::read(BufReader::new(file), &file_name, stem(path), ways),
            Err(error) => one(Err(Fault::Unreadable(error.to_string()))),
        },
        Ok(Kind::Json) => match read_file(path) {
            Err(Fault::Unknown(_)) if is_sidecar(path) => Vec::new(),
            Err(Fault::Unknown(why)) => match written_out(path) {
                Some((found, sidecar)) => {
                    vec![item(file_name, stem(path), found, Some(&sidecar), ways)]
                }
                None => one(Err(Fault::Unknown(why))),
            },
            read => one(read),
        },
        Ok(Kind::Sqlite | Kind::Text | Kind::Other) => {
            let sidecar = beside(path, ways);
            let read = read_file(path);
            match sidecar {
                // What has nothing to do with sessions has no sidecar either.
                Err(fault) if read.is_ok() => one(Err(fault)),
                sidecar => {
                    let sidecar = sidecar.ok().flatten();
                    vec![item(file_name, stem(path), read, sidecar.as_ref(), ways)]
                }
            }
        }
        Err(fault) => one(Err(fault)),
    }
}

/// The session that a JSON file has written out as a string, and what else it says.
fn written_out(path: &Path) -> Option<(Result<Found, Fault>, Sidecar)> {
    let sidecar = read_sidecar(path).ok()??;
    let found = read_text(sidecar.string.as_deref()?)
        .map(|found| Found { format: format!("{} in json", found.format), ..found });
    Some((found, sidecar))
}

/// Reads all accounts of a folder.
fn read_accounts(folder: &Path, ways: &Ways) -> Vec<Item> {
    let file_name = folder.display().to_string();
    let stem = folder_stem(folder);
    let accounts = match read_folder(&Folder(folder), &ways.passcode) {
        Ok(accounts) => accounts,
        Err(fault) => return vec![item(file_name, stem, Err(fault), None, ways)],
    };
    let json = folder.parent().zip(stem.as_ref()).map(|(parent, stem)| {
        let name = format!("{stem}.json");
        if is_tdata(folder) { parent.join(name) } else { folder.with_file_name(name) }
    });
    let sidecar = match (json, ways.sidecars) {
        (Some(json), Sidecars::Read) => read_sidecar(&json),
        _ => Ok(None),
    };
    of_accounts(accounts, &file_name, stem.as_deref(), &sidecar, ways)
}

/// Items of a folder's accounts. A sidecar is about one account, so it counts if there is one.
pub(super) fn of_accounts(
    accounts: Vec<crate::credential::Account>,
    file_name: &str,
    stem: Option<&str>,
    sidecar: &Result<Option<Sidecar>, Fault>,
    ways: &Ways,
) -> Vec<Item> {
    let several = accounts.len() > 1;
    let one = |account: crate::credential::Account| {
        let number = account.number;
        let stem = match (stem, number) {
            (Some(stem), 2..) => Some(format!("{stem}-{number}")),
            (stem, _) => stem.map(str::to_owned),
        };
        let file_name =
            if several { format!("{file_name} account {number}") } else { file_name.to_owned() };
        match sidecar {
            Err(fault) if !several => item(file_name, stem, Err(fault.clone()), None, ways),
            Ok(Some(sidecar)) if !several => {
                item(file_name, stem, account.read, Some(sidecar), ways)
            }
            _ => {
                let mut item = item(file_name, stem, account.read, None, ways);
                if several && !matches!(sidecar, Ok(None)) {
                    item.notes.push("the sidecar is left aside: there are several accounts".into());
                }
                item
            }
        }
    };
    accounts.into_iter().map(one).collect()
}

/// The sidecar of a file: what lies beside it under its name and `.json`.
fn beside(path: &Path, ways: &Ways) -> Result<Option<Sidecar>, Fault> {
    if ways.sidecars == Sidecars::Ignore {
        return Ok(None);
    }
    read_sidecar(&path.with_extension("json"))
}

fn read_sidecar(path: &Path) -> Result<Option<Sidecar>, Fault> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let name = name.to_string_lossy();
    match Folder(folder).read(&name, MAX_SIDECAR) {
        Ok(None) => Ok(None),
        Ok(Some(text)) => parse_sidecar(&name, &text),
        Err(fault) => Err(Fault::Sidecar(format!("({name}) cannot be read: {fault}"))),
    }
}

/// Reads a sidecar. Nothing: it is a session itself.
pub(super) fn parse_sidecar(name: &str, text: &[u8]) -> Result<Option<Sidecar>, Fault> {
    Sidecar::parse(text).map_err(|why| Fault::Sidecar(format!("({name}) {why}")))
}

/// Whether a JSON file belongs to the session that lies beside it.
fn is_sidecar(path: &Path) -> bool {
    is_called(path, "json") && path.with_extension("session").is_file()
}

fn stem(path: &Path) -> Option<String> {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned())
}

/// What a folder's accounts are called after: `tdata` is all such folders' name.
fn folder_stem(folder: &Path) -> Option<String> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    if is_tdata(folder)
        && let Some(parent) = folder.parent().and_then(name)
    {
        return Some(parent);
    }
    name(folder)
}

fn is_tdata(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.eq_ignore_ascii_case("tdata"))
}

/// Whether a file may well have nothing to do with sessions.
pub(super) fn nothing_like_a_session(fault: &Fault) -> bool {
    use Fault as F;
    match fault {
        F::Empty
        | F::NotAFile(_)
        | F::TooLarge(_)
        | F::TooLong(_)
        | F::Unknown(_)
        | F::StringLength(_)
        | F::NotBase64 => true,
        F::Unreadable(_)
        | F::Archive(_)
        | F::Unsupported { .. }
        | F::NewerSchema { .. }
        | F::Truncated { .. }
        | F::Damaged(_)
        | F::InUse
        | F::Locked
        | F::WrongPasscode
        | F::NotLoggedIn
        | F::KeyLength(_)
        | F::ZeroKey
        | F::DataCentre(_)
        | F::Sidecar(_)
        | F::Several => false,
    }
}

/// Reads a file that somebody sent: one session, a text with one in each line, or an archive.
#[must_use]
pub fn from_memory(file_name: &str, bytes: Vec<u8>, ways: &Ways) -> Vec<Item> {
    let path = Path::new(file_name);
    let stem = stem(path);
    match Kind::of(&bytes[..bytes.len().min(START)]) {
        Ok(Kind::Zip) => {
            let items = archive::read(Cursor::new(bytes), file_name, stem, ways);
            if items.is_empty() {
                let fault = Fault::Unknown("there is no session in it");
                return vec![item(file_name.to_owned(), None, Err(fault), None, ways)];
            }
            items
        }
        Ok(Kind::Text) if is_called(path, "txt") => {
            let lines = Lines::new(Box::new(Cursor::new(bytes)), Some(path.to_owned()), false);
            lines.flat_map(|line| line.read(ways)).collect()
        }
        _ => {
            let read = read_bytes(Bytes { file: bytes, ..Bytes::default() });
            vec![item(file_name.to_owned(), stem, read, None, ways)]
        }
    }
}

/// All sources under some paths, in a stable order.
pub struct Sources {
    /// What is still to be looked at; the next is last.
    ahead: Vec<Ahead>,
    lines: Option<Lines>,
}

struct Ahead {
    path: PathBuf,
    depth: usize,
}

impl Sources {
    /// What lies at some paths, and below those that are folders. `-` is stdin.
    #[must_use]
    pub fn new(paths: &[PathBuf]) -> Self {
        let ahead = |path: &PathBuf| Ahead { path: path.clone(), depth: 0 };
        Self { ahead: paths.iter().rev().map(ahead).collect(), lines: None }
    }

    fn open(&mut self, ahead: Ahead) -> Option<Source> {
        let Ahead { path, depth } = ahead;
        let fault = |fault| {
            let file_name = path.display().to_string();
            Some(Source(What::Fault { file_name, stem: None, fault }))
        };
        if depth == 0 && path == Path::new("-") {
            self.lines = Some(Lines::new(Box::new(io::stdin()), None, false));
            return None;
        }
        if depth == 0 && is_string(&path) {
            let file_name = "a session string".to_owned();
            let what = "here; strings come from a .txt file, or with - from stdin";
            let fault = Fault::NotAFile(what);
            return Some(Source(What::Fault { file_name, stem: None, fault }));
        }
        if depth > 0 && path.is_symlink() {
            let link = "a symbolic link; inside a folder it is not followed";
            let (file_name, stem) = (path.display().to_string(), stem(&path));
            return Some(Source(What::Fault { file_name, stem, fault: Fault::NotAFile(link) }));
        }
        // Some folders are one library's, and reading them says whose.
        if path.is_dir() && foreign_folder(&path).is_none() {
            if depth == MAX_DEPTH {
                return fault(Fault::NotAFile("a folder in too many folders"));
            }
            match inside(&path) {
                Ok(mut paths) => {
                    paths.sort_unstable_by(|a, b| b.cmp(a));
                    let depth = depth + 1;
                    self.ahead.extend(paths.into_iter().map(|path| Ahead { path, depth }));
                    return None;
                }
                Err(error) => return fault(Fault::Unreadable(error.to_string())),
            }
        }
        // A text of many strings is read line by line; anything else is what it holds.
        let is_text = || matches!(Kind::of_file(&path), Ok(Kind::Text) | Err(_));
        if is_called(&path, "txt") && is_text() {
            match File::open(&path) {
                Ok(file) => {
                    self.lines = Some(Lines::new(Box::new(file), Some(path), depth > 0));
                    return None;
                }
                Err(error) => return fault(Fault::Unreadable(error.to_string())),
            }
        }
        let promised = depth == 0 || path.is_dir() || is_called(&path, "session");
        Some(Source(if promised { What::File(path) } else { What::Guess(path) }))
    }
}

impl Iterator for Sources {
    type Item = Source;

    fn next(&mut self) -> Option<Source> {
        loop {
            if let Some(lines) = &mut self.lines {
                match lines.next() {
                    Some(line) => return Some(line),
                    None => self.lines = None,
                }
            }
            let ahead = self.ahead.pop()?;
            if let Some(source) = self.open(ahead) {
                return Some(source);
            }
        }
    }
}

/// What a folder has for us: files and more folders. Of links only those to folders or sessions,
/// to say that they are not followed.
fn inside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let promises = is_called(&path, "session") || path.is_dir();
        if kind.is_file() || kind.is_dir() || promises {
            found.push(path);
        }
    }
    Ok(found)
}

fn is_called(path: &Path, extension: &str) -> bool {
    path.extension() == Some(OsStr::new(extension))
}

/// Whether somebody wrote a session where a file's name belongs. It is a secret, so it is not
/// repeated.
fn is_string(path: &Path) -> bool {
    !path.exists() && path.to_str().is_some_and(|text| read_text(text).is_ok())
}

/// The lines of a text. Empty ones and those that begin with # are passed over.
struct Lines {
    reader: BufReader<Box<dyn io::Read + Send>>,
    path: Option<PathBuf>,
    number: usize,
    is_guess: bool,
}

impl Lines {
    fn new(reader: Box<dyn io::Read + Send>, path: Option<PathBuf>, is_guess: bool) -> Self {
        Self { reader: BufReader::new(reader), path, number: 0, is_guess }
    }
}

impl Iterator for Lines {
    type Item = Source;

    fn next(&mut self) -> Option<Source> {
        loop {
            self.number += 1;
            let place = match &self.path {
                Some(path) => format!("{}:{}", path.display(), self.number),
                None => format!("stdin:{}", self.number),
            };
            match self.line() {
                Ok(text) if text.is_empty() => return None,
                Ok(text) => {
                    let start = text.trim_ascii_start().first();
                    if start.is_none() || start == Some(&b'#') {
                        continue;
                    }
                    let stem = self.path.as_deref().and_then(Path::file_stem);
                    let stem = stem.map(|stem| format!("{}-{}", stem.display(), self.number));
                    let is_guess = self.is_guess;
                    return Some(Source(What::Line { file_name: place, stem, text, is_guess }));
                }
                Err(error) => {
                    // Whatever comes after it is not read either.
                    self.reader = BufReader::new(Box::new(io::empty()));
                    let fault = Fault::Unreadable(error.to_string());
                    return Some(Source(What::Fault { file_name: place, stem: None, fault }));
                }
            }
        }
    }
}

impl Lines {
    /// The next line; empty at the end. One that is too long for a session comes without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let most = MAX_STRING as u64 + 2;
        self.reader.by_ref().take(most).read_until(b'\n', &mut line)?;
        if line.len() as u64 == most && line.last() != Some(&b'\n') {
            self.reader.skip_until(b'\n')?;
        }
        Ok(line)
    }
}
