//! The shapes in which libraries tell an error, each as the library wrote it.

use super::*;

fn sighted(report: &Report) -> String {
    let seen = sight(report);
    let argument = seen.argument.map_or(String::new(), |number| format!(" {number}"));
    format!("{}{argument} ({})", seen.name, seen.code)
}

#[track_caller]
fn reads(cases: &[(&str, &str)]) {
    for (message, wanted) in cases {
        let report = Report { message: (*message).to_owned(), ..Report::default() };
        assert_eq!(sighted(&report), *wanted, "{message}");
    }
}

#[test]
fn a_raw_message_gives_its_name_and_number() {
    reads(&[
        ("FLOOD_WAIT_17", "FLOOD_WAIT 17 (0)"),
        ("flood_wait_17", "FLOOD_WAIT 17 (0)"),
        (" FLOOD_WAIT_17\n", "FLOOD_WAIT 17 (0)"),
        ("FLOOD_WAIT_X", "FLOOD_WAIT (0)"),
        ("FLOOD_WAIT_%d", "FLOOD_WAIT (0)"),
        ("FILE_PART_3_MISSING", "FILE_PART_MISSING 3 (0)"),
        ("2FA_CONFIRM_WAIT_604800", "2FA_CONFIRM_WAIT 604800 (0)"),
        ("PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT_5MIN", "PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT_MIN 5 (0)"),
        ("PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT_%dMIN", "PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT_MIN (0)"),
        ("ADMIN_ID_INVALID", "ADMIN_ID_INVALID (0)"),
        ("MD5_CHECKSUM_INVALID", "MD5_CHECKSUM_INVALID (0)"),
        ("RECAPTCHA_CHECK_signup__6Ldc.AB-c", "RECAPTCHA_CHECK (0)"),
        ("No workers running", "NO_WORKERS_RUNNING (0)"),
        ("Timeout", "TIMEOUT (0)"),
        ("memory limit(?)", "MEMORY_LIMIT (0)"),
        ("chat not found", " (0)"),
        ("17", " (0)"),
        ("", " (0)"),
    ]);
}

#[test]
fn telethon_and_gramjs_write_a_code_and_a_name_or_a_sentence() {
    reads(&[
        ("RPCError 400: NEW_THING (caused by GetHistoryRequest)", "NEW_THING (400)"),
        ("RPCError -500: No workers running (caused by X)", "NO_WORKERS_RUNNING (-500)"),
        ("A wait of 17 seconds is required (caused by GetHistoryRequest)", "FLOOD_WAIT 17 (0)"),
        ("telethon.errors.rpcerrorlist.ChatAdminRequiredError: Chat", "CHAT_ADMIN_REQUIRED (0)"),
        (
            "A wait of 9 seconds is required before sending another message in this chat (caused \
             by SendMessageRequest)",
            "SLOWMODE_WAIT 9 (0)",
        ),
        ("420: NEW_WAIT_17 (caused by messages.SendMessage)", "NEW_WAIT 17 (420)"),
        ("RPCError: 400: CHANNEL_INVALID (caused by x)", "CHANNEL_INVALID (400)"),
        ("Request was unsuccessful 5 time(s)", "RPC_CALL_FAIL (0)"),
        ("The file to be accessed is currently stored in DC 4", "FILE_MIGRATE 4 (0)"),
        ("Invalid response buffer (HTTP code 429)", "TRANSPORT_429 (0)"),
    ]);
}

#[test]
fn the_pyrogram_family_writes_brackets() {
    reads(&[
        (
            "Telegram says: [420 FLOOD_WAIT_X] - A wait of 17 seconds is required (caused by \
             \"messages.SendMessage\")",
            "FLOOD_WAIT 17 (420)",
        ),
        (
            "Telegram says: [303 FILE_MIGRATE_X] - The file is stored in DC4.",
            "FILE_MIGRATE 4 (303)",
        ),
        (
            "Telegram says: [400 SESSION_TOO_FRESH_X] - It is less than 24 hours old, try again in \
             86399 seconds.",
            "SESSION_TOO_FRESH 86399 (400)",
        ),
        ("Telegram says: [420 Flood] - [420 NEW_WAIT_17] ", "NEW_WAIT 17 (420)"),
        ("Telegram says: [520 Unknown error] - [555 NEW_THING]", "NEW_THING (555)"),
        ("Telegram says: [-503 Timeout] - Timed out after 5", "TIMEOUT (-503)"),
        ("[400 CHANNEL_INVALID]", "CHANNEL_INVALID (400)"),
        ("Server sent transport error - 404 - (auth key not found).", "TRANSPORT_404 (0)"),
    ]);
}

#[test]
fn gotd_grammers_and_mtcute_write_each_their_own() {
    reads(&[
        ("rpc error code 420: FLOOD_WAIT (17)", "FLOOD_WAIT 17 (420)"),
        ("send: rpcDoRequest: rpc error code 400: CHANNEL_INVALID", "CHANNEL_INVALID (400)"),
        (
            "request error: rpc error 420: FLOOD_WAIT caused by messages.getHistory (value: 17)",
            "FLOOD_WAIT 17 (420)",
        ),
        ("rpc error 420: 2FA_CONFIRM_WAIT59200 (value: 2)", "2FA_CONFIRM_WAIT 259200 (420)"),
        ("rpc error 420: 2FA_CONFIRM_WAIT_604800 (value: 2)", "2FA_CONFIRM_WAIT 604800 (420)"),
        ("rpc error 500: INTERDC_CALL_ERROR (value: 2)", "INTERDC_CALL_ERROR 2 (500)"),
        ("transport error: bad status (negative length -404)", "TRANSPORT_404 (0)"),
        ("Unknown RPC error: [420:FLOOD_PREMIUM_WAIT_17]", "FLOOD_PREMIUM_WAIT 17 (420)"),
    ]);
}

