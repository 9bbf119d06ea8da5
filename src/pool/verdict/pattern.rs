//! Patterns of error names: anchored at both ends, with `*` for any run and `(A|B)` for a choice.

/// Whether the whole of `text` is of the pattern's form.
///
/// The work is bounded by the lengths: a pattern is a constant of ours, a text is a checked name.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    match first {
        '*' => {
            let rest = &pattern[1..];
            text.char_indices()
                .map(|(at, _)| at)
                .chain([text.len()])
                .any(|at| matches(rest, &text[at..]))
        }
        '(' => {
            let Some((choice, rest)) = pattern[1..].split_once(')') else { return false };
            choice.split('|').any(|word| {
                text.strip_prefix(word).is_some_and(|remainder| matches(rest, remainder))
            })
        }
        letter => text
            .strip_prefix(letter)
            .is_some_and(|rest| matches(&pattern[first.len_utf8()..], rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_is_anchored_at_both_ends() {
        assert!(matches("USER_DEACTIVATED", "USER_DEACTIVATED"));
        assert!(!matches("USER_DEACTIVATED", "INPUT_USER_DEACTIVATED"));
        assert!(!matches("USER_DEACTIVATED", "USER_DEACTIVATED_BAN"));
    }

    #[test]
    fn a_star_is_any_run_and_a_choice_is_one_of_its_words() {
        for (pattern, text, wanted) in [
            ("PHONE_(CODE|HASH)_*", "PHONE_CODE_EMPTY", true),
            ("PHONE_(CODE|HASH)_*", "PHONE_NUMBER_EMPTY", false),
            ("*_ALREADY_*", "GROUPCALL_ALREADY_STARTED", true),
            ("*_ALREADY_*", "BIRTHDAY_ALREADY", false),
            ("*_(GET|SEND)_(FAIL|FAILED)", "CHAT_GET_FAILED", true),
            ("*_(GET|SEND)_(FAIL|FAILED)", "CHAT_GET_FAILURE", false),
            ("A(|_B)_C", "A_C", true),
            ("*", "", true),
            ("", "A", false),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
