//! What `input` elements name on the host. Nothing is read but the first bytes of a tar; digests are compared by whoever
//! reads the rest.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use imgfmt::compressed::Compression;

use super::{InputFacts, locate};
use crate::failure::plain;
use crate::xmf::model::{Input, InputKind};

/// A tar that is unpacked is taken for so many times as long as the compressed one.
const EXPANSION: u64 = 4;

/// The deepest directory that is looked into; what lies deeper the reader of the tree refuses by name.
const DEPTH_MAX: usize = 256;

/// Look at what one `input` names; what is wrong with it, in words.
pub(super) fn look(input: &Input, base: &Path) -> Result<InputFacts, String> {
    let path = locate::path(&input.source.value, base);
    let shown = path.display();
    let fail = |e: io::Error| format!("cannot read `{shown}`: {}", plain(&e));
    let meta = fs::metadata(&path).map_err(fail)?;
    let mode = meta.mode() & 0o777;
    let len = match input.kind {
        InputKind::Directory if meta.is_dir() => tree_len(&path, DEPTH_MAX).map_err(fail)?,
        InputKind::Directory => return Err(format!("`{shown}` is no directory")),
        InputKind::File | InputKind::Tar if !meta.is_file() => {
            let hint = if meta.is_dir() { ": `type=\"directory\"` takes one" } else { "" };
            return Err(format!("`{shown}` is not a regular file{hint}"));
        }
        InputKind::File => {
            File::open(&path).map_err(fail)?;
            meta.len()
        }
        InputKind::Tar => {
            let mut first = [0; 16];
            let count = File::open(&path).and_then(|mut file| file.read(&mut first));
            let first = &first[..count.map_err(fail)?];
            let packed = Compression::detect(first).map_err(|e| format!("`{shown}`: {e}"))?;
            meta.len().saturating_mul(packed.map_or(1, |_| EXPANSION))
        }
    };
    let path = fs::canonicalize(&path).map_err(fail)?;
    Ok(InputFacts { path, len, mode })
}

/// Bytes of all files in a directory.
fn tree_len(path: &Path, depth: usize) -> io::Result<u64> {
    let mut len: u64 = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let meta = fs::symlink_metadata(entry.path())?;
        let below = match depth.checked_sub(1) {
            Some(depth) if meta.is_dir() => tree_len(&entry.path(), depth)?,
            _ if meta.is_file() => meta.len(),
            _ => 0,
        };
        len = len.saturating_add(below);
    }
    Ok(len)
}
