//! Labels, and selectors that match them, in the syntax of Kubernetes label selectors.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// The labels of a session.
pub type Labels = BTreeMap<String, String>;

/// The most labels a session can have.
pub const MAX_LABELS: usize = 32;
/// The longest label key, in bytes.
const MAX_LABEL_KEY: usize = 63;
/// The longest label value, in bytes.
const MAX_LABEL_VALUE: usize = 63;
/// The longest selector, in bytes.
const MAX_SELECTOR: usize = 1024;
/// The most requirements a selector can have.
const MAX_REQUIREMENTS: usize = 16;

/// What a label key may be, for messages.
pub const LABEL_KEY_RULE: &str = "1 to 63 of A-Z, a-z, 0-9, '.', '_', '/' and '-'";
/// What a label value may be, for messages.
pub const LABEL_VALUE_RULE: &str = "0 to 63 of A-Z, a-z, 0-9, '.', '_', '/', '-', '@', '+' and ':'";

/// Whether the text can be a label's key.
#[must_use]
pub fn is_label_key(text: &str) -> bool {
    (1..=MAX_LABEL_KEY).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._/-".contains(&c))
}

/// Whether the text can be a label's value.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    text.len() <= MAX_LABEL_VALUE
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._/-@+:".contains(&c))
}

/// Which sessions would do: all requirements must hold. An empty selector matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selector(Vec<Requirement>);

/// One condition on a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Requirement {
    /// `key=value`, `key==value`, `key in (a,b)`: the label is there and has one of the values.
    In(String, Vec<String>),
    /// `key!=value`, `key notin (a,b)`: the label is missing or has none of the values.
    NotIn(String, Vec<String>),
    /// `key`: the label is there.
    Exists(String),
    /// `!key`: the label is missing.
    Missing(String),
}

impl Selector {
    /// Reads a selector, for example `country=de,premium,tier in (a,b),!banned`.
    ///
    /// # Errors
    ///
    /// One sentence that says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_SELECTOR {
            return Err(format!("is {} bytes long; at most {MAX_SELECTOR}", text.len()));
        }
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if part.is_empty() && text.trim().is_empty() {
                break;
            }
            requirements.push(Requirement::parse(part)?);
        }
        if requirements.len() > MAX_REQUIREMENTS {
            return Err(format!(
                "has {} requirements; at most {MAX_REQUIREMENTS}",
                requirements.len()
            ));
        }
        Ok(Self(requirements))
    }

    /// Whether it matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The conditions, all of which must hold.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// Whether the labels satisfy every requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(key) = text.strip_prefix('!') {
            return Ok(Self::Missing(key_of(key)?));
        }
        if let Some((head, values)) = text.strip_suffix(')').and_then(|t| t.split_once('(')) {
            let (key, operator) = head
                .trim()
                .rsplit_once(char::is_whitespace)
                .ok_or_else(|| format!("'{text}' needs 'in' or 'notin' before its values"))?;
            let key = key_of(key)?;
            let values = values.split(',').map(value_of).collect::<Result<Vec<_>, _>>()?;
            return match operator {
                "in" => Ok(Self::In(key, values)),
                "notin" => Ok(Self::NotIn(key, values)),
                other => Err(format!("'{other}' is not an operator; use 'in' or 'notin'")),
            };
        }
        if let Some((key, value)) = text.split_once("!=") {
            return Ok(Self::NotIn(key_of(key)?, vec![value_of(value)?]));
        }
        if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return Ok(Self::In(key_of(key)?, vec![value_of(value)?]));
        }
        Ok(Self::Exists(key_of(text)?))
    }

    fn holds(&self, labels: &Labels) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::Missing(key) => !labels.contains_key(key),
        }
    }
}

fn key_of(text: &str) -> Result<String, String> {
    let key = text.trim();
    if is_label_key(key) {
        return Ok(key.to_owned());
    }
    Err(format!("'{key}' is not a label key; a key is {LABEL_KEY_RULE}"))
}

fn value_of(text: &str) -> Result<String, String> {
    let value = text.trim();
    if is_label_value(value) {
        return Ok(value.to_owned());
    }
    Err(format!("'{value}' is not a label value; a value is {LABEL_VALUE_RULE}"))
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

/// The canonical form: what two equal selectors have in common.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(key, values) if values.len() == 1 => write!(f, "{key}={}", values[0]),
            Self::In(key, values) => write!(f, "{key} in ({})", values.join(",")),
            Self::NotIn(key, values) if values.len() == 1 => write!(f, "{key}!={}", values[0]),
            Self::NotIn(key, values) => write!(f, "{key} notin ({})", values.join(",")),
            Self::Exists(key) => f.write_str(key),
            Self::Missing(key) => write!(f, "!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn every_operator_matches_what_it_says() {
        let german = labels(&[("country", "de"), ("premium", "")]);
        for (selector, wanted) in [
            ("", true),
            ("country=de", true),
            ("country==de", true),
            ("country=fr", false),
            ("country!=fr", true),
            ("country!=de", false),
            ("tier!=a", true),
            ("country in (fr, de)", true),
            ("country in (fr,it)", false),
            ("country notin (fr,de)", false),
            ("tier notin (a)", true),
            ("premium", true),
            ("premium=", true),
            ("tier", false),
            ("!tier", true),
            ("!premium", false),
            ("country=de,premium,!tier", true),
            ("country=de,tier", false),
        ] {
            let parsed = Selector::parse(selector).expect(selector);
            assert_eq!(parsed.matches(&german), wanted, "{selector}");
        }
    }

    #[test]
    fn a_selector_prints_in_one_canonical_way() {
        let spaced = Selector::parse(" country == de , tier in ( a, b ) , !x ").unwrap();
        assert_eq!(spaced.to_string(), "country=de,tier in (a,b),!x");
    }

    #[test]
    fn a_fault_is_named() {
        for (selector, fault) in [
            ("country=de,", "'' is not a label key"),
            ("a b", "'a b' is not a label key"),
            ("country of (de)", "'of' is not an operator"),
            ("(de)", "needs 'in' or 'notin'"),
            ("country in (d e)", "'d e' is not a label value"),
            ("c=ä", "'ä' is not a label value"),
        ] {
            let said = Selector::parse(selector).expect_err(selector);
            assert!(said.contains(fault), "{selector}: {said}");
        }
    }

    #[test]
    fn limits_hold_at_their_edge() {
        let many = |n: usize| vec!["a"; n].join(",");
        assert!(Selector::parse(&many(MAX_REQUIREMENTS)).is_ok());
        assert!(Selector::parse(&many(MAX_REQUIREMENTS + 1)).is_err());
        assert!(is_label_key(&"k".repeat(MAX_LABEL_KEY)));
        assert!(!is_label_key(&"k".repeat(MAX_LABEL_KEY + 1)));
        assert!(is_label_value(&"v".repeat(MAX_LABEL_VALUE)));
        assert!(!is_label_value(&"v".repeat(MAX_LABEL_VALUE + 1)));
    }
}
