//! `ImportSessions`: files that are sent to the broker, read in its memory, within limits.

use std::{
    fs,
    io::{Cursor, Write as _},
};

use telegate::{
    keys::Role,
    proto::v1::{
        self, CredentialForm, ImportHeader, ImportOutcome, ImportRow, ImportSessionsRequest,
        credential::Value, import_sessions_request::Part,
    },
};
use tonic::Request;
use tonic_types::StatusExt as _;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    broker::{Broker, keyed, reason, write_keys},
    import::{folder, made_up_key, telethon_file},
};

fn session(seed: u8) -> Vec<u8> {
    let place = folder();
    let path = place.path().join("a");
    telethon_file(&path, 2, &made_up_key(seed));
    fs::read(path).unwrap()
}

fn header(name: &str) -> ImportHeader {
    ImportHeader { pool: "work".into(), file_name: name.into(), ..ImportHeader::default() }
}

fn part(part: Part) -> ImportSessionsRequest {
    ImportSessionsRequest { part: Some(part) }
}

/// A file in pieces.
fn sent(header: ImportHeader, bytes: &[u8]) -> Vec<ImportSessionsRequest> {
    let pieces = bytes.chunks(7000).map(|piece| part(Part::Content(piece.to_vec())));
    [part(Part::Header(header))].into_iter().chain(pieces).collect()
}

async fn import(
    broker: &Broker,
    messages: Vec<ImportSessionsRequest>,
) -> Result<Vec<ImportRow>, tonic::Status> {
    let sent = tokio_stream::iter(messages);
    broker.admin().import_sessions(sent).await.map(|answer| answer.into_inner().rows)
}

fn short(rows: &[ImportRow]) -> Vec<(ImportOutcome, &str, &str)> {
    rows.iter().map(|row| (row.outcome(), row.session.as_str(), row.detail.as_str())).collect()
}

use ImportOutcome::{Added, Refused, Unchanged};

#[tokio::test]
async fn files_that_are_sent_become_sessions_and_a_second_time_are_unchanged() {
    let broker = Broker::start().await;
    broker.fill("work", &["taken"]).await;
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [
        ("in/zipped.session", session(3)),
        (
            "in/zipped.json",
            br#"{"id": 7, "app_id": 4,
        "twoFA": "hunter2", "is_bot": false}"#
                .to_vec(),
        ),
    ] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();
    let label = |header: ImportHeader| ImportHeader {
        labels: [("country".to_owned(), "de".to_owned())].into(),
        ..header
    };
    let messages = || {
        [
            sent(label(header("ann.session")), &session(1)),
            sent(header("empty.session"), b""),
            sent(header("taken.session"), &session(2)),
            sent(header("all.zip"), &zip),
            sent(header("again"), &session(1)),
        ]
        .concat()
    };
    let dry = {
        let mut messages = messages();
        let Some(Part::Header(first)) = &mut messages[0].part else { unreachable!() };
        first.dry_run = true;
        import(&broker, messages).await.unwrap()
    };
    assert_eq!(broker.free("work").await, 1, "a dry run added something");
    let rows = import(&broker, messages()).await.unwrap();
    assert_eq!(rows, dry);
    assert_eq!(
        short(&rows).iter().map(|(outcome, session, _)| (*outcome, *session)).collect::<Vec<_>>(),
        [(Added, "ann"), (Refused, ""), (Refused, "taken"), (Added, "zipped"), (Unchanged, "")],
        "{rows:#?}"
    );
    assert_eq!(rows[1].detail, "It is empty");
    assert!(rows[2].detail.starts_with("The pool has another session of that name ("));
    assert_eq!(rows[4].detail, "It has the same key as ann.session");
    assert_eq!(rows[3].account_id, Some(7));
    let request = v1::GetSessionRequest { pool: "work".into(), session: "ann".into() };
    let ann = broker.admin().get_session(request).await.unwrap().into_inner().session.unwrap();
    assert_eq!(ann.labels["country"], "de");

    let again = import(&broker, messages()).await.unwrap();
    assert_eq!([again[0].outcome(), again[3].outcome()], [Unchanged, Unchanged]);
    assert_eq!([again[0].session.as_str(), again[3].session.as_str()], ["ann", "zipped"]);
}

#[tokio::test]
async fn the_second_factor_is_lent_to_an_admin_in_plain_fields_only() {
    let mut texts = Vec::new();
    let broker = Broker::with(|folder, config| {
        texts = write_keys(folder, &[(&[Role::Admin], &["*"]), (&[Role::Worker], &["*"])]);
        telegate::config::ServerConfig { keys: Some(folder.path().join("keys.toml")), ..config }
    })
    .await;
    let pool = v1::Pool { name: "work".into(), ..v1::Pool::default() };
    let create = v1::CreatePoolRequest { pool: Some(pool), detail: String::new() };
    broker.admin().create_pool(keyed(&texts[0], create)).await.unwrap();
    let mut added = crate::grpc::telegram_session();
    added.session.as_mut().unwrap().pool = "work".into();
    let Some(Value::Telegram(telegram)) = &mut added.credential.as_mut().unwrap().value else {
        unreachable!()
    };
    telegram.password = "hunter2".into();
    let debug = format!("{added:?}");
    assert!(!debug.contains("hunter2"), "{debug}");
    broker.admin().add_session(keyed(&texts[0], added)).await.unwrap();
    for (key, form, wanted) in [
        (&texts[1], CredentialForm::Raw, Some("")),
        (&texts[0], CredentialForm::Raw, Some("hunter2")),
        (&texts[0], CredentialForm::GotdJson, None),
    ] {
        let request =
            v1::AcquireRequest { pool: "work".into(), form: form.into(), ..Default::default() };
        let answer = broker.pool().acquire(keyed(key, request)).await.unwrap().into_inner();
        match answer.credential.unwrap().value.unwrap() {
            Value::Telegram(telegram) => assert_eq!(Some(telegram.password.as_str()), wanted),
            Value::Text(text) => assert!(wanted.is_none() && !text.contains("hunter2")),
            Value::Opaque(_) => unreachable!(),
        }
        let lease_id = answer.lease.unwrap().lease_id;
        let release = v1::ReleaseRequest { lease_id, ..v1::ReleaseRequest::default() };
        broker.pool().release(keyed(key, release)).await.unwrap();
    }
}

