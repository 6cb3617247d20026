//! What is known of an image, as text for people and as JSON for programs.
//!
//! ```text
//! root.img: 64.0 MiB (67108864 bytes)
//! ext4: uuid 6a1d2c3b-…, label `root`
//!   blocks: 65536 of 1024 bytes, 59000 free
//! ```

use imgfmt::ext::check::Report;
use imgfmt::ext::{Info, Pending};
use imgfmt::fat::Space;
use imgfmt::qcow2::{Compression, Header};
use imgfmt::table::{Kind as TableKind, Partition, Table};
use serde_json::{Value, json};

use super::about::{About, ExtAbout, Qcow2About, VolumeAbout};
use super::shown_guest;
use crate::facts::form::Form;
use crate::size::size;
use crate::visible::visible;

/// For people.
pub(super) fn text(about: &About) -> String {
    let form = match about.form {
        Form::Raw => String::new(),
        Form::Compressed(compression) => format!(", {} unpacked", compression.name()),
        Form::Qcow2 => ", qcow2".into(),
    };
    let mut text = format!("{}: {}{form}\n", visible(&about.name), size(about.len));
    if let Some(qcow2) = &about.qcow2 {
        text += &qcow2_text(qcow2);
    }
    if let Some(table) = &about.table {
        text += &format!("partition table: {}, id {}\n", kind(table), visible(&table.id));
        for warning in &table.warnings {
            text += &format!("  warning: {}\n", visible(warning));
        }
    }
    for volume in &about.volumes {
        text += &volume_text(volume);
    }
    text
}

fn qcow2_text(about: &Qcow2About) -> String {
    let Qcow2About { header, file_len, below } = about;
    let mut text = format!(
        "  version {} in a file of {}\n  clusters of {} bytes, {} where compressed\n",
        header.version,
        size(*file_len),
        header.cluster_len(),
        compression(header)
    );
    if header.snapshots > 0 {
        text += &format!("  snapshots: {}, which are not looked at\n", header.snapshots);
    }
    for path in below {
        text += &format!("  over {}\n", visible(&path.to_string_lossy()));
    }
    text
}

fn compression(header: &Header) -> &'static str {
    match header.compression {
        Compression::Zlib => "zlib",
        Compression::Zstd => "zstd",
    }
}

fn volume_text(volume: &VolumeAbout) -> String {
    let mut text = String::new();
    if let Some(partition) = &volume.partition {
        let name = match &partition.label {
            Some(label) => format!(", name `{}`", visible(label)),
            None => String::new(),
        };
        let (number, start) = (partition.number, partition.start);
        text += &format!("partition {number}: {} at byte {start}{name}\n", size(volume.len));
    }
    text += match &volume.probe {
        None => "nothing known".to_owned(),
        Some(probe) => {
            let mut line = probe.kind.name().to_owned();
            if let Some(uuid) = &probe.uuid {
                line += &format!(": uuid {}", visible(uuid));
            }
            if let Some(label) = &probe.label {
                line += &format!(", label `{}`", visible(label));
            }
            line
        }
    }
    .as_str();
    text.push('\n');
    if let Some(ext) = &volume.ext {
        text += &ext_text(ext);
    }
    if let Some(Space { cluster_len, clusters, free }) = volume.fat {
        text += &format!("  clusters: {clusters} of {cluster_len} bytes, {free} free\n");
    }
    if let Some(map) = &volume.map {
        text += map;
    }
    if let Some(about) = &volume.guest {
        text += &shown_guest::text(about);
    }
    if let Some(error) = &volume.error {
        text += &format!("  cannot be read: {}\n", visible(&error.to_string()));
    }
    if let Some(report) = &volume.check {
        text += &check_text(report);
    }
    text
}

fn ext_text(ext: &ExtAbout) -> String {
    let ExtAbout { info, needs_recovery, pending } = ext;
    let mut text = format!(
        "  blocks: {} of {} bytes, {} free",
        info.blocks, info.block_size, info.free_blocks
    );
    if info.reserved_blocks > 0 {
        text += &format!(", {} of them kept for root", info.reserved_blocks.min(info.free_blocks));
    }
    text += &format!(
        "\n  inodes: {} of {} bytes, {} free\n",
        info.inodes, info.inode_size, info.free_inodes
    );
    text += &format!("  features: {}\n", info.features.join(" "));
    text += &format!("  state: {}", state(info));
    if *needs_recovery {
        text += ", the journal has to be replayed";
    }
    match pending {
        Ok(Pending { orphans: 1, .. }) => text += ", 1 orphan inode",
        Ok(pending) if pending.orphans > 0 => {
            text += &format!(", {} orphan inodes", pending.orphans);
        }
        Ok(pending) if pending.is_marked && !pending.has_log => {
            text += ", not unmounted, and the journal is empty";
        }
        Ok(_) => {}
        Err(why) => text += &format!(", orphans cannot be told: {}", visible(why)),
    }
    text.push('\n');
    if let Some(created) = info.created {
        text += &format!("  created: {}\n", time(created));
    }
    if let Some(mounted) = info.mounted {
        text += &format!("  last mounted: {}\n", time(mounted));
    }
    if !info.last_mounted.is_empty() {
        let at = String::from_utf8_lossy(&info.last_mounted).into_owned();
        text += &format!("  last mounted at: {}\n", visible(&at));
    }
    text
}

