//! What a root image needs to become a guest of this document: the mount points, its name, keys, fstab.

use super::extra::Extra;
use super::known::Known;
use super::volume::Held;
use super::{Action, Content, Edit, mounts};
use crate::diagnostic::Diagnostic;
use crate::facts::RootFacts;
use crate::guest::{fstab, hostname, keys, script};
use crate::xmf::model::{Document, ImageFile, MountPoint};

const FSTAB: &str = "/etc/fstab";
const HOSTNAME: &str = "/etc/hostname";
const SYSCONFIG_NETWORK: &str = "/etc/sysconfig/network";
const SUSE_HOSTNAME: &str = "/etc/HOSTNAME";
const SSH: &str = "/root/.ssh";
const AUTHORIZED_KEYS: &str = "/root/.ssh/authorized_keys";

/// The edits of the root image that no `file` element asks for; `run` are those that make it run the jobs.
pub(super) fn edits(
    known: &Known<'_>,
    extra: &Extra<'_>,
    run: Vec<Edit>,
) -> Result<Vec<Edit>, Vec<Diagnostic>> {
    let Known { document, root, .. } = *known;
    let image = &document.images[root];
    let Some(stock) = &known.facts.images[root].root else {
        let text = format!("a root in {} cannot be edited", known.held[root].filesystem);
        return Err(vec![
            Diagnostic::error(image.filesystem.span.clone(), text)
                .hint("ext2, ext3 and ext4 images can be prepared"),
        ]);
    };
    let mut errors = hiding_mounts(document, root, !image.authorized_keys.is_empty());
    let mut edits = Vec::new();
    edits.extend(name_edits(image, stock, &mut errors));
    edits.extend(key_edits(image, stock, &mut errors));
    match fstab_edit(known, extra, stock) {
        Ok(edit) => edits.extend(edit),
        Err(more) => errors.extend(more),
    }
    edits.extend(run);
    for edit in &edits {
        if let Some(file) = image.files.iter().find(|file| file.path.value == edit.path) {
            let text = format!(
                "`{}` is written by the tool itself: {}",
                edit.path,
                edit.reason.lines().next().unwrap_or("")
            );
            errors.push(
                Diagnostic::error(file.path.span.clone(), text).hint("leave this `file` out"),
            );
        }
    }
    if errors.is_empty() { Ok(edits) } else { Err(errors) }
}

/// The directories on which images are mounted, by the index of the image that they lie in.
pub(super) fn mount_points(known: &Known<'_>, notes: &mut Vec<String>) -> Vec<(usize, Edit)> {
    let Known { document, facts, held, .. } = *known;
    let mut edits = Vec::new();
    for image in &document.images {
        let MountPoint::Path(path) = &image.mountpoint.value else { continue };
        let Some((parent, _)) = path.rsplit_once('/').filter(|_| path != "/") else { continue };
        let parent = if parent.is_empty() { "/" } else { parent };
        let (holder, parent) = mounts::locate(document, parent);
        let name = &path[path.rfind('/').map_or(0, |slash| slash.saturating_add(1))..];
        let inside = format!("{}/{name}", parent.trim_end_matches('/'));
        let is_there = facts.images[holder].directories.contains(&inside)
            || document.images[holder].files.iter().any(|file| file.path.value == inside);
        if is_there {
            continue;
        }
        if !held[holder].is_editable() {
            notes.push(format!(
                "the {} image has to have the directory {inside}",
                held[holder].filesystem
            ));
            continue;
        }
        let action = Action::CreateDir { mode: None, owner: None };
        edits.push((
            holder,
            Edit { path: inside, action, reason: format!("an image is mounted at {path}") },
        ));
    }
    edits
}

/// Other images must not be mounted over what the guest reads before, or what its runner looks for.
fn hiding_mounts(document: &Document, root: usize, has_keys: bool) -> Vec<Diagnostic> {
    let needed =
        [FSTAB, script::DIRECTORY, script::WRAPPED].into_iter().chain(has_keys.then_some(SSH));
    let mut errors: Vec<Diagnostic> = Vec::new();
    for path in needed {
        let Some(top) = mounts::hidden_by(document, root, path) else { continue };
        let over = |image: &&ImageFile| matches!(&image.mountpoint.value, MountPoint::Path(path) if path == top);
        let Some(image) = document.images.iter().find(over) else { continue };
        errors.push(Diagnostic::error(
            image.mountpoint.span.clone(),
            format!("an image at `{top}` hides `{path}` of the root image"),
        ));
    }
    errors
}

