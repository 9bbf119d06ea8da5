//! Every form in and out, the forms that look alike, and noise.

use std::net::Ipv6Addr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};

use super::{
    AUTH_KEY_LEN, Credential, Fault, MAX_STRING, Missing, Telegram, gotd, gramjs, mtcute,
    parts::home, pyrogram, read_text, telethon,
};
use crate::pool::Credential as Sealed;

/// An account of which everything is known.
fn made_up(dc_id: u8, test: bool) -> Telegram {
    Telegram {
        dc_id,
        test,
        auth_key: (0..=255).collect(),
        address: Some(home(dc_id, test)),
        user_id: Some(7_000_000_001),
        is_bot: Some(dc_id == 3),
        password: None,
        api_id: Some(2040),
    }
}

/// What is left where a form says nothing of the account.
fn nameless(telegram: Telegram) -> Telegram {
    Telegram { user_id: None, is_bot: None, api_id: None, ..telegram }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE.encode(bytes).trim_end_matches('=').to_owned()
}

fn gramjs_with(dc_id: u8, address: &str) -> String {
    let mut bytes = vec![dc_id];
    bytes.extend(u16::try_from(address.len()).unwrap().to_be_bytes());
    bytes.extend(address.as_bytes());
    bytes.extend(443_u16.to_be_bytes());
    bytes.extend(0..=255);
    format!("1{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn refusal(text: &str) -> Fault {
    read_text(text).unwrap_err()
}

#[test]
fn every_form_that_is_written_is_read_again() {
    for (dc, test) in [1, 2, 3, 4, 5].map(|dc| (dc, false)).into_iter().chain([(2, true)]) {
        let all = made_up(dc, test);
        let bare = nameless(all.clone());
        let without_api = Telegram { api_id: None, ..all.clone() };
        let unaddressed = Telegram { address: None, ..all.clone() };
        for (text, format, wanted) in [
            (telethon::to_string(&all), "telethon-string", &bare),
            (telethon::to_string(&unaddressed), "telethon-string", &bare),
            (gramjs::to_string(&all), "gramjs-string", &bare),
            (pyrogram::to_string(&unaddressed).unwrap(), "pyrogram-string", &all),
            (mtcute::to_string(&all), "mtcute-string-3", &without_api),
            (mtcute::to_string(&bare), "mtcute-string-3", &bare),
        ] {
            let found = read_text(&text).unwrap();
            assert_eq!(found.format, format);
            assert!(found.telegram == *wanted, "{format}, dc {dc}");
        }
        assert!(gotd::parse(gotd::to_json(&all).as_bytes()) == Ok(bare), "gotd, dc {dc}");
    }
}

#[test]
fn strings_have_the_lengths_that_their_libraries_expect() {
    let all = made_up(2, false);
    assert_eq!(telethon::to_string(&all).len(), 353);
    assert_eq!(gramjs::to_string(&all).len(), 369);
    assert_eq!(pyrogram::to_string(&all).unwrap().len(), 362);
}

#[test]
fn wrapping_padding_and_alphabet_do_not_matter() {
    let all = made_up(2, false);
    for text in [
        telethon::to_string(&all),
        gramjs::to_string(&all),
        pyrogram::to_string(&all).unwrap(),
        mtcute::to_string(&all),
    ] {
        let unpadded = text.trim_end_matches('=').to_owned();
        let standard = text.replace('-', "+").replace('_', "/");
        let wrapped = format!("  {}\r\n{} \n", &text[..70], &text[70..]);
        let whole = read_text(&text).unwrap();
        for variant in [unpadded, standard, wrapped] {
            assert!(read_text(&variant).as_ref() == Ok(&whole), "{}", whole.format);
        }
    }
}

#[test]
fn an_ipv6_address_becomes_the_data_centres_ipv4_address() {
    let ip: Ipv6Addr = "2001:67c:4e8:f004::a".parse().unwrap();
    let mut bytes = vec![4];
    bytes.extend(ip.octets());
    bytes.extend(443_u16.to_be_bytes());
    bytes.extend(0..=255);
    let text = format!("1{}", URL_SAFE.encode(bytes));
    assert_eq!(text.len(), 369);
    let wanted = nameless(made_up(4, false));
    for text in [text, gramjs_with(4, &ip.to_string())] {
        assert!(read_text(&text).unwrap().telegram == wanted);
    }
}

#[test]
fn a_gramjs_string_is_told_apart_also_where_telethons_are_as_long() {
    for address in ["149.154.167.5", "149.154.167.51", "149.154.175.100", "venus.web.telegram.org"]
    {
        let found = read_text(&gramjs_with(2, address)).unwrap();
        assert_eq!(found.format, "gramjs-string");
        let ip = address.parse().unwrap_or(*home(2, false).ip());
        assert_eq!(found.telegram.address.map(|address| *address.ip()), Some(ip));
        assert_eq!(found.telegram.dc_id, 2);
        assert!(found.telegram.auth_key == made_up(2, false).auth_key);
    }
}

#[test]
fn a_port_that_gramjs_cannot_read_is_not_written() {
    let odd =
        Telegram { address: Some("149.154.167.50:40000".parse().unwrap()), ..made_up(2, false) };
    let found = read_text(&gramjs::to_string(&odd)).unwrap().telegram;
    assert_eq!(found.address, Some(home(2, false)));
}

/// A string of Pyrogram before 2, with a user id of so many bytes.
fn old_pyrogram(test: u8, user_id: &[u8]) -> String {
    let mut bytes = vec![2, test];
    bytes.extend(0..=255);
    bytes.extend(user_id);
    bytes.push(0);
    encode(&bytes)
}

#[test]
fn old_pyrogram_strings_are_read_with_what_they_have() {
    for (id, length) in [(&[0, 0, 1, 2][..], 351), (&[0, 0, 0, 0, 0, 0, 1, 2], 356)] {
        let text = old_pyrogram(1, id);
        assert_eq!(text.len(), length);
        let found = read_text(&text).unwrap().telegram;
        assert_eq!((found.dc_id, found.test), (2, true));
        assert_eq!((found.user_id, found.is_bot, found.api_id), (Some(258), Some(false), None));
    }
    let unsaid = read_text(&old_pyrogram(0, &[0; 8])).unwrap().telegram;
    assert_eq!((unsaid.user_id, unsaid.is_bot), (None, None));
}

#[test]
fn a_pyrogram_string_is_never_written_with_a_guess() {
    let all = made_up(2, false);
    for (telegram, missing) in [
        (nameless(all.clone()), vec!["api_id", "user_id", "is_bot"]),
        (Telegram { api_id: Some(0), ..all.clone() }, vec!["api_id"]),
        (Telegram { user_id: Some(0), ..all.clone() }, vec!["user_id"]),
        (Telegram { is_bot: None, ..all }, vec!["is_bot"]),
    ] {
        assert_eq!(pyrogram::to_string(&telegram), Err(Missing(missing)));
    }
}

#[test]
fn older_mtcute_strings_are_read() {
    let option = |id: u8, flags: u32| {
        let mut bytes = 0x18b7_a10d_u32.to_le_bytes().to_vec();
        bytes.extend(flags.to_le_bytes());
        bytes.extend(u32::from(id).to_le_bytes());
        bytes.extend(b"\x0e149.154.167.40\0");
        bytes.extend(443_u32.to_le_bytes());
        if flags & 1024 != 0 {
            bytes.extend([2, 1, 1, 0]);
        }
        bytes
    };
    for (version, flags, options) in [
        (1, 0_u32, vec![option(2, 0)]),
        (1, 2, vec![option(2, 1024)]),
        (2, 4, vec![option(2, 0), option(2, 2)]),
    ] {
        let mut bytes = vec![version];
        bytes.extend(flags.to_le_bytes());
        bytes.extend(options.concat());
        bytes.extend([254, 0, 1, 0]);
        bytes.extend(0..=255);
        let found = read_text(&encode(&bytes)).unwrap();
        assert_eq!(found.format, format!("mtcute-string-{version}"));
        assert!(found.telegram == nameless(made_up(2, true)), "{version} {flags}");
    }
}

#[test]
fn what_is_no_session_is_refused_with_the_cause() {
    let with = |change: fn(&mut Telegram)| {
        let mut telegram = made_up(2, false);
        change(&mut telegram);
        telethon::to_string(&telegram)
    };
    let unknown = Fault::Unknown("it does not look like a session string of any library");
    let not_pyrogram =
        Fault::Unknown("it is as long as a Pyrogram string, but says something else");
    let telethon = telethon::to_string(&made_up(2, false));
    let mtcute = mtcute::to_string(&made_up(2, false));
    for (text, fault) in [
        (" \n".to_owned(), Fault::Empty),
        ("hello".to_owned(), unknown),
        ("1!!!".to_owned(), Fault::NotBase64),
        (telethon[1..].to_owned(), not_pyrogram),
        (with(|t| t.auth_key.truncate(200)), Fault::StringLength(207)),
        (with(|t| t.auth_key.fill(0)), Fault::ZeroKey),
        (with(|t| t.dc_id = 0), Fault::DataCentre(0)),
        (with(|t| t.dc_id = 203), Fault::DataCentre(203)),
        (mtcute[..380].to_owned(), Fault::damaged("its parts are not those of an mtcute string")),
        ("1".repeat(MAX_STRING + 1), Fault::TooLong(4097)),
    ] {
        assert_eq!(refusal(&text), fault, "{}", text.len());
    }
}

#[test]
fn a_gotd_file_is_refused_with_the_cause() {
    let whole = gotd::to_json(&made_up(2, false));
    let file = |from: &str, to: &str| whole.replace(from, to);
    let key = base64::prelude::BASE64_STANDARD.encode(made_up(2, false).auth_key);
    for (text, fault) in [
        (whole[..300].to_owned(), Fault::damaged("it is not whole JSON")),
        ("{}".to_owned(), Fault::Unknown("it is JSON, but not a session of gotd")),
        (
            file("\"Version\":1", "\"Version\":2"),
            Fault::NewerSchema { library: "gotd", found: 2, newest: 1 },
        ),
        (file("\"DC\":2", "\"DC\":7"), Fault::DataCentre(7)),
        (file(&key, ""), Fault::NotLoggedIn),
        (file(&key, "!"), Fault::damaged("its key is not base64")),
        (
            file(&key, &key.replace("AAECAw", "BAECAw")),
            Fault::damaged("its key and the key's id do not belong together"),
        ),
        (file("\"DC\":2", "\"DC\":\"two\""), Fault::damaged("its fields are not those of gotd")),
    ] {
        assert_eq!(gotd::parse(text.as_bytes()), Err(fault));
    }
}

#[test]
fn a_credential_that_was_kept_before_still_opens() {
    #[derive(serde::Serialize)]
    enum Before {
        Telegram(Fields),
    }
    #[derive(serde::Serialize)]
    struct Fields {
        dc_id: u8,
        test: bool,
        #[serde(with = "serde_bytes")]
        auth_key: Vec<u8>,
        address: Option<std::net::SocketAddrV4>,
        user_id: Option<i64>,
        is_bot: Option<bool>,
    }
    let all = Telegram { api_id: None, ..made_up(2, false) };
    let Telegram { dc_id, test, auth_key, address, user_id, is_bot, .. } = all.clone();
    let before = Before::Telegram(Fields { dc_id, test, auth_key, address, user_id, is_bot });
    for kept in [rmp_serde::to_vec_named(&before).unwrap(), rmp_serde::to_vec(&before).unwrap()] {
        assert!(Credential::unseal(&Sealed(kept)).unwrap() == Credential::Telegram(all.clone()));
    }
}

#[test]
fn a_credential_is_kept_without_the_names_of_its_fields() {
    for password in [None, Some("four words".to_owned())] {
        let known = Telegram { password, api_id: None, ..made_up(2, false) };
        let bare = Telegram { address: None, is_bot: None, ..nameless(known.clone()) };
        let whole = Credential::Telegram(known);
        let kept = whole.seal();
        assert!(Credential::unseal(&kept).unwrap() == whole);
        assert!(!kept.0.windows(8).any(|bytes| bytes == b"auth_key"));
        let word = bare.password.as_ref().map_or(0, |password| 1 + password.len());
        assert_eq!(Credential::Telegram(bare).seal().0.len(), AUTH_KEY_LEN + 19 + word);
    }
}

/// A fixed sequence of numbers without a pattern.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or_default() % limit
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }
}

