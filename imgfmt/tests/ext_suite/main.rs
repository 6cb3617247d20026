//! The ext engine from outside. The judges are other people's programs: `e2fsck`, `debugfs`, the kernel's own driver by
//! a loop mount (so these tests want root), and `ext4-view`.

mod bugs;
mod check;
mod content;
mod crash;
mod dirs;
mod edit;
mod fast_commit;
mod filled;
mod grow;
mod hostile;
mod in_place;
mod inline;
mod journal;
mod killed;
mod lazy;
mod logs;
mod mkfs;
mod model;
mod ops_content;
mod ops_metadata;
mod ops_names;
mod ops_twin;
mod orphans;
mod populate;
mod random;
mod support;
mod unclean;
