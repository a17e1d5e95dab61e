//! The end of a run: what may be published is, in one transaction, and how the run ended is written down.

use super::Run;
use crate::catalog::Versions;
use crate::context::{Context, reports};
use crate::outcome::{Event, RunOutcome};
use crate::retry::{self, Attempts};
use crate::{fit, logs, plan, serving};
use pelton_base::fail::{self, Point};
use pelton_base::{NodeName, Report, Reports, RunId, VersionId};
use pelton_project::PublishRule;
use pelton_store::{Action, Decision, Publish, RunLock, StaleFiles};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

impl Run<'_> {
    /// What is decided about versions that the environment has and the project has no node of any more: they leave with the publication
    /// of `nodes`.
    fn removed(&self, nodes: &Versions) -> Result<Vec<Decision>, Reports> {
        let (_, gone) = plan::heads_and_gone(self.ctx, &self.options.environment)?;
        let gone = gone.into_iter().filter(|(head, _)| nodes.get(&head.node) != Some(&head.id));
        let removed = gone.map(|(head, reason)| {
            let detail = serde_json::json!({ "summary": format!("version {} left", head.id), "before": head.id });
            Decision { node: head.node, action: Action::Removed, reason, detail }
        });
        Ok(removed.collect())
    }

    /// Publishes what may be published, and writes down how the run ended.
    pub(super) async fn finish(
        mut self,
        current: Option<(i64, BTreeMap<NodeName, VersionId>)>,
        lock: &RunLock,
        began: Instant,
    ) -> Result<RunOutcome, Reports> {
        let state = self.ctx.warehouse.state();
        let mut attempts = Attempts::at(self.ctx, None);
        let publication = loop {
            let publication = self.publish(&current).await;
            let again = publication.as_ref().err().and_then(|mistakes| attempts.after(&mistakes.0));
            let Some(again) = again else { break publication };
            self.handle.retrying(&again);
            again.wait().await;
            self.outcome.retried.push(again);
        };
        let mut is_refused = false;
        match publication {
            Ok(Some(id)) => {
                self.outcome.publication = Some(id);
                self.outcome.published = true;
            }
            Ok(None) => {}
            Err(mistakes) => {
                is_refused = true;
                self.outcome.reports.extend(mistakes);
            }
        }
        match logs::show(self.ctx, &self.id, Some(&self.handle)).await {
            Ok(shown) => {
                self.outcome.retried.extend(shown.retried);
                self.outcome.reports.extend(shown.said);
            }
            Err(mistakes) => self.outcome.reports.extend(mistakes),
        }
        if let Err(mistake) = clean_up(self.ctx, lock, &self.id) {
            self.outcome.reports.push(mistake);
        }
        if !self.decisions.is_empty() {
            let decisions = || state.record_decisions(&self.id, &self.decisions).map_err(reports);
            retry::quietly(self.ctx, decisions).await?;
        }
        self.outcome.reports.extend(self.said.into_inner().expect("nobody panics while holding it"));
        self.outcome.elapsed_ms = began.elapsed().as_millis() as u64;
        let word = match self.outcome.published {
            true => "published",
            false if is_refused || !self.outcome.failed.is_empty() => "failed",
            false => "nothing",
        };
        let summary = serde_json::to_value(&self.outcome)
            .map_err(|error| Report::error("internal", format!("the run's outcome cannot be written: {error}")))?;
        let published = self.outcome.publication.filter(|_| self.outcome.published);
        let ended = || state.finish_run(&self.id, self.ctx.now_us(), word, published, &summary).map_err(reports);
        retry::quietly(self.ctx, ended).await?;
        Ok(self.outcome)
    }

    async fn publish(
        &mut self,
        current: &Option<(i64, BTreeMap<NodeName, VersionId>)>,
    ) -> Result<Option<i64>, Reports> {
        let before = current.as_ref().map(|(_, nodes)| nodes.clone()).unwrap_or_default();
        if self.versions.is_empty() || self.versions == before {
            return Ok(None);
        }
        let publishes_all = self.ctx.project.settings.publish == PublishRule::All;
        let incomplete = !self.outcome.failed.is_empty();
        if incomplete && publishes_all {
            return Err(self.unpublished(current, "a node failed").into());
        }
        let fitting = fit::settle(self.ctx, &self.versions, &before)?;
        let mut misfits = self.misfits(&fitting.misfits);
        if !misfits.is_empty() && publishes_all {
            misfits.push(self.unpublished(current, "a model in service could not look up its features"));
            return Err(Reports(misfits));
        }
        let nodes = fitting.nodes;
        let kept_back = kept_back(&fitting.put_back, &before);
        let mut publication = None;
        if nodes != before {
            self.handle.send(Event::Publishing);
            serving::build_online(self.ctx, &nodes, serving::packages(self.ctx, &nodes)?).await?;
            let removed = self.removed(&nodes)?;
            let decisions = [self.decisions.as_slice(), &removed, &kept_back].concat();
            let publish = Publish {
                environment: &self.options.environment,
                run: &self.id,
                at_us: self.ctx.now_us(),
                nodes: &nodes,
                expect: current.as_ref().map(|(id, nodes)| (*id, nodes)),
                restores: None,
                decisions: &decisions,
            };
            publication = Some(self.ctx.warehouse.state().publish(&publish).map_err(reports)?);
            self.decisions.clear();
            self.outcome.removed = removed.into_iter().map(|decision| decision.node).collect();
        } else {
            self.decisions.extend(kept_back);
        }
        self.outcome.reports.extend(Reports(misfits));
        let new = fitting.put_back.iter().filter(|name| !self.outcome.withheld.contains(name));
        let new: Vec<NodeName> = new.cloned().collect();
        self.outcome.withheld.extend(new);
        if incomplete || !fitting.put_back.is_empty() {
            self.tell_what_stayed(publication, &nodes);
        }
        Ok(publication)
    }

    /// Why nothing is published although something was built.
    fn unpublished(&self, current: &Option<(i64, Versions)>, why: &str) -> Report {
        let built = self.outcome.built.len() + self.outcome.reused.len();
        let what = match current {
            Some((id, _)) => format!("environment `{}` stays at publication {id}", self.options.environment),
            None => format!("environment `{}` still has no publication", self.options.environment),
        };
        Report::error("no-publication", format!("nothing was published, because {why}"))
            .note(what)
            .note(match built {
                1 => "1 version that this run made or found is kept for the next run".into(),
                _ => format!("{built} versions that this run made or found are kept for the next run"),
            })
            .hint("set `publish = \"healthy\"` in pelton.toml to publish what is healthy")
    }

    /// Says that models cannot look up what this run made, and what to do. One command trains those anew that this run did not try;
    /// the last report of them has it.
    fn misfits(&self, misfits: &[fit::Misfit]) -> Vec<Report> {
        let outcome = &self.outcome;
        let was_tried = |misfit: &fit::Misfit| {
            let model = &misfit.model;
            outcome.held.iter().any(|held| held.node == *model)
                || [&outcome.failed, &outcome.withheld].iter().any(|names| names.contains(model))
        };
        let report = |misfit: &fit::Misfit| match was_tried(misfit) {
            true => misfit.report().hint(format!(
                "leave these columns of `{}` as they were until `{}` is accepted without them",
                misfit.table, misfit.model
            )),
            false => misfit.report(),
        };
        let mut found: Vec<Report> = misfits.iter().map(report).collect();
        if let Some(last) = misfits.iter().rposition(|misfit| !was_tried(misfit)) {
            let untried = misfits.iter().filter(|misfit| !was_tried(misfit));
            found[last].hints.extend(fit::retrain(untried, &self.options.environment));
        }
        found
    }

    /// Says which nodes are published as they were before.
    fn tell_what_stayed(&mut self, publication: Option<i64>, nodes: &Versions) {
        let names = self.outcome.failed.iter().chain(&self.outcome.withheld);
        let stayed = names.map(|name| match nodes.get(name) {
            Some(version) => format!("`{name}` stays at version {version}"),
            None => format!("`{name}` has no version"),
        });
        let message = match publication {
            Some(id) => format!("publication {id} has what is healthy"),
            None => "nothing that was built can be published".to_string(),
        };
        let report = stayed.fold(Report::error("node-failed", message), Report::note);
        self.outcome.reports.push(report);
    }
}

