//! The journal (`jbd2`): what a crash left in the log, brought to light.
//!
//! The log is a file of the file system. Its first block is a superblock, the rest a ring of transactions:
//!
//! ```text
//! 0 superblock (first 1, maxlen 1024, start 5, sequence 7)
//! 5 descriptor 7: tags 40, 41 | 6 copy of 40 | 7 copy of 41 | 8 revoke 7: 52 | 9 commit 7 | 10 descriptor 8: …
//! ```
//! Of a block with several copies the last one counts, unless a later transaction (or the same) revoked it; a
//! transaction without its commit block never happened. `replay` finds what holds; [`Recovery`] is that over one
//! file system, kept as places in the log, so that nothing is copied until it is read.
//!
//! Fast commits follow the last transaction ([`fast_commit`]). They say what changed, not in which blocks; what
//! [`fast_commit_replay`] makes of them lies in memory, over the copies.
//!
//! A journal on another device is refused.

mod commit;
mod encode;
mod fast_commit;
mod fast_commit_map;
mod fast_commit_replay;
mod format;
mod fresh;
mod log;
mod old_log;
mod recovery;
mod replay;

pub(crate) use commit::Commit;
pub(crate) use log::{check_empty, check_sound, superblock_location};
pub(crate) use recovery::{Copy, Recovery};
