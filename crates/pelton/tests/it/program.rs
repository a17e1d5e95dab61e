//! The program under test, in a folder of its own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The built program.
pub(crate) const PELTON: &str = env!("CARGO_BIN_EXE_pelton");

/// A shell command in `folder`, with `pelton` on the path and nothing of the caller's settings.
pub(crate) fn shell(folder: &Path, line: &str) -> Command {
    let bin = Path::new(PELTON).parent().expect("a program lies in a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).current_dir(folder).stdin(Stdio::null());
    command.env("PATH", format!("{}:{path}", bin.display())).env("LC_ALL", "C").env("TZ", "UTC");
    command.env_remove("NO_COLOR").env_remove("RUST_BACKTRACE");
    command
}

/// Runs the program with arguments in `folder`.
pub(crate) fn pelton(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PELTON);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    command.output().expect("the program was built for this test")
}

/// What a process printed to stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a process printed to stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes a project of files by path.
pub(crate) fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder is ours");
        std::fs::write(path, text).expect("the folder is ours");
    }
}
