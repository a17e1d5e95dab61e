//! The engine's errors in the user's words. Everything that leaves this crate went through here.

use crate::mistake::{ASKED, CORRELATED};
use arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError, Span};
use pelton_query::QueryError;
use sqlparser::parser::ParserError;
use std::collections::HashSet;

/// Translates an error of the query engine.
pub(crate) fn translate(error: DataFusionError) -> QueryError {
    translate_at(error, None)
}

type At = Option<(usize, usize)>;

fn translate_at(error: DataFusionError, at: At) -> QueryError {
    match error {
        DataFusionError::Context(_, inner) => translate_at(*inner, at),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let found = diagnostic.span.and_then(place);
            translate_at(*inner, found.or(at))
        }
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => translate_at(first, at),
            None => QueryError::Internal { message: "the engine failed without a reason".into() },
        },
        DataFusionError::Shared(inner) => match std::sync::Arc::try_unwrap(inner) {
            Ok(inner) => translate_at(inner, at),
            Err(inner) => shared(&inner, at),
        },
        DataFusionError::External(inner) => match inner.downcast::<QueryError>() {
            Ok(ours) => *ours,
            Err(other) => match other.downcast::<DataFusionError>() {
                Ok(inner) => translate_at(*inner, at),
                Err(other) => by_text(&other.to_string(), at),
            },
        },
        DataFusionError::SchemaError(error, _) => schema(*error, at),
        DataFusionError::SQL(error, _) => syntax(&error),
        DataFusionError::ArrowError(error, _) => arrow(*error, at),
        DataFusionError::ParquetError(error) => unreadable(&error.to_string()),
        DataFusionError::ObjectStore(error) => storage(&error),
        DataFusionError::IoError(error) => io(&error),
        DataFusionError::ResourcesExhausted(message) => exhausted(&message),
        DataFusionError::NotImplemented(message) => unsupported(&message),
        DataFusionError::Plan(message) => by_text(&message, at),
        DataFusionError::Execution(message) => QueryError::Value { message: clean(&message) },
        DataFusionError::Internal(message) => by_text(&message, at),
        other => by_text(&other.to_string(), at),
    }
}

/// An error that several parts of a query have: it cannot be taken apart, and is told as where one alone has it.
fn shared(error: &DataFusionError, at: At) -> QueryError {
    match error.find_root() {
        DataFusionError::Execution(message) => QueryError::Value { message: clean(message) },
        DataFusionError::ResourcesExhausted(message) => exhausted(message),
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => arrow(ArrowError::DivideByZero, at),
            ArrowError::CastError(_) | ArrowError::ArithmeticOverflow(_) | ArrowError::ComputeError(_) => {
                QueryError::Value { message: clean(&error.to_string()) }
            }
            other => by_text(&other.to_string(), at),
        },
        other => by_text(&other.to_string(), at),
    }
}

fn place(span: Span) -> At {
    (span.start.line > 0).then_some((span.start.line as usize, span.start.column as usize))
}

/// An error of the SQL parser; its text ends in `at Line: 1, Column: 8`.
pub(crate) fn syntax(error: &ParserError) -> QueryError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => "the SQL is nested too deeply".to_string(),
    };
    let (message, at) = match text.rsplit_once(" at Line: ") {
        Some((message, rest)) => {
            let mut numbers = rest.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
            (message.to_string(), numbers.next().zip(numbers.next()))
        }
        None => (text, None),
    };
    QueryError::Syntax { message: message.replace("Expected: ", "expected ").replace(", found: ", ", found "), at }
}

