//! Files by the number of their inode, for those who walk a whole tree: no path is resolved twice.

use std::io::{self, Read};
use std::path::Path;

use super::read::{DirEntry, Metadata, Xattr, entries, metadata, public_xattr};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::file;
use crate::ext::fs::Fs;
use crate::ext::inode::{self, FileType, Inode, corrupt};
use crate::ext::map;
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::inode::flag;
use crate::ext::path::find;
use crate::ext::xattr;

/// The most runs of data that a file may have to be read by runs: 32 MiB of memory.
const RUNS_CAP: usize = 1 << 20;

/// An inode of a file system, read once.
pub struct Node<'f> {
    fs: &'f Fs<'f>,
    inode: Inode,
}

impl<'a> Fs<'a> {
    /// The inode `nr`, which must be in use.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it is not.
    pub fn node<'f>(&'f self, nr: InodeNr) -> Result<Node<'f>>
    where
        'a: 'f,
    {
        Ok(Node { fs: self, inode: inode::read(self, nr)? })
    }

    /// The inode at `path`, be it a symbolic link.
    pub fn node_at<'f>(&'f self, path: impl AsRef<Path>) -> Result<Node<'f>>
    where
        'a: 'f,
    {
        Ok(Node { fs: self, inode: find(self, path.as_ref(), false)? })
    }
}

impl<'f> Node<'f> {
    /// What the inode says.
    pub fn metadata(&self) -> Metadata {
        metadata(self.fs, &self.inode)
    }

    /// Its extended attributes, as [`Fs::xattrs`] gives them.
    pub fn xattrs(&self) -> Result<Vec<Xattr>> {
        Ok(xattr::read(self.fs, &self.inode)?.into_iter().map(public_xattr).collect())
    }

    /// The names in a directory, in the order of the disk, without `.` and `..`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the names are encrypted, [`Error::Corrupt`] where it is no directory.
    pub fn entries(&self) -> Result<Vec<DirEntry>> {
        match self.inode.is_dir() {
            true => entries(self.fs, &self.inode),
            false => Err(corrupt(self.inode.nr(), "is not a directory")),
        }
    }

    /// The text of a symbolic link.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it is none.
    pub fn link(&self) -> Result<Vec<u8>> {
        match self.inode.kind() {
            FileType::Symlink => file::read_link(self.fs, &self.inode),
            _ => Err(corrupt(self.inode.nr(), "is not a symbolic link")),
        }
    }

    /// The content of a regular file.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it is encrypted, or made of too many pieces; [`Error::Corrupt`] where its map is
    /// wrong, leads to more blocks than there are, or it is no regular file.
    pub fn content(&self) -> Result<NodeContent<'f>> {
        let inode = &self.inode;
        if inode.kind() != FileType::File {
            return Err(corrupt(inode.nr(), "is not a regular file"));
        }
        if inode.has(flag::ENCRYPT) {
            return Err(Error::Unsupported(format!(
                "a file with the feature `encrypt` cannot be read: inode {}",
                inode.nr()
            )));
        }
        let (mut pieces, mut inline) = (Vec::new(), Vec::new());
        if inode.has(flag::INLINE_DATA) {
            inline = xattr::inline_data(self.fs, inode)?;
            if !inline.is_empty() {
                pieces.push(Piece { offset: 0, len: inline.len() as u64, start: BlockNr(0) });
            }
        } else {
            pieces = mapped(self.fs, inode)?;
        }
        Ok(NodeContent { fs: self.fs, pieces, inline, index: 0, taken: 0 })
    }
}

/// Bytes of a file that lie in one run of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    offset: u64,
    len: u64,
    start: BlockNr,
}

/// All that a file maps below its length. What reads as zeros is left out.
fn mapped(fs: &Fs<'_>, inode: &Inode) -> Result<Vec<Piece>> {
    let geometry = fs.geometry();
    let (size, block_size) = (inode.size(geometry), geometry.block_size as u64);
    let (mut pieces, mut lblk, mut blocks) = (Vec::<Piece>::new(), 0, 0_u64);
    let end = size.div_ceil(block_size);
    while lblk < end {
        let at = u32::try_from(lblk)
            .map_err(|_| corrupt(inode.nr(), &format!("length is {size} bytes")))?;
        let run = map::lookup(fs, inode, at)?;
        let count = run.count.min(end - lblk);
        if let Some(start) = run.start {
            let offset = lblk * block_size;
            let len = (count * block_size).min(size - offset);
            blocks = blocks.saturating_add(count);
            if blocks > geometry.block_count {
                return Err(corrupt(inode.nr(), "maps more blocks than there are"));
            }
            add(&mut pieces, Piece { offset, len, start }, block_size);
            if pieces.len() > RUNS_CAP {
                return Err(Error::Unsupported(format!(
                    "inode {} is made of more than {RUNS_CAP} pieces",
                    inode.nr()
                )));
            }
        }
        lblk += count;
    }
    Ok(pieces)
}

/// One more piece, or more of the last one.
fn add(pieces: &mut Vec<Piece>, next: Piece, block_size: u64) {
    match pieces.last_mut() {
        Some(last)
            if last.offset + last.len == next.offset
                && last.start.0 + last.len / block_size == next.start.0 =>
        {
            last.len += next.len;
        }
        _ => pieces.push(next),
    }
}

/// The content of a file without its holes: a stream of what its blocks hold, in order.
pub struct NodeContent<'f> {
    fs: &'f Fs<'f>,
    pieces: Vec<Piece>,
    inline: Vec<u8>,
    /// The piece that is read, and how many bytes of it were.
    index: usize,
    taken: u64,
}

impl NodeContent<'_> {
    /// Where it lies in the file: offset and length of each run, in bytes, rising.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut pieces = self.pieces.iter().map(|piece| (piece.offset, piece.len)).peekable();
        // Two runs of blocks may be one of the file.
        std::iter::from_fn(move || {
            let (offset, mut len) = pieces.next()?;
            while let Some((_, more)) = pieces.next_if(|next| next.0 == offset + len) {
                len += more;
            }
            Some((offset, len))
        })
    }
}

/// Errors are of this library, within [`io::ErrorKind::Other`].
impl Read for NodeContent<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(&piece) = self.pieces.get(self.index) else { return Ok(0) };
        let left = piece.len - self.taken;
        let want = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        if want == 0 {
            return Ok(0);
        }
        let count = match self.inline.is_empty() {
            true => self.read_blocks(piece, &mut buf[..want]).map_err(io::Error::other)?,
            false => {
                let from = usize::try_from(self.taken).expect("inline data is below a block");
                buf[..want].copy_from_slice(&self.inline[from..from + want]);
                want
            }
        };
        self.taken += count as u64;
        if self.taken == piece.len {
            (self.index, self.taken) = (self.index + 1, 0);
        }
        Ok(count)
    }
}

impl NodeContent<'_> {
    /// Whole blocks go straight to `buf`, a part of one by way of a copy.
    fn read_blocks(&self, piece: Piece, buf: &mut [u8]) -> Result<usize> {
        let block_size = self.fs.geometry().block_size;
        let first = BlockNr(piece.start.0 + self.taken / block_size as u64);
        let within = usize::try_from(self.taken % block_size as u64).expect("below a block");
        let whole = buf.len() / block_size * block_size;
        if within == 0 && whole > 0 {
            self.fs.read_run(first, &mut buf[..whole])?;
            return Ok(whole);
        }
        let bytes = self.fs.read_block(first)?;
        let count = buf.len().min(block_size - within);
        buf[..count].copy_from_slice(&bytes[within..within + count]);
        Ok(count)
    }
}
