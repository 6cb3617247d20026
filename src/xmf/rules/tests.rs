//! The rules, one bad value a case: the message of each is its contract.

use crate::xmf::check;
use crate::xmf::model::{BlockDevice, BootFile, FileContent, Identify, MountPoint};

/// A valid document with one part of it replaced.
fn document(from: &str, to: &str) -> String {
    let whole = "<xenmetaconfig><general><memory>64</memory><!--g--></general>\
        <imagefile><filesystemtype>ext4</filesystemtype><mountpoint>/</mountpoint>\
        <blockdevice>xvda</blockdevice><url>root.img</url><!--i--></imagefile><!--I-->\
        <job><command>true</command><!--j--></job><!--e--></xenmetaconfig>";
    assert!(whole.contains(from), "{from}");
    whole.replacen(from, to, 1)
}

fn findings(from: &str, to: &str) -> Vec<String> {
    let checked = check(document(from, to).as_bytes());
    let refused =
        checked.diagnostics.iter().any(|found| found.severity == super::super::Severity::Error);
    assert_eq!(checked.document.is_none(), refused);
    checked.diagnostics.into_iter().map(|found| found.message).collect()
}

#[track_caller]
fn refused(from: &str, to: &str, message: &str) {
    assert_eq!(findings(from, to), [message], "{to}");
}

#[track_caller]
fn accepted(from: &str, to: &str) -> crate::xmf::model::Document {
    let checked = check(document(from, to).as_bytes());
    assert!(checked.diagnostics.is_empty(), "{to}: {:?}", checked.diagnostics);
    checked.document.expect("no diagnostics")
}

#[test]
fn the_document_that_the_tests_change_is_accepted() {
    let document = accepted("", "");
    assert_eq!(document.general.memory_mib.value, 64);
    assert_eq!(document.images[0].mountpoint.value, MountPoint::Path("/".into()));
    assert_eq!(document.jobs[0].command.value, "true");
}

#[test]
fn memory_is_an_amount_that_xen_can_give() {
    let bound = "a whole number";
    for (value, message) in [
        ("0", "`memory`: `0` MiB is no amount of memory"),
        ("-5", "`memory`: `-5` MiB is no amount of memory"),
        ("16777217", "`memory`: `16777217` MiB is no amount of memory"),
        // Valid for the schema, and larger than any machine word.
        (
            "123456789012345678901234",
            "`memory`: `123456789012345678901234` MiB is no amount of memory",
        ),
        // Refused by the schema, once.
        ("many", "`memory`: `many` is not a whole number"),
    ] {
        refused("64", value, message);
        assert!(
            check(document("64", value).as_bytes()).diagnostics[0]
                .expected
                .as_ref()
                .is_some_and(|expected| expected.starts_with(bound))
        );
    }
    assert_eq!(accepted("64", " +0016777216\n").general.memory_mib.value, 16 << 20);
}

#[test]
fn a_domain_has_a_name_that_xl_takes() {
    for (value, why) in [
        ("Domain-0", "the host itself has that name"),
        ("007", "xl would take it for a number of a domain"),
        ("a..b", "it holds `..`"),
        ("../etc", "it holds `..`"),
        ("a/b", "it has another form"),
        ("-a", "it has another form"),
        ("a b", "it has another form"),
        ("é", "it has another form"),
    ] {
        let message = format!("`name`: `{value}` cannot name a domain: {why}");
        refused("<!--g-->", &format!("<name>{value}</name>"), &message);
    }
    refused("<!--g-->", "<name/>", "`name`: `` cannot name a domain: it has another form");
    let long = format!("_{}", "x".repeat(63));
    accepted("<!--g-->", &format!("<name>{long}</name>"));
    assert_eq!(findings("<!--g-->", &format!("<name>{long}x</name>")).len(), 1);
}

