//! `cargo xtask tidy`: what the compiler does not check. Each rule prints every place that breaks it; any makes it fail.

mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    let root =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf();
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => {
            let broken = tidy::check(&root);
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
