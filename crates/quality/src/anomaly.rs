//! Whether a statistic of a version is about what it was in earlier versions.
//!
//! The method, its reasons and its measured rates are in `docs/adr/0016-anomalies.md`. In short: a few simple predictors compete
//! (the usual level; the value before plus the usual step; either by weekday, by hour, or by both). Each earlier version is
//! predicted from the others, the predictor with the smallest errors wins, and the new value must lie as near to its prediction as
//! earlier versions lay to theirs. Medians throughout: a wrong version in the history moves neither the prediction nor its range.
//!
//! Pure: history and time are passed in.

use pelton_project::Statistic;
use std::collections::BTreeMap;

/// How many earlier versions must be known before anything is called unusual: with fewer, the median of their errors is no measure.
pub const HISTORY_MIN: usize = 8;

/// The most earlier versions that are looked at: three weeks of hourly ones, so that every hour of the week is known three times.
pub const HISTORY_MAX: usize = 600;

/// How many of the newest versions a predictor without a season looks at: a month of daily ones.
const RECENT_MAX: usize = 30;

/// How many of the newest versions of each weekday or hour a predictor with a season looks at: a quarter of weekly ones.
const RECENT_OF_SEASON_MAX: usize = 12;

/// How many versions of the same weekday or hour must be known.
const SEASON_MIN: usize = 3;

/// How many predictions a predictor with a season is judged by at least: two weeks of daily ones.
const SEASON_ERRORS_MIN: usize = 15;

/// How much smaller the errors of a richer predictor must be: less is what chance alone gives with so few versions.
const GAIN: f64 = 0.7;

/// The standard deviation of a normal distribution over its median absolute deviation (Rousseeuw and Croux 1993, section 1).
const MAD_TO_SIGMA: f64 = 1.4826;

/// The median error of few versions is itself uncertain: the range is wider by this over their number. Chosen by simulation so that
/// the rates of false alarms with 8 and with 60 versions are alike.
const FEW_WIDEN: f64 = 4.0;

/// After so many versions out of range on one side, what they were is the new usual.
const NEW_LEVEL: usize = 3;

/// The least share of rows that null shares differ by, whatever their history.
const SHARE_FLOOR: f64 = 0.001;

/// A statistic of an earlier version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    /// When it was measured, microseconds since the epoch.
    pub at_us: i64,
    /// Its value.
    pub value: f64,
}

/// What is usual.
#[derive(Debug, Clone, PartialEq)]
pub struct Usual {
    /// The least usual value.
    pub low: f64,
    /// The greatest usual value.
    pub high: f64,
    /// How many earlier versions that was learnt from.
    pub learnt_from: usize,
    /// What the version is compared with.
    pub compared: &'static str,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Judged {
    /// Too few earlier versions are known: how many.
    Learning(usize),
    /// The value is usual.
    Usual(Usual),
    /// It is not.
    Unusual(Usual),
}

/// A value under judgement.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// What was measured.
    pub statistic: Statistic,
    /// The value, and when it was measured.
    pub measured: Known,
    /// How many rows it was measured of.
    pub rows: u64,
    /// How many usual deviations are still usual.
    pub sensitivity: f64,
}

/// Judges a value by those of earlier versions, oldest first.
pub fn judge(history: &[Known], candidate: &Candidate) -> Judged {
    let history = &history[history.len().saturating_sub(HISTORY_MAX)..];
    if history.len() < HISTORY_MIN {
        return Judged::Learning(history.len());
    }
    let Some(mut fit) = best(history, candidate.measured.at_us) else { return Judged::Learning(history.len()) };
    if fit.is_level && is_new_level(&fit, candidate) {
        fit = step(history, candidate.measured.at_us, Season::None, 3).unwrap_or(fit);
        fit.compared = NEWEST;
    }
    let (low, high) = range(&fit, candidate);
    let value = candidate.measured.value;
    // Sums of the same rows in another order differ in their last digits.
    let slack = 1e-9 * value.abs().max(1.0);
    let usual = Usual { low, high, learnt_from: fit.learnt_from, compared: fit.compared };
    if low - slack <= value && value <= high + slack { Judged::Usual(usual) } else { Judged::Unusual(usual) }
}

const ALL: &str = "the versions before it";
const NEWEST: &str = "the newest versions before it";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Season {
    None,
    Weekday,
    Hour,
    WeekdayAndHour,
}

