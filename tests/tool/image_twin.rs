//! The verbs that edit, against the coreutils of the same name: those work on a mounted twin of the image, ours on the image,
//! and then both trees are the same to the last attribute.

use std::fs;
use std::path::{Path, PathBuf};

use crate::site::{Site, e2fsck, run, text, umount};

/// A mounted image; it is unmounted at the end whatever happens.
pub(crate) struct Mounted {
    pub(crate) at: PathBuf,
}

impl Mounted {
    pub(crate) fn new(site: &Site, image: &Path, options: &str) -> Self {
        let at = site.path(&format!("mount-{}", image.file_name().unwrap().to_str().unwrap()));
        fs::create_dir_all(&at).unwrap();
        run("mount", "mount", &["-o", options, image.to_str().unwrap(), at.to_str().unwrap()]);
        Self { at }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        umount(&self.at);
    }
}

/// Do what `script` says, of which every command succeeds; `$0` is `at`.
fn bash(script: &str, at: &Path) -> String {
    run("bash", "bash", &["-euo", "pipefail", "-c", script, at.to_str().unwrap()])
}

/// All that there is to know of a tree. Times of what the edit made are those of the edit; older ones were kept.
fn tree(at: &Path) -> String {
    let script = r#"cd "$0"; find . -path ./lost+found -prune -o -printf '%P|%y|%m|%U|%G|%n|%l|%Ts\n' \
        | awk -F'|' 'BEGIN { OFS = "|" } { if ($8 > 1600000000) $8 = "now"; print }' | LC_ALL=C sort
        find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
        find . ! -path './lost+found*' -print0 | LC_ALL=C sort -z | xargs -0r getfattr -h -d -m - -e hex
        find . -type f -print0 | LC_ALL=C sort -z | xargs -0r du -k --apparent-size
        find . \( -type c -o -type b \) -print0 | LC_ALL=C sort -z | xargs -0r stat -c '%n %t %T'"#;
    bash(script, at)
}

/// What is copied from: a tree of the host with all that a tree can hold.
fn host_tree(site: &Site) {
    let script = r#"umask 022; cd "$0"; mkdir -p src/sub/deep src/empty; cd src
        printf 'one\n' > one; printf '#!/bin/sh\n' > run; chmod 4755 run
        ln one hard; ln one sub/hard2; ln -s one soft; ln -s /etc/passwd outside; ln -s nowhere dangling
        mknod null c 1 3; mknod disk b 8 300; mkfifo pipe
        truncate -s 3M sparse; printf 'end' >> sparse; printf x | dd of=sparse bs=1 seek=1000000 conv=notrunc 2>/dev/null
        head -c 300000 /dev/zero | tr '\0' 'a' > large
        chmod 2775 sub; chmod 1777 sub/deep; chown 1000:1001 one sub; chown -h 7:8 soft
        setfattr -n user.note -v text one; setfattr -n user.dir -v text sub
        setfacl -m u:1234:rw large; setfacl -d -m g:77:rx sub/deep
        setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 large
        printf 'b\n' > 'with space'; printf 'c\n' > "$(printf 'nl\nname')"
        find . -exec touch -h -d '2001-02-03 04:05:06.5' {} +"#;
    bash(script, &site.path(""));
}

const GUEST: &str = r#"umask 022; cd "$0"; mkdir -p etc bin srv/www/a/b home
    printf 'root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:\nbackup:x:34:34::/:\n' > etc/passwd
    printf 'root:x:0:\nwww-data:x:33:\nbackup:x:34:\n' > etc/group
    printf 'index\n' > srv/www/index; printf 'x\n' > srv/www/a/b/x; ln -s www srv/link; chmod 2775 srv/www/a
    ln -s a/b/x srv/www/short; printf 'prog' > bin/prog; chmod 6755 bin/prog
    setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 bin/prog
    printf 'acl\n' > srv/www/acl; setfacl -m u:5:rwx srv/www/acl; setfacl -d -m u:6:rwx srv/www/a/b
    find . -exec touch -h -d '2002-02-03 04:05:06' {} +"#;

