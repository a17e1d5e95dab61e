//! Following an environment: a new publication is loaded beside the one in service, and then put into its place.

use crate::endpoints::{Loader, Switch};
use pelton_base::Report;
use std::sync::Arc;
use std::time::Duration;

/// A publication that could not be loaded is tried again, and its failure told again, after so many looks.
const RETRY_LOOKS: u32 = 25;

/// What following an environment came upon.
#[derive(Debug)]
pub enum Followed {
    /// Another publication is in service.
    Switched {
        /// The one before.
        from: i64,
        /// The one now.
        to: i64,
    },
    /// A publication could not be loaded; the one before stays in service.
    Failed(Report),
}

/// Follows an environment for ever: looks every `every`, and puts a new publication into service.
pub async fn follow(switch: Arc<Switch>, loader: Arc<dyn Loader>, every: Duration, mut tell: impl FnMut(Followed)) {
    let mut follower = Follower { switch, loader, refused: None };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(followed) = follower.look().await {
            tell(followed);
        }
    }
}

/// Looks at an environment, again and again.
pub(crate) struct Follower {
    pub(crate) switch: Arc<Switch>,
    pub(crate) loader: Arc<dyn Loader>,
    /// The publication that could not be loaded (`None`: it could not even be named), and the looks since.
    pub(crate) refused: Option<(Option<i64>, u32)>,
}

impl Follower {
    /// Looks once.
    pub(crate) async fn look(&mut self) -> Option<Followed> {
        let loader = Arc::clone(&self.loader);
        let current = match blocking(move || loader.current()).await {
            Ok(current) => current,
            Err(report) => return self.refuse(None, report),
        };
        let from = self.switch.get().publication;
        // An environment does not lose its publications; if it seems to, what is in service is better than nothing.
        let Some(to) = current.filter(|current| *current != from) else {
            self.refused = None;
            return None;
        };
        if let Some((Some(refused), looks)) = &mut self.refused
            && *refused == to
            && *looks + 1 < RETRY_LOOKS
        {
            *looks += 1;
            return None;
        }
        let loader = Arc::clone(&self.loader);
        match blocking(move || loader.load()).await {
            Ok(endpoints) => {
                let to = endpoints.publication;
                self.refused = None;
                self.switch.set(endpoints);
                Some(Followed::Switched { from, to })
            }
            Err(report) => self.refuse(Some(to), report),
        }
    }

    /// Tells a failure, but not the same one at every look.
    fn refuse(&mut self, publication: Option<i64>, report: Report) -> Option<Followed> {
        match &mut self.refused {
            Some((refused, looks)) if *refused == publication && *looks + 1 < RETRY_LOOKS => {
                *looks += 1;
                None
            }
            refused => {
                *refused = Some((publication, 0));
                Some(Followed::Failed(report))
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Report> + Send + 'static) -> Result<T, Report> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Report::error("internal", "following the environment failed")))
}
