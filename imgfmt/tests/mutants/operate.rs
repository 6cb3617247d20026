//! Operations of an edit, decided by an input.

use imgfmt::Result;
use imgfmt::ext::Transaction;

use super::input::Input;

/// One call of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Write(String, Vec<u8>),
    CreateDir(String),
    CreateDirAll(String),
    Symlink(String, String),
    RemoveFile(String),
    RemoveDir(String),
    SetMode(String, u16),
    SetOwner(String, u32, u32),
}

/// Longest content of a file: past 12 blocks and a few extents.
const CONTENT_MAX: usize = 70_000;

impl Operation {
    /// What `input` decides, on `paths` that may be there and on new ones.
    pub(crate) fn new(paths: &[String], input: &mut Input<'_>) -> Self {
        let what = input.byte();
        let path = path(paths, input);
        match what % 10 {
            0..=2 => {
                let len = usize::from(input.short());
                Self::Write(path, content(len, input.byte()))
            }
            3 => Self::CreateDir(path),
            4 => Self::CreateDirAll(path),
            5 => Self::Symlink("t".repeat(usize::from(input.byte()) + 1), path),
            6 => Self::RemoveFile(path),
            7 => Self::RemoveDir(path),
            8 => Self::SetMode(path, input.short()),
            _ => Self::SetOwner(path, input.word(), input.word()),
        }
    }

    /// Do it.
    pub(crate) fn apply(&self, tx: &mut Transaction<'_>) -> Result<()> {
        match self {
            Self::Write(path, bytes) => tx.write(path, bytes),
            Self::CreateDir(path) => tx.create_dir(path),
            Self::CreateDirAll(path) => tx.create_dir_all(path),
            Self::Symlink(target, path) => tx.symlink(target, path),
            Self::RemoveFile(path) => tx.remove_file(path),
            Self::RemoveDir(path) => tx.remove_dir(path),
            Self::SetMode(path, mode) => tx.set_mode(path, *mode),
            Self::SetOwner(path, uid, gid) => tx.set_owner(path, *uid, *gid),
        }
    }
}

/// One that is there, or a new name beside or below it.
fn path(paths: &[String], input: &mut Input<'_>) -> String {
    let known = &paths[input.below(paths.len())];
    match input.byte() {
        0..=127 => known.clone(),
        nth @ 128..=191 => format!("{}/new-{nth}", known.trim_end_matches('/')),
        nth => {
            let above = known.rfind('/').map_or("", |at| &known[..at]);
            // Long names fill directories.
            let rest = "n".repeat(usize::from(nth - 192) * 3 + 1);
            format!("{above}/{}", &rest[..rest.len().min(250)])
        }
    }
}

fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len.min(CONTENT_MAX)).map(|i| seed.wrapping_add((i / 7).to_le_bytes()[0])).collect()
}
