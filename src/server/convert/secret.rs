//! Credentials: what is taken in, and the forms in which it is handed out.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::Check;
use crate::{
    credential::{
        AUTH_KEY_LEN, Credential, MAX_OPAQUE, Missing, Telegram, gotd, gramjs, mtcute, pyrogram,
        telethon,
    },
    proto::v1::{self, credential::Value},
    server::status::{Fault, Violation},
};

/// The longest second-factor password, in bytes.
const MAX_PASSWORD: usize = 1024;

/// The forms in which credentials are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Form {
    /// The plain fields, or opaque bytes.
    Raw,
    /// Telethon's string.
    TelethonString,
    /// Pyrogram's string.
    PyrogramString,
    /// GramJS's string.
    GramjsString,
    /// gotd's file.
    GotdJson,
    /// mtcute's string.
    MtcuteString,
}

impl Form {
    pub(super) const fn of(form: v1::CredentialForm) -> Self {
        use v1::CredentialForm as Wire;
        match form {
            Wire::Unspecified | Wire::Raw => Self::Raw,
            Wire::TelethonString => Self::TelethonString,
            Wire::PyrogramString => Self::PyrogramString,
            Wire::GramjsString => Self::GramjsString,
            Wire::GotdJson => Self::GotdJson,
            Wire::MtcuteString => Self::MtcuteString,
        }
    }

    const fn wire(self) -> v1::CredentialForm {
        use v1::CredentialForm as Wire;
        match self {
            Self::Raw => Wire::Raw,
            Self::TelethonString => Wire::TelethonString,
            Self::PyrogramString => Wire::PyrogramString,
            Self::GramjsString => Wire::GramjsString,
            Self::GotdJson => Wire::GotdJson,
            Self::MtcuteString => Wire::MtcuteString,
        }
    }
}

/// Puts a credential into the form that was asked for. The session tells what its credential does
/// not.
pub(in crate::server) fn hand_out(
    credential: Credential,
    session: &v1::Session,
    form: Form,
) -> Result<v1::Credential, Fault> {
    let value = match credential {
        Credential::Telegram(telegram) => spell(complete(telegram, session), form)?,
        Credential::Opaque(bytes) if form == Form::Raw => Value::Opaque(bytes),
        Credential::Opaque(_) => {
            return Err(no_such_form("the session's credential is opaque; ask for RAW".to_owned()));
        }
    };
    Ok(v1::Credential { value: Some(value), form: form.wire().into() })
}

fn complete(telegram: Telegram, session: &v1::Session) -> Telegram {
    let profile = session.device.as_ref();
    Telegram {
        user_id: telegram.user_id.or(session.account_id),
        api_id: telegram.api_id.or(profile.and_then(|profile| profile.api_id)),
        ..telegram
    }
}

fn spell(telegram: Telegram, form: Form) -> Result<Value, Fault> {
    Ok(Value::Text(match form {
        Form::Raw => return Ok(Value::Telegram(raw(telegram))),
        Form::TelethonString => telethon::to_string(&telegram),
        Form::GramjsString => gramjs::to_string(&telegram),
        Form::GotdJson => gotd::to_json(&telegram),
        Form::MtcuteString => mtcute::to_string(&telegram),
        Form::PyrogramString => pyrogram::to_string(&telegram).map_err(|Missing(fields)| {
            let fields = fields.join(", ");
            no_such_form(format!(
                "PYROGRAM_STRING needs {fields}, which the session does not have and nobody may \
                 guess; add it anew with session.device.api_id, credential.telegram.user_id and \
                 credential.telegram.is_bot, or ask for another form"
            ))
        })?,
    }))
}

fn no_such_form(description: String) -> Fault {
    Fault::Invalid(vec![Violation { field: "form".to_owned(), description }])
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
        password: telegram.password.unwrap_or_default(),
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
    check.at_most("credential.telegram.password", &telegram.password, MAX_PASSWORD);
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
        password: (!telegram.password.is_empty()).then(|| telegram.password.clone()),
        // It is in the session's device profile.
        api_id: None,
    }))
}
