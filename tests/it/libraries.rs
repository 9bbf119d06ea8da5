//! Round trips with the real libraries: each writes sessions with made-up keys, they are read, and
//! put into every form that they carry enough for, and each library opens what is made for it. Of
//! tdata and grammers there is no form to lend, so these only write.

use std::{
    env,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use telegate::credential::{
    Credential, Fault, Folder, Passcode, Telegram, gotd, gramjs, mtcute, pyrogram, read_folder,
    read_text, telethon,
};

use crate::{
    harness::nothing_may_be_skipped,
    import::{folder, hex, read},
};

/// A library that is installed.
struct Library {
    name: &'static str,
    program: PathBuf,
    /// What makes sessions, and what opens strings.
    make: Vec<PathBuf>,
    open: Vec<PathBuf>,
    /// Whether it wants to be told a folder for what it makes.
    makes_files: bool,
    /// The form of the strings; nothing if there is none to lend.
    spell: Option<fn(&Telegram) -> Option<String>>,
}

/// A session that a library made, as it was read.
struct Made {
    library: &'static str,
    told: Value,
    telegram: Telegram,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tool(variable: &str, place: &str) -> PathBuf {
    let tools = root().join("target/tools");
    env::var_os(variable).map_or_else(|| tools.join(place), PathBuf::from)
}

fn pyrogram_string(telegram: &Telegram) -> Option<String> {
    pyrogram::to_string(telegram).ok()
}

fn python(name: &'static str, variable: &str, place: &str, scripts: &str) -> Library {
    let script = |deed: &str| root().join(format!("tests/libraries/{deed}_{scripts}.py"));
    let package = if name == "hydrogram" { "hydrogram" } else { "pyrogram" };
    let words = |deed: &str| {
        let package = (scripts == "pyrogram").then(|| package.into());
        [script(deed)].into_iter().chain(package).collect()
    };
    Library {
        name,
        program: tool(variable, &format!("{place}/bin/python")),
        make: words("make"),
        open: words("open"),
        makes_files: true,
        spell: Some(if scripts == "pyrogram" {
            pyrogram_string
        } else {
            |telegram| Some(telethon::to_string(telegram))
        }),
    }
}

fn node(name: &'static str, spell: fn(&Telegram) -> Option<String>) -> Library {
    let modules = tool("TELEGATE_TEST_NODE_MODULES", "node/node_modules").join("..");
    let script = root().join(format!("tests/libraries/{name}.mjs"));
    let words = |deed: &str| vec![script.clone(), modules.clone(), deed.into()];
    let (make, open) = (words("make"), words("open"));
    Library { name, program: "node".into(), make, open, makes_files: false, spell: Some(spell) }
}

/// A small program around a library, built for these tests.
fn program(name: &'static str, makes_files: bool) -> Library {
    let program = root().join(format!("target/tools/bin/telegate-test-{name}"));
    let words = |deed: &str| if makes_files { vec![] } else { vec![deed.into()] };
    let (make, open) = (words("make"), words("open"));
    let spell: fn(&Telegram) -> Option<String> = |telegram| Some(gotd::to_json(telegram));
    let spell = (!makes_files).then_some(spell);
    Library { name, program, make, open, makes_files, spell }
}

/// The libraries that are there. Says which are not.
fn installed() -> Vec<Library> {
    let modules = tool("TELEGATE_TEST_NODE_MODULES", "node/node_modules");
    let all = [
        python("telethon", "TELEGATE_TEST_PYTHON", "python", "telethon"),
        python("telethon 1.36", "TELEGATE_TEST_PYTHON_OLD", "python-old", "telethon"),
        python("pyrogram", "TELEGATE_TEST_PYTHON_PYROGRAM", "python-pyrogram", "pyrogram"),
        python("kurigram", "TELEGATE_TEST_PYTHON_KURIGRAM", "python-kurigram", "pyrogram"),
        python("hydrogram", "TELEGATE_TEST_PYTHON_HYDROGRAM", "python-hydrogram", "pyrogram"),
        node("gramjs", |telegram| Some(gramjs::to_string(telegram))),
        node("mtcute", |telegram| Some(mtcute::to_string(telegram))),
        program("gotd", false),
        program("grammers", true),
    ];
    let there = |library: &Library| match library.name {
        "gramjs" => modules.join("telegram").is_dir(),
        "mtcute" => modules.join("@mtcute/core").is_dir(),
        _ => library.program.is_file(),
    };
    let (here, missing): (Vec<_>, Vec<_>) = all.into_iter().partition(there);
    for library in missing {
        let said = format!("{} is not installed; see `make tools`", library.name);
        assert!(!nothing_may_be_skipped(), "{said}");
        eprintln!("skipped: {said}");
    }
    here
}

impl Library {
    fn run(&self, words: &[PathBuf], last: Option<&Path>, input: &str) -> String {
        let mut child = Command::new(&self.program)
            .args(words)
            .args(last)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{}: {said}", self.name);
        String::from_utf8(done.stdout).unwrap()
    }

    /// Lets the library make sessions, and reads each, as a file and as a string.
    fn made(&self) -> Vec<Made> {
        let folder = folder();
        let made = self.run(&self.make, self.makes_files.then(|| folder.path()), "");
        let made: Value = serde_json::from_str(&made).unwrap();
        println!("{} {}", self.name, made["version"].as_str().unwrap());
        let sessions = made["sessions"].as_array().unwrap();
        let made = sessions.iter().map(|told| {
            let file = told["file"].as_str().map(|file| folder.path().join(file));
            let file = file.or_else(|| {
                let path = folder.path().join("session.json");
                std::fs::write(&path, told["json"].as_str()?).unwrap();
                Some(path)
            });
            let from_file = file.map(|file| read(&file).unwrap());
            let string = told["string"].as_str();
            let from_string = string.map(|string| read_text(string).unwrap().telegram);
            if let (Some(file), Some(string)) = (&from_file, &from_string) {
                assert!(key_and_place(file) == key_and_place(string), "{}", self.name);
            }
            let telegram = from_string.or(from_file).expect("a file or a string");
            Made { library: self.name, told: told.clone(), telegram }
        });
        made.collect()
    }

    /// What the library finds in strings.
    fn opened(&self, strings: &[String]) -> Vec<Value> {
        let input = strings.join(
            "
",
        ) + "
";
        let lines = self.run(&self.open, None, &input);
        let opened: Vec<_> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(opened.len(), strings.len(), "{}", self.name);
        opened
    }
}

fn key_and_place(telegram: &Telegram) -> (u8, bool, &[u8], Option<i64>, Option<i32>) {
    let Telegram { dc_id, test, auth_key, user_id, api_id, .. } = telegram;
    (*dc_id, *test, auth_key, *user_id, *api_id)
}

/// Checks that what was read or opened says what the library said that it made.
fn check(told: &Value, found: &Value, what: &str) {
    for field in ["dc_id", "auth_key", "test", "user_id", "is_bot", "api_id"] {
        if let (Some(told), Some(found)) = (told.get(field), found.get(field)) {
            assert_eq!(told, found, "{what}: {field}");
        }
    }
}

fn seen(telegram: &Telegram) -> Value {
    let mut seen = serde_json::json!({
        "dc_id": telegram.dc_id,
        "test": telegram.test,
        "auth_key": hex(&telegram.auth_key),
    });
    for (field, value) in [
        ("user_id", telegram.user_id.map(Value::from)),
        ("is_bot", telegram.is_bot.map(Value::from)),
        ("api_id", telegram.api_id.map(Value::from)),
    ] {
        if let Some(value) = value {
            seen[field] = value;
        }
    }
    seen
}

#[test]
fn what_any_library_writes_every_library_opens() {
    let libraries = installed();
    let mut made: Vec<Made> = libraries.iter().flat_map(Library::made).collect();
    made.extend(made_of_tdata());
    for session in &made {
        check(&session.told, &seen(&session.telegram), session.library);
        if let Some(id) = session.told["auth_key_id"].as_str() {
            let credential = Credential::Telegram(session.telegram.clone());
            assert_eq!(credential.fingerprint().as_str(), id);
        }
    }
    let mut writers: Vec<_> = made.iter().map(|one| one.library).collect();
    writers.dedup();
    let mut rows = vec![format!("{:22}", "from \\ to")];
    rows.extend(writers.iter().map(|from| format!("{from:22}")));
    for to in &libraries {
        let Some(form) = to.spell else { continue };
        let spelt: Vec<_> =
            made.iter().filter_map(|one| Some((one, form(&one.telegram)?))).collect();
        let strings: Vec<_> = spelt.iter().map(|(_, string)| string.clone()).collect();
        for ((session, _), opened) in spelt.iter().zip(to.opened(&strings)) {
            let what = format!("{} to {}", session.library, to.name);
            check(&seen(&session.telegram), &opened, &what);
            if let (Some(address), Some(wanted)) =
                (opened["address"].as_str(), session.telegram.address)
            {
                assert_eq!(address, wanted.ip().to_string(), "{what}");
            }
        }
        let _ = write!(rows[0], "{:>14}", to.name);
        for (from, row) in writers.iter().zip(&mut rows[1..]) {
            let all = made.iter().filter(|one| one.library == *from).count();
            let good = spelt.iter().filter(|(one, _)| one.library == *from).count();
            let _ = write!(row, "{:>14}", format!("{good} of {all}"));
        }
    }
    println!("{}", rows.join("\n"));
    for session in &made {
        let from_pyrogram = session.told.get("api_id").is_some();
        assert_eq!(pyrogram_string(&session.telegram).is_some(), from_pyrogram);
    }
}

/// What the writers of tdata made: one row each.
fn made_of_tdata() -> Vec<Made> {
    let root = folder();
    let mut made = Vec::new();
    for (library, told) in crate::tdata::written(root.path()) {
        for told in told["folders"].as_array().unwrap() {
            let path = root.path().join(library).join(told["folder"].as_str().unwrap());
            let passcode = Passcode::new(told["passcode"].as_str().unwrap().to_owned());
            let accounts = read_folder(&Folder(&path), &passcode).unwrap();
            for (account, told) in accounts.into_iter().zip(told["accounts"].as_array().unwrap()) {
                let telegram = account.read.unwrap().telegram;
                made.push(Made { library, told: told.clone(), telegram });
            }
        }
    }
    made
}

#[test]
fn a_session_that_telethon_never_logged_in_is_refused() {
    for library in installed().iter().filter(|library| library.name.starts_with("telethon")) {
        let folder = folder();
        library.run(&library.make, Some(folder.path()), "");
        assert_eq!(read(&folder.path().join("empty.session")), Err(Fault::NotLoggedIn));
    }
}