#[test]
fn the_ways_to_boot_go_together() {
    let general = |inner: &str, message: &str| refused("<!--g-->", inner, message);
    general(
        "<kernel>k</kernel><bootloader>pygrub</bootloader>",
        "`bootloader` and `kernel` exclude each other",
    );
    general("<ramdisk>r</ramdisk>", "`ramdisk` needs `kernel`");
    general("<kernel/>", "`kernel`: the path is empty");
    general(
        "<kernel from='image'>boot/vmlinuz</kernel>",
        "`kernel`: `boot/vmlinuz` is not absolute",
    );
    general("<kernel from='image'>/boot/../x</kernel>", "`kernel`: `/boot/../x` is not normal");
    general("<cmdline>a\nb</cmdline>", "`cmdline`: the value has more than one line");
    general("<cmdline>a\u{1b}b</cmdline>", "character 0x1b cannot stand in XML");
    general("<cmdline>a&#9;b</cmdline>", "`cmdline`: the value holds a control character, 0x09");
    general(
        &format!("<cmdline>{}</cmdline>", "x".repeat(2048)),
        "`cmdline`: the command line is 2048 bytes long",
    );
    general("<bootloader>grub</bootloader>", "`bootloader`: `grub` is not absolute");
    general(
        "<guesttype>hvm</guesttype><bootloader>pygrub</bootloader>",
        "`bootloader` is for pv and pvh: an hvm guest boots from its disk",
    );
    general(
        "<guesttype>hvm</guesttype><cmdline>ro</cmdline>",
        "`cmdline` of an hvm guest needs `kernel`: its disk's boot loader has its own",
    );
    let kernel = |inner| accepted("<!--g-->", inner).general.kernel.unwrap().value;
    assert_eq!(kernel("<kernel> vmlinuz </kernel>"), BootFile::Host("vmlinuz".into()));
    assert_eq!(kernel("<kernel from='image'>\n</kernel>"), BootFile::NewestInImage);
    assert_eq!(
        kernel("<kernel from='image'>/vmlinuz</kernel>"),
        BootFile::InImage("/vmlinuz".into())
    );
}

#[test]
fn a_network_interface_has_an_address_of_its_own() {
    let general = |inner: &str, message: &str| refused("<!--g-->", inner, message);
    general("<network mac='00:16:3e:00:00'/>", "`mac`: `00:16:3e:00:00` is no MAC address");
    general(
        "<network mac='01:16:3e:00:00:00'/>",
        "`mac`: `01:16:3e:00:00:00` is a multicast address",
    );
    general("<network mac='00:00:00:00:00:00'/>", "`mac`: the address is all zero");
    general("<network mac='+0:16:3e:00:00:00'/>", "`mac`: `+0:16:3e:00:00:00` is no MAC address");
    general("<network bridge='a,script=/x'/>", "`bridge`: `a,script=/x` is no name of a bridge");
    general(
        "<network bridge='abcdefghijklmnop'/>",
        "`bridge`: `abcdefghijklmnop` is no name of a bridge",
    );
    general(
        "<network mac='00:16:3e:00:00:0a'/><network mac='00:16:3E:00:00:0A'/>",
        "two interfaces with the address `00:16:3e:00:00:0a`",
    );
}

#[test]
fn a_mount_point_is_an_absolute_path_in_normal_form() {
    let mount =
        |at: &str, message: &str| refused("<mountpoint>/<", &format!("<mountpoint>{at}<"), message);
    mount("home", "`mountpoint`: `home` is not absolute");
    mount("/home/", "`mountpoint`: `/home/` is not normal");
    mount("//", "`mountpoint`: `//` is not normal");
    mount("/a/./b", "`mountpoint`: `/a/./b` is not normal");
    mount("/a/../b", "`mountpoint`: `/a/../b` is not normal");
    mount("/a\n0 0", "`mountpoint`: the value has more than one line");
    assert_eq!(
        findings("<mountpoint>/<", "<mountpoint>none<"),
        ["no image is mounted at `/`", "`mountpoint`: a `ext4` file system needs a place"]
    );
    mount("/home", "no image is mounted at `/`");
    refused("ext4", "swap", "`mountpoint`: a swap space is not mounted");
}

