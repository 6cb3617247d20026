//! What the fuzz targets do, and what must hold. Errors are fine, panics are bugs, and what is accepted is looked at.

#![forbid(unsafe_code)]

pub mod made_up;
pub mod manifest;
pub mod policy;
pub mod signature;
pub mod written;
pub mod xl;
