//! Store keys: the secrets that credentials are sealed with, their text, and the file that holds
//! them.
//!
//! A key's text is `tgsk_`, its id, `_` and 256 random bits. The id is made of the bits, so that a
//! slip of the pen is noticed, and it is not secret: it stands in each sealed value.

use std::{
    fmt, fs, io,
    io::{Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use zeroize::Zeroizing;

/// What every store key begins with, so that people and secret scanners know one when they see it.
pub const PREFIX: &str = "tgsk_";
/// The most store keys there can be at once.
pub const MAX_KEYS: usize = 64;
/// The largest file of store keys, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// How many bytes a key has.
const KEY_BYTES: usize = 32;
/// How many bytes of a key's digest are its id.
const ID_BYTES: usize = 4;
/// What is digested before the key, so that an id is the digest of nothing else.
const ID_DOMAIN: &[u8] = b"telegate store key id\0";

/// Why there are no store keys. Each message says what to do next, and none repeats a key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error(
        "store keys {path}: {source}; name a file that this user may read, or make one with \
         `telegate keys new-store --store-key-file FILE`"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read the file.
    #[error(
        "store keys {path}: its mode is {mode:03o}, so others can read it; run: chmod 600 {path}"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What was given are no store keys.
    #[error("store keys {origin}: {fault}")]
    Malformed {
        /// Where they come from.
        origin: String,
        /// What is wrong, and what to do.
        fault: String,
    },
    /// The system gave no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// What a store key is called. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKeyId(pub(super) [u8; ID_BYTES]);

impl fmt::Display for StoreKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreKeyId({self})")
    }
}

/// A store key. Its `Debug` hides it, and its memory is wiped when it is let go.
#[derive(Clone)]
pub struct StoreKey {
    id: StoreKeyId,
    bits: Zeroizing<[u8; KEY_BYTES]>,
}

impl StoreKey {
    /// Makes a key.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bits = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(bits.as_mut()).map_err(KeyError::Random)?;
        Ok(Self::of(bits))
    }

    fn of(bits: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let digest = Sha256::new().chain_update(ID_DOMAIN).chain_update(bits.as_ref()).finalize();
        Self { id: StoreKeyId(std::array::from_fn(|i| digest[i])), bits }
    }

    /// Reads a key's text; one sentence says what is wrong with it.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix(PREFIX).ok_or("it does not begin with tgsk_")?;
        let (id, secret) = rest.split_once('_').ok_or("it is not a whole key")?;
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(secret).map(Zeroizing::new);
        let decoded = decoded.map_err(|_| "it is not a whole key")?;
        let bits: [u8; KEY_BYTES] =
            decoded.as_slice().try_into().map_err(|_| "it is not a whole key")?;
        let key = Self::of(Zeroizing::new(bits));
        if key.id.to_string() == id { Ok(key) } else { Err("it was mistyped") }
    }

    /// What it is called.
    #[must_use]
    pub const fn id(&self) -> StoreKeyId {
        self.id
    }

    /// The key's text, as a file or the environment holds it.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let bits = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(self.bits.as_ref()));
        Zeroizing::new(format!("{PREFIX}{}_{}", self.id, *bits))
    }

    pub(super) fn bits(&self) -> &[u8; KEY_BYTES] {
        &self.bits
    }
}

impl PartialEq for StoreKey {
    fn eq(&self, other: &Self) -> bool {
        self.bits.ct_eq(other.bits.as_ref()).into()
    }
}

impl Eq for StoreKey {}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreKey({})", self.id)
    }
}

/// Store keys: the first seals, all open. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreKeys(Vec<StoreKey>);

impl StoreKeys {
    /// One key alone.
    #[must_use]
    pub fn one(key: StoreKey) -> Self {
        Self(vec![key])
    }

    /// Reads keys that lines, blanks or commas separate; `#` begins a comment.
    ///
    /// # Errors
    ///
    /// `Malformed`, with the `origin` and the number of what is wrong.
    pub fn parse(text: &str, origin: &str) -> Result<Self, KeyError> {
        let malformed =
            |fault: String| Err(KeyError::Malformed { origin: origin.to_owned(), fault });
        let mut keys: Vec<StoreKey> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let words = line.split(|c: char| c.is_whitespace() || c == ',');
            for word in words.filter(|word| !word.is_empty()) {
                let key = match StoreKey::parse(word) {
                    Ok(key) => key,
                    Err(fault) => {
                        return malformed(format!(
                            "line {number} has what is no store key: {fault}; copy it anew, or \
                             make one with `telegate keys new-store`"
                        ));
                    }
                };
                if keys.iter().any(|known| known.id == key.id) {
                    return malformed(format!("store key {} is there twice; drop one", key.id));
                }
                keys.push(key);
            }
        }
        match keys.len() {
            0 => malformed("there are none; make one with `telegate keys new-store`".to_owned()),
            1..=MAX_KEYS => Ok(Self(keys)),
            many => malformed(format!("there are {many}, at most {MAX_KEYS}; drop the oldest")),
        }
    }

    /// Reads the keys in a file, which nobody but this user may read. A file that somebody else
    /// owns may be shown to this user by its group: service managers hand secrets over so.
    ///
    /// # Errors
    ///
    /// When it cannot be read, others can read it too, or it holds no keys.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        Self::parse(&read(path)?, &path.display().to_string())
    }

    /// Makes a key and puts it first in a file, which is made if it is missing. In one step: a
    /// reader sees the old file or the new.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or written, or is not in order.
    pub fn add_to_file(path: &Path) -> Result<StoreKey, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let before = match read(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Zeroizing::new(HEADER.to_owned())
            }
            read => {
                let text = read?;
                Self::parse(&text, &path.display().to_string())?;
                text
            }
        };
        let key = StoreKey::generate()?;
        let is_key = |line: &str| line.trim_start().starts_with(PREFIX);
        let head = before.split_inclusive('\n').take_while(|line| !is_key(line));
        let (head, tail) = before.split_at(head.map(str::len).sum());
        let text = Zeroizing::new(format!("{head}{}\n{tail}", *key.reveal()));
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let draft = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = write_private(&draft, &text)
            .and_then(|()| fs::rename(&draft, path))
            .and_then(|()| fs::File::open(folder)?.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written.map_err(failed)?;
        Ok(key)
    }

    /// The key that seals.
    #[must_use]
    pub fn first(&self) -> &StoreKey {
        &self.0[0]
    }

    /// The key of that name.
    pub(super) fn find(&self, id: StoreKeyId) -> Option<&StoreKey> {
        self.0.iter().find(|key| key.id == id)
    }

    /// What the keys are called, in their order.
    pub fn ids(&self) -> impl Iterator<Item = StoreKeyId> {
        self.0.iter().map(StoreKey::id)
    }
}

