//! Sends requests to an endpoint at a fixed rate and tells how long the answers took.
//!
//! Open loop: every request has its moment, whether or not the answers before it have come, and its latency counts from that
//! moment. A server that falls behind cannot hide it by slowing the client down ("coordinated omission", Gil Tene). Threads
//! with blocking sockets instead of an async runtime, because a timer of a millisecond would be a third of what is measured.

// A tool that is run by hand; its answer is its output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: bench-load --url http://HOST:PORT/PATH --bodies FILE [--rate 1000] [--seconds 20] \
[--warm-up 3] [--connections 32]

Sends each line of FILE in turn as the body of a POST request, RATE requests a second, and prints
`requests`, `failed`, `rate`, and the latencies `p50_ms`, `p90_ms`, `p99_ms`, `max_ms`, one a line.";

/// An answer that takes longer than this has failed.
const ANSWER_MAX: Duration = Duration::from_secs(10);

struct Settings {
    host: String,
    path: String,
    bodies: Vec<String>,
    rate: f64,
    seconds: f64,
    warm_up: f64,
    connections: usize,
}

fn main() -> ExitCode {
    let settings = match settings(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(mistake) => {
            eprintln!("{mistake}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let sent = run(&settings);
    if let Some(failure) = &sent.failure {
        eprintln!("first failure: {failure}");
    }
    let mut latencies = sent.latencies;
    latencies.sort_unstable();
    let quantile = |share: f64| {
        let at = ((latencies.len() as f64 * share).ceil() as usize).clamp(1, latencies.len().max(1));
        latencies.get(at - 1).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    };
    println!("requests {}", latencies.len());
    println!("failed {}", sent.failed);
    println!("rate {:.1}", latencies.len() as f64 / settings.seconds);
    for (name, share) in [("p50_ms", 0.50), ("p90_ms", 0.90), ("p99_ms", 0.99), ("max_ms", 1.0)] {
        println!("{name} {:.3}", quantile(share));
    }
    if sent.failed > 0 || latencies.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn settings(mut arguments: impl Iterator<Item = String>) -> Result<Settings, String> {
    let (mut url, mut bodies) = (String::new(), String::new());
    let (mut rate, mut seconds, mut warm_up, mut connections) = (1_000.0, 20.0, 3.0, 32.0);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("`{name}` needs a value"))?;
        let number = || value.parse::<f64>().map_err(|_| format!("`{name}` needs a number, not `{value}`"));
        match name.as_str() {
            "--url" => url = value,
            "--bodies" => bodies = value,
            "--rate" => rate = number()?,
            "--seconds" => seconds = number()?,
            "--warm-up" => warm_up = number()?,
            "--connections" => connections = number()?,
            _ => return Err(format!("`{name}` is not known")),
        }
    }
    if !(rate >= 1.0 && seconds > 0.0 && warm_up >= 0.0 && connections >= 1.0) {
        return Err("rate, seconds and connections must be positive".to_string());
    }
    let rest = url.strip_prefix("http://").ok_or("`--url` needs an http:// address")?;
    let (host, path) = rest.split_once('/').ok_or("`--url` needs a path")?;
    let text = std::fs::read_to_string(&bodies).map_err(|error| format!("cannot read `{bodies}`: {error}"))?;
    let bodies: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_string).collect();
    if bodies.is_empty() {
        return Err("`--bodies` has no line".to_string());
    }
    let (host, path, connections) = (host.to_string(), format!("/{path}"), connections as usize);
    Ok(Settings { host, path, bodies, rate, seconds, warm_up, connections })
}

#[derive(Default)]
struct Sent {
    latencies: Vec<Duration>,
    failed: usize,
    failure: Option<String>,
}

/// Connection `k` of `n` sends the requests `k`, `k + n`, `k + 2n` and so on, each at its moment.
fn run(settings: &Settings) -> Sent {
    let start = Instant::now() + Duration::from_millis(50);
    let mut all = Sent::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..settings.connections).map(|k| scope.spawn(move || work(settings, k, start))).collect();
        for worker in workers {
            let sent = worker.join().expect("a worker reports its failures");
            all.latencies.extend(sent.latencies);
            all.failed += sent.failed;
            all.failure = all.failure.take().or(sent.failure);
        }
    });
    all
}

fn work(settings: &Settings, first: usize, start: Instant) -> Sent {
    let requests = ((settings.warm_up + settings.seconds) * settings.rate) as usize;
    let (mut sent, mut connection) = (Sent::default(), None);
    for i in (first..requests).step_by(settings.connections) {
        let after = i as f64 / settings.rate;
        let moment = start + Duration::from_secs_f64(after);
        if let Some(wait) = moment.checked_duration_since(Instant::now()) {
            std::thread::sleep(wait);
        }
        let body = &settings.bodies[i % settings.bodies.len()];
        let answer = match connection.take() {
            Some(open) => Ok(open),
            None => Connection::open(&settings.host),
        }
        .and_then(|mut open| open.ask(settings, body).map(|()| open));
        match answer {
            Ok(open) => {
                connection = Some(open);
                if after >= settings.warm_up {
                    sent.latencies.push(moment.elapsed());
                }
            }
            Err(failure) => {
                sent.failed += 1;
                sent.failure.get_or_insert(failure);
            }
        }
    }
    sent
}

/// A kept-alive HTTP/1.1 connection.
struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(host: &str) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot connect to {host}: {error}");
        let stream = TcpStream::connect(host).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(ANSWER_MAX)).map_err(failed)?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    fn ask(&mut self, settings: &Settings, body: &str) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("the connection failed: {error}");
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            settings.path,
            settings.host,
            body.len(),
        );
        self.stream.get_mut().write_all(request.as_bytes()).map_err(failed)?;
        let (mut line, mut status, mut length) = (String::new(), String::new(), None);
        loop {
            line.clear();
            if self.stream.read_line(&mut line).map_err(failed)? == 0 {
                return Err("the server closed the connection".to_string());
            }
            let text = line.trim_end();
            if text.is_empty() {
                break;
            } else if status.is_empty() {
                status = text.to_string();
            } else if let Some((name, value)) = text.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse::<usize>().ok();
            }
        }
        let mut answer = vec![0; length.ok_or_else(|| format!("`{status}` without a Content-Length"))?];
        self.stream.read_exact(&mut answer).map_err(failed)?;
        if status.split(' ').nth(1) != Some("200") {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&answer)));
        }
        Ok(())
    }
}
