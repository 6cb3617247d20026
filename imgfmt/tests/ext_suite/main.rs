//! The ext engine from outside. The judges are other people's programs: `e2fsck`, `debugfs`, the kernel's own driver by
//! a loop mount (so these tests want root), and `ext4-view`.

mod bugs;
mod content;
mod edit;
mod fast_commit;
mod hostile;
mod journal;
mod orphans;
mod random;
mod support;
mod unclean;
