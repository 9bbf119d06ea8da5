//! Zip archives of accounts and JSON sidecars: what is taken, what is refused, and that nothing is
//! unpacked to disk or changed.

use std::{
    fs,
    io::{Cursor, Write as _},
    path::Path,
};

use serde_json::{Value, json};
use telegate::{
    credential::Passcode,
    inventory::{Item, Naming, Phones, Sidecars, Sources, Ways, from_memory},
    proto::v1::{ImportOutcome, ImportRow},
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    formats::pyrogram_file,
    import::{contents, database, folder, made_up_key, telethon_file},
    tdata::{Desktop, User},
};

/// What becomes of everything below a folder.
fn rows(place: &Path, ways: &Ways) -> Vec<ImportRow> {
    let before = contents(place);
    let mut naming = Naming::default();
    let items = Sources::new(&[place.to_owned()]).flat_map(|source| source.read(ways));
    let rows = items.map(|item| naming.place(item).0).collect();
    assert!(contents(place) == before, "reading changed its sources");
    rows
}

/// What becomes of an archive, in memory and as a file; it must be the same.
fn archive_rows(bytes: &[u8]) -> Vec<ImportRow> {
    let place = folder();
    fs::write(place.path().join("a.zip"), bytes).unwrap();
    let on_disk = rows(place.path(), &Ways::default());
    let mut naming = Naming::default();
    let items = from_memory("a.zip", bytes.to_vec(), &Ways::default());
    let in_memory: Vec<_> = items.into_iter().map(|item| naming.place(item).0).collect();
    let cut = |rows: &[ImportRow]| -> Vec<_> {
        let prefix = format!("{}/", place.path().display());
        let short = |text: &str| text.replace(&prefix, "");
        let row = |row: &ImportRow| ImportRow {
            file_name: short(&row.file_name),
            detail: short(&row.detail),
            ..row.clone()
        };
        rows.iter().map(row).collect()
    };
    // An archive without a session is passed over in a folder, and told when it is sent.
    if on_disk.is_empty() {
        assert_eq!(in_memory.len(), 1);
        return in_memory;
    }
    assert_eq!(cut(&on_disk), in_memory);
    in_memory
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in files {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn session(seed: u8) -> Vec<u8> {
    let place = folder();
    let path = place.path().join("a");
    telethon_file(&path, 2, &made_up_key(seed));
    fs::read(path).unwrap()
}

fn short(rows: &[ImportRow]) -> Vec<(ImportOutcome, &str, &str)> {
    rows.iter().map(|row| (row.outcome(), row.session.as_str(), row.file_name.as_str())).collect()
}

use ImportOutcome::{Added, Refused, Unchanged};

#[test]
fn an_archive_of_accounts_is_read_with_sidecars_logs_and_tdata() {
    let place = folder();
    let at = |name: &str| place.path().join(name);
    // A log that is not in the file yet.
    telethon_file(&at("live"), 2, &made_up_key(1));
    let db = rusqlite::Connection::open(at("live")).unwrap();
    db.execute_batch("pragma journal_mode = wal; pragma wal_autocheckpoint = 0").unwrap();
    db.execute("update sessions set dc_id = 5, auth_key = ?", [made_up_key(2)]).unwrap();
    let (main, log) = (fs::read(at("live")).unwrap(), fs::read(at("live-wal")).unwrap());
    Desktop::of(User::Wide(42), 4, &made_up_key(3)).write(&at("tdata"));
    let tdata = |name: &str| fs::read(at("tdata").join(name)).unwrap();
    let (keys, account) = (tdata("key_datas"), tdata("D877F783D5D3EF8Cs"));
    let (ann, bob) = (session(4), session(5));
    let sidecar = br#"{"app_id": 4, "device": "Pixel", "user_id": 7}"#;
    let made = zip(&[
        ("49151/49151.session", &main),
        ("49151/49151.session-wal", &log),
        ("ann/ann.session", &ann),
        ("ann/ann.json", sidecar),
        ("carl/tdata/D877F783D5D3EF8Cs", &account),
        ("carl/tdata/key_datas", &keys),
        ("carl/carl.json", br#"{"device": "PC"}"#),
        ("deep/er/bob", &bob),
        ("photo.jpg", &[0xff; 4000]),
        ("readme.txt", b"nothing\n"),
        ("__MACOSX/ann/._ann.session", b"\x00\x05\x16\x07"),
    ]);
    let rows = archive_rows(&made);
    assert_eq!(
        short(&rows),
        [
            (Added, "carl", "a.zip: carl/tdata"),
            (Added, "49151", "a.zip: 49151/49151.session"),
            (Added, "ann", "a.zip: ann/ann.session"),
            (Added, "bob", "a.zip: deep/er/bob"),
        ],
        "{rows:#?}"
    );
    assert_eq!([rows[0].account_id, rows[2].account_id], [Some(42), Some(7)]);
    let items = from_memory("a.zip", made, &Ways::default());
    let entry = |name: &str| {
        let fits = |item: &&Item| item.stem.as_deref() == Some(name);
        items.iter().find(fits).unwrap().read.as_ref().unwrap()
    };
    assert!(entry("49151").telegram.auth_key == made_up_key(2), "the log was not read");
    assert_eq!(entry("ann").device.device_model, "Pixel");
    assert_eq!(entry("carl").device.device_model, "PC");
}

#[test]
fn an_archive_that_is_not_right_is_refused_with_the_cause() {
    let good = session(1);
    let whole = zip(&[("a.session", &good)]);
    let mut twice = whole.clone();
    twice.extend(&whole);
    let mut longer = whole.clone();
    longer.extend(b"more");
    let mut many = whole.clone();
    let end = many.len() - 22;
    for at in [8, 10] {
        many[end + at..end + at + 2].copy_from_slice(&30_000_u16.to_le_bytes());
    }
    // The mark of encryption, in both headers.
    let mut locked = whole.clone();
    locked[6] |= 1;
    let central = locked.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    locked[central + 8] |= 1;
    let mut other = whole.clone();
    (other[8], other[central + 10]) = (12, 12);
    let mut broken = whole.clone();
    broken[60..90].fill(0xaa);
    for (name, bytes, wanted) in [
        ("cut off", whole[..whole.len() - 30].to_vec(), "it is a zip archive without its end"),
        ("two ends", twice, "it has two ends, as one archive within another has"),
        ("more behind", longer, "it is a zip archive without its end"),
        ("too many", many, "it has more than 20000 files, or is one of several parts"),
        ("encrypted", locked, "it is encrypted; unpack it, and name the folder"),
        ("another method", other, "it is packed in another way than deflate"),
        ("broken", broken, "a file of the archive cannot be unpacked"),
        ("empty", zip(&[]), "there is no session in it"),
        ("nothing", zip(&[("a.txt", b"x\n"), ("b", b"\0\0")]), "there is no session in it"),
    ] {
        let rows = archive_rows(&bytes);
        assert_eq!(rows.len(), 1, "{name}: {rows:?}");
        assert_eq!(rows[0].outcome(), Refused, "{name}");
        assert!(rows[0].detail.contains(wanted), "{name}: {}", rows[0].detail);
    }
}

#[test]
fn what_is_odd_in_an_archive_is_refused_and_the_rest_is_taken() {
    let (good, other) = (session(1), session(2));
    let inner = zip(&[("b.session", &other)]);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    for (name, bytes) in [
        ("../outside.session", &other),
        ("/absolute.session", &other),
        ("C:/drive.session", &other),
        ("a\\..\\..\\windows.session", &other),
        ("inner.session", &inner),
        ("empty.session", &Vec::new()),
        ("good.session", &good),
        ("again.session", &good),
        ("cut.session", &good[..2000].to_vec()),
    ] {
        archive.start_file(name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.add_symlink("link.session", "good.session", options).unwrap();
    let rows = archive_rows(&archive.finish().unwrap().into_inner());
    let outside = "a file in it names a place outside of it";
    for (name, outcome, detail) in [
        ("../outside.session", Refused, outside),
        ("/absolute.session", Refused, outside),
        ("C:/drive.session", Refused, outside),
        ("a/../../windows.session", Refused, outside),
        ("link.session", Refused, "a symbolic link"),
        ("again.session", Added, ""),
        ("cut.session", Refused, "It is cut off: 2000 of its 12288 bytes are there"),
        ("empty.session", Refused, "It is empty"),
        ("good.session", Unchanged, "It has the same key as a.zip: again.session"),
        ("inner.session", Refused, "an archive within an archive; unpack the outer one"),
    ] {
        let row = rows.iter().find(|row| row.file_name == format!("a.zip: {name}"));
        let row = row.unwrap_or_else(|| panic!("no row for {name}: {rows:#?}"));
        assert_eq!(row.outcome(), outcome, "{name}");
        assert!(row.detail.contains(detail), "{name}: {}", row.detail);
    }
    assert_eq!(rows.len(), 10);
}

#[test]
fn a_bomb_is_not_unpacked() {
    let zeros = vec![0; 12 << 20];
    let sqlite = [b"SQLite format 3\0", &zeros[..]].concat();
    let bomb = zip(&[("bomb.session", &sqlite), ("a.session", &session(1))]);
    assert!(bomb.len() < 40_000, "it is not a bomb: {}", bomb.len());
    let rows = archive_rows(&bomb);
    assert_eq!(short(&rows)[0], (Added, "a", "a.zip: a.session"));
    assert!(rows[1].detail.contains("a file in it is packed far too well"), "{}", rows[1].detail);
    // One that tells a length that is not its own.
    let mut liar = bomb;
    let at = liar.windows(4).position(|window| window == b"PK\x01\x02").unwrap() + 24;
    liar[at..at + 4].copy_from_slice(&100_u32.to_le_bytes());
    let rows = archive_rows(&liar);
    assert_eq!(rows[1].outcome(), Refused, "{rows:?}");
}

fn sidecar(place: &Path, name: &str, says: &Value) {
    fs::write(place.join(name), says.to_string()).unwrap();
}

#[test]
fn what_lies_beside_a_session_comes_along() {
    let place = folder();
    let at = |name: &str| place.path().join(name);
    telethon_file(&at("+49151.session"), 2, &made_up_key(1));
    let says = json!({"app_id": 4, "app_hash": "00ff", "device": "Pixel", "sdk": "SDK 29",
        "app_version": "8.4.1", "lang_pack": "ru", "system_lang_pack": "ru-ru", "twoFA": "hunter2",
        "id": 7, "phone": "+49151", "proxy": [3, "10.0.0.1", 8080, true, "u", "p"]});
    sidecar(place.path(), "+49151.json", &says);
    let read = |ways: &Ways| {
        let mut items = Sources::new(&[place.path().to_owned()]).flat_map(|s| s.read(ways));
        items.next().unwrap().read.unwrap()
    };
    let entry = read(&Ways::default());
    assert_eq!(entry.proxy, "http://u:p@10.0.0.1:8080");
    assert_eq!(entry.telegram.password.as_deref(), Some("hunter2"));
    assert_eq!((entry.telegram.user_id, entry.device.api_id), (Some(7), Some(4)));
    assert_eq!((entry.device.lang_code.as_str(), entry.device.lang_pack.as_str()), ("ru", ""));
    assert!(entry.labels.is_empty(), "a phone number was not asked for");
    let labelled = read(&Ways { phones: Phones::Label, ..Ways::default() });
    assert_eq!(labelled.labels, [("phone".to_owned(), "+49151".to_owned())].into());
    let bare = read(&Ways { sidecars: Sidecars::Ignore, ..Ways::default() });
    assert_eq!((bare.proxy.as_str(), bare.telegram.password), ("", None));
    assert!(format!("{entry:?}{:?}", Passcode::new("x".into())).find("hunter2").is_none());
}

#[test]
fn a_sidecar_that_contradicts_or_cannot_be_read_is_named_in_the_row() {
    let place = folder();
    let at = |name: &str| place.path().join(name);
    drop(pyrogram_file(&at("a.session"), 3, &made_up_key(1)));
    sidecar(place.path(), "a.json", &json!({"app_id": 5, "proxy": null}));
    drop(pyrogram_file(&at("b.session"), 3, &made_up_key(2)));
    sidecar(place.path(), "b.json", &json!({"user_id": 1}));
    telethon_file(&at("c.session"), 2, &made_up_key(3));
    fs::write(at("c.json"), "{").unwrap();
    telethon_file(&at("d.session"), 2, &made_up_key(4));
    sidecar(place.path(), "d.json", &json!({"proxy": "hunter2:1080"}));
    telethon_file(&at("e.session"), 2, &made_up_key(5));
    fs::write(at("e.json"), vec![b' '; (1 << 20) + 1]).unwrap();
    let rows = rows(place.path(), &Ways::default());
    let said: Vec<_> = rows.iter().map(|row| (row.outcome(), row.detail.as_str())).collect();
    assert_eq!(
        said,
        [
            (Added, "Its sidecar says api_id 5, the session 2040"),
            (Refused, "The sidecar beside it is of account 1, the session of 5000000000"),
            (Refused, "The sidecar beside it (c.json) is not whole JSON"),
            (
                Refused,
                "The sidecar beside it (d.json) names a proxy that does not say what it is; write \
                 for example socks5://HOST:PORT"
            ),
            (
                Refused,
                "The sidecar beside it (e.json) cannot be read: It has more than 1048576 bytes, \
                 and no such file has"
            ),
        ]
    );
}

#[test]
fn a_session_that_is_written_out_in_json_is_one() {
    let place = folder();
    let file = place.path().join("x");
    telethon_file(&file, 2, &made_up_key(1));
    let telegram = telegate::credential::read_file(&file).unwrap().telegram;
    fs::remove_file(file).unwrap();
    let string = telegate::credential::telethon::to_string(&telegram);
    sidecar(place.path(), "ann.json", &json!({"session_string": string, "api_id": 4, "uid": 9}));
    sidecar(place.path(), "notes.json", &json!({"api_id": 4}));
    database(&place.path().join("other.db"), "create table notes (text)").close().unwrap();
    let rows = rows(place.path(), &Ways::default());
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].outcome(), rows[0].session.as_str()), (Added, "ann"));
    assert_eq!(rows[0].format, "telethon-string in json");
    assert_eq!(rows[0].account_id, Some(9));
}
