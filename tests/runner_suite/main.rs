//! What runs the jobs in a guest: the runner in guests of three shells, and the hooks that start it in old guests.

mod fake;
mod layouts;
mod runner;
