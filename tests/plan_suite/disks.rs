//! Which disks the guest gets, and what it calls them.

use autoxen::plan::{Format, Source};
use autoxen::xmf::model::{GuestType, Identify};

use crate::build::*;

/// `vdev source → file` of each disk.
fn disks(case: &Case) -> Vec<String> {
    let plan = case.plan();
    let shown = plan.disks.iter().map(|disk| {
        let source = match &disk.source {
            Source::Image(path) => path.display().to_string(),
            Source::Blank { len, format: Format::Swap { .. } } => format!("swap {len}"),
            Source::Blank { len, format: Format::Vfat { .. } } => format!("vfat {len}"),
            Source::Blank { len, format: Format::Ext { .. } } => format!("ext3 {len}"),
            Source::Inputs { staged, .. } => format!("{} inputs", staged.len()),
        };
        let access = if disk.read_only { " ro" } else { "" };
        let file = disk.file.as_ref().map_or("-", |file| file.as_str());
        format!("{}{access} {source} {file} {:?}", disk.vdev, disk.images)
    });
    shown.collect()
}

#[test]
fn partitions_of_one_image_and_one_disk_are_one_disk() {
    let mut case = Case::new();
    case.partition(2, "/", "xvda2", &["swap", "ext4", "ext3"]);
    case.image("ext3", "/data", "xvdb1");
    case.partition(3, "/home", "xvda3", &["swap", "ext4", "ext3"]);
    case.partition(3, "/old", "xvdc3", &["swap", "ext4", "ext3"]);
    case.facts.images[0].root =
        Some(autoxen::facts::RootFacts { boot: names(&["vmlinuz-6.1.0"]), ..Default::default() });
    assert_eq!(
        disks(&case),
        [
            "xvda /stock/disk.img xvda.img [0, 2]",
            "xvdb1 /stock/xvdb1.img xvdb1.img [1]",
            "xvdc /stock/disk.img xvdc.img [3]",
        ]
    );
    assert!(case.config().contains("vdev=xvda,access=rw,target=/b/xvda.img"));
    // The swap partition came with the disk, so its old entry stays.
    case.root().fstab =
        Some(b"/dev/xvda1 none swap sw 0 0\n/dev/xvdb2 none swap sw 0 0\n".to_vec());
    assert_eq!(
        case.fstab(),
        "/dev/xvda1 none swap sw 0 0\n\
         # autoxen: /dev/xvdb2 is not attached to this domain: /dev/xvdb2 none swap sw 0 0\n\
         /dev/xvda2 / ext4 defaults 0 1\n\
         /dev/xvdb1 /data ext3 defaults 0 2\n\
         /dev/xvda3 /home ext3 defaults 0 2\n\
         /dev/xvdc3 /old ext3 defaults 0 2\n"
    );
}

#[test]
fn the_device_of_a_partition_may_be_named_by_its_disk() {
    let mut case = Case::new();
    case.partition(2, "/", "xvda", &["vfat", "ext4"]);
    case.facts.images[0].root =
        Some(autoxen::facts::RootFacts { boot: names(&["vmlinuz-6.1.0"]), ..Default::default() });
    assert_eq!(case.fstab(), "/dev/xvda2 / ext4 defaults 0 1\n");
}

#[test]
fn hd_and_sd_become_xvd_for_kernels_of_today_in_the_configuration_and_in_fstab() {
    for (written, named) in
        [("hda1", "xvda1"), ("sdb2", "xvdb2"), ("xvdc3", "xvdc3"), ("hdz", "xvdz")]
    {
        let case = Case::with_root(written);
        assert_eq!(disks(&case), [format!("{named} /stock/{written}.img {named}.img [0]")]);
        assert_eq!(case.fstab(), format!("/dev/{named} / ext3 defaults 0 1\n"));
        let note =
            format!("/dev/{written} is /dev/{named} in the guest: Linux calls the disks of Xen so");
        assert_eq!(case.plan().notes.contains(&note), written != named);
    }
}

