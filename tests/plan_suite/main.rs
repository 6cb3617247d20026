//! What a plan says, for documents and facts that are written out by hand.

mod boot;
mod build;
mod disks;
mod edits;
mod examples;
mod in_place;
mod jobs;
#[path = "../xl/judge.rs"]
mod judge;
mod judged;
#[path = "../guest/libmount.rs"]
mod libmount;
#[path = "../xl/nasty.rs"]
mod nasty;
mod refusals;
mod shown;
