//! `telegate sync` and `serve --sync`: a pool that is equal to a folder.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use super::{Broker, PATIENCE, Said, words};
use crate::{
    harness,
    import::{contents, made_up_key, telethon_file},
};

fn folder(sessions: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for session in sessions {
        put(folder.path(), session, session.as_bytes()[0]);
    }
    folder
}

fn put(folder: &Path, session: &str, seed: u8) {
    let path = folder.join(format!("{session}.session"));
    let _ = fs::remove_file(&path);
    telethon_file(&path, 2, &made_up_key(seed));
}

fn sync(broker: &Broker, folder: &Path, flags: &[&str]) -> Said {
    let before = contents(folder);
    let args = ["sync", folder.to_str().unwrap(), "--pool", "work"];
    let said = broker.run(args.iter().chain(flags));
    assert!(contents(folder) == before, "the sync changed its folder");
    said
}

/// The last line: what was done in all.
fn summary(said: &Said) -> &str {
    said.out.lines().last().unwrap_or(&said.err)
}

fn sessions(broker: &Broker) -> Vec<String> {
    let listed: Value = broker.call("session list --pool work --json").json();
    let none = Vec::new();
    let sessions = listed["sessions"].as_array().unwrap_or(&none);
    sessions.iter().map(|session| session["name"].as_str().unwrap().to_owned()).collect()
}

async fn broker() -> Broker {
    let broker = Broker::start().await;
    broker.call("pool create work").done();
    broker
}

