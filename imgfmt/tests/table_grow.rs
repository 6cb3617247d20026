//! The last partition gets longer, against sfdisk, sgdisk and our reader.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use imgfmt::in_place::Disk;
use imgfmt::table::{self, Table};
use imgfmt::{Image, ImageMut, Result, Storage};

mod judge;
use judge::{outcome, run, run_with_input, sparse_file, text};

const MIB: u64 = 1 << 20;

const GPT: &str = "label: gpt\nlabel-id: 0FC63DAF-8483-4772-8E79-3D69D8477DE4\n\
    start=2048, size=2048, type=U, name=\"esp\"\n\
    start=4096, size=60000, type=L, name=\"root\", attrs=\"LegacyBIOSBootable\"\n";

const MBR: &str = "label: dos\nlabel-id: 0x8b1a2c3d\n\
    start=2048, size=8192, type=83, bootable\nstart=10240, size=20000, type=83\n";

const LOGICALS: &str = "label: dos\nlabel-id: 0x8b1a2c3d\n\
    start=2048, size=8192, type=83, bootable\n\
    start=20480, size=80000, type=f\n\
    start=22528, size=4096, type=83\nstart=30720, size=4096, type=83\n";

fn image(directory: &Path, script: &str) -> std::path::PathBuf {
    let path = sparse_file(directory, "disk.img", 64 * MIB);
    run_with_input("sfdisk", &["--quiet", text(&path)], script);
    path
}

fn set_len(path: &Path, len: u64) {
    fs::File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_len(len))
        .expect("a length");
}

fn read(path: &Path) -> Table {
    let image = Image::open(path).expect("the image");
    table::read(&image).expect("a sound table").expect("a table")
}

fn grow(path: &Path, number: u32) {
    let mut image = ImageMut::open(path).expect("the image");
    let enlarged = table::enlarge(&image, number).expect("it can grow").expect("there is room");
    image.commit_in_place(&enlarged.in_place()).expect("it is written");
}

/// sgdisk and sfdisk find nothing wrong.
fn judge(path: &Path, is_gpt: bool) {
    if is_gpt {
        let said = run("sgdisk", &["-v", text(path)]);
        assert!(said.contains("No problems found"), "{said}");
    }
    let output = outcome("sfdisk", &["--verify", text(path)]);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && said.contains("No errors detected"), "{said}");
}

/// `sfdisk -d`, without what is meant to change.
fn dumped(path: &Path) -> Vec<String> {
    let all = run("sfdisk", &["-d", text(path)]);
    let kept = |line: &&str| !line.starts_with("last-lba") && !line.starts_with("device");
    all.lines().filter(kept).map(str::to_owned).collect()
}

#[test]
fn the_last_partition_reaches_the_new_end_and_nothing_else_changes() {
    // A GPT ends in 33 sectors; the partition ends at a multiple of 4096 bytes before them.
    for (script, number, is_gpt, spare) in
        [(GPT, 2, true, 33 * 512), (MBR, 2, false, 0), (LOGICALS, 6, false, 0)]
    {
        let directory = tempfile::tempdir().unwrap();
        let path = image(directory.path(), script);
        let (before, dump) = (read(&path), dumped(&path));
        // Within the image first, then to terabytes.
        for len in [64 * MIB, 100 * MIB + 512, 1 << 40] {
            set_len(&path, len);
            let told = table::enlarge(&Image::open(&path).unwrap(), number).unwrap().expect("room");
            grow(&path, number);
            judge(&path, is_gpt);
            let after = read(&path);
            let enlarged =
                after.partitions.iter().find(|is| is.number == number).expect("it is there");
            assert_eq!(told.len, enlarged.len);
            assert!(after.warnings.is_empty(), "{:?}", after.warnings);
            for (was, is) in before.partitions.iter().zip(&after.partitions) {
                assert_eq!(
                    (was.start, &was.part_uuid, was.kind),
                    (is.start, &is.part_uuid, is.kind)
                );
                assert_eq!((&was.label, was.bootable), (&is.label, is.bootable));
                match is.number == number || is.is_extended() {
                    true => assert_eq!(is.start + is.len, (len - spare) / 4096 * 4096, "{script}"),
                    false => assert_eq!(was.len, is.len),
                }
            }
            let without_size = |lines: &[String]| -> Vec<String> {
                let size = |line: &String| match line.split_once("size=") {
                    Some((start, rest)) => format!("{start}{}", rest.split_once(',').unwrap().1),
                    None => line.clone(),
                };
                lines.iter().map(size).collect()
            };
            assert_eq!(without_size(&dumped(&path)), without_size(&dump), "{script}");
            let image = Image::open(&path).unwrap();
            assert_eq!(table::enlarge(&image, number).unwrap(), None, "{script}");
        }
    }
}

#[test]
fn the_kernel_finds_the_partitions_where_they_are() {
    for (script, number) in [(GPT, 2), (MBR, 2), (LOGICALS, 6)] {
        let directory = tempfile::tempdir().unwrap();
        let path = image(directory.path(), script);
        set_len(&path, 300 * MIB);
        grow(&path, number);
        // partx reads the table as the kernel's scan does, without a device.
        let listed =
            run("partx", &["--show", "--noheadings", "-o", "NR,START,SECTORS", text(&path)]);
        let table = read(&path);
        for partition in table.partitions.iter().filter(|partition| !partition.is_extended()) {
            let (start, count) = (partition.start / 512, partition.len / 512);
            let expected = format!("{} {start} {count}", partition.number);
            let found = listed
                .lines()
                .any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") == expected);
            assert!(found, "{expected} in {listed}");
        }
    }
}

