//! A tar archive as a source of entries, read once, from front to back.
//!
//! A leading `/` of a name is taken off, as GNU tar does, with a warning; a `..` in it is refused. Owners are numbers:
//! names of users mean nothing in another system; those in ACLs become numbers as [`names`](crate::archive::names) says. What an
//! archive may have and a tree may not (a label of a volume, a type that nobody knows) is left out with a warning. What
//! follows the end of the archive is read, so that a pipe
//! is emptied and the checksum behind compressed bytes is seen, and not looked at: a second archive is not followed.

use std::fs::File;
use std::io::{self, BufRead, Read};

use tar::{GnuExtSparseHeader, Header};

use super::BLOCK;
use super::field;
use super::pax::{self, Extra};
use super::sparse;
use super::stream::{From, Stream};
use crate::archive::acl;
use crate::archive::entry::{
    Content, Data, Entry, Kind, Meta, Run, Sink, Source, Time, Warn, from_io,
};
use crate::archive::names::{Known, Names, TABLE_CAP, Who};
use crate::archive::path::{PATH_CAP, TreePath};
use crate::error::{Error, Result};

/// How much is read behind the end of the archive.
const TAIL_CAP: u64 = 64 << 20;

/// A tar archive, unpacked already ([`unpack`](crate::archive::unpack())).
pub struct TarSource<'a> {
    from: Stream<'a>,
    global: Extra,
    took_root_off: bool,
    known: Known,
}

/// Where a header stands in the archive, for errors.
#[derive(Clone, Copy)]
struct At(u64);

impl At {
    fn wrong(self, what: impl std::fmt::Display) -> Error {
        Error::Archive(format!("header at byte {}: {what}", self.0))
    }
}

/// A header with all that was said before it.
struct Head {
    header: Header,
    at: At,
    extra: Extra,
    /// A PAX header of its own came before it.
    has_pax: bool,
}

impl Source for TarSource<'_> {
    fn feed(&mut self, sink: &mut dyn Sink, warn: &mut Warn<'_>) -> Result<()> {
        while let Some(head) = self.head(warn)? {
            self.member(head, sink, warn)?;
        }
        self.finish(warn)
    }
}

impl<'a> TarSource<'a> {
    /// The archive that `from` yields from here on.
    pub fn new(from: impl Read + 'a) -> Self {
        Self::reading(From::Stream(Box::new(from)))
    }

