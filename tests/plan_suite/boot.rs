//! Which kernel starts, with which ramdisk and which command line.

use autoxen::plan::{BootSource, Plan};
use autoxen::xmf::model::{BootFile, GuestType, Identify};

use crate::build::*;

/// `file from` of each boot file; a file of an image with its disk and partition.
fn boot_files(plan: &Plan) -> Vec<String> {
    plan.boot_files
        .iter()
        .map(|boot| match &boot.from {
            BootSource::Host(path) => format!("{} {}", boot.file, path.display()),
            BootSource::Image { disk, partition, path } => {
                format!(
                    "{} {disk} {} {path}",
                    boot.file,
                    partition.map_or("-".into(), |nr| nr.to_string())
                )
            }
        })
        .collect()
}

fn guest_type(case: &mut Case, guest_type: GuestType) {
    case.document.general.guest_type = Some(spanned(guest_type, MEMORY));
}

#[test]
fn a_document_without_a_kernel_gets_the_newest_of_the_image_with_its_ramdisk() {
    let mut case = Case::with_root("xvda1");
    case.root().boot = names(&[
        "vmlinuz-6.1.0-9",
        "vmlinuz-6.1.0-18",
        "initrd.img-6.1.0-18",
        "initrd.img-6.1.0-9",
        "vmlinuz-6.1.0-20.old",
    ]);
    assert_eq!(
        boot_files(&case.plan()),
        [
            "vmlinuz-6.1.0-18 0 - /boot/vmlinuz-6.1.0-18",
            "initrd.img-6.1.0-18 0 - /boot/initrd.img-6.1.0-18"
        ]
    );
    assert_eq!(case.config_line("kernel").as_deref(), Some("kernel = \"/b/vmlinuz-6.1.0-18\""));
    assert_eq!(
        case.config_line("ramdisk").as_deref(),
        Some("ramdisk = \"/b/initrd.img-6.1.0-18\"")
    );
}

#[test]
fn the_command_line_of_the_tool_goes_before_the_document() {
    let mut case = Case::with_root("xvda1");
    case.host_file("k", "/host/k");
    case.document.general.kernel = Some(spanned(BootFile::Host("k".into()), KERNEL));
    assert_eq!(boot_files(&case.plan()), ["k /host/k"]);
    case.document.general.cmdline = Some(spanned("quiet".into(), CMDLINE));
    case.options.kernel = Some("/other/vmlinuz".into());
    case.options.ramdisk = Some("/other/initrd".into());
    case.options.cmdline = Some("root=/dev/ram0".into());
    assert_eq!(boot_files(&case.plan()), ["vmlinuz /other/vmlinuz", "initrd /other/initrd"]);
    assert_eq!(case.config_line("cmdline").as_deref(), Some("cmdline = \"root=/dev/ram0\""));
}

#[test]
fn a_kernel_named_in_the_image_brings_its_ramdisk_and_a_misprint_is_found() {
    let mut case = Case::with_root("xvda1");
    case.root().boot = names(&["vmlinuz-5.10.0", "initrd.img-5.10.0", "vmlinuz-6.1.0"]);
    case.document.general.kernel =
        Some(spanned(BootFile::InImage("/boot/vmlinuz-5.10.0".into()), KERNEL));
    assert_eq!(
        boot_files(&case.plan()),
        [
            "vmlinuz-5.10.0 0 - /boot/vmlinuz-5.10.0",
            "initrd.img-5.10.0 0 - /boot/initrd.img-5.10.0"
        ]
    );
    case.document.general.kernel =
        Some(spanned(BootFile::InImage("/boot/vmlinuz-5.1.0".into()), KERNEL));
    let errors = case.errors();
    assert_eq!((errors.len(), errors[0].span.clone()), (1, KERNEL));
    assert_eq!(errors[0].message, "no file `/boot/vmlinuz-5.1.0` in the image");
    assert_eq!(errors[0].hint.as_deref(), Some("did you mean `/boot/vmlinuz-5.10.0`?"));
}

