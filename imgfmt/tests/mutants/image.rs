//! A fixture with changes over it, and a count of what is read.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;

use imgfmt::{Changes, Storage};

use super::layout::Layout;

const PAGE: usize = 4096;

type Page = Box<[u8; PAGE]>;

/// All of a fixture, `None` for pages that are all zero.
pub(crate) struct Pages(Vec<Option<Page>>);

/// A fixture as it is.
pub(crate) struct Fixture {
    /// Its name in `fixtures/images`.
    #[cfg_attr(not(test), expect(dead_code, reason = "for messages of tests"))]
    pub(crate) name: &'static str,
    /// Its bytes.
    pub(crate) pages: Pages,
    /// Where its metadata lies.
    pub(crate) layout: Layout,
    /// Every path in it.
    pub(crate) paths: Vec<String>,
}

macro_rules! fixtures {
    ($($name:literal),*) => {
        &[$(($name, include_bytes!(concat!("../../../fixtures/images/", $name, ".img.zst")))),*]
    };
}

/// Those that need no recovery come first.
const FIXTURES: &[(&str, &[u8])] = fixtures!(
    "ext4-today",
    "ext4-newest",
    "ext4-acl",
    "ext4-symlinks",
    "htree-etc",
    "ext3-selinux",
    "ext3-2006",
    "ext2-2006",
    "ext2-rev0",
    "full-blocks",
    "full-inodes",
    "ext4-inline",
    "ext4-meta-bg",
    "ext4-bigalloc",
    "ext4-ea-inode",
    "ext4-deep",
    "dirty-ext3",
    "dirty-ext4",
    "dirty-fast",
    "dirty-orphans",
    "dirty-orphan-file"
);
/// Fixtures whose journal has to be replayed.
const DIRTY: usize = 5;

/// All fixtures.
pub(crate) fn fixtures() -> &'static [Fixture] {
    static ALL: OnceLock<Vec<Fixture>> = OnceLock::new();
    ALL.get_or_init(|| FIXTURES.iter().map(|(name, bytes)| Fixture::new(name, bytes)).collect())
}

/// Those whose journal has to be replayed.
pub(crate) fn dirty_fixtures() -> &'static [Fixture] {
    &fixtures()[FIXTURES.len() - DIRTY..]
}

impl Fixture {
    fn new(name: &'static str, compressed: &[u8]) -> Self {
        let mut decoder =
            ruzstd::decoding::StreamingDecoder::new(compressed).expect("a zstd frame");
        let mut pages = Vec::new();
        loop {
            let mut page = Box::new([0; PAGE]);
            match io::Read::read_exact(&mut decoder, &mut page[..]) {
                Ok(()) => pages.push(page.iter().any(|&byte| byte != 0).then_some(page)),
                // Fixtures are whole pages.
                Err(_) => break,
            }
        }
        let pages = Pages(pages);
        let image = Image::new(&pages);
        let (layout, paths) = (Layout::new(&image), super::walk::paths(&image));
        Self { name, pages, layout, paths }
    }
}

/// A fixture, changed.
#[derive(Clone)]
pub(crate) struct Image<'a> {
    pages: &'a Pages,
    changed: BTreeMap<usize, Page>,
    work: Cell<u64>,
    spent: Cell<u64>,
}

impl<'a> Image<'a> {
    /// A fixture as it is.
    pub(crate) fn new(pages: &'a Pages) -> Self {
        Self { pages, changed: BTreeMap::new(), work: Cell::new(0), spent: Cell::new(0) }
    }

    /// Bytes that were read since this was last asked for. Each call counts as a block.
    pub(crate) fn take_work(&self) -> u64 {
        let work = self.work.take();
        self.spent.set(self.spent.get() + work);
        work
    }

    /// All of it since the image was made.
    pub(crate) fn spent(&self) -> u64 {
        self.spent.get()
    }

    /// Bytes from `at` on; what lies past the end is zero.
    pub(crate) fn get(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(at, &mut bytes);
        bytes
    }

    /// Change the bytes from `at` on; what would lie past the end is dropped.
    pub(crate) fn set(&mut self, at: u64, bytes: &[u8]) {
        for (at, &byte) in (at..self.len()).zip(bytes) {
            let (page, offset) = split(at);
            let page = self.changed.entry(page).or_insert_with(|| {
                self.pages.0[page].clone().unwrap_or_else(|| Box::new([0; PAGE]))
            });
            page[offset] = byte;
        }
    }

    /// Whether all is as in the fixture.
    #[cfg(test)]
    pub(crate) fn is_unchanged(&self) -> bool {
        self.changed.iter().all(|(&nth, page)| match &self.pages.0[nth] {
            Some(was) => was == page,
            None => page.iter().all(|&byte| byte == 0),
        })
    }

    /// Write what an edit wants written.
    pub(crate) fn apply(&mut self, changes: &Changes) {
        for (offset, bytes) in changes.iter() {
            assert!(offset + bytes.len() as u64 <= self.len(), "a change past the end");
            self.set(offset, bytes);
        }
    }

    fn fill(&self, at: u64, buf: &mut [u8]) {
        let mut done = 0;
        while done < buf.len() {
            let (page, offset) = split(at + done as u64);
            let count = (PAGE - offset).min(buf.len() - done);
            let held = self.changed.get(&page).or_else(|| self.pages.0.get(page)?.as_ref());
            match held {
                Some(page) => buf[done..done + count].copy_from_slice(&page[offset..][..count]),
                None => buf[done..done + count].fill(0),
            }
            done += count;
        }
    }
}

fn split(at: u64) -> (usize, usize) {
    let at = usize::try_from(at).expect("fixtures are small");
    (at / PAGE, at % PAGE)
}

impl Storage for Image<'_> {
    fn len(&self) -> u64 {
        (self.pages.0.len() * PAGE) as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.work.set(self.work.get() + buf.len().max(1024) as u64);
        match offset.checked_add(buf.len() as u64) {
            Some(end) if end <= self.len() => self.fill(offset, buf),
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }
}
