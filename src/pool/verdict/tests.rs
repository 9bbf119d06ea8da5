//! Every known error, the traps one by one, and whatever a worker may make up.

use std::collections::BTreeMap;

use super::*;
use InvalidReason::{Banned, Deactivated, Expired, KeyDuplicated, Revoked};

const NOW: Time = Time(1_800_000_000_000);

/// The known errors: code, zero when not known, and name with `_X` for its number.
fn known() -> impl Iterator<Item = (i32, &'static str)> {
    let rows = include_str!("../../../tests/data/telegram_errors.tsv").lines().skip(1);
    rows.map(|row| {
        let (code, name) = row.split_once('\t').unwrap();
        (if code.is_empty() { 0 } else { code.parse().unwrap() }, name)
    })
}

fn error(code: i32, message: &str) -> Report {
    let method = "messages.getHistory".to_owned();
    let peer = "channel:1".to_owned();
    Report { code, message: message.to_owned(), method, peer, ..Report::default() }
}

/// `ACTION scope subject +wait other rule`, with the wait in seconds after `NOW`.
fn told(report: &Report) -> String {
    let verdict = judge(report, NOW);
    let scope = match &verdict.scope {
        Scope::Request => "request",
        Scope::Session => "session",
        Scope::Method(_) => "method",
        Scope::Peer(_) => "peer",
        Scope::Capability(_) => verdict.scope.subject(),
        Scope::Egress => "egress",
    };
    let wait = verdict.until.map_or_else(
        || verdict.retry_after.map_or(String::new(), |span| format!(" after {span}")),
        |at| format!(" +{}", at.since(NOW)),
    );
    let dc = verdict.dc.map_or(String::new(), |dc| format!(" dc{dc}"));
    let other = format!("{:?}", verdict.other_session);
    format!("{} {scope}{wait}{dc} {other} {}", verdict.action.name(), verdict.rule)
}

#[track_caller]
fn plays(table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (given, wanted) = line.split_once(" -> ").unwrap();
        let (code, message) = given.trim().split_once(' ').unwrap_or((given.trim(), ""));
        assert_eq!(told(&error(code.parse().unwrap(), message.trim())), wanted, "{given}");
    }
}

#[test]
fn every_known_error_has_one_rule_and_the_counts_are_these() {
    let wanted = "W1 1 W2 1 W3 1 W4 3 W5 5 W6 2 W7 1 W8 4 W9 2 W10 3 W11 1 L1 5 L2 1 L3 1 L4 54 \
        A1 15 D1 2 D2 2 D3 1 D4 4 D5 6 R1 1 R2 2 R3 2 R4 9 Q1 18 Q2 14 Q3 15 M1 3 M2 3 U1 3 T3 14 \
        C1 2 C2 14 T1 15 T2 41 P1 10 P2 12 P3 70 P4 19 P5 37 P6 3 N429 0 N444 0 N0 0 Z303 0 \
        Z400 523 Z401 0 Z403 5 Z404 0 Z406 20 Z420 0 Z0 29 Z5xx 9";
    let mut counts: BTreeMap<&str, u32> = Rule::all().iter().map(|rule| (rule.id, 0)).collect();
    for (code, name) in known() {
        let with_number = name.replace("_X", "_17");
        let verdicts = [name, &with_number, &with_number.to_lowercase()]
            .map(|message| judge(&error(code, message), NOW).rule);
        assert_eq!(verdicts, [verdicts[0]; 3], "{code} {name}");
        let (typed, now) = (Report { code, type_name: name.to_owned(), ..Report::default() }, NOW);
        assert_eq!(judge(&typed, now).rule, verdicts[0], "{code} {name}");
        *counts.get_mut(verdicts[0]).unwrap() += 1;
    }
    let ids: Vec<&str> = Rule::all().iter().map(|rule| rule.id).collect();
    let counted: Vec<String> = ids.iter().map(|id| format!("{id} {}", counts[id])).collect();
    assert_eq!(counted.join(" "), wanted);
    assert_eq!(counts.values().sum::<u32>(), 1008);
    assert_eq!(counts.len(), ids.len(), "an id stands twice");
}

