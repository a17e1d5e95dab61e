//! A POST of a notice to a URL.

use super::not_notified;
use pelton_base::{Report, Seed};
use pelton_project::{NotifySettings, RetrySettings};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use reqwest::{Client, StatusCode, Url, redirect};
use std::time::Duration;

/// Where notices go.
pub(super) struct Webhook {
    client: Client,
    url: Url,
    bearer: Option<HeaderValue>,
    attempts: u32,
    waits: RetrySettings,
    seed: Seed,
}

impl Webhook {
    /// The webhook of the settings, when there is one; secrets come from the environment.
    pub(super) fn of(settings: &NotifySettings, seed: u64) -> Result<Option<Self>, Box<Report>> {
        let text = match (&settings.webhook, &settings.webhook_env) {
            (Some(url), _) => url.clone(),
            (None, Some(name)) => variable(name, "webhook_env")?,
            (None, None) => return Ok(None),
        };
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| Box::new(not_notified("the webhook", "its URL cannot be read")))?;
        let bearer = match &settings.bearer_env {
            Some(name) => {
                let header = HeaderValue::from_str(&format!("Bearer {}", variable(name, "bearer_env")?));
                let mut header =
                    header.map_err(|_| Box::new(not_notified("the webhook", "its token cannot stand in a header")))?;
                header.set_sensitive(true);
                Some(header)
            }
            None => None,
        };
        let mut client = Client::builder()
            .timeout(Duration::from_millis(settings.timeout_ms))
            // A notice is for whom the settings name.
            .redirect(redirect::Policy::none());
        if url.scheme() == "http" {
            // A machine without certificates needs none for this.
            client = client.tls_certs_only([]);
        }
        let client = client
            .build()
            .map_err(|_| Box::new(not_notified("the webhook", "this machine's certificates cannot be read")))?;
        let waits = RetrySettings { attempts: settings.attempts, ..RetrySettings::default() };
        Ok(Some(Webhook { client, url, bearer, attempts: settings.attempts, waits, seed: Seed(seed).derive("notify") }))
    }

    /// Posts a JSON document; tries again when nobody answers, or the server says that it is its own fault.
    pub(super) async fn post(&self, body: &str) -> Result<(), Report> {
        let mut attempt = 1;
        loop {
            let (why, is_passing) = match self.once(body).await {
                Ok(status) if status.is_success() => return Ok(()),
                Ok(status) => {
                    let is_passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                    (format!("it answered {status}"), is_passing)
                }
                // The library's words have the whole URL in them.
                Err(error) if error.is_timeout() => ("it did not answer in time".to_string(), true),
                Err(error) if error.is_connect() => ("it cannot be connected to".to_string(), true),
                Err(_) => ("the answer broke off".to_string(), true),
            };
            if !is_passing || attempt >= self.attempts {
                let whom = format!("the webhook at {}", self.url.host_str().unwrap_or_default());
                let tried = if attempt == 1 { String::new() } else { format!("; tried {attempt} times") };
                return Err(not_notified(&whom, format!("{why}{tried}")));
            }
            tokio::time::sleep(self.waits.wait_after(attempt, self.seed)).await;
            attempt += 1;
        }
    }

    async fn once(&self, body: &str) -> Result<StatusCode, reqwest::Error> {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("pelton/", env!("CARGO_PKG_VERSION")));
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer.clone());
        }
        Ok(request.body(body.to_string()).send().await?.status())
    }
}

/// The value of an environment variable that a setting names.
fn variable(name: &str, setting: &str) -> Result<String, Box<Report>> {
    std::env::var(name).map_err(|_| {
        let note = format!("`notify.{setting}` names the environment variable `{name}`, which is not set");
        Box::new(not_notified("the webhook", note))
    })
}
