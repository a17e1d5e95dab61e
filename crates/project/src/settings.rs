//! Every setting that a project's files may have: the one definition that the reader checks keys against, that its messages
//! quote, and that the reference is written from.

use std::fmt::Write;

/// A table of settings: a file's top level, or a `[table]` in it.
#[derive(Debug)]
pub struct SettingsTable {
    /// The table as a person calls it: `pelton.toml`, `a table's header`, `[csv]`.
    pub title: &'static str,
    /// Which files have it: `pelton.toml`, `sources/*.toml`, `tables/**/*.sql`, `models/**/*.sql`.
    pub files: &'static str,
    /// The name of the TOML table, empty for the file's top level; `*` stands for a name of your own.
    pub table: &'static str,
    /// What the table is for, in a sentence.
    pub doc: &'static str,
    /// Its settings, in the order of the reference.
    pub settings: &'static [SettingDoc],
}

/// A setting.
#[derive(Debug)]
pub struct SettingDoc {
    /// The key; `*` stands for names of your own.
    pub key: &'static str,
    /// What is accepted, as a noun phrase.
    pub accepts: &'static str,
    /// What holds when it is absent; empty when it must be given or nothing holds then.
    pub default: &'static str,
    /// A line of TOML.
    pub example: &'static str,
    /// What it means, in a sentence.
    pub doc: &'static str,
    /// Whether it is needed.
    pub needed: bool,
    /// Whether this version of Pelton acts on it; else it is refused by name.
    pub built: bool,
}

impl SettingsTable {
    /// The definition of a key, if it is a setting here.
    pub fn find(&self, key: &str) -> Option<&'static SettingDoc> {
        self.settings.iter().find(|setting| setting.key == key || setting.key == "*")
    }

    /// The keys that a person may write here.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.settings.iter().filter(|setting| setting.built && setting.key != "*").map(|setting| setting.key)
    }
}

macro_rules! settings {
    ($($key:literal $state:ident $accepts:literal $default:literal $example:literal $doc:literal)*) => {
        &[$(SettingDoc {
            key: $key,
            accepts: $accepts,
            default: $default,
            example: $example,
            doc: $doc,
            needed: settings!(@needed $state),
            built: settings!(@built $state),
        }),*]
    };
    (@needed needed) => { true };
    (@needed $other:ident) => { false };
    (@built later) => { false };
    (@built $other:ident) => { true };
}

/// All tables of settings, in the order of the reference.
pub const SETTINGS: &[&SettingsTable] = &[
    &PROJECT,
    &ENGINE,
    &SERVER,
    &RETENTION,
    &RETRY,
    &NOTIFY,
    &SOURCE,
    &CSV,
    &CONTRACT,
    &SOURCE_COLUMNS,
    &SOURCE_COLUMN,
    &TABLE,
    &COLUMNS,
    &COLUMN,
    &CHECKS,
    &CHECK,
    &COLUMN_CHECK,
    &FRESHNESS,
    &ANOMALY,
    &MODEL,
    &DERIVE,
    &SPLIT,
    &SPLIT_BY,
    &GBDT,
    &LOGISTIC,
    &LINEAR,
    &TEST,
    &TEST_CASE,
    &GIVEN,
    &EXPECT_CHECKS,
];

/// `pelton.toml`.
pub static PROJECT: SettingsTable = SettingsTable {
    title: "pelton.toml",
    files: "pelton.toml",
    table: "",
    doc: "The project: its name, where versions live, what a run publishes.",
    settings: settings! {
        "name" needed "a text" "" r#"name = "fraud""# "The project's name."
        "warehouse" optional "a folder, relative to the project or absolute" "\"warehouse\"" r#"warehouse = "warehouse""#
            "Where versions live."
        "publish" optional "`all` or `healthy`" "\"all\"" r#"publish = "healthy""#
            "What a failed node means for the rest: `all`, nothing is published; `healthy`, what is healthy is published."
        "seed" optional "a whole number from 0" "42" "seed = 42" "The seed of splits, sampling and training."
        "engine" optional "`local`, or a table `[engine]`" "\"local\"" r#"engine = "local""# "Where queries run."
        "server" optional "a table `[server]`" "" "server = { port = 8470 }" "The limits of `pelton serve`."
        "retention" optional "a table `[retention]`" "" r#"retention = { keep = "30 days" }"# "What `pelton gc` keeps."
        "retry" optional "a table `[retry]`" "" "retry = { attempts = 5 }" "How often a run tries what may succeed the next time."
        "notify" optional "a table `[notify]`" "" r#"notify = { command = ["./tell.sh"] }"# "Who is told how runs end."
        "environments" later "a table" "" "" "Settings by environment."
    },
};

