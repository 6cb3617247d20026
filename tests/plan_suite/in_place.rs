//! `--in-place`: which images are edited where they lie, under what guard, and what is refused.

use std::path::PathBuf;

use autoxen::plan::{Guard, json, text};
use autoxen::xmf::model::FileContent;

use crate::build::*;

/// A root with a journal, edited where it lies.
fn root() -> Case {
    let mut case = Case::with_root("xvda");
    case.facts.images[0].has_journal = true;
    case.options.in_place = true;
    case
}

/// GPT: FAT in 1, a root with a journal in 2.
fn partitions() -> Case {
    let mut case = Case::new();
    case.partition(2, "/", "xvda", &["vfat", "ext4"]);
    case.facts.images[0].root =
        Some(autoxen::facts::RootFacts { boot: names(&["vmlinuz-6.1.0"]), ..Default::default() });
    case.facts.images[0].has_journal = true;
    case.options.in_place = true;
    case
}

/// `vdev guard` of each disk; each that is an image is used where it lies.
fn guards(case: &Case) -> Vec<String> {
    let plan = case.plan();
    let shown = plan.disks.iter().map(|disk| {
        let guard = match &disk.guard {
            None => "-".to_owned(),
            Some(Guard::Journal) => "journal".to_owned(),
            Some(Guard::Undo(file)) => format!("undo {}", file.display()),
        };
        let file = disk.file.as_ref().map(|file| format!(" {file}")).unwrap_or_default();
        format!("{}{file} {guard}", disk.vdev)
    });
    shown.collect()
}

#[test]
fn one_file_system_with_a_journal_is_edited_through_it() {
    let case = root();
    assert_eq!(guards(&case), ["xvda journal"]);
    assert!(case.config().contains("vdev=xvda,access=rw,target=/stock/xvda.img"));
    assert_eq!(guards(&partitions()), ["xvda journal"]);
}

#[test]
fn without_a_journal_an_undo_file_does_it() {
    let mut case = root();
    case.facts.images[0].has_journal = false;
    assert_eq!(guards(&case), ["xvda undo /stock/xvda.img.autoxen-undo"]);
}

#[test]
fn two_file_systems_of_one_image_get_one_undo_file() {
    let mut case = partitions();
    let boot = case.partition(1, "/boot", "xvda", &["vfat", "ext4"]);
    case.facts.images[boot].boot = names(&["vmlinuz-6.1.0"]);
    assert_eq!(guards(&case), ["xvda journal"]);
    case.document.images[boot].files =
        vec![file("/note", FileContent::Text("hello".into()), other_span(boot))];
    assert_eq!(guards(&case), ["xvda undo /stock/disk.img.autoxen-undo"]);
}

#[test]
fn what_needs_no_edit_is_used_where_it_lies_and_what_is_new_is_made() {
    let mut case = root();
    case.image("ext4", "/data", "xvdb");
    case.blank("swap", "none", "xvdc", 1 << 20);
    assert_eq!(guards(&case), ["xvda journal", "xvdb -", "xvdc xvdc.img -"]);
    assert!(case.config().contains("vdev=xvdb,access=rw,target=/stock/xvdb.img"));
}

#[test]
fn what_the_guest_only_reads_is_edited_by_us() {
    let mut case = root();
    case.document.images[0].read_only = true;
    assert_eq!(guards(&case), ["xvda journal"]);
    assert!(case.config().contains("vdev=xvda,access=ro,target=/stock/xvda.img"));
}

#[test]
fn one_image_behind_two_disks_is_refused_unless_it_is_only_read() {
    let mut case = root();
    let first = case.image("ext4", "/data", "xvdb");
    let second = case.image("ext4", "/more", "xvdc");
    case.facts.images[second].path = case.facts.images[first].path.clone();
    let errors = case.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].message, "xvdb and xvdc are both `/stock/xvdb.img` itself");
    assert_eq!(errors[0].span, url_span(second));
    assert!(errors[0].hint.as_ref().unwrap().starts_with("leave out --in-place"), "{errors:?}");
    case.document.images[first].read_only = true;
    assert_eq!(case.errors().len(), 1, "the other may still be written to");
    case.document.images[second].read_only = true;
    assert_eq!(guards(&case), ["xvda journal", "xvdb -", "xvdc -"]);
    case.document.images[first].files =
        vec![file("/note", FileContent::Text("hello".into()), other_span(first))];
    assert_eq!(case.errors().len(), 1, "we would write to it");
    case.options.in_place = false;
    assert_eq!(case.plan().disks.len(), 3);
}

#[test]
fn several_images_are_said_to_be_edited_one_after_another() {
    let mut case = root();
    assert_eq!(case.plan().notes.len(), 1, "that of the kernel");
    let data = case.image("ext4", "/data", "xvdb");
    case.document.images[data].files =
        vec![file("/note", FileContent::Text("hello".into()), other_span(data))];
    assert_eq!(
        case.plan().notes[1],
        "2 images are edited one after another, each whole or not at all; after an interruption the same command \
         finishes the work"
    );
}

#[test]
fn a_digest_that_will_not_fit_any_more_is_said() {
    let mut case = root();
    case.document.images[0].sha256 = Some(spanned("0".repeat(64), other_span(0)));
    assert_eq!(
        case.plan().notes[1],
        "`/stock/xvda.img` is another file once it is edited: its sha256 in the job description will not fit any more"
    );
    case.options.in_place = false;
    assert_eq!(case.plan().notes.len(), 1);
}

#[test]
fn a_path_that_xl_cannot_be_told_is_refused() {
    let mut case = root();
    case.facts.images[0].path = Some(PathBuf::from("/stock/a\nb.img"));
    assert_eq!(case.errors()[0].span, url_span(0));
}

#[test]
fn people_and_programs_are_told_how() {
    let mut case = root();
    let shown = |case: &Case| {
        let plan = case.plan();
        let text = text::render(&plan, &case.document, &case.facts);
        let line = text.lines().find(|line| line.starts_with("disk ")).unwrap().to_owned();
        let json = json::render(&plan, &case.document, &case.facts);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        (line, json["disks"][0].clone())
    };
    let (line, disk) = shown(&case);
    let said = "disk xvda: /stock/xvda.img itself, edited where it lies, through its journal";
    assert_eq!(line, said);
    assert_eq!(disk["guard"], "journal");
    assert!(disk["file"].is_null());
    case.facts.images[0].has_journal = false;
    let (line, disk) = shown(&case);
    assert_eq!(
        line,
        "disk xvda: /stock/xvda.img itself, edited where it lies, with the undo file xvda.img.autoxen-undo beside it meanwhile"
    );
    assert_eq!(disk["guard"]["undo"], "/stock/xvda.img.autoxen-undo");
    case.options.in_place = false;
    let (line, disk) = shown(&case);
    assert_eq!(line, "disk xvda: a copy of /stock/xvda.img, as xvda.img");
    assert!(disk.get("guard").is_none());
}
