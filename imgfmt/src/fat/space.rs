//! How much room a FAT has, by its table: a cluster whose number there is zero is free. What the FSInfo sector of a
//! FAT32 says of it is a hint, which drivers do not keep after a crash, and is not asked.

use super::geometry::Geometry;
use crate::Volume;
use crate::error::{Error, Result};
use crate::storage::Storage;

/// Bytes of the table that are read at once.
const PIECE: u64 = 1 << 20;

/// The room of a FAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes of a cluster.
    pub cluster_len: u32,
    /// How many clusters there are.
    pub clusters: u32,
    /// How many of them hold nothing.
    pub free: u32,
}

/// Count the free clusters of the FAT in `volume`.
///
/// # Errors
/// [`Error::Corrupt`] where the boot sector contradicts itself, [`Error::Io`].
pub fn space(volume: &Volume<'_>) -> Result<Space> {
    let geometry = Geometry::read(volume)?;
    let end = geometry.cluster_count + 2;
    // A piece of the table, with what reaches over its end.
    let mut piece = Vec::new();
    let mut piece_at = u64::MAX;
    let mut free = 0;
    for cluster in 2..end {
        let link = geometry.link(cluster, |offset, buf| {
            let at = offset - offset % PIECE;
            if at != piece_at {
                let table = geometry.table + at;
                let len = (PIECE + 4).min(volume.len().saturating_sub(table));
                piece.resize(usize::try_from(len).expect("a piece"), 0);
                volume
                    .read_at(table, &mut piece)
                    .map_err(|e| Error::io(format!("reading at byte {table}"), e))?;
                piece_at = at;
            }
            let start = usize::try_from(offset - at).expect("within a piece");
            match piece.get(start..start + buf.len()) {
                Some(bytes) => buf.copy_from_slice(bytes),
                None => return Err(Error::corrupt("the FAT ends before its last cluster")),
            }
            Ok(())
        })?;
        free += u32::from(link == 0);
    }
    Ok(Space { cluster_len: geometry.cluster_len, clusters: geometry.cluster_count, free })
}
