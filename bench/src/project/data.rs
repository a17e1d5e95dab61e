//! Sources: a TOML file and a small CSV file each.

use crate::Files;
use crate::draw::Draw;
use std::fmt::Write;
use std::io;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An amount of money, 0 or more, never missing.
    Money,
    /// A whole number, 0 or more, never missing.
    Count,
    /// A `double`; it may be missing.
    Ratio,
    /// One of [`WORDS`].
    Word,
    /// A boolean, never missing.
    Flag,
}

/// The words of text columns.
pub(crate) const WORDS: [&str; 6] = ["north", "south", "east", "west", "online", "partner"];

/// A column beside `id`, `customer_id` and `occurred_at`, which every source and table has.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

impl Kind {
    /// The type under which a source declares it.
    fn type_name(self) -> &'static str {
        match self {
            Kind::Money => "decimal(18,2)",
            Kind::Count => "bigint",
            Kind::Ratio => "double",
            Kind::Word => "text",
            Kind::Flag => "boolean",
        }
    }

    /// The beginning of a column's name.
    pub(crate) fn stem(self, draw: &mut Draw) -> &'static str {
        match self {
            Kind::Money => draw.one(&["amount", "price", "cost", "fee", "balance"]),
            Kind::Count => draw.one(&["quantity", "visits", "clicks", "items", "seconds"]),
            Kind::Ratio => draw.one(&["score", "share", "rate"]),
            Kind::Word => draw.one(&["region", "channel", "segment"]),
            Kind::Flag => draw.one(&["is_new", "is_paid", "is_open"]),
        }
    }
}

/// The columns of a source: one of each kind, then more, up to 17.
pub(crate) fn columns(draw: &mut Draw) -> Vec<Column> {
    let mut kinds = vec![Kind::Money, Kind::Count, Kind::Word, Kind::Flag];
    for _ in 0..draw.below(14) {
        kinds.push(draw.one(&[Kind::Money, Kind::Count, Kind::Ratio, Kind::Word, Kind::Flag]));
    }
    let named = kinds.into_iter().enumerate();
    named.map(|(at, kind)| Column { name: format!("{}_{}", kind.stem(draw), at + 1), kind }).collect()
}

/// Writes a source and its data; one in four leaves its columns to be inferred.
pub(crate) fn write(files: &Files, name: &str, columns: &[Column], rows: usize, draw: &mut Draw) -> io::Result<()> {
    let mut text = format!(
        "description = \"Generated events of `{name}`.\"\nkind = \"files\"\npath = \"data/{name}.csv\"\nkey = [\"id\"]\n\
         time = \"occurred_at\"\n"
    );
    if !draw.percent(25) {
        text.push_str("\n[columns]\nid = \"bigint\"\ncustomer_id = \"bigint\"\noccurred_at = \"timestamp\"\n");
        for column in columns {
            let _ = writeln!(text, "{} = \"{}\"", column.name, column.kind.type_name());
        }
    }
    files.write(&format!("sources/{name}.toml"), &text)?;
    let mut csv = "id,customer_id,occurred_at".to_string();
    for column in columns {
        let _ = write!(csv, ",{}", column.name);
    }
    csv.push('\n');
    let customers = rows.div_ceil(4);
    for row in 1..=rows {
        let (day, hour, minute) = (draw.between(1, 28), draw.below(24), draw.below(60));
        let _ = write!(
            csv,
            "{row},{},2026-{:02}-{day:02} {hour:02}:{minute:02}:00",
            1 + draw.below(customers),
            draw.between(1, 6)
        );
        for column in columns {
            let _ = match column.kind {
                Kind::Money => write!(csv, ",{}.{:02}", draw.below(1_000), draw.below(100)),
                Kind::Count => write!(csv, ",{}", draw.below(50)),
                Kind::Ratio if draw.percent(5) => write!(csv, ","),
                Kind::Ratio => write!(csv, ",0.{:03}5", draw.below(1_000)),
                Kind::Word => write!(csv, ",{}", draw.one(&WORDS)),
                Kind::Flag => write!(csv, ",{}", draw.percent(40)),
            };
        }
        csv.push('\n');
    }
    files.write(&format!("data/{name}.csv"), &csv)
}
