//! What an operator says of the sessions of a folder, by pattern: a TOML or JSON file.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Deserializer, de};

use super::{Entry, proxy};
use crate::pool::{LABEL_KEY_RULE, LABEL_VALUE_RULE, is_label_key, is_label_value};

/// The names of a manifest in its folder.
pub(super) const NAMES: [&str; 2] = ["telegate.toml", "telegate.json"];
/// The largest manifest, in bytes.
const MAX_MANIFEST: u64 = 1 << 20;
/// The most rules of a manifest, and the most patterns of a rule.
const MAX_RULES: usize = 1000;
const MAX_PATTERNS: usize = 100;

/// What an operator says of the sessions of a folder. Its `Debug` hides it: proxies may have
/// passwords.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    #[serde(default)]
    rules: Vec<Rule>,
}

/// What is said of the files that some patterns match.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(deserialize_with = "patterns")]
    files: GlobSet,
    #[serde(default, deserialize_with = "labels")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "proxy")]
    proxy: Option<String>,
    is_bot: Option<bool>,
    api_id: Option<i32>,
    api_hash: Option<String>,
    device_model: Option<String>,
    system_version: Option<String>,
    app_version: Option<String>,
    lang_code: Option<String>,
    system_lang_code: Option<String>,
    lang_pack: Option<String>,
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manifest({} rules)", self.rules.len())
    }
}

impl Manifest {
    /// Reads a file; JSON if its name ends so, and else TOML.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and in which line.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let unreadable = |error| format!("manifest {shown}: {error}");
        let length = fs::metadata(path).map_err(unreadable)?.len();
        if length > MAX_MANIFEST {
            return Err(format!("manifest {shown}: it has more than {MAX_MANIFEST} bytes"));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let parsed = if path.extension().is_some_and(|extension| extension == "json") {
            Self::from_json(&text)
        } else {
            Self::from_toml(&text)
        };
        parsed.map_err(|(line, why)| format!("manifest {shown}, line {line}: {why}"))
    }

    fn from_toml(text: &str) -> Result<Self, (usize, String)> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            (text[..start].matches('\n').count() + 1, error.message().to_owned())
        })?;
        manifest.checked()
    }

    fn from_json(text: &str) -> Result<Self, (usize, String)> {
        let manifest: Self = serde_json::from_str(text).map_err(|error| {
            let why = error.to_string();
            let why = why.split_once(" at line ").map_or(&*why, |(why, _)| why);
            (error.line(), why.to_owned())
        })?;
        manifest.checked()
    }

    fn checked(self) -> Result<Self, (usize, String)> {
        if self.rules.len() > MAX_RULES {
            return Err((1, format!("it has more than {MAX_RULES} rules")));
        }
        Ok(self)
    }

    /// Adds to a session what the rules say of it. Later rules win over earlier ones, and over the
    /// sidecar; the session itself wins over all.
    pub(super) fn complete(&self, place: &str, entry: &mut Entry, notes: &mut Vec<String>) {
        for rule in self.rules.iter().filter(|rule| rule.files.is_match(place)) {
            entry.labels.extend(rule.labels.clone());
            if let Some(proxy) = &rule.proxy {
                entry.proxy.clone_from(proxy);
            }
            let device = &mut entry.device;
            for (said, field) in [
                (&rule.api_hash, &mut device.api_hash),
                (&rule.device_model, &mut device.device_model),
                (&rule.system_version, &mut device.system_version),
                (&rule.app_version, &mut device.app_version),
                (&rule.lang_code, &mut device.lang_code),
                (&rule.system_lang_code, &mut device.system_lang_code),
                (&rule.lang_pack, &mut device.lang_pack),
            ] {
                if let Some(said) = said {
                    field.clone_from(said);
                }
            }
            match (rule.api_id, entry.telegram.api_id) {
                (Some(says), Some(is)) if says != is => {
                    notes.push(format!("the manifest says api_id {says}, the session {is}"));
                }
                (Some(says), _) => device.api_id = Some(says),
                (None, _) => {}
            }
            let telegram = &mut entry.telegram;
            match (rule.is_bot, telegram.is_bot) {
                (Some(says), Some(is)) if says != is => {
                    notes.push(format!("the manifest says is_bot {says}, the session {is}"));
                }
                (Some(says), _) if telegram.user_id.is_some() => telegram.is_bot = Some(says),
                _ => {}
            }
        }
    }
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GlobSet, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "write a pattern or a list of patterns")]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    let patterns = match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(pattern) => vec![pattern],
        OneOrMore::More(patterns) => patterns,
    };
    if patterns.is_empty() || patterns.len() > MAX_PATTERNS {
        return Err(de::Error::custom(format!("write 1 to {MAX_PATTERNS} patterns")));
    }
    let mut set = GlobSetBuilder::new();
    for pattern in &patterns {
        set.add(Glob::new(pattern).map_err(|error| de::Error::custom(error.kind()))?);
    }
    set.build().map_err(|error| de::Error::custom(error.kind()))
}

