//! A model version as a function of SQL.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use pelton_query::Scorer;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The function that calls `scorer`, under the name that the catalog gives it.
pub(crate) fn udf(name: &str, scorer: Arc<dyn Scorer>) -> ScalarUDF {
    let types = scorer.inputs().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
    let signature = if types.is_empty() {
        Signature::nullary(Volatility::Immutable)
    } else {
        Signature::exact(types, Volatility::Immutable)
    };
    ScalarUDF::new_from_impl(ScoreFunction { name: name.to_string(), signature, scorer })
}

/// As [`udf`], to be planned and never called: it takes any arguments, or none.
pub(crate) fn planned_udf(name: &str, scorer: Arc<dyn Scorer>) -> ScalarUDF {
    let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    let signature = Signature::one_of(any, Volatility::Immutable);
    ScalarUDF::new_from_impl(ScoreFunction { name: name.to_string(), signature, scorer })
}

#[derive(Debug)]
struct ScoreFunction {
    name: String,
    signature: Signature,
    scorer: Arc<dyn Scorer>,
}

impl PartialEq for ScoreFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.scorer, &other.scorer)
    }
}

impl Eq for ScoreFunction {}

impl Hash for ScoreFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for ScoreFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.scorer.output().data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(self.scorer.output()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays =
            args.args.into_iter().map(|value| value.into_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        let scored = self.scorer.score(&arrays).map_err(DataFusionError::Execution)?;
        Ok(ColumnarValue::Array(scored))
    }
}
