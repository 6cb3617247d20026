//! Is a file system consistent? A walk over all of it that reads and never writes.
//!
//! [`Fs::check`] looks for what `e2fsck -fn` would complain of. It goes on after a finding where it can, and says by name
//! what it does not look at. It goes over the volume once for each of these, in this order:
//!
//! ```text
//! 1  superblock, journal, orphans, resize inode         places the file system keeps to itself
//! 2  descriptors and bitmaps, group by group            claim tables, bitmaps and backups
//! 3  inode tables, group by group                       claim what each inode maps; count inodes
//! 4  directories, by number                             count names
//! 5  links: each inode against its names, each directory against its parent
//! 6  block bitmaps against all that was claimed; all counts
//! ```
//! What is in use is noted in a set that is small where the volume is empty (`claims`), and twelve bytes for each inode
//! in use. Each inode and each block of a map is entered once; a block that leads to itself is a block in use twice.
//! Where a journal has to be replayed, it is checked as it will be once that is done.
//!
//! It does not repair, and it does not say which of two owners of a block is the right one.

mod claims;
mod dirs;
mod groups;
mod htree;
mod inodes;
mod links;
mod maps;
mod report;
mod reserved;
mod symlinks;
mod tables;
mod xattrs;

use std::collections::{BTreeMap, BTreeSet};

pub use report::{FINDINGS_KEPT, Finding, FindingKind, Place, Report};

use crate::copy::Progress;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::fs::Fs;
use crate::ext::geometry::Geometry;
use crate::ext::inode::{FileType, Inode};
use crate::ext::nr::{BlockNr, GroupNr, InodeNr};
use claims::Claims;

impl Fs<'_> {
    /// Walk over the whole file system and look for contradictions. `progress` hears of bytes of the volume.
    ///
    /// ```no_run
    /// use std::ops::ControlFlow;
    /// use imgfmt::{Image, Volume, ext::Fs};
    ///
    /// # fn main() -> imgfmt::Result<()> {
    /// let image = Image::open("root.img".as_ref())?;
    /// let report = Fs::open(Volume::whole(&image))?.check(&mut |_, _| ControlFlow::Continue(()))?;
    /// assert!(report.is_clean(), "{report}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] where the image cannot be read, [`Error::Stopped`] where `progress` says so. Damage is no error.
    pub fn check(&self, progress: &mut Progress<'_>) -> Result<Report> {
        let mut walk = Walk::new(self, progress);
        match walk.run() {
            Ok(()) => Ok(walk.report),
            Err(End::Error(error)) => Err(error),
            Err(End::TooMuch) => {
                let found = walk.report.total;
                walk.report.skip(format!("the rest, after {found} findings"));
                Ok(walk.report)
            }
        }
    }
}

/// Why a walk ended early.
enum End {
    /// The image cannot be read, or the caller said stop.
    Error(Error),
    /// There is hardly anything right.
    TooMuch,
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

type Step<T = ()> = std::result::Result<T, End>;

/// An inode in use.
#[derive(Clone, Copy)]
struct Seen {
    nr: u32,
    /// Names that were met.
    counted: u32,
    /// `i_links_count`.
    links: u16,
    /// `None` where the mode names no type.
    kind: Option<FileType>,
    /// It is an attribute's value, or of the file system's own: no name is due.
    is_nameless: bool,
}

/// A directory, and what was learnt of its place.
#[derive(Clone, Copy, Default)]
struct Dir {
    nr: u32,
    /// The directory that names it; 0 where none did yet.
    named_in: u32,
    /// Where its `..` leads; 0 where it has none.
    dotdot: u32,
}

/// What is known so far.
struct Walk<'a, 'b> {
    fs: &'a Fs<'a>,
    progress: &'b mut Progress<'b>,
    report: Report,
    /// Clusters in use.
    claims: Claims,
    /// Those of them that the file system keeps to itself.
    own: Claims,
    /// The same, in blocks.
    own_blocks: Claims,
    /// Groups whose inode table cannot be read.
    lost_tables: BTreeSet<u32>,
    /// In ascending order.
    inodes: Vec<Seen>,
    /// In ascending order.
    dirs: Vec<Dir>,
    /// Blocks of directories that were read.
    dir_blocks: Claims,
    /// Inodes that are still to be freed or cut.
    orphans: BTreeSet<u32>,
    /// By the block: references that were met, and how many it says there are.
    xattr_blocks: BTreeMap<u64, xattrs::Shared>,
    /// References to inodes that are values of attributes.
    value_refs: BTreeMap<u32, u64>,
    /// What each of them says.
    value_inodes: BTreeMap<u32, xattrs::Value>,
}

impl<'a, 'b> Walk<'a, 'b> {
    fn new(fs: &'a Fs<'a>, progress: &'b mut Progress<'b>) -> Self {
        Self {
            fs,
            progress,
            report: Report::default(),
            claims: Claims::default(),
            own: Claims::default(),
            own_blocks: Claims::default(),
            lost_tables: BTreeSet::new(),
            inodes: Vec::new(),
            dirs: Vec::new(),
            dir_blocks: Claims::default(),
            orphans: BTreeSet::new(),
            xattr_blocks: BTreeMap::new(),
            value_refs: BTreeMap::new(),
            value_inodes: BTreeMap::new(),
        }
    }

