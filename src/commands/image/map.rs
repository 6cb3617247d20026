//! A picture of the block groups of a file system: which are full, which are empty, and where it keeps its own.
//!
//! ```text
//!     0 ▓█▓▒░····▓··       a cell for so many blocks; the number is that of its first group
//! ```
//! A cell of metadata alone is `▓`, or `m`; others are shaded by how much of what is left to data is in use. Only the
//! descriptors of the groups are read.

use std::ops::Range;

use imgfmt::ext::{Fs, Group};

/// Rows at most.
const ROWS: u64 = 20;
/// Columns for the number of a group, and a blank.
const MARGIN: usize = 9;

/// What stands for what.
#[derive(Clone, Copy, Debug)]
struct Signs {
    metadata: char,
    /// From no data to nothing but data.
    shades: [char; 5],
}

const UNICODE: Signs = Signs { metadata: '▓', shades: ['·', '░', '▒', '▄', '█'] };
const ASCII: Signs = Signs { metadata: 'm', shades: ['.', '-', '+', '*', '#'] };

/// Blocks of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    blocks: u64,
    free: u64,
    metadata: u64,
}

/// Blocks, added up cell by cell. Each cell but the last has the same number of groups.
#[derive(Debug)]
pub(super) struct Map {
    cells: Vec<Cell>,
    groups_per_cell: u64,
    blocks_per_cell: u64,
    first_block: u64,
    /// How many runs of metadata begin to fill cells here, less how many end: cells inside a run are full of it.
    runs: Vec<i64>,
}

impl Map {
    /// The map of `fs`, at most `width` columns wide.
    pub(super) fn of(fs: &Fs<'_>, width: usize) -> imgfmt::Result<Self> {
        let mut count = 0_u64;
        let mut first = None;
        fs.for_each_group(&mut |group| {
            count += 1;
            first.get_or_insert_with(|| group.blocks.clone());
        })?;
        let first = first.unwrap_or(0..1);
        let columns = width.saturating_sub(MARGIN).max(1) as u64;
        let groups_per_cell = count.div_ceil(columns * ROWS).max(1);
        let cells = usize::try_from(count.div_ceil(groups_per_cell)).expect("a screen of them");
        let mut map = Self {
            cells: vec![Cell::default(); cells],
            groups_per_cell,
            blocks_per_cell: (first.end - first.start).saturating_mul(groups_per_cell).max(1),
            first_block: first.start,
            runs: vec![0; cells + 1],
        };
        fs.for_each_group(&mut |group| map.add(group))?;
        map.settle();
        Ok(map)
    }

    fn add(&mut self, group: &Group) {
        if let Some(index) = self.cell_of(group.blocks.start) {
            add(&mut self.cells[index].blocks, group.blocks.end - group.blocks.start);
            add(&mut self.cells[index].free, group.free_blocks);
        }
        for run in [&group.backups].into_iter().chain(&group.tables) {
            self.add_metadata(run);
        }
    }

    fn cell_of(&self, block: u64) -> Option<usize> {
        let index = block.checked_sub(self.first_block)? / self.blocks_per_cell;
        usize::try_from(index).ok().filter(|index| *index < self.cells.len())
    }

    fn start_of(&self, cell: usize) -> u64 {
        self.first_block + cell as u64 * self.blocks_per_cell
    }

    fn add_metadata(&mut self, run: &Range<u64>) {
        let last = run.end.checked_sub(1).filter(|last| *last >= run.start);
        let Some((first, last)) =
            last.and_then(|last| Some((self.cell_of(run.start)?, self.cell_of(last)?)))
        else {
            return;
        };
        if first == last {
            add(&mut self.cells[first].metadata, run.end - run.start);
            return;
        }
        let (begins, ends) = (self.start_of(first + 1) - run.start, run.end - self.start_of(last));
        add(&mut self.cells[first].metadata, begins);
        add(&mut self.cells[last].metadata, ends);
        self.runs[first + 1] += 1;
        self.runs[last] -= 1;
    }

    /// Bring what was counted into bounds: a damaged file system may say anything.
    fn settle(&mut self) {
        let mut depth = 0;
        for (cell, change) in self.cells.iter_mut().zip(&self.runs) {
            depth += change;
            if depth > 0 {
                cell.metadata = cell.blocks;
            }
            cell.free = cell.free.min(cell.blocks);
            cell.metadata = cell.metadata.min(cell.blocks - cell.free);
        }
    }

