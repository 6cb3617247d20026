//! What a plan says, for documents and facts that are written out by hand.

mod boot;
mod build;
mod disks;
mod edits;
mod refusals;
mod shown;