/// `[engine]`.
pub static ENGINE: SettingsTable = SettingsTable {
    title: "`[engine]`",
    files: "pelton.toml",
    table: "engine",
    doc: "Where and within which limits queries run.",
    settings: settings! {
        "kind" optional "`local`" "\"local\"" r#"kind = "local""# "The engine: in this process."
        "memory" optional "a size such as `\"512MB\"` or `\"2GiB\"`, or a number of bytes; at least 16 MB" "\"1GB\"" r#"memory = "2GB""#
            "What sorts, joins and aggregations may hold before they spill."
        "threads" optional "a whole number from 0 to 1024" "0" "threads = 4" "How many threads a query uses; 0 means one a core. A query uses at most one for each 64 MB of `memory`."
    },
};

/// `[server]`.
pub static SERVER: SettingsTable = SettingsTable {
    title: "`[server]`",
    files: "pelton.toml",
    table: "server",
    doc: "The address and the limits of `pelton serve`.",
    settings: settings! {
        "host" optional "a host name or address" "\"127.0.0.1\"" r#"host = "0.0.0.0""# "The address to listen on."
        "port" optional "a whole number from 0 to 65535" "8470" "port = 8470" "The port; 0 means any free one."
        "body_bytes_max" optional "a size such as `\"8MiB\"`, or a number of bytes" "\"8MiB\"" r#"body_bytes_max = "8MiB""#
            "The largest request body."
        "rows_max" optional "a whole number from 1" "10000" "rows_max = 10000" "The most rows of a request."
        "requests_max" optional "a whole number from 1" "512" "requests_max = 512" "The most requests under way."
        "connections_max" optional "a whole number from 1" "512" "connections_max = 2000"
            "The most connections that are open; a request under way has one. Each needs one of the files that the system lets a process open."
        "headers_ms" optional "a whole number from 1 to 3600000" "30000" "headers_ms = 5000"
            "How long a connection may take until the headers of its next request are there, also between requests; then it is closed."
        "timeout_ms" optional "a whole number from 1" "10000" "timeout_ms = 10000" "The longest that a request may take, from its headers on."
        "drain_ms" optional "a whole number from 0" "10000" "drain_ms = 10000"
            "How long requests under way may go on after the server is told to stop."
    },
};

/// `[retention]`.
pub static RETENTION: SettingsTable = SettingsTable {
    title: "`[retention]`",
    files: "pelton.toml",
    table: "retention",
    doc: "What `pelton gc` keeps although no environment stands at it any more.",
    settings: settings! {
        "keep" optional "a duration such as `\"30 days\"`, at least one hour" "\"30 days\"" r#"keep = "90 days""#
            "How long a publication can be read and restored after it was replaced, and how long an unpublished version waits for its run."
        "publications" optional "a whole number from 1" "10" "publications = 20"
            "How many publications of each environment are kept whatever their age."
    },
};

/// `[retry]`.
pub static RETRY: SettingsTable = SettingsTable {
    title: "`[retry]`",
    files: "pelton.toml",
    table: "retry",
    doc: "How often, and after how long, a run builds a node or publishes again when the storage did not answer or somebody held the state database.",
    settings: settings! {
        "attempts" optional "a whole number from 1 to 10" "3" "attempts = 5" "How often it is tried, the first time included."
        "wait_ms" optional "a whole number from 0 to 60000" "200" "wait_ms = 1000"
            "How long the first wait is; each further one is twice as long, less up to a half by the seed."
        "wait_ms_max" optional "a whole number from 0 to 60000" "10000" "wait_ms_max = 30000" "The longest wait."
    },
};

/// `[notify]`.
pub static NOTIFY: SettingsTable = SettingsTable {
    title: "`[notify]`",
    files: "pelton.toml",
    table: "notify",
    doc: "Who is told how a run, a check or a publication ended: a webhook gets a POST of a JSON document, a program gets it on its stdin.",
    settings: settings! {
        "webhook" optional "a URL that begins with `https://` or `http://`" "" r#"webhook = "https://hooks.example.org/pelton""#
            "Where a POST goes."
        "webhook_env" optional "the name of an environment variable" "" r#"webhook_env = "PELTON_WEBHOOK""#
            "The environment variable with the URL, where the URL is a secret; instead of `webhook`."
        "bearer_env" optional "the name of an environment variable" "" r#"bearer_env = "PELTON_TOKEN""#
            "The environment variable with a token that goes with the POST, as `Authorization: Bearer`."
        "command" optional "a program, or a list of a program and its arguments" "[]" r#"command = ["./tell.sh", "--team", "data"]"#
            "A program that is started in the project's folder."
        "on" optional "a list of `run-failed`, `published`, `check-failed`, `warned` and `model-held`" "all of them"
            r#"on = ["run-failed", "check-failed"]"# "What to tell of."
        "timeout_ms" optional "a whole number from 100 to 60000" "5000" "timeout_ms = 10000"
            "How long an attempt at the POST, or the program, may take."
        "attempts" optional "a whole number from 1 to 5" "3" "attempts = 5"
            "How often the POST is tried when nobody answers or the server fails; a refusal is not tried again."
    },
};

