//! The spellings of sidecars that are about, and their contradictions.

use serde_json::json;

use super::*;
use crate::credential::Telegram;

fn parse(value: &Value) -> Sidecar {
    Sidecar::parse(value.to_string().as_bytes()).unwrap().unwrap()
}

fn found(user_id: Option<i64>, is_bot: Option<bool>, api_id: Option<i32>) -> Found {
    let telegram = Telegram {
        dc_id: 2,
        test: false,
        auth_key: vec![7; 256],
        address: None,
        user_id,
        is_bot,
        password: None,
        api_id,
    };
    Found { telegram, format: "telethon-sqlite-7".to_owned() }
}

#[test]
fn every_spelling_says_the_same() {
    let wanted = DeviceProfile {
        api_id: Some(4),
        api_hash: "00ff".into(),
        device_model: "Pixel".into(),
        system_version: "SDK 29".into(),
        app_version: "8.4.1".into(),
        lang_code: "en".into(),
        system_lang_code: "en-us".into(),
        lang_pack: "android".into(),
    };
    for value in [
        json!({"api_id": 4, "api_hash": "00ff", "device_model": "Pixel", "system_version": "SDK 29",
            "app_version": "8.4.1", "lang_code": "en", "system_lang_code": "en-us",
            "lang_pack": "android", "phone": "+1", "2fa": "x y", "user_id": 5, "is_bot": false}),
        json!({"app_id": "4", "app_hash": "00ff", "device": "Pixel", "sdk": "SDK 29",
            "app_version": " 8.4.1 ", "lang_code": "en", "system_lang_pack": "en-us",
            "lang_pack": "android", "phone": 1, "twoFA": "x y", "id": "5", "bot": false}),
        json!({"appId": 4, "apiHash": "00ff", "deviceModel": "Pixel", "systemVersion": "SDK 29",
            "appVersion": "8.4.1", "langCode": "en", "systemLangCode": "en-us",
            "langPack": "android", "phoneNumber": "+1", "password": "x y", "uid": 5,
            "isBot": false}),
    ] {
        let said = parse(&value);
        assert!(said.device == wanted, "{value}");
        assert_eq!(said.password.as_deref(), Some("x y"));
        assert_eq!((said.user_id, said.is_bot), (Some(5), Some(false)));
        assert!(matches!(said.phone.as_deref(), Some("+1" | "1")), "{:?}", said.phone);
    }
}

#[test]
fn a_language_in_the_place_of_a_pack_is_the_language() {
    for (value, code, pack) in [
        (json!({"lang_pack": "ru"}), "ru", ""),
        (json!({"lang_pack": "pt-br"}), "pt-br", ""),
        (json!({"lang_pack": "tdesktop"}), "", "tdesktop"),
        (json!({"lang_pack": "ios"}), "", "ios"),
        (json!({"lang_pack": "ru", "lang_code": "en"}), "en", ""),
        (json!({"lang_pack": ""}), "", ""),
    ] {
        let device = parse(&value).device;
        assert_eq!((device.lang_code.as_str(), device.lang_pack.as_str()), (code, pack), "{value}");
    }
}

#[test]
fn what_says_nothing_is_nothing() {
    let empty = json!({"app_id": null, "device": "", "twoFA": false, "proxy": [], "phone": null,
        "user_id": null, "session_string": " ", "spamblock": "free", "sex": 0});
    assert!(parse(&empty) == Sidecar::default());
}

#[test]
fn what_cannot_be_understood_is_told_and_not_repeated() {
    for (text, wanted) in [
        ("{", "is not whole JSON"),
        ("[1]", "is no JSON object"),
        (r#"{"api_id": "hunter2"}"#, "has no usable number as api_id"),
        (r#"{"api_id": 99999999999}"#, "has no usable number as api_id"),
        (r#"{"twoFA": ["hunter2"]}"#, "has something else than text as twoFA"),
        (r#"{"proxy": "hunter2:1"}"#, "names a proxy that does not say what it is"),
    ] {
        let said = Sidecar::parse(text.as_bytes()).unwrap_err();
        assert!(said.contains(wanted), "{text}: {said}");
        assert!(!said.contains("hunter"), "{said}");
    }
    let long = json!({"password": "p".repeat(MAX_PASSWORD + 1)}).to_string();
    assert!(Sidecar::parse(long.as_bytes()).unwrap_err().contains("more than 1024 bytes"));
    let gotd = json!({"Version": 1, "Data": {"AuthKey": "AA=="}}).to_string();
    assert!(Sidecar::parse(gotd.as_bytes()) == Ok(None));
}

#[test]
fn a_sidecar_adds_what_the_session_does_not_say() {
    let sidecar = parse(&json!({"user_id": 5, "is_bot": false, "twoFA": "secret", "app_id": 4}));
    let (mut found, mut notes) = (found(None, None, None), Vec::new());
    sidecar.complete(&mut found, &mut notes).unwrap();
    assert_eq!((found.telegram.user_id, found.telegram.is_bot), (Some(5), Some(false)));
    assert_eq!(found.telegram.password.as_deref(), Some("secret"));
    assert_eq!(notes, Vec::<String>::new());
}

#[test]
fn contradictions_are_named_and_two_accounts_are_refused() {
    let other = "AgAAAAE";
    let sidecar = parse(&json!({"app_id": 4, "api_id": 6, "dc_id": 4, "session_string": other}));
    let (mut of_5, mut notes) = (found(Some(5), Some(true), Some(2040)), Vec::new());
    sidecar.complete(&mut of_5, &mut notes).unwrap();
    assert_eq!(
        notes,
        [
            "its sidecar says api_id 6, but app_id 4",
            "its sidecar says api_id 6, the session 2040",
            "its sidecar says dc_id 4, the session 2",
        ]
    );
    assert_eq!(of_5.telegram.api_id, Some(2040));
    for (value, wanted) in [
        (json!({"id": 6}), "is of account 6, the session of 5"),
        (json!({"id": 5, "is_bot": false}), "is of a user, the session of a bot"),
    ] {
        let fault = parse(&value).complete(&mut of_5, &mut notes).unwrap_err();
        assert_eq!(fault, Fault::Sidecar(wanted.to_owned()));
    }
}
