//! Secrets to look for, in every form in which a program might print them.

use base64::{Engine as _, prelude::*};

use crate::import::hex;

/// Texts and bytes that must not be found: what each is, and how it looks.
#[derive(Default)]
pub(super) struct Planted(Vec<(String, Vec<u8>)>);

impl Planted {
    /// A text.
    pub(super) fn text(&mut self, what: &str, text: &str) {
        self.0.push((what.to_owned(), text.as_bytes().to_vec()));
    }

    /// Bytes, and every way in which a program might print their beginning.
    pub(super) fn bytes(&mut self, what: &str, bytes: &[u8]) {
        let some = &bytes[..24.min(bytes.len())];
        let decimal: Vec<_> = some.iter().map(ToString::to_string).collect();
        for (form, text) in [
            ("hex", hex(some)),
            ("HEX", hex(some).to_uppercase()),
            ("base64", BASE64_STANDARD.encode(some)),
            ("base64url", BASE64_URL_SAFE_NO_PAD.encode(some)),
            ("a list", decimal.join(", ")),
            ("a narrow list", decimal.join(",")),
            ("an escaped text", some.escape_ascii().to_string()),
        ] {
            self.text(&format!("{what} in {form}"), &text);
        }
        self.0.push((format!("{what}, raw"), some.to_vec()));
    }

    /// How much was planted.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What of it is found in some bytes.
    pub(super) fn found_in(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        let is_in = |needle: &[u8]| {
            let mut starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == needle[0]);
            starts.any(|(at, _)| bytes[at..].starts_with(needle))
        };
        let found = self.0.iter().filter(|(_, needle)| is_in(needle));
        found.map(|(what, _)| format!("{place} has {what}")).collect()
    }

    /// Fails when some of it is found.
    pub(super) fn assert_absent(&self, place: &str, bytes: impl AsRef<[u8]>) {
        let found = self.found_in(place, bytes.as_ref());
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn a_secret_is_found_in_whatever_form_it_is_printed() {
    let mut planted = Planted::default();
    let secret = super::key(1);
    planted.bytes("it", &secret);
    for line in [
        hex(&secret),
        hex(&secret).to_uppercase(),
        BASE64_STANDARD.encode(&secret),
        BASE64_URL_SAFE_NO_PAD.encode(&secret),
        format!("{secret:?}"),
        serde_json::to_string(&secret).unwrap(),
        secret.escape_ascii().to_string(),
    ] {
        let found = planted.found_in("a line", format!("so it says: {line} and on").as_bytes());
        assert!(!found.is_empty(), "{line}");
    }
    assert!(!planted.found_in("a file", &secret).is_empty());
    assert_eq!(planted.found_in("a line", b"nothing of it"), [""; 0]);
}
