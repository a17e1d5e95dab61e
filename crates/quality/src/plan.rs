//! [`plan`]: a node's checks, resolved against its columns, with the SQL that answers them.

use crate::expression;
use crate::rule::{broken, enclosed, of_column};
use crate::run::Measure;
use arrow::datatypes::{DataType, SchemaRef};
use pelton_base::{NodeName, Place, Report, Reports};
use pelton_project::{Body, Check, Node, OnFail, Rule, Statistic};
use pelton_query::{Catalog, Engine, QueryError, Relation, sql};

/// The name under which the catalog has the rows that are checked.
pub const STAGED: &str = "staged";

/// A node's checks with the SQL that answers them.
#[derive(Debug, Clone)]
pub struct CheckPlan {
    /// The node's name.
    pub node: NodeName,
    /// `source`, `table` or `model`.
    pub(crate) kind: &'static str,
    pub(crate) file: String,
    pub(crate) text: String,
    /// The columns of the checked rows.
    pub(crate) schema: SchemaRef,
    /// Columns that tell rows apart for people: the declared key, a unique check's columns, or entity and time.
    pub(crate) key: Vec<String>,
    pub(crate) items: Vec<Item>,
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub check: Check,
    pub form: Form,
}

/// How a check is answered.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// By a condition that is true for each row that breaks the rule.
    Rows { broken: String },
    /// By one boolean over aggregates; `shown` is the left side of its comparison, as written and in the engine's words.
    Table { holds: String, shown: Option<(String, String)> },
    /// By grouping.
    Unique { columns: Vec<String> },
    /// By an anti join.
    References { column: String, table: NodeName, other: String },
    /// By the user's SELECT.
    Custom { select: String },
    /// By comparing what this aggregate gives with earlier versions or with the time.
    Measured { measure: Measure, column: Option<String>, aggregate: String },
}

/// Resolves the checks of `node`, whose rows have these columns; finds all mistakes that can be found without the engine.
///
/// Fails with `unknown-column` (with a suggestion and the place) and `invalid-check`.
pub fn plan(node: &Node, columns: &SchemaRef, checks: &[Check]) -> Result<CheckPlan, Reports> {
    let mut plan = CheckPlan {
        node: node.name.clone(),
        kind: node.kind(),
        file: node.file.clone(),
        text: node.text.clone(),
        schema: columns.clone(),
        key: Vec::new(),
        items: Vec::new(),
    };
    let mut reports = Reports::default();
    for check in checks.iter().flat_map(|check| by_column(check, columns)) {
        let check = &check;
        match plan.resolve(check) {
            Ok(form) => plan.items.push(Item { check: check.clone(), form }),
            Err(mistakes) => reports.extend(mistakes),
        }
    }
    if reports.has_errors() {
        return Err(reports);
    }
    plan.key = key_of(node, checks).into_iter().filter(|name| columns.field_with_name(name).is_ok()).collect();
    Ok(plan)
}

/// An anomaly check of every column as one for each that has the statistic; any other check as it is.
fn by_column(check: &Check, columns: &SchemaRef) -> Vec<Check> {
    let Rule::Anomaly { statistic, column: None, sensitivity } = check.rule else { return vec![check.clone()] };
    if statistic == Statistic::RowCount {
        return vec![check.clone()];
    }
    let has = columns.fields().iter().filter(|field| aggregate(statistic, field.name(), field.data_type()).is_some());
    let of = |name: &String| Check {
        name: format!("{}_{name}", check.name),
        rule: of_column(statistic, name, sensitivity),
        ..check.clone()
    };
    has.map(|field| of(field.name())).collect()
}

/// The aggregate that measures a statistic of a column; `None` when a column of this type does not have it.
fn aggregate(statistic: Statistic, column: &str, data_type: &DataType) -> Option<String> {
    let name = sql::ident(column);
    Some(match statistic {
        Statistic::RowCount => return None,
        Statistic::NullShare => format!("count(*) filter (where {name} is null)"),
        Statistic::Mean if data_type.is_numeric() => format!("avg(cast({name} as double))"),
        Statistic::Mean if *data_type == DataType::Boolean => {
            format!("avg(case when {name} then 1.0 when not {name} then 0.0 end)")
        }
        Statistic::Mean => return None,
        // Nested values are not counted, and binary fractions are counted as they print.
        Statistic::DistinctCount if data_type.is_nested() => return None,
        Statistic::DistinctCount if data_type.is_floating() => format!("approx_distinct(cast({name} as text))"),
        Statistic::DistinctCount => format!("approx_distinct({name})"),
    })
}

