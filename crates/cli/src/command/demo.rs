//! `pelton demo`: the main job in one command. Raw files, checked tables, as-of features, a model, an endpoint, a prediction, its
//! receipt; every step is what the other commands do.

use crate::args::Demo;
use crate::command::asked_to_stop;
use crate::command::run::with_progress;
use crate::command::serve::{Server, examples};
use crate::files;
use crate::http;
use crate::print::demo::{self as page, Reason, Source};
use crate::print::progress::Progress;
use crate::print::style::Style;
use crate::print::{Out, outcome, rows, words};
use crate::session::Session;
use arrow::array::RecordBatch;
use pelton_base::{NodeName, Report, Reports, RunId};
use pelton_demo::Options;
use pelton_query::collect;
use pelton_runner::{Context, RunOptions, RunOutcome};
use pelton_serve::Receipt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// The file that says which demo a folder holds.
const MARK: &str = ".pelton-demo.json";
/// The model that the report is about, and the one without features.
const MODELS: [&str; 2] = ["fraud", "fraud_plain"];

pub(crate) async fn demo(args: &Demo, session: &Session, out: &Out) -> Result<u8, Reports> {
    let began = Instant::now();
    let told = Told { out, is_json: args.answer.is_json() };
    let options = Options { rows: args.rows, seed: args.seed };
    let written = files_of(args, &options, out)?;
    told.line(page::title(&options, &args.dir, told.style()));
    let root = std::path::absolute(&args.dir).map_err(|error| files::unreadable("find", &args.dir, &error))?;
    let project = Arc::new(pelton_project::load(&root)?);
    let ctx = Arc::new(session.context_of(project)?);
    let tests = pelton_project::load_tests(&ctx.project);
    let checked = pelton_runner::check(&ctx.project, &tests, ctx.engine.as_ref(), Some(&ctx.warehouse))?;
    told.data(page::files(&written, &checked, told.style()));

    let (environment, command) = (session.environment.clone(), session.typed.clone());
    let ended = with_progress(&ctx, RunOptions { environment, command, ..RunOptions::default() }, out).await?;
    // Rows that checks send to quarantine are what the demo is about: they get a section of their own.
    let reports = ended.reports.0.iter().filter(|report| report.code != "check-warned");
    out.reports(&Reports(reports.cloned().collect()));
    let mut summary = Summary::of(args, &ended);
    if ended.publication.is_none() {
        told.data(outcome::outcome(&ended, told.style()));
        told.summary(summary.after(began));
        return Ok(ended.exit_code().max(1));
    }
    tables(&ctx, &session.environment, &ended, &told).await?;
    summary.metrics = models(&ctx, &session.environment, &told).await?;
    if pelton_runner::show(&ctx, &session.environment, &NodeName::new(MODELS[0]))?.version.is_none() {
        out.note(format!("\n`{}` was held back, so there is no endpoint to ask", MODELS[0]));
        out.note("few payments have little fraud to learn from: pass a larger `--rows`, and another `--dir`");
        told.summary(summary.after(began));
        return Ok(ended.exit_code().max(1));
    }

    let mut settings = ctx.project.settings.server.clone();
    if !args.serve {
        // Any free port: the demo must not stand in the way of a server that runs already.
        settings.port = 0;
    }
    let server = Server::start(ctx.clone(), &session.environment, settings).await?;
    let (address, url) = (server.address(), server.url());
    let lines = examples(&server.serving.switch.get(), &url);
    let sample = pelton_demo::sample_request(&options);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopping = async {
        // A dropped sender means the same as a message.
        let _ = stopped.await;
    };
    let asking = async {
        let asked = ask(address, &url, &[&sample.normal, &sample.suspicious], &told).await;
        let exit = asked.as_ref().map(|(_, receipt)| u8::from(!receipt.rescored.same_bits));
        if let Ok((prediction, receipt)) = &asked {
            told.line(page::stable(receipt, &words::elapsed(began.elapsed())));
            told.data(page::next(&session.program(), &args.dir, receipt, told.style()));
            summary.prediction = Some(prediction.clone());
            summary.receipt = serde_json::to_value(receipt).ok();
            summary.listening = args.serve.then(|| url.clone());
            told.summary(summary.after(began));
            if args.serve {
                told.line(format!("\nlistening on {url}, Ctrl-C stops"));
                lines.iter().for_each(|line| out.note(line));
                asked_to_stop().await;
            }
        }
        let exit = exit.map_err(Clone::clone);
        drop(stop);
        exit
    };
    let (served, exit) = tokio::join!(server.run(stopping, out), asking);
    let exit = exit?;
    if let Err(report) = served {
        // The answer was given.
        let reports = Reports::from(report);
        out.reports(&reports);
        return Ok(reports.exit_code());
    }
    Ok(exit.max(ended.exit_code()))
}