/// `sources/*.toml`.
pub static SOURCE: SettingsTable = SettingsTable {
    title: "a source",
    files: "sources/**/*.toml",
    table: "",
    doc: "A source: where data comes from, and its contract.",
    settings: settings! {
        "description" optional "a text" "" r#"description = "Card payments, one row each.""# "What the source is, for people."
        "tags" optional "a list of texts" "[]" r#"tags = ["finance"]"# "Words to select nodes by: `tag:finance`."
        "kind" needed "`files`" "" r#"kind = "files""# "What sort of source it is."
        "path" needed "a path with `*`, `?`, `[..]` and `**`, relative to the project" "" r#"path = "data/payments/*.csv""#
            "Which files belong to the source."
        "format" optional "`csv`, `ndjson` or `parquet`" "by the files' extension" r#"format = "csv""# "How the files are written."
        "csv" optional "a table `[csv]`" "" r#"csv = { delimiter = ";" }"# "How CSV files are written."
        "key" optional "a column, or a list of columns" "[]" r#"key = ["payment_id"]"#
            "The columns that identify a row; a later row with the same key goes to quarantine."
        "time" optional "a column" "" r#"time = "occurred_at""# "The column of the event's time."
        "contract" optional "a table with `columns` and `data_type`" "" r#"contract = { columns = "evolve", data_type = "quarantine" }"#
            "What happens to what does not fit."
        "columns" optional "a table of columns and their types" "" r#"columns = { amount = "decimal(12,2)" }"#
            "Declared columns; the types of others are inferred from all rows."
        "checks" optional "a table of checks" "" r#"checks = { positive = "amount > 0" }"# "Rules that the rows must meet."
        "freshness" optional "a duration, or a table with `column`, `warn_after` and `stop_after`" "" r#"freshness = "2 days""#
            "How old the newest row may be; asked at every run, also when nothing changed."
        "anomaly" optional "a table `[anomaly]`" "" r#"anomaly = { null_share = "*" }"#
            "Which statistics of the rows must be about what they were in earlier versions."
    },
};

/// `[csv]`.
pub static CSV: SettingsTable = SettingsTable {
    title: "`[csv]`",
    files: "sources/**/*.toml",
    table: "csv",
    doc: "How a source's CSV files are written.",
    settings: settings! {
        "delimiter" optional "one ASCII character" "\",\", or a tab for `.tsv`" r#"delimiter = ";""# "What separates values."
        "quote" optional "one ASCII character" "\"\\\"\"" r#"quote = "'""# "What encloses values."
        "header" optional "`true` or `false`" "true" "header = false"
            "Whether the first line names the columns; without, columns are the declared ones in order."
        "null" optional "a list of texts" "[\"\", \"NULL\", \"null\", \"NA\", \"N/A\"]" r#"null = ["", "-"]"# "Words that mean a missing value."
        "encoding" optional "an encoding label of the WHATWG standard, such as `utf-8`, `windows-1252` or `utf-16le`" "\"utf-8\""
            r#"encoding = "windows-1252""# "How characters are written; applies to NDJSON too."
    },
};

/// `contract`.
pub static CONTRACT: SettingsTable = SettingsTable {
    title: "`[contract]`",
    files: "sources/**/*.toml",
    table: "contract",
    doc: "What happens to what does not fit a source's columns and types.",
    settings: settings! {
        "columns" optional "`evolve`, `freeze`, `discard_row`, `discard_value` or `quarantine`" "\"evolve\"" r#"columns = "freeze""#
            "What happens when a column appears or disappears."
        "data_type" optional "`evolve`, `freeze`, `discard_row`, `discard_value` or `quarantine`" "\"quarantine\"" r#"data_type = "discard_value""#
            "What happens to a value that does not read as its column's type."
    },
};

/// `[columns]` of a source.
pub static SOURCE_COLUMNS: SettingsTable = SettingsTable {
    title: "`[columns]`",
    files: "sources/**/*.toml",
    table: "columns",
    doc: "A source's declared columns.",
    settings: settings! {
        "*" optional "a type, or a table with `type`" "" r#"amount = "decimal(12,2)""# "A column and its type."
    },
};

