//! Where the Redis is and how to enter it. Nothing here shows a password.

use std::{fmt, time::Duration};

use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use crate::store::{Error, Result};

/// Idle time after which the system probes a silent connection, and between its probes. Costs the
/// server no command.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// For how long the system waits for a sent byte to be confirmed.
const UNCONFIRMED: Duration = Duration::from_secs(5);

/// Where the Redis is and how to enter it.
#[derive(Clone)]
pub struct Options {
    /// `redis://host:port/db`, or `rediss://` for TLS; may hold a user and a password.
    pub url: String,
    /// The ACL user, where the URL names none.
    pub user: Option<String>,
    /// The password, where the URL has none.
    pub password: Option<String>,
    /// The database number, where the URL names none.
    pub database: Option<i64>,
    /// What all key names start with.
    pub prefix: String,
    /// Which clock rules.
    pub clock: ClockSource,
    /// For how long a connection may be silent while a call waits for its reply. Then it is given
    /// up, and what waited is sent again over another if it may be.
    pub reply_within: Duration,
    /// Whether plain calls take the short way through the rules.
    pub shortcut: Shortcut,
}

/// Whether plain Acquires and Releases take the short way (`lua/plain.lua`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// They do.
    Taken,
    /// All go by the rules, so that tests see both ways come to the same.
    Barred,
}

/// Which clock rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSource {
    /// The Redis server's own.
    Server,
    /// Milliseconds in the key `<prefix>:clock`, for tests that move time.
    Key,
}

impl Options {
    /// The prefix of key names unless another is chosen.
    pub const PREFIX: &str = "telegate";
    /// How long a reply is waited for unless otherwise chosen.
    pub const REPLY_WITHIN: Duration = Duration::from_millis(500);

    /// Enters by a URL alone.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            user: None,
            password: None,
            database: None,
            prefix: Self::PREFIX.to_owned(),
            clock: ClockSource::Server,
            reply_within: Self::REPLY_WITHIN,
            shortcut: Shortcut::Taken,
        }
    }

    pub(super) fn connection_info(&self) -> Result<ConnectionInfo> {
        let bad = |error: redis::RedisError| {
            let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
            Error::Broken(format!(
                "the Redis URL is not usable ({}{detail}); write redis://HOST:PORT/DB or \
                 rediss://HOST:PORT/DB",
                error.category()
            ))
        };
        let info = self.url.as_str().into_connection_info().map_err(bad)?;
        let mut settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("telegate", env!("CARGO_PKG_VERSION"));
        if let Some(user) = self.user.as_ref().filter(|_| settings.username().is_none()) {
            settings = settings.set_username(user);
        }
        if let Some(password) = self.password.as_ref().filter(|_| settings.password().is_none()) {
            settings = settings.set_password(password);
        }
        if let Some(database) = self.database.filter(|_| settings.db() == 0) {
            settings = settings.set_db(database);
        }
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(UNCONFIRMED);
        Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
    }
}

/// Shows the host and nothing that may be secret.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.connection_info();
        let addr: &dyn fmt::Display = match &info {
            Ok(info) => match info.addr() {
                addr @ (ConnectionAddr::Tcp(..) | ConnectionAddr::TcpTls { .. }) => addr,
                _ => &"(socket)",
            },
            Err(_) => &"(not usable)",
        };
        f.debug_struct("Options")
            .field("addr", &format_args!("{addr}"))
            .field("prefix", &self.prefix)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_url_says_goes_before_what_stands_beside_it() {
        let mut options = Options::new("redis://ann:secret@h:1/3");
        options.user = Some("bob".to_owned());
        options.password = Some("other".to_owned());
        options.database = Some(9);
        let info = options.connection_info().unwrap();
        let settings = info.redis_settings();
        assert_eq!(settings.username(), Some("ann"));
        assert_eq!(settings.password(), Some("secret"));
        assert_eq!(settings.db(), 3);

        options.url = "rediss://h".to_owned();
        let info = options.connection_info().unwrap();
        let settings = info.redis_settings();
        assert_eq!(info.addr().to_string(), "h:6379");
        assert_eq!(settings.username(), Some("bob"));
        assert_eq!(settings.password(), Some("other"));
        assert_eq!(settings.db(), 9);
    }

    #[test]
    fn a_password_is_never_shown() {
        let mut options = Options::new("redis://ann:s3cr3t@h:1/3");
        options.password = Some("s3cr3t".to_owned());
        assert!(!format!("{options:?}").contains("s3cr3t"));
        for bad in
            ["http://ann:s3cr3t@h", "redis://ann:s3cr3t@h/nine", "s3cr3t", "redis://:s3cr3t@"]
        {
            let said = Options::new(bad).connection_info().expect_err(bad).to_string();
            assert!(said.contains("not usable") && !said.contains("s3cr3t"), "{bad}: {said}");
        }
    }
}
