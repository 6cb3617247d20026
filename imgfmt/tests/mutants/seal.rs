//! Checksums made right again, so that a lie gets behind them.
//!
//! Written for itself, by the kernel's documentation, and not with what the engine has: else the two could be wrong
//! together. Only CRC-32C is made anew; the descriptors' CRC-16 of `uninit_bg` is left wrong.

use super::image::Image;
use super::layout::{Kind, Layout, Target, word};

/// `h_magic`, as it begins each of the log's own blocks.
pub(crate) const LOG_MAGIC: [u8; 4] = [0xC0, 0x3B, 0x39, 0x98];

/// A copy in the log, and where it belongs; both in blocks.
pub(crate) struct LogTag {
    /// Where it lies.
    pub(crate) copy: u64,
    /// Where it belongs.
    pub(crate) home: u64,
}

/// Make the checksum over `target` right, and those over that.
pub(crate) fn seal(image: &mut Image<'_>, layout: &Layout, target: Target) {
    let bitmap = matches!(target.kind, Kind::BlockBitmap(_) | Kind::InodeBitmap(_));
    // The checksum of a bitmap's copy in the log is in the descriptor's copy, which is hard to find.
    if layout.metadata_csum && !(bitmap && layout.is_copy(target)) {
        seal_one(image, layout, target);
    }
}

fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

fn seal_one(image: &mut Image<'_>, layout: &Layout, target: Target) {
    let sb = image.get(1024, 1024);
    let seed = match word(&sb, 0x60) & 0x2000 {
        0 => crc(!0, &sb[0x68..0x78]),
        _ => word(&sb, 0x270),
    };
    let mut bytes = image.get(target.at, target.len);
    match target.kind {
        Kind::Superblock => {
            let sum = crc(!0, &bytes[..0x3FC]);
            image.set(target.at + 0x3FC, &sum.to_le_bytes());
        }
        Kind::Group(group) => {
            bytes[0x1E..0x20].fill(0);
            let sum = crc(crc(seed, &group.to_le_bytes()), &bytes);
            image.set(target.at + 0x1E, &sum.to_le_bytes()[..2]);
        }
        Kind::BlockBitmap(group) => {
            let sum = crc(seed, &bytes[..layout.clusters_per_group as usize / 8]);
            seal_bitmap(image, layout, group, (0x18, 0x38), sum);
        }
        Kind::InodeBitmap(group) => {
            let sum = crc(seed, &bytes[..layout.inodes_per_group as usize / 8]);
            seal_bitmap(image, layout, group, (0x1A, 0x3A), sum);
        }
        Kind::Inode(nr) => {
            let high = bytes.len() > 128 && bytes[0x80] >= 4;
            bytes[0x7C..0x7E].fill(0);
            if high {
                bytes[0x82..0x84].fill(0);
            }
            let sum = crc(inode_seed(seed, nr, &bytes), &bytes).to_le_bytes();
            image.set(target.at + 0x7C, &sum[..2]);
            if high {
                image.set(target.at + 0x82, &sum[2..]);
            }
        }
        Kind::Extents(nr) => {
            let tail = 12 + 12 * (usize::from(bytes[4]) | usize::from(bytes[5]) << 8);
            if tail + 4 <= bytes.len() {
                let sum = crc(owner_seed(image, layout, seed, nr), &bytes[..tail]);
                image.set(target.at + tail as u64, &sum.to_le_bytes());
            }
        }
        Kind::Leaf(nr) => {
            let end = bytes.len() - 12;
            let sum = crc(owner_seed(image, layout, seed, nr), &bytes[..end]);
            image.set(target.at + end as u64 + 8, &sum.to_le_bytes());
        }
        Kind::DxRoot(nr) => seal_dx(image, layout, target, owner_seed(image, layout, seed, nr), 32),
        Kind::DxNode(nr) => seal_dx(image, layout, target, owner_seed(image, layout, seed, nr), 8),
        Kind::Xattrs => {
            bytes[16..20].fill(0);
            let sum = crc(crc(seed, &target.home.to_le_bytes()), &bytes);
            image.set(target.at + 16, &sum.to_le_bytes());
        }
        Kind::Indirect | Kind::Log => {}
    }
}

fn inode_seed(seed: u32, nr: u32, inode: &[u8]) -> u32 {
    crc(crc(seed, &nr.to_le_bytes()), &inode[0x64..0x68])
}

fn owner_seed(image: &Image<'_>, layout: &Layout, seed: u32, nr: u32) -> u32 {
    inode_seed(seed, nr, &image.get(layout.inode_at(nr), 128))
}

fn seal_bitmap(image: &mut Image<'_>, layout: &Layout, group: u32, at: (u64, u64), sum: u32) {
    let (desc, sum) = (layout.group_at(group), sum.to_le_bytes());
    image.set(desc + at.0, &sum[..2]);
    if layout.desc_size >= 64 {
        image.set(desc + at.1, &sum[2..]);
    }
    let kind = Kind::Group(group);
    seal_one(image, layout, Target { kind, at: desc, len: layout.desc_size, home: 0 });
}

