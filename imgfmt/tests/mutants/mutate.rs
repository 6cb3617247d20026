//! A lie: which bytes, and what they become.

use imgfmt::Storage;

use super::drive::Options;
use super::image::{Fixture, Image};
use super::input::Input;
use super::layout::Target;
use super::seal::{seal, seal_log};

/// Most changes to one image.
const EDITS_MAX: u8 = 12;

/// `fixture`, with the lies that `input` decides.
pub(crate) fn mutated(
    fixture: &'static Fixture,
    options: Options,
    input: &mut Input<'_>,
) -> Image<'static> {
    let mut image = Image::new(&fixture.pages);
    let edits = input.byte();
    let mut touched = Vec::new();
    for _ in 0..edits % (EDITS_MAX + 1) {
        if input.is_empty() {
            break;
        }
        touched.extend(edit(&mut image, fixture, input));
    }
    if options.seals() {
        for target in touched {
            seal(&mut image, &fixture.layout, target);
        }
    }
    if options.seals_log() {
        seal_log(&mut image, &fixture.layout);
    }
    image
}

fn edit(image: &mut Image<'_>, fixture: &Fixture, input: &mut Input<'_>) -> Option<Target> {
    let what = input.byte();
    if what >= 0xF0 {
        // Anywhere, metadata or not.
        let at = u64::from(input.word()) % image.len();
        image.set(at, &[input.byte()]);
        return None;
    }
    let kinds = &fixture.layout.targets;
    let kind = &kinds[usize::from(what) % kinds.len()];
    let target = kind[input.below(kind.len())];
    let mut at = input.below(target.len);
    let how = input.byte();
    let bytes = image.get(target.at, target.len);
    if how & 0x80 != 0 {
        // Where something stands, more is there to be broken.
        at = (at..target.len).find(|&at| bytes[at] != 0).unwrap_or(at);
    }
    let align = |at: usize, to: usize| (at - at % to).min(target.len - to);
    match how % 8 {
        0 => put(image, target, at, &[input.byte()]),
        1 => put(image, target, at, &[bytes[at] ^ 1 << (input.byte() % 8)]),
        2 => put(image, target, align(at, 2), &input.short().to_le_bytes()),
        3 => put(image, target, align(at, 4), &input.word().to_le_bytes()),
        4 => put(image, target, align(at, 2), &edge(image, fixture, input).to_le_bytes()[..2]),
        5 => put(image, target, align(at, 4), &edge(image, fixture, input).to_le_bytes()),
        6 => {
            // The log is big-endian.
            let value = edge(image, fixture, input);
            put(image, target, align(at, 4), &value.to_be_bytes());
        }
        _ => {
            // Another of the same kind, from here on: trees that meet, directories that hold one another.
            let other = kind[input.below(kind.len())];
            let from = image.get(other.at, other.len);
            let end = (at + usize::from(input.byte())).min(target.len).min(from.len());
            put(image, target, at.min(end), &from[at.min(end)..end]);
        }
    }
    Some(target)
}

fn put(image: &mut Image<'_>, target: Target, at: usize, bytes: &[u8]) {
    image.set(target.at + at as u64, bytes);
}

/// A number on some edge.
fn edge(image: &Image<'_>, fixture: &Fixture, input: &mut Input<'_>) -> u32 {
    let layout = &fixture.layout;
    let blocks = u32::try_from(image.len() / layout.block_size as u64).expect("fixtures are small");
    let block_size = u32::try_from(layout.block_size).expect("64 KiB at most");
    let groups = u32::try_from(layout.tables.len()).expect("few");
    let inodes = groups * layout.inodes_per_group;
    let any = |input: &mut Input<'_>| {
        let kind = &layout.targets[input.below(layout.targets.len())];
        let home = kind[input.below(kind.len())].home;
        u32::try_from(home).expect("fixtures are small")
    };
    let values = [
        0,
        1,
        2,
        7,
        8,
        11,
        0x7F,
        0xFF,
        0x7FFF,
        0x8000,
        0xFFFF,
        0x7FFF_FFFF,
        0x8000_0000,
        u32::MAX,
        u32::MAX - 1,
        blocks,
        blocks - 1,
        blocks + 1,
        block_size,
        block_size - 1,
        block_size - 12,
        block_size / 4,
        inodes,
        inodes + 1,
        inodes - 1,
        layout.inodes_per_group,
        layout.blocks_per_group,
        groups,
    ];
    match usize::from(input.byte()) {
        // The block of some other metadata.
        nth if nth >= 0xC0 => any(input),
        nth => values[nth % values.len()],
    }
}
