//! FAT, against fsck.fat, mtools and the kernel.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use imgfmt::fat::{self, Fs};
use imgfmt::{Changes, Error, ImageMut, Volume};

mod judge;
use judge::{Mount, outcome, run, sparse_file, text};

const MIB: u64 = 1 << 20;
/// 2026-11-23 12:45:08.
const NOW: u64 = 1_795_437_908;

/// A window of an image that begins at byte `start`.
fn volume(image: &ImageMut, start: u64) -> Volume<'_> {
    let len = imgfmt::Storage::len(image) - start;
    Volume::new(image, start, len).expect("it is within the image")
}

/// Open the FAT in `path`, edit it, commit.
fn edit(path: &Path, edit: impl FnOnce(&mut Fs<'_>) -> Result<(), Error>) -> Result<(), Error> {
    let mut image = ImageMut::open(path)?;
    let changes = changes(&image, 0, edit)?;
    image.commit(&changes)
}

fn changes(
    image: &ImageMut,
    start: u64,
    edit: impl FnOnce(&mut Fs<'_>) -> Result<(), Error>,
) -> Result<Changes, Error> {
    let mut fs = Fs::open(volume(image, start))?;
    edit(&mut fs)?;
    fs.into_changes()
}

fn assert_clean(path: &Path) {
    let output = outcome("fsck.fat", &["-n", "-V", text(path)]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    // It mends small things silently, as far as its exit status goes.
    assert!(said.lines().count() <= 4, "{said}");
}

fn mkfs(directory: &Path, name: &str, len: u64, options: &[&str]) -> PathBuf {
    let path = sparse_file(directory, name, len);
    run("mkfs.fat", &[options, &["--invariant", text(&path)]].concat());
    path
}

const KINDS: [(&str, u64, &[&str]); 6] = [
    ("fat12", 2 * MIB, &["-F12"]),
    ("fat12 with odd clusters", MIB, &["-F12", "-s1", "-f1"]),
    ("fat16", 32 * MIB, &["-F16"]),
    ("fat16 of 4096-byte sectors", 64 * MIB, &["-F16", "-S4096"]),
    ("fat32", 64 * MIB, &["-F32", "-s1"]),
    ("fat32 of large clusters", 600 * MIB, &["-F32", "-s16"]),
];

#[test]
fn files_that_we_write_are_what_mtools_reads() {
    let directory = tempfile::tempdir().unwrap();
    let long = "A long n\u{e4}me with blanks, and a second.extension";
    let large: Vec<u8> = (0..100_000_u32).map(|nr| (nr % 251) as u8).collect();
    for (name, len, options) in KINDS {
        let path = mkfs(directory.path(), "fat", len, options);
        edit(&path, |fs| {
            fs.create_dir("EFI".as_ref(), NOW)?;
            fs.create_dir("/efi/debian".as_ref(), NOW)?;
            fs.write("EFI/debian/grubx64.efi".as_ref(), &large, NOW)?;
            fs.write(long.as_ref(), b"long", NOW)?;
            fs.write("empty".as_ref(), b"", NOW)
        })
        .unwrap();
        assert_clean(&path);
        let image = text(&path);
        let there = directory.path().join("there");
        run("mcopy", &["-n", "-i", image, "::/EFI/debian/grubx64.efi", text(&there)]);
        assert!(fs::read(&there).unwrap() == large, "{name}");
        fs::remove_file(&there).unwrap();
        assert_eq!(run("mtype", &["-i", image, &format!("::/{long}")]), "long");
        let listed = run("mdir", &["-i", image, "::/EFI/debian"]);
        assert!(listed.contains("100000 2026-11-23  12:45"), "{name}: {listed}");
        assert_eq!(run("mtype", &["-i", image, "::/EMPTY"]), "");
    }
}

#[test]
fn files_that_mtools_and_the_kernel_write_are_what_we_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let large: Vec<u8> = (0..70_000_u32).map(|nr| (nr % 239) as u8).collect();
    fs::write(&file, &large).unwrap();
    for (name, len, options) in KINDS {
        let path = mkfs(directory.path(), "fat", len, options);
        let image = text(&path);
        run("mmd", &["-i", image, "::/Directory"]);
        run("mcopy", &["-i", image, text(&file), "::/Directory/A rather long name.text"]);
        let mounted = directory.path().join("mounted");
        fs::create_dir_all(&mounted).unwrap();
        if kernel_has_vfat() {
            let _mount = Mount::image(&path, &mounted);
            fs::write(mounted.join("Directory/from the kernel"), b"kernel").unwrap();
        } else {
            run("mcopy", &["-i", image, text(&file), "::/Directory/from the kernel"]);
        }
        let image = ImageMut::open(&path).unwrap();
        let fs = Fs::open(volume(&image, 0)).unwrap();
        let names: Vec<(String, bool, u64)> = fs
            .read_dir("directory".as_ref())
            .unwrap()
            .into_iter()
            .map(|entry| (entry.name, entry.is_dir, entry.len))
            .collect();
        let last = if kernel_has_vfat() { 6 } else { 70_000 };
        assert_eq!(
            names,
            [
                ("A rather long name.text".to_string(), false, 70_000),
                ("from the kernel".to_string(), false, last)
            ],
            "{name}"
        );
        let read = fs.read("Directory/a RATHER long name.text".as_ref()).unwrap();
        assert!(read == large, "{name}");
    }
}

fn kernel_has_vfat() -> bool {
    fs::read_to_string("/proc/filesystems").is_ok_and(|known| known.contains("vfat"))
}

#[test]
fn the_window_of_a_partition_is_edited_and_nothing_around_it() {
    let directory = tempfile::tempdir().unwrap();
    let inner = mkfs(directory.path(), "inner", 8 * MIB, &["-F12"]);
    let path = directory.path().join("disk");
    let fat = fs::read(&inner).unwrap();
    fs::write(&path, [&vec![0xaa; MIB as usize], &fat[..]].concat()).unwrap();
    let mut image = ImageMut::open(&path).unwrap();
    let changes = changes(&image, MIB, |fs| fs.write("a".as_ref(), b"b", NOW)).unwrap();
    assert!(changes.iter().all(|(offset, _)| offset >= MIB));
    // The table and its copy, the root directory, and the file.
    assert!(changes.len() <= 5 * 4096, "{}", changes.len());
    image.commit(&changes).unwrap();
    drop(image);
    let disk = fs::read(&path).unwrap();
    assert!(disk[..MIB as usize].iter().all(|byte| *byte == 0xaa));
    fs::write(&inner, &disk[MIB as usize..]).unwrap();
    assert_clean(&inner);
    assert_eq!(run("mtype", &["-i", text(&inner), "::/a"]), "b");
}

#[test]
fn a_volume_that_is_formatted_here_is_one_for_all() {
    let directory = tempfile::tempdir().unwrap();
    for (len, kind) in [
        (64 << 10, "FAT12"),
        (MIB, "FAT12"),
        (16 * MIB + 512, "FAT16"),
        (600 * MIB, "FAT32"),
        (2 << 30, "FAT32"),
    ] {
        let path = sparse_file(directory.path(), "fat", len);
        let mut image = ImageMut::open(&path).unwrap();
        let made = fat::format(Volume::whole(&image), 0x1a2b_3c4d, Some("cidata")).unwrap();
        image.commit(&made).unwrap();
        let again = fat::format(Volume::whole(&image), 0x1a2b_3c4d, Some("cidata")).unwrap();
        assert!(again.is_empty(), "the same call makes the same bytes");
        drop(image);
        assert_clean(&path);
        let value = |key| run("blkid", &["-p", "-o", "value", "-s", key, text(&path)]);
        assert_eq!(value("VERSION").trim(), kind);
        assert_eq!(value("UUID").trim(), "1A2B-3C4D");
        assert_eq!(value("LABEL").trim(), "cidata");
        edit(&path, |fs| fs.write("meta-data".as_ref(), b"instance-id: i\n", NOW)).unwrap();
        assert_clean(&path);
        assert_eq!(run("mtype", &["-i", text(&path), "::/meta-data"]), "instance-id: i\n");
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 20 * MIB);
    }
    let small = vec![0; 1000];
    let message = |len: usize, label| {
        let zeros = vec![0; len];
        fat::format(Volume::whole(&zeros), 1, label).unwrap_err().to_string()
    };
    assert_eq!(message(small.len(), None), "FAT in 1000 bytes, at least 65536 are needed");
    for label in ["", "twelve bytes", "a/b", " a", "a ", "\u{e4}"] {
        assert!(message(1 << 20, Some(label)).starts_with("FAT label `"), "{label}");
    }
}

#[test]
fn each_refusal_has_its_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = mkfs(directory.path(), "fat", 2 * MIB, &["-F12"]);
    edit(&path, |fs| {
        fs.create_dir("dir".as_ref(), NOW)?;
        fs.write("dir/file".as_ref(), b"content", NOW)
    })
    .unwrap();
    let image = ImageMut::open(&path).unwrap();
    let mut fs = Fs::open(volume(&image, 0)).unwrap();
    type Act = fn(&mut Fs<'_>) -> Result<(), Error>;
    let cases: &[(Act, &str)] = &[
        (|fs| fs.read("no".as_ref()).map(drop), "`no`: no such file or directory in the image"),
        (
            |fs| fs.write("no/file".as_ref(), b"", NOW),
            "`no/file`: no such file or directory in the image",
        ),
        (|fs| fs.read("dir".as_ref()).map(drop), "`dir`: is a directory"),
        (|fs| fs.read("/".as_ref()).map(drop), "`/`: is a directory"),
        (|fs| fs.write("DIR".as_ref(), b"", NOW), "`DIR`: is a directory"),
        (|fs| fs.read_dir("dir/file".as_ref()).map(drop), "`dir/file`: not a directory"),
        (|fs| fs.write("dir/file/x".as_ref(), b"", NOW), "`dir/file/x`: not a directory"),
        (|fs| fs.create_dir("Dir".as_ref(), NOW), "`Dir`: already exists in the image"),
        (|fs| fs.create_dir("dir/FILE".as_ref(), NOW), "`dir/FILE`: already exists in the image"),
        (|fs| fs.create_dir("/".as_ref(), NOW), "`/`: already exists in the image"),
        (|fs| fs.remove("dir".as_ref()), "`dir`: the directory is not empty"),
        (
            |fs| fs.write("dir/../x".as_ref(), b"", NOW),
            "`dir/../x`: `..` has no place in a path inside a FAT",
        ),
        (|fs| fs.write("a:b".as_ref(), b"", NOW), "`a:b`: a character that no FAT name has"),
        (
            |fs| fs.write("\u{1f600}".as_ref(), b"", NOW),
            "`\u{1f600}`: a character that no FAT name has",
        ),
        (
            |fs| fs.create_dir("end.".as_ref(), NOW),
            "`end.`: a FAT name does not end in a dot or a blank",
        ),
        (|fs| fs.symlink("l".as_ref()), "`l`: FAT has no symbolic links"),
        (|fs| fs.set_owner("l".as_ref()), "`l`: FAT has no owners"),
        (|fs| fs.set_mode("l".as_ref()), "`l`: FAT has no modes"),
        (
            |fs| fs.write("big".as_ref(), &vec![1; 3 << 20], NOW),
            "no space left in the file system of the image: all clusters are in use",
        ),
    ];
    for (act, expected) in cases {
        assert_eq!(act(&mut fs).unwrap_err().to_string(), *expected);
    }
    let name = "n".repeat(256);
    let error = fs.write(name.as_ref(), b"", NOW).unwrap_err().to_string();
    assert!(error.ends_with("a FAT name is at most 255 bytes long"));
    // What failed half-way left nothing.
    assert!(fs.into_changes().unwrap().is_empty());
}

#[test]
fn a_name_has_many_spellings_and_leads_to_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = mkfs(directory.path(), "fat16", 32 * MIB, &["-F16"]);
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    edit(&path, |fs| {
        fs.create_dir("/Long directory".as_ref(), NOW)?;
        fs.write("/Long directory/Stra\u{df}e.conf".as_ref(), &bytes, NOW)?;
        fs.write("/Long directory/Stra\u{df}e.config".as_ref(), b"other", NOW)
    })
    .unwrap();
    // As mtools gives them: the second alias has another number.
    let listed = run("mdir", &["-i", text(&path), "::/Long directory"]);
    assert!(listed.contains("~1") && listed.contains("~2"), "{listed}");
    let image = ImageMut::open(&path).unwrap();
    let fs = Fs::open(volume(&image, 0)).unwrap();
    let spelled = |path: &str| fs.spelled(path.as_ref());
    for name in
        ["/LONG DIRECTORY/STRASSE.CONF", "/longdi~1/stra\u{df}e.conf", "/LONGDI~1/STRA_E~1.CON"]
    {
        let kept = Path::new("/Long directory/Stra\u{df}e.conf");
        assert_eq!(spelled(name).unwrap(), kept, "{name}");
        // It is the same for all that look at it.
        assert_eq!(fs.metadata(name.as_ref()).unwrap().len, 100_000, "{name}");
        assert_eq!(fs.read(name.as_ref()).unwrap(), bytes, "{name}");
    }
    assert_eq!(
        spelled("/LONGDI~1/STRA_E~2.CON").unwrap(),
        Path::new("/Long directory/Stra\u{df}e.config")
    );
    assert_eq!(spelled("/").unwrap(), Path::new("/"));
    assert!(matches!(spelled("/LONGDI~1/STRA_E~3.CON"), Err(Error::NotFound(_))));
    let read = |offset, cap| fs.read_at("/longdi~1/stra_e~1.con".as_ref(), offset, cap).unwrap();
    for (offset, cap) in [(0, 10), (99_990, 20), (1, 99_999), (65_535, 8193), (0, 0)] {
        let start = usize::try_from(offset).unwrap();
        assert_eq!(read(offset, cap), bytes[start..bytes.len().min(start + cap)], "{offset} {cap}");
    }
    for offset in [100_000, 100_001, u64::MAX] {
        assert_eq!(read(offset, 10), b"", "{offset}");
    }
}

