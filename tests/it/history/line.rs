//! What must hold of those who wait: their order, that nobody waits in vain, that nobody who has
//! gone is lent anything, and that what cools down is left alone.
//!
//! A caller knows when it asked and when it was answered, and a watcher sees now and then who
//! stands in line. An order counts only where both say the same, and where the world was whole:
//! whoever was cut off has lost its place.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use telegate::pool::HAND_OVER;

/// How much later than it must a slow machine may do something.
const SLACK: Duration = Duration::from_secs(3);
/// How long after a blow the world is not whole yet.
const RECOVERY: Duration = Duration::from_secs(4);
/// For how long a broker may be unable to tell that somebody has gone.
const UNTOLD: Duration = Duration::from_secs(15);
/// How far the callers' clock and the store's may be apart.
const CLOCKS: Duration = Duration::from_millis(10);
/// After how long one of a class counts as of the next better one; shares are judged before that.
const AGEING: Duration = Duration::from_secs(30);

/// Everything that callers, a watcher and a breaker of things wrote down. Times are since the
/// beginning.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) waits: Vec<Wait>,
    pub(crate) looks: Vec<Look>,
    /// What was told of cool-downs, by reports.
    pub(crate) promises: Vec<CoolDown>,
    pub(crate) uses: Vec<Use>,
    /// From when until when something was broken.
    pub(crate) blows: Vec<(Duration, Duration)>,
    /// When brokers were killed, with all that they still had to tell.
    pub(crate) kills: Vec<Duration>,
}

/// A call that may wait, as its caller saw it.
#[derive(Clone, Debug)]
pub(crate) struct Wait {
    /// Unique; its purpose, as the watcher sees it.
    pub(crate) name: String,
    /// Which sessions would do.
    pub(crate) kind: String,
    /// Its class.
    pub(crate) class: i32,
    /// Who asked.
    pub(crate) key: String,
    pub(crate) sent: Duration,
    pub(crate) ended: Duration,
    pub(crate) end: End,
    /// Whether it went and came back to its place.
    pub(crate) came_back: bool,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A lease that was handed over, or granted, at this moment of the store's clock.
    Granted(Duration),
    /// Its wait ran out, or it was refused.
    Refused,
    /// Its caller hung up.
    Gone,
    /// The world broke under it.
    CutOff,
}

/// One look at a pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    pub(crate) asked: Duration,
    pub(crate) answered: Duration,
    /// Who waits.
    pub(crate) waiting: Vec<String>,
    /// Which sessions are free, and of which kind.
    pub(crate) free: Vec<(String, String)>,
    /// Which sessions are held.
    pub(crate) held: Vec<Holding>,
    /// What cools down.
    pub(crate) cooling: Vec<CoolDown>,
}

/// A session that is held, as a watcher sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) session: String,
    /// The name of the call that was granted it.
    pub(crate) name: String,
    /// When that was, by the store's clock.
    pub(crate) granted: Duration,
}

/// That a scope of a session must be left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CoolDown {
    pub(crate) session: String,
    pub(crate) scope: String,
    /// When that was known.
    pub(crate) told: Duration,
    /// Until when, by the store's clock.
    pub(crate) until: Duration,
}

/// A lease for a scope of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) session: String,
    pub(crate) scope: String,
    /// When it was granted, by the store's clock.
    pub(crate) granted: Duration,
}

