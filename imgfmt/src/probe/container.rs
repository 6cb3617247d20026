//! What holds other volumes: LVM, LUKS, and image formats that are not raw.

use std::io::Result;

use super::{Bytes, Kind, Probe, text, u32_at};

pub(super) fn probe(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    for (kind, offset, magic) in [
        (Kind::Qcow2, 0, &b"QFI\xfb"[..]),
        (Kind::Vmdk, 0, b"KDMV"),
        (Kind::Vmdk, 0, b"COWD"),
        (Kind::Vmdk, 0, b"# Disk DescriptorFile"),
        (Kind::Vhd, 0, b"conectix"),
        (Kind::Vhdx, 0, b"vhdxfile"),
        (Kind::Vdi, 64, b"\x7f\x10\xda\xbe"),
    ] {
        if bytes.has(offset, magic)? {
            return Ok(Some(Probe::new(kind)));
        }
    }
    if let Some(found) = luks(bytes)? {
        return Ok(Some(found));
    }
    lvm2(bytes)
}

/// The UUID is text in both versions; version 2 has a label.
fn luks(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    let Some(header) = bytes.read::<208>(0)? else { return Ok(None) };
    if !header.starts_with(b"LUKS\xba\xbe") {
        return Ok(None);
    }
    // Big-endian, unlike all else here.
    let version = u16::from_be_bytes([header[6], header[7]]);
    let label = if version == 2 { text(&header[24..72]) } else { None };
    Ok(Some(Probe { uuid: text(&header[168..208]), label, ..Probe::new(Kind::Luks) }))
}

/// A physical volume of LVM 2. Its label is in one of the first four sectors and says where the UUID is: 32 letters and
/// digits, written in groups of 6, 4, 4, 4, 4, 4 and 6.
fn lvm2(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    for offset in [0, 512, 1024, 1536] {
        let Some(label) = bytes.read::<512>(offset)? else { break };
        if !label.starts_with(b"LABELONE") || label[24..32] != *b"LVM2 001" {
            continue;
        }
        let header = usize::try_from(u32_at(&label, 20)).unwrap_or(usize::MAX);
        let uuid = header.checked_add(32).and_then(|end| label.get(header..end)).and_then(text);
        let mut groups = Vec::new();
        let mut rest = uuid.as_deref().unwrap_or_default();
        for len in [6, 4, 4, 4, 4, 4, 6] {
            let Some((group, after)) = rest.split_at_checked(len) else { break };
            groups.push(group);
            rest = after;
        }
        let uuid = (groups.len() == 7).then(|| groups.join("-"));
        return Ok(Some(Probe { uuid, ..Probe::new(Kind::Lvm2) }));
    }
    Ok(None)
}
