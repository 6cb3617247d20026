//! `autoxen image build` from outside: what is built, what is refused, and that nothing is left behind. The judges: the
//! kernel and GNU tar, `e2fsck`, `fsck.fat`, `sgdisk`, `sfdisk`, `blkid`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::site::{Site, e2fsck, judge, run, text};

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn sh(site: &Site, script: &str) -> String {
    run("sh", "dash", &["-c", &format!("cd {} && {script}", str(&site.path("")))])
}

/// Unmount `mnt` in a script, and end the script where that is not possible. Between fork and exec, a child of another
/// test holds our files open, and the mount is busy for that moment.
pub(crate) const UMOUNT: &str = "{ i=0; until umount mnt || [ $i = 500 ]; do i=$((i + 1)); done 2> /dev/null; \
     if mountpoint -q mnt; then exit 9; fi; }";

/// A tree of nasty names and of all that a tar can hold, as `tree.tar`.
pub(crate) fn tree(site: &Site) {
    let script = r#"mkdir tree && cd tree && mkdir -p dir/sub empty 'blank name' && echo hello > dir/file &&
        ln dir/file dir/hard && ln -s file dir/link && ln -s /etc/passwd absolute && mkfifo pipe &&
        mknod null c 1 3 && mknod disk b 259 300 && head -c 3000001 /dev/urandom > large &&
        truncate -s 100M sparse && printf data | dd of=sparse bs=1 seek=77777777 conv=notrunc status=none &&
        printf x > "$(printf 'new\nline')" && printf x > "$(printf 'latin\351')" && printf x > -dash &&
        printf x > 'back\slash' && printf x > "$(printf '%0255d' 0)" && printf x > "quote'\"" &&
        mkdir -p "$(printf '%0200d/%0200d' 1 2)" && printf x > "$(printf '%0200d/%0200d/%0100d' 1 2 3)" &&
        chmod 4755 dir/file && chown 1000:70000 large && touch -d '1969-12-31 23:00' dir/sub && touch -d 2200-01-01 empty &&
        setfattr -n user.note -v text large && setfattr -n trusted.t -v 0x00ff dir &&
        setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 'blank name' &&
        setfacl -m u:54321:rw dir/file && setfacl -d -m g:54322:rx empty &&
        tar --xattrs --xattrs-include='*' --acls --sparse --numeric-owner --format=pax -cf ../tree.tar ."#;
    sh(site, script);
}

/// Mount an image, and let GNU tar compare it with an archive.
pub(crate) fn compare(site: &Site, image: &str, tar: &str) {
    let script = format!(
        "mkdir -p mnt && mount -o loop,ro {image} mnt && \
         {{ tar --xattrs --xattrs-include='*' --acls --numeric-owner --compare -f {tar} -C mnt; status=$?; \
         find mnt -printf x | wc -c > count; {UMOUNT}; exit $status; }}"
    );
    sh(site, &script);
    let listed = sh(site, &format!("tar -tf {tar} | wc -l")).trim().parse::<u64>().unwrap();
    let count = fs::read_to_string(site.path("count")).unwrap().trim().parse::<u64>().unwrap();
    // The tree has `lost+found` on top.
    assert_eq!(count, listed + 1);
}

#[test]
fn what_goes_in_as_a_tar_is_what_the_kernel_sees() {
    let site = Site::new();
    tree(&site);
    sh(&site, "zstd -q tree.tar && gzip -k tree.tar && xz -k -0 tree.tar");
    for (index, (source, args)) in [
        ("tree.tar", ""),
        ("tree.tar.zst", ""),
        ("tree.tar.gz", "--type ext3 --block-size 1024"),
        ("tree.tar.xz", "--features inline_data --inode-size 512"),
        ("tree.tar", "--type ext2 --size 64M"),
        ("tree.tar", "--for rhel7 --size auto+50% --label rootfs"),
    ]
    .into_iter()
    .enumerate()
    {
        let image = format!("{index}.img");
        let args: Vec<&str> = args.split_whitespace().collect();
        site.succeeds(&[&["image", "build", "-o", &image, source][..], &args].concat());
        e2fsck(&site.path(&image));
        compare(&site, &image, "tree.tar");
    }
    let label =
        run("blkid", "util-linux", &["-p", "-o", "value", "-s", "LABEL", str(&site.path("5.img"))]);
    assert_eq!(label, "rootfs\n");
}

