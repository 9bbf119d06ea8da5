//! Names: what a report calls the error, brought from any library's shape to Telegram's own name.
//!
//! A canonical name is in capitals and without its number: `FLOOD_WAIT_17`, `FLOOD_WAIT_X`,
//! `FloodWaitError`, `rpc error code 420: FLOOD_WAIT (17)` and `A wait of 17 seconds is required`
//! are all `FLOOD_WAIT` with the number 17, as far as each tells it.

use super::{
    Report,
    sentences::{TRANSPORT, alias, bare_code, fragment, leading_number},
};

/// The most that is read of a message, in bytes.
const MAX_MESSAGE: usize = 1024;
/// The longest text that is taken for a name, in bytes.
const MAX_NAME: usize = 128;

/// Names whose tail is a text and not a number.
const TEXT_TAILS: [&str; 3] = ["APNS_VERIFY_CHECK", "INTEGRITY_CHECK_CLASSIC", "RECAPTCHA_CHECK"];

/// What was made out of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sighting {
    /// The canonical name; empty when the report has none.
    pub(super) name: String,
    /// The number that came with the name.
    pub(super) argument: Option<i64>,
    /// The code; zero when not known.
    pub(super) code: i32,
    /// The method, as the report or the message names it; empty when neither does.
    pub(super) method: String,
}

impl Sighting {
    /// Whether it was an error of the transport.
    pub(super) fn is_transport(&self) -> bool {
        self.name.starts_with(TRANSPORT)
    }
}

/// Makes out what a report speaks of.
pub(super) fn sight(report: &Report) -> Sighting {
    let typed = read_type(clip(report.type_name.trim(), MAX_MESSAGE));
    let told = read_message(clip(report.message.trim(), MAX_MESSAGE));
    let code = [report.code, told.code, typed.code].into_iter().find(|&code| code != 0);
    let mut seen = Sighting { code: code.unwrap_or(0), ..Sighting::default() };
    if typed.name.is_empty() {
        seen.argument = told.number.or(report.argument);
        seen.name = told.name;
    } else {
        seen.argument = typed.number.or(report.argument).or(told.number);
        seen.name = typed.name;
    }
    let method = clip(report.method.trim(), MAX_MESSAGE);
    seen.method = if method.is_empty() { told.method } else { method.to_owned() };
    mend_split_digits(&mut seen);
    name_by_code(&mut seen, report.transport_code);
    seen
}

/// Undoes a name that was cut at the digit of `2FA`: `2FA_CONFIRM_WAIT59200` with the number 2 was
/// `2FA_CONFIRM_WAIT_259200`.
fn mend_split_digits(seen: &mut Sighting) {
    const NAME: &str = "2FA_CONFIRM_WAIT";
    let Some(rest) = seen.name.strip_prefix(NAME).filter(|rest| !rest.is_empty()) else { return };
    if let Some((number, "")) = leading_number(&format!("2{rest}")) {
        seen.argument = Some(number);
        NAME.clone_into(&mut seen.name);
    }
}

/// Names what has no name but a code that speaks for itself.
fn name_by_code(seen: &mut Sighting, transport_code: i32) {
    let transport = match (transport_code, seen.name.as_str()) {
        (0, TRANSPORT) => seen.argument.and_then(|number| i32::try_from(number).ok()),
        (0, "") if [-404, -429, -444].contains(&seen.code) => Some(seen.code),
        (0, _) => None,
        (code, _) => Some(code),
    };
    if let Some(code) = transport {
        seen.name = format!("{TRANSPORT}_{}", code.unsigned_abs());
        seen.argument = None;
    } else if seen.name.is_empty() {
        // 429 is how the Bot API and TDLib say it; 503 is what Telethon keeps of a timeout.
        let name = match seen.code {
            429 => "FLOOD_WAIT",
            503 | -503 => "TIMEOUT",
            _ => "",
        };
        name.clone_into(&mut seen.name);
    }
}

/// What a text told.
#[derive(Debug, Default)]
struct Told {
    name: String,
    number: Option<i64>,
    code: i32,
    method: String,
    /// Whether the name had a place for a number.
    has_place: bool,
}

fn read_type(text: &str) -> Told {
    match word(text) {
        Some(told) => told,
        None => read_message(text),
    }
}

