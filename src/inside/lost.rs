//! What a FAT does not keep of the files that go into it, counted: one line, however many files there are.
//!
//! A FAT shows all as root's, directories 0755 and files 0644. What is just that is not lost.

/// The counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    attributes: u64,
    links: u64,
    xattrs: u64,
}

impl Lost {
    /// A file or a directory should have this mode, and this owner and group where one was asked for.
    pub fn attributes(&mut self, is_dir: bool, mode: u16, owner: Option<(u32, u32)>) {
        let shown = if is_dir { 0o755 } else { 0o644 };
        if mode != shown || owner.is_some_and(|owner| owner != (0, 0)) {
            self.attributes += 1;
        }
    }

    /// A second name of a file became a copy of it.
    pub fn link(&mut self) {
        self.links += 1;
    }

    /// A file has extended attributes.
    pub fn xattrs(&mut self) {
        self.xattrs += 1;
    }

    /// What to tell: nothing where nothing was lost.
    pub fn lines(&self) -> Vec<String> {
        let attributes = match self.attributes {
            0 => None,
            1 => Some("1 owner or mode is not kept: FAT has none".into()),
            count => Some(format!("{count} owners and modes are not kept: FAT has none")),
        };
        let links = match self.links {
            0 => None,
            1 => Some("1 hard link is a copy: FAT has none".into()),
            count => Some(format!("{count} hard links are copies: FAT has none")),
        };
        let xattrs = match self.xattrs {
            0 => None,
            1 => Some("extended attributes of 1 file are not kept: FAT has none".into()),
            count => {
                Some(format!("extended attributes of {count} files are not kept: FAT has none"))
            }
        };
        [attributes, links, xattrs].into_iter().flatten().collect()
    }
}
