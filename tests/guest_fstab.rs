//! The table that we write, read by those who mount by it: libmount (through findmnt of util-linux) and getmntent(3).

#[path = "guest/libmount.rs"]
mod libmount;

use std::path::Path;
use std::process::Command;

use autoxen::guest::fstab::{Device, Entry, edit};
use proptest::prelude::*;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the test")
}

fn entry(source: &str, target: &str, fstype: &str, options: &str, passno: u32) -> Entry {
    Entry {
        source: source.into(),
        target: target.into(),
        fstype: fstype.into(),
        options: options.into(),
        freq: 0,
        passno,
    }
}

/// The entries as the C library reads them.
fn getmntent(directory: &Path, file: &Path) -> Vec<Entry> {
    let program = directory.join("getmntent");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/getmntent.c");
    let built = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([&program, &source])
        .status()
        .expect("cc runs: install the packages gcc and libc6-dev");
    assert!(built.success(), "getmntent.c does not compile");
    let output = Command::new(program).arg(file).output().expect("getmntent runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let unhex = |word: &str| -> Vec<u8> {
        word.as_bytes()[1..]
            .chunks(2)
            .map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16)
                    .expect("hexadecimal")
            })
            .collect()
    };
    String::from_utf8(output.stdout)
        .expect("hexadecimal")
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            Entry {
                source: unhex(words[0]),
                target: unhex(words[1]),
                fstype: unhex(words[2]),
                options: unhex(words[3]),
                freq: words[4].parse().expect("a number"),
                passno: words[5].parse().expect("a number"),
            }
        })
        .collect()
}

#[test]
fn libmount_and_getmntent_read_back_each_nasty_field() {
    let targets = [
        "/a b",
        "/two  blanks ",
        "/tab\there",
        "/new\nline",
        "/back\\slash",
        "/\\040",
        "/\\134040",
        "/#",
        "/a # b",
        "/é",
        "/日本/😀",
        "/'\"`$(id)",
        "/a=b,c",
        "/\u{a0}",
        "/\\",
        "/%s",
        "/tail\\",
        "/cr\rhere",
        "/\u{1}x",
        "/[a]*?~",
    ];
    let sources =
        ["/dev/xvdb1", "LABEL=my disk", "LABEL=#1", "LABEL=a\\b", "UUID=1234-ABCD", "LABEL=\ttab"];
    let options = ["defaults", "ro", "uid=0,umask=022", "x#odd", "a b", "x=\\,y"];
    let mut entries = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let target = format!("/mnt{index}{target}");
        entries.push(entry(
            sources[index % sources.len()],
            &target,
            "ext3",
            options[index / 2 % options.len()],
            u32::try_from(index % 3).expect("small"),
        ));
    }
    let scratch = scratch();
    let directory = scratch.path();
    let file = directory.join("fstab");
    std::fs::write(&file, edit(b"# stock\nproc /proc proc defaults 0 0", &[], &entries).text)
        .expect("written");
    entries.insert(0, entry("proc", "/proc", "proc", "defaults", 0));
    // The order of the table is by depth; compare as sets of lines.
    let sorted = |mut entries: Vec<Entry>| {
        entries.sort_by(|a, b| a.target.cmp(&b.target));
        entries
    };
    let c_library = sorted(getmntent(directory, &file));
    let libmount = sorted(libmount::read(&file));
    let expected = sorted(entries);
    assert_eq!(libmount, expected);
    assert_eq!(c_library, expected);
}

#[test]
fn findmnt_finds_no_fault_in_an_edited_table_but_that_the_disks_are_not_here() {
    let devices = [Device { path: "/dev/xvda1".into(), ..Device::default() }];
    let entries = [entry("/dev/xvda1", "/", "ext3", "defaults", 1)];
    let old = "/dev/hda1 / ext3 defaults 1 1\nLABEL=/boot /boot ext3 defaults 1 2\nnone /proc proc defaults 0 0\n\
               /dev/cdrom /mnt/cdrom udf,iso9660 noauto,owner,kudzu,ro 0 0\n";
    let scratch = scratch();
    let directory = scratch.path();
    let file = directory.join("fstab");
    std::fs::write(&file, edit(old.as_bytes(), &devices, &entries).text).expect("written");
    let read = libmount::read(&file);
    let output = Command::new("findmnt")
        .args(["--verify", "--tab-file"])
        .arg(&file)
        .output()
        .expect("findmnt runs");
    assert_eq!(read, [entry("none", "/proc", "proc", "defaults", 0), entries[0].clone()]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("0 parse errors, 0 errors"), "{text}");
}

