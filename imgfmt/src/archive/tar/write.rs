//! A sink that writes a tar archive: POSIX, with PAX headers where a plain one is too small.
//!
//! The same entries give the same bytes: nothing but what an entry says goes in, no names of users, no times of access.
//! GNU tar and bsdtar read all of it. Holes are left out as in GNU's form 1.0, attributes come as `SCHILY.xattr.`; GNU tar
//! wants `--xattrs --xattrs-include='*'` to take them. ACLs come as text, too, in numbers.
//!
//! ```text
//! x ./PaxHeaders/x | 30 mtime=1767225600.123456789\n … | 0 etc/fstab | content
//! ```

use std::io::Write;

use tar::{EntryType, Header};

use super::{BLOCK, pax};
use crate::archive::acl;
use crate::archive::entry::{Content, Data, Entry, Kind, Meta, Run, Sink, Warn};
use crate::error::{Error, Result};

/// What [`Error::Io`] says was being done where an archive could not be written.
pub const WRITING: &str = "write the archive";
/// Bytes that are gathered before they are written.
const CHUNK: usize = 1 << 20;
/// What a field of eight bytes holds in octal, and one of twelve.
const MAX_7: u64 = 0o777_7777;
const MAX_11: u64 = 0o777_7777_7777;
/// What GNU tar pads archives to.
const RECORD: u64 = 20 * BLOCK as u64;

/// An archive that is being written. It is whole only when [`finish`](Self::finish) has returned.
pub struct TarSink<W: Write> {
    to: W,
    buffer: Vec<u8>,
    written: u64,
}

impl<W: Write> TarSink<W> {
    /// An archive that starts here. It gathers large pieces itself: `to` needs no buffer.
    pub fn new(to: W) -> Self {
        Self { to, buffer: Vec::with_capacity(CHUNK), written: 0 }
    }

    /// Mark the end, and write what is left.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<W> {
        let len = self.written + self.buffer.len() as u64 + 2 * BLOCK as u64;
        let padding = 2 * BLOCK as u64 + (len.next_multiple_of(RECORD) - len);
        self.buffer.resize(self.buffer.len() + usize::try_from(padding).expect("a record"), 0);
        self.flush()?;
        self.to.flush().map_err(write_error)?;
        Ok(self.to)
    }

    fn flush(&mut self) -> Result<()> {
        self.to.write_all(&self.buffer).map_err(write_error)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        // Pieces, since a map of a sparse file and records may be longer than the buffer.
        for part in bytes.chunks(CHUNK) {
            if self.buffer.len() + part.len() > CHUNK {
                self.flush()?;
            }
            self.buffer.extend_from_slice(part);
        }
        Ok(())
    }

    /// To the next block.
    fn pad(&mut self) -> Result<()> {
        // What was written before need not be whole blocks.
        let len = self.written + self.buffer.len() as u64;
        let padding = usize::try_from(len.next_multiple_of(BLOCK as u64) - len);
        self.put(&[0; BLOCK][..padding.expect("below a block")])
    }

    /// All of the content, straight into the buffer.
    fn copy(&mut self, content: &mut Content<'_>) -> Result<()> {
        while content.left() > 0 {
            if self.buffer.len() == CHUNK {
                self.flush()?;
            }
            let from = self.buffer.len();
            let left = usize::try_from(content.left()).unwrap_or(CHUNK);
            self.buffer.resize(from + left.min(CHUNK - from), 0);
            content.read(&mut self.buffer[from..])?;
        }
        self.pad()
    }

    fn header(&mut self, entry: &Entry, head: &Head<'_>) -> Result<()> {
        let mut records = Records::default();
        let mut header = Header::new_ustar();
        header.set_entry_type(head.kind);
        header.set_mode(entry.meta.mode.into());
        name(&mut header, head, &mut records);
        numbers(&mut header, &entry.meta, head, &mut records);
        for xattr in &entry.xattrs {
            // With `--acls` GNU tar looks for ACLs as text, and without it for attributes.
            let key: Option<&[u8]> = match &xattr.name[..] {
                b"system.posix_acl_access" => Some(b"SCHILY.acl.access"),
                b"system.posix_acl_default" => Some(b"SCHILY.acl.default"),
                _ => None,
            };
            if let Some((key, text)) = key.zip(acl::to_text(&xattr.value)) {
                records.push(key, text.as_bytes());
            }
            let key = [b"SCHILY.xattr.", &pax::escaped(&xattr.name)[..]].concat();
            records.push(&key, &xattr.value);
        }
        if let Some(sparse) = &head.sparse {
            records.push(b"GNU.sparse.major", b"1");
            records.push(b"GNU.sparse.minor", b"0");
            records.push(b"GNU.sparse.name", head.name);
            records.push(b"GNU.sparse.realsize", sparse.len.to_string().as_bytes());
        }
        header.set_cksum();
        if !records.0.is_empty() {
            self.records(&records.0)?;
        }
        self.put(header.as_bytes())
    }

    fn records(&mut self, records: &[u8]) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        set_text(&mut header.as_old_mut().name, b"./PaxHeaders/x");
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(records.len() as u64);
        header.set_cksum();
        self.put(header.as_bytes())?;
        self.put(records)?;
        self.pad()
    }
}

