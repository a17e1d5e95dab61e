//! Plans as SQL text, and judgements with an engine that answers by rote. The engine crate runs the same SQL on rows.

use crate::*;
use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use pelton_base::{NodeName, RunId};
use pelton_project::{Body, Build, Check, Node, OnFail, Rule, Select, Table, Tolerance};
use pelton_query::{
    BatchStream, Catalog, Commit, Engine, Lineage, Locality, QueryError, Relation, RowProgram, TableFiles,
    TableLocation, Typed, stream_of,
};
use std::sync::{Arc, Mutex};

const TEXT: &str = "/* pelton\n[checks]\npositive = \"amuont > 0\"\n*/\nselect 1";

fn node() -> Node {
    let table = Table {
        select: Select { sql: "select 1".into(), offset: 0, normal: "select 1".into(), order: Default::default() },
        build: Build::Full,
        increment: Default::default(),
        entity: Vec::new(),
        time: None,
        known_at: None,
        ttl_us: None,
        online: true,
        deterministic: false,
        checks: Vec::new(),
        columns: Vec::new(),
    };
    Node {
        name: NodeName::new("orders"),
        file: "tables/orders.sql".into(),
        text: TEXT.into(),
        description: None,
        tags: Vec::new(),
        body: Body::Table(Box::new(table)),
        reads: Vec::new(),
        checked_with: Default::default(),
    }
}

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("order_id", DataType::Int64, true),
        Field::new("amount", DataType::Int64, true),
        Field::new("channel", DataType::Utf8, true),
    ]))
}

fn check(name: &str, rule: Rule, on_fail: OnFail) -> Check {
    let start = TEXT.find("\"amuont").unwrap();
    let tolerance = if on_fail == OnFail::Quarantine { Tolerance::Any } else { Tolerance::Rows(0) };
    Check { name: name.into(), rule, on_fail, tolerance, span: (start, start + 12) }
}

fn planned(checks: &[Check]) -> CheckPlan {
    plan(&node(), &columns(), checks).unwrap()
}