/// `[columns.NAME]` of a source.
pub static SOURCE_COLUMN: SettingsTable = SettingsTable {
    title: "a source's column",
    files: "sources/**/*.toml",
    table: "columns.*",
    doc: "A declared column with more than a type.",
    settings: settings! {
        "type" needed "a type" "" r#"type = "decimal(12,2)""# "The column's type."
        "description" optional "a text" "" r#"description = "In the account's currency.""# "What the column is, for people."
        "checks" optional "a list of checks" "[]" r#"checks = ["not_null", "between(0, 1000)"]"# "Rules that the values must meet."
    },
};

/// The header of `tables/**/*.sql`.
pub static TABLE: SettingsTable = SettingsTable {
    title: "a table's header",
    files: "tables/**/*.sql",
    table: "",
    doc: "A table: one SELECT, and how it is kept and checked.",
    settings: settings! {
        "description" optional "a text" "" r#"description = "What each customer did before each payment.""# "What the table is, for people."
        "tags" optional "a list of texts" "[]" r#"tags = ["finance"]"# "Words to select nodes by: `tag:finance`."
        "build" optional "`view`, `full`, `append`, `merge`, `interval` or `history`" "\"full\"" r#"build = "merge""#
            "How the table is kept: `view`, not stored but read in place; `full`, built anew from all input; `append`, `merge`, `interval` and `history`, only what changed is built."
        "entity" optional "a column, or a list of columns" "" r#"entity = "customer_id""#
            "Whom a row is about; with `time`, the table is a feature table."
        "time" optional "a column" "" r#"time = "occurred_at""# "The column of the event's time."
        "known_at" optional "a column" "the column `known_at`, when the SELECT has it" r#"known_at = "loaded_at""#
            "The column of the time at which a row became known."
        "ttl" optional "a duration such as `\"30 days\"` or `\"1 hour\"`" "" r#"ttl = "30 days""# "How old a feature row may be."
        "online" optional "`true` or `false`" "true" "online = false"
            "Whether endpoints may look the features up. With `false`, a model that lists the table under `features` is refused."
        "deterministic" optional "`true` or `false`" "false" "deterministic = true"
            "Your word that the SQL depends on its inputs alone, though it looks otherwise."
        "columns" optional "a table of columns" "" r#"columns = { amount = { checks = ["not_null"] } }"# "Notes and checks by column."
        "checks" optional "a table of checks" "" r#"checks = { positive = "amount > 0" }"# "Rules that the rows must meet."
        "key" optional "a column, or a list of columns" "" r#"key = "customer_id""#
            "What identifies a row of a `merge`, and what a `history` is about."
        "delete" optional "a condition on a row of the SELECT" "" r#"delete = "status = 'closed'""#
            "When the newest row of a key meets it, the key leaves a `merge`, and ends in a `history`."
        "track" optional "a column, or a list of columns" "all but `key` and `time`" r#"track = ["city", "tier"]"#
            "The columns of a `history` whose change begins a new row."
        "interval" optional "a duration, or weeks, months, quarters or years" "" r#"interval = "1 month""# "The length of the intervals of an `interval` build."
        "lookback" optional "a duration" "as far as the SQL says" r#"lookback = "30 days""#
            "How far before an interval the nearest rows lie that its SELECT looks at (`lag`, a number of rows), where the SQL does not bound it."
        "lateness" optional "a duration" "" r#"lateness = "2 hours""#
            "How long an interval waits after its end, in the time of the rows, before it is built."
        "start" optional "a date or a time" "" r#"start = "2026-01-01""# "Where the intervals of an `interval` build begin."
        "schema_change" optional "`rebuild` or `stop`" "\"rebuild\"; of a `history` without `time`, \"stop\"" r#"schema_change = "stop""#
            "What happens to an incremental table when the columns of its SELECT change: it is built anew, or the run stops."
        "freshness" optional "a duration, or a table with `column`, `warn_after` and `stop_after`" "" r#"freshness = "2 days""#
            "How old the newest row may be; asked at every run, also when nothing changed."
        "anomaly" optional "a table `[anomaly]`" "" r#"anomaly = { null_share = "*" }"#
            "Which statistics of the rows must be about what they were in earlier versions."
        "partition" later "a list of columns" "" "" "How files are divided."
        "schedule" later "a schedule" "" "" "When the table is built."
    },
};

/// `[columns]` of a table.
pub static COLUMNS: SettingsTable = SettingsTable {
    title: "`[columns]`",
    files: "tables/**/*.sql",
    table: "columns",
    doc: "Notes and checks on a table's columns.",
    settings: settings! {
        "*" optional "a table with `description` and `checks`" "" r#"amount = { checks = ["not_null"] }"# "A column."
    },
};

