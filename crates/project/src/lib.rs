//! Files and settings become one checked [`Project`] with its graph; all mistakes are found at once.
//!
//! Reads only the project's own files; never the environment, never data, and never prints.
//!
//! In reading order: [`model`](Project) says what a project is, [`files`](FileSource) where its files come from,
//! [`settings`](SETTINGS) which settings there are. `toml` reads those with their places, `header` finds them in SQL, `sql` reads
//! SELECTs, `columns` tells where the order of columns counts, `checks` reads rules. A file module for each kind of file turns it into a draft, `load` links the drafts, and `graph`,
//! `selector` and `draw` work on what came out. `test_file` reads the unit tests, which only those load who ask for them.

pub mod model;

mod files;
mod settings;
mod values;

mod build_settings;
mod checks;
mod columns;
mod draft;
mod header;
mod sql;
mod toml;

mod model_file;
mod notify;
mod project_file;
mod retry;
mod source_file;
mod table_file;

mod test_file;
mod test_rows;
mod unit_test;

mod draw;
mod graph;
mod init;
mod load;
mod selector;
mod views;

#[cfg(test)]
mod tests;

pub use draw::{graph_dot, graph_json, graph_mermaid, graph_text};
pub use files::{FILE_BYTES_MAX, FileSource, Folder, MemoryFiles, find_root};
pub use init::init_files;
pub use load::{load, load_settings, load_with};
pub use model::*;
pub use model_file::{CLASSIFICATION_METRICS, REGRESSION_METRICS};
pub use notify::{NotifySettings, Occasion};
pub use retry::RetrySettings;
pub use selector::select;
pub use settings::{SETTINGS, SettingDoc, SettingsTable, settings_markdown};
pub use source_file::format_of;
pub use sql::CHAIN_MAX;
pub use test_file::{load_tested, load_tests, load_tests_with};
pub use unit_test::*;
pub use values::{parse_duration_us, parse_share, parse_size};
pub use views::{VIEWS_DEEP_MAX, VIEWS_READ_MAX};
