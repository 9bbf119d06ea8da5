//! Rust without its words: comments and the insides of strings become blanks, so that only what
//! the compiler reads is left, at the same line and column.

/// Blanks comments and the insides of string and character literals.
pub(super) fn blank(rust: &str) -> String {
    let mut chars: Vec<char> = rust.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let (end, keep) = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => (line_end(&chars, at), 0),
            ('/', Some('*')) => (comment_end(&chars, at), 0),
            ('"', _) => (string_end(&chars, at + 1), 1),
            ('r', Some('"' | '#')) if !is_word(&chars, at) => (raw_string_end(&chars, at), 1),
            ('\'', _) => (character_end(&chars, at), 1),
            _ => (at + 1, 1),
        };
        for blanked in chars.iter_mut().take(end.saturating_sub(keep)).skip(at + keep) {
            if *blanked != '\n' {
                *blanked = ' ';
            }
        }
        at = end.max(at + 1);
    }
    chars.into_iter().collect()
}

/// Whether the character before is part of the same word.
fn is_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn line_end(chars: &[char], at: usize) -> usize {
    (at..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len())
}

fn comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut i = at;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => {
                depth += 1;
                i += 2;
            }
            ('*', '/') => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut i = from;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        // `r#type` is a word, not a string.
        return open;
    }
    let closes = |i: usize| {
        chars[i] == '"'
            && chars.get(i + 1..=i + hashes).is_some_and(|tail| tail.iter().all(|c| *c == '#'))
    };
    (open + 1..chars.len()).find(|i| closes(*i)).map_or(chars.len(), |i| i + 1 + hashes)
}

/// Past a character literal; just past the quote of a lifetime.
fn character_end(chars: &[char], at: usize) -> usize {
    match chars.get(at + 1) {
        Some('\\') => (at + 3..chars.len()).find(|i| chars[*i] == '\'').map_or(at + 1, |i| i + 1),
        Some(_) if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at + 1,
    }
}

/// Where a word stands by itself: not as part of a longer word.
pub(super) fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = line[..*at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open_start = word.starts_with(is_part) && before.is_some_and(is_part);
        let open_end = word.ends_with(is_part) && after.is_some_and(is_part);
        !open_start && !open_end
    })
}

#[test]
fn comments_and_strings_are_blanked_and_nothing_else_moves() {
    let table = [
        ("let a = 1; // tonic", "let a = 1;         "),
        ("a /* tonic /* deep */ */ b", "a                        b"),
        ("say(\"tonic \\\" more\");", "say(\"             \");"),
        ("let c = '\"'; tonic()", "let c = ' '; tonic()"),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
        ("let q = '\\''; tonic", "let q = '  '; tonic"),
    ];
    for (rust, code) in table {
        assert_eq!(blank(rust), code, "{rust}");
    }
    let raw = blank("let r = r#\"tonic \" \"#; after");
    assert!(!raw.contains("tonic") && raw.ends_with("; after"), "{raw}");
    assert_eq!(blank("a\n// b\nc"), "a\n    \nc");
}

#[test]
fn a_word_is_found_where_it_stands_alone() {
    assert_eq!(words("tonic atonic tonic_x x::tonic", "tonic").count(), 2);
    assert_eq!(words("ExitCode::FAILURE Code::Ok", "Code::").count(), 1);
}
