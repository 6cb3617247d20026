//! Archives that lie.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use imgfmt::Result;
use imgfmt::archive::{Content, Entry, Sink, Source, TarSource, Warn};
use tar::{EntryType, Header};

use crate::judge::text;
use crate::support::{attributes, bytes_of, listing, nasty_tree, of_tar};

/// A header and its content, padded.
fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(EntryType::new(kind));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn whole(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

/// A field of the header changed, and its sum made right again.
fn patched(mut member: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    member[at..at + bytes.len()].copy_from_slice(bytes);
    member[148..156].fill(b' ');
    let sum: u32 = member[..512].iter().map(|&byte| u32::from(byte)).sum();
    member[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    member
}

#[test]
fn what_no_tree_can_hold_is_refused_with_its_place() {
    let file = || member("a", b'0', b"content");
    let long = |content: &[u8]| member("x", b'x', content);
    for (archive, expected) in [
        (vec![], "archive: it is empty"),
        (vec![1; 512], "archive: this is no tar archive, nor a compressed one"),
        (b"text".to_vec(), "archive: cut short"),
        (file(), "archive: cut short at byte 1024: its end is not marked"),
        (file()[..515].to_vec(), "archive: cut short within `/a`"),
        ([file(), vec![b'g'; 512]].concat(), "archive: header at byte 1024: checksum is wrong"),
        (
            whole(&[member("../etc/passwd", b'0', b"x")]),
            "archive: header at byte 0: the name `../etc/passwd` has a `..` in it, which may climb out of the tree",
        ),
        (whole(&[member("", b'0', b"x")]), "archive: header at byte 0: it has no name"),
        (
            whole(&[member("./", b'2', b"")]),
            "archive: header at byte 0: `./`: symbolic link to nothing",
        ),
        (
            whole(&[member("./.", b'0', b"")]),
            "archive: header at byte 0: the root of the tree is no directory in it",
        ),
        (
            whole(&[patched(file(), 124, b"99999999999\0")]),
            "archive: header at byte 0: size is not a number",
        ),
        (
            whole(&[patched(file(), 124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")]),
            "archive: header at byte 0: content of 9223372036854775807 bytes",
        ),
        (
            whole(&[patched(file(), 124, b"\x80\0\0\0\0\xff\xff\xff\xff\xff\xff\xff")]),
            "archive: cut short within `/a`",
        ),
        (
            whole(&[patched(long(b""), 124, b"77777777777\0"), file()]),
            "archive: header at byte 0: PAX header of 8589934591 bytes, more than 16777216",
        ),
        (
            whole(&[patched(member("x", b'L', b""), 124, b"77777777777\0")]),
            "archive: header at byte 0: long name of 8589934591 bytes, more than 65537",
        ),
        (
            whole(&[long(b"12 path=a/c\n")]),
            "archive: header at byte 1024: the archive ends within an entry",
        ),
        (
            whole(&[long(b"99 path=a/c\n"), file()]),
            "archive: header at byte 0: PAX header is not made of records",
        ),
        (
            whole(&[long(b"20 uid=4294967296\nx=\n"), file()]),
            "archive: header at byte 0: PAX header is not made of records",
        ),
        (
            whole(&[long(b"18 uid=4294967296\n"), file()]),
            "archive: header at byte 1024: owner is not a number of 32 bits",
        ),
        (
            whole(&[long(b"34 SCHILY.acl.access=user:joe:rwx\n"), file()]),
            "archive: header at byte 1024: `/a`: PAX record `SCHILY.acl.access` names the user `joe` without a \
             number; `tar --xattrs --xattrs-include='*'` and `bsdtar --acls` pack numbers",
        ),
        (
            whole(&[long(b"21 GNU.sparse.size=9\n22 GNU.sparse.map=5,9\n"), file()]),
            "archive: header at byte 1024: sparse file: a data run ends past the end of the file",
        ),
        (
            whole(&[long(b"22 GNU.sparse.size=99\n23 GNU.sparse.map=5,90\n"), file()]),
            "archive: header at byte 1024: sparse file of 90 bytes of data has 7",
        ),
        (
            whole(&[long(b"22 GNU.sparse.major=2\n21 GNU.sparse.size=9\n"), file()]),
            "archive: header at byte 1024: sparse file of the form 2.0",
        ),
        (
            whole(&[patched(member("x", b'S', b""), 257, b"ustar\x0000")]),
            "archive: header at byte 0: sparse file (type `S`) that is not GNU tar's",
        ),
        (
            whole(&[member("x", b'M', b"rest")]),
            "archive: header at byte 0: `x`: it goes on from another volume; join the volumes with `tar --multi-volume`",
        ),
        (
            whole(&[patched(member("x", b'3', b""), 329, b"0000019\0")]),
            "archive: header at byte 0: number of the device is none",
        ),
    ] {
        let error = of_tar(&archive).expect_err(expected).to_string();
        assert_eq!(error, expected);
    }
}

#[test]
fn what_means_nothing_is_left_out_with_a_warning() {
    let archive = whole(&[
        member("label", b'V', b""),
        member("odd", b'Z', b"content"),
        member("/root/a", b'0', b"x"),
        member("/root/b", b'7', b"x"),
        patched(member("old/", b'0', b""), 156, b"\0"),
        member("list", b'D', b"Yname\0\0"),
    ]);
    let archive = [archive, b"garbage".to_vec()].concat();
    // CRC-64 of the offset, eight zeros, and `x`.
    let hash = "a77af8d4dae9a46c";
    assert_eq!(
        of_tar(&archive).expect("sound"),
        format!(
            "\"root/a\" 0644 0:0 0.000000000 file 1 {hash}\n\
             \"root/b\" 0644 0:0 0.000000000 file 1 {hash}\n\
             \"old\" 0644 0:0 0.000000000 Dir\n\
             \"list\" 0644 0:0 0.000000000 Dir\n\
             warning: `odd`: left out, nobody knows entries of type `Z`\n\
             warning: the leading `/` is taken off names\n\
             warning: something follows the end of the archive at byte 6144, which is not read"
        )
    );
    assert_eq!(of_tar(&[0; 10240]).expect("an archive of nothing"), "");
    let lone = [member("a", b'0', b""), vec![0; 512], member("b", b'0', b"")].concat();
    assert_eq!(
        of_tar(&lone).expect("sound").lines().last(),
        Some(
            "warning: the archive ends at byte 512 by one block of zeros instead of two; what follows is not read"
        )
    );
}

#[test]
fn a_second_header_for_all_holds_from_there_on() {
    let archive = whole(&[
        member("g", b'g', b"9 uid=12\n"),
        member("a", b'0', b""),
        member("x", b'x', b"9 uid=34\n"),
        member("b", b'0', b""),
        member("g", b'g', b"7 uid=\n"),
        member("c", b'0', b""),
    ]);
    let lines = of_tar(&archive).expect("sound");
    let owners: Vec<&str> = lines.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(owners, ["12:0", "34:0", "0:0"]);
}

#[test]
fn a_mutated_archive_is_an_error_or_a_tree() {
    let dir = tempfile::tempdir().expect("a directory");
    nasty_tree(dir.path());
    attributes(dir.path());
    std::fs::remove_file(dir.path().join("big")).expect("it is there");
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).expect("below a usize")
    };
    let rounds = if std::env::var_os("AUTOXEN_LONG").is_some() { 100_000 } else { 1500 };
    let (mut sound, mut refused) = (0, 0);
    for options in [
        &["--format=pax", "--sparse", "--xattrs", "--xattrs-include=*"][..],
        &["--format=gnu", "--sparse"],
    ] {
        let mut all = options.to_vec();
        all.extend(["-cf", "-", "-C", text(dir.path()), "."]);
        let archive = bytes_of("tar", &all);
        let headers: Vec<usize> = (0..archive.len() / 512)
            .map(|block| block * 512)
            .filter(|&at| archive[at + 257..at + 262] == *b"ustar")
            .collect();
        for _ in 0..rounds {
            let mut mutant = archive.clone();
            for _ in 0..=random(3) {
                let at = headers[random(headers.len())];
                // Records behind the header as well; its sum is made right again.
                let place = (at + random(1536)).min(mutant.len() - 1);
                mutant[place] = [0, b'0', b'7', b'9', 0xFF, b'\n', b'=', b'x'][random(8)];
                let fixed = patched(mutant[at..at + 512].to_vec(), 0, &[]);
                mutant[at..at + 512].copy_from_slice(&fixed);
            }
            if random(10) == 0 {
                mutant.truncate(random(mutant.len()));
            }
            match listing(&mut TarSource::new(&mutant[..])) {
                Ok(_) => sound += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(sound > 100 && refused > 100, "{sound} {refused}");
}

#[test]
fn a_global_header_speaks_for_no_file_alone() {
    let global = member("x", b'g', b"25 SCHILY.xattr.user.x=a\n16 comment=abcd\n13 mtime=7.5\n");
    let lines = of_tar(&whole(&[global, member("a", b'0', b""), member("b", b'0', b"")]));
    let lines = lines.expect("the rest is sound");
    assert!(!lines.contains("user.x"), "{lines}");
    assert_eq!(lines.matches(" 7.500000000 ").count(), 2, "{lines}");
    assert_eq!(lines.matches("attributes or holes").count(), 1, "{lines}");
    let large = member("x", b'g', &[b'\n'; 65537]);
    let error = of_tar(&whole(&[large])).expect_err("too large").to_string();
    assert!(error.ends_with("global PAX header of 65537 bytes, more than 65536"), "{error}");
}

/// A file that is skipped through says the same as a stream, wherever it ends.
#[test]
fn an_archive_in_a_file_is_cut_short_where_the_stream_is() {
    struct Names(Vec<String>);
    impl Sink for Names {
        fn entry(&mut self, entry: &Entry, _: &mut Content<'_>, _: &mut Warn<'_>) -> Result<()> {
            self.0.push(entry.path.to_string());
            Ok(())
        }
    }
    let large = member("large", b'0', &[7; 300_000]);
    let archive = whole(&[member("a", b'0', b"x"), large, member("b", b'0', b"y")]);
    let told = |mut source: TarSource<'_>| {
        let mut names = Names(Vec::new());
        let outcome = source.feed(&mut names, &mut |_| {}).map_err(|error| error.to_string());
        (names.0, outcome)
    };
    // Within headers and contents, at their ends, and whole.
    for len in [1, 512, 1024, 1100, 2000, 100_000, 301_567, 301_568, 302_080, archive.len()] {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&archive[..len]).expect("written");
        let of_file = told(TarSource::of_file(&file).expect("a length"));
        assert_eq!(of_file, told(TarSource::new(&archive[..len])), "{len}");
        assert_eq!(of_file.1.is_ok(), len == archive.len(), "{of_file:?}");
    }
    // What nobody asks for is not read.
    let file = tempfile::tempfile().expect("a file");
    let header = patched(member("hole", b'0', b""), 124, b"10000000000\0");
    file.write_all_at(&header, 0).expect("written");
    file.write_all_at(&member("b", b'0', b"y"), (1 << 30) + 512).expect("written");
    file.set_len((1 << 30) + 2560).expect("a length");
    let bytes_read = || {
        let counts = std::fs::read_to_string("/proc/thread-self/io").expect("the kernel counts");
        let count = counts.strip_prefix("rchar: ").and_then(|rest| rest.lines().next());
        count.and_then(|count| count.parse::<u64>().ok()).expect("a number")
    };
    let before = bytes_read();
    let (names, outcome) = told(TarSource::of_file(&file).expect("a length"));
    // Twice what is read at once, and the counts themselves.
    assert!(bytes_read() - before < 256 << 10, "{before}");
    assert_eq!((names, outcome), (vec!["/hole".to_owned(), "/b".to_owned()], Ok(())));
}
