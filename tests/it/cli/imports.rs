//! `telegate import`, with good, bad and duplicate sources.

use std::{fs, io::Write as _, process::Stdio};

use serde_json::Value;
use telegate::credential::{Telegram, gotd, gramjs, read_file, read_text, telethon};
use tempfile::TempDir;

use super::{Broker, Said, telegate, words};
use crate::formats::pyrogram_file;
use crate::import::{
    contents, database, made_up_key, opened_by_telethon, pythons, real_telethon_files,
    telethon_file,
};

/// A folder as people have them: sessions at several depths, strings, rubbish, links.
fn heap() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("deep/deeper")).unwrap();
    telethon_file(&at("anna.session"), 2, &made_up_key(1));
    telethon_file(&at("deep/anna.session"), 4, &made_up_key(2));
    telethon_file(&at("deep/deeper/+49 151.session"), 5, &made_up_key(3));
    fs::copy(at("anna.session"), at("copy of anna.session")).unwrap();
    fs::write(at("empty.session"), "").unwrap();
    fs::write(at("noise.session"), [0x9c; 3000]).unwrap();
    fs::write(at("readme.md"), "not looked at").unwrap();
    std::os::unix::fs::symlink(at("anna.session"), at("link.session")).unwrap();
    std::os::unix::fs::symlink(folder.path(), at("loop")).unwrap();
    let string = |seed| {
        let path = at("one.tmp");
        telethon_file(&path, 3, &made_up_key(seed));
        let text = telethon::to_string(&read_file(&path).unwrap().telegram);
        fs::remove_file(path).unwrap();
        text
    };
    let (new, known) = (string(4), string(1));
    let long = "1".repeat(10_000);
    let strings = format!("# strings\n\n{new}\r\n{known}\nnonsense\n{long}\n{}", string(5));
    fs::write(at("strings.txt"), strings).unwrap();
    folder
}

fn rows(imported: &Said) -> Vec<(String, String, String)> {
    let report: Value = serde_json::from_str(&imported.out).unwrap();
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    let rows = report["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        let outcome = text(row, "outcome").replace("IMPORT_OUTCOME_", "");
        (outcome, text(row, "session"), text(row, "detail"))
    })
    .collect()
}

#[tokio::test]
async fn a_heap_of_files_becomes_a_row_each_and_nothing_is_changed() {
    let broker = Broker::start().await;
    broker.call("pool create work").done();
    let folder = heap();
    let before = contents(folder.path());
    let path = folder.path().to_str().unwrap();
    let strings = folder.path().join("strings.txt");
    let args =
        ["import", path, strings.to_str().unwrap(), "--pool", "work", "--label", "country=de"];
    let imported = broker.run(args.iter().chain(&["--json"]));
    assert_eq!((imported.code, imported.err.as_str()), (1, ""), "{imported:?}");
    let key_of_two = read_file(&folder.path().join("deep/anna.session")).unwrap();
    let fingerprint =
        telegate::credential::Credential::Telegram(key_of_two.telegram).fingerprint().to_string();
    let renamed = format!("anna-{fingerprint}");
    let found = rows(&imported);
    let short: Vec<_> = found.iter().map(|(o, s, _)| (o.as_str(), s.as_str())).collect();
    assert_eq!(
        short,
        [
            ("ADDED", "anna"),
            ("UNCHANGED", ""),
            ("ADDED", &renamed),
            ("ADDED", "+49-151"),
            ("REFUSED", ""),
            ("REFUSED", ""),
            ("REFUSED", ""),
            ("REFUSED", ""),
            // In a folder a line that is like no session is passed over; in a file that is named
            // it is told.
            ("ADDED", "strings-3"),
            ("UNCHANGED", ""),
            ("ADDED", "strings-7"),
            ("UNCHANGED", ""),
            ("UNCHANGED", ""),
            ("REFUSED", ""),
            ("REFUSED", ""),
            ("UNCHANGED", ""),
        ],
        "{found:#?}"
    );
    for (row, said) in [
        (1, "It has the same key as "),
        (4, "It is empty"),
        (5, "a symbolic link; inside a folder it is not followed"),
        (6, "a symbolic link; inside a folder it is not followed"),
        (7, "it is neither SQLite, JSON nor text"),
        (9, "It has the same key as "),
        (11, "It has the same key as "),
        (13, "it does not look like a session string of any library"),
        (14, "It is a line of 4098 bytes or more"),
    ] {
        assert!(found[row].2.contains(said), "{row}: {}", found[row].2);
    }
    let shown = broker.call("session show --pool work anna");
    assert_eq!(
        (shown.field("labels"), shown.field("state")),
        ("country=de".into(), "READY".into())
    );

    let again = broker.run(args);
    assert_eq!(again.code, 1);
    assert!(again.out.contains("Its labels stay as they were"), "{again:?}");
    let last = again.out.lines().last().unwrap();
    assert_eq!(last, "0 added, 10 unchanged, 6 refused", "{again:?}");
    assert!(contents(folder.path()) == before, "the import changed its sources");
}

