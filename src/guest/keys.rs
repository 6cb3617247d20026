//! `authorized_keys` of ssh: one key a line. Keys are added behind those that are there, each once.

/// The file `old` (empty, where there is none) with `keys` in it; `None` where all of them are there already.
pub fn with_keys<'a>(old: &[u8], keys: impl IntoIterator<Item = &'a str>) -> Option<Vec<u8>> {
    let mut text = old.to_vec();
    let mut added = false;
    for key in keys {
        let key = key.trim();
        if text.split(|&byte| byte == b'\n').any(|line| line.trim_ascii() == key.as_bytes()) {
            continue;
        }
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend_from_slice(key.as_bytes());
        text.push(b'\n');
        added = true;
    }
    added.then_some(text)
}

/// Is this one line, and neither empty nor a comment?
pub fn is_valid(key: &str) -> bool {
    let key = key.trim();
    !key.is_empty() && !key.starts_with('#') && !key.chars().any(|c| c.is_control() && c != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_added_behind_what_is_there_and_only_once() {
        let old = b"# admins\nssh-rsa AAAA root@old";
        let keys = ["ssh-ed25519 BBBB me", " ssh-rsa AAAA root@old\n", "ssh-ed25519 BBBB me"];
        let new = with_keys(old, keys).expect("one is new");
        assert_eq!(new, b"# admins\nssh-rsa AAAA root@old\nssh-ed25519 BBBB me\n");
        assert_eq!(with_keys(&new, keys), None);
    }

    #[test]
    fn what_is_not_one_line_is_no_key() {
        for bad in ["", "  ", "# x", "ssh-rsa A\nssh-rsa B", "ssh-rsa \u{1b}[0m"] {
            assert!(!is_valid(bad), "{bad:?}");
        }
        assert!(is_valid("command=\"ls\tx\" ssh-rsa AAAA me"));
    }
}
