//! `autoxen image build` from container images that other programs made: `umoci` writes the layers, `skopeo` packs them as
//! `docker save` and as an OCI archive. The judges: what `umoci unpack` makes of the same layers, seen by GNU tar and the
//! kernel.

use crate::image_build::UMOUNT;
use crate::site::{Site, e2fsck, run};

fn sh(site: &Site, script: &str) -> String {
    run("sh", "dash", &["-c", &format!("cd {} && {script}", site.path("").display())])
}

fn umoci(site: &Site, arguments: &str) {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let at = |word: &str| site.path(word).display().to_string();
    // Its own options end where names below the site begin.
    let arguments: Vec<String> = arguments
        .iter()
        .map(|word| word.strip_prefix('@').map_or_else(|| (*word).to_owned(), at))
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run("umoci", "umoci", &arguments);
}

/// Three layers: a tree; a directory and one of two names gone, a third name for another file, a directory that became a
/// file and the other way round; a directory emptied and filled anew, something put back where it was removed.
fn layers(site: &Site) {
    umoci(site, "init --layout @oci");
    umoci(site, "new --image @oci:app");
    umoci(site, "unpack --image @oci:app @bundle");
    let root = site.path("bundle/rootfs").display().to_string();
    let layer = |script: &str| {
        sh(site, &format!("cd {root} && {script}"));
        umoci(site, "repack --refresh-bundle --image @oci:app @bundle");
    };
    layer(
        "mkdir -p etc/app/sub usr/bin gone/deep turns dir && echo 1 > etc/app/one && ln etc/app/one usr/bin/one && \
         echo 2 > etc/app/two && ln etc/app/two usr/bin/two && echo x > gone/deep/file && ln -s etc/app link && \
         echo 3 > etc/app/sub/three && echo file > turns/file && mkdir -p turns/dir/below && \
         head -c 3000001 /dev/urandom > large && truncate -s 20M sparse && echo end >> sparse && \
         chown 1000:70000 large && chmod 4755 usr/bin/two && mkfifo pipe && mknod null c 1 3 && \
         setfattr -n user.note -v text large && \
         setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 etc/app/sub/three && \
         touch -d 2001-02-03 dir",
    );
    layer(
        "rm -r gone usr/bin/one turns/file turns/dir && ln etc/app/two third && echo changed >> etc/app/one && \
         mkdir turns/file && echo in > turns/file/in && echo now > turns/dir && chmod 0700 dir",
    );
    // `umoci insert` ends its layers without padding and mark, so that GNU tar calls them cut short, as we do.
    sh(
        site,
        "mkdir -p in/etc/app/sub in/gone && touch in/etc/app/.wh..wh..opq && echo new > in/etc/app/new && \
         echo 4 > in/etc/app/sub/four && echo back > in/gone/file && \
         tar --numeric-owner -C in -cf in.tar etc/app/.wh..wh..opq etc/app/new etc/app/sub gone",
    );
    umoci(site, "raw add-layer --image @oci:app @in.tar");
    umoci(site, "unpack --image @oci:app @judged");
    sh(site, "tar --xattrs --xattrs-include='*' --numeric-owner -C judged/rootfs -cf judge.tar .");
}

/// Mount an image, and let GNU tar compare it with what the judge made; then names and links, both ways.
fn compare(site: &Site, image: &str) {
    e2fsck(&site.path(image));
    let list =
        "find . -mindepth 1 -path ./lost+found -prune -o -printf '%p %y %m %U:%G %n %l\\n' | sort";
    let script = format!(
        "mkdir -p mnt && mount -o loop,ro {image} mnt && \
         {{ tar --xattrs --xattrs-include='*' --numeric-owner --compare -f judge.tar -C mnt; status=$?; \
         (cd mnt && {list}) > ours; {UMOUNT}; [ $status = 0 ]; }} && \
         (cd judged/rootfs && {list}) > theirs && diff theirs ours && wc -l < ours"
    );
    let count: usize = sh(site, &script).trim().parse().unwrap();
    assert!(count > 15, "{count}");
}

#[test]
fn a_container_image_of_umoci_is_the_tree_that_umoci_unpacks() {
    let site = Site::new();
    layers(&site);
    let opaque = sh(&site, "for f in oci/blobs/sha256/*; do tar -tzf $f 2> /dev/null; done || :");
    for name in ["etc/app/.wh..wh..opq", ".wh.gone", "usr/bin/.wh.one"] {
        assert!(opaque.lines().any(|line| line == name), "the layers have no `{name}`: {opaque}");
    }
    site.succeeds(&["image", "build", "-o", "layout.img", "oci"]);
    compare(&site, "layout.img");

    for (archive, target) in [("docker.tar", "docker-archive"), ("oci.tar", "oci-archive")] {
        let from = format!("oci:{}:app", site.path("oci").display());
        let to = format!("{target}:{}:app:latest", site.path(archive).display());
        run("skopeo", "skopeo", &["copy", "--quiet", "--insecure-policy", &from, &to]);
        let image = format!("{archive}.img");
        site.succeeds(&["image", "build", "-o", &image, archive]);
        compare(&site, &image);
        // The same, packed and through a pipe.
        sh(&site, &format!("gzip -1 -k {archive}"));
        let image = format!("{archive}.gz.img");
        site.succeeds(&["image", "build", "-o", &image, &format!("{archive}.gz")]);
        compare(&site, &image);
    }
}

#[test]
fn an_image_of_its_own_size_takes_files_until_it_is_full() {
    let site = Site::new();
    sh(&site, "mkdir tree && echo hello > tree/file");
    for (image, kind, free) in
        [("small.img", "ext4", "16M"), ("large.img", "ext4", "600M"), ("old.img", "ext2", "9M")]
    {
        let size = format!("auto+{free}");
        site.succeeds(&["image", "build", "-o", image, "--type", kind, "--size", &size, "tree"]);
        e2fsck(&site.path(image));
        let bytes = std::fs::metadata(site.path(image)).unwrap().len();
        let theirs = format!("{image}.judge");
        sh(&site, &format!("mke2fs -q -F -b 4096 -t {kind} {theirs} {}k", bytes / 1024));
        let [ours, theirs] = [image, &theirs].map(|image| {
            let path = site.path(image);
            let out = run("dumpe2fs", "e2fsprogs", &["-h", text_of(&path)]);
            let line = out.lines().find(|line| line.starts_with("Inode count:")).unwrap();
            line.split_whitespace().last().unwrap().parse::<u64>().unwrap()
        });
        // As many as fit a whole block of the inode table, more or less.
        assert!(
            ours + 16 >= theirs && ours <= theirs + theirs / 8 + 64,
            "{image}: {ours}, {theirs}"
        );
    }
    // Files of one block each: it is the blocks that end, and inodes are left.
    let filled = sh(
        &site,
        &format!(
            "mkdir mnt && mount -o loop small.img mnt && \
             {{ i=0; while printf x > mnt/$i; do i=$((i + 1)); done 2> /dev/null; stat -f -c '%f %d' mnt; {UMOUNT}; }}"
        ),
    );
    let [blocks, inodes]: [u64; 2] = filled
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    // Of 5,000 and some blocks Linux keeps a fiftieth for its own maps.
    assert!(blocks < 150 && inodes > 0, "{blocks} blocks and {inodes} inodes are left");
    e2fsck(&site.path("small.img"));
}

fn text_of(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}
