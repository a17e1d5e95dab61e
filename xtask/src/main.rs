//! `cargo xtask tidy`: what the compiler does not check. Each rule prints every place that breaks it; any makes it fail.

mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Asked when it runs, not when it is compiled: checkouts that share a build folder share this program.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(std::path::PathBuf::from);
    let Some(root) = manifest.as_deref().and_then(std::path::Path::parent) else {
        eprintln!("run it as `cargo xtask`");
        return ExitCode::from(2);
    };
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => {
            let broken = tidy::check(root);
            for line in &broken {
                eprintln!("{line}");
            }
            if broken.is_empty() {
                eprintln!("tidy: nothing to say");
                ExitCode::SUCCESS
            } else {
                eprintln!("tidy: {} places", broken.len());
                ExitCode::FAILURE
            }
        }
        _ => {
            eprintln!("usage: cargo xtask tidy");
            ExitCode::from(2)
        }
    }
}
