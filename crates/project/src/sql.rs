//! Reads SQL with the engine's own grammar: one query a file, the names that it reads and where they stand, its normal form.
//!
//! The grammar is sqlparser's generic dialect, because the engine parses with it: what is accepted here is what is accepted
//! there, and lines and columns agree. It takes `QUALIFY`, `ASOF JOIN ... MATCH_CONDITION`, `FILTER`, `LATERAL`, `::` and
//! `[1, 2]`. What the engine would parse and then ignore (`TABLESAMPLE`, `FOR UPDATE`, ...) is refused here.

use crate::toml::Span;
use crate::{ColumnOrder, columns};
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Query, Select as AstSelect, SetExpr,
    TableFactor, Visit, Visitor,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::{
    ALL_KEYWORDS, ALL_KEYWORDS_INDEX, Keyword, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_IDENTIFIER,
};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};
use std::ops::ControlFlow;

/// The most operators in a row (`a or b or c ...`) and the most queries in a row (`union`): the engine's stack grows with
/// either, and 1,000 leaves it most of its room.
pub const CHAIN_MAX: usize = 1_000;

/// A mistake in a SQL text, with the byte range in that text.
#[derive(Debug)]
pub(crate) struct SqlMistake {
    pub code: &'static str,
    pub message: String,
    pub span: Span,
    pub notes: Vec<String>,
}

impl SqlMistake {
    fn new(code: &'static str, message: impl Into<String>, span: Span) -> Self {
        SqlMistake { code, message: message.into(), span, notes: Vec::new() }
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// A query that was read.
#[derive(Debug)]
pub(crate) struct ParsedQuery {
    /// The query printed back: comments gone, spacing and keyword case the same however it was written.
    pub normal: String,
    /// The names that it reads.
    pub mentions: Vec<Mention>,
    /// What it does with the order of the columns that it reads.
    pub order: ColumnOrder,
    /// What the engine would not do.
    pub mistakes: Vec<SqlMistake>,
    /// Where the query ends: before a trailing `;` and comments.
    pub end: usize,
}

/// A name that a query reads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mention {
    /// The name, folded to lower case unless it is quoted, with its schema before a `.` if it has one.
    pub name: String,
    /// Where it stands in the SQL text.
    pub span: Span,
    /// Whether it is the model of `predict(model, table)`.
    pub is_model: bool,
}

/// An expression that was read.
#[derive(Debug, Default)]
pub(crate) struct ParsedExpression {
    /// The expression printed back.
    pub normal: String,
    /// An aggregate function that it calls.
    pub aggregate: Option<String>,
    /// A window function that it calls.
    pub window: Option<String>,
    /// Whether a query stands in it.
    pub has_query: bool,
    /// The function that the whole expression is one call of.
    pub call: Option<String>,
}

/// Reads a text that should be exactly one query.
pub(crate) fn parse_query(text: &str) -> Result<ParsedQuery, SqlMistake> {
    let lines = Lines::of(text);
    let mut tokens = tokenize(text, &lines)?;
    check_chains(&tokens, &lines)?;
    let is_word = |token: &TokenWithSpan| !matches!(token.token, Token::Whitespace(_) | Token::EOF);
    if let Some(header) = tokens.iter().find(|token| is_header(&token.token)) {
        let span = lines.span(header.span.start, header.span.start);
        return Err(SqlMistake::new(
            "invalid-toml",
            "a header stands after the beginning of the SELECT",
            (span.0, span.0 + 2),
        )
        .note("the header is the first thing in a file, and there is one"));
    }
    let Some(last) = tokens.iter().rposition(|token| is_word(token) && token.token != Token::SemiColon) else {
        return Err(SqlMistake::new("invalid-sql", "there is no SELECT", (0, 0)).note("a file holds one SELECT"));
    };
    let end_of_query = lines.offset(tokens[last].span.end);
    tokens.truncate(last + 1);
    let first = tokens.iter().find(|token| is_word(token)).cloned().expect("a word was found above");
    let begins_query = match &first.token {
        Token::Word(word) => {
            matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::FROM | Keyword::VALUES | Keyword::TABLE)
        }
        Token::LParen => true,
        _ => false,
    };
    if !begins_query {
        let span = lines.span(first.span.start, first.span.end);
        return Err(SqlMistake::new("invalid-sql", format!("a SELECT is expected, not `{}`", first.token), span)
            .note("a file holds one SELECT; what Pelton does with it stands in the header"));
    }
    let mut parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens);
    let query = parser.parse_query().map_err(|error| translate(error, &lines, end_of_query))?;
    let next = parser.peek_token();
    if next.token == Token::SemiColon {
        let span = lines.span(next.span.start, next.span.end);
        return Err(SqlMistake::new("invalid-sql", "there is more than one statement", span)
            .note("a file holds one SELECT; everything up to this `;` was read as it"));
    }
    if next.token != Token::EOF {
        let span = lines.span(next.span.start, next.span.end);
        return Err(SqlMistake::new(
            "invalid-sql",
            format!("the end of the SELECT is expected, not `{}`", next.token),
            span,
        ));
    }
    let mut reader = Reader { lines: &lines, scopes: Vec::new(), mentions: Vec::new(), mistakes: Vec::new() };
    let _ = query.visit(&mut reader);
    let Reader { mentions, mistakes, .. } = reader;
    let order = columns::order_in(&query);
    Ok(ParsedQuery { normal: query.to_string(), mentions, order, mistakes, end: end_of_query })
}

