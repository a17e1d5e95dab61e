//! What an as-of join asks of times, read from its `MATCH_CONDITION`.
//!
//! The operator has one time of the left row, one time of the right row, and at most one moment at which the right row became known. A
//! condition that asks for something else is refused: read as if it asked for this, it would give other rows than it says.

use super::{Side, side_of};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, not_impl_err};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Join, Operator, when};
use pelton_base::DAY_US;
use pelton_query::types;

/// The forms that are taken.
const FORM: &str =
    "`l.time >= r.time`, then optionally `l.time >= r.known_at` and `l.time - r.time <= INTERVAL '..'`, joined by AND";

/// The times of an as-of join, all of one type.
pub(super) struct Condition {
    pub(super) left_time: Expr,
    pub(super) right_time: Expr,
    /// From when on the right row may be used.
    pub(super) visible_at: Expr,
    pub(super) ttl_us: Option<i64>,
}

/// Reads the parts of a condition.
pub(super) fn read(parts: &[Expr], join: &Join) -> Result<Condition> {
    let mut pairs: Vec<(Expr, Expr)> = Vec::new();
    let mut age: Option<(&Expr, Age)> = None;
    for part in parts {
        if let Some(pair) = at_least(part, join) {
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        } else if let Some(found) = age_limit(part)?.filter(|_| age.is_none()) {
            age = Some((part, found));
        } else {
            return not_impl_err!("MATCH_CONDITION is {FORM}; `{}` is none of these", said(part));
        }
    }
    let mut pairs = pairs.into_iter();
    let Some((left_time, right_time)) = pairs.next() else {
        return not_impl_err!("MATCH_CONDITION needs `l.time >= r.time`");
    };
    let (left, right) = (join.left.schema(), join.right.schema());
    let (own, theirs) = (said(plain(&left_time, left)), said(plain(&right_time, right)));
    let known_at = match pairs.next() {
        Some((other, known_at)) if plain(&other, left) != plain(&left_time, left) => {
            return not_impl_err!(
                "MATCH_CONDITION compares `{theirs}` with `{own}` and `{}` with `{}`; both are compared with the same time of the left row",
                said(plain(&known_at, right)),
                said(plain(&other, left))
            );
        }
        Some((_, known_at)) => Some(known_at),
        None => implied_known_at(join, &right_time)?,
    };
    if let Some((_, more)) = pairs.next() {
        return not_impl_err!("MATCH_CONDITION is {FORM}; `{}` is a third time", said(plain(&more, right)));
    }
    if let Some((_, found)) = &age
        && (plain(&found.newer, left) != plain(&left_time, left)
            || plain(&found.older, right) != plain(&right_time, right))
    {
        return not_impl_err!(
            "MATCH_CONDITION limits the age by `{} - {}`, but matches `{own} >= {theirs}` first; only `{own} - {theirs}` can be limited",
            said(plain(&found.newer, left)),
            said(plain(&found.older, right))
        );
    }
    of_one_type(join, left_time, right_time, known_at, age.map(|(_, age)| age.us))
}

/// Brings the times to the finest of their types, so that none is rounded before it is compared.
fn of_one_type(
    join: &Join,
    left_time: Expr,
    right_time: Expr,
    known_at: Option<Expr>,
    ttl_us: Option<i64>,
) -> Result<Condition> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let mut time_type = right_time.get_type(right)?;
    let others = [Some(left_time.get_type(left)?), known_at.as_ref().map(|known| known.get_type(right)).transpose()?];
    for other in others.into_iter().flatten() {
        if fineness(&other) > fineness(&time_type) {
            time_type = other;
        }
    }
    let is_whole = matches!(time_type, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64);
    if fineness(&time_type) == 0 && !is_whole {
        return not_impl_err!(
            "MATCH_CONDITION compares times, which are a timestamp, a date or a whole number, not {}",
            types::name(&time_type)
        );
    }
    let cast = |expr: Expr, schema: &DFSchema| -> Result<Expr> {
        match expr.get_type(schema)? == time_type {
            true => Ok(expr),
            false => expr.cast_to(&time_type, schema),
        }
    };
    let right_time = cast(right_time, right)?;
    let visible_at = match known_at {
        Some(known_at) => {
            let known_at = cast(known_at, right)?;
            // A row that nobody knew, or without a time, gets no moment at which it is visible.
            let mut known = when(known_at.clone().gt(right_time.clone()), known_at.clone());
            known.when(known_at.is_not_null(), right_time.clone()).end()?
        }
        None => right_time.clone(),
    };
    Ok(Condition { left_time: cast(left_time, left)?, right_time, visible_at, ttl_us })
}