/// What of an entry depends on its kind.
struct Head<'a> {
    kind: EntryType,
    /// With a slash at its end for a directory.
    name: &'a [u8],
    link: &'a [u8],
    size: u64,
    device: (u32, u32),
    sparse: Option<Sparse>,
}

struct Sparse {
    len: u64,
    map: Vec<u8>,
}

impl<W: Write> Sink for TarSink<W> {
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> Result<()> {
        let mut path = [b"./", entry.path.as_bytes()].concat();
        let mut target = Vec::new();
        let mut head = Head {
            kind: EntryType::Regular,
            name: &[],
            link: &[],
            size: 0,
            device: (0, 0),
            sparse: None,
        };
        match &entry.kind {
            Kind::File { len, data } => {
                head.size = data.bytes(*len);
                if let Data::Sparse(runs) = data {
                    let sparse = Sparse::new(runs, *len);
                    head.size += sparse.map.len() as u64;
                    head.sparse = Some(sparse);
                }
            }
            Kind::Dir => {
                head.kind = EntryType::Directory;
                if !entry.path.is_root() {
                    path.push(b'/');
                }
            }
            Kind::Symlink(text) => (head.kind, head.link) = (EntryType::Symlink, text),
            Kind::HardLink(first) => {
                target = [b"./", first.as_bytes()].concat();
                head.kind = EntryType::Link;
            }
            Kind::CharDevice { major, minor } => {
                (head.kind, head.device) = (EntryType::Char, (*major, *minor));
            }
            Kind::BlockDevice { major, minor } => {
                (head.kind, head.device) = (EntryType::Block, (*major, *minor));
            }
            Kind::Fifo => head.kind = EntryType::Fifo,
            Kind::Socket => {
                warn(format!("`{}`: a socket has no form in a tar, left out", entry.path));
                return Ok(());
            }
            Kind::Whiteout | Kind::Opaque => {
                return Err(Error::Unsupported(format!(
                    "`{}`: what a layer takes away has no form in a plain tar",
                    entry.path
                )));
            }
        }
        if !target.is_empty() {
            head.link = &target;
        }
        head.name = &path;
        self.header(entry, &head)?;
        if let Some(sparse) = &head.sparse {
            self.put(&sparse.map)?;
        }
        self.copy(content)
    }
}

impl Sparse {
    /// The map that stands before the data, as GNU's form 1.0 has it.
    fn new(runs: &[Run], len: u64) -> Self {
        // An empty run at the end tells tools that look no further how long the file is.
        let ends = runs.last().is_some_and(|last| last.offset + last.len == len);
        let end = (!ends).then_some(Run { offset: len, len: 0 });
        let mut map = format!("{}\n", runs.len() + usize::from(!ends)).into_bytes();
        for run in runs.iter().chain(&end) {
            map.extend(format!("{}\n{}\n", run.offset, run.len).bytes());
        }
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        Self { len, map }
    }
}

/// The records of a PAX header.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while rest + len.to_string().len() != len {
            len = rest + len.to_string().len();
        }
        self.0.extend(format!("{len} ").bytes());
        self.0.extend([key, b"=", value, b"\n"].concat());
    }
}

