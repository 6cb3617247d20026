//! The least that an edit in place can cost: the same writes and syncs, and nothing read, parsed or decided.
//!
//! usage: floor LIST IMAGE; LIST has a line `write OFFSET LENGTH` or `sync` for each call that the edit has made.
//! What is written is without meaning, so IMAGE is a copy that is thrown away.

use std::error::Error;
use std::fs::{File, read_to_string};
use std::os::unix::fs::FileExt;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(list), Some(image)) = (arguments.next(), arguments.next()) else {
        return Err("usage: floor LIST IMAGE".into());
    };
    let image = File::options().write(true).open(image)?;
    let bytes = vec![0xa5; 1 << 20];
    for line in read_to_string(list)?.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["sync"] => image.sync_data()?,
            ["write", offset, length] => {
                let (mut offset, mut left) = (offset.parse::<u64>()?, length.parse::<usize>()?);
                while left > 0 {
                    let now = left.min(bytes.len());
                    image.write_all_at(&bytes[..now], offset)?;
                    offset += now as u64;
                    left -= now;
                }
            }
            _ => return Err(format!("not a line of a list: `{line}`").into()),
        }
    }
    Ok(())
}
