//! What a volume holds, against blkid, on images made by each format's own tools.

use std::fs;
use std::path::Path;

use imgfmt::Image;
use imgfmt::probe::{self, Probe};

mod judge;
use judge::{outcome, run, sparse_file, text};

const MIB: u64 = 1 << 20;

fn probe(path: &Path) -> Option<Probe> {
    probe::probe(&Image::open(path).expect("the image is there")).expect("the image can be read")
}

/// TYPE, UUID and LABEL, as blkid and as we see them.
fn assert_same(path: &Path) -> Probe {
    // One value at a time is the one way in which blkid escapes nothing.
    let value = |key: &str| {
        let said = outcome("blkid", &["-p", "-o", "value", "-s", key, text(path)]);
        let said = String::from_utf8(said.stdout).expect("blkid says text");
        (!said.is_empty()).then(|| said.trim_end_matches('\n').to_string())
    };
    let found = probe(path).unwrap_or_else(|| panic!("nothing known in a {:?}", value("TYPE")));
    let ours = (Some(found.kind.name().to_string()), found.uuid.clone(), found.label.clone());
    assert_eq!(ours, (value("TYPE"), value("UUID"), value("LABEL")));
    found
}

/// An image of `len` MiB that `program` filled; `@` in the arguments stands for its path.
fn assert_made_by(len: u64, program: &str, arguments: &[&str]) -> Probe {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = sparse_file(directory.path(), "image", len * MIB);
    let arguments: Vec<&str> =
        arguments.iter().map(|a| if *a == "@" { text(&path) } else { a }).collect();
    run(program, &arguments);
    assert_same(&path)
}

#[test]
fn the_three_ext_and_their_journal_device_are_told_apart_by_features() {
    let uuid = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9fa";
    for (kind, options) in [
        ("ext2", &["-t", "ext2"][..]),
        ("ext3", &["-t", "ext3", "-I", "128"]),
        ("ext4", &["-t", "ext4"]),
        ("ext4", &["-t", "ext4", "-O", "^has_journal"]),
        ("ext4", &["-t", "ext2", "-O", "extents"]),
        ("jbd", &["-O", "journal_dev"]),
    ] {
        let all = [&["-q", "-L", "A label of it", "-U", uuid], options, &["@"]].concat();
        let found = assert_made_by(16, "mke2fs", &all);
        assert_eq!((found.kind.name(), found.uuid.as_deref()), (kind, Some(uuid)));
        assert!(!found.needs_recovery);
    }
    assert_made_by(16, "mke2fs", &["-q", "-t", "ext4", "@"]);
}

#[test]
fn an_ext_that_needs_recovery_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "image", 16 * MIB);
    run("mke2fs", &["-q", "-t", "ext4", text(&path)]);
    run("debugfs", &["-w", "-R", "feature needs_recovery", text(&path)]);
    assert!(assert_same(&path).needs_recovery);
}

#[test]
fn fat_of_each_width_with_and_without_a_label() {
    for (len, width) in [(4, "-F12"), (16, "-F16"), (64, "-F32")] {
        let id = ["-i", "1a2b3c4d"];
        let labelled = [&[width, "-n", "BOOT DISK"], &id[..], &["@"]].concat();
        let found = assert_made_by(len, "mkfs.fat", &labelled);
        assert_eq!(found.uuid.as_deref(), Some("1A2B-3C4D"));
        assert_eq!(found.label.as_deref(), Some("BOOT DISK"));
        assert_made_by(len, "mkfs.fat", &[&[width], &id[..], &["@"]].concat());
    }
}

#[test]
fn the_label_of_a_fat_is_the_one_in_the_root_directory() {
    let directory = tempfile::tempdir().unwrap();
    for width in ["-F16", "-F32"] {
        let path = sparse_file(directory.path(), width, 64 * MIB);
        run("mkfs.fat", &[width, "-n", "FIRST", text(&path)]);
        // Only the copy in the boot sector changes.
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(5).position(|window| window == b"FIRST").unwrap();
        bytes[at..at + 5].copy_from_slice(b"WRONG");
        fs::write(&path, &bytes).unwrap();
        assert_eq!(assert_same(&path).label.as_deref(), Some("FIRST"));
    }
}

#[test]
fn swap_of_each_page_size() {
    let uuid = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9fa";
    for page in ["4096", "8192", "65536"] {
        let all = ["-p", page, "-L", "fifteen letters", "-U", uuid, "@"];
        assert_eq!(assert_made_by(8, "mkswap", &all).kind.name(), "swap");
    }
    assert_made_by(8, "mkswap", &["@"]);
}

#[test]
fn swap_in_which_a_system_sleeps_is_not_swap() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "image", MIB);
    run("mkswap", &[text(&path)]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4086..4096].copy_from_slice(b"S1SUSPEND\0");
    fs::write(&path, &bytes).unwrap();
    assert_eq!(assert_same(&path).kind.name(), "swsuspend");
}

