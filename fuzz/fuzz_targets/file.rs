//! Files that are sent to be imported: databases, JSON, text, and archives of all these.
#![no_main]

use libfuzzer_sys::fuzz_target;
use telegate::inventory::{Ways, from_memory};

fuzz_target!(|bytes: &[u8]| {
    for item in from_memory("a.session", bytes.to_vec(), &Ways::default()) {
        match item.read {
            Ok(entry) => {
                assert_eq!(entry.telegram.auth_key.len(), 256);
                assert!((1..=5).contains(&entry.telegram.dc_id));
            }
            Err(fault) => assert!(fault.to_string().len() < 500),
        }
    }
});