/// Decisions about nodes that stay as they were published although the run made other versions of them.
fn kept_back(put_back: &BTreeSet<NodeName>, before: &Versions) -> Vec<Decision> {
    let decision = |node: &NodeName| {
        let (summary, reason) = match before.get(node) {
            Some(version) => (format!("version {version} stays"), "a model in service needs it"),
            None => ("not published".to_string(), "it reads what a model in service cannot look up"),
        };
        let detail = serde_json::json!({ "summary": summary });
        Decision { node: node.clone(), action: Action::Withheld, reason: reason.into(), detail }
    };
    put_back.iter().map(decision).collect()
}

/// Removes files that runs left behind which died: no version is recorded that owns them, and so no table names them.
fn clean_up(ctx: &Context, lock: &RunLock, run: &RunId) -> Result<(), Report> {
    let state = ctx.warehouse.state();
    // What this run could not settle is left to the next one: a failed build may have been unable to delete its files.
    let left = state.stale_staging(lock, run).map_err(|error| error.report())?;
    let mut runs = BTreeSet::new();
    for entry in left {
        remove(ctx, &entry);
        runs.insert(entry.run);
    }
    for run in runs {
        state.clear_staging(&run).map_err(|error| error.report())?;
    }
    Ok(())
}

fn remove(ctx: &Context, entry: &StaleFiles) {
    fail::after(Point::StageClean);
    let folder = ctx.warehouse.root().join(&entry.folder);
    let Ok(files) = std::fs::read_dir(folder) else { return };
    for file in files.flatten() {
        if file.file_name().to_string_lossy().starts_with(&entry.prefix) {
            // A file that stays is tried again by the next run only if it is noted again; it costs space, not truth.
            let _ = std::fs::remove_file(file.path());
        }
    }
}
