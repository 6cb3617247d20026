//! An edit as a small qcow2 image that lies over the image which it changes.
//!
//! Each cluster that a change touches is in the file whole, as it is after the edit. One that is all zeros then is an
//! entry that says so: without an entry the backing file would show through. All others are the backing file's.
//!
//! # Length of a cluster
//!
//! A change costs one cluster of data and, where it lies far from the others, one of an L2 table. A guest that writes 4
//! KiB where nothing was written yet makes QEMU read and write the whole cluster. Both ask for small clusters. The L1
//! table, which is in the file whole and which QEMU keeps in memory, asks for large ones: an entry of 8 bytes stands
//! for 2^(2 * bits - 3) bytes of the disk. So clusters are the smallest, from 16 KiB on, whose L1 table has at most
//! 32768 entries, 256 KiB:
//!
//! ```text
//! disk up to  clusters  an L1 entry is for  ten changes far apart, in KiB
//!      1 TiB    16 KiB              32 MiB  header 16, data and L2 10 * 32, L1 256, counts 2 * 16: 624
//!      4 TiB    32 KiB             128 MiB         32,             10 * 64,    256,        2 * 32: 992
//!     16 TiB    64 KiB             512 MiB         64,            10 * 128,    256,        2 * 64: 1728
//! ```
//!
//! On smaller disks the L1 table shrinks: it is one cluster up to 64 GiB, and the file has 384 KiB.
//!
//! Two things speak against less than 16 KiB, besides an L1 table of 1 MiB for 1 TiB with 8 KiB. QEMU syncs some four
//! times for each new L2 table, here each time that a guest first writes to another 32 MiB. And its cache of L2 tables
//! has at most 32 MiB on Linux, for 32 MiB / 8 * 16 KiB = 64 GiB of what the guest has written to; what only the
//! backing file has, has no L2 table, and needs no cache. Who lets a guest write to more, at random, sets
//! `l2-cache-size` to 8 bytes for each 16 KiB of it: 128 MiB for 256 GiB.
//!
//! # Example
//!
//! `AB` at byte 0x212_3456 of `/img/base.raw`, which has 64 MiB: within the cluster it is byte 0x3456; the cluster has
//! number 0x848, entry 0x48 of L2 table 1, as tables have 0x800.
//!
//! ```text
//!     0  51 46 49 fb 00 00 00 03  00 00 00 00 00 00 00 88     version 3; the backing file's name is at 0x88,
//!    10  00 00 00 0d 00 00 00 0e  00 00 00 00 04 00 00 00     of 13 bytes; clusters of 2^14 bytes; the disk's length
//!    20  00 00 00 00 00 00 00 02  00 00 00 00 00 00 c0 00     L1 table: 2 entries at 0xc000
//!    30  00 00 00 00 00 01 40 00  00 00 00 01 00 00 00 00     counts' table: at 0x14000, one cluster; no snapshots
//!    40  00 …                                                 features: none
//!    60  00 00 00 04 00 00 00 70  00 00 00 00 00 00 00 00     counts of 2^4 bits; 0x70 bytes of header end here
//!    70  e2 79 2a ca 00 00 00 03  72 61 77 00 00 00 00 00     extension: the backing file's format, "raw"
//!    80  00 00 00 00 00 00 00 00                              no more of them
//!    88  2f 69 6d 67 2f 62 61 73  65 2e 72 61 77              "/img/base.raw"
//!  4000  …, 41 42 at 7456, …                                  the cluster, with what the base has around the change
//!  8000  …, 80 00 00 00 00 00 40 00 at 8240, …                L2 table 1
//!  c000  00 00 00 00 00 00 00 00  80 00 00 00 00 00 80 00     L1 table
//! 10000  00 01 00 01 00 01 00 01  00 01 00 01                 reference counts of six clusters
//! 14000  00 00 00 00 00 01 00 00                              table of the blocks of counts
//! 18000  end
//! ```

use std::fs::File;

use super::growing::{COPIED, Growing, Shape};
use super::header::{BACKING_NAME_MAX, Backing, CLUSTER_BITS, Compression};
use super::write::Written;
use crate::changes::Changes;
use crate::copy::is_zero;
use crate::error::{Error, Result};
use crate::host;
use crate::reserve::{check_within, page_runs};
use crate::storage::Storage;

