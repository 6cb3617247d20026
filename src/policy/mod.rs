//! The site's policy: who may start which domains. Text and rules; nothing here looks at the host.
//!
//! [`Policy`] is `/etc/autoxen/policy.toml`, [`rules`] hold a domain against it. Each rule has the name of its key
//! in the file, and a refusal says rule and value: `limits.domain.memory: 8.0 GiB, at most 4.0 GiB`.
//!
//! What does not depend on a site is no rule of a policy: values that would break out of xl's configuration cannot be
//! made ([`crate::domain::value`]), and a bundle is opened without following links ([`crate::create`]).

mod mac;
mod model;
pub mod rules;

pub use mac::MacRange;
pub use model::{
    Bundles, DomainLimits, Guests, Images, Kernels, Limits, Need, Networks, Policy, Signatures,
};
pub use rules::{BundleFile, Passed, Refusal, Usage, User};

/// The policy of a site that has said nothing, with what each key means.
pub const DEFAULT: &str = include_str!("default.toml");

/// Where the policy is.
pub const PATH: &str = "/etc/autoxen/policy.toml";
