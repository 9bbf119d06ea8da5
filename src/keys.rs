//! API keys and the file that keeps them: only their hashes, with roles and pools.

use std::{
    collections::HashSet,
    fmt, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::pool::{KeyId, PoolName, Time};

/// What every key begins with, so that people and secret scanners know one when they see it.
pub const PREFIX: &str = "tg_";
/// How many random bytes a key has.
const KEY_BYTES: usize = 32;
/// The most keys a file can have.
pub const MAX_KEYS: usize = 10_000;
/// The longest name of a key, in bytes.
pub const MAX_NAME: usize = 128;
/// The word for all pools.
pub const ALL_POOLS: &str = "*";

/// Why keys could not be read or written. Each message says what to do next.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no such file.
    #[error("key file {0} does not exist; make it with `telegate keys new`")]
    Missing(PathBuf),
    /// The file could not be read or written.
    #[error("key file {path}: {source}; check that this user may read and write it")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a key file.
    #[error("key file {path}: {fault}; mend it, or make a new one with `telegate keys new`")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The system gave no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Leases sessions.
    Worker,
    /// Reads how pools stand.
    Observer,
    /// Everything.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Worker, Self::Observer, Self::Admin];

    /// The role's name, as in the file and in errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Observer => "observer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let role = Self::ALL.into_iter().find(|role| role.name() == text);
        role.ok_or_else(|| format!("'{text}' is not a role; use worker, observer or admin"))
    }
}

/// A key's text. It is shown once, when it is made; its `Debug` hides it.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The key as its caller must send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What is kept of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What logs and leases call it.
    pub id: String,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// The key's SHA-256. A key has 256 random bits, so nothing slower is needed.
    pub hash: Hash,
    /// What it may do.
    pub roles: Vec<Role>,
    /// The pools that it may use; `*` for all.
    pub pools: Vec<String>,
    /// When it was made, in RFC 3339.
    #[serde(default)]
    pub created: String,
    /// From when on it is refused, in RFC 3339 and UTC; never, where that is not said.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "expiry")]
    pub expires: Option<Time>,
}

/// A moment, as the file has it.
mod expiry {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::pool::Time;

    #[expect(clippy::ref_option, reason = "serde asks for it so")]
    pub(super) fn serialize<S: Serializer>(at: &Option<Time>, to: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => to.serialize_str(&at.to_string()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Time>, D::Error> {
        let wrong = "a key expires at a moment such as \"2026-01-31T00:00:00Z\"";
        let text = String::deserialize(from).map_err(|_| D::Error::custom(wrong))?;
        Time::parse(&text).map(Some).ok_or_else(|| D::Error::custom(wrong))
    }
}

impl Entry {
    /// The id, as leases keep it.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::new(&self.id)
    }

    /// Whether it is refused at a moment, because it has expired.
    #[must_use]
    pub fn is_over(&self, now: Time) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    fn fault(&self) -> Option<String> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        let pool = |pool: &&String| *pool != ALL_POOLS && PoolName::parse(pool).is_none();
        if !(1..=64).contains(&self.id.len()) || !self.id.bytes().all(plain) {
            Some(format!("key id '{}' is not 1 to 64 of A-Z, a-z, 0-9, '-' and '_'", self.id))
        } else if self.name.len() > MAX_NAME {
            Some(format!("the name of key {} is longer than {MAX_NAME} bytes", self.id))
        } else if self.roles.is_empty() {
            Some(format!("key {} has no roles; give it worker, observer or admin", self.id))
        } else if self.pools.is_empty() {
            Some(format!("key {} has no pools; name some, or '*' for all", self.id))
        } else {
            let bad = self.pools.iter().find(pool)?;
            let rule = PoolName::RULE;
            Some(format!("key {}: '{bad}' is not a pool name, which is {rule}", self.id))
        }
    }
}

/// The SHA-256 of a key. Two of them are compared in constant time.
#[derive(Clone, Copy)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Hashes a key's text.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// The first half, to look a key up by. It tells nothing of the key.
    #[must_use]
    pub fn prefix(&self) -> [u8; 16] {
        std::array::from_fn(|i| self.0[i])
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Hash {}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hash)")
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("sha256:{}", hex(&self.0)))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("a hash is 'sha256:' and 64 hexadecimal digits");
        let digits = text.strip_prefix("sha256:").ok_or_else(wrong)?;
        if digits.len() != 64 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(hash))
    }
}

