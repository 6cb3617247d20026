//! What `autoxen image build` is to make: pure data, from flags or from a TOML file. Nothing is opened here.
//!
//! ```text
//! flags of a bare file system ─┐
//! --part key=value,…  ─────────┼─▶ Plan: one Volume, or a table of Parts, each with a Volume
//! --layout FILE (TOML) ────────┘
//! ```

mod owners;
mod size;
mod volume;

pub use owners::Owners;
pub use size::{Size, bytes};
pub use volume::{Format, Type, Volume};
