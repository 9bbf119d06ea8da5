//! The words about Telegram's errors: report, flood, why, and what the others show of them.

use super::{Broker, harness};

#[tokio::test]
async fn an_error_is_reported_shown_asked_about_and_cleared() {
    let broker = Broker::start().await;
    broker.pool("work", &["ann"]);
    let lease = broker.call("acquire --pool work --only lease").done();
    let lease = lease.trim();

    let said = broker.call(&format!("report {lease} FLOOD_WAIT_3000 --method messages.getHistory"));
    assert_eq!(said.field("name"), "FLOOD_WAIT");
    assert_eq!(said.field("action"), "COOL_DOWN");
    assert_eq!(said.field("scope"), "METHOD messages.getHistory");
    assert_eq!(said.field("another session"), "YES");
    assert_eq!(said.field("session"), "LEASED");
    assert_eq!(said.field("rule"), "W1");
    let said = broker.run([
        "release",
        lease,
        "--error",
        "[420 SLOWMODE_WAIT_X] - A wait of 600 seconds is required",
        "--peer",
        "channel:1",
    ]);
    assert!(said.out.starts_with("released\n"), "{said:?}");
    assert_eq!(said.field("rule"), "W3");

    let listed = broker.call("flood list").done();
    let rows: Vec<Vec<&str>> =
        listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["POOL", "SESSION", "SCOPE", "SUBJECT", "UNTIL", "RULE", "CAUSE"]);
    assert_eq!(rows.len(), 3, "{listed}");
    assert_eq!(rows[1][..4], ["work", "ann", "METHOD", "messages.getHistory"]);
    assert_eq!(rows[1][5..], ["W1", "FLOOD_WAIT"]);
    assert_eq!(rows[2][2..4], ["PEER", "channel:1"]);
    let json = broker.call("flood list --pool work --session ann --json").json();
    assert_eq!(json["coolDowns"][0]["scope"], "COOL_DOWN_SCOPE_METHOD");
    assert_eq!(json["coolDowns"][1]["session"], "ann");
    let shown = broker.call("session show --pool work ann");
    assert_eq!(shown.field("state"), "READY");
    assert!(shown.field("cools down").contains("PEER channel:1 until "), "{shown:?}");

    let made_up = "FLOOD_WAIT_60 --method messages.search --local";
    broker.call(&format!("report {lease} {made_up}")).done();
    let counted = broker.call("flood count").done();
    let rows: Vec<Vec<&str>> =
        counted.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows[1..],
        [["work", "(no", "method)", "1"].to_vec(), vec!["work", "messages.getHistory", "1"]]
    );
    let json = broker.call("flood count --pool work --json").json();
    assert_eq!(json["floods"][1]["method"], "messages.getHistory");
    assert_eq!(json["floods"][1]["count"], 1);

    let refused = broker.call("acquire --pool work --method GetHistoryRequest");
    assert_eq!(refused.code, 75, "{refused:?}");
    assert!(refused.err.contains("reason: POOL_FLOOD_WAIT (retry in 5m"), "{refused:?}");
    let why = broker.call("why --pool work --method GetHistoryRequest");
    assert_eq!(why.field("refused"), "POOL_FLOOD_WAIT");
    assert!(why.out.contains("ann"), "{why:?}");
    assert!(why.out.contains("It cools down for method messages.getHistory until"), "{why:?}");
    let why = broker.call("why --pool work --peer channel:2");
    assert_eq!(why.field("would get"), "ann");

    let clear = "flood clear --pool work --session ann";
    assert_eq!(
        broker.call(&format!("{clear} --peer channel:1 --detail enough")).done(),
        "PEER channel:1 is open\n"
    );
    let told = broker.call("history ann --pool work").done();
    assert!(told.contains("peer:channel:1: enough"), "{told}");
    assert_eq!(
        broker.call(&format!("{clear} --all")).done(),
        "METHOD messages.getHistory is open\nMETHOD messages.search is open\n"
    );
    assert_eq!(broker.call(&format!("{clear} --all")).done(), "nothing cools down\n");
    assert_eq!(broker.call("flood list").done().lines().count(), 1);
    assert_eq!(
        broker.call("why --pool work --method messages.getHistory").field("would get"),
        "ann"
    );
}

