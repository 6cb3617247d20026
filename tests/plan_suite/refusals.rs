//! What is refused, where in the document, and with which way out.

use autoxen::xmf::model::{FileContent, Identify, MountPoint, Network};

use crate::build::*;

/// `span: message [hint]` of each error.
fn shown(case: &Case) -> Vec<String> {
    let errors = case.errors();
    let one = |error: &autoxen::diagnostic::Diagnostic| {
        let hint = error.hint.as_ref().map(|hint| format!(" [{hint}]")).unwrap_or_default();
        format!("{}: {}{hint}", error.span.start, error.message)
    };
    errors.iter().map(one).collect()
}

#[test]
fn a_file_system_of_another_type_is_refused_with_both_names() {
    for (written, held, refusal) in [
        ("ext3", "ext4", Some("the image holds `ext4`, not `ext3` [set filesystemtype to `ext4`]")),
        ("ext2", "ext4", Some("the image holds `ext4`, not `ext2` [set filesystemtype to `ext4`]")),
        ("ext4", "ext3", None),
        ("ext4", "ext2", None),
        ("ext2", "ext3", None),
        (
            "ext3",
            "ext2",
            Some(
                "the image holds `ext2`, not `ext3` [the driver ext3 wants a journal: set filesystemtype to `ext2`, or add one with `tune2fs -j`]",
            ),
        ),
        ("auto", "ext4", None),
        ("ext3", "swap", Some("the image holds `swap`, not `ext3` [set filesystemtype to `swap`]")),
        (
            "ext3",
            "qcow2",
            Some(
                "the image holds `qcow2`, not `ext3` [qcow2 is not raw: convert it with `qemu-img convert -O raw IN OUT`]",
            ),
        ),
        ("auto", "swap", Some("the image holds `swap`, not `auto` [set filesystemtype to `swap`]")),
        (
            "ext3",
            "LVM2_member",
            Some(
                "the image holds `LVM2_member`, not `ext3` [logical volumes are not looked into: copy the volume to an image of its own]",
            ),
        ),
        (
            "auto",
            "crypto_LUKS",
            Some(
                "the image holds `crypto_LUKS`, not `auto` [it is encrypted: give an image that is not]",
            ),
        ),
        (
            "auto",
            "linux_raid_member",
            Some(
                "the image holds `linux_raid_member`, not `auto` [arrays are not looked into: copy the array to an image of its own]",
            ),
        ),
        (
            "xfs",
            "xfs",
            Some("a root in xfs cannot be edited [ext2, ext3 and ext4 images can be prepared]"),
        ),
    ] {
        let mut case = Case::with_root("xvda1");
        case.document.images[0].filesystem.value = written.into();
        case.facts.images[0].volumes[0].filesystem = Some(held.into());
        match refusal {
            Some(refusal) => {
                assert_eq!(shown(&case), [format!("{}: {refusal}", filesystem_span(0).start)])
            }
            None => assert_eq!(case.fstab(), format!("/dev/xvda1 / {written} defaults 0 1\n")),
        }
    }
}

#[test]
fn a_data_image_may_hold_what_we_cannot_write() {
    for (written, held) in [
        ("xfs", "xfs"),
        ("vfat", "vfat"),
        ("msdos", "vfat"),
        ("auto", "btrfs"),
        ("iso9660", "iso9660"),
    ] {
        let mut case = Case::with_root("xvda1");
        let data = case.image(written, "/data", "xvdb");
        case.facts.images[data].volumes[0].filesystem = Some(held.into());
        assert!(case.fstab().contains(&format!("/dev/xvdb /data {written} defaults 0 0\n")));
    }
    let mut case = Case::with_root("xvda1");
    let data = case.image("fat", "/data", "xvdb");
    case.facts.images[data].volumes[0].filesystem = Some("vfat".into());
    assert_eq!(shown(&case), ["1110: the image holds `vfat`, not `fat` [Linux calls it `vfat`]"]);
}

#[test]
fn drivers_that_take_another_type_are_noted() {
    let mut case = Case::with_root("hda1");
    case.document.images[0].filesystem.value = "ext4".into();
    assert_eq!(case.plan().notes[0], "/dev/hda1: the driver ext4 mounts what is ext3");
}

