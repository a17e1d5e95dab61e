//! Whether the models of a publication find what they look up.
//!
//! An endpoint reads its feature tables at the versions that the publication has, and a model may stay in service while they move on: it
//! missed its gate, it failed, or it was not selected. A feature that is gone then would fail every request, and one of another
//! type would be read as something that it is not. So a publication is asked before it is made, by what was recorded of its versions.

use crate::catalog::{self, Versions};
use crate::context::Context;
use crate::serving;
use arrow::datatypes::{DataType, Schema};
use pelton_base::{NodeName, Report, Reports, VersionId};
use pelton_query::types;
use pelton_serve::{Lookup, Package};
use std::collections::BTreeSet;

/// A model and a version of a feature table that it cannot look up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) model: NodeName,
    /// The model's version.
    pub(crate) version: VersionId,
    pub(crate) table: NodeName,
    /// The table's version that the model was trained with.
    pub(crate) trained: VersionId,
    /// What does not fit, each in a sentence.
    pub(crate) reasons: Vec<String>,
}

impl Misfit {
    pub(crate) fn report(&self) -> Report {
        let Misfit { model, version, table, trained, reasons } = self;
        let message = format!("model `{model}` cannot look up its features in the new version of `{table}`");
        let report = Report::error("feature-changed", message)
            .note(format!("version {version} of `{model}` was trained with version {trained} of `{table}`"));
        reasons.iter().fold(report, |report, reason| report.note(reason))
    }
}

/// The command that trains the models of all these misfits anew: a run of one alone would be refused because of the others.
pub(crate) fn retrain<'a>(misfits: impl IntoIterator<Item = &'a Misfit>, environment: &str) -> Option<String> {
    let models: BTreeSet<&NodeName> = misfits.into_iter().map(|misfit| &misfit.model).collect();
    if models.is_empty() {
        return None;
    }
    let models = models.iter().map(|model| format!("+{model}")).collect::<Vec<_>>().join(" ");
    Some(match environment {
        "main" => format!("pelton run {models}"),
        _ => format!("pelton run {models} --env {environment}"),
    })
}

/// What of a run's versions can be published together.
#[derive(Debug, Default)]
pub(crate) struct Fitting {
    /// The versions, in which every model finds its features.
    pub(crate) nodes: Versions,
    /// Why some of them are not those that the run made.
    pub(crate) misfits: Vec<Misfit>,
    /// Nodes that stay as they were published before.
    pub(crate) put_back: BTreeSet<NodeName>,
}

/// Puts feature tables that a model could not look up, and what reads them, back to the versions `before`.
///
/// A model that was trained with the new versions goes back with them, and may then miss something in another table; so it is asked again
/// until everything fits. That ends: a model and a table that were put back stand beside each other as before, which is taken as it is.
pub(crate) fn settle(ctx: &Context, wanted: &Versions, before: &Versions) -> Result<Fitting, Reports> {
    let mut fitting = Fitting { nodes: wanted.clone(), ..Fitting::default() };
    let readers = ctx.project.readers();
    loop {
        let misfits = misfits(ctx, &serving::packages(ctx, &fitting.nodes)?, &fitting.nodes, before)?;
        if misfits.is_empty() {
            return Ok(fitting);
        }
        let both = misfits.iter().flat_map(|misfit| [&misfit.table, &misfit.model]);
        let mut waiting: Vec<NodeName> = both.cloned().collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            waiting.extend(readers.get(&name).into_iter().flatten().cloned());
            if fitting.nodes.get(&name) == before.get(&name) {
                continue;
            }
            match before.get(&name) {
                Some(id) => fitting.nodes.insert(name.clone(), id.clone()),
                None => fitting.nodes.remove(&name),
            };
            fitting.put_back.insert(name);
        }
        fitting.misfits.extend(misfits);
    }
}

/// Which of the models among these versions, given as `packages`, could not look up a feature table, unless both stand beside each other
/// `before` already.
pub(crate) fn misfits(
    ctx: &Context,
    packages: &[Package],
    versions: &Versions,
    before: &Versions,
) -> Result<Vec<Misfit>, Reports> {
    let mut found = Vec::new();
    for package in packages {
        let stays = |node: &NodeName| before.get(node) == versions.get(node);
        for lookup in &package.lookups {
            let Some(id) = versions.get(&lookup.table) else { continue };
            if *id == lookup.version || (stays(&package.model) && stays(&lookup.table)) {
                continue;
            }
            let reasons = reasons(package, lookup, id, &catalog::load(ctx, id)?.schema());
            if !reasons.is_empty() {
                let (model, table) = (package.model.clone(), lookup.table.clone());
                let (version, trained) = (versions[&model].clone(), lookup.version.clone());
                found.push(Misfit { model, version, table, trained, reasons });
            }
        }
    }
    Ok(found)
}

