//! Random sequences of operations against a model, and directories large enough for hash trees.

use std::collections::BTreeMap;

use imgfmt::Error;
use imgfmt::ext::{FileType, Fs, Transaction};

use crate::support::{Random, TestImage, noise, run_ok};

/// What a path should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    File(u64, usize),
    Dir,
    Link(String),
}

pub(crate) type Model = BTreeMap<String, Node>;

fn pick(random: &mut Random, model: &Model, wanted: fn(&Node) -> bool) -> Option<String> {
    let paths: Vec<&String> = model.iter().filter(|(_, n)| wanted(n)).map(|(p, _)| p).collect();
    let index = usize::try_from(random.below(paths.len().max(1) as u64)).expect("small");
    paths.get(index).map(|path| (*path).clone())
}

fn new_path(random: &mut Random, model: &Model) -> String {
    let dir = pick(random, model, |node| *node == Node::Dir).unwrap_or_default();
    let longest = if random.below(4) == 0 { 200 } else { 12 };
    let len = usize::try_from(1 + random.below(longest));
    let name: String = (0..len.expect("small"))
        .map(|_| char::from(b'a' + u8::try_from(random.below(26)).expect("a letter")))
        .collect();
    format!("{dir}/{name}")
}

/// One operation on both. `NoSpace` is the only error there may be, and then nothing has happened.
pub(crate) fn step(random: &mut Random, tx: &mut Transaction<'_>, model: &mut Model, largest: u64) {
    let is_file = |node: &Node| matches!(node, Node::File(..));
    let (path, result, node) = match random.below(10) {
        0..=2 => {
            let (path, seed) = (new_path(random, model), random.next());
            let len = usize::try_from(random.below(largest)).expect("small");
            (path.clone(), tx.write(&path, noise(seed, len)), Some(Node::File(seed, len)))
        }
        3 | 4 => {
            let Some(path) = pick(random, model, is_file) else { return };
            let seed = random.next();
            let len = usize::try_from(random.below(largest)).expect("small");
            (path.clone(), tx.write(&path, noise(seed, len)), Some(Node::File(seed, len)))
        }
        5 => {
            let path = new_path(random, model);
            (path.clone(), tx.create_dir(&path), Some(Node::Dir))
        }
        6 => {
            let path = new_path(random, model);
            let target = "t".repeat(usize::try_from(1 + random.below(120)).expect("small"));
            (path.clone(), tx.symlink(&target, &path), Some(Node::Link(target)))
        }
        7 | 8 => {
            let Some(path) = pick(random, model, |node| *node != Node::Dir) else { return };
            (path.clone(), tx.remove_file(&path), None)
        }
        _ => {
            let Some(path) = pick(random, model, |node| *node == Node::Dir) else { return };
            let below = format!("{path}/");
            if model.keys().any(|other| other.starts_with(&below)) {
                let refusal = tx.remove_dir(&path).expect_err("it is not empty");
                assert!(matches!(refusal, Error::WrongKind { .. }), "{refusal}");
                return;
            }
            (path.clone(), tx.remove_dir(&path), None)
        }
    };
    match result {
        Ok(()) => match node {
            Some(node) => drop(model.insert(path, node)),
            None => drop(model.remove(&path)),
        },
        Err(Error::NoSpace(_)) => {}
        Err(Error::AlreadyExists(_)) if model.contains_key(&path) => {}
        Err(Error::IsADirectory(_)) if model.get(&path) == Some(&Node::Dir) => {}
        Err(e @ Error::WrongKind { .. }) => panic!("{path}: {e}"),
        Err(Error::NotFound(_) | Error::SymlinkLoop(_)) => panic!("{path} was there"),
        Err(e) => panic!("{path}: {e}"),
    }
}

pub(crate) fn check(fs: &Fs<'_>, model: &Model) {
    let mut seen = 0;
    let mut dirs = vec![String::new()];
    while let Some(dir) = dirs.pop() {
        for entry in fs.read_dir(format!("{dir}/")).expect("a directory") {
            let path = format!("{dir}/{}", entry.name.to_str().expect("letters"));
            if path == "/lost+found" {
                continue;
            }
            let node = model.get(&path).unwrap_or_else(|| panic!("{path} should not be there"));
            seen += 1;
            match node {
                Node::Dir => {
                    assert_eq!(entry.kind, FileType::Directory, "{path}");
                    dirs.push(path);
                }
                Node::File(seed, len) => {
                    assert!(fs.read(&path).expect(&path) == noise(*seed, *len), "{path}");
                }
                Node::Link(target) => {
                    assert_eq!(fs.read_link(&path).expect(&path).to_str(), Some(&**target));
                }
            }
        }
    }
    assert_eq!(seen, model.len());
}

