//! `[retry]` of `pelton.toml`: how often and after how long a node is built again whose storage did not answer.

use crate::settings::RETRY;
use crate::toml::Entry;
use pelton_base::Seed;
use serde::Serialize;
use std::time::Duration;

/// The most attempts that can be set: with the longest wait, a node gives up within ten minutes.
const ATTEMPTS_MAX: i64 = 10;

/// The longest wait that can be set.
const WAIT_MS_MAX: i64 = 60_000;

/// `[retry]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetrySettings {
    /// `attempts`: how often something is tried, the first time included. Default 3.
    pub attempts: u32,
    /// `wait_ms`: how long the first wait is; each further one is twice as long. Default 200.
    pub wait_ms: u64,
    /// `wait_ms_max`: the longest wait. Default 10,000.
    pub wait_ms_max: u64,
}

impl Default for RetrySettings {
    fn default() -> Self {
        RetrySettings { attempts: 3, wait_ms: 200, wait_ms_max: 10_000 }
    }
}

impl RetrySettings {
    /// How long to wait after attempt `attempt`, counted from 1, failed: twice as long as before it, up to the longest wait, of which
    /// the seed takes off up to a half, so that what failed together is not tried together again.
    pub fn wait_after(&self, attempt: u32, seed: Seed) -> Duration {
        let doubled = self.wait_ms.saturating_mul(1u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX));
        let whole = doubled.min(self.wait_ms_max);
        Duration::from_millis(whole).mul_f64(1.0 - 0.5 * seed.unit_at(u64::from(attempt)))
    }
}

pub(crate) fn read(entry: &Entry) -> RetrySettings {
    let mut settings = RetrySettings::default();
    let section = entry.section(&RETRY);
    if let Some(attempts) = section.get("attempts").and_then(|entry| entry.integer(1, ATTEMPTS_MAX)) {
        settings.attempts = attempts as u32;
    }
    let wait = |key: &str| section.get(key).and_then(|entry| entry.integer(0, WAIT_MS_MAX)).map(|ms| ms as u64);
    settings.wait_ms = wait("wait_ms").unwrap_or(settings.wait_ms);
    settings.wait_ms_max = wait("wait_ms_max").unwrap_or(settings.wait_ms_max);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_differ_by_seed() {
        let settings = RetrySettings { attempts: 10, wait_ms: 100, wait_ms_max: 1000 };
        for attempt in 1..=10 {
            let whole = (100 << (attempt - 1)).min(1000);
            let wait = settings.wait_after(attempt, Seed(7)).as_millis() as u64;
            assert!(wait * 2 >= whole && wait <= whole, "attempt {attempt}: {wait} ms of {whole}");
            assert_eq!(wait, settings.wait_after(attempt, Seed(7)).as_millis() as u64);
        }
        assert_ne!(settings.wait_after(1, Seed(7)), settings.wait_after(1, Seed(8)));
        assert!(settings.wait_after(200, Seed(7)) <= Duration::from_secs(1));
        assert_eq!(RetrySettings { wait_ms: 0, ..settings }.wait_after(3, Seed(7)), Duration::ZERO);
    }
}
