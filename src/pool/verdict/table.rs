//! THE RULES, as data. The first row that matches a canonical name and a code decides.
//!
//! Names come before codes, because one name occurs under several codes and some libraries put
//! their own in. The rows at the end are the defaults for names that no row knows.

use super::{
    Action::{
        App, CoolDown, Denied, FixRequest, Invalidated, Login, Migrate, Restricted, Retry, Verify,
    },
    Capability,
    OtherSession::{Maybe, No, OtherEgress, OtherKind, Premium, Yes},
    Reach,
    rules::{
        Codes,
        Place::{self, Egress, Method, MethodOr, Peer, Request, Session},
        Rule, Ruling,
        Wait::{self, DateOrSeconds, Fixed, Growing, Minutes, Seconds, Unknown},
        When,
    },
};
use crate::pool::{InvalidReason, Span};

/// The argument as it is.
const EXACT: Wait = Seconds { margin: Span::ZERO };
/// The argument and a second, since Telegram rounds flood waits down.
const FLOOD: Wait = Seconds { margin: Span::secs(1) };
/// For what passes at once.
const SOON: Wait = Fixed(Span::secs(1));
/// For what the clock of Telegram counts in days.
const DAY: Wait = Fixed(Span::hours(24));
/// For the server's own trouble.
const BACKOFF: Wait = Growing { first: Span::secs(1), most: Span::secs(60) };
/// For a restriction whose end nobody tells.
const RECHECK: Wait = Growing { first: Span::hours(24), most: Span::hours(7 * 24) };
/// For a session that may be dead.
const PROBE: Wait = Growing { first: Span::secs(60), most: Span::minutes(10) };