#[test]
fn a_sparse_file_of_5_gib_stays_one() {
    let site = Site::new();
    sh(
        &site,
        "mkdir t && truncate -s 5G t/sparse && printf data | dd of=t/sparse bs=1 seek=4444444444 conv=notrunc status=none && \
         tar --sparse --format=pax -cf t.tar -C t .",
    );
    for (image, source) in [("a.img", "t.tar"), ("b.img", "t")] {
        site.succeeds(&["image", "build", "-o", image, source]);
        e2fsck(&site.path(image));
        assert!(fs::metadata(site.path(image)).unwrap().len() < 16 << 20);
        // All of it takes seconds to read: the bytes that are there, and where.
        let script = format!(
            "mkdir -p mnt && mount -o loop,ro {image} mnt && stat -c %s mnt/sparse && \
             dd if=mnt/sparse bs=1 skip=4444444440 count=12 status=none | od -An -c; \
             {UMOUNT}"
        );
        let expected = "5368709120\n  \\0  \\0  \\0  \\0   d   a   t   a  \\0  \\0  \\0  \\0\n";
        assert_eq!(sh(&site, &script), expected);
    }
    if std::env::var_os("AUTOXEN_LONG").is_some() {
        compare(&site, "a.img", "t.tar");
    }
}

#[test]
fn the_same_input_makes_the_same_bytes_from_file_pipe_or_copy() {
    let site = Site::new();
    tree(&site);
    sh(&site, "rm tree/sparse && cp -a tree again");
    site.succeeds(&["image", "build", "-o", "a.img", "tree.tar"]);
    sh(&site, &format!("cat tree.tar | {} image build -o b.img -", env!("CARGO_BIN_EXE_autoxen")));
    // Other times of reading and of the inode; other order in the directory.
    site.succeeds(&["image", "build", "-o", "c.img", "--seed", "x", "--size", "40M", "tree"]);
    site.succeeds(&["image", "build", "-o", "d.img", "--seed", "x", "--size", "40M", "again"]);
    sh(&site, "cmp a.img b.img && cmp c.img d.img && ! cmp -s a.img c.img");
    site.succeeds(&["image", "build", "-o", "e.img", "--seed", "y", "--size", "40M", "again"]);
    sh(&site, "! cmp -s d.img e.img");
    e2fsck(&site.path("c.img"));
}

#[test]
fn several_sources_go_in_one_after_another_with_other_owners() {
    let site = Site::new();
    site.write("a/etc/hostname", "first\n");
    site.write("a/etc/keep", "keep\n");
    site.write("b/etc/hostname", "second\n");
    sh(&site, "chown -R 1000:1000 a b && chown 7:8 a/etc/keep && tar -C b -cf b.tar .");
    let args = ["image", "build", "-o", "x.img", "a", "b.tar", "--owner", "1000:1000=root:root"];
    let told = site.succeeds(&args);
    assert!(told.starts_with("x.img: "), "{told}");
    let image = site.path("x.img");
    e2fsck(&image);
    assert_eq!(crate::site::debugfs_cat(&image, "/etc/hostname"), "second\n");
    let stat = crate::site::debugfs_stat(&image, "/etc/hostname");
    assert!(stat.contains("User:     0   Group:     0"), "{stat}");
    let stat = crate::site::debugfs_stat(&image, "/etc/keep");
    assert!(stat.contains("User:     7   Group:     8"), "{stat}");
}