/// `[columns.NAME]` of a table.
pub static COLUMN: SettingsTable = SettingsTable {
    title: "a table's column",
    files: "tables/**/*.sql",
    table: "columns.*",
    doc: "A note and checks on one column.",
    settings: settings! {
        "description" optional "a text" "" r#"description = "In the account's currency.""# "What the column is, for people."
        "checks" optional "a list of checks" "[]" r#"checks = ["not_null", "between(0, 1000)"]"# "Rules that the values must meet."
    },
};

/// `[checks]`.
pub static CHECKS: SettingsTable = SettingsTable {
    title: "`[checks]`",
    files: "sources/**/*.toml, tables/**/*.sql, models/**/*.sql",
    table: "checks",
    doc: "Rules on rows, on the table as a whole, or in SQL of your own.",
    settings: settings! {
        "*" optional "an SQL text, or a table with `sql`" "" r#"positive = "amount > 0""# "A check and its name."
    },
};

/// An entry of `[checks]` with more than its SQL.
pub static CHECK: SettingsTable = SettingsTable {
    title: "a check",
    files: "sources/**/*.toml, tables/**/*.sql, models/**/*.sql",
    table: "checks.*",
    doc: "A rule with its SQL, and what happens when it is broken.",
    settings: settings! {
        "sql" optional "an SQL text" "" r#"sql = "amount > 0""#
            "A condition on a row, a condition over aggregates, or a SELECT of the rows that break the rule."
        "expression" optional "an SQL text" "" r#"expression = "amount > 0""# "The same as `sql`."
        "kind" optional "`row`, `table` or `custom`" "by the SQL" r#"kind = "table""#
            "Whether the SQL is about a row, about the whole table, or a SELECT of bad rows."
        "on_fail" optional "`stop`, `quarantine` or `warn`" "\"stop\"" r#"on_fail = "quarantine""# "What happens when the rule is broken."
        "tolerance" optional "a number of rows, or a share such as `\"1%\"`" "0; with `quarantine` any number" r#"tolerance = "1%""#
            "How many rows may break the rule; more fail the check."
    },
};

/// An entry of a column's `checks` with more than its rule.
pub static COLUMN_CHECK: SettingsTable = SettingsTable {
    title: "a column's check",
    files: "sources/**/*.toml, tables/**/*.sql",
    table: "columns.*.checks",
    doc: "A rule on one column, and what happens when it is broken.",
    settings: settings! {
        "check" needed "a check such as `not_null` or `between(0, 10)`" "" r#"check = "not_null""# "The rule."
        "on_fail" optional "`stop`, `quarantine` or `warn`" "\"stop\"" r#"on_fail = "quarantine""# "What happens when the rule is broken."
        "tolerance" optional "a number of rows, or a share such as `\"1%\"`" "0; with `quarantine` any number" r#"tolerance = "1%""#
            "How many rows may break the rule; more fail the check."
    },
};

/// `freshness`.
pub static FRESHNESS: SettingsTable = SettingsTable {
    title: "`[freshness]`",
    files: "sources/**/*.toml, tables/**/*.sql",
    table: "freshness",
    doc: "How old the newest row may be. `freshness = \"2 days\"` is short for `freshness = { stop_after = \"2 days\" }`.",
    settings: settings! {
        "column" optional "a column with a time or a date" "the column of `time`" r#"column = "loaded_at""#
            "Whose newest value is compared with the time of the run."
        "warn_after" optional "a duration such as `\"1 day\"` or `\"90 minutes\"`" "" r#"warn_after = "1 day""#
            "The age from which a run warns."
        "stop_after" optional "a duration longer than `warn_after`" "" r#"stop_after = "2 days""#
            "The age from which the node fails, as one whose check stops."
    },
};

/// `[anomaly]`.
pub static ANOMALY: SettingsTable = SettingsTable {
    title: "`[anomaly]`",
    files: "sources/**/*.toml, tables/**/*.sql",
    table: "anomaly",
    doc: "Statistics of each version that must be about what they were in earlier versions; silent until eight of them are known.",
    settings: settings! {
        "row_count" optional "`true` or `false`" "true" "row_count = false" "Whether the number of rows is watched."
        "null_share" optional "a column, a list of columns, or `*` for every column" "[]" r#"null_share = "*""#
            "The share of rows without a value."
        "mean" optional "a column, a list of columns, or `*` for every column of numbers or truth values" "[]" r#"mean = ["amount"]"#
            "The mean; of a truth value, the share that is true."
        "distinct_count" optional "a column, a list of columns, or `*` for every column" "[]" r#"distinct_count = ["customer_id"]"#
            "How many different values there are, counted to within about two percent."
        "sensitivity" optional "`low`, `medium`, `high`, or a number from 1 to 100" "\"medium\"" r#"sensitivity = "high""#
            "How many usual deviations are still usual: 8, 5 or 3.5, or your number."
        "on_fail" optional "`warn` or `stop`" "\"warn\"" r#"on_fail = "stop""# "What happens when a value is not usual."
    },
};

