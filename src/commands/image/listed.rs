//! One file in a listing.
//!
//! ```text
//! -rw-r----- 1 root shadow  623 2026-11-23 12:45 shadow
//! crw-rw-rw- 1 root root   1, 3 2026-11-23 12:45 null
//! lrwxrwxrwx 1 root root      7 2026-11-23 12:45 bin -> usr/bin
//! ```

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use imgfmt::ext::FileType;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::names;
use crate::cli::TimeStyle;
use crate::inside::owner::Accounts;
use crate::inside::tree::{Meta, Tree};

/// How files are shown.
pub(super) struct Format<'a> {
    pub(super) is_long: bool,
    pub(super) has_inode: bool,
    pub(super) is_human: bool,
    pub(super) time_style: TimeStyle,
    /// `None` where owners are numbers.
    pub(super) accounts: Option<&'a Accounts>,
    /// Names are escaped, for a terminal.
    pub(super) is_escaped: bool,
}

/// A file, and what is shown of it.
pub(super) struct Listed {
    name: OsString,
    path: PathBuf,
    meta: Meta,
    target: Option<PathBuf>,
    /// `+` for an ACL, `.` for a label.
    mark: char,
}

/// How wide columns are.
#[derive(Default)]
pub(super) struct Columns {
    inode: usize,
    nlink: usize,
    owner: usize,
    group: usize,
    size: usize,
}

impl Columns {
    pub(super) fn of(rows: &[Listed], format: &Format<'_>) -> Self {
        let width = |text: &dyn Fn(&Listed) -> String| {
            rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0)
        };
        let inode = if format.has_inode { width(&|row| row.meta.id.1.to_string()) } else { 0 };
        if !format.is_long {
            return Self { inode, ..Self::default() };
        }
        Self {
            inode,
            nlink: width(&|row| row.meta.nlink.to_string()),
            owner: width(&|row| row.owner(format)),
            group: width(&|row| row.group(format)),
            size: width(&|row| row.size(format)),
        }
    }
}

impl Listed {
    pub(super) fn new(
        tree: &dyn Tree,
        name: OsString,
        path: PathBuf,
        meta: Meta,
        is_long: bool,
    ) -> imgfmt::Result<Self> {
        let (mut target, mut mark) = (None, ' ');
        if is_long {
            if meta.kind == FileType::Symlink {
                target = Some(tree.read_link(&path)?);
            }
            for xattr in tree.xattrs(&path)? {
                match xattr.name.as_bytes() {
                    b"system.posix_acl_access" | b"system.posix_acl_default" => mark = '+',
                    b"security.selinux" if mark == ' ' => mark = '.',
                    _ => {}
                }
            }
        }
        Ok(Self { name, path, meta, target, mark })
    }

    pub(super) fn write(
        &self,
        format: &Format<'_>,
        columns: &Columns,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if format.has_inode {
            write!(out, "{:>1$} ", self.meta.id.1, columns.inode)?;
        }
        if format.is_long {
            let Columns { nlink, owner, group, size, .. } = *columns;
            write!(out, "{}{} {:>nlink$} ", mode_text(&self.meta), self.mark, self.meta.nlink)?;
            write!(out, "{:owner$} {:group$} ", self.owner(format), self.group(format))?;
            let time = time_text(self.meta.mtime, format.time_style);
            write!(out, "{:>size$} {time} ", self.size(format))?;
        }
        let mut write_name = |name: &OsStr| match format.is_escaped {
            true => out.write_all(names::shown(name).as_bytes()),
            false => out.write_all(name.as_bytes()),
        };
        write_name(&self.name)?;
        if let Some(target) = &self.target {
            write_name(OsStr::new(" -> "))?;
            write_name(target.as_os_str())?;
        }
        out.write_all(b"\n")
    }

    fn owner(&self, format: &Format<'_>) -> String {
        let known = format.accounts.and_then(|accounts| accounts.user_name(self.meta.uid));
        known.map_or_else(|| self.meta.uid.to_string(), |name| names::shown(OsStr::new(name)))
    }