fn read_message(text: &str) -> Told {
    if text.is_empty() {
        return Told::default();
    }
    let method = caused_by(text);
    let mut told = word(text)
        .or_else(|| in_brackets(text))
        .or_else(|| Some(Told { code: after_colons(text).code, ..in_prose(text)? }))
        .unwrap_or_else(|| after_colons(text));
    told.method = method;
    told
}

/// Reads one word: a name in any spelling, or a class.
fn word(text: &str) -> Option<Told> {
    let spelled = if is_class(text) { snake(text) } else { text.to_ascii_uppercase() };
    for name in TEXT_TAILS {
        if spelled.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')) {
            return Some(Told { name: name.to_owned(), ..Told::default() });
        }
    }
    let fits = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || b"_%-".contains(&c);
    if spelled.len() > MAX_NAME
        || !spelled.bytes().all(fits)
        || !spelled.bytes().any(|c| c.is_ascii_uppercase())
    {
        return None;
    }
    let mut told = without_number(&spelled);
    // Telegram's own names have an underscore, but for its two ways to say that time was up.
    let is_foreign = is_class(text) && !told.name.contains('_') && !told.name.starts_with("TIME");
    match bare_code(&told.name) {
        None if is_foreign => return Some(Told::default()),
        None => {}
        Some(code) => return Some(Told { code, ..Told::default() }),
    }
    told.name = alias(&told.name).to_owned();
    Some(told)
}

/// Whether a text is written like a class, perhaps with the path of its module before it.
fn is_class(text: &str) -> bool {
    let class = text.rsplit('.').next().unwrap_or(text);
    class.bytes().all(|c| c.is_ascii_alphanumeric())
        && class.starts_with(|c: char| c.is_ascii_uppercase())
        && class.bytes().any(|c| c.is_ascii_lowercase())
}

/// `telethon.errors.FloodWaitError` is `FLOOD_WAIT`.
fn snake(class: &str) -> String {
    let class = class.rsplit('.').next().unwrap_or(class).as_bytes();
    let mut name = String::with_capacity(class.len() * 2);
    for (at, &letter) in class.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| class.get(at));
        let after = class.get(at + 1);
        let starts_word = letter.is_ascii_uppercase()
            && before.is_some_and(|c| {
                !c.is_ascii_uppercase() || after.is_some_and(u8::is_ascii_lowercase)
            });
        if starts_word {
            name.push('_');
        }
        name.push(char::from(letter.to_ascii_uppercase()));
    }
    let name = name.strip_suffix("_ERROR").unwrap_or(&name);
    // Kurigram tells two errors of one name apart by their codes: `FileMigrate400`.
    let name = ["303", "400", "401", "403", "406", "420", "500", "503"]
        .iter()
        .find_map(|code| name.strip_suffix(code))
        .unwrap_or(name);
    if name == "ERROR" { String::from("RPC") } else { name.to_owned() }
}

/// Takes the number, or the place for it, out of a name in capitals.
fn without_number(name: &str) -> Told {
    let mut told = Told::default();
    let mut kept: Vec<&str> = Vec::new();
    for (at, segment) in name.split('_').enumerate() {
        let (count, unit) = match segment.strip_suffix("MIN") {
            Some(count) if !count.is_empty() => (count, Some("MIN")),
            _ => (segment, None),
        };
        let number = leading_number(count).filter(|(_, rest)| rest.is_empty()).map(|(n, _)| n);
        let is_place = count == "X" || count == "%D";
        if at > 0 && (number.is_some() || is_place) {
            told.number = told.number.or(number);
            told.has_place |= is_place;
            kept.extend(unit);
        } else {
            kept.push(segment);
        }
    }
    told.name = kept.join("_");
    told
}

/// Reads `[420 FLOOD_WAIT_X] - … 17 …` and `[420:FLOOD_WAIT_17]`: the first brackets with a name.
fn in_brackets(text: &str) -> Option<Told> {
    let mut code = 0;
    let mut rest = text;
    while let Some((inner, after)) = rest.split_once('[').and_then(|(_, r)| r.split_once(']')) {
        // A bracket in a bracket: the inner one counts.
        let inner = inner.rsplit('[').next().unwrap_or(inner);
        let told = coded(inner);
        if told.code != 0 {
            code = told.code;
        }
        if !told.name.is_empty() {
            let number = told.number.or_else(|| told.has_place.then(|| number_in(after)).flatten());
            return Some(Told { number, code, ..told });
        }
        rest = after;
    }
    (code != 0).then(|| Told { code, ..Told::default() })
}

