//! Files and settings become one checked [`Project`] with its graph; all mistakes are found at once.
//!
//! Reads only the project's own files; never the environment, never data, and never prints.

mod model;

pub use model::*;
