//! Fill a new file system from a stream of entries, in one pass: data goes to the target as it comes, all else is kept in
//! memory until the end.
//!
//! ```text
//! entry → tree (names, inodes)  and  data → buffer → target
//! finish: directories, attributes → behind the data;  inode tables, bitmaps, descriptors, superblock
//! ```
//! What an entry means is said in [`crate::archive::entry`]. Blocks of files that were replaced are used again.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::archive::{Content, Data, Entry, Kind, Meta, Sink, Warn};
use crate::error::{Error, Result};
use crate::ext::feature::{Compat, RoCompat};
use crate::ext::inode::FileType;
use crate::ext::mkfs::attributes::{Attributes, Placed};
use crate::ext::mkfs::buffer::Buffer;
use crate::ext::mkfs::contents::{Contents, LOST_AND_FOUND, ORPHAN_FILE};
use crate::ext::mkfs::data;
use crate::ext::mkfs::directory::{self, Named, Place};
use crate::ext::mkfs::inline;
use crate::ext::mkfs::inodes::{LINKS_MAX, Record};
use crate::ext::mkfs::layout::Layout;
use crate::ext::mkfs::map::Piece;
use crate::ext::mkfs::options::Options;
use crate::ext::mkfs::runs::{Run, RunSet};
use crate::ext::mkfs::settle::{Draft, Free};
use crate::ext::mkfs::tables;
use crate::ext::mkfs::target::Target;
use crate::ext::mkfs::tree::{Missing, Node, NodeKind, Tree};
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::inode::{BLOCK_LEN, flag};
use crate::ext::ops::device_words;
use crate::ext::xattr::Xattr;

/// How large the file system is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// [`Options::size`].
    Fixed,
    /// As large as what is put into it, and so much free. [`Options::size`] means nothing then.
    Auto(Free),
}

/// A file system that is being filled. Dropped before [`Builder::finish`], it leaves a target that holds none.
pub struct Builder<'a> {
    contents: Contents<'a>,
    tree: Tree,
    attributes: Attributes,
    /// Blocks that were written, and then given back: no longer zeros.
    dirty: RunSet,
    /// What is to be settled at the end.
    draft: Option<Draft>,
}

impl<'a> Builder<'a> {
    /// Begin. `target` is zeros, and with [`Room::Auto`] as long as it gets.
    ///
    /// # Errors
    /// As [`Layout::new`].
    pub fn new(options: &Options, room: Room, target: &'a mut dyn Target) -> Result<Self> {
        let (layout, draft) = match room {
            Room::Fixed => (Layout::new(options)?, None),
            Room::Auto(free) => {
                let draft = Draft::new(options, free)?;
                (draft.layout.clone(), Some(draft))
            }
        };
        let mut root = Record::new(FileType::Directory, 0o755, options.time);
        (root.uid, root.gid) = options.root_owner;
        let has_orphans = layout.geometry.features.compat.contains(Compat::ORPHAN_FILE);
        let first = if has_orphans { ORPHAN_FILE + 1 } else { ORPHAN_FILE };
        let last = if draft.is_some() { u32::MAX - 1 } else { layout.geometry.inode_count };
        let mut tree = Tree::new(root, first, last);
        let lost = Record::new(FileType::Directory, 0o700, options.time);
        let kind = NodeKind::Dir { parent: InodeNr::ROOT.0, children: BTreeMap::new() };
        tree.insert_as(LOST_AND_FOUND, InodeNr::ROOT.0, b"lost+found", Node::new(lost, kind));
        let mut contents = Contents::new(Rc::new(layout), Buffer::new(target));
        if draft.is_none() {
            contents.put_files()?;
        }
        Ok(Self {
            contents,
            tree,
            attributes: Attributes::default(),
            dirty: RunSet::default(),
            draft,
        })
    }

    /// Write all that was kept for the end. Returns the layout: its [`len`](Layout::len) is how long the target is to be.
    ///
    /// # Errors
    /// [`Error::NoSpace`] where it does not fit; those of the host.
    pub fn finish(mut self) -> Result<Layout> {
        let most = self.tree.count_dir_links();
        if most > LINKS_MAX && !self.contents.layout.geometry.has(RoCompat::DIR_NLINK) {
            return Err(Error::NoSpace(format!(
                "a directory of {} directories: without the feature `dir_nlink` {} are the most",
                most - 2,
                LINKS_MAX - 2
            )));
        }
        let inodes_end = self.tree.numbers_end();
        let mut nodes = std::mem::replace(&mut self.tree, Tree::new(blank(), 0, 0)).into_nodes();
        self.put_dirs(&mut nodes)?;
        self.put_attributes()?;
        self.clean()?;
        let inodes = nodes.into_iter().map(|(nr, node)| (nr, node.record));
        let contents = match &self.draft {
            None => Contents {
                inodes: self.contents.inodes.into_iter().chain(inodes).collect(),
                ..self.contents
            },
            Some(draft) => {
                let layout = draft.settle(&self.contents.space, inodes_end)?;
                let mut contents = Contents::new(Rc::new(layout), self.contents.buffer);
                contents.put_files()?;
                contents.inodes.extend(inodes);
                contents
            }
        };
        let layout = Rc::clone(&contents.layout);
        tables::write(contents)?;
        Ok(Rc::unwrap_or_clone(layout))
    }

