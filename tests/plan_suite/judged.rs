//! No value of a document gets out of its place: whole documents of nasty values are planned, and those who will read
//! the results say what they read: xl's parser for the configuration, libmount for fstab, dash for the jobs.

use std::process::Command;

use autoxen::guest::fstab::Entry;
use autoxen::plan::{Action, Content, plan};
use autoxen::xmf::model::{GuestType, Identify, MountPoint, Network};

use crate::build::*;
use crate::judge::{meaning, read_back};
use crate::nasty::Chance;

/// A document of which about every third value is nasty.
fn nasty_case(chance: &mut Chance, round: usize) -> Case {
    let mut case = Case::with_root(["xvda1", "hda1", "sda2"][round % 3]);
    let data = case.image("ext4", "/data", "xvdb");
    let vary = |chance: &mut Chance, plain: &str| match chance.below(3) {
        0 => chance.nasty(plain),
        _ => plain.to_owned(),
    };
    case.options.name_default = chance.nasty("");
    let general = &mut case.document.general;
    general.guest_type =
        Some(spanned([GuestType::Pv, GuestType::Pvh, GuestType::Hvm][chance.below(3)], MEMORY));
    if chance.below(4) == 0 {
        general.name = Some(spanned(vary(chance, "fit"), NAME));
    }
    if chance.below(2) == 0 {
        general.cmdline = Some(spanned(vary(chance, "quiet "), CMDLINE));
    }
    if chance.below(10) == 0 {
        general.bootloader = Some(spanned(vary(chance, "/usr/bin/pygrub"), BOOTLOADER));
    }
    if chance.below(4) == 0 {
        case.options.kernel = Some(vary(chance, "/boot/vmlinuz").into());
    }
    if chance.below(4) == 0 {
        case.document.general.networks.push(Network {
            span: NAME,
            bridge: Some(spanned(vary(chance, "xenbr0"), NAME)),
            mac: Some(spanned("00:16:3e:00:00:01".into(), NAME)),
        });
    }
    case.document.images[data].mountpoint.value =
        MountPoint::Path(format!("/m{}", chance.nasty("").replace('/', "-")));
    if chance.below(4) == 0 {
        case.document.images[data].device.value.disk = vary(chance, "xvdb");
    }
    case.document.images[data].options = Some(spanned(chance.nasty("rw,"), other_span(data)));
    if chance.below(2) == 0 {
        case.document.images[data].identify = Identify::Label;
        case.facts.images[data].volumes[0].label = Some(chance.nasty("l"));
    }
    case.document.images[data].read_only = chance.below(2) == 0;
    case.facts.images[data].path = Some(vary(chance, "/stock/data").into());
    if chance.below(8) == 0 {
        case.document.images[0].hostname = Some(spanned(vary(chance, "node7"), other_span(0)));
    }
    case.document.jobs[0].environment = vec![("VALUE".into(), chance.nasty(""))];
    case.document.jobs[0].command.value = "printf '%s|' \"$VALUE\"".into();
    let comment: String =
        chance.nasty("").chars().filter(|c| !"\n\0".contains(*c)).take(99).collect();
    case.root().fstab = Some(format!("# {comment}\nproc /proc proc defaults 0 0\n").into());
    case
}

fn written(plan: &autoxen::plan::Plan, path: &str) -> Vec<u8> {
    match &edit(plan, path).action {
        Action::Write { content: Content::Bytes(bytes), .. } => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_thousand_nasty_documents_are_refused_or_say_to_xl_libmount_and_sh_what_they_mean() {
    let scratch =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the test");
    let directory = scratch.path();
    let mut chance = Chance(0x5eed_2006);
    let (mut configurations, mut meanings) = (Vec::new(), Vec::new());
    for round in 0..1000 {
        let case = nasty_case(&mut chance, round);
        let plan = match plan(&case.document, &case.facts, &case.options) {
            Ok(plan) => plan,
            Err(errors) => {
                assert!(!errors.is_empty());
                for error in errors {
                    assert!(!error.message.contains(char::is_control), "{:?}", error.message);
                }
                continue;
            }
        };
        let config = plan.domain.in_directory("/srv/ready".as_ref()).expect("a plain directory");
        configurations.push(config.to_string());
        meanings.push(meaning(plan.domain.parts(), "/srv/ready"));

        let table = directory.join("fstab");
        std::fs::write(&table, written(&plan, "/etc/fstab")).expect("written");
        let read = crate::libmount::read(&table);
        let image = &case.document.images[1];
        let MountPoint::Path(target) = &image.mountpoint.value else { panic!("it has one") };
        let options = image.options.as_ref().expect("it has some").trim().to_owned();
        let label = case.facts.images[1].volumes[0]
            .label
            .as_ref()
            .filter(|_| image.identify == Identify::Label);
        let source = label.map_or_else(
            || format!("/dev/{}", plan.disks[1].vdev),
            |label| format!("LABEL={label}"),
        );
        let ro = image.read_only && !options.split(',').any(|option| option == "ro");
        let meant = Entry {
            source: source.into(),
            target: target.as_str().into(),
            fstype: b"ext4".to_vec(),
            passno: if image.read_only || ro { 0 } else { 2 },
            options: if ro { format!("{options},ro") } else { options }.into(),
            freq: 0,
        };
        assert_eq!(read.len(), 3, "{:?}", String::from_utf8_lossy(&written(&plan, "/etc/fstab")));
        assert_eq!((&read[0].target[..], &read[1].target[..]), (&b"/proc"[..], &b"/"[..]));
        assert_eq!(read[2], meant);

        if round % 5 == 0 {
            let script = directory.join("script");
            std::fs::write(&script, written(&plan, "/etc/xenjobs.d/10-job")).expect("written");
            let output = Command::new("dash")
                .arg(&script)
                .output()
                .expect("dash runs: install the package dash");
            let value = &case.document.jobs[0].environment[0].1;
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{value}|"));
        }
    }
    // Else the values are too tame, or nothing passes.
    assert!((200..900).contains(&meanings.len()), "{} of 1000 were planned", meanings.len());
    for ((read, meant), text) in
        read_back(&configurations).into_iter().zip(meanings).zip(&configurations)
    {
        assert_eq!(read.as_ref(), Ok(&meant), "{text}");
    }
}
