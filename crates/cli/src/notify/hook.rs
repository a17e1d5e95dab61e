//! A program of the user's that gets a notice on its stdin.

use super::not_notified;
use pelton_base::Report;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often is looked whether the program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs the program in the project's folder, and kills it, with all that it started, when it takes too long. Its stdout is dropped, because that of the command is
/// an answer; its stderr is that of the command.
pub(super) async fn run(words: &[String], folder: &Path, body: String, timeout_ms: u64) -> Result<(), Report> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let whom = format!("the command `{program}`");
    // A path is meant from the project's folder, wherever the command was given.
    let found = if program.contains('/') { folder.join(program) } else { program.into() };
    let mut command = Command::new(found);
    command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let done = tokio::task::spawn_blocking(move || {
        let child = command.spawn().map_err(|error| Failed::NotStarted(error.kind()))?;
        wait(child, body, Duration::from_millis(timeout_ms))
    });
    match done.await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(not_notified(&whom, format!("it ended with {status}"))),
        Ok(Err(Failed::NotStarted(kind))) => Err(not_notified(&whom, format!("it cannot be started: {kind}"))),
        Ok(Err(Failed::TooLong)) => {
            let note = format!("it took longer than `notify.timeout_ms` ({timeout_ms} ms), and was stopped");
            Err(not_notified(&whom, note))
        }
        Err(_) => Err(not_notified(&whom, "waiting for it failed")),
    }
}

enum Failed {
    NotStarted(ErrorKind),
    TooLong,
}

fn wait(mut child: Child, body: String, timeout: Duration) -> Result<ExitStatus, Failed> {
    let began = Instant::now();
    let stdin = child.stdin.take();
    // A program that does not read what it is told must not hold up who tells it.
    let told = std::thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            // One that ends without reading is content with less.
            let _ = stdin.write_all(body.as_bytes()).and_then(|()| stdin.write_all(b"\n"));
        }
    });
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if began.elapsed() < timeout => std::thread::sleep(LOOK_EVERY),
            Ok(None) => {
                // It may end by itself at this moment.
                end_group(child.id());
                let _ = child.kill();
                let _ = child.wait();
                break Err(Failed::TooLong);
            }
            Err(error) => break Err(Failed::NotStarted(error.kind())),
        }
    };
    // A child of the program may keep the pipe open; the thread then ends with the process.
    if told.is_finished() {
        let _ = told.join();
    }
    ended
}

/// Ends what the program started, too: it leads a group of processes of its own.
fn end_group(leader: u32) {
    let kill = Command::new("kill").args(["-KILL", "--", &format!("-{leader}")]).stderr(Stdio::null()).status();
    // Where there is no `kill`, the program alone is ended.
    drop(kill);
}