#[test]
fn a_full_root_directory_is_no_space() {
    let directory = tempfile::tempdir().unwrap();
    let path = mkfs(directory.path(), "fat", 2 * MIB, &["-F12", "-r", "16"]);
    let mut count = 0;
    let error = edit(&path, |fs| {
        loop {
            // Short names, of one entry and one more for the long name.
            fs.write(format!("file{count}").as_ref(), b"", NOW)?;
            count += 1;
        }
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no space left in the file system of the image: the root directory is full"
    );
    assert_eq!(count, 8);
}

#[test]
fn a_volume_that_was_not_unmounted_is_read_but_not_edited() {
    let directory = tempfile::tempdir().unwrap();
    for (width, len, state) in [("-F12", 2 * MIB, 37), ("-F32", 64 * MIB, 65)] {
        let path = mkfs(directory.path(), "fat", len, &[width]);
        edit(&path, |fs| fs.write("a".as_ref(), b"b", NOW)).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[state] |= 1;
        fs::write(&path, bytes).unwrap();
        let image = ImageMut::open(&path).unwrap();
        let mut fs = Fs::open(volume(&image, 0)).unwrap();
        assert_eq!(fs.read("a".as_ref()).unwrap(), b"b");
        assert_eq!(
            fs.write("a".as_ref(), b"c", NOW).unwrap_err().to_string(),
            "the file system is not clean: it was not unmounted; `fsck.fat -a` mends it"
        );
    }
}

/// Many edits, against a model; fsck.fat looks on.
#[test]
fn random_edits_leave_what_the_model_says_and_a_clean_volume() {
    let directory = tempfile::tempdir().unwrap();
    for (name, len, options) in KINDS {
        let path = mkfs(directory.path(), "fat", len, options);
        let mut model: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
        let mut random = random(7);
        for _ in 0..4 {
            edit(&path, |fs| {
                for _ in 0..25 {
                    step(fs, &mut model, &mut random);
                }
                Ok(())
            })
            .unwrap();
            assert_clean(&path);
            let image = ImageMut::open(&path).unwrap();
            let fs = Fs::open(volume(&image, 0)).unwrap();
            for (path, content) in &model {
                match content {
                    Some(bytes) => assert!(fs.read(path.as_ref()).unwrap() == *bytes, "{name}"),
                    None => drop(fs.read_dir(path.as_ref()).unwrap()),
                }
            }
            let count = count_entries(&fs, Path::new("/"));
            assert_eq!(count, model.len(), "{name}");
        }
        assert!(model.len() > 5);
    }
}

fn count_entries(fs: &Fs<'_>, path: &Path) -> usize {
    let entries = fs.read_dir(path).expect("a directory");
    let inside = |entry: &fat::Entry| count_entries(fs, &path.join(&entry.name));
    entries.len() + entries.iter().filter(|entry| entry.is_dir).map(inside).sum::<usize>()
}

fn random(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 8).expect("64 bits") % below
    }
}

