//! The one place that names the learning crate: a fitted model as a [`Predictor`].

use crate::pipeline::Predictor;
use arrow::array::cast::AsArray;
use arrow::array::{RecordBatch, StructArray, new_empty_array};
use pelton_base::{NodeName, Report};
use pelton_learn::Model;
use pelton_query::types;
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

impl Learned {
    /// Nothing to score: the columns are checked all the same, because that is how an endpoint is tried when it is loaded.
    fn predict_none(&self, inputs: &RecordBatch) -> Result<StructArray, Report> {
        for wanted in self.model.inputs() {
            let found = inputs.schema_ref().field_with_name(&wanted.name).ok();
            if found.is_none_or(|found| *found.data_type() != wanted.data_type) {
                let message = format!("model `{}` was not fitted on the inputs that its package names", self.name);
                return Err(Report::error("damaged-artifact", message).note(format!(
                    "`{}` is {}, and was {}",
                    wanted.name,
                    found.map_or_else(|| "not there".to_string(), |found| types::name(found.data_type())),
                    types::name(&wanted.data_type)
                )));
            }
        }
        Ok(new_empty_array(self.model.output_field().data_type()).as_struct().clone())
    }
}

impl Predictor for Learned {
    fn predict(&self, inputs: &RecordBatch) -> Result<StructArray, Report> {
        if inputs.num_rows() == 0 {
            return self.predict_none(inputs);
        }
        let prediction = self.model.predict(inputs).map_err(|error| {
            Report::error("internal", format!("model `{}` could not score", self.name)).note(error.to_string())
        })?;
        Ok(prediction.into_struct().as_struct().clone())
    }

    fn classes(&self) -> Option<Vec<String>> {
        self.model.class_names()
    }
}