/// Tells the story: to stdout, or beside it where that has the summary for programs.
struct Told<'a> {
    out: &'a Out,
    is_json: bool,
}

impl Told<'_> {
    fn style(&self) -> Style {
        if self.is_json { self.out.note_style } else { self.out.data_style }
    }

    fn data(&self, text: impl AsRef<str>) {
        if self.is_json { self.out.aside(text) } else { self.out.data(text.as_ref()) }
    }

    fn line(&self, text: impl AsRef<str>) {
        self.data(format!("{}\n", text.as_ref()));
    }

    fn summary(&self, summary: &Summary) {
        if self.is_json {
            self.out.json(summary);
        }
    }
}

/// The demo's end, for programs.
#[derive(Serialize)]
struct Summary {
    folder: String,
    rows: u64,
    seed: u64,
    environment: String,
    run: RunId,
    publication: Option<i64>,
    /// On the test part, of the model with as-of features, of the one without, and of the baseline.
    metrics: BTreeMap<String, BTreeMap<String, f64>>,
    /// What the endpoint answered to the suspicious payment; absent when there was no endpoint to ask.
    prediction: Option<Value>,
    receipt: Option<Value>,
    /// Where it listens on, with `--serve`.
    listening: Option<String>,
    seconds: f64,
}

impl Summary {
    fn of(args: &Demo, ended: &RunOutcome) -> Self {
        Summary {
            folder: args.dir.display().to_string(),
            rows: args.rows,
            seed: args.seed,
            environment: ended.environment.clone(),
            run: ended.run.clone(),
            publication: ended.publication,
            metrics: BTreeMap::new(),
            prediction: None,
            receipt: None,
            listening: None,
            seconds: 0.0,
        }
    }

    fn after(&mut self, began: Instant) -> &Self {
        self.seconds = began.elapsed().as_millis() as f64 / 1000.0;
        self
    }
}

/// The example's files, written now or by an earlier demo.
fn files_of(args: &Demo, options: &Options, out: &Out) -> Result<Mark, Reports> {
    let folder = &args.dir;
    if files::is_empty(folder)? {
        let began = Instant::now();
        let progress = Progress::new(out, 0);
        let step = progress.step("writing raw files");
        let written = pelton_demo::write(folder, options, &|doing| step.doing(&format!("writing {doing}")))
            .map_err(|error| error.report())?;
        drop(step);
        let data = written.files.iter().filter(|file| file.path.starts_with("data/"));
        let mark = Mark {
            rows: options.rows,
            seed: options.seed,
            files: data.clone().count() as u64,
            lines: data.clone().map(|file| file.lines).sum(),
            bytes: data.map(|file| file.bytes).sum(),
            took_ms: Some(began.elapsed().as_millis() as u64),
        };
        let text = serde_json::to_string(&Mark { took_ms: None, ..mark.clone() }).expect("numbers are always JSON");
        files::write(&folder.join(MARK), &(text + "\n"))?;
        return Ok(mark);
    }
    let shown = folder.display();
    let not_empty = Report::error("folder-not-empty", format!("folder `{shown}` is not empty"));
    let hint = format!("pelton demo --dir pelton-demo-{}-{}", options.rows, options.seed);
    let found = std::fs::read(folder.join(MARK)).ok().and_then(|text| serde_json::from_slice::<Mark>(&text).ok());
    match found {
        Some(mark) if (mark.rows, mark.seed) == (options.rows, options.seed) => Ok(mark),
        Some(mark) => Err(not_empty
            .note(format!("it holds a demo of {} payments and seed {}", words::count(mark.rows), mark.seed))
            .hint(format!("{hint} --rows {} --seed {}", options.rows, options.seed))
            .hint(format!("pelton demo --dir {shown} --rows {} --seed {}", mark.rows, mark.seed))
            .into()),
        None => Err(not_empty.note("what it holds is not a finished demo; nothing was written").hint(hint).into()),
    }
}

