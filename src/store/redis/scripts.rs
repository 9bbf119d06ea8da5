//! The script table: one Lua file per verb, each after the pieces that it needs.

use super::options::{ClockSource, Shortcut};

const STANDING: &str = include_str!("lua/standing.lua");
const SETTLE: &str = include_str!("lua/settle.lua");
const VIEW: &str = include_str!("lua/view.lua");
const TAKE_OUT: &str = concat!(include_str!("lua/tell.lua"), include_str!("lua/take_out.lua"));
const COUNTS: &str = include_str!("lua/counts.lua");
const RECORD: &str = include_str!("lua/record.lua");
const HELD: &str = include_str!("lua/held.lua");
const EFFECT: &str = include_str!("lua/effect.lua");
const EXTEND: &str = include_str!("lua/extend.lua");
const EACH: &str = include_str!("lua/each.lua");
const RUNNING: &str = include_str!("lua/running.lua");
const TELL: &str = include_str!("lua/tell.lua");
const SELECTOR: &str = include_str!("lua/selector.lua");
const SCOPES: &str = include_str!("lua/scopes.lua");
const LINE: &str = include_str!("lua/line.lua");
const CHOOSE: &str = include_str!("lua/choose.lua");
const GRANT: &str = include_str!("lua/grant.lua");
const LEND: &str = include_str!("lua/lend.lua");
const PARTS: &str = include_str!("lua/parts.lua");
const PLAIN: &str = concat!(include_str!("lua/parts.lua"), include_str!("lua/plain.lua"));
const PLACE: &str = include_str!("lua/place.lua");
const QUEUE: &str = concat!(include_str!("lua/tell.lua"), include_str!("lua/queue.lua"));

/// What serving the line needs.
const SERVING: [&str; 8] = [VIEW, COUNTS, SELECTOR, SCOPES, LINE, CHOOSE, GRANT, QUEUE];
/// The verbs that share runs, as `lua/many.lua` names them.
const GATHERED: [(Verb, &str); 3] =
    [(Verb::Acquire, "acquire"), (Verb::Enqueue, "enqueue"), (Verb::Release, "release")];
/// What makes the choice come out of `seldom()`.
const CHOICE: &str = "return choose\n";

/// What a script is made of.
struct Text {
    /// What comes before the verb.
    pieces: &'static [&'static str],
    /// What a plain call does not need. Lua makes all functions of a script anew for every call,
    /// which costs more than some verbs, so the verb makes these when it first calls `seldom()`;
    /// that gives what the last of them returns.
    seldom: &'static [&'static str],
    verb: &'static str,
}

