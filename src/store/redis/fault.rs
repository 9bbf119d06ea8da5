//! What an error of the connection or the server means.

use redis::{ErrorKind, RedisError};

use crate::store::Error;

/// What to do about an error.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection broke or answered nonsense: the script may have run or not.
    Lost(String),
    /// The server has forgotten the scripts: nothing ran.
    Unloaded,
    /// The server does not serve writes yet, or not any more: nothing ran. Another connection may
    /// find another server.
    Recovering(String),
    /// Nothing ran, and repeating helps nobody.
    Final(Error),
}

impl Fault {
    pub(super) fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io | ErrorKind::Parse | ErrorKind::Client => {
                return Self::Lost(error.to_string());
            }
            ErrorKind::AuthenticationFailed => {
                return Self::Final(Error::Broken(format!(
                    "Redis does not let this user in: {error}; check user and password"
                )));
            }
            _ => {}
        }
        let said = error.to_string();
        match code(error) {
            "NOSCRIPT" => Self::Unloaded,
            "READONLY" | "LOADING" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN" | "BUSY" => {
                Self::Recovering(said)
            }
            "OOM" | "MISCONF" | "NOREPLICAS" => {
                Self::Final(Error::Unavailable(format!("Redis takes no writes: {said}")))
            }
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Self::Final(Error::Broken(format!(
                "Redis does not let this user do that: {said}; check user, password and ACL"
            ))),
            _ => Self::Final(Error::Broken(said)),
        }
    }

    /// The error for a caller whom nothing more can be hidden from.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Lost(said) => Error::Unavailable(said),
            Self::Unloaded => Error::Broken("the server forgets its scripts at once".to_owned()),
            Self::Recovering(said) => Error::Recovering(said),
            Self::Final(error) => error,
        }
    }
}

/// The server's error code. Redis 6.2 wraps an error inside a script in one of its own, with the
/// code in the middle of the text.
fn code(error: &RedisError) -> &str {
    const WRAPPED: &[&str] =
        &["READONLY", "LOADING", "MASTERDOWN", "OOM", "MISCONF", "NOREPLICAS", "NOPERM"];
    let code = error.code().unwrap_or_default();
    if code != "ERR" {
        return code;
    }
    let detail = error.detail().unwrap_or_default();
    let inside = |code: &&&str| {
        detail.contains(&format!(" -{code} ")) || detail.contains(&format!(": {code} "))
    };
    WRAPPED.iter().find(inside).copied().unwrap_or(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: &str) -> Fault {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        Fault::of(&value.extract_error().unwrap_err())
    }

    #[test]
    fn each_code_of_the_server_has_its_meaning() {
        assert!(matches!(fault("NOSCRIPT No matching script."), Fault::Unloaded));
        for line in [
            "READONLY You can't write against a read only replica. script: 12, on @user_script:9.",
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down",
            "BUSY Redis is busy running a script.",
            "ERR Error running script (call to f_1): @user_script:9: @user_script: 9: -READONLY \
             You can't write against a read only replica.",
        ] {
            assert!(matches!(fault(line), Fault::Recovering(_)), "{line}");
        }
        let out_of_memory = "OOM command not allowed when used memory > 'maxmemory'.";
        assert!(matches!(fault(out_of_memory), Fault::Final(Error::Unavailable(_))));
        for line in [
            "NOPERM this user has no permissions to run the 'evalsha' command",
            "NOAUTH Authentication required.",
            "MOVED 3999 127.0.0.1:6381",
            "ERR user_script:9: attempt to index local 'x' (a nil value)",
        ] {
            assert!(matches!(fault(line), Fault::Final(Error::Broken(_))), "{line}");
        }
    }
}
