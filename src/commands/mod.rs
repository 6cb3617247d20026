//! The verbs, one a file: glue between the command line and the rooms below, and nothing else.

pub mod check;
pub mod collect;
pub mod completions;
pub mod create;
pub mod destroy;
pub mod domain;
pub mod image;
mod job;
pub mod key;
pub mod list;
pub mod man;
pub mod plan;
pub mod policy;
pub mod prepare;
pub mod run;
pub mod sign;
mod signers;
pub mod verify;
pub mod wait;
