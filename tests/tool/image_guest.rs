//! What lives in an image: `image info` of roots with the layouts of several distributions, `image kernel`, and the map.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::prepare::disk;
use crate::site::{Site, judge, run, text};

/// Make `root.img` of the tree below `tree/`, which holds these files, links (`path -> target`) and directories (`path/`).
fn root(site: &Site, files: &[(&str, &str)]) {
    let _ = fs::remove_dir_all(site.path("tree"));
    for (path, content) in files {
        let path = site.path(&format!("tree{path}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match content.strip_prefix("-> ") {
            Some(target) => symlink(target, path).unwrap(),
            None if path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
                fs::create_dir_all(path).unwrap()
            }
            None => fs::write(path, content).unwrap(),
        }
    }
    let _ = fs::remove_file(site.path("root.img"));
    let (tree, image) = (site.path("tree"), site.path("root.img"));
    let args = ["-q", "-t", "ext3", "-d", tree.to_str().unwrap(), image.to_str().unwrap(), "16M"];
    run("mke2fs", "e2fsprogs", &args);
}

fn guest(site: &Site, image: &str) -> Value {
    let out = site.succeeds(&["image", "info", "--json", image]);
    let found: Value = serde_json::from_str(&out).unwrap();
    let volumes = found["volumes"].as_array().unwrap();
    volumes.iter().map(|volume| volume["guest"].clone()).find(|guest| !guest.is_null()).unwrap()
}

/// The program that runs this test's shell: an ELF file of this machine.
fn shell() -> Vec<u8> {
    fs::read("/bin/dash").unwrap()
}

#[test]
fn each_distribution_of_its_time_is_told() {
    let site = Site::new();
    for (files, name, version, init, hostname) in [
        (
            // CentOS 5.
            &[
                ("/etc/redhat-release", "CentOS release 5.11 (Final)\n"),
                ("/etc/rc.d/rc3.d/", ""),
                ("/etc/rc2.d", "-> rc.d/rc2.d"),
                ("/sbin/init", "x"),
                ("/etc/sysconfig/network", "NETWORKING=yes\nHOSTNAME=\"node1.example\"\n"),
            ][..],
            "CentOS release 5.11 (Final)",
            "5.11",
            &["sysv-redhat"][..],
            "node1.example",
        ),
        (
            // SLES 9.
            &[
                ("/etc/SuSE-release", "SUSE LINUX Enterprise Server 9 (i586)\nVERSION = 9\n"),
                ("/etc/init.d/rc3.d/", ""),
                ("/etc/rc.d", "-> init.d"),
                ("/sbin/init", "x"),
                ("/etc/HOSTNAME", "sles.example\n"),
            ],
            "SUSE LINUX Enterprise Server 9 (i586)",
            "9",
            &["sysv-suse"],
            "sles.example",
        ),
        (
            // Debian 12: /bin and /sbin are links.
            &[
                (
                    "/usr/lib/os-release",
                    "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=12\n",
                ),
                ("/etc/os-release", "-> ../usr/lib/os-release"),
                ("/usr/lib/systemd/systemd", "x"),
                ("/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", "x"),
                ("/lib", "-> usr/lib"),
                ("/sbin", "-> usr/sbin"),
                ("/usr/sbin/init", "-> /lib/systemd/systemd"),
                ("/etc/rc2.d/", ""),
                ("/etc/hostname", "bookworm\n"),
            ],
            "Debian GNU/Linux 12 (bookworm)",
            "12",
            &["systemd", "sysv-debian"],
            "bookworm",
        ),
        (
            // Alpine.
            &[
                ("/etc/alpine-release", "3.20.1\n"),
                ("/bin/busybox", "x"),
                ("/sbin/init", "-> /bin/busybox"),
                ("/sbin/openrc", "x"),
                ("/etc/runlevels/default/", ""),
                ("/etc/hostname", "alpine\n"),
            ],
            "Alpine Linux 3.20.1",
            "3.20.1",
            &["openrc"],
            "alpine",
        ),
    ] {
        root(&site, files);
        let guest = guest(&site, "root.img");
        assert_eq!(guest["release"]["name"], name);
        assert_eq!(guest["release"]["version"], version, "{name}");
        assert_eq!(guest["init"], Value::from(init), "{name}");
        assert_eq!(guest["hostname"], hostname, "{name}");
        assert_eq!(guest["warnings"], Value::from(Vec::<Value>::new()), "{name}");
        let systemd = if init[0] == "systemd" { "252".into() } else { Value::Null };
        assert_eq!(guest["systemd"], systemd);
    }
}