/// The header of `models/**/*.sql`.
pub static MODEL: SettingsTable = SettingsTable {
    title: "a model's header",
    files: "models/**/*.sql",
    table: "",
    doc: "A model: a SELECT of training examples, and what to learn from them.",
    settings: settings! {
        "description" optional "a text" "" r#"description = "Is this payment fraud?""# "What the model is, for people."
        "tags" optional "a list of texts" "[]" r#"tags = ["finance"]"# "Words to select nodes by: `tag:finance`."
        "task" needed "`classification` or `regression`" "" r#"task = "classification""# "What is learned: a class or a number."
        "target" needed "a column" "" r#"target = "is_fraud""# "The column to learn."
        "key" needed "a column, or a list of columns" "" r#"key = ["payment_id"]"# "The columns that identify an example."
        "time" optional "a column" "" r#"time = "occurred_at""# "The time as of which features are joined."
        "features" optional "a list of feature tables, or `table.column`" "[]" r#"features = ["customer_activity", "merchant_risk.chargebacks_90d"]"#
            "What is joined as of each example's time."
        "exclude" optional "a column, or a list of columns" "[]" r#"exclude = ["note", "customer_activity.last_paid_at"]"#
            "Columns of the SELECT, features and derived columns that the model does not see; `derive` may still read them."
        "derive" optional "a table of names and SQL" "" r#"derive = { per_day = "spend_30d / 30" }"#
            "Columns computed row by row, the same in training and at the endpoint."
        "split" optional "a table with `by`, `test` and `valid`" "" r#"split = { by = "time", test = "20%" }"# "Which examples judge the model."
        "learner" optional "a list of `gbdt`, `logistic`, `linear` and `baseline`" "\"gbdt\"" r#"learner = ["gbdt", "logistic"]"#
            "The algorithms that compete; the baseline always does."
        "gbdt" optional "a table of numbers" "" "gbdt = { rounds = 200 }" "Parameters of `gbdt`."
        "logistic" optional "a table of numbers" "" "logistic = { l2 = 1.0 }" "Parameters of `logistic`."
        "linear" optional "a table of numbers" "" "linear = { l2 = 1.0 }" "Parameters of `linear`."
        "metric" optional "a metric of the task" "`average_precision` (two classes), `log_loss` (more), `rmse`" r#"metric = "roc_auc""#
            "By which learners are compared."
        "accept" optional "a rule, or a list of rules, such as `average_precision >= 0.6` or `rmse <= current + 0.1`" "[]"
            r#"accept = ["average_precision >= 0.60"]"# "What a new version must reach before it is published."
        "missing" optional "`null` or `refuse`" "\"null\"" r#"missing = "refuse""# "What the endpoint does when an entity has no features."
        "deterministic" optional "`true` or `false`" "false" "deterministic = true"
            "Your word that the SQL depends on its inputs alone, though it looks otherwise."
        "checks" optional "a table of checks" "" r#"checks = { positive = "amount > 0" }"# "Rules that the training examples must meet."
        "tune" later "a table" "" "" "A search for better parameters."
        "schedule" later "a schedule" "" "" "When the model is trained."
    },
};

/// `[derive]`.
pub static DERIVE: SettingsTable = SettingsTable {
    title: "`[derive]`",
    files: "models/**/*.sql",
    table: "derive",
    doc: "Columns computed row by row from the SELECT's columns, features, and derived columns above.",
    settings: settings! {
        "*" optional "an SQL text" "" r#"amount_vs_usual = "amount / nullif(spend_30d / 30, 0)""# "A column and its SQL."
    },
};

/// `split`.
pub static SPLIT: SettingsTable = SettingsTable {
    title: "`[split]`",
    files: "models/**/*.sql",
    table: "split",
    doc: "Which examples train, stop and judge a model.",
    settings: settings! {
        "by" optional "`time`, `random`, `stratified` or `{ group = \"COLUMN\" }`"
            "`time` when the model has one, else `stratified` for classification, else `random`" r#"by = "time""# "How examples are divided."
        "test" optional "a share such as `\"20%\"` or `0.2`" "\"20%\"" r#"test = "20%""# "The share of examples that only judge."
        "valid" optional "a share such as `\"10%\"` or `0.1`" "\"10%\"" r#"valid = "10%""# "The share of examples that stop and choose."
    },
};