#[test]
fn a_name_in_a_rule_means_the_same_under_every_code() {
    for (code, name) in known() {
        let rule = judge(&error(code, name), NOW).rule;
        for other in [0, 303, 400, 401, 403, 404, 406, 420, 429, 500, -503, 777] {
            let under_other = judge(&error(other, name), NOW).rule;
            // Only the server's own faults and the defaults look at the code.
            let by_code = |rule: &str| rule.starts_with('Z') || rule == "T2";
            let same = rule == under_other || by_code(rule) && !under_other.starts_with('D');
            assert!(same, "{name}: {rule} under {code}, {under_other} under {other}");
        }
    }
}

#[test]
fn names_that_look_alike_are_told_apart() {
    plays(
        "
        400 INPUT_USER_DEACTIVATED -> DENIED peer Maybe P4
        401 USER_DEACTIVATED -> INVALIDATED session Yes D1
        401 USER_DEACTIVATED_BAN -> INVALIDATED session Yes D1
        500 AUTH_KEY_UNSYNCHRONIZED -> RETRY request after 1s No D5
        401 AUTH_KEY_PERM_EMPTY -> RETRY request after 1s No D5
        401 AUTH_KEY_UNREGISTERED -> VERIFY session +60s Yes D4
        406 AUTH_KEY_DUPLICATED -> INVALIDATED session Yes D3
        401 SESSION_REVOKED -> INVALIDATED session Yes D2
        401 SESSION_EXPIRED -> INVALIDATED session Yes D2
        401 SESSION_PASSWORD_NEEDED -> LOGIN session Yes L3
        400 SESSION_TOO_FRESH_3600 -> COOL_DOWN method +3600s Maybe W6
        400 PASSWORD_TOO_FRESH_7 -> COOL_DOWN method +7s Maybe W6
        500 MSG_WAIT_FAILED -> RETRY request after 1s No T1
        420 MSG_WAIT_FAILED -> RETRY request after 1s No T1
        400 PEER_FLOOD -> RESTRICTED strangers +86400s Yes R1
        406 USER_RESTRICTED -> RESTRICTED create-chats +86400s Yes R2
        403 USER_RESTRICTED -> RESTRICTED create-chats +86400s Yes R2
        420 FROZEN_METHOD_INVALID -> RESTRICTED session +86400s Yes R3
        401 Wrong database encryption key -> FIX_REQUEST request No C2
        420 ADDRESS_INVALID -> FIX_REQUEST request No C2
        500 RANDOM_ID_DUPLICATE -> FIX_REQUEST request No T3
        400 PHONE_NUMBER_BANNED -> LOGIN request No L2
        406 PHONE_PASSWORD_FLOOD -> LOGIN request +86400s No L1
        400 API_ID_PUBLISHED_FLOOD -> APP request No A1
        403 RECAPTCHA_CHECK_signup__6Ldc_17 -> FIX_REQUEST request Maybe P6
        406 FRESH_CHANGE_ADMINS_FORBIDDEN -> COOL_DOWN method +86400s Maybe W8
        400 CHANNEL_PRIVATE -> DENIED peer Yes P3
        406 CHANNEL_PRIVATE -> DENIED peer Yes P3
        400 PREMIUM_ACCOUNT_REQUIRED -> DENIED request Premium Q2
        400 BOT_METHOD_INVALID -> DENIED request OtherKind Q3
        400 CHANNELS_TOO_MUCH -> DENIED method Yes Q1
        ",
    );
}