/// Reads `420 FLOOD_WAIT_17`, `420:FLOOD_WAIT_17` or a name alone.
fn coded(text: &str) -> Told {
    let text = text.trim();
    if let Some((number, rest)) = leading_number(text)
        && let Some(name) = rest.strip_prefix([' ', ':'])
        && let Ok(number) = i32::try_from(number)
    {
        let told = word(name.trim()).or_else(|| in_prose(name)).unwrap_or_default();
        return Told { code: number, ..told };
    }
    word(text).filter(|told| told.name.contains('_')).unwrap_or_default()
}

/// Reads the sentences that libraries write instead of the name.
fn in_prose(text: &str) -> Option<Told> {
    let (name, number) = fragment(&text.to_ascii_uppercase())?;
    Some(Told { name: name.to_owned(), number, ..Told::default() })
}

/// Reads `rpc error code 420: FLOOD_WAIT (17)` and its kin: the last of the parts between colons is
/// the name, and the parts before may tell the code or the class.
fn after_colons(text: &str) -> Told {
    let upper = text.to_ascii_uppercase();
    let end = [" (", " CAUSED BY "].iter().filter_map(|mark| upper.find(mark)).min();
    let (head, tail) = text.split_at(end.unwrap_or(text.len()));
    let mut parts: Vec<&str> = head.split(": ").collect();
    let last = parts.pop().unwrap_or_default();
    let mut told = coded(last);
    if told.name.is_empty() && told.code == 0 {
        told = word(last.trim()).filter(|_| !parts.is_empty()).unwrap_or_default();
    }
    if told.number.is_none() {
        told.number = tail.split_once('(').and_then(|(_, rest)| bracketed_number(rest));
    }
    for part in parts.iter().rev() {
        let last_word = part.rsplit(' ').next().unwrap_or(part);
        if told.code == 0
            && let Some((code, "")) = leading_number(last_word)
        {
            told.code = i32::try_from(code).unwrap_or(0);
        } else if told.code == 0
            && let Some(code) = bare_code(&part.to_ascii_uppercase().replace(' ', "_"))
        {
            told.code = code;
        } else if told.name.is_empty()
            && is_class(last_word)
            && let Some(class) = word(last_word)
        {
            told.name = class.name;
            told.code = if told.code == 0 { class.code } else { told.code };
        }
    }
    told
}

/// The number of `17)` or of `value: 17)`.
fn bracketed_number(rest: &str) -> Option<i64> {
    let (inner, _) = rest.split_once(')')?;
    let inner = inner.strip_prefix("value: ").unwrap_or(inner);
    leading_number(inner).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number)
}

/// The number of a description: the one that counts a time, or else the first. A description may
/// speak of `24 hours` before it comes to the number that Telegram gave.
fn number_in(description: &str) -> Option<i64> {
    let mut first = None;
    let mut rest = description;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (number, after) = leading_number(&rest[at..])?;
        if after.starts_with(" second") || after.starts_with(" minute") {
            return Some(number);
        }
        first = first.or(Some(number));
        rest = after;
    }
    first
}

/// The method of `(caused by "messages.SendMessage")`, spelled as Telegram does. A class of a
/// method without its namespace is not a method's name.
fn caused_by(text: &str) -> String {
    let Some((_, rest)) = text.split_once("caused by ") else { return String::new() };
    let rest = rest.strip_prefix('"').unwrap_or(rest);
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
    let Some((space, deed)) = rest[..end].rsplit_once('.') else { return String::new() };
    let mut letters = deed.chars();
    match letters.next() {
        Some(first) if end <= MAX_NAME => {
            format!("{space}.{}{}", first.to_ascii_lowercase(), letters.as_str())
        }
        _ => String::new(),
    }
}

/// The start of a text, at most so many bytes of it.
pub(super) fn clip(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
