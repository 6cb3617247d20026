//! What the first field of an fstab line means: a device of the domain, a device that it lacks, or no device at all.
//!
//! A device is named by its path (`/dev/xvda1`), by a tag (`UUID=…`, `LABEL=…`, `PARTUUID=…`, `PARTLABEL=…`, the value
//! perhaps in quotes), or by a link that udev makes of a tag (`/dev/disk/by-label/my\x20disk`). The remaining links
//! below `/dev/disk` (`by-id`, `by-path`) tell of hardware, and a disk of Xen has none; `/dev/mapper` and `/dev/md` are
//! made from disks in a way that a table does not tell. Both count as absent.

use super::fstab_line::Entry;

/// A block device of the domain and the names by which a table may mean it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its path in the guest: `/dev/xvda1`.
    pub path: String,
    /// The path that the document gave it, where the guest's kernel calls it otherwise: `/dev/hda1`.
    pub renamed_from: Option<String>,
    /// UUID of what it holds; letters of either case are the same.
    pub uuid: Option<String>,
    /// Label of what it holds.
    pub label: Option<String>,
    /// UUID of the partition.
    pub part_uuid: Option<String>,
    /// Name of the partition.
    pub part_label: Option<String>,
}

/// What a first field means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    /// A pseudo or network file system, a file, or a device that the guest's kernel makes by itself.
    NotADevice,
    /// This device of the domain.
    Device(&'a Device),
    /// A device that the domain does not have.
    Absent,
}

/// Types that take no block device, whatever the first field says.
const WITHOUT_DEVICE: [&str; 45] = [
    "9p",
    "afs",
    "aufs",
    "autofs",
    "binfmt_misc",
    "bpf",
    "ceph",
    "cgroup",
    "cgroup2",
    "cifs",
    "coda",
    "configfs",
    "debugfs",
    "devfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fuse",
    "fusectl",
    "glusterfs",
    "hugetlbfs",
    "lustre",
    "mqueue",
    "ncpfs",
    "nfs",
    "nfs4",
    "nfsd",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "shm",
    "smb3",
    "smbfs",
    "sysfs",
    "tmpfs",
    "tracefs",
    "unionfs",
    "usbdevfs",
    "usbfs",
    "virtiofs",
    "xenfs",
];

/// Devices that are there without a disk, by the beginnings of their names below `/dev`.
const WITHOUT_DISK: [&str; 5] = ["ram", "zram", "loop", "nfs", "shm"];

/// What the first field of `entry` means in a domain that has `devices`.
pub(super) fn classify<'a>(entry: &Entry, devices: &'a [Device]) -> Source<'a> {
    let fstype = entry.fstype.as_slice();
    let binds = entry
        .options
        .split(|&byte| byte == b',')
        .any(|option| option == b"bind" || option == b"rbind");
    if binds
        || fstype.starts_with(b"fuse.")
        || WITHOUT_DEVICE.iter().any(|name| name.as_bytes() == fstype)
    {
        return Source::NotADevice;
    }
    let source = entry.source.as_slice();
    let found = if let Some((tag, value)) = tag_of(source) {
        devices.iter().find(|device| device.has(tag, &value))
    } else if let Some(name) = source.strip_prefix(b"/dev/") {
        if WITHOUT_DISK.iter().any(|start| name.starts_with(start.as_bytes())) {
            return Source::NotADevice;
        }
        // A path that the domain has comes before one that it had by an old name.
        let now = devices.iter().find(|device| device.path.as_bytes() == source);
        now.or_else(|| devices.iter().find(|device| device.was(source)))
    } else {
        // `proc`, `none`, `host:/x`, `//host/x`, and files: swap files, loop images.
        return Source::NotADevice;
    };
    found.map_or(Source::Absent, Source::Device)
}

/// By what a device can be named, apart from its path.
#[derive(Clone, Copy)]
enum Tag {
    Uuid,
    Label,
    PartUuid,
    PartLabel,
    /// Tags that no disk of a domain answers to.
    Other,
}

impl Device {
    fn has(&self, tag: Tag, value: &[u8]) -> bool {
        let same = |own: &Option<String>| own.as_ref().is_some_and(|own| own.as_bytes() == value);
        let same_nr = |own: &Option<String>| {
            own.as_ref().is_some_and(|own| own.as_bytes().eq_ignore_ascii_case(value))
        };
        match tag {
            Tag::Uuid => same_nr(&self.uuid),
            Tag::Label => same(&self.label),
            Tag::PartUuid => same_nr(&self.part_uuid),
            Tag::PartLabel => same(&self.part_label),
            Tag::Other => false,
        }
    }

    fn was(&self, path: &[u8]) -> bool {
        self.renamed_from.as_ref().is_some_and(|old| old.as_bytes() == path)
    }
}

fn tag_of(source: &[u8]) -> Option<(Tag, Vec<u8>)> {
    if let Some(link) = source.strip_prefix(b"/dev/disk/by-") {
        let slash = link.iter().position(|&byte| byte == b'/')?;
        let tag = match &link[..slash] {
            b"uuid" => Tag::Uuid,
            b"label" => Tag::Label,
            b"partuuid" => Tag::PartUuid,
            b"partlabel" => Tag::PartLabel,
            _ => Tag::Other,
        };
        return Some((tag, udev_decode(&link[slash + 1..])));
    }
    let equals = source.iter().position(|&byte| byte == b'=')?;
    let tag = match &source[..equals] {
        b"UUID" => Tag::Uuid,
        b"LABEL" => Tag::Label,
        b"PARTUUID" => Tag::PartUuid,
        b"PARTLABEL" => Tag::PartLabel,
        b"ID" => Tag::Other,
        _ => return None,
    };
    let value = match &source[equals + 1..] {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
        bare => bare,
    };
    Some((tag, value.to_vec()))
}

/// udev writes a byte that a file name ought not to have as `\xHH`.
fn udev_decode(name: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, tail @ ..] = rest {
        if let [b'\\', b'x', high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            bytes.push((high << 4) | low);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    bytes
}
