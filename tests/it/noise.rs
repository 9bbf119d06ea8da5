//! Noise: whatever bytes come, parsers say what is wrong, never panic, never believe half a thing,
//! and never take more memory than their limits. Seeded, so that a failure can be repeated.

use std::{
    fs,
    io::{Cursor, Write as _},
    path::Path,
    process::Command,
};

use telegate::{
    credential::{Folder, Passcode, gotd, gramjs, mtcute, read_folder, telethon},
    inventory::{Item, Manifest, Naming, Sources, Ways, from_memory},
    proto::v1::ImportOutcome,
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    formats::pyrogram_file,
    import::{folder, made_up_key, read, telethon_file},
    model::dice::Dice,
    tdata::{Desktop, User},
};

const SEED: u64 = 0x0bad_5eed;

/// Numbers below a bound, from a seed that is printed when a test fails.
struct Noise(Dice);

impl Noise {
    fn new() -> Self {
        let seed = std::env::var("TELEGATE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(SEED);
        println!("TELEGATE_SEED={seed}");
        Self(Dice::new(seed))
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.below(bound as u64)).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most);
        (0..length).map(|_| self.byte()).collect()
    }

    /// Changes a few bytes, cuts some off, or doubles some.
    fn change(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            match self.below(9) {
                0 => bytes.truncate(at),
                1 => {
                    let piece = bytes[at..].iter().take(40).copied().collect::<Vec<_>>();
                    bytes.splice(at..at, piece);
                }
                2 => bytes.extend(self.bytes(40)),
                // Lengths and counts are where it hurts.
                3 => bytes[at] = 0xff,
                4 => bytes[at] = 0,
                _ => bytes[at] = self.byte(),
            }
        }
        bytes
    }
}

/// Checks that what was read can be lent. Tells how many could be.
fn sound(items: &[Item]) -> usize {
    let entries: Vec<_> = items.iter().filter_map(|item| item.read.as_ref().ok()).collect();
    for entry in &entries {
        assert_eq!(entry.telegram.auth_key.len(), 256);
        assert!((1..=5).contains(&entry.telegram.dc_id));
    }
    for item in items.iter().filter(|item| item.read.is_err()) {
        let said = item.read.as_ref().unwrap_err().to_string();
        assert!(said.len() < 500, "{said}");
    }
    entries.len()
}

/// A file of each kind, as somebody may send it.
fn good_files() -> Vec<(&'static str, Vec<u8>)> {
    let place = folder();
    let at = |name: &str| place.path().join(name);
    telethon_file(&at("t"), 2, &made_up_key(1));
    drop(pyrogram_file(&at("p"), 7, &made_up_key(2)));
    let telegram = read(&at("t")).unwrap();
    let strings = [telethon::to_string(&telegram), gramjs::to_string(&telegram)].join("\n");
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    Desktop::of(User::Wide(42), 4, &made_up_key(3)).write(&at("tdata"));
    let sidecar = br#"{"app_id": 4, "proxy": [3, "10.0.0.1", 8080, true, "u", "p"], "uid": 7}"#;
    for (name, bytes) in [
        ("a/tdata/key_datas", fs::read(at("tdata/key_datas")).unwrap()),
        ("a/tdata/D877F783D5D3EF8Cs", fs::read(at("tdata/D877F783D5D3EF8Cs")).unwrap()),
        ("b/b.session", fs::read(at("t")).unwrap()),
        ("b/b.json", sidecar.to_vec()),
        ("c.json", gotd::to_json(&telegram).into_bytes()),
        ("d.txt", strings.clone().into_bytes()),
    ] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    vec![
        ("t.session", fs::read(at("t")).unwrap()),
        ("p.session", fs::read(at("p")).unwrap()),
        ("g.json", gotd::to_json(&telegram).into_bytes()),
        ("s.txt", strings.into_bytes()),
        ("m.session", mtcute::to_string(&telegram).into_bytes()),
        ("z.zip", zip.finish().unwrap().into_inner()),
    ]
}

