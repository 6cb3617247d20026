//! Where the metadata of a fixture lies, found by a reader of its own: what a mutation should aim at.
//!
//! The fixture is sound, so this reader trusts it. What the log of a dirty one holds a copy of is listed twice: at home
//! and in the log, where a change to it counts.

use imgfmt::Storage;

use super::image::Image;

/// What a piece of metadata is, which decides how its checksum is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The primary superblock.
    Superblock,
    /// The descriptor of a group.
    Group(u32),
    /// The block bitmap of a group.
    BlockBitmap(u32),
    /// The inode bitmap of a group.
    InodeBitmap(u32),
    /// An inode in use.
    Inode(u32),
    /// A block of the extent tree of an inode.
    Extents(u32),
    /// A block of block numbers.
    Indirect,
    /// A block of entries, of the directory that the inode is.
    Leaf(u32),
    /// The first block of a hashed directory.
    DxRoot(u32),
    /// An inner block of a hashed directory.
    DxNode(u32),
    /// A block of attributes.
    Xattrs,
    /// A block of the log that is the log's own.
    Log,
}

/// A piece of metadata.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// What it is.
    pub(crate) kind: Kind,
    /// Where it lies, in bytes.
    pub(crate) at: u64,
    /// Its length in bytes.
    pub(crate) len: usize,
    /// The block where it belongs, though it may lie in the log.
    pub(crate) home: u64,
}

/// The shape of a fixture, and its metadata.
pub(crate) struct Layout {
    /// Bytes of a block.
    pub(crate) block_size: usize,
    /// Blocks of a group.
    pub(crate) blocks_per_group: u32,
    /// Bits of a block bitmap: clusters, which are blocks but with `bigalloc`.
    pub(crate) clusters_per_group: u32,
    /// Inodes of a group.
    pub(crate) inodes_per_group: u32,
    /// Bytes of a descriptor.
    pub(crate) desc_size: usize,
    /// Bytes of an inode.
    pub(crate) inode_size: usize,
    /// Whether a block of descriptors lies with the groups that it describes.
    meta_bg: bool,
    /// Whether all metadata has checksums.
    pub(crate) metadata_csum: bool,
    /// Where the inode table of each group begins, in blocks.
    pub(crate) tables: Vec<u64>,
    /// The blocks of the log, in order.
    pub(crate) log: Vec<u64>,
    /// The metadata, grouped by kind.
    pub(crate) targets: Vec<Vec<Target>>,
}

impl Layout {
    /// Find it all.
    pub(crate) fn new(image: &Image<'_>) -> Self {
        let sb = image.get(1024, 1024);
        let word = |at: usize| u32::from_le_bytes(sb[at..at + 4].try_into().expect("four bytes"));
        let short = |at: usize| u16::from_le_bytes(sb[at..at + 2].try_into().expect("two bytes"));
        let wide = word(0x60) & 0x80 != 0;
        let mut layout = Self {
            block_size: 1024 << word(0x18),
            blocks_per_group: word(0x20),
            clusters_per_group: word(0x24),
            inodes_per_group: word(0x28),
            desc_size: if wide { usize::from(short(0xFE)) } else { 32 },
            inode_size: if word(0x4C) == 0 { 128 } else { usize::from(short(0x58)) },
            meta_bg: word(0x60) & 0x10 != 0,
            metadata_csum: word(0x64) & 0x400 != 0,
            tables: Vec::new(),
            log: Vec::new(),
            targets: Vec::new(),
        };
        let home = u64::from(layout.block_size == 1024);
        let mut all = vec![Target { kind: Kind::Superblock, at: 1024, len: 1024, home }];
        let blocks = image.len() / layout.block_size as u64 - u64::from(word(0x14));
        let groups = u32::try_from(blocks.div_ceil(layout.blocks_per_group.into())).expect("few");
        for group in 0..groups {
            layout.group(image, group, &mut all);
        }
        for group in 0..groups {
            for index in 0..layout.inodes_per_group {
                layout.inode(image, group * layout.inodes_per_group + index + 1, &mut all);
            }
        }
        layout.add_log(image, &mut all);
        all.sort_by_key(|target| target.kind);
        let same = |a: &Target, b: &Target| {
            std::mem::discriminant(&a.kind) == std::mem::discriminant(&b.kind)
        };
        layout.targets = all.chunk_by(same).map(<[Target]>::to_vec).collect();
        layout
    }

    /// Whether it lies in the log and not at home.
    pub(crate) fn is_copy(&self, target: Target) -> bool {
        target.at / self.block_size as u64 != target.home
    }

    /// Where the descriptor of a group lies, in bytes.
    pub(crate) fn group_at(&self, group: u32) -> u64 {
        let first = if self.block_size == 1024 { 2 } else { 1 };
        let groups = self.block_size / self.desc_size;
        let (nth, index) = (group as usize / groups, group as usize % groups);
        let block = match self.meta_bg && nth > 0 {
            // The first block of those groups: the first of them has no copy of the superblock.
            true => nth * groups * self.blocks_per_group as usize + first - 1,
            false => first + nth,
        };
        (block * self.block_size + index * self.desc_size) as u64
    }

    /// Where an inode lies, in bytes.
    pub(crate) fn inode_at(&self, nr: u32) -> u64 {
        let (group, index) = ((nr - 1) / self.inodes_per_group, (nr - 1) % self.inodes_per_group);
        self.tables[group as usize] * self.block_size as u64
            + u64::from(index) * self.inode_size as u64
    }

