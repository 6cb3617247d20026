//! Linux's own file systems, and swap.

use std::io::Result;

use super::{Bytes, Kind, Probe, array_at, text, u16_at, u32_at, wide_text};

pub(super) fn probe(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    for probe in [ext, xfs, squashfs, erofs, f2fs, btrfs, iso9660, swap] {
        if let Some(found) = probe(bytes)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The ext family. Which of the three it is, the features say: ext2 has no journal, and ext4 has at least one feature
/// that ext3 does not know.
fn ext(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    const HAS_JOURNAL: u32 = 0x4;
    const RECOVER: u32 = 0x4;
    const JOURNAL_DEVICE: u32 = 0x8;
    // filetype, recover, meta_bg; sparse_super, large_file, btree_dir.
    const EXT3_INCOMPAT: u32 = 0x2 | RECOVER | 0x10;
    const EXT3_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;

    let Some(superblock) = bytes.read::<1024>(1024)? else { return Ok(None) };
    if superblock[56..58] != [0x53, 0xef] {
        return Ok(None);
    }
    let [compat, incompat, ro_compat] = [0x5c, 0x60, 0x64].map(|at| u32_at(&superblock, at));
    let kind = if incompat & JOURNAL_DEVICE != 0 {
        Kind::Jbd
    } else if incompat & !EXT3_INCOMPAT != 0 || ro_compat & !EXT3_RO_COMPAT != 0 {
        Kind::Ext4
    } else if compat & HAS_JOURNAL != 0 {
        Kind::Ext3
    } else {
        Kind::Ext2
    };
    let probe =
        Probe::new(kind).with_uuid(array_at(&superblock, 0x68)).with_label(&superblock[0x78..0x88]);
    Ok(Some(Probe { needs_recovery: incompat & RECOVER != 0, ..probe }))
}

fn xfs(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    let Some(superblock) = bytes.read::<512>(0)? else { return Ok(None) };
    Ok(superblock.starts_with(b"XFSB").then(|| {
        Probe::new(Kind::Xfs).with_uuid(array_at(&superblock, 32)).with_label(&superblock[108..120])
    }))
}

fn squashfs(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    let Some(superblock) = bytes.read::<96>(0)? else { return Ok(None) };
    // Version 3 had the same magic, and another layout.
    let version = u16_at(&superblock, 28);
    Ok((superblock.starts_with(b"hsqs") && version >= 4).then(|| Probe::new(Kind::Squashfs)))
}

fn erofs(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    let Some(superblock) = bytes.read::<128>(1024)? else { return Ok(None) };
    Ok(superblock.starts_with(&[0xe2, 0xe1, 0xf5, 0xe0]).then(|| {
        Probe::new(Kind::Erofs).with_uuid(array_at(&superblock, 48)).with_label(&superblock[64..80])
    }))
}

fn f2fs(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    let Some(superblock) = bytes.read::<1148>(1024)? else { return Ok(None) };
    Ok(superblock.starts_with(&[0x10, 0x20, 0xf5, 0xf2]).then(|| Probe {
        label: wide_text(&superblock[124..1148]),
        ..Probe::new(Kind::F2fs).with_uuid(array_at(&superblock, 108))
    }))
}

fn btrfs(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    let Some(superblock) = bytes.read::<1024>(65_536)? else { return Ok(None) };
    Ok((superblock[64..72] == *b"_BHRfS_M").then(|| {
        Probe::new(Kind::Btrfs)
            .with_uuid(array_at(&superblock, 32))
            .with_label(&superblock[299..555])
    }))
}

/// A CD: the UUID is the time of the last change, or of the making, `2026-11-23-13-45-00-00`.
fn iso9660(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    let Some(descriptor) = bytes.read::<2048>(32_768)? else { return Ok(None) };
    if descriptor[1..6] != *b"CD001" {
        return Ok(None);
    }
    let [created, modified] = [813, 830].map(|at| &descriptor[at..at + 16]);
    let is_set = |time: &[u8]| time.iter().any(|digit| !matches!(digit, 0 | b'0' | b' '));
    let uuid = [modified, created].into_iter().find(|time| is_set(time)).and_then(|time| {
        let time = std::str::from_utf8(time).ok()?;
        let year = time.get(..4)?;
        let rest: Vec<&str> =
            (4..16).step_by(2).map(|at| time.get(at..at + 2)).collect::<Option<_>>()?;
        Some(format!("{year}-{}", rest.join("-")))
    });
    Ok(Some(Probe { uuid, label: text(&descriptor[40..72]), ..Probe::new(Kind::Iso9660) }))
}

/// Swap: the magic ends the first page, of which there are several sizes. The same place says whether a system sleeps in
/// it.
fn swap(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    for page in [4096, 8192, 16_384, 32_768, 65_536] {
        let Some(magic) = bytes.read::<10>(page - 10)? else { continue };
        let kind = match &magic {
            b"SWAPSPACE2" | b"SWAP-SPACE" => Kind::Swap,
            b"S1SUSPEND\0" | b"S2SUSPEND\0" | b"ULSUSPEND\0" | b"LINHIB0001" => Kind::Suspended,
            _ => continue,
        };
        let Some(header) = bytes.read::<48>(1024)? else { continue };
        // The first format, from before 2.2, has no names.
        return Ok(Some(if magic == *b"SWAP-SPACE" {
            Probe::new(kind)
        } else {
            Probe::new(kind).with_uuid(array_at(&header, 12)).with_label(&header[28..44])
        }));
    }
    Ok(None)
}