/// The rules, in order. Rows are kept as rows, for the eye.
#[rustfmt::skip]
pub(super) static RULES: &[Rule] = &[
    // Waits.
    rule("W1", &["FLOOD_WAIT"], ruling(CoolDown, Method, FLOOD, Yes,
        "This session called this method too often; it may again after the wait.")),
    rule("W2", &["FLOOD_PREMIUM_WAIT"],
        ruling(CoolDown, Place::Capability(Capability::Transfer), EXACT, Yes,
        "This session transferred more than an account without Premium may; other calls go on.")),
    rule("W3", &["SLOWMODE_WAIT"], ruling(CoolDown, Peer, EXACT, Yes,
        "The chat is in slow mode: this session may write to it again after the wait.")),
    rule("W4", &["FLOOD_TEST_PHONE_WAIT", "TAKEOUT_INIT_DELAY", "2FA_CONFIRM_WAIT"],
        ruling(CoolDown, Place::Capability(Capability::Login), EXACT, No,
        "Test numbers log in too often; logging in rests."))
        .except(&[
            (When::Named("TAKEOUT_INIT_DELAY"),
                ruling(CoolDown, Place::Capability(Capability::Takeout), EXACT, No,
                "The owner has to confirm the export of the data, or the wait to pass.")),
            (When::Named("2FA_CONFIRM_WAIT"),
                ruling(CoolDown, Place::Capability(Capability::Account), EXACT, No,
                "The account is protected by a password: its deletion has to wait.")),
        ]),
    rule("W5", &["STORY_SEND_FLOOD(|_WEEKLY|_MONTHLY)"],
        ruling(CoolDown, Place::Capability(Capability::Stories), DateOrSeconds, Yes,
        "The account posted as many stories as it may; the number is a date or seconds.")),
    rule("W6", &["(PASSWORD|SESSION)_TOO_FRESH"],
        ruling(CoolDown, MethodOr(Capability::Account), EXACT, Maybe,
        "The password or the session is too new for this; it is neither dead nor flooded.")),
    rule("W7", &["PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT(_|)MIN", "PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT"],
        ruling(CoolDown, Place::Capability(Capability::Import), Minutes, No,
        "An import into this chat still runs; the number is minutes.")),
    rule("W8", &["FRESH_(CHANGE_ADMINS|CHANGE_PHONE|RESET_AUTHORISATION)_FORBIDDEN"],
        ruling(CoolDown, MethodOr(Capability::Account), DAY, Maybe,
        "A session must be a day old for this.")),
    rule("W9", &["FLOOD_SKIP_FAILED_WAIT*", "WORKER_BUSY_TOO_LONG_RETRY"],
        ruling(Retry, Request, SOON, No,
        "The server was busy for a moment.")),
    rule("W10", &["AICOMPOSE_FLOOD_PREMIUM", "STARREF_AWAITING_END",
        "TRANSLATE_REQ_QUOTA_EXCEEDED"],
        ruling(CoolDown, MethodOr(Capability::Extras), DAY, Maybe,
        "The account used up what it has of this for a day."))
        .except(&[(When::Named("TRANSLATE_REQ_QUOTA_EXCEEDED"),
            ruling(CoolDown, MethodOr(Capability::Extras),
            Growing { first: Span::secs(60), most: Span::hours(1) }, Maybe,
            "Telegram is short of translators for a while."))]),
    rule("W11", &["PREMIUM_SUB_ACTIVE_UNTIL"], ruling(FixRequest, Request, DateOrSeconds, No,
        "The account has Premium until that date; there is nothing to buy.")),

    // Logging in.
    rule("L1", &["PHONE_NUMBER_FLOOD", "PHONE_PASSWORD_FLOOD", "SEND_CODE_UNAVAILABLE",
        "PHONE_PASSWORD_PROTECTED", "SMS_CODE_CREATE_FAILED"],
        ruling(Login, Request, DAY, No,
        "Telegram sends this phone number no more codes today; sessions that exist are fine.")),
    rule("L2", &["PHONE_NUMBER_BANNED"], ruling(Login, Request, Unknown, No,
        "The phone number that was to log in is banned; that says nothing of this session.")),
    rule("L3", &["SESSION_PASSWORD_NEEDED"], ruling(Login, Session, Unknown, Yes,
        "The session is half logged in: its owner has to enter the second password.")),
    rule("L4", &["PHONE_(CODE|NUMBER|HASH)_*", "PHONE_NOT_OCCUPIED", "AUTH_TOKEN_*",
        "AUTH_BYTES_INVALID", "BOT_TOKEN*", "ACCESS_TOKEN_*", "(|TMP_)PASSWORD_*", "SRP_*",
        "NEW_PASSWORD_BAD", "EMAIL_*", "CODE_(EMPTY|HASH_INVALID|INVALID)", "SIGN_IN_FAILED",
        "PASSKEY_*", "(FIRST|LAST)NAME_INVALID", "NEW_(SETTINGS|SALT)_*", "WEBAUTH_TOKEN_EXPIRED"],
        ruling(Login, Request, Unknown, No,
        "What was entered to log in or to prove oneself is wrong.")),
    rule("A1", &["API_ID_(INVALID|PUBLISHED_FLOOD)",
        "CONNECTION_(API_ID_INVALID|APP_VERSION_EMPTY|DEVICE_MODEL_EMPTY|LANG_PACK_INVALID)",
        "CONNECTION_(LANG_CODE_INVALID|SYSTEM_EMPTY|SYSTEM_LANG_CODE_EMPTY)",
        "UPDATE_APP_TO_LOGIN", "APP_VERSION_OUTDATED",
        "LANG_CODE_(EMPTY|INVALID|NOT_SUPPORTED)", "LANG_PACK_INVALID"],
        ruling(App, Request, Unknown, No,
        "Telegram rejects the application id or how the device presents itself.")),

    // Dead, or perhaps.
    rule("D1", &["USER_DEACTIVATED_BAN", "USER_DEACTIVATED"],
        ruling(Invalidated(InvalidReason::Banned), Session, Unknown, Yes,
        "Telegram banned the account, and with it every session of it.").of_account())
        .except(&[(When::Named("USER_DEACTIVATED"),
            ruling(Invalidated(InvalidReason::Deactivated), Session, Unknown, Yes,
            "The account was deleted, and with it every session of it.").of_account())]),
    rule("D2", &["SESSION_REVOKED", "SESSION_EXPIRED"],
        ruling(Invalidated(InvalidReason::Revoked), Session, Unknown, Yes,
        "The owner ended this session; the account's others live on."))
        .except(&[(When::Named("SESSION_EXPIRED"),
            ruling(Invalidated(InvalidReason::Expired), Session, Unknown, Yes,
            "This session expired; the account's others live on."))]),
    rule("D3", &["AUTH_KEY_DUPLICATED"],
        ruling(Invalidated(InvalidReason::KeyDuplicated), Session, Unknown, Yes,
        "The session was used over two connections at once, and Telegram destroyed it.")),
    rule("D4", &["AUTH_KEY_UNREGISTERED", "AUTH_KEY_INVALID", "ACTIVE_USER_REQUIRED",
        "ENCRYPTED_MESSAGE_INVALID", "TRANSPORT_404"],
        ruling(Verify, Session, PROBE, Yes,
        "Telegram does not know the key; often, not always, the session is dead."))
        .except(&[(When::AwayFromHome, AWAY)]),
    rule("D5", &["AUTH_KEY_PERM_EMPTY", "TEMP_AUTH_KEY_(EMPTY|ALREADY_BOUND)",
        "AUTH_KEY_UNSYNCHRONIZED", "AUTH_RESTART"],
        ruling(Retry, Request, SOON, No,
        "The client has to bind its temporary key anew, or simply to repeat.")),

    // Restricted.
    rule("R1", &["PEER_FLOOD"],
        ruling(Restricted, Place::Capability(Capability::Strangers), RECHECK, Yes,
        "The account may not write to strangers, invite or add them; nobody tells until when.")
        .of_account()),
    rule("R2", &["USER_RESTRICTED"],
        ruling(Restricted, Place::Capability(Capability::CreateChats), RECHECK, Yes,
        "The account was reported for spam and may not create chats or promote.").of_account()),
    rule("R3", &["FROZEN_(METHOD_INVALID|PARTICIPANT_MISSING)"],
        ruling(Restricted, Session, RECHECK, Yes,
        "The account is frozen until its owner's appeal is heard.").of_account()),
    rule("R4", &["USER_BANNED_IN_CHANNEL", "CHAT_RESTRICTED", "EDIT_MESSAGE_TEMP_RESTRICTED",
        "SENSITIVE_CHANGE_FORBIDDEN", "NOT_ELIGIBLE", "NOT_ALLOWED", "ACCESS_DENIED"],
        ruling(Denied, Peer, Unknown, Yes,
        "This account is kept from doing this here; in several chats at once it means spam.")),
    rule("Q1", &["CHANNELS_TOO_MUCH", "CHANNELS_ADMIN_(PUBLIC|LOCATED)_TOO_MUCH",
        "PINNED_DIALOGS_TOO_MUCH", "PINNED_TOO_MUCH", "CHATLISTS_TOO_MUCH", "CHATLINKS_TOO_MUCH",
        "FILTER_INCLUDE_TOO_MUCH", "DIALOG_FILTERS_TOO_MUCH", "BOT_CREATE_LIMIT_EXCEEDED",
        "STORIES_TOO_MUCH", "USERNAMES_ACTIVE_TOO_MUCH", "QUICK_REPLIES_TOO_MUCH",
        "SCHEDULE_TOO_MUCH", "ALBUM_PHOTOS_TOO_MANY", "ALBUMS_TOO_MANY", "COLLECTIONS_TOO_MANY",
        "INVITES_TOO_MUCH", "STARGIFT_USER_USAGE_LIMITED"],
        ruling(Denied, Method, Unknown, Yes,
        "The account has as many of these as it may have.")),
    rule("Q2", &["PREMIUM_*", "PRIVACY_PREMIUM_REQUIRED", "BOOSTS_REQUIRED", "BOOSTS_EMPTY",
        "BALANCE_TOO_LOW", "(ALLOW_|)PAYMENT_REQUIRED", "AUTOARCHIVE_NOT_AVAILABLE"],
        ruling(Denied, Request, Unknown, Premium,
        "This needs Telegram Premium, boosts or Stars.")),
    rule("Q3", &["BOT_METHOD_INVALID", "USER_BOT_REQUIRED", "USER_BOT_INVALID", "USER_BOT",
        "BOT_*_FORBIDDEN", "BUSINESS_CONNECTION_*", "CONNECTION_ID_INVALID",
        "TAKEOUT_(REQUIRED|INVALID|FILE_EMPTY)"],
        ruling(Denied, Request, Unknown, OtherKind,
        "This method is not for sessions of this kind or in this mode.")),

    // Other data centres.
    rule("M1", &["(FILE|STATS)_MIGRATE"], ruling(Migrate, Request, Unknown, No,
        "What was asked for lies in another data centre: ask there, this once.")),
    rule("M2", &["(USER|PHONE|NETWORK)_MIGRATE"], ruling(Migrate, Session, Unknown, No,
        "The account, number or network belongs to another data centre.")),

    // Wrong requests that carry the server's code.
    rule("U1", &["PERSISTENT_TIMESTAMP(|_EMPTY|_INVALID|_OUTDATED)"],
        ruling(FixRequest, Request, Unknown, No,
        "The client's update state is stale: fetch it anew.")),
    rule("T3", &["RANDOM_ID_DUPLICATE", "CALL_OCCUPY_FAILED", "CHAT_INVALID", "SEND_MEDIA_INVALID",
        "UNKNOWN_METHOD", "PTS_CHANGE_EMPTY", "NEED_(CHAT|MEMBER|DOC)_INVALID",
        "OAUTH_REQUEST_INVALID", "MEMBER_NO_LOCATION"],
        ruling(FixRequest, Request, Unknown, No,
        "It looks like the server's fault but is the request's: repeating it cannot help."))
        .except(&[(When::Named("RANDOM_ID_DUPLICATE"), ruling(FixRequest, Request, Unknown, No,
            "The message was sent already, with this random id: it is done, do not repeat it."))]),
    rule("C1", &["CONNECTION_NOT_INITED", "CONNECTION_LAYER_INVALID"],
        ruling(Retry, Request, SOON, No,
        "The client has to open the connection properly and to repeat.")),
    rule("C2", &["INPUT_(CONSTRUCTOR|METHOD|LAYER)_INVALID*", "INPUT_FETCH_ERROR*",
        "INPUT_FETCH_FAIL", "INPUT_REQUEST_TOO_LONG", "METHOD_INVALID", "LAYER_INVALID",
        "TYPE_CONSTRUCTOR_INVALID", "DC_ID_INVALID", "CDN_METHOD_INVALID", "ADDRESS_INVALID",
        "WRONG_DATABASE_KEY"],
        ruling(FixRequest, Request, Unknown, No,
        "The request is malformed: a fault of the client or its library.")),
    rule("T1", &["TIMEOUT", "TIMEDOUT", "MSG_WAIT_(FAILED|TIMEOUT)", "*_TIMEOUT"],
        ruling(Retry, Request, BACKOFF, No,
        "Telegram took too long."))
        .except(&[
            (When::AskingABot, SILENT_BOT),
            (When::Named("BOT_RESPONSE_TIMEOUT"), SILENT_BOT),
        ]),
    rule("T2", &["MSGID_DECREASE_RETRY", "INTERDC_CALL(|_RICH)_ERROR", "RPC_*", "API_CALL_ERROR",
        "NO_WORKERS_RUNNING", "INTERNAL_SERVER_ERROR", "MEMORY_LIMIT", "INVITE_HASH_UNSYNC",
        "*_(GENERATE|OCCUPY|FETCH|CREATE|SEND|CALL|GET|CHECK|CAS|WRAP)_(FAIL|FAILED|FAULED)",
        "*_(ADD|CHOOSE_VOLUME|WRITE|DECLINE_ADMIN|OCCUPY_ADMIN)_(FAIL|FAILED|FAULED)",
        "*_OCCUPY_(USERNAME|LOC|PRIMARY_LOC)_(FAIL|FAILED|FAULED)",
        "*_ADD_PARTICIPANTS_(FAIL|FAILED|FAULED)"],
        ruling(Retry, Request, BACKOFF, No,
        "Something inside Telegram failed; it may not the next time.")).codes(Codes::Server),

    // Requests about files, peers and what is so already.
    rule("P1", &["FILE_REFERENCE_*", "FILEREF_UPGRADE_NEEDED", "FILE_TOKEN_INVALID",
        "REQUEST_TOKEN_INVALID", "MEDIA_EMPTY"],
        ruling(FixRequest, Request, Unknown, No,
        "The reference to the file is stale: fetch its message anew with this same session.")),
    rule("P2", &["CHANNEL_INVALID", "PEER_ID_(INVALID|NOT_SUPPORTED)", "USER_ID_INVALID",
        "CHAT_ID_INVALID", "INPUT_USER_INVALID", "MESSAGE_ID_INVALID", "MSG_ID_INVALID",
        "CONTACT_ID_INVALID", "PARTICIPANT_ID_INVALID"],
        ruling(FixRequest, Peer, Unknown, No,
        "This session does not know the peer by that access hash: each account has its own.")),
    rule("P3", &["CHANNEL_PRIVATE", "CHANNEL_PUBLIC_GROUP_NA", "CHAT_ADMIN(|_INVITE)_REQUIRED",
        "CHAT_FORWARDS_RESTRICTED", "USER_NOT_PARTICIPANT", "RIGHTS_NOT_*",
        "MESSAGE_AUTHOR_REQUIRED", "INVITE_REQUEST_(SENT|DECLINED)", "USER_(|WAS_)KICKED",
        "USER_LEFT_CHAT", "ANONYMOUS_REACTIONS_DISABLED", "PUBLIC_CHANNEL_MISSING",
        "PIN_RESTRICTED", "CHANNEL_BANNED", "POLL_(COUNTRY|MEMBER)_RESTRICTED",
        "SLOWMODE_MULTI_MSGS_DISABLED", "TOPIC_(CLOSED|DELETED)", "INLINE_BOT_REQUIRED",
        "PARTICIPANT_JOIN_MISSING", "POLL_VOTE_REQUIRED", "*_FORBIDDEN"],
        ruling(Denied, Peer, Unknown, Yes,
        "This account may not do this here; one with other rights may.")),
    rule("P4", &["(USER|YOUR|BUTTON_USER)_PRIVACY_RESTRICTED", "USER_NOT_MUTUAL_CONTACT",
        "USER_(IS_|)BLOCKED", "YOU_BLOCKED_USER", "USER_CHANNELS_TOO_MUCH",
        "USER_DISALLOWED_STARGIFTS", "USER_PERMISSION_DENIED", "USER_DELETED",
        "INPUT_USER_DEACTIVATED", "USER_INVALID", "CONTACT_*_MISSING"],
        ruling(Denied, Peer, Unknown, Maybe,
        "The other user does not allow it, or is no more.")),
    rule("P5", &["*_NOT_MODIFIED", "USER_ALREADY_(PARTICIPANT|INVITED)", "*_ALREADY_*",
        "*_ALREADY"],
        ruling(FixRequest, Request, Unknown, No,
        "It is so already: there is nothing to do.")),
    rule("P6", &["RECAPTCHA_CHECK", "INTEGRITY_CHECK_CLASSIC", "APNS_VERIFY_CHECK"],
        ruling(FixRequest, Request, Unknown, Maybe,
        "Telegram wants a person or a real device to prove itself.")),

    // Errors of the transport, which have a number and no name.
    rule("N429", &["TRANSPORT_429"],
        ruling(CoolDown, Egress, Growing { first: Span::secs(10), most: Span::minutes(10) },
        OtherEgress,
        "Too many connections come from this address.")),
    rule("N444", &["TRANSPORT_444"], ruling(Migrate, Session, Unknown, No,
        "The client spoke to a data centre that this session does not belong to.")),
    rule("N0", &["TRANSPORT_*"], ruling(Retry, Request, BACKOFF, No,
        "The connection failed below the call.")),

    // Defaults by code.
    default("Z303", Codes::These(&[303]), ruling(Migrate, Request, Unknown, No,
        "Another data centre has to be asked.")),
    default("Z400", Codes::These(&[400]), ruling(FixRequest, Request, Unknown, No,
        "The request is wrong; the session is fine.")),
    default("Z401", Codes::These(&[401]), ruling(Verify, Session, PROBE, Yes,
        "The session may have lost its authorization; only a probe can tell."))
        .except(&[(When::AwayFromHome, AWAY)]),
    default("Z403", Codes::These(&[403]), ruling(Denied, Request, Unknown, Maybe,
        "This session may not do this.")),
    default("Z404", Codes::These(&[404]), ruling(FixRequest, Request, Unknown, No,
        "There is no such thing to call.")),
    default("Z406", Codes::These(&[406]), ruling(FixRequest, Request, Unknown, No,
        "It cannot be done; Telegram tells the user why in a service notification.")),
    default("Z420", Codes::These(&[420, 429]), ruling(CoolDown, Method, DateOrSeconds, Yes,
        "Telegram limits this in a way that is not known yet; the number is a date or seconds.")),
    default("Z0", Codes::Missing, ruling(FixRequest, Request, Unknown, No,
        "No code was reported and the name is in no rule: nothing speaks against the session.")),
    default("Z5xx", Codes::Any, ruling(Retry, Request, BACKOFF, No,
        "A fault of the server, or a code that is not known, which counts as one.")),
];

