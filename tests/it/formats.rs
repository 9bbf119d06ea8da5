//! Reading the SQLite files of the other libraries, and files that somebody or something broke.

use std::{fs, path::Path};

use rusqlite::{Connection, params};
use telegate::credential::{Fault, Telegram, gotd, read_file};

use crate::{
    import::{database, folder, hex, made_up_key, read, telethon_file},
    model::dice::Dice,
};

/// Writes a file as Pyrogram (up to 3) or Kurigram (from 4 on) leave it.
pub(crate) fn pyrogram_file(path: &Path, schema: u8, key: &[u8]) -> Connection {
    let mut columns =
        "dc_id integer primary key, test_mode integer, auth_key blob, date integer not null, \
         user_id integer, is_bot integer"
            .to_owned();
    if schema >= 3 {
        columns += ", api_id integer";
    }
    if schema >= 7 {
        columns = format!("server_address text, port integer, {columns}");
    }
    let mut sql = format!(
        "create table version (number integer primary key); insert into version values ({schema}); \
         create table sessions ({columns}); create table peers (id integer primary key);"
    );
    if schema >= 4 {
        sql += "create table usernames (id integer, username text);";
    }
    let db = database(path, &sql);
    let insert = "insert into sessions (dc_id, test_mode, auth_key, date, user_id, is_bot) \
                  values (?, ?, ?, 0, ?, ?)";
    db.execute(insert, params![4, false, key, 5_000_000_000_i64, true]).unwrap();
    if schema >= 3 {
        db.execute("update sessions set api_id = 2040", []).unwrap();
    }
    if schema >= 7 {
        db.execute("update sessions set server_address = '149.154.167.92', port = 80", []).unwrap();
    }
    db
}

fn telethon_2_file(path: &Path, rows: &str) {
    let sql = "create table version (version integer primary key); insert into version values (10);
               create table datacenter (id integer primary key, addr text not null, auth blob);
               create table user (id integer primary key, dc integer, bot integer);";
    drop(database(path, &format!("{sql} {rows}")));
}

fn grammers_file(path: &Path, key: &[u8]) -> Connection {
    let sql = "pragma user_version = 1; create table dc_home (dc_id integer primary key);
               create table dc_option (dc_id integer primary key, ipv4 text, ipv6 text,
                                       auth_key blob);
               create table peer_info (peer_id integer primary key, hash integer, subtype integer);
               insert into dc_home values (4);
               insert into dc_option values (2, '149.154.167.41:443', '[::]:443', null);
               insert into peer_info values (1, 5, null), (77, 5, 2), (4242, 5, 3), (9, 5, 8);";
    let db = database(path, sql);
    let insert = "insert into dc_option values (4, '149.154.167.91:443', '[::]:443', ?)";
    db.execute(insert, [key]).unwrap();
    db
}

/// What there is beside the key.
fn facts(found: &Telegram) -> (u8, bool, String, Option<i64>, Option<bool>, Option<i32>) {
    let address = found.address.map(|address| address.to_string()).unwrap_or_default();
    (found.dc_id, found.test, address, found.user_id, found.is_bot, found.api_id)
}

#[test]
fn every_schema_of_pyrogram_and_kurigram_is_read_by_column_name() {
    let folder = folder();
    for schema in 1..=7 {
        let path = folder.path().join(format!("v{schema}"));
        let key = made_up_key(schema);
        drop(pyrogram_file(&path, schema, &key));
        let found = read(&path).unwrap();
        let address = if schema == 7 { "149.154.167.92:80" } else { "149.154.167.91:443" };
        let api_id = (schema >= 3).then_some(2040);
        let wanted = (4, false, address.to_owned(), Some(5_000_000_000), Some(true), api_id);
        assert_eq!(facts(&found), wanted, "{schema}");
        assert!(found.auth_key == key);
        let library = if schema <= 3 { "pyrogram" } else { "kurigram" };
        assert_eq!(read_file(&path).unwrap().format, format!("{library}-sqlite-{schema}"));
    }
}

#[test]
fn a_kurigram_file_with_a_write_ahead_log_is_read_whole() {
    let folder = folder();
    let path = folder.path().join("live");
    let db = pyrogram_file(&path, 7, &made_up_key(1));
    db.execute_batch("pragma journal_mode = wal; pragma wal_autocheckpoint = 0").unwrap();
    db.execute("update sessions set dc_id = 5, auth_key = ?", [made_up_key(2)]).unwrap();
    let found = read(&path).unwrap();
    assert!((found.dc_id, found.auth_key) == (5, made_up_key(2)));
}

#[test]
fn telethon_2_lends_the_key_of_its_users_data_centre() {
    let folder = folder();
    let key = |seed| hex(&made_up_key(seed));
    let two = format!("(2, '149.154.167.51:443', x'{}'),", key(2));
    let four = format!("(4, '149.154.167.91:443', x'{}')", key(4));
    let both = format!("insert into datacenter values {two}{four};");
    for (name, rows, wanted) in [
        ("user", format!("{both} insert into user values (42, 4, 1);"), Ok((Some(42), Some(true)))),
        ("one", format!("insert into datacenter values {four};"), Ok((None, None))),
        ("both", both, Err(Fault::Several)),
        ("none", "insert into datacenter values (4, 'x', null);".into(), Err(Fault::NotLoggedIn)),
        ("empty", String::new(), Err(Fault::NotLoggedIn)),
    ] {
        let path = folder.path().join(name);
        telethon_2_file(&path, &rows);
        let found = read(&path);
        assert_eq!(found.as_ref().map(|t| (t.user_id, t.is_bot)).map_err(Clone::clone), wanted);
        if let Ok(found) = found {
            assert_eq!(facts(&found).2, "149.154.167.91:443", "{name}");
            assert!((found.dc_id, found.auth_key) == (4, made_up_key(4)), "{name}");
            assert_eq!(read_file(&path).unwrap().format, "telethon-sqlite-10");
        }
    }
}

