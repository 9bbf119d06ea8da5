//! Credentials: what a pool lends, in one canonical form, and the forms of Telegram's libraries,
//! one file for each.

pub mod gotd;
pub mod gramjs;
pub mod mtcute;
pub mod pyrogram;
pub mod telethon;

mod fault;
mod files;
mod grammers;
mod parts;
mod read;
mod sqlite;
mod tdata;
#[cfg(test)]
mod tests;

pub use fault::{Fault, Library};
pub use files::{Files, Folder, Passcode};
pub use read::{
    Account, Bytes, Found, Kind, START, foreign_folder, library_of, read_bytes, read_file,
    read_folder, read_text,
};

use std::{fmt, fmt::Write as _, io};

use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::pool::{Credential as Sealed, Fingerprint};

/// The length of a Telegram authorization key, in bytes.
pub const AUTH_KEY_LEN: usize = 256;
/// The longest opaque credential, in bytes.
pub const MAX_OPAQUE: usize = 65_536;
/// The largest file that is looked at, in bytes; its `-wal` or `-journal` has the same limit.
pub const MAX_FILE: u64 = 64 << 20;
/// The longest text that is looked at as a session string, in bytes.
pub const MAX_STRING: usize = 4096;
/// The most data centres of a file that are looked at.
const MAX_CENTRES: usize = 64;

/// What a pool lends. Its `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credential {
    /// A Telegram authorization.
    Telegram(Telegram),
    /// Anything else, kept and returned as it is.
    Opaque(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// A Telegram authorization: what is needed to reconnect. Its `Debug` hides the key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telegram {
    /// The data centre that knows the key.
    pub dc_id: u8,
    /// Whether it is one of Telegram's test data centres.
    pub test: bool,
    /// The authorization key: 256 bytes.
    #[serde(with = "serde_bytes")]
    pub auth_key: Vec<u8>,
    /// The data centre's IPv4 address and port, as the importing library knew them.
    pub address: Option<std::net::SocketAddrV4>,
    /// The user's id, where known.
    pub user_id: Option<i64>,
    /// Whether the user is a bot, where known.
    pub is_bot: Option<bool>,
    /// The account's second-factor password, where known. Not needed to reconnect, and as secret
    /// as the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The application id that the session was made with, where known. Its home is the session's
    /// device profile, so it is not kept a second time with the key.
    #[serde(skip)]
    pub api_id: Option<i32>,
}

/// What a form needs and the credential has not: the names of fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub Vec<&'static str>);

impl Credential {
    /// A fingerprint that is not secret: Telegram's `auth_key_id` in hexadecimal, the last 8 bytes
    /// of the key's SHA-1
    /// (<https://core.telegram.org/mtproto/description#authorization-key-identifier>), or the
    /// first 8 bytes of an opaque credential's SHA-256.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let hex = match self {
            Self::Telegram(telegram) => hex(&key_id(&telegram.auth_key)),
            Self::Opaque(bytes) => hex(&Sha256::digest(bytes)[..8]),
        };
        Fingerprint::new(&hex)
    }

    /// The bytes that the store keeps: fields by their places, because a store of many sessions has
    /// each name as often. So a new field goes to the end, and stays absent where it says nothing.
    #[must_use]
    pub fn seal(&self) -> Sealed {
        Sealed(rmp_serde::to_vec(self).expect("a credential always encodes"))
    }

    /// Reads the bytes that the store kept, by the fields' places or, as once, by their names.
    ///
    /// # Errors
    ///
    /// When they are not what [`Credential::seal`] wrote.
    pub fn unseal(sealed: &Sealed) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(&sealed.0)
    }
}

/// Telegram's `auth_key_id`.
fn key_id(key: &[u8]) -> [u8; 8] {
    let digest = Sha1::digest(key);
    std::array::from_fn(|i| digest[12 + i])
}

fn unreadable(error: &io::Error) -> Fault {
    Fault::Unreadable(match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.fingerprint())
    }
}

impl fmt::Debug for Telegram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Telegram(dc {})", self.dc_id)
    }
}