macro_rules! verbs {
    ($(
        $(#[$doc:meta])*
        $verb:ident = [$($piece:ident),*] $(seldom [$($rare:ident),*])? $file:literal
    ),+ $(,)?) => {
        /// What a script does; the names are those of [`crate::store::Store`], and of its steps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Verb {
            $($(#[$doc])* $verb),+
        }

        impl Verb {
            const ALL: &[Self] = &[$(Self::$verb),+];

            const fn text(self) -> Text {
                match self {
                    $(Self::$verb => Text {
                        pieces: &[$($piece),*],
                        seldom: &[$($($rare),*)?],
                        verb: include_str!(concat!("lua/", $file)),
                    }),+
                }
            }
        }
    };
}

verbs! {
    Acquire = [STANDING, SETTLE, GRANT, LEND]
        seldom [VIEW, COUNTS, SELECTOR, SCOPES, LINE, CHOOSE, CHOICE] "acquire.lua",
    /// An Acquire that an earlier one with the same secret may stand in line for.
    Collect = [STANDING, SETTLE, VIEW, COUNTS, SELECTOR, SCOPES, LINE, CHOOSE, GRANT, LEND, QUEUE]
        "collect.lua",
    Enqueue = [STANDING, SETTLE, GRANT, LEND]
        seldom [VIEW, COUNTS, SELECTOR, SCOPES, LINE, CHOOSE, QUEUE, PLACE] "enqueue.lua",
    Leave = [STANDING, SETTLE, VIEW, COUNTS, SELECTOR, SCOPES, LINE, CHOOSE, GRANT, QUEUE]
        "leave.lua",
    Tend = [STANDING, SETTLE, VIEW, COUNTS, SELECTOR, SCOPES, LINE, CHOOSE, GRANT, QUEUE]
        "tend.lua",
    ListWaiters = [STANDING, SETTLE] "list_waiters.lua",
    Explain = [STANDING, SETTLE] seldom [VIEW, COUNTS, SELECTOR, SCOPES, LINE, CHOOSE, CHOICE]
        "explain.lua",
    Undo = [STANDING, SETTLE] "undo.lua",
    Renew = [STANDING, SETTLE, HELD, EXTEND] "renew.lua",
    RenewAll = [STANDING, SETTLE, HELD, EXTEND, EACH] "renew_all.lua",
    InspectAll = [STANDING, SETTLE, HELD, EACH] "inspect_all.lua",
    AbandonAll = [STANDING, SETTLE, HELD, EACH] "abandon_all.lua",
    Release = [STANDING, SETTLE, HELD] seldom [VIEW, TAKE_OUT, EFFECT] "release.lua",
    Report = [STANDING, SETTLE, HELD] seldom [VIEW, TAKE_OUT, EFFECT] "report.lua",
    Afflict = [STANDING, SETTLE, HELD] seldom [VIEW, TAKE_OUT, EFFECT] "afflict.lua",
    ClearCoolDown = [STANDING, SETTLE, VIEW] "clear_cool_down.lua",
    Surrender = [STANDING, SETTLE, VIEW, HELD, TAKE_OUT] "surrender.lua",
    Invalidate = [STANDING, SETTLE, VIEW, TAKE_OUT] "invalidate.lua",
    Restore = [STANDING, SETTLE, VIEW] "restore.lua",
    Add = [STANDING, SETTLE, VIEW] "add.lua",
    UpdateSession = [STANDING, SETTLE, VIEW] "update_session.lua",
    Remove = [STANDING, SETTLE] "remove.lua",
    History = [STANDING, SETTLE, VIEW] "history.lua",
    ListLeases = [STANDING, SETTLE, RUNNING] "list_leases.lua",
    RevokeLeases = [STANDING, SETTLE, VIEW, COUNTS, SELECTOR, RUNNING, TELL] "revoke_leases.lua",
    GetSession = [STANDING, SETTLE, VIEW] "get_session.lua",
    ListSessions = [STANDING, SETTLE, VIEW] "list_sessions.lua",
    CreatePool = [STANDING, SETTLE, COUNTS, RECORD] "create_pool.lua",
    GetPool = [STANDING, SETTLE, COUNTS, RECORD] "get_pool.lua",
    UpdatePool = [STANDING, SETTLE, COUNTS, RECORD] "update_pool.lua",
    Reseal = [STANDING, SETTLE, VIEW] "reseal.lua",
    DeletePool = [STANDING, SETTLE] "delete_pool.lua",
    SetMode = [STANDING, SETTLE, COUNTS, RECORD] "set_mode.lua",
    Status = [STANDING, SETTLE, COUNTS, RECORD] "status.lua",
    /// Acquires, also those that wait, and Releases.
    Many = [STANDING, SETTLE, GRANT, LEND, HELD] "many.lua",
    /// What a server that has started anew is asked.
    Recall = [STANDING, VIEW] "recall.lua",
    /// A step of creating a pool.
    ListPool = [] "list_pool.lua",
    /// A step of deleting a pool.
    UnlistPool = [] "unlist_pool.lua",
    ListPools = [] "list_pools.lua",
    /// A step of adding or removing a session.
    Credential = [STANDING] "credential.lua",
    /// A step of adding a session.
    Claim = [] "claim.lua",
    /// A step of adding or removing a session.
    Unclaim = [] "unclaim.lua",
}

impl Verb {
    /// What `lua/many.lua` calls it, if calls of it share runs.
    pub(super) fn gathered(self) -> Option<&'static str> {
        GATHERED.iter().find_map(|(verb, name)| (*verb == self).then_some(*name))
    }
}

/// All scripts, as they are loaded. What is gathered has none of its own.
pub(super) struct Scripts(Vec<Option<Script>>);

/// A script as it is loaded.
pub(super) struct Script {
    pub(super) code: String,
    pub(super) sha: String,
}

impl Text {
    fn code(&self, verb: Verb, clock: &str, shortcut: Shortcut) -> String {
        let [standing, settle @ SETTLE, pieces @ ..] = self.pieces else {
            return [&[clock], self.pieces, &[self.verb]].concat().join("\n");
        };
        // What needs no rules comes before they are made.
        let first = match (verb, shortcut) {
            (Verb::Many, Shortcut::Taken) => PLAIN,
            (Verb::Many, Shortcut::Barred) => PARTS,
            _ => "",
        };
        // Whatever a verb does, it ends with serving those who wait for what it has freed.
        let mut code = format!(
            "{clock}\n{first}\n{standing}\n{settle}\nlocal serving = nil\n\
             local function serve_waiters()\n\
             if redis.call('EXISTS', WAITERS) == 0 then\nfreed = {{}}\nreturn\nend\n\
             if not serving then\n{}\nserving = serve\nend\nserving()\nend\n{}",
            SERVING.join("\n"),
            pieces.join("\n"),
        );
        if verb == Verb::Many {
            for (verb, name) in GATHERED {
                code += &verb.text().function(name, "ARGV");
            }
            return code + "\n" + self.verb;
        }
        code += &self.function("verb", "");
        code + "local answer = verb()\nserve_waiters()\nreturn answer\n"
    }

    /// The verb as a function, after what it seldom needs.
    fn function(&self, name: &str, arguments: &str) -> String {
        let (seldom, verb) = (self.seldom.join("\n"), self.verb);
        let seldom = match self.seldom {
            [] => String::new(),
            _ => format!(
                "local made = nil\nlocal function make()\n{seldom}end\n\
                 local function seldom()\nmade = made or make()\nreturn made\nend\n"
            ),
        };
        format!("\nlocal {name}\ndo\n{seldom}{name} = function({arguments})\n{verb}\nend\nend\n")
    }
}

impl Scripts {
    pub(super) fn new(clock: ClockSource, shortcut: Shortcut) -> Self {
        let clock = match clock {
            ClockSource::Server => include_str!("lua/clock_server.lua"),
            ClockSource::Key => include_str!("lua/clock_key.lua"),
        };
        let script = |verb: &Verb| {
            if verb.gathered().is_some() {
                return None;
            }
            let code = bare(&verb.text().code(*verb, clock, shortcut));
            let sha = redis::Script::new(&code).get_hash().to_owned();
            Some(Script { code, sha })
        };
        Self(Verb::ALL.iter().map(script).collect())
    }

    pub(super) fn sha(&self, verb: Verb) -> &str {
        self.0[verb as usize].as_ref().map_or("", |script| &script.sha)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Script> {
        self.0.iter().flatten()
    }

    /// What a connection needs to be of use. Reading all scripts takes a new server longer than all
    /// else that a start does.
    pub(super) fn first(&self) -> impl Iterator<Item = &Script> {
        [Verb::Recall, Verb::Many].into_iter().filter_map(|verb| self.0[verb as usize].as_ref())
    }
}

/// A script without comments and indents, which no server needs; the lines keep their numbers.
fn bare(code: &str) -> String {
    let lines = code.lines().map(|line| line.split("--").next().unwrap_or_default().trim());
    lines.fold(String::with_capacity(code.len()), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_verb_has_a_file_of_its_own() {
        let files: BTreeSet<_> = Verb::ALL.iter().map(|verb| verb.text().verb).collect();
        assert_eq!(files.len(), Verb::ALL.len());
    }

    #[test]
    fn a_script_is_loaded_without_its_comments_and_keeps_its_lines() {
        assert_eq!(bare("-- Why.\n  local a = 'x'\nreturn a"), "\nlocal a = 'x'\nreturn a\n");
        let scripts = Scripts::new(ClockSource::Server, Shortcut::Taken);
        assert!(scripts.iter().all(|script| !script.code.contains("--")));
    }

    #[test]
    fn the_clock_of_tests_is_in_no_script_of_production() {
        for script in Scripts::new(ClockSource::Server, Shortcut::Taken).iter() {
            assert!(!script.code.contains("KEYS[#KEYS]"), "{}", script.code);
            assert_eq!(script.code.matches("'TIME'").count(), 1);
        }
        for script in Scripts::new(ClockSource::Key, Shortcut::Taken).iter() {
            assert!(!script.code.contains("'TIME'"), "{}", script.code);
        }
    }

    #[test]
    fn no_script_names_what_nothing_before_declares() {
        assert_eq!(unknown("local a = 1\nlocal function f(b) return a + b.c .. d end"), ["d"]);
        assert_eq!(unknown("-- g\nfor i, k in pairs({ e = 'h' }) do i = k[j] end"), ["j"]);
        for verb in Verb::ALL {
            let code =
                verb.text().code(*verb, include_str!("lua/clock_server.lua"), Shortcut::Taken);
            assert_eq!(unknown(&code), [""; 0], "{verb:?}");
        }
    }

    /// The names in a script that nothing before them declares; Lua tells only when it gets there.
    fn unknown(code: &str) -> Vec<String> {
        const KNOWN: &str = "and break do else elseif end false for function if in local nil not \
                             or repeat return then true until while assert ipairs pairs pcall \
                             select tonumber tostring type unpack math string struct table \
                             redis cmsgpack KEYS ARGV";
        let words = words(code);
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        let mut declared: BTreeSet<&str> = KNOWN.split(' ').collect();
        let (mut unknown, mut at) = (Vec::new(), 0);
        while at < words.len() {
            let (before, this, next) = (word(at.wrapping_sub(1)), word(at), word(at + 1));
            at += 1;
            let opens = match (this, next) {
                ("local", "function") => false,
                ("local" | "for", _) => true,
                ("function", _) => {
                    if before == "local" {
                        declared.insert(next);
                    }
                    at += words[at..].iter().take_while(|word| *word != "(").count() + 1;
                    true
                }
                _ => false,
            };
            while opens && is_name(word(at)) {
                declared.insert(word(at));
                at += if word(at + 1) == "," { 2 } else { 1 };
            }
            let is_key = next == "=" && ["{", ","].contains(&before);
            if is_name(this) && before != "." && !is_key && !declared.contains(this) {
                unknown.push(this.to_owned());
            }
        }
        unknown
    }

    /// The words and signs of a script, without comments and texts.
    fn words(code: &str) -> Vec<String> {
        let mut words = Vec::new();
        for mut rest in code.lines() {
            while let Some(first) = rest.chars().next().filter(|_| !rest.starts_with("--")) {
                let len = match first {
                    '\'' => 2 + rest[1..].find('\'').expect("a text that ends"),
                    '.' | '=' => rest.len() - rest.trim_start_matches(first).len(),
                    _ if is_name(rest) => {
                        let is_part = |c: char| c.is_alphanumeric() || c == '_';
                        rest.len() - rest.trim_start_matches(is_part).len()
                    }
                    _ => first.len_utf8(),
                };
                let (word, after) = rest.split_at(len);
                if !word.trim().is_empty() && first != '\'' {
                    words.push(word.to_owned());
                }
                rest = after;
            }
        }
        words
    }

    fn is_name(word: &str) -> bool {
        word.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}
