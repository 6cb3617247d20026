//! The rules for single values: text in, value or a reason out. Nothing here knows where a value stands.

use crate::visible::is_seen;
use crate::xmf::model::{BlockDevice, MountPoint};
use crate::xmf::suggest::shorten;
use crate::xmf::xml::chars;

/// Why a value is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) message: String,
    pub(super) expected: Option<String>,
    pub(super) hint: Option<String>,
}

impl Bad {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), expected: None, hint: None }
    }

    pub(super) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

type Checked<T> = Result<T, Bad>;

/// 16 TiB: the largest ext file system with 32-bit block numbers, and more memory than Xen gives one domain.
const TERABYTES_16: u64 = 16 << 40;

/// Refuse control characters: they would end a line of a file that the value goes into.
pub(super) fn one_line(value: &str) -> Checked<&str> {
    // What cannot stand in XML at all has been reported where it stands.
    match value.chars().find(|c| c.is_control() && chars::is_char(*c)) {
        None => Ok(value),
        Some('\n') => Err(Bad::new("the value has more than one line").expected("one line")),
        Some(c) => {
            let message = format!("the value holds a control character, {:#04x}", u32::from(c));
            Err(Bad::new(message).expected("printable text"))
        }
    }
}

/// An absolute path in normal form.
pub(super) fn absolute_path(value: &str) -> Checked<String> {
    one_line(value)?;
    let shown = shorten(value);
    if !value.starts_with('/') {
        return Err(
            Bad::new(format!("`{shown}` is not absolute")).expected("a path that begins with `/`")
        );
    }
    let normal = value[1..].split('/').all(|part| !matches!(part, "" | "." | ".."));
    if value != "/" && !normal {
        let message = format!("`{shown}` is not normal");
        return Err(Bad::new(message).expected("no `.`, `..`, `//` and no `/` at the end"));
    }
    // PATH_MAX and NAME_MAX of Linux, its terminating NUL left out.
    if value.len() > 4095 || value.split('/').any(|part| part.len() > 255) {
        return Err(Bad::new("the path is too long").expected("255 bytes a name, 4095 in all"));
    }
    Ok(value.to_owned())
}

/// A path of the host, absolute or relative to the XMF.
pub(super) fn host_path(value: &str) -> Checked<String> {
    one_line(value)?;
    if value.is_empty() {
        return Err(Bad::new("the path is empty").expected("a file of this host"));
    }
    if value.len() > 4095 {
        return Err(Bad::new("the path is too long").expected("at most 4095 bytes"));
    }
    Ok(value.to_owned())
}

/// `memory`, in MiB.
pub(super) fn memory(number: i128) -> Checked<u32> {
    let most = TERABYTES_16 >> 20;
    u32::try_from(number).ok().filter(|mib| (1..=most).contains(&u64::from(*mib))).ok_or_else(
        || {
            Bad::new(format!("`{number}` MiB is no amount of memory"))
                .expected(format!("a whole number of MiB from 1 to {most}"))
        },
    )
}

/// The name of a domain: what xl, its log files and xenstore take.
pub(super) fn domain_name(value: &str) -> Checked<String> {
    let bad = |why: &str| Bad::new(format!("`{}` cannot name a domain: {why}", shorten(value)));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let expected = "1 to 64 letters, digits, `_`, `.` and `-`, the first a letter or `_`";
    if value == "Domain-0" {
        return Err(bad("the host itself has that name"));
    }
    if !value.is_empty() && value.chars().all(|c| c.is_ascii_digit()) {
        return Err(bad("xl would take it for a number of a domain").expected(expected));
    }
    if value.contains("..") {
        return Err(bad("it holds `..`").expected(expected));
    }
    let first = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !first || !value.chars().all(allowed) || value.len() > 64 {
        return Err(bad("it has another form").expected(expected));
    }
    Ok(value.to_owned())
}

/// `mountpoint`.
pub(super) fn mount_point(value: &str) -> Checked<MountPoint> {
    match value {
        "none" | "swap" => Ok(MountPoint::None),
        _ => absolute_path(value).map(MountPoint::Path),
    }
}

