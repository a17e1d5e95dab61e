//! Splits, leakage guards, training sets become model versions