    fn group(&self, format: &Format<'_>) -> String {
        let known = format.accounts.and_then(|accounts| accounts.group_name(self.meta.gid));
        known.map_or_else(|| self.meta.gid.to_string(), |name| names::shown(OsStr::new(name)))
    }

    fn size(&self, format: &Format<'_>) -> String {
        match self.meta.device {
            Some((major, minor)) => format!("{major}, {minor}"),
            None if format.is_human => human(self.meta.len),
            None => self.meta.len.to_string(),
        }
    }

    /// For programs.
    pub(super) fn json(&self, tree: &dyn Tree, with_digest: bool) -> imgfmt::Result<Value> {
        let meta = &self.meta;
        let mut value = json!({
            "path": self.path.to_str(),
            "path_pct": names::percent(self.path.as_os_str()),
            "type": kind_name(meta.kind),
            "mode": format!("{:04o}", meta.mode),
            "uid": meta.uid,
            "gid": meta.gid,
            "size": meta.len,
            "nlink": meta.nlink,
            "mtime": seconds(meta.mtime),
            "ino": meta.id.1,
        });
        if let Some((major, minor)) = meta.device {
            value["rdev"] = format!("{major}:{minor}").into();
        }
        if let Some(target) = &self.target {
            value["target"] = target.to_str().into();
            value["target_pct"] = names::percent(target.as_os_str()).into();
        }
        if with_digest && meta.kind == FileType::File {
            let mut digest = Digest(Sha256::new());
            tree.copy_to(&self.path, &mut digest)?;
            let sum = digest.0.finalize();
            value["sha256"] = sum.iter().map(|b| format!("{b:02x}")).collect::<String>().into();
        }
        Ok(value)
    }
}

/// Takes bytes for their sum.
struct Digest(Sha256);

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As the corpus of images, and `--json`, name kinds.
pub(super) fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::File => "file",
        FileType::Directory => "dir",
        FileType::Symlink => "symlink",
        FileType::CharDevice => "char",
        FileType::BlockDevice => "block",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
    }
}

/// `-rwxr-sr-T`
fn mode_text(meta: &Meta) -> String {
    let kind = match meta.kind {
        FileType::File => '-',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::CharDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
    };
    let mut text = String::from(kind);
    for (shift, special, set, unset) in
        [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = meta.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, meta.mode & special != 0) {
            (true, true) => set,
            (false, true) => unset,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// Seconds since 1970, rounded down.
pub(super) fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            -whole - i64::from(before.subsec_nanos() > 0)
        }
    }
}

fn time_text(time: SystemTime, style: TimeStyle) -> String {
    let format = match style {
        TimeStyle::Unix => return seconds(time).to_string(),
        TimeStyle::LongIso => "%Y-%m-%d %H:%M",
        TimeStyle::FullIso => "%Y-%m-%d %H:%M:%S.%9f %z",
    };
    match Timestamp::try_from(time) {
        Ok(at) => at.to_zoned(TimeZone::system()).strftime(format).to_string(),
        Err(_) => seconds(time).to_string(),
    }
}

/// As `ls -h` rounds: up, one decimal below ten.
fn human(bytes: u64) -> String {
    let units = ["", "K", "M", "G", "T", "P", "E"];
    let mut unit = 0;
    while unit + 1 < units.len() && u128::from(bytes) >= 1024_u128 << (10 * unit) {
        unit += 1;
    }
    let one = 1_u128 << (10 * unit);
    let tenths = (u128::from(bytes) * 10).div_ceil(one);
    if unit == 0 {
        return bytes.to_string();
    }
    match tenths {
        0..100 => format!("{}.{}{}", tenths / 10, tenths % 10, units[unit]),
        _ => {
            let whole = u128::from(bytes).div_ceil(one);
            match units.get(unit + 1).filter(|_| whole == 1024) {
                Some(next) => format!("1.0{next}"),
                None => format!("{whole}{}", units[unit]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_are_rounded_up_as_ls_does() {
        for (bytes, shown) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10_240, "10K"),
            (10_241, "11K"),
            (1_048_575, "1.0M"),
            (9_999, "9.8K"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(human(bytes), shown);
        }
    }
}
