//! The architecture: who may name what. Reads every file of the tree and fails, with file and
//! line, where a line stands in the wrong room.

mod code;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use self::code::{blank, words};

/// The longest file of code, in lines.
const MOST_LINES: usize = 500;
/// The longest line, in characters.
const MOST_COLUMNS: usize = 100;
/// The languages whose files are kept short.
const CODE: [&str; 6] = ["rs", "lua", "py", "go", "ts", "java"];
/// The names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 10] = [
    "util", "utils", "common", "helper", "helpers", "types", "models", "core", "manager",
    "managers",
];

/// What may be named in some rooms only.
struct Room {
    /// How each is named in code.
    names: &'static [Name],
    /// Where that is in order: files, or folders with a slash at the end.
    rooms: &'static [&'static str],
}

/// How something is recognised in code.
#[derive(Clone, Copy, Debug)]
enum Name {
    /// A crate, by the first segment of a path or import.
    Crate(&'static str),
    /// A module of `std`, however it is imported.
    Std(&'static str),
    /// A word or piece of code.
    Code(&'static str),
    /// A piece of text, in strings and comments too.
    Text(&'static str),
}

use Name::{Code, Crate, Std, Text};

const ROOMS: [Room; 9] = [
    Room {
        names: &[
            Crate("tonic"),
            Crate("tonic_health"),
            Crate("tonic_prost"),
            Crate("tonic_reflection"),
            Crate("tonic_types"),
            Crate("prost"),
            Crate("prost_types"),
            Crate("http"),
            Crate("hyper"),
            Crate("hyper_util"),
            Crate("tower"),
            Crate("axum"),
        ],
        rooms: &[
            "src/proto.rs",
            "src/proto/",
            "src/server.rs",
            "src/server/",
            "src/client.rs",
            "src/client/",
        ],
    },
    Room { names: &[Crate("prometheus_client")], rooms: &["src/telemetry.rs", "src/telemetry/"] },
    Room { names: &[Crate("redis")], rooms: &["src/store/redis.rs", "src/store/redis/"] },
    Room {
        names: &[
            Crate("clap"),
            Crate("clap_complete"),
            Crate("anyhow"),
            Code("println!"),
            Code("eprintln!"),
            Code("print!"),
            Code("eprint!"),
        ],
        rooms: &["src/cli.rs", "src/cli/", "src/main.rs"],
    },
    Room { names: &[Std("env")], rooms: &["src/config.rs", "src/config/"] },
    Room {
        names: &[Code("SystemTime::now"), Code("Instant::now")],
        rooms: &["src/clock.rs", "src/telemetry.rs", "src/telemetry/", "src/store/observed.rs"],
    },
    Room {
        names: &[
            Code("Status::new("),
            Code("Status::with_"),
            Code("Status::from_"),
            Code("Status::ok("),
            Code("Status::cancelled("),
            Code("Status::unknown("),
            Code("Status::invalid_argument("),
            Code("Status::deadline_exceeded("),
            Code("Status::not_found("),
            Code("Status::already_exists("),
            Code("Status::permission_denied("),
            Code("Status::resource_exhausted("),
            Code("Status::failed_precondition("),
            Code("Status::aborted("),
            Code("Status::out_of_range("),
            Code("Status::unimplemented("),
            Code("Status::internal("),
            Code("Status::unavailable("),
            Code("Status::data_loss("),
            Code("Status::unauthenticated("),
        ],
        rooms: &["src/server/status.rs", "src/server/status/"],
    },
    Room {
        // Chosen in one place; read by those who call.
        names: &[Code("Code::")],
        rooms: &[
            "src/server/status.rs",
            "src/server/status/",
            "src/client.rs",
            "src/client/",
            "src/cli/",
        ],
    },
    Room {
        names: &[Text("redis.call"), Text("KEYS["), Text("ARGV["), Text("EVALSHA")],
        rooms: &["src/store/redis.rs", "src/store/redis/"],
    },
];

/// What the rules never name.
const NOT_IN_POOL: [Name; 17] = [
    Code("async"),
    Code("await"),
    Crate("tokio"),
    Crate("tracing"),
    Crate("futures_util"),
    Crate("getrandom"),
    Crate("rand"),
    Code("SystemTime"),
    Code("Instant"),
    Code("RandomState"),
    Std("fs"),
    Std("io"),
    Std("net"),
    Std("thread"),
    Std("process"),
    Code("crate::store"),
    Code("crate::clock"),
];

/// What is not left lying about, in two halves so that this file passes.
const UNFINISHED: [(&str, &str); 5] =
    [("to", "do!("), ("unimple", "mented!("), ("FIX", "ME"), ("XX", "X"), ("db", "g!(")];

#[test]
fn every_line_stands_in_its_room() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = files_of(root);
    assert!(files.iter().any(|file| file == "src/lib.rs"), "the tree was not found");
    let mut faults = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(root.join(&file)) else { continue };
        faults.extend(inspect(&file, &text));
    }
    assert!(faults.is_empty(), "{} faults\n{}\n", faults.len(), faults.join("\n"));
}

/// Everything that is wrong with a file, each as `file:line: what`.
fn inspect(path: &str, text: &str) -> Vec<String> {
    let mut faults = name_faults(path);
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    if is_generated(path, text) {
        return faults;
    }
    let mut fault = |line: usize, what: String| faults.push(format!("{path}:{line}: {what}"));
    if CODE.contains(&extension) && text.lines().count() > MOST_LINES {
        fault(MOST_LINES + 1, format!("the file is longer than {MOST_LINES} lines"));
    }
    let header = match extension {
        "rs" => Some("//!"),
        "lua" => Some("--"),
        _ => None,
    };
    if let Some(header) = header.filter(|header| !text.starts_with(header)) {
        fault(1, format!("the file does not open with its duty, after `{header}`"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        if ["rs", "lua", "proto"].contains(&extension) && line.chars().count() > MOST_COLUMNS {
            fault(number, format!("the line is longer than {MOST_COLUMNS} columns"));
        }
        if CODE.contains(&extension) || extension == "proto" {
            for (half, rest) in UNFINISHED {
                let whole = format!("{half}{rest}");
                if words(line, &whole).next().is_some() {
                    fault(number, format!("`{whole}` is not finished"));
                }
            }
        }
    }
    if extension == "rs" && path.starts_with("src/") {
        faults.extend(room_faults(path, text));
    }
    faults
}

fn name_faults(path: &str) -> Vec<String> {
    let code = path.rsplit_once('.').is_some_and(|(_, extension)| CODE.contains(&extension));
    if !code || path.starts_with("clients/java/") && path.contains("/src/main/java/") {
        return Vec::new();
    }
    let mut faults = Vec::new();
    if path.ends_with("/mod.rs") {
        faults.push(format!("{path}:1: a module is named after itself, not `mod.rs`"));
    }
    for part in path.split('/') {
        let stem = part.split_once('.').map_or(part, |(stem, _)| stem);
        if EMPTY_NAMES.contains(&stem) {
            faults.push(format!("{path}:1: `{stem}` does not say what is inside"));
        }
    }
    faults
}

fn is_generated(path: &str, text: &str) -> bool {
    let marked = ["_pb2.py", "_pb2_grpc.py", ".pb.go", "_pb.ts", "_pb.d.ts"];
    let head = text.lines().take(5).collect::<Vec<_>>().join("\n").to_lowercase();
    marked.iter().any(|mark| path.ends_with(mark))
        || path.split('/').any(|part| part == "generated")
        || head.contains("@generated")
        || head.contains("code generated by")
}

fn room_faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let code = blank(text);
    let in_pool = path == "src/pool.rs" || path.starts_with("src/pool/");
    let mut import = String::new();
    for (number, (line, text)) in (1..).zip(code.lines().zip(text.lines())) {
        // An import may go over many lines; its root is on the first.
        if import.is_empty() && starts_import(line) {
            line.trim().clone_into(&mut import);
        }
        let named = |name: &Name| names(*name, line, text, &import);
        for room in ROOMS.iter().filter(|room| !room.is_open_to(path)) {
            for name in room.names.iter().filter(|name| named(name)) {
                let rooms = room.rooms.join(", ");
                faults.push(format!("{path}:{number}: {name:?} may be named only in {rooms}"));
            }
        }
        if in_pool {
            for name in NOT_IN_POOL.iter().filter(|name| named(name)) {
                faults.push(format!("{path}:{number}: the rules never name {name:?}"));
            }
        }
        if line.contains(';') {
            import.clear();
        }
    }
    faults
}

impl Room {
    fn is_open_to(&self, path: &str) -> bool {
        self.rooms.iter().any(|room| match room.strip_suffix('/') {
            Some(_) => path.starts_with(room),
            None => path == *room,
        })
    }
}

fn starts_import(line: &str) -> bool {
    let line = line.trim_start();
    ["use ", "pub use ", "pub(super) use ", "pub(crate) use "].iter().any(|u| line.starts_with(u))
}

/// Whether a line of code names something; `import` is the first line of the import it is part of.
fn names(name: Name, line: &str, text: &str, import: &str) -> bool {
    // The root of a path: not after another segment.
    let is_root = |at: &usize| !line[..*at].ends_with("::");
    let root_of_import = || {
        let root = import.split_once("use ").map_or("", |(_, path)| path.trim_start_matches("::"));
        root.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    };
    match name {
        Text(piece) => text.contains(piece),
        Code(piece) => words(line, piece).next().is_some(),
        Crate(name) if import.is_empty() => {
            words(line, name).filter(is_root).any(|at| line[at + name.len()..].starts_with("::"))
        }
        // Told once, where the import begins.
        Crate(name) => line.trim() == import && root_of_import() == name,
        Std(name) if import.is_empty() => words(line, &format!("std::{name}")).next().is_some(),
        Std(name) => root_of_import() == "std" && words(line, name).next().is_some(),
    }
}

/// The files of the tree, as git knows them, or as they lie there when there is no git.
fn files_of(root: &Path) -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output();
    match listed {
        Ok(listed) if listed.status.success() => {
            String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
        }
        _ => {
            let mut files = Vec::new();
            walk(root, root, &mut files);
            files
        }
    }
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let hidden = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with('.') || ["target", "node_modules", "__pycache__"].contains(&&*name)
        };
        if hidden(&path) {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files);
        } else if let Ok(file) = path.strip_prefix(root) {
            files.push(file.to_string_lossy().into_owned());
        }
    }
}

