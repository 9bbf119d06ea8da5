//! Zip archives of accounts, read in memory and within limits. Nothing is unpacked to disk.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use zip::{
    CompressionMethod, ZipArchive,
    read::{ArchiveOffset, Config},
    result::ZipError,
};

use super::{
    Item, Sidecars, Ways, item,
    sidecar::{MAX_SIDECAR, Sidecar},
    source::{nothing_like_a_session, of_accounts, parse_sidecar},
};
use crate::credential::{
    Bytes, Fault, Files, Found, Kind, MAX_STRING, START, library_of, read_bytes, read_folder,
    read_text,
};

/// The most entries of an archive.
const MAX_ENTRIES: u16 = 20_000;
/// The largest list of entries, in bytes.
const MAX_DIRECTORY: u32 = 8 << 20;
/// The longest name of an entry, in bytes, and how many folders it may name.
const MAX_NAME: usize = 1024;
const MAX_DEPTH: usize = 32;
/// The largest entry that is unpacked, in bytes.
const MAX_ENTRY: u64 = 16 << 20;
/// How much is unpacked of one archive in all, in bytes.
const MAX_UNPACKED: u64 = 1 << 30;
/// How many times larger than its packed form an entry may be, once it is larger than this.
const MAX_RATIO: u64 = 200;
const RATIO_COUNTS_FROM: u64 = 1 << 20;
/// The record at the end of an archive: its mark, its length, and the longest comment after it.
const END: [u8; 4] = *b"PK\x05\x06";
const END_LEN: usize = 22;
const MAX_COMMENT: usize = 65_535;

/// Reads all sessions of an archive; none, if there is nothing like one in it.
pub(super) fn read(
    reader: impl Read + Seek,
    file_name: &str,
    stem: Option<String>,
    ways: &Ways,
) -> Vec<Item> {
    match Archive::open(reader) {
        Ok(archive) => Contents { archive, file_name, stem, ways }.items(),
        Err(fault) => vec![item(file_name.to_owned(), None, Err(fault), None, ways)],
    }
}

/// An open archive.
struct Archive<R> {
    zip: RefCell<ZipArchive<R>>,
    /// The files by name.
    files: BTreeMap<String, usize>,
    /// The entries that are not looked at, and why.
    refused: Vec<(String, Fault)>,
    /// How much may still be unpacked.
    left: Cell<u64>,
}

impl<R: Read + Seek> Archive<R> {
    fn open(mut reader: R) -> Result<Self, Fault> {
        check_end(&mut reader)?;
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let zip = ZipArchive::with_config(config, reader).map_err(|error| fault(&error))?;
        if zip.has_duplicate_names() {
            return Err(Fault::Archive("two of its files have one name"));
        }
        let mut archive = Self {
            zip: RefCell::new(zip),
            files: BTreeMap::new(),
            refused: Vec::new(),
            left: Cell::new(MAX_UNPACKED),
        };
        archive.index()?;
        Ok(archive)
    }

    fn index(&mut self) -> Result<(), Fault> {
        let zip = self.zip.borrow();
        for at in 0..zip.len() {
            let entry = zip.by_index_data(at).map_err(|error| fault(&error))?;
            if entry.is_dir() {
                continue;
            }
            if entry.encrypted() {
                return Err(Fault::Archive("it is encrypted; unpack it, and name the folder"));
            }
            let name = String::from_utf8_lossy(entry.name_raw()).replace('\\', "/");
            let fault = if !is_inside(&name) {
                Fault::Archive("a file in it names a place outside of it")
            } else if entry.is_symlink() {
                Fault::NotAFile("a symbolic link")
            } else if !matches!(
                entry.compression(),
                CompressionMethod::Stored | CompressionMethod::Deflated
            ) {
                Fault::Archive("it is packed in another way than deflate")
            } else {
                if self.files.insert(name, at).is_some() {
                    return Err(Fault::Archive("two of its files have one name"));
                }
                continue;
            };
            let shown: String = name.chars().take(80).collect();
            self.refused.push((shown, fault));
        }
        Ok(())
    }