/// `@` stands for the image, `HOST` for the host. Each line is one command.
const SCRIPTS: &[(&str, &str)] = &[
    ("cp -a of everything", "cp -a HOST/src @/home"),
    ("cp -r of everything", "cp -r HOST/src @/home/copy"),
    ("cp -rp", "cp -rp HOST/src @/home/copy"),
    (
        "cp -rL but for the dangling",
        "cp -L HOST/src/soft HOST/src/run @/home\ncp -rL HOST/src/sub @/home",
    ),
    (
        "cp of files",
        "cp HOST/src/one @/etc/one\ncp HOST/src/large @/srv/www/acl\ncp HOST/src/one @/srv/www/short\n\
         cp HOST/src/soft @/etc/was-soft\ncp -P HOST/src/soft @/etc/soft\ncp -p HOST/src/run @/bin/prog\n\
         cp HOST/src/run @/bin\ncp -n HOST/src/run @/etc/passwd\ncp HOST/src/one HOST/src/run @/srv/link\n\
         cp HOST/src/run @/srv/www/a/b\ncp 'HOST/src/with space' @/srv/www/a\ncp -T HOST/src/one @/etc/T",
    ),
    (
        "cp over what is there",
        "cp -p HOST/src/run @/srv/www/short\ncp -a HOST/src @/home\ncp -a HOST/src/. @/home/src\ncp -r HOST/src/sub/. @/srv/www\ncp -r HOST/src/sub/. @/srv/link\ncp -a HOST/src/soft @/srv/www/index\n\
         cp HOST/src/large @/bin/prog",
    ),
    (
        "cp within",
        "cp -a @/srv @/home\ncp -a @/bin/prog @/bin/prog2\ncp -r @/srv/www/. @/etc\ncp @/srv/www/short @/etc/x2\n\
         cp -rp @/srv/www/a @/home/a\ncp @/etc/passwd @/etc/group @/home",
    ),
    (
        "mkdir",
        "mkdir @/new\nmkdir -p @/new/a/b @/srv/www\nmkdir -m 1777 @/tmp\nmkdir -p -m u=rwx,go= @/x/y\nmkdir @/srv/www/a/sub @/srv/www/a/b/sub",
    ),
    (
        "rm",
        "rm @/etc/group @/srv/link\nrm -r @/srv/www/a\nrm -f @/none @/srv/www/index\nrm -d @/home",
    ),
    (
        "mv",
        "mv @/etc/group @/etc/groups\nmv @/srv/www/a @/home\nmv @/bin/prog @/srv/link\nmv @/srv/www/index @/etc/passwd @/home\n\
         mv -n @/home/passwd @/home/index\nmv @/srv/www/short @/home/a\nmv -T @/srv/www @/srv/other\nmv @/home/a/b/x @/home/a/b/y",
    ),
    (
        "ln",
        "ln @/etc/passwd @/etc/again\nln -s ../etc/passwd @/home\nln -sf /etc/group @/etc/again\nln -sfn x @/srv/link\n\
         ln -f @/etc/group @/srv/www/index\nln @/etc/group @/bin/prog @/home\nln -s a b @/home\nln -sT q @/home/T",
    ),
    (
        "chmod",
        "chmod 600 @/etc/passwd\nchmod -R u=rwX,go=rX @/srv\nchmod g-s,o+t @/srv/www/a\nchmod +x @/srv/www/short\nchmod 755 @/srv/www/a\n\
         chmod u-x,a+r @/bin/prog\nchmod g-w @/srv/www/acl\nchmod -R go-rwx @/srv/link\nchmod =rw @/etc",
    ),
    (
        "chown",
        "chown 5:6 @/etc/passwd\nchown 33 @/bin/prog\nchown :34 @/srv\nchown -h 9:9 @/srv/link\nchown 10:10 @/srv/www/short\n\
         chown -R 11:12 @/srv/www\nchown +13:+14 @/home",
    ),
];

#[test]
fn the_verbs_do_what_the_coreutils_do_on_a_mounted_twin() {
    for args in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024", "-I", "128"]] {
        let site = Site::new();
        host_tree(&site);
        let host = site.path("").to_str().unwrap().trim_end_matches('/').to_owned();
        let stock = site.mke2fs("stock.img", "32M", args);
        {
            let mounted = Mounted::new(&site, &stock, "loop");
            bash(GUEST, &mounted.at);
        }
        for (name, script) in SCRIPTS {
            let (ours, twin) = (site.path("ours.img"), site.path("twin.img"));
            fs::copy(&stock, &ours).unwrap();
            fs::copy(&stock, &twin).unwrap();
            let expected = {
                let mounted = Mounted::new(&site, &twin, "loop");
                let at = mounted.at.to_str().unwrap();
                let commands = script.replace('@', at).replace("HOST", &host);
                run("bash", "bash", &["-c", &format!("umask 022\nset -e\n{commands}")]);
                tree(&mounted.at)
            };
            if *name == "cp -a of everything" {
                // What is compared is there on either side.
                for part in ["home/src/one|f|644|1000|1001|3|", "user.note=0x74657874", "null 1 3"]
                {
                    assert!(expected.contains(part), "{part}: {expected}");
                }
                for part in ["system.posix_acl_default=0x", "security.capability=0x"] {
                    assert!(expected.contains(part), "{part}: {expected}");
                }
            }
            let commands = script.replace('@', ":").replace("HOST", &host);
            site.write("script", commands);
            site.succeeds(&["image", "edit", "ours.img", "-f", "script"]);
            e2fsck(&ours);
            let mounted = Mounted::new(&site, &ours, "loop,ro");
            let found = tree(&mounted.at);
            let differing: Vec<String> = similar::TextDiff::from_lines(&expected, &found)
                .iter_all_changes()
                .filter(|change| change.tag() != similar::ChangeTag::Equal)
                .map(|change| format!("{}{change}", change.tag()))
                .collect();
            assert!(differing.is_empty(), "{name} {args:?}:\n{}", differing.concat());
        }
    }
}

#[test]
fn what_is_copied_to_the_host_is_what_cp_copies_from_a_mount() {
    let site = Site::new();
    host_tree(&site);
    let image = site.mke2fs("root.img", "32M", &["-t", "ext4"]);
    let src = site.path("src");
    let (a, b) = (site.path("a"), site.path("b"));
    fs::create_dir(&a).unwrap();
    fs::create_dir(&b).unwrap();
    site.succeeds(&["image", "cp", "-a", "src", "root.img:/"]);
    e2fsck(&image);
    for flags in ["-a", "-r", "-rp"] {
        let mounted = Mounted::new(&site, &image, "loop,ro");
        let from = mounted.at.join("src");
        let to = a.join(flags);
        run("cp", "coreutils", &[flags, from.to_str().unwrap(), to.to_str().unwrap()]);
        drop(mounted);
        let ours = format!("b/{flags}");
        let output = site.autoxen(&["image", "cp", flags, "root.img:/src", &ours]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(tree(&to), tree(&site.path(&ours)), "{flags}");
    }
    // Holes come through: 3 MiB and some, of which two blocks have content.
    use std::os::unix::fs::MetadataExt;
    let sparse = fs::metadata(b.join("-a/sparse")).unwrap();
    assert_eq!((sparse.len(), sparse.blocks() <= 64), (3 * 1024 * 1024 + 3, true));
    assert_eq!(tree(&src), tree(&b.join("-a")));
}
