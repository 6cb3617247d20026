//! Who else has an image open.
//!
//! Three programs use raw images, and each says so in its own way:
//!
//! ```text
//! whoever asks with flock(2)   the lock itself; /proc/locks names the process
//! the loop driver              /proc/partitions, /sys/block/loopN/loop/backing_file, /sys/block/loopN/ro
//! QEMU and its tools           record locks on single bytes: 100 + p is held by who uses permission p, 200 + p by who
//!                              lets nobody else use it (p = 1: write)
//! ```
//!
//! Of record locks the kernel says whether one is in the way (`F_GETLK`). `/proc/locks` is read for the name of a process
//! alone, once it is known that there is one: to open it stops all taking of locks on the host until every processor has
//! taken notice, which took 15 ms where an edit took 4. It has a line a lock, with the device and the inode; device numbers
//! are hexadecimal: `3: FLOCK  ADVISORY  READ 4711 fe:00:10145184 0 EOF`
//!
//! What cannot be read (no `/proc`, no `/sys`) is taken as nobody: a check before the act is a courtesy, the lock is
//! what counts.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_UNLCK, F_WRLCK, SEEK_SET, flock};

use crate::host;

/// What the caller is going to do with the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Only somebody who writes is in the way.
    Read,
    /// Anybody is in the way.
    Write,
}

/// The byte that QEMU locks while it reads: 100 and permission 0.
const QEMU_READS: i64 = 100;
/// The byte that QEMU locks while it writes: 100 and permission 1.
const QEMU_WRITES: i64 = 101;
/// The byte that QEMU locks while nobody else may write: 200 and permission 1.
const QEMU_FORBIDS_WRITE: i64 = 201;

/// Words of fcntl(2) as its structure holds them.
const WRITE: i16 = F_WRLCK as i16;
const NOBODY: i16 = F_UNLCK as i16;
const FROM_START: i16 = SEEK_SET as i16;

/// Who stands in the way of `intent` on `file` beside those who hold a `flock`, in words.
pub(crate) fn occupant(file: &File, intent: Intent) -> Option<String> {
    loop_device(file, intent).or_else(|| qemu(file, intent))
}

/// Who holds a `flock` on `file`, in words: `process 4711 (xl)`.
pub(crate) fn flock_holder(file: &File) -> Option<String> {
    let inode = file.metadata().ok()?.ino();
    let device = device_of(file)?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let holder = locks.lines().find_map(|line| flock_of(line, device, inode))?;
    let name = fs::read_to_string(format!("/proc/{holder}/comm")).unwrap_or_default();
    Some(match name.trim() {
        "" => format!("process {holder}"),
        name => format!("process {holder} ({name})"),
    })
}

fn loop_device(file: &File, intent: Intent) -> Option<String> {
    let wanted = file.metadata().ok()?;
    // Devices that are attached to nothing have no bytes, and are not in it: most hosts have many of those.
    let partitions = fs::read_to_string("/proc/partitions").ok()?;
    for device in loop_devices(&partitions) {
        let path = Path::new("/sys/block").join(device);
        // A partition of a loop device has no directory there.
        let Ok(backing) = fs::read_to_string(path.join("loop/backing_file")) else { continue };
        let read_only = fs::read_to_string(path.join("ro")).is_ok_and(|ro| ro.trim() == "1");
        if read_only && intent == Intent::Read {
            continue;
        }
        let Ok(found) = fs::metadata(backing.trim_end_matches('\n')) else { continue };
        if (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()) {
            return Some(format!("the loop device /dev/{device} is attached to it"));
        }
    }
    None
}

/// The names of loop devices in `/proc/partitions`: major and minor number, KiB, name.
fn loop_devices(partitions: &str) -> impl Iterator<Item = &str> {
    let names = partitions.lines().filter_map(|line| line.split_ascii_whitespace().nth(3));
    names.filter(|name| name.starts_with("loop"))
}

fn qemu(file: &File, intent: Intent) -> Option<String> {
    if is_held(file, QEMU_WRITES) {
        Some("QEMU, or a program that locks as it does, has it open for writing".into())
    } else if intent == Intent::Write
        && (is_held(file, QEMU_READS) || is_held(file, QEMU_FORBIDS_WRITE))
    {
        Some("QEMU, or a program that locks as it does, has it open".into())
    } else {
        None
    }
}

/// Whether anybody else has a record lock on this byte.
fn is_held(file: &File, byte: i64) -> bool {
    // `l_pid` has to be 0.
    let mut lock = flock { l_type: WRITE, l_whence: FROM_START, l_start: byte, l_len: 1, l_pid: 0 };
    if fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).is_err() || lock.l_type == NOBODY {
        return false;
    }
    // Where a flock is a record lock of the whole file at the server, others who read are no QEMU.
    let is_whole = lock.l_start == 0 && lock.l_len == 0;
    !(is_whole && keeps_flock_as_record(file))
}

/// Whether the host makes record locks of flock(2): NFS and CIFS do.
fn keeps_flock_as_record(file: &File) -> bool {
    const NETWORK: [u64; 3] = [0x6969, 0xff53_4d42, 0xfe53_4d42];
    host::file_system(file).is_some_and(|kind| NETWORK.contains(&kind))
}

/// (major, minor) as the kernel knows the file system. On btrfs and overlayfs it is not what `stat` says.
fn device_of(file: &File) -> Option<(u64, u64)> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        (fields.next()? == mount).then_some(())?;
        let (major, minor) = fields.nth(1)?.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

/// Who holds the `flock` that `line` tells of, where it is one on `inode` of `device` and not only waited for.
fn flock_of(line: &str, device: (u64, u64), inode: u64) -> Option<i64> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    // A waiter's line has `->` before the class.
    fields.next().filter(|&class| class == "FLOCK")?;
    let holder = fields.nth(2)?.parse().ok()?;
    let mut id = fields.next()?.split(':');
    let major = u64::from_str_radix(id.next()?, 16).ok()?;
    let minor = u64::from_str_radix(id.next()?, 16).ok()?;
    ((major, minor) == device && id.next()?.parse() == Ok(inode)).then_some(holder)
}

#[cfg(test)]
mod tests {
    use super::{flock_of, loop_devices};

    #[test]
    fn loop_devices_are_found_among_partitions() {
        let text = "major minor  #blocks  name\n\n 254        0  264241152 vda\n   7        0    4194304 loop0\n   7        3 8 loop3p1\n";
        assert_eq!(loop_devices(text).collect::<Vec<_>>(), ["loop0", "loop3p1"]);
    }

    #[test]
    fn a_line_of_proc_locks_is_read_with_a_hexadecimal_device() {
        let line = "3: FLOCK  ADVISORY  WRITE 4711 fe:0a:1014 0 EOF";
        assert_eq!(flock_of(line, (254, 10), 1014), Some(4711));
        assert_eq!(flock_of(line, (254, 11), 1014), None);
        assert_eq!(flock_of(line, (254, 10), 1015), None);
    }

    #[test]
    fn a_waiter_holds_nothing_and_a_record_lock_is_another_thing() {
        let waiter = "1: -> FLOCK  ADVISORY  WRITE 4712 00:10:7 0 EOF";
        assert_eq!(flock_of(waiter, (0, 16), 7), None);
        let record = "3: OFDLCK ADVISORY  READ -1 00:10:7 100 103";
        assert_eq!(flock_of(record, (0, 16), 7), None);
    }
}
