//! The line of a pool: who waits, and whose turn it is.
//!
//! Waiters that want the same with the same right to it stand in one sub-line, in order of
//! arrival, so that a free session is offered to the heads of the sub-lines only, however many
//! stand behind them.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use super::{
    Ask, KeyId, LeaseSecret, Span, Time,
    waiter::{LineKey, MAX_LINES, Ticket, Waiter},
};

/// How many digits a number has at most behind the first.
const MOST_DIGITS: u32 = u64::MAX.ilog10();

/// All waiters of a pool.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// By number, which rises with every arrival. Boxed, because the nodes of a map that grows at
    /// its end are half empty.
    waiters: BTreeMap<u64, Box<Waiter>>,
    tickets: HashMap<Ticket, u64>,
    secrets: HashMap<LeaseSecret, u64>,
    requests: HashMap<(KeyId, String), u64>,
    /// The numbers of those who can be served.
    lines: BTreeMap<LineKey, BTreeSet<u64>>,
    /// When each gives up; those of one moment by their ticket's text.
    deadlines: BTreeMap<(Time, ByText), u64>,
    /// The hand-over at which each key was last served; forgotten when nobody waits.
    turns: HashMap<KeyId, u64>,
    last_turn: u64,
    /// In what time a waiter is served, on the average of late; forgotten when nobody waits.
    pace: Option<Span>,
    /// When the last one was served, or when the line began to form.
    since: Time,
    last_seq: u64,
    present: usize,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// How many wait, those who may come back included.
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// How many wait and are there.
    pub(super) fn present(&self) -> usize {
        self.present
    }

    /// Whether there is room for one more of this kind in so much room.
    pub(super) fn has_room(&self, key: &LineKey, most: usize) -> bool {
        self.len() < most && (self.lines.contains_key(key) || self.lines.len() < MAX_LINES)
    }

    /// How many are there up to a number. Costs nothing for the newest, however many wait.
    pub(super) fn up_to(&self, seq: u64) -> usize {
        let later = self.waiters.range(seq + 1..).filter(|(_, waiter)| !waiter.absent);
        self.present - later.count()
    }

    /// The waiters that are there, first come first.
    pub(super) fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.waiters.values().map(Box::as_ref).filter(|waiter| !waiter.absent)
    }

    pub(super) fn of_ticket(&self, ticket: Ticket) -> Option<u64> {
        self.tickets.get(&ticket).copied()
    }

    pub(super) fn of_secret(&self, secret: LeaseSecret) -> Option<u64> {
        self.secrets.get(&secret).copied()
    }

    /// The waiter that stands for a request.
    pub(super) fn of_request(&self, ask: &Ask) -> Option<&Waiter> {
        let tag = ask.request.as_ref()?;
        let seq = self.requests.get(&(ask.holder.key.clone(), tag.id.clone()))?;
        self.waiters.get(seq).map(Box::as_ref)
    }

    /// The number of the next arrival.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    /// In what time a waiter is served; if the last was longer ago than that, since then.
    pub(super) fn pace(&self, now: Time) -> Option<Span> {
        let pace = self.pace?;
        Some(if self.present > 0 { pace.max(now.since(self.since)) } else { pace })
    }

    /// Takes a waiter in, at the place of its number.
    pub(super) fn insert(&mut self, waiter: Waiter, now: Time) {
        if self.is_empty() {
            self.since = now;
        }
        let seq = waiter.seq;
        self.tickets.insert(waiter.ticket, seq);
        self.secrets.insert(waiter.ask.secret, seq);
        if let Some(request) = waiter.request() {
            self.requests.insert(request, seq);
        }
        self.deadlines.insert(due(&waiter), seq);
        if !waiter.absent {
            self.lines.entry(waiter.line()).or_default().insert(seq);
            self.present += 1;
        }
        self.waiters.insert(seq, Box::new(waiter));
    }

    /// Takes a waiter out. When the last has gone, all turns are forgotten.
    pub(super) fn remove(&mut self, seq: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&seq)?;
        self.tickets.remove(&waiter.ticket);
        self.secrets.remove(&waiter.ask.secret);
        if let Some(request) = waiter.request() {
            self.requests.remove(&request);
        }
        self.deadlines.remove(&due(&waiter));
        if !waiter.absent {
            let line = waiter.line();
            if let Some(seqs) = self.lines.get_mut(&line) {
                seqs.remove(&seq);
                if seqs.is_empty() {
                    self.lines.remove(&line);
                }
            }
            self.present -= 1;
        }
        if self.waiters.is_empty() {
            self.turns.clear();
            self.last_turn = 0;
            self.pace = None;
        }
        Some(*waiter)
    }

    /// Takes out those whose time is over, at most so many.
    pub(super) fn drop_due(&mut self, now: Time, most: usize) {
        for _ in 0..most {
            match self.deadlines.first_key_value() {
                Some(((at, _), seq)) if *at <= now => self.remove(*seq),
                _ => break,
            };
        }
    }

    /// One of each kind of demand.
    pub(super) fn demands(&self) -> Vec<Ask> {
        let mut told = BTreeSet::new();
        let heads = self.lines.iter().filter(|(line, _)| told.insert(line.demand.clone()));
        let head = |seqs: &BTreeSet<u64>| self.waiters.get(seqs.first()?);
        heads.filter_map(|(_, seqs)| head(seqs)).map(|waiter| waiter.ask.clone()).collect()
    }

    /// Whose turn it is among those whom something would suit, by demand.
    pub(super) fn next(&self, now: Time, suits: impl Fn(&Ask) -> bool) -> Option<&Waiter> {
        let mut known: HashMap<&str, bool> = HashMap::new();
        let mut best: Option<((u64, u64, u64), &Waiter)> = None;
        for (line, seqs) in &self.lines {
            let living = seqs.iter().filter_map(|seq| self.waiters.get(seq));
            let Some(head) = living.into_iter().find(|waiter| waiter.deadline > now) else {
                continue;
            };
            if !*known.entry(&line.demand).or_insert_with(|| suits(&head.ask)) {
                continue;
            }
            let turn = self.turns.get(&line.key).copied().unwrap_or(0);
            let rank = (line.priority.level(now.since(head.since)), turn, head.seq);
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, head.as_ref()));
            }
        }
        best.map(|(_, waiter)| waiter)
    }

    /// Takes a waiter out because it is served.
    pub(super) fn serve(&mut self, seq: u64, now: Time) -> Option<Waiter> {
        let key = self.waiters.get(&seq)?.ask.holder.key.clone();
        self.last_turn += 1;
        self.turns.insert(key, self.last_turn);
        let took = now.since(self.since).0;
        self.pace = Some(Span(self.pace.map_or(took, |pace| (7 * pace.0 + took) / 8)));
        self.since = now;
        self.remove(seq)
    }
}

