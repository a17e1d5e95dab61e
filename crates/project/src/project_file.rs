//! Reads `pelton.toml`.

use crate::draft::whole_file;
use crate::settings::{ENGINE, PROJECT, RETENTION, SERVER};
use crate::toml::{Entry, File, parse};
use crate::{EngineSettings, NotifySettings, PublishRule, RetentionSettings, RetrySettings, ServerSettings, Settings};
use pelton_base::Report;

/// The least memory an engine can be told to use: below it, a single sort cannot hold a batch of each spilled file.
const MEMORY_BYTES_MIN: u64 = 16_000_000;

/// Reads the settings; what is wrong is reported, and the default stands in for it.
pub(crate) fn read(file: &File) -> Settings {
    let document = parse(file, (0, file.text.len()));
    let section = whole_file(file, document.as_ref(), &PROJECT);
    let name = section.need("name").and_then(|entry| entry.words()).map_or_else(String::new, |name| name.value);
    let warehouse = section.get("warehouse").and_then(|entry| {
        let folder = entry.words()?;
        if folder.value.contains("://") {
            entry.not_built(&folder);
            return None;
        }
        Some(folder.value)
    });
    let publish = [("all", PublishRule::All), ("healthy", PublishRule::Healthy)];
    Settings {
        name,
        warehouse: warehouse.unwrap_or_else(|| "warehouse".to_string()),
        publish: section.get("publish").and_then(|entry| entry.choice(&publish, &[])).unwrap_or(PublishRule::All),
        seed: section.get("seed").and_then(|entry| entry.integer(0, i64::MAX)).map_or(42, |seed| seed as u64),
        engine: section.get("engine").map_or_else(EngineSettings::default, |entry| engine(&entry)),
        server: section.get("server").map_or_else(ServerSettings::default, |entry| server(&entry)),
        retention: section.get("retention").map_or_else(RetentionSettings::default, |entry| retention(&entry)),
        retry: section.get("retry").map_or_else(RetrySettings::default, |entry| crate::retry::read(&entry)),
        notify: section.get("notify").map_or_else(NotifySettings::default, |entry| crate::notify::read(&entry)),
    }
}

fn engine(entry: &Entry) -> EngineSettings {
    let mut settings = EngineSettings::default();
    if entry.is_text() {
        engine_kind(entry);
        return settings;
    }
    let section = entry.section(&ENGINE);
    if let Some(entry) = section.get("kind") {
        engine_kind(&entry);
    }
    if let Some(bytes) = section.get("memory").and_then(|entry| entry.size(MEMORY_BYTES_MIN)) {
        settings.memory_bytes = bytes;
    }
    if let Some(threads) = section.get("threads").and_then(|entry| entry.integer(0, 1024)) {
        settings.threads = threads as usize;
    }
    settings
}

/// `local` is the only engine of this version; others of the design are refused by name.
fn engine_kind(entry: &Entry) {
    let Some(text) = entry.text() else { return };
    if text.value.starts_with("ballista:") || text.value == "ballista" {
        entry.not_built(&text);
    } else {
        entry.choice(&[("local", ())], &[]);
    }
}

fn server(entry: &Entry) -> ServerSettings {
    let mut settings = ServerSettings::default();
    let section = entry.section(&SERVER);
    if let Some(host) = section.get("host").and_then(|entry| entry.words()) {
        settings.host = host.value;
    }
    if let Some(port) = section.get("port").and_then(|entry| entry.integer(0, 65_535)) {
        settings.port = port as u16;
    }
    if let Some(bytes) = section.get("body_bytes_max").and_then(|entry| entry.size(1)) {
        settings.body_bytes_max = bytes;
    }
    let number = |key: &str, low: i64| section.get(key).and_then(|entry| entry.integer(low, i64::MAX));
    if let Some(rows) = number("rows_max", 1) {
        settings.rows_max = rows as usize;
    }
    if let Some(requests) = number("requests_max", 1) {
        settings.requests_max = requests as usize;
    }
    if let Some(connections) = number("connections_max", 1) {
        settings.connections_max = connections as usize;
    }
    if let Some(ms) = section.get("headers_ms").and_then(|entry| entry.integer(1, 3_600_000)) {
        settings.headers_ms = ms as u64;
    }
    if let Some(ms) = number("timeout_ms", 1) {
        settings.timeout_ms = ms as u64;
    }
    if let Some(ms) = number("drain_ms", 0) {
        settings.drain_ms = ms as u64;
    }
    settings
}

/// The least time that what was replaced is kept: readers that began before must be able to end.
const KEEP_US_MIN: i64 = 3_600_000_000;

fn retention(entry: &Entry) -> RetentionSettings {
    let mut settings = RetentionSettings::default();
    let section = entry.section(&RETENTION);
    if let Some(entry) = section.get("keep")
        && let Some(keep_us) = entry.duration_us()
    {
        match keep_us >= KEEP_US_MIN {
            true => settings.keep_us = keep_us,
            false => entry.refuse("is shorter than an hour, so a reader could lose the files that it reads"),
        }
    }
    if let Some(publications) = section.get("publications").and_then(|entry| entry.integer(1, i64::MAX)) {
        settings.publications = publications as u64;
    }
    settings
}

impl Default for RetentionSettings {
    fn default() -> Self {
        RetentionSettings { keep_us: 30 * 86_400_000_000, publications: 10 }
    }
}

impl Default for EngineSettings {
    fn default() -> Self {
        EngineSettings { kind: "local".to_string(), memory_bytes: 1_000_000_000, threads: 0 }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            host: "127.0.0.1".to_string(),
            port: 8470,
            body_bytes_max: 8 << 20,
            rows_max: 10_000,
            requests_max: 512,
            // Half of the files that most systems let a process open; stores and logs need some too.
            connections_max: 512,
            headers_ms: 30_000,
            timeout_ms: 10_000,
            drain_ms: 10_000,
        }
    }
}

/// The report of a folder that is no project.
pub(crate) fn no_project(root: &std::path::Path) -> Report {
    Report::error("no-project", format!("there is no `pelton.toml` in `{}`", root.display()))
        .hint("pelton init")
        .hint("pass `--project DIR` to name another folder")
}
