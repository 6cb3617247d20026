//! `/etc/fstab`: edited line by line ([`Entry`]), so that all that is not concerned keeps its bytes.
//!
//! [`edit`] makes the table of a stock image fit the disks of a domain:
//!
//! ```text
//! # /etc/fstab: made by hand           # /etc/fstab: made by hand
//! /dev/sda1  /      ext3  defaults  →  # autoxen: /dev/sda1 is not attached to this domain: /dev/sda1  /      ext3  defaults
//! proc       /proc  proc  defaults     proc       /proc  proc  defaults
//!                                      /dev/xvda1 / ext3 defaults 0 1
//! ```
//!
//! What was edited once is not changed by the same edit again: an entry that says already what the domain wants stays.
//! Whether a mount point exists, or a type is known to the guest, is not looked at here.

pub use super::fstab_line::Entry;
use super::fstab_line::{encode, is_blank};
pub use super::fstab_source::Device;
use super::fstab_source::{Source, classify};

/// A table after the edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// All of the file.
    pub text: Vec<u8>,
    /// What was changed, from the first line to the last, then what was added.
    pub changes: Vec<Change>,
}

/// One change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Line in the old text, from 1 on; `None` for a line that was added.
    pub line: Option<usize>,
    /// What was done and why. It may quote the table, and so hold any character but a newline.
    pub reason: String,
}

/// The entries of a table, each with the device of `devices` that it means, if it means one of them.
pub fn entries<'d>(text: &[u8], devices: &'d [Device]) -> Vec<(Entry, Option<&'d Device>)> {
    let entries = lines_of(text).filter_map(Entry::parse);
    let device = |entry: &Entry| match classify(entry, devices) {
        Source::Device(device) => Some(device),
        Source::NotADevice | Source::Absent => None,
    };
    entries.map(|entry| (entry.clone(), device(&entry))).collect()
}

/// Make the table `old` (empty, where there is none) fit a domain that has `devices` and wants `entries`.
///
/// An entry whose device is not among `devices`, and one whose device or mount point `entries` claim, becomes a comment
/// that says why; one that uses a device's former name gets the new name; `entries` that are not there follow, each
/// behind what it may lie under, and before what lies under it. Every other byte stays.
pub fn edit(old: &[u8], devices: &[Device], entries: &[Entry]) -> Edited {
    let mut changes = Vec::new();
    let mut present = vec![false; entries.len()];
    let mut lines: Vec<Line> = Vec::new();
    for (index, bytes) in lines_of(old).enumerate() {
        let line = edited_line(bytes, devices, entries, &mut present);
        if let Some(reason) = line.changed.clone() {
            changes.push(Change { line: Some(index.saturating_add(1)), reason });
        }
        lines.push(line);
    }

    let mut missing: Vec<&Entry> = entries
        .iter()
        .zip(&present)
        .filter(|(_, present)| !**present)
        .map(|(entry, _)| entry)
        .collect();
    missing.sort_by_key(|entry| entry.depth());
    for entry in &missing {
        let place = lines
            .iter()
            .position(|line| line.entry.as_ref().is_some_and(|kept| entry.covers(kept)))
            .unwrap_or(lines.len());
        let text = entry.to_line();
        let reason =
            format!("added, because the document has it: {}", String::from_utf8_lossy(&text));
        changes.push(Change { line: None, reason });
        lines.insert(place, Line { bytes: text, entry: Some((*entry).clone()), changed: None });
    }

    let mut text = Vec::new();
    for line in &lines {
        text.extend_from_slice(&line.bytes);
        text.push(b'\n');
    }
    if missing.is_empty() && !old.ends_with(b"\n") {
        text.pop();
    }
    Edited { text, changes }
}

/// A line of the new table.
struct Line {
    bytes: Vec<u8>,
    /// What it says, unless it is a comment by now.
    entry: Option<Entry>,
    changed: Option<String>,
}