fn step(
    fs: &mut Fs<'_>,
    model: &mut BTreeMap<String, Option<Vec<u8>>>,
    random: &mut impl FnMut(usize) -> usize,
) {
    let parents: Vec<String> = model
        .iter()
        .filter(|(_, content)| content.is_none())
        .map(|(path, _)| path.clone())
        .collect();
    let parent = match parents.len() {
        0 => String::new(),
        count => format!("{}/", parents[random(count)]),
    };
    let parent = if random(2) == 0 { String::new() } else { parent };
    let name = match random(3) {
        0 => format!("F{}", random(20)),
        1 => format!("a longer name {}", random(20)),
        _ => format!("{}{}.text", "n".repeat(60), random(20)),
    };
    let path = format!("{parent}{name}");
    let held = model.get(&path).cloned();
    match (random(10), held) {
        (0..6, None | Some(Some(_))) => {
            let bytes = vec![random(256) as u8; [0, 1, 511, 512, 513, 5000, 20_000][random(7)]];
            fs.write(path.as_ref(), &bytes, NOW).expect("there is room");
            model.insert(path, Some(bytes));
        }
        (6..8, None) => {
            fs.create_dir(path.as_ref(), NOW).expect("there is room");
            model.insert(path, None);
        }
        (_, Some(content)) => {
            let inside = format!("{path}/");
            let is_empty = content.is_some() || !model.keys().any(|key| key.starts_with(&inside));
            assert_eq!(fs.remove(path.as_ref()).is_ok(), is_empty);
            if is_empty {
                model.remove(&path);
            }
        }
        _ => assert!(matches!(fs.read(path.as_ref()), Err(Error::NotFound(_)))),
    }
}