#[test]
fn a_wait_is_as_long_as_the_error_says_within_reason() {
    plays(
        "
        420 FLOOD_WAIT_17 -> COOL_DOWN method +18s Yes W1
        420 flood_wait_17 -> COOL_DOWN method +18s Yes W1
        420 FLOOD_WAIT_0 -> COOL_DOWN method +2s Yes W1
        420 FLOOD_WAIT_-5 -> COOL_DOWN method +2s Yes W1
        420 FLOOD_WAIT -> COOL_DOWN method +60s Yes W1
        420 FLOOD_WAIT_1209599 -> COOL_DOWN method +1209600s Yes W1
        420 FLOOD_WAIT_1209600 -> COOL_DOWN method +1209600s Yes W1
        420 FLOOD_WAIT_1800086400 -> COOL_DOWN method +1209600s Yes W1
        420 FLOOD_WAIT_99999999999999999999999 -> COOL_DOWN method +1209600s Yes W1
        420 FLOOD_PREMIUM_WAIT_9 -> COOL_DOWN transfer +9s Yes W2
        420 SLOWMODE_WAIT_30 -> COOL_DOWN peer +30s Yes W3
        420 2FA_CONFIRM_WAIT_604800 -> COOL_DOWN account +604800s No W4
        420 TAKEOUT_INIT_DELAY_5 -> COOL_DOWN takeout +5s No W4
        420 FLOOD_TEST_PHONE_WAIT_5 -> COOL_DOWN login +5s No W4
        400 STORY_SEND_FLOOD_WEEKLY_600 -> COOL_DOWN stories +600s Yes W5
        400 STORY_SEND_FLOOD_MONTHLY_1802592000 -> COOL_DOWN stories +2592000s Yes W5
        420 STORY_SEND_FLOOD_1799999999 -> COOL_DOWN stories +1s Yes W5
        420 STORY_SEND_FLOOD_1000000000 -> COOL_DOWN stories +1209600s Yes W5
        420 STORY_SEND_FLOOD_9999999999999 -> COOL_DOWN stories +31622400s Yes W5
        406 PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT_5MIN -> COOL_DOWN import +300s No W7
        406 PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT_-5MIN -> COOL_DOWN import +1s No W7
        420 FLOOD_SKIP_FAILED_WAIT -> RETRY request after 1s No W9
        400 TRANSLATE_REQ_QUOTA_EXCEEDED -> COOL_DOWN method +60s Maybe W10
        420 PREMIUM_SUB_ACTIVE_UNTIL_1800086400 -> FIX_REQUEST request +86400s No W11
        ",
    );
}

#[test]
fn what_no_rule_knows_falls_to_the_default_for_its_code() {
    plays(
        "
        303 NEW_THING_4 -> MIGRATE request dc4 No Z303
        400 NEW_THING -> FIX_REQUEST request No Z400
        401 NEW_THING -> VERIFY session +60s Yes Z401
        403 NEW_THING -> DENIED request Maybe Z403
        404 NEW_THING -> FIX_REQUEST request No Z404
        406 NEW_THING -> FIX_REQUEST request No Z406
        420 NEW_THING -> COOL_DOWN method +60s Yes Z420
        420 NEW_THING_90 -> COOL_DOWN method +90s Yes Z420
        420 NEW_THING_1800086400 -> COOL_DOWN method +86400s Yes Z420
        420 -> COOL_DOWN method +60s Yes Z420
        500 NEW_THING -> RETRY request after 1s No Z5xx
        -500 No workers running -> RETRY request after 1s No T2
        555 NEW_THING -> RETRY request after 1s No Z5xx
        0 NEW_THING -> FIX_REQUEST request No Z0
        0 -> FIX_REQUEST request No Z0
        ",
    );
    let verdict = judge(&error(555, ""), NOW);
    assert_eq!((verdict.name.as_str(), verdict.is_by_default()), ("CODE_555", true));
    assert!(!judge(&error(420, "FLOOD_WAIT_1"), NOW).is_by_default());
}

#[test]
fn the_transport_speaks_in_numbers() {
    let transport = |code, dc, home_dc| {
        told(&Report { transport_code: code, dc, home_dc, ..Report::default() })
    };
    assert_eq!(transport(-404, 0, 0), "VERIFY session +60s Yes D4");
    assert_eq!(transport(-404, 2, 2), "VERIFY session +60s Yes D4");
    assert_eq!(transport(-404, 4, 2), "RETRY request after 1s No D4");
    assert_eq!(transport(404, 2, 2), "VERIFY session +60s Yes D4");
    assert_eq!(transport(-429, 2, 2), "COOL_DOWN egress +10s OtherEgress N429");
    assert_eq!(transport(-444, 4, 2), "MIGRATE session dc2 No N444");
    assert_eq!(transport(-444, 4, 0), "MIGRATE session No N444");
    assert_eq!(transport(-1, 0, 0), "RETRY request after 1s No N0");
    assert_eq!(transport(i32::MIN, 0, 0), "RETRY request after 1s No N0");
    assert_eq!(told(&error(-404, "")), "VERIFY session +60s Yes D4");
}