#[test]
fn no_string_of_whatever_bytes_makes_a_parser_panic() {
    let mut dice = Dice(0x5eed_1234);
    let all = made_up(2, false);
    let good = [
        telethon::to_string(&all),
        gramjs::to_string(&all),
        pyrogram::to_string(&all).unwrap(),
        old_pyrogram(0, &[0, 0, 1, 2]),
        mtcute::to_string(&all),
        gotd::to_json(&all),
    ];
    let mut read = 0;
    for _ in 0..20_000 {
        let bytes = match dice.below(3) {
            // Noise, as text and as what base64 may hide.
            0 => (0..dice.below(600)).map(|_| dice.byte()).collect(),
            1 => {
                let start = [1, 2, 3, dice.byte()][dice.below(4)];
                let noise = (0..dice.below(600)).map(|_| dice.byte());
                let noise: Vec<u8> = [start].into_iter().chain(noise).collect();
                ["", "1"][dice.below(2)].bytes().chain(encode(&noise).bytes()).collect()
            }
            // Something good with a few blows.
            _ => {
                let mut bytes = good[dice.below(good.len())].clone().into_bytes();
                for _ in 0..=dice.below(3) {
                    let at = dice.below(bytes.len());
                    match dice.below(3) {
                        0 => bytes[at] = dice.byte(),
                        1 => bytes.truncate(at.max(1)),
                        _ => bytes.insert(at, b"Aa1_"[dice.below(4)]),
                    }
                }
                bytes
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let found = [read_text(&text).map(|found| found.telegram), gotd::parse(&bytes)];
        for found in found.into_iter().flatten() {
            read += 1;
            assert_eq!(found.auth_key.len(), AUTH_KEY_LEN);
            assert!((1..=5).contains(&found.dc_id));
        }
    }
    assert!(read > 100, "only {read} could be read");
}