#[test]
fn a_tree_without_git_is_walked() {
    let mut files = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    walk(root, root, &mut files);
    assert!(files.iter().any(|file| file == "src/lib.rs"));
    assert!(!files.iter().any(|file| file.starts_with("target/")));
}

/// What is wrong with one line in one file, if anything.
fn line_fault(path: &str, line: &str) -> Option<String> {
    let faults = inspect(path, &format!("//! A duty.\n{line}\n"));
    assert!(faults.iter().all(|fault| fault.starts_with(&format!("{path}:2: "))), "{faults:?}");
    faults.into_iter().next()
}

#[test]
fn a_line_in_the_wrong_room_is_caught_and_the_same_line_in_its_room_is_not() {
    for (line, wrong, right) in [
        ("use tonic::Request;", "src/store.rs", "src/server/handlers.rs"),
        ("use tonic_types::ErrorDetails;", "src/cli.rs", "src/client.rs"),
        ("let x = prost::Message::encode(&y);", "src/pool/lease.rs", "src/proto.rs"),
        ("fn f(h: http::HeaderMap) {}", "src/config.rs", "src/server/auth.rs"),
        ("    tower::{Layer, Service},", "src/keys.rs", "src/server.rs"),
        ("use redis::aio::ConnectionManager;", "src/store/embedded.rs", "src/store/redis.rs"),
        ("let c = redis::cmd(x);", "src/store.rs", "src/store/redis/link.rs"),
        ("use clap::Parser;", "src/server.rs", "src/cli.rs"),
        ("pub use anyhow::Result;", "src/store.rs", "src/cli/serve.rs"),
        ("println!();", "src/server.rs", "src/main.rs"),
        ("eprintln!(\"{x}\");", "src/server.rs", "src/cli/import.rs"),
        ("let home = std::env::var(x);", "src/cli.rs", "src/config.rs"),
        ("use std::{env, fs};", "src/store/embedded.rs", "src/config/parse.rs"),
        ("let t = SystemTime::now();", "src/server.rs", "src/clock.rs"),
        ("let t = tokio::time::Instant::now();", "src/server.rs", "src/store/observed.rs"),
        ("return Err(Status::not_found(x));", "src/server/handlers.rs", "src/server/status.rs"),
        ("let c = Code::Aborted;", "src/server/convert.rs", "src/server/status.rs"),
        ("let s = \"return redis.call('GET', KEYS[1])\";", "src/cli.rs", "src/store/redis/keys.rs"),
    ] {
        let caught = line_fault(wrong, line);
        assert!(caught.is_some_and(|fault| fault.contains("may be named only in")), "{line}");
        assert_eq!(line_fault(right, line), None, "{line}");
    }
}

