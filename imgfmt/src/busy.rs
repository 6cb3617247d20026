//! Who else has an image open.
//!
//! Three programs use raw images, and each says so in its own way:
//!
//! ```text
//! whoever asks with flock(2)   the lock itself; /proc/locks names the process
//! the loop driver              /sys/block/loopN/loop/backing_file, /sys/block/loopN/ro
//! QEMU and its tools           record locks on single bytes: 100 + p is held by who uses permission p, 200 + p by who
//!                              lets nobody else use it (p = 1: write)
//! ```
//!
//! `/proc/locks` has a line a lock, with the device and the inode; device numbers are hexadecimal:
//! `3: OFDLCK ADVISORY  READ -1 fe:00:10145184 100 103`
//!
//! What cannot be read (no `/proc`, no `/sys`) is taken as nobody: a check before the act is a courtesy, the lock is
//! what counts.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// What the caller is going to do with the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Only somebody who writes is in the way.
    Read,
    /// Anybody is in the way.
    Write,
}

/// The byte that QEMU locks while it reads: 100 and permission 0.
const QEMU_READS: u64 = 100;
/// The byte that QEMU locks while it writes: 100 and permission 1.
const QEMU_WRITES: u64 = 101;
/// The byte that QEMU locks while nobody else may write: 200 and permission 1.
const QEMU_FORBIDS_WRITE: u64 = 201;

/// Who stands in the way of `intent` on `file` beside those who hold a `flock`, in words.
pub(crate) fn occupant(file: &File, intent: Intent) -> Option<String> {
    loop_device(file, intent).or_else(|| qemu(file, intent))
}

/// Who holds a `flock` on `file`, in words: `process 4711 (xl)`.
pub(crate) fn flock_holder(file: &File) -> Option<String> {
    let holder = locks_of(file)?.into_iter().find(|lock| lock.class == "FLOCK")?;
    let name = fs::read_to_string(format!("/proc/{}/comm", holder.pid)).unwrap_or_default();
    Some(match name.trim() {
        "" => format!("process {}", holder.pid),
        name => format!("process {} ({name})", holder.pid),
    })
}

fn loop_device(file: &File, intent: Intent) -> Option<String> {
    let wanted = file.metadata().ok()?;
    for device in fs::read_dir("/sys/block").ok()?.flatten() {
        let path = device.path();
        // An unused loop device has no `loop` directory.
        let Ok(backing) = fs::read_to_string(path.join("loop/backing_file")) else { continue };
        let read_only = fs::read_to_string(path.join("ro")).is_ok_and(|ro| ro.trim() == "1");
        if read_only && intent == Intent::Read {
            continue;
        }
        let Ok(found) = fs::metadata(backing.trim_end_matches('\n')) else { continue };
        if (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()) {
            return Some(format!(
                "the loop device /dev/{} is attached to it",
                device.file_name().display()
            ));
        }
    }
    None
}

fn qemu(file: &File, intent: Intent) -> Option<String> {
    let locks = locks_of(file)?;
    let held = |byte| {
        locks.iter().any(|lock| {
            lock.class != "FLOCK" && lock.start <= byte && lock.end.is_none_or(|end| byte <= end)
        })
    };
    if held(QEMU_WRITES) {
        Some("QEMU, or a program that locks as it does, has it open for writing".into())
    } else if intent == Intent::Write && (held(QEMU_READS) || held(QEMU_FORBIDS_WRITE)) {
        Some("QEMU, or a program that locks as it does, has it open".into())
    } else {
        None
    }
}

/// A line of `/proc/locks`.
#[derive(Debug, PartialEq, Eq)]
struct Lock {
    class: String,
    pid: i64,
    start: u64,
    /// The last byte; `None` up to the end of the file, wherever that is.
    end: Option<u64>,
}

fn locks_of(file: &File) -> Option<Vec<Lock>> {
    let inode = file.metadata().ok()?.ino();
    let device = device_of(file)?;
    let text = fs::read_to_string("/proc/locks").ok()?;
    Some(text.lines().filter_map(|line| parse_lock(line, device, inode)).collect())
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

/// The lock that `line` tells of, where it is one on `inode` of `device` that is held and not only waited for.
fn parse_lock(line: &str, device: (u64, u64), inode: u64) -> Option<Lock> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    // A waiter's line has `->` before the class.
    let class = fields.next().filter(|&class| class != "->")?;
    let pid = fields.nth(2)?.parse().ok()?;
    let mut id = fields.next()?.split(':');
    let major = u64::from_str_radix(id.next()?, 16).ok()?;
    let minor = u64::from_str_radix(id.next()?, 16).ok()?;
    if (major, minor) != device || id.next()?.parse() != Ok(inode) {
        return None;
    }
    let start = fields.next()?.parse().ok()?;
    let end = fields.next()?.parse().ok();
    Some(Lock { class: class.into(), pid, start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_locks_is_read_with_a_hexadecimal_device() {
        let line = "3: OFDLCK ADVISORY  READ -1 fe:0a:1014 100 103";
        let lock = Lock { class: "OFDLCK".into(), pid: -1, start: 100, end: Some(103) };
        assert_eq!(parse_lock(line, (254, 10), 1014), Some(lock));
        assert_eq!(parse_lock(line, (254, 11), 1014), None);
        assert_eq!(parse_lock(line, (254, 10), 1015), None);
    }

    #[test]
    fn a_lock_to_the_end_has_no_end_and_a_waiter_holds_nothing() {
        let held = "1: FLOCK  ADVISORY  WRITE 4711 00:10:7 0 EOF";
        let lock = Lock { class: "FLOCK".into(), pid: 4711, start: 0, end: None };
        assert_eq!(parse_lock(held, (0, 16), 7), Some(lock));
        let waiter = "1: -> FLOCK  ADVISORY  WRITE 4712 00:10:7 0 EOF";
        assert_eq!(parse_lock(waiter, (0, 16), 7), None);
    }
}
