//! [`Model`]: what was learned, how it scores columns, and how it is kept as bytes.
//!
//! The bytes: `PELTONML`, the format (4 bytes, little-endian), the length of the header (8 bytes), the header as JSON, the trees if
//! there are any, and the XXH3-128 of all that. Every number in the header reads back to the same bits.

use crate::baseline::Baseline;
use crate::error::LearnError;
use crate::fit::{Learner, Task};
use crate::gbdt::{self, Gbdt};
use crate::linalg::Row;
use crate::linear::Linear;
use crate::logistic::Logistic;
use crate::matrix::{Encoder, InputColumn, Rows};
use crate::target::Classes;
use arrow::array::{Array, ArrayRef, Float64Array, ListArray, RecordBatch, StructArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use pelton_base::Digest;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"PELTONML";
/// Raised when older versions would misread newer bytes; samples of every format are kept under `tests/samples`.
const FORMAT: u32 = 1;
const DIGEST_BYTES: usize = 16;
/// Rows that one thread scores at a time with a linear model; fewer rows stay on the calling thread.
const BLOCK_ROWS: usize = 4_096;

/// What a learner leaves behind.
pub(crate) enum Fitted {
    Gbdt(Gbdt),
    Logistic(Logistic),
    Linear(Linear),
    Baseline(Baseline),
}

/// As [`Fitted`], in the header of the bytes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FittedHeader {
    Gbdt(gbdt::Header),
    Logistic(Logistic),
    Linear(Linear),
    Baseline(Baseline),
}

#[derive(Serialize, Deserialize)]
struct Header {
    classes: Option<Classes>,
    inputs: Encoder,
    /// Rows that it was trained on.
    rows: usize,
    fitted: FittedHeader,
}

/// A learned model: scores any number of rows, and gives the same bits for a row alone and in a batch.
pub struct Model {
    learner: Learner,
    encoder: Encoder,
    classes: Option<Arc<Labels>>,
    rows: usize,
    fitted: Fitted,
    output: Fields,
}

/// The classes with their values as an array.
#[derive(Debug)]
pub(crate) struct Labels {
    classes: Classes,
    array: ArrayRef,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("learner", &self.learner).field("task", &self.task()).finish_non_exhaustive()
    }
}

impl Fitted {
    /// How many values a row's answer has.
    fn width(&self) -> usize {
        match self {
            Fitted::Gbdt(model) => model.width(),
            Fitted::Logistic(model) => model.coefficients.len(),
            Fitted::Linear(_) => 1,
            Fitted::Baseline(model) => model.values.len(),
        }
    }

    /// Whether all its numbers are; sums over the training rows can overflow.
    pub(crate) fn is_finite(&self) -> bool {
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        match self {
            Fitted::Gbdt(model) => model.is_finite(),
            Fitted::Logistic(model) => model.coefficients.iter().all(|coefficients| finite(coefficients)),
            Fitted::Linear(model) => finite(&model.coefficients),
            Fitted::Baseline(model) => finite(&model.values),
        }
    }

    pub(crate) fn rounds(&self) -> usize {
        match self {
            Fitted::Gbdt(model) => model.header.rounds,
            Fitted::Logistic(model) => model.iterations,
            Fitted::Linear(_) | Fitted::Baseline(_) => 1,
        }
    }

    pub(crate) fn valid_loss(&self) -> Option<f64> {
        match self {
            Fitted::Gbdt(model) => model.header.valid_loss,
            _ => None,
        }
    }
}

impl Model {
    pub(crate) fn new(
        learner: Learner,
        encoder: Encoder,
        classes: Option<Classes>,
        rows: usize,
        fitted: Fitted,
    ) -> Result<Self, LearnError> {
        let wanted = match classes.as_ref().map(Classes::len) {
            None | Some(2) => 1,
            Some(classes) => classes,
        };
        let columns = encoder.width();
        let fits = match &fitted {
            Fitted::Gbdt(model) => model.fits(columns),
            Fitted::Baseline(_) => true,
            Fitted::Logistic(model) => model.fits(columns, wanted),
            Fitted::Linear(model) => model.fits(columns),
        };
        if !fits || fitted.width() != wanted || columns == 0 {
            return Err(LearnError::Damaged { reason: "its parts do not fit together" });
        }
        let classes = classes.map(|classes| Arc::new(Labels { array: classes.array(), classes }));
        let double = |name: &str| Field::new(name, DataType::Float64, true);
        let output = match &classes {
            None => vec![double("prediction")],
            Some(labels) => {
                let mut fields =
                    vec![Field::new("prediction", labels.array.data_type().clone(), true), double("score")];
                // The target's type decides, not how many classes there happen to be: what is answered is known before training.
                if *labels.array.data_type() != DataType::Boolean {
                    fields.push(Field::new_list("probabilities", double("item"), true));
                }
                fields
            }
        };
        Ok(Model { learner, encoder, classes, rows, fitted, output: output.into() })
    }

