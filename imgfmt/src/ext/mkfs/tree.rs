//! The tree that is being filled, in memory: names, links, and where each file lies.
//!
//! Paths are followed as `chroot` would: an absolute symbolic link starts at the root of the tree, `..` of the root is
//! the root, and after 40 links it is a circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::archive::TreePath;
use crate::error::{Error, Result};
use crate::ext::mkfs::inodes::Record;
use crate::ext::mkfs::map::Piece;
use crate::ext::mkfs::runs::Run;
use crate::ext::nr::InodeNr;
use crate::ext::xattr::Xattr;

/// The most symbolic links on the way to a file.
const LINKS_FOLLOWED_MAX: u32 = 40;
/// The longest name, in bytes.
const NAME_MAX: usize = 255;

/// What is known of an inode but its bytes.
pub(super) struct Node {
    pub(super) record: Record,
    /// Where its data and the blocks of its map lie.
    pub(super) runs: Vec<Run>,
    pub(super) kind: NodeKind,
    /// Its block of attributes among those that are shared.
    pub(super) shared: Option<u64>,
    /// Attributes in the inode of a directory, whose content may come to lie beside them.
    pub(super) own: Vec<Xattr>,
}

/// What hangs below an inode.
pub(super) enum NodeKind {
    /// A directory: the one above, and its names.
    Dir { parent: u32, children: BTreeMap<Box<[u8]>, u32> },
    /// A symbolic link, with its text.
    Symlink(Box<[u8]>),
    /// Anything else.
    Other,
}

impl Node {
    pub(super) fn new(record: Record, kind: NodeKind) -> Self {
        Self { record, runs: Vec::new(), kind, shared: None, own: Vec::new() }
    }

    /// The blocks of `pieces`, and of the nodes of their map.
    pub(super) fn set_runs(&mut self, pieces: &[Piece], nodes: impl Iterator<Item = u64>) {
        self.runs = pieces.iter().map(|piece| piece.run).collect();
        self.runs.extend(nodes.map(|start| Run { start, len: 1 }));
    }
}

/// All inodes that have a name.
pub(super) struct Tree {
    nodes: BTreeMap<u32, Node>,
    /// Numbers that were given back.
    free: BTreeSet<u32>,
    next: u32,
    /// One past the last number there may be.
    end: u32,
}

/// Whether directories that are missing on the way are made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Leave,
}

impl Tree {
    /// A root alone. Other inodes are numbered from `first` to `last`.
    pub(super) fn new(root: Record, first: u32, last: u32) -> Self {
        let kind = NodeKind::Dir { parent: InodeNr::ROOT.0, children: BTreeMap::new() };
        let nodes = BTreeMap::from([(InodeNr::ROOT.0, Node::new(root, kind))]);
        Self { nodes, free: BTreeSet::new(), next: first, end: last.saturating_add(1) }
    }

    pub(super) fn node(&self, nr: u32) -> &Node {
        &self.nodes[&nr]
    }

    pub(super) fn node_mut(&mut self, nr: u32) -> &mut Node {
        self.nodes.get_mut(&nr).expect("numbers come from this tree")
    }

    /// All inodes, by their numbers.
    pub(super) fn into_nodes(self) -> BTreeMap<u32, Node> {
        self.nodes
    }

    /// One past the highest number that was ever in use.
    pub(super) fn numbers_end(&self) -> u32 {
        self.next
    }

    /// A number that is free.
    fn number(&mut self) -> Result<u32> {
        if let Some(nr) = self.free.pop_first() {
            return Ok(nr);
        }
        if self.next == self.end {
            return Err(Error::NoSpace(format!(
                "all {} inodes are taken; more come with a larger size or a smaller inode ratio",
                self.end - 1
            )));
        }
        self.next += 1;
        Ok(self.next - 1)
    }

    /// Put a new inode into a directory, under a name that is free.
    pub(super) fn insert(&mut self, dir: u32, name: &[u8], node: Node) -> Result<u32> {
        let nr = self.number()?;
        self.insert_as(nr, dir, name, node);
        Ok(nr)
    }

    /// The same, with a number of its own.
    pub(super) fn insert_as(&mut self, nr: u32, dir: u32, name: &[u8], node: Node) {
        self.nodes.insert(nr, node);
        self.link(dir, name, nr);
    }

    /// Give an inode a name, which is free.
    pub(super) fn link(&mut self, dir: u32, name: &[u8], nr: u32) {
        if let Some(children) = self.children_mut(dir) {
            children.insert(name.into(), nr);
        }
    }

    fn children_mut(&mut self, dir: u32) -> Option<&mut BTreeMap<Box<[u8]>, u32>> {
        match &mut self.node_mut(dir).kind {
            NodeKind::Dir { children, .. } => Some(children),
            _ => None,
        }
    }

