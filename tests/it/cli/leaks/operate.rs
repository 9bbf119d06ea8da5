//! What operators do with sessions that are there, and by which more come in at once.

use std::{
    fs,
    io::{Cursor, Write as _},
    path::Path,
};

use telegate::proto::v1::{
    self, CredentialForm, ImportHeader, ImportSessionsRequest, import_sessions_request::Part,
};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{
    World,
    made_up::{
        NEW_API_HASH, NEW_PROXY_PASSWORD, SECOND_FACTOR, SYNC_PROXY_PASSWORD, ask, key, telegram,
    },
};
use crate::{
    cli::{Broker, PATIENCE},
    harness::eventually,
    import::telethon_file,
};

/// The folder that the broker itself follows, for the pool `followed`.
pub(super) const FOLLOWED: &str = "followed";

/// A folder with a session, what lies beside it, a manifest, and what cannot be read.
pub(super) fn fill_folder(folder: &Path, seed: u8) {
    fs::create_dir_all(folder).unwrap();
    telethon_file(&folder.join(format!("s{seed}.session")), 4, &key(seed));
    fs::write(folder.join(format!("s{seed}.json")), sidecar()).unwrap();
    let proxy = format!("socks5://ann:{SYNC_PROXY_PASSWORD}@proxy.example:1");
    let manifest = format!("[[rules]]\nfiles = \"*\"\nproxy = \"{proxy}\"\n");
    fs::write(folder.join("telegate.toml"), manifest).unwrap();
    let whole = fs::read(folder.join(format!("s{seed}.session"))).unwrap();
    fs::write(folder.join("torn.session"), &whole[..whole.len() - 2000]).unwrap();
}