#[test]
fn random_operations_end_as_a_model_does() {
    for (seed, args, kib, largest) in [
        (1, "-t ext2 -b 1024 -I 128", 8192, 120_000),
        (2, "-t ext3 -b 1024 -I 128", 16384, 400_000),
        (3, "-t ext3 -b 4096", 32768, 400_000),
        (4, "-t ext4 -b 1024", 16384, 200_000),
        (5, "-t ext4 -b 4096", 32768, 800_000),
        (6, "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg -g 2048", 32768, 300_000),
        (7, "-t ext4 -b 1024 -O ^has_journal,^flex_bg -g 1024 -N 1000", 8192, 90_000),
        (8, "-t ext2 -r 0 -O none -b 1024", 8192, 90_000),
        (9, "-t ext4 -b 2048 -O meta_bg,^resize_inode,metadata_csum_seed", 32768, 300_000),
        (10, "-t ext4 -b 65536", 131_072, 300_000),
    ] {
        let image = TestImage::new(args, kib, 512 * seed);
        let mut random = Random(seed);
        let mut model = Model::new();
        for _ in 0..8 {
            let operations = 20 + random.below(80);
            image
                .edit(|tx| {
                    for _ in 0..operations {
                        step(&mut random, tx, &mut model, largest);
                    }
                    Ok(())
                })
                .unwrap_or_else(|e| panic!("{args}: {e}"));
        }
        image.fsck();
        image.with_fs(|fs| check(fs, &model));
        assert!(model.len() > 20, "{args}: {}", model.len());
    }
}

#[test]
fn the_same_edit_gives_the_same_bytes() {
    let image = TestImage::new("-t ext4 -b 1024", 8192, 0);
    let edit = |fs: &Fs<'_>| {
        let mut tx = fs.begin(1_700_000_000).expect("a clean image");
        let (mut random, mut model) = (Random(77), Model::new());
        for _ in 0..100 {
            step(&mut random, &mut tx, &mut model, 30_000);
        }
        tx.finish().expect("readable")
    };
    let changes = image.with_fs(edit);
    assert_eq!(changes, image.with_fs(edit));
    let before = image.bytes();
    assert!(!changes.is_empty());
    assert_eq!(before, image.bytes(), "an edit writes nothing");
}

#[test]
fn a_hash_tree_takes_thousands_of_names() {
    for (args, count) in [
        ("-t ext3 -b 1024 -I 128 -N 8192", 3_200),
        ("-t ext4 -b 1024 -N 8192", 3_200),
        ("-t ext4 -b 4096 -N 8192", 2_000),
        ("-t ext4 -b 1024 -N 8192 -O ^dir_index", 400),
    ] {
        let image = TestImage::new(args, 32768, 0);
        let name = |i: u32| {
            format!("/dir/name-{i:05}-{}", "x".repeat(usize::try_from(i % 120).expect("small")))
        };
        image
            .edit(|tx| {
                tx.create_dir("/dir")?;
                (0..count).try_for_each(|i| tx.symlink(format!("{i}"), name(i)))
            })
            .unwrap_or_else(|e| panic!("{args}: {e}"));
        image.fsck();
        image
            .edit(|tx| {
                (0..count).step_by(3).try_for_each(|i| tx.remove_file(name(i)))?;
                (count..count + 500).try_for_each(|i| tx.symlink(format!("{i}"), name(i)))
            })
            .unwrap_or_else(|e| panic!("{args}: {e}"));
        image.fsck();
        image.with_fs(|fs| {
            for i in 0..count + 500 {
                let gone = i < count && i % 3 == 0;
                let link = fs.read_link(name(i)).ok();
                assert_eq!(link, (!gone).then(|| format!("{i}").into()), "{args}: {i}");
            }
        });
        // The kernel finds each by its hash, and not only by listing.
        image.with_kernel(|root| {
            for i in (count..count + 500).step_by(7) {
                let path = root.join(&name(i)[1..]);
                assert_eq!(
                    std::fs::read_link(&path).expect("it is there").to_str(),
                    Some(&*format!("{i}"))
                );
            }
            (5_000..5_500).for_each(|i| {
                std::fs::write(root.join(&name(i)[1..]), "kernel").expect("the kernel adds to it");
            });
        });
        image.edit(|tx| (6_000..6_500).try_for_each(|i| tx.symlink("x", name(i)))).expect(args);
        image.fsck();
        assert_eq!(image.kernel_tree(), image.tree(), "{args}");
    }
}

#[test]
fn a_hash_tree_follows_each_hash_and_sign() {
    for hash in ["legacy", "half_md4", "tea"] {
        // s_flags: 1 for signed bytes, 2 for unsigned ones.
        for sign in ["1", "2"] {
            let image = TestImage::new("-t ext4 -b 1024 -N 1024 -O ^has_journal", 8192, 0);
            let path = image.path();
            let path = path.to_str().expect("a plain path");
            run_ok("tune2fs", &["-E", &format!("hash_alg={hash}"), path]);
            run_ok("debugfs", &["-w", "-R", &format!("ssv flags {sign}"), path]);
            let name = |i: u32| format!("/dir/\u{e9}-{i}-{}", "\u{fc}".repeat(20));
            image
                .edit(|tx| {
                    tx.create_dir("/dir")?;
                    (0..400).try_for_each(|i| tx.symlink("x", name(i)))
                })
                .expect(hash);
            image.fsck();
            image.with_kernel(|root| {
                for i in 0..400 {
                    std::fs::symlink_metadata(root.join(&name(i)[1..])).expect("found by its hash");
                }
            });
        }
    }
}
