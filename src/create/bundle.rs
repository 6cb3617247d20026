//! A bundle, opened: its manifest read, its files open. Whatever its owner does to names and links from here on, these
//! descriptors lead to what was looked at.
//!
//! All of it is opened with the rights of whoever asks, never with root's.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::caller::{Caller, name_of};
use super::manifest::Needed;
use super::walk;
use crate::domain::bundle::{MANIFEST, MANIFEST_MAX, SIGNATURES};
use crate::failure::{Result, plain};
use crate::policy::{BundleFile, Refusal};
use crate::sign::signers::SIGNATURE_MAX;

/// The longest path of a bundle, in bytes.
const PATH_MAX: usize = 4096;

/// A bundle whose manifest was read.
#[derive(Debug)]
pub struct Bundle {
    /// Where it was found: absolute, without links.
    pub path: PathBuf,
    directory: OwnedFd,
    /// What stands in `manifest.json`.
    pub manifest: Vec<u8>,
    manifest_owner: u32,
    /// What stands in its signatures.
    pub signatures: Vec<Vec<u8>>,
}

/// A file of a bundle, open.
#[derive(Debug)]
pub struct Open {
    /// What it is for.
    pub needed: Needed,
    /// The file.
    pub file: File,
    /// Its length in bytes when it was opened.
    pub len: u64,
    owner: u32,
}

impl Bundle {
    /// Open the bundle at `path`, which is absolute.
    ///
    /// # Errors
    /// Links, and what is no regular file, by the rule's name; no manifest.
    pub fn open(path: &Path, caller: &Caller) -> Result<Self> {
        // It is kept, shown, and found again by this path.
        let is_plain = path.to_str().is_some_and(|text| !text.contains(char::is_control));
        if !is_plain || path.as_os_str().len() > PATH_MAX {
            let why = "the path is not UTF-8, has control characters, or is longer than 4096 bytes";
            return Err(Refusal::new("bundle.directory", why).into());
        }
        caller.with_rights(|| {
            let directory = walk::straight(path)?;
            let (manifest, manifest_owner) =
                read(&directory, MANIFEST, MANIFEST_MAX)?.ok_or_else(|| {
                    let why = format!("`{}` has no {MANIFEST}", path.display());
                    Refusal::new("bundle.manifest", why)
                        .hint("name the directory that `autoxen prepare -o` has made")
                })?;
            let mut signatures = Vec::new();
            for name in SIGNATURES {
                signatures.extend(read(&directory, name, SIGNATURE_MAX)?.map(|(bytes, _)| bytes));
            }
            let path = path.components().collect();
            Ok(Self { path, directory, manifest, manifest_owner, signatures })
        })
    }

    /// Open the files that are needed.
    ///
    /// # Errors
    /// As for [`Self::open`], and where one is missing or has another length than the manifest says.
    pub fn files(&self, needed: Vec<Needed>, caller: &Caller) -> Result<Vec<Open>> {
        caller.with_rights(|| {
            let mut all = Vec::new();
            for needed in needed {
                let name = needed.name.as_str();
                let (file, found) = walk::file(&self.directory, name)?.ok_or_else(|| {
                    Refusal::new("bundle.file", format!("the bundle has no `{name}`"))
                })?;
                let len = u64::try_from(found.st_size).unwrap_or_default();
                if let Some((said, _)) = needed.said
                    && said != len
                {
                    let why = format!("`{name}` has {len} bytes, the manifest says {said}");
                    return Err(Refusal::new("bundle.length", why).into());
                }
                all.push(Open { needed, file, len, owner: found.st_uid });
            }
            Ok(all)
        })
    }

    /// What the policy asks about the files.
    pub fn facts(&self, files: &[Open]) -> Vec<BundleFile> {
        let manifest = BundleFile {
            name: MANIFEST.into(),
            owner: name_of(self.manifest_owner),
            has_digest: true,
        };
        let files = files.iter().map(|open| BundleFile {
            name: open.needed.name.to_string(),
            owner: name_of(open.owner),
            has_digest: open.needed.said.is_some(),
        });
        std::iter::once(manifest).chain(files).collect()
    }
}

/// All of a small file, and whose it is.
fn read(directory: &OwnedFd, name: &str, max: u64) -> Result<Option<(Vec<u8>, u32)>, Refusal> {
    let Some((file, found)) = walk::file(directory, name)? else { return Ok(None) };
    let mut bytes = Vec::new();
    // One more than may be there, so that a file that grows is seen.
    let read = file.take(max + 1).read_to_end(&mut bytes);
    read.map_err(|e| Refusal::new("bundle.file", format!("`{name}`: {}", plain(&e))))?;
    if bytes.len() as u64 > max {
        let why = format!("`{name}` is longer than {max} bytes");
        return Err(Refusal::new("bundle.manifest", why));
    }
    Ok(Some((bytes, found.st_uid)))
}