#[tokio::test]
async fn a_doubtful_session_is_shown_probed_and_restored() {
    let broker = Broker::start().await;
    broker.pool("work", &["ann"]);
    let lease = broker.call("acquire --pool work --only lease").done();
    let said = broker.call(&format!("release {} --error AuthKeyUnregisteredError", lease.trim()));
    assert_eq!(said.field("action"), "VERIFY");
    let shown = broker.call("session show --pool work ann");
    assert_eq!(shown.field("state"), "SUSPECT");
    assert!(
        shown.field("suspicion").starts_with("AUTH_KEY_UNREGISTERED (rule D4, by anonymous at ")
    );
    assert_eq!(broker.call("why --pool work").field("refused"), "POOL_DEPLETED");
    assert_eq!(broker.call("why --pool work --probe").field("would get"), "ann");
    let lease = broker.call("acquire --pool work --probe --only lease").done();
    broker.call(&format!("release {}", lease.trim())).done();
    assert_eq!(broker.call("session show --pool work ann").field("state"), "READY");

    let lease = broker.call("acquire --pool work --only lease").done();
    broker.call(&format!("release {} --error -404", lease.trim())).done();
    assert_eq!(broker.call("restore --pool work ann").done(), "ann is back in pool work\n");
}

#[tokio::test]
async fn a_brake_is_listed_and_ended_without_a_session() {
    let broker = Broker::start().await;
    let made = broker.call("pool create work --method-wait 10s --session-wait 2h");
    assert!(made.field("escalation").contains("2 sessions with waits of 10s in 15m"), "{made:?}");
    broker.sessions("work", &["ann", "ben"]);
    for session in ["ann", "ben"] {
        let lease = broker.call(&format!("acquire --pool work --session {session} --only lease"));
        let lease = lease.done();
        let error = "--error FLOOD_WAIT_600 --method messages.getHistory";
        let said = broker.call(&format!("release {} {error}", lease.trim()));
        assert_eq!(said.code, 0, "{said:?}");
        if session == "ben" {
            assert_eq!(said.field("escalations"), "E3");
        }
    }
    let listed = broker.call("flood list --pool work").done();
    let brake = listed.lines().nth(1).unwrap();
    assert!(brake.contains("(all)") && brake.contains("POOL_METHOD"), "{listed}");
    let cleared = broker.call("flood clear --pool work --method GetHistory").done();
    assert_eq!(cleared, "POOL_METHOD GetHistory is open\n");
    assert_eq!(broker.call("flood list --pool work").done().lines().count(), 3);

    let updated = broker.call("pool update work --method-sessions 5");
    assert!(updated.field("escalation").contains("5 sessions with waits of 10s"), "{updated:?}");
    assert_eq!(broker.call("pool update work --escalation off").field("escalation"), "off");
    let explained = super::words("explain e3").done();
    assert!(explained.contains("2 sessions of the pool got waits of 5min or more"), "{explained}");
}

#[tokio::test]
async fn what_is_to_be_cleared_must_be_said() {
    let broker = Broker::start().await;
    broker.pool("work", &["ann"]);
    for line in [
        "flood clear --pool work --session ann",
        "flood clear --pool work --all",
        "flood clear --pool work --session ann --all --whole",
        "report",
        "release x --method messages.getHistory --ago yesterday",
    ] {
        assert_eq!(broker.call(line).code, 64, "{line}");
    }
    let said = broker.call("flood clear --pool work --session ann --capability walking");
    assert!(said.err.contains("write one of transfer, stories"), "{said:?}");
}

#[tokio::test]
async fn metrics_are_served_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::in_folder(folder, &["--metrics-listen", "127.0.0.1:0"]).await;
    let page = harness::eventually("the page is named", super::PATIENCE, async || {
        let said = std::fs::read_to_string(broker.path("said")).unwrap();
        let (_, page) = said.split_once("metrics at http://")?;
        Some(page.lines().next()?.to_owned())
    });
    let page = page.await;
    let (address, path) = page.split_once('/').unwrap();
    assert_eq!(path, "metrics");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let ask = "GET /metrics HTTP/1.0\r\n\r\n";
    std::io::Write::write_all(&mut stream, ask.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.contains("\ntelegate_store_up 1\n"), "{answer}");
}
