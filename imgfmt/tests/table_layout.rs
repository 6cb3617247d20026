//! New tables, against sfdisk, sgdisk and our reader.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use imgfmt::table::{self, Disk, Kind, Layout, PartitionType, Share, Wanted, lay_out};

mod judge;
use judge::{run, sparse_file, text};

const MIB: u64 = 1 << 20;

fn wanted(kind: Kind, name: &str, share: Share) -> Wanted {
    let kind = PartitionType::from_name(kind, name).expect("a known name");
    Wanted { share, kind, label: None, uuid: None, bootable: false }
}

fn disk(kind: Kind, len: Option<u64>, partitions: &[(&str, Share)]) -> Disk {
    let partitions = partitions.iter().map(|&(name, share)| wanted(kind, name, share)).collect();
    Disk { kind, len, id: None, seed: 7, partitions }
}

fn write(layout: &Layout, path: &Path) {
    let file = fs::File::options().write(true).open(path).expect("the image");
    for (offset, bytes) in layout.changes().expect("it is written").iter() {
        file.write_all_at(bytes, offset).expect("a write");
    }
}

#[test]
fn what_is_laid_out_is_what_is_read_and_sgdisk_and_sfdisk_find_no_fault() {
    use Share::{Bytes, Rest};
    let many: Vec<(&str, Share)> = (1..=7).map(|i| ("linux", Bytes(i * 3 * MIB + 1))).collect();
    let mut named = disk(
        Kind::Gpt,
        Some(300 * MIB + 512),
        &[("esp", Bytes(10 * MIB)), ("root", Rest), ("swap", Bytes(5_000_000)), ("home", Bytes(1))],
    );
    named.partitions[1].label = Some("W\u{fc}rzel".into());
    named.partitions[1].bootable = true;
    let mut active = disk(Kind::Gpt, None, &[("linux", Bytes(1)), ("linux", Bytes(1))]);
    active.partitions.iter_mut().for_each(|wanted| wanted.bootable = true);
    for disk in [
        named,
        active,
        disk(Kind::Gpt, Some(64 * MIB), &[("root", Rest)]),
        disk(Kind::Gpt, Some(5 << 40), &[("esp", Bytes(MIB)), ("root", Rest)]),
        disk(Kind::Gpt, None, &many),
        disk(Kind::Gpt, Some(64 * MIB), &[]),
        disk(Kind::Mbr, Some(64 * MIB), &[("linux", Bytes(8 * MIB)), ("swap", Rest)]),
        disk(Kind::Mbr, None, &many[..4]),
        disk(Kind::Mbr, None, &many),
        disk(Kind::Mbr, Some(2 << 40), &[&many[..5], &[("home", Rest)]].concat()),
    ] {
        let layout = lay_out(&disk).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = sparse_file(directory.path(), "disk.img", layout.len);
        write(&layout, &path);
        let read = table::read(&imgfmt::Image::open(&path).unwrap()).unwrap().unwrap();
        let expected = layout.table.clone();
        if disk.kind == Kind::Gpt {
            let verified = run("sgdisk", &["-v", text(&path)]);
            assert!(verified.contains("No problems found"), "{verified}");
        }
        assert_eq!(read, expected);
        let verified = judge::outcome("sfdisk", &["--verify", text(&path)]);
        let said =
            String::from_utf8_lossy(&[verified.stdout, verified.stderr].concat()).into_owned();
        assert!(verified.status.success() && said.contains("No errors detected"), "{said}");
        let json: serde_json::Value =
            serde_json::from_str(&run("sfdisk", &["--json", text(&path)])).unwrap();
        let listed = json["partitiontable"]["partitions"].as_array().cloned().unwrap_or_default();
        let found: Vec<(u64, u64)> = listed
            .iter()
            .map(|p| (p["start"].as_u64().unwrap() * 512, p["size"].as_u64().unwrap() * 512))
            .collect();
        let ours: Vec<(u64, u64)> = expected.partitions.iter().map(|p| (p.start, p.len)).collect();
        assert_eq!(found, ours);
        assert!(expected.partitions.iter().all(|partition| partition.start % MIB == 0));
        // The same list makes the same bytes.
        assert_eq!(lay_out(&disk).unwrap().changes().unwrap(), layout.changes().unwrap());
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    use Share::{Bytes, Rest};
    let gpt = |len, partitions: &[(&str, Share)]| disk(Kind::Gpt, len, partitions);
    let mut label = disk(Kind::Mbr, None, &[("linux", Bytes(1))]);
    label.partitions[0].label = Some("root".into());
    let mut active = disk(Kind::Mbr, None, &[("linux", Bytes(1)), ("linux", Bytes(1))]);
    active.partitions.iter_mut().for_each(|wanted| wanted.bootable = true);
    for (disk, expected) in [
        (
            gpt(Some(8 * MIB), &[("root", Bytes(8 * MIB))]),
            "partitions that need 9454080 bytes, on a disk of 8388608 bytes",
        ),
        (
            gpt(Some(2 * MIB), &[("esp", Bytes(MIB - 20_480)), ("root", Rest)]),
            "partitions that need 2114048 bytes, on a disk of 2097152 bytes",
        ),
        (
            gpt(Some(8 * MIB), &[("root", Rest), ("home", Rest)]),
            "two partitions that take the rest of the disk",
        ),
        (
            gpt(None, &[("root", Rest)]),
            "partition 1 of the list: it takes the rest of a disk that has no length",
        ),
        (gpt(None, &[("root", Bytes(u64::MAX))]), "partitions that no disk is large enough for"),
        (
            gpt(None, &[("root", Bytes(i64::MAX.unsigned_abs() - MIB + 1))]),
            "partitions that no disk is large enough for",
        ),
        (gpt(None, &[("root", Bytes(0))]), "partition 1 of the list: it has no length"),
        (label, "partition 1 of the list: names and UUIDs need a GPT"),
        (active, "2 active partitions; an MBR has one at most"),
        (
            disk(Kind::Mbr, Some(3 << 40), &[("linux", Rest)]),
            "an MBR does not reach to the end of 3298534883328 bytes; a GPT does",
        ),
    ] {
        assert_eq!(lay_out(&disk).unwrap_err().to_string(), expected);
    }
}

#[test]
fn types_have_the_names_that_people_know() {
    for name in PartitionType::names() {
        for kind in [Kind::Gpt, Kind::Mbr] {
            assert!(PartitionType::from_name(kind, name).is_some(), "{name}");
        }
    }
    let gpt = |name| PartitionType::from_name(Kind::Gpt, name);
    assert_eq!(gpt("esp"), gpt("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"));
    assert!(gpt("root").unwrap().is_root() && !gpt("linux").unwrap().is_root());
    assert!(!PartitionType::Mbr(0x83).is_root());
    assert_eq!(PartitionType::from_name(Kind::Mbr, "8e"), Some(PartitionType::Mbr(0x8e)));
    assert_eq!(PartitionType::from_name(Kind::Mbr, "8"), None);
}

#[test]
fn the_root_of_every_processor_that_sfdisk_knows_is_a_root() {
    let list = run("sfdisk", &["--label", "gpt", "--list-types"]);
    let types = list.lines().filter_map(|line| line.trim().split_once("  "));
    let mut roots = 0;
    for (guid, what) in types {
        // The first line is a heading.
        let Some(kind) = PartitionType::from_name(Kind::Gpt, guid) else { continue };
        let is_root = what.trim().starts_with("Linux root (");
        assert_eq!(kind.is_root(), is_root, "{guid} {what}");
        roots += usize::from(is_root);
    }
    assert!(roots >= 15, "{list}");
}

/// `sgdisk -v` does not look at it.
#[test]
fn the_protective_record_covers_what_that_of_sgdisk_covers() {
    for len in [64 * MIB, 5 << 40] {
        let directory = tempfile::tempdir().unwrap();
        let ours = sparse_file(directory.path(), "ours.img", len);
        let theirs = sparse_file(directory.path(), "theirs.img", len);
        write(&lay_out(&disk(Kind::Gpt, Some(len), &[("root", Share::Rest)])).unwrap(), &ours);
        run("sgdisk", &["-n", "1:2048:0", text(&theirs)]);
        // Type, first and count of sectors of the first entry.
        let entry = |path: &Path| {
            let mut bytes = [0; 12];
            fs::File::open(path).unwrap().read_exact_at(&mut bytes, 446 + 4).unwrap();
            (bytes[0], bytes[4..].to_vec())
        };
        assert_eq!(entry(&ours), entry(&theirs));
    }
}