/// Which demo a folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Payments.
    pub(crate) rows: u64,
    /// The seed.
    pub(crate) seed: u64,
    /// Files of data.
    pub(crate) files: u64,
    /// Their lines.
    pub(crate) lines: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// How long writing them took, when that was now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) took_ms: Option<u64>,
}

/// What became of the rows: sources with what was refused and why, then the tables.
async fn tables(ctx: &Context, environment: &str, ended: &RunOutcome, told: &Told<'_>) -> Result<(), Report> {
    let reasons = reasons(ctx, environment).await?;
    let mut nodes = Vec::new();
    for name in ctx.project.order.iter().filter(|name| ctx.project.nodes[*name].kind() != "model") {
        let shown = pelton_runner::show(ctx, environment, name)?;
        let (rows, quarantined, dropped) =
            (shown.rows.unwrap_or(0), shown.quarantined.unwrap_or(0), shown.dropped.unwrap_or(0));
        let was_built = ended.built.contains(name);
        nodes.push(Source { node: name.to_string(), kind: shown.kind, rows, quarantined, dropped, was_built });
    }
    told.data(page::tables(&nodes, &reasons, told.style()));
    Ok(())
}

/// Why rows are in quarantine, from the quarantine itself. What a reason quotes differs from row to row and is left out.
async fn reasons(ctx: &Context, environment: &str) -> Result<Vec<Reason>, Report> {
    let batches = select(
        ctx,
        environment,
        "select node, rule, coalesce(\"column\", '') as \"column\", regexp_replace(reason, '`[^`]*`', '`…`', 'g') as why, \
                count(*) as rows \
         from pelton.quarantine group by 1, 2, 3, 4 order by node, rows desc, why",
    )
    .await?;
    let text = |batch: &RecordBatch, column: usize, row| rows::cell(batch.column(column), row).unwrap_or_default();
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    Ok(rows
        .map(|(batch, row)| Reason {
            node: text(batch, 0, row),
            rule: text(batch, 1, row),
            column: text(batch, 2, row),
            reason: text(batch, 3, row),
            rows: text(batch, 4, row).parse().unwrap_or(0),
        })
        .collect())
}

/// The models' metrics beside each other, and the baseline's; gives them by name.
async fn models(
    ctx: &Context,
    environment: &str,
    told: &Told<'_>,
) -> Result<BTreeMap<String, BTreeMap<String, f64>>, Report> {
    let mut found = Vec::new();
    for model in MODELS {
        let shown = pelton_runner::show(ctx, environment, &NodeName::new(model))?;
        if let Some(version) = shown.version {
            found.push((model, version, shown.rows.unwrap_or(0), shown.metrics));
        }
    }
    let Some((_, version, ..)) = found.first() else { return Ok(BTreeMap::new()) };
    let baseline = select(
        ctx,
        environment,
        &format!(
            "select metric, value from pelton.metrics where learner = 'baseline' and part = 'test' and version = {}",
            pelton_query::sql::text(version)
        ),
    )
    .await?;
    let baseline = baseline.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    let baseline: BTreeMap<String, f64> = baseline
        .filter_map(|(batch, row)| {
            Some((rows::cell(batch.column(0), row)?, rows::cell(batch.column(1), row)?.parse().ok()?))
        })
        .collect();
    told.data(page::models(&found, &baseline, told.style()));
    let metrics = found.into_iter().map(|(model, _, _, metrics)| (model.to_string(), metrics));
    Ok(metrics.chain([("baseline".to_string(), baseline)]).collect())
}

