//! The sessions whose secrets are planted.

use telegate::proto::v1::{self, CredentialForm, credential::Value};

pub(super) const PROXY_PASSWORD: &str = "correct-horse-proxy";
pub(super) const NEW_PROXY_PASSWORD: &str = "newer-horse-proxy";
pub(super) const SYNC_PROXY_PASSWORD: &str = "synced-horse-proxy";
pub(super) const API_HASH: &str = "0123456789abcdef0123456789abcdef";
pub(super) const NEW_API_HASH: &str = "fedcba9876543210fedcba9876543210";
pub(super) const SECOND_FACTOR: &str = "battery-staple-2fa";

/// A made-up auth key.
pub(super) fn key(seed: u8) -> Vec<u8> {
    (0..=255_u8).map(|i| i.wrapping_mul(101).wrapping_add(seed) ^ 0x5a).collect()
}

/// An Acquire.
pub(super) fn ask(session: &str, form: CredentialForm) -> v1::AcquireRequest {
    let (pool, session, form) = ("work".to_owned(), session.to_owned(), form.into());
    v1::AcquireRequest { pool, session, form, ..v1::AcquireRequest::default() }
}

/// A session with every secret.
pub(super) fn telegram(name: &str, seed: u8) -> v1::AddSessionRequest {
    let telegram = v1::TelegramCredential {
        dc_id: 2,
        auth_key: key(seed),
        user_id: Some(42),
        is_bot: Some(false),
        ..v1::TelegramCredential::default()
    };
    let device = v1::DeviceProfile {
        api_id: Some(4),
        api_hash: API_HASH.to_owned(),
        ..v1::DeviceProfile::default()
    };
    let session = v1::Session {
        pool: "work".to_owned(),
        name: name.to_owned(),
        proxy: format!("socks5://ann:{PROXY_PASSWORD}@proxy.example:1080"),
        device: Some(device),
        ..v1::Session::default()
    };
    let (value, session) = (Some(Value::Telegram(telegram)), Some(session));
    let credential = Some(v1::Credential { value, ..v1::Credential::default() });
    v1::AddSessionRequest { session, credential }
}

/// A session that is just a secret.
pub(super) fn opaque(name: &str) -> v1::AddSessionRequest {
    let (pool, name) = ("work".to_owned(), name.to_owned());
    let session = Some(v1::Session { pool, name, ..v1::Session::default() });
    let value = Some(Value::Opaque(format!("2fa={SECOND_FACTOR}").into_bytes()));
    let credential = Some(v1::Credential { value, ..v1::Credential::default() });
    v1::AddSessionRequest { session, credential }
}