#[test]
fn a_container_image_is_told_by_its_content() {
    let site = Site::new();
    site.write("one/etc/base", "base\n");
    site.write("one/etc/gone", "gone\n");
    site.write("two/etc/.wh.gone", "");
    site.write("two/app", "app\n");
    let script = r#"mkdir -p oci/blobs/sha256 && for n in one two; do tar -C $n -cf $n.tar .; done
        put() { d=$(sha256sum < "$1" | cut -d' ' -f1); cp "$1" oci/blobs/sha256/$d; echo $d; }
        a=$(put one.tar); b=$(put two.tar)
        printf '{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:%s","sha256:%s"]}}' $a $b > config
        c=$(put config)
        printf '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%d},{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%d}]}' $c $(stat -c %s config) $a $(stat -c %s one.tar) $b $(stat -c %s two.tar) > manifest
        m=$(put manifest)
        printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%d,"platform":{"os":"linux","architecture":"amd64"}}]}' $m $(stat -c %s manifest) > oci/index.json
        printf '{"imageLayoutVersion":"1.0.0"}' > oci/oci-layout
        tar -C oci -cf oci.tar oci-layout index.json blobs && gzip -k oci.tar"#;
    sh(&site, script);
    let before = site.names();
    for source in ["oci", "oci.tar", "oci.tar.gz"] {
        let args = ["image", "build", "-fo", "x.img", "--platform", "linux/amd64", source];
        site.succeeds(&args);
        let image = site.path("x.img");
        e2fsck(&image);
        assert_eq!(crate::site::debugfs_cat(&image, "/app"), "app\n", "{source}");
        assert_eq!(crate::site::debugfs_cat(&image, "/etc/base"), "base\n", "{source}");
        let stat = judge("debugfs", "e2fsprogs", &["-R", "stat /etc/gone", str(&image)]);
        assert!(text(&stat.stderr).contains("File not found"), "{source}: {stat:?}");
    }
    fs::remove_file(site.path("x.img")).unwrap();
    assert_eq!(site.names(), before, "what was unpacked is gone");
    let told = site.fails(&["image", "build", "-o", "x.img", "--platform", "linux/s390x", "oci"]);
    assert!(told.contains("no image for linux/s390x; there is linux/amd64"), "{told}");
    // As a tar it is a tree like any other.
    site.succeeds(&["image", "build", "-o", "x.img", "--format", "tar", "oci.tar"]);
    let layout = crate::site::debugfs_cat(&site.path("x.img"), "/oci-layout");
    assert_eq!(layout, "{\"imageLayoutVersion\":\"1.0.0\"}");
}

