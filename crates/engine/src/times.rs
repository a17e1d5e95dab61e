//! Functions of times: `to_timestamp` and its like with the results that they announce, `date_trunc`, `date_part` and `to_char` at any time.
//!
//! Where the engine's time zone is set, DataFusion's functions say that they give times of that zone, and give times without one for texts: a
//! SELECT whose result they are could not be run. Its `date_trunc` goes over nanoseconds, which reach from 1677 to 2262 alone, and its
//! `to_char` takes nothing else.

use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult};
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowTimestampType, DataType, Field, FieldRef, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampSecondType,
};

const NAMES: [&str; 5] =
    ["to_timestamp", "to_timestamp_seconds", "to_timestamp_millis", "to_timestamp_micros", "to_timestamp_nanos"];

/// Replaces the engine's functions.
pub(crate) fn register(state: &mut SessionState) -> Result<()> {
    let announced = NAMES.map(|name| (name, How::Announced));
    for (name, how) in announced.into_iter().chain([("date_trunc", How::AnyAge), ("to_char", How::AnyUnit)]) {
        let theirs = state.udf(name)?;
        state.register_udf(Ours::instead_of(theirs, how))?;
    }
    state.register_udf(date_part())?;
    // Theirs make a text of a time.
    let coalesce = state.udf("coalesce")?.as_ref().clone().with_aliases(["nvl", "ifnull"]);
    state.register_udf(Arc::new(coalesce))?;
    Ok(())
}

/// Ours, also where `extract(epoch from x)` is written.
fn date_part() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Ours::instead_of(datafusion::functions::datetime::date_part(), How::AnyLength));
    FUNCTION.clone()
}

/// Plans `extract`.
#[derive(Debug)]
pub(crate) struct Extract;

impl ExprPlanner for Extract {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(date_part().call(args)))
    }
}

/// What is another in a function of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum How {
    /// Its results are cast to the type that it announces.
    Announced,
    /// `date_trunc` of times of UTC at any time: those that are far are brought near by eras, and back.
    AnyAge,
    /// `date_part` with the seconds of a difference of times however long it is: theirs is null beyond a whole number of 32 bits.
    AnyLength,
    /// `to_char` of a time as it is, in whichever unit.
    AnyUnit,
}

/// A function of the engine's, but for one thing.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Ours {
    theirs: Arc<ScalarUDF>,
    how: How,
    signature: Signature,
}

impl Ours {
    fn instead_of(theirs: Arc<ScalarUDF>, how: How) -> Arc<ScalarUDF> {
        let signature = match how {
            How::AnyUnit => Signature::user_defined(theirs.signature().volatility),
            _ => theirs.signature().clone(),
        };
        Arc::new(ScalarUDF::new_from_impl(Ours { theirs, how, signature }))
    }
}

impl ScalarUDFImpl for Ours {
    fn name(&self) -> &str {
        self.theirs.name()
    }