#[test]
fn tdlib_and_the_bot_api_say_too_many_requests() {
    reads(&[
        ("Too Many Requests: retry after 17", "FLOOD_WAIT 17 (429)"),
        ("429: Too Many Requests: retry after 17", "FLOOD_WAIT 17 (429)"),
        (
            "Call to 'sendMessage' failed! (429: Too Many Requests: retry after 17)",
            "FLOOD_WAIT 17 (0)",
        ),
        ("Flood control exceeded. Retry in 17 seconds", "FLOOD_WAIT 17 (0)"),
        ("Wrong database encryption key", "WRONG_DATABASE_KEY (0)"),
        ("Bad Request: PEER_ID_INVALID", "PEER_ID_INVALID (400)"),
        ("Forbidden: bot was blocked by the user", " (403)"),
        ("Unauthorized", " (401)"),
    ]);
    let retry_after = Report { code: 429, argument: Some(17), ..Report::default() };
    assert_eq!(sighted(&retry_after), "FLOOD_WAIT 17 (429)");
}

#[test]
fn a_type_comes_before_a_message_and_its_own_number_before_the_argument() {
    let read = |type_name: &str, argument, message: &str| {
        let (type_name, message) = (type_name.to_owned(), message.to_owned());
        sighted(&Report { type_name, argument, message, ..Report::default() })
    };
    assert_eq!(read("FLOOD_WAIT", Some(17), "FLOOD_WAIT_17"), "FLOOD_WAIT 17 (0)");
    assert_eq!(read("FLOOD_WAIT_17", None, ""), "FLOOD_WAIT 17 (0)");
    assert_eq!(read("2FA_CONFIRM_WAIT_604800", Some(2), ""), "2FA_CONFIRM_WAIT 604800 (0)");
    assert_eq!(read("2FA_CONFIRM_WAIT59200", Some(2), ""), "2FA_CONFIRM_WAIT 259200 (0)");
    let minutes = "PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT_MIN 5 (0)";
    assert_eq!(read("PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT_5MIN", Some(0), ""), minutes);
    assert_eq!(
        read("PREVIOUS_CHAT_IMPORT_ACTIVE_WAITMIN", Some(5), ""),
        "PREVIOUS_CHAT_IMPORT_ACTIVE_WAITMIN 5 (0)"
    );
    let sentence = "A wait of 17 seconds is required";
    assert_eq!(read("FloodWaitError", None, sentence), "FLOOD_WAIT 17 (0)");
}

#[test]
fn a_class_is_as_good_as_a_name_unless_it_is_a_base_class() {
    let read = |type_name: &str, message: &str| {
        let (type_name, message) = (type_name.to_owned(), message.to_owned());
        sighted(&Report { type_name, message, ..Report::default() })
    };
    for (class, wanted) in [
        ("SlowModeWaitError", "SLOWMODE_WAIT (0)"),
        ("SlowmodeWait", "SLOWMODE_WAIT (0)"),
        ("pyrogram.errors.exceptions.flood_420.FloodWait", "FLOOD_WAIT (0)"),
        ("TwoFaConfirmWaitError", "2FA_CONFIRM_WAIT (0)"),
        ("InterdcCallErrorError", "INTERDC_CALL_ERROR (0)"),
        ("FileMigrate400", "FILE_MIGRATE (0)"),
        ("TimeoutError", "TIMEOUT (0)"),
        ("TimedOutError", "TIMEOUT (503)"),
        ("AuthKeyNotFound", "TRANSPORT_404 (0)"),
    ] {
        assert_eq!(read(class, ""), wanted, "{class}");
    }
    assert_eq!(read("BadRequestError", "NEW_THING_5"), "NEW_THING 5 (400)");
    assert_eq!(read("AuthKeyError", "AUTH_KEY"), " (406)");
    assert_eq!(read("RPCError", "CHANNEL_INVALID"), "CHANNEL_INVALID (0)");
    assert_eq!(read("FloodError", "FLOOD"), " (420)");
    assert_eq!(read("OSError", "Server sent transport error - 429"), "TRANSPORT_429 (0)");
}

#[test]
fn a_message_may_name_the_method_that_the_report_does_not() {
    let method = |message: &str, method: &str| {
        let (message, method) = (message.to_owned(), method.to_owned());
        sight(&Report { message, method, ..Report::default() }).method
    };
    let pyrogram = "Telegram says: [420 FLOOD_WAIT_X] - (caused by \"messages.SendMessage\")";
    assert_eq!(method(pyrogram, ""), "messages.sendMessage");
    assert_eq!(method(pyrogram, "channels.getFullChannel"), "channels.getFullChannel");
    assert_eq!(method("A wait (caused by GetHistoryRequest)", ""), "");
    assert_eq!(
        method("rpc error 420: X caused by users.getUsers (value: 2)", ""),
        "users.getUsers"
    );
}

#[test]
fn no_more_is_read_than_the_limits_allow() {
    let at_limit = "A".repeat(MAX_NAME - 2) + "_B";
    reads(&[(&at_limit, &format!("{at_limit} (0)")), (&format!("{at_limit}C"), " (0)")]);
    let behind = " ".repeat(MAX_MESSAGE - 21) + ".[420 FLOOD_WAIT_17]";
    let (behind, cut) = (behind.trim_start().to_owned(), ".".repeat(MAX_MESSAGE - 18));
    reads(&[(&behind, "FLOOD_WAIT 17 (420)"), (&format!("{cut}[420 FLOOD_WAIT_17]"), " (0)")]);
    assert_eq!(clip("aé", 2), "a");
}
