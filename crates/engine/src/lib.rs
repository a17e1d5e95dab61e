//! The query engine behind the port; the only crate that names datafusion and deltalake
