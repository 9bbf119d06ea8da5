//! Where the file is: whether its path still leads to what was opened.
//!
//! SQLite locks a file, not its name, and keeps the newest commits in a second file beside it. A
//! file that was moved, replaced or deleted takes every commit and shows it to nobody who opens
//! the path later, so another broker would lend what this one has lent.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The file and its write-ahead log, as they were when they were opened.
#[derive(Debug)]
pub(super) struct Place {
    files: Vec<(PathBuf, Identity)>,
}

/// A file, whatever its name: its device and its number there.
type Identity = (u64, u64);

impl Place {
    /// The place of a file that has just been opened, and of its log.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        // SQLite names the log after the file that a symbolic link leads to.
        let mut log = OsString::from(fs::canonicalize(path)?);
        log.push("-wal");
        let mut files = Vec::with_capacity(2);
        for path in [path.to_owned(), log.into()] {
            let identity = identity(&path)?;
            files.push((path, identity));
        }
        Ok(Self { files })
    }

    /// The write-ahead log.
    pub(super) fn log(&self) -> Option<&Path> {
        self.files.last().map(|(path, _)| path.as_path())
    }

    /// Sees that both are still where they were.
    pub(super) fn check(&self) -> Result<(), String> {
        for (path, opened) in &self.files {
            if identity(path).ok() != Some(*opened) {
                return Err(format!(
                    "{} was moved, replaced or deleted while it was open; put it back, or restart \
                     the broker",
                    path.display()
                ));
            }
        }
        Ok(())
    }
}

/// Whether a file has more than one name. Its log is found by one of them only.
pub(super) fn has_other_names(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.nlink() > 1)
}

fn identity(path: &Path) -> io::Result<Identity> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