#[test]
fn what_only_looks_like_it_is_left_alone() {
    for (path, line) in [
        ("src/cli.rs", "// tonic is not named here, nor is std::env"),
        ("src/cli.rs", "let text = \"use tonic::Request\";"),
        ("src/cli.rs", "use crate::store::redis::RedisStore;"),
        ("src/cli.rs", "use crate::{clock::Clock, store::{redis::RedisStore, Store}};"),
        ("src/cli.rs", "let exit = ExitCode::FAILURE;"),
        ("src/server.rs", "pub mod http;"),
        ("src/store.rs", "pub mod redis;"),
        ("src/cli.rs", "let version = env!(\"CARGO_PKG_VERSION\");"),
        ("src/store/embedded.rs", "use rusqlite::ErrorCode;"),
        ("src/pool/time.rs", "/// Not async, no Instant, nothing of tokio::time."),
        ("tests/it/grpc.rs", "use tonic::Code;"),
    ] {
        assert_eq!(line_fault(path, line), None, "{path}: {line}");
    }
}

#[test]
fn the_rules_stay_pure() {
    for line in [
        "pub async fn acquire() {}",
        "let x = y.await;",
        "tracing::info!();",
        "use tokio::sync::watch;",
        "use std::{fs, fmt};",
        "use std::time::Instant;",
        "getrandom::fill(&mut bits);",
        "use crate::store::Store;",
        "let now = crate::clock::Clock::system();",
    ] {
        for path in ["src/pool.rs", "src/pool/acquire.rs"] {
            let caught = line_fault(path, line);
            assert!(caught.is_some_and(|fault| fault.contains("the rules never name")), "{line}");
        }
    }
}

