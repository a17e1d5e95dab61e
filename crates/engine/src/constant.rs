//! Constants that no row can make right: a day that no calendar has, a text that is no number, a whole number over zero.
//!
//! The engine meets them when it has read the first rows. Here they are mistakes of the SELECT, as its types are.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use pelton_query::{QueryError, types};

/// Why an expression fails whatever the row, when it does. Its types are resolved.
pub(crate) fn mistake(part: &Expr) -> Option<QueryError> {
    let message = match part {
        Expr::Cast(Cast { expr, field }) => {
            let Expr::Literal(value, _) = expr.as_ref() else { return None };
            value.cast_to(field.data_type()).err()?;
            let wanted = types::name(field.data_type());
            match value.try_as_str().flatten() {
                Some(text) => format!("`'{text}'` cannot be read as {wanted}"),
                None => format!("`{value}` cannot be a value of {wanted}"),
            }
        }
        Expr::BinaryExpr(BinaryExpr { op: Operator::Divide | Operator::Modulo, right, .. }) => {
            let Expr::Literal(value, _) = right.as_ref() else { return None };
            if !value.data_type().is_integer() || *value != ScalarValue::new_zero(&value.data_type()).ok()? {
                return None;
            }
            "division by zero".to_string()
        }
        _ => return None,
    };
    Some(QueryError::Type { message, at: None })
}