    /// The archive in a file, which is not packed, from its first byte on, wherever the file's cursor stands. What a sink
    /// does not read of it is not read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of_file(file: &'a File) -> Result<Self> {
        let len = file.metadata().map_err(from_io)?.len();
        Ok(Self::reading(From::File { file, at: 0, len }))
    }

    fn reading(from: From<'a>) -> Self {
        let (global, known) = (Extra::default(), Known::default());
        let from = Stream::new(from);
        Self { from, global, took_root_off: false, known }
    }

    /// With names that ACLs of the archive may have, where it does not know them itself.
    #[must_use]
    pub fn knowing(mut self, names: Names) -> Self {
        self.known = Known::new(names);
        self
    }

    /// The next header of a member, with what came before it. `None` at the end of the archive.
    fn head(&mut self, warn: &mut Warn<'_>) -> Result<Option<Head>> {
        let mut extra = self.global.clone();
        let (mut has_pax, mut is_first) = (false, true);
        loop {
            let at = At(self.from.taken());
            let Some(block) = self.from.block()? else {
                let what = match at.0 {
                    0 => "it is empty".to_owned(),
                    at => format!("cut short at byte {at}: its end is not marked"),
                };
                return Err(Error::Archive(what));
            };
            if block == [0; BLOCK] {
                if !is_first {
                    return Err(at.wrong("the archive ends within an entry"));
                }
                return self.end(at, warn);
            }
            check_sum(&block, at)?;
            is_first = false;
            let header = Header::from_byte_slice(&block).clone();
            let size = |cap: u64, what| {
                let size = field::unsigned(&header.as_old().size);
                let size = size.ok_or_else(|| at.wrong("size is not a number"))?;
                (size <= cap)
                    .then_some(size)
                    .ok_or_else(|| at.wrong(format!("{what} of {size} bytes, more than {cap}")))
            };
            match header.as_old().linkflag[0] {
                b'x' | b'X' => {
                    let records = self.small(size(pax::CAP, "PAX header")?)?;
                    extra.read(&records).map_err(|what| at.wrong(what))?;
                    has_pax = true;
                }
                b'g' => {
                    let records = self.small(size(pax::GLOBAL_CAP, "global PAX header")?)?;
                    self.global.read(&records).map_err(|what| at.wrong(what))?;
                    if self.global.forget_own() {
                        warn(format!(
                            "the header at byte {} gives attributes or holes to all files that follow: left out",
                            at.0
                        ));
                    }
                    extra.read(&records).map_err(|what| at.wrong(what))?;
                    extra.forget_own();
                }
                b'L' => {
                    let name = self.small(size(PATH_CAP as u64 + 1, "long name")?)?;
                    extra.path = Some(field::text(&name).to_vec());
                }
                b'K' => {
                    let name = self.small(size(PATH_CAP as u64 + 1, "long link")?)?;
                    extra.link = Some(field::text(&name).to_vec());
                }
                _ => return Ok(Some(Head { header, at, extra, has_pax })),
            }
        }
    }

    /// What stands behind a header that speaks of another. Its length was checked.
    fn small(&mut self, len: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.from).take(len).read_to_end(&mut bytes).map_err(from_io)?;
        if bytes.len() as u64 != len {
            return Err(from_io(io::ErrorKind::UnexpectedEof.into()));
        }
        self.from.skip(padding(len))?;
        Ok(bytes)
    }

    /// Behind the first block of zeros.
    fn end(&mut self, at: At, warn: &mut Warn<'_>) -> Result<Option<Head>> {
        match self.from.block()? {
            Some(block) if block != [0; BLOCK] => warn(format!(
                "the archive ends at byte {} by one block of zeros instead of two; what follows is not read",
                at.0
            )),
            _ => {}
        }
        Ok(None)
    }

    /// Read to the end of the bytes.
    fn finish(&mut self, warn: &mut Warn<'_>) -> Result<()> {
        let end = self.from.taken();
        let mut told = false;
        loop {
            let bytes = self.from.fill_buf().map_err(from_io)?;
            let len = bytes.len();
            if len == 0 {
                return Ok(());
            }
            if !told && bytes.iter().any(|&byte| byte != 0) {
                told = true;
                warn(format!(
                    "something follows the end of the archive at byte {end}, which is not read"
                ));
            }
            self.from.consume(len);
            if self.from.taken() - end > TAIL_CAP {
                warn(format!("more than {TAIL_CAP} bytes follow the end of the archive"));
                return Ok(());
            }
        }
    }

    fn member(&mut self, mut head: Head, sink: &mut dyn Sink, warn: &mut Warn<'_>) -> Result<()> {
        let at = head.at;
        let size = match head.extra.size {
            Some(size) => Some(size),
            None => field::unsigned(&head.header.as_old().size),
        };
        let size = size.ok_or_else(|| at.wrong("size is not a number"))?;
        // Content and padding have to end where 64 bits with a sign do, as a host's files.
        let fits =
            size.checked_next_multiple_of(BLOCK as u64).is_some_and(|s| i64::try_from(s).is_ok());
        if !fits {
            return Err(at.wrong(format!("content of {size} bytes")));
        }
        let name = head.name();
        let kind = head.header.as_old().linkflag[0];
        let stored = match kind {
            b'1' if !self.has_link_content(&head, size)? => 0,
            b'2'..=b'6' => 0,
            _ => size,
        };
        let Some(what) = self.kind(&mut head, &name, size, warn)? else {
            return self.from.skip(stored + padding(stored));
        };
        let (kind, taken) = what;
        let path = self.path(&name, at, warn)?;
        if path.is_root() && kind != Kind::Dir {
            return Err(at.wrong("the root of the tree is no directory in it"));
        }
        for what in &head.extra.dropped {
            warn(format!("`{path}`: {what} is left out"));
        }
        let mut meta = head.meta()?;
        head.owners(&meta, &mut self.known);
        let xattrs = head.extra.take_xattrs(&self.known);
        let mut xattrs = xattrs.map_err(|what| at.wrong(format!("`{path}`: {what}")))?;
        let access = xattrs.iter().position(|xattr| xattr.name == b"system.posix_acl_access");
        // Some write the permissions of the group to the header, where a file with an ACL shows the mask.
        if let Some((at, shown)) = access.and_then(|at| Some((at, acl::mode(&xattrs[at].value)?))) {
            meta.mode = meta.mode & !0o777 | shown;
            if acl::is_plain(&xattrs[at].value) {
                xattrs.remove(at);
            }
        }
        let entry = Entry { path, meta, xattrs, kind };
        let left = stored.saturating_sub(taken);
        let len = entry.content_len();
        if matches!(entry.kind, Kind::File { .. }) && len != left {
            return Err(at.wrong(format!("sparse file of {len} bytes of data has {left}")));
        }
        let end = self.from.taken() + left + padding(stored);
        let offset = self.from.taken();
        let outcome = match self.table(&entry, len).map_err(|error| named(error, &entry.path))? {
            Some(text) => {
                let mut content = &text[..];
                sink.entry(&entry, &mut Content::new(&mut content, len).at(offset), warn)
            }
            None => {
                let mut content = Content::new(&mut self.from, len).at(offset);
                sink.entry(&entry, &mut content, warn)
            }
        };
        outcome.map_err(|error| named(error, &entry.path))?;
        self.from.skip(end.saturating_sub(self.from.taken()))
    }

    /// The content of a file that tells names of users or groups, of which a note is taken.
    fn table(&mut self, entry: &Entry, len: u64) -> Result<Option<Vec<u8>>> {
        let Kind::File { data: Data::Whole, .. } = entry.kind else { return Ok(None) };
        let Some(who) = Known::table_at(entry.path.as_bytes()).filter(|_| len <= TABLE_CAP) else {
            return Ok(None);
        };
        let mut text = Vec::new();
        (&mut self.from).take(len).read_to_end(&mut text).map_err(from_io)?;
        if text.len() as u64 != len {
            return Err(from_io(io::ErrorKind::UnexpectedEof.into()));
        }
        self.known.set_table(who, &text);
        Ok(Some(text))
    }

    /// POSIX lets a hard link bring the content of its file along; others left a size in the header and no content.
    fn has_link_content(&mut self, head: &Head, size: u64) -> Result<bool> {
        if size == 0 || head.header.as_ustar().is_none() {
            return Ok(false);
        }
        if head.has_pax {
            return Ok(true);
        }
        let next = self.from.peek()?;
        Ok(next != [0; BLOCK] && check_sum(&next, head.at).is_err())
    }

    /// What the entry is, and how much of its content that took. `None` for what is left out.
    fn kind(
        &mut self,
        head: &mut Head,
        name: &[u8],
        size: u64,
        warn: &mut Warn<'_>,
    ) -> Result<Option<(Kind, u64)>> {
        let at = head.at;
        let shown = || String::from_utf8_lossy(name).into_owned();
        let kind = match head.header.as_old().linkflag[0] {
            b'S' => self.old_sparse(head)?,
            // Before ustar, directories were told by the slash; others still read them so.
            b'0' | b'\0' | b'7' if name.ends_with(b"/") => Kind::Dir,
            b'0' | b'\0' | b'7' => return self.file(head, size).map(Some),
            b'1' => Kind::HardLink(self.path(&head.link(), at, warn)?),
            b'2' => {
                let target = head.link();
                if target.is_empty() || target.contains(&0) {
                    return Err(at.wrong(format!("`{}`: symbolic link to nothing", shown())));
                }
                Kind::Symlink(target)
            }
            b'3' => {
                let (major, minor) = head.device()?;
                Kind::CharDevice { major, minor }
            }
            b'4' => {
                let (major, minor) = head.device()?;
                Kind::BlockDevice { major, minor }
            }
            // GNU's `D` is the directory of an incremental archive: its content is a list of names.
            b'5' | b'D' => Kind::Dir,
            b'6' => Kind::Fifo,
            b'M' => {
                let hint =
                    "it goes on from another volume; join the volumes with `tar --multi-volume`";
                return Err(at.wrong(format!("`{}`: {hint}", shown())));
            }
            // The label of a volume is the name of no file.
            b'V' => return Ok(None),
            other => {
                let other = char::from(other).escape_default();
                warn(format!("`{}`: left out, nobody knows entries of type `{other}`", shown()));
                return Ok(None);
            }
        };
        Ok(Some((kind, 0)))
    }

    fn file(&mut self, head: &mut Head, size: u64) -> Result<(Kind, u64)> {
        let (at, hints) = (head.at, &mut head.extra.sparse);
        let Some(len) = hints.size else {
            return Ok((Kind::File { len: size, data: Data::Whole }, 0));
        };
        let (runs, taken) = match hints.is_before_data().map_err(|what| at.wrong(what))? {
            true => sparse::read_map(&mut self.from, size)?,
            false => (hints.take_runs(), 0),
        };
        Ok((sparse_file(runs, len, at)?, taken))
    }

    fn old_sparse(&mut self, head: &Head) -> Result<Kind> {
        let at = head.at;
        let Some(gnu) = head.header.as_gnu() else {
            return Err(at.wrong("sparse file (type `S`) that is not GNU tar's"));
        };
        let len = field::unsigned(&gnu.realsize).ok_or_else(|| at.wrong("size is not a number"))?;
        let mut runs = Vec::new();
        let mut more = sparse::push_old(&mut runs, &gnu.sparse)?;
        let mut is_extended = gnu.is_extended();
        while is_extended {
            let mut block = GnuExtSparseHeader::new();
            self.from.read_exact(block.as_mut_bytes()).map_err(from_io)?;
            more = more && sparse::push_old(&mut runs, block.sparse())?;
            is_extended = block.is_extended();
        }
        sparse_file(runs, len, at)
    }

    fn path(&mut self, name: &[u8], at: At, warn: &mut Warn<'_>) -> Result<TreePath> {
        let wrong = |what: &str| {
            let shown = String::from_utf8_lossy(&name[..name.len().min(4096)]);
            at.wrong(format!("the name `{shown}` {what}"))
        };
        if name.is_empty() {
            return Err(at.wrong("it has no name"));
        }
        if name.first() == Some(&b'/') && !self.took_root_off {
            self.took_root_off = true;
            warn("the leading `/` is taken off names".into());
        }
        TreePath::new(name).map_err(wrong)
    }
}