#[tokio::test]
async fn an_import_that_is_not_one_is_refused_whole() {
    let broker = Broker::start().await;
    broker.fill("work", &[]).await;
    let good = || sent(header("ann.session"), &session(1));
    let other = ImportHeader { pool: "other".into(), ..header("b") };
    let nowhere = ImportHeader { pool: "nowhere".into(), ..header("b") };
    for (name, messages, wanted) in [
        ("nothing", vec![], "INVALID_REQUEST"),
        ("no header", vec![part(Part::Content(vec![1]))], "INVALID_REQUEST"),
        ("no part", vec![ImportSessionsRequest { part: None }], "INVALID_REQUEST"),
        ("two pools", [good(), sent(other, b"")].concat(), "INVALID_REQUEST"),
        ("no pool", sent(nowhere, b""), "POOL_NOT_FOUND"),
        ("long name", sent(header(&"x".repeat(257)), b""), "INVALID_REQUEST"),
        ("many", (0..=4096).flat_map(|_| sent(header("x"), b"")).collect(), "INVALID_REQUEST"),
    ] {
        let status = import(&broker, messages).await.unwrap_err();
        assert_eq!(reason(&status), wanted, "{name}");
    }
    // A piece that is larger than a message may be.
    let large = vec![part(Part::Header(header("a"))), part(Part::Content(vec![0; 2 << 20]))];
    let status = import(&broker, large).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_REQUEST");
    let said = status.get_details_bad_request().unwrap().field_violations.remove(0);
    assert!(said.description.contains("send smaller pieces"), "{said:?}");
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_and_the_next_is_taken() {
    let broker = Broker::start().await;
    broker.fill("work", &[]).await;
    let mut messages = vec![part(Part::Header(header("huge.session")))];
    messages.extend((0..66).map(|_| part(Part::Content(vec![b'x'; 500 << 10]))));
    messages.extend(sent(header("ann.session"), &session(1)));
    let rows = import(&broker, messages).await.unwrap();
    assert_eq!(
        short(&rows),
        [
            (Refused, "", "It has 33792000 bytes, and at most 33554432 are taken"),
            (Added, "ann", ""),
        ]
    );
}

#[tokio::test]
async fn strings_in_a_text_become_rows_up_to_a_limit() {
    let broker = Broker::start().await;
    broker.fill("work", &[]).await;
    let text = "nonsense\n".repeat(6000);
    let rows = import(&broker, sent(header("many.txt"), text.as_bytes())).await.unwrap();
    assert_eq!(rows.len(), 5000);
    assert!(rows.iter().all(|row| row.outcome() == Refused));
    assert_eq!(rows[4999].detail, "An answer has at most 5000 rows; send the rest anew");
}

#[tokio::test]
async fn what_another_pool_has_is_not_told_to_a_key_that_may_not_see_it() {
    let mut texts = Vec::new();
    let broker = Broker::with(|folder, config| {
        texts = write_keys(folder, &[(&[Role::Admin], &["*"]), (&[Role::Admin], &["work"])]);
        telegate::config::ServerConfig { keys: Some(folder.path().join("keys.toml")), ..config }
    })
    .await;
    for pool in ["work", "other"] {
        let pool = v1::Pool { name: pool.into(), ..v1::Pool::default() };
        let create = v1::CreatePoolRequest { pool: Some(pool), detail: String::new() };
        broker.admin().create_pool(keyed(&texts[0], create)).await.unwrap();
    }
    let to = |pool: &str| {
        let header = ImportHeader { pool: pool.into(), ..header("ann.session") };
        tokio_stream::iter(sent(header, &session(1)))
    };
    let send = async |pool: &str, key: &str| {
        let request: Request<_> = keyed(key, to(pool));
        broker.admin().import_sessions(request).await.map(|answer| answer.into_inner().rows)
    };
    assert_eq!(send("other", &texts[0]).await.unwrap()[0].outcome(), Added);
    for (key, wanted) in [
        (&texts[0], "Its key is session ann of pool other already"),
        (&texts[1], "Its key is in another pool already"),
    ] {
        let rows = send("work", key).await.unwrap();
        assert_eq!(short(&rows), [(Refused, "ann", wanted)]);
    }
    let status = send("other", &texts[1]).await.unwrap_err();
    assert_eq!(reason(&status), "PERMISSION_MISSING");
}
