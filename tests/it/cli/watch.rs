//! `telegate watch`: a line for each change, or the messages of the contract.

use std::{fs, process::Stdio};

use serde_json::Value;

use super::{Broker, PATIENCE, telegate};
use crate::harness::{self, process::Guarded};

#[tokio::test]
async fn a_watch_writes_a_line_per_change_and_ends_with_the_broker() {
    let broker = Broker::start().await;
    broker.pool("work", &["anna", "ben"]);
    let start = |name: &str, flags: &[&str]| {
        let said = broker.path(name);
        let mut command = telegate();
        command.env("TELEGATE_ADDRESS", &broker.address).args(["watch", "--pool", "work"]);
        command.args(flags).stdout(fs::File::create(&said).unwrap()).stderr(Stdio::null());
        let folder = tempfile::tempdir().unwrap();
        (Guarded::start(&mut command, folder.path()).unwrap(), said, folder)
    };
    let (mut human, said, _one) = start("human", &[]);
    let (mut json, written, _two) = start("json", &["--json"]);
    let shows = |path: &std::path::Path, wanted: &str| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().any(|line| line.contains(wanted)).then_some(text)
    };
    harness::eventually("the present", PATIENCE, async || shows(&said, "READY total=2 free=2"))
        .await;
    harness::eventually("the same as JSON", PATIENCE, async || shows(&written, "\"free\":2")).await;
    broker.call("acquire --pool work").done();
    harness::eventually("the change", PATIENCE, async || shows(&said, " free=1 leased=1")).await;
    let text =
        harness::eventually("as JSON too", PATIENCE, async || shows(&written, "\"leased\":1"));
    for line in text.await.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        assert_eq!(message["status"]["counts"]["total"], 2, "{line}");
    }
    broker.stop().await;
    for watch in [&mut human, &mut json] {
        let child = watch.child();
        let ended =
            harness::eventually("the watch ends", PATIENCE, async || child.try_wait().unwrap());
        assert_eq!(ended.await.code(), Some(69));
    }
}

#[tokio::test]
async fn a_pool_that_is_not_there_cannot_be_watched() {
    let broker = Broker::start().await;
    let failed = broker.call("watch --pool nowhere");
    assert_eq!(failed.code, 1);
    assert!(failed.err.contains("reason: POOL_NOT_FOUND"), "{failed:?}");
}
