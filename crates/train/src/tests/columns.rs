//! What each column is for, and what is refused without data.

use super::*;
use crate::fixture::{derived, model, node, select, spanned};

fn names(fields: &[Field]) -> Vec<&str> {
    fields.iter().map(|field| field.name().as_str()).collect()
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>()))
}

fn activity() -> Lookup {
    Lookup {
        table: NodeName::new("activity"),
        entity: vec!["customer_id".into()],
        fields: vec![Field::new("spend", DataType::Float64, true)],
    }
}

fn wide_select() -> SchemaRef {
    let mut fields: Vec<Field> = select().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.insert(1, Field::new("customer_id", DataType::Int64, true));
    fields.push(Field::new("country", DataType::Utf8, true));
    fields.push(Field::new("memo", DataType::Utf8, true));
    Arc::new(Schema::new(fields))
}

#[test]
fn the_model_sees_what_is_neither_key_nor_time_nor_entity_nor_excluded() {
    let mut model = model();
    model.exclude = vec![spanned("country".into(), "target"), spanned("memo".into(), "target")];
    model.derive = vec![derived("is_abroad", "Country <> 'de'"), derived("hour", "extract(hour from at) + id")];
    let derived = schema(&[("is_abroad", DataType::Boolean), ("hour", DataType::Float64)]);
    let columns = plan_columns(&node(model), &wide_select(), &[activity()], &derived).unwrap();
    assert_eq!(names(&columns.inputs), ["amount", "channel", "spend", "is_abroad", "hour"]);
    // `country` and `id` are asked for because `derive` reads them, `memo` is not.
    assert_eq!(names(&columns.request), ["id", "customer_id", "amount", "channel", "country"]);
    assert_eq!(columns.time.as_ref().map(|time| time.name().as_str()), Some("at"));
    assert_eq!(names(&columns.answer), ["prediction", "score"]);
    assert_eq!(names(&columns.key), ["id"]);
}

#[test]
fn features_and_derived_columns_can_be_excluded() {
    let mut activity = activity();
    activity.fields =
        ["spend", "activity_amount", "last_at"].map(|name| Field::new(name, DataType::Float64, true)).into();
    let mut model = model();
    model.exclude = ["last_at", "activity.amount", "hour"].map(|name| spanned(name.into(), "target")).into();
    model.derive = vec![derived("age", "last_at - amount"), derived("hour", "1")];
    let of_derive = schema(&[("age", DataType::Float64), ("hour", DataType::Float64)]);
    let columns = plan_columns(&node(model.clone()), &select(), &[activity.clone()], &of_derive).unwrap();
    assert_eq!(names(&columns.inputs), ["amount", "channel", "spend", "age"]);
    assert_eq!(columns.lookups[0].fields.len(), 3, "`derive` reads what the model does not see");

    model.exclude = ["activity.lastat", "risk.spend", "custmer"].map(|name| spanned(name.into(), "target")).into();
    let reports = plan_columns(&node(model), &select(), &[activity], &of_derive).unwrap_err();
    let found: Vec<_> =
        reports.0.iter().map(|report| (report.code, report.message.as_str(), report.hints.clone())).collect();
    let hint = |name: &str| vec![format!("did you mean `{name}`?")];
    assert_eq!(
        found,
        [
            ("unknown-column", "model `fraud` has no column `activity.lastat` to exclude", hint("last_at")),
            ("unknown-column", "model `fraud` has no column `risk.spend` to exclude", hint("spend")),
            ("unknown-column", "model `fraud` has no column `custmer` to exclude", vec![]),
        ]
    );
}

#[test]
fn an_entity_is_asked_for_though_it_is_the_key() {
    let mut model = model();
    model.key = vec![spanned("customer_id".into(), "target")];
    let columns = plan_columns(&node(model), &wide_select(), &[activity()], &schema(&[])).unwrap();
    assert_eq!(names(&columns.request), ["id", "customer_id", "amount", "channel", "country", "memo"]);
    assert!(!names(&columns.inputs).contains(&"customer_id"));
}