/// Reads a text that should be exactly one expression.
pub(crate) fn parse_expression(text: &str) -> Result<ParsedExpression, SqlMistake> {
    let lines = Lines::of(text);
    let tokens = tokenize(text, &lines)?;
    check_chains(&tokens, &lines)?;
    if tokens.iter().all(|token| matches!(token.token, Token::Whitespace(_) | Token::EOF)) {
        return Err(SqlMistake::new("invalid-sql", "there is no expression", (0, text.len())));
    }
    let mut parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens);
    let expression = parser.parse_expr().map_err(|error| translate(error, &lines, text.len()))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let span = lines.span(next.span.start, next.span.end);
        return Err(SqlMistake::new(
            "invalid-sql",
            format!("the end of the expression is expected, not `{}`", next.token),
            span,
        ));
    }
    let mut facts = ParsedExpression { normal: expression.to_string(), ..ParsedExpression::default() };
    if let Expr::Function(function) = &expression {
        facts.call = Some(function.name.to_string().to_ascii_lowercase());
    }
    let _ = expression.visit(&mut facts);
    Ok(facts)
}

/// Whether an expression is a literal: a number, a text, `true`, `null`, `date '...'`, `interval '...'`.
pub(crate) fn is_literal(text: &str) -> bool {
    let Ok(mut parser) = Parser::new(&GenericDialect {}).try_with_sql(text) else { return false };
    let Ok(expression) = parser.parse_expr() else { return false };
    let expression = match &expression {
        Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Minus, expr } => expr,
        other => other,
    };
    parser.peek_token().token == Token::EOF
        && matches!(expression, Expr::Value(_) | Expr::TypedString { .. } | Expr::Interval(_))
}

impl Visitor for ParsedExpression {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.has_query = true;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expression {
            let name = function.name.to_string().to_ascii_lowercase();
            if function.over.is_some() {
                self.window.get_or_insert(name);
            } else if is_aggregate(&name) {
                self.aggregate.get_or_insert(name);
            }
        }
        ControlFlow::Continue(())
    }
}

/// The engine's aggregate functions, and Pelton's two.
fn is_aggregate(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "row_count",
        "freshness",
        "count",
        "sum",
        "avg",
        "mean",
        "min",
        "max",
        "median",
        "array_agg",
        "string_agg",
        "bool_and",
        "bool_or",
        "bit_and",
        "bit_or",
        "bit_xor",
        "first_value",
        "last_value",
        "nth_value",
        "corr",
        "covar",
        "covar_pop",
        "covar_samp",
        "var",
        "var_pop",
        "var_samp",
        "var_population",
        "var_sample",
        "stddev",
        "stddev_pop",
        "stddev_samp",
        "approx_distinct",
        "approx_median",
        "approx_percentile_cont",
        "approx_percentile_cont_with_weight",
        "percentile_cont",
        "quantile_cont",
        "grouping",
    ];
    NAMES.contains(&name) || name.starts_with("regr_")
}

/// Walks a query and notes what it reads.
struct Reader<'a> {
    lines: &'a Lines<'a>,
    scopes: Vec<Scope>,
    mentions: Vec<Mention>,
    mistakes: Vec<SqlMistake>,
}