#[test]
fn the_partition_has_to_be_one_that_is_there() {
    let mut case = Case::new();
    let root = case.partition(2, "/", "xvda2", &["vfat", "ext4"]);
    case.facts.images[0].root = Some(Default::default());
    case.document.images[root].partition = None;
    assert_eq!(
        shown(&case),
        [
            "1000: the image has a partition table (gpt) with partitions 1 (vfat), 2 (ext4) [set partition=\"2\"]"
        ]
    );
    case.document.images[root].partition = Some(spanned(3, other_span(0)));
    assert_eq!(shown(&case), ["1050: no partition 3: the image has partitions 1 (vfat), 2 (ext4)"]);
    case.document.images[root].partition = Some(spanned(1, other_span(0)));
    assert_eq!(
        shown(&case),
        ["1010: the image holds `vfat`, not `ext4` [set filesystemtype to `vfat`]"]
    );
    case.document.images[root].partition = Some(spanned(2, other_span(0)));
    case.document.images[root].device.value.partition = Some(1);
    case.root().boot = names(&["vmlinuz-6.1.0"]);
    assert_eq!(
        shown(&case),
        [
            "1030: partition 2 of this disk is /dev/xvda2 in the guest [the number in `blockdevice` is that of `partition`]"
        ]
    );
    let mut bare = Case::with_root("xvda1");
    bare.document.images[0].partition = Some(spanned(1, other_span(0)));
    assert_eq!(
        shown(&bare),
        ["1050: the image has no partition table; it holds ext3 [leave `partition` out]"]
    );
    let mut empty = Case::with_root("xvda1");
    empty.facts.images[0].volumes.clear();
    assert_eq!(
        shown(&empty),
        ["1040: the image holds nothing that is known, not `ext3` [is it a raw image, and whole?]"]
    );
    empty.facts.images[0].table = Some("mbr");
    assert_eq!(shown(&empty), ["1000: the image has a partition table (mbr) with no partitions"]);
}

#[test]
fn names_that_clash_after_renaming_are_refused() {
    let mut case = Case::with_root("hda1");
    case.image("ext3", "/data", "sda1");
    assert_eq!(
        shown(&case),
        [
            "1130: /dev/hda1 and /dev/sda1 would both be /dev/xvda1 in the guest [give one of the two another disk, such as `xvdb`, or keep the names with --keep-device-names]"
        ]
    );
    case.options.keep_device_names = true;
    assert_eq!(case.plan().disks.len(), 2);
    let mut whole = Case::with_root("xvda");
    whole.image("ext3", "/data", "xvda2");
    assert_eq!(
        shown(&whole),
        [
            "1130: /dev/xvda and /dev/xvda2: `xvda` is attached whole and by partitions [give one of the two another disk, such as `xvdb`]"
        ]
    );
}

#[test]
fn a_device_that_xen_does_not_know_is_refused() {
    for device in ["hde1", "xvda256", "vda", "sdaa", "hda64"] {
        let mut case = Case::with_root(device);
        case.options.keep_device_names = true;
        assert_eq!(
            shown(&case),
            [format!(
                "1030: the device must be one that Xen knows, such as `xvda1` (xvd, hd up to hdd63, sd up to sdp15): `{device}`"
            )]
        );
    }
}

#[test]
fn fstab_cannot_name_a_disk_by_what_it_has_not_or_shares() {
    let mut case = Case::with_root("xvda1");
    case.document.images[0].identify = Identify::Label;
    assert_eq!(
        shown(&case),
        [
            "1000: /dev/xvda1 has no LABEL to be named by [leave `identify` out: fstab then names the device]"
        ]
    );
    case.facts.images[0].volumes[0].label = Some(String::new());
    assert_eq!(shown(&case).len(), 1);
    case.facts.images[0].volumes[0].label = Some("a\"b".into());
    assert_eq!(
        shown(&case),
        ["1000: fstab cannot name a disk by its LABEL `a\\\"b` [leave `identify` out]"]
    );
    case.document.images[0].identify = Identify::Uuid;
    case.facts.images[0].volumes[0].uuid = Some("abcd-1".into());
    let copy = case.image("ext3", "/copy", "xvdb1");
    case.facts.images[copy].volumes[0].uuid = Some("ABCD-1".into());
    assert_eq!(
        shown(&case),
        ["1000: /dev/xvda1 and /dev/xvdb1 have the same UUID: abcd-1 [leave `identify` out]"]
    );
}