#[test]
fn fat_holds_what_it_can_and_says_what_it_cannot() {
    // Whoever runs the test: other owners are told of.
    const OWNER: &[&str] = &["--owner", "root:root"];
    let site = Site::new();
    site.write("esp/EFI/BOOT/BOOTX64.EFI", vec![7; 3_000_000]);
    site.write("esp/a long name with blanks.txt", "text");
    sh(
        &site,
        "ln -s x esp/link && ln esp/EFI/BOOT/BOOTX64.EFI esp/second && truncate -s 100000 esp/hole",
    );
    for (index, args) in [
        &["--size", "auto"][..],
        &["--size", "auto+4M"],
        &["--size", "64M", "--label", "EFI", "--uuid", "1A2B-3C4D"],
        &["--size", "600M"],
    ]
    .into_iter()
    .enumerate()
    {
        let image = format!("{index}.img");
        let output = site.autoxen(
            &[&["image", "build", "-t", "vfat", "-o", &image, "esp"][..], OWNER, args].concat(),
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(
            text(&output.stderr),
            "warning: `esp`: `/link` is left out: FAT has no symbolic links\n\
             warning: `esp`: `/second` is a copy: FAT has no hard links\n"
        );
        let image = site.path(&image);
        run("fsck.fat", "dosfstools", &["-n", str(&image)]);
        let script = format!(
            "rm -rf out && mkdir out && mcopy -s -m -n -i {} '::*' out && rm -f esp/link && diff -r esp out",
            str(&image)
        );
        sh(&site, &script);
        sh(&site, "ln -s x esp/link");
    }
    // Longer than what is written at once, with a hole in the middle and one at the end, twice.
    sh(
        &site,
        "mkdir long && head -c 20000001 /dev/urandom > long/a && truncate -s 30000000 long/a && \
         printf x | dd of=long/a bs=1 seek=39999999 conv=notrunc status=none && truncate -s 45000000 long/a && \
         ln long/a long/b && head -c 9000000 /dev/urandom > long/c && printf small > long/d",
    );
    for size in ["auto", "600M"] {
        let args = ["image", "build", "-f", "-t", "vfat", "-o", "long.img", "--size", size, "long"];
        site.succeeds(&args);
        run("fsck.fat", "dosfstools", &["-n", str(&site.path("long.img"))]);
        sh(
            &site,
            "rm -rf out && mkdir out && mcopy -s -m -n -i long.img '::*' out && diff -r long out",
        );
    }
    let args = ["image", "build", "-t", "vfat", "-o", "x.img", "--size", "60M", "long"];
    let told = site.fails(&args);
    assert!(told.contains("all clusters are in use"), "{told}");
    let id =
        run("blkid", "util-linux", &["-p", "-o", "value", "-s", "UUID", str(&site.path("2.img"))]);
    assert_eq!(id, "1A2B-3C4D\n");
    site.write("esp/A Long Name with blanks.txt", "other");
    let told = site.fails(&["image", "build", "-t", "vfat", "-o", "x.img", "esp"]);
    assert!(told.contains("are one name in a FAT, which knows no case"), "{told}");
    fs::remove_file(site.path("esp/A Long Name with blanks.txt")).unwrap();
    site.write("esp/what?", "");
    let told = site.fails(&["image", "build", "-t", "vfat", "-o", "x.img", "esp"]);
    assert_eq!(told, "error: `esp`: `what?`: a character that no FAT name has\n");
    assert!(!site.names().iter().any(|name| name.contains("x.img")), "{:?}", site.names());
}

#[test]
fn swap_is_what_util_linux_makes_of_the_same_words() {
    const UUID: &str = "6a1d2c3b-0000-4000-8000-1234567890ab";
    let site = Site::new();
    for size in ["1M", "12345678", "3G"] {
        let args = ["image", "build", "-f", "-o", "swap.img", "-t", "swap", "--size", size];
        site.succeeds(&[&args[..], &["--label", "pages", "--uuid", UUID]].concat());
        let ours = site.path("swap.img");
        let labelled = run("swaplabel", "util-linux", &[str(&ours)]);
        assert_eq!(labelled, format!("LABEL: pages\nUUID:  {UUID}\n"));
        let probe = |tag| run("blkid", "util-linux", &["-p", "-o", "value", "-s", tag, str(&ours)]);
        assert_eq!((probe("TYPE"), probe("VERSION")), ("swap\n".into(), "1\n".into()));
        assert_eq!((probe("LABEL"), probe("UUID")), ("pages\n".into(), format!("{UUID}\n")));
        // The header, with the count of pages in it, is all that is not zero.
        let theirs = site.path("theirs.img");
        run("truncate", "coreutils", &["-r", str(&ours), str(&theirs)]);
        run("mkswap", "util-linux", &["-q", "-L", "pages", "-U", UUID, str(&theirs)]);
        run("cmp", "diffutils", &["-n", "1048576", str(&ours), str(&theirs)]);
        fs::remove_file(theirs).unwrap();
    }
}

#[test]
fn a_disk_has_its_partitions_as_flags_or_a_file_say() {
    let site = Site::new();
    site.write("esp/EFI/BOOT/BOOTX64.EFI", vec![7; 300_000]);
    site.write("root/etc/hostname", "guest\n");
    site.write("core.img", vec![3; 100_000]);
    site.write(
        "disk.toml",
        "disk = \"gpt\"\nsize = \"256M\"\nseed = \"s\"\n[[part]]\ntype = \"bios-boot\"\nsize = \"1M\"\nfrom = \"core.img\"\n\
         [[part]]\ntype = \"esp\"\nlabel = \"EFI\"\nfrom = \"esp\"\n[[part]]\ntype = \"root\"\nsize = \"rest\"\nfrom = [\"root\"]\n\
         [[part]]\ntype = \"swap\"\nsize = \"16M\"\n",
    );
    site.succeeds(&["image", "build", "-o", "a.img", "--layout", "disk.toml"]);
    let parts = [
        "type=bios-boot,size=1M,from=core.img",
        "type=esp,label=EFI,from=esp",
        "type=root,size=rest,from=root",
        "type=swap,size=16M",
    ];
    let mut args =
        vec!["image", "build", "-o", "b.img", "--disk", "gpt", "--size", "256M", "--seed", "s"];
    args.extend(parts.iter().flat_map(|part| ["--part", part]));
    site.succeeds(&args);
    sh(&site, "cmp a.img b.img");
    let verified = run("sgdisk", "gdisk", &["-v", str(&site.path("a.img"))]);
    assert!(verified.contains("No problems found"), "{verified}");
    assert_eq!(fs::metadata(site.path("a.img")).unwrap().len(), 256 << 20);
    // MBR, with logical partitions.
    let mut args = vec!["image", "build", "-o", "c.img", "--disk", "mbr", "--json"];
    let parts = [
        "type=esp,from=esp",
        "from=root,fs=ext2",
        "from=root,size=8M,boot=yes",
        "type=swap,size=4M",
        "from=root",
    ];
    args.extend(parts.iter().flat_map(|part| ["--part", part]));
    let json: serde_json::Value = serde_json::from_str(&site.succeeds(&args)).unwrap();
    assert_eq!(json["table"]["kind"], "mbr");
    assert_eq!(json["volumes"].as_array().unwrap().len(), 5);
    let mut uuids: Vec<_> =
        json["volumes"].as_array().unwrap().iter().map(|v| v["uuid"].to_string()).collect();
    uuids.sort();
    uuids.dedup();
    assert_eq!(uuids.len(), 5, "two partitions of the same content are still two");
    run("sfdisk", "fdisk", &["--verify", str(&site.path("c.img"))]);
    for image in ["a.img", "c.img"] {
        let listed = run("sfdisk", "fdisk", &["--dump", str(&site.path(image))]);
        let mut checked = 0;
        for line in listed.lines().filter(|line| line.contains("start=")) {
            let number = |key: &str| -> u64 {
                let rest = &line[line.find(key).unwrap() + key.len()..];
                rest.split(',').next().unwrap().trim().parse().unwrap()
            };
            let (start, size) = (number("start="), number("size="));
            sh(
                &site,
                &format!("dd if={image} of=part bs=512 skip={start} count={size} status=none"),
            );
            let part = site.path("part");
            let kind =
                judge("blkid", "util-linux", &["-p", "-o", "value", "-s", "TYPE", str(&part)]);
            match text(&kind.stdout).trim() {
                "vfat" => drop(run("fsck.fat", "dosfstools", &["-n", str(&part)])),
                "ext4" | "ext2" => {
                    e2fsck(&part);
                    assert_eq!(crate::site::debugfs_cat(&part, "/etc/hostname"), "guest\n");
                }
                "swap" => {
                    let probed = judge(
                        "blkid",
                        "util-linux",
                        &["-p", "-o", "value", "-s", "UUID", str(&part)],
                    );
                    let uuid = text(&probed.stdout);
                    let labelled = run("swaplabel", "util-linux", &[str(&part)]);
                    assert_eq!(labelled, format!("UUID:  {uuid}"));
                    assert!(uuid.trim().len() == 36, "{uuid}");
                }
                _ => continue,
            }
            checked += 1;
        }
        assert_eq!(checked, if image == "a.img" { 3 } else { 5 }, "{listed}");
    }
    let raw = sh(
        &site,
        "dd if=a.img bs=1M skip=1 count=1 status=none | head -c 100000 | cmp - core.img && echo same",
    );
    assert_eq!(raw, "same\n");
}

#[test]
fn what_contradicts_itself_is_refused_and_leaves_nothing() {
    let site = Site::new();
    site.write("root/a", "x");
    site.write("there.img", "mine");
    sh(
        &site,
        "tar -cf root.tar root && head -c 700 root.tar > short.tar && printf 'no tar' > junk",
    );
    sh(
        &site,
        "head -c 100000 /dev/urandom > root/b && tar -cf big.tar root && gzip -c big.tar | head -c 50000 > short.gz",
    );
    sh(&site, "tar -cPf climb.tar --transform='s,^root/a,../a,' root/a");
    let before = site.names();
    for (args, expected) in [
        (
            "-o there.img root",
            "error: `there.img` is there already\nhint: choose another name, or replace it with `--force`\n",
        ),
        ("-o x.img short.tar", "error: `short.tar`: cut short"),
        ("-o x.img short.gz", "error: `short.gz`: "),
        ("-o x.img junk", "error: `junk`: "),
        ("-o x.img climb.tar", "has a `..` in it, which may climb out of the tree"),
        ("-o x.img missing", "error: cannot read `missing`: no such file or directory\n"),
        (
            "-o no/x.img root",
            "error: cannot write `no/x.img`: no such file or directory\nhint: create its directory first\n",
        ),
        ("-o x.img --size 64K root", "hint: give it more room with `--size`"),
        (
            "-o x.img --size 1M big.tar --type ext2 --block-size 1024 --inodes 12",
            "hint: give it more room with `--size`",
        ),
        ("-o x.img --type swap", "error: swap needs a size\n"),
        (
            "-o x.img --type swap --size 1M root",
            "error: swap holds no files: leave out its sources\n",
        ),
        (
            "-o x.img --type vfat --features 64bit root",
            "error: `features` is for ext file systems, not for vfat\n",
        ),
        (
            "-o x.img --size rest root",
            "error: `rest` is the size of a partition, not of an image\n",
        ),
        ("-o x.img --for rhel3 --type ext4 root", "Linux 2.4.21 has no ext4"),
        (
            "-o x.img --features bigalloc root",
            "error: cannot make an ext file system with the feature `bigalloc`\n",
        ),
        ("-o x.img --owner joe:joe root", "of names only `root` means the same everywhere"),
        ("-o x.img - -", "error: standard input is named twice, and can be read once\n"),
        ("-o x.img --disk gpt --size 8M --part size=64M", "error: partitions that need"),
        (
            "-o x.img --disk gpt --part type=linux,size=rest",
            "error: partition 1 of the list: it takes the rest of a disk that has no length",
        ),
        ("-o x.img --disk gpt --part size=64K,from=root", "error: partition 1: "),
    ] {
        let args: Vec<&str> = ["image", "build"].into_iter().chain(args.split(' ')).collect();
        let told = site.fails(&args);
        assert!(told.contains(expected), "{args:?}\n{told}\n{expected}");
        assert_eq!(site.names(), before, "{args:?}");
    }
    assert_eq!(fs::read(site.path("there.img")).unwrap(), b"mine");
    // A full host, as far as a limit of the process makes one.
    let script = format!(
        "ulimit -f 100; {} image build -o x.img --size 64M big.tar",
        env!("CARGO_BIN_EXE_autoxen")
    );
    let output = judge("bash", "bash", &["-c", &format!("cd {} && {script}", str(&site.path("")))]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("file too large"), "{}", text(&output.stderr));
    assert_eq!(site.names(), before);
}

#[test]
fn a_signal_in_mid_work_leaves_no_image() {
    let site = Site::new();
    sh(&site, "mkdir t && head -c 1000000 /dev/zero > t/a && tar -cf t.tar t");
    let head = fs::read(site.path("t.tar")).unwrap();
    let before = site.names();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_autoxen"))
            .args(["image", "build", "-o", "x.img", "--format", "tar", "-"])
            .current_dir(site.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // The archive does not end: it waits for more of it until the signal has come, and then goes on for a byte.
        stdin.write_all(&head[..600_000]).unwrap();
        while site.names() == before && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        // Behind the signal it may be gone already.
        let _ = stdin.write_all(&head[600_000..]);
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "error: interrupted; nothing was left behind\n");
        assert_eq!(site.names(), before);
    }
}

#[test]
fn many_files_and_large_directories_round_trip() {
    let count = if std::env::var_os("AUTOXEN_LONG").is_some() { 200_000 } else { 3_000 };
    let many = if count > 3_000 { 100_000 } else { 5_000 };
    let site = Site::new();
    let script = format!(
        "import os\nos.makedirs('t/wide')\nfor i in range({count}): open(f't/wide/entry number {{i}}', 'w').close()\n\
         for i in range({many}):\n    if i % 100 == 0: os.makedirs(f't/{{i // 100}}')\n    \
         open(f't/{{i // 100}}/{{i}}', 'w').write(str(i) * (i % 50))\n"
    );
    run(
        "python3",
        "python3",
        &["-c", &format!("import os\nos.chdir({:?})\n{script}", str(&site.path("")))],
    );
    sh(&site, "tar -C t --numeric-owner -cf t.tar .");
    for (image, args) in
        [("a.img", &["--features", "inline_data"][..]), ("b.img", &["--type", "ext3"])]
    {
        site.succeeds(&[&["image", "build", "-o", image, "t.tar"][..], args].concat());
        e2fsck(&site.path(image));
        compare(&site, image, "t.tar");
    }
}