#[test]
fn the_processor_is_that_of_a_program_behind_links() {
    let site = Site::new();
    root(
        &site,
        &[
            ("/etc/fstab", ""),
            ("/usr/bin/dash", "x"),
            ("/bin", "-> usr/bin"),
            ("/usr/bin/sh", "-> /bin/dash"),
        ],
    );
    assert!(guest(&site, "root.img")["machine"].is_null());
    site.write("dash", shell());
    site.succeeds(&["image", "cp", site.path("dash").to_str().unwrap(), "root.img:/usr/bin/dash"]);
    let machine = run("uname", "coreutils", &["-m"]);
    assert_eq!(guest(&site, "root.img")["machine"], machine.trim());
}

#[test]
fn what_a_stranger_wrote_steers_nothing_and_hides_nothing() {
    let site = Site::new();
    let long = "x".repeat((1 << 20) + 1);
    root(
        &site,
        &[
            ("/etc/os-release", "PRETTY_NAME='a\u{1b}[31mb\u{202e}'\n"),
            ("/etc/fstab", long.as_str()),
            ("/etc/hostname", "-> hostname"),
            ("/boot/vmlinuz-1\u{1b}[2J", "x"),
            ("/bin/", ""),
            ("/sbin/init", "-> init"),
        ],
    );
    let output = site.autoxen(&["image", "info", "root.img"]);
    let out = text(&output.stdout);
    assert!(output.status.success(), "{out}");
    assert!(!out.chars().any(|letter| letter != '\n' && letter.is_control()), "{out:?}");
    assert!(out.contains("guest: a\\u{1b}[31mb\\u{202e}\n"), "{out}");
    assert!(out.contains("kernel: 1\\u{1b}[2J: /boot/vmlinuz-1\\u{1b}[2J, no ramdisk\n"), "{out}");
    assert!(out.contains("cannot be told: `/etc/fstab`: "), "{out}");
    assert!(out.contains("cannot be told: `/etc/hostname`: "), "{out}");
}

/// A kernel that says which it is, as the boot protocol has it.
fn kernel(release: &str) -> String {
    let mut head = vec![0; 0x300];
    head[0x1fe..0x200].copy_from_slice(&[0x55, 0x2a]);
    head[0x202..0x206].copy_from_slice(b"HdrS");
    head[0x206..0x208].copy_from_slice(&[0, 2]);
    head[0x20e] = 0x70;
    head[0x270..0x270 + release.len()].copy_from_slice(release.as_bytes());
    String::from_utf8(head).unwrap()
}

