//! An endpoint: request to prediction, logged, with a receipt