fn schema(error: SchemaError, at: At) -> QueryError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let table = field.relation.as_ref().map(|table| table.table().to_string());
            let at = at.or_else(|| field.spans.first().and_then(place));
            if let Some(message) = table.as_ref().and_then(|table| no_table(table, &valid_fields)) {
                return QueryError::Type { message, at };
            }
            let mut known: Vec<String> = valid_fields
                .iter()
                .filter(|valid| field.relation.is_none() || valid.relation == field.relation)
                .map(|valid| valid.name.clone())
                .collect();
            let mut met = HashSet::new();
            known.retain(|name| met.insert(name.clone()));
            QueryError::UnknownColumn { name: field.name.clone(), table, known, at }
        }
        // The result has it twice, by itself and as a column of a table.
        SchemaError::AmbiguousReference { field } if field.relation.is_some() => {
            QueryError::Type { message: same_columns(&field.name), at }
        }
        SchemaError::AmbiguousReference { field } => QueryError::Type {
            message: format!("column `{}` is in more than one of the tables; write TABLE.{}", field.name, field.name),
            at: at.or_else(|| field.spans.first().and_then(place)),
        },
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            QueryError::Type { message: same_columns(&name), at }
        }
    }
}

fn same_columns(name: &str) -> String {
    format!("two columns are called `{name}`; name one of them with AS")
}

/// Of a qualifier that none of the tables has, which ones there are.
fn no_table(qualifier: &str, columns: &[Column]) -> Option<String> {
    let mut names: Vec<&str> = columns.iter().filter_map(|column| Some(column.relation.as_ref()?.table())).collect();
    let mut met = HashSet::new();
    names.retain(|name| met.insert(*name));
    if names.is_empty() || names.contains(&qualifier) {
        return None;
    }
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    Some(format!("no table is called `{qualifier}` here; there is {}", names.join(", ")))
}

fn arrow(error: ArrowError, at: At) -> QueryError {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
            Ok(inner) => translate_at(*inner, at),
            Err(other) => by_text(&other.to_string(), at),
        },
        ArrowError::DivideByZero => QueryError::Value { message: "division by zero; write `x / nullif(y, 0)`".into() },
        ArrowError::IoError(_, error) => io(&error),
        ArrowError::ParquetError(message) => unreadable(&message),
        ArrowError::SchemaError(message) => QueryError::Type { message: clean(&message), at },
        ArrowError::NotYetImplemented(message) => unsupported(&message),
        other => QueryError::Value { message: clean(&other.to_string()) },
    }
}

/// An error of the object store.
pub(crate) fn storage(error: &object_store::Error) -> QueryError {
    match error {
        object_store::Error::NotFound { path, .. } => {
            QueryError::Damaged { message: format!("the data file {path} is missing") }
        }
        other => {
            // What the operating system said stands below the words of the store.
            let mut cause = std::error::Error::source(other);
            while let Some(error) = cause {
                if let Some(error) = error.downcast_ref::<std::io::Error>() {
                    return io(error);
                }
                cause = error.source();
            }
            QueryError::Storage { message: "the storage did not answer as it should".into() }
        }
    }
}

/// An error of the operating system.
pub(crate) fn io(error: &std::io::Error) -> QueryError {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => QueryError::DiskFull,
        kind => QueryError::Storage { message: kind.to_string() },
    }
}

/// What the engine says in words only.
fn by_text(text: &str, at: At) -> QueryError {
    let text = text
        .trim_start_matches("Error during planning: ")
        .trim_start_matches("External error: ")
        .trim_start_matches("Execution error: ");
    if let Some(rest) = text.strip_prefix("Invalid function '") {
        let (name, rest) = rest.split_once('\'').unwrap_or((rest, ""));
        if OVER_A_WINDOW.contains(&name) {
            return QueryError::Type { message: format!("`{name}` needs a window: `{name}(...) over (...)`"), at };
        }
        let suggestion = rest.split_once("Did you mean '").and_then(|(_, rest)| rest.split_once('\''));
        let suggestion =
            suggestion.and_then(|(word, _)| pelton_base::suggest::did_you_mean(name, [word])).map(str::to_string);
        return QueryError::UnknownFunction { name: name.to_string(), suggestion };
    }
    if let Some((_, reason)) = text.split_once("user-defined coercion failed with: ") {
        // What follows calls a model by the name of its function.
        let reason = reason.split(" No function matches").next().unwrap_or_default();
        return QueryError::Type { message: no_signature(reason).unwrap_or_else(|| clean(reason)), at };
    }
    let known =
        [refused_arguments, no_signature, same_name, no_operation, no_condition, no_common_type, other_sides, no_range];
    if let Some(message) = known.iter().find_map(|translated| translated(text)) {
        return QueryError::Type { message, at };
    }
    if text.contains("No space left") {
        return QueryError::DiskFull;
    }
    // A join's sides share the error of the side that failed, which then is text only.
    if text.contains("Resources exhausted") {
        return exhausted(text);
    }
    if text.contains("not found") && text.contains("Object at location") {
        return QueryError::Damaged { message: clean(text) };
    }
    if text.contains(OF_A_CONDITION) || text.contains("Parquet error") || text.contains("Parquet file") {
        return unreadable(text);
    }
    if ["This feature is not implemented", "not supported", "does not support"]
        .iter()
        .any(|theirs| text.contains(theirs))
    {
        return unsupported(text);
    }
    QueryError::Type { message: without_structures(&clean(text)), at }
}

