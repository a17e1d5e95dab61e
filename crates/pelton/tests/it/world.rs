//! Random small projects and what happens to them: files that arrive, change, go and come back, tables that come, go and change.
//!
//! A world is made and changed by one seed, so that every history can be replayed. It knows how many records its files have, and
//! nothing else about what Pelton should make of them: that is judged by laws, not by expected rows.

use pelton_base::Seed;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Draws from a seed, one after the other.
pub(crate) struct Draw(Seed, u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Draw(Seed(seed), 0)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.1 += 1;
        (self.0.at(self.1) % end.max(1) as u64) as usize
    }

    /// True in one of `times` draws.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// A project that lives.
pub(crate) struct World {
    pub(crate) draw: Draw,
    pub(crate) sources: Vec<Source>,
    pub(crate) tables: Vec<Table>,
    /// Names and texts of tables that never change.
    pub(crate) others: Vec<(&'static str, &'static str)>,
    made: usize,
}

/// The contract of a source in whose files an undeclared column comes and goes, widens and narrows. Under any other, the first files decide its type, and
/// what does not fit is kept out: then the order in which files come decides.
const EVOLVES: (&str, &str) = ("evolve", "evolve");

/// A source and its files by path.
pub(crate) struct Source {
    pub(crate) name: String,
    is_ndjson: bool,
    pub(crate) has_key: bool,
    contract: (&'static str, &'static str),
    description: usize,
    /// Whether a word is a missing value.
    has_null_word: bool,
    pub(crate) files: BTreeMap<String, Data>,
    /// Files that were taken in and are gone. What the world is without them, no full build can tell.
    pub(crate) gone: BTreeMap<String, Data>,
    /// The files as the last run found them.
    taken_in: BTreeMap<String, Data>,
    next_id: usize,
}

/// A data file.
#[derive(Clone)]
pub(crate) struct Data {
    pub(crate) text: String,
    /// How many records it has, whatever becomes of them.
    pub(crate) records: u64,
}

/// A table whose SELECT always gives `id`, `grp` and `amount`, so that any other can read it.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) name: String,
    shape: Shape,
    reads: Vec<String>,
    number: usize,
    kept: Kept,
    comment: usize,
    check: Check,
}

/// How a table is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kept {
    Full,
    View,
    /// By the incremental build that fits its shape, where one does.
    Step,
}

const KEPT: &[Kept] = &[Kept::Full, Kept::Full, Kept::View, Kept::Step, Kept::Step];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Filter,
    Everything,
    Scaled,
    Grouped,
    Union,
    Join,
    Running,
    Distinct,
    Top,
    /// Sums by day, of a source.
    Daily,
    /// The newest row of each group, of a source.
    Newest,
    /// What each row was from when until when, of a source.
    States,
}

