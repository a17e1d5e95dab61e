//! The port to the query engine: the Engine trait, batch streams, a SQL builder
