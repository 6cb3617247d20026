//! New ext disks: the empty one for results, and those with inputs, filled as the bytes come.

use std::fs::File;
use std::path::Path;

use imgfmt::archive::TreePath;
use imgfmt::ext::mkfs::{Builder, Free, Kind, Options, Room};
use uuid::Uuid;

use super::obstacle::failure;
use super::staged::{Below, Opened};
use super::verify;
use crate::failure::{Failure, Result};
use crate::guest::settings;
use crate::plan::Staged;
use crate::xmf::model::InputKind;

/// An ext3 that Linux 2.4 and all behind it mount: `is_legacy` kernels know inodes of 128 bytes alone.
pub(super) fn options(len: u64, uuid: Uuid, label: &str, is_legacy: bool, now: i64) -> Options {
    Options {
        label: label.to_owned(),
        uuid: Some(uuid.into_bytes()),
        seed: uuid.as_bytes().to_vec(),
        time: now,
        inode_size: Some(if is_legacy { 128 } else { 256 }),
        features: "^resize_inode,^dir_index,^ext_attr".into(),
        reserved_percent: 0,
        ..Options::new(Kind::Ext3, len)
    }
}

/// Make the disk at `to`, which messages call `named`, with all of `staged` in it.
pub(super) fn make(
    to: &Path,
    named: &Path,
    uuid: Uuid,
    is_legacy: bool,
    staged: &[Staged],
    now: i64,
) -> Result<()> {
    let fail = |e: std::io::Error| Failure::host("cannot write", named, &e);
    let mut file = File::create_new(to).map_err(fail)?;
    let options = options(0, uuid, settings::INPUTS_LABEL, is_legacy, now);
    let opened: Vec<_> = staged.iter().map(Opened::open).collect::<Result<_>>()?;
    let room = Room::Auto(Free::default());
    let mut builder = Builder::new(&options, room, &mut file).map_err(|e| failure(named, &e))?;
    for one in &opened {
        let path = match one.staged.kind {
            InputKind::File => one.staged.path.rsplit_once('/').map_or("", |(parent, _)| parent),
            InputKind::Directory | InputKind::Tar => &one.staged.path,
        };
        let directory = TreePath::new(path.as_bytes()).expect("the plan made it");
        let mut below = Below { sink: &mut builder, directory };
        one.feed(&mut below, u64::MAX).map_err(|e| match e {
            imgfmt::Error::Stopped => Failure::Interrupted { edited: Vec::new() },
            e => Failure::new(format!("input `{}`: {e}", one.staged.source.display())),
        })?;
    }
    let len = builder.finish().map_err(|e| failure(named, &e))?.len();
    file.set_len(len).map_err(fail)?;
    let file = File::open(to).map_err(fail)?;
    for one in &opened {
        let path = match one.staged.kind {
            InputKind::File => one.staged.path.rsplit_once('/').map_or("/", |(parent, _)| parent),
            InputKind::Directory | InputKind::Tar => &one.staged.path,
        };
        verify::tree(&file, path, &one.fed())?;
    }
    Ok(())
}
