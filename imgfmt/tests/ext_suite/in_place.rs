//! Edits in place that nothing interrupts: afterwards other people's programs find a sound file system with an empty log.
//! And what is refused, with nothing changed. [`crate::crash`] interrupts them.

use std::fs;

use imgfmt::ext::{Fs, Transaction};
use imgfmt::in_place::Guard;
use imgfmt::{Error, ImageMut, InPlace, Result, Volume};

use crate::support::{NOW, TestImage, noise, run_ok, unlocked};

pub(crate) type Edit = fn(&mut Transaction<'_>) -> Result<()>;

/// (`mke2fs` arguments, KiB, bytes before the volume, options of a mount that sets the journal's format; none where it is
/// as `mke2fs` made it)
pub(crate) const FORMATS: &[(&str, u64, u64, &str)] = &[
    ("-t ext3 -b 1024 -J size=1", 4096, 0, ""),
    ("-t ext3 -b 4096", 16_384, 512, "rw"),
    ("-t ext4 -b 1024 -J size=1", 4096, 0, ""),
    ("-t ext4 -b 1024 -J size=1", 4096, 512, "rw"),
    ("-t ext4 -b 4096", 16_384, 0, "rw"),
    ("-t ext4 -b 4096 -O ^64bit", 16_384, 0, "rw"),
    ("-t ext4 -b 1024 -J size=1 -O ^metadata_csum,uninit_bg", 4096, 0, "rw"),
    ("-t ext4 -b 1024 -J size=1 -O ^64bit,^metadata_csum", 4096, 0, "journal_checksum"),
    ("-t ext4 -b 4096 -O ^metadata_csum", 16_384, 0, "data=writeback,journal_async_commit"),
    ("-t ext4 -b 4096", 16_384, 0, "data=writeback,journal_async_commit"),
    ("-t ext4 -b 1024 -J size=4,fast_commit_size=256 -O fast_commit", 16_384, 0, "rw"),
    ("-t ext4 -b 4096 -O orphan_file,metadata_csum_seed", 16_384, 0, "rw"),
];

/// An image with a few files, its journal in the given format.
pub(crate) fn image(&(args, kib, start, options): &(&str, u64, u64, &str)) -> TestImage {
    let from = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(from.path().join("etc")).expect("a directory");
    fs::write(from.path().join("etc/fstab"), "/dev/hda1 / ext3 defaults 0 1\n").expect("a file");
    fs::write(from.path().join("old"), noise(1, 9000)).expect("a file");
    let image = TestImage::populated(args, kib, start, from.path());
    if !options.is_empty() {
        image.with_kernel_options(options, |at| {
            fs::write(at.join("etc/hostname"), "guest\n").expect("a file");
        });
    }
    image
}

/// What AutoXen does to an image: a new fstab, and a job beside it.
pub(crate) fn prepare(tx: &mut Transaction<'_>) -> Result<()> {
    tx.write("/etc/fstab", "/dev/xvda1 / ext4 defaults 0 1\n/dev/xvdb /data ext2 ro 0 0\n")?;
    tx.create_dir_all("/etc/xenjobs.d")?;
    tx.write("/etc/xenjobs.d/10-job", noise(7, 2500))?;
    tx.set_mode("/etc/xenjobs.d/10-job", 0o755)
}

/// The edit of the file system in `bytes`, a volume from byte `start` on.
#[expect(clippy::ptr_arg, reason = "a volume wants a sized storage")]
pub(crate) fn edit_of(
    bytes: &Vec<u8>,
    start: u64,
    f: impl FnOnce(&mut Transaction<'_>) -> Result<()>,
) -> Result<InPlace> {
    let volume = Volume::new(bytes, start, bytes.len() as u64 - start)?;
    let fs = Fs::open(volume)?;
    let mut tx = fs.begin(NOW)?;
    f(&mut tx)?;
    tx.finish_in_place()
}

impl TestImage {
    /// Edit it in place.
    pub(crate) fn edit_in_place(
        &self,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<()>,
    ) -> Result<InPlace> {
        let edit = edit_of(&self.bytes(), self.start(), f)?;
        unlocked(|| ImageMut::open(&self.path()))?.commit_in_place(&edit)?;
        Ok(edit)
    }

    /// Do only the first `count` steps of an edit in place.
    pub(crate) fn begin_in_place(&self, edit: &InPlace, count: usize) {
        for step in edit.steps().take(count) {
            self.apply(step);
        }
    }

    /// Go as far as the point of no return, where nothing is at home: the log is replayed to the same tree by us, by
    /// `e2fsck` and by the kernel, and all of them leave a sound file system.
    pub(crate) fn assert_replayed(
        &self,
        name: &str,
        edit: &dyn Fn(&mut Transaction<'_>) -> Result<()>,
    ) {
        let expected = {
            let copy = self.twin();
            copy.edit(edit).expect(name);
            copy.tree()
        };
        let edit = edit_of(&self.bytes(), self.start(), edit).expect(name);
        assert_eq!(edit.guard(), Guard::Journal, "{name}");
        self.begin_in_place(&edit, edit.steps().count() - 3);
        assert!(self.with_fs(|fs| fs.needs_recovery()), "{name}");
        assert_eq!(self.tree(), expected, "{name}");
        let judged = self.twin();
        judged.recover_by_e2fsck();
        assert_eq!(judged.tree(), expected, "{name}");
        assert_eq!(self.kernel_recovered_tree(), expected, "{name}");
        self.fsck();
    }
}

/// Nothing is left to be replayed.
fn assert_settled(image: &TestImage) {
    assert!(!image.with_fs(|fs| fs.info().features.contains(&"needs_recovery".to_owned())));
    image.fsck();
}

#[test]
fn an_edit_in_place_leaves_a_sound_file_system_and_an_empty_log() {
    for format in FORMATS {
        let image = image(format);
        let expected = {
            let copy = image.twin();
            copy.edit(prepare).expect("it is edited");
            copy.tree()
        };
        let edit = image.edit_in_place(prepare).expect("it is edited");
        assert_eq!(edit.guard(), Guard::Journal, "{format:?}");
        assert_settled(&image);
        assert_eq!(image.tree(), expected, "{format:?}");
        assert_eq!(image.kernel_tree(), expected, "{format:?}");
        // Once more: the log has been used.
        image.edit_in_place(|tx| tx.remove_file("/old")).expect("it is edited");
        assert_settled(&image);
    }
}

#[test]
fn every_transaction_goes_through_the_log_and_e2fsck_replays_it() {
    for format in FORMATS {
        let image = image(format);
        image.assert_replayed(&format!("{format:?}"), &prepare);
    }
}

#[test]
fn a_dirty_image_is_replayed_and_edited() {
    for format in FORMATS.iter().filter(|(args, ..)| !args.contains("-O fast_commit")) {
        let image = image(format);
        image.left_dirty(if format.3.is_empty() { "rw" } else { format.3 }, |at| {
            fs::create_dir(at.join("made")).expect("a directory");
            fs::write(at.join("made/file"), noise(3, 5000)).expect("a file");
            fs::File::open(at).expect("it is there").sync_all().expect("a sync");
        });
        assert!(image.with_fs(|fs| fs.needs_recovery()), "{format:?}");
        let expected = {
            let copy = image.twin();
            copy.edit(prepare).expect("it is edited");
            copy.tree()
        };
        let edit = image.edit_in_place(prepare).expect("it is edited");
        assert_eq!(edit.steps().count(), 7);
        assert_settled(&image);
        assert_eq!(image.tree(), expected, "{format:?}");
        assert_eq!(image.kernel_tree(), expected, "{format:?}");
    }
}

#[test]
fn without_a_journal_an_undo_file_guards_the_edit_and_goes() {
    for args in ["-t ext2 -b 1024", "-t ext4 -b 4096 -O ^has_journal"] {
        let image = image(&(args, 4096, 512, ""));
        let expected = {
            let copy = image.twin();
            copy.edit(prepare).expect("it is edited");
            copy.tree()
        };
        let edit = image.edit_in_place(prepare).expect("it is edited");
        assert_eq!(edit.guard(), Guard::Undo);
        assert_settled(&image);
        assert_eq!(image.kernel_tree(), expected, "{args}");
        let beside: Vec<_> = fs::read_dir(image.path().parent().expect("a directory"))
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .filter(|name| name.to_string_lossy().contains("undo"))
            .collect();
        assert!(beside.is_empty(), "{beside:?}");
    }
}

#[test]
fn an_edit_larger_than_the_log_is_refused_with_both_numbers() {
    let image = image(&("-t ext3 -b 1024 -I 1024 -J size=1", 16_384, 0, ""));
    let before = image.bytes();
    // A block for each inode: more than 1,023 blocks, which the ring of 1,024 with its superblock has.
    let error = image
        .edit_in_place(|tx| (0..1100).try_for_each(|i| tx.create_dir(format!("/dir-{i}"))))
        .expect_err("it is too large");
    let text = error.to_string();
    let numbers: Vec<u64> =
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    assert!(matches!(error, Error::NoSpace(_)), "{text}");
    assert!(text.contains("blocks of the journal needed: "), "{text}");
    assert!(matches!(numbers[..], [needed, 1023] if needed > 1100), "{text}");
    assert!(image.bytes() == before);
}

#[test]
fn what_a_crash_could_tear_is_refused_by_name() {
    let image = image(&("-t ext3 -b 1024 -J size=1", 4096, 100, ""));
    let before = image.bytes();
    assert_eq!(
        image.edit_in_place(prepare).expect_err("it begins within a sector").to_string(),
        "an edit in place of a volume that begins within a sector (at byte 100)"
    );
    assert!(image.bytes() == before);

    let image = TestImage::new("-t ext4 -b 4096 -O 64bit -E desc_size=1024", 16_384, 0);
    let before = image.bytes();
    assert_eq!(
        image.edit_in_place(|tx| tx.write("/new", "")).expect_err("two sectors").to_string(),
        "an edit in place of an ext file system with group descriptors of 1024 bytes"
    );
    assert!(image.bytes() == before);
}

#[test]
fn stale_blocks_behind_the_transaction_are_not_replayed() {
    let image = image(&FORMATS[0]);
    let path = image.path();
    let path = path.to_str().expect("plain");
    // Where a block of the log lies, in bytes.
    let log = |lblk: u32| {
        let lies = run_ok("debugfs", &["-R", &format!("bmap <8> {lblk}"), path]);
        lies.trim().parse::<usize>().expect("a block") * 1024
    };
    let mut bytes = image.bytes();
    let sequence = u32::from_be_bytes(bytes[log(0) + 24..][..4].try_into().expect("four bytes"));
    let first = edit_of(&bytes, 0, prepare).expect("it is edited");
    // Behind it a whole transaction, with the next number, of a block that is none of its business.
    let behind = first.log_blocks() + 1;
    let victim = log(0) - 1024;
    let header = |kind: u8| {
        [&b"\xC0\x3B\x39\x98\0\0\0"[..], &[kind], &(sequence + 1).to_be_bytes()].concat()
    };
    let home = u32::try_from(victim / 1024).expect("small").to_be_bytes();
    let tag = [&home[..], &[0, 0, 0, 10]].concat();
    for (lblk, content) in [
        (behind, [header(1), tag].concat()),
        (behind + 1, vec![0xEE; 1024]),
        (behind + 2, header(2)),
    ] {
        let at = log(lblk);
        bytes[at..at + content.len()].copy_from_slice(&content);
    }

    fs::write(path, &bytes).expect("a write");
    image.begin_in_place(&edit_of(&bytes, 0, prepare).expect("it is edited"), 2);
    image.recover_by_e2fsck();
    let replayed = &image.bytes()[victim..victim + 1024];
    assert!(replayed != [0xEE; 1024], "the stale transaction was replayed");
}

#[test]
fn the_host_may_lose_the_last_step() {
    for args in
        ["-t ext3 -b 1024 -J size=1", "-t ext4 -b 1024 -O ^metadata_csum", "-t ext4 -b 4096"]
    {
        let image = image(&(args, 16_384, 0, ""));
        let edit = edit_of(&image.bytes(), 0, prepare).expect("it is edited");
        image.begin_in_place(&edit, edit.steps().count() - 1);
        let counted = image.with_fs(|fs| fs.count_free().expect("it is counted"));
        let said = image.with_fs(|fs| fs.info());
        assert_eq!((said.free_blocks, u64::from(said.free_inodes)), counted, "{args}");
        // The mark goes, and nobody counts.
        run_ok("tune2fs", &["-L", "new", image.path().to_str().expect("plain")]);
        image.fsck();
    }
}
