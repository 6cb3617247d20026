//! What `key`, `sign`, `verify` and `prepare` have in common: where signers and passphrases come from.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::{PassphraseArgs, SignersArgs};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::progress::Bar;
use crate::sign::{Signers, regular};

/// The site's own directory.
const SITE: &str = "/etc/autoxen";
/// The most bytes of a passphrase's file.
const PASSPHRASE_MAX: u64 = 4096;

/// Whose signatures count, by the arguments or by default; `None` where nobody says.
pub(super) fn find(args: &SignersArgs) -> Result<Option<Signers>> {
    let site = Path::new(SITE).join("revoked_signers");
    let allowed = match &args.allowed_signers {
        Some(path) => path.clone(),
        None => {
            let mut places = vec![PathBuf::from(SITE)];
            places.extend(own_directory());
            let Some(place) =
                places.into_iter().find(|place| exists(&place.join("allowed_signers")))
            else {
                return Ok(None);
            };
            place.join("allowed_signers")
        }
    };
    let beside = allowed.with_file_name("revoked_signers");
    let mut signers = Signers::read(
        &allowed,
        Some(&beside).filter(|path| exists(path)).map(|path| path.as_path()),
    )?;
    if let Some(more) = &args.revoked {
        signers.revoke(more)?;
    }
    // What the site has revoked stays so, whatever a user names.
    if exists(&site) {
        signers.revoke(&site)?;
    }
    Ok(Some(signers))
}

/// Anything but a clear no: what cannot be seen, and a link that leads nowhere, is to fail when it is read.
pub(super) fn exists(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound)
}

/// The user's own directory.
fn own_directory() -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(config.join("autoxen"))
}

/// What is wrong where signatures are asked for and nobody's count.
pub(super) fn nobody() -> Failure {
    Failure::new("no file of allowed signers: nobody's signature counts").hint(
        "`--allowed-signers FILE`, or /etc/autoxen/allowed_signers; `autoxen key show` prints a line for it",
    )
}

/// The image that `path` names, where that is a link: its manifest lies beside the image.
pub(super) fn real_image(path: &Path) -> Result<PathBuf> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            fs::canonicalize(path).map_err(|e| Failure::host("cannot read", path, &e))
        }
        _ => Ok(path.into()),
    }
}

/// Show a digest's progress, and end it where we were asked to stop.
pub(super) fn step(bar: &Bar, done: u64, total: u64) -> io::Result<()> {
    bar.set(done, total);
    interrupt::check_io()
}

/// The passphrase of a key that is there.
pub(super) fn passphrase(args: &PassphraseArgs, key: &Path) -> Result<String> {
    match &args.passphrase_file {
        Some(path) => from_file(path),
        None => ask(&format!("passphrase of {}: ", key.display())),
    }
}

/// The first line of a file.
pub(super) fn from_file(path: &Path) -> Result<String> {
    let fail = |e: &io::Error| Failure::host("cannot read", path, e);
    let bytes = regular::read(path, PASSPHRASE_MAX).map_err(|e| fail(&e))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::new(format!("`{}` is not UTF-8", path.display())))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Failure::new(format!("`{}` has no passphrase in its first line", path.display()))),
    }
}

/// Ask on the terminal, whatever standard input is.
pub(super) fn ask(prompt: &str) -> Result<String> {
    rpassword::prompt_password(crate::visible::visible(prompt)).map_err(|e| match e.kind() {
        io::ErrorKind::Interrupted => Failure::Interrupted { edited: Vec::new() },
        // ^D.
        io::ErrorKind::UnexpectedEof => Failure::new("no passphrase was given"),
        _ => Failure::new("there is no terminal to ask for a passphrase")
            .hint("`--passphrase-file FILE` reads it from a file"),
    })
}
