//! A file system as it is on its volume.
//!
//! Opening reads the superblock and nothing else, whatever the size of the volume, unless the journal has to be replayed:
//! then it reads the log, and every block that has a copy there is read from there. The image stays as it is.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use zerocopy::FromBytes;

use crate::Storage;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::feature::{Compat, Incompat, RoCompat};
use crate::ext::geometry::Geometry;
use crate::ext::journal::{self, Copy, Recovery};
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::superblock::{OFFSET, STATE_ERROR, STATE_VALID, Superblock};
use crate::ext::recall::Recall;
use crate::volume::Volume;

/// An ext2, ext3 or ext4 file system, opened for reading.
pub struct Fs<'a> {
    volume: Volume<'a>,
    geometry: Geometry,
    superblock: Box<Superblock>,
    recovery: Option<Recovery>,
    recall: Recall,
}

/// Which of the family a file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No journal, and nothing that ext4 brought.
    Ext2,
    /// A journal, and nothing that ext4 brought.
    Ext3,
    /// At least one feature that only ext4 knows.
    Ext4,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
        })
    }
}

/// What a superblock (`struct ext4_super_block`) says about its file system, as it is once its journal is replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Which of the family it is, by its features.
    pub kind: Kind,
    /// `s_uuid`; nil where it was never set.
    pub uuid: uuid::Uuid,
    /// `s_volume_name`, without the zeros at its end.
    pub label: Vec<u8>,
    /// Bytes of a block, 1024 to 65536 (`s_log_block_size`).
    pub block_size: u32,
    /// Blocks of the file system (`s_blocks_count_lo`, `s_blocks_count_hi`).
    pub blocks: u64,
    /// Blocks that are free (`s_free_blocks_count_lo`, `s_free_blocks_count_hi`). While it is mounted, and so after a crash,
    /// the kernel leaves this number and the next one old; group descriptors have the true ones.
    pub free_blocks: u64,
    /// Blocks that only the administrator may take (`s_r_blocks_count_lo`, `s_r_blocks_count_hi`).
    pub reserved_blocks: u64,
    /// Inodes of the file system (`s_inodes_count`).
    pub inodes: u32,
    /// Inodes that are free (`s_free_inodes_count`).
    pub free_inodes: u32,
    /// Bytes of an inode (`s_inode_size`; 128 in revision 0).
    pub inode_size: u32,
    /// When it was made, in Unix seconds (`s_mkfs_time`); `None` where that was not noted, as for all times here.
    pub created: Option<i64>,
    /// When it was mounted last (`s_mtime`).
    pub mounted: Option<i64>,
    /// When the superblock was written last (`s_wtime`).
    pub written: Option<i64>,
    /// Mounts since the last check by `e2fsck` (`s_mnt_count`).
    pub mounts: u16,
    /// Where it was mounted last (`s_last_mounted`), without the zeros at its end.
    pub last_mounted: Vec<u8>,
    /// Whether it was unmounted cleanly (`s_state`). With a journal it always says so.
    pub is_unmounted: bool,
    /// Whether the kernel met an error in it (`s_state`).
    pub has_errors: bool,
    /// Every feature that is on (`s_feature_compat`, `s_feature_incompat`, `s_feature_ro_compat`), by the name that
    /// e2fsprogs gives it; an unknown one is `FEATURE_C7`, with C, I or R for its word and the number of its bit.
    pub features: Vec<String>,
}

