//! `pelton serve`: answers prediction requests until it is told to stop, then lets those under way end.

use crate::args::Serve;
use crate::command::asked_to_stop;
use crate::print::{Out, words};
use crate::session::Session;
use arrow::datatypes::{DataType, Field};
use pelton_api::App;
use pelton_base::{NodeName, Report, Reports};
use pelton_project::ServerSettings;
use pelton_runner::{Context, Serving};
use pelton_serve::{Column, Endpoint, Endpoints};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) async fn serve(args: &Serve, session: &Session, out: &Out) -> Result<u8, Reports> {
    let ctx = Arc::new(session.published()?);
    let mut settings = ctx.project.settings.server.clone();
    settings.host = args.host.clone().unwrap_or(settings.host);
    settings.port = args.port.unwrap_or(settings.port);
    let server = Server::start(ctx, &session.environment, settings).await?;
    let endpoints = server.serving.switch.get();
    // Who reads that it listens may tell it to stop at once.
    let stop = asked_to_stop();
    if args.answer.is_json() {
        out.line(listening(&server, &endpoints).to_string());
    } else {
        out.line(format!("listening on {}", server.url()));
    }
    out.note(format!("environment `{}`, publication {}", endpoints.environment, endpoints.publication));
    if endpoints.models.is_empty() {
        out.note("it has no model yet; an endpoint is there as soon as one is published");
    }
    for line in examples(&endpoints, &server.url()) {
        out.note(line);
    }
    // The answer, that it listens, was given: what goes wrong from here on is none any more.
    if let Err(report) = server.run(stop, out).await {
        let reports = Reports::from(report);
        out.reports(&reports);
        return Ok(reports.exit_code());
    }
    out.note("stopped");
    Ok(0)
}

/// Where it listens and what for, for programs.
fn listening(server: &Server, endpoints: &Endpoints) -> Value {
    let of = |(name, endpoint): (&NodeName, &Arc<Endpoint>)| {
        json!({
            "model": name,
            "version": endpoint.version,
            "predict": format!("/v1/models/{name}/predict"),
            "infer": format!("/v2/models/{name}/infer"),
            "example": { "rows": [example_row(endpoint.pipeline.request())] },
        })
    };
    json!({
        "listening": server.url(),
        "host": server.address.ip(),
        "port": server.address.port(),
        "environment": endpoints.environment,
        "publication": endpoints.publication,
        "endpoints": endpoints.models.iter().map(of).collect::<Vec<_>>(),
    })
}

/// A server that listens, with everything behind it.
pub(crate) struct Server {
    listener: tokio::net::TcpListener,
    address: SocketAddr,
    app: App,
    pub(crate) serving: Serving,
}

impl Server {
    /// Listens first, so that a port in use is known before models are loaded.
    pub(crate) async fn start(ctx: Arc<Context>, environment: &str, settings: ServerSettings) -> Result<Self, Reports> {
        let listener = pelton_api::bind(&settings.host, settings.port).await?;
        let address = listener.local_addr().map_err(|error| {
            Report::error("cannot-listen", "the address that is listened on is not known").note(error.to_string())
        })?;
        let clock = ctx.clock.clone();
        let serving = Serving::start(ctx, environment).await?;
        let app =
            App::with_clock(settings, serving.switch.clone(), serving.log.clone(), serving.receipts.clone(), clock);
        Ok(Server { listener, address, app, serving })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a client on this machine finds it.
    pub(crate) fn url(&self) -> String {
        match self.address.ip().is_unspecified() {
            true => format!("http://127.0.0.1:{}", self.address.port()),
            false => format!("http://{}", self.address),
        }
    }

    /// Answers requests until `stop`, then lets those under way end and moves the prediction log into its table.
    pub(crate) async fn run(self, stop: impl Future<Output = ()> + Send + 'static, out: &Out) -> Result<(), Report> {
        let (drained, is_drained) = tokio::sync::oneshot::channel::<()>();
        let Server { listener, app, serving, .. } = self;
        let answering = async {
            let ended = pelton_api::serve(listener, app, stop).await;
            drop(drained);
            ended
        };
        let watching = serving.watch(
            async {
                // A dropped sender means the same as a message.
                let _ = is_drained.await;
            },
            |mistake| out.reports(&mistake.clone().into()),
            |publication| out.note(format!("publication {publication} is in service")),
        );
        let (ended, ()) = tokio::join!(answering, watching);
        let cut_off = ended?.cut_off;
        if cut_off > 0 {
            out.note(format!(
                "{} took longer than `server.drain_ms` and got no answer",
                words::counted(cut_off as u64, "request")
            ));
        }
        Ok(())
    }
}

/// A line to paste for every endpoint.
pub(crate) fn examples(endpoints: &Endpoints, url: &str) -> Vec<String> {
    endpoints
        .models
        .iter()
        .map(|(name, endpoint)| {
            let body = json!({ "rows": [example_row(endpoint.pipeline.request())] });
            format!("  curl {url}/v1/models/{name}/predict -d '{body}'")
        })
        .collect()
}

/// A row of made-up values that the endpoint takes.
fn example_row(columns: &[Column]) -> Value {
    let needed = columns.iter().filter(|column| column.required);
    Value::Object(needed.map(|column| (column.field.name().clone(), example(&column.field))).collect())
}

fn example(field: &Field) -> Value {
    match field.data_type() {
        DataType::Boolean => json!(true),
        DataType::Float32 | DataType::Float64 => json!(1.5),
        DataType::Decimal128(..) => json!("1"),
        DataType::Utf8 => json!("a"),
        DataType::Binary => json!(""),
        DataType::Date32 => json!("2026-01-01"),
        DataType::Timestamp(..) => json!("2026-01-01T00:00:00Z"),
        DataType::List(_) => json!([]),
        DataType::Struct(fields) => {
            Value::Object(fields.iter().map(|field| (field.name().clone(), example(field))).collect::<Map<_, _>>())
        }
        _ => json!(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_has_what_is_needed() {
        let columns = [
            Column::required("amount", DataType::Float64, true),
            Column::optional("occurred_at", pelton_query::types::timestamp()),
            Column::required("channel", DataType::Utf8, true),
        ];
        assert_eq!(example_row(&columns), json!({"amount": 1.5, "channel": "a"}));
    }
}
