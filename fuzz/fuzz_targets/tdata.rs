//! Folders of Telegram Desktop: a file of keys and files of accounts.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use md5::{Digest as _, Md5};
use telegate::credential::{Fault, Files, Passcode, read_folder};

/// Files by name.
#[derive(Arbitrary, Debug)]
struct Heap {
    keys: Vec<u8>,
    account: Vec<u8>,
    others: BTreeMap<String, Vec<u8>>,
}

impl Heap {
    fn file(&self, name: &str) -> Option<&Vec<u8>> {
        match name {
            "key_datas" => Some(&self.keys),
            "D877F783D5D3EF8Cs" => Some(&self.account),
            name => self.others.get(name),
        }
    }
}

impl Files for Heap {
    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.file(name).filter(|bytes| bytes.len() as u64 <= most).map(|bytes| sealed(bytes)))
    }

    fn has(&self, name: &str) -> bool {
        self.file(name).is_some()
    }
}

/// A file with its digest, without which nobody looks into it.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    const VERSION: [u8; 4] = 5_000_000_u32.to_le_bytes();
    let length = u32::try_from(bytes.len()).expect("inputs are short").to_le_bytes();
    let digest = Md5::new_with_prefix(bytes)
        .chain_update(length)
        .chain_update(VERSION)
        .chain_update(b"TDF$")
        .finalize();
    [b"TDF$", &VERSION[..], bytes, &digest].concat()
}

fuzz_target!(|heap: Heap| {
    for account in read_folder(&heap, &Passcode::default()).unwrap_or_default() {
        if let Ok(found) = account.read {
            assert_eq!(found.telegram.auth_key.len(), 256);
        }
    }
});
