//! Sparse files, in the four forms that GNU tar has for them. The data runs follow the header without the holes.
//!
//! ```text
//! old    type `S`; four runs in the header, 21 in each block behind it       offset 12, length 12, both octal
//! 0.0    GNU.sparse.size=S, then offset=O and numbytes=N for each run
//! 0.1    GNU.sparse.size=S, map=O,N,O,N…, name=N
//! 1.0    GNU.sparse.realsize=S, name=N, major=1, minor=0; the runs stand before the data, as lines padded to 512:
//!        "2\n0\n512\n1048576\n512\n"     two runs: 512 bytes at 0, 512 bytes at 1 MiB
//! ```
//! An empty run at the end says how long the file is, which is known already.

use std::io::Read;

use tar::GnuSparseHeader;

use super::BLOCK;
use super::field;
use super::pax::number;
use crate::archive::entry::{Run, from_io};
use crate::error::{Error, Result};

/// The most runs a file may have: 16 MiB of memory.
const RUNS_CAP: usize = 1 << 20;

/// What PAX records say about a sparse file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hints {
    /// Its name: the one in the header is made up.
    pub(super) name: Option<Vec<u8>>,
    /// Its length with its holes.
    pub(super) size: Option<u64>,
    major: u64,
    minor: u64,
    runs: Vec<Run>,
    /// The offset of a run whose length is still to come.
    offset: Option<u64>,
}

impl Hints {
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let parsed = || number(value).ok_or_else(|| "is not a number".to_owned());
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(parsed()?),
            b"major" => self.major = parsed()?,
            b"minor" => self.minor = parsed()?,
            b"offset" => self.offset = Some(parsed()?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or("has no offset before it")?;
                self.push(Run { offset, len: parsed()? })?;
            }
            b"map" => {
                self.runs.clear();
                let mut numbers = value.split(|&byte| byte == b',');
                while let Some(offset) = numbers.next() {
                    let len = numbers.next().and_then(number).ok_or("is not pairs of numbers")?;
                    let offset = number(offset).ok_or("is not pairs of numbers")?;
                    self.push(Run { offset, len })?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, run: Run) -> Result<(), String> {
        if self.runs.len() == RUNS_CAP {
            return Err(format!("is one of more than {RUNS_CAP} runs"));
        }
        self.runs.push(run);
        Ok(())
    }

    /// The version of the form, where the runs stand before the data.
    ///
    /// # Errors
    /// The version, where it is one that nobody has described.
    pub(super) fn is_before_data(&self) -> Result<bool, String> {
        match (self.major, self.minor) {
            (0, 0 | 1) => Ok(false),
            (1, 0) => Ok(true),
            (major, minor) => Err(format!("sparse file of the form {major}.{minor}")),
        }
    }

    /// The runs of the forms 0.0 and 0.1.
    pub(super) fn take_runs(&mut self) -> Vec<Run> {
        std::mem::take(&mut self.runs)
    }
}

/// Take in runs of the old form. False at the first that is empty, which is the end.
pub(super) fn push_old(runs: &mut Vec<Run>, fields: &[GnuSparseHeader]) -> Result<bool> {
    for field in fields {
        if field.is_empty() {
            return Ok(false);
        }
        let (offset, len) = (field::unsigned(&field.offset), field::unsigned(&field.numbytes));
        let (Some(offset), Some(len)) = (offset, len) else {
            return Err(Error::Archive("sparse file with a run that is no number".into()));
        };
        if runs.len() == RUNS_CAP {
            return Err(Error::Archive(format!("sparse file of more than {RUNS_CAP} runs")));
        }
        runs.push(Run { offset, len });
    }
    Ok(true)
}

/// The runs of the form 1.0, from the start of the content, and how many bytes of it they took.
pub(super) fn read_map(from: &mut dyn Read, size: u64) -> Result<(Vec<Run>, u64)> {
    let wrong = |what: &str| Error::Archive(format!("map of a sparse file: {what}"));
    let (mut runs, mut offset, mut count) = (Vec::new(), None, None);
    let (mut taken, mut digits) = (0, 0_u64);
    let mut any = false;
    loop {
        let mut block = [0; BLOCK];
        taken += BLOCK as u64;
        if taken > size {
            return Err(wrong("it is longer than the content"));
        }
        from.read_exact(&mut block).map_err(from_io)?;
        for &byte in &block {
            if byte.is_ascii_digit() {
                let digit = u64::from(byte - b'0');
                let more = digits.checked_mul(10).and_then(|number| number.checked_add(digit));
                digits = more.ok_or_else(|| wrong("a number is too large"))?;
                any = true;
                continue;
            }
            if byte != b'\n' || !any {
                return Err(wrong("a line is no number"));
            }
            let number = std::mem::take(&mut digits);
            any = false;
            match (count, offset.take()) {
                (None, _) if number > RUNS_CAP as u64 => {
                    return Err(wrong(&format!("more than {RUNS_CAP} runs")));
                }
                (None, _) => count = Some(number),
                (Some(_), None) => offset = Some(number),
                (Some(_), Some(offset)) => runs.push(Run { offset, len: number }),
            }
            if count == Some(runs.len() as u64) {
                return Ok((runs, taken));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str, len: usize) -> Result<(Vec<Run>, u64)> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(len, 0);
        read_map(&mut &bytes[..], len as u64)
    }

    #[test]
    fn a_map_before_the_data_may_go_over_blocks() {
        let (runs, taken) = map("2\n0\n512\n1048576\n512\n", 512).expect("a map");
        assert_eq!(runs, [Run { offset: 0, len: 512 }, Run { offset: 1 << 20, len: 512 }]);
        assert_eq!(taken, 512);
        assert_eq!(map("0\n", 512).expect("a map"), (vec![], 512));
        // 100 runs of eight bytes.
        let text = format!("100\n{}", (0..100).map(|n| format!("{n}00\n10\n")).collect::<String>());
        let (runs, taken) = map(&text, 1024).expect("a map");
        assert_eq!((runs.len(), taken), (100, 1024));
        assert_eq!(runs[99], Run { offset: 9900, len: 10 });
    }

    #[test]
    fn a_map_that_lies_is_refused() {
        for odd in
            ["2\n0\n512\n", "1048577\n", "x\n", "1\n\n", "1\n-1\n", "1\n99999999999999999999\n"]
        {
            assert!(map(odd, 512).is_err(), "{odd}");
        }
        assert!(map("1\n0\n1\n", 511).is_err());
    }

    #[test]
    fn runs_in_records_come_in_pairs() {
        let mut hints = Hints::default();
        hints.set(b"offset", b"5").expect("a number");
        hints.set(b"numbytes", b"6").expect("its length");
        assert!(hints.set(b"numbytes", b"6").is_err());
        assert_eq!(hints.take_runs(), [Run { offset: 5, len: 6 }]);
        hints.set(b"map", b"0,5,9,1").expect("two runs");
        assert!(hints.set(b"map", b"0,5,9").is_err());
        assert!(hints.set(b"map", b"").is_err());
    }
}
