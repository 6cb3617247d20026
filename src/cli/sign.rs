//! Arguments of `key`, `sign` and `verify`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::lazy::Lazy;

/// Examples of `key new`.
const KEY_NEW_EXAMPLES: &str = "\
Examples:
  autoxen key new -o release --comment release@example.org >> allowed_signers
  autoxen key new -o ci --no-passphrase

The key is one of ed25519 for OpenSSH: FILE (closed to others) and FILE.pub. Keys that you have serve as well: those of \
ssh-keygen and of minisign. Printed is the line for the file of allowed signers.";

/// Examples of `key show`.
const KEY_SHOW_EXAMPLES: &str = "\
Examples:
  autoxen key show ~/.ssh/id_ed25519.pub
  autoxen key show --json minisign.pub | jq -r .line >> allowed_signers";

/// Examples of `sign`.
const SIGN_EXAMPLES: &str = "\
Examples:
  autoxen sign root.img --key release --expires 365d        root.img.manifest, root.img.manifest.sig
  autoxen sign root.img --key minisign.key --creator me     root.img.manifest, root.img.manifest.minisig
  autoxen sign ready --key release                          ready/manifest.json.sig
  autoxen sign --manifest-only root.img --creator me        a key in an agent or a token signs with:
  ssh-keygen -Y sign -n autoxen-image -f id_sk.pub root.img.manifest

An image is signed by way of its manifest: name, size, digest, creator, times. A bundle is signed as the bytes of its \
manifest.json, which has the digests of its files.";

/// Examples of `verify`.
const VERIFY_EXAMPLES: &str = "\
Examples:
  autoxen verify root.img
  autoxen verify root.img --allowed-signers signers --revoked revoked --signer 'release@*'
  autoxen verify ready --json | jq .principals
  ssh-keygen -Y verify -f signers -I release@example.org -n autoxen-image -s root.img.manifest.sig < root.img.manifest

Without --allowed-signers it is /etc/autoxen/allowed_signers, or ~/.config/autoxen/allowed_signers. A file \
revoked_signers beside it is read, too. Keys in /etc/autoxen/revoked_signers are revoked whatever else is named.

Exit status: 0 it is signed and whole; 2 refused, and the error says by which rule.";

/// Arguments of `key`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct KeyArgs {
    /// What to do
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// What `key` does.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key to sign with
    New(Lazy<KeyNewArgs>),
    /// Print a key's fingerprint, and its line for the file of allowed signers
    Show(Lazy<KeyShowArgs>),
}

/// Arguments of `key new`.
#[derive(Debug, Args)]
#[command(after_help = KEY_NEW_EXAMPLES)]
pub struct KeyNewArgs {
    /// Where the key goes; the public one gets `.pub` behind
    #[arg(short, long, value_name = "FILE", default_value = "signing-key")]
    pub output: PathBuf,
    /// Whose key it is: name@place (without this, user@host)
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// How the key is encrypted
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
    /// Do not encrypt the key
    #[arg(long, conflicts_with = "passphrase_file")]
    pub no_passphrase: bool,
    /// Print fingerprint and line as JSON
    #[arg(long)]
    pub json: bool,
}

/// Where a passphrase comes from.
#[derive(Debug, Args)]
pub struct PassphraseArgs {
    /// The passphrase is the first line of this file (without this, it is asked for on the terminal)
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Arguments of `key show`.
#[derive(Debug, Args)]
#[command(after_help = KEY_SHOW_EXAMPLES)]
pub struct KeyShowArgs {
    /// A public or secret key of OpenSSH or minisign
    #[arg(value_name = "KEY")]
    pub key: PathBuf,
    /// The passphrase, which only secret keys of minisign want here
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
    /// Print fingerprint and line as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sign`.
#[derive(Debug, Args)]
#[command(after_help = SIGN_EXAMPLES)]
pub struct SignArgs {
    /// An image, or the directory that `prepare` made
    #[arg(value_name = "IMAGE|BUNDLE")]
    pub path: PathBuf,
    /// The secret key: of OpenSSH or minisign
    #[arg(long, value_name = "KEY", required_unless_present = "manifest_only")]
    pub key: Option<PathBuf>,
    /// The key's passphrase
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
    /// Who made the image (without this, the key's comment)
    #[arg(long, value_name = "WHO")]
    pub creator: Option<String>,
    /// How long the image serves: 90d, 2w, 12h, or until a date, as 2027-01-31
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// Write the manifest alone; ssh-keygen or minisign signs it
    #[arg(long, conflicts_with = "key")]
    pub manifest_only: bool,
    /// Replace a manifest or signature that is there
    #[arg(long)]
    pub force: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// Whose signatures count.
#[derive(Debug, Default, Args)]
pub struct SignersArgs {
    /// Who may sign, as ssh-keygen(1) has it under ALLOWED SIGNERS
    #[arg(long, value_name = "FILE")]
    pub allowed_signers: Option<PathBuf>,
    /// Revoked keys, one a line, beside those that are read anyway
    #[arg(long, value_name = "FILE")]
    pub revoked: Option<PathBuf>,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub struct VerifyArgs {
    /// An image, or the directory that `prepare` made
    #[arg(value_name = "IMAGE|BUNDLE")]
    pub path: PathBuf,
    /// Whose signatures count
    #[command(flatten)]
    pub signers: SignersArgs,
    /// Who must have signed: names or patterns, as release@example.org or *@example.org
    #[arg(long, value_name = "PATTERN")]
    pub signer: Vec<String>,
    /// Of a bundle: look at the signature of its manifest alone, at none of its files
    #[arg(long)]
    pub manifest_only: bool,
    /// Print who signed, and until when it counts, as JSON
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}
