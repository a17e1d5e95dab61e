//! The one place that names the learning crate: a fitted model as a [`Predictor`].

use crate::pipeline::Predictor;
use arrow::array::cast::AsArray;
use arrow::array::{RecordBatch, StructArray};
use pelton_base::{NodeName, Report};
use pelton_learn::Model;
use std::sync::Arc;

struct Learned {
    name: NodeName,
    model: Model,
}

/// Loads a model's bytes.
pub(crate) fn load(name: &NodeName, bytes: &[u8]) -> Result<Arc<dyn Predictor>, Report> {
    let model = Model::from_bytes(bytes).map_err(|error| {
        Report::error("damaged-artifact", format!("model `{name}` is not readable")).note(error.to_string())
    })?;
    Ok(Arc::new(Learned { name: name.clone(), model }))
}

impl Predictor for Learned {
    fn predict(&self, inputs: &RecordBatch) -> Result<StructArray, Report> {
        let prediction = self.model.predict(inputs).map_err(|error| {
            Report::error("internal", format!("model `{}` could not score", self.name)).note(error.to_string())
        })?;
        Ok(prediction.into_struct().as_struct().clone())
    }

    fn classes(&self) -> Option<Vec<String>> {
        self.model.class_names()
    }
}