/// What stands before an error of a condition that the reader of a file applies to its rows.
const OF_A_CONDITION: &str = "Error evaluating filter predicate: ";

/// What the reader of a file says: the file is damaged, or a condition that it applies to the rows has failed. Of that it gives the
/// structure of the error, in which the first text is the message: `ArrowError(CastError("Cannot cast ..."), None)`.
fn unreadable(text: &str) -> QueryError {
    let Some((_, error)) = text.split_once(OF_A_CONDITION) else { return QueryError::Damaged { message: clean(text) } };
    if error.starts_with("ArrowError(DivideByZero") {
        return arrow(ArrowError::DivideByZero, None);
    }
    let mut message = String::new();
    let mut chars = error.chars().skip_while(|c| *c != '"').skip(1);
    while let Some(c) = chars.next().filter(|c| *c != '"') {
        match c {
            '\\' => message.extend(chars.next().map(|c| if c == 'n' { '\n' } else { c })),
            c => message.push(c),
        }
    }
    match error.starts_with("ResourcesExhausted") {
        true => exhausted(&message),
        false => QueryError::Value { message: clean(&message) },
    }
}

/// Functions that are called over a window only.
const OVER_A_WINDOW: [&str; 11] = [
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// An argument that no signature of a function takes: `Function 'sum' failed to match any signature, errors: ... Function 'sum' requires
/// Decimal, but received String (DataType: Utf8).,Error ...`.
fn no_signature(text: &str) -> Option<String> {
    let (before, errors) = text.split_once("' failed to match any signature")?;
    let name = before.rsplit('\'').next()?;
    let (_, given) = errors.split_once("(DataType: ")?;
    let (given, _) = given.split_once(").")?;
    Some(format!("`{name}` does not take {}", clean(given)))
}

/// What the engine cannot run. It prints its own structures, which say nothing to who wrote the SQL.
fn unsupported(text: &str) -> QueryError {
    let known = [
        ("ast node Pivot", "PIVOT cannot be run; write `sum(x) filter (where k = 'a') as a` for each column"),
        ("ast node Unpivot", "UNPIVOT cannot be run; write a SELECT for each column, and `union all` between them"),
        ("logical expression ScalarSubquery", CORRELATED),
        ("logical expression OuterReferenceColumn", CORRELATED),
        ("logical expression InSubquery", ASKED),
        ("logical expression Exists", ASKED),
    ];
    if let Some((_, message)) = known.iter().find(|(theirs, _)| text.contains(theirs)) {
        return QueryError::Unsupported { message: (*message).to_string() };
    }
    // `unsupported ast node MatchRecognize { table: Table { ...`
    let message = clean(text);
    let message = match message.split_once(" ast node ") {
        Some((before, node)) => format!("{before} {}", node.split(" { ").next().unwrap_or_default()),
        None => without_structures(&message),
    };
    QueryError::Unsupported { message }
}

/// The words before what the engine prints of its own: `unsupported JOIN operator CrossApply(Constraint...`, `extract not supported by
/// ExprPlanner: RawExtract { ...`.
fn without_structures(message: &str) -> String {
    const THEIRS: [&str; 5] = ["Ident {", "quote_style", "span: ", "ObjectName(", "Expr("];
    if let Some((what, _)) = message.split_once(" not supported by ExprPlanner") {
        return format!("{what} cannot be run on such values");
    }
    if !THEIRS.iter().any(|theirs| message.contains(theirs)) {
        return message.to_string();
    }
    let words = message.split(['{', '(', '[']).next().unwrap_or_default();
    words.trim_end_matches([' ', ':', ',']).to_string()
}

/// Columns of one name: `Projections require unique expression names but the expression "x AS a" at position 0 and "y AS a" at position 1 ...`.
fn same_name(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("require unique expression names but the expression ")?;
    let mut places = rest.split(" at position ").skip(1).filter_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().ok()
    });
    let (first, second) = (places.next()? + 1, places.next()? + 1);
    Some(format!("columns {first} and {second} have the same name; name one of them with AS"))
}

