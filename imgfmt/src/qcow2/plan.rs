//! Where reference counts stand in a file that is written from its start to its end.
//!
//! They stand behind all else, and count themselves:
//!
//! ```text
//! header  data, L2 tables, as they come …  L1 table  blocks of counts  table of the blocks
//! ```

/// Bytes of a reference count: 2^4 bits.
pub(super) const COUNT_BITS_LOG: u32 = 4;

/// How many clusters the blocks of reference counts take, and the table of those blocks, behind `used` other clusters of
/// 2^`cluster_bits` bytes.
///
/// With clusters of 512 bytes, a block counts 256 clusters, and a table cluster names 64 blocks:
///
/// ```text
/// 254 used: 1 block, 1 table, 256 in all     255 used: 2 blocks, 1 table, 258 in all
/// ```
pub(super) fn counts(used: u64, cluster_bits: u32) -> (u64, u64) {
    let per_block = 1 << (cluster_bits + 3 - COUNT_BITS_LOG);
    let per_table = 1 << (cluster_bits - 3);
    let (mut blocks, mut tables) = (1, 1);
    loop {
        let wanted = u64::div_ceil(used + blocks + tables, per_block);
        if wanted <= blocks && blocks <= tables * per_table {
            return (blocks, tables);
        }
        blocks = blocks.max(wanted);
        tables = tables.max(blocks.div_ceil(per_table));
    }
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn counts_count_themselves() {
        assert_eq!(counts(2, 16), (1, 1));
        assert_eq!(counts(254, 9), (1, 1));
        assert_eq!(counts(255, 9), (2, 1));
        // 64 blocks of 256 counts fit one cluster of the table: 16384 clusters with the 65 that these take.
        assert_eq!(counts(16384 - 65, 9), (64, 1));
        assert_eq!(counts(16384 - 64, 9), (65, 2));
    }
}
