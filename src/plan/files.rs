//! `file` elements: what the document puts into an image.

use super::known::Known;
use super::volume::Held;
use super::{Action, Content, Edit, mounts};
use crate::diagnostic::Diagnostic;
use crate::facts::Facts;
use crate::xmf::model::{FileContent, FileEntry};

/// The edits for the `file` elements of one image, in the order of the document.
pub(super) fn edits(
    known: &Known<'_>,
    index: usize,
    notes: &mut Vec<String>,
) -> Result<Vec<Edit>, Vec<Diagnostic>> {
    let Known { document, facts, held, .. } = *known;
    let image = &document.images[index];
    let mut edits: Vec<Edit> = Vec::new();
    let mut errors = Vec::new();
    for file in &image.files {
        if edits.iter().any(|edit| edit.path == file.path.value) {
            let text = format!("`{}` is written twice", file.path.value);
            errors.push(Diagnostic::error(file.path.span.clone(), text));
            continue;
        }
        match action(file, facts, &held[index]) {
            Ok(action) => {
                let path = file.path.value.clone();
                if let Some(top) = mounts::hidden_by(document, index, &path) {
                    notes.push(format!(
                        "the guest does not see `{path}`: another image is mounted at {top}"
                    ));
                }
                edits.push(Edit { path, action, reason: "the document puts it there".into() });
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(edits) } else { Err(errors) }
}

fn action(file: &FileEntry, facts: &Facts, held: &Held) -> Result<Action, Diagnostic> {
    let span = file.path.span.clone();
    if !held.is_editable() {
        return Err(Diagnostic::error(
            span,
            format!("no file can be put into {}", held.filesystem),
        )
        .hint("ext2, ext3, ext4 and vfat images can be written to"));
    }
    if held.is_fat() {
        fat_takes(file)?;
    }
    let content = match &file.content {
        FileContent::Text(text) => Content::Bytes(text.clone().into_bytes()),
        FileContent::Host(source) => {
            let found = facts.host_files.iter().find(|host| host.name == source.value);
            let Some(host) = found else {
                let text = format!("no such file on this host: {}", source.value);
                return Err(Diagnostic::error(source.span.clone(), text));
            };
            Content::Host(host.path.clone())
        }
        FileContent::Directory => {
            return Ok(Action::CreateDir { mode: file.mode, owner: file.owner });
        }
        FileContent::Symlink(target) => return Ok(Action::Symlink { target: target.clone() }),
    };
    Ok(Action::Write { content, mode: file.mode, owner: file.owner })
}

/// FAT has files and directories, with neither mode nor owner, and names without some signs.
fn fat_takes(file: &FileEntry) -> Result<(), Diagnostic> {
    let span = file.path.span.clone();
    if matches!(file.content, FileContent::Symlink(_)) {
        return Err(Diagnostic::error(span, "FAT has no symbolic links"));
    }
    if file.mode.is_some() || file.owner.is_some() {
        return Err(Diagnostic::error(span, "FAT keeps neither mode nor owner")
            .hint("the `options` of the mount set them for all files: `uid=0,gid=0,umask=022`"));
    }
    let bad = |c: char| c.is_control() || "\"*:<>?|\\".contains(c);
    if let Some(c) = file.path.chars().find(|c| bad(*c)) {
        return Err(Diagnostic::error(
            span,
            format!("FAT has no `{}` in a name", c.escape_debug()),
        ));
    }
    Ok(())
}
