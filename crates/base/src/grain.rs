//! Steps into which time is cut: hours, days, weeks, months.

use crate::clock::DAY_US;
use chrono::{DateTime, Datelike, NaiveDate};
use std::fmt;

/// How time is cut into steps, all in UTC. A step holds its first microsecond, and not the first of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grain {
    /// Steps of so many microseconds, at multiples since 1970-01-01; 1 or more.
    Us(i64),
    /// Steps of so many weeks, which begin on Mondays, since that of 1970-01-05; 1 or more.
    Weeks(i64),
    /// Steps of so many months of the calendar, since January 1970; 1 or more.
    Months(i64),
}

const WEEK_US: i64 = 7 * DAY_US;

/// The first Monday: 1970 began on a Thursday.
const MONDAY_US: i64 = 4 * DAY_US;

/// Months of the calendar until 1970.
const MONTHS_TO_EPOCH: i64 = 1970 * 12;

impl Grain {
    /// Every time that there is.
    pub const FINEST: Grain = Grain::Us(1);

    /// The number of the step that holds a time; steps after it have higher ones. `None` for a time that no calendar has.
    fn number(self, us: i64) -> Option<i64> {
        match self {
            Grain::Us(step) => Some(us.div_euclid(step)),
            Grain::Weeks(weeks) => Some(us.checked_sub(MONDAY_US)?.div_euclid(WEEK_US.checked_mul(weeks)?)),
            Grain::Months(months) => {
                let day = DateTime::from_timestamp_micros(us)?;
                let month = i64::from(day.year()) * 12 + i64::from(day.month0());
                Some((month - MONTHS_TO_EPOCH).div_euclid(months))
            }
        }
    }

    /// When a step begins, by its number.
    fn begin(self, number: i64) -> Option<i64> {
        match self {
            Grain::Us(step) => number.checked_mul(step),
            Grain::Weeks(weeks) => number.checked_mul(WEEK_US.checked_mul(weeks)?)?.checked_add(MONDAY_US),
            Grain::Months(months) => {
                let month = number.checked_mul(months)?.checked_add(MONTHS_TO_EPOCH)?;
                let year = i32::try_from(month.div_euclid(12)).ok()?;
                let day = NaiveDate::from_ymd_opt(year, 1 + month.rem_euclid(12) as u32, 1)?;
                day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros().into()
            }
        }
    }

    /// When the step begins that holds a time; `i64::MIN` where no time can tell.
    pub fn floor(self, us: i64) -> i64 {
        self.number(us).and_then(|number| self.begin(number)).unwrap_or(i64::MIN)
    }

    /// When the step after it begins; `i64::MAX` where no time can tell.
    pub fn end(self, us: i64) -> i64 {
        self.number(us).and_then(|number| self.begin(number.checked_add(1)?)).unwrap_or(i64::MAX)
    }

    /// How many steps begin in a range whose ends begin one.
    pub fn count(self, (from, to): (i64, i64)) -> u64 {
        match (self.number(from), self.number(to)) {
            (Some(from), Some(to)) => to.abs_diff(from),
            _ => 0,
        }
    }

    /// Whole steps that a range lies in, in at most so many parts of as many of them.
    pub fn parts(self, (from, to): (i64, i64), most: i64) -> Vec<(i64, i64)> {
        let (Some(first), Some(last)) = (self.number(from), self.number(to.saturating_sub(1))) else {
            return vec![(self.floor(from), self.end(to.saturating_sub(1)))];
        };
        let each = (last - first + most) / most;
        let begins = (first..=last).step_by(each.max(1) as usize);
        let part = |begin: i64| {
            let begun = self.begin(begin).unwrap_or(i64::MIN);
            (begun, self.begin((begin + each).min(last + 1)).unwrap_or(i64::MAX))
        };
        begins.map(part).collect()
    }

    /// Whether each of its steps is made of whole steps of another.
    pub fn is_made_of(self, finer: Grain) -> bool {
        match (self, finer) {
            (Grain::Us(all), Grain::Us(part))
            | (Grain::Weeks(all), Grain::Weeks(part))
            | (Grain::Months(all), Grain::Months(part)) => all % part == 0,
            (_, Grain::Us(part)) => DAY_US % part == 0,
            _ => false,
        }
    }

    /// The most microseconds that a step has.
    pub fn longest_us(self) -> i64 {
        match self {
            Grain::Us(step) => step,
            Grain::Weeks(weeks) => WEEK_US.saturating_mul(weeks),
            Grain::Months(months) if months % 12 == 0 => (366 * DAY_US).saturating_mul(months / 12),
            Grain::Months(months) if months % 3 == 0 => (92 * DAY_US).saturating_mul(months / 3),
            Grain::Months(months) => (31 * DAY_US).saturating_mul(months),
        }
    }
}

