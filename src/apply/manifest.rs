//! `manifest.json`: what a bundle was made from, and what was done. No time of making and no name of the host are in
//! it, so that the same input gives the same bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imgfmt::in_place::Guard;
use serde::Serialize;

use super::disks::{How, Made};
use super::provenance::Origin;
use super::verify::{Edited, Verdict};
use crate::digest;
use crate::digest::tree::Digest;
use crate::domain::xl::Domain;
use crate::guest::settings;
use crate::plan::{BootSource, Plan, PlannedJob, Source, VolumeEdits};
use crate::sign::bundle::BundleFile;
use crate::sign::image::Vouched;
use crate::visible::visible;

/// The number of this format; a reader refuses one that it does not know.
const FORMAT: u32 = 1;

/// All that a manifest says.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    format: u32,
    autoxen: &'static str,
    job: Job,
    disks: Vec<Disk>,
    boot: Vec<Boot>,
    domain: Domain,
    /// What tells this preparation from others.
    id: String,
    jobs: Vec<NamedJob>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Results>,
    /// All files of the bundle but this one and its signature, after all edits.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<BundleFile>>,
}

/// A job as the guest knows it.
#[derive(Clone, Debug, Serialize)]
struct NamedJob {
    name: String,
    outputs: Vec<String>,
}

/// The disk that results are written to.
#[derive(Clone, Debug, Serialize)]
struct Results {
    vdev: String,
    file: String,
    label: &'static str,
}

/// The job description.
#[derive(Clone, Debug, Serialize)]
struct Job {
    /// File name without its directory.
    file: String,
    sha256: String,
}

#[derive(Clone, Debug, Serialize)]
struct Disk {
    vdev: String,
    /// Name in the bundle; nothing for an image that is used where it lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    len: u64,
    how: How,
    /// What kept the edit whole, where the stock image itself was edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<&'static str>,
    /// The guest cannot write to it; `domain` says so, too.
    #[serde(skip)]
    read_only: bool,
    /// The stock image.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// SHA-256 of the stock image's file, where the job description demanded one; before the edit, where it is edited
    /// itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_sha256: Option<String>,
    /// The tree digest of the stock image's file, before any edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_digest: Option<Digest>,
    /// Who vouches for the stock image, where a signature was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<Signed>,
    volumes: Vec<Volume>,
}

