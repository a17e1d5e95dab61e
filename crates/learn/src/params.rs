//! The parameters of each learner: name, default, range. One table feeds validation, messages and the reference.

use crate::error::LearnError;
use crate::fit::Learner;
use std::collections::BTreeMap;

/// A parameter of a learner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// The value when it is not given.
    pub default: f64,
    /// The least accepted value.
    pub min: f64,
    /// The greatest accepted value.
    pub max: f64,
    /// Whether only whole numbers are accepted.
    pub whole: bool,
    /// What it does, in a sentence.
    pub what: &'static str,
}

const fn whole(name: &'static str, default: f64, min: f64, max: f64, what: &'static str) -> Param {
    Param { name, default, min, max, whole: true, what }
}

const fn real(name: &'static str, default: f64, min: f64, max: f64, what: &'static str) -> Param {
    Param { name, default, min, max, whole: false, what }
}

/// Defaults follow XGBoost and LightGBM where they agree (256 bins, 0.1 and depth 6 with early stopping are their usual choice).
const GBDT: &[Param] = &[
    whole("rounds", 300.0, 1.0, 100_000.0, "The most rounds of boosting; 100 when there is no valid part to stop by."),
    real("learning_rate", 0.1, 1e-6, 1.0, "How much of each tree is added."),
    whole(
        "depth",
        6.0,
        0.0,
        64.0,
        "The deepest a tree grows; 0 is no limit and needs `leaves`, which by itself means no limit too.",
    ),
    whole(
        "leaves",
        0.0,
        0.0,
        1_000_000.0,
        "The most leaves of a tree, grown best first; 0 grows level by level to `depth`.",
    ),
    whole("bins", 256.0, 2.0, 65_535.0, "The most bins of a numeric column's histogram."),
    real("min_child_weight", 1.0, 0.0, 1e12, "The least sum of second derivatives in a leaf."),
    real("min_split_gain", 0.0, 0.0, 1e12, "The least gain of a split."),
    real("l2", 1.0, 0.0, 1e12, "The quadratic penalty on leaf values."),
    real("l1", 0.0, 0.0, 1e12, "The absolute penalty on leaf values."),
    real("subsample", 1.0, 0.01, 1.0, "The share of rows that each tree sees."),
    real("column_sample", 1.0, 0.01, 1.0, "The share of columns that each tree sees."),
    whole(
        "early_stopping_rounds",
        30.0,
        0.0,
        100_000.0,
        "Rounds without progress on the valid part until training stops; 0 never stops.",
    ),
];

const LOGISTIC: &[Param] = &[
    real(
        "l2",
        1.0,
        0.0,
        1e12,
        "The quadratic penalty on the coefficients of standardised inputs, against the summed log loss.",
    ),
    whole("iterations", 200.0, 1.0, 100_000.0, "The most iterations of the solver."),
];

const LINEAR: &[Param] = &[real(
    "l2",
    1.0,
    0.0,
    1e12,
    "The quadratic penalty on the coefficients of standardised inputs, against the summed squares.",
)];

/// The parameters of a learner, in the order in which they are documented.
pub fn params_of(learner: Learner) -> &'static [Param] {
    match learner {
        Learner::Gbdt => GBDT,
        Learner::Logistic => LOGISTIC,
        Learner::Linear => LINEAR,
        Learner::Baseline => &[],
    }
}

/// Checks names and values of a learner's parameters without data; fails with all mistakes at once.
pub fn check_params(learner: Learner, params: &BTreeMap<String, f64>) -> Result<(), LearnError> {
    let mut errors = Vec::new();
    for (name, &value) in params {
        let Some(param) = params_of(learner).iter().find(|param| param.name == name) else {
            errors.push(LearnError::UnknownParam { learner, name: name.clone() });
            continue;
        };
        if !(param.min..=param.max).contains(&value) || (param.whole && value.fract() != 0.0) {
            let kind = if param.whole { "a whole number" } else { "a number" };
            let accepted = format!("{kind} from {} to {}", param.min, param.max);
            errors.push(LearnError::ParamRange { learner, name: param.name, value, accepted });
        }
    }
    let unlimited = params.get("depth") == Some(&0.0) && params.get("leaves").is_none_or(|&leaves| leaves == 0.0);
    if learner == Learner::Gbdt && unlimited {
        let accepted = "at least 1, or 0 together with `leaves`".to_string();
        errors.push(LearnError::ParamRange { learner, name: "depth", value: 0.0, accepted });
    }
    LearnError::all(errors)
}

/// Checked parameters with defaults filled in.
pub(crate) struct Params<'a> {
    learner: Learner,
    given: &'a BTreeMap<String, f64>,
}

impl<'a> Params<'a> {
    pub(crate) fn new(learner: Learner, given: &'a BTreeMap<String, f64>) -> Result<Self, LearnError> {
        check_params(learner, given)?;
        Ok(Params { learner, given })
    }

    pub(crate) fn given(&self, name: &str) -> Option<f64> {
        self.given.get(name).copied()
    }

    pub(crate) fn get(&self, name: &str) -> f64 {
        self.given(name).unwrap_or_else(|| {
            let param = params_of(self.learner).iter().find(|param| param.name == name);
            param.expect("only names of the learner's own table are asked for").default
        })
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.get(name) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(params: &[(&str, f64)]) -> BTreeMap<String, f64> {
        params.iter().map(|(name, value)| (name.to_string(), *value)).collect()
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_suggestions() {
        let params = map(&[("learnig_rate", 0.1), ("depth", 2.5), ("bins", 1.0), ("l2", 1.0)]);
        let reports = check_params(Learner::Gbdt, &params).unwrap_err().reports("model `fraud`");
        let messages: Vec<_> = reports.iter().map(|report| report.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "parameter `bins` of `gbdt` of model `fraud` is 1",
                "parameter `depth` of `gbdt` of model `fraud` is 2.5",
                "`gbdt` of model `fraud` has no parameter `learnig_rate`",
            ]
        );
        assert_eq!(reports[2].hints, ["did you mean `learning_rate`?"]);
        assert_eq!(reports[0].notes, ["accepted is a whole number from 2 to 65535"]);
        assert!(check_params(Learner::Baseline, &map(&[("l2", 1.0)])).is_err());
        assert!(check_params(Learner::Gbdt, &map(&[("depth", f64::NAN)])).is_err());
        assert!(check_params(Learner::Gbdt, &map(&[("depth", 0.0)])).is_err());
        assert!(check_params(Learner::Gbdt, &map(&[("depth", 0.0), ("leaves", 31.0)])).is_ok());
    }

    #[test]
    fn defaults_are_within_their_ranges() {
        for learner in [Learner::Gbdt, Learner::Logistic, Learner::Linear, Learner::Baseline] {
            for param in params_of(learner) {
                assert!((param.min..=param.max).contains(&param.default), "{}", param.name);
            }
        }
    }
}
