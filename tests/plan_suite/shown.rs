//! Plans as people and programs see them, whole.

use autoxen::plan::{json, text};
use autoxen::xmf::model::{FileContent, GuestType, Network};

use crate::build::*;

/// A stock image of 2006, bare, and a new swap disk.
fn old_debian() -> Case {
    let mut case = Case::with_root("hda1");
    case.blank("swap", "none", "hda2", 1 << 27);
    *case.root() = autoxen::facts::RootFacts {
        fstab: Some(
            b"# /etc/fstab: static file system information.\n\
              proc\t\t/proc\tproc\tdefaults\t0 0\n\
              /dev/sda1\t/\text3\tdefaults,errors=remount-ro\t0 1\n\
              /dev/sda5\tnone\tswap\tsw\t0 0\n\
              /dev/hda2\tnone\tswap\tsw\t0 0\n"
                .to_vec(),
        ),
        hostname: Some(b"debian\n".to_vec()),
        xenjobs: names(&["05-site", "10-fit"]),
        boot: names(&["vmlinuz-6.1.0-18-amd64", "initrd.img-6.1.0-18-amd64"]),
        ..Default::default()
    };
    case.document.images[0].hostname = Some(spanned("node7".into(), other_span(0)));
    case.document.images[0].files = vec![file(
        "/etc/motd",
        FileContent::Text("Welcome\u{1b}[31m\n\nto node7\n".into()),
        other_span(0),
    )];
    case.document.jobs[0].name = Some(spanned("fit".into(), JOB));
    case.document.general.networks = vec![Network {
        span: other_span(9),
        bridge: Some(spanned("xenbr0".into(), other_span(9))),
        mac: Some(spanned("00:16:3e:00:00:01".into(), other_span(9))),
    }];
    case.options.name_default = "night fit".into();
    case
}

