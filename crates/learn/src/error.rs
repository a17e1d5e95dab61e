//! [`LearnError`]: what keeps a model from being learned, loaded or used, and how it reads.

use crate::fit::{Learner, Part, TaskKind};
use pelton_base::Report;

/// What keeps a model from being learned, loaded or used.
///
/// The words of the libraries underneath never show; rows are numbered from 0 in the order of the given batch, so that the
/// caller can name them by their key.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LearnError {
    /// A part of the examples has fewer than two classes.
    #[error("the {part} part has one class only, `{label}`")]
    OneClass {
        /// The part.
        part: Part,
        /// Its only class.
        label: String,
        /// How many rows it has.
        rows: usize,
    },
    /// Target values are missing, or are not numbers where numbers are needed.
    #[error("the target is missing or not finite in {count} rows")]
    MissingTarget {
        /// How many.
        count: usize,
        /// The first of them.
        rows: Vec<usize>,
    },
    /// The target's values are so large that their sums overflow.
    #[error("the target's values are too large to be added up")]
    TargetRange,
    /// The target's type does not fit the task.
    #[error("a target of type {data_type} does not fit {task}")]
    TargetType {
        /// The type's name.
        data_type: String,
        /// The task.
        task: TaskKind,
    },
    /// The target has more classes than are supported.
    #[error("the target has more than {max} classes")]
    TooManyClasses {
        /// The most that are supported.
        max: usize,
    },
    /// A part of the examples has too few rows.
    #[error("the {part} part has {rows} rows, and needs {needed}")]
    TooFewRows {
        /// The part.
        part: Part,
        /// How many there are.
        rows: usize,
        /// How many are needed.
        needed: usize,
    },
    /// There is no input column.
    #[error("there is no input column")]
    NoInputs,
    /// An input column's type cannot be learned from.
    #[error("input `{column}` has type {data_type}, which cannot be learned from")]
    UnsupportedColumn {
        /// The column.
        column: String,
        /// Its type's name.
        data_type: String,
    },
    /// A column that the model was trained with is not there.
    #[error("input `{column}` is missing")]
    MissingColumn {
        /// The column.
        column: String,
        /// The columns that are there.
        present: Vec<String>,
    },
    /// A column has another type than in training.
    #[error("input `{column}` has type {found}, and was trained as {expected}")]
    ColumnType {
        /// The column.
        column: String,
        /// The type in training.
        expected: String,
        /// The type now.
        found: String,
    },
    /// The learner has no parameter of this name.
    #[error("`{learner}` has no parameter `{name}`")]
    UnknownParam {
        /// The learner.
        learner: Learner,
        /// The name.
        name: String,
    },
    /// A parameter is outside its range.
    #[error("parameter `{name}` of `{learner}` is {value}")]
    ParamRange {
        /// The learner.
        learner: Learner,
        /// The parameter.
        name: &'static str,
        /// The value.
        value: f64,
        /// What is accepted.
        accepted: String,
    },
    /// The learner cannot do the task.
    #[error("`{learner}` does not learn {task}")]
    LearnerTask {
        /// The learner.
        learner: Learner,
        /// The task.
        task: TaskKind,
    },
    /// The lengths of columns, parts or weights differ; a mistake of the calling code.
    #[error("{what} has {found} values for {rows} rows")]
    Shape {
        /// What differs.
        what: &'static str,
        /// The rows of the features.
        rows: usize,
        /// The length found.
        found: usize,
    },
    /// A weight is negative or not finite, or all are zero.
    #[error("weights must be finite, not negative, and not all zero")]
    Weights,
    /// The bytes are not a model, or not what was written.
    #[error("the stored model is damaged: {reason}")]
    Damaged {
        /// What is wrong with them.
        reason: &'static str,
    },
    /// The bytes are a model of a newer format.
    #[error("the stored model has format {found}, and this version reads up to {known}")]
    NewerFormat {
        /// The format of the bytes.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// A step that cannot fail did; a defect.
    #[error("{step} failed: {reason}")]
    Defect {
        /// The step, as a noun phrase.
        step: &'static str,
        /// The library's reason, for the log.
        reason: String,
    },
    /// Several at once.
    #[error("{} mistakes, the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Several(Vec<LearnError>),
}