fn seal_dx(image: &mut Image<'_>, layout: &Layout, target: Target, seed: u32, entries: usize) {
    let mut bytes = image.get(target.at, target.len);
    let short = |at: usize| usize::from(bytes[at]) | usize::from(bytes[at + 1]) << 8;
    let (limit, count) = (short(entries), short(entries + 2));
    let tail = entries + limit * 8;
    if count <= limit && tail + 8 <= layout.block_size {
        bytes[tail + 4..tail + 8].fill(0);
        let sum = crc(crc(seed, &bytes[..entries + count * 8]), &bytes[tail..tail + 8]);
        image.set(target.at + tail as u64 + 4, &sum.to_le_bytes());
    }
}

/// The journal superblock: features, where the ring begins and ends, and the seed of its checksums.
struct Log {
    incompat: u32,
    first: usize,
    seed: u32,
}

impl Log {
    fn new(image: &Image<'_>, layout: &Layout) -> Option<Self> {
        let sb = image.get(layout.log.first()? * layout.block_size as u64, 1024);
        Some(Self {
            incompat: big(&sb, 0x28),
            first: usize::try_from(big(&sb, 0x14)).expect("small"),
            seed: crc(!0, &sb[0x30..0x40]),
        })
    }

    fn has_crc(&self) -> bool {
        self.incompat & 0x18 != 0
    }

    fn is_v3(&self) -> bool {
        self.incompat & 0x10 != 0
    }

    fn is_wide(&self) -> bool {
        self.incompat & 2 != 0
    }

    /// Where each tag of a descriptor begins, and the block that it names.
    fn tags(&self, block: &[u8]) -> Vec<(usize, u64)> {
        let len = match (self.is_v3(), self.has_crc(), self.is_wide()) {
            (true, ..) => 16,
            (_, true, true) => 14,
            (_, true, false) => 10,
            (_, false, true) => 12,
            (_, false, false) => 8,
        };
        let end = block.len() - if self.has_crc() { 4 } else { 0 };
        let (mut tags, mut at) = (Vec::new(), 12);
        while at + len <= end {
            let high = if self.is_wide() { u64::from(big(block, at + 8)) << 32 } else { 0 };
            tags.push((at, high | u64::from(big(block, at))));
            let flags = block[at + 7];
            at += len + if flags & 2 == 0 { 16 } else { 0 };
            if flags & 8 != 0 {
                break;
            }
        }
        tags
    }
}

fn big(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// What the log holds copies of, stale transactions too.
pub(crate) fn log_tags(image: &Image<'_>, layout: &Layout) -> Vec<LogTag> {
    let Some(log) = Log::new(image, layout) else { return Vec::new() };
    let mut all = Vec::new();
    for (index, block) in descriptors(image, layout, &log) {
        for (nth, (_, home)) in log.tags(&block).into_iter().enumerate() {
            if let Some(&copy) = layout.log.get(index + 1 + nth) {
                all.push(LogTag { copy, home });
            }
        }
    }
    all
}

fn descriptors(image: &Image<'_>, layout: &Layout, log: &Log) -> Vec<(usize, Vec<u8>)> {
    let mut all = Vec::new();
    for (index, &block) in layout.log.iter().enumerate().skip(log.first) {
        let at = block * layout.block_size as u64;
        let header = image.get(at, 12);
        if header[..4] == LOG_MAGIC && big(&header, 4) == 1 {
            all.push((index, image.get(at, layout.block_size)));
        }
    }
    all
}

/// Make all checksums of the log right.
pub(crate) fn seal_log(image: &mut Image<'_>, layout: &Layout) {
    let Some(log) = Log::new(image, layout) else { return };
    let block_size = layout.block_size as u64;
    if !log.has_crc() {
        return;
    }
    for (index, block) in descriptors(image, layout, &log) {
        for (nth, (at, _)) in log.tags(&block).into_iter().enumerate() {
            let Some(copy) = layout.log.get(index + 1 + nth) else { continue };
            let copy = image.get(copy * block_size, layout.block_size);
            let sum = crc(crc(log.seed, &block[8..12]), &copy);
            let tag = layout.log[index] * block_size + at as u64;
            match log.is_v3() {
                true => image.set(tag + 12, &sum.to_be_bytes()),
                false => image.set(tag + 4, &sum.to_be_bytes()[2..]),
            }
        }
    }
    for (index, &block) in layout.log.iter().enumerate() {
        let mut bytes = image.get(block * block_size, layout.block_size);
        // Descriptors (1) and revoke blocks (5) have it at their end, commit blocks (2) behind type and size.
        let at = match (bytes[..4] == LOG_MAGIC, index, big(&bytes, 4)) {
            (true, 0, 3 | 4) => {
                bytes.truncate(1024);
                0xFC
            }
            (true, _, 1 | 5) => layout.block_size - 4,
            (true, _, 2) => 16,
            _ => continue,
        };
        bytes[at..at + 4].fill(0);
        let seed = if index == 0 { !0 } else { log.seed };
        let sum = crc(seed, &bytes);
        image.set(block * block_size + at as u64, &sum.to_be_bytes());
    }
}
