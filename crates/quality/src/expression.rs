//! SQL expressions as users write them: which columns they name, and the two functions that only checks know,
//! `row_count()` and `freshness(c)`.

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Visit, Visitor, VisitorMut,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};
use std::ops::ControlFlow;

/// Parses a text that must be one expression and nothing more.
pub(crate) fn parse(sql: &str) -> Result<Expr, String> {
    let words = |error: sqlparser::parser::ParserError| match error {
        sqlparser::parser::ParserError::ParserError(text) | sqlparser::parser::ParserError::TokenizerError(text) => {
            text.to_lowercase()
        }
        sqlparser::parser::ParserError::RecursionLimitExceeded => "it is nested too deeply".to_string(),
    };
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql).map_err(words)?;
    let expression = parser.parse_expr().map_err(words)?;
    match parser.peek_token().token {
        Token::EOF => Ok(expression),
        other => Err(format!("`{other}` was not expected")),
    }
}

/// Functions whose answer is the time.
const CLOCK_CALLS: [&str; 3] = ["freshness", "now", "today"];

/// The same, called without parentheses.
const CLOCK_WORDS: [&str; 5] = ["current_timestamp", "current_date", "current_time", "localtimestamp", "localtime"];

/// Whether a condition or a SELECT asks for the time.
pub(crate) fn reads_clock(sql: &str) -> bool {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return false };
    let tokens: Vec<&Token> = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    tokens.iter().enumerate().any(|(at, token)| {
        let Token::Word(word) = token else { return false };
        let is_one_of = |words: &[&str]| words.iter().any(|known| word.value.eq_ignore_ascii_case(known));
        let is_called = matches!(tokens.get(at + 1), Some(Token::LParen));
        word.quote_style.is_none() && (is_one_of(&CLOCK_WORDS) || is_called && is_one_of(&CLOCK_CALLS))
    })
}

/// What an expression mentions.
#[derive(Debug, Default)]
pub(crate) struct Mentions {
    /// Columns, each once, in order of mention: `(qualifier, name)`, folded as SQL folds unquoted names.
    pub columns: Vec<(Option<String>, String)>,
    /// Whether there is a SELECT inside.
    pub has_subquery: bool,
}

impl Visitor for Mentions {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        let column = match expression {
            Expr::Identifier(name) => (None, folded(name)),
            Expr::CompoundIdentifier(names) if names.len() >= 2 => (Some(folded(&names[0])), folded(&names[1])),
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                self.has_subquery = true;
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        if !self.columns.contains(&column) {
            self.columns.push(column);
        }
        ControlFlow::Continue(())
    }
}

/// What `expression` mentions.
pub(crate) fn mentions(expression: &Expr) -> Mentions {
    let mut found = Mentions::default();
    let _ = expression.visit(&mut found);
    found
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// A table expression in the engine's words, with `row_count()` and `freshness(c)` replaced.
///
/// Comparing a freshness is turned round, because the difference of two times and an interval are different things to the
/// engine, and comparing them would compare days with days and nanoseconds with nanoseconds:
/// `freshness(c) <= e` becomes `now() - e <= max(c)`.
pub(crate) fn table_expression(mut expression: Expr) -> Expr {
    let mut rewrite = Rewrite;
    let _ = sqlparser::ast::VisitMut::visit(&mut expression, &mut rewrite);
    expression
}

/// The two sides of the comparison that `expression` is, if it is one; results are shown with them.
pub(crate) fn compared(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::BinaryOp { left, op, .. } if is_comparison(op) => Some(left),
        Expr::Between { expr, .. } => Some(expr),
        Expr::Nested(inner) => compared(inner),
        _ => None,
    }
}

struct Rewrite;

