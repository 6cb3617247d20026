//! `file`: what is put into an image.

use super::Checker;
use super::value::{self, Bad};
use crate::xmf::model::{FileContent, FileEntry};
use crate::xmf::xml::{Element, chars};

/// What `prepare` itself writes into the root image.
const OWN: [(&str, Option<&str>); 3] = [
    ("/etc/fstab", None),
    ("/etc/hostname", Some("hostname")),
    ("/root/.ssh/authorized_keys", Some("authorizedkey")),
];

impl Checker<'_> {
    pub(super) fn files(&mut self, image: &Element, root: bool) -> Vec<FileEntry> {
        let mut files: Vec<FileEntry> = Vec::new();
        for element in image.named("file") {
            let Some(file) = self.file(element) else { continue };
            self.paths_go_together(&file, &files);
            for (path, element) in OWN {
                let written = element.is_none_or(|element| image.child(element).is_some());
                if root && written && file.path.value == path {
                    let bad = Bad::new(format!("`{path}` is written by `prepare` itself"));
                    self.refuse(file.path.span.clone(), "path", bad);
                }
            }
            files.push(file);
        }
        files
    }

    fn file(&mut self, element: &Element) -> Option<FileEntry> {
        let path = self.attribute(element, "path", |path| match path {
            "/" => Err(Bad::new("`/` is there already").expected("a path below `/`")),
            path => value::absolute_path(path),
        });
        let mode = self.attribute(element, "mode", value::mode).map(|mode| mode.value);
        let owner = self.attribute(element, "owner", value::owner).map(|owner| owner.value);
        let kind = element.attribute("type").map_or("file", |kind| chars::trim(&kind.value));
        let content = match kind {
            "file" => self.file_content(element),
            "directory" => {
                self.none_of(element, "a directory", &["source", "target"], true);
                Some(FileContent::Directory)
            }
            "symlink" => self.symlink(element),
            // Reported by the schema.
            _ => None,
        };
        Some(FileEntry {
            span: element.start_tag.clone(),
            path: path?,
            content: content?,
            mode,
            owner,
        })
    }

    fn file_content(&mut self, element: &Element) -> Option<FileContent> {
        self.none_of(element, "a file", &["target"], false);
        if element.attribute("source").is_none() {
            return Some(FileContent::Text(element.text()));
        }
        let source = self.attribute(element, "source", value::host_path);
        if !chars::trim(&element.text()).is_empty() {
            let message = "`file` has a `source` and text: one of them is its content";
            self.error(element.value_span(self.source), message);
        }
        source.map(FileContent::Host)
    }

    fn symlink(&mut self, element: &Element) -> Option<FileContent> {
        self.none_of(element, "a symlink", &["source", "mode", "owner"], true);
        if element.attribute("target").is_none() {
            let message = "a symlink needs the attribute `target`";
            self.error(element.start_tag.clone(), message);
            return None;
        }
        let target = self.attribute(element, "target", value::host_path)?;
        Some(FileContent::Symlink(target.value))
    }

    /// Refuse attributes, and text, that mean nothing for this type of file.
    fn none_of(&mut self, element: &Element, kind: &str, attributes: &[&str], text: bool) {
        for name in attributes {
            if let Some(attribute) = element.attribute(name) {
                self.error(attribute.name.span.clone(), format!("{kind} has no `{name}`"));
            }
        }
        if text && !chars::trim(&element.text()).is_empty() {
            self.error(element.value_span(self.source), format!("{kind} holds no text"));
        }
    }

    fn paths_go_together(&mut self, file: &FileEntry, others: &[FileEntry]) {
        let plain =
            |file: &FileEntry| matches!(file.content, FileContent::Text(_) | FileContent::Host(_));
        let below = |outer: &FileEntry, inner: &FileEntry| {
            let rest = inner.path.value.strip_prefix(outer.path.value.as_str());
            plain(outer) && rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let path = &file.path.value;
        for other in others {
            let message = if other.path.value == *path {
                format!("`{path}` is here twice")
            } else if below(other, file) || below(file, other) {
                format!("`{path}` and `{}`: a file cannot be a directory", other.path.value)
            } else {
                continue;
            };
            return self.refuse(file.path.span.clone(), "path", Bad::new(message));
        }
    }
}