fn edited_line(bytes: &[u8], devices: &[Device], wanted: &[Entry], present: &mut [bool]) -> Line {
    let kept = |entry| Line { bytes: bytes.to_vec(), entry, changed: None };
    let Some(entry) = Entry::parse(bytes) else { return kept(None) };
    let twin =
        wanted.iter().zip(present.iter_mut()).find(|(new, present)| **new == entry && !**present);
    if let Some((_, present)) = twin {
        *present = true;
        return kept(Some(entry));
    }

    let start = bytes.iter().position(|&byte| !is_blank(byte)).unwrap_or(0);
    let end = (start..bytes.len()).find(|&at| is_blank(bytes[at])).unwrap_or(bytes.len());
    let name = String::from_utf8_lossy(&bytes[start..end]);
    let comment = |reason: String| {
        let mut text = format!("# autoxen: {reason}: ").into_bytes();
        text.extend_from_slice(bytes);
        Line { bytes: text, entry: None, changed: Some(format!("commented out, because {reason}")) }
    };

    let device = match classify(&entry, devices) {
        Source::NotADevice => None,
        Source::Device(device) => Some(device),
        Source::Absent => return comment(format!("{name} is not attached to this domain")),
    };
    if let Some(new) = wanted.iter().find(|new| new.shares_target(&entry)) {
        let source = String::from_utf8_lossy(&new.source).into_owned();
        return comment(format!("the document mounts {source} there"));
    }
    if let Some(device) = device {
        let same_device =
            |new: &&Entry| matches!(classify(new, devices), Source::Device(d) if d == device);
        if wanted.iter().any(|new| same_device(&new)) && !is_subvolume(&entry) {
            return comment(format!("the document has another entry for {name}"));
        }
        if device.renamed_from.as_ref().is_some_and(|old| old.as_bytes() == entry.source) {
            let mut text = bytes[..start].to_vec();
            encode(device.path.as_bytes(), &mut text);
            text.extend_from_slice(&bytes[end..]);
            let reason = format!("renamed, because {name} is {} in this domain", device.path);
            let entry = Entry { source: device.path.clone().into_bytes(), ..entry };
            return Line { bytes: text, entry: Some(entry), changed: Some(reason) };
        }
    }
    kept(Some(entry))
}

/// One btrfs holds several trees, each with an entry of its own.
fn is_subvolume(entry: &Entry) -> bool {
    entry.fstype == b"btrfs"
        && entry
            .options
            .split(|&byte| byte == b',')
            .any(|option| option.starts_with(b"subvol=") || option.starts_with(b"subvolid="))
}

fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    body.split(|&byte| byte == b'\n').take(if text.is_empty() { 0 } else { usize::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Entry {
        Entry::parse(line.as_bytes()).expect("an entry")
    }

    fn root() -> (Vec<Device>, Vec<Entry>) {
        let device = Device {
            path: "/dev/xvda1".into(),
            uuid: Some("0c1d2e3f-aaaa-bbbb-cccc-0123456789ab".into()),
            label: Some("my root".into()),
            part_uuid: Some("1234abcd-01".into()),
            part_label: Some("system".into()),
            ..Device::default()
        };
        (vec![device], vec![entry("/dev/xvda1 / ext3 defaults 0 1")])
    }

    fn edited(old: &str, devices: &[Device], entries: &[Entry]) -> String {
        let once = edit(old.as_bytes(), devices, entries);
        let twice = edit(&once.text, devices, entries);
        assert_eq!(
            twice,
            Edited { text: once.text.clone(), changes: Vec::new() },
            "a second edit changes nothing"
        );
        String::from_utf8(once.text).expect("text")
    }

    #[test]
    fn the_table_of_a_stock_image_fits_the_domain_afterwards() {
        let (devices, entries) = root();
        let old = "\
# /etc/fstab: made by hand

/dev/sda1\t/          ext3   defaults,errors=remount-ro 0 1
/dev/sda5\tnone       swap   sw         0 0
proc     \t/proc      proc   defaults   0 0
nfs1:/home /home      nfs    rw         0 0
/swapfile  none       swap   sw         0 0
/srv       /mnt/srv   none   bind       0 0
 garbage
";
        let new = "\
# /etc/fstab: made by hand

# autoxen: /dev/sda1 is not attached to this domain: /dev/sda1\t/          ext3   defaults,errors=remount-ro 0 1
# autoxen: /dev/sda5 is not attached to this domain: /dev/sda5\tnone       swap   sw         0 0
proc     \t/proc      proc   defaults   0 0
nfs1:/home /home      nfs    rw         0 0
/swapfile  none       swap   sw         0 0
/srv       /mnt/srv   none   bind       0 0
 garbage
/dev/xvda1 / ext3 defaults 0 1
";
        assert_eq!(edited(old, &devices, &entries), new);
    }

    #[test]
    fn each_change_says_its_line_and_its_reason() {
        let (devices, entries) = root();
        let changes = edit(b"proc /proc proc\n/dev/sda1 / ext3\n", &devices, &entries).changes;
        assert_eq!(
            changes,
            [
                Change {
                    line: Some(2),
                    reason: "commented out, because /dev/sda1 is not attached to this domain"
                        .into()
                },
                Change {
                    line: None,
                    reason: "added, because the document has it: /dev/xvda1 / ext3 defaults 0 1"
                        .into()
                },
            ]
        );
    }

    #[test]
    fn no_table_becomes_one_and_a_missing_newline_is_added_only_before_a_new_line() {
        let (devices, entries) = root();
        assert_eq!(edited("", &devices, &entries), "/dev/xvda1 / ext3 defaults 0 1\n");
        assert_eq!(edited("# x", &devices, &entries), "# x\n/dev/xvda1 / ext3 defaults 0 1\n");
        assert_eq!(
            edited("/dev/xvda1 / ext3 defaults 0 1", &devices, &entries),
            "/dev/xvda1 / ext3 defaults 0 1"
        );
        assert_eq!(edited("# x\r\n\n\n", &devices, &[]), "# x\r\n\n\n");
    }

    #[test]
    fn a_device_is_known_by_each_of_its_names() {
        let (mut devices, _) = root();
        devices[0].renamed_from = None;
        for name in [
            "/dev/xvda1",
            "UUID=0C1D2E3F-aaaa-bbbb-cccc-0123456789ab",
            "UUID=\"0c1d2e3f-aaaa-bbbb-cccc-0123456789ab\"",
            "LABEL=my\\040root",
            "LABEL='my\\040root'",
            "PARTUUID=1234ABCD-01",
            "PARTLABEL=system",
            "/dev/disk/by-uuid/0c1d2e3f-aaaa-bbbb-cccc-0123456789ab",
            "/dev/disk/by-label/my\\134x20root",
            "/dev/disk/by-label/my\\x20root",
            "/dev/disk/by-partuuid/1234abcd-01",
            "/dev/disk/by-partlabel/system",
        ] {
            let line = format!("{name} /data ext3 defaults 0 2\n");
            assert_eq!(edited(&line, &devices, &[]), line);
        }
        for name in [
            "/dev/xvda2",
            "/dev/xvda",
            "UUID=ffff",
            "LABEL=MY\\040ROOT",
            "LABEL=",
            "PARTUUID=1",
            "PARTLABEL=System",
            "ID=x",
            "/dev/disk/by-id/ata-x",
            "/dev/mapper/vg-root",
            "/dev/vg/root",
            "/dev/md0",
        ] {
            let line = format!("{name} /data ext3 defaults 0 2\n");
            let comment = format!("# autoxen: {name} is not attached to this domain: {line}");
            assert_eq!(edited(&line, &devices, &[]), comment);
        }
    }

    #[test]
    fn what_needs_no_disk_stays() {
        for line in [
            "none /proc proc\n",
            "/dev/loop0 /mnt iso9660 loop\n",
            "/images/x.iso /mnt iso9660 loop\n",
            "/dev/ram0 /tmp ext2\n",
            "//srv/share /mnt cifs guest\n",
            "sshfs#me@host: /mnt fuse\n",
            "me@host: /mnt fuse.sshfs\n",
            "/dev/shm /var/shm none bind\n",
            "usbdevfs /proc/bus/usb usbdevfs\n",
        ] {
            assert_eq!(edited(line, &[], &[]), line);
        }
    }

    #[test]
    fn an_entry_for_a_claimed_mount_point_or_device_is_replaced() {
        let (devices, entries) = root();
        assert_eq!(
            edited("UUID=0c1d2e3f-aaaa-bbbb-cccc-0123456789ab // ext4 ro\n", &devices, &entries),
            "# autoxen: the document mounts /dev/xvda1 there: UUID=0c1d2e3f-aaaa-bbbb-cccc-0123456789ab // ext4 ro\n\
             /dev/xvda1 / ext3 defaults 0 1\n"
        );
        assert_eq!(
            edited("LABEL=my\\040root /old ext3\n", &devices, &entries),
            "# autoxen: the document has another entry for LABEL=my\\040root: LABEL=my\\040root /old ext3\n\
             /dev/xvda1 / ext3 defaults 0 1\n"
        );
        let tmp = [entry("/dev/xvda1 /tmp ext3 defaults 0 2")];
        assert_eq!(
            edited("tmpfs /tmp/ tmpfs size=1g 0 0\n", &devices, &tmp),
            "# autoxen: the document mounts /dev/xvda1 there: tmpfs /tmp/ tmpfs size=1g 0 0\n\
             /dev/xvda1 /tmp ext3 defaults 0 2\n"
        );
    }

    #[test]
    fn the_trees_of_one_btrfs_have_an_entry_each() {
        let device = Device { path: "/dev/xvdb".into(), ..Device::default() };
        let home = [entry("/dev/xvdb /home btrfs subvol=@home 0 0")];
        let old = "/dev/xvdb /srv btrfs noatime,subvol=@srv 0 0\n";
        let new = "/dev/xvdb /srv btrfs noatime,subvol=@srv 0 0\n/dev/xvdb /home btrfs subvol=@home 0 0\n";
        assert_eq!(edited(old, &[device], &home), new);
    }

    #[test]
    fn a_renamed_device_is_renamed_in_its_place() {
        let device = |nr: u32| Device {
            path: format!("/dev/xvda{nr}"),
            renamed_from: Some(format!("/dev/hda{nr}")),
            ..Device::default()
        };
        let entries = [entry("/dev/xvda1 / ext3 defaults 0 1")];
        let old = "  /dev/hda2\t/home  ext3\tdefaults 1 2 # ours\n/dev/hda1 / ext3 defaults 1 1\n";
        let new = "  /dev/xvda2\t/home  ext3\tdefaults 1 2 # ours\n\
                   # autoxen: the document mounts /dev/xvda1 there: /dev/hda1 / ext3 defaults 1 1\n\
                   /dev/xvda1 / ext3 defaults 0 1\n";
        assert_eq!(edited(old, &[device(1), device(2)], &entries), new);
    }

    #[test]
    fn what_is_mounted_above_comes_before_what_is_mounted_below() {
        let device = |nr: u32| Device { path: format!("/dev/xvda{nr}"), ..Device::default() };
        let devices = [device(1), device(2), device(3), device(4)];
        let entries = [
            entry("/dev/xvda4 /home/a/b ext3 defaults 0 2"),
            entry("/dev/xvda1 / ext3 defaults 0 1"),
            entry("/dev/xvda3 /home ext3 defaults 0 2"),
        ];
        let old = "proc /proc proc defaults 0 0\n/dev/xvda2 /home/data ext3 defaults 0 2\n";
        let new = "proc /proc proc defaults 0 0\n\
                   /dev/xvda3 /home ext3 defaults 0 2\n\
                   /dev/xvda2 /home/data ext3 defaults 0 2\n\
                   /dev/xvda1 / ext3 defaults 0 1\n\
                   /dev/xvda4 /home/a/b ext3 defaults 0 2\n";
        assert_eq!(edited(old, &devices, &entries), new);
    }

    #[test]
    fn another_document_comments_out_what_the_first_one_wrote() {
        let (devices, entries) = root();
        let first = edited("", &devices, &entries);
        let ext4 = [entry("/dev/xvda1 / ext4 noatime 0 1")];
        assert_eq!(
            edited(&first, &devices, &ext4),
            "# autoxen: the document mounts /dev/xvda1 there: /dev/xvda1 / ext3 defaults 0 1\n\
             /dev/xvda1 / ext4 noatime 0 1\n"
        );
    }

    #[test]
    fn a_field_with_nasty_characters_is_read_back() {
        for target in
            ["/a b", "/a\tb", "/a\nb", "/a\\b", "/a\\040b", "/a#b", "/#", "/é", "/\\", "/ "]
        {
            let entry = Entry { target: target.into(), ..entry("/dev/xvdb x ext3 defaults 0 2") };
            assert_eq!(Entry::parse(&entry.to_line()), Some(entry.clone()), "{target:?}");
        }
        assert_eq!(entry("/dev/a /x\\043y ext3").target, b"/x#y");
        assert_eq!(entry("/dev/a /x\\08\\9 ext3").target, b"/x\\08\\9");
        assert_eq!(entry("/dev/a /x ext3\r").fstype, b"ext3");
    }

    #[test]
    fn what_no_reader_would_read_back_is_a_fault() {
        let good = entry("/dev/xvda1 /a ext3 defaults 0 2");
        assert_eq!(good.fault(), None);
        for target in ["", "/a\0b", "#a", &"a".repeat(4000)] {
            assert!(
                Entry { target: target.into(), ..good.clone() }.fault().is_some(),
                "{target:?}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        let old = b"# \xff\xfe\n/dev/sda1 /\xff ext3\n";
        let new = edit(old, &[], &[]);
        assert_eq!(
            new.text,
            b"# \xff\xfe\n# autoxen: /dev/sda1 is not attached to this domain: /dev/sda1 /\xff ext3\n"
        );
    }
}