#[test]
fn a_block_device_is_one_that_xen_gives() {
    for bad in [
        "",
        "/dev/",
        "xvd",
        "xvda0",
        "xvda01",
        "xvda256",
        "hde",
        "hda64",
        "sdq",
        "sda16",
        "vda",
        "xvdA",
        "xvdzzzz",
        "xvda1p1",
        "/dev/disk/by-id/x",
        "xvda 1",
        "/dev//xvda",
        "sdaa",
        "xvda99999999999",
        "é",
    ] {
        let message = format!("`blockdevice`: `{bad}` is no block device of a Xen guest");
        refused("xvda", bad, &message);
    }
    for (good, disk, partition) in [
        ("/dev/hda1", "hda", Some(1)),
        ("hdd63", "hdd", Some(63)),
        ("sdp15", "sdp", Some(15)),
        ("xvda255", "xvda", Some(255)),
        ("xvdaa", "xvdaa", None),
        ("xvdzzz", "xvdzzz", None),
    ] {
        let device = BlockDevice { disk: disk.into(), partition };
        assert_eq!(accepted("xvda", good).images[0].device.value, device, "{good}");
    }
    refused("xvda", "xvdaaaa", "`blockdevice`: `xvdaaaa` is no block device of a Xen guest");
}

#[test]
fn no_two_images_claim_one_device_or_one_mount_point() {
    let second = |attributes: &str, mount: &str, device: &str, url: &str| {
        format!(
            "<imagefile {attributes}><filesystemtype>ext4</filesystemtype><mountpoint>{mount}</mountpoint>\
             <blockdevice>{device}</blockdevice><url>{url}</url></imagefile>"
        )
    };
    let clash = |image: &str, message: &str| refused("<!--I-->", image, message);
    clash(&second("", "/h", "xvda", "b"), "`blockdevice`: two images claim `xvda`");
    clash(&second("", "/h", "/dev/xvda", "b"), "`blockdevice`: two images claim `xvda`");
    clash(&second("", "/h", "xvda1", "b"), "`blockdevice`: `xvda1` is claimed already, as `xvda`");
    clash(&second("", "/", "xvdb", "b"), "`mountpoint`: two images are mounted at `/`");
    clash(
        &second("partition='2'", "/h", "xvda2", "root.img"),
        "`blockdevice`: `xvda2` is claimed already, as `xvda`",
    );
    accepted("<!--I-->", &second("", "/h", "xvdb", "root.img"));

    let both = |one: &str, attributes: &str, device: &str, url: &str| {
        let whole = document("<!--I-->", &second(attributes, "/h", device, url));
        let whole = whole.replacen("<imagefile>", &format!("<imagefile {one}>"), 1);
        check(whole.as_bytes())
            .diagnostics
            .into_iter()
            .map(|found| found.message)
            .collect::<Vec<_>>()
    };
    // Two partitions of one image: the disk is attached once.
    assert_eq!(both("partition='1'", "partition='2'", "xvda2", "root.img"), [""; 0]);
    assert_eq!(
        both("partition='1'", "partition='2'", "xvda2", "other.img"),
        ["`blockdevice`: `xvda2` is claimed already, as `xvda`"]
    );
    assert_eq!(
        both("partition='1'", "partition='1'", "xvda", "root.img"),
        ["`blockdevice`: two images claim `xvda`"]
    );
}

#[test]
fn a_partition_is_the_one_that_the_device_says() {
    let with = |attributes: &str, device: &str| {
        document("<imagefile>", &format!("<imagefile {attributes}>")).replacen("xvda", device, 1)
    };
    let messages = |text: String| {
        check(text.as_bytes())
            .diagnostics
            .into_iter()
            .map(|found| found.message)
            .collect::<Vec<_>>()
    };
    assert_eq!(messages(with("partition='2'", "xvda2")), [""; 0]);
    assert_eq!(messages(with("partition='2'", "xvda")), [""; 0]);
    assert_eq!(
        messages(with("partition='2'", "xvda1")),
        ["`partition` is 2, but `blockdevice` is `xvda1`"]
    );
    assert_eq!(messages(with("partition='129'", "xvda")), ["`partition`: `129` is out of range"]);
    assert_eq!(messages(with("partition='0'", "xvda")), ["`partition`: `0` is out of range"]);
}

