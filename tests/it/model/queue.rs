//! The waiters that a history remembers: who comes back, who goes, who collects.

use telegate::pool::{Ask, Departure, Enqueued, Patience, PoolName, Priority, Span, Ticket};

use super::{
    deeds::{Deed, Outcome},
    dice::Dice,
};

/// How many waiters are remembered to come back, besides those that were handed something.
const REMEMBERED: usize = 24;

/// A call that stands in line.
type Waiter = (PoolName, Ask, Patience);

/// The waiters of a history.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<Waiter>,
    /// Those that were handed something and have not come for it.
    handed: Vec<Waiter>,
    /// All that may still stand in the line, or be handed something.
    all: Vec<(PoolName, Departure)>,
}

impl Queue {
    /// What one of the waiters does next, if one does.
    pub(super) fn next(&mut self, dice: &mut Dice) -> Option<Deed> {
        if !self.handed.is_empty() && !dice.once_in(4) {
            let at = if dice.once_in(3) { self.handed.len() - 1 } else { 0 };
            let (pool, ask, patience) = self.handed.remove(at);
            return Some(match dice.below(10) {
                0 => leave(pool, &ask, &patience, dice),
                // It is told, and asks for its place.
                1..=6 => Deed::Enqueue(pool, repeated(ask, dice), patience),
                // Its time is over at just this moment.
                _ => Deed::Acquire(pool, repeated(ask, dice)),
            });
        }
        if self.waiting.is_empty() || !dice.once_in(3) {
            return None;
        }
        let (pool, ask, patience) = dice.pick(&self.waiting).clone();
        Some(match dice.below(10) {
            0..=3 => leave(pool, &ask, &patience, dice),
            // It was told though nothing was handed to it, or its reply was lost.
            4..=8 => Deed::Enqueue(pool, repeated(ask, dice), patience),
            _ => Deed::Acquire(pool, repeated(ask, dice)),
        })
    }

    /// How a new caller waits.
    pub(super) fn patience(&mut self, dice: &mut Dice, ask: &Ask) -> Patience {
        if let Some((_, _, patience)) =
            self.waiting.iter().find(|(_, known, _)| known.secret == ask.secret)
        {
            return patience.clone();
        }
        let waits = [1, 250, 5_000, 10_000, 20_000, 60_000, 60_001, 3_600_000, 86_400_000];
        let (normal, high, low) = (Priority::Normal, Priority::High, Priority::Low);
        Patience {
            // Random in earnest; here as the secret is, so that a repeated call has its own.
            ticket: ticket(ask),
            wait: Span(*dice.pick(&waits)),
            priority: *dice.pick(&[normal, normal, high, low]),
        }
    }

    /// Everybody goes.
    pub(super) fn all_leave(&mut self) -> Vec<(PoolName, Departure)> {
        self.waiting.clear();
        self.handed.clear();
        std::mem::take(&mut self.all)
    }

    /// Takes in what came of a deed, and who was handed something by it.
    pub(super) fn remember(&mut self, deed: &Deed, outcome: &Outcome, handed: &[Ticket]) {
        match (deed, outcome) {
            (Deed::Enqueue(pool, ask, patience), Outcome::Enqueued(Ok(Enqueued::Waiting(_)))) => {
                self.forget(patience.ticket);
                if self.waiting.len() == REMEMBERED {
                    self.waiting.remove(0);
                }
                self.waiting.push((pool.clone(), ask.clone(), patience.clone()));
                self.all.retain(|(_, departure)| departure.ticket != patience.ticket);
                self.all.push((pool.clone(), departure(ask, patience, Span::ZERO)));
            }
            (Deed::Leave(_, departure), _) => self.forget(departure.ticket),
            (Deed::Acquire(_, ask) | Deed::Enqueue(_, ask, _), _) => {
                self.waiting.retain(|(_, known, _)| known.secret != ask.secret);
            }
            _ => {}
        }
        for ticket in handed {
            let at = self.waiting.iter().position(|(_, _, patience)| patience.ticket == *ticket);
            if let Some(at) = at {
                self.handed.push(self.waiting.remove(at));
            }
        }
    }

    fn forget(&mut self, ticket: Ticket) {
        self.waiting.retain(|(_, _, patience)| patience.ticket != ticket);
    }
}

fn ticket(ask: &Ask) -> Ticket {
    let hex = ask.secret.to_hex();
    Ticket(u64::from_str_radix(&hex[16..], 16).expect("a secret in hexadecimal"))
}

fn repeated(ask: Ask, dice: &mut Dice) -> Ask {
    Ask { retried_for: Some(Span(*dice.pick(&[1, 100, 5_000]))), ..ask }
}

fn departure(ask: &Ask, patience: &Patience, grace: Span) -> Departure {
    Departure { ticket: patience.ticket, secret: ask.secret, grace }
}

fn leave(pool: PoolName, ask: &Ask, patience: &Patience, dice: &mut Dice) -> Deed {
    let grace = Span(*dice.pick(&[0, 5_000, 5_000]));
    Deed::Leave(pool, departure(ask, patience, grace))
}
