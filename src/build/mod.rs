//! What `autoxen image build` is to make: pure data, from flags or from a TOML file. Nothing is opened here.
//!
//! ```text
//! flags of a bare file system ─┐
//! --part key=value,…  ─────────┼─▶ one Volume, or a Disk of Parts, each with a Volume
//! --layout FILE (TOML) ────────┘
//! ```

mod disk;
mod inodes;
mod owners;
mod size;
mod volume;

pub use disk::{Disk, Part};
pub use inodes::inodes;
pub use owners::Owners;
pub use size::Size;
pub use volume::{Format, Type, Volume, uuid};