    /// Scores rows; columns are found by name, others are not looked at. Fails with all columns that are missing or of another kind.
    pub fn predict(&self, features: &RecordBatch) -> Result<Prediction, LearnError> {
        let rows = features.num_rows();
        let (columns, width) = (self.encoder.width(), self.fitted.width());
        let values = match &self.fitted {
            Fitted::Baseline(baseline) => {
                self.encoder.resolve(features)?;
                baseline.values.repeat(rows)
            }
            Fitted::Gbdt(model) => model.score(&self.encoder.matrix::<f32>(features, Rows::All(rows))?),
            Fitted::Linear(model) => {
                let cells = self.encoder.matrix::<f64>(features, Rows::All(rows))?;
                score(&cells, columns, 1, |cells, row, scores| scores[0] = model.score(cells, row))
            }
            Fitted::Logistic(model) => {
                let cells = self.encoder.matrix::<f64>(features, Rows::All(rows))?;
                score(&cells, columns, width, |cells, row, scores| model.score(cells, row, scores))
            }
        };
        Ok(Prediction::new(values, width, self.classes.clone(), self.output.clone()))
    }

    /// The columns that [`Model::predict`] reads, with the types that tables store.
    pub fn inputs(&self) -> &[InputColumn] {
        self.encoder.inputs()
    }

    /// What it does.
    pub fn task(&self) -> Task {
        match self.classes.as_ref().map(|labels| labels.classes.len()) {
            None => Task::Regression,
            Some(2) => Task::Binary,
            Some(_) => Task::Multiclass,
        }
    }

    /// How it was learned.
    pub fn learner(&self) -> Learner {
        self.learner
    }

    /// The classes in their order, in the target's type; of two, the last is the positive one. `None` for regression.
    pub fn classes(&self) -> Option<ArrayRef> {
        self.classes.as_ref().map(|labels| labels.array.clone())
    }

    /// The classes as people write them.
    pub fn class_names(&self) -> Option<Vec<String>> {
        self.classes.as_ref().map(|labels| labels.classes.labels())
    }

    /// Rounds of boosting that were kept, or iterations of the solver.
    pub fn rounds(&self) -> usize {
        self.fitted.rounds()
    }

    /// The loss on the valid part after the last round that was kept; only boosting watches one.
    pub fn valid_loss(&self) -> Option<f64> {
        self.fitted.valid_loss()
    }

    /// How many rows it was trained on.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How much each input column matters, most first: for trees its share of the total gain, for linear models the absolute
    /// coefficient of the standardised input (of an input with several coefficients the standard deviation of their sum over the
    /// training rows; of several classes the root of the sum of squares). Empty for the baseline.
    pub fn importances(&self) -> Vec<(String, f64)> {
        let mut importances = match &self.fitted {
            Fitted::Gbdt(model) => self.encoder.by_input(&model.header.gains),
            Fitted::Logistic(model) => roots(self.encoder.by_input(&model.variances())),
            Fitted::Linear(model) => roots(self.encoder.by_input(&model.design.variances(&model.coefficients))),
            Fitted::Baseline(_) => Vec::new(),
        };
        importances.sort_by(|a, b| b.1.total_cmp(&a.1));
        importances
    }

    /// The field of what [`Prediction::into_struct`] gives.
    pub fn output_field(&self) -> Field {
        Field::new("output", DataType::Struct(self.output.clone()), true)
    }

    /// The model as bytes, the same for the same model.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (fitted, trees) = match &self.fitted {
            Fitted::Gbdt(model) => (FittedHeader::Gbdt(model.header.clone()), model.trees()),
            Fitted::Logistic(model) => (FittedHeader::Logistic(model.clone()), Vec::new()),
            Fitted::Linear(model) => (FittedHeader::Linear(model.clone()), Vec::new()),
            Fitted::Baseline(model) => (FittedHeader::Baseline(model.clone()), Vec::new()),
        };
        let classes = self.classes.as_ref().map(|labels| labels.classes.clone());
        let header = Header { classes, inputs: self.encoder.clone(), rows: self.rows, fitted };
        let header = serde_json::to_vec(&header).expect("the header has text keys and finite numbers only");
        let mut bytes = Vec::with_capacity(20 + header.len() + trees.len() + DIGEST_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&trees);
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(&digest.0.to_le_bytes());
        bytes
    }

    /// Reads a model back; fails on anything but what [`Model::to_bytes`] of this or an earlier version wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LearnError> {
        let damaged = |reason| LearnError::Damaged { reason };
        let rest = bytes.strip_prefix(MAGIC).ok_or(damaged("it does not begin as a model does"))?;
        let (format, rest) = rest.split_first_chunk::<4>().ok_or(damaged("it ends too early"))?;
        let format = u32::from_le_bytes(*format);
        if format > FORMAT {
            return Err(LearnError::NewerFormat { found: format, known: FORMAT });
        }
        let (content, digest) = bytes.split_last_chunk::<DIGEST_BYTES>().ok_or(damaged("it ends too early"))?;
        if Digest::of(content).0 != u128::from_le_bytes(*digest) {
            return Err(damaged("its bytes are not those that were written"));
        }
        let rest = &rest[..rest.len() - DIGEST_BYTES];
        let (length, rest) = rest.split_first_chunk::<8>().ok_or(damaged("it ends too early"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (header, trees) = rest.split_at_checked(length).ok_or(damaged("it ends too early"))?;
        let header: Header = serde_json::from_slice(header).map_err(|_| damaged("its header cannot be read"))?;
        let (learner, fitted) = match header.fitted {
            FittedHeader::Gbdt(gbdt) => (Learner::Gbdt, Fitted::Gbdt(Gbdt::from_parts(gbdt, trees)?)),
            FittedHeader::Logistic(model) => (Learner::Logistic, Fitted::Logistic(model)),
            FittedHeader::Linear(model) => (Learner::Linear, Fitted::Linear(model)),
            FittedHeader::Baseline(model) => (Learner::Baseline, Fitted::Baseline(model)),
        };
        Model::new(learner, header.inputs, header.classes, header.rows, fitted)
    }
}