#[test]
fn a_kernel_comes_out_with_its_ramdisk_or_not_at_all() {
    let site = Site::new();
    let (old, new) = (kernel("6.1.0-9 (x"), kernel("6.1.0-18 (x"));
    root(
        &site,
        &[
            ("/etc/fstab", ""),
            ("/bin/", ""),
            ("/boot/vmlinuz-6.1.0-9", &old),
            ("/boot/initrd.img-6.1.0-9", "ramdisk 9"),
            ("/boot/vmlinuz-6.1.0-18", &new),
            ("/boot/initrd.img-6.1.0-18", "ramdisk 18"),
            ("/boot/vmlinuz", "-> vmlinuz-6.1.0-18"),
        ],
    );
    let listed = site.succeeds(&["image", "kernel", "root.img"]);
    assert_eq!(
        listed,
        "6.1.0-18: /boot/vmlinuz-6.1.0-18, ramdisk initrd.img-6.1.0-18\n\
         6.1.0-9: /boot/vmlinuz-6.1.0-9, ramdisk initrd.img-6.1.0-9\n"
    );
    let out = site.succeeds(&["image", "kernel", "--json", "root.img", "-o", "out"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["kernels"][0]["release"], "6.1.0-18");
    assert_eq!(found["kernel"], "out/vmlinuz-6.1.0-18");
    assert_eq!(found["ramdisk"], "out/initrd.img-6.1.0-18");
    assert!(fs::read_to_string(site.path("out/vmlinuz-6.1.0-18")).unwrap() == new);
    assert_eq!(fs::read(site.path("out/initrd.img-6.1.0-18")).unwrap(), b"ramdisk 18");
    let refusal = site.fails(&["image", "kernel", "root.img", "-o", "out"]);
    assert!(refusal.contains("is there already\nhint: "), "{refusal}");
    site.succeeds(&["image", "kernel", "root.img", "-o", "out", "--force"]);
    site.succeeds(&["image", "kernel", "root.img", "-o", "out", "--version", "6.1.0-9"]);
    let refusal = site.fails(&["image", "kernel", "root.img", "-o", "none", "--version", "5"]);
    let expected = "error: root.img:/boot has no kernel of version `5`\nhint: there are `6.1.0-18`, `6.1.0-9`\n";
    assert_eq!(refusal, expected);
    assert!(!site.path("none").exists());
    // Where the ramdisk cannot be written, there is no kernel either.
    fs::create_dir_all(site.path("half/initrd.img-6.1.0-18")).unwrap();
    site.fails(&["image", "kernel", "root.img", "-o", "half"]);
    assert_eq!(fs::read_dir(site.path("half")).unwrap().count(), 1);
    site.succeeds(&["image", "rm", "-r", "root.img:/boot"]);
    let refusal = site.fails(&["image", "kernel", "root.img"]);
    assert!(refusal.starts_with("error: no kernel is in root.img:/boot\nhint: "), "{refusal}");
}

#[test]
fn a_boot_partition_is_found_by_fstab() {
    let site = Site::new();
    root(&site, &[("/vmlinuz-6.1.0", "kernel"), ("/initramfs-6.1.0.img", "ramdisk")]);
    fs::rename(site.path("root.img"), site.path("boot.img")).unwrap();
    run("tune2fs", "e2fsprogs", &["-L", "BOOT", site.path("boot.img").to_str().unwrap()]);
    root(&site, &[("/bin/", ""), ("/etc/fstab", "LABEL=BOOT /boot ext3 ro 0 2\n"), ("/boot/", "")]);
    let script = "label: gpt\nstart=2048, size=32768\nstart=34816, size=32768\n";
    disk(&site, "root.img", "disk.img", script, 34816 * 512);
    let (from, to) = (site.path("boot.img"), site.path("disk.img"));
    let (from, to) = (format!("if={}", from.display()), format!("of={}", to.display()));
    run("dd", "coreutils", &[&from, &to, "bs=512", "seek=2048", "conv=notrunc", "status=none"]);
    let guest = guest(&site, "disk.img");
    assert_eq!(guest["fstab"][0]["partition"], 1);
    assert_eq!(guest["kernels"][0]["partition"], 1);
    assert_eq!(guest["kernels"][0]["path"], "/vmlinuz-6.1.0");
    let out = site.succeeds(&["image", "kernel", "disk.img", "-o", "out"]);
    assert_eq!(out, "out/vmlinuz-6.1.0\nout/initramfs-6.1.0.img\n");
}

#[test]
fn kernels_beside_their_modules_are_found_behind_those_of_boot() {
    let site = Site::new();
    let (old, new) = (kernel("6.8.5-301.fc40 (x"), kernel("6.10.2-arch1-1 (x"));
    root(
        &site,
        &[
            ("/bin/", ""),
            ("/etc/fstab", ""),
            ("/lib", "-> usr/lib"),
            ("/usr/lib/modules/6.8.5-301.fc40/vmlinuz", &old),
            ("/usr/lib/modules/6.8.5-301.fc40/initramfs.img", "ramdisk"),
            ("/usr/lib/modules/6.10.2-arch1-1/vmlinuz", &new),
            ("/usr/lib/modules/6.9.0/modules.dep", ""),
        ],
    );
    let expected = "6.10.2-arch1-1: /usr/lib/modules/6.10.2-arch1-1/vmlinuz, no ramdisk\n\
        6.8.5-301.fc40: /usr/lib/modules/6.8.5-301.fc40/vmlinuz, ramdisk 6.8.5-301.fc40/initramfs.img\n";
    assert_eq!(site.succeeds(&["image", "kernel", "root.img"]), expected);
    assert_eq!(guest(&site, "root.img")["kernels"].as_array().unwrap().len(), 2);
    let args = ["image", "kernel", "root.img", "--version", "6.8.5-301.fc40", "-o", "out"];
    assert_eq!(site.succeeds(&args), "out/vmlinuz\nout/initramfs.img\n");
    assert!(fs::read_to_string(site.path("out/vmlinuz")).unwrap() == old);
    // Arch calls it by a flavour in /boot, Fedora by its version: neither is told twice.
    let own = [
        ("/bin/", ""),
        ("/etc/fstab", ""),
        ("/boot/vmlinuz-linux", &new[..]),
        ("/boot/vmlinuz-6.8.5", "x"),
        ("/lib/modules/6.10.2-arch1-1/vmlinuz", &new),
        ("/lib/modules/6.8.5/vmlinuz", &old),
        ("/lib/modules/6.7.0/vmlinuz", "x"),
    ];
    root(&site, &own);
    let listed = site.succeeds(&["image", "kernel", "root.img"]);
    let paths: Vec<&str> =
        listed.lines().map(|line| line.split([' ', ',']).nth(1).unwrap()).collect();
    assert_eq!(
        paths,
        ["/boot/vmlinuz-6.8.5", "/boot/vmlinuz-linux", "/lib/modules/6.7.0/vmlinuz"],
        "{listed}"
    );
}

#[test]
fn the_entries_of_a_boot_loader_are_told() {
    let site = Site::new();
    let grub = "menuentry 'Debian' --class x {\n linux /boot/vmlinuz-6 root=LABEL=r ro\n initrd /boot/initrd.img-6\n}\n\
        menuentry 'Firmware' {\n fwsetup\n}\n";
    root(
        &site,
        &[
            ("/bin/", ""),
            ("/etc/fstab", ""),
            ("/boot/grub/grub.cfg", grub),
            ("/boot/grub/grub.conf", "title Old\nkernel /xen.gz\nmodule /vmlinuz ro\n"),
            ("/boot/grub/menu.lst", "-> grub.conf"),
            ("/boot/extlinux/extlinux.conf", "-> extlinux.conf"),
            ("/boot/loader/entries/b.conf", "linux /b\n"),
            ("/boot/loader/entries/a.conf", "title \u{1b}[31mA\nlinux /a\n"),
            ("/boot/loader/entries/none", "linux /none\n"),
        ],
    );
    let out = site.succeeds(&["image", "info", "root.img"]);
    let told: Vec<&str> = out.lines().filter(|line| line.starts_with("    boot: ")).collect();
    assert_eq!(
        told,
        [
            "    boot: `Debian` starts /boot/vmlinuz-6 (/boot/grub/grub.cfg)",
            "    boot: `Old` starts /xen.gz, then /vmlinuz (/boot/grub/grub.conf)",
            "    boot: `\\u{1b}[31mA` starts /a (/boot/loader/entries/a.conf)",
            "    boot: `b.conf` starts /b (/boot/loader/entries/b.conf)",
        ]
    );
    assert!(out.contains("    cannot be told: `/boot/extlinux/extlinux.conf`: "), "{out}");
    let guest = guest(&site, "root.img");
    let entry = &guest["boot_entries"][0];
    assert_eq!((&entry["title"], &entry["kernel"]), (&"Debian".into(), &"/boot/vmlinuz-6".into()));
    assert_eq!(entry["options"], "root=LABEL=r ro");
    assert_eq!(entry["ramdisks"], Value::from(["/boot/initrd.img-6"].as_slice()));
    assert_eq!(guest["boot_entries"][1]["hypervisor"], "/xen.gz");
}

#[test]
fn the_room_of_a_fat_is_what_fsck_counts() {
    let site = Site::new();
    for (name, kib, bits) in
        [("12.img", "2048", "12"), ("16.img", "20480", "16"), ("32.img", "49152", "32")]
    {
        let image = site.path(name);
        let image = image.to_str().unwrap();
        run("mkfs.fat", "dosfstools", &["-F", bits, "-s", "1", "-C", image, kib]);
        site.write("f", vec![7; 100_001]);
        site.succeeds(&["image", "cp", "f", &format!("{name}:/f")]);
        let out = site.succeeds(&["image", "info", "--json", name]);
        let found: Value = serde_json::from_str(&out).unwrap();
        let fat = found["volumes"][0]["fat"].clone();
        let (all, free) =
            (fat["clusters"].as_u64().unwrap(), fat["free_clusters"].as_u64().unwrap());
        let judged = run("fsck.fat", "dosfstools", &["-n", image]);
        assert!(judged.contains(&format!(" {}/{all} clusters", all - free)), "{judged} {fat}");
        let shown = site.succeeds(&["image", "info", name]);
        assert!(
            shown.contains(&format!("  clusters: {all} of 512 bytes, {free} free\n")),
            "{shown}"
        );
    }
}

#[test]
fn the_map_adds_up_to_what_dumpe2fs_counts() {
    let site = Site::new();
    // 40 groups of 8 MiB, with data in some.
    let image = site.path("root.img");
    run(
        "mke2fs",
        "e2fsprogs",
        &["-q", "-t", "ext4", "-b", "1024", image.to_str().unwrap(), "320M"],
    );
    let data = site.write("data", vec![7; 30 << 20]);
    let request = format!("write {} data", data.display());
    run("debugfs", "e2fsprogs", &["-w", "-R", &request, image.to_str().unwrap()]);
    let out = site.succeeds(&["image", "info", "--map", "root.img"]);
    let dumped = run("dumpe2fs", "e2fsprogs", &[image.to_str().unwrap()]);
    let field = |name: &str| {
        let line = dumped.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    let free: u64 = field("Free blocks:");
    let last = out.lines().last().unwrap();
    assert!(last.ends_with(&format!(" data, {free} free")), "{last}: {free}");
    // A group whose blocks are all free but for a backup is free; one without a free block is full.
    let free_of = |line: &str| {
        let (count, _) = line.trim().split_once(" free blocks, ")?;
        count.parse::<u64>().ok()
    };
    let groups: Vec<u64> = dumped.lines().filter_map(free_of).collect();
    let row = out.lines().find(|line| line.starts_with("       0 ")).unwrap();
    let cells: Vec<char> = row.chars().skip(9).collect();
    assert_eq!(cells.len(), groups.len(), "{row}");
    for (cell, free) in cells.iter().zip(&groups) {
        assert_eq!(*free == 0, matches!(cell, '#' | 'm'), "{row} {groups:?}");
        assert!(*free < 8192 || *cell == '.', "{row} {groups:?}");
    }
    assert!(cells.contains(&'#') && cells.contains(&'.'), "{row}");
    assert!(out.is_ascii(), "{out}");
    let drawn =
        site.autoxen_with(&[("LC_ALL", "C.UTF-8")], &["image", "info", "--map", "root.img"]);
    let drawn = text(&drawn.stdout).replace('█', "#").replace('·', ".").replace('▓', "m");
    let shades = drawn.replace('▄', "*").replace('▒', "+").replace('░', "-");
    assert_eq!(shades, out);
}

#[test]
fn a_journal_with_something_in_it_is_told_and_free_blocks_are_those_of_the_descriptors() {
    let site = Site::new();
    let images = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images");
    for (name, journal, has_orphans) in [
        ("dirty-ext4", "replay", false),
        ("dirty-orphans", "replay", true),
        ("ext4-today", "clean", false),
    ] {
        let image = images.join(format!("{name}.img.zst"));
        let out = site.succeeds(&["image", "info", "--json", image.to_str().unwrap()]);
        let found: Value = serde_json::from_str(&out).unwrap();
        let ext = found["volumes"][0]["ext"].clone();
        assert_eq!(ext["journal"], journal, "{name}");
        assert_eq!(ext["orphans"].as_u64().unwrap() > 0, has_orphans, "{name}");
        // Once the journal is replayed, e2fsck has counted.
        let copy = site.path("copy.img");
        let args = ["-q", "-f", "-d", image.to_str().unwrap(), "-o", copy.to_str().unwrap()];
        run("zstd", "zstd", &args);
        if !has_orphans {
            judge("e2fsck", "e2fsprogs", &["-fy", copy.to_str().unwrap()]);
            let dumped = run("dumpe2fs", "e2fsprogs", &["-h", copy.to_str().unwrap()]);
            let free = format!("\nFree blocks:              {}\n", ext["free_blocks"]);
            assert!(dumped.contains(&free), "{name}: {free} {dumped}");
        }
    }
}