impl Head {
    fn name(&self) -> Vec<u8> {
        let given = self.extra.sparse.name.as_ref().or(self.extra.path.as_ref());
        given.cloned().unwrap_or_else(|| {
            let old = field::text(&self.header.as_old().name);
            match self.header.as_ustar() {
                Some(ustar) if ustar.prefix[0] != 0 => {
                    [field::text(&ustar.prefix), b"/", old].concat()
                }
                _ => old.to_vec(),
            }
        })
    }

    fn link(&self) -> Vec<u8> {
        let given = self.extra.link.as_deref();
        given.unwrap_or_else(|| field::text(&self.header.as_old().linkname)).to_vec()
    }

    fn meta(&self) -> Result<Meta> {
        let (old, at) = (self.header.as_old(), self.at);
        let id = |given: Option<u64>, field: &[u8], what: &str| {
            let id = given.or_else(|| field::unsigned(field));
            let id = id.and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| at.wrong(format!("{what} is not a number of 32 bits")))
        };
        let time = |field: &[u8]| field::signed(field).map(|secs| Time { secs, nanos: 0 });
        let mtime = self.extra.mtime.or_else(|| time(&old.mtime));
        // Old GNU archives keep these two in the header, where others have part of the name.
        let gnu = self.header.as_gnu();
        let kept = |field: &[u8; 12]| if field[0] == 0 { None } else { time(field) };
        let mode = field::unsigned(&old.mode).ok_or_else(|| at.wrong("mode is not a number"))?;
        Ok(Meta {
            mode: u16::try_from(mode & 0o7777).expect("twelve bits"),
            uid: id(self.extra.uid, &old.uid, "owner")?,
            gid: id(self.extra.gid, &old.gid, "group")?,
            mtime: mtime.ok_or_else(|| at.wrong("time is not a number"))?,
            atime: self.extra.atime.or_else(|| gnu.and_then(|gnu| kept(&gnu.atime))),
            ctime: self.extra.ctime.or_else(|| gnu.and_then(|gnu| kept(&gnu.ctime))),
        })
    }

    /// Names of the owner, beside the numbers.
    fn owners(&self, meta: &Meta, known: &mut Known) {
        let bytes = self.header.as_bytes();
        // `uname` and `gname`, which archives from before ustar have not.
        if self.header.as_ustar().is_some() || self.header.as_gnu().is_some() {
            let user = self.extra.user.as_deref().unwrap_or(field::text(&bytes[265..297]));
            let group = self.extra.group.as_deref().unwrap_or(field::text(&bytes[297..329]));
            known.owner(Who::User, user, meta.uid);
            known.owner(Who::Group, group, meta.gid);
        }
    }

    fn device(&self) -> Result<(u32, u32)> {
        let wrong = || self.at.wrong("number of the device is none");
        let bytes = self.header.as_bytes();
        // `devmajor` and `devminor`, which archives from before ustar have not.
        let has_fields = self.header.as_ustar().is_some() || self.header.as_gnu().is_some();
        let number = |given: Option<u32>, field: &[u8]| match given {
            Some(number) => Ok(number),
            None if !has_fields => Err(wrong()),
            None => field::unsigned(field).and_then(|n| u32::try_from(n).ok()).ok_or_else(wrong),
        };
        Ok((
            number(self.extra.major, &bytes[329..337])?,
            number(self.extra.minor, &bytes[337..345])?,
        ))
    }
}

