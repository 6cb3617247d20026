//! The verbs inside an image from outside: what they print, what they refuse, and that a refusal changes nothing.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use crate::site::{Site, debugfs_cat, e2fsck, run, text};

fn site() -> Site {
    let site = Site::new();
    site.write("tree/etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:\n");
    site.write("tree/etc/group", "root:x:0:\nwww:x:34:\n");
    site.write("tree/srv/a.txt", "a\n");
    site.write("tree/srv/b.txt", "b\n");
    site.write("tree/srv/.hidden", "h\n");
    site.write("tree/bin/sh", "");
    symlink("a.txt", site.path("tree/srv/link")).unwrap();
    let time = ["-ch", "-d", "2001-02-03 04:05:06 UTC"];
    for name in ["a.txt", "b.txt", ".hidden", "link"] {
        let path = site.path(&format!("tree/srv/{name}"));
        run("touch", "coreutils", &[&time[..], &[path.to_str().unwrap()]].concat());
    }
    site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    site
}

#[test]
fn files_are_listed_as_ls_lists_them() {
    let site = site();
    assert_eq!(site.succeeds(&["image", "ls", "root.img:/srv"]), "a.txt\nb.txt\nlink\n");
    site.succeeds(&["image", "chown", "web:www", "root.img:/srv/a.txt"]);
    site.succeeds(&["image", "chmod", "4751", "root.img:/srv/a.txt"]);
    let output = Command::new(env!("CARGO_BIN_EXE_autoxen"))
        .args(["image", "ls", "-lA", "root.img:/srv"])
        .current_dir(site.path(""))
        .env("TZ", "UTC")
        .output()
        .unwrap();
    assert_eq!(
        text(&output.stdout),
        "\
-rw-r--r--  1 root root 2 2001-02-03 04:05 .hidden
-rwsr-x--x  1 web  www  2 2001-02-03 04:05 a.txt
-rw-r--r--  1 root root 2 2001-02-03 04:05 b.txt
lrwxrwxrwx  1 root root 5 2001-02-03 04:05 link -> a.txt
"
    );
    let unix = ["image", "ls", "-n", "--time-style", "unix", "root.img:/srv/a.txt"];
    assert_eq!(site.succeeds(&unix), "-rwsr-x--x  1 33 34 2 981173106 /srv/a.txt\n");
    assert_eq!(
        site.succeeds(&["image", "ls", "root.img:/srv/*.txt", "root.img:/srv"]),
        "/srv/a.txt\n/srv/b.txt\n\n/srv:\na.txt\nb.txt\nlink\n"
    );
    let lines = site.succeeds(&["image", "ls", "-lR", "--json", "--sha256", "root.img"]);
    let all: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let file = all.iter().find(|file| file["path"] == "/srv/a.txt").unwrap();
    assert_eq!((&file["type"], &file["mode"]), (&"file".into(), &"4751".into()));
    assert_eq!((&file["uid"], &file["mtime"]), (&33.into(), &981_173_106.into()));
    // Of `a\n`.
    let sum = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7";
    assert_eq!(file["sha256"], sum);
    let link = all.iter().find(|file| file["path"] == "/srv/link").unwrap();
    assert_eq!((&link["target"], &link["sha256"]), (&"a.txt".into(), &serde_json::Value::Null));
}

