//! Enlarging the last partition, up to the end of an image that got longer.
//!
//! ```text
//! GPT   | header | entries | … partition 2 |  entries' | header'                                     before
//!       | header | entries | … partition 2                            | entries' | header' |         after
//! MBR   a longer count; of a logical partition also that of the extended one, and of the link to its record
//! ```
//! **Order.** The copy of a GPT comes first, at the new end, then header and entries: at any moment one of them is whole,
//! and a reader takes that ([`super::gpt`]). Of an MBR the extended partition comes before the logical one, which must lie
//! within. All of it is guarded by an undo file besides, so that a crash leaves the table as it was.
//!
//! A GPT whose copy does not stand at the end of the image (that of any image that was made longer) is right otherwise, and
//! is read as ever; `sgdisk -v` complains of it. It is at the end again once the partition is enlarged.

use super::{Kind, Partition, Table, gpt, mbr, read};
use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::in_place::InPlace;
use crate::storage::Storage;

/// Ends of partitions are multiples of this: of every block and sector there is in practice.
pub(super) const GRAIN: u64 = 4096;

/// A table in which a partition gets longer, worked out and not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enlargement {
    /// The partition as it is.
    pub before: Partition,
    /// Its length afterwards, in bytes.
    pub len: u64,
    steps: Vec<Changes>,
}

impl Enlargement {
    pub(super) fn new(before: &Partition, len: u64, steps: Vec<Changes>) -> Self {
        Self { before: before.clone(), len, steps }
    }

    /// What is to be written where the image stands: a crash leaves the table as it was.
    pub fn in_place(&self) -> InPlace {
        InPlace::undo_in_order(self.steps.clone())
    }
}

/// Enlarge partition `number` to the end of `storage`; `None` where there is nothing to gain.
///
/// # Errors
/// [`Error::Unsupported`] where there is no such table or partition, where another one lies behind it, which is named, and
/// for a hybrid MBR; [`Error::Corrupt`] for a damaged table.
pub fn enlarge(storage: &dyn Storage, number: u32) -> Result<Option<Enlargement>> {
    let refused = |what: String| Err(Error::Unsupported(what));
    let Some(table) = read(storage)? else {
        return refused("the image has no partition table".into());
    };
    // That the number is one, and that it lies within the image.
    table.volume(number, storage)?;
    let partition = table.partitions.iter().find(|p| p.number == number).expect("found above");
    if let Some(behind) = table.behind(partition) {
        return refused(format!(
            "partition {number} cannot be enlarged: {} lies behind it, at byte {}",
            behind.named(),
            behind.start
        ));
    }
    match table.kind {
        Kind::Gpt => gpt::enlarge(storage, &table, partition),
        Kind::Mbr => mbr::enlarge(storage, partition),
    }
}

impl Table {
    /// The partition that ends last, an extended one apart.
    pub fn last(&self) -> Option<&Partition> {
        self.partitions.iter().filter(|p| !p.is_extended()).max_by_key(|p| p.end())
    }

    /// A partition that stands in the way of a longer `partition`.
    fn behind(&self, partition: &Partition) -> Option<&Partition> {
        let holds = |other: &Partition| {
            other.is_extended() && other.start <= partition.start && other.end() >= partition.end()
        };
        let others = self.partitions.iter().filter(|p| p.number != partition.number && !holds(p));
        others.filter(|other| other.end() > partition.start).min_by_key(|other| other.start)
    }
}

impl Partition {
    /// ``partition 3 (`swap`)``.
    fn named(&self) -> String {
        match (&self.label, self.is_extended()) {
            (Some(label), _) => format!("partition {} (`{label}`)", self.number),
            (None, true) => format!("extended partition {}", self.number),
            (None, false) => format!("partition {}", self.number),
        }
    }
}