    fn block(&self, kind: Kind, block: u64) -> Target {
        let len = self.block_size;
        Target { kind, at: block * len as u64, len, home: block }
    }

    fn group(&mut self, image: &Image<'_>, group: u32, all: &mut Vec<Target>) {
        let (at, len) = (self.group_at(group), self.desc_size);
        let home = at / self.block_size as u64;
        all.push(Target { kind: Kind::Group(group), at, len, home });
        let desc = image.get(at, len);
        let block = |at: usize| u64::from(word(&desc, at));
        // Bitmaps that were never written (BLOCK_UNINIT, INODE_UNINIT) hold nothing to be changed.
        if desc[0x12] & 2 == 0 {
            all.push(self.block(Kind::BlockBitmap(group), block(0)));
        }
        if desc[0x12] & 1 == 0 {
            all.push(self.block(Kind::InodeBitmap(group), block(4)));
        }
        self.tables.push(block(8));
    }

    fn inode(&mut self, image: &Image<'_>, nr: u32, all: &mut Vec<Target>) {
        let (at, len) = (self.inode_at(nr), self.inode_size);
        let inode = image.get(at, len);
        let mode = u16::from_le_bytes([inode[0], inode[1]]);
        // The resize inode (7) maps what is counted among the descriptors.
        if mode == 0 || word(&inode, 0x14) != 0 || nr == 7 {
            return;
        }
        let home = at / self.block_size as u64;
        all.push(Target { kind: Kind::Inode(nr), at, len, home });
        let flags = word(&inode, 0x20);
        let fast_link = mode >> 12 == 0xA && word(&inode, 4) < 60;
        let mut data = Vec::new();
        if flags & 0x1000_0000 != 0 {
            // Inline: all of it is in the inode.
        } else if flags & 0x80000 != 0 {
            self.extents(image, nr, &inode[0x28..0x64], all, &mut data);
        } else if !fast_link && matches!(mode >> 12, 4 | 8 | 0xA) {
            (0..12).for_each(|i| data.push(word(&inode, 0x28 + 4 * i).into()));
            for depth in 1..=3 {
                let block = word(&inode, 0x28 + 4 * (11 + depth)).into();
                self.indirect(image, block, depth, all, &mut data);
            }
        }
        if word(&inode, 0x68) != 0 {
            all.push(self.block(Kind::Xattrs, word(&inode, 0x68).into()));
        }
        if nr == 8 {
            self.log = data.into_iter().filter(|&block| block != 0).collect();
        } else if mode >> 12 == 4 {
            let hashed = flags & 0x1000 != 0;
            for (lblk, block) in data.into_iter().enumerate().filter(|&(_, block)| block != 0) {
                let first = image.get(block * self.block_size as u64, 8);
                let is_node = word(&first, 0) == 0
                    && usize::from(first[4]) | usize::from(first[5]) << 8 == self.block_size;
                let kind = match (hashed, lblk) {
                    (true, 0) => Kind::DxRoot(nr),
                    (true, _) if is_node => Kind::DxNode(nr),
                    _ => Kind::Leaf(nr),
                };
                all.push(self.block(kind, block));
            }
        }
    }

    fn extents(
        &self,
        image: &Image<'_>,
        nr: u32,
        node: &[u8],
        all: &mut Vec<Target>,
        data: &mut Vec<u64>,
    ) {
        let (count, depth) = (usize::from(node[2]) | usize::from(node[3]) << 8, node[6]);
        for entry in node[12..].chunks_exact(12).take(count) {
            if depth == 0 {
                let start = u64::from(word(entry, 8));
                let len = u64::from(word(entry, 4) & 0x7FFF);
                data.extend(start..start + len);
            } else {
                let block = self.block(Kind::Extents(nr), word(entry, 4).into());
                all.push(block);
                self.extents(image, nr, &image.get(block.at, block.len), all, data);
            }
        }
    }

    fn indirect(
        &self,
        image: &Image<'_>,
        block: u64,
        depth: usize,
        all: &mut Vec<Target>,
        data: &mut Vec<u64>,
    ) {
        if depth == 0 || block == 0 {
            data.push(block);
            return;
        }
        let target = self.block(Kind::Indirect, block);
        all.push(target);
        for entry in image.get(target.at, target.len).chunks_exact(4) {
            self.indirect(image, word(entry, 0).into(), depth - 1, all, data);
        }
    }

    /// The log's own blocks, and the metadata whose copies it holds.
    fn add_log(&self, image: &Image<'_>, all: &mut Vec<Target>) {
        let at_home = all.clone();
        for &block in &self.log {
            let header = image.get(block * self.block_size as u64, 4);
            if header == super::seal::LOG_MAGIC {
                all.push(self.block(Kind::Log, block));
            }
        }
        for tag in super::seal::log_tags(image, self) {
            let len = self.block_size as u64;
            let (from, to) = (tag.home * len, tag.copy * len);
            let inside = at_home.iter().filter(|t| (from..from + len).contains(&t.at));
            all.extend(inside.map(|t| Target { at: to + (t.at - from), home: tag.home, ..*t }));
        }
    }
}

/// Four bytes of a structure of ext.
pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