#[test]
fn a_boot_partition_of_its_own_holds_the_kernel() {
    let mut case = Case::new();
    case.partition(2, "/", "xvda2", &["ext2", "ext4"]);
    case.partition(1, "/boot", "xvda1", &["ext2", "ext4"]);
    case.facts.images[0].root = Some(Default::default());
    case.facts.images[1].boot = names(&["vmlinuz-6.1.0", "initramfs-6.1.0.img"]);
    assert_eq!(
        boot_files(&case.plan()),
        ["vmlinuz-6.1.0 0 1 /vmlinuz-6.1.0", "initramfs-6.1.0.img 0 1 /initramfs-6.1.0.img"]
    );
    case.document.general.kernel =
        Some(spanned(BootFile::InImage("/boot/vmlinuz-6.1.0".into()), KERNEL));
    case.document.general.ramdisk = Some(spanned(BootFile::InImage("/lib/initrd".into()), KERNEL));
    assert_eq!(
        boot_files(&case.plan()),
        ["vmlinuz-6.1.0 0 1 /vmlinuz-6.1.0", "initrd 0 2 /lib/initrd"]
    );
}

#[test]
fn root_is_what_fstab_says_where_a_ramdisk_can_find_it_and_the_device_else() {
    let mut case = Case::with_root("xvda1");
    case.document.images[0].identify = Identify::Uuid;
    case.facts.images[0].volumes[0].uuid = Some("0000-1".into());
    assert_eq!(
        case.config_line("cmdline").as_deref(),
        Some("cmdline = \"root=UUID=0000-1 ro console=hvc0\"")
    );
    case.root().boot.pop();
    assert_eq!(
        case.config_line("cmdline").as_deref(),
        Some("cmdline = \"root=/dev/xvda1 ro console=hvc0\"")
    );
}

#[test]
fn a_command_line_without_a_root_gets_one() {
    let mut case = Case::with_root("xvda1");
    for (written, line) in [
        ("quiet single", "root=/dev/xvda1 quiet single"),
        ("", "root=/dev/xvda1"),
        ("quiet root=/dev/nfs", "quiet root=/dev/nfs"),
        ("noroot=1", "root=/dev/xvda1 noroot=1"),
    ] {
        case.document.general.cmdline = Some(spanned(written.into(), CMDLINE));
        assert_eq!(case.config_line("cmdline"), Some(format!("cmdline = \"{line}\"")));
    }
}

#[test]
fn the_console_is_the_one_that_the_guest_has() {
    let mut case = Case::with_root("xvda1");
    for (kind, console) in
        [(GuestType::Pv, "hvc0"), (GuestType::Pvh, "hvc0"), (GuestType::Hvm, "ttyS0")]
    {
        guest_type(&mut case, kind);
        assert_eq!(
            case.config_line("cmdline"),
            Some(format!("cmdline = \"root=/dev/xvda1 ro console={console}\""))
        );
    }
    guest_type(&mut case, GuestType::Pv);
    case.root().boot = names(&["vmlinuz-2.6.18-8.el5xen"]);
    assert_eq!(case.config_line("cmdline").as_deref(), Some("cmdline = \"root=/dev/xvda1 ro\""));
}

#[test]
fn a_boot_loader_starts_without_files_in_the_bundle() {
    let mut case = Case::with_root("xvda1");
    case.document.general.bootloader = Some(spanned("pygrub".into(), BOOTLOADER));
    assert!(boot_files(&case.plan()).is_empty());
    assert_eq!(case.config_line("bootloader").as_deref(), Some("bootloader = \"pygrub\""));
    assert_eq!((case.config_line("kernel"), case.config_line("cmdline")), (None, None));
    case.document.general.cmdline = Some(spanned("quiet".into(), CMDLINE));
    assert_eq!(case.config_line("cmdline").as_deref(), Some("cmdline = \"quiet\""));
}

