//! Which columns a model takes, and what is refused.

use super::*;
use pelton_base::Digest;
use pelton_project::{Build, MissingRule, Model, Select, Split, SplitBy, Table, Task};
use std::sync::Arc;

const TEXT: &str = "features = [\"activity\", \"risk.chargebacks\"]";

fn spanned(text: &str) -> Spanned<String> {
    Spanned { value: text.into(), span: (0, 8) }
}

fn select() -> Select {
    Select { sql: "select 1".into(), offset: 0, normal: "select 1".into(), order: Default::default() }
}

fn node(name: &str, body: Body) -> Node {
    Node {
        name: NodeName::new(name),
        file: format!("{name}.sql"),
        text: TEXT.into(),
        description: None,
        tags: Vec::new(),
        body,
        reads: Vec::new(),
        checked_with: Default::default(),
    }
}

fn model(features: &[(&str, Option<&str>)], time: Option<&str>) -> Node {
    let features = features.iter().map(|(table, column)| FeatureUse {
        table: NodeName::new(table),
        column: column.map(str::to_string),
        span: (12, 22),
    });
    node(
        "fraud",
        Body::Model(Box::new(Model {
            select: select(),
            task: Task::Classification,
            target: spanned("is_fraud"),
            key: vec![spanned("id")],
            time: time.map(spanned),
            features: features.collect(),
            exclude: Vec::new(),
            derive: Vec::new(),
            split: Split { by: SplitBy::Random, test: 0.2, valid: 0.1 },
            learner: Vec::new(),
            params: BTreeMap::new(),
            metric: None,
            accept: Vec::new(),
            missing: MissingRule::Null,
            deterministic: false,
            checks: Vec::new(),
            settings_digest: Digest(0),
        })),
    )
}

fn feature_table(entity: &[&str], time: &str) -> Node {
    node(
        "activity",
        Body::Table(Box::new(Table {
            select: select(),
            build: Build::Full,
            increment: Default::default(),
            entity: entity.iter().map(|name| spanned(name)).collect(),
            time: Some(spanned(time)),
            known_at: None,
            ttl_us: Some(5),
            online: true,
            deterministic: false,
            checks: Vec::new(),
            columns: Vec::new(),
        })),
    )
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>()))
}

fn activity_columns() -> SchemaRef {
    schema(&[
        ("customer_id", DataType::Int64),
        ("at", types::timestamp()),
        ("known_at", types::timestamp()),
        ("amount", DataType::Float64),
        ("spend", DataType::Float64),
    ])
}

fn tables() -> BTreeMap<NodeName, FeatureTable> {
    let activity = FeatureTable::of(&feature_table(&["customer_id"], "at"), &activity_columns()).unwrap().unwrap();
    let risk_columns = schema(&[
        ("merchant_id", DataType::Int64),
        ("at", types::timestamp()),
        ("chargebacks", DataType::Int64),
        ("spend", DataType::Float64),
    ]);
    let risk = FeatureTable {
        name: NodeName::new("risk"),
        entity: vec!["merchant_id".into()],
        known_at: None,
        schema: risk_columns,
        ..activity.clone()
    };
    [activity, risk].into_iter().map(|table| (table.name.clone(), table)).collect()
}

fn labels() -> SchemaRef {
    schema(&[
        ("id", DataType::Int64),
        ("customer_id", DataType::Int64),
        ("merchant_id", DataType::Int64),
        ("at", types::timestamp()),
        ("amount", DataType::Float64),
        ("is_fraud", DataType::Boolean),
    ])
}

#[test]
fn features_are_all_columns_but_entity_and_times() {
    let tables = tables();
    let activity = &tables["activity"];
    assert_eq!(activity.known_at.as_deref(), Some("known_at"));
    assert_eq!(activity.features().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["amount", "spend"]);
}

#[test]
fn a_name_that_is_there_already_gets_its_table_in_front() {
    let model = model(&[("activity", None), ("risk", Some("spend")), ("activity", Some("spend"))], Some("at"));
    let uses = resolve(&model, &labels(), &tables()).unwrap();
    let names: Vec<Vec<String>> =
        uses.iter().map(|used| used.fields().iter().map(|field| field.name().clone()).collect()).collect();
    assert_eq!(names, [vec!["activity_amount", "spend"], vec!["risk_spend"]]);
}

#[test]
fn all_mistakes_in_features_are_found_at_once() {
    let model =
        model(&[("activty", None), ("risk", Some("chargeback")), ("activity", Some("at")), ("activity", None)], None);
    let labels = schema(&[("id", DataType::Int64), ("customer_id", DataType::Utf8)]);
    let reports = resolve(&model, &labels, &tables()).unwrap_err();
    let found: Vec<_> = reports.0.iter().map(|report| (report.code, report.message.as_str())).collect();
    assert_eq!(
        found,
        [
            ("invalid-value", "model `fraud` uses `activty`, which is no feature table"),
            ("unknown-column", "feature table `risk` has no column `chargeback`"),
            ("invalid-value", "`at` identifies or dates the rows of `activity`, it is no feature"),
            ("type-mismatch", "`customer_id` is text in model `fraud` and bigint in feature table `activity`"),
            ("missing-key", "model `fraud` uses features and has no `time`"),
        ]
    );
    assert_eq!(reports.0[0].hints, ["did you mean `activity`?"]);
    assert_eq!(reports.0[1].hints, ["did you mean `chargebacks`?"]);
    assert_eq!(reports.0[0].at.as_ref().unwrap().column, 13);
}

#[test]
fn an_entity_that_is_not_selected_is_named() {
    let labels = schema(&[("id", DataType::Int64), ("custmer_id", DataType::Int64)]);
    let reports = resolve(&model(&[("activity", None)], Some("at")), &labels, &tables()).unwrap_err();
    assert_eq!(reports.0[0].message, "model `fraud` does not select `customer_id`, by which `activity` is looked up");
    assert_eq!(reports.0[0].hints, ["did you mean `custmer_id`?"]);
}

#[test]
fn a_feature_table_needs_its_columns_in_the_right_types() {
    let reports =
        FeatureTable::of(&feature_table(&["custmer_id", "spend"], "amount"), &activity_columns()).unwrap_err();
    let found: Vec<_> = reports.0.iter().map(|report| (report.code, report.message.as_str())).collect();
    assert_eq!(
        found,
        [
            ("unknown-column", "table `activity` has no column `custmer_id`"),
            ("type-mismatch", "`spend` of table `activity` is double, which cannot be an entity column"),
            ("type-mismatch", "`amount` of table `activity` is double, which cannot be a time"),
        ]
    );
    assert_eq!(reports.0[2].hints, ["cast it to a timestamp"]);
    assert_eq!(FeatureTable::of(&feature_table(&[], "at"), &activity_columns()).unwrap(), None);
}

#[test]
fn a_date_that_is_to_be_a_time_is_told_how() {
    let columns = schema(&[("customer_id", DataType::Int64), ("day", DataType::Date32), ("spend", DataType::Float64)]);
    let reports = FeatureTable::of(&feature_table(&["customer_id"], "day"), &columns).unwrap_err();
    assert_eq!(reports.0[0].message, "`day` of table `activity` is date, which cannot be a time");
    assert_eq!(reports.0[0].hints, ["select `cast(day as timestamp) as day`"]);
}
