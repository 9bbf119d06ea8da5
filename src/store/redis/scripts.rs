//! The script table: one Lua file per verb, each after the pieces that it needs.

use super::options::ClockSource;

const STANDING: &str = include_str!("lua/standing.lua");
const COUNTS: &str = include_str!("lua/counts.lua");
const HELD: &str = include_str!("lua/held.lua");
const SELECTOR: &str = include_str!("lua/selector.lua");

macro_rules! verbs {
    ($($(#[$doc:meta])* $verb:ident = [$($piece:ident),*] $file:literal),+ $(,)?) => {
        /// What a script does; the names are those of [`crate::store::Store`], and of its steps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Verb {
            $($(#[$doc])* $verb),+
        }

        impl Verb {
            const ALL: &[Self] = &[$(Self::$verb),+];

            const fn text(self) -> (&'static [&'static str], &'static str) {
                match self {
                    $(Self::$verb => (&[$($piece),*], include_str!(concat!("lua/", $file)))),+
                }
            }
        }
    };
}

verbs! {
    Acquire = [STANDING, COUNTS, SELECTOR] "acquire.lua",
    Undo = [STANDING] "undo.lua",
    Renew = [STANDING, HELD] "renew.lua",
    Release = [STANDING, HELD] "release.lua",
    Surrender = [STANDING, HELD] "surrender.lua",
    Invalidate = [STANDING] "invalidate.lua",
    Restore = [STANDING] "restore.lua",
    Add = [STANDING] "add.lua",
    Remove = [STANDING] "remove.lua",
    GetSession = [STANDING] "get_session.lua",
    ListSessions = [STANDING] "list_sessions.lua",
    CreatePool = [STANDING, COUNTS] "create_pool.lua",
    GetPool = [STANDING, COUNTS] "get_pool.lua",
    UpdatePool = [STANDING, COUNTS] "update_pool.lua",
    DeletePool = [STANDING] "delete_pool.lua",
    SetMode = [STANDING, COUNTS] "set_mode.lua",
    Status = [STANDING, COUNTS] "status.lua",
    /// What a server that has started anew is asked.
    Recall = [STANDING] "recall.lua",
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

/// All scripts, as they are loaded.
pub(super) struct Scripts(Vec<Script>);

/// A script as it is loaded.
pub(super) struct Script {
    pub(super) code: String,
    pub(super) sha: String,
}

impl Scripts {
    pub(super) fn new(clock: ClockSource) -> Self {
        let clock = match clock {
            ClockSource::Server => include_str!("lua/clock_server.lua"),
            ClockSource::Key => include_str!("lua/clock_key.lua"),
        };
        let script = |verb: &Verb| {
            let (pieces, body) = verb.text();
            let code = [&[clock], pieces, &[body]].concat().join("\n");
            let sha = redis::Script::new(&code).get_hash().to_owned();
            Script { code, sha }
        };
        Self(Verb::ALL.iter().map(script).collect())
    }

    pub(super) fn sha(&self, verb: Verb) -> &str {
        &self.0[verb as usize].sha
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Script> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_verb_has_a_script_of_its_own() {
        let scripts = Scripts::new(ClockSource::Server);
        let shas: BTreeSet<_> = Verb::ALL.iter().map(|verb| scripts.sha(*verb)).collect();
        assert_eq!(shas.len(), Verb::ALL.len());
    }

    #[test]
    fn the_clock_of_tests_is_in_no_script_of_production() {
        for script in Scripts::new(ClockSource::Server).iter() {
            assert!(!script.code.contains("KEYS[#KEYS]"), "{}", script.code);
            assert_eq!(script.code.matches("'TIME'").count(), 1);
        }
        for script in Scripts::new(ClockSource::Key).iter() {
            assert!(!script.code.contains("'TIME'"), "{}", script.code);
        }
    }
}
