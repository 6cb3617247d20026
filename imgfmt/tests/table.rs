//! Partition tables, against those who write them: sfdisk and sgdisk.

use std::fs;
use std::path::Path;

use imgfmt::table::{self, Kind, PartitionType, Table};
use imgfmt::{Error, Image, Storage};

mod judge;
use judge::{run, run_with_input, sparse_file, text};

const MIB: u64 = 1 << 20;

fn read(path: &Path) -> Result<Option<Table>, Error> {
    table::read(&Image::open(path).expect("the image is there"))
}

fn read_bytes(bytes: &[u8]) -> Result<Option<Table>, Error> {
    table::read(&bytes.to_vec())
}

/// What `sfdisk --json` says, a line a partition in our words.
fn sfdisk(path: &Path) -> Vec<String> {
    let listed = run("sfdisk", &["--json", text(path)]);
    let json: serde_json::Value = serde_json::from_str(&listed).expect("sfdisk writes JSON");
    let table = &json["partitiontable"];
    let id = table["id"].as_str().expect("an id").trim_start_matches("0x").to_lowercase();
    let sector = table["sectorsize"].as_u64().unwrap_or(512);
    let mut lines = vec![format!("{} {id} {sector}", table["label"].as_str().expect("a label"))];
    for partition in table["partitions"].as_array().expect("an array") {
        let node = partition["node"].as_str().expect("a node");
        let number: u32 = node.rsplit("img").next().and_then(|n| n.parse().ok()).expect("a number");
        let part_uuid = match partition["uuid"].as_str() {
            Some(uuid) => uuid.to_lowercase(),
            None => format!("{id}-{number:02x}"),
        };
        lines.push(format!(
            "{number} {} {} {} {part_uuid} {:?} {}",
            partition["start"].as_u64().expect("a start") * sector,
            partition["size"].as_u64().expect("a size") * sector,
            partition["type"].as_str().expect("a type").to_lowercase(),
            partition["name"].as_str().unwrap_or_default(),
            partition["bootable"].as_bool().unwrap_or_default(),
        ));
    }
    lines
}

/// The same lines from our table.
fn ours(table: &Table) -> Vec<String> {
    let kind = match table.kind {
        Kind::Mbr => "dos",
        Kind::Gpt => "gpt",
    };
    let mut lines = vec![format!("{kind} {} {}", table.id, table.sector_len)];
    for partition in &table.partitions {
        let kind = match partition.kind {
            PartitionType::Mbr(kind) => format!("{kind:x}"),
            PartitionType::Gpt(kind) => kind.to_string(),
        };
        lines.push(format!(
            "{} {} {} {kind} {} {:?} {}",
            partition.number,
            partition.start,
            partition.len,
            partition.part_uuid,
            partition.label.clone().unwrap_or_default(),
            partition.bootable,
        ));
    }
    lines
}

fn sfdisk_image(directory: &Path, script: &str) -> std::path::PathBuf {
    let path = sparse_file(directory, "disk.img", 64 * MIB);
    run_with_input("sfdisk", &["--quiet", text(&path)], script);
    path
}

const LOGICALS: &str = "label: dos\nlabel-id: 0x8b1a2c3d\n\
    start=2048, size=8192, type=83, bootable\nstart=10240, size=2048, type=82\n\
    start=20480, size=80000, type=f\n\
    start=22528, size=4096, type=83\nstart=30720, size=4096, type=83\nstart=40960, size=4096, type=b\n";

const GPT: &str = "label: gpt\nlabel-id: 0FC63DAF-8483-4772-8E79-3D69D8477DE4\n\
    start=2048, size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=\"EFI system\"\n\
    start=4096, size=60000, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=\"W\u{fc}rzel\", \
    uuid=ABCDEF01-8483-4772-8E79-3D69D8477DE4, attrs=\"LegacyBIOSBootable\"\n";

