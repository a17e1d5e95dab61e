//! Commands that need no engine, against folders of their own.
