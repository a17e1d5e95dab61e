//! `[notify]` of `pelton.toml`: who is told how a run, a check or a publication ended.

use crate::settings::NOTIFY;
use crate::toml::Entry;
use serde::Serialize;

/// The longest that a notification may take, in milliseconds.
const TIMEOUT_MS_MAX: i64 = 60_000;

/// The most attempts at a notification.
const ATTEMPTS_MAX: i64 = 5;

/// What one can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// A run could not do all that it was to do.
    RunFailed,
    /// An environment has a new publication, by a run, by `publish` or by `rollback`.
    Published,
    /// Rows broke a check, so their table was not built.
    CheckFailed,
    /// A run has something to say that stopped nothing, such as a check that only warns.
    Warned,
    /// A model was held back by its gate.
    ModelHeld,
}

impl Occasion {
    /// All of them, with the words for them.
    pub const ALL: [(&'static str, Occasion); 5] = [
        ("run-failed", Occasion::RunFailed),
        ("published", Occasion::Published),
        ("check-failed", Occasion::CheckFailed),
        ("warned", Occasion::Warned),
        ("model-held", Occasion::ModelHeld),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, occasion)| *occasion == self).map_or("", |(word, _)| word)
    }
}

/// `[notify]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotifySettings {
    /// `webhook`: where a POST goes. It may be a secret, and is not written with the other settings.
    #[serde(skip_serializing)]
    pub webhook: Option<String>,
    /// `webhook_env`: the environment variable that has the URL, where the URL is a secret.
    pub webhook_env: Option<String>,
    /// `bearer_env`: the environment variable with the token that goes with the POST.
    pub bearer_env: Option<String>,
    /// `command`: a program and its arguments; it is started in the project's folder.
    pub command: Vec<String>,
    /// `on`: what to tell of.
    pub on: Vec<Occasion>,
    /// `timeout_ms`: how long one attempt may take. Default 5,000.
    pub timeout_ms: u64,
    /// `attempts`: how often the POST is tried. Default 3.
    pub attempts: u32,
}

impl Default for NotifySettings {
    fn default() -> Self {
        let on = Occasion::ALL.iter().map(|(_, occasion)| *occasion).collect();
        NotifySettings {
            webhook: None,
            webhook_env: None,
            bearer_env: None,
            command: Vec::new(),
            on,
            timeout_ms: 5_000,
            attempts: 3,
        }
    }
}

pub(crate) fn read(entry: &Entry) -> NotifySettings {
    let mut settings = NotifySettings::default();
    let section = entry.section(&NOTIFY);
    if let Some(entry) = section.get("webhook")
        && let Some(url) = entry.words()
    {
        match url.value.starts_with("https://") || url.value.starts_with("http://") {
            true => settings.webhook = Some(url.value),
            false => entry.refuse("is not a URL that begins with `https://` or `http://`"),
        }
    }
    let variable = |key: &str| {
        let entry = section.get(key)?;
        let name = entry.words()?;
        let is_name = !name.value.starts_with(|c: char| c.is_ascii_digit())
            && name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            entry.refuse("is not the name of an environment variable");
        }
        is_name.then_some(name.value)
    };
    settings.webhook_env = variable("webhook_env");
    settings.bearer_env = variable("bearer_env");
    if settings.webhook.is_some()
        && settings.webhook_env.is_some()
        && let Some(entry) = section.get("webhook_env")
    {
        entry.refuse("stands beside `webhook`, and only one of them can hold");
    }
    if let Some(entry) = section.get("command") {
        settings.command = entry.items().iter().filter_map(|word| word.words()).map(|word| word.value).collect();
    }
    if let Some(entry) = section.get("on") {
        settings.on = entry.items().iter().filter_map(|item| item.choice(&Occasion::ALL, &[])).collect();
    }
    if let Some(ms) = section.get("timeout_ms").and_then(|entry| entry.integer(100, TIMEOUT_MS_MAX)) {
        settings.timeout_ms = ms as u64;
    }
    if let Some(attempts) = section.get("attempts").and_then(|entry| entry.integer(1, ATTEMPTS_MAX)) {
        settings.attempts = attempts as u32;
    }
    settings
}
