//! The JSON of container images, as much of it as is needed.
//!
//! Names are those of the OCI image specification, and of docker's `manifest.json`. The crate `oci-spec` has all of it; it
//! brings builders, two crates of macros and seconds of build time for these few fields.

use std::fmt;

use serde::Deserialize;

use super::platform::Machine;
use crate::error::{Error, Result};

/// An image index, or docker's manifest list.
#[derive(Deserialize)]
pub(super) struct Index {
    pub(super) manifests: Vec<Descriptor>,
}

/// What leads to a blob.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) platform: Option<Platform>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Platform {
    pub(super) os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// How well it serves `machine`, under Linux.
    pub(super) fn rank(&self, machine: &Machine) -> Option<(u32, u32)> {
        let variant = self.variant.as_deref().unwrap_or_default();
        match &*self.os {
            "linux" => machine.rank(&Machine::new(&self.architecture, variant)),
            _ => None,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// An image manifest.
#[derive(Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// An image configuration.
#[derive(Deserialize)]
pub(super) struct Config {
    #[serde(flatten)]
    pub(super) platform: Platform,
    pub(super) rootfs: Option<RootFs>,
}

#[derive(Deserialize)]
pub(super) struct RootFs {
    pub(super) diff_ids: Vec<String>,
}

/// An image in docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Saved {
    pub(super) config: String,
    repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
}

impl Saved {
    pub(super) fn name(&self) -> String {
        match self.repo_tags.as_deref() {
            None | Some([]) => self.config.clone(),
            Some(tags) => tags.join(" "),
        }
    }
}

impl Descriptor {
    pub(super) fn is_index(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            "application/vnd.oci.image.index.v1+json"
                | "application/vnd.docker.distribution.manifest.list.v2+json"
        )
    }

    /// Refuse what is no tar. How it is compressed is told by its bytes.
    pub(super) fn check_layer(&self) -> Result<()> {
        let kinds = [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.docker.image.rootfs.diff.tar",
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
        ];
        let packed = kinds.iter().find_map(|kind| self.media_type.strip_prefix(kind));
        match packed {
            Some("" | "+gzip" | "+zstd" | ".gzip" | ".zstd") => Ok(()),
            _ => Err(Error::Unsupported(format!(
                "layer {} is of the type `{}`, not a tar, plain or with gzip or zstd",
                self.digest, self.media_type
            ))),
        }
    }
}