/// `split.by = { group = ... }`.
pub static SPLIT_BY: SettingsTable = SettingsTable {
    title: "`split.by`",
    files: "models/**/*.sql",
    table: "split.by",
    doc: "A split that keeps rows with the same value together.",
    settings: settings! {
        "group" needed "a column" "" r#"group = "customer_id""# "Rows with the same value stay together."
    },
};

/// `[gbdt]`.
pub static GBDT: SettingsTable = SettingsTable {
    title: "`[gbdt]`",
    files: "models/**/*.sql",
    table: "gbdt",
    doc: "Parameters of gradient boosted decision trees.",
    settings: settings! {
        "rounds" optional "a whole number from 1" "300, or 100 without a valid part" "rounds = 200" "The most rounds of boosting."
        "learning_rate" optional "a number up to 1" "0.1" "learning_rate = 0.05" "How much of each tree is added."
        "depth" optional "a whole number from 0 to 64" "6" "depth = 8" "The deepest a tree grows; 0 is no limit, and needs `leaves`."
        "leaves" optional "a whole number from 0" "0" "leaves = 31"
            "The most leaves of a tree, grown best first; 0 grows level by level to `depth`."
        "bins" optional "a whole number from 2 to 65535" "256" "bins = 128" "The most bins of a numeric column's histogram."
        "min_child_weight" optional "a number from 0" "1" "min_child_weight = 5" "The least sum of second derivatives in a leaf."
        "min_split_gain" optional "a number from 0" "0" "min_split_gain = 0.1" "The least gain of a split."
        "l2" optional "a number from 0" "1" "l2 = 1.0" "The quadratic penalty on leaf values."
        "l1" optional "a number from 0" "0" "l1 = 0.5" "The absolute penalty on leaf values."
        "subsample" optional "a number from 0.01 to 1" "1" "subsample = 0.8" "The share of rows that each tree sees."
        "column_sample" optional "a number from 0.01 to 1" "1" "column_sample = 0.8" "The share of columns that each tree sees."
        "early_stopping_rounds" optional "a whole number from 0" "30" "early_stopping_rounds = 50"
            "Rounds without progress on the valid part until training stops; 0 never stops."
    },
};

/// `[logistic]`.
pub static LOGISTIC: SettingsTable = SettingsTable {
    title: "`[logistic]`",
    files: "models/**/*.sql",
    table: "logistic",
    doc: "Parameters of logistic regression.",
    settings: settings! {
        "l2" optional "a number from 0" "1" "l2 = 1.0" "The quadratic penalty on the coefficients of standardised inputs."
        "iterations" optional "a whole number from 1" "200" "iterations = 500" "The most iterations of the solver."
    },
};

/// `[linear]`.
pub static LINEAR: SettingsTable = SettingsTable {
    title: "`[linear]`",
    files: "models/**/*.sql",
    table: "linear",
    doc: "Parameters of linear regression.",
    settings: settings! {
        "l2" optional "a number from 0" "1" "l2 = 1.0" "The quadratic penalty on the coefficients of standardised inputs."
    },
};

/// `tests/**/*.toml`.
pub static TEST: SettingsTable = SettingsTable {
    title: "a test",
    files: "tests/**/*.toml",
    table: "",
    doc: "A unit test of a table or a model, or several that share what stands above their `[[case]]`s.",
    settings: settings! {
        "node" needed "a table or a model" "" r#"node = "payments""# "What is tested."
        "now" optional "a time such as `\"2026-03-01T12:00:00Z\"`" "" r#"now = "2026-03-01T12:00:00Z""#
            "What `now()` and `current_date` mean; needed when what is tested uses them."
        "given" optional "a table of sources, tables and models" "" r#"given = { orders = [{ order_id = 1, amount = 12.5 }] }"#
            "The rows that its inputs have. A source that is not given has no rows; a table that is not given is built from what it reads."
        "prior" optional "a list of rows, a table as text, or a file's path" "" r#"prior = [{ customer_id = 1, city = "Bonn" }]"#
            "Of a table built `append`, `merge`, `interval` or `history`: the rows that it has before; `given` is what its inputs got since."
        "examples" optional "a list of rows, a table as text, or a file's path" "" r#"examples = "tests/data/examples.csv""#
            "Of a model: its training examples with their features, in place of its SELECT over what is given."
        "expect" optional "a list of rows, a table as text, or a file's path" "" r#"expect = [{ order_id = 1, euros = 12.5 }]"#
            "The rows that it must have, in any order; of a model, its training examples."
        "columns" optional "a list of columns" "those that `expect` names" r#"columns = ["order_id", "euros"]"# "The columns that are compared."
        "key" optional "a column, or a list of columns" "the key that the node declares, else a column that tells the rows apart" r#"key = "order_id""#
            "Which rows belong together where they differ; it decides how a difference is told, not whether there is one."
        "tolerance" optional "a number from 0" "one part in a billion" "tolerance = 0.01" "How far apart two floating-point numbers may be to count as equal."
        "expect_checks" optional "a list of checks, or a table of checks and numbers of rows" "" r#"expect_checks = ["positive"]"#
            "The checks of the node that the rows break, and no others; `[]` when they break none. Without it only checks that send rows to quarantine are asked."
        "expect_metrics" optional "a rule, or a list of rules, such as `average_precision >= 0.6`" "" r#"expect_metrics = ["average_precision >= 0.6"]"#
            "Of a model: what it must reach when it is trained on what is given."
        "case" optional "a list of tables `[[case]]`" "" r#"case = [{ name = "no orders", expect = [] }]"# "The tests, when there is more than one."
    },
};

