//! From a plan to the files of a bundle: disks are copied, made and edited, boot files are taken out, and each edited
//! image is read back by somebody else.

pub mod boot;
pub mod contents;
pub mod disks;
pub mod edits;
pub mod manifest;
pub mod verify;
