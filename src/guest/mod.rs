//! Files of the guest, as text: pure, no I/O.

pub mod bzimage;
pub mod fstab;
mod fstab_line;
mod fstab_source;
pub mod hook;
pub mod hostname;
pub mod init;
pub mod kernel;
pub mod keys;
pub mod loader;
pub mod machine;
pub mod nocloud;
pub mod release;
pub mod runner;
pub mod script;
pub mod settings;
