//! A pipeline as a scoring function of SQL: derived columns and model on columns that the query brings.

use crate::pipeline::Pipeline;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field};
use pelton_query::Scorer;
use std::sync::Arc;

/// Scores rows of [`Pipeline::inputs`], by position.
#[derive(Debug)]
pub struct PipelineScorer {
    pipeline: Arc<Pipeline>,
    inputs: Vec<Field>,
}

impl Pipeline {
    /// The scoring function of this pipeline; its inputs are [`Pipeline::inputs`].
    pub fn as_scorer(self: &Arc<Self>) -> Arc<dyn Scorer> {
        let inputs = self.inputs().fields().iter().map(|field| field.as_ref().clone()).collect();
        Arc::new(PipelineScorer { pipeline: Arc::clone(self), inputs })
    }
}

impl Scorer for PipelineScorer {
    fn subject(&self) -> String {
        format!("model `{}`", self.pipeline.package().model)
    }

    fn inputs(&self) -> &[Field] {
        &self.inputs
    }

    fn output(&self) -> Field {
        Field::new("prediction", DataType::Struct(self.pipeline.output().clone()), true)
    }

    fn score(&self, inputs: &[ArrayRef]) -> Result<ArrayRef, String> {
        let batch = RecordBatch::try_new(Arc::clone(self.pipeline.inputs()), inputs.to_vec())
            .map_err(|error| error.to_string())?;
        let (_, output) = self.pipeline.rescore(&batch).map_err(|report| report.message)?;
        Ok(Arc::new(output))
    }
}