impl History {
    /// Everything that must not be.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = self.overtakings();
        faults.extend(self.greed());
        faults.extend(self.ghosts());
        faults.extend(self.lost_wake_ups());
        faults.extend(self.shortened());
        faults
    }

    /// How many pairs of calls were judged by their order: a checker that judges none finds none.
    pub(crate) fn judged(&self) -> usize {
        self.pairs().count()
    }

    /// Whether nothing was broken all the time.
    fn is_whole(&self, from: Duration, until: Duration) -> bool {
        self.blows.iter().all(|(began, over)| until < *began || *over + RECOVERY < from)
    }

    /// By when a call was certainly in the line.
    fn seen(&self) -> HashMap<&str, Duration> {
        let mut seen = HashMap::new();
        for look in &self.looks {
            for name in &look.waiting {
                seen.entry(name.as_str()).or_insert(look.answered);
            }
        }
        seen
    }

    /// Those who were certainly in the line before others of their sub-line had asked.
    fn pairs(&self) -> impl Iterator<Item = (&Wait, &Wait)> {
        let seen = self.seen();
        let mut lines = BTreeMap::<_, Vec<(&Wait, Option<Duration>)>>::new();
        for wait in &self.waits {
            let line = (&wait.kind, wait.class, &wait.key);
            lines.entry(line).or_default().push((wait, seen.get(wait.name.as_str()).copied()));
        }
        let mut pairs = Vec::new();
        for waits in lines.values() {
            for (first, seen) in waits.iter().filter(|(wait, _)| !wait.came_back) {
                let Some(seen) = *seen else { continue };
                let later = waits.iter().filter(|(other, _)| {
                    // Those who came later than it left are of no interest.
                    other.sent > seen && other.sent < first.ended && other.name != first.name
                });
                let whole = later
                    .filter(|(other, _)| self.is_whole(first.sent, first.ended.max(other.ended)));
                pairs.extend(whole.map(|(other, _)| (*first, *other)));
            }
        }
        pairs.into_iter()
    }

    /// Who was served before one that wanted the same, with the same right, and came earlier.
    fn overtakings(&self) -> Vec<String> {
        let overtakes = |(first, other): &(&Wait, &Wait)| match (first.end, other.end) {
            (End::Granted(at), End::Granted(sooner)) => sooner < at,
            // It left by itself, but was still there when the other was answered.
            (End::Gone, End::Granted(_)) => other.ended < first.ended,
            (End::Refused, End::Granted(_)) => other.ended + SLACK < first.ended,
            _ => false,
        };
        let tell = |(first, other)| format!("overtaken: {first:?} by {other:?}");
        self.pairs().filter(overtakes).map(tell).collect()
    }

    /// Keys that were served twice in a row while another waited for the same.
    fn greed(&self) -> Vec<String> {
        let seen = self.seen();
        let mut served = Vec::new();
        for wait in &self.waits {
            if let (End::Granted(at), Some(_)) = (wait.end, seen.get(wait.name.as_str())) {
                served.push((at, wait));
            }
        }
        served.sort_by_key(|(at, _)| *at);
        let mut faults = Vec::new();
        for pair in served.windows(2) {
            let [(before, one), (at, two)] = pair else { continue };
            let same = one.key == two.key && one.kind == two.kind && one.class == two.class;
            if !same || before == at || *at > two.sent + AGEING {
                continue;
            }
            let waits = |other: &&Wait| {
                let was_there = seen.get(other.name.as_str()).is_some_and(|seen| seen < before);
                other.kind == two.kind
                    && other.class == two.class
                    && other.key != two.key
                    && was_there
                    && !other.came_back
                    && matches!(other.end, End::Granted(later) if later > *at)
                    && self.is_whole(other.sent, other.ended)
                    && !self.had_its_turn(&other.key, *before, *at)
            };
            if let Some(other) = self.waits.iter().find(waits) {
                faults.push(format!("{one:?} and {two:?} were served, and there waited {other:?}"));
            }
        }
        faults
    }

    /// Whether a key may have been served between two moments, by whatever call of it: also by one
    /// that nobody saw in line, or that hung up before it heard of it.
    fn had_its_turn(&self, key: &str, from: Duration, until: Duration) -> bool {
        self.waits.iter().filter(|wait| wait.key == key).any(|wait| match wait.end {
            End::Granted(at) => (from..=until).contains(&at),
            End::Gone | End::CutOff => wait.sent < until && wait.ended + SLACK > from,
            End::Refused => false,
        })
    }

    /// Who has gone, and stands in line or is lent a session all the same.
    fn ghosts(&self) -> Vec<String> {
        let gone = self.waits.iter().filter(|wait| matches!(wait.end, End::Gone | End::Refused));
        // A broker that is killed right after tells nobody. Its waiters are passed over.
        let gone = gone.filter(|wait| {
            let soon = wait.ended..=wait.ended + UNTOLD;
            !self.kills.iter().any(|killed| soon.contains(killed))
        });
        let gone: HashMap<_, _> = gone.map(|wait| (wait.name.as_str(), wait)).collect();
        let mut faults = Vec::new();
        for look in &self.looks {
            let long_gone = |name: &str| {
                let wait = gone.get(name)?;
                let late = Duration::from_millis(HAND_OVER.0) + SLACK;
                // Whatever broke when it went: it leaves when all is well again.
                let is_late = look.asked > wait.ended + late;
                let since = look.asked.checked_sub(late)?;
                (is_late && self.is_whole(since, look.answered)).then_some(*wait)
            };
            for wait in look.waiting.iter().filter_map(|name| long_gone(name)) {
                faults.push(format!("at {:?} there waits {wait:?}", look.asked));
            }
            // An answer that crossed its caller's going is a lease until its TTL is over.
            for held in &look.held {
                let wait = gone.get(held.name.as_str()).filter(|wait| {
                    let late = Duration::from_millis(HAND_OVER.0) + SLACK;
                    let since = held.granted.checked_sub(late);
                    held.granted > wait.ended + late
                        && since.is_some_and(|since| self.is_whole(since, held.granted))
                });
                if let Some(wait) = wait {
                    faults.push(format!("{held:?} is lent to {wait:?}"));
                }
            }
        }
        faults
    }

    /// Who waited while a session that would do was free for longer than a hand-over takes.
    fn lost_wake_ups(&self) -> Vec<String> {
        let kinds: HashMap<_, _> =
            self.waits.iter().map(|wait| (wait.name.as_str(), wait.kind.as_str())).collect();
        let mut since = HashMap::<(&str, &str), Duration>::new();
        let mut faults = Vec::new();
        for look in &self.looks {
            let mut still = HashMap::new();
            for name in &look.waiting {
                let kind = kinds.get(name.as_str());
                for (session, of) in look.free.iter().filter(|(_, of)| Some(&of.as_str()) == kind) {
                    let began = since.get(&(name.as_str(), session.as_str())).copied();
                    let began = began.unwrap_or(look.answered);
                    still.insert((name.as_str(), session.as_str()), began);
                    let most = Duration::from_millis(HAND_OVER.0) + SLACK;
                    if look.asked > began + most && self.is_whole(began, look.answered) {
                        let at = look.asked;
                        faults.push(format!(
                            "{name} waits for {of} since {began:?}, and at {at:?} \
                                             {session} is free"
                        ));
                        still.remove(&(name.as_str(), session.as_str()));
                    }
                }
            }
            since = still;
        }
        faults
    }

    /// Cool-downs that did not last as long as was told. Whatever breaks, these must hold.
    fn shortened(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let is_it = |one: &CoolDown, session: &str, scope: &str| {
            one.session == session && one.scope == scope
        };
        for used in &self.uses {
            let closed = self.promises.iter().find(|it| {
                is_it(it, &used.session, &used.scope)
                    && it.told + CLOCKS < used.granted
                    && used.granted < it.until
            });
            if let Some(closed) = closed {
                faults.push(format!("{used:?} in spite of {closed:?}"));
            }
        }
        for look in &self.looks {
            let asked = look.asked;
            let runs = |it: &&CoolDown| it.told < asked && look.answered + CLOCKS < it.until;
            for told in self.promises.iter().filter(runs) {
                let shown = look.cooling.iter().find(|it| is_it(it, &told.session, &told.scope));
                if shown.is_none_or(|shown| shown.until < told.until) {
                    faults.push(format!("at {asked:?} there is {shown:?} instead of {told:?}"));
                }
            }
        }
        faults
    }
}

mod tests;
