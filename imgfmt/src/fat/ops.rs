//! What verbs want beside reading and writing whole files: one entry, more content, other names, times.
//!
//! A directory that moves to another one is made anew there, and what it holds is moved: its `..` has to lead elsewhere,
//! and the crate `fatfs` leaves it as it was.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::clock;
use super::{
    Entry, FatFs, Fs, checked_name, components, directory, entry, is_a_directory, is_dots,
};
use crate::error::{Error, Result};

/// Bytes of zeros that are written at once.
const ZEROS: usize = 64 << 10;

impl Fs<'_> {
    /// What is at `path`; of the root, a directory without name or times.
    pub fn metadata(&self, path: &Path) -> Result<Entry> {
        let names = components(path)?;
        self.look(path, |fs| find(fs, &names))
    }

    /// `path`, which is there, by the names that its directories keep. A FAT finds a file by its long name and by its
    /// short one, both in any case: two paths lead to one file if and only if they are spelled alike.
    ///
    /// # Errors
    /// [`Error::NotFound`] where nothing is at `path`.
    pub fn spelled(&self, path: &Path) -> Result<PathBuf> {
        let names = components(path)?;
        self.look(path, |fs| {
            let mut spelled = PathBuf::from("/");
            for end in 1..=names.len() {
                spelled.push(find(fs, &names[..end])?.name);
            }
            Ok(spelled)
        })
    }

    /// At most `cap` bytes of the file at `path`, from `offset` on; none past its end.
    pub fn read_at(&self, path: &Path, offset: u64, cap: usize) -> Result<Vec<u8>> {
        let names = components(path)?;
        self.look(path, |fs| {
            let Some((name, parents)) = names.split_last() else { return Err(is_a_directory()) };
            let mut file = directory(fs, parents)?.open_file(name)?;
            let mut bytes = Vec::new();
            let len = file.seek(SeekFrom::End(0))?;
            // The crate refuses to stand behind the end.
            if offset < len {
                file.seek(SeekFrom::Start(offset))?;
                file.take(cap as u64).read_to_end(&mut bytes)?;
            }
            Ok(bytes)
        })
    }

    /// Add `bytes` at the end of the file at `path`, at `now` in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Unsupported`] past 4 GiB; the file is as it was before.
    pub fn append(&mut self, path: &Path, bytes: &[u8], now: u64) -> Result<()> {
        let len = self.metadata(path)?.len.saturating_add(bytes.len() as u64);
        check_len(path, len)?;
        let names = components(path)?;
        self.edit(path, now, |fs| {
            let Some((name, parents)) = names.split_last() else { return Err(is_a_directory()) };
            let mut file = directory(fs, parents)?.open_file(name)?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(bytes)?;
            file.flush()
        })
    }

    /// Make the file at `path` `len` bytes long, at `now` in seconds since 1970. What is new is zeros, which take room:
    /// FAT has no holes.
    ///
    /// # Errors
    /// As of [`append`](Self::append).
    pub fn truncate(&mut self, path: &Path, len: u64, now: u64) -> Result<()> {
        check_len(path, len)?;
        let names = components(path)?;
        self.edit(path, now, |fs| {
            let Some((name, parents)) = names.split_last() else { return Err(is_a_directory()) };
            let mut file = directory(fs, parents)?.open_file(name)?;
            let end = file.seek(SeekFrom::End(0))?;
            if len < end {
                file.seek(SeekFrom::Start(len))?;
                file.truncate()?;
            }
            let zeros = [0; ZEROS];
            let mut left = len.saturating_sub(end);
            while left > 0 {
                let count = usize::try_from(left).unwrap_or(ZEROS).min(ZEROS);
                file.write_all(&zeros[..count])?;
                left -= count as u64;
            }
            file.flush()
        })
    }

    /// Move the name `from` to `to`, where nothing may be but `from` itself, spelled otherwise.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::InvalidPath`] where a directory would come to lie in itself.
    pub fn rename(&mut self, from: &Path, to: &Path, now: u64) -> Result<()> {
        let (from_spelled, mut new) = (self.spelled(from)?, checked_name(to)?);
        let old = components(&from_spelled)?;
        let (Some((old_name, old_dir)), Some(new_name)) = (old.split_last(), new.pop()) else {
            let what = "the root has no name".to_owned();
            return Err(Error::WrongKind { path: from.into(), what });
        };
        let new_dir = self.spelled(&new.iter().collect::<PathBuf>())?;
        let (new_dir, to) = (components(&new_dir)?, new_dir.join(&new_name));
        let found = self.metadata(from)?;
        if found.is_dir && new_dir.starts_with(&old) {
            let what = "a directory cannot lie in itself";
            return Err(Error::InvalidPath { path: to, what });
        }
        if found.is_dir && old_dir != new_dir {
            return self.move_dir(&from_spelled, &to, now);
        }
        let is_itself = match self.spelled(&to) {
            Ok(there) => there == from_spelled,
            Err(Error::NotFound(_)) => false,
            Err(error) => return Err(error),
        };
        self.edit(&from_spelled, now, |fs| {
            let (above, below) = (directory(fs, old_dir)?, directory(fs, &new_dir)?);
            if !is_itself {
                return above.rename(old_name, &below, &new_name);
            }
            // The crate finds itself by the other spelling, and does nothing.
            let way = free_name(fs, old_dir)?;
            above.rename(old_name, &below, &way)?;
            below.rename(&way, &below, &new_name)
        })
    }

    fn move_dir(&mut self, from: &Path, to: &Path, now: u64) -> Result<()> {
        self.create_dir(to, now)?;
        for entry in self.read_dir(from)? {
            self.rename(&from.join(&entry.name), &to.join(&entry.name), now)?;
        }
        self.remove(from)
    }

    /// Set when the file at `path` was last written, in seconds since 1970, in the steps of two that FAT has. A directory
    /// keeps its time: the crate `fatfs` cannot set one.
    pub fn set_modified(&mut self, path: &Path, seconds: u64) -> Result<()> {
        let names = components(path)?;
        self.edit(path, seconds, |fs| {
            let Some((name, parents)) = names.split_last() else { return Ok(()) };
            match directory(fs, parents)?.open_file(name) {
                Ok(mut file) => {
                    #[expect(deprecated, reason = "the crate means its own clock to be used")]
                    file.set_modified(clock::date_time(seconds));
                    file.flush()
                }
                Err(error) if error.to_string() == super::IS_A_DIRECTORY => Ok(()),
                Err(error) => Err(error),
            }
        })
    }
}

