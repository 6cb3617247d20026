//! A disk with partitions: from `--part` flags, or from a TOML file of the same words.
//!
//! ```toml
//! disk = "gpt"                # or "mbr"
//! size = "4G"                 # without it, as large as it has to be
//!
//! [[part]]
//! type = "esp"                # imgfmt's names, a GUID, two hexadecimal digits for an MBR
//! size = "64M"
//! label = "EFI"               # of the file system, and of the partition where `name` says no other
//! from = "esp/"               # or several, in order
//!
//! [[part]]
//! type = "root"
//! fs = "ext4"                 # without it what the type is for: vfat, swap, ext4
//! size = "rest"
//! from = ["root.tar.zst", "local/"]
//! features = "^64bit"         # and `for`, `block-size`, … as the flags of a bare file system
//! ```
//! The same part as a flag is `type=root,fs=ext4,size=rest,from=root.tar.zst,from=local/,features=^64bit`: what stands
//! behind a comma without a `=` belongs to the value before it.

use std::path::{Path, PathBuf};

use imgfmt::ext::mkfs::{Free, Kind, Profile};
use imgfmt::table::{self, PartitionType};
use serde::Deserialize;
use uuid::Uuid;

use super::inodes::inodes;
use super::owners::Owners;
use super::size::Size;
use super::volume::{Type, Volume, uuid};
use crate::bytes::bytes;

/// A disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Which table.
    pub kind: table::Kind,
    /// Its length in bytes; without one, what it takes.
    pub len: Option<u64>,
    /// Its identifier.
    pub id: Option<Uuid>,
    /// What identifiers are derived from that are not given.
    pub seed: Option<String>,
    /// Its partitions in order.
    pub parts: Vec<Part>,
}

/// A partition.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it says that it holds.
    pub kind: PartitionType,
    /// Its name, in a GPT.
    pub name: Option<String>,
    /// Its own UUID, in a GPT.
    pub uuid: Option<Uuid>,
    /// Whether it is marked for boot loaders of old.
    pub bootable: bool,
    /// What it holds.
    pub volume: Volume,
}

/// A value as text, however it is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Number(i64),
}

impl Word {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(Word),
    Many(Vec<Word>),
}

