//! As-of joins and the online feature store
