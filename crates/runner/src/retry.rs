//! Trying again what may succeed the next time: a storage that did not answer, a state database that somebody held.
//!
//! What is tried again is a whole node, or the publication: both can be repeated, because what an attempt left is either recorded, and
//! then found by its fingerprint, or written over by the next attempt. What cannot succeed the next time (a mistake in a file, a
//! failed check, a full disk, damage) is not tried again.

use crate::context::Context;
use pelton_base::{NodeName, Report, Reports, Seed};
use serde::Serialize;
use std::time::Duration;

/// Codes of what may be gone the next time.
const PASSING: [&str; 2] = ["storage-failed", "state-locked"];

/// An attempt that failed and was followed by another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retried {
    /// The node; absent for the publication.
    pub node: Option<NodeName>,
    /// Which attempt failed, from 1.
    pub attempt: u32,
    /// How many there may be.
    pub attempts: u32,
    /// The code of why it failed.
    pub code: &'static str,
    /// Why it failed, in a sentence.
    pub message: String,
    /// How long was waited before the next.
    pub waited_ms: u64,
}

/// The attempts at one thing.
pub(crate) struct Attempts<'a> {
    ctx: &'a Context,
    node: Option<NodeName>,
    failed: u32,
}

impl<'a> Attempts<'a> {
    pub(crate) fn at(ctx: &'a Context, node: Option<&NodeName>) -> Self {
        Attempts { ctx, node: node.cloned(), failed: 0 }
    }

    /// After an attempt that ended with these: what to say of it and wait for when there is to be another, nothing when it stays so.
    pub(crate) fn after(&mut self, said: &[Report]) -> Option<Retried> {
        let settings = &self.ctx.project.settings.retry;
        let mut errors = said.iter().filter(|report| report.is_error());
        let first = errors.clone().next()?;
        self.failed += 1;
        if self.failed >= settings.attempts || !errors.all(|report| PASSING.contains(&report.code)) {
            return None;
        }
        let name = self.node.as_ref().map_or("", |node| node.as_str());
        let seed = Seed(self.ctx.project.settings.seed).derive("retry").derive(name);
        let wait = settings.wait_after(self.failed, seed);
        Some(Retried {
            node: self.node.clone(),
            attempt: self.failed,
            attempts: settings.attempts,
            code: first.code,
            message: first.message.clone(),
            waited_ms: wait.as_millis() as u64,
        })
    }
}

impl Retried {
    /// Waits as long as it says.
    pub(crate) async fn wait(&self) {
        tokio::time::sleep(Duration::from_millis(self.waited_ms)).await;
    }
}

/// Does something until it succeeds or cannot; for records of a run, of which nobody is told.
pub(crate) async fn quietly<T>(ctx: &Context, mut attempt: impl FnMut() -> Result<T, Reports>) -> Result<T, Reports> {
    let mut attempts = Attempts::at(ctx, None);
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(said) => match attempts.after(&said.0) {
                Some(retried) => retried.wait().await,
                None => return Err(said),
            },
        }
    }
}
