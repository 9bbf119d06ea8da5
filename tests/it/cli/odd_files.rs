//! The fault table: a folder with everything that can be wrong with a file. Each gets a clear row,
//! the good ones are taken, nothing hangs, and nothing is changed.

use std::{
    fs,
    io::{Cursor, Write as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use rusqlite::Connection;
use serde_json::Value;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::Broker;
use crate::{
    formats::pyrogram_file,
    import::{contents, made_up_key, telethon_file},
};

/// A name, the outcome of its row, and a part of its detail.
type Row = (&'static str, &'static str, &'static str);

const TABLE: [Row; 16] = [
    ("archive.zip: ../../outside.session", "REFUSED", "names a place outside of it"),
    ("archive.zip: good.session", "ADDED", ""),
    ("corrupt.session", "REFUSED", "It is damaged: SQLite finds its pages broken"),
    ("dangling.session", "REFUSED", "a symbolic link; inside a folder it is not followed"),
    ("empty.session", "REFUSED", "It is empty"),
    ("encrypted.zip", "REFUSED", "it is encrypted; unpack it, and name the folder"),
    ("fresh.session", "REFUSED", "It is not logged in: it has no authorization key"),
    ("huge.session", "REFUSED", "It has more than 67108864 bytes, and no such file has"),
    ("link.session", "REFUSED", "a symbolic link; inside a folder it is not followed"),
    ("locked.session", "REFUSED", "It is in use by another program"),
    ("misnamed.json", "ADDED", ""),
    ("misnamed.txt", "ADDED", ""),
    ("newer.session", "REFUSED", "It has Telethon's schema 99, and this Telegate reads up to 8"),
    ("noise.session", "REFUSED", "it is neither SQLite, JSON nor text"),
    ("pipe.session", "REFUSED", "a device or a pipe"),
    ("truncated.session", "REFUSED", "It is cut off: 5000 of its 12288 bytes are there"),
];

/// A folder with all of it, and a connection that keeps the end of a file in its log.
fn heap(place: &Path) -> Connection {
    let at = |name: &str| place.join(name);
    telethon_file(&at("wal.session"), 2, &made_up_key(1));
    let live = Connection::open(at("wal.session")).unwrap();
    live.execute_batch("pragma journal_mode = wal; pragma wal_autocheckpoint = 0").unwrap();
    live.execute("update sessions set dc_id = 5, auth_key = ?", [made_up_key(2)]).unwrap();
    telethon_file(&at("locked.session"), 2, &made_up_key(3));

    telethon_file(&at("misnamed.txt"), 2, &made_up_key(4));
    drop(pyrogram_file(&at("misnamed.json"), 3, &made_up_key(5)));
    telethon_file(&at("newer.session"), 2, &made_up_key(6));
    let newer = Connection::open(at("newer.session")).unwrap();
    newer.execute("update version set version = 99", []).unwrap();
    telethon_file(&at("fresh.session"), 2, &[]);
    telethon_file(&at("good.tmp"), 2, &made_up_key(7));
    let good = fs::read(at("good.tmp")).unwrap();
    fs::remove_file(at("good.tmp")).unwrap();
    fs::write(at("truncated.session"), &good[..5000]).unwrap();
    let mut corrupt = good.clone();
    corrupt[100..4096].fill(0xff);
    fs::write(at("corrupt.session"), corrupt).unwrap();
    fs::write(at("empty.session"), b"").unwrap();
    fs::write(at("noise.session"), [0x9c; 3000]).unwrap();
    fs::File::create(at("huge.session")).unwrap().set_len(1 << 40).unwrap();
    symlink(at("wal.session"), at("link.session")).unwrap();
    symlink(at("nowhere"), at("dangling.session")).unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe.session")).status().unwrap().success());

    let archive = |names: &[&str]| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for name in names {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(&good).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let names = ["../../outside.session", "good.session"];
    fs::write(at("archive.zip"), archive(&names)).unwrap();
    let mut encrypted = archive(&["a.session"]);
    let central = encrypted.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    encrypted[central + 8] |= 1;
    fs::write(at("encrypted.zip"), encrypted).unwrap();
    live
}

/// What is in a folder, but for what cannot be read without waiting or without end.
fn hashable(place: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let odd = ["pipe.session", "huge.session"];
    let aside = tempfile::tempdir_in(place.parent().unwrap()).unwrap();
    for name in odd {
        fs::rename(place.join(name), aside.path().join(name)).unwrap();
    }
    let found = contents(place).into_iter().collect();
    for name in odd {
        fs::rename(aside.path().join(name), place.join(name)).unwrap();
    }
    found
}

#[tokio::test]
async fn everything_that_can_be_wrong_with_a_file_gets_a_clear_row() {
    let broker = Broker::start().await;
    broker.call("pool create work").done();
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("heap");
    fs::create_dir(&place).unwrap();
    let live = heap(&place);
    let before = hashable(&place);
    // Not earlier: a process that closes a file gives up its locks on it.
    let locked = Connection::open(place.join("locked.session")).unwrap();
    locked.execute_batch("begin exclusive").unwrap();
    let imported = broker.run(["import", place.to_str().unwrap(), "--pool", "work", "--json"]);
    assert_eq!(imported.code, 1, "{imported:?}");
    assert!(hashable(&place) == before, "the import changed its sources");
    drop((live, locked));

    let report: Value = serde_json::from_str(&imported.out).unwrap();
    let prefix = format!("{}/", place.display());
    let rows = report["rows"].as_array().unwrap().iter().map(|row| {
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let outcome = text("outcome").replace("IMPORT_OUTCOME_", "");
        (text("fileName").replace(&prefix, ""), outcome, text("detail"))
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    for (name, outcome, detail) in &rows {
        println!("{outcome:9} {name:36} {detail}");
    }
    let wal = rows.iter().position(|(name, ..)| name == "wal.session").expect("no row for WAL");
    assert_eq!(rows.remove(wal).1, "ADDED");
    assert_eq!(rows.len(), TABLE.len());
    for ((name, outcome, detail), wanted) in rows.iter().zip(TABLE) {
        assert_eq!((name.as_str(), outcome.as_str()), (wanted.0, wanted.1), "{detail}");
        assert!(detail.contains(wanted.2), "{name}: {detail}");
    }
    let lent = broker.call("acquire --pool work --session wal --json").json();
    assert_eq!(lent["credential"]["telegram"]["dcId"], 5, "the log was not read");
}

#[test]
fn a_file_that_may_not_be_read_is_told() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("secret.session");
    telethon_file(&file, 2, &made_up_key(1));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
    symlink("loop", place.path().join("loop")).unwrap();
    let path = place.path().to_str().unwrap();
    let said = super::run(["import", &format!("{path}/loop"), "--pool", "p", "--dry-run"]);
    assert!(said.out.contains("It cannot be read: "), "{said:?}");
    // Nothing is forbidden to root.
    if fs::read(&file).is_err() {
        let said = super::run(["import", path, "--pool", "p", "--dry-run"]);
        assert!(said.out.contains("It cannot be read: permission denied"), "{said:?}");
    }
}