const SHAPES: &[Shape] = &[
    Shape::Filter,
    Shape::Everything,
    Shape::Scaled,
    Shape::Grouped,
    Shape::Union,
    Shape::Join,
    Shape::Running,
    Shape::Distinct,
    Shape::Top,
    Shape::Daily,
    Shape::Newest,
    Shape::States,
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Check {
    None,
    Warns,
    Removes,
    Unique,
    Anomaly,
    Stops,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut world =
            World { draw: Draw::new(seed), sources: Vec::new(), tables: Vec::new(), others: Vec::new(), made: 0 };
        for number in 0..1 + world.draw.below(3) {
            let source = Source {
                name: format!("source_{number}"),
                is_ndjson: world.draw.once_in(3),
                has_key: world.draw.once_in(2),
                contract: world.draw.one_of(&[
                    EVOLVES,
                    EVOLVES,
                    ("evolve", "quarantine"),
                    ("evolve", "discard_value"),
                    ("discard_value", "discard_row"),
                ]),
                description: 0,
                has_null_word: false,
                files: BTreeMap::new(),
                gone: BTreeMap::new(),
                taken_in: BTreeMap::new(),
                next_id: 0,
            };
            world.sources.push(source);
            for month in 1..=1 + world.draw.below(2) {
                world.put_file(number, &format!("data/source_{number}/{:03}", month * 10));
            }
        }
        for _ in 0..2 + world.draw.below(4) {
            world.add_table();
        }
        world
    }

    /// Changes something, and says what.
    pub(crate) fn change(&mut self) -> String {
        let source = self.draw.below(self.sources.len());
        let path = self.some_file(source);
        let name = self.sources[source].name.clone();
        match self.draw.below(20) {
            0..=3 => {
                let after = self.sources[source].files.len() * 10 + 10;
                self.put_file(source, &format!("data/{name}/{after:03}"))
            }
            4 => {
                let before = self.draw.below(90);
                self.put_file(source, &format!("data/{name}/{before:03}"))
            }
            5 => self.put_file(source, path.rsplit_once('.').map_or(path.as_str(), |(stem, _)| stem)),
            6 => {
                let more = self.data(source, false);
                let data = self.sources[source].files.get_mut(&path).expect("the file was just found");
                data.text.push_str(&more.text);
                data.records += more.records;
                format!("{path} grows by {} records", more.records)
            }
            7 => {
                self.sources[source].description += 1;
                format!("{name} is described anew")
            }
            8 => self.add_table(),
            9 => self.remove_table(),
            16 => self.lose_file(source, &path),
            // A history in which files come back is worth more: only then can a full build tell.
            17 | 18 => self.bring_back_file(source),
            19 => {
                self.sources[source].has_null_word ^= true;
                format!("{name} reads `b` as {}", if self.sources[source].has_null_word { "missing" } else { "it is" })
            }
            what => self.change_table(what),
        }
    }

    /// Lets a table fail its check, and says which.
    pub(crate) fn break_a_table(&mut self) -> Option<(usize, Table)> {
        let at = self.draw.below(self.tables.len());
        let before = self.tables.get(at)?.clone();
        self.tables[at].check = Check::Stops;
        Some((at, before))
    }

    /// Writes what differs from what lies there.
    pub(crate) fn write(&self, folder: &Path) {
        let mut files = BTreeMap::from([("pelton.toml".to_string(), "name = \"world\"\n".to_string())]);
        for source in &self.sources {
            files.insert(format!("sources/{}.toml", source.name), source.settings());
            files.extend(source.files.iter().map(|(path, data)| (path.clone(), data.text.clone())));
        }
        files.extend(self.tables.iter().map(|table| (format!("tables/{}.sql", table.name), table.text())));
        files.extend(self.others.iter().map(|(name, text)| (format!("tables/{name}.sql"), (*text).to_string())));
        for (path, text) in &files {
            let path = folder.join(path);
            if std::fs::read_to_string(&path).ok().as_ref() != Some(text) {
                std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder is ours");
                std::fs::write(path, text).expect("the folder is ours");
            }
        }
        let data = self.sources.iter().map(|source| format!("data/{}", source.name));
        for inside in data.chain(["tables".to_string()]) {
            let Ok(entries) = std::fs::read_dir(folder.join(&inside)) else { continue };
            for file in entries.flatten() {
                if !files.contains_key(&format!("{inside}/{}", file.file_name().to_string_lossy())) {
                    std::fs::remove_file(file.path()).expect("the folder is ours");
                }
            }
        }
    }

    /// A run took in what is there.
    pub(crate) fn was_taken_in(&mut self) {
        self.sources.iter_mut().for_each(|source| source.taken_in.clone_from(&source.files));
    }

    /// Whether a full build sees everything that the warehouse has taken in.
    pub(crate) fn is_whole(&self) -> bool {
        self.sources.iter().all(|source| source.gone.is_empty())
    }

    fn lose_file(&mut self, source: usize, path: &str) -> String {
        let source = &mut self.sources[source];
        if source.files.len() < 2 {
            return "nothing changes".into();
        }
        source.files.remove(path);
        source.gone.extend(source.taken_in.get_key_value(path).map(|(path, data)| (path.clone(), data.clone())));
        format!("{path} is gone")
    }

    fn bring_back_file(&mut self, source: usize) -> String {
        let source = &mut self.sources[source];
        match source.gone.pop_first() {
            Some((path, data)) => {
                let said = format!("{path} is back");
                source.files.insert(path, data);
                said
            }
            None => "nothing changes".into(),
        }
    }

    fn some_file(&mut self, source: usize) -> String {
        let at = self.draw.below(self.sources[source].files.len());
        self.sources[source].files.keys().nth(at).cloned().expect("every source has a file")
    }

    fn put_file(&mut self, source: usize, stem: &str) -> String {
        let path = format!("{stem}.{}", if self.sources[source].is_ndjson { "ndjson" } else { "csv" });
        let data = self.data(source, true);
        let said = format!("{path} has {} records", data.records);
        self.sources[source].gone.remove(&path);
        self.sources[source].files.insert(path, data);
        said
    }

    /// A file's text; `with_header` is about CSV.
    fn data(&mut self, source: usize, with_header: bool) -> Data {
        let is_ndjson = self.sources[source].is_ndjson;
        // A column that nobody declared comes, widens, narrows and leaves with the files that have it.
        let may_have = with_header && self.sources[source].contract == EVOLVES;
        let has_extra = may_have && self.draw.once_in(3);
        let extras: [&str; 3] = self.draw.one_of(&[
            ["1", "23", ""],
            ["007", "12", "1"],
            ["1.5", "2", ""],
            ["true", "false", ""],
            ["word", "7", "another word"],
            ["2026-01-02", "2026-02-03", ""],
        ]);
        let mut text = String::new();
        if with_header && !is_ndjson {
            text.push_str(if has_extra { "id,grp,amount,at,extra\n" } else { "id,grp,amount,at\n" });
        }
        let records = self.draw.below(7) as u64;
        for _ in 0..records {
            let world = &mut self.sources[source];
            let is_known = self.draw.once_in(6);
            let id = if is_known { self.draw.below(world.next_id + 1) } else { world.next_id };
            world.next_id += usize::from(!is_known);
            let group = self.draw.one_of(&["a", "b", "c", "d e", ""]);
            let amount = format!("{}.{:02}", self.draw.below(60), self.draw.below(100));
            let is_wrong = self.draw.once_in(12);
            let amount = if is_wrong { "much".to_string() } else { amount };
            let at = format!("2026-01-{:02}T{:02}:00:00Z", 1 + self.draw.below(28), self.draw.below(24));
            let extra = self.draw.one_of(&extras);
            let is_broken = self.draw.once_in(25);
            let _ = match (is_ndjson, is_broken) {
                (true, true) => writeln!(text, "{{\"id\": {id}, \"grp\""),
                (true, false) => {
                    let amount = if is_wrong { format!("\"{amount}\"") } else { amount };
                    let extra = if has_extra { format!(", \"extra\": \"{extra}\"") } else { String::new() };
                    writeln!(
                        text,
                        "{{\"id\": {id}, \"grp\": \"{group}\", \"amount\": {amount}, \"at\": \"{at}\"{extra}}}"
                    )
                }
                (false, true) => writeln!(text, "{id},{group}"),
                (false, false) if has_extra => writeln!(text, "{id},{group},{amount},{at},{extra}"),
                (false, false) => writeln!(text, "{id},{group},{amount},{at}"),
            };
        }
        Data { text, records }
    }

    fn node(&mut self, tables: usize) -> String {
        let at = self.draw.below(self.sources.len() + tables);
        match self.sources.get(at) {
            Some(source) => source.name.clone(),
            None => self.tables[at - self.sources.len()].name.clone(),
        }
    }

    fn add_table(&mut self) -> String {
        let tables = self.tables.len();
        let source = self.draw.below(self.sources.len());
        let reads = vec![self.node(tables), self.node(tables), self.sources[source].name.clone()];
        let table = Table {
            name: format!("table_{:02}", self.made),
            shape: self.draw.one_of(SHAPES),
            reads,
            number: self.draw.below(30),
            kept: self.draw.one_of(KEPT),
            comment: 0,
            check: Check::None,
        };
        self.made += 1;
        let said = format!("{} is new: {:?} {} {:?}", table.name, table.shape, table.number, table.kept);
        self.tables.push(table);
        said
    }

    fn remove_table(&mut self) -> String {
        let is_read = |name: &String| self.tables.iter().any(|table| table.reads.contains(name));
        let at = self.tables.iter().rposition(|table| !is_read(&table.name));
        match at.filter(|_| self.tables.len() > 1) {
            Some(at) => format!("{} is gone", self.tables.remove(at).name),
            None => "nothing changes".into(),
        }
    }

    fn change_table(&mut self, what: usize) -> String {
        let at = self.draw.below(self.tables.len());
        let check = self.draw.one_of(&[Check::None, Check::Warns, Check::Removes, Check::Unique, Check::Anomaly]);
        let (number, shape, kept) = (self.draw.below(30), self.draw.one_of(SHAPES), self.draw.one_of(KEPT));
        let table = &mut self.tables[at];
        match what {
            10 | 11 => table.number = number,
            12 => table.comment += 1,
            13 => table.kept = kept,
            14 => table.check = check,
            _ => table.shape = shape,
        }
        let Table { name, shape, number, kept, check, .. } = table;
        format!("{name} is changed: {shape:?} {number} {kept:?} {check:?}")
    }
}

