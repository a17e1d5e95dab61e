//! How far what counts for a value may lie from it in time: through rounding, casts, zones and the frames of windows.

use super::{plain, position, type_of};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use pelton_base::{DAY_US, Grain};

/// No zone is so far from UTC, and no two offsets that a zone ever had are so far from each other: Samoa was at most 11:30 behind UTC, and
/// 14 hours ahead after it changed sides of the date line.
const ZONE_US: i64 = 26 * 3_600_000_000;

/// As an [`Origin`](pelton_query::Origin) has it: rounding, then before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) rounded: Grain,
    pub(super) before: Side,
    pub(super) after: Side,
}

/// How far it is to one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) us: i64,
    /// Whether everything there counts, however far, and not only what is nearest.
    pub(super) all: bool,
}

impl Side {
    const HERE: Side = Side::at_most(0);
    /// A number of rows, which may lie anywhere.
    const SOME: Side = Side::at_most(i64::MAX);
    const ALL: Side = Side { us: i64::MAX, all: true };

    const fn at_most(us: i64) -> Side {
        Side { us, all: false }
    }

    fn plus(self, other: Side) -> Side {
        Side { us: self.us.saturating_add(other.us), all: self.all || other.all }
    }

    fn or(self, other: Side) -> Side {
        Side { us: self.us.max(other.us), all: self.all || other.all }
    }
}

impl Reach {
    pub(super) const EQUAL: Reach = Reach::of(Side::HERE, Side::HERE);
    pub(super) const ZONE: Reach = Reach::to(ZONE_US, ZONE_US);

    const fn of(before: Side, after: Side) -> Reach {
        Reach { rounded: Grain::FINEST, before, after }
    }

    pub(super) const fn to(before_us: i64, after_us: i64) -> Reach {
        Reach::of(Side::at_most(before_us), Side::at_most(after_us))
    }

    /// From there as far as `other`, which does not round.
    pub(super) fn plus(self, other: Reach) -> Reach {
        Reach { rounded: self.rounded, before: self.before.plus(other.before), after: self.after.plus(other.after) }
    }

    /// Rounded down to where steps begin.
    pub(super) fn rounded(self, step: Grain) -> Reach {
        if self.before == Side::HERE && self.after == Side::HERE && step.is_made_of(self.rounded) {
            return Reach { rounded: step, ..self };
        }
        // What lies where its steps begin, does so where those of a part of them do.
        if self.before == Side::HERE && self.after == Side::HERE && self.rounded.is_made_of(step) {
            return self;
        }
        self.rounded_anywhere(step)
    }

    /// Rounded down to where steps begin that begin at any time.
    pub(super) fn rounded_anywhere(self, step: Grain) -> Reach {
        self.plus(Reach::to(0, step.longest_us() - 1))
    }

    pub(super) fn or(self, other: Reach) -> Reach {
        Reach::of(self.before.or(other.before), self.after.or(other.after))
    }

    fn turned(self) -> Reach {
        Reach::of(self.after, self.before)
    }
}

/// Where the days of a time begin.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Zone {
    Utc,
    Other,
}

impl Zone {
    fn of(data_type: &DataType) -> Zone {
        match data_type {
            DataType::Timestamp(_, Some(zone)) if !matches!(&**zone, "UTC" | "Etc/UTC" | "+00:00") => Zone::Other,
            _ => Zone::Utc,
        }
    }
}

pub(super) fn zone_of(expr: &Expr, schema: &DFSchema) -> Zone {
    type_of(expr, schema).map_or(Zone::Other, |data_type| Zone::of(&data_type))
}

/// How far a time lies from what it was before a cast; `None` for what gets a zone and had none. That is read as what clocks show there, and
/// DataFusion 55 compares it with a literal as if it had not been shifted: a condition on the result would keep other rows.
pub(super) fn converted(from: &DataType, to: &DataType) -> Option<Reach> {
    let has_zone = |data_type: &DataType| matches!(data_type, DataType::Timestamp(_, Some(_)));
    let digit_us = |data_type: &DataType| match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000,
        _ => 1,
    };
    // Digits are cut off towards 1970: of earlier times that is up. Dates have none.
    let cut_us = match from {
        DataType::Timestamp(..) if digit_us(from) < digit_us(to) => digit_us(to) - 1,
        _ => 0,
    };
    // What has a zone stays the same instant.
    (has_zone(from) || Zone::of(to) == Zone::Utc).then(|| Reach::to(cut_us, cut_us))
}

/// A unit of `date_trunc`, of UTC.
pub(super) fn unit_of(unit: &str) -> Option<Grain> {
    Some(match unit.to_lowercase().as_str() {
        "microsecond" => Grain::FINEST,
        "millisecond" => Grain::Us(1_000),
        "second" => Grain::Us(1_000_000),
        "minute" => Grain::Us(60_000_000),
        "hour" => Grain::Us(3_600_000_000),
        "day" => Grain::Us(DAY_US),
        "week" => Grain::Weeks(1),
        "month" => Grain::Months(1),
        "quarter" => Grain::Months(3),
        "year" => Grain::Months(12),
        _ => return None,
    })
}

