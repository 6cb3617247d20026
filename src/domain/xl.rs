//! The configuration text of xl(1).

use crate::xmf::model::GuestType;

/// A domain configuration, typed; [`std::fmt::Display`] writes `domain.cfg`.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    /// `name`.
    pub name: String,
    /// `type`.
    pub guest_type: GuestType,
    /// `memory`, MiB.
    pub memory_mib: u32,
    /// `vcpus`.
    pub vcpus: u32,
}
