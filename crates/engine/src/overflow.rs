//! Arithmetic of whole numbers and decimals that says when a result does not fit its type.
//!
//! DataFusion's `+`, `-` and `*` of whole numbers begin again at the other end, and its decimals take more digits than they can show: a wrong
//! number in a table that no check was asked about. Here both are errors, as in PostgreSQL. The operators become functions before the
//! optimizer, which works out constants, too; types and lineage are told from the SQL as it is written.

use crate::walk;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result, internal_err};
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use pelton_query::QueryError;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, Field, FieldRef};
use arrow::error::ArrowError;

/// The plan with all arithmetic checked.
pub(crate) fn checked(plan: LogicalPlan) -> Result<LogicalPlan> {
    walk::changed(plan, |part| operation(part).is_some(), checked_expression)
}

/// An expression over `scope` with its arithmetic checked. Its types are resolved.
pub(crate) fn checked_expression(expr: Expr, scope: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|part| {
        let Some(operation) = operation(&part) else { return Ok(Transformed::no(part)) };
        // Of two dates the difference is a whole number, too.
        let is_number = |value: &Expr| Ok::<_, DataFusionError>(value.get_type(scope)?.is_numeric());
        let is_checked = match &part {
            Expr::BinaryExpr(BinaryExpr { left, right, .. }) => is_number(left)? && is_number(right)?,
            _ => true,
        };
        if !is_checked || !operation.can_overflow(&part.get_type(scope)?) {
            return Ok(Transformed::no(part));
        }
        let arguments = match part {
            Expr::BinaryExpr(BinaryExpr { left, right, .. }) => vec![*left, *right],
            Expr::Negative(value) => vec![*value],
            other => return Ok(Transformed::no(other)),
        };
        Ok(Transformed::yes(operation.function().call(arguments)))
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Negate,
}

fn operation(expr: &Expr) -> Option<Operation> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op: Operator::Plus, .. }) => Some(Operation::Add),
        Expr::BinaryExpr(BinaryExpr { op: Operator::Minus, .. }) => Some(Operation::Subtract),
        Expr::BinaryExpr(BinaryExpr { op: Operator::Multiply, .. }) => Some(Operation::Multiply),
        Expr::Negative(_) => Some(Operation::Negate),
        _ => None,
    }
}

impl Operation {
    fn can_overflow(self, result: &DataType) -> bool {
        match result {
            DataType::Decimal128(DECIMAL128_MAX_PRECISION, _) => self != Operation::Negate,
            data_type => data_type.is_integer(),
        }
    }

    fn function(self) -> Arc<ScalarUDF> {
        static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 4]> = LazyLock::new(|| {
            [Operation::Add, Operation::Subtract, Operation::Multiply, Operation::Negate].map(|operation| {
                let arguments = if operation == Operation::Negate { 1 } else { 2 };
                let signature = Signature::any(arguments, Volatility::Immutable);
                Arc::new(ScalarUDF::new_from_impl(Checked { operation, signature }))
            })
        });
        FUNCTIONS[self as usize].clone()
    }

    fn operator(self) -> Operator {
        match self {
            Operation::Add => Operator::Plus,
            Operation::Multiply => Operator::Multiply,
            Operation::Subtract | Operation::Negate => Operator::Minus,
        }
    }
}

/// An operator as a function that fails where the operator overflows.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Add => "checked_add",
            Operation::Subtract => "checked_subtract",
            Operation::Multiply => "checked_multiply",
            Operation::Negate => "checked_negate",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [left, right] => BinaryTypeCoercer::new(left, &self.operation.operator(), right).get_result_type(),
            [value, ..] => Ok(value.clone()),
            [] => Ok(DataType::Null),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result = match (self.operation, args.args.as_slice()) {
            (Operation::Add, [left, right]) => apply(left, right, |l, r| within(numeric::add(l, r)?)),
            (Operation::Subtract, [left, right]) => apply(left, right, |l, r| within(numeric::sub(l, r)?)),
            (Operation::Multiply, [left, right]) => apply(left, right, |l, r| within(numeric::mul(l, r)?)),
            (Operation::Negate, value @ [_]) => {
                make_scalar_function(|values| Ok(numeric::neg(values[0].as_ref())?), Vec::new())(value)
            }
            _ => internal_err!("{} has other arguments", self.name()),
        };
        result.map_err(|error| explained(error, args.return_field.data_type()))
    }
}

/// Decimals that have no more digits than their type.
fn within(values: ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
    if let DataType::Decimal128(precision, _) = values.data_type()
        && let Some(value) = values
            .as_primitive::<Decimal128Type>()
            .iter()
            .flatten()
            .find(|value| !Decimal128Type::is_valid_decimal_precision(*value, *precision))
    {
        return Err(ArrowError::ArithmeticOverflow(value.to_string()));
    }
    Ok(values)
}

fn explained(error: DataFusionError, data_type: &DataType) -> DataFusionError {
    let DataFusionError::ArrowError(arrow, _) = &error else { return error };
    let ArrowError::ArithmeticOverflow(text) = arrow.as_ref() else { return error };
    // `Overflow happened on: 9223372036854775807 + 1`
    let values = text
        .strip_prefix("Overflow happened on: ")
        .map_or_else(|| "a result".to_string(), |values| format!("`{values}`"));
    let message = match data_type {
        DataType::Decimal128(..) => format!("{values} has more than 38 digits"),
        DataType::Int64 | DataType::UInt64 => {
            format!("{values} is outside of `bigint`; write `cast(x as decimal(38, 0))` for one of the operands")
        }
        other => format!(
            "{values} is outside of `{}`; write `cast(x as bigint)` for one of the operands",
            pelton_query::types::name(other)
        ),
    };
    DataFusionError::External(Box::new(QueryError::Value { message }))
}