/// Arguments of other types than a function takes: `Failed to coerce arguments to satisfy a call to 'f' function: coercion from Utf8 to
/// the signature Exact(Float64) failed`, or `OneOf(Exact(..), ..)`.
fn refused_arguments(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("coerce arguments to satisfy a call to '")?;
    let (name, rest) = rest.split_once("' function: coercion from ")?;
    let (given, rest) = rest.split_once(" to the signature ")?;
    Some(match rest.strip_prefix("Exact(").and_then(|rest| rest.split_once(") failed")) {
        Some((taken, _)) => format!("{name} takes {}, not {}", clean(taken), clean(given)),
        None => format!("`{name}` does not take {}", clean(given)),
    })
}

/// Operands that an operator has no result for: `Cannot get result type for temporal operation Interval(MonthDayNano) * Int64: Invalid ...`,
/// `Cannot coerce arithmetic expression Float32 + Utf8 to valid types`.
fn no_operation(text: &str) -> Option<String> {
    let of_types = || text.split_once("Cannot get result type for ")?.1.split_once(" operation ")?.1.split(": ").next();
    let of_sides = || {
        text.split_once("Cannot coerce arithmetic expression ")?.1.split_once(" to valid types").map(|found| found.0)
    };
    of_types().or_else(of_sides).map(|operation| format!("`{}` has no result", clean(operation)))
}

/// Values of types that have none in common: `Fail to find the coerced type, errors: Execution error: Expect to get struct but got timestamp`.
fn no_common_type(text: &str) -> Option<String> {
    text.contains("ail to find the coerced type").then(|| {
        "its values have no type in common; cast them to one, as `coalesce(at, timestamp '2026-01-31')`".to_string()
    })
}

/// A condition that is neither true nor false: `Cannot create filter with non-boolean predicate 'o.name' returning Utf8`.
fn no_condition(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("Cannot create filter with non-boolean predicate '")?;
    let (condition, found) = rest.rsplit_once("' returning ")?;
    Some(format!("a condition is true or false, and {} is {}", clean(condition), clean(found)))
}

/// Sides of a union that do not go together: `Incompatible inputs for Union: Previous inputs were of type Int64, but got incompatible type
/// Utf8 on column 'a'`.
fn other_sides(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("Incompatible inputs for Union: Previous inputs were of type ")?;
    let (before, rest) = rest.split_once(", but got incompatible type ")?;
    let (found, column) = rest.split_once(" on column '")?;
    let (before, found, column) = (clean(before), clean(found), column.trim_end_matches(['\'', '.']));
    Some(format!("the sides of the union differ in column `{column}`: {before} and {found}; cast one of them"))
}

/// A frame by distance over several keys.
fn no_range(text: &str) -> Option<String> {
    text.contains("RANGE requires exactly one ORDER BY column").then(|| {
        "a frame of `range` with a distance goes by one column: leave one after ORDER BY, or write `rows`".to_string()
    })
}

/// Who asked for more memory than there was. The engine names it: `... allocation failed for HashJoinInput[0] with ...`.
fn exhausted(text: &str) -> QueryError {
    const WHO: [(&str, &str); 7] = [
        ("Join", "a join"),
        ("SMJ", "a join"),
        ("Sort", "a sort"),
        ("TopK", "a sort"),
        ("Aggregate", "an aggregation"),
        ("Recursive", "a recursive query"),
        ("Repartition", "the exchange of rows between threads"),
    ];
    let name = text.split_once("llocation failed for ").or_else(|| text.split_once(" for "));
    let name = name.map_or("", |(_, rest)| rest.split_whitespace().next().unwrap_or_default());
    let who = WHO.iter().find(|(theirs, _)| name.contains(theirs)).map_or("a part of it", |(_, ours)| ours);
    QueryError::Memory { message: who.to_string() }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_string()
}