#[test]
fn grammers_lends_the_key_of_its_home_and_knows_itself() {
    let folder = folder();
    let path = folder.path().join("grammers");
    let db = grammers_file(&path, &made_up_key(3));
    let found = read_file(&path).unwrap();
    assert_eq!(found.format, "grammers-sqlite-1");
    let address = "149.154.167.91:443".to_owned();
    assert_eq!(facts(&found.telegram), (4, false, address, Some(4242), Some(true), None));
    assert!(found.telegram.auth_key == made_up_key(3));
    for (change, fault) in [
        ("update dc_home set dc_id = 2", Fault::NotLoggedIn),
        ("update dc_home set dc_id = 3", Fault::NotLoggedIn),
        ("delete from dc_home", Fault::NotLoggedIn),
        (
            "pragma user_version = 2",
            Fault::NewerSchema { library: "grammers", found: 2, newest: 1 },
        ),
        (
            "drop table dc_option",
            Fault::Unknown("it is a SQLite file, but has no session's tables"),
        ),
    ] {
        db.execute_batch(change).unwrap();
        assert_eq!(read(&path), Err(fault), "{change}");
    }
}

#[test]
fn a_file_of_another_library_is_refused_with_the_cause() {
    let folder = folder();
    for (name, schema, change, fault) in [
        (
            "newer",
            7,
            "update version set number = 8",
            Fault::NewerSchema { library: "Kurigram", found: 8, newest: 7 },
        ),
        ("fresh", 3, "update sessions set auth_key = null", Fault::NotLoggedIn),
        ("short", 3, "update sessions set auth_key = x'01'", Fault::KeyLength(1)),
        ("text", 3, "update sessions set auth_key = 'key'", {
            Fault::Damaged("its authorization key is not binary".into())
        }),
        ("none", 3, "delete from sessions", Fault::NotLoggedIn),
        ("nameless", 3, "delete from version", {
            Fault::Damaged("it names no schema version".into())
        }),
        ("columns", 2, "alter table sessions drop column is_bot", {
            Fault::Damaged("its table sessions has no column is_bot".into())
        }),
        ("tables", 2, "drop table sessions", { Fault::Damaged("it has no table sessions".into()) }),
    ] {
        let path = folder.path().join(name);
        pyrogram_file(&path, schema, &made_up_key(1)).execute_batch(change).unwrap();
        assert_eq!(read(&path), Err(fault), "{name}");
    }
}

#[test]
fn a_file_is_what_it_holds_whatever_its_name_says() {
    let folder = folder();
    let json = folder.path().join("gotd.txt");
    drop(pyrogram_file(&folder.path().join("a.json"), 3, &made_up_key(1)));
    let telegram = read(&folder.path().join("a.json")).unwrap();
    fs::write(&json, gotd::to_json(&telegram)).unwrap();
    fs::write(
        folder.path().join("string.session"),
        format!("{}\n", telegate::credential::gramjs::to_string(&telegram)),
    )
    .unwrap();
    for (name, format) in [
        ("a.json", "pyrogram-sqlite-3"),
        ("gotd.txt", "gotd-json"),
        ("string.session", "gramjs-string"),
    ] {
        let found = read_file(&folder.path().join(name)).unwrap();
        assert_eq!(found.format, format);
        assert!(found.telegram.auth_key == telegram.auth_key, "{name}");
    }
}

#[test]
fn no_damage_to_a_file_makes_reading_it_panic_or_lends_half_a_key() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    telethon_file(&at("telethon"), 2, &made_up_key(1));
    drop(pyrogram_file(&at("pyrogram"), 3, &made_up_key(2)));
    drop(pyrogram_file(&at("kurigram"), 7, &made_up_key(3)));
    drop(grammers_file(&at("grammers"), &made_up_key(4)));
    let good =
        ["telethon", "pyrogram", "kurigram", "grammers"].map(|name| fs::read(at(name)).unwrap());
    let mut dice = Dice::new(0x5eed);
    let mut roll = |bound: usize| usize::try_from(dice.below(bound as u64)).unwrap();
    let path = at("broken");
    let mut read = 0;
    for _ in 0..600 {
        let mut bytes = good[roll(4)].clone();
        for _ in 0..=roll(4) {
            let (at, byte) = (roll(bytes.len()), roll(256).to_le_bytes()[0]);
            match roll(8) {
                0 => bytes.truncate(at.max(1)),
                // The header and the list of tables: damage there tells most.
                1 | 2 => bytes[at % 200] = byte,
                _ => bytes[at] = byte,
            }
        }
        fs::write(&path, &bytes).unwrap();
        if let Ok(found) = read_file(&path) {
            read += 1;
            assert_eq!(found.telegram.auth_key.len(), 256);
            assert!((1..=5).contains(&found.telegram.dc_id));
        }
    }
    assert!(read > 20, "only {read} could be read");
}
