//! Credentials: what is taken in, and the forms in which it is handed out.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::Check;
use crate::{
    credential::{AUTH_KEY_LEN, Credential, MAX_OPAQUE, Telegram, telethon},
    proto::v1::{self, credential::Value},
    server::status::{Fault, Violation},
};

/// The forms that this version hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Form {
    /// The plain fields, or opaque bytes.
    Raw,
    /// Telethon's string.
    TelethonString,
}

/// The form that the contract names, if this version has it.
pub(super) fn form(form: v1::CredentialForm) -> Result<Form, Fault> {
    use v1::CredentialForm as Wire;
    match form {
        Wire::Unspecified | Wire::Raw => Ok(Form::Raw),
        Wire::TelethonString => Ok(Form::TelethonString),
        Wire::PyrogramString => Err(Fault::NotImplemented { what: "form PYROGRAM_STRING" }),
        Wire::GramjsString => Err(Fault::NotImplemented { what: "form GRAMJS_STRING" }),
        Wire::GotdJson => Err(Fault::NotImplemented { what: "form GOTD_JSON" }),
        Wire::MtcuteString => Err(Fault::NotImplemented { what: "form MTCUTE_STRING" }),
    }
}

/// Puts a credential into the form that was asked for.
pub(in crate::server) fn hand_out(
    credential: Credential,
    form: Form,
) -> Result<v1::Credential, Fault> {
    let (value, form) = match (credential, form) {
        (Credential::Opaque(bytes), Form::Raw) => (Value::Opaque(bytes), v1::CredentialForm::Raw),
        (Credential::Opaque(_), Form::TelethonString) => {
            return Err(Fault::Invalid(vec![Violation {
                field: "form".to_owned(),
                description: "the session's credential is opaque; ask for RAW".to_owned(),
            }]));
        }
        (Credential::Telegram(telegram), Form::Raw) => {
            (Value::Telegram(raw(telegram)), v1::CredentialForm::Raw)
        }
        (Credential::Telegram(telegram), Form::TelethonString) => {
            (Value::Text(telethon::to_string(&telegram)), v1::CredentialForm::TelethonString)
        }
    };
    Ok(v1::Credential { value: Some(value), form: form.into() })
}

fn raw(telegram: Telegram) -> v1::TelegramCredential {
    v1::TelegramCredential {
        dc_id: telegram.dc_id.into(),
        test: telegram.test,
        auth_key: telegram.auth_key,
        address: telegram.address.map(|address| address.ip().to_string()).unwrap_or_default(),
        port: telegram.address.map(|address| address.port().into()).unwrap_or_default(),
        user_id: telegram.user_id,
        is_bot: telegram.is_bot,
    }
}

/// Checks a credential that is to be kept. No message repeats any of it.
pub(super) fn take_in(
    check: &mut Check,
    credential: Option<&v1::Credential>,
) -> Option<Credential> {
    let form = credential.map(|credential| credential.form).unwrap_or_default();
    match check.number("credential.form", form) {
        None | Some(v1::CredentialForm::Unspecified | v1::CredentialForm::Raw) => {}
        Some(_) => check.fault("credential.form", "must be RAW, or not said"),
    }
    match credential.and_then(|credential| credential.value.as_ref()) {
        Some(Value::Telegram(telegram)) => take_telegram(check, telegram),
        Some(Value::Opaque(bytes)) if (1..=MAX_OPAQUE).contains(&bytes.len()) => {
            Some(Credential::Opaque(bytes.clone()))
        }
        Some(Value::Opaque(bytes)) => {
            let rule = format!("is {} bytes long; it must be 1 to {MAX_OPAQUE}", bytes.len());
            check.fault("credential.opaque", rule);
            None
        }
        Some(Value::Text(_)) => {
            check.fault("credential.text", "is not taken; send telegram or opaque");
            None
        }
        None => {
            check.fault("credential", "is required: telegram or opaque");
            None
        }
    }
}

fn take_telegram(check: &mut Check, telegram: &v1::TelegramCredential) -> Option<Credential> {
    let dc_id = u8::try_from(telegram.dc_id).ok().filter(|dc| (1..=5).contains(dc));
    if dc_id.is_none() {
        let rule = format!("is {}; it must be from 1 to 5", telegram.dc_id);
        check.fault("credential.telegram.dc_id", rule);
    }
    let key = &telegram.auth_key;
    if key.len() != AUTH_KEY_LEN {
        let rule = format!("is {} bytes long; it must be {AUTH_KEY_LEN}", key.len());
        check.fault("credential.telegram.auth_key", rule);
    } else if key.iter().all(|byte| *byte == 0) {
        check.fault("credential.telegram.auth_key", "is all zeros, which is nobody's key");
    }
    let address = (!telegram.address.is_empty()).then(|| telegram.address.parse::<Ipv4Addr>());
    if matches!(address, Some(Err(_))) {
        check.fault("credential.telegram.address", "is not an IPv4 address");
    }
    let port = u16::try_from(telegram.port);
    if port.is_err() {
        let rule = format!("is {}; it must be from 0 to 65535", telegram.port);
        check.fault("credential.telegram.port", rule);
    }
    Some(Credential::Telegram(Telegram {
        dc_id: dc_id?,
        test: telegram.test,
        auth_key: key.clone(),
        address: address
            .and_then(Result::ok)
            .zip(port.ok())
            .map(|(ip, p)| SocketAddrV4::new(ip, p)),
        user_id: telegram.user_id,
        is_bot: telegram.is_bot,
        // It is in the session's device profile.
        api_id: None,
    }))
}
