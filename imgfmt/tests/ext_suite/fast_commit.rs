//! Fast commits, which the kernel writes at `fsync` behind the log. It replays them at a mount, and says what they hold.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use imgfmt::Volume;
use imgfmt::ext::Fs;
use rustix::fs::{FallocateFlags, fallocate};

use crate::support::{NOW, Random, TestImage, Tree, noise, run, run_ok};

/// (`mke2fs` arguments, KiB)
const KINDS: &[(&str, u64)] = &[
    ("-t ext4 -b 1024 -O fast_commit -J size=4", 32_768),
    ("-t ext4 -b 4096 -O fast_commit -J size=8", 65_536),
    ("-t ext4 -b 1024 -O fast_commit,^metadata_csum,^64bit,uninit_bg -I 128 -J size=4", 32_768),
    ("-t ext4 -b 2048 -O fast_commit,orphan_file,metadata_csum_seed -J size=8", 32_768),
];

type Work = fn(&Path);

fn sync(path: &Path) {
    File::open(path).expect("it is there").sync_all().expect("a sync");
}

/// Whole commits of all that was done.
fn sync_all(at: &Path) {
    rustix::fs::syncfs(File::open(at).expect("the root")).expect("a sync");
}

fn block_size(args: &str) -> usize {
    let mut words = args.split(' ').skip_while(|word| *word != "-b");
    words.nth(1).and_then(|size| size.parse().ok()).expect("a block size")
}

fn log_at(image: &TestImage, block_size: usize, lblk: u32) -> usize {
    let request = format!("bmap <8> {lblk}");
    let path = image.path();
    // Still mounted, its metadata is ahead of its checksums.
    let text = run_ok("debugfs", &["-n", "-R", &request, path.to_str().expect("plain")]);
    text.trim().parse::<usize>().unwrap_or_else(|_| panic!("{request}: {text}")) * block_size
}

/// Where fast commits begin, in bytes, if there are any.
fn fast_commits_at(image: &TestImage, block_size: usize) -> Option<usize> {
    let (bytes, at) = (image.bytes(), log_at(image, block_size, 0));
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    // s_feature_incompat, s_maxlen, s_num_fc_blks.
    let (incompat, maxlen, count) = (word(at + 0x28), word(at + 0x10), word(at + 0x54));
    let at = log_at(image, block_size, maxlen - count + 1);
    (incompat & 0x20 != 0 && bytes[at..at + 2] == [9, 0]).then_some(at)
}

/// Whether the kernel mounts a copy.
fn mounts(image: &TestImage) -> bool {
    let (twin, at) = (image.twin(), tempfile::tempdir().expect("a mount point"));
    let (path, at) = (twin.path(), at.path().display().to_string());
    let output = run("mount", &["-o", "loop", path.to_str().expect("plain"), &at]);
    if output.status.success() {
        while !run("umount", &[&at]).status.success() {
            // A child of another test holds our files open between fork and exec.
            std::thread::yield_now();
        }
    }
    output.status.success()
}

/// A tree without the link counts of directories: the kernel counts none of the directories that it replays, and e2fsck
/// complains. Ours are e2fsck's to judge.
fn without_dir_links(tree: Tree) -> Tree {
    let blank = |line: String| match line.starts_with("d ") {
        true => line.split(' ').enumerate().filter(|&(at, _)| at != 5).map(|(_, w)| w).collect(),
        false => line,
    };
    tree.into_iter().map(|(path, line)| (path, blank(line))).collect()
}

/// Ours, unedited and edited, must be what the kernel makes of a twin.
fn compare(image: &TestImage, what: &str) {
    let kernel = image.twin();
    kernel.with_kernel(|_| {});
    let truth = without_dir_links(kernel.kernel_tree());
    let unedited = image.tree();
    if without_dir_links(unedited.clone()) != truth {
        // What the kernel leaves in a log is not the same in each run.
        let kept = std::env::temp_dir().join(format!("{}.img", what.replace(' ', "_")));
        fs::copy(image.path(), &kept).expect("a copy");
        assert_eq!(without_dir_links(unedited), truth, "{what}: the image is {}", kept.display());
        return;
    }
    image.edit(|_| Ok(())).expect(what);
    image.fsck();
    // The links of directories, too, which e2fsck has counted now.
    assert_eq!(image.tree(), unedited, "{what}");
    assert_eq!(without_dir_links(image.kernel_tree()), truth, "{what}");
    image.edit(|tx| tx.write("/edited", noise(1, 20_000))).expect(what);
    image.fsck();
}