#[test]
fn a_dead_session_is_told_from_one_that_is_not_at_home() {
    for (name, rule) in [("AUTH_KEY_UNREGISTERED", "D4"), ("NEW_THING", "Z401")] {
        let at = |dc, home_dc| told(&Report { dc, home_dc, ..error(401, name) });
        assert_eq!(at(2, 2), format!("VERIFY session +60s Yes {rule}"));
        assert_eq!(at(0, 2), format!("VERIFY session +60s Yes {rule}"));
        assert_eq!(at(4, 0), format!("VERIFY session +60s Yes {rule}"));
        assert_eq!(at(4, 2), format!("RETRY request after 1s No {rule}"));
    }
    let away = judge(&Report { dc: 4, home_dc: 2, ..error(401, "USER_DEACTIVATED_BAN") }, NOW);
    assert_eq!(away.action, Action::Invalidated(InvalidReason::Banned));
}

#[test]
fn an_invalidation_has_its_reason_and_its_reach() {
    let judged = |name| {
        let verdict = judge(&error(401, name), NOW);
        (verdict.action, verdict.reach)
    };
    for (name, reason, reach) in [
        ("USER_DEACTIVATED_BAN", Banned, Reach::Account),
        ("USER_DEACTIVATED", Deactivated, Reach::Account),
        ("SESSION_REVOKED", Revoked, Reach::Session),
        ("SESSION_EXPIRED", Expired, Reach::Session),
        ("AUTH_KEY_DUPLICATED", KeyDuplicated, Reach::Session),
    ] {
        assert_eq!(judged(name), (Action::Invalidated(reason), reach), "{name}");
    }
    for name in ["PEER_FLOOD", "USER_RESTRICTED", "FROZEN_METHOD_INVALID"] {
        assert_eq!(judged(name), (Action::Restricted, Reach::Account), "{name}");
    }
}

#[test]
fn a_timeout_of_a_bot_is_not_repeated() {
    let asked =
        |method: &str, code, name| told(&Report { method: method.to_owned(), ..error(code, name) });
    for method in [
        "messages.getBotCallbackAnswer",
        "messages.GetBotCallbackAnswer",
        "GetBotCallbackAnswerRequest",
        "messages.getInlineBotResults",
    ] {
        assert_eq!(asked(method, -503, "Timeout"), "FIX_REQUEST request No T1", "{method}");
    }
    assert_eq!(asked("messages.search", -503, "Timeout"), "RETRY request after 1s No T1");
    let silent = asked("messages.search", 400, "BOT_RESPONSE_TIMEOUT");
    assert_eq!(silent, "FIX_REQUEST request No T1");
}

#[test]
fn what_the_report_does_not_name_widens_only_what_is_closed() {
    let named = |message, method: &str, peer: &str| {
        let (method, peer) = (method.to_owned(), peer.to_owned());
        judge(&Report { method, peer, ..error(420, message) }, NOW).scope
    };
    let method = Scope::Method("m".to_owned());
    assert_eq!(named("FLOOD_WAIT_5", "m", "p"), method);
    assert_eq!(named("FLOOD_WAIT_5", "", "p"), Scope::Session);
    assert_eq!(named("SLOWMODE_WAIT_5", "m", "p"), Scope::Peer("p".to_owned()));
    assert_eq!(named("SLOWMODE_WAIT_5", "m", ""), method);
    assert_eq!(named("SLOWMODE_WAIT_5", "", ""), Scope::Session);
    assert_eq!(named("SESSION_TOO_FRESH_5", "", ""), Scope::Capability(Capability::Account));
    assert_eq!(named("CHANNELS_TOO_MUCH", "", ""), Scope::Request);
    assert_eq!(named("CHANNEL_PRIVATE", "m", ""), Scope::Request);
}

#[test]
fn a_wait_counts_from_the_error_and_never_from_tomorrow() {
    let until = |occurred_at| {
        judge(&Report { occurred_at, ..error(420, "FLOOD_WAIT_99") }, NOW).until.unwrap()
    };
    assert_eq!(until(None), NOW + Span::secs(100));
    assert_eq!(until(Some(NOW - Span::secs(40))), NOW + Span::secs(60));
    assert_eq!(until(Some(NOW + Span::secs(40))), NOW + Span::secs(100));
    assert_eq!(until(Some(Time(0))), Time(100_000));
}

#[test]
fn a_wait_that_a_library_made_up_is_judged_like_any_other() {
    let asked = error(420, "FLOOD_WAIT_99");
    let made_up = Report { local: true, ..asked.clone() };
    assert_eq!(judge(&made_up, NOW), judge(&asked, NOW));
}

