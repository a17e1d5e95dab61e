//! How old the newest row is, and what that means.
//!
//! Asked at every run, because a source that stopped delivering changes nothing. The newest value of a version never changes, so it
//! is measured once; only the clock moves.

use crate::run::Outcome;
use pelton_base::{NodeName, Report, format_time_us};
use pelton_project::{Check, Node, Rule};

/// A newest value that lies further in the future than any time zone can explain hides whether rows still come.
const FUTURE_US_MAX: i64 = 86_400_000_000;

/// The answer to a freshness rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// What came of it.
    pub outcome: Outcome,
    /// What was found, for people.
    pub fact: String,
}

/// Compares the newest value of a rule's column, microseconds since the epoch, with the time of the run; `None` for other rules.
pub fn judge_freshness(rule: &Rule, newest_us: Option<i64>, now_us: i64) -> Option<Freshness> {
    let Rule::Freshness { column, warn_after_us, stop_after_us } = rule else { return None };
    let worst = if stop_after_us.is_some() { Outcome::Failed } else { Outcome::Warned };
    let Some(newest_us) = newest_us else {
        return Some(Freshness { outcome: worst, fact: format!("no row has a value in `{column}`") });
    };
    let age_us = now_us.saturating_sub(newest_us);
    let fact = match age_us {
        0.. => format!("the newest `{column}` is {}, {} old", format_time_us(newest_us), duration(about(age_us))),
        _ => format!("the newest `{column}` is {}, which is in the future", format_time_us(newest_us)),
    };
    let is_over = |limit: &Option<i64>| limit.is_some_and(|limit| age_us > limit);
    let outcome = if is_over(stop_after_us) {
        Outcome::Failed
    } else if is_over(warn_after_us) || age_us < -FUTURE_US_MAX {
        Outcome::Warned
    } else {
        Outcome::Passed
    };
    Some(Freshness { outcome, fact })
}

/// The report of a freshness rule that is broken; `None` when it is met.
pub fn report_freshness(node: &Node, check: &Check, found: &Freshness) -> Option<Report> {
    let (kind, name): (_, &NodeName) = (node.kind(), &node.name);
    let Rule::Freshness { warn_after_us, stop_after_us, .. } = &check.rule else { return None };
    let (report, limit) = match found.outcome {
        Outcome::Failed => (Report::error("check-failed", String::new()), stop_after_us),
        Outcome::Warned => (Report::warning("check-warned", String::new()), warn_after_us),
        _ => return None,
    };
    let message = match limit {
        _ if found.fact.ends_with("future") => {
            format!("check `{}`: whether {kind} `{name}` is fresh cannot be told", check.name)
        }
        Some(limit) => format!("check `{}`: {kind} `{name}` has no row younger than {}", check.name, duration(*limit)),
        None => format!("check `{}`: {kind} `{name}` is not fresh", check.name),
    };
    let report = Report { message, ..report }.at(node.place_at(check.span)).note(found.fact.clone());
    Some(match found.outcome {
        Outcome::Failed => report.note(format!("`{name}` stays as it is, and nothing that reads it is built")),
        _ => report,
    })
}

/// A duration as settings write it: `1 day 12 hours`.
pub(crate) fn duration(us: i64) -> String {
    const UNITS: [(i64, &str); 7] = [
        (604_800_000_000, "week"),
        (86_400_000_000, "day"),
        (3_600_000_000, "hour"),
        (60_000_000, "minute"),
        (1_000_000, "second"),
        (1_000, "millisecond"),
        (1, "microsecond"),
    ];
    let mut parts = Vec::new();
    let mut rest = us.max(0);
    for (unit, word) in UNITS {
        // Weeks are said where they are whole: `2 weeks`, but `10 days`.
        if rest >= unit && (word != "week" || rest % unit == 0) {
            let count = rest / unit;
            rest %= unit;
            parts.push(format!("{count} {word}{}", if count == 1 { "" } else { "s" }));
        }
    }
    if parts.is_empty() { "0 seconds".into() } else { parts.join(" ") }
}

/// An age without what nobody wants to know: days from two days on, hours from two hours on, then minutes, then seconds.
fn about(us: i64) -> i64 {
    const HOUR: i64 = 3_600_000_000;
    let unit = match us {
        us if us >= 48 * HOUR => 24 * HOUR,
        us if us >= 2 * HOUR => HOUR,
        us if us >= HOUR / 30 => HOUR / 60,
        _ => 1_000_000,
    };
    us - us % unit
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn judged(warn: Option<i64>, stop: Option<i64>, newest: Option<i64>, now: i64) -> (Outcome, String) {
        let rule = Rule::Freshness {
            column: "at".into(),
            warn_after_us: warn.map(|hours| hours * HOUR),
            stop_after_us: stop.map(|hours| hours * HOUR),
        };
        let found = judge_freshness(&rule, newest.map(|hours| hours * HOUR), now * HOUR).unwrap();
        (found.outcome, found.fact)
    }

    #[test]
    fn age_alone_decides() {
        let of = |now| judged(Some(24), Some(48), Some(100), now).0;
        assert_eq!(
            [100, 124, 125, 148, 149].map(of),
            [Outcome::Passed, Outcome::Passed, Outcome::Warned, Outcome::Warned, Outcome::Failed]
        );
        assert_eq!(judged(None, Some(1), Some(0), 2).0, Outcome::Failed);
        assert_eq!(judged(Some(1), None, Some(0), 200).0, Outcome::Warned);
    }

    #[test]
    fn no_row_is_not_fresh_and_the_future_is_doubtful() {
        assert_eq!(judged(Some(1), Some(2), None, 5), (Outcome::Failed, "no row has a value in `at`".into()));
        assert_eq!(judged(Some(1), None, None, 5).0, Outcome::Warned);
        assert_eq!(judged(Some(1), Some(2), Some(12), 0).0, Outcome::Passed, "a clock or a time zone is off");
        let (outcome, fact) = judged(Some(1), Some(2), Some(30), 0);
        assert_eq!((outcome, fact.ends_with("in the future")), (Outcome::Warned, true));
    }

    #[test]
    fn durations_read_as_they_are_written() {
        assert_eq!(duration(36 * HOUR), "1 day 12 hours");
        assert_eq!(duration(14 * 24 * HOUR), "2 weeks");
        assert_eq!(duration(10 * 24 * HOUR), "10 days");
        assert_eq!(duration(90_000_000), "1 minute 30 seconds");
        assert_eq!(duration(about(50 * HOUR + 7)), "2 days");
        assert_eq!(duration(about(HOUR + 61_000_000)), "1 hour 1 minute");
        assert_eq!(duration(0), "0 seconds");
    }
}