/// The columns that tell the node's rows apart for people.
fn key_of(node: &Node, checks: &[Check]) -> Vec<String> {
    let named = match &node.body {
        Body::Source(source) => source.key.iter().map(|key| key.value.clone()).collect(),
        Body::Model(model) => model.key.iter().map(|key| key.value.clone()).collect(),
        Body::Table(_) => Vec::new(),
    };
    let unique = || {
        checks.iter().find_map(|check| match &check.rule {
            Rule::Unique(columns) => Some(columns.clone()),
            _ => None,
        })
    };
    let entity_and_time = || match &node.body {
        Body::Table(table) => table.entity.iter().chain(&table.time).map(|column| column.value.clone()).collect(),
        _ => Vec::new(),
    };
    if named.is_empty() { unique().unwrap_or_else(entity_and_time) } else { named }
}

impl CheckPlan {
    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What anomaly checks compare with earlier versions: statistics, and of which column.
    pub fn statistics(&self) -> Vec<(Statistic, Option<String>)> {
        let of = |item: &Item| match &item.check.rule {
            Rule::Anomaly { statistic, column, .. } => Some((*statistic, column.clone())),
            _ => None,
        };
        self.items.iter().filter_map(of).collect()
    }

    /// Lets the engine type every check; `catalog` has `staged` and every table that checks may read, typed is enough.
    pub fn verify(&self, engine: &dyn Engine, catalog: &Catalog) -> Result<(), Reports> {
        let mut reports = Reports::default();
        let together = self.are_boolean(engine, catalog);
        for item in &self.items {
            let is_boolean = together && matches!(item.form, Form::Rows { .. } | Form::Table { .. });
            if is_boolean || self.is_plain(item, catalog) {
                continue;
            }
            match engine.analyze(catalog, &self.typing_sql(item)) {
                Err(error) => reports.push(self.refusal(item, &error)),
                Ok(typed) => {
                    let must_be_boolean = matches!(item.form, Form::Rows { .. } | Form::Table { .. });
                    let found = typed.schema.fields().first().map(|field| field.data_type().clone());
                    if must_be_boolean && !matches!(found, Some(DataType::Boolean | DataType::Null)) {
                        let name = found.map_or_else(String::new, |found| pelton_query::types::name(&found));
                        let message = format!("{} gives {name}, not true or false", self.subject(&item.check));
                        reports.push(Report::error("invalid-check", message).at(self.place(&item.check)));
                    }
                }
            }
        }
        if reports.has_errors() { Err(reports) } else { Ok(()) }
    }

    /// Whether a rule has the right types beyond doubt, so that the engine need not be asked; that its columns are there is known.
    fn is_plain(&self, item: &Item, catalog: &Catalog) -> bool {
        let type_of = |schema: &SchemaRef, column: &str| {
            schema
                .field_with_name(column)
                .ok()
                .map(|field| field.data_type().clone())
                .filter(|found| !found.is_nested())
        };
        let of = |column: &str| type_of(&self.schema, column);
        let is_number = |text: &String| text.parse::<f64>().is_ok_and(f64::is_finite);
        let is_text = |text: &String| text.starts_with('\'') && text.ends_with('\'');
        match &item.check.rule {
            Rule::NotNull(_) => true,
            Rule::Unique(columns) => columns.iter().all(|column| of(column).is_some()),
            Rule::Between(column, low, high) => {
                let found = of(column);
                found.is_some_and(|found| found.is_numeric()) && is_number(low) && is_number(high)
            }
            Rule::Accepted(column, values) => of(column) == Some(DataType::Utf8) && values.iter().all(is_text),
            Rule::Length(column, ..) => of(column) == Some(DataType::Utf8),
            Rule::References { column, table, other } => match catalog.relations.get(table.as_str()) {
                Some(Relation::Typed(schema)) => of(column).is_some() && of(column) == type_of(schema, other),
                _ => false,
            },
            // The types were looked at when it was resolved.
            Rule::Freshness { .. } | Rule::Anomaly { .. } => true,
            Rule::Matches(..) | Rule::Row(_) | Rule::Table(_) | Rule::Custom(_) => false,
        }
    }

    /// Whether all rules that are not plain are true or false, asked at once; each by itself when they are not.
    fn are_boolean(&self, engine: &dyn Engine, catalog: &Catalog) -> bool {
        let mut columns = Vec::new();
        for item in self.items.iter().filter(|item| !self.is_plain(item, catalog)) {
            let at = columns.len();
            match (boolean(item), &item.form) {
                // It takes nothing but true and false.
                (Some(of_row), Form::Rows { .. }) => columns.push(format!("bool_and({of_row}) as \"c{at}\"")),
                (Some(of_table), _) => columns.push(format!("({of_table}) as \"c{at}\"")),
                (None, _) => {}
            }
        }
        let is_boolean = |data_type: &DataType| matches!(data_type, DataType::Boolean | DataType::Null);
        columns.len() > 1
            && engine
                .analyze(catalog, &format!("select {} from {}", columns.join(", "), self.from()))
                .is_ok_and(|typed| typed.schema.fields().iter().all(|field| is_boolean(field.data_type())))
    }

