//! What is written into the images.

use autoxen::plan::{Action, Content, Edit};
use autoxen::xmf::model::FileContent;

use crate::build::*;

fn text(edit: &Edit) -> String {
    match &edit.action {
        Action::Write { content: Content::Bytes(bytes), .. } => {
            String::from_utf8(bytes.clone()).expect("text")
        }
        other => panic!("{other:?}"),
    }
}

fn access(edit: &Edit) -> (Option<u32>, Option<(u32, u32)>) {
    match edit.action {
        Action::Write { mode, owner, .. } | Action::CreateDir { mode, owner } => (mode, owner),
        Action::Symlink { .. } | Action::Stage(_) => panic!("it has neither"),
    }
}

#[test]
fn a_job_is_an_executable_of_root_and_fstab_keeps_its_own_mode() {
    let mut case = Case::with_root("xvda1");
    case.document.jobs.push(job("#!/bin/true"));
    case.document.jobs[1].environment = vec![("A".into(), "b".into())];
    let plan = case.plan();
    assert_eq!(
        edited_paths(&plan),
        [
            "xvda1 /etc/fstab",
            "xvda1 /etc/xenjobs.d/10-job",
            "xvda1 /etc/autoxen/jobs/11-job",
            "xvda1 /etc/xenjobs.d/11-job",
        ]
    );
    assert_eq!(access(edit(&plan, "/etc/fstab")), (None, None));
    for path in ["/etc/xenjobs.d/10-job", "/etc/autoxen/jobs/11-job", "/etc/xenjobs.d/11-job"] {
        assert_eq!(access(edit(&plan, path)), (Some(0o755), Some((0, 0))));
    }
}

#[test]
fn an_image_that_is_as_the_document_wants_it_gets_only_its_jobs() {
    let mut case = Case::with_root("xvda1");
    case.root().fstab = Some(b"# ours\n/dev/xvda1  /  ext3  defaults  0  1\n".to_vec());
    case.root().hostname = Some(b"node7\n".to_vec());
    case.root().authorized_keys = Some(b"ssh-rsa AAAA me\n".to_vec());
    case.document.images[0].hostname = Some(spanned("node7".into(), other_span(0)));
    case.document.images[0].authorized_keys =
        vec![spanned("ssh-rsa AAAA me".into(), other_span(0))];
    assert_eq!(edited_paths(&case.plan()), ["xvda1 /etc/xenjobs.d/10-job"]);
}

#[test]
fn the_hosts_name_goes_where_the_image_keeps_it() {
    let mut case = Case::with_root("xvda1");
    case.document.images[0].hostname = Some(spanned("node7".into(), other_span(0)));
    assert_eq!(text(edit(&case.plan(), "/etc/hostname")), "node7\n");
    case.root().sysconfig_network = Some(b"NETWORKING=yes\nHOSTNAME=localhost\n".to_vec());
    case.root().suse_hostname = Some(b"linux\n".to_vec());
    let plan = case.plan();
    assert_eq!(text(edit(&plan, "/etc/sysconfig/network")), "NETWORKING=yes\nHOSTNAME=node7\n");
    assert_eq!(text(edit(&plan, "/etc/HOSTNAME")), "node7\n");
    assert_eq!(text(edit(&plan, "/etc/hostname")), "node7\n");
}

#[test]
fn keys_are_added_and_new_files_of_theirs_are_roots_alone() {
    let mut case = Case::with_root("xvda1");
    case.document.images[0].authorized_keys =
        vec![spanned("ssh-ed25519 BBBB me\n".into(), other_span(0))];
    let plan = case.plan();
    assert_eq!(access(edit(&plan, "/root/.ssh")), (Some(0o700), Some((0, 0))));
    let keys = edit(&plan, "/root/.ssh/authorized_keys");
    assert_eq!(
        (text(keys).as_str(), access(keys)),
        ("ssh-ed25519 BBBB me\n", (Some(0o600), Some((0, 0))))
    );
    case.root().authorized_keys = Some(b"ssh-rsa AAAA root".to_vec());
    let plan = case.plan();
    let keys = edit(&plan, "/root/.ssh/authorized_keys");
    assert_eq!(
        (text(keys).as_str(), access(keys)),
        ("ssh-rsa AAAA root\nssh-ed25519 BBBB me\n", (None, None))
    );
}