/// As settings have it: `1 hour`, `2 weeks`, `1 month`.
impl fmt::Display for Grain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(i64, &str); 5] =
            [(DAY_US, "day"), (3_600_000_000, "hour"), (60_000_000, "minute"), (1_000_000, "second"), (1_000, "ms")];
        let (number, unit) = match *self {
            Grain::Us(us) => {
                let whole = UNITS.iter().find(|(length, _)| us % length == 0);
                whole.map_or((us, "us"), |(length, unit)| (us / length, *unit))
            }
            Grain::Weeks(weeks) => (weeks, "week"),
            Grain::Months(months) if months % 12 == 0 => (months / 12, "year"),
            Grain::Months(months) if months % 3 == 0 => (months / 3, "quarter"),
            Grain::Months(months) => (months, "month"),
        };
        let s = if number == 1 || unit == "ms" || unit == "us" { "" } else { "s" };
        write!(f, "{number} {unit}{s}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format_time_us, parse_time_us};

    fn step(grain: Grain, text: &str) -> String {
        let us = parse_time_us(text).unwrap();
        format!("{} {}", format_time_us(grain.floor(us)), format_time_us(grain.end(us))).replace("T00:00:00Z", "")
    }

    #[test]
    fn steps_begin_where_the_calendar_says() {
        for (grain, at, expected) in [
            (Grain::Us(DAY_US), "2026-03-01T12:00:00Z", "2026-03-01 2026-03-02"),
            (Grain::Us(DAY_US), "1969-12-31T23:59:59Z", "1969-12-31 1970-01-01"),
            (Grain::Weeks(1), "2026-11-27T23:59:59Z", "2026-11-23 2026-11-30"),
            (Grain::Weeks(1), "2026-11-30", "2026-11-30 2026-12-07"),
            (Grain::Weeks(2), "1970-01-11T23:00:00Z", "1970-01-05 1970-01-19"),
            (Grain::Weeks(1), "1969-12-31", "1969-12-29 1970-01-05"),
            (Grain::Months(1), "2024-02-29T23:59:59Z", "2024-02-01 2024-03-01"),
            (Grain::Months(1), "1969-12-31T23:59:59Z", "1969-12-01 1970-01-01"),
            (Grain::Months(3), "2026-12-31", "2026-10-01 2027-01-01"),
            (Grain::Months(12), "2026-12-31", "2026-01-01 2027-01-01"),
            (Grain::Months(12), "9999-12-31", "9999-01-01 +10000-01-01"),
            (Grain::Months(5), "1970-05-31", "1970-01-01 1970-06-01"),
        ] {
            assert_eq!(step(grain, at), expected, "{grain} {at}");
        }
    }

    #[test]
    fn times_that_no_calendar_has_lie_in_a_step_without_ends() {
        for grain in [Grain::Months(1), Grain::Weeks(1), Grain::Us(DAY_US)] {
            assert_eq!((grain.floor(i64::MIN), grain.end(i64::MAX)), (i64::MIN, i64::MAX), "{grain}");
        }
    }

    #[test]
    fn steps_are_counted_and_parted() {
        let at = |text: &str| parse_time_us(text).unwrap();
        let year = (at("2026-01-01"), at("2027-01-01"));
        assert_eq!(Grain::Months(1).count(year), 12);
        assert_eq!(Grain::Us(DAY_US).count(year), 365);
        for (grain, range, parts, first) in [
            (Grain::Months(1), year, 12, "2026-01-01 2026-02-01"),
            (Grain::Months(1), (at("2025-12-31"), at("2027-01-02")), 7, "2025-12-01 2026-02-01"),
            (Grain::Weeks(1), (at("2026-11-24"), at("2026-11-25")), 1, "2026-11-23 2026-11-30"),
            (Grain::Us(DAY_US), year, 12, "2026-01-01 2026-02-01"),
        ] {
            let found = grain.parts(range, 12);
            let (from, to) = found[0];
            let said = format!("{} {}", format_time_us(from), format_time_us(to)).replace("T00:00:00Z", "");
            assert_eq!((found.len(), said.as_str()), (parts, first), "{grain}");
            assert!(found.windows(2).all(|two| two[0].1 == two[1].0), "{found:?}");
            assert_eq!(found.last().unwrap().1, grain.end(range.1 - 1));
        }
    }

    #[test]
    fn coarse_steps_are_made_of_finer_ones() {
        let (hour, day) = (Grain::Us(3_600_000_000), Grain::Us(DAY_US));
        for (all, part, is) in [
            (day, hour, true),
            (hour, day, false),
            (Grain::Months(1), day, true),
            (Grain::Weeks(1), hour, true),
            (Grain::Months(1), Grain::Us(2 * DAY_US), false),
            (Grain::Months(12), Grain::Months(3), true),
            (Grain::Months(1), Grain::Months(3), false),
            (Grain::Months(1), Grain::Weeks(1), false),
            (Grain::Us(7 * DAY_US), Grain::Weeks(1), false),
        ] {
            assert_eq!(all.is_made_of(part), is, "{all} of {part}");
        }
    }

    #[test]
    fn a_grain_is_said_as_settings_have_it() {
        for (grain, said) in [
            (Grain::Us(3_600_000_000), "1 hour"),
            (Grain::Us(90 * 60_000_000), "90 minutes"),
            (Grain::Us(2 * DAY_US), "2 days"),
            (Grain::Us(7), "7 us"),
            (Grain::Weeks(2), "2 weeks"),
            (Grain::Months(1), "1 month"),
            (Grain::Months(3), "1 quarter"),
            (Grain::Months(24), "2 years"),
        ] {
            assert_eq!(grain.to_string(), said);
        }
    }
}
