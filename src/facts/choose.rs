//! Which partition of an image is meant: the one that was named, or the one that there can be no doubt about.
//!
//! A name is a number, a GPT's partition name, a partition's UUID (`PARTUUID=` in fstab), or the UUID or label of the file
//! system in it. A number counts before all else: a partition whose label is `2` is told by its UUID.
//!
//! Without a name it is the one that holds a Linux root. The first of these that leaves one partition decides:
//!
//! ```text
//! 1  its type in a GPT says so          root-x86-64, root-arm64 …; of several, those that 2 is true of
//! 2  it holds what a root holds         ext, with /etc and a directory of programs
//! 3  nothing else can be worked in      the only ext or FAT; only where a root is not what is asked for
//! ```
//! Whoever cannot be told which is told of all that there are.

use std::ffi::OsStr;
use std::path::Path;

use imgfmt::ext::{FileType, Fs};
use imgfmt::probe::{self, Kind, Probe};
use imgfmt::table::{Partition, Table};
use imgfmt::{Storage, Volume};

use crate::failure::Failure;
use crate::size::size;

/// A partition that could be meant.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Its entry in the table.
    pub partition: Partition,
    /// Its bytes; an error where it reaches past the end of the image.
    pub volume: imgfmt::Result<Volume<'a>>,
    /// What it holds, as far as that is known.
    pub probe: Option<Probe>,
}

/// All partitions that could be meant: not those that only hold others.
#[derive(Debug)]
pub struct Candidates<'a>(Vec<Candidate<'a>>);

/// Why it is not clear which partition is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// What the image has or has not.
    what: String,
    /// What there is.
    choices: String,
}

impl Doubt {
    /// The same about the image at `path`.
    pub fn of(self, path: &Path) -> Failure {
        let Self { what, choices } = self;
        Failure::new(format!("image `{}` {what}", path.display()))
            .hint(format!("write `IMAGE#N`: {choices}"))
    }
}

impl<'a> Candidates<'a> {
    /// The partitions of `table`, which was read from `raw`.
    ///
    /// # Errors
    /// Where what they hold cannot be read.
    pub fn new(table: &Table, raw: &'a dyn Storage) -> imgfmt::Result<Self> {
        let mut all = Vec::new();
        for partition in table.partitions.iter().filter(|partition| !partition.is_extended()) {
            let volume = table.volume(partition.number, raw);
            let probe = match &volume {
                Ok(volume) => probe::probe(volume)?,
                Err(_) => None,
            };
            all.push(Candidate { partition: partition.clone(), volume, probe });
        }
        Ok(Self(all))
    }

    /// Each of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Candidate<'a>> {
        self.0.iter()
    }

    /// The one that `name` names.
    ///
    /// # Errors
    /// Where none has that name, or several have.
    pub fn named(&self, name: &OsStr) -> Result<&Candidate<'a>, Doubt> {
        let number = |candidate: &&Candidate<'_>| *candidate.partition.number.to_string() == *name;
        if let Some(candidate) = self.iter().find(number) {
            return Ok(candidate);
        }
        let shown = name.display();
        match self.those(|candidate| candidate.is_called(name))[..] {
            [only] => Ok(only),
            [] => Err(self.doubt(format!("has no partition `{shown}`"))),
            _ => Err(self.doubt(format!("has several partitions `{shown}`"))),
        }
    }

    /// The one with a Linux root.
    ///
    /// # Errors
    /// Where none has one, or several have.
    pub fn root(&self) -> Result<&Candidate<'a>, Doubt> {
        let typed = self.those(|candidate| candidate.partition.kind.is_root());
        if let [only] = typed[..] {
            return Ok(only);
        }
        let mut roots = self.those(Candidate::holds_root);
        if !typed.is_empty() {
            roots.retain(|candidate| candidate.partition.kind.is_root());
        }
        match (&roots[..], typed.is_empty()) {
            ([only], _) => Ok(only),
            ([], true) => Err(self.doubt("has no partition with a Linux root".into())),
            _ => Err(self.doubt("has several partitions with a Linux root".into())),
        }
    }

    /// The one to work in: with a Linux root, or the only one that can be worked in.
    ///
    /// # Errors
    /// Where there is none, or no reason to take one of several.
    pub fn to_work_in(&self) -> Result<&Candidate<'a>, Doubt> {
        self.root().or_else(|doubt| {
            match self.those(|candidate| is_workable(candidate.probe.as_ref()))[..] {
                [only] => Ok(only),
                [] => Err(self.doubt("has no partition with ext or FAT".into())),
                _ => Err(doubt),
            }
        })
    }

    fn those(&self, is_one: impl Fn(&Candidate<'a>) -> bool) -> Vec<&Candidate<'a>> {
        self.iter().filter(|candidate| is_one(candidate)).collect()
    }

    fn doubt(&self, what: String) -> Doubt {
        Doubt { what, choices: self.choices() }
    }

    /// ``there are 1 (`EFI`, 64.0 MiB, vfat) and 2 (2.0 GiB, ext4 `root`)``
    fn choices(&self) -> String {
        let all: Vec<String> = self.iter().map(Candidate::shown).collect();
        match all.split_last() {
            None => "the table is empty".into(),
            Some((only, [])) => format!("there is only {only}"),
            Some((last, others)) => format!("there are {} and {last}", others.join(", ")),
        }
    }
}

/// Whether it is a file system that is read and edited.
pub fn is_workable(probe: Option<&Probe>) -> bool {
    probe.is_some_and(|probe| probe.kind.is_ext() || probe.kind == Kind::Vfat)
}

impl Candidate<'_> {
    fn is_called(&self, name: &OsStr) -> bool {
        let Some(name) = name.to_str() else { return false };
        let Partition { label, part_uuid, .. } = &self.partition;
        let probe = self.probe.as_ref();
        let uuids = [Some(part_uuid), probe.and_then(|probe| probe.uuid.as_ref())];
        let labels = [label.as_ref(), probe.and_then(|probe| probe.label.as_ref())];
        uuids.into_iter().flatten().any(|uuid| uuid.eq_ignore_ascii_case(name))
            || labels.into_iter().flatten().any(|label| label == name)
    }

    fn holds_root(&self) -> bool {
        let is_ext = self.probe.as_ref().is_some_and(|probe| probe.kind.is_ext());
        match &self.volume {
            Ok(volume) if is_ext => Fs::open(*volume).is_ok_and(|fs| is_root(&fs)),
            _ => false,
        }
    }

    fn shown(&self) -> String {
        let name = self.partition.label.as_ref();
        let name = name.map_or(String::new(), |name| format!("`{name}`, "));
        let holds = match (&self.volume, &self.probe) {
            (Err(_), _) => "past the end of the image".to_owned(),
            (_, None) => "nothing known".to_owned(),
            (_, Some(probe)) => {
                let label = probe.label.as_ref();
                let label = label.map_or(String::new(), |label| format!(" `{label}`"));
                format!("{}{label}", probe.kind.name())
            }
        };
        format!("{} ({name}{}, {holds})", self.partition.number, size(self.partition.len))
    }
}

/// Whether a Linux system could start from it.
pub fn is_root(fs: &Fs<'_>) -> bool {
    let is_dir =
        |path: &str| fs.metadata(path).is_ok_and(|found| found.kind == FileType::Directory);
    is_dir("/etc") && ["/bin", "/usr/bin", "/sbin", "/usr/sbin"].into_iter().any(is_dir)
}