    /// Every directory, in the order of their numbers.
    fn put_dirs(&mut self, nodes: &mut BTreeMap<u32, Node>) -> Result<()> {
        let layout = Rc::clone(&self.contents.layout);
        let numbers: Vec<u32> = nodes
            .iter()
            .filter(|(_, node)| matches!(node.kind, NodeKind::Dir { .. }))
            .map(|(&nr, _)| nr)
            .collect();
        for nr in numbers {
            let node = &nodes[&nr];
            let NodeKind::Dir { parent, children } = &node.kind else { continue };
            let seed = self.contents.seed(nr);
            let place = Place { geometry: &layout.geometry, seed, own: nr, parent: *parent };
            let mut record = node.record.clone();
            if nr == LOST_AND_FOUND && children.is_empty() {
                let bytes = directory::lost_and_found(place, layout.lost_and_found_blocks());
                self.contents.put_dir(nr, &mut record, &bytes)?;
            } else {
                let entries: Vec<Named<'_>> = children
                    .iter()
                    .map(|(name, &inode)| Named { name, inode, kind: nodes[&inode].record.kind })
                    .collect();
                let inline = inline::room(&layout.geometry, &node.own)
                    .filter(|_| nr != InodeNr::ROOT.0)
                    .and_then(|room| inline::directory(place, &entries, room))
                    .is_some_and(|bytes| {
                        inline::store(&layout.geometry, &mut record, &node.own, &bytes)
                    });
                if !inline {
                    let made = directory::directory(place, &entries)?;
                    if made.is_indexed {
                        record.flags |= flag::INDEX;
                    }
                    self.contents.put_dir(nr, &mut record, &made.bytes)?;
                }
            }
            if let Some(node) = nodes.get_mut(&nr) {
                node.record = record;
            }
        }
        Ok(())
    }

    /// Blocks of attributes.
    fn put_attributes(&mut self) -> Result<()> {
        let layout = Rc::clone(&self.contents.layout);
        for (block, bytes) in self.attributes.blocks(&layout.geometry) {
            self.contents.write(block, &bytes)?;
        }
        Ok(())
    }

    /// What was given back and not taken again becomes zeros: tables may come to lie there, and nobody is to read it.
    fn clean(&mut self) -> Result<()> {
        let used = self.contents.space.used();
        let mut left = self.dirty.clone();
        let dirty: Vec<Run> = self.dirty.within(0, u64::MAX).collect();
        for run in dirty {
            for taken in used.within(run.start, run.end()).collect::<Vec<_>>() {
                left.remove(taken);
            }
        }
        let zeros = vec![0; self.contents.layout.geometry.block_size];
        for run in left.within(0, u64::MAX) {
            for block in run.start..run.end() {
                self.contents.write(block, &zeros)?;
            }
        }
        Ok(())
    }

    /// Inodes are gone: so is what they had.
    fn release(&mut self, gone: Vec<Node>) {
        for node in gone {
            let shared = node.shared.filter(|&block| self.attributes.release(block));
            let runs = node.runs.into_iter().chain(shared.map(|start| Run { start, len: 1 }));
            for run in runs {
                self.dirty.insert(run);
                self.contents.space.give_back(run);
            }
        }
    }

    /// A directory that no entry has spoken of.
    fn new_dir(&self) -> Record {
        Record::new(FileType::Directory, 0o755, self.contents.layout.time)
    }

    /// Give a record owner, permissions, times and attributes of an entry; a node loses those that it had.
    fn set_meta(
        &mut self,
        entry: &Entry,
        record: &mut Record,
        warn: &mut Warn<'_>,
    ) -> Result<Placed> {
        let Meta { mode, uid, gid, mtime, atime, ctime } = entry.meta;
        (record.mode, record.uid, record.gid) = (mode, uid, gid);
        record.mtime = (mtime.secs, mtime.nanos);
        record.atime = atime.map_or(record.mtime, |time| (time.secs, time.nanos));
        record.born = ctime.map_or(self.contents.layout.time, |time| time.secs);
        let layout = Rc::clone(&self.contents.layout);
        let placed = self.attributes.place(
            &layout.geometry,
            entry.path.as_path(),
            &entry.xattrs,
            (&mut self.contents.space, warn),
        )?;
        record.tail.clone_from(&placed.tail);
        record.blocks += u64::from(placed.shared.is_some());
        record.file_acl = placed.shared.unwrap_or(0);
        Ok(placed)
    }