impl<'a> Fs<'a> {
    /// Open the file system that fills `volume` from its start; what lies behind its last block is ignored.
    ///
    /// # Errors
    /// [`Error::NeedsRecovery`] where the journal would have to be replayed and cannot be, [`Error::Unsupported`] with the
    /// name of every feature that cannot be read, [`Error::Corrupt`] where there is no sound superblock, the volume is
    /// too short for its blocks, or a log that has to be replayed is damaged.
    pub fn open(volume: Volume<'a>) -> Result<Self> {
        let mut bytes = [0; size_of::<Superblock>()];
        volume.read_at(OFFSET, &mut bytes).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Error::corrupt(format!("{} bytes are too few for ext", volume.len()))
            }
            _ => Error::io("ext superblock", e),
        })?;
        let (superblock, geometry) = checked(&bytes, &volume)?;
        let recall = Recall::default();
        let mut fs = Self { volume, geometry, superblock, recovery: None, recall };
        if fs.geometry.features.incompat.contains(Incompat::NEEDS_RECOVERY) {
            fs.replay()?;
        }
        Ok(fs)
    }

    /// See everything as it is once the journal is replayed.
    fn replay(&mut self) -> Result<()> {
        if !self.geometry.features.compat.contains(Compat::HAS_JOURNAL) {
            return Err(Error::corrupt("ext superblock: needs_recovery is on, has_journal is not"));
        }
        if self.superblock.journal_inum.get() == 0 || self.superblock.journal_dev.get() != 0 {
            return Err(Error::NeedsRecovery("it is on another device (external journal)"));
        }
        let block_size = self.geometry.block_size;
        self.recovery = Some(Recovery::new(self, self.volume.len() / block_size as u64)?);
        // What was seen so far was seen without the log.
        self.recall = Recall::default();
        let block = self.read_block(self.geometry.superblock_block())?;
        let offset = if block_size == 1024 { 0 } else { 1024 };
        let (mut superblock, geometry) =
            checked(&block[offset..offset + size_of::<Superblock>()], &self.volume)?;
        drop(block);
        // What the kernel noted of errors went past the journal, and is kept as it is at home.
        superblock.keep_errors_of(&self.superblock);
        (self.superblock, self.geometry) = (superblock, geometry);
        self.check_replayed(block_size)?;
        let recovery = self.recovery.as_ref().expect("made above");
        if let Some(outcome) = recovery.replay_fast_commits(self)? {
            self.recovery.as_mut().expect("made above").set_fast_commits(outcome);
            self.recall = Recall::default();
        }
        Ok(())
    }

    /// The log must not change the shape under which it was read.
    fn check_replayed(&self, block_size: usize) -> Result<()> {
        let (end, recovery) = (self.geometry.block_count, self.recovery());
        let mut outside = recovery.into_iter().flat_map(|r| r.copies(BlockNr(end), u64::MAX));
        if let Some((block, _)) = outside.next() {
            return Err(Error::corrupt(format!(
                "ext journal: block {block} lies past the end of the volume ({end} blocks)"
            )));
        }
        let journal = recovery.and_then(Recovery::superblock).map(|(block, _)| block);
        if self.geometry.block_size != block_size
            || journal.is_some() && journal != Some(journal::superblock_location(self)?)
        {
            return Err(Error::corrupt("ext journal: it moves itself"));
        }
        Ok(())
    }

    /// Whether the journal (`journal_superblock_s`) holds what was not replayed. It is read as if it were replayed, and an edit replays it.
    pub fn needs_recovery(&self) -> bool {
        self.recovery().is_some_and(|recovery| !recovery.is_empty())
    }

    /// What the log holds, where `needs_recovery` is on.
    pub(crate) fn recovery(&self) -> Option<&Recovery> {
        self.recovery.as_ref()
    }

    /// What the superblock says.
    pub fn info(&self) -> Info {
        let geometry = &self.geometry;
        let text =
            |bytes: &[u8]| bytes.split(|&byte| byte == 0).next().unwrap_or_default().to_vec();
        let state = self.superblock.state.get();
        let time = |seconds| Some(seconds).filter(|seconds| *seconds != 0);
        Info {
            kind: kind(geometry),
            uuid: uuid::Uuid::from_bytes(geometry.uuid),
            label: text(&self.superblock.volume_name),
            block_size: u32::try_from(geometry.block_size).expect("64 KiB at most"),
            blocks: geometry.block_count,
            free_blocks: self.superblock.free_blocks_count(geometry.is_wide()),
            reserved_blocks: self.superblock.reserved_blocks_count(geometry.is_wide()),
            inodes: geometry.inode_count,
            free_inodes: self.superblock.free_inodes_count.get(),
            inode_size: u32::try_from(geometry.inode_size).expect("64 KiB at most"),
            created: time(self.superblock.mkfs_time()),
            mounted: time(self.superblock.mtime()),
            written: time(self.superblock.wtime()),
            mounts: self.superblock.mnt_count.get(),
            last_mounted: text(&self.superblock.last_mounted),
            is_unmounted: state & STATE_VALID != 0,
            has_errors: state & STATE_ERROR != 0,
            features: geometry.features.names(),
        }
    }

    /// One block, which is kept for the next who asks.
    pub(crate) fn read_kept(&self, block: BlockNr) -> Result<Rc<[u8]>> {
        self.recall.block(block, || Ok(self.read_block(block)?.into_owned()))
    }

    /// The volume.
    pub(crate) fn volume(&self) -> &Volume<'a> {
        &self.volume
    }

    fn read_at(&self, block: BlockNr, buf: &mut [u8]) -> Result<()> {
        let offset = block.0.checked_mul(self.geometry.block_size as u64);
        let offset = offset.ok_or_else(|| Error::corrupt(format!("block {block}")))?;
        self.volume.read_at(offset, buf).map_err(|e| Error::io(format!("ext block {block}"), e))?;
        let block_size = self.geometry.block_size;
        let count = (buf.len() / block_size) as u64;
        for (home, copy) in self.recovery.iter().flat_map(|r| r.copies(block, count)) {
            let index = usize::try_from(home.0 - block.0).expect("within `buf`");
            let bytes = &mut buf[index * block_size..(index + 1) * block_size];
            match copy {
                Copy::Bytes(changed) => bytes.copy_from_slice(changed),
                Copy::Log { block, is_escaped } => {
                    let read = self.volume.read_at(block.0 * block_size as u64, bytes);
                    read.map_err(|e| Error::io(format!("ext journal: block {block}"), e))?;
                    Copy::restore(is_escaped, bytes);
                }
            }
        }
        Ok(())
    }
}

