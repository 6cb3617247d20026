//! The guest's name, where its init system reads it.
//!
//! Debian and all of systemd read `/etc/hostname`, one line. Red Hat up to release 6 reads `HOSTNAME=` in the shell
//! fragment `/etc/sysconfig/network`, SuSE up to 11 reads `/etc/HOSTNAME`. `/etc/hosts` is left alone: which addresses
//! the name has is not for us to say.

/// The fragment `/etc/sysconfig/network` with the name in each assignment to `HOSTNAME`; `None` where it has none.
pub fn in_sysconfig(old: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut found = false;
    let mut text = Vec::with_capacity(old.len());
    for line in old.split_inclusive(|&byte| byte == b'\n') {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let assignment = content.trim_ascii_start();
        if assignment.starts_with(b"HOSTNAME=") {
            found = true;
            let indent = &content[..content.len() - assignment.len()];
            text.extend_from_slice(indent);
            text.extend_from_slice(format!("HOSTNAME={name}").as_bytes());
            text.extend_from_slice(&line[content.len()..]);
        } else {
            text.extend_from_slice(line);
        }
    }
    found.then_some(text)
}

/// Can this be a host's name: labels of letters, digits and inner hyphens, joined by dots?
pub fn is_valid(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 64 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_with_the_hostname_changes() {
        let old = b"NETWORKING=yes\n#HOSTNAME=x\n  HOSTNAME=\"old.example\"\nGATEWAY=10.0.0.1";
        let new = b"NETWORKING=yes\n#HOSTNAME=x\n  HOSTNAME=node7\nGATEWAY=10.0.0.1";
        assert_eq!(in_sysconfig(old, "node7").as_deref(), Some(&new[..]));
    }

    #[test]
    fn a_fragment_without_the_hostname_is_left_alone() {
        assert_eq!(in_sysconfig(b"NETWORKING=yes\n", "node7"), None);
        assert_eq!(in_sysconfig(b"", "node7"), None);
    }

    #[test]
    fn a_name_that_would_break_out_of_its_line_is_no_name() {
        for bad in ["", "a b", "a\nb", "-a", "a-", "a..b", "$(x)", "é", "a_b", &"a".repeat(64)] {
            assert!(!is_valid(bad), "{bad:?}");
        }
        for good in ["a", "Node-7", "node7.example.org", &"a".repeat(63)] {
            assert!(is_valid(good), "{good:?}");
        }
    }
}
