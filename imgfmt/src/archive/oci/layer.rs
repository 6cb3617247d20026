//! Layers over layers, as one stream.
//!
//! ```text
//! etc/.wh.motd         `etc/motd` of the layers below is not there          Whiteout
//! etc/.wh..wh..opq     nothing of the layers below is in `etc`             Opaque
//! ```
//! Both speak of the layers below, wherever they stand in their own. A sink takes them by their order, so what comes late
//! is taken apart into whiteouts of what is still from below. For that the names of the layers are kept.
//!
//! Names are compared as they are written: one that goes through a symbolic link is another name.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::archive::entry::{Content, Entry, Kind, Sink, Warn};
use crate::archive::path::TreePath;
use crate::error::{Error, Result};

const OPAQUE: &[u8] = b".wh..wh..opq";

/// A sink of layers, one after another, before a sink of a tree.
pub(super) struct Layers<'a> {
    to: &'a mut dyn Sink,
    /// Names from the layers below, as far as they are still there.
    below: BTreeSet<Vec<u8>>,
    /// Names from this layer.
    own: BTreeSet<Vec<u8>>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(to: &'a mut dyn Sink) -> Self {
        Self { to, below: BTreeSet::new(), own: BTreeSet::new() }
    }

    /// What comes now is another layer.
    pub(super) fn next(&mut self) {
        self.below.append(&mut self.own);
    }

    fn give(&mut self, path: TreePath, kind: Kind, warn: &mut Warn<'_>) -> Result<()> {
        let entry = Entry { path, meta: Default::default(), xattrs: Vec::new(), kind };
        self.to.entry(&entry, &mut Content::new(&mut std::io::empty(), 0), warn)
    }

    /// Take `path` of the layers below away.
    fn white_out(&mut self, path: TreePath, warn: &mut Warn<'_>) -> Result<()> {
        if self.own.contains(path.as_bytes()) || has_within(&self.own, &path) {
            return self.empty_late(&path, warn);
        }
        take_within(&mut self.below, &path);
        self.below.remove(path.as_bytes());
        self.give(path, Kind::Whiteout, warn)
    }

    /// Take away what the layers below have in `dir`.
    fn empty(&mut self, dir: TreePath, warn: &mut Warn<'_>) -> Result<()> {
        if has_within(&self.own, &dir) {
            return self.empty_late(&dir, warn);
        }
        take_within(&mut self.below, &dir);
        self.give(dir, Kind::Opaque, warn)
    }

    /// The same where this layer has something in it already, which stays.
    fn empty_late(&mut self, dir: &TreePath, warn: &mut Warn<'_>) -> Result<()> {
        let mut gone = take_within(&mut self.below, dir);
        while let Some(name) = gone.pop_first() {
            let path = TreePath::new(&name).expect("it was one");
            // It is of this layer as well, or has something in it that is.
            if self.own.contains(&name) || has_within(&self.own, &path) {
                continue;
            }
            take_within(&mut gone, &path);
            self.give(path, Kind::Whiteout, warn)?;
        }
        Ok(())
    }
}

/// Between which names all lie that are below a directory.
fn bounds(dir: &TreePath) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    match dir.is_root() {
        true => (Bound::Excluded(Vec::new()), Bound::Unbounded),
        // `0` follows `/`.
        false => (
            Bound::Included([dir.as_bytes(), b"/"].concat()),
            Bound::Excluded([dir.as_bytes(), b"0"].concat()),
        ),
    }
}

fn has_within(names: &BTreeSet<Vec<u8>>, dir: &TreePath) -> bool {
    names.range(bounds(dir)).next().is_some()
}

/// Take all names below a directory out.
fn take_within(names: &mut BTreeSet<Vec<u8>>, dir: &TreePath) -> BTreeSet<Vec<u8>> {
    names.extract_if(bounds(dir), |_| true).collect()
}

impl Sink for Layers<'_> {
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> Result<()> {
        if let Some((dir, name)) = entry.path.split()
            && let Some(hidden) = name.strip_prefix(b".wh.")
        {
            let dir = TreePath::new(dir).expect("a part of a path");
            if name == OPAQUE {
                return self.empty(dir, warn);
            }
            // Other names of this kind are notes that AUFS left for itself.
            if hidden.starts_with(b".wh.") {
                return Ok(());
            }
            let path = dir.join(hidden).ok_or_else(|| {
                Error::Archive(format!("`{}` is a whiteout of nothing", entry.path))
            })?;
            return self.white_out(path, warn);
        }
        // What is no directory takes the place of one from below with all that is in it.
        let covers = entry.kind != Kind::Dir && has_within(&self.below, &entry.path);
        if covers && !self.own.contains(entry.path.as_bytes()) {
            self.white_out(entry.path.clone(), warn)?;
        }
        self.to.entry(entry, content, warn)?;
        self.own.insert(entry.path.as_bytes().to_vec());
        Ok(())
    }
}
