//! Writes a project of any number of nodes, with small real data, so that anyone can repeat what `bench/README.md` says about
//! large graphs.
//!
//! `graph` draws the layered graph, `select` writes its SELECTs, `shapes` writes projects that try to break the program: chains,
//! cycles, ten thousand mistakes, one very wide or very long file. The same arguments give the same bytes on every machine.

// A tool that is run by hand; its answer is its output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod data;
mod draw;
mod graph;
mod select;
mod shapes;

use pelton_base::Seed;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: bench-project --nodes N --dir DIR [--seed 1] [--rows 100] [--shape layered]

Writes a project of N nodes into DIR, which must not exist or be empty. Shapes:

  layered   1 source in 100 nodes; staging tables, joins of 2 to 4, aggregates, windows, unions, views, feature tables, models
  views     a chain: each table is a view of the one before
  chain     a chain: each table is built from the one before
  cycle     as `views`, and the first reads the last
  mistakes  every table names a column that is not there
  wide      one table of N columns
  large     one table whose SELECT is N bytes long

ROWS is the number of rows of each source.";

struct Arguments {
    nodes: usize,
    dir: PathBuf,
    seed: Seed,
    rows: usize,
    shape: String,
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(mistake) => {
            eprintln!("{mistake}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match write(&arguments) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cannot write `{}`: {error}", arguments.dir.display());
            ExitCode::from(2)
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let (mut nodes, mut dir, mut seed, mut rows, mut shape) = (0, PathBuf::new(), 1, 100, "layered".to_string());
    while let Some(name) = words.next() {
        let value = words.next().ok_or_else(|| format!("`{name}` needs a value"))?;
        let number = || value.parse::<usize>().map_err(|_| format!("`{name}` needs a whole number, not `{value}`"));
        match name.as_str() {
            "--nodes" => nodes = number()?,
            "--dir" => dir = PathBuf::from(value),
            "--seed" => seed = number()? as u64,
            "--rows" => rows = number()?,
            "--shape" => shape = value,
            _ => return Err(format!("there is no option `{name}`")),
        }
    }
    if nodes == 0 || dir.as_os_str().is_empty() {
        return Err("`--nodes` and `--dir` are needed".into());
    }
    if rows == 0 {
        return Err("`--rows` must be at least 1".into());
    }
    if shape != "layered" && !shapes::NAMES.contains(&shape.as_str()) {
        return Err(format!("there is no shape `{shape}`"));
    }
    Ok(Arguments { nodes, dir, seed: Seed(seed), rows, shape })
}

fn write(arguments: &Arguments) -> io::Result<String> {
    if fs::read_dir(&arguments.dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the folder is not empty"));
    }
    let files = Files { root: &arguments.dir };
    files.write("pelton.toml", "name = \"generated\"\n\n[engine]\nmemory = \"256MB\"\n")?;
    if arguments.shape == "layered" {
        graph::write(&files, arguments.nodes, arguments.rows, arguments.seed)
    } else {
        shapes::write(&files, &arguments.shape, arguments.nodes, arguments.rows, arguments.seed)
    }
}

/// Writes files below a folder.
struct Files<'a> {
    root: &'a Path,
}

impl Files<'_> {
    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let path = self.root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
    }
}
