//! [`Package`]: what training leaves for serving, as one JSON artifact.

use arrow::datatypes::DataType;
use pelton_base::{Digest, NodeName, Report, Reports, VersionId};
use pelton_project::{MissingRule, Task};
use pelton_query::types;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format that [`Package::to_bytes`] writes. A reader refuses every other number; it is part of a model's fingerprint, so that a
/// model of another format is trained again.
pub const PACKAGE_FORMAT: u32 = 2;

/// Everything that an endpoint needs to answer for one model version, besides the model's bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The format's number; [`Package::to_bytes`] sets it.
    pub format: u32,
    /// The model's node.
    pub model: NodeName,
    /// What it learned to do.
    pub task: Task,
    /// The learner that won.
    pub learner: String,
    /// The column that is predicted.
    pub target: String,
    /// Columns that every request must name: the SELECT's columns without key, time and target, and what lookups and derived
    /// columns need besides.
    pub request: Vec<RequestField>,
    /// The model's time column. A request may give it; else it is the time of the request.
    pub time: Option<String>,
    /// Columns that identify an example and stand in neither `request` nor `time`. A request may give them; they are logged and
    /// nothing else.
    pub key: Vec<RequestField>,
    /// Feature tables to look up, in the order in which their columns follow the request's.
    pub lookups: Vec<Lookup>,
    /// Derived columns in order: name and row-wise SQL over request, time, features and derived columns before it.
    pub derive: Vec<(String, String)>,
    /// The columns that the model was fitted on, in its order.
    pub inputs: Vec<String>,
    /// What an entity without features means.
    pub missing: MissingRule,
    /// The model's bytes among the artifacts.
    pub artifact: Digest,
    /// What the model came from.
    pub training: Training,
}

/// A column of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestField {
    /// Its name.
    pub name: String,
    /// Its type as Pelton names it.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether a value may be missing.
    pub nullable: bool,
}

/// Features of one table, looked up by entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// The feature table.
    pub table: NodeName,
    /// The version to read. In the artifact it is the one trained on; the loader sets the one that the environment has.
    pub version: VersionId,
    /// The columns of the request that hold the entity, in the table's order.
    pub entity: Vec<String>,
    /// The features.
    pub columns: Vec<FeatureColumn>,
    /// How old a feature row may be, microseconds.
    pub ttl_us: Option<i64>,
    /// The feature table's column of the time that a row speaks of.
    pub time: String,
    /// The feature table's column of the time at which a row became known.
    pub known_at: Option<String>,
}

/// One feature: its column in the feature table and in the training set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureColumn {
    /// The column of the feature table.
    pub column: String,
    /// Its name in the training set and in derived columns.
    pub name: String,
    /// Its type as Pelton names it.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// What a model came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// The versions that the SELECT and the feature joins read, by node.
    pub inputs: Vec<TrainedOn>,
    /// Examples that the model was fitted on.
    pub rows: u64,
    /// Metrics on the test part.
    pub metrics: BTreeMap<String, f64>,
}

/// A version that training read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedOn {
    /// The node.
    pub node: NodeName,
    /// The version.
    pub version: VersionId,
}

