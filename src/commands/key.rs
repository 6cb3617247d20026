//! `autoxen key`: keys to sign with.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::cli::{KeyArgs, KeyCommand, KeyNewArgs, KeyShowArgs};
use crate::commands::signers;
use crate::failure::{Failure, Result};
use crate::newfile::{Existing, Staged, cannot_write, there};
use crate::report;
use crate::sign::beside;
use crate::sign::key::{SecretKey, read_public};
use crate::sign::public::PublicKey;
use crate::visible::is_seen;

/// What the line of a key that signs images and bundles allows it.
const NAMESPACES: &str = "namespaces=\"autoxen-image,autoxen-bundle\"";

/// Make a key, or show one.
pub fn run(args: &KeyArgs) -> Result<()> {
    match &args.command {
        KeyCommand::New(args) => new(args),
        KeyCommand::Show(args) => show(args),
    }
}

fn new(args: &KeyNewArgs) -> Result<()> {
    let comment = args.comment.clone().unwrap_or_else(own_name);
    if comment.is_empty() || !comment.chars().all(is_seen) {
        return Err(Failure::new("a comment is one line, and not empty"));
    }
    let public_path = beside::with(&args.output, ".pub");
    for path in [&args.output, &public_path] {
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(there(path).hint("choose another name with `-o`; a key is never replaced"));
        }
    }
    let passphrase = match (&args.passphrase.passphrase_file, args.no_passphrase) {
        (Some(path), _) => Some(signers::from_file(path)?),
        (None, true) => None,
        (None, false) => Some(ask_twice()?).filter(|passphrase| !passphrase.is_empty()),
    };
    let key = SecretKey::generate(&comment)?;
    let text = key.to_openssh(passphrase.as_deref())?;
    let public = key.public()?;
    write(&args.output, 0o600, text.as_bytes())?;
    write(&public_path, 0o644, format!("{} {comment}\n", public.line()).as_bytes())?;
    tell(&public, &comment, args.json)
}

fn show(args: &KeyShowArgs) -> Result<()> {
    let mut ask = || signers::passphrase(&args.passphrase, &args.key);
    let (public, comment) = read_public(&args.key, &mut ask)?;
    if !args.json {
        report::print(&format!("# {}\n", public.fingerprint()))?;
    }
    tell(&public, &comment, args.json)
}

fn ask_twice() -> Result<String> {
    let first = signers::ask("passphrase (empty for none): ").map_err(|failure| match failure {
        Failure::Plain { message, hint: Some(hint) } => {
            Failure::new(message).hint(format!("{hint}; `--no-passphrase` encrypts nothing"))
        }
        other => other,
    })?;
    if first != signers::ask("the same again: ")? {
        return Err(Failure::new("the passphrases differ"));
    }
    Ok(first)
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let staged = Staged::with_mode(path, mode)?;
    staged.file().write_all(bytes).map_err(|e| cannot_write(path, &e))?;
    staged.publish(Existing::Keep)
}

fn tell(key: &PublicKey, comment: &str, json: bool) -> Result<()> {
    let principal = principal(comment);
    let line = format!("{principal} {NAMESPACES} {}", key.line());
    match json {
        true => report::print_json(&Shown { fingerprint: key.fingerprint(), line }),
        false => report::print(&format!("{line}\n")),
    }
}

#[derive(Serialize)]
struct Shown {
    fingerprint: String,
    line: String,
}

/// A comment as one principal.
fn principal(comment: &str) -> &str {
    let fits = |c: char| c.is_alphanumeric() || "@._+-".contains(c);
    match !comment.is_empty() && comment.chars().all(fits) {
        true => comment,
        false => "NAME@PLACE",
    }
}

/// user@host, as ssh-keygen calls its keys.
fn own_name() -> String {
    let user = ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Some(host.trim()).filter(|host| !host.is_empty());
    format!("{}@{}", user.unwrap_or_else(|| "root".into()), host.unwrap_or("localhost"))
}
