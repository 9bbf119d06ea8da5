//! Why something is not a session that can be lent.

use std::fmt;

use thiserror::Error;

use super::AUTH_KEY_LEN;

/// Why something is not a session that can be lent. One sentence, without a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// It has no content.
    #[error("It is empty")]
    Empty,
    /// It is no regular file.
    #[error("It is {0}, not a file")]
    NotAFile(&'static str),
    /// It is larger than any such file; the limit in bytes.
    #[error("It has more than {0} bytes, and no such file has")]
    TooLarge(u64),
    /// It is longer than any session string.
    #[error("It is a line of {0} bytes or more, and no session string is that long")]
    TooLong(usize),
    /// The operating system does not give it.
    #[error("It cannot be read: {0}")]
    Unreadable(String),
    /// It is something else.
    #[error("It is not a session that Telegate knows: {0}")]
    Unknown(&'static str),
    /// A session of a library that is recognised, but not read.
    #[error("It is a session of {library}, which Telegate does not read; {}", library.way_out())]
    Unsupported {
        /// Whose it is.
        library: Library,
    },
    /// A schema that was made after this program.
    #[error("It has {library}'s schema {found}, and this Telegate reads up to {newest}")]
    NewerSchema {
        /// Whose schema it is.
        library: &'static str,
        /// The schema's version.
        found: i64,
        /// The newest that is understood.
        newest: i64,
    },
    /// Its end is missing.
    #[error("It is cut off: {found} of its {wanted} bytes are there")]
    Truncated {
        /// How many bytes there are.
        found: u64,
        /// How many its header promises.
        wanted: u64,
    },
    /// It cannot be understood although it looks right.
    #[error("It is damaged: {0}")]
    Damaged(String),
    /// Another program keeps it locked.
    #[error("It is in use by another program; stop that program and try again")]
    InUse,
    /// A passcode locks it, and none was given.
    #[error("It is locked with a local passcode; name a file that has it with --passcode-file")]
    Locked,
    /// Another passcode locks it.
    #[error("The given passcode does not open it")]
    WrongPasscode,
    /// It holds no key.
    #[error("It is not logged in: it has no authorization key")]
    NotLoggedIn,
    /// The key cannot be one.
    #[error("Its authorization key has {0} bytes instead of {AUTH_KEY_LEN}")]
    KeyLength(usize),
    /// The key is a placeholder.
    #[error("Its authorization key is all zeros")]
    ZeroKey,
    /// The data centre cannot be.
    #[error("It names data centre {0}, and Telegram's are 1 to 5")]
    DataCentre(i64),
    /// What lies beside it contradicts it, or cannot be understood.
    #[error("The sidecar beside it {0}")]
    Sidecar(String),
    /// An archive that is not opened.
    #[error("It is an archive that is not taken: {0}")]
    Archive(&'static str),
    /// It holds more than one.
    #[error("It holds several sessions, and one was expected")]
    Several,
    /// A string of the wrong length.
    #[error("It decodes to {0} bytes, which no library's session string has")]
    StringLength(usize),
    /// A string that is not base64.
    #[error("It is not base64 after its first character")]
    NotBase64,
}

impl Fault {
    pub(crate) fn damaged(how: &str) -> Self {
        Self::Damaged(how.to_owned())
    }
}

/// The libraries whose sessions are recognised, but not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// Telegram Desktop's `tdata`.
    Desktop,
    /// Telegram Desktop's `tdata` as it was before it had several accounts.
    OldDesktop,
    /// A single file of Telegram Desktop.
    DesktopFile,
    /// `TDLib`'s folder.
    TdLib,
    /// mtcute's SQLite file.
    MtcuteFile,
}

impl Library {
    /// What to do instead.
    const fn way_out(self) -> &'static str {
        match self {
            Self::Desktop | Self::DesktopFile => {
                "it is read as a folder: name the one that holds key_datas"
            }
            Self::OldDesktop => "start a current Telegram Desktop on it once, which converts it",
            Self::TdLib => "TDLib keeps its keys to itself: log in anew with another library",
            Self::MtcuteFile => "export it with mtcute as a session string first",
        }
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Desktop => "Telegram Desktop (tdata)",
            Self::OldDesktop => "Telegram Desktop before 2.0 (tdata)",
            Self::DesktopFile => "Telegram Desktop, or a part of one (tdata)",
            Self::TdLib => "TDLib",
            Self::MtcuteFile => "mtcute (SQLite)",
        })
    }
}