/// How finely a type tells times apart; 0 when it is none.
fn fineness(data_type: &DataType) -> u8 {
    match data_type {
        DataType::Date32 => 1,
        DataType::Date64 => 2,
        DataType::Timestamp(TimeUnit::Second, _) => 3,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 4,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 5,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 6,
        _ => 0,
    }
}

/// A span in the unit of a time type, rounded down: ages are whole numbers of the unit.
pub(super) fn ticks_of(us: i64, data_type: &DataType) -> i64 {
    match data_type {
        DataType::Date32 => us.div_euclid(DAY_US),
        DataType::Timestamp(TimeUnit::Second, _) => us.div_euclid(1_000_000),
        DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => us.div_euclid(1_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => us.saturating_mul(1_000),
        _ => us,
    }
}

/// `left >= right`, or `right <= left`, as (left side, right side).
fn at_least(part: &Expr, join: &Join) -> Option<(Expr, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = part else { return None };
    let (newer, older) = match op {
        Operator::GtEq => (left, right),
        Operator::LtEq => (right, left),
        _ => return None,
    };
    (side_of(newer, join) == Some(Side::Left) && side_of(older, join) == Some(Side::Right))
        .then(|| (*newer.clone(), *older.clone()))
}

/// `newer - older <= us`.
struct Age {
    newer: Expr,
    older: Expr,
    us: i64,
}

/// `a - b <= INTERVAL '..'`, or the same turned round.
fn age_limit(part: &Expr) -> Result<Option<Age>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = part else { return Ok(None) };
    let (age, limit) = match op {
        Operator::LtEq => (left, right),
        Operator::GtEq => (right, left),
        _ => return Ok(None),
    };
    let (Expr::BinaryExpr(BinaryExpr { left: newer, op: Operator::Minus, right: older }), Expr::Literal(limit, _)) =
        (under_casts(age), under_casts(limit))
    else {
        return Ok(None);
    };
    match interval_us(limit) {
        Some(us) => Ok(Some(Age { newer: *newer.clone(), older: *older.clone(), us })),
        None => {
            not_impl_err!("MATCH_CONDITION limits the age by a span that is always as long, such as INTERVAL '30 days'")
        }
    }
}

/// The microseconds of an interval, when they are always the same; a month is none of them.
pub(crate) fn interval_us(literal: &ScalarValue) -> Option<i64> {
    match literal {
        ScalarValue::IntervalMonthDayNano(Some(value)) if value.months == 0 => {
            Some(i64::from(value.days) * DAY_US + value.nanoseconds / 1000)
        }
        ScalarValue::IntervalDayTime(Some(value)) => {
            Some(i64::from(value.days) * DAY_US + i64::from(value.milliseconds) * 1000)
        }
        ScalarValue::DurationMicrosecond(Some(us)) => Some(*us),
        ScalarValue::DurationNanosecond(Some(ns)) => Some(ns / 1000),
        _ => None,
    }
}

fn under_casts(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => under_casts(&cast.expr),
        other => other,
    }
}

/// An expression without the casts that only write its times more finely, as types are brought together.
fn plain<'a>(expr: &'a Expr, schema: &DFSchema) -> &'a Expr {
    let Expr::Cast(cast) = expr else { return expr };
    let is_utc =
        |zone: &Option<std::sync::Arc<str>>| zone.as_deref().is_none_or(|zone| matches!(zone, "UTC" | "+00:00"));
    let to = cast.field.data_type();
    let keeps = cast.expr.get_type(schema).is_ok_and(|from| match (&from, to) {
        (DataType::Date32 | DataType::Date64, DataType::Timestamp(_, zone)) => is_utc(zone),
        (DataType::Timestamp(_, from_zone), DataType::Timestamp(_, zone)) => {
            fineness(&from) <= fineness(to) && (from_zone == zone || is_utc(from_zone) && is_utc(zone))
        }
        (from, to) => {
            from.is_signed_integer() && to.is_signed_integer() && from.primitive_width() <= to.primitive_width()
        }
    });
    if keeps { plain(&cast.expr, schema) } else { expr }
}

/// An expression in words of SQL.
fn said(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => column.flat_name(),
        Expr::Literal(value, _) => value.to_string(),
        Expr::Cast(cast) => said(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => format!("{} {op} {}", said(left), said(right)),
        other => other.to_string(),
    }
}

/// The right side's own `known_at` column, when it is a time (a column of that name may hold anything) and not what is matched already.
fn implied_known_at(join: &Join, right_time: &Expr) -> Result<Option<Expr>> {
    let schema = join.right.schema();
    let time = right_time.get_type(schema)?;
    let is_time = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..)) || *data_type == time;
    let found = schema.iter().find(|(_, field)| field.name() == "known_at" && is_time(field.data_type()));
    Ok(found
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())))
        .filter(|column| column != plain(right_time, schema)))
}
