//! An ext file system as a source of entries.
//!
//! Directories come before what is in them, names in the order of their bytes: the same tree gives the same entries,
//! however it lies on the disk. The second name of a file is a hard link to the first. ACLs become what the kernel hands
//! out; a hole and an allocated block that was never written are both holes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::acl;
use super::entry::{Content, Data, Entry, Kind, Meta, Run, Sink, Source, Time, Warn, Xattr};
use super::path::TreePath;
use crate::error::{Error, Result};
use crate::ext::{DirEntry, FileType, Fs, InodeNr, Metadata, Node};

/// A file system, or a part of it.
pub struct ExtSource<'f> {
    fs: &'f Fs<'f>,
    root: PathBuf,
    lost_and_found: bool,
}

impl<'f> ExtSource<'f> {
    /// All of `fs` but `lost+found` in its root, where that is empty.
    pub fn new(fs: &'f Fs<'f>) -> Self {
        Self { fs, root: "/".into(), lost_and_found: false }
    }

    /// What is at `path`, be it a symbolic link. It becomes the root of the entries where it is a directory. Else it is the
    /// only entry, by its name.
    #[must_use]
    pub fn at(mut self, path: impl Into<PathBuf>) -> Self {
        self.root = path.into();
        self
    }

    /// With an empty `lost+found` too.
    #[must_use]
    pub fn with_lost_and_found(mut self) -> Self {
        self.lost_and_found = true;
        self
    }
}

/// A name that is still to be visited.
struct Pending {
    path: TreePath,
    nr: InodeNr,
}

struct Walk<'f> {
    fs: &'f Fs<'f>,
    stack: Vec<Pending>,
    /// The first name of each file that has more.
    names: HashMap<InodeNr, TreePath>,
    dirs: HashSet<InodeNr>,
    lost_and_found: bool,
}

impl Source for ExtSource<'_> {
    fn feed(&mut self, sink: &mut dyn Sink, warn: &mut Warn<'_>) -> Result<()> {
        let start = self.fs.node_at(&self.root)?.metadata();
        let name = self.root.file_name().filter(|_| start.kind != FileType::Directory);
        let path = name.and_then(|name| TreePath::root().join(name.as_encoded_bytes()));
        let path = path.unwrap_or_else(TreePath::root);
        let mut walk = Walk {
            fs: self.fs,
            stack: vec![Pending { path, nr: start.nr }],
            names: HashMap::new(),
            dirs: HashSet::new(),
            lost_and_found: self.lost_and_found || self.root != Path::new("/"),
        };
        while let Some(next) = walk.stack.pop() {
            walk.visit(next, sink, warn)?;
        }
        Ok(())
    }
}

impl Walk<'_> {
    fn visit(&mut self, next: Pending, sink: &mut dyn Sink, warn: &mut Warn<'_>) -> Result<()> {
        let Pending { path, nr } = next;
        let node = self.fs.node(nr)?;
        let metadata = node.metadata();
        if metadata.kind == FileType::Directory {
            if !self.dirs.insert(nr) {
                return Err(Error::corrupt(format!("ext directory {nr} has two names: `{path}`")));
            }
            let children = node.entries()?;
            if children.is_empty() && !self.lost_and_found && path.as_bytes() == b"lost+found" {
                return Ok(());
            }
            self.push(&path, children)?;
        } else if metadata.nlink > 1 {
            if let Some(first) = self.names.get(&nr) {
                let kind = Kind::HardLink(first.clone());
                let entry = Entry { path, meta: meta(&metadata), xattrs: Vec::new(), kind };
                return sink.entry(&entry, &mut Content::new(&mut std::io::empty(), 0), warn);
            }
            self.names.insert(nr, path.clone());
        }
        give(&node, &metadata, path, sink, warn)
    }

    /// The last is taken first.
    fn push(&mut self, dir: &TreePath, mut children: Vec<DirEntry>) -> Result<()> {
        children.sort_unstable_by(|a, b| b.name.cmp(&a.name));
        self.stack.reserve(children.len());
        for child in children {
            let path = dir.join(child.name.as_encoded_bytes()).ok_or_else(|| {
                Error::corrupt(format!("ext directory `{dir}` has a name that is none"))
            })?;
            if path.as_bytes().len() > super::path::PATH_CAP {
                return Err(Error::corrupt("ext directories are nested too deep".to_owned()));
            }
            self.stack.push(Pending { path, nr: child.nr });
        }
        Ok(())
    }
}

/// Hand over one that is no second name.
fn give(
    node: &Node<'_>,
    metadata: &Metadata,
    path: TreePath,
    sink: &mut dyn Sink,
    warn: &mut Warn<'_>,
) -> Result<()> {
    let (major, minor) = metadata.device.unwrap_or_default();
    let kind = match metadata.kind {
        FileType::File => {
            let mut content = node.content()?;
            let runs = content.runs().map(|(offset, len)| Run { offset, len }).collect();
            let data = Data::sparse(runs, metadata.len).map_err(Error::corrupt)?;
            let kind = Kind::File { len: metadata.len, data };
            let entry = Entry { path, meta: meta(metadata), xattrs: xattrs(node)?, kind };
            let len = entry.content_len();
            return sink.entry(&entry, &mut Content::new(&mut content, len), warn);
        }
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink(node.link()?),
        FileType::CharDevice => Kind::CharDevice { major, minor },
        FileType::BlockDevice => Kind::BlockDevice { major, minor },
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
    };
    let entry = Entry { path, meta: meta(metadata), xattrs: xattrs(node)?, kind };
    sink.entry(&entry, &mut Content::new(&mut std::io::empty(), 0), warn)
}

fn meta(metadata: &Metadata) -> Meta {
    Meta {
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        mtime: time(metadata.mtime),
        atime: Some(time(metadata.atime)),
        ctime: Some(time(metadata.ctime)),
    }
}

/// Inodes keep 34 bits of seconds, which no conversion loses.
fn time(time: SystemTime) -> Time {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Time { secs: after.as_secs().cast_signed(), nanos: after.subsec_nanos() },
        Err(before) => {
            let before = before.duration();
            let secs = -before.as_secs().cast_signed();
            match before.subsec_nanos() {
                0 => Time { secs, nanos: 0 },
                nanos => Time { secs: secs - 1, nanos: 1_000_000_000 - nanos },
            }
        }
    }
}

fn xattrs(node: &Node<'_>) -> Result<Vec<Xattr>> {
    let all = node.xattrs()?.into_iter().map(|stored| {
        let name = stored.name.into_encoded_bytes();
        let value = match &name[..] {
            b"system.posix_acl_access" | b"system.posix_acl_default" => {
                acl::from_ext(&stored.value).ok_or_else(|| {
                    Error::corrupt(format!("ext inode {}: ACL is not an ACL", node.metadata().nr))
                })?
            }
            _ => stored.value,
        };
        Ok(Xattr { name, value })
    });
    all.collect()
}
