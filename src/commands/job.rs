//! What `plan` and `prepare` begin alike: a job description is read, checked, and looked at together with its images.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::cli::JobOptions;
use crate::commands::signers;
use crate::create;
use crate::diagnostic::{Diagnostic, Severity};
use crate::digest;
use crate::epoch;
use crate::facts::Facts;
use crate::facts::gather::{self, Gathered, Purpose, Search};
use crate::facts::known::Known;
use crate::failure::{Failure, Result, plain};
use crate::plan::{self, Plan};
use crate::policy;
use crate::progress::Progress;
use crate::report::Talk;
use crate::sign::Signers;
use crate::sign::demand::{Demands, SiteDemand};
use crate::xmf;
use crate::xmf::model::Document;

/// A job description that passed its check.
#[derive(Debug)]
pub(super) struct Job {
    /// The file as the user named it.
    pub(super) name: String,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Its decoded text.
    pub(super) text: String,
    /// What it says.
    pub(super) document: Document,
    /// The directory that its relative paths start at.
    base: PathBuf,
    options: plan::Options,
    /// What is asked of its images.
    demands: Demands,
}

/// What the images are looked at for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Intent {
    /// To say what would be done.
    Plan,
    /// To do it.
    Prepare,
}

impl Job {
    /// Read and check the job description; warnings are shown.
    ///
    /// # Errors
    /// Where it is refused.
    pub(super) fn load(path: &Path, args: &JobOptions, talk: Talk) -> Result<Self> {
        let bytes = read(path)?;
        let name = path.display().to_string();
        let checked = xmf::check(&bytes);
        let refused = |findings| Failure::Refused {
            file: name.clone(),
            text: checked.text.clone(),
            findings,
        };
        let Some(document) = checked.document else {
            return Err(refused(checked.diagnostics));
        };
        let warnings: Vec<_> =
            checked.diagnostics.into_iter().filter(|d| d.severity == Severity::Warning).collect();
        talk.findings(&name, &checked.text, &warnings);
        let base = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let base =
            std::fs::canonicalize(base).map_err(|e| Failure::host("cannot use", base, &e))?;
        let options = options(args, path, &bytes)?;
        let demands = demands(args, &document)?;
        Ok(Self { name, bytes, text: checked.text, document, base, options, demands })
    }

    /// Look at the images and the files of the host. Compressed images are unpacked into `scratch`.
    pub(super) fn gather(
        &self,
        scratch: &Path,
        known: &Known,
        progress: Progress,
        intent: Intent,
    ) -> Result<Gathered> {
        let extra: Vec<PathBuf> =
            [&self.options.kernel, &self.options.ramdisk].into_iter().flatten().cloned().collect();
        let purpose = match (self.options.in_place, intent) {
            (false, _) if self.options.overlay => Purpose::Overlay,
            (false, _) => Purpose::Copy,
            (true, Intent::Plan) => Purpose::PlanInPlace,
            (true, Intent::Prepare) => Purpose::EditInPlace,
        };
        let search = Search {
            base: &self.base,
            scratch,
            extra: &extra,
            purpose,
            demands: &self.demands,
            known,
            progress,
        };
        gather::gather(&self.document, search).map_err(|stop| match stop {
            gather::Stop::Findings(findings) => self.refuse(findings),
            gather::Stop::Failure(failure) => failure,
        })
    }

    /// Make the plan.
    pub(super) fn plan(&self, facts: &Facts) -> Result<Plan> {
        plan::plan(&self.document, facts, &self.options).map_err(|findings| self.refuse(findings))
    }

    fn refuse(&self, findings: Vec<Diagnostic>) -> Failure {
        Failure::Refused { file: self.name.clone(), text: self.text.clone(), findings }
    }
}

/// The bytes of a job description, at most one more than are accepted.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let fail = |e| Failure::new(format!("{}: {}", path.display(), plain(&e)));
    let file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.is_dir() {
        return Err(Failure::new(format!("{}: is a directory", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(xmf::MAX_LEN as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

/// What the command line says beside the document.
fn options(args: &JobOptions, path: &Path, bytes: &[u8]) -> Result<plan::Options> {
    let absolute = |path: &Option<PathBuf>| match path {
        None => Ok(None),
        Some(path) => std::fs::canonicalize(path)
            .map(Some)
            .map_err(|e| Failure::host("cannot read", path, &e)),
    };
    Ok(plan::Options {
        name_default: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        kernel: absolute(&args.kernel)?,
        ramdisk: absolute(&args.ramdisk)?,
        cmdline: args.cmdline.clone(),
        keep_device_names: args.keep_device_names,
        in_place: args.in_place,
        overlay: args.overlay,
        runner: args.runner,
        deliver: args.deliver.into(),
        id: id(bytes)?,
    })
}

/// What is asked of images, by the document and by the policy of the site: whose signatures count.
fn demands(args: &JobOptions, document: &Document) -> Result<Demands> {
    let policy = Path::new(policy::PATH);
    // A policy that cannot be read is not the same as none: it may ask for something.
    let policy = match signers::exists(policy) {
        true => Some(
            create::read_policy(policy)?
                .ok_or_else(|| Failure::new(format!("`{}` leads nowhere", policy.display())))?,
        ),
        false => None,
    };
    let wanted = policy.map(|policy| policy.signatures);
    let site: Vec<SiteDemand> = wanted
        .iter()
        .flat_map(|wanted| wanted.images.clone())
        .map(|(directory, signers)| SiteDemand { directory, signers })
        .collect();
    let site_signers = match &wanted {
        Some(wanted) if !site.is_empty() => {
            let revoked = Some(wanted.revoked_signers.as_path());
            Some(Signers::read(
                &wanted.allowed_signers,
                revoked.filter(|path| signers::exists(path)),
            )?)
        }
        _ => None,
    };
    let is_asked = document.images.iter().any(|image| image.signedby.is_some());
    // Where nobody asks, a file by default that cannot be read is in nobody's way.
    let is_read = is_asked || args.signers.allowed_signers.is_some();
    let signers = if is_read { signers::find(&args.signers)? } else { None };
    Ok(Demands { signers, site_signers, site, now: epoch::clock()? })
}

/// What tells this preparation from others: the same document at the same time is the same.
fn id(bytes: &[u8]) -> Result<String> {
    let now = epoch::now()?.to_le_bytes();
    let digest = digest::sha256_of(&[&b"autoxen preparation\0"[..], &now, bytes].concat());
    Ok(digest[..16].to_owned())
}