/// The names that a query's `WITH` defines, as far as they are in scope.
struct Scope {
    /// Addresses of the defining queries, which tell when a definition is complete.
    definitions: Vec<(*const Query, String, bool)>,
    /// How many of them are complete, and so in scope for what follows.
    complete: usize,
    /// The recursive definition under way, in scope for itself.
    recursive: bool,
}

impl Reader<'_> {
    fn is_defined(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| {
            let itself = usize::from(scope.recursive);
            scope.definitions.iter().take(scope.complete + itself).any(|(_, defined, _)| defined == name)
        })
    }

    fn refuse(&mut self, what: &str, span: Span) {
        let mistake = SqlMistake::new("unsupported-sql", format!("{what} is not supported"), span);
        self.mistakes.push(mistake.note("the engine would read it and then ignore it"));
    }

    fn name(&mut self, name: &ObjectName) -> Option<(String, Span)> {
        let mut parts: Vec<&Ident> = Vec::new();
        for part in &name.0 {
            match part {
                ObjectNamePart::Identifier(ident) => parts.push(ident),
                ObjectNamePart::Function(_) => return None,
            }
        }
        let (first, last) = (parts.first()?, parts.last()?);
        let span = self.lines.span(first.span.start, last.span.end);
        Some((parts.iter().map(|ident| folded(ident)).collect::<Vec<_>>().join("."), span))
    }

    fn mention(&mut self, name: String, span: Span, is_model: bool) {
        if is_model || !self.is_defined(&name) {
            self.mentions.push(Mention { name, span, is_model });
        }
    }

    /// Notes what `predict(model, table)` reads.
    fn predict(&mut self, arguments: &[FunctionArg], span: Span) {
        let names: Vec<Option<(String, Span)>> = arguments
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident))) => {
                    Some((folded(ident), self.lines.span(ident.span.start, ident.span.end)))
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(parts))) => {
                    let (first, last) = (parts.first()?, parts.last()?);
                    let name = parts.iter().map(folded).collect::<Vec<_>>().join(".");
                    Some((name, self.lines.span(first.span.start, last.span.end)))
                }
                _ => None,
            })
            .collect();
        match names.as_slice() {
            [Some(model), Some(table)] => {
                self.mention(model.0.clone(), model.1, true);
                self.mention(table.0.clone(), table.1, false);
            }
            _ => self.mistakes.push(
                SqlMistake::new("invalid-sql", "`predict` takes the name of a model and the name of a table", span)
                    .note("for example `select * from predict(fraud, new_payments)`"),
            ),
        }
    }
}

