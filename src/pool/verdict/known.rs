//! The names that Telegram is known to answer and that no rule has: a default for the code is right
//! for them, and nobody need be told of them.

use super::{Assessment, Rule};

/// One canonical name in each line, in order. Made from the list of all known errors; a test of the
/// verdicts compares them.
const NAMES: &str = include_str!("known_names.txt");

impl Assessment {
    /// Whether nobody knew of such an error: no rule has the name, nor is it among the known ones.
    #[must_use]
    pub fn is_news(&self) -> bool {
        let rule = Rule::all().iter().find(|rule| rule.id == self.rule);
        rule.is_some_and(Rule::is_default) && !NAMES.lines().any(|name| name == self.name)
    }
}

#[cfg(test)]
mod tests {
    use crate::pool::{Report, assess};

    #[test]
    fn only_a_name_that_nobody_knows_is_news() {
        let news = |code, message: &str| {
            assess(&Report { code, message: message.into(), ..Report::default() }).is_news()
        };
        assert!(news(420, "BRAND_NEW_WAIT_17"));
        assert!(news(555, ""));
        assert!(!news(420, "FLOOD_WAIT_17"), "a rule has it");
        assert!(!news(400, "MESSAGE_EMPTY"), "it is known, and its code says enough");
    }
}
