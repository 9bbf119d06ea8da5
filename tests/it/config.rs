//! Configuration: the example tells the defaults, layers hide each other, faults come all at once.

use std::{fs, path::PathBuf, time::Duration};

use insta::assert_snapshot;
use telegate::{
    config::{Config, Environment, FIELDS, LogFormat, Overrides, StoreAddress},
    store::sealed::Sealing,
};

use crate::harness::{OTHER_STORE_KEY, STORE_KEY, STORE_KEYS, sealing};

const EXAMPLE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/config.example.toml"));

fn environment(more: &[(&str, &str)]) -> Environment {
    let home = [("HOME", "/home/ann")];
    home.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// The example with its settings in force: lines like `# name = value` and `# [table]`.
fn uncommented() -> String {
    let setting = |line: &&str| {
        let text = line.strip_prefix("# ").unwrap_or_default();
        let name = text.split(" = ").next().unwrap_or_default();
        let plain = name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
        text.starts_with('[') || (text.contains(" = ") && plain)
    };
    let lines = EXAMPLE.lines().filter(setting).map(|line| &line[2..]);
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_tells_the_defaults() {
    let defaults = Config::from_toml("", &environment(&[])).unwrap();
    assert_eq!(Config::from_toml(EXAMPLE, &environment(&[])).unwrap(), defaults);
    assert_eq!(Config::from_toml(&uncommented(), &environment(&[])).unwrap(), defaults);
    assert_eq!(defaults.listen.to_string(), "127.0.0.1:7311");
    assert_eq!(
        defaults.store,
        StoreAddress::Embedded("/home/ann/.local/share/telegate/telegate.db".into())
    );
}

#[test]
fn the_example_names_every_field() {
    let table: toml::Table = uncommented().parse().unwrap();
    for field in FIELDS {
        let found = match field.split_once('.') {
            Some((part, name)) => table[part].get(name),
            None => table.get(field),
        };
        assert!(found.is_some(), "{field} is not in the example");
    }
    let rows = |table: &toml::Table| table.values().filter(|value| !value.is_table()).count();
    let tables = table.values().filter_map(toml::Value::as_table).map(rows).sum::<usize>();
    assert_eq!(rows(&table) + tables, FIELDS.len(), "the example has a field too many");
}

#[test]
fn flags_hide_the_environment_which_hides_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("telegate.toml");
    let text = "listen = '127.0.0.1:1'\nlog = 'warn'\nlog_format = 'json'\n[tls]\ncert = '~/c'";
    fs::write(&file, text).unwrap();
    let environment = environment(&[
        ("TELEGATE_LISTEN", "127.0.0.1:2"),
        ("TELEGATE_LOG", "debug"),
        ("TELEGATE_LOG_FORMAT", ""),
        ("TELEGATE_TLS_KEY", "/k"),
        ("TELEGATE_LIMITS_MAX_MESSAGE", "2MiB"),
        ("TELEGATE_PORT", "tcp://10.0.0.1:7311"),
        ("XDG_DATA_HOME", "/data"),
    ]);
    let flags = Overrides {
        listen: Some("127.0.0.1:3".into()),
        drain_timeout: Some("5m".into()),
        ..Overrides::default()
    };
    let config = Config::load(Some(&file), &environment, &flags).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.log, "debug");
    assert_eq!(config.log_format, LogFormat::Auto, "left empty, so as by default");
    assert_eq!(config.server.limits.max_message, 2 * 1024 * 1024);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(300));
    assert_eq!(config.store, StoreAddress::Embedded("/data/telegate/telegate.db".into()));
    let tls = config.server.tls.unwrap();
    assert_eq!((tls.cert, tls.key), (PathBuf::from("/home/ann/c"), PathBuf::from("/k")));
}

#[test]
fn every_fault_is_told_at_once_with_a_cure() {
    let text = r#"
        listen = "localhost"
        store = "postgres://ann:hunter2@db/1"
        log = "loud=="
        log_format = "xml"
        durability = "galaxy"
        drain_timeout = "2h"
        demo = "perhaps"
        sync = "work=/a, work=/b"
        lisen = 1
        keys = ["a"]
        [tls]
        key = "key.pem"
        [limits]
        max_message = 5
        max_streams = -1
        call_timeout = 30
    "#;
    let faults = Config::from_toml(text, &environment(&[])).unwrap_err();
    assert!(!faults.to_string().contains("hunter2"));
    assert_snapshot!("config_faults", faults);
    assert_eq!(faults.0.len(), 14);
    let broken = Config::from_toml("a = 1\nb = [", &environment(&[])).unwrap_err();
    assert!(broken.to_string().starts_with("the file, line 2: "), "{broken}");
}