    /// What a directory has under a name.
    pub(super) fn child(&self, dir: u32, name: &[u8]) -> Option<u32> {
        match &self.node(dir).kind {
            NodeKind::Dir { children, .. } => children.get(name).copied(),
            _ => None,
        }
    }

    /// Names of a directory.
    pub(super) fn names(&self, dir: u32) -> Vec<Box<[u8]>> {
        match &self.node(dir).kind {
            NodeKind::Dir { children, .. } => children.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn is_dir(&self, nr: u32) -> bool {
        matches!(self.node(nr).kind, NodeKind::Dir { .. })
    }

    /// Take a name away, and all below it. The inodes that have no other name come back.
    pub(super) fn remove(&mut self, dir: u32, name: &[u8]) -> Vec<Node> {
        let (mut gone, mut left) = (Vec::new(), Vec::new());
        left.extend(self.children_mut(dir).and_then(|children| children.remove(name)));
        while let Some(nr) = left.pop() {
            if let NodeKind::Dir { children, .. } = &mut self.node_mut(nr).kind {
                left.extend(std::mem::take(children).into_values());
            }
            let node = self.node_mut(nr);
            node.record.links -= 1;
            if node.record.links == 0 || matches!(node.kind, NodeKind::Dir { .. }) {
                gone.extend(self.nodes.remove(&nr));
                self.free.insert(nr);
            }
        }
        gone
    }

    /// The directory that a path lies in, and its name there. `None` for the root, and where directories are missing and
    /// not to be made.
    pub(super) fn place<'p>(
        &mut self,
        path: &'p TreePath,
        missing: Missing,
        new_dir: &Record,
    ) -> Result<Option<(u32, &'p [u8])>> {
        let mut names: Vec<&[u8]> = path.components().collect();
        let Some(name) = names.pop() else { return Ok(None) };
        if name.len() > NAME_MAX {
            return Err(too_long(path));
        }
        let dir = self.walk(path, names.into_iter().map(Into::into).collect(), missing, new_dir)?;
        Ok(dir.map(|dir| (dir, name)))
    }

    /// The directory that these names lead to.
    fn walk(
        &mut self,
        path: &TreePath,
        mut names: VecDeque<Box<[u8]>>,
        missing: Missing,
        new_dir: &Record,
    ) -> Result<Option<u32>> {
        let (mut dir, mut followed) = (InodeNr::ROOT.0, 0);
        while let Some(name) = names.pop_front() {
            let NodeKind::Dir { parent, children } = &self.node(dir).kind else {
                return Err(Error::NotADirectory(path.as_path().to_owned()));
            };
            match &*name {
                b"" | b"." => continue,
                b".." => {
                    dir = *parent;
                    continue;
                }
                long if long.len() > NAME_MAX => return Err(too_long(path)),
                _ => {}
            }
            let Some(&child) = children.get(&name) else {
                if missing == Missing::Leave {
                    return Ok(None);
                }
                let kind = NodeKind::Dir { parent: dir, children: BTreeMap::new() };
                dir = self.insert(dir, &name, Node::new(new_dir.clone(), kind))?;
                continue;
            };
            match &self.node(child).kind {
                NodeKind::Dir { .. } => dir = child,
                NodeKind::Symlink(text) => {
                    followed += 1;
                    if followed > LINKS_FOLLOWED_MAX {
                        return Err(Error::SymlinkLoop(path.as_path().to_owned()));
                    }
                    if text.starts_with(b"/") {
                        dir = InodeNr::ROOT.0;
                    }
                    for part in text.split(|&byte| byte == b'/').rev() {
                        names.push_front(part.into());
                    }
                }
                NodeKind::Other => return Err(Error::NotADirectory(path.as_path().to_owned())),
            }
        }
        Ok(Some(dir))
    }

    /// What a path leads to; a symbolic link at its end is not followed.
    pub(super) fn find(&mut self, path: &TreePath, new_dir: &Record) -> Result<Option<u32>> {
        if path.is_root() {
            return Ok(Some(InodeNr::ROOT.0));
        }
        let place = self.place(path, Missing::Leave, new_dir)?;
        Ok(place.and_then(|(dir, name)| self.child(dir, name)))
    }

    /// Count the names of directories: their own, `.`, and `..` of what is in them. Returns the most that one has.
    pub(super) fn count_dir_links(&mut self) -> u32 {
        let mut links: BTreeMap<u32, u32> = BTreeMap::new();
        for (&nr, node) in &self.nodes {
            if let NodeKind::Dir { parent, .. } = &node.kind {
                *links.entry(nr).or_default() += 2;
                if nr != InodeNr::ROOT.0 {
                    *links.entry(*parent).or_default() += 1;
                }
            }
        }
        let most = links.values().copied().max().unwrap_or(2);
        for (nr, links) in links {
            self.node_mut(nr).record.links = links;
        }
        most
    }
}

fn too_long(path: &TreePath) -> Error {
    Error::InvalidPath { path: path.as_path().to_owned(), what: "a name of more than 255 bytes" }
}