#[test]
fn only_cool_downs_and_restrictions_close_something() {
    let closes = |code, name| judge(&error(code, name), NOW).closes().map(|(_, until)| until);
    assert_eq!(closes(420, "FLOOD_WAIT_9"), Some(NOW + Span::secs(10)));
    assert_eq!(closes(400, "PEER_FLOOD"), Some(NOW + Span::hours(24)));
    for (code, name) in [
        (406, "PHONE_PASSWORD_FLOOD"),
        (420, "PREMIUM_SUB_ACTIVE_UNTIL_1800086400"),
        (401, "AUTH_KEY_UNREGISTERED"),
        (400, "CHANNEL_PRIVATE"),
    ] {
        assert_eq!(closes(code, name), None, "{name}");
    }
}

#[test]
fn every_rule_says_why_in_one_sentence() {
    for rule in Rule::all() {
        let special = rule.except.iter().map(|(_, ruling)| ruling);
        for ruling in special.chain([&rule.ruling]) {
            let why = ruling.why;
            assert!(why.ends_with('.') && why.matches(". ").count() == 0, "{}: {why}", rule.id);
        }
    }
}

/// Small, seeded and our own, so that a failure can be played again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn number(&mut self) -> i64 {
        let numbers = [0, 1, -1, 17, 59, 1_000_000_000, 1_800_086_400, i64::MAX, i64::MIN, 1 << 40];
        numbers[self.below(numbers.len())]
    }

    /// A text out of pieces that libraries write, and of pieces that nobody does.
    fn text(&mut self, names: &[&str]) -> String {
        const PIECES: [&str; 28] = [
            "_",
            "[",
            "]",
            "(",
            ")",
            ": ",
            " ",
            "-",
            "420",
            "-503",
            "_17",
            "_X",
            "%d",
            "5MIN",
            "rpc error code ",
            "RPCError ",
            "A wait of ",
            " seconds is required",
            "Too Many Requests: retry after ",
            "99999999999999999999",
            "caused by \"",
            "Error",
            "é",
            "\u{1F600}",
            "\0",
            "FloodWaitError",
            "messages.SendMessage",
            "X",
        ];
        let mut text = String::new();
        for _ in 0..self.below(12) {
            let from: &[&str] = if self.below(3) == 0 { names } else { &PIECES };
            text.push_str(self.pick(from));
        }
        if self.below(50) == 0 { text.repeat(200) } else { text }
    }
}

#[test]
fn no_report_panics_waits_without_end_or_says_without_limit() {
    let names: Vec<&str> = known().map(|(_, name)| name).collect();
    let codes = [0, 303, 400, 401, 403, 404, 406, 420, 429, 500, -503, -404, i32::MIN, i32::MAX];
    let mut random = Random(0x7e1e_9a7e);
    for turn in 0..5_000 {
        let mut report = error(codes[random.below(codes.len())], &random.text(&names));
        report.type_name = random.text(&names);
        report.argument = [None, Some(random.number())][random.below(2)];
        report.transport_code = [0, 0, 0, -404, -429, -444, i32::MIN][random.below(7)];
        report.method = random.text(&names);
        report.peer = random.text(&names);
        report.occurred_at = [None, Some(Time(0)), Some(Time(u64::MAX))][random.below(3)];
        let now = [NOW, Time(0), Time(u64::MAX)][random.below(3)];
        let verdict = judge(&report, now);
        let since = report.occurred_at.map_or(now, |at| at.min(now));
        let wait = verdict.until.map_or(Span::ZERO, |until| until.since(since));
        assert!(wait <= FARTHEST_DATE, "turn {turn}: {report:?} {verdict:?}");
        assert!(verdict.name.len() <= 128, "turn {turn}: {}", verdict.name);
        assert!(verdict.scope.subject().len() <= 128, "turn {turn}");
        assert_eq!(judge(&report, now), verdict, "turn {turn}");
    }
}

#[test]
fn only_a_date_is_believed_beyond_a_fortnight() {
    let mut random = Random(0x5eed);
    for (code, name) in known() {
        let report = Report { argument: Some(random.number()), ..error(code, name) };
        let verdict = judge(&report, NOW);
        let wait = verdict.until.map_or(Span::ZERO, |until| until.since(NOW));
        let rule = Rule::all().iter().find(|rule| rule.id == verdict.rule).unwrap();
        let dated = rule.ruling.wait == Wait::DateOrSeconds;
        assert!(wait <= LONGEST_WAIT || dated, "{name}: {wait}");
    }
}