#[test]
fn a_key_that_is_asked_for_anyway_is_not_asked_for_twice() {
    let beside = |key: &[&str], derive: &[(&str, &str)]| {
        let mut model = model();
        model.key = key.iter().map(|name| spanned(name.to_string(), "target")).collect();
        model.derive = derive.iter().map(|(name, sql)| self::derived(name, sql)).collect();
        let fields: Vec<(&str, DataType)> = derive.iter().map(|(name, _)| (*name, DataType::Float64)).collect();
        let columns = plan_columns(&node(model), &wide_select(), &[activity()], &schema(&fields)).unwrap();
        columns.key_beside_request().map(|field| field.name().clone()).collect::<Vec<_>>()
    };
    assert_eq!(beside(&["id"], &[]), ["id"]);
    assert_eq!(beside(&["customer_id"], &[]), [""; 0]);
    assert_eq!(beside(&["customer_id", "at", "id"], &[]), ["id"]);
    assert_eq!(beside(&["id"], &[("parity", "id % 2")]), [""; 0]);
}

#[test]
fn the_answer_is_known_from_the_type_of_the_target() {
    let answer = |task: Task, target: &str| {
        let mut model = model();
        (model.task, model.target) = (task, spanned(target.into(), "is_fraud"));
        model.learner.clear();
        names(&plan_columns(&node(model), &select(), &[], &schema(&[])).unwrap().answer).join(" ")
    };
    assert_eq!(answer(Task::Classification, "is_fraud"), "prediction score");
    assert_eq!(answer(Task::Classification, "channel"), "prediction score probabilities");
    assert_eq!(answer(Task::Regression, "amount"), "prediction");
}

#[test]
fn all_mistakes_in_columns_are_found_at_once() {
    let mut model = model();
    model.target = spanned("is_frod".into(), "is_fraud");
    model.key = vec![spanned("idd".into(), "id\"")];
    model.exclude = vec![spanned("chanel".into(), "target")];
    model.split.by = SplitBy::Group("costumer_id".into());
    model.derive = vec![derived("amount", "1"), derived("leak", "is_frod")];
    model.learner = vec![spanned(LearnerKind::Linear, "target")];
    let derived = schema(&[("amount", DataType::Int64), ("leak", DataType::Binary)]);
    let reports = plan_columns(&node(model), &wide_select(), &[activity()], &derived).unwrap_err();
    let found: Vec<_> = reports.0.iter().map(|report| (report.code, report.message.as_str())).collect();
    assert_eq!(
        found,
        [
            ("unknown-column", "model `fraud` does not select `is_frod`"),
            ("unknown-column", "model `fraud` does not select `idd`"),
            ("unknown-column", "model `fraud` has no column `chanel` to exclude"),
            ("unknown-column", "model `fraud` does not select `costumer_id`, by which it is split"),
            ("invalid-name", "model `fraud` derives `amount`, which is there already"),
            ("invalid-value", "`leak` of model `fraud` is derived from the target"),
            ("type-mismatch", "input `leak` of model `fraud` has type bytes, which cannot be learned from"),
            ("invalid-value", "`linear` of model `fraud` does not learn classification"),
        ]
    );
    assert_eq!(reports.0[0].hints, ["did you mean `is_fraud`?"]);
    assert_eq!(reports.0[0].at.as_ref().map(|at| (at.line, at.column, at.length)), Some((2, 11, 8)));
}

#[test]
fn a_target_that_does_not_fit_its_task_is_refused_where_it_is_written() {
    let mut model = model();
    (model.task, model.target) = (Task::Regression, spanned("channel".into(), "is_fraud"));
    model.learner.clear();
    let reports = plan_columns(&node(model), &select(), &[], &schema(&[])).unwrap_err();
    assert_eq!(reports.0[0].code, "invalid-target");
    assert_eq!(reports.0[0].at.as_ref().map(|at| at.line), Some(2));
}

#[test]
fn a_time_must_be_a_timestamp() {
    let mut model = model();
    model.time = Some(spanned("amount".into(), "target"));
    let reports = plan_columns(&node(model), &select(), &[], &schema(&[])).unwrap_err();
    assert_eq!(reports.0[0].message, "the time `amount` of model `fraud` is double, not a timestamp");
}