#[tokio::test]
async fn a_pool_follows_its_folder_and_what_was_added_by_hand_stays() {
    let broker = broker().await;
    let by_hand = folder(&["hand"]);
    broker.run(["import", by_hand.path().to_str().unwrap(), "--pool", "work"]).done();
    let folder = folder(&["ann", "bob", "carl"]);
    let planned = sync(&broker, folder.path(), &["--dry-run"]);
    assert_eq!(
        summary(&planned),
        "3 would be added, 0 updated, 0 removed, 0 spared, 0 unchanged, 0 refused"
    );
    assert_eq!(sessions(&broker), ["hand"]);
    let done = sync(&broker, folder.path(), &[]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(summary(&done), "3 added, 0 updated, 0 removed, 0 spared, 0 unchanged, 0 refused");
    assert_eq!(sessions(&broker), ["ann", "bob", "carl", "hand"]);
    let shown = broker.call("session show --pool work ann");
    assert_eq!(shown.field("labels"), "telegate/sync=folder");
    let again = sync(&broker, folder.path(), &[]);
    assert_eq!(summary(&again), "0 added, 0 updated, 0 removed, 0 spared, 3 unchanged, 0 refused");

    fs::remove_file(folder.path().join("ann.session")).unwrap();
    fs::remove_file(folder.path().join("bob.session")).unwrap();
    put(folder.path(), "dora", b'd');
    let lease = broker.call("acquire --pool work --session bob --json").json();
    let lease = lease["lease"]["leaseId"].as_str().unwrap();
    let planned = sync(&broker, folder.path(), &["--dry-run"]);
    let done = sync(&broker, folder.path(), &[]);
    assert_eq!(planned.out.replace("would be ", ""), done.out);
    assert_eq!(summary(&done), "1 added, 0 updated, 1 removed, 1 spared, 1 unchanged, 0 refused");
    assert!(done.out.contains("It is LEASED and is removed once it is free"), "{done:?}");
    assert_eq!(sessions(&broker), ["bob", "carl", "dora", "hand"]);
    broker.run(["release", lease]).done();
    let done = sync(&broker, folder.path(), &["--json"]).json();
    assert_eq!(done["rows"][0]["outcome"], "IMPORT_OUTCOME_REMOVED");
    assert_eq!(sessions(&broker), ["carl", "dora", "hand"]);
}

#[tokio::test]
async fn a_folder_that_is_not_there_or_empty_empties_no_pool() {
    let broker = broker().await;
    let folder = folder(&["ann"]);
    sync(&broker, folder.path(), &[]).done();
    let gone = folder.path().join("gone");
    let said = broker.run(["sync", gone.to_str().unwrap(), "--pool", "work", "--allow-empty"]);
    assert_eq!(said.code, 65, "{said:?}");
    assert!(said.err.contains("gone: No such file or directory"), "{said:?}");
    fs::remove_file(folder.path().join("ann.session")).unwrap();
    let said = sync(&broker, folder.path(), &[]);
    assert_eq!(said.code, 64, "{said:?}");
    assert!(
        said.err.contains("header.allow_empty: is not set, and the source has no session left")
    );
    assert_eq!(sessions(&broker), ["ann"]);
    let said = sync(&broker, folder.path(), &["--allow-empty"]);
    assert_eq!(summary(&said), "0 added, 0 updated, 1 removed, 0 spared, 0 unchanged, 0 refused");
    assert_eq!(words("sync / --pool work --address http://127.0.0.1:1").code, 69);
}

#[tokio::test]
async fn what_cannot_be_read_keeps_what_was_read_from_it() {
    let broker = broker().await;
    let folder = folder(&["ann", "bob", "carl"]);
    sync(&broker, folder.path(), &[]).done();
    fs::write(folder.path().join("ann.session"), b"SQLite format 3\0").unwrap();
    fs::remove_file(folder.path().join("bob.session")).unwrap();
    let said = sync(&broker, folder.path(), &[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(summary(&said), "0 added, 0 updated, 1 removed, 1 spared, 1 unchanged, 1 refused");
    assert!(said.out.contains("It is not removed while ann cannot be read"), "{said:?}");
    assert_eq!(sessions(&broker), ["ann", "carl"]);
    // An archive may have held anything.
    fs::remove_file(folder.path().join("ann.session")).unwrap();
    fs::write(folder.path().join("all.zip"), b"PK\x03\x04").unwrap();
    let said = sync(&broker, folder.path(), &[]);
    assert!(said.out.contains("Nothing is removed while "), "{said:?}");
    assert_eq!(sessions(&broker), ["ann", "carl"]);
}

#[tokio::test]
async fn a_session_that_was_made_anew_takes_the_place_of_the_old_one() {
    let broker = broker().await;
    let folder = folder(&["ann"]);
    sync(&broker, folder.path(), &[]).done();
    put(folder.path(), "ann", b'z');
    let lease = broker.call("acquire --pool work --json").json();
    let said = sync(&broker, folder.path(), &[]);
    assert_eq!(summary(&said), "0 added, 0 updated, 0 removed, 1 spared, 0 unchanged, 1 refused");
    broker.run(["release", lease["lease"]["leaseId"].as_str().unwrap()]).done();
    let said = sync(&broker, folder.path(), &[]);
    assert_eq!(summary(&said), "1 added, 0 updated, 1 removed, 0 spared, 0 unchanged, 0 refused");
    assert_eq!(sessions(&broker), ["ann"]);
}

#[tokio::test]
async fn several_folders_fill_one_pool_and_let_each_other_be() {
    let broker = broker().await;
    let (one, two) = (folder(&["ann", "bob"]), folder(&["bob", "carl"]));
    sync(&broker, one.path(), &["--source", "one"]).done();
    let said = sync(&broker, two.path(), &["--source", "two"]);
    assert!(said.out.contains("It belongs to the source one and is left alone"), "{said:?}");
    fs::remove_file(one.path().join("ann.session")).unwrap();
    sync(&broker, one.path(), &["--source", "one"]).done();
    assert_eq!(sessions(&broker), ["bob", "carl"]);
    let by_hand = folder(&["hand"]);
    broker.run(["import", by_hand.path().to_str().unwrap(), "--pool", "work"]).done();
    let said = sync(&broker, by_hand.path(), &["--source", "three"]);
    assert!(said.out.contains("It was added by hand and is left alone"), "{said:?}");
    let said = sync(&broker, folder(&[]).path(), &["--source", "a b"]);
    assert_eq!(said.code, 64);
    assert!(said.err.contains("header.source: is not a label's value"), "{said:?}");
}

#[tokio::test]
async fn a_manifest_says_more_of_the_sessions_and_its_faults_stop_the_sync() {
    let broker = broker().await;
    let folder = folder(&["ann", "bob"]);
    let manifest = folder.path().join("telegate.toml");
    let text = "[[rules]]\nfiles = \"*\"\nlabels = { team = \"a\" }\napi_id = 4\n\n[[rules]]\n\
                files = \"b*.session\"\nlabels = { team = \"b\" }\nproxy = \"socks5://h:1\"\n";
    fs::write(&manifest, format!("{text}prxy = 1\n")).unwrap();
    let said = sync(&broker, folder.path(), &[]);
    assert_eq!(said.code, 65, "{said:?}");
    assert!(said.err.contains("telegate.toml, line 10: unknown field `prxy`"), "{said:?}");
    fs::write(&manifest, text).unwrap();
    sync(&broker, folder.path(), &[]).done();
    let show = |session: &str| broker.call(&format!("session show --pool work {session}"));
    assert_eq!(show("ann").field("labels"), "team=a,telegate/sync=folder");
    let bob = show("bob");
    assert_eq!(bob.field("labels"), "team=b,telegate/sync=folder");
    assert_eq!(bob.field("proxy"), "socks5://h:1");
    fs::write(folder.path().join("telegate.json"), "{}").unwrap();
    let said = sync(&broker, folder.path(), &[]);
    assert!(said.err.contains("has telegate.toml and telegate.json; keep one"), "{said:?}");
}

#[tokio::test]
async fn a_broker_keeps_a_pool_equal_to_its_folder() {
    let folder = folder(&["ann", "bob"]);
    let flag = format!("work={}", folder.path().display());
    let broker = Broker::in_folder(tempfile::tempdir().unwrap(), &["--sync", &flag]).await;
    let becomes = async |wanted: &[&str]| {
        let what = format!("the pool has {wanted:?}");
        harness::eventually(&what, PATIENCE + Duration::from_secs(20), async || {
            let listed = broker.call("session list --pool work --json");
            (listed.code == 0 && sessions(&broker) == wanted).then_some(())
        })
        .await;
    };
    becomes(&["ann", "bob"]).await;
    put(folder.path(), "carl", b'c');
    becomes(&["ann", "bob", "carl"]).await;
    fs::remove_file(folder.path().join("ann.session")).unwrap();
    becomes(&["bob", "carl"]).await;
    // The folder goes away: nothing is removed, and the log says why.
    let away = folder.path().with_extension("away");
    fs::rename(folder.path(), &away).unwrap();
    harness::eventually("the log tells it", PATIENCE, async || {
        let log = fs::read_to_string(broker.path("log")).unwrap();
        log.contains("pool not synced with its folder: folder ").then_some(())
    })
    .await;
    fs::rename(&away, folder.path()).unwrap();
    put(folder.path(), "dora", b'd');
    becomes(&["bob", "carl", "dora"]).await;
}

#[tokio::test]
async fn a_manifest_that_changes_changes_its_sessions_and_nothing_set_by_hand() {
    let broker = broker().await;
    let folder = folder(&["ann", "bob"]);
    let manifest = |text: &str| {
        fs::write(folder.path().join("telegate.toml"), format!("[[rules]]\nfiles = \"*\"\n{text}"))
            .unwrap();
    };
    manifest("labels = { team = \"news\" }\napi_id = 4\n");
    sync(&broker, folder.path(), &[]);
    let by_hand = "--label tier=gold --device-model Pixel --proxy socks5://h:1";
    broker.call(&format!("session update ann --pool work {by_hand}")).done();
    let said = sync(&broker, folder.path(), &[]);
    assert_eq!(summary(&said), "0 added, 0 updated, 0 removed, 0 spared, 2 unchanged, 0 refused");

    manifest("labels = { team = \"ads\" }\napi_id = 5\nproxy = \"socks5://h:2\"\n");
    let planned = sync(&broker, folder.path(), &["--dry-run"]);
    let wanted = "0 would be added, 2 updated, 0 removed, 0 spared, 0 unchanged, 0 refused";
    assert_eq!(summary(&planned), wanted);
    assert_eq!(broker.call("session show ann --pool work").field("proxy"), "socks5://h:1");
    let said = sync(&broker, folder.path(), &[]);
    assert!(said.out.contains("Changed: labels, proxy, device"), "{said:?}");
    assert_eq!(summary(&said), "0 added, 2 updated, 0 removed, 0 spared, 0 unchanged, 0 refused");
    let shown = broker.call("session show ann --pool work");
    assert_eq!(shown.field("labels"), "team=ads,telegate/sync=folder,tier=gold");
    assert_eq!(shown.field("proxy"), "socks5://h:2");
    assert_eq!(shown.field("device"), "api_id 5, Pixel");
    let told = broker.call("history ann --pool work").done();
    assert!(told.contains("labels, proxy, device"), "{told}");
    let said = sync(&broker, folder.path(), &[]);
    assert_eq!(summary(&said), "0 added, 0 updated, 0 removed, 0 spared, 2 unchanged, 0 refused");
}

#[tokio::test]
async fn what_was_added_by_hand_is_the_folders_once_it_is_adopted() {
    let broker = broker().await;
    let folder = folder(&["ann", "bob"]);
    broker.run(["import", folder.path().to_str().unwrap(), "--pool", "work"]).done();
    let said = sync(&broker, folder.path(), &[]);
    assert!(said.out.contains("left alone, unless it is adopted"), "{said:?}");
    let said = sync(&broker, folder.path(), &["--adopt"]);
    assert_eq!(summary(&said), "0 added, 2 updated, 0 removed, 0 spared, 0 unchanged, 0 refused");
    let said = sync(&broker, folder.path(), &[]);
    assert_eq!(summary(&said), "0 added, 0 updated, 0 removed, 0 spared, 2 unchanged, 0 refused");
    let other = sync(&broker, folder.path(), &["--adopt", "--source", "other"]);
    assert!(other.out.contains("It belongs to the source folder"), "{other:?}");
    fs::remove_file(folder.path().join("bob.session")).unwrap();
    sync(&broker, folder.path(), &[]);
    assert_eq!(sessions(&broker), ["ann"]);
}
