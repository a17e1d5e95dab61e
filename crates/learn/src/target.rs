//! The target: classes with their codes, or numbers.

use crate::error::LearnError;
use crate::fit::{Part, TaskKind};
use crate::values::{Sort, Stored, plain, read_numbers, read_texts, sort_of, type_name};
use arrow::array::*;
use arrow::datatypes::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most classes that a target may have: beyond, it is a quantity or an id, and every round would grow that many trees.
pub(crate) const CLASSES_MAX: usize = 1_000;
/// The fewest rows that anything is learned from.
pub(crate) const TRAIN_ROWS_MIN: usize = 10;
/// The code of a value that is no class of the training rows.
pub(crate) const NO_CLASS: u32 = u32::MAX;

/// The classes of a target, sorted; a class's code is its position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Classes {
    /// The target's type.
    pub(crate) stored: Stored,
    values: Values,
}

/// Class values: numbers by an integer that orders as they do, texts as they are. 128 bits are kept as text, because JSON
/// numbers do not hold them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Values {
    Numbers(Vec<String>),
    Texts(Vec<String>),
}

/// A column's class values, one per row; `None` is missing.
enum Keys<'a> {
    Numbers(Vec<Option<i128>>),
    Texts(Vec<Option<&'a str>>),
}

impl Classes {
    /// The classes of the rows `train` of a plain target column.
    fn learn(array: &ArrayRef, train: &[u32]) -> Result<Self, LearnError> {
        let stored = Stored::of(array.data_type()).expect("the target's type was checked");
        fn distinct<K: Ord + Copy>(keys: &[Option<K>], train: &[u32]) -> Result<Vec<K>, LearnError> {
            let mut seen = std::collections::BTreeSet::new();
            for &row in train {
                seen.extend(keys[row as usize]);
                if seen.len() > CLASSES_MAX {
                    return Err(LearnError::TooManyClasses { max: CLASSES_MAX });
                }
            }
            Ok(seen.into_iter().collect())
        }
        let values = match keys(array) {
            Keys::Numbers(keys) => Values::Numbers(distinct(&keys, train)?.iter().map(i128::to_string).collect()),
            Keys::Texts(keys) => Values::Texts(distinct(&keys, train)?.iter().map(ToString::to_string).collect()),
        };
        Ok(Classes { stored, values })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match &self.values {
            Values::Numbers(values) | Values::Texts(values) => values.len(),
        }
    }

    /// The code of each row of a target column of the same kind; [`NO_CLASS`] for other values, `None` for missing ones.
    pub(crate) fn codes(&self, array: &ArrayRef) -> Result<Vec<Option<u32>>, LearnError> {
        let wanted = self.stored.data_type();
        let mismatch =
            || LearnError::TargetType { data_type: type_name(array.data_type()), task: TaskKind::Classification };
        let array = if *array.data_type() == wanted {
            array.clone()
        } else {
            arrow::compute::cast(&plain(array), &wanted).map_err(|_| mismatch())?
        };
        Ok(match (keys(&array), &self.values) {
            (Keys::Numbers(keys), Values::Numbers(_)) => code(&keys, &self.numbers()),
            (Keys::Texts(keys), Values::Texts(values)) => {
                code(&keys, &values.iter().map(String::as_str).collect::<Vec<_>>())
            }
            _ => return Err(mismatch()),
        })
    }

    fn numbers(&self) -> Vec<i128> {
        match &self.values {
            Values::Numbers(values) => values.iter().map(|value| value.parse().unwrap_or_default()).collect(),
            Values::Texts(_) => Vec::new(),
        }
    }

    /// The classes as an array of the target's type, in code order.
    pub(crate) fn array(&self) -> ArrayRef {
        let numbers = self.numbers();
        macro_rules! primitive {
            ($array:ty, $convert:expr) => {
                Arc::new(<$array>::from_iter_values(numbers.iter().map($convert)))
            };
        }
        match self.stored {
            Stored::Boolean => Arc::new(numbers.iter().map(|&value| Some(value != 0)).collect::<BooleanArray>()),
            Stored::Tinyint => primitive!(Int8Array, |&value| value as i8),
            Stored::Smallint => primitive!(Int16Array, |&value| value as i16),
            Stored::Int => primitive!(Int32Array, |&value| value as i32),
            Stored::Bigint => primitive!(Int64Array, |&value| value as i64),
            Stored::Real => primitive!(Float32Array, |&value| number_of(value) as f32),
            Stored::Double => primitive!(Float64Array, |&value| number_of(value)),
            Stored::Decimal(p, s) => {
                let array = Decimal128Array::from_iter_values(numbers);
                Arc::new(array.with_precision_and_scale(p, s).expect("the classes came from such a column"))
            }
            Stored::Text | Stored::Date | Stored::Timestamp => match &self.values {
                Values::Texts(values) => Arc::new(StringArray::from_iter_values(values)),
                Values::Numbers(_) => Arc::new(StringArray::new_null(numbers.len())),
            },
        }
    }

