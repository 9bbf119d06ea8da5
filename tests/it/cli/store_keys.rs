//! Store keys at the command line: made, given, changed while the broker serves, and refused.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{Broker, file_in, run, telegate, words};
use crate::{
    harness::{self, OTHER_STORE_KEY, STORE_KEY, STORE_KEYS},
    import::{made_up_key, telethon_file},
};

const ID: &str = "830a999d";
const OTHER_ID: &str = "7d21e41a";

/// Writes a file of store keys that only this user can read.
fn write(path: &Path, keys: &[&str]) {
    fs::write(path, keys.join("\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Waits until the broker's log has a text.
async fn logged(broker: &Broker, text: &str) {
    harness::eventually(text, super::PATIENCE, async || {
        fs::read_to_string(broker.path("log")).unwrap().contains(text).then_some(())
    })
    .await;
}

#[test]
fn a_store_key_is_made_and_printed_once_or_put_first_into_a_file() {
    let printed = words("keys new-store");
    assert!(printed.err.contains("shown only now"), "{printed:?}");
    let (id, key) = (printed.field("id"), printed.field("key"));
    assert!(key.starts_with(&format!("tgsk_{id}_")) && id.len() == 8, "{printed:?}");
    let json = words("keys new-store --json").json();
    assert!(json["key"].as_str().unwrap().contains(json["id"].as_str().unwrap()));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.keys");
    let at = path.to_str().unwrap();
    let ids: Vec<_> = (0..2)
        .map(|_| {
            let made = run(["keys", "new-store", "--store-key-file", at]);
            assert!(!made.out.contains("tgsk_") && !made.err.contains("tgsk_"), "{made:?}");
            made.field("id")
        })
        .collect();
    let text = fs::read_to_string(&path).unwrap();
    let keys: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("tgsk_")).collect();
    assert!(keys[0].starts_with(&ids[1]) && keys[1].starts_with(&ids[0]), "the newest is first");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn store_keys_that_cannot_be_used_are_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (store, keys) = (file_in(&folder), folder.path().join("store.keys"));
    let serve = ["serve", "--listen", "127.0.0.1:0", "--store", &store, "--store-key-file"];
    let refused = |said: &str| {
        let failed = run(serve.iter().copied().chain([keys.to_str().unwrap()]));
        assert_eq!((failed.code, failed.out.as_str()), (64, ""), "{failed:?}");
        assert!(failed.err.contains(said) && failed.err.lines().count() == 1, "{failed:?}");
        assert!(!failed.err.contains(&STORE_KEY[14..]), "{failed:?}");
    };
    refused("No such file or directory (os error 2); name a file that this user may read");
    write(&keys, &[STORE_KEY, "nonsense"]);
    refused("line 2 has what is no store key");
    write(&keys, &["# none yet"]);
    refused("there are none; make one with `telegate keys new-store`");
    write(&keys, &[STORE_KEY]);
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    refused("its mode is 644, so others can read it; run: chmod 600 ");
    let mut both = telegate();
    both.args(serve).arg(&keys).env(STORE_KEYS, STORE_KEY);
    let failed = super::Said::of(&both.output().unwrap());
    assert_eq!(failed.code, 64);
    assert!(failed.err.contains("drop one of them"), "{failed:?}");
}

#[tokio::test]
async fn without_a_store_key_sessions_are_not_taken_in_and_the_next_step_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = file_in(&folder);
    let broker = Broker::serve(folder, &store, &[], &[]).await;
    logged(&broker, "there is no store key").await;
    broker.call("pool create work").done();
    let file = broker.path("anna.session");
    telethon_file(&file, 2, &made_up_key(1));
    let file = file.to_str().unwrap();
    let refused = broker.run(["import", file, "--pool", "work"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("telegate keys new-store --store-key-file"), "{refused:?}");
    assert!(refused.err.contains("reason: STORE_KEY_MISSING"), "{refused:?}");
    let refused = broker.call("keys rotate-store");
    assert!(refused.err.contains("reason: STORE_KEY_MISSING"), "{refused:?}");

    let folder = broker.stop().await;
    let broker = Broker::serve(folder, &store, &["--keep-unencrypted"], &[]).await;
    logged(&broker, "credentials are kept unencrypted").await;
    let file = broker.path("anna.session");
    broker.run(["import", file.to_str().unwrap(), "--pool", "work"]).done();
}

#[tokio::test]
async fn everything_is_sealed_anew_while_the_broker_serves_and_the_old_key_can_go() {
    let folder = tempfile::tempdir().unwrap();
    let (store, keys) = (file_in(&folder), folder.path().join("store.keys"));
    write(&keys, &[STORE_KEY]);
    let flags = ["--store-key-file", keys.to_str().unwrap()];
    let broker = Broker::serve(folder, &store, &flags, &[]).await;
    broker.pool("work", &["a", "b", "c", "d", "e"]);
    broker.call("pool create empty").done();

    write(&keys, &[OTHER_STORE_KEY, STORE_KEY]);
    logged(&broker, "store keys re-read").await;
    let done = AtomicBool::new(false);
    let rotated = thread::scope(|scope| {
        let lending = scope.spawn(|| {
            let mut leases = 0;
            while !done.load(Ordering::Relaxed) {
                let lease = broker.call("acquire --pool work --only lease").done();
                broker.call(&format!("release {}", lease.trim())).done();
                leases += 1;
            }
            leases
        });
        let rotated: Vec<_> = (0..3).map(|_| broker.call("keys rotate-store").done()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(lending.join().unwrap() > 0);
        rotated
    });
    let expected = |sealed: &str| {
        format!(
            "empty: 0 sealed anew, 0 as they should be\nwork: {sealed}\nstore key {OTHER_ID} is \
             needed by 5\nstore key {ID} is no longer needed: it can go\n"
        )
    };
    assert_eq!(rotated[0], expected("5 sealed anew, 0 as they should be"));
    assert_eq!(rotated[1], expected("0 sealed anew, 5 as they should be"));
    assert_eq!(rotated[1], rotated[2]);
    let json = broker.call("keys rotate-store --pool work --json").json();
    assert_eq!(json["needed"], serde_json::json!({ OTHER_ID: 5 }));
    assert_eq!(json["unneeded"], serde_json::json!([ID]));

    write(&keys, &["nonsense"]);
    logged(&broker, "store keys not re-read; the old ones stay").await;
    broker.call("acquire --pool work").done();
    write(&keys, &[OTHER_STORE_KEY]);
    harness::eventually("the old key is gone", super::PATIENCE, async || {
        let json = broker.call("keys rotate-store --pool work --json").json();
        (json["unneeded"] == serde_json::json!([])).then_some(())
    })
    .await;
    broker.call("acquire --pool work").done();
}

#[tokio::test]
async fn a_session_whose_key_is_lost_is_named_in_the_log_and_left_by_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let store = file_in(&folder);
    let broker = Broker::serve(folder, &store, &[], &[(STORE_KEYS, STORE_KEY)]).await;
    broker.pool("work", &["anna"]);
    let folder = broker.stop().await;
    let broker = Broker::serve(folder, &store, &[], &[(STORE_KEYS, OTHER_STORE_KEY)]).await;
    let failed = broker.call("acquire --pool work");
    assert_eq!(failed.code, 70, "{failed:?}");
    assert!(!failed.err.contains("anna") && failed.err.contains("reason: INTERNAL"), "{failed:?}");
    let log = format!(
        "session anna of pool work: its credential is sealed with store key {ID}, which this \
         broker does not have; give it that key"
    );
    logged(&broker, &log).await;
    assert_eq!(broker.call("session show --pool work anna").field("state"), "READY");
    let rotated = broker.call("keys rotate-store");
    assert_eq!(rotated.code, 1);
    let said = format!("work: anna stays as it is: its credential is sealed with store key {ID}");
    assert!(rotated.out.contains(&said), "{rotated:?}");
    assert!(rotated.out.contains(&format!("store key {ID} is needed by 1")), "{rotated:?}");
}

#[tokio::test]
async fn what_was_kept_in_plain_text_is_sealed_by_a_rotation_and_no_copy_stays_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = file_in(&folder);
    let broker = Broker::serve(folder, &store, &["--keep-unencrypted"], &[]).await;
    let names: Vec<_> = (0..30).map(|number| format!("s{number}")).collect();
    broker.pool("work", &names.iter().map(String::as_str).collect::<Vec<_>>());
    let folder = broker.stop().await;
    let has = |folder: &tempfile::TempDir, seed| {
        let file = fs::read(folder.path().join("telegate.db")).unwrap();
        let key = made_up_key(seed);
        file.windows(64).any(|some| some == &key[..64])
    };
    assert!((0..30).all(|seed| has(&folder, seed)), "nothing could be found");
    let broker = Broker::serve(folder, &store, &[], &[(STORE_KEYS, STORE_KEY)]).await;
    broker.call("acquire --pool work").done();
    let rotated = broker.call("keys rotate-store").done();
    assert!(rotated.contains("work: 30 sealed anew"), "{rotated}");
    broker.call("acquire --pool work").done();
    let folder = broker.stop().await;
    assert!(!(0..30).any(|seed| has(&folder, seed)), "the file still has plain credentials");
}