/// The keys of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    #[serde(default, rename = "key")]
    keys: Vec<Entry>,
}

impl KeyFile {
    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// When it is missing, cannot be read, or is malformed.
    pub fn load(path: &Path) -> Result<Self, Error> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map_err(|fault| Error::Malformed { path: path.to_owned(), fault }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                Err(Error::Missing(path.to_owned()))
            }
            Err(source) => Err(Error::Io { path: path.to_owned(), source }),
        }
    }

    /// Reads a key file; a missing one has no keys.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is malformed.
    pub fn load_or_empty(path: &Path) -> Result<Self, Error> {
        match Self::load(path) {
            Err(Error::Missing(_)) => Ok(Self::default()),
            other => other,
        }
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    ///
    /// One sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        // The parser's own message quotes the line, which could hold a key that somebody pasted.
        let file: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            format!("line {line}: {}", error.message())
        })?;
        if let Some(fault) = file.keys.iter().find_map(Entry::fault) {
            return Err(fault);
        }
        if file.keys.len() > MAX_KEYS {
            return Err(format!("it has {} keys; at most {MAX_KEYS}", file.keys.len()));
        }
        let mut ids = HashSet::new();
        match file.keys.iter().find(|entry| !ids.insert(entry.id.as_str())) {
            Some(twice) => Err(format!("the key id {} is there twice", twice.id)),
            None => Ok(file),
        }
    }

    /// Makes a key. Its text is returned here and kept nowhere.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn generate(
        &mut self,
        name: &str,
        roles: Vec<Role>,
        pools: Vec<String>,
        created_unix_secs: u64,
    ) -> Result<(String, Secret), Error> {
        let mut bits = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(bits.as_mut()).map_err(Error::Random)?;
        let text = Zeroizing::new(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(*bits)));
        let id = loop {
            let id = format!("k-{:08x}", getrandom::u32().map_err(Error::Random)?);
            if self.keys.iter().all(|entry| entry.id != id) {
                break id;
            }
        };
        self.keys.push(Entry {
            id: id.clone(),
            name: name.to_owned(),
            hash: Hash::of(&text),
            roles,
            pools,
            created: Time(created_unix_secs.saturating_mul(1000)).to_string(),
            expires: None,
        });
        Ok((id, Secret(text)))
    }

    /// Lets a key expire, at a moment in whole seconds. Tells whether there is one.
    pub fn expire(&mut self, id: &str, at: Time) -> bool {
        let entry = self.keys.iter_mut().find(|entry| entry.id == id);
        entry.map(|entry| entry.expires = Some(Time(at.0 / 1000 * 1000))).is_some()
    }

    /// Forgets a key. Tells whether there was one.
    pub fn revoke(&mut self, id: &str) -> bool {
        let before = self.keys.len();
        self.keys.retain(|entry| entry.id != id);
        self.keys.len() < before
    }

    /// What is kept of each key.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.keys
    }

    /// Changes a file, or makes it. Of several that do so at once on this machine, each sees what
    /// the one before has written.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written, or would be malformed, or as the change.
    pub fn edit<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        let folder = folder_of(path);
        fs::create_dir_all(folder).map_err(failed)?;
        // The folder is what stays when the file is replaced; the lock goes with the handle.
        let guard = fs::File::open(folder).map_err(failed)?;
        guard.lock().map_err(failed)?;
        let mut file = Self::load_or_empty(path)?;
        let before = file.clone();
        let done = change(&mut file)?;
        if file != before {
            file.save(path)?;
        }
        Ok(done)
    }

    /// Writes the file, for its owner only, in one step: a reader sees the old file or the new.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or would be malformed.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        let malformed = |fault| Error::Malformed { path: path.to_owned(), fault };
        let body = toml::to_string(self).map_err(|error| malformed(error.to_string()))?;
        Self::parse(&body).map_err(malformed)?;
        let folder = folder_of(path);
        fs::create_dir_all(folder).map_err(failed)?;
        let draft = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = write_private(&draft, &format!("{HEADER}{body}"))
            .and_then(|()| fs::rename(&draft, path))
            .and_then(|()| fs::File::open(folder)?.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written.map_err(failed)
    }
}

const HEADER: &str = "\
# Telegate's API keys: hashes only. `telegate keys new|list|revoke` keeps this file; the broker
# takes changes up within seconds.

";

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests;
