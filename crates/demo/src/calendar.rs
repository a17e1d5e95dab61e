//! The simulated year 2025 in UTC: its months, and how many payments fall into each.

/// 2025-01-01 00:00:00 UTC, in seconds since 1970.
pub(crate) const YEAR_START: i64 = 1_735_689_600;
/// 2026-01-01 00:00:00 UTC: nothing that happens later is in the data.
pub(crate) const YEAR_END: i64 = YEAR_START + 365 * DAY;
/// Seconds in a day.
pub(crate) const DAY: i64 = 86_400;
/// Days before each month of 2025, and at the end of the year.
const DAYS_BEFORE: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
/// How busy the days of each month are: holidays in August, gifts in December.
const BUSY: [u64; 12] = [92, 94, 98, 100, 101, 102, 100, 95, 101, 103, 110, 124];

/// A month and its part of the payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Month {
    /// 1 to 12.
    pub(crate) number: usize,
    /// Its first second.
    pub(crate) start: i64,
    /// The first second after it.
    pub(crate) end: i64,
    /// How many payments it has.
    pub(crate) rows: u64,
    /// How many of all payments come before it.
    pub(crate) rows_before: u64,
}

/// The twelve months, with `rows` payments shared out among them.
pub(crate) fn months(rows: u64) -> Vec<Month> {
    let weight = |month: usize| BUSY[month] * (DAYS_BEFORE[month + 1] - DAYS_BEFORE[month]) as u64;
    let total: u64 = (0..12).map(weight).sum();
    let share = |months: usize| {
        (u128::from(rows) * u128::from((0..months).map(weight).sum::<u64>()) / u128::from(total)) as u64
    };
    (0..12)
        .map(|month| Month {
            number: month + 1,
            start: YEAR_START + DAYS_BEFORE[month] * DAY,
            end: YEAR_START + DAYS_BEFORE[month + 1] * DAY,
            rows: share(month + 1) - share(month),
            rows_before: share(month),
        })
        .collect()
}

/// The day of the year, from 0, of a second; negative before the year.
pub(crate) fn day_of_year(at: i64) -> i64 {
    (at - YEAR_START).div_euclid(DAY)
}

/// The day of the week, 0 is Monday; 2025 began on a Wednesday.
pub(crate) fn weekday(day_of_year: i64) -> usize {
    (day_of_year + 2).rem_euclid(7) as usize
}

/// Year, month and day of a day counted from 1970-01-01.
///
/// "Days to civil", Howard Hinnant, "chrono-compatible low-level date algorithms".
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_share_all_rows_and_follow_each_other() {
        for rows in [1_000, 20_001, 500_000, u64::MAX / 2] {
            let months = months(rows);
            assert_eq!(months.iter().map(|month| month.rows).sum::<u64>(), rows);
            assert!(months.iter().all(|month| month.rows > 0));
            assert!(months.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!((months[0].start, months[11].end), (YEAR_START, YEAR_END));
        }
    }

    #[test]
    fn days_have_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(YEAR_START / DAY), (2025, 1, 1));
        assert_eq!(civil(YEAR_START / DAY - 307), (2024, 2, 29));
        assert_eq!(civil(YEAR_END / DAY - 1), (2025, 12, 31));
        assert_eq!(weekday(0), 2);
    }
}
