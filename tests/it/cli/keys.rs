//! Keys that expire, the flags and variables that name them, and what is said when they are not
//! enough.

use std::{fs, process::Stdio};

use tokio_stream::StreamExt as _;
use tonic::{Request, codegen::http::uri::PathAndQuery, metadata::MetadataValue};

use super::{Broker, PATIENCE, Said, run, telegate};
use crate::harness::{self, process::Guarded};

/// A key of a role, in a file beside others.
fn key(file: &str, role: &str, more: &[&str]) -> Said {
    run(["keys", "--keys", file, "new", "--name", role, "--role", role].iter().chain(more))
}

#[tokio::test]
async fn a_key_expires_and_is_shown_with_its_last_use() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml").display().to_string();
    let admin = key(&file, "admin", &["--expires", "30d"]);
    assert!(admin.field("expires").ends_with('Z'), "{admin:?}");
    let over = key(&file, "worker", &["--expires", "0s", "--json"]).json();
    assert!(over["expires"].as_str().unwrap().ends_with('Z'), "{over}");
    let listed = run(["keys", "list", "--keys", &file]).done();
    assert_eq!(listed.matches(" (expired)").count(), 1, "{listed}");

    let broker = Broker::in_folder(folder, &["--keys", &file]).await;
    let key = admin.field("key");
    assert_eq!(broker.run(["status", "--key", over["key"].as_str().unwrap()]).code, 77);
    let live = broker.run(["keys", "live", "--key", &key]).done();
    let row = live.lines().find(|line| line.contains(&admin.field("id"))).unwrap();
    assert!(!row.contains("not since"), "{live}");
    assert_eq!(live.matches("not since the broker started").count(), 1, "{live}");
    let live = broker.run(["keys", "live", "--key", &key, "--json"]).json();
    assert_eq!(live["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn what_no_key_can_have_is_told_before_one_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml").display().to_string();
    let bad = key(&file, "worker", &["--pool", "Bad"]);
    assert_eq!(bad.code, 64);
    assert!(bad.err.contains("'Bad' for '--pool"), "{bad:?}");
    assert!(bad.err.contains("a pool's name is 1 to 63 of a-z"), "{bad:?}");
    let bad = key(&file, "worker", &["--expires", "soon"]);
    assert!(bad.code == 64 && bad.err.contains("or whole days such as 30d"), "{bad:?}");
    assert!(!std::path::Path::new(&file).exists());
}

#[tokio::test]
async fn a_word_names_the_role_that_all_of_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml").display().to_string();
    let worker = key(&file, "worker", &[]).field("key");
    let admin = key(&file, "admin", &[]).field("key");
    let broker = Broker::in_folder(folder, &["--keys", &file]).await;
    broker.run(["pool", "create", "work", "--key", &admin]).done();
    let import = broker.run(["import", "/nonexistent", "--pool", "work", "--key", &worker]);
    assert_eq!(import.code, 77);
    assert!(import.err.contains("lacks the role admin."), "{import:?}");
    let all = broker.run(["status", "--key", &worker]);
    assert_eq!(all.code, 77);
    assert!(all.err.contains("lacks the role observer."), "{all:?}");
    assert!(all.err.contains("next: name one pool"), "{all:?}");
    broker.run(["status", "work", "--key", &worker]).done();
}

#[tokio::test]
async fn variables_do_what_flags_do_and_show_in_no_usage() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml").display().to_string();
    let admin = key(&file, "admin", &[]).field("key");
    let broker = Broker::in_folder(folder, &["--keys", &file]).await;
    let key_file = broker.path("key");
    fs::write(&key_file, &admin).unwrap();
    let call = |variables: &[(&str, &str)], words: &[&str]| {
        let variables = variables.iter().copied();
        let mut command = telegate();
        command.env("TELEGATE_ADDRESS", &broker.address).envs(variables).args(words);
        Said::of(&command.output().unwrap())
    };
    call(&[("TELEGATE_KEY", &admin)], &["status"]).done();
    let key_file = key_file.display().to_string();
    call(&[("TELEGATE_KEY_FILE", &key_file), ("TELEGATE_KEY", "tg_wrong")], &["status"]).done();
    call(&[("TELEGATE_KEY_FILE", "/nowhere")], &["status", "--key", &admin]).done();
    assert_eq!(call(&[("TELEGATE_CERT", "x")], &["status", "--key", &admin]).code, 64);
    let usage = call(&[("TELEGATE_KEY", &admin)], &["pool", "create"]);
    assert_eq!(usage.code, 64);
    assert!(usage.err.contains("Usage: telegate pool create"), "{usage:?}");
    assert!(!usage.err.contains("--key") && !usage.err.contains("--address"), "{usage:?}");
    let listed = call(&[("TELEGATE_KEYS", &file)], &["keys", "list"]).done();
    assert_eq!(listed.lines().count(), 2);
    let slip = call(&[("TELEGATE_KYE", "x"), ("TELEGATE_SERVICE_HOST", "h")], &["version"]);
    assert_eq!(slip.err, "warning: TELEGATE_KYE is not read; did you mean TELEGATE_KEY?\n");
    assert_eq!(slip.code, 0);
}

#[tokio::test]
async fn a_demo_that_is_cut_short_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (said, log) = (folder.path().join("said"), folder.path().join("log"));
    let mut command = telegate();
    command.env("TMPDIR", folder.path()).args(["serve", "--demo", "--listen", "127.0.0.1:0"]);
    command.stdout(fs::File::create(&said).unwrap()).stderr(fs::File::create(&log).unwrap());
    command.stdin(Stdio::null());
    let mut process = Guarded::start(&mut command, folder.path()).unwrap();
    let address = harness::eventually("the demo is there", PATIENCE, async || {
        let said = fs::read_to_string(&said).unwrap();
        said.contains("/demo.key").then_some(())?;
        Some(said.split_once("listening on ")?.1.lines().next()?.to_owned())
    })
    .await;
    // A call whose message never comes keeps the broker from ending at the first signal.
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = tonic::client::Grpc::new(channel.connect().await.unwrap());
    client.ready().await.unwrap();
    let text = fs::read_to_string(&said).unwrap();
    let key = text.split("/demo.key").next().unwrap().rsplit([' ', '\'']).next().unwrap();
    let key = fs::read_to_string(format!("{key}/demo.key")).unwrap();
    let codec = tonic_prost::ProstCodec::<
        telegate::proto::v1::AcquireRequest,
        telegate::proto::v1::AcquireResponse,
    >::default();
    let mut request = Request::new(tokio_stream::pending().map(|message| message));
    request.metadata_mut().insert("x-api-key", MetadataValue::try_from(key.trim()).unwrap());
    let path = PathAndQuery::from_static("/telegate.v1.SessionPool/Acquire");
    let call = tokio::spawn(async move { client.streaming(request, path, codec).await.map(drop) });
    harness::eventually("the call is under way", PATIENCE, async || {
        tokio::task::yield_now().await;
        (!call.is_finished()).then_some(())
    })
    .await;
    process.terminate();
    harness::eventually("it shuts down", PATIENCE, async || {
        fs::read_to_string(&log).unwrap().contains("shutting down").then_some(())
    })
    .await;
    process.terminate();
    harness::eventually("it ends", PATIENCE, async || process.has_ended().then_some(())).await;
    call.abort();
    let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let left: std::collections::BTreeSet<_> = left.collect();
    assert_eq!(left, [said, log].into());
}