impl Season {
    /// The part of the season that a time lies in, UTC.
    fn phase(self, at_us: i64) -> i64 {
        let hours = at_us.div_euclid(3_600_000_000);
        match self {
            Season::None => 0,
            Season::Weekday => hours.div_euclid(24).rem_euclid(7),
            Season::Hour => hours.rem_euclid(24),
            Season::WeekdayAndHour => hours.rem_euclid(168),
        }
    }
}

/// A predictor over a history.
struct Fit {
    /// What it predicts for the version under judgement.
    expected: f64,
    /// By how much it missed earlier versions, each predicted from the others, oldest first.
    errors: Vec<f64>,
    /// The size of what is predicted: the level, or the step.
    size: f64,
    learnt_from: usize,
    is_level: bool,
    compared: &'static str,
}

/// The predictor with the smallest errors; a later one must be better by [`GAIN`].
fn best(history: &[Known], at_us: i64) -> Option<Fit> {
    use Season::{Hour, None as NoSeason, Weekday, WeekdayAndHour};
    let steps = |season| {
        // Over the value before alone for sums that grow, over the median of three for a trend with noise.
        let both = [step(history, at_us, season, 3), step(history, at_us, season, 1)];
        both.into_iter().flatten().min_by(|a, b| cost(a).total_cmp(&cost(b)))
    };
    let candidates = [
        level(history, at_us, NoSeason),
        steps(NoSeason),
        level(history, at_us, Weekday),
        level(history, at_us, Hour),
        steps(Weekday),
        level(history, at_us, WeekdayAndHour),
    ];
    candidates.into_iter().flatten().fold(None, |best: Option<Fit>, fit| match best {
        Some(best) if cost(&fit) >= cost(&best) * GAIN => Some(best),
        _ => Some(fit),
    })
}