fn due(waiter: &Waiter) -> (Time, ByText) {
    (waiter.deadline, ByText(waiter.ticket.0))
}

/// A number in the order of its decimal text, in which Redis has tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ByText(u64);

impl Ord for ByText {
    fn cmp(&self, other: &Self) -> Ordering {
        // Made equally long; of two that then are the same, the shorter text is the beginning of
        // the other.
        let digits = |number: u64| number.checked_ilog10().unwrap_or(0);
        let wide = |number: u64| u128::from(number) * 10_u128.pow(MOST_DIGITS - digits(number));
        let order = wide(self.0).cmp(&wide(other.0));
        order.then_with(|| digits(self.0).cmp(&digits(other.0)))
    }
}

impl PartialOrd for ByText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::ByText;

    #[test]
    fn tickets_of_one_moment_stand_in_the_order_of_their_text() {
        let some = [0, 1, 2, 9, 10, 11, 12, 19, 20, 99, 100, 101, 109, 110, 123, u64::MAX / 10];
        let most = [u64::MAX - 9, u64::MAX, 10_000_000_000_000_000_000, 9_999_999_999_999_999_999];
        let all: Vec<u64> = some.into_iter().chain(most).collect();
        for a in &all {
            for b in &all {
                let by_text = a.to_string().cmp(&b.to_string());
                assert_eq!(ByText(*a).cmp(&ByText(*b)), by_text, "{a} and {b}");
            }
        }
    }
}
