//! Bugs that were found and mended, each with the image or the edit that showed it.

use crate::support::{TestImage, noise};

// Groups of 256 blocks: 8 MiB lie across more than thirty of them, most of which begin with no superblock.
#[test]
fn an_extent_from_group_to_group_is_no_damage() {
    let image = TestImage::new("-t ext4 -b 1024 -g 256 -E packed_meta_blocks=1", 16384, 0);
    image.edit(|tx| tx.write("/across", noise(1, 8 << 20))).expect("it fits");
    image.fsck();
    image.edit(|tx| tx.write("/across", "short")).expect("all of it can be freed");
    image.fsck();
    image.edit(|tx| tx.remove_file("/across")).expect("it goes");
    image.fsck();
}