    /// The classes as people write them, in code order.
    pub(crate) fn labels(&self) -> Vec<String> {
        let array = self.array();
        (0..array.len())
            .map(|at| arrow::util::display::array_value_to_string(&array, at).expect("every class type is displayed"))
            .collect()
    }
}

fn code<K: Ord>(keys: &[Option<K>], classes: &[K]) -> Vec<Option<u32>> {
    let codes: BTreeMap<&K, u32> = classes.iter().zip(0..).collect();
    keys.iter().map(|key| key.as_ref().map(|key| codes.get(key).copied().unwrap_or(NO_CLASS))).collect()
}

/// An integer that orders as the number does (its bits, with those of negative numbers turned round), and back.
fn order_of(number: f64) -> i128 {
    let bits = (number + 0.0).to_bits() as i64;
    i128::from(if bits < 0 { bits ^ i64::MAX } else { bits })
}

fn number_of(order: i128) -> f64 {
    let bits = order as i64;
    f64::from_bits((if bits < 0 { bits ^ i64::MAX } else { bits }) as u64)
}

/// The class values of a plain column whose type [`fits`] classification.
fn keys(array: &ArrayRef) -> Keys<'_> {
    let rows = 0..array.len();
    macro_rules! integers {
        ($type:ty) => {
            Keys::Numbers(array.as_primitive::<$type>().iter().map(|value| value.map(i128::from)).collect())
        };
    }
    match array.data_type() {
        DataType::Boolean => Keys::Numbers(array.as_boolean().iter().map(|value| value.map(i128::from)).collect()),
        DataType::Int8 => integers!(Int8Type),
        DataType::Int16 => integers!(Int16Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => integers!(Int64Type),
        DataType::UInt8 => integers!(UInt8Type),
        DataType::UInt16 => integers!(UInt16Type),
        DataType::UInt32 => integers!(UInt32Type),
        DataType::UInt64 => integers!(UInt64Type),
        DataType::Decimal128(_, _) => integers!(Decimal128Type),
        DataType::Float32 | DataType::Float64 => {
            let mut keys = Vec::with_capacity(array.len());
            read_numbers(array, rows, |value| keys.push((!value.is_nan()).then(|| order_of(value))));
            Keys::Numbers(keys)
        }
        _ => {
            let mut keys = Vec::with_capacity(array.len());
            read_texts(array, rows, |value| keys.push(value));
            Keys::Texts(keys)
        }
    }
}

/// Whether a target of this type fits the task.
pub(crate) fn fits(data_type: &DataType, task: TaskKind) -> bool {
    let sort = sort_of(data_type);
    sort == Some(Sort::Number) || (task == TaskKind::Classification && matches!(sort, Some(Sort::Flag | Sort::Text)))
}

/// A target that can be learned.
pub(crate) enum Target {
    /// Classes, and the code of each row, [`NO_CLASS`] where a row outside the train part has a class that the train part lacks.
    Classes(Classes, Vec<u32>),
    /// A number of each row.
    Numbers(Vec<f64>),
}

impl Target {
    /// Reads the target; fails with all mistakes that can be told apart.
    pub(crate) fn read(array: &ArrayRef, part: &[Part], train: &[u32], task: TaskKind) -> Result<Self, LearnError> {
        check_type(array, task)?;
        let array = plain(array);
        let target = match task {
            TaskKind::Regression => Target::Numbers(numbers(&array)?),
            TaskKind::Classification => {
                let classes = Classes::learn(&array, train)?;
                let codes = present(classes.codes(&array)?)?;
                Target::Classes(classes, codes)
            }
        };
        if train.len() < TRAIN_ROWS_MIN {
            return Err(LearnError::TooFewRows { part: Part::Train, rows: train.len(), needed: TRAIN_ROWS_MIN });
        }
        if let Target::Classes(classes, codes) = &target {
            for wanted in [Part::Train, Part::Test] {
                let mut rows = part.iter().zip(codes).filter(|(part, _)| **part == wanted).map(|(_, code)| *code);
                let Some(first) = rows.next() else { continue };
                if rows.all(|code| code == first) {
                    let label = classes.labels().get(first as usize).cloned().unwrap_or_else(|| "a new one".into());
                    let rows = part.iter().filter(|part| **part == wanted).count();
                    return Err(LearnError::OneClass { part: wanted, label, rows });
                }
            }
        }
        Ok(target)
    }
}

