//! What `key`, `sign`, `verify` and `prepare` have in common: where signers and passphrases come from.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::{PassphraseArgs, SignersArgs};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::progress::Bar;
use crate::sign::Signers;

/// The site's own directory.
const SITE: &str = "/etc/autoxen";
/// The most bytes of a passphrase's file.
const PASSPHRASE_MAX: u64 = 4096;

/// Whose signatures count, by the arguments or by default; `None` where nobody says.
pub(super) fn find(args: &SignersArgs) -> Result<Option<Signers>> {
    let site = Path::new(SITE).join("revoked_signers");
    let (allowed, beside) = match &args.allowed_signers {
        Some(path) => (path.clone(), None),
        None => {
            let mut places = vec![PathBuf::from(SITE)];
            places.extend(own_directory());
            let Some(place) =
                places.into_iter().find(|place| exists(&place.join("allowed_signers")))
            else {
                return Ok(None);
            };
            (place.join("allowed_signers"), Some(place.join("revoked_signers")))
        }
    };
    let beside = beside.filter(|path| exists(path));
    let mut signers = Signers::read(&allowed, args.revoked.as_deref().or(beside.as_deref()))?;
    // What the site has revoked stays so, whatever a user names.
    if exists(&site) {
        signers.revoke(&site)?;
    }
    Ok(Some(signers))
}

/// Anything but a clear no: what cannot be seen is to fail when it is read.
fn exists(path: &Path) -> bool {
    !matches!(fs::metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound)
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

/// The clock, in seconds since 1970. What is valid is never a question of `SOURCE_DATE_EPOCH`.
pub(super) fn clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Show a digest's progress, and end it where we were asked to stop.
pub(super) fn step(bar: &Bar, done: u64, total: u64) -> io::Result<()> {
    bar.set(done, total);
    if interrupt::asked() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
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
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| fail(&e))?;
    file.take(PASSPHRASE_MAX).read_to_end(&mut bytes).map_err(|e| fail(&e))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::new(format!("`{}` is not UTF-8", path.display())))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Failure::new(format!("`{}` has no passphrase in its first line", path.display()))),
    }
}

/// Ask on the terminal, whatever standard input is.
pub(super) fn ask(prompt: &str) -> Result<String> {
    rpassword::prompt_password(crate::visible::visible(prompt)).map_err(|_| {
        Failure::new("there is no terminal to ask for a passphrase")
            .hint("`--passphrase-file FILE` reads it from a file")
    })
}