#[test]
fn an_mbr_with_logical_partitions_is_what_sfdisk_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = sfdisk_image(directory.path(), LOGICALS);
    let table = read(&path).unwrap().unwrap();
    assert_eq!(ours(&table), sfdisk(&path));
    assert_eq!(table.partitions.len(), 6);
    assert_eq!(table.partitions[3].part_uuid, "8b1a2c3d-05");
    assert!(table.warnings.is_empty(), "{:?}", table.warnings);
}

#[test]
fn a_gpt_is_what_sfdisk_and_sgdisk_say() {
    let directory = tempfile::tempdir().unwrap();
    let path = sfdisk_image(directory.path(), GPT);
    let table = read(&path).unwrap().unwrap();
    let mut expected = sfdisk(&path);
    // sfdisk's JSON has the attribute as text of its own.
    assert!(expected[2].ends_with("false"));
    expected[2] = expected[2].replace("false", "true");
    assert_eq!(ours(&table), expected);
    let listed = run("sgdisk", &["-i", "2", text(&path)]);
    let uuid = listed.lines().find_map(|line| line.strip_prefix("Partition unique GUID: "));
    assert_eq!(uuid.map(str::to_lowercase).as_deref(), Some(&*table.partitions[1].part_uuid));
    assert!(table.warnings.is_empty(), "{:?}", table.warnings);
}

#[test]
fn a_gpt_that_sgdisk_made_with_gaps_in_its_numbers_keeps_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "disk.img", 64 * MIB);
    let make = ["-n", "3:2048:+1M", "-n", "128:8192:+8M", "-c", "128:last", text(&path)];
    run("sgdisk", &make);
    let table = read(&path).unwrap().unwrap();
    assert_eq!(ours(&table), sfdisk(&path));
    let numbers: Vec<u32> = table.partitions.iter().map(|partition| partition.number).collect();
    assert_eq!(numbers, [3, 128]);
}

/// sfdisk and sgdisk make such a table on a device only; the crate `gpt` makes one in memory.
#[test]
fn a_gpt_with_sectors_of_4096_bytes_is_read() {
    let sector = gpt::disk::LogicalBlockSize::Lb4096;
    let mut disk = std::io::Cursor::new(vec![0; 64 * MIB as usize]);
    let last = u32::try_from(64 * MIB / 4096 - 1).unwrap();
    gpt::mbr::ProtectiveMBR::with_lb_size(last).overwrite_lba0(&mut disk).unwrap();
    let config = gpt::GptConfig::new().writable(true).logical_block_size(sector);
    let mut made = config.create_from_device(disk, None).unwrap();
    let linux = gpt::partition_types::LINUX_FS;
    made.add_partition("root", 4 * MIB, linux, 0, Some(256)).unwrap();
    let disk = made.write().unwrap().into_inner();
    let table = read_bytes(&disk).unwrap().unwrap();
    assert_eq!((table.sector_len, table.kind), (4096, Kind::Gpt));
    let only = &table.partitions[0];
    assert_eq!((only.start, only.len), (MIB, 4 * MIB));
    assert_eq!(only.label.as_deref(), Some("root"));
    assert!(table.warnings.is_empty(), "{:?}", table.warnings);
}

#[test]
fn a_volume_is_the_window_of_its_partition_and_an_unknown_number_names_those_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = sfdisk_image(directory.path(), LOGICALS);
    let image = Image::open(&path).unwrap();
    let table = table::read(&image).unwrap().unwrap();
    let volume = table.volume(5, &image).unwrap();
    assert_eq!((volume.start(), volume.len()), (22_528 * 512, 4096 * 512));
    let message = |number| table.volume(number, &image).unwrap_err().to_string();
    assert_eq!(message(4), "partition 4 does not exist; the table has 1, 2, 5, 6 and 7");
    assert_eq!(message(3), "partition 3 is an extended partition; the table has 1, 2, 5, 6 and 7");
    drop(image);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(5 * MIB).unwrap();
    let image = Image::open(&path).unwrap();
    let error = table.volume(2, &image).unwrap_err().to_string();
    assert_eq!(
        error,
        "corrupt image: partition 2 ends at byte 6291456, past the end of the image (5242880 bytes)"
    );
}

