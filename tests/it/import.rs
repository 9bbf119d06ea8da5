//! Reading Telethon's files: every shape, every damage, and files of the real Telethon. Nothing is
//! ever changed.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rusqlite::Connection;
use serde_json::Value;
use telegate::credential::{
    Fault, Folder, Library, MAX_FILE, Passcode, Telegram, read_file, read_folder, telethon,
};
use tempfile::TempDir;

use crate::harness;

const VERSION: &str = "create table version (version integer primary key);";
const SESSIONS: &str = "create table sessions (dc_id integer primary key, server_address text, \
                        port integer, auth_key blob);";

/// The bytes of everything in a folder, by name.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            let target = fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
            found.insert(path, target);
        } else if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Writes a Telethon file as version 7 made them.
pub(crate) fn telethon_file(path: &Path, dc_id: u8, key: &[u8]) {
    let db = database(path, &format!("{VERSION}{SESSIONS}"));
    db.execute("insert into version values (7)", []).unwrap();
    let row = rusqlite::params![dc_id, "149.154.167.91", 443, key];
    db.execute("insert into sessions values (?, ?, ?, ?)", row).unwrap();
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(four.into(), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A key that is not random, but that nobody has.
pub(crate) fn made_up_key(seed: u8) -> Vec<u8> {
    (0..=255_u8).map(|i| i.wrapping_mul(31).wrapping_add(seed)).collect()
}

pub(crate) fn database(path: &Path, sql: &str) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch(sql).unwrap();
    db
}

/// Reads a file, and checks that nothing in its folder changed by that.
pub(crate) fn read(path: &Path) -> Result<Telegram, Fault> {
    let folder = path.parent().unwrap();
    let before = contents(folder);
    let read = read_file(path);
    assert!(contents(folder) == before, "reading {} changed its folder", path.display());
    read.map(|found| found.telegram)
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn every_schema_of_telethon_is_read_by_column_name() {
    let folder = folder();
    for schema in 1..=8 {
        let path = folder.path().join(format!("v{schema}.session"));
        // Later columns first: their place must not matter.
        let extra = match schema {
            8 => "tmp_auth_key blob, takeout_id integer, ",
            5..=7 => "takeout_id integer, ",
            _ => "",
        };
        let sessions = SESSIONS.replace("(dc_id", &format!("({extra}dc_id"));
        let db = database(&path, &format!("{VERSION}{sessions}"));
        db.execute("insert into version values (?)", [schema]).unwrap();
        let sql = "insert into sessions (auth_key, port, server_address, dc_id) values (?,?,?,?)";
        let key = made_up_key(schema);
        db.execute(sql, rusqlite::params![key, 443, "149.154.175.100", 3]).unwrap();
        drop(db);
        let found = read(&path).unwrap();
        assert_eq!((found.dc_id, found.test), (3, false));
        assert!(found.auth_key == key);
        assert_eq!(found.address, Some("149.154.175.100:443".parse().unwrap()));
        assert_eq!(read_file(&path).unwrap().format, format!("telethon-sqlite-{schema}"));
    }
}

#[test]
fn what_no_library_gives_away_is_refused_by_name() {
    let folder = folder();
    let mtcute = "create table auth_keys (dc, key); create table key_value (k);";
    drop(database(&folder.path().join("mtcute"), mtcute));
    assert_eq!(
        read(&folder.path().join("mtcute")),
        Err(Fault::Unsupported { library: Library::MtcuteFile })
    );
    let tdlib = folder.path().join("tdlib");
    fs::create_dir(&tdlib).unwrap();
    fs::write(tdlib.join("td.binlog"), [0x9c; 64]).unwrap();
    assert_eq!(
        read_folder(&Folder(&tdlib), &Passcode::default()),
        Err(Fault::Unsupported { library: Library::TdLib })
    );
    let said = Fault::Unsupported { library: Library::TdLib }.to_string();
    assert_eq!(
        said,
        "It is a session of TDLib, which Telegate does not read; TDLib keeps its keys to itself: \
         log in anew with another library"
    );
}

#[test]
fn what_is_no_usable_session_is_refused_with_the_cause() {
    let folder = folder();
    let telethon = format!("{VERSION}{SESSIONS} insert into version values (7);");
    let row = |values: &str| format!("{telethon} insert into sessions values ({values});");
    for (name, sql, fault) in [
        ("no row", telethon.clone(), Fault::NotLoggedIn),
        ("no key", row("0, '', 0, null"), Fault::NotLoggedIn),
        ("empty key", row("2, '149.154.167.51', 443, x''"), Fault::NotLoggedIn),
        ("short key", row("2, '', 443, x'0102'"), Fault::KeyLength(2)),
        ("zero key", row("2, '', 443, zeroblob(256)"), Fault::ZeroKey),
        ("bad dc", row("6, '', 443, randomblob(256)"), Fault::DataCentre(6)),
        ("two", row("1, '', 1, x'01'), (2, '', 1, x'02'"), Fault::Several),
        (
            "newer",
            telethon.replace("(7)", "(9)"),
            Fault::NewerSchema { library: "Telethon", found: 9, newest: 8 },
        ),
        (
            "no column",
            telethon.replace("port integer, ", ""),
            Fault::Damaged("its table sessions has no column port".into()),
        ),
        (
            "a view",
            telethon.replace("create table sessions", "create table other")
                + "create view sessions as select * from other;",
            Fault::Damaged("it names no schema version, or has no sessions".into()),
        ),
        (
            "another table",
            "create table notes (text);".into(),
            Fault::Unknown("it is a SQLite file, but has no session's tables"),
        ),
    ] {
        let path = folder.path().join(name);
        drop(database(&path, &sql));
        assert_eq!(read(&path), Err(fault), "{name}");
    }
}

#[test]
fn what_is_no_whole_sqlite_file_is_refused_with_the_cause() {
    let folder = folder();
    let whole = folder.path().join("whole");
    telethon_file(&whole, 4, &made_up_key(1));
    let bytes = fs::read(&whole).unwrap();
    let mut broken = bytes.clone();
    broken[100..4096].fill(0xff);
    let wanted = bytes.len() as u64;
    let text = telethon::to_string(&read(&whole).unwrap());
    for (name, content, fault) in [
        ("empty", vec![], Fault::Empty),
        ("magic", bytes[..16].to_vec(), Fault::Truncated { found: 16, wanted: 100 }),
        ("half", bytes[..5000].to_vec(), Fault::Truncated { found: 5000, wanted }),
        ("broken", broken, Fault::Damaged("SQLite finds its pages broken".into())),
        (
            "noise",
            vec![0x9c; 4096],
            Fault::Unknown(
                "it is neither SQLite, JSON nor text; WTelegramClient's encrypted files look so",
            ),
        ),
        (
            "strings",
            format!("{text}\n{text}").into_bytes(),
            Fault::Unknown("it is text, but not one session string"),
        ),
        (
            "sidecar",
            br#" {"phone": "1"}"#.to_vec(),
            Fault::Unknown("it is JSON, but not a session of gotd"),
        ),
        (
            "half json",
            br#"{"Version":1,"Da"#.to_vec(),
            Fault::Unknown("it begins like JSON, but is none"),
        ),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        assert_eq!(read(&path), Err(fault), "{name}");
    }
    assert_eq!(
        read(&folder.path().join("absent")),
        Err(Fault::Unreadable("there is no such file".into()))
    );
    assert_eq!(read_file(folder.path()), Err(Fault::NotAFile("a folder")));
    assert_eq!(read_file(Path::new("/dev/null")), Err(Fault::NotAFile("a device or a pipe")));
    let huge = folder.path().join("huge");
    fs::File::create(&huge).unwrap().set_len(MAX_FILE + 1).unwrap();
    assert_eq!(read_file(&huge), Err(Fault::TooLarge(MAX_FILE)));
}

#[test]
fn odd_paths_and_symbolic_links_are_followed() {
    let folder = folder();
    let odd = folder.path().join("ä ?mode=rwc#%41.session");
    telethon_file(&odd, 2, &made_up_key(2));
    let link = folder.path().join("link.session");
    std::os::unix::fs::symlink(&odd, &link).unwrap();
    for path in [odd, link] {
        assert!(read(&path).unwrap().auth_key == made_up_key(2), "{}", path.display());
    }
}

#[test]
fn a_file_that_another_program_has_locked_is_in_use() {
    let folder = folder();
    let path = folder.path().join("locked");
    telethon_file(&path, 2, &made_up_key(3));
    let db = Connection::open(&path).unwrap();
    db.execute_batch("begin immediate; update sessions set dc_id = 5").unwrap();
    // As Telethon does it: what is not saved yet is not there for others.
    assert_eq!(read(&path).unwrap().dc_id, 2);
    db.execute_batch("commit; begin exclusive").unwrap();
    assert_eq!(read(&path), Err(Fault::InUse));
}

#[test]
fn a_write_ahead_log_is_read_whether_its_program_lives_or_not() {
    let folder = folder();
    let live = folder.path().join("live");
    telethon_file(&live, 2, &made_up_key(4));
    let db = Connection::open(&live).unwrap();
    db.execute_batch("pragma journal_mode = wal; pragma wal_autocheckpoint = 0").unwrap();
    db.execute("update sessions set dc_id = 5, auth_key = ?", [made_up_key(5)]).unwrap();
    assert!(read(&live).unwrap().auth_key == made_up_key(5));

    // As a program that was killed leaves it, with and without its -shm file.
    for (name, suffixes) in
        [("killed", &["", "-wal", "-shm"][..]), ("copied", &["", "-wal"]), ("old", &[""])]
    {
        let place = folder.path().join(name);
        fs::create_dir(&place).unwrap();
        for suffix in suffixes {
            let from = folder.path().join(format!("live{suffix}"));
            fs::copy(from, place.join(format!("a.session{suffix}"))).unwrap();
        }
        let found = read(&place.join("a.session")).unwrap();
        let wanted = if name == "old" { (2, 4) } else { (5, 5) };
        assert!((found.dc_id, found.auth_key) == (wanted.0, made_up_key(wanted.1)), "{name}");
    }
}

#[test]
fn an_unfinished_write_is_undone_in_a_copy_only() {
    let folder = folder();
    let live = folder.path().join("live");
    telethon_file(&live, 2, &made_up_key(6));
    let db = Connection::open(&live).unwrap();
    // A cache of one page makes SQLite write pages before the commit.
    db.execute_batch(
        "create table entities (id integer primary key, blob); pragma cache_size = 1; begin;
         update sessions set dc_id = 5;
         with recursive n(i) as (select 1 union all select i + 1 from n where i < 500)
         insert into entities select i, randomblob(500) from n;",
    )
    .unwrap();
    let place = folder.path().join("killed");
    fs::create_dir(&place).unwrap();
    let path = place.join("a.session");
    fs::copy(&live, &path).unwrap();
    fs::copy(folder.path().join("live-journal"), place.join("a.session-journal")).unwrap();
    assert_eq!(read(&path).unwrap().dc_id, 2);

    // A journal that names a super-journal would make SQLite delete that file.
    let mut journal =
        fs::OpenOptions::new().append(true).open(place.join("a.session-journal")).unwrap();
    journal.write_all(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]).unwrap();
    let fault = Fault::Damaged("its journal belongs to several files".into());
    assert_eq!(read(&path), Err(fault));
}

/// The interpreters that have Telethon, as the Makefile prepared them.
pub(crate) fn pythons() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in ["TELEGATE_TEST_PYTHON", "TELEGATE_TEST_PYTHON_OLD"] {
        match std::env::var_os(name).map(PathBuf::from).filter(|python| python.exists()) {
            Some(python) => found.push(python),
            None if harness::nothing_may_be_skipped() => panic!("{name} names no python"),
            None => eprintln!("skipped: {name} names no python with telethon; see `make tools`"),
        }
    }
    found
}

/// Makes files with the real Telethon.
pub(crate) fn real_telethon_files(python: &Path, folder: &Path) -> Value {
    let made = Command::new(python)
        .args(["tests/libraries/make_telethon.py".as_ref(), folder.as_os_str()])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(made.status.success(), "make_telethon.py failed with {}", python.display());
    serde_json::from_slice(&made.stdout).unwrap()
}

/// What the real Telethon finds in a string.
pub(crate) fn opened_by_telethon(python: &Path, string: &str) -> Value {
    let mut open = Command::new(python)
        .arg("tests/libraries/open_telethon.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    open.stdin.take().unwrap().write_all(string.as_bytes()).unwrap();
    let opened = open.wait_with_output().unwrap();
    assert!(opened.status.success(), "open_telethon.py failed with {}", python.display());
    serde_json::from_slice(&opened.stdout).unwrap()
}