/// `blockdevice`, as Xen names disks, with or without `/dev/`.
pub(super) fn block_device(value: &str) -> Checked<BlockDevice> {
    let bad = || {
        Bad::new(format!("`{}` is no block device of a Xen guest", shorten(value))).expected(
            "`xvda`, `xvda1` …; `hda` to `hdd` and `sda` to `sdp`, with or without a partition",
        )
    };
    let name = value.strip_prefix("/dev/").unwrap_or(value);
    let digits = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let (disk, number) = name.split_at(digits);
    // Disks and partitions of each kind, as libxl counts them. It numbers the disks of `xvd` in 20 bits: three
    // letters, up to `zzz`, stay far below that.
    let (letters, disks, partitions) = match disk.split_at_checked(2) {
        Some(("xv", rest)) => (rest.strip_prefix('d').ok_or_else(bad)?, 18_278, 255),
        Some(("hd", rest)) => (rest, 4, 63),
        Some(("sd", rest)) => (rest, 16, 15),
        _ => return Err(bad()),
    };
    if letters.is_empty() || letters.len() > 3 || !letters.bytes().all(|b| b.is_ascii_lowercase()) {
        return Err(bad());
    }
    // a…z, aa, ab…: digits of base 26 without a zero.
    let index = letters.bytes().fold(0u32, |index, b| index * 26 + u32::from(b - b'a') + 1) - 1;
    let partition = match number {
        "" => None,
        _ if number.starts_with('0') || !number.bytes().all(|b| b.is_ascii_digit()) => {
            return Err(bad());
        }
        _ => Some(number.parse::<u32>().ok().filter(|n| *n <= partitions).ok_or_else(bad)?),
    };
    if index >= disks {
        return Err(bad());
    }
    Ok(BlockDevice { disk: disk.to_owned(), partition })
}

/// `url`: a plain path, or `file:` and an absolute one.
pub(super) fn url(value: &str) -> Checked<String> {
    let scheme = value.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    });
    let Some(scheme) = scheme else { return host_path(value) };
    if !scheme.eq_ignore_ascii_case("file") {
        let message = format!("scheme `{}` is not served by this version", shorten(scheme));
        return Err(Bad::new(message)
            .expected("a path, or `file:///` and a path")
            .hint("a file whose name has a colon is written with `./` before it"));
    }
    let rest = &value[5..];
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => rest,
    };
    if !path.starts_with('/') {
        let message = format!("`{}` names another host, or no absolute path", shorten(value));
        return Err(Bad::new(message).expected("`file:///` and a path"));
    }
    if let Some(c) = path.chars().find(|c| matches!(c, '?' | '#')) {
        let message = format!("`{c}` in a file URL begins what a path cannot have");
        return Err(Bad::new(message).hint(format!("write `%{:02X}`", u32::from(c))));
    }
    host_path(&percent_decoded(path)?)
}

fn percent_decoded(path: &str) -> Checked<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let decoded =
            digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        match decoded {
            Some(0) | None => {
                let message = format!("`{}` holds a bad `%`", shorten(path));
                return Err(Bad::new(message).expected("`%` and two hexadecimal digits, not `%00`"));
            }
            Some(byte) => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| Bad::new("the decoded path is no UTF-8"))
}

/// A field of fstab that no escape can carry: `filesystemtype`, `options`.
pub(super) fn fstab_word(value: &str) -> Checked<String> {
    one_line(value)?;
    if value.is_empty() {
        return Err(Bad::new("the value is empty").expected("a word"));
    }
    if value.chars().any(char::is_whitespace) {
        let message = format!("`{}` is more than one word", shorten(value));
        return Err(Bad::new(message).expected("a word of fstab, without blanks"));
    }
    if value.starts_with('#') {
        return Err(Bad::new("the value begins with `#`").expected("a word of fstab"));
    }
    Ok(value.to_owned())
}

