//! Row-wise expressions, compiled once: the same physical expressions in training, at the endpoint and in `predict()`.

use crate::{error, micros, overflow, spans};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use pelton_query::{QueryError, RowProgram};
use std::sync::Arc;

/// Compiles `(name, sql)` pairs over `schema`; an expression may name an earlier one.
pub(crate) fn compile(
    state: &SessionState,
    schema: SchemaRef,
    expressions: &[(String, String)],
) -> Result<Arc<dyn RowProgram>, QueryError> {
    let mut seen: Vec<Arc<Field>> = schema.fields().to_vec();
    let mut compiled = Vec::new();
    for (name, sql) in expressions {
        let scope = DFSchema::try_from(Schema::new(seen.clone())).map_err(error::translate)?;
        let expression = state.create_logical_expr(sql, &scope).map_err(error::translate)?;
        refuse_volatile(&expression)?;
        let physical = checked(state, expression.clone(), &scope)
            .and_then(|expression| state.create_physical_expr(expression, &scope))
            .map_err(error::translate)?;
        let data_type = physical.data_type(scope.as_arrow()).map_err(error::translate)?;
        // A null literal has no type of its own: it is stored as text.
        if expression.get_type(&scope).is_err() {
            return Err(QueryError::Type { message: format!("`{sql}` has no type"), at: None });
        }
        let data_type = pelton_query::types::stored(&data_type).ok_or_else(|| QueryError::Type {
            message: format!("`{name}` has a type that no column can have: {data_type}"),
            at: None,
        })?;
        let field = Arc::new(Field::new(name, data_type, true));
        seen.push(field.clone());
        compiled.push((field, physical, Arc::new(Schema::new(seen.clone()))));
    }
    let outputs = Arc::new(Schema::new(compiled.iter().map(|(field, ..)| field.clone()).collect::<Vec<_>>()));
    Ok(Arc::new(Program { inputs: schema, outputs, steps: compiled }))
}

/// The expression with its types resolved and its arithmetic checked.
fn checked(state: &SessionState, expression: Expr, scope: &DFSchema) -> datafusion::common::Result<Expr> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(scope.clone()))
        .with_config_options(Arc::clone(state.config_options()))
        .build();
    let typed = ExprSimplifier::new(context).coerce(expression, scope)?;
    let compared = spans::of_expression(micros::of_expression(typed, scope), scope)?;
    Ok(overflow::checked_expression(compared.data, scope)?.data)
}

fn refuse_volatile(expression: &Expr) -> Result<(), QueryError> {
    use datafusion::common::tree_node::TreeNode;
    let mut found = None;
    expression
        .apply(|part| {
            match part {
                Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                    found = Some(format!("`{}()` gives another value at every call", call.func.name()));
                }
                Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
                    found = Some("an aggregate or a window looks at more than one row".to_string());
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(error::translate)?;
    match found {
        Some(why) => Err(QueryError::Unsupported { message: format!("a row-wise expression is needed: {why}") }),
        None => Ok(()),
    }
}

type Step = (Arc<Field>, Arc<dyn PhysicalExpr>, SchemaRef);

struct Program {
    inputs: SchemaRef,
    outputs: SchemaRef,
    steps: Vec<Step>,
}

impl RowProgram for Program {
    fn schema(&self) -> SchemaRef {
        self.outputs.clone()
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let rows = batch.num_rows();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let mut scope = RecordBatch::try_new_with_options(self.inputs.clone(), batch.columns().to_vec(), &options)
            .map_err(|error| error::translate(error.into()))?;
        for (field, step, schema) in &self.steps {
            let value = step.evaluate(&scope).and_then(|value| value.into_array(rows)).map_err(error::translate)?;
            let value = if value.data_type() == field.data_type() {
                value
            } else {
                arrow::compute::cast(&value, field.data_type()).map_err(|error| error::translate(error.into()))?
            };
            let mut columns = scope.columns().to_vec();
            columns.push(value);
            scope = RecordBatch::try_new_with_options(schema.clone(), columns, &options)
                .map_err(|error| error::translate(error.into()))?;
        }
        let derived = scope.columns()[self.inputs.fields().len()..].to_vec();
        RecordBatch::try_new_with_options(self.outputs.clone(), derived, &options)
            .map_err(|error| error::translate(error.into()))
    }
}
