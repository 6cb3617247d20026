//! Files of the guest, as text: pure, no I/O.

pub mod fstab;
mod fstab_line;
mod fstab_source;
pub mod hostname;
pub mod kernel;
pub mod keys;
pub mod script;
