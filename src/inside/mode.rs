//! Modes as `chmod` takes them: `0644`, `u+x,go=r`, `a=rX`, `g=u`.
//!
//! Where no class is named, as in `+x`, the bits of the umask 022 are left alone: `+w` is `u+w`. It is the umask of the
//! file system's owner, not of who runs this: the same command has the same effect everywhere. A directory keeps its
//! set-user-ID and set-group-ID bits unless they are named: with `s`, or in a number of five digits.

use crate::failure::{Failure, Result};

/// What a mode that names no class leaves alone.
const UMASK: u16 = 0o022;
const SET_ID: u16 = 0o6000;
const STICKY: u16 = 0o1000;

/// A change of mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChange {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    op: Op,
    /// Bits of the classes that are named; 0 where none is.
    classes: u16,
    bits: Bits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Add,
    Take,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    /// A number; `keeps_set_id` where a directory keeps what it has.
    Number { mode: u16, keeps_set_id: bool },
    /// Letters of `rwxst`, for all classes; `if_any` is `X`.
    Letters { bits: u16, if_any: bool },
    /// What a class has now: how far it is to be shifted to the right.
    Copy(u32),
}

impl ModeChange {
    /// Read `text`.
    ///
    /// # Errors
    /// Where it is no mode.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = || {
            Failure::new(format!("`{text}` is no mode"))
                .hint("a mode is octal, such as 0644, or symbolic, such as u+x,go=r")
        };
        let op = |letter| match letter {
            '+' => Some(Op::Add),
            '-' => Some(Op::Take),
            '=' => Some(Op::Set),
            _ => None,
        };
        let (first, number) = match text.chars().next().and_then(op) {
            Some(op) => (op, &text[1..]),
            None => (Op::Set, text),
        };
        if number.starts_with(|c: char| c.is_ascii_digit()) {
            if !number.chars().all(|c| c.is_digit(8)) {
                return Err(invalid());
            }
            let mode = u16::from_str_radix(number, 8).ok().filter(|mode| *mode <= 0o7777);
            let mode = mode.ok_or_else(invalid)?;
            let keeps_set_id = number.len() < 5 && number.len() == text.len();
            let bits = Bits::Number { mode, keeps_set_id };
            return Ok(Self { steps: vec![Step { op: first, classes: 0o7777, bits }] });
        }
        let mut steps = Vec::new();
        for clause in text.split(',') {
            let at = clause.find(['+', '-', '=']).ok_or_else(invalid)?;
            let (who, mut rest) = clause.split_at(at);
            let classes = who.chars().try_fold(0, |all, letter| Some(all | class(letter)?));
            let classes = classes.ok_or_else(invalid)?;
            while let Some(op) = rest.chars().next().and_then(op) {
                let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
                let bits = permissions(&rest[1..end]).ok_or_else(invalid)?;
                steps.push(Step { op, classes, bits });
                rest = &rest[end..];
            }
            if !rest.is_empty() {
                return Err(invalid());
            }
        }
        Ok(Self { steps })
    }

    /// What `mode`, of twelve bits, becomes.
    pub fn apply(&self, mode: u16, is_dir: bool) -> u16 {
        self.steps.iter().fold(mode, |mode, step| step.apply(mode, is_dir))
    }
}

impl Step {
    fn apply(&self, mode: u16, is_dir: bool) -> u16 {
        let (value, named_set_id) = match self.bits {
            Bits::Number { mode, keeps_set_id } => {
                (mode, if keeps_set_id { mode & SET_ID } else { SET_ID })
            }
            Bits::Letters { bits, if_any } => {
                let any = if_any && (is_dir || mode & 0o111 != 0);
                (bits | if any { 0o111 } else { 0 }, bits & SET_ID & self.reach())
            }
            Bits::Copy(shift) => {
                let own = mode >> shift & 7;
                (own | own << 3 | own << 6, 0)
            }
        };
        let kept = if is_dir { SET_ID & !named_set_id } else { 0 };
        let value = value & self.limit() & !kept;
        match self.op {
            Op::Add => mode | value,
            Op::Take => mode & !value,
            Op::Set => mode & (!self.reach() | kept) | value,
        }
    }

    /// What `=` clears.
    fn reach(&self) -> u16 {
        if self.classes == 0 { 0o7777 } else { self.classes }
    }

    /// What may be set or cleared by letters.
    fn limit(&self) -> u16 {
        if self.classes == 0 { !UMASK } else { self.classes }
    }
}

fn class(letter: char) -> Option<u16> {
    Some(match letter {
        'u' => 0o4700,
        'g' => 0o2070,
        'o' => 0o1007,
        'a' => 0o7777,
        _ => return None,
    })
}

fn permissions(letters: &str) -> Option<Bits> {
    match letters {
        "u" => return Some(Bits::Copy(6)),
        "g" => return Some(Bits::Copy(3)),
        "o" => return Some(Bits::Copy(0)),
        _ => {}
    }
    let (mut bits, mut if_any) = (0, false);
    for letter in letters.chars() {
        match letter {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            'X' => if_any = true,
            's' => bits |= SET_ID,
            't' => bits |= STICKY,
            _ => return None,
        }
    }
    Some(Bits::Letters { bits, if_any })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::ModeChange;

    /// Coreutils' own `chmod` says what is right.
    #[test]
    fn modes_mean_what_chmod_makes_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let (file, sub) = (dir.path().join("file"), dir.path().join("sub"));
        fs::write(&file, "").unwrap();
        fs::create_dir(&sub).unwrap();
        let changes = [
            "0644", "755", "4755", "02755", "00755", "0", "7777", "u+x", "go=r", "u+x,go=r",
            "a=rX", "+x", "+w", "-w", "=r", "=", "g=u", "o=g", "u=o", "g+s", "u+s", "+t", "o+t",
            "a+t", "u=rws", "g=", "ug=rw,o=", "u+rw-x", "g-s", "a-s", "=s", "+s", "u-x+X", "+X",
            "g=xs", "+1000", "-22", "=755", "u=g,g=o", "go-rwx", "ugo=rwx", "a=,u=r", "u+",
            "g=u-w",
        ];
        for text in changes {
            for (path, is_dir) in [(&file, false), (&sub, true)] {
                for start in [0o644, 0o755, 0o6711, 0o1777, 0, 0o2750] {
                    fs::set_permissions(path, fs::Permissions::from_mode(start)).unwrap();
                    let script = "umask 022; exec chmod -- \"$0\" \"$1\"";
                    let status = Command::new("sh").args(["-c", script, text]).arg(path).output();
                    // It complains where `-w` leaves what the umask keeps, and does it all the same.
                    let said = status.unwrap();
                    let expected = fs::metadata(path).unwrap().permissions().mode() & 0o7777;
                    let start = u16::try_from(start).unwrap();
                    let found = ModeChange::parse(text).unwrap().apply(start, is_dir);
                    assert_eq!(
                        format!("{found:o}"),
                        format!("{expected:o}"),
                        "{text} on {start:o}, directory: {is_dir}: {said:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in [
            "", "8", "07778", "10000", "u", "u+y", "z+x", "u+x,", ",", "u+xg+x", "u+ug", "-", "rw",
            "7é", "+x,7",
        ] {
            let refused = ModeChange::parse(text).map_err(|e| e.to_string());
            let is_empty_step = text == "-";
            if is_empty_step {
                // As chmod has it: it takes nothing away.
                assert!(refused.is_ok());
            } else {
                assert_eq!(refused.unwrap_err(), format!("`{text}` is no mode"));
            }
        }
    }
}
