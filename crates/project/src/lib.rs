//! Files and settings become one checked project with its graph