#[test]
fn a_new_disk_has_to_be_one_that_can_be_made() {
    let new = |filesystem: &str, mountpoint: &str, size: u64| {
        let mut case = Case::with_root("xvda1");
        case.blank(filesystem, mountpoint, "xvdb", size);
        case
    };
    assert_eq!(
        shown(&new("ext4", "/x", 1 << 20)),
        [
            "1110: a new disk can hold `swap` or `vfat`, not `ext4` [make the image with mke2fs or the like, and give its `url`]"
        ]
    );
    assert_eq!(
        shown(&new("vfat", "/dos", (32 << 30) + 512)),
        [
            "1150: a new vfat disk of more than 32 GiB [make the image with mkfs.fat, and give its `url`]"
        ]
    );
    for size in [0, 65_535, (1 << 20) + 1] {
        assert_eq!(
            shown(&new("swap", "none", size)),
            [format!(
                "1150: a new disk of {size} bytes: at least 64 KiB, in whole sectors of 512 bytes"
            )]
        );
    }
    let mut case = new("swap", "none", 1 << 20);
    case.document.images[1].label = Some(spanned("sixteen-bytes-xx".into(), other_span(1)));
    assert_eq!(
        shown(&case),
        ["1150: a label of swap is 1 to 15 letters, digits, blanks, `-` or `_`"]
    );
    let mut case = new("swap", "none", 1 << 20);
    case.document.images[1].partition = Some(spanned(1, other_span(1)));
    assert_eq!(shown(&case), ["1150: a new disk has no partitions"]);
    let mut case = new("swap", "none", 1 << 20);
    case.document.images[1].size = None;
    assert_eq!(shown(&case), ["1100: neither `url` nor `size`: no disk to attach"]);
    let mut case = Case::with_root("xvda1");
    case.document.images[0].size = Some(spanned(1 << 20, other_span(0)));
    assert_eq!(shown(&case), ["1050: `size` makes a new disk, but this one has a `url`"]);
}

#[test]
fn swap_is_not_mounted_and_all_else_is() {
    let mut case = Case::with_root("xvda1");
    case.image("swap", "/swap", "xvdb");
    case.image("ext3", "none", "xvdc");
    assert_eq!(
        shown(&case),
        [
            "1120: swap space is not mounted [`none` is the mount point of `swap`, and of nothing else]",
            "1220: no mount point [`none` is the mount point of `swap`, and of nothing else]",
        ]
    );
    let mut case = Case::with_root("xvda1");
    let swap = case.image("swap", "none", "xvdb");
    case.document.images[swap].read_only = true;
    assert_eq!(shown(&case), ["1100: swap space cannot be read-only"]);
}

#[test]
fn without_a_root_there_is_nothing_to_prepare() {
    let mut case = Case::with_root("xvda1");
    case.document.images[0].mountpoint.value = MountPoint::Path("/home".into());
    assert_eq!(
        shown(&case),
        ["1020: no image is mounted at `/` [the image with the guest's system is at `/`]"]
    );
}

#[test]
fn files_that_an_image_cannot_hold_are_refused() {
    let mut case = Case::with_root("xvda1");
    let dos = case.image("vfat", "/dos", "xvdb");
    let xfs = case.image("xfs", "/xfs", "xvdc");
    case.document.images[dos].files = vec![
        file("/l", FileContent::Symlink("x".into()), other_span(dos)),
        file("/a:b", FileContent::Directory, other_span(dos)),
        file("/m", FileContent::Directory, other_span(dos)),
    ];
    case.document.images[dos].files[2].mode = Some(0o700);
    case.document.images[xfs].files = vec![file("/x", FileContent::Directory, other_span(xfs))];
    case.document.images[0].files = vec![
        file("/h", FileContent::Host(spanned("gone".into(), other_span(0))), other_span(0)),
        file("/t", FileContent::Directory, other_span(0)),
        file("/t", FileContent::Text("x".into()), other_span(0)),
    ];
    assert_eq!(
        shown(&case),
        [
            "1050: no such file on this host: gone",
            "1050: `/t` is written twice",
            "1150: FAT has no symbolic links",
            "1150: FAT has no `:` in a name",
            "1150: FAT keeps neither mode nor owner [the `options` of the mount set them for all files: `uid=0,gid=0,umask=022`]",
            "1250: no file can be put into xfs [ext2, ext3, ext4 and vfat images can be written to]",
        ]
    );
}

