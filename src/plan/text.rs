//! A plan for people.
//!
//! ```text
//! domain night-fit: pv, 256 MiB, 1 vcpu
//! note: the kernel is the newest of the image: vmlinuz-6.1.0-18-amd64
//!
//! disk xvda1: a copy of /srv/images/root.img, as xvda1.img
//!   write /etc/fstab: the guest mounts the disks of this domain
//!     line 2 commented out, because /dev/sda1 is not attached to this domain
//!     --- old
//!     +++ new
//!     …
//!   write /etc/xenjobs.d/10-fit (mode 0755, owner 0:0): the job `fit`
//!     | #!/bin/sh
//!     …
//! kernel: /boot/vmlinuz-6.1.0-18-amd64 of xvda1, as vmlinuz-6.1.0-18-amd64
//!
//! domain.cfg (BUNDLE is the bundle's directory):
//!   name = "night-fit"
//!   …
//! ```
//!
//! What images and documents hold may reach the terminal through here, so what steers it or hides is shown escaped.

use std::path::Path;

use super::{Action, BootSource, Content, Disk, Edit, Format, Guard, Plan, Source};
use crate::domain::xl::DiskFormat;
use crate::facts::Facts;
use crate::guest::{nocloud, runner};
use crate::visible::visible;
use crate::xmf::model::{Document, GuestType, MountPoint};

/// The directory in the configuration that a plan shows.
const BUNDLE: &str = "/BUNDLE";

/// The plan as text, each line with its newline.
pub fn render(plan: &Plan, document: &Document, facts: &Facts) -> String {
    let mut out = Lines(String::new());
    let parts = plan.domain.parts();
    let guest_type = match parts.guest_type {
        GuestType::Pv => "pv",
        GuestType::Pvh => "pvh",
        GuestType::Hvm => "hvm",
    };
    let plural = if parts.vcpus.get() == 1 { "" } else { "s" };
    out.line(
        0,
        &format!(
            "domain {}: {guest_type}, {} MiB, {} vcpu{plural}",
            parts.name, parts.memory_mib, parts.vcpus
        ),
    );
    for note in &plan.notes {
        out.line(0, &format!("note: {note}"));
    }
    for disk in &plan.disks {
        out.line(0, "");
        out.disk(disk, document, facts);
    }
    let mut names = ["kernel", "ramdisk"].into_iter();
    for boot in &plan.boot_files {
        let name = names.next().unwrap_or("boot file");
        let from = match &boot.from {
            BootSource::Host(path) => path.display().to_string(),
            BootSource::Image { disk, partition, path } => {
                let vdev = plan.disks.get(*disk).map_or("", |disk| disk.vdev.as_str());
                let nr = partition.map(|nr| nr.to_string()).unwrap_or_default();
                format!("{path} of {vdev}{nr}")
            }
        };
        out.line(0, &format!("{name}: {from}, as {}", boot.file));
    }
    out.line(0, "");
    out.line(0, "domain.cfg (BUNDLE is the bundle's directory):");
    out.block(2, "", &configuration(plan));
    out.0
}

/// The configuration with a stand-in for the bundle's directory.
pub(super) fn configuration(plan: &Plan) -> String {
    let config = plan.domain.in_directory(Path::new(BUNDLE));
    config.expect("the stand-in is a path that xl can be told").to_string()
}

/// What stands now at the place of an edit, where the facts have it.
fn old_bytes<'a>(
    edit: &Edit,
    disk: &Disk,
    partition: Option<u32>,
    document: &Document,
    facts: &'a Facts,
) -> Option<&'a [u8]> {
    let root = disk.images.iter().copied().find(|&index| {
        let image = &document.images[index];
        facts.images[index].partition(image) == partition
            && image.mountpoint.value == MountPoint::Path("/".into())
    })?;
    let root = facts.images[root].root.as_ref()?;
    match edit.path.as_str() {
        "/etc/fstab" => root.fstab.as_deref(),
        "/etc/hostname" => root.hostname.as_deref(),
        "/etc/sysconfig/network" => root.sysconfig_network.as_deref(),
        "/etc/HOSTNAME" => root.suse_hostname.as_deref(),
        "/root/.ssh/authorized_keys" => root.authorized_keys.as_deref(),
        _ => None,
    }
}

/// What changes in a file, as a unified diff; `None` where the old content is not known.
pub(super) fn diff(
    edit: &Edit,
    disk: &Disk,
    partition: Option<u32>,
    document: &Document,
    facts: &Facts,
) -> Option<String> {
    let Action::Write { content: Content::Bytes(new), .. } = &edit.action else { return None };
    let old = String::from_utf8_lossy(old_bytes(edit, disk, partition, document, facts)?);
    let new = String::from_utf8_lossy(new);
    let diff = similar::TextDiff::from_lines(old.as_ref(), new.as_ref());
    Some(diff.unified_diff().context_radius(3).header("old", "new").to_string())
}