    /// The one SELECT that answers every row-wise rule and table expression in one scan: `rows`, then `c<i>` (rows that break
    /// row-wise check `i`), `t<i>` (whether table expression `i` holds), `s<i>` (what it compared, as text) and `m<i>` (what is measured).
    pub fn scan_sql(&self) -> String {
        self.scan_of(|_| true)
    }

    /// As [`CheckPlan::scan_sql`], of some of the checks.
    pub(crate) fn scan_of(&self, wanted: impl Fn(&Item) -> bool) -> String {
        let mut columns = vec!["count(*) as \"rows\"".to_string()];
        for (i, item) in self.items.iter().enumerate().filter(|(_, item)| wanted(item)) {
            match &item.form {
                Form::Rows { broken } => columns.push(format!("count(*) filter (where {broken}) as \"c{i}\"")),
                Form::Table { holds, shown } => {
                    columns.push(format!("({holds}) as \"t{i}\""));
                    if let Some((_, value)) = shown {
                        columns.push(format!("cast({value} as text) as \"s{i}\""));
                    }
                }
                Form::Measured { measure: Measure::Statistic(Statistic::RowCount), .. } => {}
                Form::Measured { aggregate, .. } => columns.push(format!("{aggregate} as \"m{i}\"")),
                Form::Unique { .. } | Form::References { .. } | Form::Custom { .. } => {}
            }
        }
        format!("select {}\nfrom {}", columns.join(",\n  "), self.from())
    }

    /// The SELECT of one number, how many rows break the check, for a check that the scan cannot answer.
    pub(crate) fn count_sql(&self, item: &Item) -> Option<String> {
        Some(match &item.form {
            Form::Rows { .. } | Form::Table { .. } | Form::Measured { .. } => return None,
            Form::Unique { columns } => {
                let key = sql::idents(columns.iter().map(String::as_str));
                format!(
                    "select coalesce(sum(\"n\" - 1), 0) as \"failed\" from (select count(*) as \"n\" from {} \
                     where {} group by {key} having count(*) > 1) as \"repeated\"",
                    self.from(),
                    all_present(columns),
                )
            }
            Form::References { column, table, other } => {
                format!("select count(*) as \"failed\" from {}", self.dangling(column, table, other))
            }
            Form::Custom { select } => format!("select count(*) as \"failed\" from ({select}) as \"broken\""),
        })
    }

    /// The SELECT of up to `limit` rows that break the check, in a fixed order; `None` for table expressions and custom SQL.
    pub(crate) fn sample_sql(&self, item: &Item, limit: usize) -> Option<String> {
        let (mine, columns) = (sql::ident(self.node.as_str()), self.columns(Some(self.node.as_str())));
        let order = self.order(Some(self.node.as_str()));
        Some(match &item.form {
            Form::Table { .. } | Form::Custom { .. } | Form::Measured { .. } => return None,
            Form::Rows { broken } => {
                format!("select {columns} from {} where {broken} order by {order} limit {limit}", self.from())
            }
            Form::Unique { columns: key } => {
                let (same, listed) = (
                    key.iter().map(|c| format!("{mine}.{0} = \"repeated\".{0}", sql::ident(c))),
                    sql::idents(key.iter().map(String::as_str)),
                );
                format!(
                    "select {columns} from {} join (select {listed} from {} where {} group by {listed} \
                     having count(*) > 1) as \"repeated\" on {} order by {}, {order} limit {limit}",
                    self.from(),
                    self.from(),
                    all_present(key),
                    same.collect::<Vec<_>>().join(" and "),
                    key.iter().map(|c| format!("{mine}.{}", sql::ident(c))).collect::<Vec<_>>().join(", "),
                )
            }
            Form::References { column, table, other } => {
                let rows = self.dangling(column, table, other);
                format!("select {columns} from {rows} order by {order} limit {limit}")
            }
        })
    }

