//! The variables that a broker and the command read, and those that look like a slip of the pen.

use super::{Environment, FIELDS};

/// What every variable begins with.
const PREFIX: &str = "TELEGATE_";
/// The variables that are no field of the configuration.
const OTHERS: [&str; 8] = [
    "TELEGATE_ADDRESS",
    "TELEGATE_KEY",
    "TELEGATE_KEY_FILE",
    "TELEGATE_CA",
    "TELEGATE_CERT",
    "TELEGATE_CERT_KEY",
    "TELEGATE_CONFIG",
    "TELEGATE_STORE_KEYS",
];
/// Up to how many letters a name is so short that two slips make another word of it.
const SHORT: usize = 5;

/// The name of a field in the environment.
pub(super) fn variable(field: &str) -> String {
    format!("{PREFIX}{}", field.replace('.', "_").to_uppercase())
}

/// Variables that nothing reads but whose names are almost those of others: each, and the other.
/// What does not come close is left alone: a cluster sets variables of its own, such as
/// `TELEGATE_SERVICE_HOST`.
#[must_use]
pub fn slips(environment: &Environment) -> Vec<(String, String)> {
    let known: Vec<_> =
        FIELDS.iter().map(|field| variable(field)).chain(OTHERS.map(str::to_owned)).collect();
    let strange = environment.keys().filter(|name| name.starts_with(PREFIX));
    let strange = strange.filter(|name| !known.contains(name));
    let meant = |name: &String| {
        let slips = if name.len() - PREFIX.len() <= SHORT { 1 } else { 2 };
        let near = known.iter().map(|other| (distance(name, other), other));
        let (_, other) = near.filter(|(distance, _)| *distance <= slips).min()?;
        Some((name.clone(), other.clone()))
    };
    strange.filter_map(meant).collect()
}

/// How many letters have to be put in, left out, changed, or swapped with the next.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let change = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            let swapped =
                i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
            if swapped {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Vec<(String, String)> {
        slips(&names.iter().map(|name| ((*name).to_owned(), String::new())).collect())
    }

    #[test]
    fn a_slip_of_the_pen_is_told_with_what_was_meant() {
        for (name, meant) in [
            ("TELEGATE_ADRESS", "TELEGATE_ADDRESS"),
            ("TELEGATE_KYE", "TELEGATE_KEY"),
            ("TELEGATE_LISTENS", "TELEGATE_LISTEN"),
            ("TELEGATE_STORE_KEYFILE", "TELEGATE_STORE_KEY_FILE"),
            ("TELEGATE_TLS_CLIENTCA", "TELEGATE_TLS_CLIENT_CA"),
        ] {
            assert_eq!(found(&[name]), [(name.to_owned(), meant.to_owned())]);
        }
    }

    #[test]
    fn what_is_read_and_what_is_something_else_is_left_alone() {
        let cluster =
            ["TELEGATE_PORT", "TELEGATE_SERVICE_HOST", "TELEGATE_PORT_7311_TCP_ADDR", "TELEGATE_"];
        assert_eq!(found(&cluster), []);
        assert_eq!(found(&OTHERS), []);
        assert_eq!(found(&["TELEGATE_KEYS", "TELEGATE_LIMITS_MAX_STREAMS", "TELEGRAM_KEY"]), []);
    }
}