/// Puts good files where `make fuzz` begins.
fn sow(corpus: &Path, good: &[(&'static str, Vec<u8>)]) {
    for (name, bytes) in good {
        let texts =
            if *name == "s.txt" { bytes.split(|byte| *byte == b'\n').collect() } else { vec![] };
        let pieces = [("file", vec![&bytes[..]]), ("text", texts)];
        for (target, pieces) in pieces {
            let folder = corpus.join(target);
            fs::create_dir_all(&folder).unwrap();
            for (number, piece) in pieces.iter().enumerate() {
                fs::write(folder.join(format!("{number}-{name}")), piece).unwrap();
            }
        }
    }
}

#[test]
fn no_file_that_is_sent_makes_a_parser_panic_or_believe_half_a_key() {
    let good = good_files();
    if let Some(corpus) = std::env::var_os("TELEGATE_CORPUS") {
        sow(Path::new(&corpus), &good);
    }
    let mut noise = Noise::new();
    let mut read = 0;
    for round in 0..1500 {
        let (name, bytes) = &good[round % good.len()];
        let bytes = noise.change(bytes);
        read += sound(&from_memory(name, bytes, &Ways::default()));
    }
    assert!(read > 200, "only {read} could be read");
    // Noise behind the first bytes that tell what it is.
    for start in [&b"SQLite format 3\0"[..], b"PK\x03\x04", b"{", b"TDF$", b"1", b"\x03", b""] {
        for _ in 0..100 {
            let bytes = [start, &noise.bytes(2000)].concat();
            assert_eq!(sound(&from_memory("x.session", bytes, &Ways::default())), 0);
        }
    }
}

#[test]
fn no_folder_of_telegram_desktop_makes_its_parser_panic() {
    let place = folder();
    let mut noise = Noise::new();
    let good = Desktop::of(User::Wide(42), 4, &made_up_key(1));
    let path = place.path().join("tdata");
    let authorization = good.authorization();
    let mut read = 0;
    for round in 0..300 {
        // What is inside is changed, and sealed rightly; or what is outside.
        let inside = round % 2 == 0;
        let raw = inside.then(|| noise.change(&authorization));
        Desktop { raw, ..good.clone() }.write(&path);
        if !inside {
            let file = path.join(["key_datas", "D877F783D5D3EF8Cs"][round / 2 % 2]);
            let changed = noise.change(&fs::read(&file).unwrap());
            fs::write(&file, changed).unwrap();
        }
        for account in read_folder(&Folder(&path), &Passcode::default()).unwrap_or_default() {
            if let Ok(found) = account.read {
                assert_eq!(found.telegram.auth_key.len(), 256);
                assert!((1..=5).contains(&found.telegram.dc_id));
                read += 1;
            }
        }
    }
    assert!(read > 20, "only {read} could be read");
}

#[test]
fn no_sidecar_and_no_manifest_makes_its_parser_panic() {
    let place = folder();
    let at = |name: &str| place.path().join(name);
    telethon_file(&at("a.session"), 2, &made_up_key(1));
    let sidecar = br#"{"app_id": 4, "device": "Pixel", "twoFA": "x", "phone": "+1", "user_id": 7,
        "proxy": {"type": 2, "host": "h", "port": 9}, "lang_pack": "en", "session_string": "1A"}"#;
    let toml =
        b"[[rules]]\nfiles = [\"*\", \"de/**\"]\nlabels = { a = \"b\" }\nproxy = [2, \"h\", 9]\n";
    let json = br#"{"rules": [{"files": "*", "labels": {"a": "b"}, "api_id": 4}]}"#;
    let mut noise = Noise::new();
    for _ in 0..500 {
        fs::write(at("a.json"), noise.change(sidecar)).unwrap();
        let items =
            Sources::new(&[at("a.session")]).flat_map(|source| source.read(&Ways::default()));
        let items: Vec<_> = items.collect();
        assert_eq!(items.len(), 1);
        sound(&items);
        for (name, good) in [("m.toml", &toml[..]), ("m.json", json)] {
            fs::write(at(name), noise.change(good)).unwrap();
            if let Err(why) = Manifest::read(&at(name)) {
                assert!(why.len() < 2000, "{why}");
            }
        }
    }
}

/// Runs the command with so much memory, in KiB.
fn limited(place: &Path, kib: usize) -> std::process::Output {
    Command::new("sh")
        .args(["-c", &format!("ulimit -v {kib}; exec \"$0\" import \"$1\" --pool p --dry-run")])
        .args([env!("CARGO_BIN_EXE_telegate").as_ref(), place.as_os_str()])
        .output()
        .unwrap()
}

#[test]
fn bombs_take_no_more_memory_than_a_session() {
    let place = folder();
    telethon_file(&place.path().join("good.session"), 2, &made_up_key(1));
    let zeros = || std::io::Read::take(std::io::repeat(0), 48 << 20);
    let file = fs::File::create(place.path().join("bomb.zip")).unwrap();
    let mut zip = ZipWriter::new(file);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .large_file(true);
    zip.start_file("bomb.session", options).unwrap();
    zip.write_all(b"SQLite format 3\0").unwrap();
    std::io::copy(&mut zeros(), &mut zip).unwrap();
    zip.finish().unwrap();
    // Sparse files of a terabyte: a database, a text, a sidecar, a part of tdata.
    fs::create_dir(place.path().join("tdata")).unwrap();
    for (name, start) in [
        ("huge.session", &b"SQLite format 3\0"[..]),
        ("huge.txt", b"1"),
        ("good.json", b"{"),
        ("tdata/key_datas", b"TDF$"),
    ] {
        let mut file = fs::File::create(place.path().join(name)).unwrap();
        file.write_all(start).unwrap();
        file.set_len(if name == "huge.txt" { 1 << 30 } else { 1 << 40 }).unwrap();
    }
    let said = limited(place.path(), 1 << 20);
    let out = String::from_utf8_lossy(&said.stdout);
    assert_eq!(said.status.code(), Some(1), "{out}{}", String::from_utf8_lossy(&said.stderr));
    for wanted in [
        "bomb.zip: bomb.session  It is an archive that is not taken: a file in it is packed far",
        "huge.session  It has more than",
        "good.session  The sidecar beside it (good.json) cannot be read: It has more than",
        "tdata  It has more than",
    ] {
        assert!(out.contains(wanted), "{wanted}: {out}");
    }
    let mut naming = Naming::default();
    let rows = Sources::new(&[place.path().join("bomb.zip")])
        .flat_map(|source| source.read(&Ways::default()))
        .map(|item| naming.place(item).0.outcome());
    assert_eq!(rows.collect::<Vec<_>>(), [ImportOutcome::Refused]);
}