    fn aliases(&self) -> &[String] {
        self.theirs.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.theirs.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.theirs.return_field_from_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.theirs.simplify(args, info)
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.theirs.preimage(args, literal, info)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.theirs.output_ordering(inputs)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match (self.how, types) {
            (How::AnyUnit, [DataType::Timestamp(..), DataType::Utf8]) => Ok(types.to_vec()),
            (How::AnyUnit, _) => {
                let field = |data_type: &DataType| Arc::new(Field::new("", data_type.clone(), true)) as FieldRef;
                let fields: Vec<FieldRef> = types.iter().map(field).collect();
                let taken = fields_with_udf(&fields, self.theirs.as_ref())?;
                Ok(taken.iter().map(|field| field.data_type().clone()).collect())
            }
            _ => self.theirs.coerce_types(types),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.theirs.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let theirs = self.theirs.inner();
        match self.how {
            How::Announced => {
                let wanted = args.return_field.data_type().clone();
                theirs.invoke_with_args(args)?.cast_to(&wanted, None)
            }
            How::AnyAge => truncated(theirs.as_ref(), args),
            How::AnyLength => part(theirs.as_ref(), args),
            How::AnyUnit => theirs.invoke_with_args(args),
        }
    }
}

/// `date_part`.
fn part(theirs: &dyn ScalarUDFImpl, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let is_epoch = matches!(&args.args[0], ColumnarValue::Scalar(part)
        if part.try_as_str().flatten().is_some_and(|part| part.trim_matches('\'').eq_ignore_ascii_case("epoch")));
    let each_second = match args.args[1].data_type() {
        DataType::Duration(unit) if is_epoch => match unit {
            TimeUnit::Second => 1.0,
            TimeUnit::Millisecond => 1e3,
            TimeUnit::Microsecond => 1e6,
            TimeUnit::Nanosecond => 1e9,
        },
        _ => return theirs.invoke_with_args(args),
    };
    let seconds = |lengths: &[ArrayRef]| {
        let lengths = cast(&lengths[0], &DataType::Int64)?;
        let seconds = lengths.as_primitive::<Int64Type>().unary::<_, Float64Type>(|length| length as f64 / each_second);
        Ok(Arc::new(seconds) as ArrayRef)
    };
    make_scalar_function(seconds, Vec::new())(&args.args[1..])
}

/// The calendar repeats itself, weekdays included, after so many days: 400 years.
const ERA_DAYS: i64 = 146_097;

/// Two times between which there are nanoseconds, with more than an era from one to the other: 1700 and 2250, in days since 1970.
const NEAR_DAYS: std::ops::Range<i64> = -98_615..102_268;

/// `date_trunc`.
fn truncated(theirs: &dyn ScalarUDFImpl, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let is_utc = |zone: &Option<Arc<str>>| zone.as_ref().is_none_or(|zone| matches!(&**zone, "UTC" | "+00:00"));
    match args.args.get(1).map(ColumnarValue::data_type) {
        Some(DataType::Timestamp(TimeUnit::Microsecond, zone)) if is_utc(&zone) => {
            truncated_as::<TimestampMicrosecondType>(theirs, 1_000_000, args)
        }
        Some(DataType::Timestamp(TimeUnit::Millisecond, zone)) if is_utc(&zone) => {
            truncated_as::<TimestampMillisecondType>(theirs, 1_000, args)
        }
        Some(DataType::Timestamp(TimeUnit::Second, zone)) if is_utc(&zone) => {
            truncated_as::<TimestampSecondType>(theirs, 1, args)
        }
        _ => theirs.invoke_with_args(args),
    }
}

/// Of an array of whole or parts of seconds, so many a second.
fn truncated_as<T: ArrowTimestampType>(
    theirs: &dyn ScalarUDFImpl,
    each_second: i64,
    args: ScalarFunctionArgs,
) -> Result<ColumnarValue> {
    let day = 86_400 * each_second;
    let eras_from_near = |time: i64| match NEAR_DAYS.contains(&time.div_euclid(day)) {
        true => 0,
        false => (time.div_euclid(day) - NEAR_DAYS.start).div_euclid(ERA_DAYS),
    };
    let times = match &args.args[1] {
        ColumnarValue::Array(times) => times.clone(),
        ColumnarValue::Scalar(time) => time.to_array()?,
    };
    let times = times.as_primitive::<T>();
    if times.iter().flatten().all(|time| eras_from_near(time) == 0) {
        return theirs.invoke_with_args(args);
    }
    let away = |time: i64| i128::from(eras_from_near(time)) * i128::from(ERA_DAYS * day);
    let near: PrimitiveArray<T> = times.unary(|time| (i128::from(time) - away(time)) as i64);
    let near = Arc::new(near.with_data_type(times.data_type().clone()));
    let is_scalar = matches!(args.args[1], ColumnarValue::Scalar(_));
    let args = ScalarFunctionArgs { args: vec![args.args[0].clone(), ColumnarValue::Array(near)], ..args };
    let ColumnarValue::Array(cut) = theirs.invoke_with_args(args)? else {
        return internal_err!("date_trunc of an array is none");
    };
    let cut = cut.as_primitive::<T>();
    let far = times.iter().zip(cut.iter()).map(|(time, cut)| match (time, cut) {
        (Some(time), Some(cut)) => match i64::try_from(i128::from(cut) + away(time)) {
            Ok(far) => Ok(Some(far)),
            Err(_) => exec_err!("Timestamp {time} out of range"),
        },
        _ => Ok(None),
    });
    let far = far.collect::<Result<PrimitiveArray<T>>>()?.with_data_type(times.data_type().clone());
    let far: ArrayRef = Arc::new(far);
    Ok(match is_scalar {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&far, 0)?),
        false => ColumnarValue::Array(far),
    })
}
