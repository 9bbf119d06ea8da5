//! The manual in docs/ says what the tables say.

use std::{env, fs, path::Path, process::Command};

use telegate::{
    manual,
    pool::{Escalation, verdict::Rule},
    server::status::examples::{Example, examples},
};

/// Set to write the manual anew.
const BLESS: &str = "TELEGATE_BLESS";

fn written() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    if env::var_os(BLESS).is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, manual::whole()).unwrap();
    }
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_manual_of_errors_is_made_from_the_tables() {
    let (written, made) = (written(), manual::whole());
    let lines = written.lines().zip(made.lines());
    let different = (1..).zip(lines).find(|(_, (old, new))| old != new);
    assert!(written == made, "stale: {BLESS}=1 writes it anew; first difference: {different:?}");
}

#[test]
fn every_reason_and_every_rule_has_one_anchor() {
    let manual = manual::whole();
    let count = |anchor: &str| manual.matches(&format!("<a id=\"{anchor}\"></a>\n")).count();
    let reasons: Vec<_> = manual::reasons().collect();
    assert_eq!(reasons.len(), 29);
    for reason in reasons {
        assert_eq!(count(&reason.to_lowercase().replace('_', "-")), 1, "{reason}");
        assert_eq!(manual.matches(&format!("\n### {reason}\n")).count(), 1, "{reason}");
    }
    let ids = Rule::all().iter().map(|rule| rule.id);
    for id in ids.chain(Escalation::ALL.map(Escalation::id)) {
        assert_eq!(count(&format!("rule-{}", id.to_lowercase())), 1, "{id}");
        let alone = manual::rule(&id.to_lowercase()).unwrap();
        assert!(manual.contains(alone.trim_end()), "{id}");
    }
}

#[test]
fn every_help_link_leads_to_an_anchor_of_the_manual() {
    let manual = manual::whole();
    let links: Vec<_> = examples().iter().filter_map(Example::help).collect();
    assert_eq!(links.len(), 3, "{links:?}");
    for link in links {
        let (page, anchor) = link.split_once('#').unwrap();
        assert!(page.ends_with("/blob/main/docs/errors.md"), "{link}");
        assert!(manual.contains(&format!("<a id=\"{anchor}\"></a>\n")), "{link}");
    }
}

#[tokio::test]
async fn an_example_is_what_grpcurl_prints() {
    let broker = crate::broker::Broker::start().await;
    broker.fill("demo", &[]).await;
    for (pool, name) in [("demo", "POOL_EMPTY"), ("none", "POOL_NOT_FOUND")] {
        let mut call = Command::new("grpcurl");
        call.args(["-plaintext", "-H", "x-request-id: 2f60c1a8e4b7935d", "-d"]);
        call.arg(format!("{{\"pool\": \"{pool}\"}}")).arg(&broker.address);
        call.arg("telegate.v1.SessionPool/Acquire");
        let said = match tokio::task::spawn_blocking(move || call.output()).await.unwrap() {
            Ok(said) => String::from_utf8(said.stderr).unwrap(),
            Err(error) => {
                assert!(!crate::harness::nothing_may_be_skipped(), "grpcurl: {error}");
                return println!("skipped: grpcurl: {error}; `make tools` installs it");
            }
        };
        let example = examples().into_iter().find(|e| e.entry.name() == name).unwrap();
        assert_eq!(said.replace("none", "demo"), example.text());
    }
}