/// L2 entry, version 3: all of the cluster is zeros.
const ZERO: u64 = 1;

/// The smallest clusters, as a power of two.
const CLUSTER_BITS_MIN: u32 = 14;

/// As many entries as an L1 table should have at most.
const L1_ENTRIES: u64 = 32_768;

/// Write into `to`, whose contents are lost, an image that is the disk `below` with `changes` laid over, and that names
/// `backing` for all that they leave alone. That file must not change any more. `below` is the disk that it holds: of a
/// qcow2 image what is read through its tables, not the file. Nothing is synced.
///
/// The format is always told, so that QEMU never looks for one in bytes that a guest wrote. To read the image again
/// without a look at the name, give [`Qcow2::new`](super::Qcow2::new) the layer below.
///
/// # Errors
/// [`Error::Unsupported`] for a name that is not an absolute path of at most 1023 bytes, for a format that is neither
/// `raw` nor `qcow2`, and for a disk that is too long; [`Error::Corrupt`] for a change past its end: nothing was
/// written. [`Error::HostFull`], errors of reading `below`: `to` is no image then.
pub fn write_overlay(
    changes: &Changes,
    below: &dyn Storage,
    backing: &Backing,
    to: &File,
) -> Result<Written> {
    check_backing(backing)?;
    let len = below.len();
    check_within(changes, len)?;
    let shape = Shape::new(len, cluster_bits(len))?;
    let mut file = Growing::new(to, "overlay", shape)?;
    let mut cluster = vec![0; shape.cluster_len()];
    for run in page_runs(changes.ranges(), shape.cluster_len() as u64, len) {
        for at in run.step_by(shape.cluster_len()) {
            let held =
                usize::try_from(len - at).map_or(cluster.len(), |left| left.min(cluster.len()));
            let (disk, past) = cluster.split_at_mut(held);
            below.read_at(at, disk).map_err(host::read_error)?;
            changes.overlay(at, disk);
            past.fill(0);
            let entry = match is_zero(&cluster) {
                true => ZERO,
                false => file.append(&cluster)? | COPIED,
            };
            file.set_entry(at, entry)?;
        }
    }
    file.finish(Compression::Zlib, Some(backing))
}

fn check_backing(backing: &Backing) -> Result<()> {
    let name = &backing.name;
    let shown = String::from_utf8_lossy(name);
    let refused = |what: &str| Err(Error::Unsupported(format!("qcow2: over `{shown}`: {what}")));
    if name.len() > BACKING_NAME_MAX as usize {
        return refused("the name of a backing file has at most 1023 bytes");
    }
    if name.first() != Some(&b'/') || name.contains(&0) {
        return refused("the name of a backing file is to be an absolute path");
    }
    match backing.format.as_deref() {
        Some(b"raw" | b"qcow2") => Ok(()),
        Some(other) => refused(&format!(
            "the format `{}` of a backing file is neither `raw` nor `qcow2`",
            String::from_utf8_lossy(other)
        )),
        None => refused("the format of a backing file is to be told"),
    }
}