/// The first sectors of a disk with `LOGICALS`, up to the last record of the chain.
fn logicals() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::read(sfdisk_image(directory.path(), LOGICALS)).expect("sfdisk made it")
}

#[test]
fn each_damage_to_a_chain_of_logical_partitions_has_its_sentence() {
    let good = logicals();
    let table = read_bytes(&good).unwrap().unwrap();
    assert_eq!(table.partitions.len(), 6);
    // sfdisk puts the records one alignment before their partitions; the first is the extended partition's first sector.
    let first = 20_480 * 512;
    let link = 446 + 16 + 8;
    let second =
        first + 512 * u32::from_le_bytes(good[first + link..][..4].try_into().unwrap()) as usize;
    let cases: &[(usize, &[u8], &str)] = &[
        (first + 510, &[0, 0], "extended partition 3: no boot record in sector 20480"),
        (first + link, &[0, 0, 0, 0], "extended partition 3: the chain comes back to sector 20480"),
        (
            second + link,
            &[0, 0, 0, 0],
            "extended partition 3: the chain comes back to sector 20480",
        ),
        (
            first + link,
            &80_000_u32.to_le_bytes(),
            "extended partition 3: the link in sector 20480 leads out of it",
        ),
        (
            first + 446 + 8,
            &[0, 0, 0, 0],
            "extended partition 3: logical partition 5 covers its own record",
        ),
        (first + 446 + 12, &[0xff; 4], "extended partition 3: logical partition 5 leads out of it"),
        // The second primary partition becomes extended too.
        (446 + 16 + 4, &[5], "more than one extended partition"),
        // The extended partition begins past the end of the image, which has 131072 sectors.
        (
            446 + 32 + 8,
            &200_000_u32.to_le_bytes(),
            "extended partition 3: the record in sector 200000 lies past the end of the image",
        ),
    ];
    for (offset, bytes, expected) in cases {
        let mut bad = good.clone();
        bad[*offset..offset + bytes.len()].copy_from_slice(bytes);
        let error = read_bytes(&bad).unwrap_err().to_string();
        assert_eq!(error.replace("MBR: ", ""), format!("corrupt image: {expected}"));
    }
}

#[test]
fn a_chain_of_more_than_124_logical_partitions_is_refused() {
    let mut disk = vec![0; 512 * 600];
    let entry = |kind: u8, first: u32, count: u32| {
        let mut entry = [0; 16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..].copy_from_slice(&count.to_le_bytes());
        entry
    };
    let record = |disk: &mut Vec<u8>, sector: usize, entries: [[u8; 16]; 2]| {
        disk[sector * 512 + 446..][..32].copy_from_slice(entries.as_flattened());
        disk[sector * 512 + 510..][..2].copy_from_slice(&[0x55, 0xaa]);
    };
    record(&mut disk, 0, [entry(5, 1, 599), [0; 16]]);
    for nr in 0..124 {
        let link = entry(5, 2 * nr + 2, 2);
        record(&mut disk, 1 + 2 * nr as usize, [entry(0x83, 1, 1), link]);
    }
    record(&mut disk, 249, [[0; 16], [0; 16]]);
    assert_eq!(read_bytes(&disk).unwrap().unwrap().partitions.len(), 125);
    record(&mut disk, 249, [entry(0x83, 1, 1), [0; 16]]);
    let error = read_bytes(&disk).unwrap_err().to_string();
    assert_eq!(error, "corrupt image: MBR: extended partition 1: more than 128 partitions");
}

fn gpt() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::read(sfdisk_image(directory.path(), GPT)).expect("sfdisk made it")
}