fn roots(squares: Vec<(String, f64)>) -> Vec<(String, f64)> {
    squares.into_iter().map(|(name, square)| (name, square.sqrt())).collect()
}

/// Scores encoded rows one by one, many of them on several threads.
fn score(cells: &[f64], columns: usize, width: usize, one: impl Fn(&[f64], &mut Row, &mut [f64]) + Sync) -> Vec<f64> {
    let mut scores = vec![0.0; cells.len() / columns * width];
    let block = |(cells, scores): (&[f64], &mut [f64])| {
        let mut row = Row::default();
        for (cells, scores) in cells.chunks_exact(columns).zip(scores.chunks_exact_mut(width)) {
            one(cells, &mut row, scores);
        }
    };
    if cells.len() <= BLOCK_ROWS * columns {
        block((cells, &mut scores));
    } else {
        cells.par_chunks(BLOCK_ROWS * columns).zip(scores.par_chunks_mut(BLOCK_ROWS * width)).for_each(block);
    }
    scores
}

/// The answers of a model, one for each row that it was asked about.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// The score of each row; see [`Prediction::score`].
    score: Vec<f64>,
    /// The predicted class of each row.
    codes: Vec<u32>,
    /// One for each class and row, row by row, when there are more than two classes.
    probabilities: Vec<f64>,
    classes: Option<Arc<Labels>>,
    output: Fields,
}

impl Prediction {
    fn new(values: Vec<f64>, width: usize, classes: Option<Arc<Labels>>, output: Fields) -> Self {
        let (mut score, mut codes, mut probabilities) = (Vec::new(), Vec::new(), Vec::new());
        if width == 1 {
            if classes.is_some() {
                codes.extend(values.iter().map(|&score| u32::from(score >= 0.5)));
            }
            score = values;
        } else {
            for row in values.chunks_exact(width) {
                // The first of equal ones.
                let best = (1..width).fold(0, |best, class| if row[class] > row[best] { class } else { best });
                codes.push(best as u32);
                score.push(row[best]);
            }
            probabilities = values;
        }
        Prediction { score, codes, probabilities, classes, output }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.score.len()
    }

    /// Of two classes the probability of the positive one, of more that of the predicted one, else the predicted number.
    pub fn score(&self) -> &[f64] {
        &self.score
    }

    /// The position of the predicted class among the model's classes, for each row; empty for regression. Of two classes the
    /// positive one is predicted from a probability of 0.5 on.
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// Of more than two classes the probability of each, row by row, else empty.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    pub(crate) fn classes(&self) -> Option<&Classes> {
        self.classes.as_ref().map(|labels| &labels.classes)
    }

    /// The answers as one struct column: `prediction` in the target's type, for classes `score`, and for classes that are not true
    /// and false `probabilities`, in the order of the classes. Its type is that of [`Model::output_field`].
    pub fn into_struct(self) -> ArrayRef {
        let Prediction { score, codes, probabilities, classes, output } = self;
        let rows = score.len();
        let classes_of = classes.as_ref().map_or(0, |labels| labels.array.len());
        let probabilities = match (classes_of, output.len()) {
            (2, 3) => score.iter().flat_map(|&score| [1.0 - score, score]).collect(),
            _ => probabilities,
        };
        let score: ArrayRef = Arc::new(Float64Array::from(score));
        let Some(labels) = classes else {
            return Arc::new(StructArray::new(output, vec![score], None));
        };
        let prediction = arrow::compute::take(&labels.array, &UInt32Array::from(codes), None)
            .expect("codes are positions among the classes");
        let mut columns = vec![prediction, score];
        if let Some(DataType::List(item)) = output.get(2).map(|field| field.data_type()) {
            let values: ArrayRef = Arc::new(Float64Array::from(probabilities));
            let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(classes_of, rows));
            columns.push(Arc::new(ListArray::new(item.clone(), offsets, values, None)));
        }
        Arc::new(StructArray::new(output, columns, None))
    }
}
