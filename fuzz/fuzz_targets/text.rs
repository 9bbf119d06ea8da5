//! Session strings. What is read can be written in the form of each library that asks for no more,
//! and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use telegate::credential::{gotd, gramjs, mtcute, read_text, telethon};

fuzz_target!(|text: &str| {
    let Ok(found) = read_text(text) else { return };
    let telegram = found.telegram;
    assert_eq!(telegram.auth_key.len(), 256);
    for string in [
        telethon::to_string(&telegram),
        gramjs::to_string(&telegram),
        mtcute::to_string(&telegram),
    ] {
        let again = read_text(&string).expect("what is written can be read").telegram;
        assert_eq!((again.dc_id, &again.auth_key), (telegram.dc_id, &telegram.auth_key));
    }
    assert!(!gotd::to_json(&telegram).is_empty());
});