    fn run(&mut self) -> Step {
        self.superblock()?;
        self.claim_own()?;
        self.orphans()?;
        self.tables()?;
        self.xattr_refs()?;
        self.journal()?;
        self.resize_inode()?;
        self.mmp()?;
        self.directories()?;
        self.links()?;
        self.bitmaps()?;
        self.advance(2, 0, 1)
    }

    fn geometry(&self) -> &'a Geometry {
        self.fs.geometry()
    }

    /// Something is wrong.
    fn add(&mut self, kind: FindingKind, place: Place, what: impl Into<String>) -> Step {
        self.report.add(kind, place, what);
        if self.report.total >= report::FINDINGS_MAX { Err(End::TooMuch) } else { Ok(()) }
    }

    /// What a reader says of damage is a finding; that it cannot read is not.
    fn found<T>(&mut self, kind: FindingKind, place: Place, result: Result<T>) -> Step<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error @ (Error::Io { .. } | Error::Stopped)) => Err(error.into()),
            Err(error) => {
                let what = error.to_string();
                self.add(kind, place, what.strip_prefix("corrupt image: ").unwrap_or(&what))?;
                Ok(None)
            }
        }
    }

    /// How far the walk has come: `part` of `parts`, in the pass `pass` of two.
    fn advance(&mut self, pass: u64, part: u64, parts: u64) -> Step {
        let geometry = self.geometry();
        let total = geometry.block_count.saturating_mul(geometry.block_size as u64);
        let half = u128::from(total / 2);
        let done = half * u128::from(part) / u128::from(parts.max(1));
        let done = u64::try_from(half * u128::from(pass) + done).unwrap_or(total);
        match (self.progress)(done, total) {
            std::ops::ControlFlow::Continue(()) => Ok(()),
            std::ops::ControlFlow::Break(()) => Err(Error::Stopped.into()),
        }
    }

    /// Blocks of a cluster.
    fn ratio(&self) -> u64 {
        (self.geometry().cluster_size / self.geometry().block_size as u64).max(1)
    }

    /// Clusters of a full group.
    fn units_per_group(&self) -> u64 {
        u64::from(self.geometry().blocks_per_group.get()).div_ceil(self.ratio())
    }

    /// The cluster of a block, which lies in the groups.
    fn unit(&self, block: u64) -> u64 {
        (block - self.geometry().first_data_block) / self.ratio()
    }

    /// Whether blocks lie in the groups.
    fn is_within(&self, first: BlockNr, count: u64) -> bool {
        let geometry = self.geometry();
        let end = first.0.checked_add(count);
        first.0 >= geometry.first_data_block && end.is_some_and(|end| end <= geometry.block_count)
    }

    /// Blocks of the file system's own. Clusters may hold more than one thing of it, blocks may not.
    fn claim_for_itself(
        &mut self,
        place: Place,
        first: BlockNr,
        count: u64,
        what: &str,
    ) -> Step<bool> {
        if count == 0 {
            return Ok(true);
        }
        let met = self.own_blocks.claim(first.0, count);
        let (from, to) = (self.unit(first.0), self.unit(first.0 + count - 1));
        self.own.claim(from, to - from + 1);
        self.claims.claim(from, to - from + 1);
        if met.count > 0 {
            let what = format!("{what}: {} belong to something else", run(met.first, met.count));
            self.add(FindingKind::Shared, place, what)?;
        }
        Ok(met.count == 0)
    }

    /// Clusters of a file, from `first` on, in the groups; whether they were free.
    fn claim(&mut self, place: Place, first: u64, count: u64) -> Step<bool> {
        let met = self.claims.claim(first, count);
        if met.count == 0 || self.geometry().has(crate::ext::feature::RoCompat::SHARED_BLOCKS) {
            return Ok(met.count == 0);
        }
        let block = met.first * self.ratio() + self.geometry().first_data_block;
        let owner = match self.own.contains(met.first) {
            true => "the file system itself",
            false => "something else",
        };
        let what = format!("{} belong to {owner} already", run(block, met.count * self.ratio()));
        self.add(FindingKind::Shared, place, what)?;
        Ok(false)
    }

    /// The inode as it stands in its table; `None` where it has none that can be read.
    fn raw_inode(&self, nr: u32) -> Result<Option<Inode>> {
        let geometry = self.geometry();
        let Ok((group, index)) = geometry.group_of_inode(InodeNr(nr)) else { return Ok(None) };
        if self.lost_tables.contains(&group.0) {
            return Ok(None);
        }
        let desc = crate::ext::space::group::read_unchecked(self.fs, GroupNr(group.0))?;
        let at = index as usize * geometry.inode_size;
        let block = desc.inode_table().0.checked_add((at / geometry.block_size) as u64);
        let Some(block) = block.map(BlockNr).filter(|&block| self.is_within(block, 1)) else {
            return Ok(None);
        };
        let bytes = self.fs.read_block(block)?;
        let offset = at % geometry.block_size;
        let bytes = bytes[offset..offset + geometry.inode_size].to_vec();
        Ok(Some(Inode::from_bytes(InodeNr(nr), bytes)))
    }

    fn seen(&mut self, nr: u32) -> Option<&mut Seen> {
        let at = self.inodes.binary_search_by_key(&nr, |seen| seen.nr).ok()?;
        self.inodes.get_mut(at)
    }
}

/// `block 7`, `blocks 7 to 9`.
fn run(first: u64, count: u64) -> String {
    match count {
        0 | 1 => format!("block {first}"),
        _ => format!("blocks {first} to {}", first.saturating_add(count - 1)),
    }
}
