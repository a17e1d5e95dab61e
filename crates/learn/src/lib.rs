//! Learning algorithms, metrics, tuning, explanation; pure functions on columns