#[test]
fn a_plan_in_text() {
    let case = old_debian();
    let expected = r##"domain night-fit: pv, 256 MiB, 1 vcpu
note: the kernel is the newest of the image: vmlinuz-6.1.0-18-amd64
note: /dev/hda1 is /dev/xvda1 in the guest: Linux calls the disks of Xen so
note: /dev/hda2 is /dev/xvda2 in the guest: Linux calls the disks of Xen so
note: the image brings a job of its own, which runs as well: /etc/xenjobs.d/05-site
note: /etc/xenjobs.d/10-fit of the image is replaced

disk xvda1: a copy of /stock/hda1.img, as xvda1.img
  write /etc/motd: the document puts it there
    | Welcome\u{1b}[31m
    |
    | to node7
  write /etc/hostname: the document names the host
    --- old
    +++ new
    @@ -1 +1 @@
    -debian
    +node7
  write /etc/fstab: the guest mounts the disks of this domain
    line 3 commented out, because /dev/sda1 is not attached to this domain
    line 4 commented out, because /dev/sda5 is not attached to this domain
    line 5 commented out, because the document has another entry for /dev/hda2
    added, because the document has it: /dev/xvda1 / ext3 defaults 0 1
    added, because the document has it: /dev/xvda2 none swap defaults 0 0
    --- old
    +++ new
    @@ -1,5 +1,7 @@
     # /etc/fstab: static file system information.
     proc		/proc	proc	defaults	0 0
    -/dev/sda1	/	ext3	defaults,errors=remount-ro	0 1
    -/dev/sda5	none	swap	sw	0 0
    -/dev/hda2	none	swap	sw	0 0
    +# autoxen: /dev/sda1 is not attached to this domain: /dev/sda1	/	ext3	defaults,errors=remount-ro	0 1
    +# autoxen: /dev/sda5 is not attached to this domain: /dev/sda5	none	swap	sw	0 0
    +# autoxen: the document has another entry for /dev/hda2: /dev/hda2	none	swap	sw	0 0
    +/dev/xvda1 / ext3 defaults 0 1
    +/dev/xvda2 none swap defaults 0 0
  write /etc/xenjobs.d/10-fit (mode 0755, owner 0:0): the job `fit`
    | #!/bin/sh
    | echo hello

disk xvda2: a new swap space of 134217728 bytes, as xvda2.img
kernel: /boot/vmlinuz-6.1.0-18-amd64 of xvda1, as vmlinuz-6.1.0-18-amd64
ramdisk: /boot/initrd.img-6.1.0-18-amd64 of xvda1, as initrd.img-6.1.0-18-amd64

domain.cfg (BUNDLE is the bundle's directory):
  name = "night-fit"
  type = "pv"
  memory = 256
  vcpus = 1
  kernel = "/BUNDLE/vmlinuz-6.1.0-18-amd64"
  ramdisk = "/BUNDLE/initrd.img-6.1.0-18-amd64"
  cmdline = "root=/dev/xvda1 ro console=hvc0"
  disk = [
      "format=raw,vdev=xvda1,access=rw,target=/BUNDLE/xvda1.img",
      "format=raw,vdev=xvda2,access=rw,target=/BUNDLE/xvda2.img",
  ]
  vif = [
      "mac=00:16:3e:00:00:01,bridge=xenbr0",
  ]
  on_poweroff = "destroy"
  on_reboot = "destroy"
  on_crash = "destroy"
"##;
    assert_eq!(text::render(&case.plan(), &case.document, &case.facts), expected);
}

#[test]
fn a_plan_with_partitions_links_and_disks_that_lie_elsewhere_in_text() {
    let mut case = Case::new();
    case.partition(2, "/", "xvda2", &["vfat", "ext4"]);
    case.partition(1, "/boot/efi", "xvda1", &["vfat", "ext4"]);
    case.image("squashfs", "/apps", "xvdb");
    case.document.images[2].read_only = true;
    case.facts.images[0].root = Some(autoxen::facts::RootFacts::default());
    case.facts.images[0].directories = vec!["/apps".into()];
    case.document.images[0].files = vec![
        file("/usr/bin/fit", FileContent::Symlink("/apps/bin/fit".into()), other_span(0)),
        file("/data", FileContent::Host(spanned("data.bin".into(), other_span(0))), other_span(0)),
    ];
    case.document.images[0].files[1].mode = Some(0o640);
    case.document.images[0].files[1].owner = Some((1000, 100));
    case.document.images[1].files = vec![file("/EFI", FileContent::Directory, other_span(1))];
    case.host_file("data.bin", "/home/me/data.bin");
    case.document.general.guest_type = Some(spanned(GuestType::Hvm, MEMORY));
    case.document.general.vcpus = Some(spanned(2, MEMORY));
    let expected = r##"domain guest: hvm, 256 MiB, 2 vcpus
note: the firmware starts the boot loader on the disk, for no kernel is named

disk xvda: a copy of /stock/disk.img, as xvda.img
  partition 2
    create the directory /boot/efi: an image is mounted at /boot/efi
    link /usr/bin/fit to /apps/bin/fit: the document puts it there
    write /data (mode 0640, owner 1000:100): the document puts it there
      the content of /home/me/data.bin
    write /etc/fstab: the guest mounts the disks of this domain
      added, because the document has it: /dev/xvda2 / ext4 defaults 0 1
      added, because the document has it: /dev/xvdb /apps squashfs ro 0 0
      added, because the document has it: /dev/xvda1 /boot/efi vfat defaults 0 0
      | /dev/xvda2 / ext4 defaults 0 1
      | /dev/xvdb /apps squashfs ro 0 0
      | /dev/xvda1 /boot/efi vfat defaults 0 0
    write /etc/xenjobs.d/10-job (mode 0755, owner 0:0): the job
      | #!/bin/sh
      | echo hello
  partition 1
    create the directory /EFI: the document puts it there

disk xvdb (read-only): /stock/xvdb.img itself

domain.cfg (BUNDLE is the bundle's directory):
  name = "guest"
  type = "hvm"
  memory = 256
  vcpus = 2
  disk = [
      "format=raw,vdev=xvda,access=rw,target=/BUNDLE/xvda.img",
      "format=raw,vdev=xvdb,access=ro,target=/stock/xvdb.img",
  ]
  serial = "pty"
  vnc = 0
  on_poweroff = "destroy"
  on_reboot = "destroy"
  on_crash = "destroy"
"##;
    assert_eq!(text::render(&case.plan(), &case.document, &case.facts), expected);
}

#[test]
fn a_plan_in_json_says_the_same() {
    let mut case = old_debian();
    case.root().fstab = Some(b"# \xff\n".to_vec());
    let plan = case.plan();
    let json: serde_json::Value =
        serde_json::from_str(&json::render(&plan, &case.document, &case.facts))
            .expect("it is JSON");
    let shown = text::render(&plan, &case.document, &case.facts);
    let config: String =
        json["config"].as_str().expect("text").lines().map(|line| format!("  {line}\n")).collect();
    assert!(shown.ends_with(&config));
    for note in json["notes"].as_array().expect("a list") {
        assert!(shown.contains(&format!("note: {}\n", note.as_str().expect("text"))));
    }
    assert_eq!(json["domain"]["name"], "night-fit");
    assert_eq!(
        json["disks"][1],
        serde_json::json!({
            "vdev": "xvda2", "read_only": false, "file": "xvda2.img", "volumes": [],
            "source": {"swap": {"len": 134217728, "uuid": plan_uuid(&plan), "label": null}},
        })
    );
    let edits = &json["disks"][0]["volumes"][0]["edits"];
    assert_eq!(
        edits[3],
        serde_json::json!({
            "path": "/etc/xenjobs.d/10-fit", "action": "write", "mode": "0755", "owner": [0, 0],
            "content": {"text": "#!/bin/sh\necho hello\n"}, "reasons": ["the job `fit`"],
        })
    );
    // 23 20 ff 0a: what is no text stands as it is.
    assert!(
        edits[2]["content"]["hex"].as_str().expect("hexadecimal").starts_with("2320ff0a2f646576")
    );
    assert!(
        edits[2]["diff"].as_str().expect("a diff").contains("+/dev/xvda1 / ext3 defaults 0 1\n")
    );
    assert_eq!(
        json["boot_files"][0]["from"],
        serde_json::json!({"image": {"vdev": "xvda1", "partition": null, "path": "/boot/vmlinuz-6.1.0-18-amd64"}})
    );
}

fn plan_uuid(plan: &autoxen::plan::Plan) -> String {
    match &plan.disks[1].source {
        autoxen::plan::Source::Blank {
            format: autoxen::plan::Format::Swap { uuid, .. }, ..
        } => uuid.to_string(),
        other => panic!("{other:?}"),
    }
}
