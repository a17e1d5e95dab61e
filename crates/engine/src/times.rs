//! `to_timestamp` and its like with the results that they announce.
//!
//! Where the engine's time zone is set, DataFusion's functions say that they give times of that zone, and give times without one for texts: a
//! SELECT whose result they are could not be run.

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};

const NAMES: [&str; 5] =
    ["to_timestamp", "to_timestamp_seconds", "to_timestamp_millis", "to_timestamp_micros", "to_timestamp_nanos"];

/// Replaces the engine's functions.
pub(crate) fn register(state: &mut SessionState) -> Result<()> {
    for name in NAMES {
        let theirs = state.udf(name)?;
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(Announced(theirs))))?;
    }
    Ok(())
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
