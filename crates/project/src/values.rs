//! Values that are written as text: sizes, durations, shares, and the rules of `accept`.

use crate::{Comparison, Tolerance};
use pelton_base::Grain;

/// Bytes of `512MB`, `2 GiB`, `1.5GB` or `4096`. Without an `i`, a unit counts in thousands.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text);
    let unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    if let Ok(number) = number.parse::<u64>() {
        return number.checked_mul(unit);
    }
    let bytes = plain_number(number)? * unit as f64;
    (0.0..9e18).contains(&bytes).then(|| bytes.round() as u64)
}

/// Microseconds of `30 days`, `1 hour`, `90 minutes`, `2 weeks`, `1d` or `1 day 12 hours`.
///
/// Months and years have no fixed length and are not durations.
pub fn parse_duration_us(text: &str) -> Option<i64> {
    let (mut rest, mut total) = (text.trim(), 0i64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let after = rest[number_end..].trim_start();
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let number: i64 = rest[..number_end].parse().ok()?;
        total = total.checked_add(number.checked_mul(unit_us(&after[..unit_end])?)?)?;
        rest = after[unit_end..].trim_start();
    }
    Some(total)
}

fn unit_us(unit: &str) -> Option<i64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "us" | "microsecond" | "microseconds" => 1,
        "ms" | "millisecond" | "milliseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000,
        "h" | "hour" | "hours" => 3_600_000_000,
        "d" | "day" | "days" => 86_400_000_000,
        "w" | "week" | "weeks" => 604_800_000_000,
        _ => return None,
    })
}

/// The steps of `1 month`, `2 weeks`, `1 quarter`, `1 year`, or of a duration that is longer than nothing.
pub fn parse_grain(text: &str) -> Option<Grain> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: Option<i64> = text[..unit_at].parse().ok();
    let of = |steps: fn(i64) -> Grain, each: i64| {
        Some(steps(number?.checked_mul(each)?)).filter(|grain| grain.longest_us() > 0 && grain.longest_us() < i64::MAX)
    };
    let unit = text[unit_at..].trim_start();
    // Minutes to us, months to others.
    if unit == "M" {
        return None;
    }
    match unit.to_ascii_lowercase().as_str() {
        "w" | "week" | "weeks" => of(Grain::Weeks, 1),
        "month" | "months" => of(Grain::Months, 1),
        "quarter" | "quarters" => of(Grain::Months, 3),
        "y" | "year" | "years" => of(Grain::Months, 12),
        _ => parse_duration_us(text).filter(|us| *us > 0).map(Grain::Us),
    }
}

