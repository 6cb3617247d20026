//! The domain: what Xen's tools are told.

pub mod value;
pub mod xl;
