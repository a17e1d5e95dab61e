//! A model version as a function of SQL.

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::logical_expr::type_coercion::functions::{UDFCoercionExt, fields_with_udf};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use pelton_query::{Scorer, types};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The function that calls `scorer`, under the name that the catalog gives it.
pub(crate) fn udf(name: &str, scorer: Arc<dyn Scorer>) -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
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

/// A function of one argument, whose type the engine's own rules are asked about.
struct Takes(Signature);

impl UDFCoercionExt for Takes {
    fn name(&self) -> &str {
        "a model"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(given.to_vec())
    }
}

impl ScalarUDFImpl for ScoreFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let inputs = self.scorer.inputs();
        if given.len() != inputs.len() {
            return plan_err!("{} takes {} columns, not {}", self.scorer.subject(), inputs.len(), given.len());
        }
        let coerced = |(input, given): (&Field, &DataType)| {
            let taken = input.data_type();
            let argument = Arc::new(Field::new(input.name(), given.clone(), true));
            if fields_with_udf(&[argument], &Takes(Signature::exact(vec![taken.clone()], Volatility::Immutable)))
                .is_ok()
            {
                return Ok(taken.clone());
            }
            let (name, subject) = (input.name(), self.scorer.subject());
            plan_err!("`{name}` of {subject} takes {}, not {}", types::name(taken), types::name(given))
        };
        inputs.iter().zip(given).map(coerced).collect()
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
