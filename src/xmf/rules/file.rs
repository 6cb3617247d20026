//! `file`: what is put into an image.

use std::collections::BTreeMap;

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
        let mut files = Vec::new();
        // By path, whether it is a plain file. A map: a stranger's list may be long.
        let mut paths = BTreeMap::new();
        for element in image.named("file") {
            let Some(file) = self.file(element) else { continue };
            self.paths_go_together(&file, &paths);
            for (path, element) in OWN {
                let written = element.is_none_or(|element| image.child(element).is_some());
                if root && written && file.path.value == path {
                    let bad = Bad::new(format!("`{path}` is written by `prepare` itself"));
                    self.refuse(file.path.span.clone(), "path", bad);
                }
            }
            paths.insert(file.path.value.clone(), is_plain(&file));
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

    /// A path stands once, and nothing lies below a plain file.
    fn paths_go_together(&mut self, file: &FileEntry, others: &BTreeMap<String, bool>) {
        let path = &file.path.value;
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
        let below = format!("{path}/");
        let plain_above = above.find(|parent| others.get(*parent) == Some(&true));
        let found_below = others.range(below.clone()..).next().map(|(other, _)| other.as_str());
        let message = if others.contains_key(path) {
            format!("`{path}` is here twice")
        } else if let Some(other) =
            plain_above.or(found_below.filter(|other| is_plain(file) && other.starts_with(&below)))
        {
            format!("`{path}` and `{other}`: a file cannot be a directory")
        } else {
            return;
        };
        self.refuse(file.path.span.clone(), "path", Bad::new(message));
    }
}

fn is_plain(file: &FileEntry) -> bool {
    matches!(file.content, FileContent::Text(_) | FileContent::Host(_))
}
