//! What happens while a run goes on: a line with a spinner for every node that is being built on a terminal, plain lines elsewhere.

use super::style::Style;
use super::{Out, words};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pelton_base::NodeName;
use pelton_runner::{Event, Retried};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Tells of a run on stderr.
pub(crate) struct Progress<'a> {
    out: &'a Out,
    /// How wide the names of nodes are.
    names: usize,
    live: Option<Live>,
}

/// The lines of nodes that are being built.
struct Live {
    lines: MultiProgress,
    bars: Mutex<BTreeMap<NodeName, ProgressBar>>,
}

impl<'a> Progress<'a> {
    /// Live on a terminal.
    pub(crate) fn new(out: &'a Out, names: usize) -> Self {
        let live = out.is_note_terminal.then(|| Live {
            lines: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            bars: Mutex::default(),
        });
        Progress { out, names, live }
    }

    /// Says what a step of the caller's does, until the result is dropped.
    pub(crate) fn step(&self, doing: &str) -> Step {
        match &self.live {
            Some(live) => Step(Some(live.spinner(String::new(), doing.to_string()))),
            None => {
                self.out.note(format!("  {doing}"));
                Step(None)
            }
        }
    }

    /// Tells of an event.
    pub(crate) fn on(&self, event: Event) {
        match event {
            Event::Began { run, nodes } => self.line(&format!("run {run}: {}", words::counted(nodes as u64, "node"))),
            Event::Started { node, kind } => {
                if let Some(live) = &self.live {
                    let bar = live.spinner(words::padded(node.as_str(), self.names), kind.to_string());
                    live.bars.lock().unwrap_or_else(PoisonError::into_inner).insert(node, bar);
                }
            }
            Event::Progress { node, doing } => {
                if let Some(live) = &self.live
                    && let Some(bar) = live.bars.lock().unwrap_or_else(PoisonError::into_inner).get(&node)
                {
                    bar.set_message(words::visible(&doing));
                }
            }
            Event::Finished { node, action, summary, elapsed_ms, .. } => {
                if let Some(live) = &self.live
                    && let Some(bar) = live.bars.lock().unwrap_or_else(PoisonError::into_inner).remove(&node)
                {
                    bar.finish_and_clear();
                }
                self.line(&finished(&node, self.names, action, &summary, elapsed_ms, self.out.note_style));
            }
            Event::Retrying(retried) => {
                let what = retried.node.as_ref().map_or("the publication", |node| node.as_str());
                let Retried { attempt, attempts, message, waited_ms, .. } = &retried;
                let wait = words::elapsed_ms(*waited_ms);
                self.line(&format!(
                    "  retrying {}  attempt {attempt} of {attempts} failed: {}; the next in {wait}",
                    words::padded(what, self.names),
                    words::visible(message)
                ));
            }
            Event::Publishing => {
                if let Some(live) = &self.live {
                    let bar = live.spinner(words::padded("", self.names), "publishing".into());
                    live.bars.lock().unwrap_or_else(PoisonError::into_inner).insert(NodeName::new(""), bar);
                }
            }
        }
    }

    /// Takes the live lines away.
    pub(crate) fn finish(&self) {
        if let Some(live) = &self.live {
            for bar in std::mem::take(&mut *live.bars.lock().unwrap_or_else(PoisonError::into_inner)).into_values() {
                bar.finish_and_clear();
            }
            // The terminal is gone when this fails, and the lines with it.
            let _ = live.lines.clear();
        }
    }

    /// A line that stays, above the live ones.
    fn line(&self, text: &str) {
        match &self.live {
            Some(live) => live.lines.suspend(|| self.out.note(text)),
            None => self.out.note(text),
        }
    }
}

/// A step of the caller's that is under way.
pub(crate) struct Step(Option<ProgressBar>);

impl Step {
    /// Says what it does now.
    pub(crate) fn doing(&self, doing: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(words::visible(doing));
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Live {
    fn spinner(&self, prefix: String, message: String) -> ProgressBar {
        let look = ProgressStyle::with_template("  {spinner:.cyan} {prefix:.bold}  {msg}  {elapsed:.dim}")
            .expect("the template is a constant, and its words are known");
        let bar = self.lines.add(ProgressBar::new_spinner().with_style(look).with_prefix(prefix).with_message(message));
        bar.enable_steady_tick(TICK);
        bar
    }
}

/// `  built    payments          499,812 rows, 188 quarantined   1.2 s`
fn finished(node: &NodeName, names: usize, action: &str, summary: &str, elapsed_ms: u64, style: Style) -> String {
    /// The longest action is `withheld`.
    const ACTION: usize = 8;
    let action = style.action(action, &words::padded(action, ACTION));
    let took = style.dim(&words::elapsed_ms(elapsed_ms));
    format!("  {action} {}  {}   {took}", words::padded(node.as_str(), names), words::visible(summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_node_is_a_line() {
        let line = |action, summary| finished(&"payments".into(), 12, action, summary, 1_234, Style::default());
        assert_eq!(
            line("built", "499,812 rows, 188 quarantined"),
            "  built    payments      499,812 rows, 188 quarantined   1.2 s"
        );
        assert_eq!(line("withheld", "it reads `a`"), "  withheld payments      it reads `a`   1.2 s");
    }
}
