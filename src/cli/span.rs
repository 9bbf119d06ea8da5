//! Lengths of time on the command line: how they are written and shown.

use std::time::Duration;

use pbjson_types as wire;

const FORM: &str = "write a number and a unit, for example 500ms, 30s, 5m or 1h";

/// Reads `500ms`, `30s`, `5m`, `1h`, for clap.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| FORM.to_owned())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(FORM.to_owned()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| "it is too long".to_owned())
}

/// Reads the same, and whole days: `30d`, for clap.
pub(crate) fn parse_with_days(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let Some(days) = days else {
        return parse(text).map_err(|_| format!("{FORM}, or whole days such as 30d"));
    };
    let secs = days.checked_mul(86_400).ok_or_else(|| "it is too long".to_owned())?;
    Ok(Duration::from_secs(secs))
}

/// As the contract wants it.
pub(crate) fn to_wire(span: Duration) -> wire::Duration {
    wire::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or_default(),
    }
}

/// From the contract's form; a negative one is none at all.
pub(crate) fn of_wire(span: &wire::Duration) -> Duration {
    let nanos = u32::try_from(span.nanos).unwrap_or_default();
    u64::try_from(span.seconds).map_or(Duration::ZERO, |secs| Duration::new(secs, nanos))
}

/// For people: `12.5s`, `3m`, `1h2m`.
pub(crate) fn show(span: Duration) -> String {
    let secs = span.as_secs();
    if secs < 60 {
        return seconds(span);
    }
    let parts =
        [(secs / 86_400, "d"), (secs / 3600 % 24, "h"), (secs / 60 % 60, "m"), (secs % 60, "s")];
    let shown = parts.into_iter().filter(|(n, _)| *n > 0).take(2);
    shown.map(|(n, unit)| format!("{n}{unit}")).collect::<Vec<_>>().concat()
}

/// Seconds with as many decimals as they need, rounded up to milliseconds: `12.5s`.
pub(crate) fn seconds(span: Duration) -> String {
    let millis = span.as_nanos().div_ceil(1_000_000);
    let (secs, millis) = (millis / 1000, millis % 1000);
    if millis == 0 {
        return format!("{secs}s");
    }
    let decimals = format!("{millis:03}");
    format!("{secs}.{}s", decimals.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_their_unit_and_refused_without() {
        for (text, millis) in [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "5", "s", "-5s", "1.5s", "5 s", "5d", "99999999999999999999s"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("9999999999999999999h"), Err("it is too long".to_owned()));
    }

    #[test]
    fn days_are_read_where_they_are_asked_for() {
        assert_eq!(parse_with_days("30d"), Ok(Duration::from_secs(2_592_000)));
        assert_eq!(parse_with_days("12h"), parse("12h"));
        for bad in ["d", "1.5d", "-1d", "30", "99999999999999999999d"] {
            assert!(parse_with_days(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_are_shown_short() {
        for (millis, shown) in [
            (0, "0s"),
            (50, "0.05s"),
            (12_500, "12.5s"),
            (60_000, "1m"),
            (192_000, "3m12s"),
            (3_600_000, "1h"),
            (3_725_000, "1h2m"),
            (90_000_000, "1d1h"),
        ] {
            assert_eq!(show(Duration::from_millis(millis)), shown);
        }
    }
}