/// The mean size of the errors without the greatest tenth. Their median would not see that every weekend is missed.
fn cost(fit: &Fit) -> f64 {
    let mut sizes: Vec<f64> = fit.errors.iter().map(|error| error.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.truncate(sizes.len() - (sizes.len() / 10).max(1));
    sizes.iter().sum::<f64>() / sizes.len().max(1) as f64
}

/// Predicts the median of the versions of the same season.
fn level(history: &[Known], at_us: i64, season: Season) -> Option<Fit> {
    let most = if season == Season::None { RECENT_MAX } else { RECENT_OF_SEASON_MAX };
    let mut phases: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    let mut window: Vec<(i64, f64)> = Vec::new();
    for known in history.iter().rev() {
        let phase = season.phase(known.at_us);
        let values = phases.entry(phase).or_default();
        if values.len() < most {
            values.push(known.value);
            window.push((phase, known.value));
        }
    }
    window.reverse();
    let mine = phases.get(&season.phase(at_us)).filter(|values| values.len() >= SEASON_MIN)?;
    let mut errors = Vec::with_capacity(window.len());
    for (phase, value) in &window {
        let values = &phases[phase];
        if values.len() >= SEASON_MIN {
            let mut others = values.clone();
            others.swap_remove(others.iter().position(|other| other == value)?);
            errors.push(value - median(&mut others));
        }
    }
    let compared = match season {
        Season::None => ALL,
        Season::Weekday => "versions of the same weekday",
        Season::Hour => "versions of the same hour",
        Season::WeekdayAndHour => "versions of the same weekday and hour",
    };
    let enough = if season == Season::None { HISTORY_MIN - 3 } else { SEASON_ERRORS_MIN };
    let expected = median(&mut mine.clone());
    let (size, learnt_from) = (expected.abs(), window.len());
    (errors.len() >= enough).then_some(Fit { expected, errors, size, learnt_from, is_level: true, compared })
}

/// Predicts the median of the `base` versions before, each moved on by the usual steps of the season since then.
fn step(history: &[Known], at_us: i64, season: Season, base: usize) -> Option<Fit> {
    let most = if season == Season::None { RECENT_MAX } else { RECENT_OF_SEASON_MAX * 14 };
    let window = &history[history.len().saturating_sub(most)..];
    let mut steps: BTreeMap<i64, Vec<(usize, f64)>> = BTreeMap::new();
    for (at, pair) in window.windows(2).enumerate() {
        let phase = season.phase(pair[1].at_us);
        steps.entry(phase).or_default().push((at + 1, pair[1].value - pair[0].value));
    }
    if season != Season::None {
        for steps in steps.values_mut() {
            steps.drain(..steps.len().saturating_sub(RECENT_OF_SEASON_MAX));
        }
    }
    let usual_step = |phase: i64, without: usize| {
        let mut sizes: Vec<f64> =
            steps.get(&phase)?.iter().filter(|(at, _)| *at != without).map(|(_, size)| *size).collect();
        (sizes.len() >= 2).then(|| median(&mut sizes))
    };
    let predict = |at: usize, at_us: i64| {
        let mut moved = usual_step(season.phase(at_us), at)?;
        let mut predictions = Vec::with_capacity(base);
        for back in 1..=base.min(at) {
            let from = &window[at - back];
            predictions.push(from.value + moved);
            if back < base {
                moved += usual_step(season.phase(from.at_us), at)?;
            }
        }
        (!predictions.is_empty()).then(|| median(&mut predictions))
    };
    if steps.get(&season.phase(at_us)).is_none_or(|steps| steps.len() < SEASON_MIN) {
        return None;
    }
    let missed = |at: usize| Some(window[at].value - predict(at, window[at].at_us)?);
    let errors: Vec<f64> = (base..window.len()).filter_map(missed).collect();
    let compared = if season == Season::None { NEWEST } else { "the steps between versions, by weekday" };
    let enough = if season == Season::None { HISTORY_MIN - 3 } else { SEASON_ERRORS_MIN };
    let expected = predict(window.len(), at_us)?;
    // Of a sum that only grows, a change is small or great beside what it grows by, not beside all that was there before.
    let only_grows = window.windows(2).all(|pair| pair[0].value <= pair[1].value);
    let usual_growth = usual_step(season.phase(at_us), window.len())?;
    let size = if only_grows && usual_growth > 0.0 { usual_growth } else { expected.abs() };
    let learnt_from = window.len();
    (errors.len() >= enough).then_some(Fit { expected, errors, size, learnt_from, is_level: false, compared })
}

/// Whether the newest versions were all out of range on one side.
fn is_new_level(fit: &Fit, candidate: &Candidate) -> bool {
    let most = (spread(fit) * widened(fit, candidate)).max(floor(fit, candidate));
    let newest = &fit.errors[fit.errors.len().saturating_sub(NEW_LEVEL)..];
    newest.iter().all(|error| *error > most) || newest.iter().all(|error| *error < -most)
}

/// The usual deviation of a prediction.
fn spread(fit: &Fit) -> f64 {
    MAD_TO_SIGMA * median(&mut fit.errors.iter().map(|error| error.abs()).collect::<Vec<_>>())
}

fn widened(fit: &Fit, candidate: &Candidate) -> f64 {
    candidate.sensitivity * (1.0 + FEW_WIDEN / fit.errors.len() as f64)
}

/// The least and greatest usual value.
fn range(fit: &Fit, candidate: &Candidate) -> (f64, f64) {
    let far = spread(fit) * widened(fit, candidate);
    let mut errors = fit.errors.clone();
    errors.sort_by(f64::total_cmp);
    // What happened in more than a tenth of the versions is usual, however far it lies off: weekends, before they are known as such.
    let left_out = (errors.len() / 10).max(1);
    let below = (-far).min(errors[left_out] - far / 2.0);
    let above = far.max(errors[errors.len() - 1 - left_out] + far / 2.0);
    let least = floor(fit, candidate);
    let (low, high) = (fit.expected + below.min(-least), fit.expected + above.max(least));
    match candidate.statistic {
        Statistic::RowCount | Statistic::DistinctCount => (low.max(0.0), high),
        Statistic::NullShare => (low.max(0.0), high.min(1.0)),
        Statistic::Mean => (low, high),
    }
}

/// What may change whatever the history: for each unit of sensitivity, one percent of the usual value or step, or of a share, what
/// chance does to so many rows (the standard error of a share, with one row added, so that it is not zero for a share of zero).
fn floor(fit: &Fit, candidate: &Candidate) -> f64 {
    match candidate.statistic {
        Statistic::NullShare => {
            let rows = candidate.rows.max(1) as f64;
            let share = fit.expected.clamp(0.0, 1.0);
            let chance = ((share + 1.0 / rows).min(1.0) * (1.0 - share + 1.0 / rows).min(1.0) / rows).sqrt();
            candidate.sensitivity * chance.max(SHARE_FLOOR)
        }
        _ => candidate.sensitivity * 0.01 * fit.size,
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pelton_base::Seed;

    const DAY_US: i64 = 86_400_000_000;
    /// A Monday, nine o'clock.
    const MONDAY_US: i64 = 4 * DAY_US + 9 * 3_600_000_000;

    fn daily(values: &[f64]) -> Vec<Known> {
        let known = |(day, value): (usize, &f64)| Known { at_us: MONDAY_US + day as i64 * DAY_US, value: *value };
        values.iter().enumerate().map(known).collect()
    }

    fn judged(statistic: Statistic, sensitivity: f64, values: &[f64]) -> Judged {
        let known = daily(values);
        let (measured, history) = known.split_last().unwrap();
        judge(history, &Candidate { statistic, measured: *measured, rows: 1_000, sensitivity })
    }

    fn is_alarm(values: &[f64]) -> bool {
        matches!(judged(Statistic::RowCount, 5.0, values), Judged::Unusual(_))
    }

    /// Numbers with a normal distribution (Box and Muller 1958).
    struct Noise(Seed, u64);

    impl Noise {
        fn unit(&mut self) -> f64 {
            self.1 += 1;
            self.0.unit_at(self.1).max(1e-12)
        }

        fn normal(&mut self) -> f64 {
            (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
        }

        /// Twice the tails of a normal distribution and more.
        fn laplace(&mut self) -> f64 {
            let size = -self.unit().ln();
            if self.unit() < 0.5 { size } else { -size }
        }
    }

    /// The share of alarms on the last of `length` values, over many series.
    fn rate(lengths: &[usize], mut series: impl FnMut(&mut Noise, usize) -> Vec<f64>) -> f64 {
        let mut noise = Noise(Seed(20), 0);
        let (mut alarms, mut asked) = (0, 0);
        for length in lengths {
            for _ in 0..300 {
                asked += 1;
                alarms += usize::from(is_alarm(&series(&mut noise, length + 1)));
            }
        }
        f64::from(alarms as u32) / f64::from(asked)
    }

    fn with_noise(length: usize, mut value: impl FnMut(usize) -> f64) -> Vec<f64> {
        (0..length).map(&mut value).collect()
    }

    /// The rates that the decision states, with room for chance: 300 series a length, so the standard error of a rate of 1 % is 0.3 %.
    #[test]
    fn false_alarms_are_as_rare_as_the_guide_says() {
        let (few, enough) = ([8, 10, 12], [14, 20, 30, 60]);
        let normal = |noise: &mut Noise, n| with_noise(n, |_| 1_000.0 + 100.0 * noise.normal());
        let heavy = |noise: &mut Noise, n| with_noise(n, |_| 1_000.0 + 100.0 * noise.laplace());
        let skewed = |noise: &mut Noise, n| with_noise(n, |_| 1_000.0 * (0.3 * noise.normal()).exp());
        let trend = |noise: &mut Noise, n| with_noise(n, |day| 1_000.0 + 30.0 * day as f64 + 100.0 * noise.normal());
        let week = |noise: &mut Noise, n| {
            with_noise(n, |day| if day % 7 < 5 { 1_000.0 } else { 200.0 } + 40.0 * noise.normal())
        };
        let sum = |noise: &mut Noise, n| {
            let mut total = 0.0;
            with_noise(n, |_| {
                total += 1_000.0 + 100.0 * noise.normal();
                total
            })
        };
        let rates = [
            ("normal", rate(&few, normal), rate(&enough, normal)),
            ("heavy tails", rate(&few, heavy), rate(&enough, heavy)),
            ("skewed", rate(&few, skewed), rate(&enough, skewed)),
            ("trend", rate(&few, trend), rate(&enough, trend)),
            ("week", rate(&few, week), rate(&enough, week)),
            ("growing sum", rate(&few, sum), rate(&enough, sum)),
        ];
        for (name, few, enough) in rates {
            assert!(few <= 0.02, "{name}: {few} with 8 to 12 versions");
            assert!(enough <= 0.01, "{name}: {enough} with 14 versions and more");
        }
    }

    #[test]
    fn what_is_wrong_is_seen() {
        let sum = |noise: &mut Noise, n: usize| {
            let mut total = 0.0;
            with_noise(n, |day| {
                total += if day + 1 == n { 0.0 } else { 1_000.0 + 100.0 * noise.normal() };
                total
            })
        };
        assert!(rate(&[21, 30, 60], sum) > 0.95, "a day without new rows");
        let week = |noise: &mut Noise, n: usize| {
            with_noise(n, |day| if day % 7 < 5 && day + 1 < n { 1_000.0 } else { 200.0 } + 40.0 * noise.normal())
        };
        assert!(rate(&[28, 35, 60], week) > 0.95, "a Monday as empty as a Sunday");
        let shift = |noise: &mut Noise, n: usize| {
            with_noise(n, |day| if day + 1 < n { 1_000.0 } else { 2_000.0 } + 100.0 * noise.normal())
        };
        assert!(rate(&[21, 30, 60], shift) > 0.9, "twice as many rows");
    }

    #[test]
    fn a_new_level_is_the_usual_one_after_three_versions() {
        let mut noise = Noise(Seed(3), 0);
        let mut values = with_noise(30, |_| 1_000.0 + 20.0 * noise.normal());
        let mut alarms = Vec::new();
        for _ in 0..10 {
            values.push(3_000.0 + 20.0 * noise.normal());
            alarms.push(is_alarm(&values));
        }
        assert_eq!(alarms, [true, true, true, false, false, false, false, false, false, false]);
    }

    #[test]
    fn a_wrong_version_in_the_history_hides_nothing_and_raises_nothing() {
        let mut noise = Noise(Seed(4), 0);
        let mut values = with_noise(20, |_| 1_000.0 + 20.0 * noise.normal());
        values[12] = 90_000.0;
        values[15] = 0.0;
        values.push(1_010.0);
        assert!(!is_alarm(&values));
        *values.last_mut().unwrap() = 1_500.0;
        assert!(is_alarm(&values));
        // Right after it, too.
        let mut values = with_noise(20, |_| 1_000.0 + 20.0 * noise.normal());
        values.extend([90_000.0, 1_005.0]);
        assert!(!is_alarm(&values));
    }

    #[test]
    fn a_constant_history_allows_small_changes_alone() {
        let with_last = |last: f64| [vec![500.0; 12], vec![last]].concat();
        assert!(!is_alarm(&with_last(500.0)) && !is_alarm(&with_last(524.0)) && !is_alarm(&with_last(476.0)));
        assert!(is_alarm(&with_last(526.0)) && is_alarm(&with_last(0.0)));
        let share = |last: f64| judged(Statistic::NullShare, 5.0, &[vec![0.0; 12], vec![last]].concat());
        assert!(matches!(share(0.0), Judged::Usual(_)) && matches!(share(0.004), Judged::Usual(_)));
        assert!(matches!(share(0.02), Judged::Unusual(_)));
        // Of ten rows, one without a value is chance.
        let known = daily(&[0.0; 12]);
        let measured = Known { at_us: MONDAY_US + 12 * DAY_US, value: 0.1 };
        let candidate = Candidate { statistic: Statistic::NullShare, measured, rows: 10, sensitivity: 5.0 };
        assert!(matches!(judge(&known, &candidate), Judged::Usual(_)));
    }

    #[test]
    fn values_that_barely_move_are_usual_however_regularly_they_do() {
        let values = [0.5, 0.5, 0.5, 0.5025, 0.5025, 0.5025, 0.5, 0.5, 0.5, 0.5025];
        for length in 9..=values.len() {
            let judged = judged(Statistic::Mean, 5.0, &values[..length]);
            assert!(matches!(judged, Judged::Usual(_)), "{length}: {judged:?}");
        }
    }

    #[test]
    fn it_is_silent_until_eight_versions_are_known_and_says_from_how_many_it_learnt() {
        let values = [100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 100.0, 5_000.0];
        assert_eq!(judged(Statistic::RowCount, 5.0, &values), Judged::Learning(7));
        let values = [100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 100.0, 101.0, 5_000.0];
        let Judged::Unusual(usual) = judged(Statistic::RowCount, 5.0, &values) else { panic!("5,000 is not usual") };
        assert_eq!((usual.learnt_from, usual.compared), (8, ALL));
        assert!(usual.low > 80.0 && usual.high < 120.0, "{usual:?}");
    }

    #[test]
    fn weekdays_are_compared_with_their_like() {
        let mut noise = Noise(Seed(6), 0);
        let values = with_noise(36, |day| if day % 7 < 5 { 1_000.0 } else { 200.0 } + 10.0 * noise.normal());
        let Judged::Usual(usual) = judged(Statistic::RowCount, 5.0, &values) else { panic!("it is a Monday") };
        assert_eq!(usual.compared, "versions of the same weekday");
        assert!(usual.low > 850.0, "{usual:?}");
    }

    #[test]
    fn values_that_are_no_numbers_break_nothing() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0] {
            let mut values = vec![odd; 20];
            let _ = judged(Statistic::Mean, 5.0, &values);
            values[3] = 1.0;
            let _ = judged(Statistic::NullShare, 5.0, &values);
        }
        let same_time = vec![Known { at_us: 0, value: 1.0 }; 40];
        let measured = Known { at_us: i64::MIN, value: 1.0 };
        let candidate = Candidate { statistic: Statistic::Mean, measured, rows: 0, sensitivity: 5.0 };
        assert!(matches!(judge(&same_time, &candidate), Judged::Usual(_)));
    }
}
