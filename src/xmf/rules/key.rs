//! A line of `authorized_keys`: `[options] type base64 [comment]`, as sshd(8) describes it.

use super::value::{Bad, one_line};
use crate::xmf::suggest::shorten;

const TYPES: [&str; 8] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ssh-dss",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Check a line; it is kept whole.
pub(super) fn authorized_key(value: &str) -> Result<String, Bad> {
    one_line(value)?;
    if value.contains("PRIVATE KEY") {
        return Err(Bad::new("this is a private key").hint("the public one is in the `.pub` file"));
    }
    let (first, rest) = word(value);
    let (kind, rest) = if TYPES.contains(&first) { (first, rest) } else { word(rest) };
    if !TYPES.contains(&kind) {
        let message = format!("`{}` is no public key of ssh", shorten(value));
        return Err(
            Bad::new(message).expected("a line as in `.pub` files: `ssh-ed25519 AAAA… comment`")
        );
    }
    let (blob, _) = word(rest);
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    // Every key begins with the length of its type's name, a big-endian number below 2^18: base64 `AAAA`.
    if !blob.starts_with("AAAA") || !blob.bytes().all(base64) {
        let message = format!("no key follows `{kind}`");
        return Err(Bad::new(message).expected("base64 that begins with `AAAA`"));
    }
    Ok(value.to_owned())
}

/// The first word, blanks in quotes being part of it, and what follows.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return text.split_at(at),
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_have_options_before_it() {
        for good in [
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMq me@host",
            "ssh-rsa AAAAB3NzaC1yc2E=",
            "command=\"echo \\\"a b\\\"\",no-pty ssh-rsa AAAAB3NzaC1yc2E= x y",
        ] {
            assert_eq!(authorized_key(good).unwrap(), good);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (bad, message) in [
            ("", "`` is no public key of ssh"),
            ("hello", "`hello` is no public key of ssh"),
            ("ssh-ed25519", "no key follows `ssh-ed25519`"),
            ("ssh-ed25519 BBBB", "no key follows `ssh-ed25519`"),
            ("ssh-rsa AAAA\nssh-rsa AAAA", "the value has more than one line"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "this is a private key"),
        ] {
            assert_eq!(authorized_key(bad).unwrap_err().message, message, "{bad}");
        }
    }
}
