//! Sequences of 500 operations on a file system and on a model of a POSIX tree, side by side.
//!
//! Every other commit is done in place, step by step, where the journal has room. After each of them the two are equal, a
//! check of the file system finds nothing, and what the model refuses the engine has refused for the same reason; a full
//! disk may refuse anything, and then nothing has happened. At the end of a sequence `e2fsck -fn` is content, and for
//! a sample of them the kernel reads the same tree.

mod operation;
mod posix;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use imgfmt::ext::{FileType, Fs, Transaction};
use imgfmt::{Changes, Error, Volume};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::operation::{Operation, operations};
use self::posix::{Content, Model};
use crate::support::{NOW, TestImage};

/// Operations of a sequence, commits included.
const LENGTH: usize = 500;

/// (arguments of `mke2fs`, KiB). The smallest fill up.
const MATRIX: &[(&str, u64)] = &[
    ("-t ext2 -r 0 -O none -b 1024", 2048),
    ("-t ext2 -b 1024 -I 128", 1024),
    ("-t ext2 -b 1024 -I 128 -O ^filetype -N 64", 2048),
    ("-t ext2 -b 4096", 8192),
    ("-t ext3 -b 1024 -I 128 -J size=1", 4096),
    ("-t ext3 -b 1024 -I 128 -O ^dir_index -J size=1 -N 48", 4096),
    ("-t ext3 -b 4096 -J size=4", 12_288),
    ("-t ext4 -b 1024 -J size=1", 4096),
    ("-t ext4 -b 1024 -I 128 -O ^has_journal", 2048),
    ("-t ext4 -b 4096 -J size=4", 12_288),
    ("-t ext4 -b 1024 -O ^metadata_csum,uninit_bg,^64bit -g 1024 -N 256 -J size=1", 6144),
    ("-t ext4 -b 1024 -O ^has_journal,^flex_bg,^resize_inode -g 512 -N 128", 2560),
    ("-t ext4 -b 1024 -O meta_bg,^resize_inode,metadata_csum_seed -g 512 -J size=1", 6144),
    ("-t ext4 -b 2048 -O sparse_super2,large_dir -g 2048 -J size=2", 10_240),
    ("-t ext4 -b 1024 -O orphan_file -N 96 -J size=1", 4096),
    ("-t ext4 -b 1024 -O ^extent,^64bit,^huge_file,^dir_nlink,^extra_isize,^has_journal", 2048),
    ("-t ext4 -b 1024 -I 512 -O fast_commit -J size=2", 6144),
    ("-t ext4 -b 16384 -O ^has_journal", 8192),
    ("-t ext4 -b 1024 -O inline_data -J size=1", 4096),
    ("-t ext4 -b 4096 -I 512 -O inline_data,^has_journal -N 256", 8192),
];

#[test]
fn sequences_end_as_the_model_does_on_the_first_half_of_the_matrix() {
    run_matrix(0);
}

#[test]
fn sequences_end_as_the_model_does_on_the_second_half_of_the_matrix() {
    run_matrix(1);
}

/// Every other row: two tests, for two cores.
fn run_matrix(half: usize) {
    let long = std::env::var_os("AUTOXEN_LONG").is_some();
    // 20 rows of 15 are 300 sequences.
    let cases = if long { 200 } else { 15 };
    for (nth, (args, kib)) in MATRIX.iter().enumerate().skip(half).step_by(2) {
        let blank = TestImage::new(args, *kib, 0);
        let config =
            Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
        // The same sequences each time, and others by hand.
        let mut seed = [0; 32];
        seed[0] = u8::try_from(nth).expect("few rows");
        let mut runner = match long {
            true => TestRunner::new(config),
            false => {
                let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
                TestRunner::new_with_rng(config, rng)
            }
        };
        let sequence = std::cell::Cell::new(0);
        let outcome = runner.run(&operations(LENGTH), |operations| {
            sequence.set(sequence.get() + 1);
            // Linux mounts no blocks that are larger than a page, on most machines.
            let mountable = !args.contains("-b 16384");
            run_one(&blank, &operations, mountable && sequence.get() % 10 == 1);
            Ok(())
        });
        outcome.unwrap_or_else(|e| panic!("mke2fs {args}: {e}"));
    }
}