async fn select(ctx: &Context, environment: &str, sql: &str) -> Result<Vec<RecordBatch>, Report> {
    let stream = pelton_runner::query(ctx, environment, None, sql).await?;
    collect(stream).await.map_err(|error| error.report("the demo"))
}

/// Asks the endpoint over HTTP about two payments, then for the receipt of the second; gives that prediction and its receipt.
async fn ask(
    address: std::net::SocketAddr,
    url: &str,
    rows: &[&str],
    told: &Told<'_>,
) -> Result<(Value, Receipt), Reports> {
    let path = format!("/v1/models/{}/predict", MODELS[0]);
    let body = format!("{{\"rows\": [{}]}}", rows.join(", "));
    let answer: Value = json(&http::send(address, "POST", &path, Some(&body)).await?)?;
    told.data(page::asked(&format!("POST {url}{path}"), rows, &answer, told.style()));
    let prediction = answer["predictions"].as_array().and_then(|predictions| predictions.last());
    let with_id = prediction.and_then(|prediction| Some((prediction, prediction["receipt"].as_str()?)));
    let (prediction, id) = with_id.ok_or_else(|| unreadable("there is no receipt in it"))?;
    let path = format!("/v1/receipts/{id}");
    let receipt: Receipt = json(&http::send(address, "GET", &path, None).await?)?;
    told.data(page::receipt(&format!("GET {url}{path}"), &receipt, told.style()));
    Ok((prediction.clone(), receipt))
}

fn json<T: serde::de::DeserializeOwned>(answer: &http::Answer) -> Result<T, Report> {
    if answer.status != 200 {
        return Err(unreadable(&format!("status {}: {}", answer.status, answer.body)));
    }
    serde_json::from_str(&answer.body).map_err(|error| unreadable(&error.to_string()))
}

fn unreadable(why: &str) -> Report {
    Report::error("internal", "the endpoint that was just published gave no answer that can be read").note(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Answer, Format};
    use std::path::Path;

    fn args(dir: &Path, rows: u64) -> Demo {
        Demo { dir: dir.to_path_buf(), rows, seed: 42, serve: false, answer: Answer { format: Format::Text } }
    }

    #[test]
    fn an_earlier_demo_is_gone_on_with_and_anything_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("demo");
        let out = Out::of_process();
        let options = Options { rows: 1_000, seed: 42 };
        let first = files_of(&args(&dir, 1_000), &options, &out).unwrap();
        assert!(dir.join(MARK).is_file() && first.took_ms.is_some() && first.lines > 1_000);
        let again = files_of(&args(&dir, 1_000), &options, &out).unwrap();
        assert_eq!(again, Mark { took_ms: None, ..first });
        let other = Options { rows: 2_000, seed: 42 };
        let reports = files_of(&args(&dir, 2_000), &other, &out).unwrap_err();
        assert_eq!(reports.0[0].code, "folder-not-empty");
        assert!(reports.0[0].hints.iter().any(|hint| hint.ends_with("--rows 1000 --seed 42")), "{reports}");
        std::fs::remove_file(dir.join(MARK)).unwrap();
        assert_eq!(files_of(&args(&dir, 1_000), &options, &out).unwrap_err().0[0].code, "folder-not-empty");
    }
}
