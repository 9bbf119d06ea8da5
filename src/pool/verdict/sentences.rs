//! What libraries say instead of a name: classes, aliases, fragments of their sentences.

/// Words that say no more than a code: the base classes of the libraries and their placeholders.
const BARE_CODES: [(&str, i32); 27] = [
    ("ERROR_SEE_OTHER", 303),
    ("SEE_OTHER", 303),
    ("INVALID_DC", 303),
    ("BAD_REQUEST", 400),
    ("UNAUTHORIZED", 401),
    ("FORBIDDEN", 403),
    ("NOT_FOUND", 404),
    ("AUTH_KEY", 406),
    ("NOT_ACCEPTABLE", 406),
    ("FLOOD", 420),
    ("TOO_MANY_REQUESTS", 429),
    ("INTERNAL", 500),
    ("INTERNAL_SERVER", 500),
    ("SERVER", 500),
    ("SERVICE_UNAVAILABLE", 503),
    ("TIMED_OUT", 503),
    ("", 0),
    ("API", 0),
    ("BOT", 0),
    ("EXCEPTION", 0),
    ("GRAMMY", 0),
    ("HTTP", 0),
    ("INVOCATION", 0),
    ("RPC", 0),
    ("TELEGRAM", 0),
    ("TL", 0),
    ("UNKNOWN", 0),
];

/// Names that a class name gives, and the names that Telegram gives.
const ALIASES: [(&str, &str); 12] = [
    ("APICALLERROR", "API_CALL_ERROR"),
    ("API_CALL", "API_CALL_ERROR"),
    ("AUTH_KEY_NOT_FOUND", "TRANSPORT_404"),
    ("FILE_PART0_MISSING", "FILE_PART_MISSING"),
    ("FIRST_NAME_INVALID", "FIRSTNAME_INVALID"),
    ("INPUT_FETCH", "INPUT_FETCH_ERROR"),
    ("INTERDC_CALL", "INTERDC_CALL_ERROR"),
    ("INTERDC_CALL_RICH", "INTERDC_CALL_RICH_ERROR"),
    ("MSG_WAIT", "MSG_WAIT_FAILED"),
    ("SLOW_MODE_MULTI_MSGS_DISABLED", "SLOWMODE_MULTI_MSGS_DISABLED"),
    ("SLOW_MODE_WAIT", "SLOWMODE_WAIT"),
    ("TWO_FA_CONFIRM_WAIT", "2FA_CONFIRM_WAIT"),
];

