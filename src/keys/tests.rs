//! Keys and their file.

use super::*;

fn one_key() -> (KeyFile, String, Secret) {
    let mut file = KeyFile::default();
    let (id, secret) =
        file.generate("ci", vec![Role::Worker], vec!["*".into()], 1_763_750_000).unwrap();
    (file, id, secret)
}

#[test]
fn a_new_key_is_recognisable_and_found_by_its_text_alone() {
    let (file, id, secret) = one_key();
    assert_eq!(secret.reveal().len(), PREFIX.len() + 43);
    assert!(secret.reveal().starts_with("tg_") && id.starts_with("k-") && id.len() == 10);
    assert_eq!(file.entries()[0].hash, Hash::of(secret.reveal()));
    assert_ne!(file.entries()[0].hash, Hash::of(&format!("{}x", secret.reveal())));
    assert_eq!(file.entries()[0].created, "2025-11-21T18:33:20Z");
    assert_eq!(format!("{secret:?}"), "(secret)");
}

#[test]
fn a_saved_file_reads_back_and_holds_no_key() {
    let (file, _, secret) = one_key();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/keys.toml");
    file.save(&path).unwrap();
    assert_eq!(KeyFile::load(&path).unwrap(), file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(secret.reveal()) && text.contains("sha256:"), "{text}");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_saved_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let (file, _, _) = one_key();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    file.save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_revoked_key_is_gone_and_revoking_again_says_so() {
    let (mut file, id, _) = one_key();
    assert!(file.revoke(&id));
    assert_eq!(file.entries(), []);
    assert!(!file.revoke(&id));
}

#[test]
fn an_expiry_is_kept_to_the_second_and_a_key_without_one_is_good_for_ever() {
    let (mut file, id, _) = one_key();
    assert!(!file.entries()[0].is_over(Time(u64::MAX)));
    assert!(file.expire(&id, Time(1_763_750_000_999)));
    let text = toml::to_string(&file).unwrap();
    assert!(text.contains("expires = \"2025-11-21T18:33:20Z\""), "{text}");
    let entry = KeyFile::parse(&text).unwrap().entries()[0].clone();
    assert!(!entry.is_over(Time(1_763_749_999_999)));
    assert!(entry.is_over(Time(1_763_750_000_000)));
    assert!(!file.expire("nobody", Time(0)));
    assert!(KeyFile::parse(&text.replace("\"2025-11-21T18:33:20Z\"", "7")).is_err());
    for bad in ["\"tomorrow\"", "\"2026-02-30T00:00:00Z\""] {
        let text = text.replace("\"2025-11-21T18:33:20Z\"", bad);
        let fault = KeyFile::parse(&text).unwrap_err();
        assert!(fault.contains("a key expires at a moment such as"), "{fault}");
    }
}

#[test]
fn edits_that_come_together_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    let add = || {
        KeyFile::edit(&path, |file| {
            file.generate("ci", vec![Role::Worker], vec!["*".into()], 0).map(drop)
        })
    };
    std::thread::scope(|scope| {
        let adding: Vec<_> = (0..8).map(|_| scope.spawn(add)).collect();
        for added in adding {
            added.join().unwrap().unwrap();
        }
    });
    assert_eq!(KeyFile::load(&path).unwrap().entries().len(), 8);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_missing_file_is_told_from_a_broken_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    assert!(matches!(KeyFile::load(&path), Err(Error::Missing(_))));
    assert_eq!(KeyFile::load_or_empty(&path).unwrap(), KeyFile::default());
    fs::write(&path, "nonsense").unwrap();
    assert!(matches!(KeyFile::load_or_empty(&path), Err(Error::Malformed { .. })));
}

#[test]
fn every_fault_of_a_file_is_told_without_repeating_its_lines() {
    let entry = |id: &str, hash: &str, roles: &str, pools: &str| {
        format!("[[key]]\nid = \"{id}\"\nhash = \"{hash}\"\nroles = {roles}\npools = {pools}\n")
    };
    let hash = format!("sha256:{}", "0".repeat(64));
    let good = entry("k-1", &hash, "[\"worker\"]", "[\"*\"]");
    assert!(KeyFile::parse(&good).is_ok());
    let leak = entry("k-1", "tg_secret", "[\"worker\"]", "[\"*\"]");
    for (text, said) in [
        (leak, "line 3: a hash is 'sha256:' and 64 hexadecimal digits"),
        (entry("", &hash, "[\"worker\"]", "[\"*\"]"), "key id ''"),
        (entry("k-1", &hash, "[]", "[\"*\"]"), "has no roles"),
        (entry("k-1", &hash, "[\"boss\"]", "[\"*\"]"), "unknown variant `boss`"),
        (entry("k-1", &hash, "[\"worker\"]", "[]"), "has no pools"),
        (entry("k-1", &hash, "[\"worker\"]", "[\"De mo\"]"), "'De mo' is not a pool name"),
        (format!("{good}{good}"), "the key id k-1 is there twice"),
        ("[[kee]]".into(), "unknown field `kee`"),
    ] {
        let fault = KeyFile::parse(&text).expect_err(&text);
        assert!(fault.contains(said), "{fault}");
        assert!(!fault.contains("tg_secret"), "{fault}");
    }
}
