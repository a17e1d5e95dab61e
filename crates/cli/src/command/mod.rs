//! One file per command: takes what was asked for, asks the library, hands the answer to `print`.

mod backfill;
mod check;
mod completions;
mod config;
mod demo;
mod diff;
mod explain;
mod gc;
mod graph;
mod init;
mod plan;
mod predict;
mod publish;
mod quarantine;
mod query;
mod receipt;
mod rollback;
mod run;
mod serve;
mod show;
mod test;
mod verify;
mod why;

pub(crate) use config::InForce;
pub(crate) use demo::Mark;

use crate::args::{Answer, Command, Format};
use crate::print::{Out, words};
use crate::session::Session;
use pelton_base::{NodeName, Report, Reports};
use pelton_project::Project;

/// Runs a command; gives the exit code.
pub(crate) async fn dispatch(command: Command, session: &Session, out: &Out) -> Result<u8, Reports> {
    match command {
        Command::Demo(args) => demo::demo(&args, session, out).await,
        Command::Init(args) => init::init(&args, out),
        Command::Check(args) => check::check(&args, session, out),
        Command::Plan(args) => plan::plan(&args, session, out).await,
        Command::Run(args) => run::run(&args, session, out).await,
        Command::Test(args) => test::test(&args, session, out).await,
        Command::Backfill(args) => backfill::backfill(&args, session, out).await,
        Command::Show(args) => show::show(&args, session, out),
        Command::Query(args) => query::query(&args, session, out).await,
        Command::Graph(args) => graph::graph(&args, session, out),
        Command::Why(args) => why::why(&args, session, out),
        Command::Diff(args) => diff::diff(&args, session, out).await,
        Command::Publish(args) => publish::publish(&args, session, out).await,
        Command::Rollback(args) => rollback::rollback(&args, session, out).await,
        Command::Gc(args) => gc::gc(&args, session, out).await,
        Command::Verify(args) => verify::verify(&args, session, out).await,
        Command::Quarantine(args) => quarantine::quarantine(&args, session, out).await,
        Command::Predict(args) => predict::predict(&args, session, out).await,
        Command::Serve(args) => serve::serve(&args, session, out).await,
        Command::Receipt(args) => receipt::receipt(&args, session, out).await,
        Command::Config(args) => config::config(&args, session, out),
        Command::Explain(args) => explain::explain(&args, out),
        Command::Completions(args) => completions::completions(&args, out),
    }
}

impl Answer {
    fn is_json(self) -> bool {
        self.format == Format::Json
    }
}

/// The node of this name.
fn node(project: &Project, name: &str) -> Result<NodeName, Report> {
    Ok(project.known(name)?.name.clone())
}

/// An answer about a node. With mistakes in the project it is told from what is published; what is not published is unknown as long as
/// they are there, so then they are what there is to say.
fn of_published<T>(answer: Result<T, Report>, mistakes: Reports, out: &Out) -> Result<T, Reports> {
    match answer {
        Err(report) if report.code == "unknown-node" && mistakes.has_errors() => Err(mistakes),
        Err(report) => Err(report.into()),
        Ok(answer) => {
            if mistakes.has_errors() {
                let count = words::counted(mistakes.0.len() as u64, "mistake");
                out.note(format!(
                    "the project has {count} (`pelton check` lists them); this is told from what is published"
                ));
            }
            Ok(answer)
        }
    }
}

/// Resolves when the process is asked to stop, by Ctrl-C or SIGTERM. It listens from the call on, not from when it is waited for.
#[cfg(unix)]
fn asked_to_stop() -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{SignalKind, signal};
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        // Without a handler the signal ends the process by itself.
        let asked = |signals: std::io::Result<tokio::signal::unix::Signal>| async move {
            match signals {
                Ok(mut signals) => drop(signals.recv().await),
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = asked(interrupt) => {}
            () = asked(terminate) => {}
        }
    }
}

/// Resolves when the process is asked to stop, by Ctrl-C.
#[cfg(not(unix))]
async fn asked_to_stop() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