fn sidecar() -> String {
    format!(r#"{{"app_id": 4, "app_hash": "{NEW_API_HASH}", "twoFA": "{SECOND_FACTOR}"}}"#)
}

/// A file of an import, in pieces.
fn sent(file_name: &str, content: &[u8]) -> Vec<ImportSessionsRequest> {
    let header = ImportHeader {
        pool: "work".to_owned(),
        file_name: file_name.to_owned(),
        ..ImportHeader::default()
    };
    let pieces = content.chunks(4096).map(|piece| Part::Content(piece.to_vec()));
    let parts = [Part::Header(header)].into_iter().chain(pieces);
    parts.map(|part| ImportSessionsRequest { part: Some(part) }).collect()
}

/// Does all of it, by the command and by the calls.
pub(super) async fn operate(world: &mut World, broker: &Broker) {
    update(world, broker).await;
    import(world, broker).await;
    sync(world, broker).await;
    let worker = world.client(broker, &world.worker).await;
    world.lend(&worker, ask("alice", CredentialForm::Raw)).await;
    for words in [
        "leases --pool work",
        "revoke alice --pool work --detail moving",
        "history alice --pool work",
        "history alice --pool work --json",
        "history --pool work",
        "session label alice --pool work",
        "flood list",
        "flood count",
        "why --pool work",
        "waiters --pool work",
        "keys live",
        "pool update work --rest 1s --detail slower",
        "pool drain work",
        "pool resume work",
    ] {
        world.run(broker, &words.split(' ').collect::<Vec<_>>());
    }
}

async fn update(world: &mut World, broker: &Broker) {
    let proxy = format!("socks5://ann:{NEW_PROXY_PASSWORD}@proxy.example:1080");
    let words = ["session", "update", "alice", "--pool", "work", "--label", "tier=a", "--proxy"];
    world.run(broker, &[&words[..], &[proxy.as_str()]].concat()).done();
    let long = NEW_PROXY_PASSWORD.repeat(100);
    let wrong = world.run(broker, &[&words[..], &[long.as_str()]].concat());
    assert_eq!(wrong.code, 64, "{wrong:?}");
    let admin = world.client(broker, &world.admin).await;
    let update = |paths: &[&str]| {
        let mut session = telegram("alice", 1).session.unwrap();
        session.proxy.clone_from(&proxy);
        NEW_API_HASH.clone_into(&mut session.device.as_mut().unwrap().api_hash);
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let update_mask = Some(pbjson_types::FieldMask { paths });
        v1::UpdateSessionRequest { session: Some(session), update_mask, detail: String::new() }
    };
    let shown = admin.update_session(update(&["proxy", "device"])).await.unwrap();
    assert_eq!(shown.session.unwrap().device.unwrap().api_hash, "");
    world.refused(admin.update_session(update(&["device.hash"])).await, "INVALID_REQUEST");
    let mut wrong = update(&["proxy", "device"]);
    wrong.session.as_mut().unwrap().proxy = NEW_PROXY_PASSWORD.repeat(100);
    world.refused(admin.update_session(wrong).await, "INVALID_REQUEST");
    let worker = world.client(broker, &world.worker).await;
    world.refused(worker.update_session(update(&["proxy"])).await, "PERMISSION_MISSING");
}

async fn import(world: &mut World, broker: &Broker) {
    let file = broker.path("sent.session");
    let mut files = Vec::new();
    for seed in [4, 5] {
        telethon_file(&file, 4, &key(seed));
        files.push(fs::read(&file).unwrap());
        fs::remove_file(&file).unwrap();
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let beside = sidecar();
    for (name, content) in
        [("z/zipped.session", &files[1][..]), ("z/zipped.json", beside.as_bytes())]
    {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();
    let torn = &files[0][..files[0].len() - 2000];
    let text = format!("1{SECOND_FACTOR}\n{NEW_API_HASH}\n");
    let messages = [
        sent("sent.session", &files[0]),
        sent("torn.session", torn),
        sent("strings.txt", text.as_bytes()),
        sent("all.zip", &zip),
    ];
    let admin = world.client(broker, &world.admin).await;
    let messages = messages.concat();
    let rows = admin.import_sessions(tokio_stream::iter(messages.clone())).await.unwrap().rows;
    let added = rows.iter().filter(|row| row.outcome() == v1::ImportOutcome::Added).count();
    assert_eq!(added, 2, "{rows:#?}");
    assert!(rows.len() > 3, "{rows:#?}");
    world.said.extend(rows.iter().map(|row| format!("{row:?}")));
    let worker = world.client(broker, &world.worker).await;
    let refused = worker.import_sessions(tokio_stream::iter(messages)).await;
    world.refused(refused, "PERMISSION_MISSING");
}

async fn sync(world: &mut World, broker: &Broker) {
    let folder = broker.path("synced");
    fill_folder(&folder, 6);
    let path = folder.to_str().unwrap();
    world.run(broker, &["pool", "create", "synced"]).done();
    for flags in [&["--dry-run"][..], &[], &["--json"]] {
        let words = [&["sync", path, "--pool", "synced"], flags].concat();
        let said = world.run(broker, &words);
        assert!(said.out.contains("torn"), "{said:?}");
    }
    assert_eq!(names(world, broker, "synced"), ["s6"]);
    // A manifest that says too much is repeated nowhere.
    let wrong = format!("[[rules]]\nfiles = \"*\"\nproxy = \"{SYNC_PROXY_PASSWORD}\"\n");
    fs::write(folder.join("telegate.toml"), wrong).unwrap();
    assert_ne!(world.run(broker, &["sync", path, "--pool", "synced"]).code, 0);
    fs::remove_dir_all(&folder).unwrap();
    eventually("the broker follows its folder", PATIENCE, async || {
        let listed = world.run(broker, &["session", "list", "--pool", FOLLOWED, "--json"]);
        (listed.code == 0 && listed.out.contains("\"s7\"")).then_some(())
    })
    .await;
}

fn names(world: &World, broker: &Broker, pool: &str) -> Vec<String> {
    let listed = world.run(broker, &["session", "list", "--pool", pool, "--json"]).json();
    let sessions = listed["sessions"].as_array().unwrap().iter();
    sessions.map(|session| session["name"].as_str().unwrap().to_owned()).collect()
}
