//! The header of swap space, read and made.
//!
//! The first page is the header; all other pages are swap. The kernel reads it in its own byte order and page length;
//! this is the little-endian one with pages of 4096 bytes:
//!
//! ```text
//! 0        1024      1028         1032        1036   1052    1068       4086
//! | boot   | version | last page  | bad pages | UUID | label | …        | SWAPSPACE2
//!            1         count - 1    0                  16 bytes
//! ```
//!
//! Whether a system sleeps in it is for [`crate::probe`] to say.

#![forbid(unsafe_code)]

use uuid::Uuid;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::storage::Storage;

const PAGE: u64 = 4096;

/// The kernel refuses less than ten pages.
const MIN_PAGES: u64 = 10;

const MAGIC: [u8; 10] = *b"SWAPSPACE2";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Page {
    boot: [u8; 1024],
    version: U32,
    last_page: U32,
    bad_page_count: U32,
    uuid: [u8; 16],
    label: [u8; 16],
    bad_pages: [u8; 3018],
    magic: [u8; 10],
}

const _: () = assert!(size_of::<Page>() == 4096);

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// Bytes of swap, without the header.
    pub len: u64,
    /// As fstab's `UUID=` has it.
    pub uuid: Uuid,
    /// As fstab's `LABEL=` has it.
    pub label: Option<String>,
}

/// The first page of a swap space of `len` bytes, header included.
///
/// # Errors
/// [`Error::Unsupported`] where it is too small or too large, or where the label does not fit in 15 bytes.
pub fn header(len: u64, uuid: Uuid, label: Option<&str>) -> Result<Vec<u8>> {
    let count = len / PAGE;
    if count < MIN_PAGES {
        let min = MIN_PAGES * PAGE;
        return Err(Error::Unsupported(format!("swap of {len} bytes, at least {min} are needed")));
    }
    let Ok(last) = u32::try_from(count - 1) else {
        return Err(Error::Unsupported(format!("swap of {len} bytes, more than 2^32 pages")));
    };
    let mut page = Page::new_zeroed();
    page.version = 1.into();
    page.last_page = last.into();
    page.uuid = uuid.into_bytes();
    page.magic = MAGIC;
    if let Some(label) = label {
        if label.is_empty() || label.len() > 15 || label.contains('\0') {
            return Err(Error::Unsupported(format!("swap label `{label}`: 1 to 15 bytes")));
        }
        page.label[..label.len()].copy_from_slice(label.as_bytes());
    }
    Ok(page.as_bytes().to_vec())
}

/// The header of the swap space in `volume`; `None` where there is none with pages of 4096 bytes.
///
/// # Errors
/// [`Error::Unsupported`] for a version that is not 1, [`Error::Corrupt`] where it tells of pages past the end.
pub fn read(volume: &dyn Storage) -> Result<Option<Swap>> {
    if volume.len() < PAGE {
        return Ok(None);
    }
    let mut bytes = vec![0; size_of::<Page>()];
    volume.read_at(0, &mut bytes).map_err(|e| Error::io("swap header", e))?;
    let page = Page::ref_from_bytes(&bytes).expect("both are a page long");
    if page.magic != MAGIC {
        return Ok(None);
    }
    if page.version.get() != 1 {
        return Err(Error::Unsupported(format!("swap of version {}", page.version.get())));
    }
    let last = u64::from(page.last_page.get());
    if (last + 1) * PAGE > volume.len() {
        let pages = volume.len() / PAGE;
        return Err(Error::corrupt(format!("swap with page {last} in a volume of {pages} pages")));
    }
    let label = page.label.split(|byte| *byte == 0).next().unwrap_or_default();
    let label = String::from_utf8_lossy(label).into_owned();
    Ok(Some(Swap {
        len: last * PAGE,
        uuid: Uuid::from_bytes(page.uuid),
        label: (!label.is_empty()).then_some(label),
    }))
}
