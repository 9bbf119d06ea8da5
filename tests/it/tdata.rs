//! Reading tdata folders of Telegram Desktop: those of two other writers, and broken ones.

mod writer;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use telegate::credential::{
    Account, Fault, Folder, Library, Passcode, Telegram, read_file, read_folder,
};

pub(crate) use self::writer::{Desktop, User};
use crate::{
    harness::nothing_may_be_skipped,
    import::{contents, folder, hex, made_up_key},
};

/// Reads a folder, and checks that nothing in it changed by that.
fn read(path: &Path, passcode: &str) -> Result<Vec<Account>, Fault> {
    let before = contents(path);
    let read = read_folder(&Folder(path), &Passcode::new(passcode.to_owned()));
    assert!(contents(path) == before, "reading {} changed it", path.display());
    read
}

/// What is done to a file.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

/// The account of a folder that has one.
fn only(path: &Path) -> Result<Telegram, Fault> {
    let mut accounts = read(path, "")?;
    assert_eq!(accounts.len(), 1);
    accounts.remove(0).read.map(|found| found.telegram)
}

/// The writers of tdata that are there: what they say that they wrote, below a folder.
pub(crate) fn written(root: &Path) -> Vec<(&'static str, Value)> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libraries");
    let convert = tools.join("node-convert");
    let mut told = Vec::new();
    for (name, program, words, needs) in [
        (
            "opentele tdata",
            tools.join("python-opentele/bin/python"),
            vec![scripts.join("make_tdata.py")],
            tools.join("python-opentele/bin/python"),
        ),
        (
            "mtcute tdata",
            PathBuf::from("node"),
            vec![scripts.join("make_tdata.mjs"), convert.clone()],
            convert.join("node_modules/@mtcute/convert"),
        ),
    ] {
        if !needs.exists() {
            assert!(!nothing_may_be_skipped(), "{name} is not installed");
            eprintln!("skipped: {name} is not installed; see `make tools`");
            continue;
        }
        let place = root.join(name);
        fs::create_dir(&place).unwrap();
        let made = Command::new(program)
            .args(words)
            .arg(&place)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(made.status.success(), "{name}");
        told.push((name, serde_json::from_slice(&made.stdout).unwrap()));
    }
    told
}

#[test]
fn what_others_write_is_read_with_all_its_accounts() {
    let root = folder();
    for (name, told) in written(root.path()) {
        println!("{name} {}", told["version"].as_str().unwrap());
        for told in told["folders"].as_array().unwrap() {
            let path = root.path().join(name).join(told["folder"].as_str().unwrap());
            let passcode = told["passcode"].as_str().unwrap();
            let accounts = read(&path, passcode).unwrap();
            let wanted = told["accounts"].as_array().unwrap();
            assert_eq!(accounts.len(), wanted.len(), "{}", path.display());
            for ((account, wanted), number) in accounts.into_iter().zip(wanted).zip(1..) {
                assert_eq!(account.number, number);
                let found = account.read.unwrap();
                assert_eq!(found.format, "tdata");
                assert_eq!(found.telegram.user_id, wanted["user_id"].as_i64());
                assert_eq!(Some(found.telegram.dc_id.into()), wanted["dc_id"].as_u64());
                assert_eq!(hex(&found.telegram.auth_key), wanted["auth_key"].as_str().unwrap());
                assert!(!found.telegram.test);
                assert_eq!(found.telegram.is_bot, None, "tdata does not say it");
            }
            if !passcode.is_empty() {
                assert_eq!(read(&path, ""), Err(Fault::Locked));
                assert_eq!(read(&path, "wrong horse"), Err(Fault::WrongPasscode));
            }
        }
    }
}

#[test]
fn an_account_says_its_environment_and_its_user_in_both_widths() {
    let root = folder();
    let key = made_up_key(1);
    for (name, user, test, wanted) in [
        ("wide", User::Wide(7_000_000_001), false, (Some(7_000_000_001), false)),
        ("narrow", User::Narrow(42), false, (Some(42), false)),
        ("test", User::Wide(42), true, (Some(42), true)),
        ("nobody", User::Wide(0), false, (None, false)),
    ] {
        let path = root.path().join(name);
        let desktop = Desktop { test, ..Desktop::of(user, 2, &key) };
        desktop.write(&path);
        let found = only(&path).unwrap();
        assert_eq!((found.user_id, found.test), wanted, "{name}");
        assert!((found.dc_id, found.auth_key) == (2, key.clone()), "{name}");
    }
}