/// Put the right checksum back into the header of 92 bytes at `offset`.
fn seal(disk: &mut [u8], offset: usize) {
    disk[offset + 16..offset + 20].fill(0);
    let checksum = crc32fast::hash(&disk[offset..offset + 92]);
    disk[offset + 16..offset + 20].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn each_bad_field_of_the_first_header_leads_to_the_copy_and_a_warning() {
    let good = gpt();
    let expected = ours(&read_bytes(&good).unwrap().unwrap());
    // Its GUIDs are drawn anew each time, and so the checksum may begin with any byte.
    let flipped = [good[512 + 16] ^ 1];
    let cases: &[(usize, &[u8], bool, &str)] = &[
        (0, b"X", true, "no `EFI PART`"),
        (8, &[0, 0, 2, 0], true, "revision 0x00020000"),
        (12, &[91, 0, 0, 0], true, "header of 91 bytes"),
        (12, &[0xff; 4], true, "header of 4294967295 bytes"),
        (16, &flipped, false, "the checksum does not match"),
        (24, &[2], true, "it says that it stands in sector 2"),
        (40, &[0xff; 8], true, "its first usable sector lies behind the last"),
        (72, &[0xff; 8], true, "its entries lie past the end of the image"),
        (72, &[3], true, "the checksum of its entries does not match"),
        (80, &[0; 4], true, "0 entries, only 1 to 1024 are read"),
        (80, &[0xff; 4], true, "4294967295 entries, only 1 to 1024 are read"),
        (84, &[0; 4], true, "entries of 0 bytes, only 128 are read"),
        (84, &[0, 1], true, "entries of 256 bytes, only 128 are read"),
        (84, &[0xff; 4], true, "entries of 4294967295 bytes, only 128 are read"),
        (88, &[1, 2, 3, 4], true, "the checksum of its entries does not match"),
    ];
    for (field, bytes, sealed, expected_problem) in cases {
        let mut bad = good.clone();
        bad[512 + field..512 + field + bytes.len()].copy_from_slice(bytes);
        if *sealed {
            seal(&mut bad, 512);
        }
        let table = read_bytes(&bad).unwrap().unwrap();
        assert_eq!(ours(&table), expected, "{expected_problem}");
        let problem = format!("header in sector 1 of 512 bytes: {expected_problem}");
        assert_eq!(table.warnings, [format!("the GPT was read from its copy: {problem}")]);
    }
}

#[test]
fn a_bad_copy_is_a_warning_and_two_bad_headers_are_an_error() {
    let mut disk = gpt();
    let copy = disk.len() - 512;
    disk[copy + 16] ^= 1;
    let table = read_bytes(&disk).unwrap().unwrap();
    assert_eq!(table.warnings, ["the GPT copy in sector 131071: the checksum does not match"]);
    let shorter = &disk[..40 * MIB as usize];
    let table = read_bytes(shorter).unwrap().unwrap();
    assert_eq!(
        table.warnings,
        ["the GPT copy in sector 131071: it lies past the end of the image"]
    );
    disk[512 + 56] ^= 1;
    assert_eq!(
        read_bytes(&disk).unwrap_err().to_string(),
        "corrupt image: GPT: header in sector 1 of 512 bytes: the checksum does not match; \
         copy in sector 131071 of 512 bytes: the checksum does not match"
    );
    disk[512] = 0;
    disk[copy] = 0;
    assert_eq!(
        read_bytes(&disk).unwrap_err().to_string(),
        "corrupt image: the MBR announces a GPT, but there is neither header nor copy"
    );
}

#[test]
fn an_entry_that_ends_before_it_begins_is_refused() {
    let mut disk = gpt();
    disk[1024 + 40..1024 + 48].fill(0);
    let checksum = crc32fast::hash(&disk[1024..1024 + 128 * 128]);
    disk[512 + 88..512 + 92].copy_from_slice(&checksum.to_le_bytes());
    seal(&mut disk, 512);
    assert_eq!(
        read_bytes(&disk).unwrap_err().to_string(),
        "corrupt image: GPT: partition 1 from sector 2048 to 0"
    );
}

#[test]
fn a_hybrid_mbr_and_a_gpt_that_is_not_announced_are_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let path = sfdisk_image(directory.path(), GPT);
    run("sgdisk", &["--hybrid=2", text(&path)]);
    let table = read(&path).unwrap().unwrap();
    assert_eq!(table.kind, Kind::Gpt);
    assert_eq!(
        table.warnings,
        ["the MBR has entries of its own beside the GPT (hybrid); the GPT counts"]
    );
    let mut disk = fs::read(&path).unwrap();
    for entry in 0..4 {
        let kind = 446 + 16 * entry + 4;
        if disk[kind] == 0xee {
            disk[kind] = 0x83;
        }
    }
    let table = read_bytes(&disk).unwrap().unwrap();
    assert_eq!(table.kind, Kind::Mbr);
    assert!(table.warnings[0].contains("does not announce it"), "{:?}", table.warnings);
}

