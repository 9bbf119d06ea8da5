//! The table is complete, and its words and delays are in order.

use super::{reasons::Retry, *};
use crate::{config::Jitter, proto::v1::ErrorReason};

#[test]
fn every_reason_of_the_contract_is_in_the_table() {
    let mut number = 1;
    while let Ok(reason) = ErrorReason::try_from(number) {
        let entry = reasons::ENTRIES.iter().find(|entry| entry.reason == reason);
        assert!(entry.is_some(), "{reason:?}");
        number += 1;
    }
    assert_eq!(number, 30);
    assert!(reasons::ENTRIES.iter().all(|entry| entry.reason != ErrorReason::Unspecified));
}

#[test]
fn both_languages_name_the_same_facts() {
    let facts = |text: &str| {
        let mut keys: Vec<_> = text.split('{').skip(1).filter_map(|t| t.split_once('}')).collect();
        keys.sort_unstable();
        keys.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(" ")
    };
    for entry in reasons::ENTRIES {
        assert_eq!(facts(entry.en), facts(entry.ru), "{}", entry.en);
        assert!(entry.en.ends_with('.') && entry.ru.ends_with('.'), "{}", entry.en);
    }
}

#[test]
fn situations_of_one_reason_have_one_code() {
    for entry in reasons::ENTRIES {
        let code = |other: &&&Entry| other.reason == entry.reason && other.code != entry.code;
        assert!(reasons::ENTRIES.iter().find(code).is_none(), "{:?}", entry.reason);
    }
}

#[test]
fn a_delay_stays_in_its_bounds_and_is_spread_by_up_to_a_fifth() {
    let told = |millis, jitter| {
        let delay = told_delay(reasons::POOL_BUSY.retry, Duration::from_millis(millis), jitter);
        delay.unwrap().as_millis()
    };
    assert_eq!(told(12_500, Jitter::Fixed(0)), 12_500);
    assert_eq!(told(12_500, Jitter::Fixed(100)), 15_000);
    assert_eq!(told(0, Jitter::Fixed(0)), 10);
    assert_eq!(told(u64::MAX, Jitter::Fixed(0)), 60_000);
    let random: std::collections::BTreeSet<_> =
        (0..100).map(|_| told(10_000, Jitter::Random)).collect();
    assert!(random.iter().all(|delay| (10_000..=12_000).contains(delay)), "{random:?}");
    assert!(random.len() > 50, "{random:?}");
    assert_eq!(told_delay(Retry::Futile, Duration::ZERO, Jitter::Random), None);
}

#[test]
fn many_violations_fit_into_the_headers_of_every_client() {
    let violation = |i| Violation {
        field: format!("session.labels['{}{i}']", "x".repeat(40)),
        description: format!(
            "'{}' is not a session name; write {}",
            "x".repeat(41),
            SessionName::RULE
        ),
    };
    let mut headers = http::HeaderMap::new();
    headers.insert(http::header::ACCEPT_LANGUAGE, http::HeaderValue::from_static("ru"));
    let call = Call::new(&headers, Jitter::Random);
    let status = status(Fault::Invalid((0..1000).map(violation).collect()), &call);
    let details = status.get_error_details();
    let listed = &details.bad_request().unwrap().field_violations;
    assert_eq!(listed.len(), MAX_VIOLATIONS);
    assert_eq!(listed[15].description, "985 more violations are not listed");
    let response: http::Response<()> = status.into_http();
    let size: usize = response.headers().iter().map(|(k, v)| k.as_str().len() + v.len() + 32).sum();
    assert!(size < 16 * 1024, "{size}");
}

#[test]
fn the_cause_is_noted_and_not_sent() {
    let call = Call::new(&http::HeaderMap::new(), Jitter::Random);
    let cause = "hunter2".to_owned();
    let status = status(store::Error::Unavailable(cause).into(), &call);
    let noted = call.outcome().unwrap();
    assert_eq!((noted.code, noted.reason), (Code::Unavailable, "STORE_UNAVAILABLE"));
    assert!(noted.cause.as_ref().unwrap().contains("hunter2"));
    let sent = format!("{:?} {:?}", status, status.get_error_details());
    assert!(!sent.contains("hunter2"), "{sent}");
}