/// A small FAT with directories, long names and fragments.
fn sample(directory: &Path, len: u64, options: &[&str]) -> Vec<u8> {
    let path = mkfs(directory, "sample", len, options);
    edit(&path, |fs| {
        fs.create_dir("dir".as_ref(), NOW)?;
        fs.create_dir("dir/a long name of a directory".as_ref(), NOW)?;
        for nr in 0..20 {
            let name = format!("dir/a long name of a directory/file {nr}");
            fs.write(name.as_ref(), &[nr; 3000], NOW)?;
        }
        fs.write("file".as_ref(), &[7; 9000], NOW)
    })
    .expect("there is room");
    fs::read(&path).expect("a file")
}

#[test]
fn chains_that_contradict_the_volume_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    // 1 sector reserved, tables of 12 bits from byte 512 on; the root has 512 entries, clusters of 4 sectors.
    let good = sample(directory.path(), 2 * MIB, &["-F12", "-s4", "-r512"]);
    let open = |bytes: &Vec<u8>| Fs::open(Volume::whole(bytes)).map(drop);
    open(&good).unwrap();
    let root = 512 * (1 + 2 * usize::from(u16::from_le_bytes([good[22], good[23]])));
    let file = (root..).step_by(32).find(|at| good[*at..].starts_with(b"FILE       ")).unwrap();
    let first = usize::from(u16::from_le_bytes([good[file + 26], good[file + 27]]));
    let link = |bytes: &mut Vec<u8>, cluster: usize, value: u16| {
        let at = 512 + cluster * 3 / 2;
        let old = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let new = if cluster.is_multiple_of(2) {
            old & 0xf000 | value
        } else {
            old & 0x000f | value << 4
        };
        bytes[at..at + 2].copy_from_slice(&new.to_le_bytes());
    };
    type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: &[(Damage<'_>, &str)] = &[
        (&|b| link(b, first, first as u16), "cluster {first} is in use already"),
        (&|b| link(b, first + 1, first as u16), "cluster {first} is in use already"),
        (&|b| link(b, first + 1, 2), "9000 bytes in 3 clusters, not in 5"),
        (&|b| link(b, first, 1), "cluster 1 is none of the volume"),
        (&|b| link(b, first, 0xff7), "cluster 4087 is none of the volume"),
        (&|b| link(b, first + 1, 0), "cluster {second} is marked as free"),
        (&|b| link(b, first + 1, 0xfff), "9000 bytes in 2 clusters, not in 5"),
        (&|b| b[file + 31] = 0xff, "4278199080 bytes in 5 clusters, not in 2088965"),
        (&|b| b[file + 26..file + 28].fill(0), "9000 bytes in 0 clusters, not in 5"),
    ];
    for (damage, expected) in cases {
        let mut bad = good.clone();
        damage(&mut bad);
        let error = open(&bad).unwrap_err().to_string();
        let expected = expected
            .replace("{first}", &first.to_string())
            .replace("{second}", &(first + 1).to_string());
        assert_eq!(error, format!("corrupt image: FAT: `/FILE`: {expected}"));
    }
    let mut bad = good.clone();
    // The directory becomes its own child.
    let child = root + 512 * 32;
    let name = (child..).step_by(32).find(|at| bad[*at..].starts_with(b"ALONGN~")).unwrap();
    bad[name + 26..name + 28].copy_from_slice(&2_u16.to_le_bytes());
    let error = open(&bad).unwrap_err().to_string();
    assert!(error.ends_with("cluster 2 is in use already"), "{error}");
}

