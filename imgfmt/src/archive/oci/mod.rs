//! Container images: an OCI image layout, as a directory or in a tar, and what `docker save` writes.
//!
//! ```text
//! index.json ─▶ manifest ─▶ layers: tar, tar+gzip, tar+zstd, the lowest first      blobs/sha256/HEX, each by its digest
//! manifest.json ─▶ Config, Layers: names of members                               docker save, before it wrote both
//! ```
//! Layers are given out in order, as one stream: a later one replaces what an earlier one has, and takes away what
//! it has a whiteout for ([`layer`]). Digests are verified; that of a layer is known at its end, so that a sink has a part
//! of the tree when a mismatch is reported. Nothing is fetched: a blob that is not there is an error.
//!
//! A tar has to be a plain file: its members are read in another order than they stand.

mod blobs;
mod layer;
mod model;
mod platform;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use self::blobs::{Blobs, Digest, Hashed};
use self::layer::Layers;
use self::model::{Config, Descriptor, Index, Manifest, Platform, Saved};
use self::platform::Machine;
use super::entry::{Sink, Source, Warn, from_io};
use super::tar::TarSource;
use super::unpack::unpack;
use crate::error::{Error, Result};

/// Indexes within indexes.
const DEPTH: u32 = 4;

/// A container image, of which one platform was chosen.
pub struct OciSource {
    blobs: Blobs,
    layers: Vec<Layer>,
}

/// Manifests with their platforms, by their digests.
type Found = BTreeMap<String, (Platform, Manifest)>;

/// A layer, and the digest of its bytes: as they are stored, or as they are unpacked.
enum Layer {
    Packed { digest: Digest, size: u64 },
    Saved { name: String, unpacked: Digest },
}

impl OciSource {
    /// The image at `path`, a directory or a tar, for Linux on `architecture` by the name of Go (`amd64`), with a variant
    /// or without (`arm/v6`); `None` takes that of this machine. Of several variants it is the highest that runs there.
    ///
    /// # Errors
    /// [`Error::Archive`] where blobs are missing or damaged; [`Error::Unsupported`] where no image fits the architecture
    /// or several do, with a list, and for a kind of layer that is not read.
    pub fn open(path: &Path, architecture: Option<&str>) -> Result<Self> {
        let blobs = Blobs::open(path)?;
        let machine = architecture.map_or_else(Machine::this, Machine::parse);
        let layers = match blobs.has("index.json") {
            true => packed(&blobs, &machine)?,
            false if blobs.has("manifest.json") => saved(&blobs, &machine)?,
            false => {
                return Err(Error::Archive(format!(
                    "`{}` has neither `index.json` nor `manifest.json`: it is no container image",
                    path.display()
                )));
            }
        };
        Ok(Self { blobs, layers })
    }
}

impl Source for OciSource {
    fn feed(&mut self, sink: &mut dyn Sink, warn: &mut Warn<'_>) -> Result<()> {
        let mut layers = Layers::new(sink);
        for layer in &self.layers {
            match layer {
                Layer::Packed { digest, size } => {
                    let mut raw = Hashed::new(self.blobs.blob(digest, *size)?);
                    TarSource::new(unpack(&mut raw)?).feed(&mut layers, warn)?;
                    raw.check(digest, "layer")?;
                }
                Layer::Saved { name, unpacked } => {
                    let mut tar = Hashed::new(unpack(self.blobs.member(name)?)?);
                    TarSource::new(&mut tar).feed(&mut layers, warn)?;
                    tar.check(unpacked, "layer")?;
                }
            }
            layers.next();
        }
        Ok(())
    }
}

/// The layers that an index leads to.
fn packed(blobs: &Blobs, machine: &Machine) -> Result<Vec<Layer>> {
    let index: Index = blobs.json_member("index.json")?;
    let mut found = BTreeMap::new();
    choose(blobs, &index.manifests, DEPTH, &mut found)?;
    let names = |all: &Found| {
        let lines: Vec<String> =
            all.iter().map(|(digest, (platform, _))| format!("{platform} ({digest})")).collect();
        lines.join(", ")
    };
    let all = names(&found);
    let best = found.values().filter_map(|(platform, _)| platform.rank(machine)).max();
    found.retain(|_, (platform, _)| best.is_some() && platform.rank(machine) == best);
    if found.len() > 1 {
        return Err(Error::Unsupported(format!("several images fit: {}", names(&found))));
    }
    let Some((_, (_, manifest))) = found.pop_first() else {
        let all = if all.is_empty() { "none".to_owned() } else { all };
        return Err(Error::Unsupported(format!("no image for linux/{machine}; there is {all}")));
    };
    manifest
        .layers
        .iter()
        .map(|layer| {
            layer.check_layer()?;
            Ok(Layer::Packed { digest: Digest::parse(&layer.digest)?, size: layer.size })
        })
        .collect()
}

/// Every manifest of an image, with its platform, by its digest.
fn choose(blobs: &Blobs, descriptors: &[Descriptor], depth: u32, found: &mut Found) -> Result<()> {
    for descriptor in descriptors {
        if depth == 0 {
            return Err(Error::Archive("indexes of images are nested too deep".into()));
        }
        // Signatures and the like are not for any platform.
        if descriptor.platform.as_ref().is_some_and(|platform| platform.os == "unknown") {
            continue;
        }
        let digest = Digest::parse(&descriptor.digest)?;
        if descriptor.is_index() {
            let index: Index = blobs.json(&digest, descriptor.size)?;
            choose(blobs, &index.manifests, depth - 1, found)?;
            continue;
        }
        // Layouts often have one platform of an image alone, with an index that names all.
        if descriptor.platform.is_some() && !blobs.has(&digest.path()) {
            continue;
        }
        let manifest: Manifest = blobs.json(&digest, descriptor.size)?;
        let platform = match &descriptor.platform {
            Some(platform) => platform.clone(),
            None => {
                let config = Digest::parse(&manifest.config.digest)?;
                blobs.json::<Config>(&config, manifest.config.size)?.platform
            }
        };
        found.insert(descriptor.digest.clone(), (platform, manifest));
    }
    Ok(())
}

/// The layers that `docker save` lists.
fn saved(blobs: &Blobs, machine: &Machine) -> Result<Vec<Layer>> {
    let all: Vec<Saved> = blobs.json_member("manifest.json")?;
    let [saved] = &all[..] else {
        let tags: Vec<String> = all.iter().map(Saved::name).collect();
        return Err(Error::Unsupported(format!(
            "one image is wanted, there is: {}",
            tags.join(", ")
        )));
    };
    let config: Config = blobs.json_member(&saved.config)?;
    if config.platform.rank(machine).is_none() {
        return Err(Error::Unsupported(format!(
            "no image for linux/{machine}; there is {}",
            config.platform
        )));
    }
    let digests = config.rootfs.map(|rootfs| rootfs.diff_ids).unwrap_or_default();
    if digests.len() != saved.layers.len() {
        return Err(Error::Archive(format!(
            "{} layers, {} digests of layers",
            saved.layers.len(),
            digests.len()
        )));
    }
    let layers = saved.layers.iter().zip(&digests);
    layers
        .map(|(name, digest)| {
            Ok(Layer::Saved { name: name.clone(), unpacked: Digest::parse(digest)? })
        })
        .collect()
}

/// Read all of something that may be as long as `cap`.
fn read_capped(from: impl Read, cap: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(cap + 1).read_to_end(&mut bytes).map_err(from_io)?;
    match bytes.len() as u64 > cap {
        true => Err(Error::Archive(format!("JSON of more than {cap} bytes"))),
        false => Ok(bytes),
    }
}