    /// A directory that is there takes what its entry says.
    fn change_dir(&mut self, entry: &Entry, nr: u32, warn: &mut Warn<'_>) -> Result<()> {
        let mut record = self.tree.node(nr).record.clone();
        record.blocks = 0;
        let placed = self.set_meta(entry, &mut record, warn)?;
        let node = self.tree.node_mut(nr);
        (node.record, node.own) = (record, placed.own);
        let old = std::mem::replace(&mut node.shared, placed.shared);
        if let Some(block) = old.filter(|&block| self.attributes.release(block)) {
            let run = Run { start: block, len: 1 };
            self.dirty.insert(run);
            self.contents.space.give_back(run);
        }
        Ok(())
    }

    /// Map `pieces` of inode `nr`, and note what they take.
    fn map(&mut self, nr: u32, node: &mut Node, pieces: &[Piece]) -> Result<()> {
        let nodes = self.contents.map(nr, &mut node.record, pieces)?;
        node.set_runs(pieces, nodes.into_iter());
        Ok(())
    }

    /// Something other than a directory, with its content.
    fn put_new(
        &mut self,
        entry: &Entry,
        (dir, name): (u32, &[u8]),
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> Result<()> {
        let kind = match &entry.kind {
            Kind::File { .. } => FileType::File,
            Kind::Symlink(_) => FileType::Symlink,
            Kind::CharDevice { .. } => FileType::CharDevice,
            Kind::BlockDevice { .. } => FileType::BlockDevice,
            Kind::Fifo => FileType::Fifo,
            _ => FileType::Socket,
        };
        let mut record = Record::new(kind, 0, self.contents.layout.time);
        let Placed { own, shared, .. } = self.set_meta(entry, &mut record, warn)?;
        if kind == FileType::Symlink {
            // Linux knows no other: what archives say of it is of other systems.
            record.mode = 0o777;
        }
        let below = match &entry.kind {
            Kind::Symlink(text) => NodeKind::Symlink(text.as_slice().into()),
            _ => NodeKind::Other,
        };
        let node = Node { shared, ..Node::new(record, below) };
        let nr = self.tree.insert(dir, name, node)?;
        let mut node = Node::new(self.tree.node(nr).record.clone(), NodeKind::Other);
        match &entry.kind {
            Kind::File { len, data } => {
                self.put_content(nr, &mut node, &own, (*len, data), content)?;
            }
            Kind::Symlink(text) => self.put_symlink(entry, nr, &mut node, text)?,
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                if *major >= 1 << 12 || *minor >= 1 << 20 {
                    return Err(wrong(
                        entry,
                        format!("cannot have the device number {major}:{minor}"),
                    ));
                }
                node.record.block[..8].copy_from_slice(&device_words(*major, *minor));
            }
            _ => {}
        }
        let kept = self.tree.node_mut(nr);
        (kept.record, kept.runs) = (node.record, node.runs);
        Ok(())
    }

    /// The content of a file: in the inode where it may lie there and fits, else in blocks.
    fn put_content(
        &mut self,
        nr: u32,
        node: &mut Node,
        own: &[Xattr],
        (len, data): (u64, &Data),
        content: &mut Content<'_>,
    ) -> Result<()> {
        let layout = Rc::clone(&self.contents.layout);
        let room = inline::room(&layout.geometry, own).unwrap_or(0) as u64;
        if (1..=room).contains(&len) && *data == Data::Whole {
            let mut bytes = vec![0; usize::try_from(len).expect("less than an inode")];
            if content.read(&mut bytes)? < bytes.len() {
                return Err(Error::Archive("content is shorter than its entry says".into()));
            }
            let fits = inline::store(&layout.geometry, &mut node.record, own, &bytes);
            debug_assert!(fits, "there is room");
            return Ok(());
        }
        node.record.size = len;
        let pieces = data::write(
            (len, data),
            content,
            &mut self.contents.space,
            &mut self.contents.buffer,
            layout.block_size(),
        )?;
        self.map(nr, node, &pieces)
    }

