//! The one table of report codes: code, kind, and the page that `pelton explain CODE` prints.
//!
//! Every code has a case in the tests; `cargo xtask tidy` checks that.

use crate::report::Kind;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    /// The code as printed: lower-case words joined by `-`.
    pub code: &'static str,
    /// What sort of answer it is.
    pub kind: Kind,
    /// What it means, in a sentence.
    pub what: &'static str,
    /// Why Pelton insists, and what to do.
    pub why: &'static str,
}

/// Finds a code's row.
pub fn find(code: &str) -> Option<&'static Code> {
    ALL.iter().find(|row| row.code == code)
}

macro_rules! codes {
    ($($code:literal $kind:ident $what:literal $why:literal)*) => {
        /// All codes, grouped by what they are about.
        pub const ALL: &[Code] = &[$(Code { code: $code, kind: Kind::$kind, what: $what, why: $why }),*];
    };
}

codes! {
    // The project's files.
    "no-project" Missing "There is no `pelton.toml` in this folder or in any folder above it."
        "Commands act on the project around the current folder. Run `pelton init` to make one, or pass `--project DIR`."
    "unreadable-file" Unavailable "A file or folder of the project could not be read or written."
        "The operating system refused; its reason is in the note."
    "invalid-toml" Invalid "A settings file, or the header in a SQL file's leading comment, is not valid TOML."
        "The header is the TOML between `/* pelton` and `*/` at the top of the file."
    "unknown-key" Invalid "A setting has a name that Pelton does not know here."
        "Unknown settings are refused instead of ignored, so that a typing mistake never silently changes what runs."
    "invalid-value" Invalid "A setting has a value of the wrong type or outside its range."
        "The note names what is accepted."
    "missing-key" Invalid "A setting that is needed here is missing."
        "The note names it and shows an example."
    "invalid-name" Invalid "A node's name is not a plain identifier."
        "Names are lower-case letters, digits and `_`, beginning with a letter, so that they never need quoting in SQL. Names that begin with `pelton_` are reserved for Pelton's own tables."
    "duplicate-node" Invalid "Two files define a node of the same name."
        "Sources, tables and models share one namespace, because SQL refers to them by name alone."
    "invalid-sql" Invalid "A SQL text could not be parsed, or is not exactly one SELECT."
        "A table and a model are one SELECT; what Pelton does with it stands in the header."
    "unknown-node" Invalid "A SELECT, a header or a command names a node that the project does not define."
        "The graph is read from the SQL itself: every name after FROM and JOIN is a source, a table, or a CTE of the same query."
    "wrong-kind" Invalid "A node is used as something that it is not: a model as a table, or a plain table as features."
        "A SELECT reads sources and tables, and models through `predict(MODEL, TABLE)`; features come from tables with `entity` and `time`."
    "cycle" Invalid "Nodes read each other in a circle, so none can be built first."
        "Break the circle by moving the shared part into a table that both read."
    "not-built-yet" Unsupported "A setting asks for something that this version of Pelton does not do."
        "It is refused by name instead of being ignored."
    "not-incremental" Invalid "The SELECT of a table cannot be built by `append`, `merge`, `interval` or `history`."
        "An incremental build has to give exactly the rows that a full one gives, so Pelton builds one only where the plan of the SELECT proves it: rows that add up, or a key or a time that comes from the input. The message says what stands in the way; `build = \"full\"` always works."
    "schema-changed" Invalid "The columns of an incremental table changed, and its settings say that it is not to be built anew."
        "`schema_change = \"stop\"` keeps an expensive table from being built anew by accident; a history without `time` has it by default, because what it saw cannot be seen again. Set `schema_change = \"rebuild\"` when it may."
    "folder-not-empty" Conflict "A command that writes a new folder found files in it."
        "Nothing is ever overwritten without being named. Choose another folder."

    // Types.
    "unknown-column" Invalid "A SELECT, check, key, feature or derived column names a column that its input does not have."
        "Columns are resolved without reading data, from the sources' contracts through every SELECT."
    "type-mismatch" Invalid "An expression mixes types that do not go together, has a constant that no row makes right, or a column has another type than is declared."
        "Cast explicitly where the conversion is meant."
    "value-failed" Invalid "An expression fails on a value of a row: a division by zero, a text that is no number, a result out of range."
        "The expression is right for other rows, so only reading them tells. `x / nullif(y, 0)` and `try_cast(x as T)` give null instead; a check with `on_fail = \"quarantine\"` on the table before keeps such rows out."
    "unsupported-sql" Unsupported "The SQL uses something that Pelton's engine cannot run."
        "It is refused when it is checked, instead of being ignored or failing halfway."
    "unknown-function" Invalid "The SQL calls a function that does not exist."
        "`docs/reference/sql.md` lists the functions."
    "invalid-check" Invalid "A check could not be understood."
        "See the list of checks in the guide on quality."

    // Sources.
    "empty-glob" Missing "A source's path matches no file."
        "A source without data is nearly always a wrong path. Paths are relative to the project folder."
    "unreadable-data" Invalid "A data file cannot be read as the format that its source declares."
        "Single bad rows go to quarantine; this is about a file as a whole: a damaged archive, a wrong format, no header."
    "changed-file" Conflict "A data file that was already taken in has changed."
        "Its rows were replaced by the new content's, and the report names the file, so that nobody is surprised."
    "gone-file" Conflict "A data file that was taken in is gone, and the settings of its source changed."
        "Its rows stay as they were read. Where they do not fit the new settings, or the warehouse's copy of them is damaged, the run refuses to go on without the file."
    "contract-broken" No "A source breaks a contract that is frozen."
        "With `freeze`, the first difference stops the run before anything is published."

    // Unit tests.
    "no-tests" Missing "What was selected has no unit test."
        "A test is a file in `tests` whose `node` says what it tests. Without a selector, `pelton test` runs all of them."

    // Runs.
    "check-failed" No "Staged rows break a check."
        "Checks run before the commit: nothing of the failed table was published."
    "check-warned" No "Staged rows break a check that only warns."
        "The table was built, and by itself this warning leaves the exit code at 0. `pelton show NODE` lists its checks."
    "not-replayed" No "Rows of the quarantine were not taken in."
        "They stay where they are, with their reasons. Repair their text in an export, or change what they break. As a warning it leaves the exit code at 0."
    "node-failed" No "A node could not be built, so what reads it was withheld."
        "The reason stands in the report of the node itself."
    "gate-not-met" No "A model does not meet its `accept` rules, so its version in service stays."
        "The rest of the run was published. The model card lists every metric."
    "feature-changed" No "A model that stays in service could not look up its features in the new version of a feature table."
        "A column that it was trained with is gone or has another type: its endpoint would refuse every request, or answer from something else. So such versions are not published together: with `publish = \"all\"` nothing is, with `publish = \"healthy\"` the feature table and what reads it stay as they were."
    "no-publication" No "The run made new versions, but published none of them."
        "With `publish = \"all\"`, one failed node, or a model in service that could not look up its features, keeps everything unpublished. What was built is kept for the next run."
    "run-locked" Conflict "Another run works on this warehouse."
        "Two writers are refused by name instead of mixing their work; readers are never blocked."
    "nothing-to-resume" Missing "`pelton run --resume` found no run that failed or died."
        "Resuming goes on with the environment's last run. A run without `--resume` takes what earlier runs built as well."
    "publication-conflict" Conflict "The environment got another publication while this one was being made."
        "A publication replaces exactly the state that it began from; it is refused rather than overwrite another one."
    "environment-moved" Conflict "The target environment has newer versions than the environment that is to be published to it."
        "Publishing would take them back without saying so. Run the environment again so that it is built on them; where that changes nothing, as after a rollback of the target, `--force` says that the other versions are meant."
    "rolled-back" Conflict "The environment was rolled back, and a run would bring back what was taken out of it."
        "A rollback holds the environment until somebody says otherwise: `pelton run --roll-forward`."
    "unknown-publication" Missing "The environment has no publication of this number, or `pelton gc` removed it."
        "`pelton rollback --list` lists those that can be read and restored."
    "nothing-published" Missing "The environment has no publication yet."
        "Run `pelton run` first."
    "unknown-run" Missing "No run has this id."
        "`select run, started_at, outcome from pelton.runs` lists all of them."
    "unknown-environment" Missing "No environment of this name has a publication."
        "Environments appear with their first publication."
    "unknown-version" Missing "No version of the node matches."
        "`pelton query \"select * from pelton.versions\"` lists them."

    // The warehouse.
    "damaged-table" Damaged "A table's Delta log or a data file of it is missing or not what was written."
        "Nothing was changed. `pelton verify` names all that is damaged, and `pelton verify --repair` has the next run build it again."
    "damaged-artifact" Damaged "A stored model or record is missing or not what was written."
        "Its digest is checked at every load. `pelton verify --repair` has the next run make it again."
    "damage-found" No "`pelton verify` found something in the warehouse that is not as it was written."
        "`pelton verify --repair` repairs what can be made anew from what is recorded beside it, and marks the rest for the next run."
    "newer-warehouse" Conflict "The state database was written by a newer Pelton."
        "An older Pelton would misread it. Use the newer one."
    "state-locked" Conflict "Another process keeps the state database locked."
        "Pelton waits 10 seconds for a lock before it gives up."
    "damaged-state" Damaged "The state database is not a Pelton state database, or is damaged."
        "Nothing was changed."
    "disk-full" Unavailable "There is no space left where the warehouse lives."
        "Nothing was published; staged files of the run are removed by the next run."
    "out-of-memory" TooMuch "A query needs more memory than `engine.memory` allows."
        "Sorts, joins and aggregations spill; this one could not."
    "storage-failed" Unavailable "The warehouse's storage did not answer as it should."
        "The note has its reason."

    // Models.
    "one-class" Invalid "A classification target has fewer than two classes in the training examples."
        "There is nothing to tell apart. Look at the SELECT's filter and at how the label is computed."
    "invalid-target" Invalid "A model's target cannot be learned: missing values, a wrong type, or too many classes."
        "The note says which rows or values."
    "too-few-rows" Invalid "A model's SELECT or one of its split parts gives too few rows to learn from or to judge by."
        "Look at the SELECT's filter, and at the split."
    "duplicate-example" Invalid "Training examples share a key."
        "The key identifies an example, in receipts and in the order of training rows. Nothing was trained."
    "label-leak" No "A feature alone predicts the target almost perfectly, which is nearly always a leak of the answer."
        "Compute it as of the label's time, or exclude it."
    "baseline-not-beaten" No "A model is no better than the baseline that knows nothing but the target's distribution."
        "The gate holds it back: it would cost and not help."

    // Serving.
    "unknown-endpoint" Missing "No published model of this name answers requests."
        "An endpoint appears when its model is published."
    "invalid-request" Invalid "A prediction request has a wrong name, type, or shape."
        "`GET /v2/models/NAME` gives the inputs with types and shapes."
    "missing-feature" Missing "A request names an entity that has no features, and the endpoint demands them."
        "With `missing = \"null\"`, the default, the model sees a missing value instead."
    "unknown-receipt" Missing "No prediction has this id."
        "Ids are in the answer of every prediction."
    "body-too-large" TooMuch "A request's body is larger than `server.body_bytes_max`."
        "Send fewer rows in a request, or raise the limit."
    "too-many-rows" TooMuch "A request has more rows than `server.rows_max`."
        "Send fewer rows in a request, or raise the limit."
    "too-busy" Unavailable "More requests are under way than `server.requests_max`, or more connections open than `server.connections_max`."
        "Try again later; the limit keeps the answers that are under way fast."
    "timed-out" Unavailable "A request took longer than `server.timeout_ms`."
        "The limit keeps one slow request from holding up the others."
    "unknown-route" Missing "There is no such route."
        "The guide on serving lists the routes."
    "port-in-use" Conflict "Another process listens on the address."
        "Pass `--port` with another port, or `--port 0` for any free one."
    "cannot-listen" Unavailable "The address cannot be listened on."
        "The note has the operating system's reason."

    // Notifications.
    "not-notified" Unavailable "A webhook or a program of `[notify]` was not told how something ended."
        "It changes nothing of what it was to be told of. The note says what happened; URLs and tokens are not shown."

    // Everywhere.
    "invalid-argument" Invalid "A command-line argument does not fit."
        "`pelton help COMMAND` shows what does."
    "unknown-code" Missing "There is no report code of this name."
        "`pelton explain` without a code lists them all."
    "interrupted" Unavailable "The command was interrupted."
        "Nothing was published; the next run goes on from what was built."
    "internal" Defect "Something went wrong that should not be able to."
        "It is a defect of Pelton. Please report it with the message."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_well_formed() {
        for (i, row) in ALL.iter().enumerate() {
            assert!(row.code.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", row.code);
            assert!(row.what.ends_with('.') && row.why.ends_with('.'), "{}", row.code);
            assert!(ALL[..i].iter().all(|other| other.code != row.code), "{} twice", row.code);
        }
    }
}