#[test]
fn an_image_is_a_file_of_this_host() {
    let url = |value: &str, message: &str| refused("root.img", value, message);
    url("http://host/x.img", "`url`: scheme `http` is not served by this version");
    url("https://host/x.img", "`url`: scheme `https` is not served by this version");
    url("xis:rhel3", "`url`: scheme `xis` is not served by this version");
    url("file://host/x", "`url`: `file://host/x` names another host, or no absolute path");
    url("file:x", "`url`: `file:x` names another host, or no absolute path");
    url("file:///a%2", "`url`: `/a%2` holds a bad `%`");
    url("file:///a%00b", "`url`: `/a%00b` holds a bad `%`");
    url("file:///a%0Ab", "`url`: the value has more than one line");
    url("file:///a%ff", "`url`: the decoded path is no UTF-8");
    url("file:///a?b", "`url`: `?` in a file URL begins what a path cannot have");
    url("", "`url`: the path is empty");
    url("a&#10;b", "`url`: the value has more than one line");
    let taken = |value: &str| accepted("root.img", value).images[0].url.clone().unwrap().value;
    assert_eq!(taken("file:///a%20b%C3%A9"), "/a bé");
    assert_eq!(taken("FILE://localhost/a"), "/a");
    assert_eq!(taken("file:/a"), "/a");
    assert_eq!(taken(" ./a:b%20 "), "./a:b%20");
}

#[test]
fn a_disk_is_taken_or_made() {
    let image = |attributes: &str, inner: &str| {
        document("<!--I-->", &format!("<imagefile {attributes}>{inner}</imagefile>"))
    };
    let swap = "<filesystemtype>swap</filesystemtype><mountpoint>none</mountpoint><blockdevice>xvdb</blockdevice>";
    let ext4 = "<filesystemtype>ext4</filesystemtype><mountpoint>/h</mountpoint><blockdevice>xvdb</blockdevice>";
    let of = |text: String| {
        check(text.as_bytes())
            .diagnostics
            .into_iter()
            .map(|found| found.message)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(image("", swap)), ["`imagefile` has neither `url` nor `size`"]);
    assert_eq!(of(image("size='1G'", ext4)), ["formatting `ext4` is not served by this version"]);
    assert_eq!(
        of(image("size='1G'", &format!("{swap}<url>x</url>"))),
        ["`size` together with `url` is not served by this version"]
    );
    assert_eq!(
        of(image("size='1G' partition='1'", swap)),
        ["`partition` needs a `url`: this disk is made new"]
    );
    assert_eq!(
        of(image("size='1G' identify='label'", swap)),
        ["`identify=\"label\"` needs a `label`: this disk is made new"]
    );
    assert_eq!(
        of(image("size='1G' label='sixteen bytes ab'", swap)),
        ["`label`: label `sixteen bytes ab` is 16 bytes long"]
    );
    assert_eq!(
        of(image("size='1G'", &format!("{swap}<file path='/x'/>"))),
        ["`file` in a swap space, which holds no files"]
    );
    for (bad, message) in [
        ("0", "`size`: `0` is no size"),
        ("1g", "`size`: `1g` is no size"),
        ("-1", "`size`: `-1` is no size"),
        ("1.5G", "`size`: `1.5G` is no size"),
        ("17T", "`size`: `17T` is too large"),
        ("18446744073709551616", "`size`: `18446744073709551616` is too large"),
        ("99999999999T", "`size`: `99999999999T` is too large"),
    ] {
        assert_eq!(of(image(&format!("size='{bad}'"), swap)), [message], "{bad}");
    }
    let checked = check(image("size='2M'", swap).as_bytes());
    let document = checked.document.unwrap();
    assert_eq!(document.images[1].size.as_ref().unwrap().value, 2 << 20);
    assert_eq!(document.images[1].mountpoint.value, MountPoint::None);
}

#[test]
fn what_fstab_holds_is_one_word() {
    refused("ext4", "ext4 ro", "`filesystemtype`: `ext4 ro` is more than one word");
    refused("ext4", "", "`filesystemtype`: the value is empty");
    refused("ext4", "ext5", "file system `ext5` is not known");
    let options = |value: &str| format!("<imagefile options='{value}'>");
    refused(
        "<imagefile>",
        &options("ro, noatime"),
        "`options`: `ro, noatime` is more than one word",
    );
    refused("<imagefile>", &options(""), "`options`: the value is empty");
    refused("<imagefile>", &options("ro&#10;x"), "`options`: the value has more than one line");
    let document = accepted("<imagefile>", "<imagefile options='ro' identify='uuid' access='ro'>");
    assert_eq!(document.images[0].identify, Identify::Uuid);
    assert!(document.images[0].read_only);
    let digest = "A".repeat(64);
    let document = accepted("<imagefile>", &format!("<imagefile sha256='{digest}'>"));
    assert_eq!(document.images[0].sha256.as_ref().unwrap().value, "a".repeat(64));
    refused("<imagefile>", "<imagefile sha256='12'>", "`sha256`: `12` is no SHA-256 digest");
}

