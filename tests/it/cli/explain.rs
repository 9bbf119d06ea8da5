//! `telegate explain`, without a broker.

use super::{Said, run, words};

#[test]
fn a_reason_of_the_broker_prints_its_page_of_the_manual() {
    for word in ["POOL_DEPLETED", "pool_depleted", "pool-depleted", "ERROR_REASON_POOL_DEPLETED"] {
        let said = words(&format!("explain {word}")).done();
        assert!(
            said.starts_with("### POOL_DEPLETED\n\n`FAILED_PRECONDITION`, HTTP 503."),
            "{said}"
        );
        assert!(said.contains("\n- What to do: Find out with `probe`"), "{said}");
        assert!(said.contains("\n  Code: FailedPrecondition\n"), "{said}");
    }
    let told = words("explain permission_missing --json").json();
    assert_eq!(told["reason"], "PERMISSION_MISSING");
    assert_eq!(told["situations"].as_array().unwrap().len(), 3);
    assert_eq!(told["situations"][0]["code"], "PERMISSION_DENIED");
}

#[test]
fn a_rule_is_explained_by_its_id() {
    let said = words("explain d4").done();
    assert!(said.starts_with("### D4\n\n`AUTH_KEY_UNREGISTERED`, "), "{said}");
    assert!(said.contains("\nFrom a data centre that is not the session's home:\n"), "{said}");
}

#[test]
fn an_error_of_telegram_is_judged_in_every_shape() {
    let flood = "COOL_DOWN: leave the scope alone until its time";
    for (word, name, rule, wait) in [
        ("FLOOD_WAIT_17", "FLOOD_WAIT", "W1", "18s"),
        ("flood_wait_17", "FLOOD_WAIT", "W1", "18s"),
        ("Too Many Requests: retry after 5", "FLOOD_WAIT", "W1", "6s"),
        ("[420 FLOOD_WAIT_X]", "FLOOD_WAIT", "W1", "1m"),
        ("FloodWaitError", "FLOOD_WAIT", "W1", "1m"),
        ("420", "CODE_420", "Z420", "1m"),
        ("SLOWMODE_WAIT_30", "SLOWMODE_WAIT", "W3", "30s"),
    ] {
        let said = run(["explain", word]);
        let ruled = format!("{rule} (docs/errors.md#rule-{})", rule.to_lowercase());
        let fields = ["name", "rule", "action", "until"].map(|field| said.field(field));
        let until = format!("{wait} after the error");
        assert_eq!(fields, [name.to_owned(), ruled, flood.to_owned(), until], "{word}");
    }
    let dead = words("explain AUTH_KEY_UNREGISTERED");
    assert_eq!(dead.field("another session"), "helps");
    assert_eq!(
        dead.field("why"),
        "Telegram does not know the key; often, not always, the session \
        is dead."
    );
    for line in ["explain -404", "explain -- -404"] {
        assert_eq!(words(line).field("name"), "TRANSPORT_404", "{line}");
    }
}

#[test]
fn options_tell_what_the_error_does_not() {
    let scope = |line: &str| words(&format!("explain {line}")).field("scope");
    assert_eq!(scope("FLOOD_WAIT_17"), "the whole session; with --method, that method alone");
    assert_eq!(
        scope("FLOOD_WAIT_17 --method messages.getHistory"),
        "the method messages.getHistory"
    );
    assert_eq!(scope("SLOWMODE_WAIT_17 --peer channel:1"), "the chat or user channel:1");
    assert_eq!(scope("USER_DEACTIVATED"), "the whole session, of every session of the account");
    let away = words("explain AUTH_KEY_UNREGISTERED --dc 4 --home-dc 2");
    assert!(away.field("action").starts_with("RETRY: "), "{away:?}");
    assert_eq!(away.field("retry after"), "1s");
    assert_eq!(words("explain FILE_MIGRATE_4").field("go to"), "data centre 4");
}

#[test]
fn a_verdict_is_told_as_json() {
    let told = words("explain FLOOD_WAIT_17 --method messages.getHistory --json").json();
    assert_eq!(
        told,
        serde_json::json!({
            "name": "FLOOD_WAIT",
            "known": true,
            "rule": "W1",
            "action": "COOL_DOWN",
            "scope": "METHOD",
            "subject": "messages.getHistory",
            "account": false,
            "wait": "18s",
            "retryAfter": null,
            "dc": null,
            "anotherSession": "helps",
            "why": "This session called this method too often; it may again after the wait.",
        })
    );
}

#[test]
fn an_unknown_word_is_refused_with_what_is_near_or_the_defaults() {
    let refused = |line: &str| {
        let said: Said = words(line);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
        said.err
    };
    for (word, near) in [
        ("POOL_BUSSY", "POOL_BUSY"),
        ("FLOD_WAIT_17", "FLOOD_WAIT"),
        ("AUTH_KEY_DUPLICATE", "AUTH_KEY_DUPLICATED"),
    ] {
        let said = refused(&format!("explain {word}"));
        assert!(said.contains(&format!("next: did you mean {near}")), "{said}");
    }
    let said = refused("explain hello world");
    assert!(said.starts_with("error: no reason and no rule is named 'hello world'\n"), "{said}");
    assert!(said.contains("400 FIX_REQUEST, 401 VERIFY"), "{said}");
    assert!(refused("explain 0").starts_with("error: no reason and no rule is named '0'\n"));
    for (line, wrong) in [("explain", "<WORD>"), ("explain W1 --key k", "has no use for --key")] {
        let usage = words(line);
        assert!(usage.code == 64 && usage.err.contains(wrong), "{usage:?}");
    }

    // With its code, the default for the code is the verdict, and that is said.
    let told = words("explain ABOUT_TOO_LONG --code 400");
    let known = "no rule knows the name: Z400, the default for the code, decides";
    assert_eq!(told.field("known"), known);
    assert!(told.field("action").starts_with("FIX_REQUEST: "), "{told:?}");
    let near = run(["explain", "[420 FLOD_WAIT_17]"]).field("known");
    assert!(near.ends_with("; did you mean FLOOD_WAIT"), "{near}");
}