#[test]
fn mount_points_that_are_missing_are_made_in_the_image_that_they_lie_in() {
    let mut case = Case::with_root("xvda1");
    case.image("ext3", "/home", "xvdb");
    case.image("ext3", "/home/fit/data", "xvdc");
    case.image("xfs", "/scratch", "xvdd");
    case.image("ext3", "/scratch/in", "xvde");
    case.blank("swap", "none", "xvdf", 1 << 20);
    case.facts.images[0].directories = vec!["/scratch".into()];
    let plan = case.plan();
    assert_eq!(
        edited_paths(&plan),
        ["xvda1 /home", "xvda1 /etc/fstab", "xvda1 /etc/xenjobs.d/10-job", "xvdb /fit/data"]
    );
    assert_eq!(access(edit(&plan, "/home")), (None, None));
    assert!(
        plan.notes.contains(&"the xfs image has to have the directory /in".to_owned()),
        "{:?}",
        plan.notes
    );
}

#[test]
fn files_go_into_their_image_before_the_tool_writes_its_own() {
    let mut case = Case::with_root("xvda1");
    let dos = case.image("vfat", "/dos", "xvdb");
    case.host_file("in.bin", "/host/in.bin");
    let files = vec![
        file("/d", FileContent::Directory, other_span(0)),
        file("/d/a", FileContent::Text(" text \n".into()), other_span(0)),
        file("/d/l", FileContent::Symlink("../x".into()), other_span(0)),
        file("/d/h", FileContent::Host(spanned("in.bin".into(), other_span(0))), other_span(0)),
    ];
    case.document.images[0].files = files;
    case.document.images[dos].files =
        vec![file("/A.TXT", FileContent::Text("x".into()), other_span(dos))];
    let plan = case.plan();
    assert_eq!(
        edited_paths(&plan),
        [
            "xvda1 /d",
            "xvda1 /d/a",
            "xvda1 /d/l",
            "xvda1 /d/h",
            "xvda1 /etc/fstab",
            "xvda1 /etc/xenjobs.d/10-job",
            "xvdb /A.TXT",
        ]
    );
    assert_eq!(text(edit(&plan, "/d/a")), " text \n");
    assert_eq!(edit(&plan, "/d/l").action, Action::Symlink { target: "../x".into() });
    let Action::Write { content, .. } = &edit(&plan, "/d/h").action else { panic!("a file") };
    assert_eq!(*content, Content::Host("/host/in.bin".into()));
}

#[test]
fn what_another_mount_hides_is_said() {
    let mut case = Case::with_root("xvda1");
    case.image("ext3", "/data", "xvdb");
    case.document.images[0].files = vec![
        file("/data/a", FileContent::Directory, other_span(0)),
        file("/database", FileContent::Directory, other_span(0)),
    ];
    case.document.images[1].files = vec![file("/data", FileContent::Directory, other_span(1))];
    let notes = case.plan().notes;
    let hidden: Vec<&String> = notes.iter().filter(|note| note.contains("does not see")).collect();
    assert_eq!(hidden, ["the guest does not see `/data/a`: another image is mounted at /data"]);
}

#[test]
fn the_domains_name_is_that_of_the_document_or_made_of_the_files_name() {
    let mut case = Case::with_root("xvda1");
    for (file, name) in [
        ("fit", "fit"),
        ("my job.v2", "my-job-v2"),
        ("7up", "job-7up"),
        ("", "job-"),
        ("été", "job--t-"),
        ("Domain-0", "job-Domain-0"),
        ("../x", "job----x"),
    ] {
        case.options.name_default = file.into();
        assert_eq!(case.config_line("name"), Some(format!("name = \"{name}\"")), "{file}");
    }
    case.options.name_default = "x".repeat(100);
    assert_eq!(case.config_line("name"), Some(format!("name = \"{}\"", "x".repeat(64))));
    case.document.general.name = Some(spanned("fit-7.a".into(), NAME));
    assert_eq!(case.config_line("name").as_deref(), Some("name = \"fit-7.a\""));
}
