//! Walks the graph: fingerprint, plan, stage, check, commit, publish