/// The microseconds of an interval that a time may be cut into bins by: more than none, always the same, and whole.
pub(super) fn bin_us(interval: &ScalarValue) -> Option<i64> {
    let us = match interval {
        ScalarValue::IntervalMonthDayNano(Some(value)) if value.months == 0 && value.nanoseconds % 1000 == 0 => {
            i64::from(value.days) * DAY_US + value.nanoseconds / 1000
        }
        ScalarValue::IntervalDayTime(Some(value)) => {
            i64::from(value.days) * DAY_US + i64::from(value.milliseconds) * 1000
        }
        _ => return None,
    };
    Some(us).filter(|us| *us > 0)
}

/// The most microseconds that an interval may have; `None` where a part of it looks back.
fn longest_us(interval: &ScalarValue) -> Option<i64> {
    const MONTH_US: i64 = 31 * DAY_US;
    let parts = match interval {
        ScalarValue::IntervalYearMonth(Some(months)) => [i64::from(*months) * MONTH_US, 0, 0],
        ScalarValue::IntervalMonthDayNano(Some(value)) => [
            i64::from(value.months) * MONTH_US,
            i64::from(value.days) * DAY_US,
            // What is less than a microsecond may count as one.
            value.nanoseconds.saturating_add(999).div_euclid(1000),
        ],
        ScalarValue::IntervalDayTime(Some(value)) => {
            [0, i64::from(value.days) * DAY_US, i64::from(value.milliseconds) * 1000]
        }
        _ => return None,
    };
    let is_ahead = parts.iter().all(|us| *us >= 0);
    is_ahead.then(|| parts.into_iter().fold(0, i64::saturating_add))
}

/// How far a window function looks from a row along the column at `at`; `None` when it looks at rows with any value of it.
pub(super) fn window_reach(expr: &Expr, at: usize, schema: &DFSchema) -> Option<Reach> {
    let Expr::WindowFunction(call) = plain(expr) else { return None };
    if call.params.partition_by.iter().any(|by| position(by, schema) == Some(at)) {
        return Some(Reach::EQUAL);
    }
    let first = call.params.order_by.first()?;
    if position(&first.expr, schema) != Some(at) {
        return None;
    }
    let frame = |all: (bool, bool)| frame_reach(call, zone_of(&first.expr, schema), all);
    let reach = match &call.fun {
        WindowFunctionDefinition::WindowUDF(function) => match function.name() {
            "row_number" | "rank" | "dense_rank" => Reach::of(Side::ALL, Side::HERE),
            "lag" if looks_ahead(call) => Reach::of(Side::SOME, Side::HERE),
            "lead" if looks_ahead(call) => Reach::of(Side::HERE, Side::SOME),
            "lag" | "lead" => Reach::of(Side::SOME, Side::SOME),
            // Of what lies on the other side, they see only the nearest.
            "first_value" => frame((true, false)),
            "last_value" => frame((false, true)),
            "nth_value" => frame((true, true)),
            _ => Reach::of(Side::ALL, Side::ALL),
        },
        WindowFunctionDefinition::AggregateUDF(_) => frame((true, true)),
    };
    // Nulls lie at an end of the order, where only a reach without end comes to.
    Some(if first.asc { reach } else { reach.turned() })
}

/// Whether `lag` and `lead` look where their names say: not so when the offset is negative, or no literal.
fn looks_ahead(call: &WindowFunction) -> bool {
    match call.params.args.get(1).map(uncast) {
        None => true,
        Some(Expr::Literal(offset, _)) => {
            matches!(offset.cast_to(&DataType::Int64), Ok(ScalarValue::Int64(Some(rows))) if rows >= 0)
        }
        Some(_) => false,
    }
}

fn uncast(expr: &Expr) -> &Expr {
    match plain(expr) {
        Expr::Cast(cast) => uncast(&cast.expr),
        other => other,
    }
}

/// How far a frame reaches along an ascending order; `all` says of its start and its end whether everything counts where it is unbounded.
fn frame_reach(call: &WindowFunction, zone: Zone, all: (bool, bool)) -> Reach {
    let frame = &call.params.window_frame;
    let by_value = frame.units == WindowFrameUnits::Range && call.params.order_by.len() == 1;
    let offset = |value: &ScalarValue, all: bool| match (value.is_null(), by_value) {
        (true, _) => Side { all, ..Side::SOME },
        (false, false) => Side::SOME,
        // A day may have some hours more or less where clocks are changed.
        (false, true) => match longest_us(value) {
            Some(us) if zone == Zone::Utc => Side::at_most(us),
            Some(us) => Side::at_most(us.saturating_add(ZONE_US)),
            None => Side { all, ..Side::SOME },
        },
    };
    // Rows with the same time are peers in some order: a frame of rows never ends between them for certain.
    let (mut before, mut after) = (Side::HERE, Side::HERE);
    for (bound, all) in [(&frame.start_bound, all.0), (&frame.end_bound, all.1)] {
        match bound {
            WindowFrameBound::Preceding(value) => before = before.or(offset(value, all)),
            WindowFrameBound::Following(value) => after = after.or(offset(value, all)),
            WindowFrameBound::CurrentRow => {}
        }
    }
    Reach::of(before, after)
}