#[test]
fn each_bad_field_of_a_boot_sector_is_refused_with_its_value() {
    let directory = tempfile::tempdir().unwrap();
    let fat12 = sample(directory.path(), 2 * MIB, &["-F12", "-s4", "-r512"]);
    let fat32 = sample(directory.path(), 34 * MIB, &["-F32", "-s1"]);
    let cases: &[(bool, usize, &[u8], &str)] = &[
        (false, 510, &[0], "magic 43520"),
        (false, 11, &[0, 0], "sector length 0"),
        (false, 11, &[0, 1], "sector length 256"),
        (false, 13, &[0], "sectors per cluster 0"),
        (false, 13, &[3], "sectors per cluster 3"),
        (false, 14, &[0, 0], "reserved sectors 0"),
        (false, 16, &[0], "count of tables 0"),
        (false, 16, &[255], "count of tables 255"),
        (false, 17, &[0, 0], "entries of the root directory 0"),
        (false, 17, &[1, 0], "entries of the root directory 1"),
        (false, 19, &[0, 0], "count of sectors 0"),
        (false, 19, &[8, 0], "count of sectors 8"),
        (false, 19, &[0xff, 0xff], "count of sectors 65535"),
        (false, 22, &[1, 0], "sectors of a table 1"),
        (true, 17, &[16, 0], "entries of the root directory 16"),
        (true, 32, &[0xff; 4], "count of sectors 4294967295"),
        (true, 36, &[0; 4], "sectors of a table 0"),
        (true, 36, &[0xff; 4], "sectors of a table 4294967295"),
        (true, 36, &[8, 0, 0, 0], "sectors of a table 8"),
        (true, 42, &[1], "version 1"),
        (true, 44, &[0; 4], "cluster of the root 0"),
        (true, 44, &[0xff; 4], "cluster of the root 4294967295"),
        (true, 48, &[0, 0], "FSInfo sector 0"),
        (true, 48, &[0xff, 0xff], "FSInfo sector 65535"),
        (true, 50, &[0xff, 0xff], "backup boot sector 65535"),
    ];
    for (is_fat32, at, bytes, expected) in cases {
        let mut bad = if *is_fat32 { fat32.clone() } else { fat12.clone() };
        bad[*at..at + bytes.len()].copy_from_slice(bytes);
        let error = Fs::open(Volume::whole(&bad)).map(drop).unwrap_err().to_string();
        assert_eq!(error, format!("corrupt image: FAT boot sector: {expected}"));
    }
    let mut bad = fat32.clone();
    bad[40] = 0x80;
    let error = Fs::open(Volume::whole(&bad)).map(drop).unwrap_err().to_string();
    assert_eq!(error, "FAT32 whose tables are not mirrored");
}

