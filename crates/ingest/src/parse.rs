//! Values from text: integers, decimals, times, booleans. Exact or refused; nothing is rounded to make it fit.
//!
//! The same parsers read CSV fields, JSON numbers and strings, and text columns of Parquet files, so a value means the same in
//! every format. What a value looks like when nobody declared its type is the business of [`crate::infer`].

use arrow::datatypes::DataType;
use pelton_base::DAY_US;
use pelton_query::types;

/// How many characters of a value a reason quotes.
const QUOTED_CHARS_MAX: usize = 80;

/// Without the spaces and tabs at both ends.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// An integer: digits with an optional sign, and at most zeros after a decimal point (`12.0`, as some programs write whole
/// numbers of columns with gaps). `None` when it is not one or does not fit.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = signed(text.as_bytes());
    let mut value = 0i128;
    let mut read = 0;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            break;
        }
        value = value * 10 + i128::from(byte - b'0');
        // Nineteen digits hold every i64; the bound keeps the sum far from the limits of i128.
        if value > i128::from(u64::MAX) {
            return None;
        }
        read += 1;
    }
    if read == 0 {
        return None;
    }
    if let [b'.', zeros @ ..] = &digits[read..] {
        if zeros.iter().any(|&byte| byte != b'0') {
            return None;
        }
    } else if read < digits.len() {
        return None;
    }
    i64::try_from(if negative { -value } else { value }).ok()
}

fn signed(bytes: &[u8]) -> (bool, &[u8]) {
    match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    }
}

/// A double: everything that Rust reads as one; a number beyond the range of doubles is refused instead of becoming infinite.
pub(crate) fn double(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    (value.is_finite() || is_word_number(text)).then_some(value)
}

/// Doubles hold all whole numbers up to this one: their significand has 53 bits (IEEE 754).
pub(crate) const WHOLE_IN_DOUBLE_MAX: u64 = 1 << 53;

/// Whether a double that was read from a text is the whole number that stands there, when one does.
pub(crate) fn holds_whole(value: f64, text: &str) -> bool {
    let is_whole = || signed(text.as_bytes()).1.iter().all(u8::is_ascii_digit);
    value.abs() < WHOLE_IN_DOUBLE_MAX as f64 || !is_whole() || decimal(text, 38, 0) == Ok(value as i128)
}

/// As [`double`], for 32 bits.
pub(crate) fn real(text: &str) -> Option<f32> {
    let value: f32 = text.parse().ok()?;
    (value.is_finite() || is_word_number(text)).then_some(value)
}

/// Whether a text that parsed as a number is `nan` or `inf` in one of their spellings: digits never begin with these letters.
fn is_word_number(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b'i' | b'I' | b'a' | b'A'))
}

/// Why a text is not a decimal of a given precision and scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotDecimal {
    /// It is not a number.
    Shape,
    /// It has digits behind the last one that the scale holds.
    Fraction,
    /// It is larger than the precision holds.
    Range,
}

/// The unscaled value of a decimal, exactly. An exponent is allowed, and zeros beyond the scale are.
pub(crate) fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128, NotDecimal> {
    let (negative, bytes) = signed(text.as_bytes());
    let (mut value, mut fraction, mut digits, mut at) = (0i128, 0i32, 0usize, 0usize);
    let mut point = false;
    while at < bytes.len() {
        match bytes[at] {
            byte if byte.is_ascii_digit() => {
                digits += 1;
                value = value
                    .checked_mul(10)
                    .and_then(|value| value.checked_add(i128::from(byte - b'0')))
                    .ok_or(if point { NotDecimal::Fraction } else { NotDecimal::Range })?;
                fraction += i32::from(point);
            }
            b'.' if !point => point = true,
            _ => break,
        }
        at += 1;
    }
    if digits == 0 {
        return Err(NotDecimal::Shape);
    }
    let exponent = match &bytes[at..] {
        [] => 0,
        [b'e' | b'E', rest @ ..] => exponent(rest).ok_or(NotDecimal::Shape)?,
        _ => return Err(NotDecimal::Shape),
    };
    if value == 0 {
        return Ok(0);
    }
    let mut shift = i32::from(scale) - fraction + exponent;
    // 38 digits at most on either side of the point, so longer shifts cannot fit, and the loops are short.
    if shift > 38 {
        return Err(NotDecimal::Range);
    }
    while shift > 0 {
        value = value.checked_mul(10).ok_or(NotDecimal::Range)?;
        shift -= 1;
    }
    while shift < 0 {
        if value % 10 != 0 {
            return Err(NotDecimal::Fraction);
        }
        value /= 10;
        shift += 1;
    }
    if value >= 10i128.pow(u32::from(precision)) {
        return Err(NotDecimal::Range);
    }
    Ok(if negative { -value } else { value })
}

