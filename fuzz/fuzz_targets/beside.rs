//! What lies beside sessions: sidecars, and the manifest of a folder.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use telegate::inventory::{Manifest, Sources, Ways};
use tempfile::TempDir;

/// A folder with a string that was made up, and what is tried beside it.
static PLACE: LazyLock<TempDir> = LazyLock::new(|| {
    let place = tempfile::tempdir().expect("a temporary folder");
    // An address, a port and a key as Telethon writes them.
    let string = format!("1ApWapzM{}=", "A".repeat(343));
    fs::write(place.path().join("a.session"), string).expect("it can be written");
    place
});

fuzz_target!(|bytes: &[u8]| {
    let at = |name: &str| -> PathBuf { PLACE.path().join(name) };
    fs::write(at("a.json"), bytes).expect("it can be written");
    for item in Sources::new(&[at("a.session")]).flat_map(|source| source.read(&Ways::default())) {
        if let Err(fault) = item.read {
            assert!(fault.to_string().len() < 500);
        }
    }
    for name in ["m.toml", "m.json"] {
        fs::write(at(name), bytes).expect("it can be written");
        if let Err(why) = Manifest::read(&at(name)) {
            assert!(why.len() < 2000);
        }
    }
});