fn sparse_file(runs: Vec<Run>, len: u64, at: At) -> Result<Kind> {
    if i64::try_from(len).is_err() {
        return Err(at.wrong(format!("sparse file of {len} bytes")));
    }
    let data = Data::sparse(runs, len).map_err(|what| at.wrong(format!("sparse file: {what}")))?;
    Ok(Kind::File { len, data })
}

/// Errors of the archive say which entry they are about.
fn named(error: Error, path: &TreePath) -> Error {
    match error {
        Error::Archive(what) if what == "cut short" => {
            Error::Archive(format!("cut short within `{path}`"))
        }
        other => other,
    }
}

fn padding(len: u64) -> u64 {
    len.next_multiple_of(BLOCK as u64) - len
}

/// The sum of all bytes, those of the field itself as blanks; some old writers took bytes as signed.
fn check_sum(block: &[u8; BLOCK], at: At) -> Result<()> {
    let mut bytes = *block;
    let stored = field::signed(&block[148..156]);
    bytes[148..156].fill(b' ');
    let unsigned = || bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let signed = || bytes.iter().map(|&byte| i32::from(byte.cast_signed())).sum::<i32>();
    if stored == Some(i64::from(unsigned())) || stored == Some(i64::from(signed())) {
        return Ok(());
    }
    Err(match at.0 {
        0 => Error::Archive("this is no tar archive, nor a compressed one".into()),
        _ => at.wrong("checksum is wrong"),
    })
}