fn exponent(bytes: &[u8]) -> Option<i32> {
    let (negative, digits) = signed(bytes);
    if digits.is_empty() || digits.len() > 4 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0'));
    Some(if negative { -value } else { value })
}

/// `true`, `t`, `yes`, `1` and their opposites, in any case.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    const WORDS: [(&str, bool); 8] = [
        ("true", true),
        ("false", false),
        ("1", true),
        ("0", false),
        ("t", true),
        ("f", false),
        ("yes", true),
        ("no", false),
    ];
    WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
}

/// Days since 1970-01-01 of `YYYY-MM-DD`; a time behind it must be midnight in UTC.
pub(crate) fn date(text: &str) -> Option<i32> {
    if text.len() == 10 {
        return days(text.as_bytes());
    }
    let us = timestamp(text)?;
    (us % DAY_US == 0).then_some((us / DAY_US) as i32)
}

/// Microseconds since the epoch of RFC 3339, `YYYY-MM-DD HH:MM[:SS[.f]]` with or without a zone (then UTC), or `YYYY-MM-DD`.
///
/// Digits beyond the microsecond are cut off, towards the past. Numbers of seconds since the epoch are not times.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let day = i64::from(days(bytes.get(..10)?)?) * DAY_US;
    let rest = &bytes[10..];
    if rest.is_empty() {
        return Some(day);
    }
    if !matches!(rest[0], b'T' | b't' | b' ') || rest.get(3) != Some(&b':') {
        return None;
    }
    let (hour, minute) = (two(rest.get(1..3)?)?, two(rest.get(4..6)?)?);
    let mut at = 6;
    let (mut second, mut fraction_us) = (0, 0);
    if rest.get(at) == Some(&b':') {
        second = two(rest.get(7..9)?)?;
        at = 9;
        if matches!(rest.get(at), Some(b'.' | b',')) {
            at += 1;
            let start = at;
            while let Some(digit) = rest.get(at).filter(|byte| byte.is_ascii_digit()) {
                if at - start < 6 {
                    fraction_us = fraction_us * 10 + i64::from(digit - b'0');
                }
                at += 1;
            }
            if at == start || at - start > 9 {
                return None;
            }
            for _ in (at - start)..6 {
                fraction_us *= 10;
            }
        }
    }
    // Second 60 is a leap second: the instant that POSIX counts as the next minute's first.
    if hour > 23 || minute > 59 || second > 60 || (second == 60 && minute != 59) {
        return None;
    }
    let zone_us = zone(&rest[at..])?;
    Some(day + (hour * 3600 + minute * 60 + second) * 1_000_000 + fraction_us - zone_us)
}

/// The offset of a zone from UTC: nothing, `Z`, `UTC`, `+02:00`, `+0200` or `+02`, with or without a space before it.
fn zone(bytes: &[u8]) -> Option<i64> {
    let bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
    let (sign, rest) = match bytes {
        [] | [b'Z' | b'z'] | b"UTC" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (two(rest)?, 0),
        4 => (two(&rest[..2])?, two(&rest[2..])?),
        5 if rest[2] == b':' => (two(&rest[..2])?, two(&rest[3..])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60) * 1_000_000)
}

