//! What `create` reads of a bundle's manifest: what starts, the files for it, and what it was made from. A stranger wrote
//! it. Its types check each value, so that what was read cannot break out of a configuration; what they do not name is
//! passed over.
//!
//! ```json
//! {"format": 1, "id": "…", "domain": {"name": "fit", …},
//!  "files": [{"name": "xvda.img", "len": 67108864, "digest": "tree-sha256:…"}, …],
//!  "disks": [{"vdev": "xvda", "file": "xvda.img", "image": "/srv/root.img", "signed": {"principals": "…", …}}, …],
//!  "results": {"vdev": "xvdz", "file": "results.img", "label": "…"}}
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::digest::tree::Digest;
use crate::domain::value::FileName;
use crate::domain::xl::{Boot, Domain, File};
use crate::policy::Refusal;

/// The format that is read.
const FORMAT: u32 = 1;

/// A bundle's manifest.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    format: u32,
    /// What starts.
    pub domain: Domain,
    #[serde(default)]
    files: Vec<Listed>,
    /// What the disks were made from.
    #[serde(default)]
    pub disks: Vec<Made>,
    results: Option<Results>,
}

/// A file of the bundle.
#[derive(Clone, Debug, Deserialize)]
struct Listed {
    name: FileName,
    len: u64,
    digest: Digest,
}

/// Where a disk comes from, as the manifest says.
#[derive(Clone, Debug, Deserialize)]
pub struct Made {
    /// The guest's device.
    pub vdev: String,
    /// The stock image, where it was made from one.
    pub image: Option<String>,
    /// Who had signed that.
    pub signed: Option<Signed>,
}

/// Who has signed a stock image.
#[derive(Clone, Debug, Deserialize)]
pub struct Signed {
    /// Names of the signer.
    pub principals: String,
    /// The signer's key.
    #[serde(default)]
    pub key: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Results {
    file: FileName,
}

/// A file of the bundle that the domain needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Its name in the bundle.
    pub name: FileName,
    /// Whether it is a disk that the guest may write to.
    pub is_writable: bool,
    /// Whether it is a disk.
    pub is_disk: bool,
    /// Its length in bytes and its digest, where the manifest says them.
    pub said: Option<(u64, Digest)>,
}

impl Manifest {
    /// Read the text of a manifest.
    ///
    /// # Errors
    /// By the rule `bundle.manifest`, with what is wrong and where.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let refused = |why: String| Refusal::new("bundle.manifest", why);
        let read: Self = serde_json::from_slice(bytes).map_err(|e| refused(e.to_string()))?;
        if read.format != FORMAT {
            let why = format!("format {} is not known, {FORMAT} is", read.format);
            return Err(refused(why).hint("use the version of autoxen that made the bundle"));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = read.files.iter().find(|file| !names.insert(&file.name)) {
            return Err(refused(format!("`{}` is listed twice", twice.name)));
        }
        Ok(read)
    }

    /// The files of the bundle that the domain needs, each once.
    ///
    /// # Errors
    /// Where one file would be two things: two disks, or a disk and a kernel.
    pub fn needed(&self) -> Result<Vec<Needed>, Refusal> {
        let said: BTreeMap<&FileName, (u64, Digest)> =
            self.files.iter().map(|file| (&file.name, (file.len, file.digest))).collect();
        let parts = self.domain.parts();
        let boot = match &parts.boot {
            Boot::Kernel { kernel, ramdisk, .. } => vec![Some(kernel), ramdisk.as_ref()],
            Boot::Bootloader { .. } | Boot::Firmware {} => Vec::new(),
        };
        let boot = boot.into_iter().flatten().map(|file| (file, false, false));
        let disks = parts.disks.iter().map(|disk| (&disk.target, true, !disk.read_only));
        let mut all: Vec<Needed> = Vec::new();
        for (file, is_disk, is_writable) in boot.chain(disks) {
            let File::Bundle(name) = file else { continue };
            if all.iter().any(|other| other.name == *name) {
                let why = format!("`{name}` is used twice");
                return Err(Refusal::new("bundle.file_twice", why));
            }
            let said = said.get(name).copied();
            all.push(Needed { name: name.clone(), is_writable, is_disk, said });
        }
        Ok(all)
    }

    /// The disk that results are written to.
    pub fn results(&self) -> Option<&FileName> {
        self.results.as_ref().map(|results| &results.file)
    }
}