#[test]
fn a_file_has_one_content() {
    let file = |element: &str, message: &str| refused("<!--i-->", element, message);
    file("<file path='etc/x'/>", "`path`: `etc/x` is not absolute");
    file("<file path='/'/>", "`path`: `/` is there already");
    file("<file path='/etc/../x'/>", "`path`: `/etc/../x` is not normal");
    file(
        "<file path='/x' source='y'>text</file>",
        "`file` has a `source` and text: one of them is its content",
    );
    file("<file path='/x' target='y'/>", "a file has no `target`");
    file("<file path='/x' type='directory' source='y'/>", "a directory has no `source`");
    file("<file path='/x' type='directory'>text</file>", "a directory holds no text");
    file("<file path='/x' type='symlink'/>", "a symlink needs the attribute `target`");
    file("<file path='/x' type='symlink' target='y' mode='755'/>", "a symlink has no `mode`");
    file("<file path='/x' mode='0888'/>", "`mode`: `0888` is no file mode");
    file("<file path='/x' mode='10000'/>", "`mode`: `10000` is no file mode");
    file("<file path='/x' mode='+755'/>", "`mode`: `+755` is no file mode");
    file("<file path='/x' owner='root:root'/>", "`owner`: `root:root` is no owner");
    file("<file path='/x' owner='0:4294967295'/>", "`owner`: `0:4294967295` is no owner");
    file("<file path='/x'/><file path='/x' type='directory'/>", "`path`: `/x` is here twice");
    file(
        "<file path='/x/y'/><file path='/x'/>",
        "`path`: `/x` and `/x/y`: a file cannot be a directory",
    );
    file("<file path='/etc/fstab'/>", "`path`: `/etc/fstab` is written by `prepare` itself");
    file(
        "<file path='/etc/hostname'/><hostname>a</hostname>",
        "`path`: `/etc/hostname` is written by `prepare` itself",
    );
    let content = |element| accepted("<!--i-->", element).images[0].files[0].clone();
    assert_eq!(
        content("<file path='/etc/hostname'> a\n</file>").content,
        FileContent::Text(" a\n".into())
    );
    assert_eq!(
        content("<file path='/x' type='symlink' target='../y'/>").content,
        FileContent::Symlink("../y".into())
    );
    let entry = content("<file path='/x' source='y' mode='04755' owner='0:33'> </file>");
    assert!(matches!(&entry.content, FileContent::Host(source) if source.value == "y"));
    assert_eq!((entry.mode, entry.owner), (Some(0o4755), Some((0, 33))));
}

#[test]
fn a_host_name_follows_rfc_1123() {
    for bad in ["", "-a", "a-", "a..b", "a_b", "a b", "é", &"a".repeat(64)] {
        let message =
            format!("`hostname`: `{}` is no host name", crate::xmf::suggest::shorten(bad));
        refused("<!--i-->", &format!("<hostname>{bad}</hostname>"), &message);
    }
    accepted("<!--i-->", "<hostname>3com.example-1.org</hostname>");
}

#[test]
fn a_job_runs_something() {
    let command = |inner: &str, message: &str| refused("<command>true</command>", inner, message);
    command("<command> \n </command>", "`command`: there is nothing to run");
    command(
        "<command>x</command><environment name='1A'/>",
        "`name`: `1A` is no name of a variable",
    );
    command(
        "<command>x</command><environment name='A=B'/>",
        "`name`: `A=B` is no name of a variable",
    );
    command(
        "<command>x</command><environment name='A'/><environment name='A'/>",
        "variable `A` is here twice",
    );
    refused("<job>", "<job name='A'>", "`name`: `A` cannot name a job");
    refused("<job>", "<job name='a.sh'>", "`name`: `a.sh` cannot name a job");
    refused("<job>", "<job workdir='tmp'>", "`workdir`: `tmp` is not absolute");
    let many = "<job><command>x</command></job>".repeat(90);
    refused("<!--e-->", &many, "more than 90 jobs");
    // A command keeps every blank of its text: it may be a script.
    let document = accepted("<command>true<", "<command> #!/bin/sh\n x\n<");
    assert_eq!(document.jobs[0].command.value, " #!/bin/sh\n x\n");
}