impl Words {
    fn texts(this: Option<Self>) -> Vec<String> {
        match this {
            None => Vec::new(),
            Some(Self::One(word)) => vec![word.text()],
            Some(Self::Many(words)) => words.into_iter().map(Word::text).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskText {
    disk: String,
    size: Option<Word>,
    uuid: Option<String>,
    seed: Option<Word>,
    part: Vec<PartText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PartText {
    #[serde(rename = "type")]
    kind: Option<Word>,
    fs: Option<String>,
    size: Option<Word>,
    label: Option<Word>,
    name: Option<Word>,
    uuid: Option<String>,
    part_uuid: Option<String>,
    boot: Option<Boot>,
    features: Option<String>,
    #[serde(rename = "for")]
    profile: Option<String>,
    block_size: Option<Word>,
    inode_size: Option<Word>,
    inodes: Option<Word>,
    journal_size: Option<Word>,
    reserved: Option<Word>,
    owner: Option<Words>,
    from: Option<Words>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Boot {
    Flag(bool),
    Text(String),
}

impl Disk {
    /// From the kind of the table, and `--part` flags. Relative paths stay as they are.
    ///
    /// # Errors
    /// What is wrong, and with which flag.
    pub fn from_flags(kind: &str, parts: &[String]) -> Result<Self, String> {
        let kind = table_kind(kind)?;
        let parts = parts.iter().map(|flag| {
            part_text(flag)
                .and_then(|text| text.part(kind, None))
                .map_err(|what| format!("`--part {flag}`: {what}"))
        });
        Self { kind, len: None, id: None, seed: None, parts: parts.collect::<Result<_, _>>()? }
            .checked()
    }

    /// From the text of a TOML file. Relative paths start at `base`.
    ///
    /// # Errors
    /// What is wrong, and in which line or part.
    pub fn from_toml(text: &str, base: &Path) -> Result<Self, String> {
        let disk: DiskText = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            format!("{line}{}", error.message().lines().next().unwrap_or_default())
        })?;
        let kind = table_kind(&disk.disk)?;
        let size = disk.size.map(|size| Size::parse(&size.text())).transpose()?;
        let id = disk.uuid.as_deref().map(uuid).transpose()?;
        let mut parts = Vec::new();
        for (number, part) in (1..).zip(disk.part) {
            parts.push(
                part.part(kind, Some(base)).map_err(|what| format!("part {number}: {what}"))?,
            );
        }
        let seed = disk.seed.map(Word::text);
        Self { kind, len: None, id, seed, parts }.with_size(size)?.checked()
    }

    /// The same, of this size.
    ///
    /// # Errors
    /// A size that no disk can have.
    pub fn with_size(self, size: Option<Size>) -> Result<Self, String> {
        match size {
            None => Ok(self),
            Some(Size::Bytes(len)) => Ok(Self { len: Some(len), ..self }),
            Some(Size::Auto(free)) if free == Free::default() => Ok(Self { len: None, ..self }),
            Some(_) => Err("a disk has a number of bytes, or `auto`".into()),
        }
    }

    fn checked(self) -> Result<Self, String> {
        if self.parts.is_empty() {
            return Err("a disk without partitions".into());
        }
        let rest = self.parts.iter().position(|part| part.volume.size == Size::Rest);
        let behind = rest.map_or(&[][..], |rest| &self.parts[rest + 1..]);
        match behind.iter().any(|part| matches!(part.volume.size, Size::Auto(_))) {
            true => Err("a partition of size `auto` behind the one that takes the rest: put it before, or give it a size".into()),
            false => Ok(self),
        }
    }
}

fn table_kind(name: &str) -> Result<table::Kind, String> {
    match name {
        "gpt" => Ok(table::Kind::Gpt),
        "mbr" | "dos" => Ok(table::Kind::Mbr),
        _ => Err(format!("no partition table is called `{name}`: there are `gpt` and `mbr`")),
    }
}

/// A flag as the table that it stands for.
fn part_text(flag: &str) -> Result<PartText, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for piece in flag.split(',') {
        match (piece.split_once('='), pairs.last_mut()) {
            (Some((key, value)), _) => pairs.push((key.into(), value.into())),
            (None, Some((_, value))) => *value = format!("{value},{piece}"),
            (None, None) => return Err(format!("`{piece}` is no `key=value`")),
        }
    }
    let mut all = toml::Table::new();
    for (key, value) in pairs {
        let is_list = matches!(key.as_str(), "from" | "owner");
        match all.get_mut(&key) {
            Some(toml::Value::Array(values)) => values.push(value.into()),
            Some(_) => return Err(format!("`{key}` is said twice")),
            None if is_list => drop(all.insert(key, toml::Value::Array(vec![value.into()]))),
            None => drop(all.insert(key, value.into())),
        }
    }
    all.try_into().map_err(|error: toml::de::Error| {
        error.message().lines().next().unwrap_or_default().to_owned()
    })
}

impl PartText {
    fn part(self, kind: table::Kind, base: Option<&Path>) -> Result<Part, String> {
        let name = self.kind.map_or_else(|| "linux".into(), Word::text);
        let partition = PartitionType::from_name(kind, &name).ok_or_else(|| {
            let names: Vec<&str> = PartitionType::names().collect();
            let other = if kind == table::Kind::Gpt { "a GUID" } else { "two hexadecimal digits" };
            format!("no partition type `{name}`: there are `{}`, and {other}", names.join("`, `"))
        })?;
        let profile =
            self.profile.as_deref().map(Profile::named).transpose().map_err(|e| e.to_string())?;
        let fs = match self.fs.as_deref() {
            Some(fs) => Type::of_part(fs)?,
            None => match (&*name, profile) {
                ("esp" | "efi" | "fat", _) => Type::Vfat,
                ("swap", _) => Type::Swap,
                ("bios-boot", _) => Type::Raw,
                (_, Some(profile)) => Type::Ext(profile.kind()),
                _ => Type::Ext(Kind::Ext4),
            },
        };
        let text = |word: Option<Word>| word.map(Word::text);
        let number = |word: Option<Word>| text(word).map(|text| bytes(&text)).transpose();
        let narrow = |what: &str, number: Option<u64>| match number.map(u16::try_from) {
            Some(Err(_)) => Err(format!("`{what}` is too large")),
            other => Ok(other.and_then(Result::ok)),
        };
        let block_size = number(self.block_size)?.map(u32::try_from).transpose();
        let reserved = narrow("reserved", number(self.reserved)?)?.map(u8::try_from).transpose();
        let label = text(self.label);
        let owners = Words::texts(self.owner);
        let size = text(self.size).map(|size| Size::parse(&size)).transpose()?;
        let volume = Volume {
            label: label.clone(),
            uuid: self.uuid.as_deref().map(uuid).transpose()?,
            features: self.features.unwrap_or_default(),
            profile,
            block_size: block_size.map_err(|_| "`block-size` is too large")?,
            inode_size: narrow("inode-size", number(self.inode_size)?)?,
            inodes: text(self.inodes)
                .map(|text| inodes(&text))
                .transpose()?
                .unwrap_or(imgfmt::ext::mkfs::Inodes::Default),
            journal_size: number(self.journal_size)?,
            reserved_percent: reserved.map_err(|_| "`reserved` is a part in percent")?,
            owners: Owners::parse(owners.iter().map(String::as_str))?,
            from: Words::texts(self.from).into_iter().map(|path| from_base(base, path)).collect(),
            ..Volume::new(fs, size.unwrap_or(Size::Auto(Free::default())))
        };
        volume.check()?;
        let bootable = match self.boot {
            None => false,
            Some(Boot::Flag(flag)) => flag,
            Some(Boot::Text(text)) => match &*text {
                "true" | "yes" | "on" => true,
                "false" | "no" | "off" => false,
                _ => return Err("`boot` is true or false".into()),
            },
        };
        let own_name = text(self.name).or(label).filter(|_| kind == table::Kind::Gpt);
        let part_uuid = self.part_uuid.as_deref().map(uuid).transpose()?;
        Ok(Part { kind: partition, name: own_name, uuid: part_uuid, bootable, volume })
    }
}

fn from_base(base: Option<&Path>, path: String) -> PathBuf {
    match base {
        Some(base) if path != "-" => base.join(path),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{Disk, Size, Type};

    const TOML: &str = "\
disk = \"gpt\"
size = \"4G\"
[[part]]
type = \"esp\"
size = \"64M\"
label = \"EFI\"
[[part]]
type = \"root\"
size = \"rest\"
from = [\"root.tar\", \"/local\", \"-\"]
features = \"^64bit,metadata_csum_seed\"
reserved = 1
";

    #[test]
    fn a_file_and_flags_say_the_same() {
        let disk = Disk::from_toml(TOML, Path::new("/at")).expect("a disk");
        assert_eq!(disk.len, Some(4 << 30));
        let flags = [
            "type=esp,size=64M,label=EFI",
            "type=root,size=rest,from=/at/root.tar,from=/local,from=-,features=^64bit,metadata_csum_seed,reserved=1",
        ];
        let same = Disk::from_flags("gpt", &flags.map(str::to_owned)).expect("a disk");
        assert_eq!(format!("{:?}", same.parts), format!("{:?}", disk.parts));
        let [esp, root] = &disk.parts[..] else { panic!("two") };
        assert_eq!((esp.volume.kind, esp.name.as_deref()), (Type::Vfat, Some("EFI")));
        assert_eq!(root.volume.size, Size::Rest);
        let from: Vec<PathBuf> = ["/at/root.tar", "/local", "-"].map(PathBuf::from).into();
        assert_eq!(root.volume.from, from);
        assert_eq!(root.volume.features, "^64bit,metadata_csum_seed");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let flag = |flag: &str| Disk::from_flags("mbr", &[flag.to_owned()]).expect_err("refused");
        for (given, expected) in [
            ("esp", "`--part esp`: `esp` is no `key=value`"),
            ("type=esp,type=root", "`type` is said twice"),
            ("size=1Q", "not a number of bytes"),
            ("type=toor", "no partition type `toor`: there are `linux`, `root`, `esp`"),
            ("typ=esp", "unknown field `typ`"),
            ("type=swap", "swap needs a size"),
            ("fs=vfat,features=x", "`features` is for ext file systems, not for vfat"),
            ("reserved=300", "`reserved` is a part in percent"),
        ] {
            let what = flag(given);
            assert!(what.contains(expected), "{what}\n{expected}");
        }
        let toml = |text: &str| Disk::from_toml(text, Path::new("/")).expect_err("refused");
        assert!(toml("disk = \"gpt\"\nsize = \n").starts_with("line 2: "));
        assert_eq!(
            toml("disk = \"bsd\"\npart = []\n"),
            "no partition table is called `bsd`: there are `gpt` and `mbr`"
        );
        assert_eq!(toml("disk = \"gpt\"\npart = []\n"), "a disk without partitions");
        let two = "disk = \"gpt\"\n[[part]]\nsize = \"rest\"\n[[part]]\n";
        assert!(toml(two).starts_with("a partition of size `auto` behind"));
    }
}
