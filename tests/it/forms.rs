//! Lending a credential in the form that the caller's library wants.

use telegate::{
    credential::{self, Telegram},
    proto::v1::{self, credential::Value},
};
use tonic_types::StatusExt as _;

use crate::{
    broker::{Broker, reason},
    grpc::{acquire, telegram_session},
};

#[tokio::test]
async fn a_session_is_lent_in_every_form_that_it_has_enough_for() {
    let broker = Broker::start().await;
    broker.fill("demo", &[]).await;
    let mut whole = telegram_session();
    let credential = whole.credential.as_mut().unwrap();
    let Some(Value::Telegram(telegram)) = &mut credential.value else { unreachable!() };
    telegram.is_bot = Some(false);
    // What the credential does not say, the session may.
    telegram.user_id = None;
    whole.session.as_mut().unwrap().account_id = Some(42);
    broker.admin().add_session(whole).await.unwrap();
    let mut bare = telegram_session();
    let session = bare.session.as_mut().unwrap();
    (session.name, session.device) = ("bare".into(), None);
    let Some(Value::Telegram(telegram)) = &mut bare.credential.as_mut().unwrap().value else {
        unreachable!()
    };
    telegram.auth_key = vec![8; 256];
    broker.admin().add_session(bare).await.unwrap();

    let ask = async |session: &str, form: v1::CredentialForm| {
        let (session, form) = (session.to_owned(), form.into());
        let request = v1::AcquireRequest { session, form, ..acquire("demo") };
        broker.pool().acquire(request).await
    };
    for (form, format) in [
        (v1::CredentialForm::TelethonString, "telethon-string"),
        (v1::CredentialForm::PyrogramString, "pyrogram-string"),
        (v1::CredentialForm::GramjsString, "gramjs-string"),
        (v1::CredentialForm::MtcuteString, "mtcute-string-3"),
        (v1::CredentialForm::GotdJson, "gotd-json"),
    ] {
        let granted = ask("+49151", form).await.unwrap().into_inner();
        let lease_id = granted.lease.unwrap().lease_id;
        let request = v1::ReleaseRequest { lease_id, ..v1::ReleaseRequest::default() };
        broker.pool().release(request).await.unwrap();
        let credential = granted.credential.unwrap();
        assert_eq!(credential.form(), form);
        let Some(Value::Text(text)) = credential.value else { panic!("{form:?} is no text") };
        let found = if form == v1::CredentialForm::GotdJson {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, &text).unwrap();
            credential::read_file(file.path()).unwrap()
        } else {
            credential::read_text(&text).unwrap()
        };
        assert_eq!((found.format.as_str(), found.telegram.dc_id), (format, 2));
        assert!(found.telegram.auth_key == [7; 256]);
        if form == v1::CredentialForm::PyrogramString {
            let Telegram { user_id, is_bot, api_id, .. } = found.telegram;
            assert_eq!((user_id, is_bot, api_id), (Some(42), Some(false), Some(4)));
        }
    }
    let status = ask("bare", v1::CredentialForm::PyrogramString).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_REQUEST");
    let said = status.get_details_bad_request().unwrap().field_violations.remove(0);
    assert_eq!(said.field, "form");
    assert!(
        said.description.starts_with("PYROGRAM_STRING needs api_id, is_bot, which the session")
    );
    assert_eq!(broker.free("demo").await, 2, "the refusal cost a session");
}