/// How an image is edited where it lies.
fn guarded(guard: Option<&Guard>) -> String {
    match guard {
        None => String::new(),
        Some(Guard::Journal) => ", edited where it lies, through its journal".into(),
        Some(Guard::Undo(file)) => {
            let name = file.file_name().unwrap_or_default().display();
            format!(", edited where it lies, with the undo file {name} beside it meanwhile")
        }
    }
}

/// Whether a file is, or carries, the runner: the same for every job, and long.
fn is_ours(bytes: &[u8]) -> bool {
    bytes == runner::TEXT.as_bytes() || bytes.starts_with(nocloud::HEAD.as_bytes())
}

struct Lines(String);

impl Lines {
    fn line(&mut self, indent: usize, text: &str) {
        if !text.is_empty() {
            self.0.extend(std::iter::repeat_n(' ', indent));
        }
        let mut pieces = text.split('\t');
        self.0.push_str(&visible(pieces.next().unwrap_or_default()));
        for piece in pieces {
            self.0.push('\t');
            self.0.push_str(&visible(piece));
        }
        self.0.push('\n');
    }

    fn block(&mut self, indent: usize, mark: &str, text: &str) {
        for line in text.lines() {
            self.line(
                indent,
                format!("{mark}{line}").trim_end_matches(if line.is_empty() { " " } else { "" }),
            );
        }
    }

    fn disk(&mut self, disk: &Disk, document: &Document, facts: &Facts) {
        let access = if disk.read_only { " (read-only)" } else { "" };
        let source = match &disk.source {
            Source::Image(path) if disk.file.is_none() => {
                format!("{} itself{}", path.display(), guarded(disk.guard.as_ref()))
            }
            Source::Image(path) if disk.format == DiskFormat::Qcow2 => {
                format!("an overlay of {}", path.display())
            }
            Source::Image(path) => format!("a copy of {}", path.display()),
            Source::Blank { len, format: Format::Swap { .. } } => {
                format!("a new swap space of {len} bytes")
            }
            Source::Blank { len, format: Format::Vfat { .. } } => {
                format!("a new vfat of {len} bytes")
            }
            Source::Blank { len, format: Format::Ext { label, .. } } => {
                format!("a new ext3 of {len} bytes, labelled {label}")
            }
            Source::Inputs { .. } => "a new ext3 with inputs".into(),
        };
        let file = disk.file.as_ref().map(|file| format!(", as {file}")).unwrap_or_default();
        self.line(0, &format!("disk {}{access}: {source}{file}", disk.vdev));
        if let Source::Inputs { staged, .. } = &disk.source {
            for one in staged {
                let (path, source) = (&one.path, one.source.display());
                self.line(2, &format!("{path}: the {} {source}", one.kind.word()));
            }
        }
        for volume in &disk.edits {
            let indent = if let Some(nr) = volume.partition {
                self.line(2, &format!("partition {nr}"));
                4
            } else {
                2
            };
            for edit in &volume.edits {
                let diff = diff(edit, disk, volume.partition, document, facts);
                self.edit(indent, edit, diff);
            }
        }
    }

    fn edit(&mut self, indent: usize, edit: &Edit, diff: Option<String>) {
        let (verb, mode, owner) = match &edit.action {
            Action::Write { mode, owner, .. } => ("write", *mode, *owner),
            Action::CreateDir { mode, owner } => ("create the directory", *mode, *owner),
            Action::Symlink { .. } => ("link", None, None),
            Action::Stage(staged) => (staged.verb(), None, None),
        };
        let access = [
            mode.map(|mode| format!("mode {mode:04o}")),
            owner.map(|(user, group)| format!("owner {user}:{group}")),
        ];
        let access = access.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let access = if access.is_empty() { access } else { format!(" ({access})") };
        let target = match &edit.action {
            Action::Symlink { target } => format!(" to {target}"),
            _ => String::new(),
        };
        let mut reasons = edit.reason.lines();
        let first = reasons.next().unwrap_or("");
        self.line(indent, &format!("{verb} {}{target}{access}: {first}", edit.path));
        let indent = indent.saturating_add(2);
        for reason in reasons {
            self.line(indent, reason);
        }
        match (&edit.action, diff) {
            (Action::Write { .. }, Some(diff)) => self.block(indent, "", &diff),
            (Action::Write { content: Content::Bytes(bytes), .. }, None) if is_ours(bytes) => {
                self.line(indent, &format!("{} bytes, in `plan --json`", bytes.len()));
            }
            (Action::Write { content: Content::Bytes(bytes), .. }, None) => {
                self.block(indent, "| ", &String::from_utf8_lossy(bytes));
            }
            (Action::Write { content: Content::Host(path), .. }, None) => {
                self.line(indent, &format!("the content of {}", path.display()));
            }
            (Action::Stage(staged), _) => {
                self.line(indent, &format!("from {}", staged.source.display()));
            }
            (Action::CreateDir { .. } | Action::Symlink { .. }, _) => {}
        }
    }
}
