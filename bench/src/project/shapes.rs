//! Projects that try to break the program: it must answer each of them in reasonable time, with a result or a report.

use crate::Files;
use crate::data;
use crate::draw::Draw;
use pelton_base::Seed;
use std::io;

/// The shapes beside `layered`.
pub(crate) const NAMES: [&str; 6] = ["views", "chain", "cycle", "mistakes", "wide", "large"];

pub(crate) fn write(files: &Files, shape: &str, nodes: usize, rows: usize, seed: Seed) -> io::Result<String> {
    let mut draw = Draw::new(seed);
    let columns = data::columns(&mut draw);
    data::write(files, "raw", &columns, rows, &mut draw)?;
    let table = |number: usize| format!("step_{number:05}");
    let step = |number: usize, header: &str, column: &str, from: &str| {
        let sql = format!("{header}select id, customer_id, occurred_at, {column} as amount\nfrom {from}\n");
        files.write(&format!("tables/{}.sql", table(number)), &sql)
    };
    let first = columns[0].name.as_str();
    match shape {
        "mistakes" => {
            for number in 1..nodes {
                step(number, "", "amuont_is_not_there", "raw")?;
            }
        }
        "wide" => {
            let list: Vec<String> = (1..=nodes).map(|at| format!("{first} + {at} as column_{at}")).collect();
            files.write("tables/wide.sql", &format!("select {}\nfrom raw\n", list.join(",\n       ")))?;
            return Ok(format!("a table of {nodes} columns over a source"));
        }
        "large" => {
            let mut sql = format!("select id, occurred_at\nfrom raw\nwhere {first} in (0");
            let mut value = 1;
            while sql.len() < nodes {
                sql.push_str(&format!(", {value}"));
                value += 1;
            }
            sql.push_str(")\n");
            files.write("tables/large.sql", &sql)?;
            return Ok(format!("a table of {} bytes of SQL over a source", sql.len()));
        }
        _ => {
            let header = if shape == "chain" { "" } else { "/* pelton\nbuild = \"view\"\n*/\n" };
            for number in 1..nodes {
                let (column, from) = match number {
                    1 if shape == "cycle" => ("amount", table(nodes - 1)),
                    1 => (first, "raw".to_string()),
                    _ => ("amount", table(number - 1)),
                };
                step(number, header, column, &from)?;
            }
        }
    }
    Ok(format!("{nodes} nodes: a source and {} tables", nodes - 1))
}