#[test]
fn old_kernels_emulated_machines_and_the_option_keep_the_names() {
    let mut old = Case::with_root("hda1");
    old.root().boot = names(&["vmlinuz-2.6.18-8.el5xen"]);
    let mut host = Case::with_root("hda1");
    host.options.kernel = Some("/boot/vmlinuz-2.6.9-55.EL.xenU".into());
    let mut modules = Case::with_root("hda1");
    modules.options.kernel = Some("/boot/my-kernel".into());
    modules.root().modules = names(&["2.6.9", "2.4.21"]);
    let mut emulated = Case::with_root("hda1");
    emulated.document.general.guest_type = Some(spanned(GuestType::Hvm, MEMORY));
    let mut option = Case::with_root("hda1");
    option.options.keep_device_names = true;
    for case in [old, host, modules, emulated, option] {
        assert_eq!(disks(&case), ["hda1 /stock/hda1.img hda1.img [0]"]);
        assert_eq!(case.fstab(), "/dev/hda1 / ext3 defaults 0 1\n");
    }
    let mut mixed = Case::with_root("hda1");
    mixed.options.kernel = Some("/boot/my-kernel".into());
    mixed.root().modules = names(&["2.6.9", "6.1.0"]);
    assert_eq!(disks(&mixed), ["xvda1 /stock/hda1.img xvda1.img [0]"]);
}

#[test]
fn a_disk_that_only_fstab_named_is_renamed_there() {
    let mut case = Case::new();
    case.partition(1, "/", "hda1", &["ext3", "ext3"]);
    case.facts.images[0].root = Some(autoxen::facts::RootFacts {
        boot: names(&["vmlinuz-6.1.0"]),
        fstab: Some(
            b"/dev/hda1 / ext3 defaults 1 1\n/dev/hda2  /home ext3 defaults 1 2\n".to_vec(),
        ),
        ..Default::default()
    });
    assert_eq!(
        case.fstab(),
        "# autoxen: the document mounts /dev/xvda1 there: /dev/hda1 / ext3 defaults 1 1\n\
         /dev/xvda2  /home ext3 defaults 1 2\n/dev/xvda1 / ext3 defaults 0 1\n"
    );
}

#[test]
fn a_read_only_raw_image_without_edits_stays_where_it_is() {
    let mut case = Case::with_root("xvda1");
    let apps = case.image("ext3", "/apps", "xvdb");
    case.document.images[apps].read_only = true;
    assert_eq!(disks(&case)[1], "xvdb ro /stock/xvdb.img - [1]");
    assert!(case.config().contains("vdev=xvdb,access=ro,target=/stock/xvdb.img"));
    // Packed, or with something to write, it is copied.
    for form in ["zstd", "qcow2"] {
        case.facts.images[apps].form = Some(form);
        assert_eq!(disks(&case)[1], "xvdb ro /stock/xvdb.img xvdb.img [1]", "{form}");
    }
    case.facts.images[apps].form = None;
    case.document.images[apps].files =
        vec![file("/x", autoxen::xmf::model::FileContent::Text("x".into()), other_span(apps))];
    assert_eq!(disks(&case)[1], "xvdb ro /stock/xvdb.img xvdb.img [1]");
    // A path that would break the configuration is refused, not quoted.
    case.document.images[apps].files.clear();
    case.facts.images[apps].path = Some("/stock/a,".into());
    let errors = case.errors();
    assert_eq!((errors.len(), errors[0].span.clone()), (1, url_span(apps)));
    assert_eq!(errors[0].message, "the path must not end in a comma or a blank: `/stock/a,`");
}

#[test]
fn a_read_only_root_is_customised_and_then_read_only() {
    let mut case = Case::with_root("xvda1");
    case.document.images[0].read_only = true;
    assert_eq!(disks(&case), ["xvda1 ro /stock/xvda1.img xvda1.img [0]"]);
    assert_eq!(case.fstab(), "/dev/xvda1 / ext3 ro 0 0\n");
}