    /// A short text stands in the place of the map.
    fn put_symlink(&mut self, entry: &Entry, nr: u32, node: &mut Node, text: &[u8]) -> Result<()> {
        let block_size = self.contents.layout.geometry.block_size;
        if text.len() >= block_size.min(4096) {
            return Err(wrong(entry, format!("is a symbolic link of {} bytes", text.len())));
        }
        node.record.size = text.len() as u64;
        if text.len() < BLOCK_LEN {
            node.record.block[..text.len()].copy_from_slice(text);
            return Ok(());
        }
        let run = Run { start: self.contents.space.take_one()?, len: 1 };
        let mut bytes = vec![0; block_size];
        bytes[..text.len()].copy_from_slice(text);
        self.contents.write(run.start, &bytes)?;
        self.map(nr, node, &[Piece { lblk: 0, run }])
    }

    /// One more name for `nr`.
    fn put_link(&mut self, entry: &Entry, dir: u32, name: &[u8], nr: u32) -> Result<()> {
        let record = &mut self.tree.node_mut(nr).record;
        if record.links >= LINKS_MAX {
            return Err(wrong(
                entry,
                format!("is name number {} of a file: {LINKS_MAX} are the most", LINKS_MAX + 1),
            ));
        }
        record.links += 1;
        self.tree.link(dir, name, nr);
        Ok(())
    }

    /// Make room for a new entry: what is there goes, unless it is a directory that is not empty.
    fn replace(&mut self, entry: &Entry, dir: u32, name: &[u8]) -> Result<()> {
        let Some(old) = self.tree.child(dir, name) else { return Ok(()) };
        if old == LOST_AND_FOUND || !self.tree.names(old).is_empty() {
            return Err(wrong(
                entry,
                "stands in the place of a directory that is not empty".into(),
            ));
        }
        let gone = self.tree.remove(dir, name);
        self.release(gone);
        Ok(())
    }

    /// Take away what came before, in a directory or under a name.
    fn remove(&mut self, dir: u32, names: Vec<Box<[u8]>>) {
        for name in names {
            // It is the file system's own, whatever layer says that it is to go.
            if self.tree.child(dir, &name) != Some(LOST_AND_FOUND) {
                let gone = self.tree.remove(dir, &name);
                self.release(gone);
            }
        }
    }
}

impl Sink for Builder<'_> {
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> Result<()> {
        let new_dir = self.new_dir();
        match &entry.kind {
            Kind::Whiteout => {
                match self.tree.place(&entry.path, Missing::Leave, &new_dir) {
                    Ok(Some((dir, name))) => self.remove(dir, vec![name.into()]),
                    // A file stands where the directory was: what was below is gone already.
                    Ok(None) | Err(Error::NotADirectory(_)) => {}
                    Err(error) => return Err(error),
                }
                return Ok(());
            }
            Kind::Opaque => {
                match self.tree.find(&entry.path, &new_dir) {
                    Ok(Some(dir)) => self.remove(dir, self.tree.names(dir)),
                    Ok(None) | Err(Error::NotADirectory(_)) => {}
                    Err(error) => return Err(error),
                }
                return Ok(());
            }
            _ => {}
        }
        let place = self.tree.place(&entry.path, Missing::Make, &new_dir)?;
        let Some((dir, name)) = place else {
            return match entry.kind {
                Kind::Dir => self.change_dir(entry, InodeNr::ROOT.0, warn),
                _ => Err(wrong(entry, "is the root, and no directory".into())),
            };
        };
        match &entry.kind {
            Kind::Dir => {
                let old = self.tree.child(dir, name).filter(|&nr| self.tree.is_dir(nr));
                let nr = match old {
                    Some(nr) => nr,
                    None => {
                        self.replace(entry, dir, name)?;
                        let kind = NodeKind::Dir { parent: dir, children: BTreeMap::new() };
                        self.tree.insert(dir, name, Node::new(new_dir, kind))?
                    }
                };
                self.change_dir(entry, nr, warn)
            }
            Kind::HardLink(to) => {
                let target = self.tree.find(to, &new_dir)?;
                let Some(nr) = target.filter(|&nr| !self.tree.is_dir(nr)) else {
                    return Err(wrong(
                        entry,
                        format!("is a hard link to `{to}`, which is no file before it"),
                    ));
                };
                if self.tree.child(dir, name) == Some(nr) {
                    return Ok(());
                }
                self.replace(entry, dir, name)?;
                self.put_link(entry, dir, name, nr)
            }
            _ => {
                self.replace(entry, dir, name)?;
                self.put_new(entry, (dir, name), content, warn)
            }
        }
    }
}

fn blank() -> Record {
    Record::new(FileType::Directory, 0, 0)
}

fn wrong(entry: &Entry, what: String) -> Error {
    Error::WrongKind { path: entry.path.as_path().to_owned(), what }
}

impl std::fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("layout", &self.contents.layout).finish_non_exhaustive()
    }
}