const HEADER: &str = "\
# Telegate's store keys: the first seals credentials, all open them. Keep this file secret, and a
# copy of it away from the store: without it the credentials in the store are lost.
";

fn read(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    let mode = metadata.mode() & 0o777;
    if metadata.is_file() && mode & if own { 0o077 } else { 0o007 } != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn keys(count: usize) -> (Vec<StoreKey>, String) {
        let keys: Vec<_> = (0..count).map(|_| StoreKey::generate().unwrap()).collect();
        let texts: Vec<_> = keys.iter().map(|key| key.reveal().to_string()).collect();
        (keys, texts.join("\n"))
    }

    #[test]
    fn a_key_survives_its_text_and_hides_in_debug() {
        let (keys, text) = keys(1);
        assert!(text.starts_with("tgsk_") && text.len() == 5 + 8 + 1 + 43, "{text}");
        assert_eq!(StoreKeys::parse(&text, "x").unwrap(), StoreKeys(keys.clone()));
        let id = keys[0].id().to_string();
        assert_eq!(format!("{:?}", keys[0]), format!("StoreKey({id})"));
        assert_eq!(&text[5..13], id);
    }

    #[test]
    fn keys_come_by_lines_commas_and_blanks_with_comments_between() {
        let (keys, text) = keys(3);
        let texts: Vec<_> = text.lines().collect();
        let text = format!("# a\n\n {}, {}\t# b\n{}", texts[0], texts[1], texts[2]);
        let parsed = StoreKeys::parse(&text, "x").unwrap();
        assert_eq!(parsed, StoreKeys(keys.clone()));
        assert_eq!(parsed.first(), &keys[0]);
        assert!(parsed.ids().eq(keys.iter().map(StoreKey::id)));
    }

    #[test]
    fn every_fault_is_told_without_repeating_a_key() {
        let (_, good) = keys(1);
        let other = if good.ends_with('A') { "E" } else { "A" };
        let mistyped = format!("{}{other}", &good[..good.len() - 1]);
        for (text, said) in [
            (String::new(), "there are none"),
            ("# nothing".into(), "there are none"),
            ("tg_notastorekey".into(), "line 1 has what is no store key: it does not begin with"),
            (format!("{good}\nhunter2"), "line 2 has what"),
            (good[..30].to_owned(), "it is not a whole key"),
            (mistyped, "no store key: it "),
            (format!("{good}\n{good}"), "is there twice"),
            (keys(MAX_KEYS + 1).1, "there are 65, at most 64"),
        ] {
            let fault = StoreKeys::parse(&text, "FILE").expect_err(&text).to_string();
            assert!(fault.starts_with("store keys FILE: ") && fault.contains(said), "{fault}");
            assert!(!fault.contains("hunter2") && !fault.contains(&good[14..]), "{fault}");
        }
        assert!(StoreKeys::parse(&keys(MAX_KEYS).1, "FILE").is_ok());
    }

    #[test]
    fn a_new_key_of_a_file_comes_first_and_the_file_is_its_owners_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/store.keys");
        let first = StoreKeys::add_to_file(&path).unwrap();
        let second = StoreKeys::add_to_file(&path).unwrap();
        assert_eq!(StoreKeys::load(&path).unwrap(), StoreKeys(vec![second, first]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(&path).unwrap().starts_with("# Telegate's store keys"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(StoreKeys::add_to_file(&path), Err(KeyError::Malformed { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "nonsense", "it is left as it is");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.keys");
        StoreKeys::add_to_file(&path).unwrap();
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let loaded = StoreKeys::load(&path);
            assert_eq!(loaded.is_ok(), fine, "{mode:o}");
            if let Err(error) = loaded {
                let said = error.to_string();
                let wanted = format!("its mode is {mode:o}, so others can read it; run: chmod 600");
                assert!(said.contains(&wanted), "{said}");
            }
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(StoreKeys::load(&path), Err(KeyError::Io { .. })));
    }

    #[test]
    fn the_group_of_another_owner_may_show_the_file_and_the_world_may_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.keys");
        StoreKeys::add_to_file(&path).unwrap();
        // Only root can give a file away, as service managers do.
        if std::os::unix::fs::chown(&path, Some(1), None).is_err() {
            return;
        }
        for (mode, fine) in [(0o440, true), (0o444, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(StoreKeys::load(&path).is_ok(), fine, "{mode:o}");
        }
    }
}
