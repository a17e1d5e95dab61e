//! Aggregates of distinct values: DataFusion collects the values, and adds them up in the order in which a hash table has them. Here they are
//! added up by the accumulator of all values.

use super::Way;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use arrow::array::ArrayRef;

/// An aggregate of the distinct values of one group.
#[derive(Debug)]
pub(super) struct Distinct {
    /// Collects them. Its state is a list of them.
    values: Box<dyn Accumulator>,
    /// How they are added up.
    way: Way,
}

impl Distinct {
    pub(super) fn new(values: Box<dyn Accumulator>, way: Way) -> Self {
        Distinct { values, way }
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(columns)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let state = self.values.state()?;
        let [ScalarValue::List(list)] = state.as_slice() else {
            return internal_err!("the state of distinct values is no list");
        };
        let mut of_all = self.way.one();
        of_all.update_batch(&[list.value(0)])?;
        of_all.evaluate()
    }

    fn size(&self) -> usize {
        self.values.size()
    }
}
