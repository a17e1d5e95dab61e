//! Tells a webhook and a program how a run, a check or a publication ended: `[notify]` of `pelton.toml`.
//!
//! Who is told gets one JSON document for each occasion, the program on its stdin. What goes wrong here is a warning and changes
//! nothing else: the run ended before it was told of. A URL, a token and what a hook answers are never printed.

mod hook;
mod webhook;

use crate::print::Out;
use pelton_base::{Clock, Report, Reports, format_time_us};
use pelton_project::{Occasion, Project};
use pelton_runner::{Moved, RunOutcome};
use serde_json::{Value, json};

/// One thing to tell.
struct Notice {
    occasion: Occasion,
    body: Value,
}

/// Tells of a run that ended, or that could not begin.
pub(crate) async fn of_run(
    project: &Project,
    environment: &str,
    ended: Result<&RunOutcome, &Reports>,
    clock: &dyn Clock,
    out: &Out,
) {
    let about = About { project, environment, at_us: clock.now_us() };
    let mut notices = Vec::new();
    match ended {
        Ok(outcome) => {
            let of = |codes: &[&str]| reports_of(&outcome.reports, |report| codes.contains(&report.code));
            let run = Some(outcome.run.0.as_str());
            let mut tell = |occasion, text: String, reports: Vec<&Report>| {
                notices.push(about.notice(occasion, run, outcome.publication, text, &reports, json!(outcome)));
            };
            let unpublished = !of(&["no-publication"]).is_empty();
            if !outcome.failed.is_empty() || unpublished || outcome.reports.exit_code() > 1 {
                let names: Vec<&str> = outcome.failed.iter().map(|name| name.as_str()).collect();
                let what = match names.as_slice() {
                    [] => "a run failed".to_string(),
                    names => format!("a run failed at {}", names.join(", ")),
                };
                tell(Occasion::RunFailed, what, reports_of(&outcome.reports, Report::is_error));
            }
            let failed = of(&["check-failed"]);
            if !failed.is_empty() {
                tell(Occasion::CheckFailed, first(&failed), failed);
            }
            if !outcome.held.is_empty() {
                let held = of(&["gate-not-met", "baseline-not-beaten"]);
                tell(Occasion::ModelHeld, first(&held), held);
            }
            let warned = reports_of(&outcome.reports, |report| !report.is_error());
            if !warned.is_empty() {
                tell(Occasion::Warned, first(&warned), warned);
            }
            if let (true, Some(id)) = (outcome.published, outcome.publication) {
                tell(Occasion::Published, format!("publication {id} of `{environment}`"), Vec::new());
            }
        }
        Err(reports) => {
            let reports: Vec<&Report> = reports.0.iter().collect();
            let text = first(&reports);
            notices.push(about.notice(Occasion::RunFailed, None, None, text, &reports, Value::Null));
        }
    }
    send(project, notices, out).await;
}

/// Tells of an environment that was published to another, or went back.
pub(crate) async fn of_move(project: &Project, moved: &Moved, clock: &dyn Clock, out: &Out) {
    let about = About { project, environment: &moved.environment, at_us: clock.now_us() };
    let mut notices = Vec::new();
    let run = moved.run.as_ref().map(|run| run.0.as_str());
    if let (true, Some(id)) = (moved.published, moved.publication) {
        let text = match (moved.restores, &moved.from) {
            (Some(back), _) => format!("publication {id} of `{}` brought {back} back", moved.environment),
            (None, Some(from)) => format!("publication {id} of `{}`, from `{}`", moved.environment, from.environment),
            (None, None) => format!("publication {id} of `{}`", moved.environment),
        };
        notices.push(about.notice(Occasion::Published, run, Some(id), text, &[], json!(moved)));
    }
    if !moved.held.is_empty() {
        let held = reports_of(&moved.reports, Report::is_error);
        notices.push(about.notice(Occasion::ModelHeld, run, moved.publication, first(&held), &held, json!(moved)));
    }
    send(project, notices, out).await;
}

fn reports_of(reports: &Reports, is_meant: impl Fn(&Report) -> bool) -> Vec<&Report> {
    reports.0.iter().filter(|report| is_meant(report)).collect()
}

fn first(reports: &[&Report]) -> String {
    reports.first().map_or_else(String::new, |report| report.message.clone())
}

/// What all notices of a command have in common.
struct About<'a> {
    project: &'a Project,
    environment: &'a str,
    at_us: i64,
}

impl About<'_> {
    fn notice(
        &self,
        occasion: Occasion,
        run: Option<&str>,
        publication: Option<i64>,
        text: String,
        reports: &[&Report],
        outcome: Value,
    ) -> Notice {
        let name = &self.project.settings.name;
        let body = json!({
            "event": occasion.word(),
            // The key under which chat programs take a message.
            "text": format!("{name}: {text}"),
            "project": name,
            "environment": self.environment,
            "run": run,
            "publication": publication,
            "at": format_time_us(self.at_us),
            "reports": reports,
            "outcome": outcome,
        });
        Notice { occasion, body }
    }
}

async fn send(project: &Project, notices: Vec<Notice>, out: &Out) {
    let settings = &project.settings.notify;
    let wanted: Vec<String> = notices
        .iter()
        .filter(|notice| settings.on.contains(&notice.occasion))
        .map(|notice| notice.body.to_string())
        .collect();
    if wanted.is_empty() {
        return;
    }
    let mut said = Vec::new();
    let webhook = webhook::Webhook::of(settings, project.settings.seed).unwrap_or_else(|report| {
        said.push(*report);
        None
    });
    for body in wanted {
        if let Some(webhook) = &webhook {
            said.extend(webhook.post(&body).await.err());
        }
        if !settings.command.is_empty() {
            said.extend(hook::run(&settings.command, &project.root, body, settings.timeout_ms).await.err());
        }
    }
    if !said.is_empty() {
        out.reports(&Reports(joined(said)));
    }
}

/// What failed in the same way for several notices, told once.
fn joined(said: Vec<Report>) -> Vec<Report> {
    let mut told: Vec<(Report, usize)> = Vec::new();
    for report in said {
        match told.iter_mut().find(|(earlier, _)| *earlier == report) {
            Some((_, notices)) => *notices += 1,
            None => told.push((report, 1)),
        }
    }
    let with_count = |(report, notices): (Report, usize)| match notices {
        1 => report,
        _ => report.note(format!("{notices} notices did not reach it")),
    };
    told.into_iter().map(with_count).collect()
}

/// The warning that somebody was not told.
fn not_notified(whom: &str, why: impl Into<String>) -> Report {
    Report::warning("not-notified", format!("{whom} was not told")).note(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_alike_for_several_notices_is_told_once() {
        let refused = || not_notified("the webhook at example.com", "it answered 403 Forbidden");
        let slow = not_notified("the webhook at example.com", "it did not answer in time");
        assert_eq!(
            joined(vec![refused(), slow.clone(), refused()]),
            [refused().note("2 notices did not reach it"), slow.clone()]
        );
        assert_eq!(joined(vec![slow.clone()]), [slow]);
    }
}
