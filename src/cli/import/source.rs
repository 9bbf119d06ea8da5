//! Where sessions come from: files, folders, lines. One at a time, never all at once.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use telegate::credential::{
    Telegram,
    telethon::{self, Fault, MAX_STRING},
};

/// How deep folders are followed.
const MAX_DEPTH: usize = 64;

/// Something that may be a session.
pub(super) enum Source {
    File(PathBuf),
    Line { file_name: String, stem: Option<String>, text: Vec<u8> },
    Fault { file_name: String, fault: Fault },
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
    /// Reads it. Blocks.
    pub(super) fn read(self) -> Found {
        match self {
            Self::File(path) => {
                let read = telethon::read_file(&path);
                let format = read.as_ref().map(|file| format!("telethon-sqlite-{}", file.schema));
                Found {
                    file_name: path.display().to_string(),
                    stem: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
                    format: format.unwrap_or_default(),
                    read: read.map(|file| file.telegram),
                }
            }
            Self::Line { file_name, stem, text } => {
                let read = telethon::parse_string(&String::from_utf8_lossy(&text));
                let format = if read.is_ok() { "telethon-string" } else { "" };
                Found { file_name, stem, format: format.to_owned(), read }
            }
            Self::Fault { file_name, fault } => {
                Found { file_name, stem: None, format: String::new(), read: Err(fault) }
            }
        }
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
            self.lines = Some(Lines { reader: stdin, path: None, number: 0 });
            return None;
        }
        if depth > 0 && path.is_symlink() {
            let link = "a symbolic link; inside a folder it is not followed";
            return fault(Fault::NotAFile(link));
        }
        // A folder with `key_datas` is one account's, and reading it says so.
        if path.is_dir() && !path.join("key_datas").exists() {
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
                    self.lines = Some(Lines { reader, path: Some(path), number: 0 });
                    return None;
                }
                Err(error) => return fault(Fault::Unreadable(error.to_string())),
            }
        }
        Some(Source::File(path))
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

/// What a folder has for us: `.session` files and more folders.
fn inside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let link_to_folder = || entry.file_type().is_ok_and(|t| t.is_symlink()) && path.is_dir();
        let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if folder || path.extension() == Some(OsStr::new("session")) || link_to_folder() {
            found.push(path);
        }
    }
    Ok(found)
}

/// The lines of a text. Empty ones and those that begin with # are passed over.
struct Lines {
    reader: BufReader<Box<dyn io::Read + Send>>,
    path: Option<PathBuf>,
    number: usize,
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
                    return Some(Source::Line { file_name: place, stem, text });
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