/// One random change; returns a path to be synced.
fn step(at: &Path, random: &mut Random) -> PathBuf {
    let file = at.join(format!("{}/f{}", ["a", "b", "."][pick(random, 3)], random.below(8)));
    let other = at.join(format!("{}/f{}", ["a", "b", "."][pick(random, 3)], random.below(12)));
    let (from, len) = (random.below(200_000), random.below(60_000) + 1);
    let open = || File::options().write(true).create(true).truncate(false).open(&file);
    let content = noise(random.next(), usize::try_from(len).expect("small"));
    match random.below(12) {
        0..=2 => {
            open().expect("a file").write_all_at(&content, from).expect("a write");
        }
        3 => fs::write(&file, &content).expect("a file"),
        4 => open().expect("a file").set_len(from).expect("a length"),
        5 => {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(open().expect("a file"), flags, from, len).expect("a hole");
        }
        6 => {
            fallocate(open().expect("a file"), FallocateFlags::empty(), from, len).expect("room");
        }
        7 => {
            if file.exists() {
                fs::rename(&file, &other).expect("a rename");
            }
            return [other, file].into_iter().find(|path| path.is_file()).unwrap_or(at.into());
        }
        8 => {
            if file.exists() && !other.exists() {
                fs::hard_link(&file, &other).expect("a link");
            }
        }
        9 => {
            if file.exists() {
                fs::remove_file(&file).expect("it is there");
            }
            if other.is_file() {
                return other;
            }
        }
        10 => {
            open().expect("a file");
            let mode =
                fs::Permissions::from_mode(0o400 | u32::try_from(len & 0o377).expect("small"));
            fs::set_permissions(&file, mode).expect("a mode");
        }
        _ => {
            // Many names make directories grow.
            for i in 0..random.below(30) {
                let path = at.join(format!("a/a-name-that-takes-its-room-{}-{i}", from % 50));
                fs::write(&path, &content[..content.len().min(100)]).expect("a file");
            }
        }
    }
    if file.is_file() { file } else { at.into() }
}

fn pick(random: &mut Random, end: u64) -> usize {
    usize::try_from(random.below(end)).expect("small")
}

#[test]
fn random_work_is_replayed_as_the_kernel_does() {
    let mut found = 0;
    let rounds = if std::env::var_os("AUTOXEN_LONG").is_some() { 60 } else { 3 };
    for (round, &(args, kib)) in (0..rounds).flat_map(|i| KINDS.iter().map(move |kind| (i, kind))) {
        let image = TestImage::new(args, kib, 0);
        let mut random = Random(round * 1000 + kib + 17);
        image.left_dirty("rw", |at| {
            fs::create_dir(at.join("a")).expect("a directory");
            fs::create_dir(at.join("b")).expect("a directory");
            for _ in 0..20 {
                step(at, &mut random);
            }
            sync_all(at);
            for _ in 0..random.below(40) + 3 {
                for _ in 0..random.below(4) {
                    step(at, &mut random);
                }
                let path = step(at, &mut random);
                if path.is_file() {
                    sync(&path);
                }
            }
        });
        found += usize::from(fast_commits_at(&image, block_size(args)).is_some());
        let what = format!("{args} round {round}");
        if !mounts(&image) {
            // There are fast commits of its own that the kernel does not replay; ours must be sound.
            image.edit(|_| Ok(())).expect(&what);
            image.fsck();
            continue;
        }
        compare(&image, &what);
    }
    // Some rounds end in a whole commit.
    assert!(found > KINDS.len(), "only {found} images have fast commits");
}

#[test]
fn what_an_fsync_may_write_is_replayed_as_the_kernel_does() {
    let works: &[(&str, Work)] = &[
        ("mkdir", |at| {
            fs::create_dir(at.join("new")).expect("a directory");
            fs::create_dir(at.join("new/below")).expect("a directory");
            fs::write(at.join("new/below/file"), "x").expect("a file");
        }),
        ("rmdir", |at| {
            fs::remove_dir(at.join("empty")).expect("a directory");
        }),
        ("symlinks", |at| {
            symlink("short", at.join("short")).expect("a link");
            symlink("x".repeat(300), at.join("long")).expect("a link");
        }),
        ("devices", |at| {
            for (name, kind) in [
                ("fifo", rustix::fs::FileType::Fifo),
                ("null", rustix::fs::FileType::CharacterDevice),
            ] {
                let mode = rustix::fs::Mode::from_raw_mode(0o644);
                let device = rustix::fs::makedev(1, 3);
                rustix::fs::mknodat(rustix::fs::CWD, at.join(name), kind, mode, device)
                    .expect("a node");
            }
        }),
        ("rename over", |at| {
            fs::rename(at.join("one"), at.join("two")).expect("a rename");
        }),
        ("remove and make again", |at| {
            fs::remove_file(at.join("one")).expect("it is there");
            fs::write(at.join("one"), noise(5, 70_000)).expect("a file");
            fs::remove_file(at.join("two")).expect("it is there");
        }),
        ("owner and times", |at| {
            std::os::unix::fs::chown(at.join("one"), Some(70_000), Some(3)).expect("an owner");
            fs::set_permissions(at.join("two"), fs::Permissions::from_mode(0o4711)).expect("mode");
            fs::set_permissions(at.join("empty"), fs::Permissions::from_mode(0o711)).expect("mode");
        }),
    ];
    for &(args, kib) in &KINDS[..2] {
        for (name, work) in works {
            let image = TestImage::new(args, kib, 0);
            image.left_dirty("rw", |at| {
                fs::create_dir(at.join("empty")).expect("a directory");
                for name in ["one", "two", "synced"] {
                    fs::write(at.join(name), noise(3, 9000)).expect("a file");
                }
                sync_all(at);
                work(at);
                fs::write(at.join("synced"), "new content\n").expect("a file");
                sync(&at.join("synced"));
            });
            // Of these the kernel makes whole commits.
            let is_whole = matches!(*name, "symlinks" | "devices");
            assert_eq!(fast_commits_at(&image, block_size(args)).is_none(), is_whole, "{name}");
            compare(&image, &format!("{args} {name}"));
        }
    }
}