#[test]
fn overlapping_partitions_are_warned_of() {
    let mut disk = logicals();
    // The second primary partition begins in the first.
    disk[446 + 16 + 8..446 + 16 + 12].copy_from_slice(&4096_u32.to_le_bytes());
    let table = read_bytes(&disk).unwrap().unwrap();
    assert_eq!(table.warnings, ["partitions 1 and 2 overlap"]);
}

#[test]
fn a_bare_file_system_is_not_a_table() {
    let directory = tempfile::tempdir().unwrap();
    for (name, program, arguments) in [
        ("ext", "mke2fs", &["-q", "-t", "ext4"][..]),
        ("fat12", "mkfs.fat", &["-F12"]),
        ("fat16", "mkfs.fat", &["-F16"]),
        ("fat32", "mkfs.fat", &["-F32"]),
        ("ntfs", "mkfs.ntfs", &["-q", "-F", "-f"]),
        ("exfat", "mkfs.exfat", &[]),
        ("swap", "mkswap", &[]),
    ] {
        let len = if name == "fat12" { 4 } else { 48 } * MIB;
        let path = sparse_file(directory.path(), name, len);
        run(program, &[arguments, &[text(&path)]].concat());
        assert_eq!(read(&path).unwrap(), None, "{name}");
    }
    // A boot loader before an ext superblock: code that ends in the magic, and entries that are none.
    let mut ext = fs::read(directory.path().join("ext")).unwrap();
    ext[..510].fill(0x90);
    ext[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(read_bytes(&ext).unwrap(), None);
    // One that leaves the place of the entries empty.
    ext[446..510].fill(0);
    assert_eq!(read_bytes(&ext).unwrap(), None);
    assert_eq!(read_bytes(&[]).unwrap(), None);
    assert_eq!(read_bytes(&[0; 511]).unwrap(), None);
}

#[test]
fn an_empty_table_on_an_empty_disk_is_a_table() {
    let directory = tempfile::tempdir().unwrap();
    let path = sfdisk_image(directory.path(), "label: dos\nlabel-id: 0x00000001\n");
    let table = read(&path).unwrap().unwrap();
    assert_eq!((table.partitions.len(), &*table.id), (0, "00000001"));
    let image = Image::open(&path).unwrap();
    let error = table.volume(1, &image).unwrap_err().to_string();
    assert_eq!(error, "partition 1 does not exist; the table is empty");
}

#[test]
fn a_boot_loader_with_a_parameter_block_does_not_hide_the_table() {
    let mut disk = logicals();
    let directory = tempfile::tempdir().unwrap();
    let fat = sparse_file(directory.path(), "fat", 8 * MIB);
    run("mkfs.fat", &[text(&fat)]);
    disk[..440].copy_from_slice(&fs::read(&fat).unwrap()[..440]);
    assert_eq!(read_bytes(&disk).unwrap().unwrap().partitions.len(), 6);
}
