//! From SQL text to the syntax tree that is planned: one SELECT, with Pelton's additions turned into what the planner knows.
//!
//! `a ASOF JOIN b MATCH_CONDITION (m) ON e` becomes `a LEFT JOIN b ON e AND pelton_asof(m)`, which [`crate::asof::AsOfRule`] turns
//! into the as-of join once names and types are resolved. `predict(model, table)` becomes the SELECT that scores the table.

use pelton_query::{Predict, QueryError, sql};
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, Join,
    JoinConstraint, JoinOperator, ObjectName, Query, SelectFlavor, SelectItem, SetExpr, Spanned, Statement,
    TableFactor, VisitMut, VisitorMut, WildcardAdditionalOptions, visit_expressions_mut,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Span;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// The function that marks an as-of join's match condition between parsing and planning.
pub(crate) const MARKER: &str = "pelton_asof";

/// Parses one SELECT and rewrites Pelton's additions.
pub(crate) fn parse(text: &str, predicts: &BTreeMap<String, Predict>) -> Result<Statement, QueryError> {
    let mut statements = Parser::parse_sql(&GenericDialect {}, text).map_err(|error| crate::error::syntax(&error))?;
    let mut statement = match (statements.pop(), statements.is_empty()) {
        (Some(statement @ Statement::Query(_)), true) => statement,
        (None, _) => return Err(QueryError::Syntax { message: "there is no SELECT".into(), at: None }),
        _ => return Err(QueryError::Syntax { message: "only a single SELECT can be run".into(), at: None }),
    };
    if let Statement::Query(query) = &mut statement {
        select_all(&mut query.body);
        name_columns(&mut query.body);
    }
    if !may_have_additions(text) {
        return Ok(statement);
    }
    match statement.visit(&mut Additions { predicts }) {
        ControlFlow::Continue(()) => Ok(statement),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Whether a text has a word of what is ours, or a query that begins with FROM; most have none, and need not be walked through.
fn may_have_additions(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let is_first = |at: usize| text[..at].trim_ascii_end().ends_with('(');
    ["asof", "predict", "sample", "using", "natural"].iter().any(|word| text.contains(word))
        || text.match_indices("from").any(|(at, _)| is_first(at))
}

/// Gives a FROM without SELECT what it stands for: the planner takes it for a SELECT of nothing.
fn select_all(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) if select.flavor == SelectFlavor::FromFirstNoSelect => {
            select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
        }
        SetExpr::SetOperation { left, right, .. } => {
            select_all(left);
            select_all(right);
        }
        SetExpr::Query(query) => select_all(&mut query.body),
        _ => {}
    }
}

/// Gives a column without a name its text as its name: the planner's own has the planner's words, such as `Int64(1)`.
fn name_columns(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                let SelectItem::UnnamedExpr(expr) = item else { continue };
                if !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
                    let alias = Ident::with_quote('"', expr.to_string());
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                }
            }
        }
        SetExpr::SetOperation { left, .. } => name_columns(left),
        SetExpr::Query(query) => name_columns(&mut query.body),
        _ => {}
    }
}

struct Additions<'a> {
    predicts: &'a BTreeMap<String, Predict>,
}

impl VisitorMut for Additions<'_> {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<QueryError> {
        select_all(&mut query.body);
        rewrite_joins(&mut query.body)
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<QueryError> {
        match factor {
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                return unsupported("TABLESAMPLE cannot be run; filter on a hash of a key instead");
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                for join in &mut table_with_joins.joins {
                    rewrite_join(join)?;
                }
            }
            _ => {}
        }
        let TableFactor::Table { name, alias, args: Some(args), .. } = factor else {
            return ControlFlow::Continue(());
        };
        if name.to_string().to_lowercase() != "predict" {
            return ControlFlow::Continue(());
        }
        let names: Option<Vec<String>> = args.args.iter().map(name_of).collect();
        let names = names.unwrap_or_default();
        let [model, table] = names.as_slice() else {
            return unsupported("predict takes a model and a table: predict(model, table)");
        };
        let Some(predict) = self.predicts.get(model) else {
            return ControlFlow::Break(QueryError::UnknownTable { name: model.clone() });
        };
        let alias = match alias {
            Some(alias) => alias.to_string(),
            None => format!(" {}", sql::ident("predict")),
        };
        let text = format!("select * from ({}) {}", predict(&sql::dotted(table)), alias);
        let called_at = name.span();
        let parsed = Parser::parse_sql(&GenericDialect {}, &text).map_err(|error| crate::error::syntax(&error));
        match parsed.map(|mut statements| {
            stands_at(&mut statements, called_at);
            statements.pop()
        }) {
            Ok(Some(Statement::Query(query))) => match *query.body {
                SetExpr::Select(mut select) => {
                    *factor = select.from.remove(0).relation;
                    ControlFlow::Continue(())
                }
                _ => unsupported("predict's SELECT has an unexpected form"),
            },
            Ok(_) => unsupported("predict's SELECT has an unexpected form"),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// Gives every column in statements that nobody wrote the place of the call that they stand for.
fn stands_at(statements: &mut Vec<Statement>, at: Span) {
    let _ = visit_expressions_mut(statements, |expr: &mut Expr| {
        match expr {
            Expr::Identifier(ident) => ident.span = at,
            Expr::CompoundIdentifier(idents) => idents.iter_mut().for_each(|ident| ident.span = at),
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
}

fn unsupported(message: &str) -> ControlFlow<QueryError> {
    ControlFlow::Break(QueryError::Unsupported { message: message.to_string() })
}

fn name_of(arg: &FunctionArg) -> Option<String> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident))) => Some(fold(ident)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(idents))) => {
            Some(idents.iter().map(fold).collect::<Vec<_>>().join("."))
        }
        _ => None,
    }
}

/// SQL's case rule: unquoted names are lower case.
pub(crate) fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn rewrite_joins(body: &mut SetExpr) -> ControlFlow<QueryError> {
    match body {
        SetExpr::Select(select) => {
            for from in &mut select.from {
                for join in &mut from.joins {
                    rewrite_join(join)?;
                }
            }
            ControlFlow::Continue(())
        }
        SetExpr::SetOperation { left, right, .. } => {
            rewrite_joins(left)?;
            rewrite_joins(right)
        }
        _ => ControlFlow::Continue(()),
    }
}

fn rewrite_join(join: &mut Join) -> ControlFlow<QueryError> {
    if let JoinOperator::Right(on) | JoinOperator::RightOuter(on) | JoinOperator::FullOuter(on) = &join.join_operator
        && matches!(on, JoinConstraint::Using(_) | JoinConstraint::Natural)
    {
        // The planner takes the key from the left side, which has none for such a row.
        return unsupported(
            "a RIGHT or FULL JOIN with `using` or `natural` cannot be run; write ON l.id = r.id, and coalesce(l.id, r.id) as id",
        );
    }
    let JoinOperator::AsOf { match_condition, constraint } = &join.join_operator else {
        return ControlFlow::Continue(());
    };
    let marker = marker(match_condition.clone());
    let on = match constraint {
        JoinConstraint::On(on) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(on.clone()))),
            op: BinaryOperator::And,
            right: Box::new(marker),
        },
        JoinConstraint::None => marker,
        JoinConstraint::Using(_) | JoinConstraint::Natural => {
            return unsupported("ASOF JOIN names its keys with ON, for example ON l.customer_id = f.customer_id");
        }
    };
    join.join_operator = JoinOperator::LeftOuter(JoinConstraint::On(on));
    ControlFlow::Continue(())
}

fn marker(condition: Expr) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(MARKER)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(condition))],
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