    /// The picture, with its legend. Each line begins with two blanks.
    pub(super) fn text(&self, width: usize, is_unicode: bool) -> String {
        let signs = if is_unicode { UNICODE } else { ASCII };
        let columns = width.saturating_sub(MARGIN).max(1);
        let groups = match self.groups_per_cell {
            1 => "1 block group".to_owned(),
            many => format!("{many} block groups"),
        };
        let mut text = format!("  map: a cell is {groups}, a row begins with its number\n");
        for (row, cells) in self.cells.chunks(columns).enumerate() {
            let first = (row * columns) as u64 * self.groups_per_cell;
            text += &format!("{first:>8} ");
            text.extend(cells.iter().map(|cell| sign(cell, signs)));
            text.push('\n');
        }
        let [none, quarter, half, most, full] = signs.shades;
        text += &format!(
            "  {} metadata; room for data: {none} free, {quarter} to 1/3, {half} to 2/3, {most} more, {full} full\n",
            signs.metadata
        );
        let sum = |of: fn(&Cell) -> u64| self.cells.iter().map(of).sum::<u64>();
        let (all, free, own) = (sum(|c| c.blocks), sum(|c| c.free), sum(|c| c.metadata));
        text += &format!(
            "  blocks: {own} metadata, {} data, {free} free\n",
            all.saturating_sub(free).saturating_sub(own)
        );
        text
    }
}

/// Groups may lie about the same blocks again and again.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

fn sign(cell: &Cell, signs: Signs) -> char {
    let room = cell.blocks - cell.metadata;
    let data = room - cell.free;
    let [none, quarter, half, most, full] = signs.shades;
    match () {
        () if room == 0 => signs.metadata,
        () if cell.free == 0 => full,
        () if data == 0 => none,
        () if data <= room / 3 => quarter,
        () if data <= room / 3 * 2 => half,
        () => most,
    }
}

#[cfg(test)]
mod tests {
    use imgfmt::ext::Group;

    use super::{Cell, Map};

    fn map(cells: usize, blocks_per_cell: u64) -> Map {
        Map {
            cells: vec![Cell::default(); cells],
            groups_per_cell: 1,
            blocks_per_cell,
            first_block: 1,
            runs: vec![0; cells + 1],
        }
    }

    fn group(start: u64, len: u64, free: u64, table: std::ops::Range<u64>) -> Group {
        Group {
            blocks: start..start + len,
            free_blocks: free,
            free_inodes: 0,
            backups: start..start,
            tables: [0..0, 0..0, table],
        }
    }

    #[test]
    fn cells_are_shaded_by_how_full_they_are() {
        let mut map = map(6, 100);
        // A table of 150 blocks fills the first group and half of the second.
        for (index, free) in [0, 50, 1, 50, 100, 90].into_iter().enumerate() {
            let table = if index == 0 { 1..151 } else { 0..0 };
            map.add(&group(1 + 100 * index as u64, 100, free, table));
        }
        map.settle();
        let text = map.text(80, false);
        assert!(text.contains("\n       0 m.*+.-\n"), "{text}");
        assert!(text.ends_with("  blocks: 150 metadata, 159 data, 291 free\n"), "{text}");
        assert!(map.text(80, true).contains("\n       0 ▓·▄▒·░\n"));
        // Three columns beside the margin.
        assert!(map.text(12, false).contains("\n       0 m.*\n       3 +.-\n"));
    }

    #[test]
    fn a_table_longer_than_two_cells_fills_those_between() {
        let mut map = map(4, 100);
        for index in 0..4 {
            let table = if index == 0 { 51..351 } else { 0..0 };
            map.add(&group(1 + 100 * index, 100, 0, table));
        }
        map.settle();
        let metadata: Vec<u64> = map.cells.iter().map(|cell| cell.metadata).collect();
        assert_eq!(metadata, [50, 100, 100, 50]);
    }

    #[test]
    fn lies_stay_in_bounds() {
        let mut map = map(2, 100);
        map.add(&group(1, 100, 1000, 1..201));
        map.add(&group(101, 100, 0, 1..201));
        map.add(&group(10_000, 100, 0, 5000..u64::MAX));
        map.settle();
        assert_eq!(map.cells[0], Cell { blocks: 100, free: 100, metadata: 0 });
        assert_eq!(map.cells[1], Cell { blocks: 100, free: 0, metadata: 100 });
        assert!(map.text(0, true).lines().count() >= 4);
    }
}
