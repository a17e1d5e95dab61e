//! The layered graph: what each table is, and what it reads.
//!
//! Of 100 nodes 1 is a source. The tables lie in layers (about the binary logarithm of their number, at most 12): staging tables
//! over sources, then joins, aggregates, windows, unions and selections over what lies before, mostly over the layer just before,
//! and feature tables. About half of all tables are views, and no view stands on more than [`VIEWS_DEEP_MAX`] others, as in
//! projects that people keep: every third or fourth step stores its rows. One node in 2,500 is a model.

use crate::Files;
use crate::data::{self, Column, Kind};
use crate::draw::Draw;
use crate::select;
use pelton_base::Seed;
use std::fmt::Write;
use std::io;
use std::ops::Range;

const VIEWS_DEEP_MAX: usize = 3;

/// A source or table as those see it that read it.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// Whether no two rows have the same `id`.
    pub(crate) is_unique: bool,
    /// How many views a reader plans: itself and those below it.
    views: usize,
    /// At most so many rows, in multiples of a source's.
    pub(crate) size: usize,
    is_feature: bool,
}

/// The folders of tables; a table's is its number's.
const FOLDERS: [&str; 8] = ["sales", "payments", "logistics", "marketing", "support", "product", "finance", "risk"];

pub(crate) fn write(files: &Files, nodes: usize, rows: usize, seed: Seed) -> io::Result<String> {
    let mut draw = Draw::new(seed);
    let sources = (nodes / 100).max(1);
    let models = (nodes / 2_500).max(usize::from(nodes >= 20));
    let tables = nodes.saturating_sub(sources + models).max(1);
    let mut all = Vec::new();
    for at in 0..sources {
        let name = format!("raw_{}_{:03}", FOLDERS[at % FOLDERS.len()], at + 1);
        let columns = data::columns(&mut draw);
        data::write(files, &name, &columns, rows, &mut draw)?;
        all.push(Relation { name, columns, is_unique: true, views: 0, size: 1, is_feature: false });
    }
    let layers = (usize::BITS - tables.leading_zeros()).clamp(2, 12) as usize;
    let mut before = 0..sources;
    let (mut written, mut views) = (0, 0);
    for layer in 0..layers {
        let here = tables * (layer + 1) / layers - written;
        let first = all.len();
        for _ in 0..here {
            written += 1;
            let table = table(&all, &before, layer, written, &mut draw);
            views += usize::from(table.is_view);
            let folder = FOLDERS[written % FOLDERS.len()];
            files.write(&format!("tables/{folder}/{}.sql", table.relation.name), &table.text)?;
            all.push(table.relation);
        }
        before = first..all.len();
    }
    for at in 1..=models {
        let (name, text) = model(&all[sources..], tables / layers, at, &mut draw);
        files.write(&format!("models/{name}.sql"), &text)?;
    }
    Ok(format!(
        "{} nodes: {sources} sources, {tables} tables ({views} of them views), {models} models",
        sources + tables + models
    ))
}

struct Written {
    relation: Relation,
    text: String,
    is_view: bool,
}

fn table(all: &[Relation], before: &Range<usize>, layer: usize, number: usize, draw: &mut Draw) -> Written {
    let shape = match layer {
        0 => select::Shape::Staging,
        _ => draw.one(&[
            select::Shape::Staging,
            select::Shape::Join,
            select::Shape::Join,
            select::Shape::Join,
            select::Shape::Aggregate,
            select::Shape::Aggregate,
            select::Shape::Window,
            select::Shape::Union,
            select::Shape::Filter,
            select::Shape::Feature,
        ]),
    };
    let wants_view = draw.percent(if layer == 0 { 70 } else { 50 }) && shape != select::Shape::Feature;
    let parents = parents(all, before, shape, draw);
    let made = select::write(shape, &parents, draw);
    let below = parents.iter().map(|parent| parent.views).max().unwrap_or(0);
    let is_view = wants_view && below < VIEWS_DEEP_MAX;
    let relation = Relation {
        name: format!("{}_{number:05}", shape.prefix()),
        columns: made.columns,
        is_unique: made.is_unique,
        views: if is_view { below + 1 } else { 0 },
        size: made.size,
        is_feature: shape == select::Shape::Feature,
    };
    let text = format!("{}{}", header(&relation, &parents, shape, is_view, draw), made.sql);
    Written { relation, text, is_view }
}

