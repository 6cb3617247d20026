//! What makes a guest run its jobs, and the disks that come with that.

use autoxen::guest::init::Init;
use autoxen::plan::{Action, Deliver, Runner, Source};
use autoxen::xmf::model::{BlockDevice, InputKind, InputPlace, Results, WhenDone};

use crate::build::*;

/// A root with this init system, and nothing said of the runner.
fn guest(init: Init) -> Case {
    let mut case = Case::with_root("xvda1");
    case.options.runner = Runner::Auto;
    case.options.id = "3f".into();
    case.root().inits = vec![init];
    case
}

fn results(device: Option<&str>) -> Option<Results> {
    let device = device
        .map(|name| spanned(BlockDevice { disk: name.into(), partition: None }, other_span(8)));
    Some(Results { span: other_span(9), size: spanned(16 << 20, other_span(9)), device })
}

fn text_of(case: &Case, path: &str) -> String {
    match &edit(&case.plan(), path).action {
        Action::Write { content: autoxen::plan::Content::Bytes(bytes), .. } => {
            String::from_utf8(bytes.clone()).expect("text")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_init_system_gets_the_runner_and_its_own_hook() {
    for (init, hook) in [
        (Init::Systemd, "/etc/systemd/system/multi-user.target.wants/autoxen-jobs.service"),
        (Init::SysvDebian, "/etc/rc2.d/S99autoxen-jobs"),
        (Init::SysvRedHat, "/etc/rc.d/rc3.d/S99autoxen-jobs"),
        (Init::SysvSuse, "/etc/init.d/rc5.d/S99autoxen-jobs"),
        (Init::OpenRc, "/etc/runlevels/default/autoxen-jobs"),
        (Init::BusyBox, "/etc/inittab"),
        (Init::Runit, "/etc/sv/autoxen-jobs/run"),
    ] {
        let mut case = guest(init);
        let plan = case.plan();
        edit(&plan, hook);
        edit(&plan, "/etc/autoxen/run-jobs");
        assert_eq!(text_of(&case, "/etc/autoxen/run.conf"), "id 3f\nwhendone poweroff\n");
        // What the option names goes before what is there.
        case.root().inits = vec![Init::S6];
        case.options.runner = Runner::For(init);
        edit(&case.plan(), hook);
    }
}

#[test]
fn settings_are_told_to_the_runner_line_by_line() {
    let mut case = guest(Init::Systemd);
    case.document.results = results(None);
    case.document.when_done = WhenDone::Keep;
    case.document.general.limit = Some(spanned(60, MEMORY));
    let job = &mut case.document.jobs[0];
    job.user = Some(spanned("alice".into(), JOB));
    job.timeout = Some(spanned(5, JOB));
    job.on_failure = autoxen::xmf::model::OnFailure::Stop;
    job.again = true;
    job.outputs = vec![spanned("/out/* \".dat".into(), JOB)];
    assert_eq!(
        text_of(&case, "/etc/autoxen/run.conf"),
        "id 3f\nresults AUTOXEN_RES\ndevice xvdb\nwhendone keep\nlimit 60\n"
    );
    assert_eq!(
        text_of(&case, "/etc/autoxen/jobs/10-job.conf"),
        "user alice\ntimeout 5\nonfailure stop\nagain yes\noutput /out/* \".dat\n"
    );
    edit(&case.plan(), "/var/lib/autoxen/results");
    let plan = case.plan();
    assert_eq!(plan.results, Some(1));
    assert!(matches!(plan.disks[1].source, Source::Blank { len: 0x0100_0000, .. }));
    assert_eq!(case.config_line("on_reboot").as_deref(), Some("on_reboot = \"destroy\""));
    case.document.when_done = WhenDone::Reboot;
    assert_eq!(case.config_line("on_reboot").as_deref(), Some("on_reboot = \"restart\""));
}

#[test]
fn an_image_that_runs_its_jobs_itself_is_left_alone() {
    let mut case = guest(Init::SysvRedHat);
    case.root().own_runner = Some("/etc/rc.d/init.d/jobs".into());
    assert_eq!(edited_paths(&case.plan()), ["xvda1 /etc/fstab", "xvda1 /etc/xenjobs.d/10-job"]);
    let note = "the image runs its jobs itself, by /etc/rc.d/init.d/jobs";
    assert!(case.plan().notes.iter().any(|found| found == note), "{:?}", case.plan().notes);
    case.document.jobs[0].timeout = Some(spanned(5, 700..701));
    case.document.results = results(None);
    let errors: Vec<_> = case.errors().iter().map(|error| error.message.clone()).collect();
    let because = format!("needs AutoXen's runner: {note}, without it");
    assert_eq!(errors, [format!("`timeout` {because}"), format!("`results` {because}")]);
    case.options.runner = Runner::For(Init::SysvRedHat);
    edit(&case.plan(), "/etc/rc.d/rc3.d/S99autoxen-jobs");
}

#[test]
fn without_an_init_system_that_is_known_the_user_is_told() {
    let mut case = guest(Init::S6);
    assert!(
        case.plan().notes.iter().any(|note| note.starts_with("no file can hook a runner into s6"))
    );
    case.root().inits.clear();
    assert!(case.plan().notes.iter().any(|note| note.starts_with("no init system is known")));
    case.document.jobs[0].user = Some(spanned("alice".into(), 700..701));
    assert_eq!(case.errors()[0].span, 700..701);
    case.options.runner = Runner::None;
    assert!(case.errors()[0].message.ends_with("`--runner none` leaves out it"));
}

#[test]
fn the_disk_for_results_takes_a_free_device_of_the_roots_kind() {
    for (root, legacy, wanted) in [
        ("xvda1", false, "xvdb"),
        ("hda1", false, "xvdb"),
        ("hda1", true, "hdb"),
        ("sda", true, "sdb"),
    ] {
        let mut case = guest(Init::Systemd);
        case.document.images.clear();
        case.facts.images.clear();
        case.image("ext3", "/", root);
        let version = if legacy { "2.6.18" } else { "6.1.0" };
        case.facts.images[0].root = Some(autoxen::facts::RootFacts {
            boot: names(&[&format!("vmlinuz-{version}")]),
            modules: names(&[version]),
            inits: vec![Init::SysvRedHat],
            ..Default::default()
        });
        case.document.results = results(None);
        assert_eq!(case.plan().disks[1].vdev.as_str(), wanted, "{root}");
    }
    let mut case = guest(Init::Systemd);
    case.document.results = results(Some("xvdz"));
    assert_eq!(case.plan().disks[1].vdev.as_str(), "xvdz");
    case.document.results = results(Some("xvda"));
    let errors = case.errors();
    assert_eq!(errors[0].message, "`blockdevice`: an image is /dev/xvda1 in the guest");
    assert_eq!(errors[0].span, other_span(8));
}

#[test]
fn small_inputs_go_into_the_image_and_large_ones_on_a_disk() {
    let mut case = guest(Init::Systemd);
    case.input("small", "/srv/small", InputKind::File, InputPlace::Auto, 1 << 20);
    case.input("big", "/srv/big.db", InputKind::File, InputPlace::Auto, 65 << 20);
    case.input("tar", "/srv/tree", InputKind::Tar, InputPlace::Ext, 10);
    case.input("fat", "/srv/fat", InputKind::Directory, InputPlace::Vfat, 10);
    let plan = case.plan();
    assert!(matches!(edit(&plan, "/srv/small").action, Action::Stage(_)));
    let target = |path: &str| match &edit(&plan, path).action {
        Action::Symlink { target } => target.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(target("/srv/big.db"), "/var/lib/autoxen/input/0/big.db");
    assert_eq!(target("/srv/tree"), "/var/lib/autoxen/input/1");
    assert_eq!(target("/srv/fat"), "/var/lib/autoxen/input-vfat/0");
    let fstab = case.fstab();
    assert!(
        fstab.contains("\n/dev/xvdb /var/lib/autoxen/input ext3 ro,nosuid,nodev 0 0\n"),
        "{fstab}"
    );
    assert!(
        fstab.contains("\n/dev/xvdc /var/lib/autoxen/input-vfat vfat ro,nosuid,nodev 0 0\n"),
        "{fstab}"
    );
    assert!(plan.disks[1].read_only && plan.disks[2].read_only);
    let mut emulated = case.clone();
    emulated.document.general.guest_type =
        Some(spanned(autoxen::xmf::model::GuestType::Hvm, MEMORY));
    let fstab = emulated.fstab();
    assert!(fstab.contains("\nLABEL=AUTOXEN_IN /var/lib/autoxen/input ext3 "), "{fstab}");

    // A directory of the image cannot be a link: what is to go there is put into it.
    case.facts.images[0].directories.push("/srv/tree".into());
    let errors = case.errors();
    assert_eq!(
        errors[0].message,
        "`/srv/tree` is a directory of the image: nothing can stand for it"
    );
    case.document.jobs[0].inputs[2].place = InputPlace::Auto;
    case.facts.inputs[2].len = 1 << 40;
    assert!(matches!(edit(&case.plan(), "/srv/tree").action, Action::Stage(_)));
    case.input("again", "/srv/small", InputKind::File, InputPlace::Auto, 1);
    assert_eq!(case.errors()[0].message, "two inputs at `/srv/small`");
}

#[test]
fn cloud_init_takes_the_jobs_from_a_seed_disk() {
    let mut case = guest(Init::Systemd);
    case.options.deliver = Deliver::NoCloud;
    assert_eq!(
        case.errors()[0].message,
        "the image has no cloud-init, which `--deliver nocloud` needs"
    );
    case.root().has_cloud_init = true;
    case.document.results = results(None);
    let plan = case.plan();
    assert_eq!(
        edited_paths(&plan),
        [
            "xvda1 /etc/fstab",
            "xvda1 /var/lib/autoxen/results",
            "xvdc /meta-data",
            "xvdc /user-data",
        ]
    );
    let user_data = text_of(&case, "/user-data");
    for line in [
        "#cloud-config\n",
        "- path: \"/etc/xenjobs.d/10-job\"\n  permissions: \"0755\"\n  content: \"#!/bin/sh\\necho hello\\n\"\n",
        "- path: \"/etc/autoxen/run.conf\"\n  permissions: \"0644\"\n",
        "runcmd:\n- [\"/etc/autoxen/run-jobs\"]\n",
    ] {
        assert!(user_data.contains(line), "{line}: {user_data}");
    }
    assert!(text_of(&case, "/meta-data").starts_with("instance-id: \"autoxen-3f\"\n"));
}