/// Bytes that a label has room for, by file system.
pub(super) fn label_room(filesystem: &str) -> usize {
    match filesystem {
        "vfat" | "msdos" | "fat" => 11,
        "swap" => 15,
        "xfs" => 12,
        "btrfs" => 255,
        _ => 16,
    }
}

/// `label` on a file system.
pub(super) fn label(value: &str, filesystem: &str) -> Checked<String> {
    one_line(value)?;
    let room = label_room(filesystem);
    if value.is_empty() || value.len() > room {
        let message = format!("label `{}` is {} bytes long", shorten(value), value.len());
        return Err(Bad::new(message).expected(format!("1 to {room} bytes on `{filesystem}`")));
    }
    Ok(value.to_owned())
}

/// `signedby`: a list of patterns for names.
pub(super) fn signers(value: &str) -> Checked<String> {
    one_line(value)?;
    let fits = |c: char| is_seen(c) && !c.is_whitespace() && c != '"';
    let expected =
        "names or patterns, joined by commas: `release@example.org`, `*@example.org`, `*`";
    if !value.chars().all(fits) {
        return Err(
            Bad::new(format!("`{}` is no list of signers", shorten(value))).expected(expected)
        );
    }
    if !value.split(',').any(|entry| !entry.is_empty() && !entry.starts_with('!')) {
        return Err(Bad::new(format!("`{}` names nobody", shorten(value))).expected(expected));
    }
    Ok(value.to_owned())
}

/// `sha256`, in lower case.
pub(super) fn sha256(value: &str) -> Checked<String> {
    if value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(value.to_ascii_lowercase());
    }
    let message = format!("`{}` is no SHA-256 digest", shorten(value));
    Err(Bad::new(message).expected("64 hexadecimal digits"))
}

/// `size` in bytes.
pub(super) fn size(value: &str) -> Checked<u64> {
    let expected = "a number with `K`, `M`, `G` or `T`, up to 16T";
    let bad = |why: &str| Bad::new(format!("`{}` {why}", shorten(value))).expected(expected);
    let (digits, shift) = match value.as_bytes().last() {
        Some(b'K') => (&value[..value.len() - 1], 10),
        Some(b'M') => (&value[..value.len() - 1], 20),
        Some(b'G') => (&value[..value.len() - 1], 30),
        Some(b'T') => (&value[..value.len() - 1], 40),
        _ => (value, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad("is no size"));
    }
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match bytes {
        Some(0) => Err(bad("is no size")),
        Some(bytes) if bytes <= TERABYTES_16 => Ok(bytes),
        _ => Err(bad("is too large")),
    }
}

/// `mode`: permission bits in octal.
pub(super) fn mode(value: &str) -> Checked<u32> {
    let octal = (1..=5).contains(&value.len()) && value.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let bits = u32::from_str_radix(value, 8).ok().filter(|bits| octal && *bits <= 0o7777);
    bits.ok_or_else(|| {
        Bad::new(format!("`{}` is no file mode", shorten(value)))
            .expected("octal digits up to 7777")
    })
}

/// `owner`: user and group by number.
pub(super) fn owner(value: &str) -> Checked<(u32, u32)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // The highest number means "leave as it is" to chown(2).
        text.parse::<u32>().ok().filter(|id| digits && *id != u32::MAX)
    };
    let ids = value.split_once(':').and_then(|(user, group)| number(user).zip(number(group)));
    ids.ok_or_else(|| {
        Bad::new(format!("`{}` is no owner", shorten(value)))
            .expected("user and group by number, as in `0:0`")
            .hint(
                "names mean nothing before the guest runs: look the numbers up in its /etc/passwd",
            )
    })
}

/// `hostname`, after RFC 1123.
pub(super) fn hostname(value: &str) -> Checked<String> {
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    // Linux takes 64 bytes, and so does no name longer than that help.
    if value.len() <= 64 && value.split('.').all(label) {
        return Ok(value.to_owned());
    }
    let message = format!("`{}` is no host name", shorten(value));
    Err(Bad::new(message)
        .expected("letters, digits and `-`, parts joined by dots, 64 characters at most"))
}