impl Package {
    /// The JSON that is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let package = Package { format: PACKAGE_FORMAT, ..self.clone() };
        serde_json::to_vec(&package).expect("a package has string keys and finite numbers only")
    }

    /// Reads what [`Package::to_bytes`] wrote; refuses other formats and contents that contradict each other.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Report> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let format: Format = serde_json::from_slice(bytes).map_err(|error| {
            Report::error("damaged-artifact", "a model package is not readable").note(error.to_string())
        })?;
        if format.format != PACKAGE_FORMAT {
            let message =
                format!("a model package has format {}, and this Pelton reads {PACKAGE_FORMAT}", format.format);
            return Err(
                Report::error("newer-warehouse", message).hint("use the Pelton that trained it, or train again")
            );
        }
        let package: Package = serde_json::from_slice(bytes).map_err(|error| {
            Report::error("damaged-artifact", "a model package is not readable").note(error.to_string())
        })?;
        package.validate().map_err(|reports| {
            let report =
                Report::error("damaged-artifact", format!("the package of `{}` contradicts itself", package.model));
            reports.0.into_iter().fold(report, |report, mistake| report.note(mistake.message))
        })?;
        Ok(package)
    }

    /// Takes the versions that an environment has for the tables of the lookups; tables that it lacks keep theirs.
    pub fn set_versions(&mut self, versions: &BTreeMap<NodeName, VersionId>) {
        for lookup in &mut self.lookups {
            if let Some(version) = versions.get(&lookup.table) {
                lookup.version = version.clone();
            }
        }
    }

    /// Finds what does not fit together: names used twice, unknown types, entities and inputs that nothing provides.
    pub fn validate(&self) -> Result<(), Reports> {
        let mut reports = Reports::default();
        let mut wrong = |message: String| reports.push(Report::error("internal", message));
        let mut names = BTreeSet::new();
        let features = self.lookups.iter().flat_map(|lookup| &lookup.columns);
        let typed = self.request.iter().chain(&self.key).map(|field| (&field.name, &field.data_type));
        for (name, data_type) in typed.chain(features.map(|feature| (&feature.name, &feature.data_type))) {
            if !names.insert(name.clone()) {
                wrong(format!("column `{name}` is there twice"));
            }
            if let Err(message) = types::parse(data_type) {
                wrong(format!("column `{name}`: {message}"));
            }
        }
        if let Some(time) = &self.time
            && !names.insert(time.clone())
        {
            wrong(format!("column `{time}` is there twice"));
        }
        for (name, _) in &self.derive {
            if !names.insert(name.clone()) {
                wrong(format!("derived column `{name}` is there twice"));
            }
        }
        for lookup in &self.lookups {
            for entity in &lookup.entity {
                if !self.request.iter().any(|field| field.name == *entity) {
                    wrong(format!("entity `{entity}` of `{}` is not a column of the request", lookup.table));
                }
            }
        }
        for input in &self.inputs {
            if !names.contains(input) || self.key.iter().any(|field| field.name == *input) {
                wrong(format!("nothing provides the input `{input}`"));
            }
        }
        if reports.0.is_empty() { Ok(()) } else { Err(reports) }
    }
}

impl RequestField {
    /// The Arrow type.
    pub fn arrow_type(&self) -> DataType {
        types::parse(&self.data_type).expect("a package's types are validated when it is read")
    }
}

impl FeatureColumn {
    /// The Arrow type.
    pub fn arrow_type(&self) -> DataType {
        types::parse(&self.data_type).expect("a package's types are validated when it is read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fraud_package;

    #[test]
    fn a_package_survives_a_round_trip() {
        let package = fraud_package();
        assert_eq!(Package::from_bytes(&package.to_bytes()).unwrap(), package);
    }

    #[test]
    fn an_unknown_format_is_refused_by_number() {
        let text = String::from_utf8(fraud_package().to_bytes()).unwrap().replace("\"format\":2", "\"format\":9");
        let report = Package::from_bytes(text.as_bytes()).unwrap_err();
        assert_eq!((report.code, report.message.contains("format 9")), ("newer-warehouse", true));
        assert_eq!(Package::from_bytes(b"{}").unwrap_err().code, "damaged-artifact");
        let text = String::from_utf8(fraud_package().to_bytes()).unwrap().replace("\"missing\"", "\"mising\"");
        assert_eq!(Package::from_bytes(text.as_bytes()).unwrap_err().code, "damaged-artifact");
    }

    #[test]
    fn a_package_that_contradicts_itself_is_refused_with_every_reason() {
        let mut package = fraud_package();
        package.inputs.push("weather".into());
        package.inputs.push("payment_id".into());
        package.lookups[0].entity = vec!["merchant".into()];
        package.request[1].data_type = "bigit".into();
        let report = Package::from_bytes(&package.to_bytes()).unwrap_err();
        assert_eq!(report.notes.len(), 4, "{:?}", report.notes);
    }

    #[test]
    fn lookups_take_the_environments_versions() {
        let mut package = fraud_package();
        package.set_versions(&BTreeMap::from([(NodeName::new("activity"), VersionId("bbbb".into()))]));
        assert_eq!(package.lookups[0].version.0, "bbbb");
    }
}