#[test]
fn a_disk_with_one_writable_partition_is_writable() {
    let mut case = Case::new();
    case.partition(1, "/", "xvda1", &["ext4", "ext4"]);
    case.partition(2, "/apps", "xvda2", &["ext4", "ext4"]);
    case.facts.images[0].root =
        Some(autoxen::facts::RootFacts { boot: names(&["vmlinuz-6.1.0"]), ..Default::default() });
    case.document.images[1].read_only = true;
    assert_eq!(disks(&case), ["xvda /stock/disk.img xvda.img [0, 1]"]);
    assert_eq!(case.fstab(), "/dev/xvda1 / ext4 defaults 0 1\n/dev/xvda2 /apps ext4 ro 0 0\n");
    case.document.images[0].read_only = true;
    assert_eq!(disks(&case), ["xvda ro /stock/disk.img xvda.img [0, 1]"]);
    case.document.images[1].read_only = false;
    assert_eq!(disks(&case), ["xvda /stock/disk.img xvda.img [0, 1]"]);
}

#[test]
fn options_and_passes_in_fstab() {
    let mut case = Case::with_root("xvda1");
    let data = case.image("ext4", "/my data", "xvdb");
    case.document.images[data].options = Some(spanned("noatime,nodev".into(), other_span(data)));
    let apps = case.image("ext3", "/apps", "xvdc");
    case.document.images[apps].options = Some(spanned("noatime".into(), other_span(apps)));
    case.document.images[apps].read_only = true;
    let dos = case.image("vfat", "/dos", "xvdd");
    case.document.images[dos].options = Some(spanned(" ".into(), other_span(dos)));
    case.image("xfs", "/scratch", "xvde");
    assert_eq!(
        case.fstab(),
        "/dev/xvda1 / ext3 defaults 0 1\n\
         /dev/xvdb /my\\040data ext4 noatime,nodev 0 2\n\
         /dev/xvdc /apps ext3 noatime,ro 0 0\n\
         /dev/xvdd /dos vfat defaults 0 0\n\
         /dev/xvde /scratch xfs defaults 0 0\n"
    );
}

#[test]
fn a_new_disk_is_the_same_for_the_same_document_and_unlike_its_neighbour() {
    let mut case = Case::with_root("xvda1");
    case.blank("swap", "none", "xvdb", 1 << 20);
    case.blank("swap", "none", "xvdc", 1 << 20);
    let dos = case.blank("vfat", "/dos", "xvdd", 1 << 20);
    case.document.images[dos].label = Some(spanned("IN OUT".into(), other_span(dos)));
    for image in 1..=3 {
        case.document.images[image].identify = Identify::Uuid;
    }
    let plan = case.plan();
    assert_eq!(plan, case.plan());
    let uuid = |disk: usize| match &plan.disks[disk].source {
        Source::Blank { format: Format::Swap { uuid, .. }, .. } => uuid.to_string(),
        Source::Blank { format: Format::Vfat { volume_id, label }, .. } => {
            assert_eq!(label.as_deref(), Some("IN OUT"));
            format!("{:04X}-{:04X}", volume_id >> 16, volume_id & 0xffff)
        }
        other => panic!("{other:?}"),
    };
    assert_ne!(uuid(1), uuid(2));
    assert_eq!(
        case.fstab(),
        format!(
            "/dev/xvda1 / ext3 defaults 0 1\nUUID={} /dos vfat defaults 0 0\n\
             UUID={} none swap defaults 0 0\nUUID={} none swap defaults 0 0\n",
            uuid(3),
            uuid(1),
            uuid(2)
        )
    );
    case.document.images[dos].identify = Identify::Label;
    assert!(case.fstab().contains("LABEL=IN\\040OUT /dos vfat"));
    case.options.name_default = "other".into();
    assert_ne!(case.plan().disks[1].source, plan.disks[1].source);
}