/// What a lookup does not find in a version of its table, or finds with another type.
fn reasons(package: &Package, lookup: &Lookup, id: &VersionId, schema: &Schema) -> Vec<String> {
    let table = &lookup.table;
    let time = types::name(&types::timestamp());
    let entity = lookup.entity.iter().filter_map(|name| {
        let field = package.request.iter().find(|field| field.name == *name)?;
        Some((name, field.data_type.clone()))
    });
    let times = [Some(&lookup.time), lookup.known_at.as_ref()];
    let times = times.into_iter().flatten().map(|name| (name, time.clone()));
    let features = lookup.columns.iter().map(|feature| (&feature.column, feature.data_type.clone()));
    let is = |data_type: &DataType| types::name(data_type);
    let wrong = entity.chain(times).chain(features).filter_map(|(name, wanted)| match schema.field_with_name(name) {
        Err(_) => Some(format!("version {id} of `{table}` has no column `{name}`")),
        Ok(field) if is(field.data_type()) != wanted => Some(format!(
            "column `{name}` is {} in version {id} of `{table}`, and the model was trained with {wanted}",
            is(field.data_type())
        )),
        Ok(_) => None,
    });
    wrong.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;
    use pelton_base::Digest;
    use pelton_project::{MissingRule, Task};
    use pelton_serve::{FeatureColumn, RequestField, Training};

    fn package() -> Package {
        let field = |name: &str| RequestField { name: name.into(), data_type: "bigint".into(), nullable: true };
        let feature = |name: &str, data_type: &str| FeatureColumn {
            column: name.into(),
            name: name.into(),
            data_type: data_type.into(),
        };
        Package {
            format: 0,
            model: "over".into(),
            task: Task::Classification,
            learner: "gbdt".into(),
            target: "y".into(),
            request: vec![field("grp"), field("x")],
            time: Some("at".into()),
            key: Vec::new(),
            lookups: vec![Lookup {
                table: "activity".into(),
                version: VersionId("aaaa".into()),
                entity: vec!["grp".into()],
                columns: vec![feature("most", "double"), feature("seen", "bigint")],
                ttl_us: None,
                time: "at".into(),
                known_at: Some("known_at".into()),
            }],
            derive: Vec::new(),
            inputs: vec!["most".into(), "seen".into()],
            missing: MissingRule::Null,
            artifact: Digest(1),
            training: Training::default(),
        }
    }

    fn reasons_of(columns: &[(&str, DataType)]) -> Vec<String> {
        let fields: Vec<Field> =
            columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect();
        let package = package();
        reasons(&package, &package.lookups[0], &VersionId("bbbb".into()), &Schema::new(fields))
    }

    #[test]
    fn one_command_trains_all_models_that_do_not_fit() {
        let misfit = |model: &str, table: &str| Misfit {
            model: model.into(),
            version: VersionId("aaaa".into()),
            table: table.into(),
            trained: VersionId("bbbb".into()),
            reasons: Vec::new(),
        };
        let misfits = [misfit("multi", "activity"), misfit("bin", "activity"), misfit("bin", "spend")];
        assert_eq!(retrain(&misfits, "main").as_deref(), Some("pelton run +bin +multi"));
        assert_eq!(retrain(&misfits[..1], "try").as_deref(), Some("pelton run +multi --env try"));
        assert_eq!(retrain(&misfits[..0], "main"), None);
    }

    #[test]
    fn a_version_fits_when_every_column_is_there_with_its_type() {
        let mut columns = vec![
            ("grp", DataType::Int64),
            ("at", types::timestamp()),
            ("known_at", types::timestamp()),
            ("more", DataType::Utf8),
            ("seen", DataType::Int64),
            ("most", DataType::Float64),
        ];
        assert_eq!(reasons_of(&columns), Vec::<String>::new());
        columns[0].1 = DataType::Utf8;
        columns[2].1 = DataType::Date32;
        columns[5].1 = DataType::Utf8;
        columns.remove(4);
        assert_eq!(
            reasons_of(&columns),
            [
                "column `grp` is text in version bbbb of `activity`, and the model was trained with bigint",
                "column `known_at` is date in version bbbb of `activity`, and the model was trained with timestamp",
                "column `most` is text in version bbbb of `activity`, and the model was trained with double",
                "version bbbb of `activity` has no column `seen`",
            ]
        );
    }
}