fn labels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let labels = BTreeMap::<String, String>::deserialize(deserializer)?;
    for (key, value) in &labels {
        if !is_label_key(key) {
            let why = format!("'{key}' is not a label key; a key is {LABEL_KEY_RULE}");
            return Err(de::Error::custom(why));
        }
        if !is_label_value(value) {
            let why = format!("'{value}' is not a label value; a value is {LABEL_VALUE_RULE}");
            return Err(de::Error::custom(why));
        }
    }
    Ok(labels)
}

fn proxy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let url = proxy::url(&value).map_err(|why| de::Error::custom(format!("the proxy {why}")))?;
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{credential::Telegram, proto::v1::DeviceProfile};

    fn entry() -> Entry {
        let telegram = Telegram {
            dc_id: 2,
            test: false,
            auth_key: vec![7; 256],
            address: None,
            user_id: Some(42),
            is_bot: None,
            password: None,
            api_id: Some(2040),
        };
        let device = DeviceProfile { device_model: "Old".into(), ..DeviceProfile::default() };
        Entry { telegram, device, proxy: String::new(), labels: BTreeMap::new() }
    }

    #[test]
    fn rules_apply_by_pattern_and_the_later_one_wins() {
        let toml = r#"
            [[rules]]
            files = "*"
            labels = { team = "a", tier = "1" }
            proxy = "socks5://h:1"
            api_id = 4
            is_bot = false

            [[rules]]
            files = ["de/*", "at/*.session"]
            labels = { country = "de", tier = "2" }
            proxy = { type = "http", host = "h", port = 2 }
            device_model = "New"
        "#;
        let json = r#"{"rules": [
            {"files": "*", "labels": {"team": "a", "tier": "1"}, "proxy": "socks5://h:1",
             "api_id": 4, "is_bot": false},
            {"files": ["de/*", "at/*.session"], "labels": {"country": "de", "tier": "2"},
             "proxy": ["http", "h", 2], "device_model": "New"}]}"#;
        for manifest in [Manifest::from_toml(toml).unwrap(), Manifest::from_json(json).unwrap()] {
            for (place, tier, proxy, model) in [
                ("x.session", "1", "socks5://h:1", "Old"),
                ("de/deep/x.session", "2", "http://h:2", "New"),
                ("at/x.data", "1", "socks5://h:1", "Old"),
            ] {
                let (mut entry, mut notes) = (entry(), Vec::new());
                manifest.complete(place, &mut entry, &mut notes);
                assert_eq!((entry.labels["tier"].as_str(), entry.proxy.as_str()), (tier, proxy));
                assert_eq!(entry.device.device_model, model, "{place}");
                assert_eq!(entry.telegram.is_bot, Some(false));
                assert_eq!(notes, ["the manifest says api_id 4, the session 2040"]);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, wanted) in [
            ("[[rules]]\nfiles = \"*\"\nproxi = \"x\"\n", 3, "unknown field `proxi`"),
            ("\nrule = 1\n", 2, "unknown field `rule`"),
            ("[[rules]]\nlabels = {}\n", 1, "missing field `files`"),
            ("[[rules]]\nfiles = \"[\"\n", 2, "unclosed character class"),
            ("[[rules]]\nfiles = []\n", 2, "write 1 to 100 patterns"),
            ("[[rules]]\nfiles = 1\n", 2, "write a pattern or a list of patterns"),
            ("[[rules]]\nfiles = \"*\"\n\nlabels = { \"a b\" = \"c\" }\n", 4, "is not a label key"),
            ("[[rules]]\nfiles = \"*\"\nlabels = { a = \"ä\" }\n", 3, "is not a label value"),
            ("[[rules]]\nfiles = \"*\"\nproxy = \"hunter2:1\"\n", 3, "the proxy does not say"),
            ("[[rules]]\nfiles = \"*\"\napi_id = \"x\"\n", 3, "expected i32"),
            ("[[rules", 1, ""),
        ] {
            let (at, why) = Manifest::from_toml(text).unwrap_err();
            assert!(why.contains(wanted) && !why.contains("hunter2"), "{text}: {why}");
            assert_eq!(at, line, "{text}: {why}");
        }
        let json = "{\n\"rules\": [\n{\"files\": \"*\",\n\"proxi\": 1}]}";
        let (at, why) = Manifest::from_json(json).unwrap_err();
        assert!(why.starts_with("unknown field `proxi`") && at == 4, "{at}: {why}");
    }
}