    /// The first bytes of a file.
    fn start(&self, at: usize) -> Result<Vec<u8>, Fault> {
        self.unpack(at, START as u64)
    }

    /// A whole file.
    fn whole(&self, at: usize, most: u64) -> Result<Vec<u8>, Fault> {
        let most = most.min(MAX_ENTRY);
        let bytes = self.unpack(at, most + 1)?;
        if bytes.len() as u64 > most { Err(Fault::TooLarge(most)) } else { Ok(bytes) }
    }

    fn unpack(&self, at: usize, most: u64) -> Result<Vec<u8>, Fault> {
        let mut zip = self.zip.borrow_mut();
        let mut entry = zip.by_index(at).map_err(|error| fault(&error))?;
        let packed = entry.compressed_size().max(1);
        // What the archive says of lengths is not relied on.
        let ratio = RATIO_COUNTS_FROM.max(packed.saturating_mul(MAX_RATIO));
        let most = most.min(self.left.get()).min(ratio.saturating_add(1));
        let mut bytes = Vec::new();
        (&mut entry).take(most).read_to_end(&mut bytes).map_err(|error| io_fault(&error))?;
        let length = bytes.len() as u64;
        self.left.set(self.left.get() - length);
        if self.left.get() == 0 {
            return Err(Fault::Archive("its files have more than 1 GiB in all"));
        }
        if length > ratio {
            return Err(Fault::Archive("a file in it is packed far too well, as in a zip bomb"));
        }
        Ok(bytes)
    }
}

/// Checks the record at the end, so that the list of entries that it leads to is within limits.
fn check_end(reader: &mut (impl Read + Seek)) -> Result<(), Fault> {
    let damaged = || Fault::damaged("it is a zip archive without its end");
    let length = reader.seek(SeekFrom::End(0)).map_err(|error| io_fault(&error))?;
    let from = length.saturating_sub((END_LEN + MAX_COMMENT) as u64);
    reader.seek(SeekFrom::Start(from)).map_err(|error| io_fault(&error))?;
    let mut tail = Vec::new();
    reader
        .by_ref()
        .take((END_LEN + MAX_COMMENT) as u64)
        .read_to_end(&mut tail)
        .map_err(|error| io_fault(&error))?;
    let mut ends = tail.windows(END.len()).enumerate().filter(|(_, window)| *window == END);
    let (at, _) = ends.next().ok_or_else(damaged)?;
    // Readers differ in which of two they take.
    if ends.next().is_some() {
        return Err(Fault::Archive("it has two ends, as one archive within another has"));
    }
    let record: &[u8; END_LEN] = tail[at..].first_chunk().ok_or_else(damaged)?;
    let short = |at: usize| u16::from_le_bytes([record[at], record[at + 1]]);
    let long = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
    if short(10) > MAX_ENTRIES || short(8) != short(10) || long(12) > MAX_DIRECTORY {
        return Err(Fault::Archive("it has more than 20000 files, or is one of several parts"));
    }
    if at + END_LEN + usize::from(short(20)) != tail.len() {
        return Err(damaged());
    }
    Ok(())
}

/// Whether a name leads nowhere else.
fn is_inside(name: &str) -> bool {
    let parts = name.split('/');
    name.len() <= MAX_NAME
        && !name.contains('\0')
        && parts.clone().count() <= MAX_DEPTH
        && parts.clone().all(|part| !part.is_empty() && part != "." && part != "..")
        && !parts.clone().next().is_some_and(|part| part.ends_with(':'))
}

fn fault(error: &ZipError) -> Fault {
    match error {
        ZipError::Io(error) => io_fault(error),
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
            Fault::Archive("it is packed in another way than deflate")
        }
        _ => Fault::damaged("it is a zip archive whose parts do not fit"),
    }
}

fn io_fault(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            Fault::damaged("a file of the archive cannot be unpacked")
        }
        _ => Fault::Unreadable(error.to_string()),
    }
}