/// `2026-11-23 22:40:01 UTC`.
fn time(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => format!("{seconds} seconds after 1970"),
    }
}

fn check_text(report: &Report) -> String {
    let verdict = match report.total {
        0 => "clean".to_owned(),
        1 => "1 finding".to_owned(),
        total => format!("{total} findings"),
    };
    let mut text = format!(
        "  check: {verdict} ({} inodes, {} directories, {} blocks in use)\n",
        report.inodes, report.directories, report.blocks
    );
    for finding in &report.findings {
        text += &format!("    {}\n", visible(&finding.to_string()));
    }
    match report.total - report.findings.len() as u64 {
        0 => {}
        more => text += &format!("    and {more} more\n"),
    }
    for what in &report.not_checked {
        text += &format!("  not checked: {}\n", visible(what));
    }
    text
}

fn state(info: &Info) -> &'static str {
    match (info.has_errors, info.is_unmounted) {
        (true, _) => "with errors",
        (false, true) => "clean",
        (false, false) => "not unmounted",
    }
}

fn kind(table: &Table) -> &'static str {
    match table.kind {
        TableKind::Mbr => "mbr",
        TableKind::Gpt => "gpt",
    }
}

/// For programs; its shape is told by `--help`.
pub(super) fn json(about: &About) -> Value {
    let table = about.table.as_ref().map(|table| {
        json!({
            "kind": kind(table),
            "id": table.id,
            "sector_bytes": table.sector_len,
            "warnings": table.warnings,
        })
    });
    json!({
        "image": about.name,
        "bytes": about.len,
        "compression": match about.form {
            Form::Compressed(compression) => Some(compression.name()),
            Form::Raw | Form::Qcow2 => None,
        },
        "qcow2": about.qcow2.as_ref().map(qcow2_json),
        "table": table,
        "volumes": about.volumes.iter().map(volume_json).collect::<Vec<_>>(),
    })
}

fn qcow2_json(about: &Qcow2About) -> Value {
    let Qcow2About { header, file_len, below } = about;
    let backing = header.backing.as_ref();
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    json!({
        "version": header.version,
        "file_bytes": file_len,
        "cluster_bytes": header.cluster_len(),
        "compression": compression(header),
        "snapshots": header.snapshots,
        "backing_file": backing.map(|backing| text(&backing.name)),
        "backing_format": backing.and_then(|backing| backing.format.as_ref()).map(text),
        "backing_paths": below.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
    })
}

fn volume_json(volume: &VolumeAbout) -> Value {
    let partition = volume.partition.as_ref();
    let of = |f: fn(&Partition) -> Value| partition.map_or(Value::Null, f);
    let probe = volume.probe.as_ref();
    json!({
        "partition": of(|partition| partition.number.into()),
        "start": partition.map_or(0, |partition| partition.start),
        "bytes": volume.len,
        "part_uuid": of(|partition| partition.part_uuid.clone().into()),
        "part_label": of(|partition| partition.label.clone().into()),
        "holds": probe.map(|probe| probe.kind.name()),
        "uuid": probe.and_then(|probe| probe.uuid.clone()),
        "label": probe.and_then(|probe| probe.label.clone()),
        "ext": volume.ext.as_ref().map(ext_json),
        "fat": volume.fat.map(fat_json),
        "guest": volume.guest.as_ref().map(shown_guest::json),
        "check": volume.check.as_ref().map(check_json),
        "error": volume.error.as_ref().map(ToString::to_string),
    })
}

fn fat_json(space: Space) -> Value {
    json!({
        "cluster_size": space.cluster_len,
        "clusters": space.clusters,
        "free_clusters": space.free,
    })
}

fn ext_json(ext: &ExtAbout) -> Value {
    let ExtAbout { info, needs_recovery, pending } = ext;
    let last_mounted = (!info.last_mounted.is_empty())
        .then(|| String::from_utf8_lossy(&info.last_mounted).into_owned());
    let has_journal = info.features.iter().any(|feature| feature == "has_journal");
    let journal = match pending {
        _ if !has_journal => None,
        _ if *needs_recovery => Some("replay"),
        Ok(pending) if pending.is_marked => Some("empty"),
        _ => Some("clean"),
    };
    json!({
        "kind": info.kind.to_string(),
        "block_size": info.block_size,
        "blocks": info.blocks,
        "free_blocks": info.free_blocks,
        "reserved_blocks": info.reserved_blocks,
        "inode_size": info.inode_size,
        "inodes": info.inodes,
        "free_inodes": info.free_inodes,
        "features": info.features,
        "state": state(info),
        "needs_recovery": needs_recovery,
        "journal": journal,
        "orphans": pending.as_ref().ok().map(|pending| pending.orphans),
        "created": info.created,
        "mounted": info.mounted,
        "written": info.written,
        "mounts": info.mounts,
        "last_mounted": last_mounted,
    })
}

fn check_json(report: &Report) -> Value {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "kind": finding.kind.name(),
                "place": finding.place.to_string(),
                "what": finding.what,
            })
        })
        .collect();
    json!({
        "clean": report.is_clean(),
        "total": report.total,
        "findings": findings,
        "not_checked": report.not_checked,
        "inodes": report.inodes,
        "directories": report.directories,
        "blocks": report.blocks,
    })
}