/// For a key that is unknown, but not at home.
const AWAY: Ruling = ruling(
    Retry,
    Request,
    SOON,
    No,
    "A data centre that is not the session's home does not know it: export it there anew.",
);

/// For a timeout that is the bot's.
const SILENT_BOT: Ruling = ruling(
    FixRequest,
    Request,
    Unknown,
    No,
    "The bot did not answer in time; it will not for another session either.",
);

const fn rule(id: &'static str, names: &'static [&'static str], ruling: Ruling) -> Rule {
    Rule { id, names, codes: Codes::Any, ruling, except: &[] }
}

const fn default(id: &'static str, codes: Codes, ruling: Ruling) -> Rule {
    rule(id, &["*"], ruling).codes(codes)
}

const fn ruling(
    action: super::Action,
    place: Place,
    wait: Wait,
    other: super::OtherSession,
    why: &'static str,
) -> Ruling {
    Ruling { action, place, reach: Reach::Session, wait, other, why }
}

impl Rule {
    const fn codes(self, codes: Codes) -> Self {
        Self { codes, ..self }
    }

    const fn except(self, except: &'static [(When, Ruling)]) -> Self {
        Self { except, ..self }
    }
}

impl Ruling {
    const fn of_account(self) -> Self {
        Self { reach: Reach::Account, ..self }
    }
}
