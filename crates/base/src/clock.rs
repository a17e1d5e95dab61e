//! Time as a value that is passed in, so that no test waits and every run can be repeated.

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};

/// Microseconds of a day of UTC.
pub const DAY_US: i64 = 86_400_000_000;

/// Tells the current time in microseconds since 1970-01-01 UTC.
pub trait Clock: Send + Sync {
    /// The current time, microseconds since the epoch, UTC.
    fn now_us(&self) -> i64;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        Utc::now().timestamp_micros()
    }
}

/// A clock that stands still, for tests.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub i64);

impl Clock for FixedClock {
    fn now_us(&self) -> i64 {
        self.0
    }
}

/// Writes microseconds since the epoch as RFC 3339 in UTC, with as many fraction digits as needed.
pub fn format_time_us(us: i64) -> String {
    match Utc.timestamp_micros(us).single() {
        Some(at) => at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{us}us"),
    }
}

/// Reads RFC 3339 (`2026-03-01T12:00:00Z`), `2026-03-01 12:00:00[.ffffff]` or `2026-03-01`; without a zone it is UTC.
pub fn parse_time_us(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.timestamp_micros());
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%dT%H:%M:%S%.f%z"] {
        if let Ok(at) = DateTime::parse_from_str(text, format) {
            return Some(at.timestamp_micros());
        }
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(at) = chrono::NaiveDateTime::parse_from_str(text, format) {
            return Some(at.and_utc().timestamp_micros());
        }
    }
    let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_a_round_trip() {
        for text in ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000001Z", "1969-12-31T23:59:59Z"] {
            assert_eq!(format_time_us(parse_time_us(text).unwrap()), text);
        }
    }

    #[test]
    fn a_time_without_a_zone_is_utc() {
        assert_eq!(parse_time_us("2026-03-01 12:00:00"), parse_time_us("2026-03-01T12:00:00Z"));
        assert_eq!(parse_time_us("2026-03-01"), parse_time_us("2026-03-01T00:00:00Z"));
        assert_eq!(parse_time_us("2026-03-01T14:00:00+02:00"), parse_time_us("2026-03-01T12:00:00Z"));
        assert_eq!(parse_time_us("first of march"), None);
    }
}
