//! The program from outside: what it prints, and how it ends.
//!
//! `cases` runs the folders of `tests/cases`, each a project with the commands typed in it and what they print; what a folder cannot
//! say (servers, signals, broken pipes) is a test of its own.

mod bad_input;
mod cases;
mod crash;
mod demo;
mod environments;
mod failure;
mod incremental;
mod inputs;
mod laws;
mod learning;
mod limits;
mod load;
mod logs;
mod notify;
mod pipes;
mod program;
mod runs;
mod selects;
mod serving;
mod small_files;
mod sources;
mod trials;
mod verify;
mod world;
