//! The domain: what Xen's tools are told.

pub mod bundle;
pub mod launch;
pub mod libvirt;
pub mod value;
pub mod xl;