    fn resolve(&self, check: &Check) -> Result<Form, Reports> {
        let mut reports = Reports::default();
        if check.on_fail == OnFail::Quarantine && matches!(check.rule, Rule::Table(_) | Rule::Custom(_)) {
            let message = format!("{} cannot send rows to quarantine", self.subject(check));
            reports.push(
                Report::error("invalid-check", message)
                    .at(self.place(check))
                    .note("only a rule about single rows, `unique` or `references` says which rows to remove"),
            );
        }
        let form = match &check.rule {
            Rule::Row(text) | Rule::Table(text) => self.resolve_expression(check, text, &mut reports),
            Rule::Custom(text) => Some(Form::Custom { select: enclosed(text) }),
            Rule::Freshness { column, .. } => self.resolve_freshness(check, column, &mut reports),
            Rule::Anomaly { statistic, column, .. } => {
                self.resolve_anomaly(check, *statistic, column.as_deref(), &mut reports)
            }
            rule => {
                for column in crate::checked_columns(rule) {
                    reports.0.extend(self.unknown_column(check, None, &column));
                }
                Some(match (rule, broken(rule)) {
                    (_, Some(broken)) => Form::Rows { broken },
                    (Rule::Unique(columns), None) => Form::Unique { columns: columns.clone() },
                    (Rule::References { column, table, other }, None) => {
                        Form::References { column: column.clone(), table: table.clone(), other: other.clone() }
                    }
                    (_, None) => unreachable!("expressions and custom SQL are matched above"),
                })
            }
        };
        match form {
            Some(form) if !reports.has_errors() => Ok(form),
            _ => Err(reports),
        }
    }

    fn resolve_freshness(&self, check: &Check, column: &str, reports: &mut Reports) -> Option<Form> {
        let Ok(field) = self.schema.field_with_name(column) else {
            reports.0.extend(self.unknown_column(check, None, column));
            return None;
        };
        if !matches!(field.data_type(), DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) {
            let found = pelton_query::types::name(field.data_type());
            let message = format!("{} needs a time or a date, and `{column}` is {found}", self.subject(check));
            reports.push(Report::error("type-mismatch", message).at(self.place_of_word(check, column)));
            return None;
        }
        let aggregate = format!("max({})", sql::ident(column));
        Some(Form::Measured { measure: Measure::Newest, column: Some(column.to_string()), aggregate })
    }

    fn resolve_anomaly(
        &self,
        check: &Check,
        statistic: Statistic,
        column: Option<&str>,
        reports: &mut Reports,
    ) -> Option<Form> {
        let measure = Measure::Statistic(statistic);
        let Some(column) = column else {
            return Some(Form::Measured { measure, column: None, aggregate: String::new() });
        };
        let Ok(field) = self.schema.field_with_name(column) else {
            reports.0.extend(self.unknown_column(check, None, column));
            return None;
        };
        let Some(aggregate) = aggregate(statistic, column, field.data_type()) else {
            let found = pelton_query::types::name(field.data_type());
            let what = statistic.as_str();
            let message = format!("{}: `{column}` is {found}, which has no `{what}`", self.subject(check));
            reports.push(Report::error("type-mismatch", message).at(self.place_of_word(check, column)));
            return None;
        };
        Some(Form::Measured { measure, column: Some(column.to_string()), aggregate })
    }

    fn resolve_expression(&self, check: &Check, text: &str, reports: &mut Reports) -> Option<Form> {
        let parsed = match expression::parse(text) {
            Ok(parsed) => parsed,
            Err(reason) => {
                let message = format!("{} is not an SQL expression: {reason}", self.subject(check));
                reports.push(Report::error("invalid-check", message).at(self.place(check)));
                return None;
            }
        };
        let mentions = expression::mentions(&parsed);
        if mentions.has_subquery {
            let message = format!("{} has a SELECT inside its expression", self.subject(check));
            reports.push(
                Report::error("invalid-check", message)
                    .at(self.place(check))
                    .hint("write the check as a SELECT of the rows that break it, or use `references(table.column)`"),
            );
            return None;
        }
        for (qualifier, column) in &mentions.columns {
            reports.0.extend(self.unknown_column(check, qualifier.as_deref(), column));
        }
        Some(match &check.rule {
            Rule::Row(_) => Form::Rows { broken: broken(&check.rule).expect("a row-wise rule has its SQL") },
            _ => {
                let shown = expression::compared(&parsed)
                    .map(|side| (side.to_string(), expression::table_expression(side.clone()).to_string()));
                Form::Table { holds: expression::table_expression(parsed).to_string(), shown }
            }
        })
    }