impl Visitor for Reader<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let (mut definitions, mut recursive) = (Vec::new(), false);
        if let Some(with) = &query.with {
            // As the engine has it: only a UNION can read itself.
            definitions.extend(with.cte_tables.iter().map(|cte| {
                let reads_itself = with.recursive && matches!(*cte.query.body, SetExpr::SetOperation { .. });
                (&raw const *cte.query, folded(&cte.alias.name), reads_itself)
            }));
            recursive = definitions.first().is_some_and(|(_, _, reads_itself)| *reads_itself);
        }
        self.scopes.push(Scope { definitions, complete: 0, recursive });
        let lines = self.lines;
        if !query.locks.is_empty() || query.for_clause.is_some() {
            self.refuse("a `FOR` clause", lines.query_start(query));
        }
        if query.settings.is_some() {
            self.refuse("`SETTINGS`", lines.query_start(query));
        }
        if query.format_clause.is_some() {
            self.refuse("`FORMAT`", lines.query_start(query));
        }
        match &*query.body {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                let start = lines.query_start(query);
                self.mistakes.push(SqlMistake::new(
                    "invalid-sql",
                    "a SELECT is expected, not a statement that writes",
                    start,
                ));
            }
            SetExpr::Table(_) => self.mistakes.push(
                SqlMistake::new("unsupported-sql", "`TABLE name` is not supported", lines.query_start(query))
                    .note("write `select * from name`"),
            ),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scopes.pop();
        if let Some(scope) = self.scopes.last_mut()
            && scope.definitions.get(scope.complete).is_some_and(|(definition, _, _)| std::ptr::eq(*definition, query))
        {
            scope.complete += 1;
            scope.recursive = scope.definitions.get(scope.complete).is_some_and(|(_, _, reads_itself)| *reads_itself);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &AstSelect) -> ControlFlow<()> {
        let span = select.select_token.0.span;
        let start = self.lines.span(span.start, span.end);
        for (what, is_there) in [
            ("`SELECT ... INTO`", select.into.is_some()),
            ("`PREWHERE`", select.prewhere.is_some()),
            ("`CONNECT BY`", !select.connect_by.is_empty()),
            ("`SELECT AS`", select.value_table_mode.is_some()),
        ] {
            if is_there {
                self.refuse(what, start);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table {
                name,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                ..
            } => {
                let Some((name, span)) = self.name(name) else { return ControlFlow::Continue(()) };
                for (what, is_there) in [
                    ("`TABLESAMPLE`", sample.is_some()),
                    ("a table hint", !with_hints.is_empty() || !index_hints.is_empty()),
                    ("reading a version of a table", version.is_some()),
                    ("`WITH ORDINALITY`", *with_ordinality),
                    ("`PARTITION`", !partitions.is_empty()),
                    ("a path after a table's name", json_path.is_some()),
                ] {
                    if is_there {
                        self.refuse(what, span);
                    }
                }
                match args {
                    None => self.mention(name, span, false),
                    Some(args) if name == "predict" => self.predict(&args.args, span),
                    // Other table functions are the engine's.
                    Some(_) => {}
                }
            }
            TableFactor::Function { name, args, .. } => {
                if let Some((name, span)) = self.name(name)
                    && name == "predict"
                {
                    self.predict(args, span);
                }
            }
            TableFactor::Derived { sample: Some(_), subquery, .. } => {
                let span = self.lines.query_start(subquery);
                self.refuse("`TABLESAMPLE`", span);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// A name as the engine sees it: lower case unless quoted.
fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

fn is_header(token: &Token) -> bool {
    let Token::Whitespace(Whitespace::MultiLineComment(comment)) = token else { return false };
    let Some(rest) = comment.trim_start().strip_prefix("pelton") else { return false };
    // A comment that merely begins with the word is no header: a header has a line break or a `=` or `[` to show for it.
    rest.starts_with(char::is_whitespace) && (rest.contains('=') || rest.trim_start().starts_with('['))
}

fn tokenize(text: &str, lines: &Lines) -> Result<Vec<TokenWithSpan>, SqlMistake> {
    Tokenizer::new(&GenericDialect {}, text).tokenize_with_location().map_err(|error| {
        mistake_at(&error.message, Some((error.location.line, error.location.column)), lines, text.len())
    })
}

/// Refuses chains of operators and of queries that would need too deep a stack.
fn check_chains(tokens: &[TokenWithSpan], lines: &Lines) -> Result<(), SqlMistake> {
    // (operators, queries) in a row, by depth of parentheses.
    let mut counts: Vec<(usize, usize)> = vec![(0, 0)];
    for token in tokens {
        let count = counts.last_mut().expect("the list is never empty");
        match &token.token {
            Token::LParen | Token::LBracket => counts.push((0, 0)),
            Token::RParen | Token::RBracket => {
                if counts.len() > 1 {
                    counts.pop();
                }
            }
            Token::Comma | Token::SemiColon => count.0 = 0,
            Token::Word(word) => match word.keyword {
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => *count = (0, count.1 + 1),
                Keyword::SELECT
                | Keyword::FROM
                | Keyword::JOIN
                | Keyword::ON
                | Keyword::WHERE
                | Keyword::WHEN
                | Keyword::THEN
                | Keyword::ELSE
                | Keyword::END => count.0 = 0,
                Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::IS | Keyword::LIKE => count.0 += 1,
                _ => {}
            },
            Token::Whitespace(_) | Token::EOF | Token::Number(..) | Token::SingleQuotedString(_) | Token::Period => {}
            _ => count.0 += 1,
        }
        let count = counts.last().expect("the list is never empty");
        if count.0 > CHAIN_MAX || count.1 > CHAIN_MAX {
            let span = lines.span(token.span.start, token.span.end);
            let what = if count.0 > CHAIN_MAX { "operators" } else { "queries" };
            return Err(SqlMistake::new("unsupported-sql", format!("more than {CHAIN_MAX} {what} in a row"), span)
                .note("use `in (...)`, or a table to join with"));
        }
    }
    Ok(())
}

/// Turns the parser's error into a mistake with a place; its words are put into ours.
fn translate(error: ParserError, lines: &Lines, end: usize) -> SqlMistake {
    match error {
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => {
            let mut place = None;
            let mut words = message.as_str();
            if let Some((before, after)) = message.rsplit_once(" at Line: ")
                && let Some((line, column)) = after.split_once(", Column: ")
                && let (Ok(line), Ok(column)) = (line.trim().parse(), column.trim().parse())
            {
                (place, words) = (Some((line, column)), before);
            }
            mistake_at(words, place, lines, end)
        }
        ParserError::RecursionLimitExceeded => {
            SqlMistake::new("unsupported-sql", "the SQL is nested too deeply", (0, 0))
                .note("move a part into a `WITH` or a table of its own")
        }
    }
}

fn mistake_at(words: &str, place: Option<(u64, u64)>, lines: &Lines, end: usize) -> SqlMistake {
    let at_end = words.ends_with("found: EOF") || place.is_none();
    let span = match place {
        Some((line, column)) if !at_end && line > 0 => {
            let start = lines.offset(Location { line, column });
            (start, start + word_length(&lines.text[start..]))
        }
        _ => (end, end),
    };
    let message = match words.strip_prefix("Expected: ").and_then(|rest| rest.rsplit_once(", found: ")) {
        Some((expected, "EOF")) => format!("the SQL breaks off: {} is expected", our_word(expected)),
        Some((expected, found)) => format!("{} is expected, not `{found}`", our_word(expected)),
        None => {
            let mut letters = words.trim().chars();
            letters.next().map(|first| first.to_lowercase().collect::<String>() + letters.as_str()).unwrap_or_default()
        }
    };
    SqlMistake::new("invalid-sql", message, span)
}

/// What the parser expects, in our words; signs and keywords in backticks.
fn our_word(expected: &str) -> String {
    match expected.strip_prefix("an ").or_else(|| expected.strip_prefix("a ")).unwrap_or(expected) {
        "identifier" => "a name".to_string(),
        sign if !sign.contains(|c: char| c.is_lowercase()) => format!("`{sign}`"),
        _ => expected.to_string(),
    }
}

/// The length of the word, or of the single character, at the beginning of a text.
fn word_length(text: &str) -> usize {
    let word = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    if word > 0 { word } else { text.chars().next().map_or(0, char::len_utf8) }
}

/// The byte of a text at a 1-based line and column, as the engine counts them: columns count characters.
pub(crate) fn offset_of(text: &str, line: usize, column: usize) -> usize {
    Lines::of(text).offset(Location { line: line as u64, column: column as u64 })
}

/// The beginnings of a text's lines, to turn lines and columns into bytes.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { text, starts }
    }

    /// The byte at a 1-based line and column; columns count characters.
    fn offset(&self, at: Location) -> usize {
        let Some(start) = (at.line as usize).checked_sub(1).and_then(|line| self.starts.get(line)) else {
            return self.text.len();
        };
        let rest = &self.text[*start..];
        let skipped = (at.column as usize).saturating_sub(1);
        start + rest.char_indices().nth(skipped).map_or(rest.len(), |(offset, _)| offset)
    }

    fn span(&self, start: Location, end: Location) -> Span {
        let start = self.offset(start);
        (start, self.offset(end).max(start))
    }

    /// Where a query's first SELECT stands.
    fn query_start(&self, query: &Query) -> Span {
        use sqlparser::ast::Spanned;
        let span = query.span();
        let start = self.offset(span.start);
        if span.start.line == 0 { (0, 0) } else { (start, start + word_length(&self.text[start..])) }
    }
}

/// Whether a name can stand in SQL without quotes, in ours and in most others.
pub(crate) fn is_plain_name(name: &str) -> bool {
    // Words that our grammar takes as names, and others do not.
    const RESERVED: &[&str] = &[
        "all", "and", "any", "as", "between", "by", "case", "cast", "distinct", "else", "exists", "false", "in",
        "interval", "is", "join", "like", "not", "null", "on", "or", "table", "then", "true", "using", "when",
    ];
    let upper = name.to_ascii_uppercase();
    let Ok(at) = ALL_KEYWORDS.binary_search(&upper.as_str()) else { return true };
    let keyword = &ALL_KEYWORDS_INDEX[at];
    if RESERVED.contains(&name)
        || RESERVED_FOR_COLUMN_ALIAS.contains(keyword)
        || RESERVED_FOR_IDENTIFIER.contains(keyword)
    {
        return false;
    }
    let query = parse_query(&format!("select {name}.a from {name} join t on {name}.a > 1"));
    query.is_ok_and(|query| query.mentions.iter().any(|mention| mention.name == name))
}
