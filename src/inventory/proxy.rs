//! Proxies, in all the forms in which sidecars, manifests and requests name them, as URLs.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The schemes of proxies that clients of Telegram can use.
const SCHEMES: [&str; 5] = ["socks5", "socks4", "http", "https", "tg"];
/// What is wrong with a text that has no scheme in front.
const NO_SCHEME: &str = "does not say what it is; write for example socks5://HOST:PORT";
/// What is wrong with a URL that leads nowhere.
const NO_HOST: &str = "has no host and port; write for example socks5://HOST:PORT";

/// The proxy that a value names, as a URL; empty when it names none. A failure says what is wrong,
/// and repeats nothing.
pub(super) fn url(value: &Value) -> Result<String, String> {
    match value {
        Value::Null | Value::Bool(false) => Ok(String::new()),
        Value::String(text) => of_text(text.trim()),
        Value::Array(items) => of_list(items),
        Value::Object(fields) => of_fields(fields),
        _ => Err("is neither text, a list nor an object".to_owned()),
    }
}

fn of_text(text: &str) -> Result<String, String> {
    if text.is_empty() || text.eq_ignore_ascii_case("none") {
        return Ok(String::new());
    }
    proxy_url(text)
}

/// A proxy's URL as it is kept: one proxy has one text, whoever named it. A failure says what is
/// wrong and what to write, and repeats nothing.
///
/// # Errors
///
/// When the text is no URL of a proxy that clients of Telegram can use.
pub fn proxy_url(text: &str) -> Result<String, String> {
    let Some((name, rest)) = text.split_once("://") else { return Err(NO_SCHEME.to_owned()) };
    let name = scheme(name)?;
    if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        let rule = "is not a URL: it has spaces or letters that belong encoded, like %20";
        return Err(rule.to_owned());
    }
    if name == "tg" {
        return Ok(text.to_owned());
    }
    let rest = rest.trim_end_matches('/');
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((host, port)) if is_host(bare(host)) && port.parse::<u16>().is_ok_and(|p| p > 0) => {
            Ok(format!("{name}://{rest}"))
        }
        _ => Err(NO_HOST.to_owned()),
    }
}

/// The parts of a proxy.
#[derive(Default)]
struct Parts<'a> {
    kind: Option<&'a Value>,
    host: Option<&'a Value>,
    port: Option<&'a Value>,
    user: Option<&'a Value>,
    password: Option<&'a Value>,
    secret: Option<&'a Value>,
}

/// As `PySocks` and Telethon take it: kind, host, port, whether the proxy resolves names, user,
/// password; or for `MTProto` host, port, secret.
fn of_list(items: &[Value]) -> Result<String, String> {
    if items.is_empty() {
        return Ok(String::new());
    }
    let is_kind = items.first().is_some_and(|kind| {
        kind.is_number() || kind.as_str().is_some_and(|name| scheme(name).is_ok())
    });
    if !is_kind {
        let [host, port, secret] = items else { return Err(NO_SCHEME.to_owned()) };
        let parts =
            Parts { host: Some(host), port: Some(port), secret: Some(secret), ..<_>::default() };
        return parts.url();
    }
    let resolves = items.get(3).is_some_and(|item| !item.is_string());
    let user = if resolves { 4 } else { 3 };
    Parts {
        kind: items.first(),
        host: items.get(1),
        port: items.get(2),
        user: items.get(user),
        password: items.get(user + 1),
        secret: None,
    }
    .url()
}

fn of_fields(fields: &Map<String, Value>) -> Result<String, String> {
    let get = |names: &[&str]| {
        let named = |name: &&String, wanted: &str| name.eq_ignore_ascii_case(wanted);
        names.iter().find_map(|wanted| {
            let name = fields.keys().find(|name| named(name, wanted))?;
            fields.get(name).filter(|value| !value.is_null())
        })
    };
    if let Some(url) = get(&["url"]) {
        return self::url(url);
    }
    let host = get(&["addr", "address", "hostname", "host", "ip", "server"]);
    if host.and_then(Value::as_str).is_none_or(str::is_empty) && get(&["port"]).is_none() {
        return Ok(String::new());
    }
    Parts {
        kind: get(&["proxy_type", "type", "scheme", "protocol"]),
        host,
        port: get(&["port"]),
        user: get(&["username", "user", "login"]),
        password: get(&["password", "pass"]),
        secret: get(&["secret"]),
    }
    .url()
}