/// Takes the engine's own words out of a message: type names become Pelton's, prefixes go, the first letter is lower case.
fn clean(text: &str) -> String {
    const TYPES: [(&str, &str); 21] = [
        ("Interval(MonthDayNano)", "interval"),
        ("LargeUtf8", "text"),
        ("Utf8View", "text"),
        ("Utf8", "text"),
        ("UInt8", "smallint"),
        ("UInt16", "int"),
        ("UInt32", "bigint"),
        ("UInt64", "bigint"),
        ("Int8", "tinyint"),
        ("Int16", "smallint"),
        ("Int32", "int"),
        ("Int64", "bigint"),
        ("Float32", "real"),
        ("Float64", "double"),
        ("Boolean", "boolean"),
        ("Date32", "date"),
        ("Decimal128", "decimal"),
        ("Timestamp(µs, \"UTC\")", "timestamp"),
        ("Timestamp(ns)", "timestamp"),
        ("Timestamp(µs)", "timestamp"),
        ("Timestamp(ns, \"UTC\")", "timestamp"),
    ];
    const PREFIXES: [&str; 8] = [
        "Error during planning: ",
        "This feature is not implemented: ",
        "Arrow error: ",
        "Execution error: ",
        "External error: ",
        "Cast error: ",
        "Compute error: ",
        "Parquet error: ",
    ];
    let mut text = first_line(text);
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.to_string();
    }
    for (theirs, ours) in TYPES {
        text = text.replace(&format!("{theirs}Array"), ours).replace(theirs, ours);
    }
    let text = text.replace("DataFusion", "the engine");
    let text = text.trim_end_matches('.');
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if chars.clone().next().is_none_or(|second| !second.is_uppercase()) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operating_system_said_is_found_below_the_words_of_a_store() {
        let of = |code: i32| {
            let source = Box::new(std::io::Error::from_raw_os_error(code));
            storage(&object_store::Error::Generic { store: "local", source })
        };
        const FULL: i32 = 28;
        const REFUSED: i32 = 13;
        assert!(matches!(of(FULL), QueryError::DiskFull));
        assert_eq!(of(REFUSED).to_string(), "permission denied");
    }

    #[test]
    fn what_cannot_be_run_is_said_without_structures() {
        let of = |text: &str| translate(DataFusionError::NotImplemented(text.into())).to_string();
        assert!(
            of("Unsupported ast node Pivot { table: Table { name: ObjectName([]) } }")
                .starts_with("PIVOT cannot be run")
        );
        assert_eq!(of("Unsupported ast node MatchRecognize { table: Table { } }"), "unsupported MatchRecognize");
        assert_eq!(of("Physical plan does not support logical expression ScalarSubquery(<subquery>)"), CORRELATED);
        assert_eq!(of("operator ->> is not yet supported"), "operator ->> is not yet supported");
        assert_eq!(
            of("Unsupported JOIN operator CrossApply(Table { name: ObjectName([]) })"),
            "unsupported JOIN operator CrossApply"
        );
        assert_eq!(
            of("Extract not supported by ExprPlanner: [Alias(Alias { expr: Column(x) })]"),
            "extract cannot be run on such values"
        );
        let planned = |text: &str| translate(DataFusionError::Plan(text.into())).to_string();
        assert_eq!(
            planned("Unsupported compound identifier: [Ident { value: \"a\", quote_style: None }]"),
            "unsupported compound identifier"
        );
        assert_eq!(planned("Physical plan does not support logical expression Exists(Exists { x })"), ASKED);
        assert_eq!(planned("cannot compare struct<a int> (a row)"), "cannot compare struct<a int> (a row)");
    }

    #[test]
    fn what_has_no_type_is_said_in_our_words() {
        let planned = |text: &str| translate(DataFusionError::Plan(text.into())).to_string();
        for (theirs, ours) in [
            (
                "Cannot get result type for temporal operation Interval(MonthDayNano) * Int64: Invalid argument error: x",
                "`interval * bigint` has no result",
            ),
            ("Cannot coerce arithmetic expression Float32 + Utf8 to valid types", "`real + text` has no result"),
            (
                "Cannot create filter with non-boolean predicate 'o.name' returning Utf8",
                "a condition is true or false, and o.name is text",
            ),
            (
                "Fail to find the coerced type, errors: Execution error: Expect to get struct but got Timestamp(µs, \"UTC\")",
                "its values have no type in common; cast them to one, as `coalesce(at, timestamp '2026-01-31')`",
            ),
            (
                "Incompatible inputs for Union: Previous inputs were of type Int64, but got incompatible type Utf8 on column 'a'",
                "the sides of the union differ in column `a`: bigint and text; cast one of them",
            ),
            (
                "Failed to coerce arguments to satisfy a call to 'f' function: coercion from Int64, Utf8 to the signature \
                 OneOf([Exact([Date32, Utf8])]) failed",
                "`f` does not take bigint, text",
            ),
        ] {
            assert_eq!(planned(theirs), ours);
        }
    }

    #[test]
    fn a_condition_that_fails_in_the_reader_of_a_file_is_no_damage() {
        let of = |error: DataFusionError| {
            let text = format!("Arrow: Compute error: {OF_A_CONDITION}{error:?}");
            translate(DataFusionError::ParquetError(Box::new(parquet::errors::ParquetError::ArrowError(text))))
        };
        let cast = ArrowError::CastError("Cannot cast string 'a \"b\"' to value of Int64 type".into());
        let error = of(DataFusionError::ArrowError(Box::new(cast), None));
        assert!(matches!(error, QueryError::Value { .. }));
        assert_eq!(error.to_string(), "cannot cast string 'a \"b\"' to value of bigint type");
        let error = of(DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None));
        assert_eq!(error.to_string(), "division by zero; write `x / nullif(y, 0)`");
        let memory = DataFusionError::ResourcesExhausted("Failed to allocate for HashJoinInput".into());
        assert!(matches!(of(memory), QueryError::Memory { .. }));
        let ours = DataFusionError::External(Box::new(QueryError::Value { message: "5 is too large".into() }));
        assert_eq!(of(ours).to_string(), "5 is too large");
        let damage = parquet::errors::ParquetError::General("Invalid thrift".into());
        assert!(matches!(translate(DataFusionError::ParquetError(Box::new(damage))), QueryError::Damaged { .. }));
    }

    #[test]
    fn an_error_that_is_shared_is_the_same_error() {
        let of = |error: DataFusionError| {
            let error = std::sync::Arc::new(error);
            let _other = error.clone();
            translate(DataFusionError::Shared(error))
        };
        let zero = of(DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None));
        assert_eq!(zero.to_string(), "division by zero; write `x / nullif(y, 0)`");
        let cast = ArrowError::CastError("Cannot cast string 'a' to value of Int64 type".into());
        let cast = of(DataFusionError::ArrowError(Box::new(cast), None).context("a part"));
        assert!(
            matches!(&cast, QueryError::Value { message } if message == "cannot cast string 'a' to value of bigint type")
        );
        assert!(matches!(of(DataFusionError::Execution("timestamp 1 out of range".into())), QueryError::Value { .. }));
        assert!(matches!(of(DataFusionError::ResourcesExhausted("HashJoinInput".into())), QueryError::Memory { .. }));
    }

    #[test]
    fn who_ran_out_of_memory_is_said_in_our_words() {
        let of = |text: &str| translate(DataFusionError::ResourcesExhausted(text.into())).to_string();
        let pool = "Additional allocation failed for HashJoinInput[0] with top memory consumers (across reservations) as:\n...";
        assert_eq!(of(pool), "a join needs more memory than there is");
        let fair = "Failed to allocate additional 1.0 B for ExternalSorter[2] with 2000.0 B already allocated";
        assert_eq!(of(fair), "a sort needs more memory than there is");
        assert_eq!(of("something new"), "a part of it needs more memory than there is");
    }
}
