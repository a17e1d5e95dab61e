//! Sources become batches of rows, and quarantined rows with their reasons
