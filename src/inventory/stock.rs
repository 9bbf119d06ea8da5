//! A folder whose sessions a pool should have, piece by piece.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Item, Manifest, Naming, New, Sources, Ways, manifest::NAMES, naming::valid_name};
use crate::proto::v1::ImportRow;

/// A folder whose sessions a pool should have.
#[derive(Debug)]
pub struct Stock {
    folder: PathBuf,
    manifest: Manifest,
    ways: Ways,
}

/// Something that a folder has.
#[derive(Debug)]
pub enum Piece {
    /// A session.
    Session {
        /// What the report says of it.
        row: ImportRow,
        /// The session.
        new: New,
    },
    /// Something that cannot be read this time.
    Unreadable {
        /// What the report says of it.
        row: ImportRow,
        /// The name of the sessions that were read from it, or what their names begin with before
        /// a `-`. Nothing: nobody knows.
        name: Option<String>,
    },
    /// A second copy of a session.
    Copy(ImportRow),
}

impl Stock {
    /// Opens a folder, with the manifest that is named, or with its own if it has one.
    ///
    /// # Errors
    ///
    /// When the folder is none or cannot be read, or what is wrong with the manifest.
    pub fn open(folder: &Path, manifest: Option<&Path>, ways: Ways) -> Result<Self, String> {
        let failed = |error| format!("folder {}: {error}", folder.display());
        fs::read_dir(folder).map_err(failed)?;
        let own = || NAMES.map(|name| folder.join(name)).into_iter().filter(|path| path.exists());
        let manifest = match (manifest, own().count()) {
            (Some(path), _) => Manifest::read(path)?,
            (None, 0) => Manifest::default(),
            (None, 1) => {
                own().map(|path| Manifest::read(&path)).next().transpose()?.unwrap_or_default()
            }
            (None, _) => {
                let [toml, json] = NAMES;
                let folder = folder.display();
                return Err(format!("folder {folder} has {toml} and {json}; keep one"));
            }
        };
        Ok(Self { folder: folder.to_owned(), manifest, ways })
    }

    /// Everything that the folder has, in a stable order. Blocks.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> {
        let mut naming = Naming::default();
        let sources = Sources::new(std::slice::from_ref(&self.folder));
        sources
            .flat_map(|source| source.read(&self.ways))
            .map(move |item| self.piece(item, &mut naming))
    }

    fn piece(&self, mut item: Item, naming: &mut Naming) -> Piece {
        if let Ok(entry) = &mut item.read {
            let root = format!("{}/", self.folder.display());
            let place = item.file_name.strip_prefix(&root).unwrap_or(&item.file_name);
            self.manifest.complete(place, entry, &mut item.notes);
        }
        // As it was named when it could be read.
        let name = item.stem.as_deref().and_then(valid_name);
        let is_read = item.read.is_ok();
        match naming.place(item) {
            (row, Some(new)) => Piece::Session { row, new },
            (row, None) if is_read => Piece::Copy(row),
            (row, None) => Piece::Unreadable { row, name },
        }
    }
}
