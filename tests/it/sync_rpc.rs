//! `SyncSessions` over the wire: what breaks off or contradicts itself removes nothing.

use telegate::proto::v1::{
    self, ImportOutcome, SyncEnd, SyncHeader, SyncSession, SyncSessionsRequest,
    SyncSessionsResponse, SyncUnreadable, sync_sessions_request::Part,
};
use tonic_types::StatusExt as _;

use crate::broker::{Broker, new_session, reason};

fn header() -> Part {
    Part::Header(SyncHeader { pool: "work".into(), ..SyncHeader::default() })
}

fn session(name: &str) -> Part {
    let v1::AddSessionRequest { session, credential } = new_session("", name);
    Part::Session(SyncSession { session, credential, ..SyncSession::default() })
}

fn unreadable(name: &str) -> Part {
    let (file_name, name) = ("a file".to_owned(), name.to_owned());
    Part::Unreadable(SyncUnreadable { file_name, name, ..SyncUnreadable::default() })
}

async fn sync(broker: &Broker, parts: Vec<Part>) -> Result<SyncSessionsResponse, tonic::Status> {
    let messages = parts.into_iter().map(|part| SyncSessionsRequest { part: Some(part) });
    let sent = tokio_stream::iter(messages.collect::<Vec<_>>());
    broker.admin().sync_sessions(sent).await.map(tonic::Response::into_inner)
}

fn short(answer: &SyncSessionsResponse) -> Vec<(ImportOutcome, &str, &str)> {
    let rows = answer.rows.iter();
    rows.map(|row| (row.outcome(), row.session.as_str(), row.detail.as_str())).collect()
}

use ImportOutcome::{Added, Refused, Removed, Spared, Unchanged};

#[tokio::test]
async fn a_stream_that_is_not_one_is_refused_and_removes_nothing() {
    let broker = Broker::start().await;
    broker.fill("work", &[]).await;
    let end = || Part::End(SyncEnd {});
    let both = vec![header(), session("ann"), session("bob"), end()];
    assert_eq!(sync(&broker, both).await.unwrap().rows.len(), 2);
    let bad = SyncHeader { pool: "work".into(), source: "a b".into(), ..SyncHeader::default() };
    let nowhere = SyncHeader { pool: "nowhere".into(), ..SyncHeader::default() };
    for (name, parts, wanted, field) in [
        ("nothing", vec![], "INVALID_REQUEST", "header"),
        ("no header", vec![session("ann")], "INVALID_REQUEST", "header"),
        ("no end", vec![header(), session("ann")], "INVALID_REQUEST", "end"),
        ("two headers", vec![header(), header()], "INVALID_REQUEST", "header"),
        ("a source", vec![Part::Header(bad)], "INVALID_REQUEST", "header.source"),
        ("empty", vec![header(), end()], "INVALID_REQUEST", "header.allow_empty"),
        ("a pool", vec![Part::Header(nowhere), end()], "POOL_NOT_FOUND", ""),
    ] {
        let status = sync(&broker, parts).await.unwrap_err();
        assert_eq!(reason(&status), wanted, "{name}");
        let said =
            status.get_details_bad_request().map(|bad| bad.field_violations[0].field.clone());
        assert_eq!(said.unwrap_or_default(), field, "{name}");
        assert_eq!(broker.free("work").await, 2, "{name}");
    }
}

#[tokio::test]
async fn each_session_that_cannot_be_taken_gets_its_row() {
    let broker = Broker::start().await;
    broker.fill("work", &[]).await;
    broker.fill("other", &["elsewhere"]).await;
    let mut bad = new_session("", "bad name");
    let bad = Part::Session(SyncSession {
        session: bad.session.take(),
        credential: None,
        file_name: "x".repeat(300),
        ..SyncSession::default()
    });
    let v1::AddSessionRequest { credential, .. } = new_session("other", "elsewhere");
    let elsewhere = SyncSession {
        session: new_session("", "stolen").session,
        credential,
        ..SyncSession::default()
    };
    let mut routed = new_session("", "routed");
    routed.session.as_mut().unwrap().proxy = "h:1080:u:hunter2".to_owned();
    let v1::AddSessionRequest { session: routed, credential } = routed;
    let routed = SyncSession { session: routed, credential, ..SyncSession::default() };
    let end = Part::End(SyncEnd {});
    let odd = [Part::Session(elsewhere), Part::Session(routed), end.clone()];
    let parts = [header(), session("ann"), session("ann"), bad].into_iter().chain(odd).collect();
    let answer = sync(&broker, parts).await.unwrap();
    let rows = short(&answer);
    assert_eq!(rows[0], (Unchanged, "ann", "It came before with the same key"));
    assert!(rows[1].2.contains("is not a session name") && rows[1].0 == Refused, "{rows:?}");
    assert_eq!(answer.rows[1].file_name.len(), 256);
    let proxy = "session.proxy: does not say what it is; write for example socks5://HOST:PORT";
    assert_eq!(rows[2], (Refused, "", proxy));
    assert_eq!(rows[3], (Added, "ann", ""));
    let detail = "Its key is session elsewhere of pool other already";
    assert_eq!(rows[4], (Refused, "stolen", detail));

    let parts = vec![header(), session("bob"), unreadable("ann"), end.clone()];
    let answer = sync(&broker, parts).await.unwrap();
    let kept = (Spared, "ann", "It is not removed while ann cannot be read");
    assert_eq!(short(&answer), [(Refused, "", ""), (Added, "bob", ""), kept]);
    let parts = vec![header(), session("bob"), unreadable("an"), end.clone()];
    assert_eq!(short(&sync(&broker, parts).await.unwrap())[1], (Removed, "ann", ""));
    let parts = vec![header(), session("carl"), unreadable(""), end];
    let answer = sync(&broker, parts).await.unwrap();
    let kept = (Spared, "bob", "Nothing is removed while a file cannot be read");
    assert_eq!(short(&answer)[2], kept);
}
