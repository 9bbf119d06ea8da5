//! Errors of Telegram, in any library's words: whatever they say, a verdict follows, no wait is
//! without end, and nothing is repeated without limit.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use telegate::pool::{
    Report, Span, Time, judge,
    verdict::{FARTHEST_DATE, LONGEST_WAIT},
};

const NOW: Time = Time(1_800_000_000_000);
/// The most of a name or a scope that a verdict repeats, in bytes.
const LONGEST: usize = 128;

/// A report as a worker may send it.
#[derive(Arbitrary, Debug)]
struct Said {
    code: i32,
    type_name: String,
    argument: Option<i64>,
    message: String,
    transport_code: i32,
    method: String,
    peer: String,
    dc: u32,
    home_dc: u32,
    local: bool,
    occurred_at: Option<u64>,
}

fuzz_target!(|said: Said| {
    let report = Report {
        library: String::new(),
        code: said.code,
        type_name: said.type_name,
        argument: said.argument,
        message: said.message,
        transport_code: said.transport_code,
        method: said.method,
        peer: said.peer,
        dc: said.dc,
        home_dc: said.home_dc,
        local: said.local,
        occurred_at: said.occurred_at.map(Time),
    };
    let verdict = judge(&report, NOW);
    let since = report.occurred_at.map_or(NOW, |at| at.min(NOW));
    let wait = verdict.until.map_or(Span::ZERO, |until| until.since(since));
    assert!(wait <= FARTHEST_DATE, "{verdict:?}");
    assert!(verdict.retry_after.is_none_or(|after| after <= LONGEST_WAIT), "{verdict:?}");
    assert!(verdict.name.len() <= LONGEST, "{verdict:?}");
    assert!(verdict.scope.subject().len() <= LONGEST, "{verdict:?}");
    assert_eq!(judge(&report, NOW), verdict);
});