/// `[[case]]` of a test.
pub static TEST_CASE: SettingsTable = SettingsTable {
    title: "a case",
    files: "tests/**/*.toml",
    table: "[case]",
    doc: "One of several tests in a file. It has what stands above the cases, and what it says itself; `given` is put together by input.",
    settings: settings! {
        "name" needed "a text" "" r#"name = "amounts without a currency are left out""# "What the case shows."
        "now" optional "a time" "" r#"now = "2026-03-01T12:00:00Z""# "As above."
        "given" optional "a table of sources, tables and models" "" r#"given = { orders = [{ order_id = 1 }] }"# "As above."
        "prior" optional "rows" "" r#"prior = [{ customer_id = 1 }]"# "As above."
        "examples" optional "rows" "" r#"examples = "tests/data/examples.csv""# "As above."
        "expect" optional "rows" "" r#"expect = [{ order_id = 1 }]"# "As above."
        "columns" optional "a list of columns" "" r#"columns = ["order_id"]"# "As above."
        "key" optional "a column, or a list of columns" "" r#"key = "order_id""# "As above."
        "tolerance" optional "a number from 0" "" "tolerance = 0.01" "As above."
        "expect_checks" optional "a list of checks, or a table of checks and numbers of rows" "" r#"expect_checks = { positive = 2 }"# "As above."
        "expect_metrics" optional "a rule, or a list of rules" "" r#"expect_metrics = ["roc_auc > 0.7"]"# "As above."
    },
};

/// `[given]` of a test.
pub static GIVEN: SettingsTable = SettingsTable {
    title: "`[given]`",
    files: "tests/**/*.toml",
    table: "given",
    doc: "The rows of inputs, by name. A column that a row does not name is null. Of a model: what `predict` answers.",
    settings: settings! {
        "*" optional "a list of rows, a table as text, or a file's path" "" r#"orders = [{ order_id = 1, amount = 12.5 }]"# "An input and its rows."
    },
};

/// `expect_checks` of a test, as a table.
pub static EXPECT_CHECKS: SettingsTable = SettingsTable {
    title: "`[expect_checks]`",
    files: "tests/**/*.toml",
    table: "expect_checks",
    doc: "The checks that rows break, each with how many rows break it.",
    settings: settings! {
        "*" optional "a whole number from 1" "" "positive = 2" "A check and its number of rows."
    },
};

/// The reference of all settings in Markdown, as `pelton config --reference` prints it.
pub fn settings_markdown() -> String {
    let mut out = String::from("# Settings\n");
    let escape = |text: &str| text.replace('|', "\\|");
    for table in SETTINGS {
        let name = if table.table.is_empty() { String::new() } else { format!(" `[{}]`", table.table) };
        let _ = write!(out, "\n## {}{name}\n\n{}\n\n", table.files, table.doc);
        out.push_str("| key | accepts | default | meaning | example |\n|---|---|---|---|---|\n");
        for setting in table.settings.iter().filter(|setting| setting.built) {
            let key = if setting.key == "*" { "*NAME*".to_string() } else { format!("`{}`", setting.key) };
            let default = match (setting.needed, setting.default) {
                (true, _) => "needed",
                (false, "") => "none",
                (false, default) => default,
            };
            let (accepts, default) = (escape(setting.accepts), escape(default));
            let _ = writeln!(
                out,
                "| {key} | {accepts} | {default} | {} | `{}` |",
                escape(setting.doc),
                escape(setting.example)
            );
        }
    }
    out
}
