//! Numbers, times and texts as people read them.

pub(crate) use pelton_base::thousands as count;

use std::time::Duration;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// `1 row`, `2 rows`: a number and its noun, whose plural ends in `s`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A duration: `85 ms`, `12.3 s`, `4 min 10 s`.
pub(crate) fn elapsed(elapsed: Duration) -> String {
    let ms = elapsed.as_millis();
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{:.1} s", elapsed.as_secs_f64()),
        _ => format!("{} min {} s", ms / 60_000, ms / 1_000 % 60),
    }
}

/// As [`elapsed`], of milliseconds.
pub(crate) fn elapsed_ms(ms: u64) -> String {
    elapsed(Duration::from_millis(ms))
}

/// A duration as settings write it, in the largest unit that has no rest: `30 days`, `90 minutes`, `0 seconds`.
pub(crate) fn duration_us(us: i64) -> String {
    let units = [(86_400_000_000, "day"), (3_600_000_000, "hour"), (60_000_000, "minute"), (1_000_000, "second")];
    let unit = units.into_iter().find(|(size, _)| us != 0 && us % size == 0);
    match unit {
        Some((size, name)) => counted((us / size).unsigned_abs(), name),
        None => format!("{} seconds", us as f64 / 1e6),
    }
}

/// A size: `812 bytes`, `4.2 kB`, `1.3 GB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return counted(bytes, "byte");
    }
    let mut size = bytes as f64 / 1_000.0;
    let mut unit = 0;
    // 999.95 would be written as 1000.0.
    while size >= 999.95 && unit + 1 < UNITS.len() {
        size /= 1_000.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// A metric: four significant digits or so, and never `-0`.
pub(crate) fn metric(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => value.to_string(),
        0.0 => "0".into(),
        size if size >= 10_000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    }
}

/// Names in backticks with commas: `` `a`, `b` and 3 more ``.
pub(crate) fn names<T: AsRef<str>>(names: impl IntoIterator<Item = T>, shown_max: usize) -> String {
    let names: Vec<T> = names.into_iter().collect();
    let shown = names.iter().take(shown_max).map(|name| name.as_ref().to_string()).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(shown_max) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Text that may come from data, made safe for a terminal: control characters become visible escapes.
pub(crate) fn visible(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_string();
    }
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// How many columns of a terminal a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text, cut to `width_max` columns of a terminal with an ellipsis.
pub(crate) fn cut(text: &str, width_max: usize) -> String {
    if width(text) <= width_max {
        return text.to_string();
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > width_max {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

/// The text with spaces up to `width` columns of a terminal.
pub(crate) fn padded(text: &str, width_min: usize) -> String {
    format!("{text}{}", " ".repeat(width_min.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(["0", "999", "1,000", "1,234,567"].map(String::from), [0, 999, 1_000, 1_234_567].map(count));
        assert_eq!((counted(1, "row"), counted(0, "row")), ("1 row".into(), "0 rows".into()));
        assert_eq!([85, 12_340, 250_000].map(elapsed_ms), ["85 ms", "12.3 s", "4 min 10 s"].map(String::from));
        assert_eq!(
            [1, 4_200, 999_960, 1_300_000_000].map(bytes),
            ["1 byte", "4.2 kB", "1.0 MB", "1.3 GB"].map(String::from)
        );
        assert_eq!(
            [0.61349, 123_456.7, -0.0, 0.000_012_3, f64::NAN].map(metric),
            ["0.6135", "123457", "0", "1.23e-5", "NaN"].map(String::from)
        );
        assert_eq!(names(["a", "b", "c"], 2), "a, b and 1 more");
        let durations = [86_400_000_000, 5_400_000_000, 0, 1_500_000].map(duration_us);
        assert_eq!(durations, ["1 day", "90 minutes", "0 seconds", "1.5 seconds"].map(String::from));
    }

    #[test]
    fn text_from_data_cannot_steer_the_terminal() {
        assert_eq!(visible("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(padded("日", 4), "日  ");
    }
}