fn run_one(blank: &TestImage, operations: &[Operation], ask_kernel: bool) {
    let mut bytes = blank.bytes();
    let mut model = Model::new(NOW);
    let mut rest = operations;
    // Time goes on with each commit.
    for now in NOW.. {
        if rest.is_empty() {
            break;
        }
        let end = rest.iter().position(|operation| *operation == Operation::Commit);
        let (these, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after.get(1..).unwrap_or_default();
        let steps = {
            let fs = Fs::open(Volume::whole(&bytes)).expect("it opens");
            let before = model.clone();
            let mut tx = fs.begin(now).expect("it is clean");
            for operation in these {
                step(operation, &mut model, &mut tx, now);
            }
            commit(tx, now % 2 == 0).unwrap_or_else(|| {
                // No room in the log, with which the edit is gone: once more.
                model = before;
                let mut tx = fs.begin(now).expect("it is clean");
                for operation in these {
                    step(operation, &mut model, &mut tx, now);
                }
                commit(tx, false).expect("a copy has room")
            })
        };
        for (offset, new) in steps.iter().flat_map(Changes::iter) {
            let start = usize::try_from(offset).expect("small");
            bytes[start..start + new.len()].copy_from_slice(new);
        }
        let fs = Fs::open(Volume::whole(&bytes)).expect("it opens");
        assert!(!fs.needs_recovery(), "the log is empty");
        compare(&fs, &model);
        let report = fs.check(&mut |_, _| ControlFlow::Continue(())).expect("it can be read");
        assert!(report.is_clean(), "{report}");
    }
    let image = blank.with_bytes(&bytes);
    image.fsck();
    if ask_kernel {
        assert_eq!(image.kernel_tree(), image.tree());
    }
}

/// What is to be written, in its order; `None` where the log has no room for an edit in place.
fn commit(tx: Transaction<'_>, in_place: bool) -> Option<Vec<Changes>> {
    if !in_place {
        return Some(vec![tx.finish().expect("sound")]);
    }
    match tx.finish_in_place() {
        Ok(edit) => Some(edit.steps().cloned().collect()),
        Err(Error::NoSpace(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Do it on both: they agree, or the disk is full.
fn step(operation: &Operation, model: &mut Model, tx: &mut Transaction<'_>, now: i64) {
    let mut after = model.clone();
    let expected = operation.apply_to_model(&mut after, now);
    match (operation.apply(tx), expected) {
        (Ok(()), Ok(())) => *model = after,
        (Err(Error::NoSpace(_)), _) => {}
        (Err(error), Err(refusal)) => {
            assert!(refusal.is(&error), "{operation:?}: {error}, and not {refusal:?}");
        }
        (Ok(()), Err(refusal)) => panic!("{operation:?} was done, and not refused: {refusal:?}"),
        (Err(error), Ok(())) => panic!("{operation:?}: {error}"),
    }
}

fn compare(fs: &Fs<'_>, model: &Model) {
    for (path, nr) in model.paths() {
        let node = model.node(nr);
        let meta = fs.symlink_metadata(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        // lost+found is in the root, and not in the model.
        let links = model.links(nr) + u16::from(path == "/");
        assert_eq!(meta.nlink, links, "{path}: links");
        if path != "/" {
            assert_eq!((meta.mode, meta.uid, meta.gid), (node.mode, node.uid, node.gid), "{path}");
            let seconds = |time: std::time::SystemTime| {
                let since = time.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
                i64::try_from(since.as_secs()).expect("not so late")
            };
            let times = [meta.atime, meta.mtime, meta.ctime].map(seconds);
            let expected = [node.atime, node.mtime, node.ctime];
            assert_eq!(times, expected, "{path}: atime, mtime, ctime");
            let xattrs = fs.xattrs(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
            let xattrs = xattrs.into_iter().filter(|x| x.name != "system.data");
            let xattrs: BTreeMap<_, _> = xattrs.map(|x| (x.name, x.value)).collect();
            let expected = node.xattrs.iter().map(|(name, value)| (name.into(), value.clone()));
            assert_eq!(xattrs, expected.collect(), "{path}: attributes");
        }
        match &node.content {
            Content::File(bytes) => {
                assert_eq!(meta.kind, FileType::File, "{path}");
                let found = fs.read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
                assert!(found == bytes[..], "{path}: other bytes ({} of them)", found.len());
            }
            Content::Link(target) => {
                assert_eq!(fs.read_link(&path).expect("a link").to_str(), Some(&**target));
            }
            Content::Dir(names) => {
                let entries = fs.read_dir(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
                let found: std::collections::BTreeSet<String> = entries
                    .into_iter()
                    .map(|entry| entry.name.into_string().expect("letters"))
                    .filter(|name| path != "/" || name != "lost+found")
                    .collect();
                assert!(found.iter().eq(names.keys()), "{path}: {found:?}");
            }
        }
    }
}
