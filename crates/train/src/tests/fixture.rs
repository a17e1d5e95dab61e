//! A model and its training set.

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pelton_base::{Digest, NodeName, Seed};
use pelton_project::{Body, Derived, LearnerKind, MissingRule, Model, Node, Select, Spanned, Split, SplitBy, Task};
use pelton_query::types::timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const TEXT: &str = "/* pelton\ntarget = \"is_fraud\"\nkey = [\"id\"]\n*/ select 1";

pub(crate) fn spanned<T>(value: T, word: &str) -> Spanned<T> {
    let start = TEXT.find(word).unwrap_or(0);
    Spanned { value, span: (start, start + word.len()) }
}

pub(crate) fn model() -> Model {
    Model {
        select: Select { sql: "select 1".into(), offset: 0, normal: "select 1".into(), order: Default::default() },
        task: Task::Classification,
        target: spanned("is_fraud".to_string(), "is_fraud"),
        key: vec![spanned("id".to_string(), "id\"")],
        time: Some(spanned("at".to_string(), "target")),
        features: Vec::new(),
        exclude: Vec::new(),
        derive: Vec::new(),
        split: Split { by: SplitBy::Time, test: 0.2, valid: 0.1 },
        learner: vec![spanned(LearnerKind::Gbdt, "target"), spanned(LearnerKind::Logistic, "target")],
        params: BTreeMap::from([(LearnerKind::Gbdt, BTreeMap::from([("rounds".to_string(), 20.0)]))]),
        metric: None,
        accept: Vec::new(),
        missing: MissingRule::Null,
        deterministic: false,
        checks: Vec::new(),
        settings_digest: Digest(0),
    }
}

pub(crate) fn node(model: Model) -> Node {
    Node {
        name: NodeName::new("fraud"),
        file: "models/fraud.sql".into(),
        text: TEXT.into(),
        description: Some("Is it fraud?".into()),
        tags: Vec::new(),
        body: Body::Model(Box::new(model)),
        reads: Vec::new(),
        checked_with: Default::default(),
    }
}

pub(crate) fn derived(name: &str, sql: &str) -> Derived {
    Derived { name: name.into(), sql: sql.into(), span: (10, 16) }
}

pub(crate) fn select() -> SchemaRef {
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64),
        field("at", timestamp()),
        field("amount", DataType::Float64),
        field("channel", DataType::Utf8),
        field("is_fraud", DataType::Boolean),
    ]))
}

/// `rows` examples: fraud is likelier with greater amounts and on the web; ids in order, one example a minute.
pub(crate) fn examples(rows: usize) -> RecordBatch {
    let seed = Seed(5);
    let unit = |name: &str, row: usize| seed.derive(name).unit_at(row as u64);
    let amount: Vec<f64> = (0..rows).map(|row| unit("amount", row) * 100.0).collect();
    let channel: Vec<&str> =
        (0..rows).map(|row| ["web", "pos", "app"][(unit("channel", row) * 3.0) as usize]).collect();
    let is_fraud: Vec<bool> = (0..rows)
        .map(|row| unit("fraud", row) < amount[row] / 200.0 + if channel[row] == "web" { 0.3 } else { 0.0 })
        .collect();
    let at: Vec<i64> = (0..rows as i64).map(|row| row * 60_000_000).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..rows as i64)),
        Arc::new(TimestampMicrosecondArray::from(at).with_timezone("UTC")),
        Arc::new(Float64Array::from(amount)),
        Arc::new(StringArray::from(channel)),
        Arc::new(BooleanArray::from(is_fraud)),
    ];
    RecordBatch::try_new(select(), columns).unwrap()
}
