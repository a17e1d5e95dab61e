//! Functions of times: `to_timestamp` and its like with the results that they announce, `date_trunc`, `date_part` and `to_char` at any time.
//!
//! Where the engine's time zone is set, DataFusion's functions say that they give times of that zone, and give times without one for texts: a
//! SELECT whose result they are could not be run. Its `date_trunc` goes over nanoseconds, which reach from 1677 to 2262 alone, and its
//! `to_char` takes nothing else.

use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
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
    for name in NAMES {
        let theirs = state.udf(name)?;
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(Announced(theirs))))?;
    }
    let theirs = state.udf("date_trunc")?;
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(AnyAge(theirs))))?;
    state.register_udf(date_part())?;
    // Theirs make a text of a time.
    let coalesce = state.udf("coalesce")?.as_ref().clone().with_aliases(["nvl", "ifnull"]);
    state.register_udf(Arc::new(coalesce))?;
    let theirs = state.udf("to_char")?;
    let signature = Signature::user_defined(theirs.signature().volatility);
    state.register_udf(Arc::new(ScalarUDF::new_from_impl(AnyUnit(theirs, signature))))?;
    Ok(())
}

/// Ours, also where `extract(epoch from x)` is written.
pub(crate) fn date_part() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(AnyLength(datafusion::functions::datetime::date_part()))));
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

/// `date_part` with the seconds of a difference of times however long it is: theirs is null beyond a whole number of 32 bits.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AnyLength(Arc<ScalarUDF>);

impl ScalarUDFImpl for AnyLength {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.0.preimage(args, literal, info)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_epoch = matches!(&args.args[0], ColumnarValue::Scalar(part)
            if part.try_as_str().flatten().is_some_and(|part| part.trim_matches('\'').eq_ignore_ascii_case("epoch")));
        let each_second = match args.args[1].data_type() {
            DataType::Duration(unit) if is_epoch => match unit {
                TimeUnit::Second => 1.0,
                TimeUnit::Millisecond => 1e3,
                TimeUnit::Microsecond => 1e6,
                TimeUnit::Nanosecond => 1e9,
            },
            _ => return self.0.inner().invoke_with_args(args),
        };
        let seconds = |lengths: &ArrayRef| -> Result<ArrayRef> {
            let lengths = cast(lengths, &DataType::Int64)?;
            Ok(Arc::new(
                lengths.as_primitive::<Int64Type>().unary::<_, Float64Type>(|length| length as f64 / each_second),
            ))
        };
        Ok(match &args.args[1] {
            ColumnarValue::Array(lengths) => ColumnarValue::Array(seconds(lengths)?),
            ColumnarValue::Scalar(length) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&seconds(&length.to_array()?)?, 0)?)
            }
        })
    }
}

/// `to_char` of a time as it is, in whichever unit.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AnyUnit(Arc<ScalarUDF>, Signature);

impl ScalarUDFImpl for AnyUnit {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.1
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let [DataType::Timestamp(..), DataType::Utf8] = types {
            return Ok(types.to_vec());
        }
        let fields: Vec<FieldRef> =
            types.iter().map(|data_type| Arc::new(Field::new("", data_type.clone(), true))).collect();
        let taken = fields_with_udf(&fields, self.0.as_ref())?;
        Ok(taken.iter().map(|field| field.data_type().clone()).collect())
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.0.inner().invoke_with_args(args)
    }
}

/// The calendar repeats itself, weekdays included, after so many days: 400 years.
const ERA_DAYS: i64 = 146_097;

/// Two times between which there are nanoseconds, with more than an era from one to the other: 1700 and 2250, in days since 1970.
const NEAR_DAYS: std::ops::Range<i64> = -98_615..102_268;

/// `date_trunc` of times of UTC at any time: those that are far are brought near by eras, and back.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AnyAge(Arc<ScalarUDF>);

impl AnyAge {
    /// Of an array of whole or parts of seconds, so many a second.
    fn truncated<T: ArrowTimestampType>(&self, each_second: i64, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
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
            return self.0.inner().invoke_with_args(args);
        }
        let away = |time: i64| i128::from(eras_from_near(time)) * i128::from(ERA_DAYS * day);
        let near: PrimitiveArray<T> = times.unary(|time| (i128::from(time) - away(time)) as i64);
        let near = Arc::new(near.with_data_type(times.data_type().clone()));
        let is_scalar = matches!(args.args[1], ColumnarValue::Scalar(_));
        let args = ScalarFunctionArgs { args: vec![args.args[0].clone(), ColumnarValue::Array(near)], ..args };
        let ColumnarValue::Array(cut) = self.0.inner().invoke_with_args(args)? else {
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
}

impl ScalarUDFImpl for AnyAge {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.0.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_utc = |zone: &Option<Arc<str>>| zone.as_ref().is_none_or(|zone| matches!(&**zone, "UTC" | "+00:00"));
        match args.args.get(1).map(ColumnarValue::data_type) {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone)) if is_utc(&zone) => {
                self.truncated::<TimestampMicrosecondType>(1_000_000, args)
            }
            Some(DataType::Timestamp(TimeUnit::Millisecond, zone)) if is_utc(&zone) => {
                self.truncated::<TimestampMillisecondType>(1_000, args)
            }
            Some(DataType::Timestamp(TimeUnit::Second, zone)) if is_utc(&zone) => {
                self.truncated::<TimestampSecondType>(1, args)
            }
            _ => self.0.inner().invoke_with_args(args),
        }
    }
}

/// A function whose results are cast to the type that it announces.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Announced(Arc<ScalarUDF>);

impl ScalarUDFImpl for Announced {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.0.simplify(args, info)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.0.coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.return_field.data_type().clone();
        let value = self.0.inner().invoke_with_args(args)?;
        if value.data_type() == wanted {
            return Ok(value);
        }
        Ok(match value {
            ColumnarValue::Array(values) => ColumnarValue::Array(cast(&values, &wanted)?),
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.cast_to(&wanted)?),
        })
    }
}