impl VisitorMut for Rewrite {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let turned = match &*expression {
            Expr::BinaryOp { left, op, right } if is_comparison(op) => match (freshness(left), freshness(right)) {
                (Some(time), None) => Some(compare(ago(right), op.clone(), newest(time))),
                (None, Some(time)) => Some(compare(newest(time), op.clone(), ago(left))),
                _ => None,
            },
            Expr::Between { expr, negated, low, high } => freshness(expr).map(|time| Expr::Between {
                expr: Box::new(newest(time)),
                negated: *negated,
                low: Box::new(ago(high)),
                high: Box::new(ago(low)),
            }),
            _ => None,
        };
        if let Some(turned) = turned {
            *expression = turned;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = &*expression
            && arguments(function, "row_count").is_some_and(|arguments| arguments.is_empty())
        {
            *expression = built("count(*)");
        } else if let Some(time) = freshness(expression) {
            *expression = Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(built("now()")),
                op: BinaryOperator::Minus,
                right: Box::new(newest(time)),
            }));
        }
        ControlFlow::Continue(())
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn compare(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// `now() - (e)`
fn ago(interval: &Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(built("now()")),
        op: BinaryOperator::Minus,
        right: Box::new(Expr::Nested(Box::new(interval.clone()))),
    }))
}

/// `max(c)`
fn newest(time: &Expr) -> Expr {
    let mut call = built("max(x)");
    if let Expr::Function(function) = &mut call
        && let FunctionArguments::List(list) = &mut function.args
    {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(time.clone()))];
    }
    call
}

fn built(sql: &str) -> Expr {
    parse(sql).expect("our own expression parses")
}

/// The argument of `freshness(c)`.
fn freshness(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::Function(function) => match arguments(function, "freshness")?.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(time))] => Some(time),
            _ => None,
        },
        Expr::Nested(inner) => freshness(inner),
        _ => None,
    }
}

/// The arguments of a call of the function called `name`.
fn arguments<'a>(function: &'a Function, name: &str) -> Option<&'a Vec<FunctionArg>> {
    static NONE: Vec<FunctionArg> = Vec::new();
    let called = function.name.to_string();
    if !called.eq_ignore_ascii_case(name) {
        return None;
    }
    match &function.args {
        FunctionArguments::List(list) => Some(&list.args),
        FunctionArguments::None => Some(&NONE),
        FunctionArguments::Subquery(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(sql: &str) -> String {
        table_expression(parse(sql).unwrap()).to_string()
    }

    #[test]
    fn row_count_and_freshness_become_aggregates() {
        assert_eq!(rewritten("row_count() > 0"), "count(*) > 0");
        assert_eq!(rewritten("ROW_COUNT() between 1 and 9"), "count(*) BETWEEN 1 AND 9");
        assert_eq!(rewritten("sum(amount) / row_count() > 1"), "sum(amount) / count(*) > 1");
        assert_eq!(
            rewritten("freshness(loaded_at) <= interval '1 day'"),
            "(now() - (INTERVAL '1 day')) <= max(loaded_at)"
        );
        assert_eq!(
            rewritten("row_count() > 0 and interval '1 hour' > freshness(a)"),
            "count(*) > 0 AND max(a) > (now() - (INTERVAL '1 hour'))"
        );
        assert_eq!(
            rewritten("freshness(a) between interval '0 days' and interval '2 days'"),
            "max(a) BETWEEN (now() - (INTERVAL '2 days')) AND (now() - (INTERVAL '0 days'))"
        );
        assert_eq!(rewritten("freshness(a) is not null"), "(now() - max(a)) IS NOT NULL");
    }

    #[test]
    fn mentions_fold_unquoted_names_and_see_subqueries() {
        let found = mentions(&parse("Amount > 0 and \"Amount\" < 5 and orders.x in (1, amount)").unwrap());
        let names: Vec<_> = found.columns.iter().map(|(q, n)| (q.as_deref(), n.as_str())).collect();
        assert_eq!(names, [(None, "amount"), (None, "Amount"), (Some("orders"), "x")]);
        assert!(!found.has_subquery);
        assert!(mentions(&parse("a in (select b from c)").unwrap()).has_subquery);
    }

    #[test]
    fn only_one_whole_expression_parses() {
        assert!(parse("a > 0").is_ok());
        assert!(parse("a > 0) or (true").is_err());
        assert!(parse("a > 0; drop table x").is_err());
        assert!(parse("a >").is_err());
        assert!(parse("").is_err());
    }
}
