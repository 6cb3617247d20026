//! Digests, signatures and provenance, judged by python's hashlib, `ssh-keygen` and `minisign`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod allowed;
mod bundle;
mod digest;
mod flips;
mod keys;
mod prepare;
mod refusals;
#[path = "../tool/site.rs"]
#[expect(dead_code, reason = "shared with the tests of the tool")]
mod site;
mod sources;
mod tokens;