/// Name and link, whole in the header, or in two parts as ustar has it, or else in records.
fn name(header: &mut Header, head: &Head<'_>, records: &mut Records) {
    let ustar = header.as_ustar_mut().expect("it was made so");
    if head.sparse.is_some() {
        // Readers that know nothing of sparse files are not to take the map for the content.
        set_text(&mut ustar.name, b"./GNUSparseFile/x");
    } else if head.name.len() <= ustar.name.len() {
        set_text(&mut ustar.name, head.name);
    } else if let Some((prefix, name)) = split(head.name) {
        set_text(&mut ustar.prefix, prefix);
        set_text(&mut ustar.name, name);
    } else {
        set_text(&mut ustar.name, b"./PaxHeaders/long");
        records.push(b"path", head.name);
    }
    if head.link.len() <= ustar.linkname.len() {
        set_text(&mut ustar.linkname, head.link);
    } else {
        records.push(b"linkpath", head.link);
    }
}

/// At a slash, such that both parts fit and neither is empty.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = (1..name.len().min(156)).rev().find(|&at| name[at] == b'/')?;
    let (prefix, rest) = (&name[..at], &name[at + 1..]);
    (!rest.is_empty() && rest.len() <= 100).then_some((prefix, rest))
}

fn numbers(header: &mut Header, meta: &Meta, head: &Head<'_>, records: &mut Records) {
    let mut number = |key: &[u8], value: u64, max: u64| {
        if value > max {
            records.push(key, value.to_string().as_bytes());
            return 0;
        }
        value
    };
    header.set_uid(number(b"uid", meta.uid.into(), MAX_7));
    header.set_gid(number(b"gid", meta.gid.into(), MAX_7));
    header.set_size(number(b"size", head.size, MAX_11));
    let (major, minor) = head.device;
    let major = number(b"SCHILY.devmajor", major.into(), MAX_7);
    let minor = number(b"SCHILY.devminor", minor.into(), MAX_7);
    let ustar = header.as_ustar_mut().expect("it was made so");
    ustar.set_device_major(u32::try_from(major).expect("21 bits"));
    ustar.set_device_minor(u32::try_from(minor).expect("21 bits"));
    let whole = u64::try_from(meta.mtime.secs).ok().filter(|secs| *secs <= MAX_11);
    header.set_mtime(whole.unwrap_or(0));
    if whole.is_none() || meta.mtime.nanos != 0 {
        records.push(b"mtime", decimal(meta.mtime.secs, meta.mtime.nanos).as_bytes());
    }
}

/// Seconds with a fraction: −2 and half a second is `-1.5`.
fn decimal(secs: i64, nanos: u32) -> String {
    let (sign, secs, nanos) = match (secs < 0, nanos) {
        (false, _) => ("", secs.unsigned_abs(), nanos),
        (true, 0) => ("-", secs.unsigned_abs(), 0),
        (true, _) => ("-", secs.unsigned_abs() - 1, 1_000_000_000 - nanos),
    };
    match nanos {
        0 => format!("{sign}{secs}"),
        _ => format!("{sign}{secs}.{nanos:09}").trim_end_matches('0').to_owned(),
    }
}

/// What is longer is in a record.
fn set_text(field: &mut [u8], text: &[u8]) {
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text[..len]);
}

fn write_error(error: std::io::Error) -> Error {
    Error::io(WRITING, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_the_digits_of_its_length() {
        // 99 = 2 digits, a blank, `k=`, 93 bytes, a newline; one byte more takes a third digit, too.
        for (len, stated) in [(1, "6 "), (93, "99 "), (94, "101 "), (95, "102 "), (992, "999 ")] {
            let mut records = Records::default();
            records.push(b"k", &vec![b'v'; len]);
            assert_eq!(records.0.len().to_string() + " ", stated);
            assert!(records.0.starts_with(stated.as_bytes()));
        }
    }

    #[test]
    fn a_time_before_1970_is_written_as_what_it_lacks() {
        assert_eq!(decimal(5, 0), "5");
        assert_eq!(decimal(5, 500_000_000), "5.5");
        assert_eq!(decimal(-2, 500_000_000), "-1.5");
        assert_eq!(decimal(-1, 750_000_000), "-0.25");
        assert_eq!(decimal(-1, 0), "-1");
    }

    #[test]
    fn a_long_name_is_split_at_a_slash_that_leaves_two_parts() {
        let name = [&[b'a'; 150][..], b"/", &[b'b'; 100]].concat();
        let (prefix, rest) = split(&name).expect("it fits");
        assert_eq!((prefix.len(), rest.len()), (150, 100));
        assert_eq!(split(&[b'a'; 200]), None);
        assert_eq!(split(&[&[b'a'; 156][..], b"/b"].concat()), None);
        assert_eq!(split(&[&[b'a'; 120][..], b"/"].concat()), None);
    }
}