#[test]
fn files_and_mounts_must_not_undo_what_the_tool_writes() {
    let mut case = Case::with_root("xvda1");
    case.document.images[0].files = vec![
        file("/etc/fstab", FileContent::Text("x".into()), other_span(0)),
        file("/etc/xenjobs.d/10-job", FileContent::Text("x".into()), other_span(0)),
    ];
    case.image("ext3", "/etc/xenjobs.d", "xvdb");
    case.image("ext3", "/root", "xvdc");
    case.image("ext3", "/etc/autoxen", "xvdd");
    case.document.images[0].authorized_keys = vec![spanned("ssh-rsa A".into(), other_span(0))];
    assert_eq!(
        shown(&case),
        [
            "1120: an image at `/etc/xenjobs.d` hides `/etc/xenjobs.d` of the root image",
            "1320: an image at `/etc/autoxen` hides `/etc/autoxen/jobs` of the root image",
            "1220: an image at `/root` hides `/root/.ssh` of the root image",
            "1050: `/etc/fstab` is written by the tool itself: the guest mounts the disks of this domain [leave this `file` out]",
            "1050: `/etc/xenjobs.d/10-job` is written by the tool itself: the job [leave this `file` out]",
        ]
    );
}

#[test]
fn values_that_would_break_out_are_refused() {
    let mut case = Case::with_root("xvda1");
    case.document.general.name = Some(spanned("../x".into(), NAME));
    assert_eq!(
        shown(&case),
        [
            "20: the domain name must be letters, digits, `_`, `.` or `-`, begin with a letter: `../x`"
        ]
    );
    let mut case = Case::with_root("xvda1");
    case.document.general.networks =
        vec![Network { span: 0..0, bridge: Some(spanned("br0,script=x".into(), NAME)), mac: None }];
    assert_eq!(
        shown(&case),
        ["20: the bridge must be letters, digits, `.`, `_` or `-`, at most 15: `br0,script=x`"]
    );
    let mut case = Case::with_root("xvda1");
    case.document.general.memory_mib.value = 0;
    case.document.general.vcpus = Some(spanned(0, NAME));
    assert_eq!(shown(&case), ["10: `memory` is at least 1"]);
    let mut case = Case::with_root("xvda1");
    case.document.images[0].hostname = Some(spanned("a\nb".into(), other_span(0)));
    case.document.images[0].authorized_keys = vec![spanned("a\nb".into(), other_span(0))];
    case.document.jobs[0].environment = vec![("A B".into(), String::new())];
    assert_eq!(
        shown(&case),
        [
            "1050: not the name of a host: `a\\nb`",
            "1050: a key for ssh is one line",
            "60: not the name of an environment variable: `A B`",
        ]
    );
}

#[test]
fn what_belongs_to_the_root_is_refused_elsewhere() {
    let mut case = Case::with_root("xvda1");
    let data = case.image("ext3", "/data", "xvdb");
    case.document.images[data].hostname = Some(spanned("a".into(), other_span(data)));
    assert_eq!(shown(&case), ["1150: `hostname` belongs to the image that is mounted at `/`"]);
}

#[test]
fn a_label_that_the_image_must_have_is_compared() {
    let mut case = Case::with_root("xvda1");
    case.document.images[0].label = Some(spanned("root".into(), other_span(0)));
    assert_eq!(shown(&case), ["1050: the label of the image is ``, not `root`"]);
    case.facts.images[0].volumes[0].label = Some("root".into());
    assert_eq!(case.plan().disks.len(), 1);
}

#[test]
fn ninety_one_jobs_are_one_too_many() {
    let mut case = Case::with_root("xvda1");
    case.document.jobs = vec![job("x"); 91];
    assert_eq!(shown(&case), ["60: a guest runs at most 90 jobs"]);
    case.document.jobs.pop();
    assert_eq!(
        edited_paths(&case.plan()).last().map(String::as_str),
        Some("xvda1 /etc/xenjobs.d/99-job")
    );
}
