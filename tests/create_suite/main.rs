//! The privileged step, attacked: bundles and sites that try to get out, and what a user may do through sudo.
//!
//! All of it wants to be root, and Debian's users `games` and `daemon`, who play the strangers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod lab;
mod life;
mod places;
mod policies;
mod race;
mod signatures;
mod sudo;

#[path = "../xl/judge.rs"]
mod judge;
