//! Names against inodes: each file has as many as it says, each directory hangs below the root.

use super::inodes::reserved;
use super::{FindingKind, Place, Seen, Step, Walk};
use crate::ext::inode::FileType;
use crate::ext::nr::InodeNr;

impl Walk<'_, '_> {
    /// Compare the names that were met with the link counts, and each directory with its parent.
    pub(super) fn links(&mut self) -> Step {
        self.parents()?;
        for index in 0..self.inodes.len() {
            let seen = self.inodes[index];
            let place = Place::Inode(InodeNr(seen.nr));
            if seen.is_nameless {
                continue;
            }
            let counted = seen.counted;
            // A directory's own `.` is no name that leads to it.
            let no_name = match seen.kind {
                Some(FileType::Directory) => false,
                _ => counted == 0,
            };
            if no_name {
                self.add(FindingKind::Links, place, "no directory names it")?;
            } else if counted != u32::from(seen.links) && !counts_no_more(&seen) {
                let what = format!("link count is {}, should be {counted}", seen.links);
                self.add(FindingKind::Links, place, what)?;
            }
        }
        Ok(())
    }

    /// Every directory must be named once, lead back to where it is named, and hang below the root.
    fn parents(&mut self) -> Step {
        let root = self.dirs.binary_search_by_key(&reserved::ROOT, |dir| dir.nr);
        if root.is_err() {
            let place = Place::Inode(InodeNr::ROOT);
            self.add(FindingKind::Inode, place, "the root is not a directory")?;
        }
        // Below the root, for each directory: not known, on the way that is being gone, or known.
        let mut state: Vec<u8> = vec![0; self.dirs.len()];
        if let Ok(root) = root {
            state[root] = 2;
        }
        for index in 0..self.dirs.len() {
            let dir = self.dirs[index];
            let place = Place::Directory(InodeNr(dir.nr));
            if dir.nr != reserved::ROOT && dir.named_in == 0 {
                self.add(FindingKind::Links, place, "no directory names it")?;
            } else if dir.nr != reserved::ROOT && dir.dotdot != dir.named_in {
                let what = format!("`..` leads to inode {}, not {}", dir.dotdot, dir.named_in);
                self.add(FindingKind::Directory, place, what)?;
            } else if dir.nr == reserved::ROOT && dir.dotdot != dir.nr {
                let what = format!("`..` of the root leads to inode {}", dir.dotdot);
                self.add(FindingKind::Directory, place, what)?;
            }
            self.ascend(index, &mut state)?;
        }
        Ok(())
    }

    /// Go up until a directory that is known.
    fn ascend(&mut self, index: usize, state: &mut [u8]) -> Step {
        let mut way = Vec::new();
        let mut at = index;
        let is_loop = loop {
            if state[at] != 0 {
                break state[at] == 1;
            }
            state[at] = 1;
            way.push(at);
            let parent = self.dirs[at].named_in;
            match self.dirs.binary_search_by_key(&parent, |dir| dir.nr) {
                Ok(next) => at = next,
                Err(_) => break false,
            }
        };
        if is_loop {
            let place = Place::Directory(InodeNr(self.dirs[at].nr));
            self.add(FindingKind::Links, place, "it lies in itself: a loop of directories")?;
        }
        way.into_iter().for_each(|at| state[at] = 2);
        Ok(())
    }
}

/// A directory that once had too many names says 1 for ever.
fn counts_no_more(seen: &Seen) -> bool {
    seen.kind == Some(FileType::Directory) && seen.links == 1
}