/// A superblock that is sound, and the shape that it gives.
fn checked(bytes: &[u8], volume: &Volume<'_>) -> Result<(Box<Superblock>, Geometry)> {
    let superblock = Superblock::read_from_bytes(bytes).expect("of that size");
    let geometry = Geometry::new(&superblock, volume.len())?;
    if geometry.has_metadata_csum() && superblock.checksum.get() != checksum::superblock(bytes) {
        return Err(Error::corrupt("ext superblock: checksum is wrong"));
    }
    Ok((Box::new(superblock), geometry))
}

fn kind(geometry: &Geometry) -> Kind {
    let features = geometry.features;
    let old_incompat = Incompat::FILETYPE | Incompat::META_BG | Incompat::NEEDS_RECOVERY;
    let old_ro_compat = RoCompat::SPARSE_SUPER | RoCompat::LARGE_FILE | RoCompat::BTREE_DIR;
    if !old_incompat.contains(features.incompat) || !old_ro_compat.contains(features.ro_compat) {
        return Kind::Ext4;
    }
    match features.compat.contains(Compat::HAS_JOURNAL) {
        true => Kind::Ext3,
        false => Kind::Ext2,
    }
}

impl Blocks for Fs<'_> {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    fn read_block(&self, block: BlockNr) -> Result<Cow<'_, [u8]>> {
        let mut bytes = vec![0; self.geometry.block_size];
        self.read_at(block, &mut bytes)?;
        Ok(bytes.into())
    }

    fn read_run(&self, first: BlockNr, buf: &mut [u8]) -> Result<()> {
        self.read_at(first, buf)
    }

    fn read_part(&self, block: BlockNr, part: Range<usize>) -> Result<Vec<u8>> {
        Ok(self.read_kept(block)?[part].to_vec())
    }

    fn recall(&self) -> Option<&Recall> {
        Some(&self.recall)
    }
}