/// What a table reads: the first from the layer just before, the others from there or from any earlier one.
fn parents<'a>(all: &'a [Relation], before: &Range<usize>, shape: select::Shape, draw: &mut Draw) -> Vec<&'a Relation> {
    /// Unions of unions would grow without end.
    const SIZE_MAX: usize = 8;
    let wanted = match shape {
        select::Shape::Join => draw.between(2, 4),
        select::Shape::Union => 2,
        select::Shape::Filter => draw.between(1, 2),
        _ => 1,
    };
    let mut chosen: Vec<&Relation> = Vec::new();
    for at in 0..wanted {
        let from = if at == 0 || draw.percent(60) { before.clone() } else { 0..before.end };
        let relation = &all[from.start + draw.below(from.len())];
        let size: usize = chosen.iter().map(|parent| parent.size).sum();
        let is_too_large = shape == select::Shape::Union && size + relation.size > SIZE_MAX;
        if !is_too_large && !chosen.iter().any(|parent| parent.name == relation.name) {
            chosen.push(relation);
        }
    }
    if chosen.is_empty() {
        chosen.push(&all[before.start]);
    }
    chosen
}

fn header(relation: &Relation, parents: &[&Relation], shape: select::Shape, is_view: bool, draw: &mut Draw) -> String {
    let mut text = format!("/* pelton\ndescription = \"{}\"\n", shape.description());
    let _ = writeln!(text, "tags = [\"{}\"]", draw.one(&["daily", "hourly", "core", "report"]));
    if is_view {
        text.push_str("build = \"view\"\n");
    }
    if shape == select::Shape::Feature {
        text.push_str("entity = \"customer_id\"\ntime = \"occurred_at\"\n");
    }
    if relation.is_unique && draw.percent(40) {
        text.push_str("\n[columns.id]\nchecks = [\"not_null\", \"unique\"]\n");
    }
    if shape != select::Shape::Union && draw.percent(30) {
        let parent = &parents[0].name;
        let _ = writeln!(
            text,
            "\n[columns.customer_id]\ndescription = \"Whom the row is about.\"\nchecks = [\"not_null\", \"references({parent}.customer_id)\"]"
        );
    }
    for column in &relation.columns {
        let checks = match column.kind {
            Kind::Money | Kind::Count => "\"not_null\", \"between(0, 1000000000000)\"".to_string(),
            Kind::Word => format!("\"accepted({})\"", data::WORDS.map(|word| format!("'{word}'")).join(", ")),
            Kind::Flag => "\"not_null\"".to_string(),
            Kind::Ratio => continue,
        };
        if draw.percent(15) {
            let description = if draw.percent(50) { "description = \"As it came in.\"\n" } else { "" };
            let _ = write!(text, "\n[columns.{}]\n{description}checks = [{checks}]\n", column.name);
        }
    }
    if let Some(column) = relation.columns.iter().find(|column| column.kind == Kind::Money)
        && draw.percent(15)
    {
        let _ = write!(
            text,
            "\n[checks]\nnever_negative = \"{} >= 0 or customer_id is null\"\nhas_rows = \"row_count() >= 0\"\n",
            column.name
        );
    }
    text.push_str("*/\n");
    text
}

/// A model over one of the `staging` first tables, which have a row for each row of their source, with the features of a feature table.
/// What it guesses can be learned from what it sees, so that it beats the baseline whatever the numbers are; half of the rows judge it, so that
/// the few that there are suffice.
fn model(tables: &[Relation], staging: usize, number: usize, draw: &mut Draw) -> (String, String) {
    let features: Vec<&Relation> = tables.iter().filter(|table| table.is_feature).collect();
    let base = &tables[draw.below(staging.max(1))];
    let inputs = base.columns.iter().filter(|column| column.kind == Kind::Money || column.kind == Kind::Count);
    let inputs: String = inputs.map(|column| format!("       cast({0} as double) as {0},\n", column.name)).collect();
    let features = match features.is_empty() {
        true => String::new(),
        false => format!("features = [\"{}\"]\n", draw.one(&features).name),
    };
    let text = format!(
        "/* pelton\ndescription = \"Guesses whose turn it is from the row and the customer.\"\ntask = \"classification\"\ntarget = \"is_first\"\n\
         key = [\"id\"]\ntime = \"occurred_at\"\n{features}split = {{ by = \"random\", test = \"30%\", valid = \"20%\" }}\nlearner = \"logistic\"\n*/\n\
         select id,\n       customer_id,\n       occurred_at,\n{inputs}       cast(id % 3 as double) as turn,\n       id % 3 = 0 as is_first\nfrom {base}\n",
        base = base.name,
    );
    (format!("model_{number:02}"), text)
}