impl Source {
    fn settings(&self) -> String {
        let extension = if self.is_ndjson { "ndjson" } else { "csv" };
        let mut text = format!("kind = \"files\"\npath = \"data/{}/*.{extension}\"\n", self.name);
        if self.description > 0 {
            let _ = writeln!(text, "description = \"Number {}.\"", self.description);
        }
        if self.has_key {
            text.push_str("key = \"id\"\n");
        }
        let (columns, data_type) = self.contract;
        let _ = writeln!(text, "contract = {{ columns = \"{columns}\", data_type = \"{data_type}\" }}");
        if self.has_null_word && !self.is_ndjson {
            text.push_str("csv = { null = [\"\", \"b\"] }\n");
        }
        text.push_str("[columns]\nid = \"bigint\"\ngrp = \"text\"\namount = \"decimal(10,2)\"\nat = \"timestamp\"\n");
        text
    }
}

impl Table {
    fn text(&self) -> String {
        let (x, y, source, number) = (&self.reads[0], &self.reads[1], &self.reads[2], self.number);
        let is_step = self.kept == Kept::Step;
        let select = match self.shape {
            Shape::Filter => format!("select id, grp, amount from {x} where amount >= {number}"),
            Shape::Everything => format!("select * from {x} where id % 7 <> {}", number % 7),
            Shape::Scaled => {
                format!("select id, grp, cast(amount * {} as decimal(18,2)) as amount from {x}", number % 3)
            }
            Shape::Grouped if is_step => format!(
                "select min(id) + {number} as id, grp, cast(sum(amount) as decimal(18,2)) as amount from {x} \
                 where grp is not null group by grp"
            ),
            Shape::Grouped => {
                format!(
                    "select min(id) + {number} as id, grp, cast(sum(amount) as decimal(18,2)) as amount from {x} group by grp"
                )
            }
            Shape::Union => {
                format!("select id, grp, amount from {x} union all select id, grp, amount from {y} where id > {number}")
            }
            Shape::Join => format!(
                "select x.id, y.grp, x.amount from {x} x join (select id, min(grp) as grp from {y} group by id) y on y.id = x.id \
                 where x.id <> {number}"
            ),
            Shape::Running => format!(
                "select id, grp, cast(sum(amount) over (partition by grp order by id, amount) as decimal(18,2)) as amount \
                 from {x} where id <> {number}"
            ),
            Shape::Daily => format!(
                "select date_trunc('day', at) as at, min(id) as id, grp, cast(sum(amount) as decimal(18,2)) as amount \
                 from {source} where id <> {number} and at is not null group by 1, grp"
            ),
            Shape::Newest | Shape::States => format!(
                "select id, grp, amount, at from {source} where grp is not null and at is not null and id <> {number}"
            ),
            Shape::Distinct => format!("select distinct id, grp, amount from {x} where id <> {number}"),
            Shape::Top => {
                format!("select id, grp, amount from {x} order by amount desc nulls last, id, grp limit {}", 1 + number)
            }
        };
        let mut header = String::new();
        header.push_str(match (self.kept, self.shape) {
            (Kept::View, _) => "build = \"view\"\n",
            (Kept::Step, Shape::Filter | Shape::Everything | Shape::Scaled | Shape::Union) => "build = \"append\"\n",
            (Kept::Step, Shape::Grouped) => "build = \"merge\"\nkey = \"grp\"\n",
            (Kept::Step, Shape::Daily) => match self.number % 3 {
                0 => "build = \"interval\"\ninterval = \"1 day\"\ntime = \"at\"\n",
                1 => "build = \"interval\"\ninterval = \"1 week\"\ntime = \"at\"\n",
                _ => "build = \"interval\"\ninterval = \"1 month\"\ntime = \"at\"\n",
            },
            (Kept::Step, Shape::Newest) => "build = \"merge\"\nkey = \"grp\"\ntime = \"at\"\n",
            (Kept::Step, Shape::States) => "build = \"history\"\nkey = \"id\"\ntime = \"at\"\n",
            _ => "",
        });
        let check = match self.check {
            // A view stores no rows to remove, and an incremental table refuses to.
            Check::Removes | Check::Unique if self.kept != Kept::Full => Check::None,
            check => check,
        };
        header.push_str(match check {
            Check::None => "",
            Check::Warns => "[checks]\nsmall = { sql = \"amount < 30\", on_fail = \"warn\" }\n",
            Check::Removes => "[checks]\nsmall = { sql = \"amount < 30\", on_fail = \"quarantine\" }\n",
            Check::Unique => "[checks]\none = { sql = \"unique(id)\", on_fail = \"quarantine\" }\n",
            Check::Anomaly => "[anomaly]\nnull_share = \"*\"\nmean = \"amount\"\ndistinct_count = \"grp\"\n",
            Check::Stops => "[checks]\nnever = \"row_count() < 0\"\n",
        });
        let header = if header.is_empty() { header } else { format!("/* pelton\n{header}*/\n") };
        let comment = if self.comment > 0 { format!("-- change {}\n", self.comment) } else { String::new() };
        format!("{header}{comment}{select}\n")
    }
}
