//! A plan for programs: the same content as [`super::text`], as JSON.
//!
//! ```json
//! {"domain":{"name":"fit","guest_type":"pv",…},"config":"name = \"fit\"\n…","notes":[],
//!  "disks":[{"vdev":"xvda1","read_only":false,"file":"xvda1.img","source":{"image":"/srv/root.img"},
//!    "volumes":[{"partition":null,"edits":[{"path":"/etc/fstab","action":"write","mode":null,"owner":null,
//!      "content":{"text":"…"},"diff":"--- old\n…","reasons":["…"]}]}]}],
//!  "boot_files":[{"file":"vmlinuz","from":{"host":"/boot/vmlinuz"}}]}
//! ```
//!
//! With `--in-place`, `file` is `null`, and an image that is edited has `"guard": "journal"` or
//! `"guard": {"undo": "/srv/root.img.autoxen-undo"}`.
//!
//! Bytes that are not UTF-8 stand as `{"hex": "…"}`. Modes are octal text, as chmod(1) takes them. In `config`,
//! `/BUNDLE` stands for the bundle's directory.

use serde::Serialize;

use super::{Action, BootSource, Content, Disk, Edit, Format, Guard, Plan, Source, Staged, text};
use crate::domain::xl;
use crate::facts::Facts;
use crate::xmf::model::Document;

/// The plan as JSON, in several lines.
pub fn render(plan: &Plan, document: &Document, facts: &Facts) -> String {
    let shown = ShownPlan {
        domain: &plan.domain,
        config: text::configuration(plan),
        notes: &plan.notes,
        disks: plan.disks.iter().map(|disk| shown_disk(disk, document, facts)).collect(),
        boot_files: plan
            .boot_files
            .iter()
            .map(|boot| ShownBootFile {
                file: boot.file.as_str(),
                from: shown_source(&boot.from, plan),
            })
            .collect(),
    };
    serde_json::to_string_pretty(&shown).expect("strings, numbers and lists always serialise")
}

#[derive(Serialize)]
struct ShownPlan<'a> {
    domain: &'a xl::Domain,
    config: String,
    notes: &'a [String],
    disks: Vec<ShownDisk<'a>>,
    boot_files: Vec<ShownBootFile<'a>>,
}

#[derive(Serialize)]
struct ShownDisk<'a> {
    vdev: &'a str,
    read_only: bool,
    /// `null` for a stock image that is used where it lies.
    file: Option<&'a str>,
    /// For one that is edited there.
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<ShownGuard>,
    source: ShownDiskSource<'a>,
    volumes: Vec<ShownVolume<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ShownGuard {
    Journal,
    Undo(String),
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ShownDiskSource<'a> {
    Image(String),
    Swap { len: u64, uuid: String, label: Option<&'a str> },
    Vfat { len: u64, volume_id: String, label: Option<&'a str> },
    Ext { len: u64, uuid: String, label: &'a str },
    Inputs { uuid: String, staged: Vec<ShownStaged<'a>> },
}

#[derive(Serialize)]
struct ShownStaged<'a> {
    path: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
}

#[derive(Serialize)]
struct ShownVolume<'a> {
    partition: Option<u32>,
    edits: Vec<ShownEdit<'a>>,
}

#[derive(Serialize)]
struct ShownEdit<'a> {
    path: &'a str,
    action: &'static str,
    mode: Option<String>,
    owner: Option<(u32, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<ShownContent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
    reasons: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ShownContent<'a> {
    Text(&'a str),
    Hex(String),
    Host(String),
}

#[derive(Serialize)]
struct ShownBootFile<'a> {
    file: &'a str,
    from: ShownBootSource<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ShownBootSource<'a> {
    Host(String),
    Image { vdev: &'a str, partition: Option<u32>, path: &'a str },
}

fn shown_disk<'a>(disk: &'a Disk, document: &Document, facts: &Facts) -> ShownDisk<'a> {
    let source = match &disk.source {
        Source::Image(path) => ShownDiskSource::Image(path.display().to_string()),
        Source::Blank { len, format: Format::Swap { uuid, label } } => {
            ShownDiskSource::Swap { len: *len, uuid: uuid.to_string(), label: label.as_deref() }
        }
        Source::Blank { len, format: Format::Vfat { volume_id, label } } => ShownDiskSource::Vfat {
            len: *len,
            volume_id: format!("{volume_id:08x}"),
            label: label.as_deref(),
        },
        Source::Blank { len, format: Format::Ext { uuid, label, .. } } => {
            ShownDiskSource::Ext { len: *len, uuid: uuid.to_string(), label }
        }
        Source::Inputs { uuid, staged, .. } => ShownDiskSource::Inputs {
            uuid: uuid.to_string(),
            staged: staged.iter().map(shown_staged).collect(),
        },
    };
    let volumes = disk.edits.iter().map(|volume| ShownVolume {
        partition: volume.partition,
        edits: volume
            .edits
            .iter()
            .map(|edit| shown_edit(edit, text::diff(edit, disk, volume.partition, document, facts)))
            .collect(),
    });
    let guard = disk.guard.as_ref().map(|guard| match guard {
        Guard::Journal => ShownGuard::Journal,
        Guard::Undo(file) => ShownGuard::Undo(file.display().to_string()),
    });
    ShownDisk {
        guard,
        vdev: disk.vdev.as_str(),
        read_only: disk.read_only,
        file: disk.file.as_ref().map(|file| file.as_str()),
        source,
        volumes: volumes.collect(),
    }
}

fn shown_staged(staged: &Staged) -> ShownStaged<'_> {
    ShownStaged {
        path: &staged.path,
        source: staged.source.display().to_string(),
        kind: staged.kind.word(),
        sha256: staged.sha256.as_deref(),
    }
}

fn shown_edit(edit: &Edit, diff: Option<String>) -> ShownEdit<'_> {
    let (action, mode, owner, content, target) = match &edit.action {
        Action::Write { content, mode, owner } => {
            ("write", *mode, *owner, Some(shown_content(content)), None)
        }
        Action::CreateDir { mode, owner } => ("create_dir", *mode, *owner, None, None),
        Action::Symlink { target } => ("symlink", None, None, None, Some(target.as_str())),
        Action::Stage(staged) => {
            let content = ShownContent::Host(staged.source.display().to_string());
            (staged.action(), None, None, Some(content), None)
        }
    };
    let mode = mode.map(|mode| format!("{mode:04o}"));
    ShownEdit {
        path: &edit.path,
        action,
        mode,
        owner,
        content,
        target,
        diff,
        reasons: edit.reason.lines().collect(),
    }
}

fn shown_content(content: &Content) -> ShownContent<'_> {
    match content {
        Content::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => ShownContent::Text(text),
            Err(_) => ShownContent::Hex(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        },
        Content::Host(path) => ShownContent::Host(path.display().to_string()),
    }
}

fn shown_source<'a>(from: &'a BootSource, plan: &'a Plan) -> ShownBootSource<'a> {
    match from {
        BootSource::Host(path) => ShownBootSource::Host(path.display().to_string()),
        BootSource::Image { disk, partition, path } => ShownBootSource::Image {
            vdev: plan.disks.get(*disk).map_or("", |disk| disk.vdev.as_str()),
            partition: *partition,
            path,
        },
    }
}