/// Pieces of tables, sound and odd.
fn line() -> impl Strategy<Value = String> {
    let source = prop_oneof![
        Just("/dev/xvda1"),
        Just("/dev/hda2"),
        Just("/dev/sdb1"),
        Just("UUID=AB-CD"),
        Just("LABEL=root"),
        Just("proc"),
        Just("LABEL=\"my\\040disk\""),
        Just("nfs:/x"),
        Just("/swapfile"),
        Just("#comment"),
        Just("/dev/disk/by-label/root"),
    ];
    let target = prop_oneof![
        Just("/"),
        Just("/home"),
        Just("/home/"),
        Just("/home/x"),
        Just("none"),
        Just("/my\\040home"),
        Just("/proc"),
        Just("//"),
    ];
    let fstype = prop_oneof![
        Just("ext3"),
        Just("swap"),
        Just("proc"),
        Just("tmpfs"),
        Just("btrfs"),
        Just("nfs")
    ];
    let rest = prop_oneof![
        Just(""),
        Just(" defaults"),
        Just("\tro,bind 0 0"),
        Just(" defaults 1 2 # x"),
        Just(" ro\r")
    ];
    let blank = prop_oneof![Just(" "), Just("\t"), Just("   \t ")];
    let whole = (blank.clone(), source, blank, target, fstype, rest).prop_map(
        |(a, source, b, target, fstype, rest)| format!("{a}{source}{b}{target}{b}{fstype}{rest}"),
    );
    prop_oneof![6 => whole, 1 => "[ -~\\t]{0,20}", 1 => Just(String::new()), 1 => "\\PC{0,10}"]
}

fn world() -> (Vec<Device>, Vec<Entry>) {
    let device = |nr: u32, uuid: &str, label: &str| Device {
        path: format!("/dev/xvda{nr}"),
        renamed_from: Some(format!("/dev/hda{nr}")),
        uuid: Some(uuid.into()),
        label: Some(label.into()),
        ..Device::default()
    };
    let devices =
        vec![device(1, "ab-cd", "root"), device(2, "ef-01", "my disk"), device(3, "77-77", "")];
    let entries = vec![
        entry("/dev/xvda1", "/", "ext3", "defaults", 1),
        entry("LABEL=my disk", "/my home", "ext3", "ro", 0),
        entry("/dev/xvda3", "none", "swap", "defaults", 0),
    ];
    (devices, entries)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_is_made_once_and_touches_only_what_it_says(
        lines in prop::collection::vec(line(), 0..12), newline in any::<bool>(), wanted in 0_usize..8,
    ) {
        let (devices, mut entries) = world();
        let mut bit = 0;
        entries.retain(|_| { bit += 1; wanted & (1 << (bit - 1)) != 0 });
        let mut old = lines.join("\n");
        if newline {
            old.push('\n');
        }
        let once = edit(old.as_bytes(), &devices, &entries);
        let twice = edit(&once.text, &devices, &entries);
        prop_assert_eq!(&twice.text, &once.text);
        prop_assert!(twice.changes.is_empty());

        // Every old line that no change names is there, in its order, byte for byte.
        let text = String::from_utf8(once.text.clone()).expect("text in, text out");
        let mut new = text.split('\n');
        for (index, line) in old.split('\n').enumerate() {
            if !once.changes.iter().any(|change| change.line == Some(index + 1)) {
                prop_assert!(new.any(|there| there == line), "{:?} is gone from {:?}", line, text);
            }
        }
        // Each wanted entry is there exactly once, and every other live line names a device that is there.
        let live: Vec<Entry> = text.split('\n').filter_map(|line| Entry::parse(line.as_bytes())).collect();
        for entry in &entries {
            prop_assert_eq!(live.iter().filter(|live| *live == entry).count(), 1, "{}", text);
        }
        for entry in &live {
            let gone = [&b"/dev/sdb1"[..], b"/dev/hda2"];
            let no_device = entry.fstype == b"nfs" || entry.fstype == b"proc" || entry.fstype == b"tmpfs"
                || entry.options == b"ro,bind";
            prop_assert!(no_device || !gone.contains(&entry.source.as_slice()), "{}", text);
        }
    }
}