fn small(args: &str, kib: u64) -> TestImage {
    let image = TestImage::new(args, kib, 0);
    image.left_dirty("rw", |at| {
        fs::write(at.join("first"), "first\n").expect("a file");
        sync_all(at);
        for i in 0..3 {
            let path = at.join(format!("file-{i}"));
            fs::write(&path, noise(i, 3000)).expect("a file");
            sync(&path);
        }
    });
    image
}

#[test]
fn damage_ends_fast_commits_where_it_ends_them_for_the_kernel() {
    let (args, kib) = KINDS[0];
    let image = small(args, kib);
    let at = fast_commits_at(&image, 1024).expect("three fast commits");
    // Each fast commit takes a block or two: (byte, what is left of the three files).
    let mut left = Vec::new();
    for block in 0..5 {
        for byte in [2, 60] {
            let lie = image.twin();
            let mut bytes = lie.bytes();
            bytes[at + block * 1024 + byte] ^= 1;
            fs::write(lie.path(), &bytes).expect("a lie");
            match Fs::open(Volume::whole(&bytes)) {
                Ok(fs) => {
                    let names = fs.read_dir("/").expect("the root").len();
                    left.push(Some(names));
                    compare(&lie, &format!("byte {byte} of block {block}"));
                }
                Err(error) => {
                    left.push(None);
                    let text = error.to_string();
                    assert!(text.starts_with("corrupt image: ext fast commits: "), "{text}");
                    // The kernel does not mount it, either.
                    assert!(!mounts(&lie), "byte {byte} of block {block}: {text}");
                }
            }
        }
    }
    assert!(left.contains(&None) && left.contains(&Some(3)) && left.contains(&Some(4)), "{left:?}");
}

#[test]
fn random_damage_to_fast_commits_never_panics() {
    let (args, kib) = KINDS[2];
    let image = small(args, kib);
    let at = fast_commits_at(&image, 1024).expect("three fast commits");
    let bytes = image.bytes();
    let (mut random, mut lie) = (Random(5), bytes.clone());
    for _ in 0..200 {
        lie[at..at + 6 * 1024].copy_from_slice(&bytes[at..at + 6 * 1024]);
        let block = at + pick(&mut random, 4) * 1024;
        lie[block + pick(&mut random, 300)] ^=
            u8::try_from(1 + pick(&mut random, 255)).expect("small");
        reseal(&mut lie[at..at + 6 * 1024]);
        let opened = Fs::open(Volume::whole(&lie));
        let _ = opened.and_then(|fs| {
            fs.read("/file-1")?;
            let mut tx = fs.begin(NOW)?;
            tx.write("/new", "new\n")?;
            tx.finish()
        });
    }
}

/// Make the checksums of all tails right, so that what they cover is believed.
fn reseal(area: &mut [u8]) {
    let mut crc = 0;
    for block in area.chunks_exact_mut(1024) {
        let mut at = 0;
        while at + 4 <= block.len() {
            let tag = u16::from_le_bytes([block[at], block[at + 1]]);
            let len = usize::from(u16::from_le_bytes([block[at + 2], block[at + 3]]));
            let end = at + 4 + len;
            if end > block.len() || tag == 0 {
                return;
            }
            if tag == 8 && len >= 8 {
                let tail = crc32c::crc32c_append(!crc, &block[at..at + 8]);
                block[at + 8..at + 12].copy_from_slice(&(!tail).to_le_bytes());
                crc = 0;
            } else {
                crc = !crc32c::crc32c_append(!crc, &block[at..end]);
            }
            at = end;
        }
    }
}