fn check_len(path: &Path, len: u64) -> Result<()> {
    match u32::try_from(len) {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(Error::Unsupported(format!("`{}`: a FAT file ends at 4 GiB", path.display())))
        }
    }
}

/// What the last of `names` is: as in the crate, the first whose long or short name is that, in any case.
fn find(fs: &FatFs<'_, '_, '_>, names: &[String]) -> io::Result<Entry> {
    let Some((name, parents)) = names.split_last() else {
        return Ok(Entry { name: String::new(), is_dir: true, len: 0, modified: 0 });
    };
    let wanted = name.to_uppercase();
    for found in directory(fs, parents)?.iter() {
        let found = found?;
        let is_found = |name: String| name.to_uppercase() == wanted;
        if !is_dots(&found) && (is_found(found.file_name()) || is_found(found.short_file_name())) {
            return entry(&found);
        }
    }
    Err(ErrorKind::NotFound.into())
}

/// A name that is not in use.
fn free_name(fs: &FatFs<'_, '_, '_>, parents: &[String]) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in directory(fs, parents)?.iter() {
        let entry = entry?;
        names.push(entry.file_name().to_lowercase());
        names.push(entry.short_file_name().to_lowercase());
    }
    let mut free = (0_u32..).map(|number| format!("moved{number}"));
    Ok(free.find(|name| !names.contains(name)).expect("a directory has fewer names"))
}