#[test]
fn an_emulated_machine_starts_from_a_partitioned_disk_by_itself() {
    let mut case = Case::new();
    case.partition(1, "/", "xvda1", &["ext4"]);
    case.facts.images[0].root = Some(Default::default());
    guest_type(&mut case, GuestType::Hvm);
    assert_eq!((case.config_line("kernel"), case.config_line("cmdline")), (None, None));
    assert_eq!(case.config_line("serial").as_deref(), Some("serial = \"pty\""));
    // Whoever gives a ramdisk means a kernel as well.
    case.options.ramdisk = Some("/boot/initrd".into());
    assert_eq!(case.errors()[0].message, "no kernel is named, and the image has none in /boot");
}

#[test]
fn two_files_of_one_name_get_two_names_in_the_bundle() {
    let mut case = Case::with_root("xvda1");
    case.options.kernel = Some("/a/boot".into());
    case.options.ramdisk = Some("/b/boot".into());
    assert_eq!(boot_files(&case.plan()), ["boot /a/boot", "ramdisk-boot /b/boot"]);
    case.options.kernel = Some("/a/domain.cfg".into());
    case.options.ramdisk = Some("/b/xvda1.img".into());
    assert_eq!(
        boot_files(&case.plan()),
        ["kernel-domain.cfg /a/domain.cfg", "ramdisk-xvda1.img /b/xvda1.img"]
    );
    case.options.kernel = Some("/a/.kernel für\n\"uns\"".into());
    case.options.ramdisk = None;
    assert_eq!(case.plan().boot_files[0].file.as_str(), "kernel-kernel_f_r__uns_");
}

#[test]
fn what_cannot_start_is_refused() {
    let mut none = Case::with_root("xvda1");
    none.root().boot.clear();
    let mut newest = none.clone();
    newest.document.general.kernel = Some(spanned(BootFile::NewestInImage, KERNEL));
    let mut host = none.clone();
    host.document.general.kernel = Some(spanned(BootFile::Host("gone".into()), KERNEL));
    let mut both = Case::with_root("xvda1");
    both.document.general.bootloader = Some(spanned("pygrub".into(), BOOTLOADER));
    both.document.general.kernel = Some(spanned(BootFile::NewestInImage, KERNEL));
    let mut emulated = Case::with_root("xvda1");
    emulated.document.general.bootloader = Some(spanned("pygrub".into(), BOOTLOADER));
    guest_type(&mut emulated, GuestType::Hvm);
    let mut half = Case::with_root("xvda1");
    half.document.general.bootloader = Some(spanned("pygrub".into(), BOOTLOADER));
    half.options.ramdisk = Some("/boot/initrd".into());
    let mut relative = Case::with_root("xvda1");
    relative.document.general.bootloader = Some(spanned("bin/loader".into(), BOOTLOADER));
    let mut ramdisk = Case::with_root("xvda1");
    ramdisk.root().boot.pop();
    ramdisk.document.general.ramdisk = Some(spanned(BootFile::NewestInImage, KERNEL));
    let mut control = Case::with_root("xvda1");
    control.document.general.cmdline = Some(spanned("a\tb".into(), CMDLINE));
    for (case, span, message) in [
        (none, image_span(0), "no kernel is named, and the image has none in /boot"),
        (newest, KERNEL, "the image has no kernel in /boot"),
        (host, KERNEL, "no such file on this host: gone"),
        (both, KERNEL, "a boot loader brings the kernel and the ramdisk"),
        (emulated, BOOTLOADER, "an hvm guest cannot start by a boot loader of the host"),
        (half, BOOTLOADER, "--ramdisk without --kernel: the boot loader brings its own"),
        (relative, BOOTLOADER, "the path of the boot loader must be absolute: `bin/loader`"),
        (ramdisk, KERNEL, "the image has no ramdisk for the kernel `6.1.0-18-amd64` in /boot"),
        (control, CMDLINE, "a control character (U+0009) in the kernel command line"),
    ] {
        let errors = case.errors();
        assert_eq!(
            (errors.len(), errors[0].message.as_str(), &errors[0].span),
            (1, message, &span)
        );
    }
}
