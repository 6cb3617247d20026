//! The seed of cloud-init's data source NoCloud: a FAT labelled `CIDATA` with the files `meta-data` and `user-data`.
//!
//! ```text
//! meta-data                     user-data
//! instance-id: "autoxen-3f0c"   #cloud-config
//! local-hostname: "fit"         write_files:
//!                               - path: "/etc/xenjobs.d/10-fit"
//!                                 permissions: "0755"
//!                                 content: "#!/bin/sh\n./fit\n"
//!                               runcmd:
//!                               - ["/etc/autoxen/run-jobs"]
//! ```
//!
//! cloud-init does this once for each `instance-id`. Every text is a double-quoted YAML scalar in ASCII, whose escapes leave
//! nothing to guess.
//!
//! Source: cloud-init's documentation of NoCloud, `write_files` and `runcmd`; YAML 1.1, 5.6.

/// The label by which cloud-init knows the disk.
pub const LABEL: &str = "CIDATA";

/// What `user-data` begins with.
pub const HEAD: &str = "#cloud-config\nwrite_files:\n";

/// A file that cloud-init is to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Absolute path in the guest.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// All of it.
    pub text: String,
}

/// The text of `meta-data`.
pub fn meta_data(id: &str, hostname: Option<&str>) -> String {
    let mut text = format!("instance-id: {}\n", scalar(&format!("autoxen-{id}")));
    if let Some(name) = hostname {
        text.push_str(&format!("local-hostname: {}\n", scalar(name)));
    }
    text
}

/// The text of `user-data`: write `files`, then start `program`.
pub fn user_data(files: &[File], program: &str) -> String {
    let mut text = HEAD.to_owned();
    for File { path, mode, text: content } in files {
        text.push_str(&format!(
            "- path: {}\n  permissions: \"{mode:04o}\"\n  content: {}\n",
            scalar(path),
            scalar(content)
        ));
    }
    text.push_str(&format!("runcmd:\n- [{}]\n", scalar(program)));
    text
}

/// `text` as a double-quoted scalar.
fn scalar(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match (c, u32::from(c)) {
            ('"' | '\\', _) => quoted.extend(['\\', c]),
            ('\n', _) => quoted.push_str("\\n"),
            ('\t', _) => quoted.push_str("\\t"),
            (' '..='~', _) => quoted.push(c),
            (_, code @ ..=0xff) => quoted.push_str(&format!("\\x{code:02x}")),
            (_, code @ ..=0xffff) => quoted.push_str(&format!("\\u{code:04x}")),
            (_, code) => quoted.push_str(&format!("\\U{code:08x}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{File, meta_data, scalar, user_data};

    #[test]
    fn nothing_in_a_scalar_steers_yaml() {
        assert_eq!(scalar("a\"b\\c\nd\te"), r#""a\"b\\c\nd\te""#);
        assert_eq!(scalar("\u{85}é\u{2028}\u{1f600}\r"), r#""\x85\xe9\u2028\U0001f600\x0d""#);
    }

    #[test]
    fn the_seed_writes_its_files_and_starts_the_program() {
        let file = File { path: "/x".into(), mode: 0o755, text: "#!/bin/sh\n".into() };
        assert_eq!(
            user_data(&[file], "/run"),
            "#cloud-config\nwrite_files:\n- path: \"/x\"\n  permissions: \"0755\"\n  content: \"#!/bin/sh\\n\"\nruncmd:\n- [\"/run\"]\n"
        );
        assert_eq!(
            meta_data("3f", Some("fit")),
            "instance-id: \"autoxen-3f\"\nlocal-hostname: \"fit\"\n"
        );
    }
}
