//! What operators do at the command line: change, list, revoke, delete.

use super::Broker;

/// The first column of a table, without its head.
fn names(table: &str) -> Vec<String> {
    let first = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    table.lines().skip(1).map(first).collect()
}

#[tokio::test]
async fn a_pool_is_changed_and_deleted_when_it_is_empty() {
    let broker = Broker::start().await;
    broker.pool("work", &["anna"]);
    let changed = broker.call("pool update work --rest 7s --max-waiters 5");
    assert_eq!((changed.field("rest"), changed.field("drain")), ("7s".into(), "30s".into()));
    assert_eq!(changed.field("waiters"), "at most 5");
    let wrong = broker.call("pool update work --max-ttl 2s");
    assert_eq!(wrong.code, 64);
    assert!(wrong.err.contains("\n  pool.policy.max_ttl: is 2s"), "{wrong:?}");

    let full = broker.call("pool delete work");
    assert_eq!(full.code, 1);
    assert!(full.err.contains("Pool work has 1 sessions"), "{full:?}");
    assert!(full.err.contains("\n  work: EMPTY\nreason: INAPPROPRIATE_STATE"), "{full:?}");
    broker.call("session remove --pool work anna").done();
    assert_eq!(broker.call("pool delete work").done(), "pool work is gone\n");
    assert_eq!(broker.call("pool delete work").code, 1);
    broker.call("pool create work").done();
}

#[tokio::test]
async fn a_session_is_changed_label_by_label_and_part_by_part() {
    let broker = Broker::start().await;
    broker.pool("work", &["anna"]);
    let update = "session update anna --pool work";
    let changed = broker.call(&format!(
        "{update} --label country=de --label tier=a --api-id 4 --proxy socks5://h:1 --account-id 7"
    ));
    assert_eq!(changed.field("labels"), "country=de,tier=a");
    assert_eq!(
        (changed.field("proxy"), changed.field("account")),
        ("socks5://h:1".into(), "7".into())
    );
    assert_eq!(changed.field("device"), "api_id 4");
    let changed = broker.call(&format!("{update} --unlabel tier --device-model Pixel --no-proxy"));
    assert_eq!(changed.field("labels"), "country=de");
    assert_eq!(changed.field("device"), "api_id 4, Pixel");
    assert!(!changed.out.contains("proxy"), "{changed:?}");
    let listed = broker.call("session list --pool work --selector country=de").done();
    assert_eq!(names(&listed), ["anna"]);
    let nothing = broker.call(update);
    assert!(nothing.code == 64 && nothing.err.contains("--unlabel"), "{nothing:?}");
}

#[tokio::test]
async fn leases_are_listed_and_revoked() {
    let broker = Broker::start().await;
    broker.pool("work", &["anna", "ben", "carl"]);
    broker.call("session update carl --pool work --label tier=a").done();
    let mut leases = Vec::new();
    for (session, minutes) in [("anna", 9), ("ben", 5), ("carl", 7)] {
        let acquire = format!("acquire --pool work --session {session} --ttl {minutes}m");
        leases.push(broker.call(&acquire).field("lease"));
    }
    let listed = broker.call("leases --pool work").done();
    assert_eq!(names(&listed), ["ben", "carl", "anna"]);
    assert!(leases.iter().all(|lease| !listed.contains(lease.as_str())), "{listed}");
    assert_eq!(names(&broker.call("leases --pool work --holder k-none").done()), [""; 0]);

    let revoked = broker.call("revoke --pool work anna --detail moving").done();
    assert_eq!(names(&revoked), ["anna"]);
    let lost = broker.call(&format!("renew {}", leases[0]));
    assert_eq!(lost.code, 1);
    assert!(lost.err.contains("(REVOKED): moving"), "{lost:?}");
    let again = broker.call("revoke --pool work anna").done();
    assert_eq!(again, "no such lease runs\n");
    let revoked = broker.call("revoke --pool work --selector tier=a").done();
    assert_eq!(names(&revoked), ["carl"]);
    let revoked = broker.run(["revoke", "--pool", "work", "--lease", &leases[1], "--json"]).json();
    assert_eq!(revoked["leases"][0]["session"], "ben");
    let none = broker.call("leases --pool work --json").json();
    assert_eq!(none["leases"], serde_json::json!([]));
    assert_eq!(broker.call("revoke --pool work").code, 64);
    assert_eq!(broker.call("revoke --pool work anna --holder k-1").code, 64);
}

#[tokio::test]
async fn the_history_of_a_session_is_shown() {
    let broker = Broker::start().await;
    broker.pool("work", &["anna"]);
    broker.call("invalidate --pool work --session anna --reason banned --detail gone").done();
    broker.call("restore --pool work anna --detail appealed").done();
    broker.call("session update anna --pool work --account-id 7 --detail sold").done();
    let shown = broker.call("history anna --pool work").done();
    let rows: Vec<_> = shown.lines().skip(1).map(|line| line.split_whitespace().skip(1)).collect();
    let rows: Vec<Vec<_>> = rows.into_iter().map(Iterator::collect).collect();
    let [updated, restored, invalidated, added] = &rows[..] else { panic!("{shown}") };
    assert_eq!(updated[..], ["update", "anonymous", "account_id:", "sold"]);
    assert_eq!(restored[..], ["restore", "anonymous", "appealed"]);
    assert_eq!(invalidated[..], ["invalidate", "anonymous", "BANNED:", "gone"]);
    assert_eq!(added[..], ["add", "anonymous"]);
    let json = broker.call("history anna --pool work --json").json();
    assert_eq!(json["events"][3]["verb"], "add");
}

#[tokio::test]
async fn the_history_of_a_pool_is_shown_also_when_it_is_gone() {
    let broker = Broker::start().await;
    broker.call("pool create work --rest 2s --detail trial").done();
    broker.call("pool pause work --detail floods").done();
    broker.call("pool pause work --detail twice").done();
    broker.call("pool resume work").done();
    broker.call("pool update work --rest 7s --method-sessions 5 --detail slower").done();
    broker.call("pool drain work").done();
    broker.sessions("work", &["anna"]);
    broker.call("session remove anna --pool work --detail moved").done();
    broker.call("pool delete work --detail over").done();
    let shown = broker.call("history --pool work").done();
    let rows: Vec<_> = shown.lines().skip(1).map(|line| line.split_whitespace().skip(1)).collect();
    let rows: Vec<_> = rows.into_iter().map(|row| row.collect::<Vec<_>>().join(" ")).collect();
    let changed = "update anonymous rest 2s -> 7s, escalation.method_sessions 2 -> 5: slower";
    assert_eq!(
        rows,
        [
            "delete anonymous over",
            "remove anonymous anna: moved",
            "drain anonymous",
            changed,
            "resume anonymous",
            "pause anonymous floods",
            "create anonymous trial",
        ]
    );
    let json = broker.call("history --pool work --json").json();
    assert_eq!(json["events"][0]["verb"], "delete");
    let none = broker.call("history --pool other");
    assert!(none.code == 1 && none.err.contains("POOL_NOT_FOUND"), "{none:?}");
    assert_eq!(broker.run(["pool", "create", "work", "--detail", &"x".repeat(257)]).code, 64);
}