/// Answers each query with the first entry whose text is part of it, and remembers what was asked.
#[derive(Default)]
struct Rote {
    answers: Vec<(&'static str, Result<RecordBatch, QueryError>)>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Engine for Rote {
    fn locality(&self, _: &Catalog, _: &str) -> Result<Locality, QueryError> {
        Err(QueryError::Unsupported { message: "locality".into() })
    }

    fn analyze(&self, _: &Catalog, sql: &str) -> Result<Typed, QueryError> {
        let answer = self.answers.iter().find(|(part, _)| sql.contains(part)).expect("an answer is known");
        answer.1.clone().map(|batch| Typed { schema: batch.schema(), volatile: Vec::new() })
    }

    fn lineage(&self, _: &Catalog, _: &str) -> Result<Lineage, QueryError> {
        unreachable!("checks never ask where columns come from")
    }

    async fn query(&self, _: &Catalog, sql: &str) -> Result<BatchStream, QueryError> {
        self.asked.lock().unwrap().push(sql.to_string());
        let (_, answer) = self.answers.iter().find(|(part, _)| sql.contains(part)).unwrap_or_else(|| panic!("{sql}"));
        answer.clone().map(|batch| stream_of(batch.schema(), vec![batch]))
    }

    fn explain(&self, _: &Catalog, _: &str) -> Result<String, QueryError> {
        unreachable!("checks never explain")
    }

    fn compile(&self, _: SchemaRef, _: &[(String, String)]) -> Result<Arc<dyn RowProgram>, QueryError> {
        unreachable!("checks never compile")
    }

    async fn commit(&self, _: &TableLocation, _: Commit) -> Result<i64, QueryError> {
        unreachable!("checks never write")
    }

    async fn files(&self, _: &TableLocation, _: Option<i64>) -> Result<Option<TableFiles>, QueryError> {
        unreachable!("checks read relations, not tables")
    }
}

fn ints(columns: &[(&str, i64)]) -> RecordBatch {
    let column = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    RecordBatch::try_from_iter(columns.iter().map(|(name, value)| (*name, column(*value)))).unwrap()
}

fn rows(ids: Vec<i64>, amounts: Vec<i64>) -> RecordBatch {
    let channel = Arc::new(StringArray::from(vec!["web"; ids.len()])) as ArrayRef;
    let (ids, amounts) = (Arc::new(Int64Array::from(ids)) as ArrayRef, Arc::new(Int64Array::from(amounts)) as ArrayRef);
    RecordBatch::try_new(columns(), vec![ids, amounts, channel]).unwrap()
}

fn ask(engine: &Rote, plan: &CheckPlan) -> Checked {
    let catalog = Catalog::default().with(STAGED, Relation::Typed(columns()));
    futures::executor::block_on(run(engine, &catalog, plan, &Past::default())).unwrap()
}

#[test]
fn one_scan_answers_all_row_wise_rules_and_table_expressions() {
    let plan = planned(&[
        check("positive", Rule::Row("amount > 0".into()), OnFail::Stop),
        check("known", Rule::Accepted("channel".into(), vec!["'web'".into(), "'pos'".into()]), OnFail::Warn),
        check("enough", Rule::Table("row_count() > 10".into()), OnFail::Stop),
    ]);
    assert_eq!(
        plan.scan_sql(),
        "select count(*) as \"rows\",\n  \
         count(*) filter (where (amount > 0) is false) as \"c0\",\n  \
         count(*) filter (where (\"channel\" in ('web', 'pos')) is false) as \"c1\",\n  \
         (count(*) > 10) as \"t2\",\n  cast(count(*) as text) as \"s2\"\n\
         from \"staged\" as \"orders\""
    );
}

#[test]
fn a_mistyped_column_is_found_with_its_place_and_a_suggestion() {
    let reports =
        plan(&node(), &columns(), &[check("positive", Rule::Row("amuont > 0".into()), OnFail::Stop)]).unwrap_err();
    let report = &reports.0[0];
    assert_eq!((report.code, report.message.as_str()), ("unknown-column", "table `orders` has no column `amuont`"));
    let at = report.at.as_ref().unwrap();
    assert_eq!((at.line, at.column, at.length), (3, 13, 6));
    assert_eq!(report.hints, ["did you mean `amount`?"]);
}

#[test]
fn all_mistakes_are_found_at_once() {
    let checks = [
        check("a", Rule::NotNull("nope".into()), OnFail::Stop),
        check("b", Rule::Row("amount >".into()), OnFail::Stop),
        check("c", Rule::Row("amount in (select 1)".into()), OnFail::Stop),
        check("d", Rule::Table("row_count() > 1".into()), OnFail::Quarantine),
        check("e", Rule::Unique(vec!["order_id".into(), "lin".into()]), OnFail::Stop),
        check("f", Rule::Row("orders.amount > 0".into()), OnFail::Stop),
    ];
    let reports = plan(&node(), &columns(), &checks).unwrap_err();
    let codes: Vec<_> = reports.0.iter().map(|report| report.code).collect();
    assert_eq!(codes, ["unknown-column", "invalid-check", "invalid-check", "invalid-check", "unknown-column"]);
}

#[test]
fn a_failed_check_reports_counts_and_first_rows() {
    let plan = planned(&[
        check("positive", Rule::Row("amount > 0".into()), OnFail::Stop),
        check("one_each", Rule::Unique(vec!["order_id".into()]), OnFail::Stop),
    ]);
    let engine = Rote {
        answers: vec![
            ("as \"c0\"", Ok(ints(&[("rows", 51_204), ("c0", 37)]))),
            ("as \"failed\"", Ok(ints(&[("failed", 0)]))),
            ("limit 5", Ok(rows(vec![90_121, 90_388], vec![-14, -2]))),
        ],
        ..Rote::default()
    };
    let checked = ask(&engine, &plan);
    assert!(!checked.passed());
    assert_eq!((checked.rows, checked.removed), (51_204, 0));
    assert_eq!(checked.results[1].outcome, Outcome::Passed);
    let reports = report(&plan, &checked, "main");
    assert_eq!(reports.0.len(), 1);
    assert_eq!(reports.0[0].message, "check `positive`: 37 of 51,204 rows of `orders` break `amount > 0` (allowed: 0)");
    assert_eq!(reports.0[0].notes, ["first rows: order_id 90121 (-14), 90388 (-2)"]);
    assert_eq!(reports.exit_code(), 1);
    assert_eq!(checked.results[0].to_json()["samples"][1]["amount"], -2);
    let asked = engine.asked.lock().unwrap();
    assert_eq!(
        asked[1],
        "select \"orders\".\"order_id\", \"orders\".\"amount\", \"orders\".\"channel\" from \"staged\" as \"orders\" \
         where (amount > 0) is false order by \"orders\".\"order_id\", \"orders\".\"amount\", \"orders\".\"channel\" limit 5"
    );
}

#[test]
fn a_tolerance_counts_rows_or_a_share_of_them() {
    let asked = |tolerance: Tolerance, on_fail: OnFail| {
        let plan = planned(&[Check { tolerance, ..check("p", Rule::NotNull("amount".into()), on_fail) }]);
        let engine = Rote {
            answers: vec![
                ("as \"c0\"", Ok(ints(&[("rows", 100), ("c0", 7)]))),
                ("limit 5", Ok(rows(vec![1], vec![1]))),
                ("as \"rows\"", Ok(ints(&[("rows", 93)]))),
            ],
            ..Rote::default()
        };
        let result = ask(&engine, &plan).results.remove(0);
        (result.outcome, result.allowed)
    };
    let tolerant = |tolerance: Tolerance| asked(tolerance, OnFail::Warn);
    assert_eq!(tolerant(Tolerance::Rows(7)), (Outcome::Passed, 7));
    assert_eq!(tolerant(Tolerance::Rows(6)), (Outcome::Warned, 6));
    assert_eq!(tolerant(Tolerance::Share(0.07)), (Outcome::Passed, 7));
    assert_eq!(tolerant(Tolerance::Share(0.0699)), (Outcome::Warned, 6));
    // Of rows that move to quarantine, any number may, unless a number says how many; 0 is one.
    let moved = |tolerance: Tolerance| asked(tolerance, OnFail::Quarantine);
    assert_eq!(moved(Tolerance::Any), (Outcome::Quarantined, 100));
    assert_eq!(moved(Tolerance::Rows(7)), (Outcome::Quarantined, 7));
    assert_eq!(moved(Tolerance::Rows(6)), (Outcome::Failed, 6));
    assert_eq!(moved(Tolerance::Rows(0)), (Outcome::Failed, 0));
}

#[test]
fn a_table_expression_says_what_it_found() {
    let plan = planned(&[check("enough", Rule::Table("row_count() > 0".into()), OnFail::Stop)]);
    let answer = RecordBatch::try_from_iter([
        ("rows", Arc::new(Int64Array::from(vec![0])) as ArrayRef),
        ("t0", Arc::new(BooleanArray::from(vec![false])) as ArrayRef),
        ("s0", Arc::new(StringArray::from(vec!["0"])) as ArrayRef),
    ]);
    let engine = Rote { answers: vec![("as \"t0\"", Ok(answer.unwrap()))], ..Rote::default() };
    let reports = report(&plan, &ask(&engine, &plan), "main");
    assert_eq!(reports.0[0].message, "check `enough`: `row_count() > 0` does not hold for `orders`");
    assert_eq!(reports.0[0].notes, ["`row_count()` is 0"]);
}

#[test]
fn the_other_checks_see_the_rows_that_stay() {
    let plan = planned(&[
        check("positive", Rule::Row("amount > 0".into()), OnFail::Quarantine),
        check("one_each", Rule::Unique(vec!["order_id".into()]), OnFail::Quarantine),
        check("present", Rule::NotNull("channel".into()), OnFail::Stop),
    ]);
    let engine = Rote {
        answers: vec![
            ("as \"c2\"", Ok(ints(&[("rows", 97), ("c2", 0)]))),
            ("as \"c1\"", Ok(ints(&[("c0", 2), ("c1", 1)]))),
            ("as \"failed\"", Ok(ints(&[("failed", 1)]))),
            ("as \"c0\"", Ok(ints(&[("rows", 100), ("c0", 2)]))),
            ("limit 5", Ok(rows(vec![4], vec![-1]))),
        ],
        ..Rote::default()
    };
    let checked = ask(&engine, &plan);
    assert_eq!((checked.rows, checked.removed, checked.passed()), (100, 3, true));
    let outcomes: Vec<_> =
        checked.results.iter().map(|result| (result.outcome, result.failed_rows, result.rows)).collect();
    assert_eq!(outcomes, [(Outcome::Quarantined, 2, 100), (Outcome::Quarantined, 1, 100), (Outcome::Passed, 0, 97)]);
    let reports = report(&plan, &checked, "main");
    assert_eq!(reports.exit_code(), 0);
    assert_eq!(
        reports.0[0].message,
        "check `positive`: 2 of 100 rows of `orders` break `amount > 0` and go to quarantine"
    );
    assert_eq!(reports.0[0].hints, ["pelton quarantine orders --check positive"]);
}

#[test]
fn a_check_counts_rows_that_go_to_quarantine_under_another_one() {
    let plan = planned(&[
        check("positive", Rule::Row("amount > 0".into()), OnFail::Quarantine),
        check("small", Rule::Row("amount < 10".into()), OnFail::Quarantine),
        check("one_each", Rule::Unique(vec!["order_id".into()]), OnFail::Quarantine),
    ]);
    let moved = |small: i64, one_each: i64| {
        let engine = Rote {
            answers: vec![
                ("\"pelton_rule\" = 1) as", Ok(ints(&[("c0", 2), ("c1", small), ("c2", one_each)]))),
                ("as \"c1\"", Ok(ints(&[("rows", 100), ("c0", 2), ("c1", 3)]))),
                ("as \"failed\"", Ok(ints(&[("failed", 4)]))),
                ("limit 5", Ok(rows(vec![4], vec![-1]))),
                ("as \"rows\"", Ok(ints(&[("rows", 95)]))),
            ],
            ..Rote::default()
        };
        let checked = ask(&engine, &plan);
        let failed: Vec<u64> = checked.results.iter().map(|result| result.failed_rows).collect();
        assert_eq!((failed, checked.removed), (vec![2, 3, 4], 2 + (small + one_each) as u64));
        report(&plan, &checked, "main").0
    };
    let reports = moved(1, 2);
    assert_eq!(reports[1].message, "check `small`: 3 of 100 rows of `orders` break `amount < 10` and go to quarantine");
    assert_eq!(reports[1].notes[1], "listed under another check, which they break as well: 2");
    assert_eq!(reports[1].hints, ["pelton quarantine orders --check small"]);
    assert_eq!(
        reports[2].message,
        "check `one_each`: 4 of 100 rows of `orders` break `unique(order_id)`, and 2 go to quarantine under it"
    );
    // A list under a check with no row in it would be empty.
    let reports = moved(0, 0);
    assert_eq!(reports[1].hints, ["pelton quarantine orders"]);
    assert_eq!(reports[2].hints, ["pelton quarantine orders"]);
}

#[test]
fn rows_that_were_asked_before_count() {
    let plan = planned(&[Check {
        tolerance: Tolerance::Share(0.03),
        ..check("positive", Rule::Row("amount > 0".into()), OnFail::Quarantine)
    }]);
    let found = |before: u64| {
        let engine = Rote {
            answers: vec![
                ("as \"c0\"", Ok(ints(&[("rows", 90), ("c0", 0)]))),
                ("limit 5", Ok(RecordBatch::new_empty(columns()))),
            ],
            ..Rote::default()
        };
        let catalog = Catalog::default().with(STAGED, Relation::Typed(columns()));
        let by_check = [("positive".to_string(), (before, before))].into();
        let past = Past { removed: Removed { rows: 10, by_check }, ..Past::default() };
        let checked = futures::executor::block_on(run(&engine, &catalog, &plan, &past)).unwrap();
        let result = &checked.results[0];
        (result.outcome, result.failed_rows, result.rows, result.allowed, checked.removed)
    };
    assert_eq!(found(0), (Outcome::Passed, 0, 100, 3, 0));
    assert_eq!(found(3), (Outcome::Quarantined, 3, 100, 3, 0));
    assert_eq!(found(4), (Outcome::Failed, 4, 100, 3, 0));
}

#[test]
fn rows_of_what_failed_are_listed_nowhere_and_nobody_is_sent_there() {
    let said = |failed: i64, environment: &str| {
        let plan = planned(&[
            check("positive", Rule::Row("amount > 0".into()), OnFail::Quarantine),
            check("present", Rule::NotNull("channel".into()), OnFail::Stop),
        ]);
        let engine = Rote {
            answers: vec![
                ("\"pelton_rule\" = 0) as", Ok(ints(&[("c0", 2)]))),
                ("as \"c0\"", Ok(ints(&[("rows", 100), ("c0", 2), ("c1", failed)]))),
                ("as \"c1\"", Ok(ints(&[("rows", 98), ("c1", failed)]))),
                ("limit 5", Ok(rows(vec![4], vec![-1]))),
            ],
            ..Rote::default()
        };
        report(&plan, &ask(&engine, &plan), environment).0.remove(0)
    };
    assert_eq!(said(0, "main").hints, ["pelton quarantine orders --check positive"]);
    assert_eq!(said(0, "try").hints, ["pelton quarantine orders --check positive --env try"]);
    let failed = said(1, "main");
    assert_eq!(failed.message, "check `positive`: 2 of 100 rows of `orders` break `amount > 0`");
    assert_eq!(failed.notes[1], "no row went to quarantine, because `orders` was not built");
    assert!(failed.hints.is_empty(), "{:?}", failed.hints);
}

#[test]
fn a_removed_row_is_removed_once_and_one_row_of_a_key_stays() {
    let plan = planned(&[
        check("one_each", Rule::Unique(vec!["order_id".into()]), OnFail::Quarantine),
        check("positive", Rule::Row("amount > 0".into()), OnFail::Quarantine),
    ]);
    assert_eq!(
        plan.kept_select(),
        "select \"order_id\", \"amount\", \"channel\" from (\
         select \"order_id\", \"amount\", \"channel\", coalesce(\"pelton_rule\", case when \"order_id\" is not null and \
         row_number() over (partition by \"order_id\", \"pelton_rule\" is null order by \"order_id\", \"amount\", \"channel\" \
         rows between unbounded preceding and current row) > 1 then 0 end) as \"pelton_rule\"\n\
         from (select \"orders\".\"order_id\", \"orders\".\"amount\", \"orders\".\"channel\", \
         cast(case when (amount > 0) is false then 1 end as bigint) as \"pelton_rule\"\n\
         from \"staged\" as \"orders\") as \"m0\") as \"marked\" where \"pelton_rule\" is null"
    );
}

#[test]
fn removed_rows_become_quarantine_rows() {
    let plan = planned(&[
        check("one_each", Rule::Unique(vec!["order_id".into()]), OnFail::Quarantine),
        check("positive", Rule::Row("amount > 0".into()), OnFail::Quarantine),
    ]);
    let data = rows(vec![4, 5], vec![-1, 3]);
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (field, column) in data.schema().fields().iter().zip(data.columns()) {
        columns.push((field.name().clone(), column.clone()));
    }
    columns.push(("pelton_rule".into(), Arc::new(Int64Array::from(vec![1, 0]))));
    let removed = RecordBatch::try_from_iter(columns).unwrap();
    let out = quarantine_rows(&plan, &removed, &RunId("r1".into()), 1_000_000).unwrap();
    let shown = arrow::util::pretty::pretty_format_batches(&[out]).unwrap().to_string();
    let cells: Vec<Vec<&str>> =
        shown.lines().filter(|line| line.contains("r1")).map(|line| line.split('|').map(str::trim).collect()).collect();
    assert_eq!(cells[0][1..5], ["r1", "orders", "positive", "breaks amount > 0"]);
    assert_eq!(cells[0][7..10], ["amount", r#"{"order_id":4,"amount":-1,"channel":"web"}"#, "1970-01-01T00:00:01Z"]);
    assert_eq!(cells[1][3..5], ["one_each", "another row has the same order_id"]);
}

#[test]
fn an_engine_error_names_the_check_that_caused_it() {
    let plan = planned(&[
        check("present", Rule::NotNull("amount".into()), OnFail::Stop),
        check("pattern", Rule::Matches("channel".into(), "[".into()), OnFail::Stop),
    ]);
    let refused = || Err(QueryError::Value { message: "the pattern does not parse".into() });
    let engine = Rote {
        answers: vec![("regexp_like", refused()), ("is null", Ok(ints(&[("rows", 1), ("c0", 0)])))],
        ..Rote::default()
    };
    let catalog = Catalog::default().with(STAGED, Relation::Typed(columns()));
    let reports = futures::executor::block_on(run(&engine, &catalog, &plan, &Past::default())).unwrap_err();
    assert_eq!(reports.0.len(), 1);
    assert!(reports.0[0].message.starts_with("check `pattern` of table `orders`"), "{reports}");
    assert!(reports.0[0].at.is_some());
}

#[test]
fn a_rule_that_is_not_true_or_false_is_refused_before_any_data_is_read() {
    let plan = planned(&[check("odd", Rule::Row("amount + 1".into()), OnFail::Stop)]);
    let engine = Rote { answers: vec![("amount + 1", Ok(ints(&[("holds", 1)])))], ..Rote::default() };
    let reports = plan.verify(&engine, &Catalog::default()).unwrap_err();
    assert_eq!(reports.0[0].message, "check `odd` of table `orders` gives bigint, not true or false");
}
