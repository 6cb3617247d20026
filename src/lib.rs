//! AutoXen turns a job description and a stock disk image into a guest that boots and runs the job: without root,
//! without mounting, without a helper VM.

pub mod diagnostic;
pub mod domain;
pub mod facts;
pub mod guest;
pub mod plan;
pub mod snippet;
pub mod xmf;