#[test]
fn xfs_btrfs_f2fs_exfat_ntfs() {
    assert_made_by(320, "mkfs.xfs", &["-q", "-L", "x label", "@"]);
    assert_made_by(320, "mkfs.xfs", &["-q", "@"]);
    assert_made_by(128, "mkfs.btrfs", &["-q", "-L", "b label", "@"]);
    assert_made_by(128, "mkfs.btrfs", &["-q", "@"]);
    assert_made_by(64, "mkfs.f2fs", &["-q", "-l", "f l\u{e4}bel", "@"]);
    assert_made_by(16, "mkfs.exfat", &["-L", "e l\u{e4}bel", "@"]);
    assert_made_by(16, "mkfs.exfat", &["@"]);
    assert_made_by(16, "mkfs.ntfs", &["-q", "-F", "-f", "-L", "n l\u{e4}bel", "@"]);
    assert_made_by(16, "mkfs.ntfs", &["-q", "-F", "-f", "@"]);
}

#[test]
fn squashfs_erofs_and_iso9660() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), [7; 5000]).unwrap();
    let path = |name: &str| directory.path().join(name);
    run("mksquashfs", &[text(&tree), text(&path("squash")), "-quiet", "-no-progress"]);
    run(
        "mkfs.erofs",
        &["-U", "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9fa", text(&path("erofs")), text(&tree)],
    );
    let iso = path("iso");
    run("xorriso", &["-as", "mkisofs", "-quiet", "-V", "CD LABEL", "-o", text(&iso), text(&tree)]);
    for (name, kind) in [("squash", "squashfs"), ("erofs", "erofs"), ("iso", "iso9660")] {
        // blkid reads no file shorter than its buffers.
        let file = fs::OpenOptions::new().write(true).open(path(name)).unwrap();
        let len = file.metadata().unwrap().len().next_multiple_of(MIB);
        file.set_len(len).unwrap();
        assert_eq!(assert_same(&path(name)).kind.name(), kind);
    }
}

#[test]
fn luks_and_lvm() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    fs::write(&key, "a secret").unwrap();
    let format = ["luksFormat", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    let with_key = ["--key-file", text(&key), "@"];
    let first = [&format[..], &["--type", "luks1"], &with_key].concat();
    let second = [&format[..], &["--type", "luks2", "--label", "l label"], &with_key].concat();
    assert_eq!(assert_made_by(32, "cryptsetup", &first).kind.name(), "crypto_LUKS");
    assert_eq!(assert_made_by(32, "cryptsetup", &second).label.as_deref(), Some("l label"));
}

#[test]
fn image_formats_are_known_by_their_names() {
    let directory = tempfile::tempdir().unwrap();
    for format in ["qcow2", "vmdk", "vpc", "vhdx", "vdi"] {
        let path = directory.path().join(format);
        run("qemu-img", &["create", "-q", "-f", format, text(&path), "8M"]);
        let found = probe(&path).unwrap();
        assert_eq!(found.kind.name(), format);
        assert!(found.kind.is_image_format());
    }
}

#[test]
fn nothing_is_known_of_zeros_of_noise_and_of_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let noise: Vec<u8> =
        (0..200_000_u32).map(|nr| (nr.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [&[][..], &[0; 511], &[0; 100_000], &noise] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(probe(&path), None);
    }
    // blkid agrees: 2 says that nothing was found.
    assert_eq!(outcome("blkid", &["-p", text(&path)]).status.code(), Some(2));
}

/// Hostile bytes: whatever is changed in the first sectors, an answer comes, and it comes soon.
#[test]
fn no_mutation_of_a_header_makes_a_probe_or_a_table_panic() {
    let directory = tempfile::tempdir().unwrap();
    let mut seed = 1_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 3).unwrap()
    };
    for (name, program, options) in [
        ("fat", "mkfs.fat", &["-F12", "-n", "LABEL"][..]),
        ("fat32", "mkfs.fat", &["-F32", "-s1", "-n", "LABEL"]),
        ("ntfs", "mkfs.ntfs", &["-q", "-F", "-f", "-L", "label"]),
        ("exfat", "mkfs.exfat", &["-L", "label"]),
        ("swap", "mkswap", &["-L", "label"]),
        ("ext", "mke2fs", &["-q", "-L", "label"]),
    ] {
        let len = if name == "fat32" { 34 } else { 8 } * MIB;
        let path = sparse_file(directory.path(), name, len);
        run(program, &[options, &[text(&path)]].concat());
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        for _ in 0..3000 {
            let mut touched = Vec::new();
            for _ in 0..1 + random() % 4 {
                let at = random() % 2048;
                bad[at] = [0, 1, 0x7f, 0x80, 0xff, random() as u8][random() % 6];
                touched.push(at);
            }
            probe::probe(&bad).unwrap();
            let _either = imgfmt::table::read(&bad);
            for at in touched {
                bad[at] = good[at];
            }
        }
    }
}
