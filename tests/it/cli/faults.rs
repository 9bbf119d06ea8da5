//! Bad input: one clear line, the next step, the right exit code, nothing damaged.

use std::{fs, net::TcpListener};

use super::{Broker, run, telegate, words};

#[test]
fn a_wrong_command_line_is_usage() {
    for (line, said) in [
        ("", "Usage: telegate"),
        ("pool", "Usage: telegate pool"),
        ("frobnicate", "unrecognized subcommand 'frobnicate'"),
        ("status --frobnicate", "unexpected argument '--frobnicate'"),
        ("acquire", "--pool <POOL>"),
        ("acquire --pool p --ttl 5", "write a number and a unit"),
        ("acquire --pool p --form tdata", "possible values: raw, telethon-string"),
        ("invalidate", "required arguments"),
        ("invalidate --pool p", "--session <SESSION>"),
        ("invalidate lease --pool p --session s", "cannot be used with"),
        ("import a --pool p --label k~=v", "'k~' is not a label key"),
        ("import a --pool P", "\"P\" is not a pool's name"),
        ("import a --pool p --name-prefix /", "is not how a name begins"),
        ("keys new --name n --role boss", "'boss' is not a role"),
        ("completions tcsh", "possible values: bash"),
        ("serve --address http://x", "has no use for --address"),
        ("status --address ftp://x", "write http://HOST:PORT"),
        ("status --address http://127.0.0.1:1 --ca x", "certificates are for TLS"),
        ("status --address https://127.0.0.1:1 --ca /nonexistent", "CA file /nonexistent: No such"),
    ] {
        let failed = words(line);
        assert_eq!((failed.code, failed.out.as_str()), (64, ""), "{line}: {failed:?}");
        assert!(failed.err.contains(said), "{line}: {}", failed.err);
    }
}

#[test]
fn a_broker_that_is_not_there_is_unavailable() {
    let failed = words("status --address http://127.0.0.1:1");
    assert_eq!(failed.code, 69);
    assert_eq!(
        failed.err,
        "error: the broker at http://127.0.0.1:1 cannot be reached: Connection refused (os error \
         111)\nnext: start it with `telegate serve`, or name another with --address\n"
    );
}

#[test]
fn something_that_is_no_broker_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            use std::io::{Read as _, Write as _};
            let mut stream = stream;
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let failed = words(&format!("status --address http://{address}"));
    assert_eq!(failed.code, 69, "{failed:?}");
    assert!(failed.err.starts_with("error: the broker at http://127.0.0.1:"), "{failed:?}");
}

#[test]
fn a_broker_that_cannot_be_configured_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("broken.toml"), "listen = [1]\nfrobnicate = 1\n").unwrap();
    fs::write(at("nonsense.toml"), "nonsense").unwrap();
    let store = format!("embedded:{}", at("telegate.db"));
    let base = ["serve", "--listen", "127.0.0.1:0", "--store", store.as_str()];
    for (flags, code, said) in [
        (vec!["--config".to_owned(), at("absent.toml")], 64, "No such file"),
        (vec!["--config".to_owned(), at("broken.toml")], 64, "frobnicate"),
        (vec!["--config".to_owned(), at("nonsense.toml")], 64, "line 1"),
        (vec!["--keys".to_owned(), at("absent.toml")], 64, "make it with `telegate keys new`"),
        (vec!["--keys".to_owned(), at("nonsense.toml")], 64, "mend it"),
        (vec!["--log".to_owned(), "a=b=c".to_owned()], 64, "write a level"),
        (vec!["--tls-cert".to_owned(), at("x")], 64, "tls.key is missing"),
        (
            vec!["--tls-cert".to_owned(), at("x"), "--tls-key".to_owned(), at("x")],
            74,
            "name a PEM file",
        ),
    ] {
        let failed = run(base.iter().map(ToString::to_string).chain(flags.clone()));
        assert_eq!((failed.code, failed.out.as_str()), (code, ""), "{flags:?}: {failed:?}");
        assert!(failed.err.contains(said), "{flags:?}: {}", failed.err);
    }
    let open = words("serve --listen 0.0.0.0:0 --store embedded:/nonexistent/x");
    assert_eq!(open.code, 64);
    assert!(open.err.contains("without API keys only a loopback address"), "{}", open.err);
    let elsewhere = words("serve --listen 127.0.0.1:0 --store mysql:x");
    assert_eq!(elsewhere.code, 64, "{elsewhere:?}");
}

#[tokio::test]
async fn a_port_or_a_store_in_use_is_told() {
    let broker = Broker::start().await;
    let store = format!("embedded:{}", broker.path("other.db").display());
    let failed = run(["serve", "--listen", &broker.address, "--store", &store]);
    assert_eq!(failed.code, 69, "{failed:?}");
    assert!(failed.err.contains("another program listens there\nnext: "), "{failed:?}");
    let store = format!("embedded:{}", broker.path("telegate.db").display());
    let failed = run(["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    assert_eq!(failed.code, 74, "{failed:?}");
    assert!(failed.err.contains("is open in another process"), "{failed:?}");
    broker.call("status").done();
}

#[test]
fn a_store_that_cannot_be_opened_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.db");
    for content in [vec![0x5a; 5000], b"SQLite format 3\0 and then nothing".to_vec()] {
        fs::write(&path, &content).unwrap();
        let store = format!("embedded:{}", path.display());
        let failed = run(["serve", "--listen", "127.0.0.1:0", "--store", &store]);
        assert_eq!(failed.code, 74, "{failed:?}");
        assert!(failed.err.contains("damaged or not a Telegate store"), "{failed:?}");
        assert!(fs::read(&path).unwrap() == content);
    }
    let failed = words("serve --listen 127.0.0.1:0 --store embedded:/proc/nothing/telegate.db");
    assert_eq!(failed.code, 74, "{failed:?}");
    let failed = words("serve --listen 127.0.0.1:0 --store redis://127.0.0.1:1");
    assert_eq!(failed.code, 69, "{failed:?}");
}

#[test]
fn a_missing_key_file_of_the_caller_is_told() {
    let mut status = telegate();
    status.args(["status", "--key-file", "/nonexistent/key"]);
    let failed = super::Said::of(&status.output().unwrap());
    assert_eq!(failed.code, 74);
    assert!(failed.err.starts_with("error: key file /nonexistent/key: No such file"), "{failed:?}");
}