#[tokio::test]
async fn a_key_that_is_elsewhere_or_a_name_that_is_taken_is_refused() {
    let broker = Broker::start().await;
    broker.call("pool create work").done();
    broker.call("pool create other").done();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("anna.session");
    telethon_file(&file, 2, &made_up_key(1));
    let file = file.to_str().unwrap();
    broker.run(["import", file, "--pool", "work"]).done();

    let elsewhere = broker.run(["import", file, "--pool", "other", "--json"]);
    assert_eq!(elsewhere.code, 1);
    let (outcome, _, detail) = rows(&elsewhere).remove(0);
    assert_eq!(outcome, "REFUSED");
    assert!(detail.contains("is session anna of pool work already"), "{detail}");

    let prefixed = ["import", file, "--pool", "work", "--name-prefix", "eu-", "--json"];
    let (outcome, session, detail) = rows(&broker.run(prefixed)).remove(0);
    assert_eq!((outcome.as_str(), session.as_str()), ("UNCHANGED", "anna"));
    assert_eq!(detail, "The pool has its key as anna");

    fs::remove_file(file).unwrap();
    telethon_file(file.as_ref(), 2, &made_up_key(9));
    let taken = broker.run(["import", file, "--pool", "work", "--json"]);
    assert_eq!(taken.code, 1);
    let (outcome, _, detail) = rows(&taken).remove(0);
    assert_eq!(outcome, "REFUSED");
    assert!(detail.starts_with("The pool has another session of that name ("), "{detail}");
}

#[tokio::test]
async fn what_would_fail_for_every_file_fails_once() {
    let folder = heap();
    let path = folder.path().to_str().unwrap();
    let broker = Broker::start().await;
    let failed = broker.run(["import", path, "--pool", "nopool"]);
    assert_eq!((failed.code, failed.out.as_str()), (1, ""));
    assert!(failed.err.contains("reason: POOL_NOT_FOUND"), "{failed:?}");
    assert_eq!(words(&format!("import {path} --pool work --address x.invalid:1")).code, 69);
}

#[test]
fn a_dry_run_reads_and_calls_nobody() {
    let folder = heap();
    let path = folder.path().to_str().unwrap();
    let dry = words(&format!("import {path} --pool work --dry-run --address http://127.0.0.1:1"));
    assert_eq!(dry.code, 1);
    let last = dry.out.lines().last().unwrap();
    assert_eq!(last, "5 would be added, 2 unchanged, 4 refused", "{dry:?}");
    let nothing = tempfile::tempdir().unwrap();
    let empty = words(&format!("import {} --pool work --dry-run", nothing.path().display()));
    assert_eq!(empty.code, 65);
    assert!(empty.err.contains("error: there is nothing to import\nnext: "), "{empty:?}");
    let absent = words("import /nonexistent/x.session --pool work --dry-run");
    assert_eq!(absent.code, 1);
    assert!(absent.out.contains("It cannot be read: there is no such file"), "{absent:?}");
}