/// The share of `20%` or `0.2`, between 0 and 1.
pub fn parse_share(text: &str) -> Option<f64> {
    let share = match text.trim().strip_suffix('%') {
        // Divided, not multiplied by 0.01: 20 / 100 is the double nearest to 0.2.
        Some(percent) => plain_number(percent.trim())? / 100.0,
        None => plain_number(text.trim())?,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

/// The tolerance of `5` or `1%`.
pub fn parse_tolerance(text: &str) -> Option<Tolerance> {
    match text.trim().parse::<u64>() {
        Ok(rows) => Some(Tolerance::Rows(rows)),
        Err(_) if text.trim_end().ends_with('%') => parse_share(text).map(Tolerance::Share),
        Err(_) => None,
    }
}

/// A rule of `accept` taken apart: metric, comparison, whether relative to the version in service, number.
pub fn parse_gate(text: &str) -> Option<(&str, Comparison, bool, f64)> {
    let at = text.find(['<', '>'])?;
    let (metric, rest) = (text[..at].trim(), &text[at..]);
    let (comparison, rest) = match (rest.strip_prefix(">="), rest.strip_prefix("<=")) {
        (Some(rest), _) => (Comparison::AtLeast, rest),
        (_, Some(rest)) => (Comparison::AtMost, rest),
        _ if rest.starts_with('>') => (Comparison::Above, &rest[1..]),
        _ => (Comparison::Below, &rest[1..]),
    };
    if metric.is_empty() || !metric.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return None;
    }
    let rest = rest.trim();
    let Some(change) = rest.strip_prefix("current") else {
        return Some((metric, comparison, false, signed_number(rest)?));
    };
    let change = change.trim();
    let number = match (change.strip_prefix('+'), change.strip_prefix('-')) {
        _ if change.is_empty() => 0.0,
        (Some(number), _) => plain_number(number.trim())?,
        (_, Some(number)) => -plain_number(number.trim())?,
        _ => return None,
    };
    Some((metric, comparison, true, number))
}

fn signed_number(text: &str) -> Option<f64> {
    match text.strip_prefix('-') {
        Some(rest) => plain_number(rest.trim()).map(|number| -number),
        None => plain_number(text),
    }
}

/// Digits with at most one point and no sign or exponent; `f64::from_str` alone would also take `inf` and `nan`.
fn plain_number(text: &str) -> Option<f64> {
    (text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || c == '.'))
        .then(|| text.parse().ok())
        .flatten()
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..at], text[at..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_in_thousands_unless_they_say_i() {
        for (text, bytes) in [
            ("512MB", Some(512_000_000)),
            ("2GiB", Some(2 << 30)),
            ("1.5 GB", Some(1_500_000_000)),
            ("4096", Some(4096)),
            ("18446744073709551615", Some(u64::MAX)),
            ("99999999999 TB", None),
            ("-1MB", None),
            ("MB", None),
            ("2 bits", None),
            ("1e3MB", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn grains_are_durations_or_parts_of_the_calendar() {
        for (text, grain) in [
            ("1 day", Some(Grain::Us(pelton_base::DAY_US))),
            ("7 days", Some(Grain::Us(7 * pelton_base::DAY_US))),
            ("1 week", Some(Grain::Weeks(1))),
            ("2w", Some(Grain::Weeks(2))),
            (" 1 month", Some(Grain::Months(1))),
            ("2 quarters", Some(Grain::Months(6))),
            ("1Year", Some(Grain::Months(12))),
            ("5m", Some(Grain::Us(300_000_000))),
            ("1M", None),
            ("0 days", None),
            ("0 months", None),
            ("-1 month", None),
            ("month", None),
            ("1 month 3 days", None),
            ("9223372036854775807 years", None),
            ("30000000000 weeks", None),
            ("", None),
        ] {
            assert_eq!(parse_grain(text), grain, "{text}");
        }
    }

    #[test]
    fn durations_have_fixed_lengths() {
        const DAY: i64 = 86_400_000_000;
        for (text, us) in [
            ("30 days", Some(30 * DAY)),
            ("1d", Some(DAY)),
            ("1 hour", Some(DAY / 24)),
            ("90 minutes", Some(DAY / 16)),
            ("2 weeks", Some(14 * DAY)),
            ("1 day 12 hours", Some(DAY + DAY / 2)),
            ("250ms", Some(250_000)),
            ("1 month", None),
            ("", None),
            ("30", None),
            ("-1 day", None),
            ("99999999999999 weeks", None),
        ] {
            assert_eq!(parse_duration_us(text), us, "{text}");
        }
    }

    #[test]
    fn shares_and_tolerances() {
        assert_eq!(parse_share("20%"), Some(0.2));
        assert_eq!(parse_share("0.25"), Some(0.25));
        assert_eq!(parse_share("120%"), None);
        assert_eq!(parse_share("nan"), None);
        assert_eq!(parse_tolerance("5"), Some(Tolerance::Rows(5)));
        assert_eq!(parse_tolerance("1%"), Some(Tolerance::Share(0.01)));
        assert_eq!(parse_tolerance("0.5"), None);
    }

    #[test]
    fn gates_compare_with_a_number_or_with_the_current_version() {
        assert_eq!(
            parse_gate("average_precision >= 0.60"),
            Some(("average_precision", Comparison::AtLeast, false, 0.6))
        );
        assert_eq!(parse_gate("roc_auc >= current - 0.01"), Some(("roc_auc", Comparison::AtLeast, true, -0.01)));
        assert_eq!(parse_gate("rmse<current"), Some(("rmse", Comparison::Below, true, 0.0)));
        assert_eq!(parse_gate("r2 > -0.5"), Some(("r2", Comparison::Above, false, -0.5)));
        for bad in ["rmse", "rmse = 3", ">= 3", "rmse >= fast", "rmse >= current * 2", "rmse >= current 2", "rmse >= "]
        {
            assert_eq!(parse_gate(bad), None, "{bad}");
        }
    }
}