#[test]
fn a_gpt_of_4096_byte_sectors_grows() {
    let sector = gpt::disk::LogicalBlockSize::Lb4096;
    let mut disk = std::io::Cursor::new(vec![0; 32 * MIB as usize]);
    let last = u32::try_from(32 * MIB / 4096 - 1).unwrap();
    gpt::mbr::ProtectiveMBR::with_lb_size(last).overwrite_lba0(&mut disk).unwrap();
    let config = gpt::GptConfig::new().writable(true).logical_block_size(sector);
    let mut made = config.create_from_device(disk, None).unwrap();
    made.add_partition("root", 4 * MIB, gpt::partition_types::LINUX_FS, 0, Some(256)).unwrap();
    let mut disk = made.write().unwrap().into_inner();
    disk.resize(48 * MIB as usize, 0);
    let enlarged = table::enlarge(&disk, 1).unwrap().expect("there is room");
    for (offset, bytes) in enlarged.in_place().steps().flat_map(imgfmt::Changes::iter) {
        let at = usize::try_from(offset).unwrap();
        disk[at..at + bytes.len()].copy_from_slice(bytes);
    }
    let table = table::read(&disk).unwrap().unwrap();
    assert!(table.warnings.is_empty(), "{:?}", table.warnings);
    // Four sectors of entries and one of the header end the disk.
    assert_eq!(table.partitions[0].start + table.partitions[0].len, 48 * MIB - 5 * 4096);
    // The crate, too, finds both copies right.
    let config = gpt::GptConfig::new().logical_block_size(sector).only_valid_headers(true);
    config.open_from_device(std::io::Cursor::new(disk)).unwrap();
}

#[test]
fn what_stands_behind_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for (script, number, expected) in [
        (
            GPT,
            1,
            "partition 1 cannot be enlarged: partition 2 (`root`) lies behind it, at byte 2097152",
        ),
        (MBR, 1, "partition 1 cannot be enlarged: partition 2 lies behind it, at byte 5242880"),
        (
            LOGICALS,
            1,
            "partition 1 cannot be enlarged: extended partition 2 lies behind it, at byte 10485760",
        ),
        (
            LOGICALS,
            5,
            "partition 5 cannot be enlarged: partition 6 lies behind it, at byte 15728640",
        ),
        (LOGICALS, 2, "partition 2 is an extended partition; the table has 1, 5 and 6"),
    ] {
        let path = image(directory.path(), script);
        let error = table::enlarge(&Image::open(&path).unwrap(), number).unwrap_err();
        assert_eq!(error.to_string(), expected);
        fs::remove_file(&path).unwrap();
    }
    let path = image(directory.path(), MBR);
    set_len(&path, 3 << 40);
    let error = table::enlarge(&Image::open(&path).unwrap(), 2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "an MBR numbers 2199023255552 bytes, and the image has 3298534883328; only a GPT reaches further"
    );
    // sgdisk -h makes a hybrid MBR of partition 1.
    let path = image(directory.path(), GPT);
    run("sgdisk", &["-h", "1", text(&path)]);
    set_len(&path, 100 * MIB);
    let error = table::enlarge(&Image::open(&path).unwrap(), 2).unwrap_err();
    assert!(error.to_string().ends_with("(hybrid)"), "{error}");
}

/// Takes down writes between syncs.
struct Recorder {
    bytes: Vec<u8>,
    steps: Vec<Vec<(u64, Vec<u8>)>>,
}

impl Storage for Recorder {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.bytes.read_at(offset, buf)
    }
}

impl Disk for Recorder {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.steps.last_mut().expect("one at the start").push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.steps.push(Vec::new());
        Ok(())
    }

    fn keep_undo(&mut self, _undo: &[u8]) -> Result<()> {
        Ok(())
    }

    fn drop_undo(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Even for somebody who knows nothing of the undo file one GPT is whole in every state.
#[test]
fn a_crash_leaves_one_whole_gpt() {
    let directory = tempfile::tempdir().unwrap();
    // Where the image got longer, and where the copy stays in its place.
    for len in [5 * MIB, 4 * MIB] {
        let path = sparse_file(directory.path(), "disk.img", 4 * MIB);
        let script = "label: gpt\nstart=2048, size=512\nstart=4096, size=2048\n";
        run_with_input("sfdisk", &["--quiet", text(&path)], script);
        set_len(&path, len);
        let bytes = fs::read(&path).unwrap();
        let before = table::read(&bytes).unwrap().unwrap().partitions;
        let enlarged = table::enlarge(&bytes, 2).unwrap().expect("there is room");
        let mut recorder = Recorder { bytes: bytes.clone(), steps: vec![Vec::new()] };
        enlarged.in_place().apply(&mut recorder).unwrap();
        let mut after = before.clone();
        after[1].len = enlarged.len;
        let mut now = bytes;
        for step in recorder.steps {
            let sectors: Vec<(u64, &[u8])> = step
                .iter()
                .flat_map(|(offset, bytes)| (*offset..).step_by(512).zip(bytes.chunks(512)))
                .collect();
            // Each sector alone new, each alone old.
            for picked in 0..sectors.len() {
                for is_alone in [true, false] {
                    let mut torn = now.clone();
                    for (index, (offset, sector)) in sectors.iter().enumerate() {
                        if (index == picked) == is_alone {
                            let at = usize::try_from(*offset).unwrap();
                            torn[at..at + sector.len()].copy_from_slice(sector);
                        }
                    }
                    let found = table::read(&torn).unwrap().unwrap().partitions;
                    assert!(found == before || found == after, "{picked} {is_alone}: {found:?}");
                }
            }
            for (offset, sector) in sectors {
                let at = usize::try_from(offset).unwrap();
                now[at..at + sector.len()].copy_from_slice(sector);
            }
        }
        let file = fs::File::create(&path).unwrap();
        file.write_all_at(&now, 0).unwrap();
        judge(&path, true);
    }
}