/// `mac` of a network interface, in lower case.
pub(super) fn mac(value: &str) -> Checked<String> {
    let bad = |message: String| Bad::new(message).expected("six octets, as in `00:16:3e:12:34:56`");
    let octets: Option<Vec<u8>> = value
        .split(':')
        .map(|octet| {
            let hex = octet.len() == 2 && octet.bytes().all(|byte| byte.is_ascii_hexdigit());
            u8::from_str_radix(octet, 16).ok().filter(|_| hex)
        })
        .collect();
    match octets.as_deref() {
        Some([first, ..]) if value.len() == 17 && first & 1 == 1 => {
            Err(bad(format!("`{}` is a multicast address", shorten(value))))
        }
        Some([0, 0, 0, 0, 0, 0]) => Err(bad("the address is all zero".into())),
        Some([_, _, _, _, _, _]) => Ok(value.to_ascii_lowercase()),
        _ => Err(bad(format!("`{}` is no MAC address", shorten(value)))),
    }
}

/// `bridge`: the name of a network interface of the host.
pub(super) fn bridge(value: &str) -> Checked<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let dots = matches!(value, "." | "..");
    if (1..=15).contains(&value.len()) && value.chars().all(allowed) && !dots {
        return Ok(value.to_owned());
    }
    let message = format!("`{}` is no name of a bridge", shorten(value));
    Err(Bad::new(message).expected("1 to 15 letters, digits, `.`, `_` and `-`"))
}

/// `name` of a job: what run-parts takes for the name of a script.
pub(super) fn job_name(value: &str) -> Checked<String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    if (1..=60).contains(&value.len()) && value.bytes().all(allowed) {
        return Ok(value.to_owned());
    }
    let message = format!("`{}` cannot name a job", shorten(value));
    Err(Bad::new(message).expected("1 to 60 of `a`-`z`, `0`-`9`, `_` and `-`"))
}

/// `timeout` and `limit`. What does not fit 31 bits some shell of a guest cannot count.
pub(super) fn seconds(number: i128) -> Checked<u32> {
    let most = i128::from(i32::MAX);
    u32::try_from(number).ok().filter(|_| (1..=most).contains(&number)).ok_or_else(|| {
        Bad::new(format!("`{number}` is no length of time"))
            .expected(format!("a whole number of seconds from 1 to {most}"))
    })
}

/// The name of a user of the guest.
pub(super) fn user(value: &str) -> Checked<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if value.len() <= 32 && value.starts_with(first) && value.chars().all(allowed) {
        return Ok(value.to_owned());
    }
    let message = format!("`{}` is no name of a user", shorten(value));
    Err(Bad::new(message).expected("up to 32 letters, digits, `_`, `-` and `.`"))
}

/// The path of an `output`: a pattern of the shell, perhaps.
pub(super) fn output_path(value: &str) -> Checked<String> {
    let path = absolute_path(value)?;
    if path == "/" {
        return Err(Bad::new("all of the guest is no output").expected("a path below `/`"));
    }
    // The file that tells the guest's runner of it has a line for each, in which a blank at the end is lost.
    if path.ends_with(char::is_whitespace) {
        return Err(Bad::new("a blank at the end of the path").hint("`?` matches it"));
    }
    Ok(path)
}

/// The size of a results disk: a file system with a journal needs 4 MiB.
pub(super) fn results_size(value: &str) -> Checked<u64> {
    let bytes = size(value)?;
    if bytes < 4 << 20 {
        return Err(Bad::new(format!("`{}` is too small", shorten(value))).expected("4M at least"));
    }
    Ok(bytes)
}

/// The name of an environment variable.
pub(super) fn variable_name(value: &str) -> Checked<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !value.is_empty()
        && value.chars().all(allowed)
        && !value.starts_with(|c: char| c.is_ascii_digit())
    {
        return Ok(value.to_owned());
    }
    let message = format!("`{}` is no name of a variable", shorten(value));
    Err(Bad::new(message).expected("letters, digits and `_`, the first no digit"))
}