/// Of a disk of `len` bytes.
fn cluster_bits(len: u64) -> u32 {
    let largest = *CLUSTER_BITS.end();
    (CLUSTER_BITS_MIN..largest)
        .find(|bits| len.div_ceil(1 << (2 * bits - 3)) <= L1_ENTRIES)
        .unwrap_or(largest)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn backing() -> Backing {
        Backing { name: "/img/base.raw".into(), format: Some("raw".into()) }
    }

    #[test]
    fn the_module_s_example_is_written_so() {
        let below = vec![0x2e; 64 << 20];
        let mut changes = Changes::new();
        changes.insert(0x212_3456, b"AB".to_vec());
        let file = tempfile::tempfile().expect("a temporary file");
        let written = write_overlay(&changes, &below, &backing(), &file).expect("room");
        assert_eq!(written, Written { disk_len: 64 << 20, file_len: 0x1_8000 });

        let mut expected = vec![0; 0x1_8000];
        let mut put = |at: usize, bytes: &[u8]| {
            expected[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, b"\x51\x46\x49\xfb\0\0\0\x03\0\0\0\0\0\0\0\x88");
        put(0x10, b"\0\0\0\x0d\0\0\0\x0e\0\0\0\0\x04\0\0\0");
        put(0x20, b"\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\xc0\0");
        put(0x30, b"\0\0\0\0\0\x01\x40\0\0\0\0\x01\0\0\0\0");
        put(0x60, b"\0\0\0\x04\0\0\0\x70");
        put(0x70, b"\xe2\x79\x2a\xca\0\0\0\x03raw");
        put(0x88, b"/img/base.raw");
        put(0x4000, &[0x2e; 0x4000]);
        put(0x7456, b"AB");
        put(0x8240, b"\x80\0\0\0\0\0\x40\0");
        put(0xc008, b"\x80\0\0\0\0\0\x80\0");
        put(0x1_0000, &[0, 1].repeat(6));
        put(0x1_4000, b"\0\0\0\0\0\x01\0\0");

        let mut bytes = vec![0; 0x1_8000];
        file.read_exact_at(&mut bytes, 0).expect("it was written");
        let differs = bytes.iter().zip(&expected).position(|(is, should)| is != should);
        assert_eq!(differs, None);
    }

    #[test]
    fn clusters_are_small_as_long_as_the_l1_table_is() {
        const TIB: u64 = 1 << 40;
        for (len, bits) in [
            (0, 14),
            (TIB, 14),
            (TIB + 1, 15),
            (4 * TIB, 15),
            (16 * TIB, 16),
            (64 * TIB, 17),
            (16_384 * TIB, 21),
            // Past 16 PiB the table grows, up to the 32 MiB that QEMU allows it.
            (16_385 * TIB, 21),
            (u64::MAX, 21),
        ] {
            assert_eq!(cluster_bits(len), bits, "{len} bytes");
        }
    }

    /// Zeros, without end.
    struct Endless(u64);

    impl Storage for Endless {
        fn len(&self) -> u64 {
            self.0
        }

        fn read_at(&self, _: u64, buf: &mut [u8]) -> std::io::Result<()> {
            buf.fill(0);
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_named_or_is_too_long_is_refused_and_nothing_written() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.write_all_at(b"as it was", 0).expect("room");
        let said = |len: u64, name: &str, format: Option<&str>, at: u64| {
            let mut changes = Changes::new();
            changes.insert(at, vec![1; 10]);
            let backing = Backing { name: name.into(), format: format.map(Into::into) };
            let outcome = write_overlay(&changes, &Endless(len), &backing, &file);
            let mut held = [0; 9];
            file.read_exact_at(&mut held, 0).expect("nothing was written");
            assert_eq!(&held, b"as it was");
            outcome.expect_err("it is refused").to_string()
        };
        let raw = Some("raw");
        assert_eq!(
            said(1 << 20, "base.raw", raw, 0),
            "qcow2: over `base.raw`: the name of a backing file is to be an absolute path"
        );
        assert!(said(1 << 20, "", raw, 0).ends_with("an absolute path"));
        assert!(said(1 << 20, "/a\0b", raw, 0).ends_with("an absolute path"));
        let long = format!("/{}", "n".repeat(1023));
        assert_eq!(
            said(1 << 20, &long, raw, 0),
            format!("qcow2: over `{long}`: the name of a backing file has at most 1023 bytes")
        );
        assert_eq!(
            said(1 << 20, "/base", Some("vmdk"), 0),
            "qcow2: over `/base`: the format `vmdk` of a backing file is neither `raw` nor `qcow2`"
        );
        assert_eq!(
            said(1 << 20, "/base", None, 0),
            "qcow2: over `/base`: the format of a backing file is to be told"
        );
        assert_eq!(
            said(1 << 20, "/base", raw, (1 << 20) - 9),
            "corrupt image: change at byte 1048567 with 10 bytes reaches past the end of the image \
             (1048576 bytes)"
        );
        // Within the last sector, but not within the disk below.
        assert!(said((1 << 20) - 500, "/base", raw, (1 << 20) - 400).contains("past the end"));
        // 2^22 entries of 2^39 bytes.
        assert_eq!(
            said((1 << 61) + 1, "/base", raw, 0),
            "a disk of 2305843009213693953 bytes in clusters of 2097152 bytes"
        );
        assert!(said(u64::MAX, "/base", raw, 0).starts_with("a disk of"));
    }
}