#[test]
fn files_are_printed_one_after_another_and_what_is_missing_is_said() {
    let site = site();
    let output = site.autoxen(&[
        "image",
        "cat",
        "root.img:/srv/?.txt",
        "root.img:/none",
        "root.img:/srv/link",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "a\nb\na\n");
    let error = "error: image `root.img`: `/none`: no such file or directory in the image\n";
    assert_eq!(text(&output.stderr), error);
    // More than a pipe holds, for a reader that has gone away.
    site.write("large", vec![b'x'; 8 << 20]);
    site.succeeds(&["image", "cp", "large", "root.img:/large"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_autoxen"))
        .args(["image", "cat", "root.img:/large"])
        .current_dir(site.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn what_cannot_be_done_is_refused_and_changes_nothing() {
    let site = site();
    site.write("host.txt", "host\n");
    let image = site.path("root.img");
    let before = fs::read(&image).unwrap();
    for (args, error) in [
        (
            &["rm", "root.img:/srv/a.txt", "root.img:/none"][..],
            "image `root.img`: `/none`: no such file",
        ),
        (&["rm", "root.img:/srv"], "`root.img:/srv` is a directory\nhint: -r removes it"),
        (&["rm", "-rf", "root.img:/"], "`root.img:/` is never removed"),
        (&["rm", "-rf", "root.img:/srv/.."], "`root.img:/srv/..` is never removed"),
        (
            &["rm", "root.img:/srv/a.txt", "other.img:/x"],
            "`other.img:/x`: there is no image `other.img`",
        ),
        (&["mv", "root.img:/srv/a.txt", "root.img:/none/x"], "`/none/x`: no such file"),
        (&["mv", "root.img:/srv", "root.img:/srv/x"], "image `root.img`: "),
        (
            &["mv", "root.img:/srv/a.txt", "root.img:/srv/b.txt", "root.img:/srv/link"],
            "is no directory\nhint: several",
        ),
        (&["mkdir", "root.img:/srv"], "`/srv`: already exists"),
        (&["ln", "root.img:/srv", "root.img:/hard"], "is a directory: it has one name"),
        (&["chmod", "u+q", "root.img:/srv"], "`u+q` is no mode"),
        (&["chown", "nobody", "root.img:/srv"], "the image has no user `nobody`"),
        (&["cp", "host.txt", "missing", "root.img:/srv"], "`missing`: no such file or directory\n"),
        (&["cp", "-r", "root.img:/srv", "root.img:/srv/x"], "cannot be copied into itself"),
        (&["cp", "root.img:/srv", "root.img:/x"], "`root.img:/srv` is a directory\nhint: -r"),
        (&["cp", "host.txt", "root.img:/srv/x/"], "`/srv/x/`: not a directory"),
        (&["cp", "host.txt", "host2.txt"], "neither `host.txt` nor `host2.txt` is in an image"),
        (&["cp", "root.img:/srv/a.txt", "root.img:/srv/link"], "is the file itself"),
        (&["cp", "host.txt", "root.img#1:/x"], "image `root.img` has no partition table"),
        (&["cp", "host.txt", "root.img:x"], "`root.img:x`: a path inside an image begins with `/`"),
    ] {
        let refusal = site.fails(&[&["image"], args].concat());
        assert!(refusal.starts_with("error: ") && refusal.contains(error), "{args:?}: {refusal}");
        assert!(before == fs::read(&image).unwrap(), "{args:?}");
    }
    fs::set_permissions(&image, fs::Permissions::from_mode(0o444)).unwrap();
    let refusal = site.fails(&["image", "mkdir", "root.img:/new"]);
    assert!(refusal.contains("cannot be edited: it is read-only"), "{refusal}");
}

#[test]
fn a_script_is_done_whole_or_not_at_all() {
    let site = site();
    let image = site.path("root.img");
    site.write("job", "#!/bin/sh\n");
    let script = "\
# what a job wants
mkdir -p /etc/xenjobs.d
cp job :/etc/xenjobs.d/10-job   # from the host
chmod 0755 '/etc/xenjobs.d/10-job'
mv /srv/a.txt \":/srv/a b\"
ln -s /srv/a\\ b /link
";
    let edit = |script: &str, args: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_autoxen"))
            .args([&["image", "edit", "root.img"], args].concat())
            .current_dir(site.path(""))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let before = fs::read(&image).unwrap();
    assert_eq!(edit(script, &["--dry-run"]), (Some(0), String::new()));
    assert!(before == fs::read(&image).unwrap(), "--dry-run writes nothing");
    for (line, error) in [
        ("rm /none", "standard input:7: image `root.img`: `/none`: no such file"),
        ("frobnicate /etc", "standard input:7: unrecognized subcommand 'frobnicate'"),
        ("rm -q /etc", "standard input:7: unexpected argument '-q' found"),
        ("mkdir", "standard input:7: the following required arguments"),
        ("rm 'x", "standard input:7: a quote is not closed"),
        (
            "cp :/etc/passwd here",
            "standard input:7: `here` is of the host, where a script writes nothing",
        ),
        ("rm root.img:/etc/passwd", "standard input:7: `root.img:/etc/passwd` names an image"),
        ("rm etc", "standard input:7: `etc` is no path inside an image"),
    ] {
        let (status, said) = edit(&format!("{script}{line}\n"), &[]);
        assert_eq!(status, Some(2), "{line}");
        assert!(said.starts_with(&format!("error: {error}")), "{line}: {said}");
        assert!(before == fs::read(&image).unwrap(), "{line}");
    }
    assert_eq!(edit(script, &[]), (Some(0), String::new()));
    e2fsck(&image);
    assert_eq!(debugfs_cat(&image, "/etc/xenjobs.d/10-job"), "#!/bin/sh\n");
    assert_eq!(debugfs_cat(&image, "\"/srv/a b\""), "a\n");
}

#[test]
fn a_tree_too_deep_to_be_copied_is_refused() {
    let site = site();
    // 257 of them; 256 are copied.
    let path = "/a".repeat(257);
    site.succeeds(&["image", "mkdir", "-p", &format!("root.img:{path}")]);
    let refusal = site.fails(&["image", "cp", "-a", "root.img:/a", "root.img:/b"]);
    assert!(refusal.contains("a tree of more than 256 directories"), "{refusal}");
    site.succeeds(&["image", "cp", "-a", "root.img:/a/a", "root.img:/b"]);
    e2fsck(&site.path("root.img"));
}

#[test]
fn two_images_are_compared() {
    let site = site();
    fs::copy(site.path("root.img"), site.path("new.img")).unwrap();
    assert_eq!(site.succeeds(&["image", "diff", "root.img", "new.img"]), "");
    site.write("more", "more\n");
    site.write(
        "script",
        "cp more :/srv/b.txt\nchmod 600 /srv/.hidden\nchown 1:1 /etc/group\nrm /bin/sh\nmkdir /new\ncp more :/new/x\n\
         ln -sf b.txt /srv/link\nrm /etc/passwd\nmkdir /etc/passwd\n",
    );
    site.succeeds(&["image", "edit", "new.img", "-f", "script"]);
    let output = site.autoxen(&["image", "diff", "root.img", "new.img"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "\
+ /new
- /bin/sh
/etc/group: owner
/etc/passwd: kind
/srv/.hidden: mode
/srv/b.txt: content
/srv/link: target
";
    assert_eq!(text(&output.stdout), expected);
    let output = site.autoxen(&["image", "diff", "--json", "root.img:/srv", "new.img:/srv"]);
    let first = text(&output.stdout);
    let first: serde_json::Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!((&first["path"], &first["changes"][0]), (&"/.hidden".into(), &"mode".into()));
    // With a directory of the host, which has the same content.
    site.succeeds(&["image", "cp", "-a", "root.img:/srv", "srv"]);
    assert_eq!(site.succeeds(&["image", "diff", "--times", "root.img:/srv", "./srv"]), "");
    site.fails(&["image", "diff", "root.img", "none.img"]);
    // A hole is what it reads as.
    run("truncate", "coreutils", &["-s", "5M", site.path("hole").to_str().unwrap()]);
    site.write("zeros", vec![0; 5 << 20]);
    site.succeeds(&["image", "cp", "hole", "root.img:/f"]);
    site.succeeds(&["image", "cp", "zeros", "new.img:/f"]);
    assert_eq!(site.succeeds(&["image", "diff", "root.img:/f", "new.img:/f"]), "");
    site.write("zeros", [&vec![0; 3 << 20][..], &[1], &vec![0; (2 << 20) - 1]].concat());
    site.succeeds(&["image", "cp", "zeros", "new.img:/f"]);
    let output = site.autoxen(&["image", "diff", "root.img:/f", "new.img:/f"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), "/: content\n".into()));
}

#[test]
fn files_that_are_linked_otherwise_differ() {
    let site = site();
    site.write("more", "more\n");
    let edit = |image: &str, script: &str| {
        site.write("script", script);
        site.succeeds(&["image", "edit", image, "-f", "script"]);
    };
    edit("root.img", "mkdir /l\ncp more :/l/a\nln /l/a /l/b\nln /l/a /l/c\nln /l/a /srv/outside\n");
    fs::copy(site.path("root.img"), site.path("new.img")).unwrap();
    assert_eq!(site.succeeds(&["image", "diff", "root.img", "new.img"]), "");
    // Of the same four names, `b` and `c` are one file and `a` another.
    edit("new.img", "rm /l/b\nrm /l/c\ncp more :/l/b\nln /l/b /l/c\n");
    let output = site.autoxen(&["image", "diff", "root.img", "new.img"]);
    assert_eq!(text(&output.stdout), "/l/b: links\n/l/c: links\n");
    assert_eq!(output.status.code(), Some(1));
    let output = site.autoxen(&["image", "diff", "--json", "root.img:/l", "new.img:/l"]);
    let first = text(&output.stdout);
    let first: serde_json::Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!((&first["path"], &first["changes"]), (&"/b".into(), &["links"][..].into()));
    // A name that only one tree has is told alone, and a FAT has no links to compare.
    edit("new.img", "rm /l/b\nrm /l/c\nln /l/a /l/b\n");
    let output = site.autoxen(&["image", "diff", "root.img", "new.img"]);
    assert_eq!(text(&output.stdout), "- /l/c\n");
    run("mkfs.fat", "dosfstools", &["-C", site.path("fat.img").to_str().unwrap(), "8192"]);
    site.autoxen(&["image", "cp", "-r", "root.img:/l", "fat.img:/"]);
    assert_eq!(site.succeeds(&["image", "diff", "root.img:/l", "fat.img:/l"]), "");
}

#[test]
fn what_a_fat_does_not_keep_is_counted() {
    let site = site();
    run("mkfs.fat", "dosfstools", &["-C", site.path("fat.img").to_str().unwrap(), "8192"]);
    site.write("f", "f");
    site.write(
        "script",
        "mkdir /l\ncp f :/l/a\ncp f :/l/b\ncp f :/l/c\nchmod 755 /l\nchmod 644 /l/a\nchmod 600 /l/b\n\
         chmod 644 /l/c\nchown 0:0 /l\nchown 0:0 /l/a\nchown 0:0 /l/b\nchown 7:7 /l/c\nln /l/c /l/d\n",
    );
    site.succeeds(&["image", "edit", "root.img", "-f", "script"]);
    let told = |args: &[&str]| {
        let output = site.autoxen(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let of = |option| told(&["image", "cp", option, "root.img:/l", "fat.img:/"]);
    assert_eq!(of("-r"), "note: 1 owner or mode is not kept: FAT has none\n");
    assert_eq!(of("-rp"), "note: 3 owners and modes are not kept: FAT has none\n");
    assert_eq!(
        of("-a"),
        "note: 3 owners and modes are not kept: FAT has none\nnote: 1 hard link is a copy: FAT has none\n"
    );
    site.succeeds(&["image", "export", "root.img:/l", "-o", "l.tar"]);
    let lost = "warning: 2 owners and modes are not kept: FAT has none\n";
    let copy = "warning: `l.tar`: `/d` is a copy: FAT has no hard links\n";
    assert_eq!(told(&["image", "import", "fat.img:/", "l.tar"]), format!("{copy}{lost}"));
    let built = told(&["image", "build", "-t", "vfat", "-o", "new.img", "l.tar"]);
    assert_eq!(built, format!("{copy}{lost}"));
    let built =
        told(&["image", "build", "-t", "vfat", "-o", "own.img", "--owner", "root:root", "l.tar"]);
    assert_eq!(built, format!("{copy}warning: 1 owner or mode is not kept: FAT has none\n"));
}

#[test]
fn nothing_is_written_outside_of_where_an_image_is_copied_to() {
    let site = site();
    let outside = site.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "kept\n").unwrap();
    fs::create_dir_all(site.path("out/srv")).unwrap();
    // On the way, and at the end, stand links that lead out.
    symlink(&outside, site.path("out/srv/dir")).unwrap();
    symlink(outside.join("file"), site.path("out/srv/a.txt")).unwrap();
    site.succeeds(&["image", "mkdir", "root.img:/srv/dir"]);
    site.succeeds(&["image", "cp", "root.img:/srv/b.txt", "root.img:/srv/dir/new"]);
    let output = site.autoxen(&["image", "cp", "-r", "root.img:/srv", "out"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("out/srv/a.txt`: ") && said.contains("out/srv/dir`: "), "{said}");
    // The others were copied.
    assert_eq!(fs::read_to_string(site.path("out/srv/b.txt")).unwrap(), "b\n");
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept\n");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    // One that the user names is followed.
    symlink(&outside, site.path("named")).unwrap();
    site.succeeds(&["image", "cp", "root.img:/srv/b.txt", "named"]);
    assert_eq!(fs::read_to_string(outside.join("b.txt")).unwrap(), "b\n");
}

/// A disk with an EFI partition, a root and a spare one.
fn disk(site: &Site) {
    let disk = site.path("disk.img");
    let layout = "label: gpt\nstart=2048, size=65536, name=EFI\nstart=67584, size=32768, name=root\n\
                  start=100352, size=32768, name=\"spare one\"\n";
    let layout = site.write("disk.sfdisk", layout);
    let root = site.path("root.img");
    let spare = site.mke2fs("spare.img", "16M", &["-t", "ext4", "-L", "data"]);
    fs::remove_dir_all(site.path("tree")).unwrap();
    let script = format!(
        "set -e; truncate -s 66M {disk}; sfdisk -q {disk} < {layout}; mkfs.fat -F16 {efi} -C 32768 >/dev/null
         dd if={efi} of={disk} bs=512 seek=2048 conv=notrunc,sparse status=none
         dd if={root} of={disk} bs=512 seek=67584 conv=notrunc,sparse status=none
         dd if={spare} of={disk} bs=512 seek=100352 conv=notrunc,sparse status=none",
        disk = disk.display(),
        layout = layout.display(),
        efi = site.path("efi.img").display(),
        root = root.display(),
        spare = spare.display(),
    );
    run("sh", "dash", &["-c", &script]);
    // Empty of what makes a root.
    site.succeeds(&["image", "rm", "-rf", "disk.img#3:/etc"]);
}

#[test]
fn a_partition_has_many_names_and_a_root_needs_none() {
    let site = site();
    disk(&site);
    assert_eq!(site.succeeds(&["image", "cat", "disk.img:/srv/a.txt"]), "a\n");
    for name in ["2", "root"] {
        let place = format!("disk.img#{name}:/srv/a.txt");
        assert_eq!(site.succeeds(&["image", "cat", &place]), "a\n", "{name}");
    }
    for name in ["3", "spare one", "data"] {
        let place = format!("disk.img#{name}:/lost+found");
        assert_eq!(site.succeeds(&["image", "ls", "-d", &place]), "/lost+found\n", "{name}");
    }
    let refusal = site.fails(&["image", "ls", "disk.img#4"]);
    assert_eq!(
        refusal,
        "error: image `disk.img` has no partition `4`\n\
         hint: write `IMAGE#N`: there are 1 (`EFI`, 32.0 MiB (33554432 bytes), vfat), 2 (`root`, 16.0 MiB (16777216 \
         bytes), ext4) and 3 (`spare one`, 16.0 MiB (16777216 bytes), ext4 `data`)\n"
    );
    site.succeeds(&["image", "rm", "-rf", "disk.img#2:/etc"]);
    let refusal = site.fails(&["image", "ls", "disk.img"]);
    assert!(
        refusal.starts_with("error: image `disk.img` has no partition with a Linux root\nhint: "),
        "{refusal}"
    );
    // The type of a partition says more than what is in it; of two that say so, the one that looks so.
    let set_type = |number: &str, kind: &str| {
        let disk = site.path("disk.img");
        run("sfdisk", "fdisk", &["-q", "--part-type", disk.to_str().unwrap(), number, kind]);
    };
    let arm64 = "B921B045-1DF0-41C3-AF44-4C6F280D3FAE";
    set_type("3", arm64);
    assert!(site.succeeds(&["image", "ls", "disk.img"]).contains("boot"));
    set_type("2", arm64);
    let refusal = site.fails(&["image", "ls", "disk.img"]);
    assert!(refusal.contains("has several partitions with a Linux root\nhint: "), "{refusal}");
    site.succeeds(&["image", "mkdir", "disk.img#2:/etc"]);
    site.succeeds(&["image", "cat", "disk.img:/srv/a.txt"]);
}

#[test]
fn the_same_verbs_serve_an_efi_partition() {
    let site = site();
    disk(&site);
    site.write("loader/entries/a.conf", "title a\n");
    site.write("loader/loader.conf", "timeout 3\n");
    let large: Vec<u8> =
        (0..3_000_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    site.write("large", &large);
    site.write(
        "script",
        "mkdir -p /EFI/BOOT\ncp -r loader :/\ncp large :/EFI/BOOT/BOOTX64.EFI\nmv /loader/entries/a.conf /loader/entries/Long-name.conf\n\
         mv /loader/entries /EFI\ncp -r :/EFI/entries :/copy\nmkdir /gone\nrm -r /gone\ncp large :/large\nrm '/lar*'\nmv /loader/loader.conf /LOADER/Loader.conf\n",
    );
    site.succeeds(&["image", "edit", "disk.img#EFI", "-f", "script"]);
    let efi = site.path("efi-now.img");
    let taken = format!(
        "dd if={} of={} bs=512 skip=2048 count=65536 status=none",
        site.path("disk.img").display(),
        efi.display()
    );
    run("sh", "dash", &["-c", &taken]);
    run("fsck.fat", "dosfstools", &["-n", efi.to_str().unwrap()]);
    run("sgdisk", "gdisk", &["-v", site.path("disk.img").to_str().unwrap()]);
    let name = efi.to_str().unwrap();
    let mut found: Vec<String> = run("mdir", "mtools", &["-/", "-b", "-i", name, "::"])
        .lines()
        .map(str::to_owned)
        .filter(|line| !line.ends_with('/'))
        .collect();
    found.sort();
    let names = [
        "::/EFI/BOOT/BOOTX64.EFI",
        "::/EFI/entries/Long-name.conf",
        "::/copy/Long-name.conf",
        "::/loader/Loader.conf",
    ];
    assert_eq!(found, names);
    let taken = site.path("taken");
    run("mcopy", "mtools", &["-i", name, "::/EFI/BOOT/BOOTX64.EFI", taken.to_str().unwrap()]);
    assert!(fs::read(taken).unwrap() == large);
    assert_eq!(run("mtype", "mtools", &["-i", name, "::/copy/Long-name.conf"]), "title a\n");
    // Out of the FAT to the host and to a root.
    site.succeeds(&["image", "cp", "-r", "disk.img#1:/EFI", "out"]);
    assert!(fs::read(site.path("out/BOOT/BOOTX64.EFI")).unwrap() == large);
    site.succeeds(&["image", "cp", "-a", "disk.img#EFI:/EFI", "disk.img#root:/efi"]);
    assert_eq!(site.succeeds(&["image", "diff", "disk.img#1:/EFI", "disk.img#2:/efi"]), "");
    for (args, error) in [
        (&["chmod", "600", "disk.img#1:/large"][..], "`/large`: no such file"),
        (&["chmod", "600", "disk.img#1:/loader"], "FAT has no modes"),
        (&["chown", "0", "disk.img#1:/loader"], "FAT has no owners"),
        (&["ln", "-s", "x", "disk.img#1:/l"], "FAT has no symbolic links"),
        (&["ln", "disk.img#1:/loader/Loader.conf", "disk.img#1:/l"], "FAT has no hard links"),
        (&["cp", "-P", "disk.img#2:/srv/link", "disk.img#1:/l"], "FAT has no symbolic links"),
        (&["mv", "disk.img#1:/EFI", "disk.img#1:/EFI/x"], "a directory cannot lie in itself"),
    ] {
        let refusal = site.fails(&[&["image"], args].concat());
        assert!(refusal.contains(error), "{args:?}: {refusal}");
    }
}