/// A signature that was verified.
#[derive(Clone, Debug, Serialize)]
struct Signed {
    principals: String,
    key: String,
    /// SHA-256 of the image's manifest.
    manifest_sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl From<&Vouched> for Signed {
    fn from(vouched: &Vouched) -> Self {
        Self {
            principals: vouched.signer.principals.clone(),
            key: vouched.signer.key.clone(),
            manifest_sha256: vouched.manifest_sha256.clone(),
            expires: vouched.manifest.expires.map(|moment| moment.to_string()),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Volume {
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
    edits: Vec<Edit>,
    read_back: Verdict,
}

#[derive(Clone, Debug, Serialize)]
struct Edit {
    path: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Boot {
    file: String,
    /// Path inside the image, or on the host.
    from: String,
}

/// The manifest of a bundle. `job` is the job description's file and `bytes` what stands in it; `origins` is what is known
/// of the stock images, by path.
pub fn of(
    job: &Path,
    bytes: &[u8],
    plan: &Plan,
    made: &[Made],
    origins: &BTreeMap<PathBuf, Origin>,
) -> Manifest {
    let file = job.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let disks = plan.disks.iter().zip(made).map(|(disk, made)| {
        let image = match &disk.source {
            Source::Image(path) => Some(path),
            Source::Blank { .. } | Source::Inputs { .. } => None,
        };
        let origin = image.and_then(|path| origins.get(path)).cloned().unwrap_or_default();
        Disk {
            vdev: disk.vdev.as_str().to_owned(),
            file: disk.file.as_ref().map(|file| file.as_str().to_owned()),
            len: made.len,
            how: made.how,
            guard: made.guard.map(|guard| match guard {
                Guard::Journal => "journal",
                Guard::Undo => "undo",
            }),
            read_only: disk.read_only,
            image: image.map(|path| path.to_string_lossy().into_owned()),
            image_sha256: origin.sha256,
            image_digest: origin.digest,
            signed: origin.vouched.as_ref().map(Signed::from),
            volumes: disk.edits.iter().zip(&made.volumes).map(volume).collect(),
        }
    });
    let boot = plan.boot_files.iter().map(|boot| Boot {
        file: boot.file.as_str().to_owned(),
        from: match &boot.from {
            BootSource::Host(path) => path.to_string_lossy().into_owned(),
            BootSource::Image { path, .. } => path.clone(),
        },
    });
    Manifest {
        format: FORMAT,
        autoxen: env!("CARGO_PKG_VERSION"),
        job: Job { file, sha256: digest::sha256_of(bytes) },
        disks: disks.collect(),
        boot: boot.collect(),
        domain: plan.domain.clone(),
        id: plan.id.clone(),
        jobs: plan.jobs.iter().map(named).collect(),
        results: plan.results.map(|nr| results(&plan.disks[nr])),
        files: None,
    }
}

fn named(job: &PlannedJob) -> NamedJob {
    NamedJob { name: job.name.clone(), outputs: job.outputs.clone() }
}

fn results(disk: &crate::plan::Disk) -> Results {
    let file = disk.file.as_ref().expect("a new disk is a file of the bundle");
    Results {
        vdev: disk.vdev.as_str().to_owned(),
        file: file.as_str().to_owned(),
        label: settings::RESULTS_LABEL,
    }
}

fn volume((planned, edited): (&VolumeEdits, &Edited)) -> Volume {
    let edits = planned.edits.iter().zip(&edited.digests).map(|(edit, sha256)| Edit {
        path: edit.path.clone(),
        reason: edit.reason.clone(),
        sha256: sha256.clone(),
    });
    Volume {
        partition: planned.partition,
        edits: edits.collect(),
        read_back: edited.verdict.clone(),
    }
}

impl Manifest {
    /// Say what the files of the bundle are.
    #[must_use]
    pub fn with_files(self, files: Vec<BundleFile>) -> Self {
        Self { files: Some(files), ..self }
    }

    /// The text of `manifest.json`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("all keys are strings");
        bytes.push(b'\n');
        bytes
    }

    /// What a person wants to know of the bundle that lies in `bundle`.
    pub fn summary(&self, bundle: &Path) -> String {
        let mut text = format!("{} is ready:\n", visible(&bundle.to_string_lossy()));
        let mut line = |name: &str, what: &str| {
            text.push_str(&format!("  {:<32} {}\n", visible(name), visible(what)));
        };
        for disk in &self.disks {
            let name = disk.file.as_deref().or(disk.image.as_deref()).unwrap_or(&disk.vdev);
            line(name, &disk.summary());
        }
        for boot in &self.boot {
            line(&boot.file, &format!("from {}", boot.from));
        }
        line("domain.cfg", "for xl(1)");
        line("manifest.json", "what it was made from");
        let cfg = bundle.join("domain.cfg");
        text.push_str(&format!(
            "start the guest: sudo xl create {}\n",
            shell_word(&cfg.to_string_lossy())
        ));
        text
    }
}

impl Disk {
    fn summary(&self) -> String {
        let how = match self.how {
            How::Copied => "copied",
            How::Cloned => "cloned",
            How::Overlay => "laid over its image",
            How::Unpacked => "unpacked",
            How::Formatted => "formatted",
            How::InPlace if self.guard == Some("journal") => "edited where it lies (journal)",
            How::InPlace if self.guard.is_some() => "edited where it lies (undo file)",
            How::InPlace if self.read_only => "used where it lies, read-only",
            How::InPlace => "used where it lies",
        };
        let edits: usize = self.volumes.iter().map(|volume| volume.edits.len()).sum();
        let read_back = self.volumes.iter().find_map(|volume| match &volume.read_back {
            Verdict::Equal { .. } => None,
            Verdict::NotReadable { reason } => Some(reason),
        });
        let edits = match (edits, read_back) {
            (0, _) => String::new(),
            (1, None) => "; 1 edit, read back by ext4-view".into(),
            (n, None) => format!("; {n} edits, read back by ext4-view"),
            (n, Some(reason)) => format!("; {n} edits, not all read back ({reason})"),
        };
        format!("{}, {how}{edits}", indicatif::BinaryBytes(self.len))
    }
}

/// `text` as one word of a POSIX shell.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
