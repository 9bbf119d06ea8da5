//! Where sessions come from: files, folders, lines. One at a time, never all at once.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use telegate::credential::{
    Fault, Found as Session, MAX_STRING, Telegram, foreign_folder, read_file, read_text,
};

/// How deep folders are followed.
const MAX_DEPTH: usize = 64;

/// Something that may be a session.
pub(super) enum Source {
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
        fault: Fault,
    },
}

/// What was found in a source.
pub(super) struct Found {
    pub(super) file_name: String,
    /// What the session's name is made of. Nothing: of its fingerprint.
    pub(super) stem: Option<String>,
    pub(super) format: String,
    pub(super) read: Result<Telegram, Fault>,
}

impl Source {
    /// Reads it; nothing if it was a guess, and wrong. Blocks.
    pub(super) fn read(self) -> Option<Found> {
        let (file_name, stem, read) = match self {
            Self::Guess(path) => {
                let read = read_file(&path);
                if read.as_ref().is_err_and(nothing_like_a_session) {
                    return None;
                }
                (path.display().to_string(), stem(&path), read)
            }
            Self::File(path) => (path.display().to_string(), stem(&path), read_file(&path)),
            Self::Line { file_name, stem, text, is_guess } => {
                let read = read_text(&String::from_utf8_lossy(&text));
                if is_guess && read.as_ref().is_err_and(nothing_like_a_session) {
                    return None;
                }
                (file_name, stem, read)
            }
            Self::Fault { file_name, fault } => (file_name, None, Err(fault)),
        };
        let (format, read) = match read {
            Ok(Session { telegram, format }) => (format, Ok(telegram)),
            Err(fault) => (String::new(), Err(fault)),
        };
        Some(Found { file_name, stem, format, read })
    }
}

fn stem(path: &Path) -> Option<String> {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned())
}

/// Whether a file may well have nothing to do with sessions.
fn nothing_like_a_session(fault: &Fault) -> bool {
    use Fault as F;
    match fault {
        F::Empty
        | F::NotAFile(_)
        | F::TooLarge(_)
        | F::TooLong(_)
        | F::Unreadable(_)
        | F::Unknown(_)
        | F::StringLength(_)
        | F::NotBase64 => true,
        F::Unsupported { .. }
        | F::NewerSchema { .. }
        | F::Truncated { .. }
        | F::Damaged(_)
        | F::InUse
        | F::NotLoggedIn
        | F::KeyLength(_)
        | F::ZeroKey
        | F::DataCentre(_)
        | F::Several => false,
    }
}

/// All sources under some paths, in a stable order.
pub(super) struct Sources {
    /// What is still to be looked at; the next is last.
    ahead: Vec<Ahead>,
    lines: Option<Lines>,
}

struct Ahead {
    path: PathBuf,
    depth: usize,
}

impl Sources {
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        let ahead = |path: &PathBuf| Ahead { path: path.clone(), depth: 0 };
        Self { ahead: paths.iter().rev().map(ahead).collect(), lines: None }
    }

    fn open(&mut self, ahead: Ahead) -> Option<Source> {
        let Ahead { path, depth } = ahead;
        let fault = |fault| Some(Source::Fault { file_name: path.display().to_string(), fault });
        if depth == 0 && path == Path::new("-") {
            let stdin = BufReader::new(Box::new(io::stdin()) as Box<dyn io::Read + Send>);
            self.lines = Some(Lines { reader: stdin, path: None, number: 0, is_guess: false });
            return None;
        }
        if depth == 0 && is_string(&path) {
            let file_name = "a session string".to_owned();
            let what = "here; strings come from a .txt file, or with - from stdin";
            return Some(Source::Fault { file_name, fault: Fault::NotAFile(what) });
        }
        if depth > 0 && path.is_symlink() {
            let link = "a symbolic link; inside a folder it is not followed";
            return fault(Fault::NotAFile(link));
        }
        // Some folders are one session, and reading them says whose.
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
        if path.extension() == Some(OsStr::new("txt")) {
            match File::open(&path) {
                Ok(file) => {
                    let reader = BufReader::new(Box::new(file) as Box<dyn io::Read + Send>);
                    let is_guess = depth > 0;
                    self.lines = Some(Lines { reader, path: Some(path), number: 0, is_guess });
                    return None;
                }
                Err(error) => return fault(Fault::Unreadable(error.to_string())),
            }
        }
        let promised = depth == 0 || path.is_dir() || is_session(&path);
        Some(if promised { Source::File(path) } else { Source::Guess(path) })
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
        if kind.is_file() || kind.is_dir() || is_session(&path) || path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether a file's name promises a session.
fn is_session(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("session"))
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
                    return Some(Source::Line { file_name: place, stem, text, is_guess });
                }
                Err(error) => {
                    // Whatever comes after it is not read either.
                    self.reader = BufReader::new(Box::new(io::empty()));
                    let fault = Fault::Unreadable(error.to_string());
                    return Some(Source::Fault { file_name: place, fault });
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
