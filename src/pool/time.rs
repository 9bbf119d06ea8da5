//! Moments and spans of the store's clock, in whole milliseconds.

use std::{
    fmt,
    ops::{Add, Sub},
};

use serde::{Deserialize, Serialize};

/// A moment of the store's clock: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

/// A length of time in milliseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub u64);

impl Time {
    /// Reads a moment as it is displayed, in UTC and whole seconds: `2025-11-21T18:33:20Z`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let secs = days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second;
        let time = Self(secs * 1000);
        // What is not written as it would be displayed is no moment, such as 31 February.
        (time.to_string() == text).then_some(time)
    }

    /// How long it is from `now` until this moment; zero when it is past.
    #[must_use]
    pub fn since(self, now: Self) -> Span {
        Span(self.0.saturating_sub(now.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// So many times as long.
    #[must_use]
    pub const fn times(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }

    /// A span of whole seconds.
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self(secs * 1000)
    }

    /// A span of whole minutes.
    #[must_use]
    pub const fn minutes(minutes: u64) -> Self {
        Self::secs(minutes * 60)
    }

    /// A span of whole hours.
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self::minutes(hours * 60)
    }
}

impl Add<Span> for Time {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Time {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}ms", self.0)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// RFC 3339 in UTC, with milliseconds where there are any: `2025-11-21T18:33:20Z`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.0 / 1000, self.0 % 1000);
        let (year, month, day) = civil(secs / 86_400);
        let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if millis > 0 {
            write!(f, ".{millis:03}")?;
        }
        f.write_str("Z")
    }
}

/// The Gregorian year, month and day of a day counted from the Unix epoch. Years are counted from
/// March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// The day of a date, counted from the Unix epoch; none before it.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, from_march) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * from_march + 2) / 5 + day;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    days.checked_sub(719_469)
}

/// Seconds with as many decimals as it needs: `12.5s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.0 / 1000, self.0 % 1000);
        if millis == 0 {
            return write!(f, "{secs}s");
        }
        let decimals = format!("{millis:03}");
        write!(f, "{secs}.{}s", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_prints_its_seconds_without_idle_zeros() {
        let printed = [0, 30_000, 12_500, 50, 1_001].map(|ms| Span(ms).to_string());
        assert_eq!(printed, ["0s", "30s", "12.5s", "0.05s", "1.001s"]);
    }

    #[test]
    fn a_time_prints_as_rfc_3339() {
        let printed = [0, 951_782_400_000, 1_763_750_000_000, 1_735_689_599_999, 4_102_444_800_050]
            .map(|ms| Time(ms).to_string());
        assert_eq!(
            printed,
            [
                "1970-01-01T00:00:00Z",
                "2000-02-29T00:00:00Z",
                "2025-11-21T18:33:20Z",
                "2024-12-31T23:59:59.999Z",
                "2100-01-01T00:00:00.050Z",
            ]
        );
    }

    #[test]
    fn a_time_is_read_as_it_is_printed_and_no_other_way() {
        for millis in [0, 951_782_400_000, 1_763_750_000_000, 4_102_444_800_000] {
            assert_eq!(Time::parse(&Time(millis).to_string()), Some(Time(millis)));
        }
        for bad in [
            "",
            "2025-11-21",
            "2025-11-21T18:33:20",
            "2025-11-21 18:33:20Z",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-00-01T00:00:00Z",
            "2025-01-01T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "+025-01-01T00:00:00Z",
            "2025-11-21T18:33:2äZ",
        ] {
            assert_eq!(Time::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn time_saturates_at_both_ends() {
        assert_eq!(Time(5).since(Time(9)), Span::ZERO);
        assert_eq!(Time(u64::MAX) + Span(1), Time(u64::MAX));
        assert_eq!(Time(1) - Span(2), Time(0));
    }
}