#[tokio::test]
async fn a_folder_is_searched_for_every_librarys_sessions_by_content() {
    let broker = Broker::start().await;
    broker.call("pool create work").done();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    drop(pyrogram_file(&at("bob.data"), 3, &made_up_key(1)));
    drop(pyrogram_file(&at("carol.session"), 2, &made_up_key(2)));
    let carol = read_file(&at("carol.session")).unwrap().telegram;
    let other = |seed| Telegram { auth_key: made_up_key(seed), ..carol.clone() };
    fs::write(at("dave.json"), gotd::to_json(&other(3))).unwrap();
    fs::write(at("erin"), gramjs::to_string(&other(4))).unwrap();
    fs::write(at("frank.json"), &gotd::to_json(&other(5))[..400]).unwrap();
    for folder in ["tdata", "tdlib"] {
        fs::create_dir(at(folder)).unwrap();
    }
    fs::write(at("tdata/key_datas"), "TDF$").unwrap();
    fs::write(at("tdlib/td.binlog"), [1, 2, 3]).unwrap();
    // What has nothing to do with sessions is passed over.
    let sidecar = (at("bob.json"), &br#"{"phone": "+1"}"#[..]);
    for (path, content) in [sidecar, (at("S"), b"S"), (at("a.py"), b"print()"), (at("b"), &[0; 9])]
    {
        fs::write(path, content).unwrap();
    }
    database(&at("other.db"), "create table notes (text)").close().unwrap();
    std::os::unix::fs::symlink(at("erin"), at("link")).unwrap();
    let before = contents(folder.path());

    let path = folder.path().to_str().unwrap();
    let imported = broker.run(["import", path, "--pool", "work", "--json"]);
    let found = rows(&imported);
    let short: Vec<_> = found.iter().map(|(o, s, _)| (o.as_str(), s.as_str())).collect();
    let wanted = ["bob", "carol", "dave", "erin"].map(|name| ("ADDED", name));
    assert_eq!(short, [&wanted[..], &[("REFUSED", ""); 3]].concat(), "{found:#?}");
    for (row, said) in [(4, "not whole JSON"), (5, "Telegram Desktop"), (6, "TDLib")] {
        assert!(found[row].2.contains(said), "{}", found[row].2);
    }
    assert!(contents(folder.path()) == before, "the import changed its sources");

    let lent = |session: &str| {
        let line = format!("acquire --pool work --session {session} --form pyrogram-string");
        broker.call(&format!("{line} --only credential"))
    };
    let back = read_text(lent("bob").done().trim()).unwrap().telegram;
    assert_eq!((back.api_id, back.user_id), (Some(2040), Some(5_000_000_000)));
    assert!(back.auth_key == made_up_key(1));
    let refused = lent("carol");
    assert_eq!(refused.code, 64, "{refused:?}");
    assert!(refused.err.contains("PYROGRAM_STRING needs api_id, which"), "{refused:?}");
}

#[tokio::test]
async fn strings_come_from_stdin_too() {
    let broker = Broker::start().await;
    broker.call("pool create work").done();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    telethon_file(&file, 5, &made_up_key(7));
    let string = telethon::to_string(&read_file(&file).unwrap().telegram);
    let mut import = telegate();
    import.args(["import", "-", "--pool", "work", "--address", &broker.address]);
    import.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut import = import.spawn().unwrap();
    import.stdin.take().unwrap().write_all(string.as_bytes()).unwrap();
    let imported = Said::of(&import.wait_with_output().unwrap()).done();
    assert!(imported.contains("added      session-"), "{imported}");
    assert!(!imported.contains(&string[20..60]), "{imported}");
    let acquired = broker.call("acquire --pool work --form telethon-string --only credential");
    assert_eq!(acquired.done().trim(), string);
}

#[tokio::test]
async fn a_session_of_the_real_telethon_goes_in_and_comes_out_for_it() {
    for python in pythons() {
        let broker = Broker::start().await;
        broker.call("pool create work").done();
        let folder = tempfile::tempdir().unwrap();
        let made = real_telethon_files(&python, folder.path());
        let path = folder.path().to_str().unwrap();
        let imported = broker.run(["import", path, "--pool", "work"]);
        let last = imported.out.lines().last().unwrap();
        assert_eq!(last, "6 added, 0 unchanged, 1 refused", "{imported:?}");
        for session in made["sessions"].as_array().unwrap() {
            let name = session["file"].as_str().unwrap().trim_end_matches(".session");
            let acquire = ["acquire", "--pool", "work", "--session", name];
            let form = ["--form", "telethon-string", "--only", "credential"];
            let string = broker.run(acquire.iter().chain(&form)).done();
            let opened = opened_by_telethon(&python, &string);
            assert_eq!(opened["dc_id"], session["dc_id"]);
            assert_eq!(opened["auth_key"], session["auth_key"]);
        }
    }
}

#[test]
fn a_string_in_the_place_of_a_file_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anna.session");
    telethon_file(&path, 2, &made_up_key(1));
    let string = telethon::to_string(&read_file(&path).unwrap().telegram);
    let said = super::run(["import", &string, "--pool", "work", "--dry-run"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("strings come from a .txt file, or with - from stdin"), "{said:?}");
    assert!(!said.out.contains(&string) && !said.err.contains(&string));
}
