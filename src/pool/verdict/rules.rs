//! The form of a rule: what it matches and what it rules.

use super::{Action, Capability, OtherSession, Reach, Report, pattern, table::RULES};
use crate::pool::Span;

/// One row of the table of rules.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its id, for verdicts, metrics and `explain`.
    pub id: &'static str,
    /// Patterns of canonical names, anchored: `*` is any run, `(A|B)` a choice.
    pub names: &'static [&'static str],
    /// The codes that it is for.
    pub codes: Codes,
    /// What it rules.
    pub ruling: Ruling,
    /// What it rules instead in special cases; the first that fits.
    pub except: &'static [(When, Ruling)],
}

/// What a rule says should be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What to do.
    pub action: Action,
    /// What it is about.
    pub place: Place,
    /// Whose sessions it concerns.
    pub reach: Reach,
    /// How long to wait.
    pub wait: Wait,
    /// Whether another session would help.
    pub other: OtherSession,
    /// Why, in one sentence.
    pub why: &'static str,
}

/// The codes that a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// Every code, and none.
    Any,
    /// These.
    These(&'static [i32]),
    /// No code was reported.
    Missing,
    /// The server's own faults: 500 and above, below zero, or not reported.
    Server,
}

/// What a ruling is about, before a report fills in the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The request alone: nothing of the session is closed.
    Request,
    /// The whole session.
    Session,
    /// The method; when the report does not name it, the whole session.
    Method,
    /// The method; when the report does not name it, the capability.
    MethodOr(Capability),
    /// The chat or user; when the report does not name it, the method, and then the session.
    Peer,
    /// A kind of deed.
    Capability(Capability),
    /// The way out to Telegram.
    Egress,
}

/// Where the length of a wait comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// There is none, or its end is not known.
    Unknown,
    /// The argument, in seconds, and a margin.
    Seconds {
        /// What is added: Telegram rounds some waits down.
        margin: Span,
    },
    /// The argument, in minutes.
    Minutes,
    /// The argument: a Unix date when it is above a thousand million, else seconds.
    DateOrSeconds,
    /// Always the same.
    Fixed(Span),
    /// The first time so long; whoever meets it again doubles it, up to the most.
    Growing {
        /// The first wait.
        first: Span,
        /// The longest wait.
        most: Span,
    },
}

/// A special case of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The name is this one.
    Named(&'static str),
    /// The data centre that answered is not the session's home.
    AwayFromHome,
    /// The method waits for a bot's answer.
    AskingABot,
}

/// Methods, in small letters, that wait for a bot's answer: their timeout is the bot's.
const ASKING_A_BOT: &str = "*get(botcallbackanswer|inlinebotresults)*";

impl Rule {
    /// The rules, in order: the first that matches decides.
    #[must_use]
    pub fn all() -> &'static [Self] {
        RULES
    }

    /// The rule for a canonical name and a code. The last rule matches everything.
    #[must_use]
    pub fn find(name: &str, code: i32) -> &'static Self {
        let matching = RULES.iter().find(|rule| rule.codes.fit(code) && rule.fits(name));
        matching.unwrap_or(&RULES[RULES.len() - 1])
    }

    /// Whether it is a default for a code, for names that no rule knows.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.names == ["*"]
    }

    fn fits(&self, name: &str) -> bool {
        self.names.iter().any(|pattern| pattern::matches(pattern, name))
    }

    /// What it rules about a report.
    pub(super) fn ruling(&self, name: &str, method: &str, report: &Report) -> Ruling {
        let holds = |when: &When| match when {
            When::Named(special) => *special == name,
            When::AwayFromHome => {
                report.dc != 0 && report.home_dc != 0 && report.dc != report.home_dc
            }
            When::AskingABot => pattern::matches(ASKING_A_BOT, &method.to_ascii_lowercase()),
        };
        let special = self.except.iter().find(|(when, _)| holds(when));
        special.map_or(self.ruling, |(_, ruling)| *ruling)
    }
}

impl Codes {
    fn fit(self, code: i32) -> bool {
        match self {
            Self::Any => true,
            Self::These(codes) => codes.contains(&code),
            Self::Missing => code == 0,
            Self::Server => code <= 0 || code >= 500,
        }
    }
}
