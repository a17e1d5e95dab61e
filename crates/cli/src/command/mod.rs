//! One file per command: takes what was asked for, asks the library, hands the answer to `print`.

mod check;
mod completions;
mod config;
mod demo;
mod explain;
mod graph;
mod init;
mod plan;
mod predict;
mod quarantine;
mod query;
mod receipt;
mod run;
mod serve;
mod show;
mod why;

pub(crate) use config::InForce;
pub(crate) use demo::Mark;

use crate::args::{Answer, Command, Format};
use crate::print::Out;
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
        Command::Show(args) => show::show(&args, session, out),
        Command::Query(args) => query::query(&args, session, out).await,
        Command::Graph(args) => graph::graph(&args, session, out),
        Command::Why(args) => why::why(&args, session, out),
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
    match project.nodes.get_key_value(name) {
        Some((name, _)) => Ok(name.clone()),
        None => Err(Report::error("unknown-node", format!("there is no node `{name}`"))
            .suggest(name, project.nodes.keys().map(NodeName::as_str))
            .hint("pelton graph")),
    }
}

/// Resolves when the process is asked to stop, by Ctrl-C or SIGTERM.
async fn asked_to_stop() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a handler the signal ends the process by itself.
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
