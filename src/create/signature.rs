//! What the policy asks of signatures. Whose keys count is read where only root writes, each time anew: a key that is revoked
//! counts for nothing from then on.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::bundle::Bundle;
use super::manifest::Manifest;
use super::walk;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::policy::{Need, Passed, Policy, Refusal};
use crate::sign::beside::{self, Signed};
use crate::sign::image::{Error, Vouched};
use crate::sign::pattern::PatternList;
use crate::sign::signers::SIGNATURE_MAX;
use crate::sign::{Namespace, Signer, Signers, manifest};

/// The rule that only root may write to what says whose signature counts, and to what is signed where it lies.
const TRUSTED: &str = "signatures.trusted";

/// The most bytes of a file of signers or of revoked keys.
const SIGNERS_MAX: u64 = 4 << 20;

/// Whose signature a bundle's manifest has. It is verified before a byte of the manifest is parsed.
///
/// # Errors
/// By the rules `signatures.bundles` and `signatures.bundle_signers`. Where none is asked for, one that does not count is none.
pub(super) fn of_bundle(
    policy: &Policy,
    bundle: &Bundle,
    now: i64,
    passed: &mut Vec<Passed>,
) -> Result<Option<Signer>> {
    const RULE: &str = "signatures.bundles";
    let wanted = &policy.signatures;
    if wanted.bundles == Need::Optional {
        return Ok(None);
    }
    if bundle.signatures.is_empty() {
        let refusal = Refusal::new(RULE, "the bundle is not signed");
        return Err(refusal.hint("`autoxen sign BUNDLE --key KEY` signs it").into());
    }
    let signed = Signed {
        namespace: Namespace::Bundle,
        message: bundle.manifest.clone(),
        signatures: bundle.signatures.clone(),
    };
    let mut signer = signed
        .verify(&signers(policy)?, now)
        .map_err(|why| Refusal::new(RULE, format!("the bundle: {why}")))?;
    let by = &wanted.bundle_signers;
    signer
        .must_match(by)
        .map_err(|why| Refusal::new("signatures.bundle_signers", format!("the bundle: {why}")))?;
    signer.go_by(&[by]);
    let key = format!("signed by {}, {}", signer.principals, signer.key);
    passed.push(Passed { rule: RULE, wanted: key, allowed: by.join(", ") });
    Ok(Some(signer))
}

/// Whether the stock images of the disks were signed by whom the policy names, as the manifest says. Without a signature of
/// its own that counts, a manifest says nothing.
///
/// # Errors
/// By the rule `signatures.stock_signers`.
pub(super) fn of_stock(
    policy: &Policy,
    signer: Option<&Signer>,
    manifest: &Manifest,
    passed: &mut Vec<Passed>,
) -> Result<()> {
    const RULE: &str = "signatures.stock_signers";
    let wanted = &policy.signatures.stock_signers;
    if wanted.is_empty() {
        return Ok(());
    }
    if signer.is_none() {
        let why = "nobody whose word counts says what the disks were made from";
        return Err(Refusal::new(RULE, why).hint("it needs `bundles = \"required\"`").into());
    }
    for disk in &manifest.disks {
        let Some(image) = &disk.image else { continue };
        let principals = disk.signed.as_ref().map(|signed| signed.principals.as_str());
        let serves = principals.is_some_and(|text| PatternList::new(text).meets(wanted));
        if !serves {
            let by = principals.unwrap_or("nobody");
            let why = format!("{} was made from `{image}`, signed by {by}", disk.vdev);
            return Err(Refusal::new(RULE, why).into());
        }
        passed.push(Passed {
            rule: RULE,
            wanted: format!("{}: {}", disk.vdev, principals.unwrap_or_default()),
            allowed: wanted.join(", "),
        });
    }
    Ok(())
}

/// Whether the image `path`, which is open as `file` and which a guest reads where it lies, is signed by whom the policy
/// names for its directory.
///
/// # Errors
/// By the rule `signatures.images`.
pub(super) fn of_image(
    policy: &Policy,
    path: &Path,
    file: &File,
    now: i64,
    passed: &mut Vec<Passed>,
) -> Result<()> {
    const RULE: &str = "signatures.images";
    // By another name it is the same image.
    let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .map_err(|e| Failure::host("cannot find", path, &e))?;
    let is_meant = |directory: &PathBuf| path.starts_with(directory) || real.starts_with(directory);
    let demands = policy.signatures.images.iter().filter(|(directory, _)| is_meant(directory));
    let demands: Vec<&Vec<String>> = demands.map(|(_, signers)| signers).collect();
    if demands.is_empty() {
        return Ok(());
    }
    let refused =
        |why: &dyn std::fmt::Display| Refusal::new(RULE, format!("`{}`: {why}", path.display()));
    let lies = beside::manifest_of(&real);
    let message = walk::trusted_bytes(TRUSTED, &lies, manifest::MAX_LEN)?
        .ok_or_else(|| refused(&"it is not signed"))?;
    let mut signatures = Vec::new();
    for place in [beside::ssh_signature_of(&lies), beside::minisign_signature_of(&lies)] {
        signatures.extend(walk::trusted_bytes(TRUSTED, &place, SIGNATURE_MAX)?);
    }
    let signed = Signed { namespace: Namespace::Image, message, signatures };
    let vouched = Vouched::new(&signers(policy)?, &signed, now).map_err(|why| refused(&why))?;
    for demand in demands {
        vouched.signer.must_match(demand).map_err(|why| refused(&why))?;
    }
    let len = file.metadata().map_err(|e| Failure::host("cannot read", path, &e))?.len();
    let storage = imgfmt::storage::OpenFile::new(file, len);
    let checked = vouched.check(&storage, &|_| interrupt::check_io());
    interrupt::check()?;
    checked.map_err(|e| match e {
        Error::Refused(why) => Failure::from(refused(&why)),
        Error::Host(e) => Failure::host("cannot read", path, &e),
    })?;
    let by = format!("{}: {}, {}", path.display(), vouched.signer.principals, vouched.signer.key);
    passed.push(Passed { rule: RULE, wanted: by, allowed: "its digest".into() });
    Ok(())
}

fn signers(policy: &Policy) -> Result<Signers> {
    let wanted = &policy.signatures;
    let place = &wanted.allowed_signers;
    let allowed = walk::trusted_bytes(TRUSTED, place, SIGNERS_MAX)?
        .ok_or_else(|| Refusal::new(TRUSTED, format!("there is no `{}`", place.display())))?;
    let revoked = walk::trusted_bytes(TRUSTED, &wanted.revoked_signers, SIGNERS_MAX)?;
    let name = wanted.revoked_signers.to_string_lossy();
    let revoked = revoked.as_ref().map(|text| (text.as_slice(), name.as_ref()));
    Signers::parse(&allowed, &place.to_string_lossy(), revoked)
}