impl LearnError {
    /// One error out of a list, or `Ok` when the list is empty.
    pub(crate) fn all(mut errors: Vec<LearnError>) -> Result<(), LearnError> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.swap_remove(0)),
            _ => Err(LearnError::Several(errors)),
        }
    }

    /// The report of the error, or of the first of several, about `subject` (as in "model `fraud`").
    pub fn report(&self, subject: &str) -> Report {
        self.reports(subject).swap_remove(0)
    }

    /// The reports of all mistakes about `subject` (as in "model `fraud`"); never empty.
    pub fn reports(&self, subject: &str) -> Vec<Report> {
        match self {
            LearnError::Several(errors) if !errors.is_empty() => {
                errors.iter().flat_map(|error| error.reports(subject)).collect()
            }
            error => vec![error.single(subject)],
        }
    }

    fn single(&self, subject: &str) -> Report {
        match self {
            LearnError::OneClass { part, label, rows } => {
                let report = Report::error(
                    "one-class",
                    format!("the target of {subject} has one class only in the {part} part, `{label}`"),
                )
                .note(format!("all {rows} rows of the {part} part have it"));
                match part {
                    Part::Train => report,
                    _ => report.hint("split `by = \"stratified\"` keeps the classes' shares in every part"),
                }
            }
            LearnError::MissingTarget { count, rows } => {
                let rows: Vec<_> = rows.iter().map(|row| (row + 1).to_string()).collect();
                Report::error(
                    "invalid-target",
                    format!("the target of {subject} is missing or not finite in {count} rows"),
                )
                .note(format!("first rows: {}", rows.join(", ")))
                .hint("leave such rows out with a `where` in the SELECT")
            }
            LearnError::TargetRange => {
                Report::error("invalid-target", format!("the target of {subject} has values too large to be added up"))
                    .hint("divide it by a constant")
            }
            LearnError::TargetType { data_type, task } => Report::error(
                "invalid-target",
                format!("the target of {subject} has type {data_type}, which does not fit {task}"),
            )
            .note(match task {
                TaskKind::Classification => "a class is a boolean, a number or a text",
                TaskKind::Regression => "regression needs a number",
            }),
            LearnError::TooManyClasses { max } => {
                Report::error("invalid-target", format!("the target of {subject} has more than {max} classes"))
                    .hint("if the target is a quantity, the task is `regression`")
            }
            LearnError::TooFewRows { part, rows, needed } => Report::error(
                "too-few-rows",
                format!("the {part} part of {subject} has {rows} rows, and needs {needed}"),
            ),
            LearnError::NoInputs => Report::error("invalid-value", format!("{subject} has no input column"))
                .note("inputs are the SELECT's columns without key, time and target, the features and the derived columns, without `exclude`"),
            LearnError::UnsupportedColumn { column, data_type } => Report::error(
                "type-mismatch",
                format!("input `{column}` of {subject} has type {data_type}, which cannot be learned from"),
            )
            .note("inputs are booleans, numbers, texts, dates and timestamps")
            .hint(format!("list `{column}` under `exclude`, or derive a number from it")),
            LearnError::MissingColumn { column, present } => {
                Report::error("unknown-column", format!("input `{column}` of {subject} is missing"))
                    .suggest(column, present.iter().map(String::as_str))
            }
            LearnError::ColumnType { column, expected, found } => Report::error(
                "type-mismatch",
                format!("input `{column}` of {subject} has type {found}, and was trained as {expected}"),
            ),
            LearnError::UnknownParam { learner, name } => {
                let known: Vec<_> = crate::params_of(*learner).iter().map(|param| param.name).collect();
                let report =
                    Report::error("unknown-key", format!("`{learner}` of {subject} has no parameter `{name}`"));
                if known.is_empty() {
                    return report.note(format!("`{learner}` has no parameters"));
                }
                report.note(format!("parameters are `{}`", known.join("`, `"))).suggest(name, known)
            }
            LearnError::ParamRange { learner, name, value, accepted } => {
                Report::error("invalid-value", format!("parameter `{name}` of `{learner}` of {subject} is {value}"))
                    .note(format!("accepted is {accepted}"))
            }
            LearnError::LearnerTask { learner, task } => {
                let other = match task {
                    TaskKind::Classification => "`gbdt`, `logistic` and `baseline`",
                    TaskKind::Regression => "`gbdt`, `linear` and `baseline`",
                };
                Report::error("invalid-value", format!("`{learner}` of {subject} does not learn {task}"))
                    .note(format!("{task} is learned by {other}"))
            }
            LearnError::Weights => Report::error(
                "invalid-value",
                format!("the weights of {subject} must be finite, not negative, and not all zero"),
            ),
            LearnError::Damaged { reason } => {
                Report::error("damaged-artifact", format!("the stored {subject} is damaged")).note(*reason)
            }
            LearnError::NewerFormat { found, known } => {
                Report::error("damaged-artifact", format!("the stored {subject} was written by a newer Pelton"))
                    .note(format!("it has format {found}, and this version reads up to {known}"))
            }
            LearnError::Shape { .. } | LearnError::Defect { .. } | LearnError::Several(_) => {
                Report::error("internal", format!("{subject} could not be computed")).note(self.to_string())
            }
        }
    }
}