/// Fails when a target's type does not fit the task.
pub(crate) fn check_type(array: &ArrayRef, task: TaskKind) -> Result<(), LearnError> {
    match fits(array.data_type(), task) {
        true => Ok(()),
        false => Err(LearnError::TargetType { data_type: type_name(array.data_type()), task }),
    }
}

/// The numbers of a target column of a type that fits; fails when one is missing or not finite.
pub(crate) fn numbers(array: &ArrayRef) -> Result<Vec<f64>, LearnError> {
    let array = plain(array);
    let mut values = Vec::with_capacity(array.len());
    read_numbers(&array, 0..array.len(), |value| values.push((!value.is_nan()).then_some(value)));
    present(values)
}

/// All values, or where some are missing.
pub(crate) fn present<T: Copy>(values: Vec<Option<T>>) -> Result<Vec<T>, LearnError> {
    let count = values.iter().filter(|value| value.is_none()).count();
    if count > 0 {
        let missing = values.iter().enumerate().filter(|(_, value)| value.is_none());
        return Err(LearnError::MissingTarget { count, rows: missing.map(|(row, _)| row).take(5).collect() });
    }
    Ok(values.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(array: ArrayRef) -> Classes {
        let rows: Vec<u32> = (0..array.len() as u32).collect();
        Classes::learn(&plain(&array), &rows).unwrap()
    }

    #[test]
    fn classes_are_sorted_and_survive_json_in_every_type() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(10), Some(-2), None, Some(3), Some(3)]));
        for data_type in [
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::Float32,
            DataType::Float64,
            DataType::Decimal128(12, 2),
        ] {
            let array = arrow::compute::cast(&numbers, &data_type).unwrap();
            let classes = learn(array.clone());
            assert_eq!(classes.codes(&array).unwrap(), [Some(2), Some(0), None, Some(1), Some(1)], "{data_type}");
            let json = serde_json::to_string(&classes).unwrap();
            let back: Classes = serde_json::from_str(&json).unwrap();
            assert_eq!(back, classes);
            let expected = arrow::compute::cast(&Int64Array::from(vec![-2, 3, 10]), &data_type).unwrap();
            assert_eq!(&back.array(), &expected, "{data_type}");
        }
        let classes = learn(Arc::new(StringArray::from(vec!["b", "a", "b"])));
        assert_eq!(classes.labels(), ["a", "b"]);
        let other: ArrayRef = Arc::new(StringViewArray::from(vec!["b", "c"]));
        assert_eq!(classes.codes(&other).unwrap(), [Some(1), Some(NO_CLASS)]);
        let classes = learn(Arc::new(BooleanArray::from(vec![true, false])));
        assert_eq!(classes.labels(), ["false", "true"]);
    }

    #[test]
    fn a_bad_target_is_named() {
        let part = vec![Part::Train; 20];
        let train: Vec<u32> = (0..20).collect();
        let read = |array: ArrayRef, task| Target::read(&array, &part, &train, task).err().unwrap();
        let one = read(Arc::new(BooleanArray::from(vec![false; 20])), TaskKind::Classification);
        assert_eq!(one, LearnError::OneClass { part: Part::Train, label: "false".into(), rows: 20 });
        let mut holes = vec![Some(1.0); 20];
        holes[3] = None;
        holes[5] = Some(f64::INFINITY);
        let missing = read(Arc::new(Float64Array::from(holes)), TaskKind::Regression);
        assert_eq!(missing, LearnError::MissingTarget { count: 2, rows: vec![3, 5] });
        let text = read(Arc::new(StringArray::from(vec!["x"; 20])), TaskKind::Regression);
        assert_eq!(text, LearnError::TargetType { data_type: "text".into(), task: TaskKind::Regression });
        let many: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2_000));
        let rows: Vec<u32> = (0..2_000).collect();
        let part = vec![Part::Train; 2_000];
        let many = Target::read(&many, &part, &rows, TaskKind::Classification).err().unwrap();
        assert_eq!(many, LearnError::TooManyClasses { max: CLASSES_MAX });
    }

    #[test]
    fn the_order_of_numbers_is_kept() {
        let numbers = [f64::MIN, -1.5, -1e-300, 0.0, 1e-300, 2.0, f64::MAX];
        assert!(numbers.windows(2).all(|pair| order_of(pair[0]) < order_of(pair[1])));
        assert!(numbers.iter().all(|&number| number_of(order_of(number)) == number));
        assert_eq!(order_of(-0.0), order_of(0.0));
    }
}