fn two(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [a, b] if a.is_ascii_digit() && b.is_ascii_digit() => Some(i64::from(a - b'0') * 10 + i64::from(b - b'0')),
        _ => None,
    }
}

/// Days since 1970-01-01 of exactly `YYYY-MM-DD`.
fn days(bytes: &[u8]) -> Option<i32> {
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = two(&bytes[..2])? * 100 + two(&bytes[2..4])?;
    let (month, day) = (two(&bytes[5..7])?, two(&bytes[8..])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if day < 1 || day > length {
        return None;
    }
    // Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil: the year begins in March.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    Some((era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468) as i32)
}

/// Why `text` does not read as `data_type`, as a sentence for the quarantine.
pub(crate) fn explain(text: &str, data_type: &DataType) -> String {
    let text = trim(text);
    let (quoted, name) = (quote(text), a_type(data_type));
    let too_large = match data_type {
        DataType::Decimal128(precision, scale) => match decimal(text, *precision, *scale) {
            Err(NotDecimal::Fraction) => {
                return format!("{quoted} has more than {scale} fraction digits, which {name} does not hold");
            }
            found => found == Err(NotDecimal::Range),
        },
        DataType::Float64 if text.parse::<f64>().is_ok_and(f64::is_finite) => {
            return format!("{quoted} has more digits than {name} holds");
        }
        DataType::Float32 if text.parse::<f32>().is_ok_and(f32::is_finite) => {
            return format!("{quoted} has more digits than {name} holds");
        }
        DataType::Float32 | DataType::Float64 => text.parse::<f64>().is_ok(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let digits = signed(text.as_bytes()).1;
            !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    if too_large { format!("{quoted} is too large for {name}") } else { format!("{quoted} is not {name}") }
}

/// A type's name with its article: `a bigint`, `an int`.
pub(crate) fn a_type(data_type: &DataType) -> String {
    let name = types::name(data_type);
    format!("{} {name}", if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" })
}

/// A value in backticks, cut when long.
pub(crate) fn quote(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{short}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_or_refused() {
        for (text, expect) in [
            ("0", Some(0)),
            ("-12", Some(-12)),
            ("+7", Some(7)),
            ("007", Some(7)),
            ("12.0", Some(12)),
            ("12.", Some(12)),
            ("12.5", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("99999999999999999999999999999999999999999999", None),
            ("", None),
            ("-", None),
            (".0", None),
            ("1e3", None),
            ("1 2", None),
            ("١", None),
        ] {
            assert_eq!(integer(text), expect, "{text}");
        }
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        for (text, expect) in [
            ("12.34", Ok(1234)),
            ("-0.05", Ok(-5)),
            ("12", Ok(1200)),
            (".5", Ok(50)),
            ("5.", Ok(500)),
            ("1.500", Ok(150)),
            ("1.5e2", Ok(15000)),
            ("150e-2", Ok(150)),
            ("0e9999", Ok(0)),
            ("1.234", Err(NotDecimal::Fraction)),
            ("1e-3", Err(NotDecimal::Fraction)),
            ("0.1000000000000000000000000000000000000000001", Err(NotDecimal::Fraction)),
            ("100000000", Err(NotDecimal::Range)),
            ("99999999.99", Ok(9_999_999_999)),
            ("1e99", Err(NotDecimal::Range)),
            ("1e99999", Err(NotDecimal::Shape)),
            ("", Err(NotDecimal::Shape)),
            (".", Err(NotDecimal::Shape)),
            ("1,5", Err(NotDecimal::Shape)),
            ("1.2.3", Err(NotDecimal::Shape)),
            ("abc", Err(NotDecimal::Shape)),
        ] {
            assert_eq!(decimal(text, 10, 2), expect, "{text}");
        }
        let long = "9".repeat(38);
        assert_eq!(decimal(&long, 38, 0), Ok(10i128.pow(38) - 1));
        assert_eq!(decimal(&"9".repeat(60), 38, 0), Err(NotDecimal::Range));
    }

    #[test]
    fn doubles_do_not_become_infinite() {
        assert_eq!(double("1.5"), Some(1.5));
        assert_eq!(double("1e400"), None);
        assert_eq!(double("-inf"), Some(f64::NEG_INFINITY));
        assert!(double("NaN").is_some_and(f64::is_nan));
        assert_eq!(real("1e39"), None);
        assert_eq!(double("1,5"), None);
        for (text, holds) in [
            ("9007199254740992", true),
            ("9007199254740993", false),
            ("-9007199254740994", true),
            ("9007199254740993.5", true),
            ("1e23", true),
            ("100000000000000000001", false),
            ("NaN", true),
        ] {
            assert_eq!(double(text).map(|value| holds_whole(value, text)), Some(holds), "{text}");
        }
    }

    #[test]
    fn times_agree_with_the_clock_of_the_base_crate() {
        for text in [
            "2026-03-01T12:34:56Z",
            "2026-03-01 12:34:56.123456",
            "2026-03-01T12:34:56.5+02:00",
            "2026-03-01",
            "1969-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
            "2000-02-29T00:00:00Z",
            "2026-03-01 12:34",
        ] {
            assert_eq!(timestamp(text), pelton_base::parse_time_us(text), "{text}");
            assert!(timestamp(text).is_some(), "{text}");
        }
        let noon = timestamp("2026-03-01T12:00:00Z");
        for text in
            ["2026-03-01 14:00:00+02", "2026-03-01 14:00:00 +0200", "2026-03-01t12:00:00z", "2026-03-01 12:00 UTC"]
        {
            assert_eq!(timestamp(text), noon, "{text}");
        }
        assert_eq!(timestamp("2026-03-01T12:00:00.123456789Z"), noon.map(|us| us + 123_456));
        assert_eq!(timestamp("2016-12-31T23:59:60Z"), timestamp("2017-01-01T00:00:00Z"));
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "1700000000",
            "2026-13-01",
            "2026-02-29",
            "2026-00-10",
            "2026-01-32",
            "2026-01-01T24:00:00Z",
            "2026-01-01T10:60:00Z",
            "2026-01-01T10:00:00X",
            "2026-01-01T10:00:00.",
            "2026-01-01T",
            "2026-01-01T1:00:00",
            "01/02/2026",
            "2026-1-1",
            "",
            "é026-01-01",
        ] {
            assert_eq!(timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_may_carry_midnight_alone() {
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("1969-12-31 00:00:00"), Some(-1));
        assert_eq!(date("1970-01-02T10:00:00Z"), None);
    }

    #[test]
    fn reasons_name_what_is_wrong() {
        let decimal = DataType::Decimal128(12, 2);
        assert_eq!(
            explain("1.234", &decimal),
            "`1.234` has more than 2 fraction digits, which a decimal(12,2) does not hold"
        );
        assert_eq!(explain("12,5", &decimal), "`12,5` is not a decimal(12,2)");
        assert_eq!(explain("300", &DataType::Int8), "`300` is too large for a tinyint");
        assert_eq!(explain("x", &DataType::Int64), "`x` is not a bigint");
        assert_eq!(explain("1e400", &DataType::Float64), "`1e400` is too large for a double");
        assert_eq!(
            explain("9007199254740993", &DataType::Float64),
            "`9007199254740993` has more digits than a double holds"
        );
        assert_eq!(explain("x", &DataType::Int32), "`x` is not an int");
        assert!(explain(&"x".repeat(500), &DataType::Int64).chars().count() < 120);
    }
}