impl Parts<'_> {
    fn url(self) -> Result<String, String> {
        let host = self.host.and_then(Value::as_str).filter(|host| is_host(host));
        let host = host.ok_or("has no host")?;
        let port = match self.port {
            Some(Value::String(text)) => text.trim().parse::<u16>().ok(),
            Some(value) => value.as_u64().and_then(|port| u16::try_from(port).ok()),
            None => None,
        };
        let port = port.filter(|port| *port > 0).ok_or("has no port")?;
        let text = |value: Option<&Value>| {
            value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(encode)
        };
        if let Some(secret) = text(self.secret) {
            return Ok(format!("tg://proxy?server={host}&port={port}&secret={secret}"));
        }
        let name = match self.kind {
            Some(Value::String(name)) => scheme(name)?,
            // As PySocks numbers them.
            Some(Value::Number(number)) => match number.as_u64() {
                Some(1) => "socks4",
                Some(2) => "socks5",
                Some(3) => "http",
                _ => return Err("has a number as its kind that nobody gave one".to_owned()),
            },
            _ => return Err(NO_SCHEME.to_owned()),
        };
        let mut url = format!("{name}://");
        if let Some(user) = text(self.user) {
            url += &user;
            if let Some(password) = text(self.password) {
                let _ = write!(url, ":{password}");
            }
            url.push('@');
        }
        let _ = if host.contains(':') {
            write!(url, "[{host}]:{port}")
        } else {
            write!(url, "{host}:{port}")
        };
        Ok(url)
    }
}

/// A scheme as URLs have it.
fn scheme(name: &str) -> Result<&'static str, String> {
    let name = name.trim().to_ascii_lowercase();
    let name = match name.as_str() {
        // Who resolves the name is each client's own affair.
        "socks5h" => "socks5",
        "socks4a" => "socks4",
        other => other,
    };
    let known = SCHEMES.into_iter().find(|known| *known == name);
    known.ok_or_else(|| format!("is none of {}", SCHEMES.join(", ")))
}

/// A host without the brackets that an IPv6 address has in a URL.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn is_host(host: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-:_".contains(c);
    !host.is_empty() && host.len() <= 253 && host.chars().all(fits)
}

/// A text as a part of a URL.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
        url
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_of_a_proxy_becomes_a_url() {
        for (value, wanted) in [
            (json!(null), ""),
            (json!(false), ""),
            (json!(""), ""),
            (json!([]), ""),
            (json!({}), ""),
            (json!({"proxy_type": "socks5", "addr": "", "port": null}), ""),
            (json!("socks5://a.example:1080"), "socks5://a.example:1080"),
            (json!("SOCKS5h://u:p@a.example:1080/"), "socks5://u:p@a.example:1080"),
            (json!(" socks5://[::1]:1080 "), "socks5://[::1]:1080"),
            (json!([2, "10.0.0.1", 1080]), "socks5://10.0.0.1:1080"),
            (json!([3, "10.0.0.1", "8080", true, "u", "p@:"]), "http://u:p%40%3A@10.0.0.1:8080"),
            (json!(["socks4", "h", 9, null, "u"]), "socks4://u@h:9"),
            (json!(["socks5", "h", 9, "u", "p"]), "socks5://u:p@h:9"),
            (json!(["socks5", "::1", 9, true, "", ""]), "socks5://[::1]:9"),
            (json!(["h", 443, "ee00"]), "tg://proxy?server=h&port=443&secret=ee00"),
            (json!({"scheme": "http", "hostname": "h", "port": 1}), "http://h:1"),
            (
                json!({"type": "SOCKS5", "IP": "1.2.3.4", "Port": "9", "login": "u", "pass": "p"}),
                "socks5://u:p@1.2.3.4:9",
            ),
            (
                json!({"server": "h", "port": 443, "secret": "dd"}),
                "tg://proxy?server=h&port=443&secret=dd",
            ),
            (json!({"url": "https://h:3"}), "https://h:3"),
        ] {
            assert_eq!(url(&value).as_deref(), Ok(wanted), "{value}");
        }
    }

    #[test]
    fn a_proxy_that_does_not_say_enough_is_refused_and_not_repeated() {
        for (value, wanted) in [
            (json!("h:1080"), "does not say what it is"),
            (json!("h:1080:user:hunter2"), "does not say what it is"),
            (json!("gopher://hunter2:1"), "is none of socks5"),
            (json!("socks5://hunter2"), "has no host and port"),
            (json!("socks5://hunter2:0"), "has no host and port"),
            (json!("socks5://hunter(2):1"), "has no host and port"),
            (json!("socks5://hun ter2:1"), "is not a URL"),
            (json!(["h", 1080, true, "u", "hunter2"]), "does not say what it is"),
            (json!([9, "hunter2", 1]), "has a number as its kind"),
            (json!(["socks5", "hunter2"]), "has no port"),
            (json!(["socks5", "hunter2", 70000]), "has no port"),
            (json!(["socks5", "hunter 2", 1]), "has no host"),
            (json!({"addr": "hunter2", "port": 1}), "does not say what it is"),
            (json!(17), "is neither text"),
        ] {
            let said = url(&value).unwrap_err();
            assert!(said.contains(wanted), "{value}: {said}");
            assert!(!said.contains("hunter"), "{said}");
        }
    }
}