fn name_edits(image: &ImageFile, stock: &RootFacts, errors: &mut Vec<Diagnostic>) -> Vec<Edit> {
    let Some(name) = &image.hostname else { return Vec::new() };
    if !hostname::is_valid(name) {
        let text = format!("not the name of a host: `{}`", name.value.escape_debug());
        errors.push(Diagnostic::error(name.span.clone(), text));
        return Vec::new();
    }
    let line = format!("{}\n", name.value).into_bytes();
    let mut edits = Vec::new();
    if stock.hostname.as_ref() != Some(&line) {
        edits.push(write(HOSTNAME, line.clone(), None, "the document names the host"));
    }
    if let Some(old) = &stock.sysconfig_network
        && let Some(new) = hostname::in_sysconfig(old, name).filter(|new| new != old)
    {
        edits.push(write(SYSCONFIG_NETWORK, new, None, "Red Hat keeps the host's name here"));
    }
    if stock.suse_hostname.as_ref().is_some_and(|old| *old != line) {
        edits.push(write(SUSE_HOSTNAME, line, None, "SuSE keeps the host's name here"));
    }
    edits
}

fn key_edits(image: &ImageFile, stock: &RootFacts, errors: &mut Vec<Diagnostic>) -> Vec<Edit> {
    for key in &image.authorized_keys {
        if !keys::is_valid(key) {
            errors.push(Diagnostic::error(key.span.clone(), "a key for ssh is one line"));
        }
    }
    let old = stock.authorized_keys.as_deref().unwrap_or(b"");
    let Some(text) =
        keys::with_keys(old, image.authorized_keys.iter().map(|key| key.value.as_str()))
    else {
        return Vec::new();
    };
    let reason = "the document lets these keys in";
    if stock.authorized_keys.is_some() {
        return vec![write(AUTHORIZED_KEYS, text, None, reason)];
    }
    // sshd ignores keys that others could have written.
    let directory = Action::CreateDir { mode: Some(0o700), owner: Some((0, 0)) };
    vec![
        Edit { path: SSH.into(), action: directory, reason: "sshd looks for keys here".into() },
        write(AUTHORIZED_KEYS, text, Some((0o600, (0, 0))), reason),
    ]
}

fn fstab_edit(
    known: &Known<'_>,
    extra: &Extra<'_>,
    stock: &RootFacts,
) -> Result<Option<Edit>, Vec<Diagnostic>> {
    let Known { document, held, layout, root, .. } = *known;
    let mut entries = Vec::new();
    let mut errors = Vec::new();
    for (index, image) in document.images.iter().enumerate() {
        let entry = entry(image, &held[index], &layout.slots[index].source, index == root);
        if let Some(fault) = entry.fault() {
            errors.push(Diagnostic::error(image.span.clone(), fault));
        }
        entries.push(entry);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let old = stock.fstab.as_deref().unwrap_or(b"");
    entries.extend(extra.entries.iter().cloned());
    let devices: Vec<_> = layout.devices.iter().chain(&extra.devices).cloned().collect();
    let edited = fstab::edit(old, &devices, &entries);
    if stock.fstab.as_ref() == Some(&edited.text) {
        return Ok(None);
    }
    let mut reason = "the guest mounts the disks of this domain".to_owned();
    for change in &edited.changes {
        let line = change.line.map(|line| format!("line {line} ")).unwrap_or_default();
        reason.push_str(&format!("\n{line}{}", change.reason));
    }
    Ok(Some(write(FSTAB, edited.text, None, &reason)))
}

/// The line of fstab for one image.
fn entry(image: &ImageFile, held: &Held, source: &str, is_root: bool) -> fstab::Entry {
    let written =
        image.options.as_ref().map(|options| options.value.trim()).filter(|text| !text.is_empty());
    let mut options = written.unwrap_or("defaults").to_owned();
    let is = |options: &str, word: &str| options.split(',').any(|option| option == word);
    if image.read_only && !is(&options, "ro") {
        options = if written.is_none() { "ro".into() } else { format!("{options},ro") };
    }
    // Only ext needs a check at boot, and not where nothing can be mended. A checker that the guest lacks (that of vfat,
    // mostly) would stop its boot.
    let passno = match (held.is_ext() && !is(&options, "ro"), is_root) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => 2,
    };
    let target = match &image.mountpoint.value {
        MountPoint::Path(path) => path.as_str(),
        MountPoint::None => "none",
    };
    fstab::Entry {
        source: source.into(),
        target: target.into(),
        fstype: image.filesystem.value.as_str().into(),
        options: options.into_bytes(),
        freq: 0,
        passno,
    }
}

/// An edit that writes a file; `access` is mode and owner, kept as they are without it.
pub(super) fn write(
    path: &str,
    bytes: Vec<u8>,
    access: Option<(u32, (u32, u32))>,
    reason: &str,
) -> Edit {
    Edit {
        path: path.to_owned(),
        action: Action::Write {
            content: Content::Bytes(bytes),
            mode: access.map(|(mode, _)| mode),
            owner: access.map(|(_, owner)| owner),
        },
        reason: reason.to_owned(),
    }
}
