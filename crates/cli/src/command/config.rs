//! `pelton config`: the settings in force and where each comes from; `--reference`, what all of them mean.

use crate::args::Config;
use crate::files;
use crate::print::{Out, pages, words};
use crate::session::Session;
use pelton_base::{Report, Reports};
use pelton_project::{Project, Settings};
use serde_json::{Value, json};

/// A setting in force.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct InForce {
    /// Its name, with its table: `engine.memory`.
    pub(crate) setting: &'static str,
    /// Its value.
    pub(crate) value: Value,
    /// `pelton.toml` or `default`.
    pub(crate) from: &'static str,
}

pub(crate) fn config(args: &Config, session: &Session, out: &Out) -> Result<u8, Reports> {
    if args.reference {
        out.data(pelton_project::settings_markdown());
        return Ok(0);
    }
    let project = pelton_project::load_settings(&session.root()?)?;
    let settings = in_force(&project)?;
    if args.answer.is_json() {
        out.json(&json!({ "project": project.root, "environment": session.environment, "settings": settings }));
    } else {
        out.data(pages::settings(&project.root, &session.environment, &settings, out.data_style));
    }
    Ok(0)
}

fn in_force(project: &Project) -> Result<Vec<InForce>, Report> {
    let path = project.root.join("pelton.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| files::unreadable("read", &path, &error))?;
    let document = text.parse::<toml_edit::Document<String>>().map_err(|error| {
        Report::error("invalid-toml", "`pelton.toml` changed while it was read").note(error.message().to_string())
    })?;
    let is_written = |setting: &str| {
        let mut keys = setting.split('.');
        let mut item = keys.next().and_then(|key| document.get(key));
        // `engine = "local"` is short for `engine = { kind = "local" }`.
        if setting == "engine.kind" && item.is_some_and(toml_edit::Item::is_str) {
            return true;
        }
        for key in keys {
            item = item.and_then(|item| item.get(key));
        }
        item.is_some()
    };
    let from = |setting: &str| if is_written(setting) { "pelton.toml" } else { "default" };
    Ok(values(&project.settings)
        .into_iter()
        .map(|(setting, value)| InForce { setting, value, from: from(setting) })
        .collect())
}

/// Every setting of `pelton.toml` by the name that it has there.
/// A URL without what may be a secret in it.
fn without_path(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}/...", authority.rsplit('@').next().unwrap_or_default())
}

fn values(settings: &Settings) -> Vec<(&'static str, Value)> {
    let Settings { name, warehouse, publish, seed, engine, server, retention, retry, notify } = settings;
    vec![
        ("name", json!(name)),
        ("warehouse", json!(warehouse)),
        ("publish", json!(publish)),
        ("seed", json!(seed)),
        ("engine.kind", json!(engine.kind)),
        ("engine.memory", json!(words::bytes(engine.memory_bytes))),
        ("engine.threads", json!(engine.threads)),
        ("server.host", json!(server.host)),
        ("server.port", json!(server.port)),
        ("server.body_bytes_max", json!(server.body_bytes_max)),
        ("server.rows_max", json!(server.rows_max)),
        ("server.requests_max", json!(server.requests_max)),
        ("server.connections_max", json!(server.connections_max)),
        ("server.headers_ms", json!(server.headers_ms)),
        ("server.timeout_ms", json!(server.timeout_ms)),
        ("server.drain_ms", json!(server.drain_ms)),
        ("retention.keep", json!(words::duration_us(retention.keep_us))),
        ("retention.publications", json!(retention.publications)),
        ("retry.attempts", json!(retry.attempts)),
        ("retry.wait_ms", json!(retry.wait_ms)),
        ("retry.wait_ms_max", json!(retry.wait_ms_max)),
        ("notify.webhook", json!(notify.webhook.as_deref().map(without_path))),
        ("notify.webhook_env", json!(notify.webhook_env)),
        ("notify.bearer_env", json!(notify.bearer_env)),
        ("notify.command", json!(notify.command)),
        ("notify.on", json!(notify.on.iter().map(|occasion| occasion.word()).collect::<Vec<_>>())),
        ("notify.timeout_ms", json!(notify.timeout_ms)),
        ("notify.attempts", json!(notify.attempts)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &str) -> (tempfile::TempDir, Project) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pelton.toml"), text).unwrap();
        let project = pelton_project::load(folder.path()).unwrap();
        (folder, project)
    }

    #[test]
    fn every_setting_of_the_project_file_is_shown() {
        let (_folder, project) = project("name = \"x\"\n");
        let shown: Vec<&str> = values(&project.settings).into_iter().map(|(setting, _)| setting).collect();
        let tables = ["engine", "server", "retention", "retry", "notify"];
        for table in pelton_project::SETTINGS.iter().filter(|table| table.files == "pelton.toml") {
            for setting in table.settings.iter().filter(|setting| setting.built) {
                let name = if table.table.is_empty() {
                    setting.key.into()
                } else {
                    format!("{}.{}", table.table, setting.key)
                };
                assert!(shown.contains(&name.as_str()) || tables.contains(&name.as_str()), "{name}");
            }
        }
    }

    #[test]
    fn a_setting_says_where_it_comes_from() {
        let (_folder, project) = project("name = \"x\"\nengine = \"local\"\n[server]\nport = 9000\n");
        let settings = in_force(&project).unwrap();
        let from = |name: &str| settings.iter().find(|setting| setting.setting == name).unwrap().clone();
        assert_eq!((from("server.port").value, from("server.port").from), (json!(9000), "pelton.toml"));
        assert_eq!((from("engine.kind").from, from("engine.memory").from), ("pelton.toml", "default"));
        assert_eq!((from("seed").value, from("seed").from), (json!(42), "default"));
    }
}
