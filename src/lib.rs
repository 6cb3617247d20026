//! AutoXen turns a job description and a stock disk image into a guest that boots and runs the job: without root,
//! without mounting, without a helper VM.

#![forbid(unsafe_code)]

pub mod apply;
pub mod build;
pub mod bundle;
pub mod bytes;
pub mod cli;
pub mod commands;
pub mod create;
pub mod descriptors;
pub mod diagnostic;
pub mod digest;
pub mod domain;
pub mod epoch;
pub mod facts;
pub mod failure;
pub mod guest;
pub mod inside;
pub mod interrupt;
pub mod newfile;
pub mod plan;
pub mod policy;
pub mod progress;
pub mod report;
pub mod results;
pub mod sign;
pub mod size;
pub mod snippet;
pub mod visible;
pub mod writeback;
pub mod xmf;
