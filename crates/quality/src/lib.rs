//! Contracts and checks become SQL, and results with sample rows