/// Fragments that stand for a name, in capitals. `#` is the number, `$` the end of the text.
const FRAGMENTS: [(&str, &str); 33] = [
    ("TOO MANY REQUESTS: RETRY AFTER #", "FLOOD_WAIT"),
    ("RETRY IN # SECONDS", "FLOOD_WAIT"),
    ("A WAIT OF # SECONDS IS REQUIRED$", "FLOOD_WAIT"),
    ("A WAIT OF # SECONDS IS REQUIRED (CAUSED", "FLOOD_WAIT"),
    ("A WAIT OF # SECONDS IS REQUIRED IN NON-PREMIUM", "FLOOD_PREMIUM_WAIT"),
    ("A WAIT OF # SECONDS IS REQUIRED IN THE TEST", "FLOOD_TEST_PHONE_WAIT"),
    ("A WAIT OF # SECONDS IS REQUIRED BEFORE SENDING", "SLOWMODE_WAIT"),
    ("A WAIT OF # SECONDS IS REQUIRED TO SEND", "SLOWMODE_WAIT"),
    ("A WAIT OF # SECONDS IS REQUIRED BEFORE BEING", "TAKEOUT_INIT_DELAY"),
    ("CAN BE RESET IN #", "2FA_CONFIRM_WAIT"),
    ("PASSWORD WAS ADDED TOO RECENTLY AND # SECONDS", "PASSWORD_TOO_FRESH"),
    ("LOGGED IN TOO RECENTLY AND # SECONDS", "SESSION_TOO_FRESH"),
    ("MUST WAIT # MINUTES", "PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT_MIN"),
    ("IS CURRENTLY STORED IN DC #", "FILE_MIGRATE"),
    ("STATISTICS MUST BE FETCHED FROM DC #", "STATS_MIGRATE"),
    ("IP ADDRESS IS ASSOCIATED WITH DC #", "NETWORK_MIGRATE"),
    ("FOR AUTHORIZATION IS ASSOCIATED WITH DC #", "PHONE_MIGRATE"),
    ("EXECUTE QUERIES IS ASSOCIATED WITH DC #", "USER_MIGRATE"),
    ("RICH ERROR OCCURRED WHILE COMMUNICATING WITH DC #", "INTERDC_CALL_RICH_ERROR"),
    ("ERROR OCCURRED WHILE COMMUNICATING WITH DC #", "INTERDC_CALL_ERROR"),
    ("LENGTH OF THE CODE MUST BE #", "EMAIL_UNCONFIRMED"),
    ("PART # OF THE FILE IS MISSING", "FILE_PART_MISSING"),
    ("MESSAGE FAILED TO BE SENT.", "MSG_WAIT_FAILED"),
    ("REQUEST WAS UNSUCCESSFUL", "RPC_CALL_FAIL"),
    ("WRONG DATABASE ENCRYPTION KEY", "WRONG_DATABASE_KEY"),
    ("NO WORKERS RUNNING", "NO_WORKERS_RUNNING"),
    ("MEMORY LIMIT", "MEMORY_LIMIT"),
    ("INVALID MSGS_STATE_REQ QUERY", "INVALID_MSGS_STATE_REQ_QUERY"),
    ("INVALID RESPONSE BUFFER (HTTP CODE #", TRANSPORT),
    ("TRANSPORT ERROR - #", TRANSPORT),
    ("TRANSPORT ERROR: #", TRANSPORT),
    ("BAD STATUS (NEGATIVE LENGTH #", TRANSPORT),
    ("KNOW ABOUT THE AUTHORIZATION KEY", "TRANSPORT_404"),
];

/// What a transport error's name begins with; its number follows.
pub(super) const TRANSPORT: &str = "TRANSPORT";

/// The code that a word says, when it says no more than that; zero when it does not even say that.
pub(super) fn bare_code(word: &str) -> Option<i32> {
    BARE_CODES.iter().find(|row| row.0 == word).map(|row| row.1)
}

/// Telegram's name for what a class name gives.
pub(super) fn alias(name: &str) -> &str {
    ALIASES.iter().find(|row| row.0 == name).map_or(name, |row| row.1)
}

/// The name that a text in capitals speaks of, and its number.
pub(super) fn fragment(text: &str) -> Option<(&'static str, Option<i64>)> {
    FRAGMENTS.iter().find_map(|&(pattern, name)| match pattern.split_once('#') {
        Some((before, after)) => Some((name, Some(number_between(before, after, text)?))),
        None => text.contains(pattern).then_some((name, None)),
    })
}

/// The number that stands in a text after the one fragment and before the other.
fn number_between(before: &str, after: &str, text: &str) -> Option<i64> {
    let rest = &text[text.find(before)? + before.len()..];
    let (number, rest) = leading_number(rest)?;
    let fits = match after.strip_suffix('$') {
        Some(end) => rest.strip_prefix(end).is_some_and(|tail| tail.trim_end().is_empty()),
        None => rest.starts_with(after),
    };
    fits.then_some(number)
}

/// A number at the start of a text, and what follows. Too large a number is the largest.
pub(super) fn leading_number(text: &str) -> Option<(i64, &str)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return None;
    }
    let (digits, rest) = unsigned.split_at(digits);
    let size = digits.parse().unwrap_or(i64::MAX);
    Some((if unsigned.len() < text.len() { -size } else { size }, rest))
}