#[test]
fn an_import_over_many_lines_is_told_where_it_begins() {
    let text = "//! A duty.\nuse std::{\n    env,\n};\nuse tonic::{\n    Code,\n    Status,\n};\n";
    let faults = inspect("src/store.rs", text);
    let lines: Vec<_> = faults.iter().map(|fault| fault.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["src/store.rs:3:", "src/store.rs:5:"]);
    let nested =
        "//! A duty.\nuse crate::{\n    store::{\n        redis::RedisStore,\n    },\n};\n";
    assert_eq!(inspect("src/cli.rs", nested), [""; 0]);
}

#[test]
fn names_that_say_nothing_are_caught() {
    for path in
        ["src/util.rs", "src/server/helpers.rs", "src/core/lease.rs", "clients/python/types.py"]
    {
        let faults = inspect(path, "//! A duty.\n");
        assert!(faults.iter().any(|f| f.contains("does not say what is inside")), "{path}");
    }
    assert_eq!(inspect("src/pool/mod.rs", "//! A duty.\n").len(), 1);
    assert_eq!(inspect("tests/it/model.rs", "//! A duty.\n"), [""; 0]);
    assert_eq!(inspect("docs/types.md", "x"), [""; 0]);
}

#[test]
fn length_headers_and_loose_ends_are_caught_at_their_edge() {
    let lines = |n: usize| "//! A duty.\n".repeat(n);
    assert_eq!(inspect("src/a.rs", &lines(MOST_LINES)), [""; 0]);
    assert_eq!(inspect("src/a.rs", &lines(MOST_LINES + 1)).len(), 1);
    assert_eq!(inspect("clients/go/a.go", &lines(MOST_LINES + 1)).len(), 1);
    assert_eq!(inspect("clients/go/a.pb.go", &lines(MOST_LINES + 1)), [""; 0]);
    assert_eq!(line_fault("src/a.rs", &format!("// {}", "ä".repeat(97))), None);
    assert!(line_fault("src/a.rs", &format!("// {}", "ä".repeat(98))).is_some());
    assert_eq!(inspect("src/a.rs", "fn main() {}\n").len(), 1);
    assert_eq!(inspect("src/a.lua", "local a = 1\n").len(), 1);
    assert_eq!(inspect("src/a.lua", "-- A duty.\n"), [""; 0]);
    for (half, rest) in UNFINISHED {
        assert!(line_fault("src/a.rs", &format!("    {half}{rest}")).is_some(), "{half}{rest}");
    }
}
