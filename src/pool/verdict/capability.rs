//! Capabilities: the kinds of deed that Telegram closes to a session all at once.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::pattern;

/// A kind of deed. A closed list, so that every engine and client can name each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Capability {
    /// Uploading and downloading files.
    Transfer,
    /// Posting stories.
    Stories,
    /// Writing to people who are no contacts, inviting them, adding them.
    Strangers,
    /// Creating chats and channels, and promoting members.
    CreateChats,
    /// Importing a chat's history.
    Import,
    /// Exporting the account's data.
    Takeout,
    /// Changing the account itself: its number, password, sessions, ownership, or its end.
    Account,
    /// Logging in.
    Login,
    /// Translations, composed texts, affiliate programmes.
    Extras,
}

/// Every capability, its name in the contract, and the methods that need it. A method that ends in
/// `*` stands for all that begin so, and a namespace with `.*` for all that are said to be in it.
const CAPABILITIES: [(Capability, &str, &[&str]); 9] = [
    (
        Capability::Transfer,
        "transfer",
        &[
            "upload.*",
            "upload.getFile",
            "upload.getWebFile",
            "upload.getCdnFile",
            "upload.reuploadCdnFile",
            "upload.getFileHashes",
            "upload.getCdnFileHashes",
            "upload.saveFilePart",
            "upload.saveBigFilePart",
        ],
    ),
    (Capability::Stories, "stories", &["stories.sendStory", "stories.canSendStory"]),
    (
        Capability::Strangers,
        "strangers",
        &[
            "messages.sendMessage",
            "messages.sendMedia",
            "messages.sendMultiMedia",
            "messages.forwardMessages",
            "messages.addChatUser",
            "channels.inviteToChannel",
            "contacts.addContact",
            "contacts.importContacts",
        ],
    ),
    (
        Capability::CreateChats,
        "create-chats",
        &["messages.createChat", "channels.createChannel", "channels.editAdmin"],
    ),
    (
        Capability::Import,
        "import",
        &[
            "messages.initHistoryImport",
            "messages.startHistoryImport",
            "messages.uploadImportedMedia",
        ],
    ),
    (Capability::Takeout, "takeout", &["account.initTakeoutSession"]),
    (
        Capability::Account,
        "account",
        &[
            "account.changePhone",
            "account.sendChangePhoneCode",
            "account.deleteAccount",
            "account.resetAuthorization",
            "account.updatePasswordSettings",
            "auth.resetAuthorizations",
            "channels.editCreator",
            "messages.editChatCreator",
        ],
    ),
    (Capability::Login, "login", &["auth.sendCode", "auth.resendCode", "auth.signIn"]),
    (
        Capability::Extras,
        "extras",
        &["messages.translateText", "messages.compose*", "bots.updateStarRefProgram"],
    ),
];

impl Capability {
    /// The name in the contract.
    #[must_use]
    pub fn name(self) -> &'static str {
        CAPABILITIES.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// The capability of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        CAPABILITIES.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Every capability.
    pub fn all() -> impl Iterator<Item = Self> {
        CAPABILITIES.iter().map(|row| row.0)
    }

    /// The capability that a method needs, if any, however the method is spelled.
    ///
    /// Whether a message goes to a stranger cannot be seen from the method, so sending needs
    /// [`Capability::Strangers`] here: a session that may not write to strangers is not lent to
    /// one that says no more than that it will send.
    #[must_use]
    pub fn needed_by(method: &str) -> Option<Self> {
        let key = method_key(method);
        let fits = |pattern: &&str| match pattern.strip_suffix(".*") {
            Some(namespace) => parts(method).rev().nth(1) == Some(namespace),
            None => pattern::matches(&method_key(pattern), &key),
        };
        CAPABILITIES.iter().find(|row| row.2.iter().any(fits)).map(|row| row.0)
    }
}

/// What tells methods apart, however a library spells them: `messages.getHistory`,
/// `GetHistoryRequest` and `functions.messages.GetHistory` are one.
///
/// Methods of one name in two namespaces are one, too. That closes too much rather than too little.
#[must_use]
pub fn method_key(method: &str) -> String {
    let last = parts(method).next_back().unwrap_or_default();
    let small: String = last.chars().filter(|c| *c != '_').collect::<String>().to_lowercase();
    match small.trim_end_matches("request") {
        "" => small,
        key => key.to_owned(),
    }
}

/// The parts of a method's name: mostly its namespace and its own name.
fn parts(method: &str) -> impl DoubleEndedIterator<Item = &str> {
    method.split(['.', ':', '/', ' ']).filter(|part| !part.is_empty())
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::{Capability, method_key};

    #[test]
    fn every_capability_reads_back_from_its_name() {
        assert_eq!(Capability::all().count(), 9);
        for capability in Capability::all() {
            assert_eq!(Capability::parse(capability.name()), Some(capability));
        }
        assert_eq!(Capability::parse(""), None);
    }

    #[test]
    fn a_method_names_the_capability_that_it_needs() {
        for (method, wanted) in [
            ("upload.getFile", Some(Capability::Transfer)),
            ("messages.sendMedia", Some(Capability::Strangers)),
            ("messages.getHistory", None),
            ("", None),
            ("upload", None),
            ("*", None),
            ("upload.whatever", Some(Capability::Transfer)),
            ("functions.upload.SaveBigFilePart", Some(Capability::Transfer)),
            ("GetFileRequest", Some(Capability::Transfer)),
            ("SendMessageRequest", Some(Capability::Strangers)),
            ("sendMessage", Some(Capability::Strangers)),
            ("telethon.tl.functions.channels.InviteToChannelRequest", Some(Capability::Strangers)),
            ("functions::stories::SendStory", Some(Capability::Stories)),
            ("messages.composeMessageWithAI", Some(Capability::Extras)),
            ("ComposeMessageWithAIRequest", Some(Capability::Extras)),
            ("sendMessages", None),
        ] {
            assert_eq!(Capability::needed_by(method), wanted, "{method}");
        }
    }

    #[test]
    fn every_spelling_of_a_method_has_one_key() {
        for (spellings, key) in [
            (
                &[
                    "messages.getHistory",
                    "messages.GetHistory",
                    "GetHistory",
                    "GetHistoryRequest",
                    "functions.messages.GetHistory",
                    "telethon.tl.functions.messages.GetHistoryRequest",
                    "functions::messages::GetHistory",
                    "get_history",
                    " getHistory ",
                ][..],
                "gethistory",
            ),
            // The name ends in `Request` by itself, and a class of it twice.
            (&["messages.hideChatJoinRequest", "HideChatJoinRequestRequest"], "hidechatjoin"),
            (&["request", "Request", "x.Request"], "request"),
            (&["", ".", "_"], ""),
            (&["Ärger.ÄNDERN"], "ändern"),
        ] {
            for spelling in spellings {
                assert_eq!(method_key(spelling), key, "{spelling}");
            }
        }
    }
}