/// A folder of an archive.
struct Within<'a, R> {
    archive: &'a Archive<R>,
    /// Its name, with a slash at the end; empty for the archive itself.
    prefix: &'a str,
}

impl<R: Read + Seek> Files for Within<'_, R> {
    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Fault> {
        match self.archive.files.get(&format!("{}{name}", self.prefix)) {
            Some(at) => self.archive.whole(*at, most).map(Some),
            None => Ok(None),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.archive.files.contains_key(&format!("{}{name}", self.prefix))
    }
}

/// What is in an archive.
struct Contents<'a, R> {
    archive: Archive<R>,
    /// The archive's own name and stem.
    file_name: &'a str,
    stem: Option<String>,
    ways: &'a Ways,
}

impl<R: Read + Seek> Contents<'_, R> {
    fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        for (name, fault) in &self.archive.refused {
            let stem = Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
            items.push(self.item(name, stem, Err(fault.clone()), None));
        }
        let folders = self.folders();
        for prefix in &folders {
            items.extend(self.accounts(prefix));
        }
        for (name, at) in &self.archive.files {
            let mut above = name.match_indices('/').map(|(at, _)| &name[..=at]);
            let is_part = folders.contains("") || above.any(|folder| folders.contains(folder));
            if is_part || self.is_beside(name) {
                continue;
            }
            let found = self.file(name, *at);
            let is_promised = has_extension(name, "session");
            let keep =
                |item: &Item| is_promised || !item.read.as_ref().is_err_and(nothing_like_a_session);
            items.extend(found.into_iter().filter(keep));
        }
        items
    }

    fn item(
        &self,
        name: &str,
        stem: Option<String>,
        read: Result<Found, Fault>,
        sidecar: Option<&Sidecar>,
    ) -> Item {
        item(format!("{}: {name}", self.file_name), stem, read, sidecar, self.ways)
    }

    /// The folders that are one library's, each with a slash at the end.
    fn folders(&self) -> BTreeSet<String> {
        const MARKS: [&str; 6] =
            ["key_datas", "td.binlog", "td_test.binlog", "map0", "map1", "maps"];
        let above = |name: &str| name.trim_end_matches('/').rfind('/').map_or(0, |at| at + 1);
        let mut found = BTreeSet::new();
        for name in self.archive.files.keys() {
            let folder = &name[..above(name)];
            if !MARKS.contains(&&name[folder.len()..]) {
                continue;
            }
            // Old ones have their mark one folder further down.
            for prefix in [folder, &folder[..above(folder)]] {
                if library_of(&self.within(prefix)).is_some() {
                    found.insert(prefix.to_owned());
                }
            }
        }
        found
    }

    fn within<'b>(&'b self, prefix: &'b str) -> Within<'b, R> {
        Within { archive: &self.archive, prefix }
    }

    fn accounts(&self, prefix: &str) -> Vec<Item> {
        let folder = Path::new(prefix);
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let own = name(folder).filter(|name| !name.eq_ignore_ascii_case("tdata"));
        let above = folder.parent().and_then(name);
        let stem = own.clone().or(above).or_else(|| self.stem.clone());
        let accounts = match read_folder(&self.within(prefix), &self.ways.passcode) {
            Ok(accounts) => accounts,
            Err(fault) => return vec![self.item(prefix, stem, Err(fault), None)],
        };
        // Beside the folder, or in the folder above it and called like that.
        let place = folder.parent().unwrap_or(Path::new(""));
        let json = stem.as_ref().map(|stem| place.join(format!("{stem}.json")));
        let sidecar = match json {
            Some(json) => self.sidecar(&json.to_string_lossy()),
            None => Ok(None),
        };
        let file_name = format!("{}: {}", self.file_name, prefix.trim_end_matches('/'));
        of_accounts(
            accounts,
            file_name.trim_end_matches([' ', ':']),
            stem.as_deref(),
            &sidecar,
            self.ways,
        )
    }

    /// Whether a file belongs to another.
    fn is_beside(&self, name: &str) -> bool {
        let there = |name: &str| self.archive.files.contains_key(name);
        let suffixes = ["-wal", "-journal", "-shm"];
        name.starts_with("__MACOSX/")
            || suffixes.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(there))
            || name.strip_suffix(".json").is_some_and(|name| there(&format!("{name}.session")))
    }

    fn file(&self, name: &str, at: usize) -> Vec<Item> {
        let stem = Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let one = |read| vec![self.item(name, stem.clone(), read, None)];
        let kind = self.archive.start(at).and_then(|start| Kind::of(&start));
        match kind {
            Err(fault) => one(Err(fault)),
            Ok(Kind::Zip) => {
                one(Err(Fault::Archive("an archive within an archive; unpack the outer one")))
            }
            Ok(Kind::Text) if has_extension(name, "txt") => self.lines(name, at),
            Ok(Kind::Other) => one(Err(Fault::Unknown("it is neither SQLite, JSON nor text"))),
            Ok(Kind::Sqlite | Kind::Json | Kind::Text) => {
                let read = self.bytes(name, at).and_then(read_bytes);
                let json = Path::new(name).with_extension("json");
                let sidecar = match read {
                    Ok(_) if !has_extension(name, "json") => self.sidecar(&json.to_string_lossy()),
                    _ => Ok(None),
                };
                match (read, sidecar) {
                    (Ok(_), Err(fault)) => one(Err(fault)),
                    (Err(Fault::Unknown(_)), _) if kind == Ok(Kind::Json) => {
                        self.written_out(name, stem.clone(), at).into_iter().collect()
                    }
                    (read, sidecar) => {
                        vec![self.item(name, stem.clone(), read, sidecar.ok().flatten().as_ref())]
                    }
                }
            }
        }
    }

    /// A file, with what SQLite left beside it.
    fn bytes(&self, name: &str, at: usize) -> Result<Bytes, Fault> {
        let beside = |suffix: &str| match self.archive.files.get(&format!("{name}{suffix}")) {
            Some(at) => self.archive.whole(*at, MAX_ENTRY).map(Some),
            None => Ok(None),
        };
        Ok(Bytes {
            file: self.archive.whole(at, MAX_ENTRY)?,
            log: beside("-wal")?,
            journal: beside("-journal")?,
        })
    }

    fn lines(&self, name: &str, at: usize) -> Vec<Item> {
        let text = match self.archive.whole(at, MAX_ENTRY) {
            Ok(text) => text,
            Err(fault) => return vec![self.item(name, None, Err(fault), None)],
        };
        let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
        let lines = (1..).zip(text.split(|byte| *byte == b'\n'));
        let item = |(number, line): (usize, &[u8])| {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                return None;
            }
            let read = if line.len() > MAX_STRING {
                Err(Fault::TooLong(line.len()))
            } else {
                read_text(&String::from_utf8_lossy(line))
            };
            let place = format!("{name}:{number}");
            Some(self.item(&place, Some(format!("{stem}-{number}")), read, None))
        };
        lines.filter_map(item).collect()
    }

    /// The session that a JSON file has written out as a string.
    fn written_out(&self, name: &str, stem: Option<String>, at: usize) -> Option<Item> {
        let text = self.archive.whole(at, MAX_SIDECAR).ok()?;
        let sidecar = Sidecar::parse(&text).ok()??;
        let found = read_text(sidecar.string.as_deref()?);
        let found =
            found.map(|found| Found { format: format!("{} in json", found.format), ..found });
        Some(self.item(name, stem, found, Some(&sidecar)))
    }

    fn sidecar(&self, name: &str) -> Result<Option<Sidecar>, Fault> {
        let Some(at) = self.archive.files.get(name) else { return Ok(None) };
        if self.ways.sidecars == Sidecars::Ignore {
            return Ok(None);
        }
        let short = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
        match self.archive.whole(*at, MAX_SIDECAR) {
            Ok(text) => parse_sidecar(&short, &text),
            Err(fault) => Err(Fault::Sidecar(format!("({short}) cannot be read: {fault}"))),
        }
    }
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}