#[test]
fn a_job_says_who_runs_it_how_long_and_what_its_failure_means() {
    use crate::xmf::model::OnFailure;
    let job = |text: &str| accepted("<job>", text).jobs.remove(0);
    let plain = job("<job user='root' onfailure='continue' again='no'>");
    assert_eq!((&plain.user, &plain.timeout, plain.again), (&None, &None, false));
    assert_eq!(plain.on_failure, OnFailure::Continue);
    let full = job("<job user='grid' timeout='60' onfailure='stop' again='yes'>");
    assert_eq!(full.user.unwrap().value, "grid");
    assert_eq!(full.timeout.unwrap().value, 60);
    assert_eq!((full.on_failure, full.again), (OnFailure::Stop, true));
    refused("<job>", "<job user='a b'>", "`user`: `a b` is no name of a user");
    refused("<job>", "<job timeout='2147483648'>", "`timeout`: `2147483648` is no length of time");
    refused(
        "<!--g-->",
        "<limit>99999999999</limit>",
        "`limit`: `99999999999` is no length of time",
    );
    assert_eq!(accepted("<!--g-->", "<limit>60</limit>").general.limit.unwrap().value, 60);
}

#[test]
fn an_input_is_a_file_a_directory_or_a_tar() {
    use crate::xmf::model::{InputKind, InputPlace};
    let input = |text: &str| accepted("<!--j-->", text).jobs.remove(0).inputs.remove(0);
    let plain = input("<input source='a' path='/b'/>");
    assert_eq!((plain.kind, plain.place), (InputKind::File, InputPlace::Auto));
    let tar = input("<input source='a.tar' path='/' type='tar' place='root'/>");
    assert_eq!((tar.kind, tar.place), (InputKind::Tar, InputPlace::Root));
    let digest = "a".repeat(64);
    for (text, message) in [
        ("<input source='a' path='b'/>", "`path`: `b` is not absolute"),
        ("<input source='a' path='/'/>", "`path`: nothing but a tar is unpacked in `/`"),
        ("<input source='' path='/b'/>", "`source`: the path is empty"),
        (
            &*format!("<input source='a' path='/b' type='directory' sha256='{digest}'/>"),
            "`sha256`: a directory has no digest",
        ),
    ] {
        refused("<!--j-->", text, message);
    }
}

#[test]
fn what_is_staged_out_needs_a_disk() {
    let output = |path: &str| format!("<output path='{path}'/>");
    let with_disk = |path: &str| {
        let whole = document("<!--e-->", "<results size='64M' blockdevice='xvdz'/>");
        let checked = check(whole.replace("<!--j-->", &output(path)).as_bytes());
        let messages = checked.diagnostics.into_iter().map(|found| found.message);
        (checked.document, messages.collect::<Vec<_>>())
    };
    let (document, messages) = with_disk("/out/*.root");
    assert_eq!(messages, [""; 0]);
    let document = document.unwrap();
    assert_eq!(document.jobs[0].outputs[0].value, "/out/*.root");
    assert_eq!(document.results.unwrap().size.value, 64 << 20);
    assert_eq!(with_disk("out").1, ["`path`: `out` is not absolute"]);
    assert_eq!(with_disk("/").1, ["`path`: all of the guest is no output"]);
    let message = "`output`: there is no disk that carries it home";
    refused("<!--j-->", &output("/out"), message);
    refused("<!--e-->", "<results size='1M'/>", "`size`: `1M` is too small");
}

#[test]
fn a_guest_ends_as_the_document_says() {
    use crate::xmf::model::WhenDone;
    let when_done = |text: &str| accepted("<!--e-->", text).when_done;
    assert_eq!(when_done(""), WhenDone::Poweroff);
    assert_eq!(when_done("<whendone>poweroff</whendone>"), WhenDone::Poweroff);
    assert_eq!(when_done("<whendone> reboot </whendone>"), WhenDone::Reboot);
    assert_eq!(when_done("<whendone>keep</whendone>"), WhenDone::Keep);
}