    fn unknown_column(&self, check: &Check, qualifier: Option<&str>, column: &str) -> Option<Report> {
        // `orders.amount` is a column of the node itself; any other `a.b` is a field of the struct column `a`.
        let own = |name: &str| name == self.node.as_str();
        let name = match qualifier {
            Some(first) if !own(first) || self.schema.field_with_name(first).is_ok() => first,
            _ => column,
        };
        if self.schema.field_with_name(name).is_ok() {
            return None;
        }
        let known = || self.schema.fields().iter().map(|field| field.name().as_str());
        let message = format!("{} `{}` has no column `{name}`", self.kind, self.node);
        let report =
            Report::error("unknown-column", message).at(self.place_of_word(check, name)).suggest(name, known());
        Some(report.note(format!("columns: {}", known().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", "))))
    }

    /// "check `x` of table `orders`"
    pub(crate) fn subject(&self, check: &Check) -> String {
        format!("check `{}` of {} `{}`", check.name, self.kind, self.node)
    }

    /// Where the check is written.
    pub(crate) fn place(&self, check: &Check) -> Place {
        Place::in_text(&self.file, &self.text, check.span.0, check.span.1)
    }

    /// Where `word` stands inside the check; the whole check when it does not.
    fn place_of_word(&self, check: &Check, word: &str) -> Place {
        let (start, end) = check.span;
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let written = self.text.get(start..end).unwrap_or_default();
        let found = written.match_indices(word).map(|(at, _)| at).find(|at| {
            let (before, after) = (&written[..*at], &written[at + word.len()..]);
            !before.ends_with(is_part) && !after.starts_with(is_part)
        });
        match found {
            Some(at) => Place::in_text(&self.file, &self.text, start + at, start + at + word.len()),
            None => self.place(check),
        }
    }

    /// The report of an engine's refusal to answer a check.
    pub(crate) fn refusal(&self, item: &Item, error: &QueryError) -> Report {
        let place = match error {
            QueryError::UnknownColumn { name, .. } => self.place_of_word(&item.check, name),
            QueryError::UnknownFunction { name, .. } | QueryError::UnknownTable { name } => {
                self.place_of_word(&item.check, name)
            }
            _ => self.place(&item.check),
        };
        error.report(&self.subject(&item.check)).at(place)
    }

    /// A SELECT whose first column has the type that the rule has.
    fn typing_sql(&self, item: &Item) -> String {
        match boolean(item) {
            Some(expression) => format!("select ({expression}) as \"holds\" from {}", self.from()),
            None => self.count_sql(item).expect("the other forms have a count of their own"),
        }
    }

    /// The checked rows, under the node's own name, so that a rule may qualify its columns.
    pub(crate) fn from(&self) -> String {
        format!("{} as {}", sql::ident(STAGED), sql::ident(self.node.as_str()))
    }

    /// The rows whose value is not in the other table.
    fn dangling(&self, column: &str, table: &NodeName, other: &str) -> String {
        let value = format!("{}.{}", sql::ident(self.node.as_str()), sql::ident(column));
        format!(
            "{} where {value} is not null and not exists (select 1 from {} as \"pelton_other\" \
             where \"pelton_other\".{} = {value})",
            self.from(),
            sql::dotted(table.as_str()),
            sql::ident(other),
        )
    }

    /// All columns, qualified.
    pub(crate) fn columns(&self, qualifier: Option<&str>) -> String {
        list(self.schema.fields().iter().map(|field| field.name().as_str()), qualifier)
    }

    /// A total order of the rows: the key's columns, then all others.
    pub(crate) fn order(&self, qualifier: Option<&str>) -> String {
        let others = self.schema.fields().iter().map(|field| field.name()).filter(|name| !self.key.contains(name));
        list(self.key.iter().chain(others).map(String::as_str), qualifier)
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>, qualifier: Option<&str>) -> String {
    let prefix = qualifier.map_or_else(String::new, |name| format!("{}.", sql::ident(name)));
    names.map(|name| format!("{prefix}{}", sql::ident(name))).collect::<Vec<_>>().join(", ")
}

/// True for rows that have a value in every column.
pub(crate) fn all_present(columns: &[String]) -> String {
    columns.iter().map(|column| format!("{} is not null", sql::ident(column))).collect::<Vec<_>>().join(" and ")
}

/// What of a rule must be true or false, when it is an expression.
fn boolean(item: &Item) -> Option<String> {
    Some(match (&item.form, &item.check.rule) {
        (Form::Rows { .. }, Rule::Row(text)) => enclosed(text),
        (Form::Rows { broken }, _) => broken.clone(),
        (Form::Table { holds, .. }, _) => holds.clone(),
        _ => return None,
    })
}

impl Item {
    /// Whether rows that break it go to quarantine.
    pub(crate) fn removes(&self) -> bool {
        self.check.on_fail == OnFail::Quarantine
    }
}