#[test]
fn without_keys_only_loopback_is_listened_on() {
    let listen = |address: &str, keys: &str| {
        let text = format!("listen = '{address}'\nkeys = '{keys}'");
        Config::from_toml(&text, &environment(&[])).map(|config| config.listen.to_string())
    };
    for open in ["127.0.0.1:7311", "127.9.9.9:1", "[::1]:7311"] {
        assert_eq!(listen(open, "").as_deref(), Ok(open));
    }
    for closed in ["0.0.0.0:7311", "192.168.0.1:7311", "[::]:7311"] {
        let fault = listen(closed, "").unwrap_err().to_string();
        assert!(fault.contains(closed) && fault.contains("telegate keys new"), "{fault}");
        assert_eq!(listen(closed, "keys.toml").as_deref(), Ok(closed));
    }
}

#[test]
fn a_password_of_the_store_is_hidden() {
    for (url, shown) in [
        ("rediss://ann:hunter2@db:6380/1", "rediss://ann:***@db:6380/1"),
        ("redis://:hunter2@db", "redis://:***@db"),
        ("redis://ann:hunt@er2@db/0", "redis://ann:***@db/0"),
        ("redis://db:6379/0", "redis://db:6379/0"),
    ] {
        let text = format!("store = '{url}'");
        let config = Config::from_toml(&text, &environment(&[])).unwrap();
        assert_eq!(config.store, StoreAddress::Redis(url.into()));
        assert_eq!(config.store.to_string(), shown);
        assert!(!format!("{config:?}").contains("hunt"));
    }
}

#[test]
fn store_keys_come_from_a_file_or_the_environment_and_are_never_repeated() {
    let read = |text: &str, variables: &[(&str, &str)]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        let environment = environment(variables);
        let config = Config::load(Some(file.path()), &environment, &Overrides::default());
        config.map(|config| config.sealing).map_err(|faults| faults.to_string())
    };
    assert_eq!(read("", &[]), Ok(Sealing::Without));
    assert_eq!(read("keep_unencrypted = true", &[]), Ok(Sealing::Unencrypted));
    let file = Sealing::File("/home/ann/keys".into());
    assert_eq!(read("store_key_file = '~/keys'", &[]), Ok(file.clone()));
    assert_eq!(read("", &[("TELEGATE_STORE_KEY_FILE", "/home/ann/keys")]), Ok(file));
    let both = format!("{OTHER_STORE_KEY},{STORE_KEY}");
    let keys = Ok(sealing(&[OTHER_STORE_KEY, STORE_KEY]));
    assert_eq!(read("", &[(STORE_KEYS, &both)]), keys);
    let shown = format!("{:?}", Config::from_toml("", &environment(&[(STORE_KEYS, &both)])));
    assert!(shown.contains("StoreKey(830a999d)") && !shown.contains(&STORE_KEY[14..]), "{shown}");
    for (text, variables, said) in [
        ("", &[(STORE_KEYS, "hunter2")][..], "line 1 has what is no store key"),
        ("", &[(STORE_KEYS, &STORE_KEY[..50])], "it is not a whole key"),
        ("store_key_file = 'x'", &[(STORE_KEYS, STORE_KEY)], "drop one of them"),
        ("keep_unencrypted = true", &[(STORE_KEYS, STORE_KEY)], "there are store keys"),
        ("keep_unencrypted = 'very'", &[], "write true or false"),
        ("", &[("TELEGATE_STORE_KEY_FILE", STORE_KEY)], "that is a store key, not a file"),
    ] {
        let fault = read(text, variables).unwrap_err();
        assert!(fault.contains(said) && fault.lines().count() == 1, "{fault}");
        assert!(!fault.contains("hunter2") && !fault.contains(&STORE_KEY[14..40]), "{fault}");
    }
}

#[test]
fn a_machine_without_a_home_is_told_to_name_the_store() {
    let fault = Config::from_toml("", &Environment::new()).unwrap_err().to_string();
    assert!(fault.contains("embedded:PATH"), "{fault}");
    assert!(Config::from_toml("store = 'embedded:/x'", &Environment::new()).is_ok());
}
