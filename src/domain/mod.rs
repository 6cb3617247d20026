//! The domain: what Xen's tools are told.

pub mod launch;
pub mod value;
pub mod xl;
