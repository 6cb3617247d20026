//! An edit, from its beginning to what is to be written.
//!
//! ```text
//! Fs ─ begin ─→ Transaction ─ operations ─→ finish ─→ Changes, for a copy
//!                                                 └─→ InPlace, steps for where the image stands
//! ```
//! [`begin`] refuses what cannot be edited safely, and does what a mount would do first; [`recover`] does that alone.
//! [`transaction`] holds the changed blocks and puts them back where an operation fails; [`finish`] makes of them what is
//! to be written. Two looks at what an edit relies on belong here: [`in_use`] at all inodes, where there is reason for
//! doubt, and [`neighbours`] at those beside one that is written. The operations are in [`ops`](super::ops).

mod begin;
mod finish;
mod in_use;
mod neighbours;
pub(crate) mod recover;
pub(crate) mod transaction;
