//! From a plan to the files of a bundle: disks are copied, made and edited, boot files are taken out, and each edited
//! image is read back by somebody else. With `--in-place`, the stock images themselves are edited at the end.

pub mod beside;
pub mod boot;
pub mod contents;
pub mod disks;
pub mod edits;
pub mod in_place;
mod inputs;
pub mod manifest;
pub mod obstacle;
mod preview;
pub mod provenance;
pub mod staged;
pub mod verify;
