//! Ids, clock, seed, digests, suggestions and the Report every mistake becomes