/// Errors are fine, panics and loops are not.
#[test]
fn no_mutation_of_a_fat_makes_it_panic_or_run_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    for (len, options, count) in [
        (MIB, &["-F12", "-s1"][..], 500),
        (5 * MIB, &["-F16", "-s1"], 80),
        (34 * MIB, &["-F32", "-s1"], 80),
    ] {
        let mut bytes = sample(directory.path(), len, options);
        let reserved = 512 * usize::from(u16::from_le_bytes([bytes[14], bytes[15]]));
        let places: Vec<usize> = bytes
            .iter()
            .enumerate()
            .filter(|(at, byte)| **byte != 0 && **byte != 7 && *at < 512 * 1024)
            .map(|(at, _)| at)
            .chain(0..90)
            .chain(reserved..reserved + 300)
            .collect();
        let mut random = random(count);
        let mut opened = 0;
        for _ in 0..count {
            let mut touched = Vec::new();
            for _ in 0..1 + random(3) {
                let at = places[random(places.len())];
                touched.push((at, bytes[at]));
                bytes[at] =
                    [0, 1, 0x0f, 0x10, 0x7f, 0x80, 0xe5, 0xff, random(256) as u8][random(9)];
            }
            if let Ok(mut fs) = Fs::open(Volume::whole(&bytes)) {
                opened += 1;
                use_all_of(&mut fs);
            }
            for (at, byte) in touched.into_iter().rev() {
                bytes[at] = byte;
            }
        }
        assert!(opened > 5, "{opened} of {count} were looked at from inside");
    }
}

fn use_all_of(fs: &mut Fs<'_>) {
    let mut pending = vec![PathBuf::from("/")];
    while let Some(path) = pending.pop() {
        for entry in fs.read_dir(&path).unwrap_or_default() {
            let path = path.join(&entry.name);
            if entry.is_dir {
                pending.push(path);
            } else {
                let _either = fs.read(&path);
            }
        }
    }
    let _either = fs.write("dir/a new file with a long name".as_ref(), &[1; 3000], NOW);
    let _either = fs.write("file".as_ref(), &[1; 20_000], NOW);
    let _either = fs.create_dir("dir/new".as_ref(), NOW);
    let _either = fs.remove("dir/a long name of a directory/file 3".as_ref());
    let _either = fs.remove("dir/new".as_ref());
}