#[test]
fn a_broken_folder_is_refused_with_the_cause() {
    let root = folder();
    let key = made_up_key(2);
    let good = || Desktop::of(User::Wide(42), 4, &key);
    let damaged = |how: &str| Fault::Damaged(how.to_owned());
    let digest = "the digest of a file of Telegram Desktop is wrong";
    let end = "a file of Telegram Desktop ends too early";
    let (keys, account) = ("key_datas", "D877F783D5D3EF8Cs");
    let change = |path: &Path, file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let file = path.join(file);
        let mut bytes = fs::read(&file).unwrap();
        change(&mut bytes);
        fs::write(file, bytes).unwrap();
    };
    let cases: [(&str, &str, Change<'_>, Fault); 8] = [
        ("keys empty", keys, &Vec::clear, Fault::Empty),
        ("keys cut", keys, &|b| b.truncate(b.len() - 9), damaged(digest)),
        ("keys short", keys, &|b| b.truncate(11), damaged(end)),
        ("keys changed", keys, &|b| b[60] ^= 1, damaged(digest)),
        ("keys other", keys, &|b| b[0] = b'X', damaged("a file is not its own")),
        ("keys huge", keys, &|b| b.resize((1 << 20) + 1, 0), Fault::TooLarge(1 << 20)),
        ("account cut", account, &|b| b.truncate(b.len() / 2), damaged(digest)),
        ("account changed", account, &|b| b[40] ^= 1, damaged(digest)),
    ];
    for (name, file, how, fault) in cases {
        let path = root.path().join(name);
        good().write(&path);
        change(&path, file, how);
        assert_eq!(only(&path), Err(fault), "{name}");
    }
    for (name, desktop, fault) in [
        ("no accounts", Desktop { count: Some(0), ..good() }, Fault::NotLoggedIn),
        (
            "too many",
            Desktop { count: Some(65), ..good() },
            damaged("it has more accounts than any Telegram Desktop"),
        ),
        ("lies", Desktop { count: Some(60), ..good() }, damaged(end)),
        ("no key", Desktop::of(User::Wide(42), 4, &[]), Fault::NotLoggedIn),
        ("bad dc", Desktop::of(User::Wide(42), 9, &key), Fault::DataCentre(9)),
        ("zero key", Desktop::of(User::Wide(42), 4, &[0; 256]), Fault::ZeroKey),
        (
            "other block",
            Desktop { block: 0x4a, ..good() },
            damaged("an account's file does not hold its authorization"),
        ),
        ("another's key", Desktop { foreign_key: true, ..good() }, damaged(digest)),
    ] {
        let path = root.path().join(name);
        desktop.write(&path);
        assert_eq!(only(&path), Err(fault), "{name}");
    }
    let gone = root.path().join("gone");
    good().write(&gone);
    fs::remove_file(gone.join(account)).unwrap();
    assert_eq!(only(&gone), Err(Fault::NotLoggedIn));
    let link = root.path().join("link");
    good().write(&link);
    fs::rename(link.join(account), root.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(root.path().join("elsewhere"), link.join(account)).unwrap();
    assert_eq!(only(&link), Err(Fault::NotAFile("a symbolic link")));
}

#[test]
fn older_folders_and_single_files_are_told_how_to_go_on() {
    let root = folder();
    let old = root.path().join("old");
    fs::create_dir_all(old.join("D877F783D5D3EF8C")).unwrap();
    fs::write(old.join("D877F783D5D3EF8C/map1"), b"TDF$").unwrap();
    let library = Library::OldDesktop;
    assert_eq!(read(&old, ""), Err(Fault::Unsupported { library }));
    let good = root.path().join("good");
    Desktop::of(User::Wide(42), 4, &made_up_key(3)).write(&good);
    let library = Library::DesktopFile;
    let alone = read_file(&good.join("key_datas"));
    assert_eq!(alone, Err(Fault::Unsupported { library }));
    assert_eq!(
        Fault::Unsupported { library }.to_string(),
        "It is a session of Telegram Desktop, or a part of one (tdata), which Telegate does not \
         read; it is read as a folder: name the one that holds key_datas"
    );
    // Files of the days when they were written in turns.
    for file in ["key_data", "D877F783D5D3EF8C"] {
        fs::rename(good.join(format!("{file}s")), good.join(format!("{file}1"))).unwrap();
    }
    fs::write(good.join("key_datas"), b"").unwrap();
    assert_eq!(only(&good), Err(Fault::Empty));
    fs::copy(good.join("key_data1"), good.join("key_datas")).unwrap();
    assert_eq!(only(&good).unwrap().user_id, Some(42));
}
