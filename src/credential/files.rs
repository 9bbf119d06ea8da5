//! The files of a folder, wherever it lies, and the passcode that may lock them.

use std::{fmt, fs, io, path::Path};

use super::{Fault, read::read_at_most, unreadable};

/// The files of a folder. Names are relative, with `/` between folders.
pub trait Files {
    /// A file's bytes; nothing if there is no such file.
    ///
    /// # Errors
    ///
    /// When it has more bytes than `most`, is no regular file, or cannot be read.
    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Fault>;

    /// Whether there is such a file.
    fn has(&self, name: &str) -> bool;
}

/// A folder of this machine. Symbolic links in it are not followed.
pub struct Folder<'a>(pub &'a Path);

impl Files for Folder<'_> {
    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Fault> {
        let path = self.0.join(name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&error)),
            Ok(meta) if meta.is_symlink() => return Err(Fault::NotAFile("a symbolic link")),
            Ok(meta) if !meta.is_file() => return Err(Fault::NotAFile("no regular file")),
            Ok(meta) if meta.len() > most => return Err(Fault::TooLarge(most)),
            Ok(_) => {}
        }
        let bytes = read_at_most(&path, most + 1)?;
        if bytes.len() as u64 > most {
            return Err(Fault::TooLarge(most));
        }
        Ok(Some(bytes))
    }

    fn has(&self, name: &str) -> bool {
        self.0.join(name).is_file()
    }
}

/// What locks a folder of Telegram Desktop; mostly nothing does. Its `Debug` hides it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Passcode(Option<String>);

impl Passcode {
    /// A passcode; an empty one is none.
    #[must_use]
    pub fn new(passcode: String) -> Self {
        Self(Some(passcode).filter(|passcode| !passcode.is_empty()))
    }

    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |passcode| passcode.as_bytes())
    }
}

impl fmt::Debug for Passcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "Passcode(none)" } else { "Passcode(secret)" })
    }
}
