//! A line of `/etc/fstab`: an entry, as its readers see it.
//!
//! A line is six fields parted by blanks or tabs: device, mount point, type, options, and two numbers (dump, fsck pass),
//! of which the last three may be missing. A blank inside a field is `\040`, a tab `\011`, a newline `\012`, a
//! backslash `\134`. A line whose first byte past the blanks is `#` is a comment; further right a `#` is a `#`.

/// The C libraries read a line into 4,096 bytes.
const LINE_MAX: usize = 4000;

/// A line of the table, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First field: a device path, a tag such as `UUID=…`, or what a pseudo file system puts there.
    pub source: Vec<u8>,
    /// Second field: the mount point; `none` for swap space.
    pub target: Vec<u8>,
    /// Third field.
    pub fstype: Vec<u8>,
    /// Fourth field; `defaults` where it is missing.
    pub options: Vec<u8>,
    /// Fifth field: dump(8) saves this file system.
    pub freq: u32,
    /// Sixth field: the pass of fsck(8) at boot; 0 is never.
    pub passno: u32,
}

impl Entry {
    /// Read a line without its newline; `None` for a comment, an empty line, and what is no entry.
    pub fn parse(line: &[u8]) -> Option<Self> {
        // CR LF ends a line for libmount, too.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut fields = line.split(|&byte| is_blank(byte)).filter(|field| !field.is_empty());
        let source = fields.next().filter(|field| field[0] != b'#')?;
        let (target, fstype) = (fields.next()?, fields.next()?);
        Some(Self {
            source: decode(source),
            target: decode(target),
            fstype: decode(fstype),
            options: fields.next().map_or_else(|| b"defaults".to_vec(), decode),
            freq: fields.next().map_or(0, leading_number),
            passno: fields.next().map_or(0, leading_number),
        })
    }

    /// The line that [`Entry::parse`] reads back as this entry, without a newline.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        for field in [&self.source, &self.target, &self.fstype, &self.options] {
            encode(field, &mut line);
            line.push(b' ');
        }
        line.extend(format!("{} {}", self.freq, self.passno).bytes());
        line
    }

    /// Why no reader would read this entry back, if that is so; a sentence about the line of fstab.
    pub fn fault(&self) -> Option<&'static str> {
        let fields = [&self.source, &self.target, &self.fstype, &self.options];
        if fields.iter().any(|field| field.is_empty()) {
            Some("a field of fstab would be empty")
        } else if fields.iter().any(|field| field.contains(&0)) {
            Some("a field of fstab would hold a NUL")
        } else if fields.iter().any(|field| field.starts_with(b"#")) {
            Some("a field of fstab would begin with `#`, which some readers take for a comment")
        } else if self.to_line().len() > LINE_MAX {
            Some("the line of fstab would be longer than 4,000 bytes")
        } else {
            None
        }
    }

    pub(super) fn is_swap(&self) -> bool {
        self.fstype == b"swap"
    }

    /// Is this entry's mount point the one of `other`? Swap spaces have none.
    pub(super) fn shares_target(&self, other: &Self) -> bool {
        !self.is_swap() && !other.is_swap() && normal(&self.target) == normal(&other.target)
    }

    /// Would mounting `self` later hide what `other` has mounted? The root is there before the table is read.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let (above, below) = (normal(&self.target), normal(&other.target));
        !self.is_swap()
            && !other.is_swap()
            && above != b"/"
            && below.strip_prefix(&above[..]).is_some_and(|rest| rest.first() == Some(&b'/'))
    }

    /// Path components of the mount point: what lies deeper is mounted later, swap spaces come last.
    pub(super) fn depth(&self) -> usize {
        match normal(&self.target) {
            _ if self.is_swap() => usize::MAX,
            path if path == b"/" => 0,
            path => path.iter().filter(|&&byte| byte == b'/').count(),
        }
    }
}

/// What parts the fields.
pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The digits at the start, as scanf(3) reads them; 0 where there are none.
fn leading_number(field: &[u8]) -> u32 {
    let len = field.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&field[..len]).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The path without doubled and trailing slashes.
fn normal(path: &[u8]) -> Vec<u8> {
    let mut normal: Vec<u8> = Vec::with_capacity(path.len());
    for &byte in path {
        if byte != b'/' || normal.last() != Some(&b'/') {
            normal.push(byte);
        }
    }
    if normal.len() > 1 && normal.ends_with(b"/") {
        normal.pop();
    }
    normal
}

/// Replace each backslash with three octal digits by the byte that they mean.
fn decode(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push(((a & 3) << 6) | ((b & 7) << 3) | (c & 7));
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

/// A field as it stands in a line, with only the four escapes that every reader knows, getmntent(3) of the C libraries as
/// well as libmount: `\043` for `#` is unknown to the former, and inside a field a `#` needs none.
pub(super) fn encode(field: &[u8], line: &mut Vec<u8>) {
    for &byte in field {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => line.extend(format!("\\{byte:03o}").bytes()),
            byte => line.push(byte),
        }
    }
}
