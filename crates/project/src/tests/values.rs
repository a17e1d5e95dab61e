//! What a loaded project says.
