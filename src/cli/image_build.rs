//! What may be typed behind `autoxen image build`.

use std::path::PathBuf;

use clap::Args;
use imgfmt::ext::mkfs::{Inodes, Profile};
use uuid::Uuid;

use crate::build::{Disk, Format, Owners, Size, Type, Volume, inodes, uuid};
use crate::bytes::bytes;

const BUILD_EXAMPLES: &str = "\
Examples:
  autoxen image build -o root.img root.tar.zst
  autoxen image build -o root.img --size auto+1G --label root base.tar local/
  docker save app | autoxen image build -o app.img --format oci -
  autoxen image build -o old.img --for rhel3 --size 2G rhel3.tar
  autoxen image build -o swap.img --type swap --size 512M
  autoxen image build -o disk.img --disk gpt --size 4G --part type=esp,size=64M,from=esp/ \\
          --part type=root,size=rest,label=root,from=root.tar
  autoxen image build -o disk.img --layout disk.toml

Sources go in one after another: a tar (plain, gzip, zstd, xz), a directory, an OCI layout or archive, what `docker save`
writes; `-` is standard input. Where two have the same path, the later one counts. Owners, modes, device nodes, hard
links, holes and extended attributes are those of the source; no privilege is needed. A directory gives its files as the
host has them: `--owner root:root` makes them root's, `--owner 1000:1000=0:0` those of user and group 1000.

The same sources and options make the same bytes. UUIDs that are not given come from --seed, without it from the
options and the beginning of the sources; times that no source gives are --time, SOURCE_DATE_EPOCH, or 1970.

A partition has `type` (linux, root, esp, swap, home, var, boot, bios-boot…, a GUID, or two hexadecimal digits), `fs`
(ext2, ext3, ext4, vfat, swap, raw), `size` (as --size, or `rest`), `from` (again for each source), `name`, `part-uuid`,
`boot`, and `label`, `uuid`, `features`, `for`, `block-size`, `inode-size`, `inodes`, `journal-size`, `reserved`, `owner` as
the flags say it of a bare file system. A TOML file has `disk`, `size`, `uuid`, `seed` and a `[[part]]` with these words
for each; its paths start where it lies.

The image appears under its name when it is whole, and is as readable for others as its sources.

JSON: one object with `image`, `bytes`, `entries`, `warnings` and `volumes`, each with `partition`, `type`, `start`, `bytes`,
`uuid`, `label`, and of ext `block_size`, `inodes`, `features`.

Exit status: 0 done; 2 failed, and there is no image; 130 interrupted.";

/// What is said of a bare file system alone.
const BARE: [&str; 11] = [
    "sources",
    "kind",
    "label",
    "features",
    "profile",
    "block_size",
    "inode_size",
    "inodes",
    "journal_size",
    "reserved",
    "owner",
];

/// Arguments of `image build`.
#[derive(Debug, Args)]
#[command(after_help = BUILD_EXAMPLES)]
pub struct ImageBuildArgs {
    /// The image to be made
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// What goes into it: tars, directories, container images; `-` is standard input
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<PathBuf>,
    /// What to make: ext2, ext3, ext4, vfat or swap [default: ext4, or what --for says]
    #[arg(long = "type", short = 't', value_parser = Type::parse)]
    pub kind: Option<Type>,
    /// How large: bytes, or with K, M, G, T; `auto` takes what the content needs, and so much free
    #[arg(long, value_name = "N|auto[+FREE|+N%]", value_parser = Size::parse)]
    pub size: Option<Size>,
    /// The label
    #[arg(long, short = 'L')]
    pub label: Option<String>,
    /// The UUID; of vfat eight digits, as in `1A2B-3C4D`
    #[arg(long, short = 'U', value_parser = uuid)]
    pub uuid: Option<Uuid>,
    /// Features of ext in mke2fs's words: `^64bit,metadata_csum_seed`, `none,extent`
    #[arg(long, short = 'O', value_name = "WORDS", default_value = "", hide_default_value = true)]
    pub features: String,
    /// Make it for an old guest: rhel3, rhel5, debian-etch… A wrong name lists them all
    #[arg(long = "for", value_name = "PROFILE", value_parser = profile)]
    pub profile: Option<Profile>,
    /// Bytes of a block of ext: 1024 to 65536
    #[arg(long, value_name = "N", value_parser = narrow)]
    pub block_size: Option<u32>,
    /// Bytes of an inode of ext
    #[arg(long, value_name = "N")]
    pub inode_size: Option<u16>,
    /// How many inodes ext has; with `per`, one for so many bytes
    #[arg(long, value_name = "N|perN", value_parser = inodes)]
    pub inodes: Option<Inodes>,
    /// How large the journal of ext is
    #[arg(long, value_name = "N", value_parser = bytes)]
    pub journal_size: Option<u64>,
    /// Part of ext that only root may take, in percent [default: 5]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=50))]
    pub reserved: Option<u8>,
    /// Change owners: USER:GROUP for all, or OLD:OLD=USER:GROUP; numbers, or `root`
    #[arg(long, value_name = "[OLD=]USER:GROUP")]
    pub owner: Vec<String>,
    /// Make a disk with partitions, each said by --part
    #[arg(long, value_name = "gpt|mbr", value_parser = ["gpt", "mbr"], requires = "part", conflicts_with_all = BARE)]
    pub disk: Option<String>,
    /// A partition: `type=root,fs=ext4,size=rest,from=root.tar,label=root`; again for each
    #[arg(long, value_name = "KEY=VALUE,…", requires = "disk")]
    pub part: Vec<String>,
    /// Make a disk as this TOML file says
    #[arg(long, value_name = "FILE", conflicts_with_all = BARE, conflicts_with_all = ["disk", "part"])]
    pub layout: Option<PathBuf>,
    /// What UUIDs are derived from
    #[arg(long)]
    pub seed: Option<String>,
    /// The time of what no source gives one, in seconds since 1970
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..))]
    pub time: Option<i64>,
    /// What the sources are, where it is not told by their content
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Which image of a container image of several [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<String>,
    /// Replace OUT if it is there
    #[arg(long, short)]
    pub force: bool,
    /// Print what was made as JSON
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

impl ImageBuildArgs {
    /// The disk that these arguments ask for. `text` is that of the TOML file.
    ///
    /// # Errors
    /// What contradicts what.
    pub fn disk(&self, text: Option<&str>) -> Result<Option<Disk>, String> {
        let disk = match (&self.layout, text, &self.disk) {
            (Some(path), Some(text), _) => {
                Disk::from_toml(text, path.parent().unwrap_or(std::path::Path::new("")))?
            }
            (_, _, Some(kind)) => Disk::from_flags(kind, &self.part)?,
            _ => return Ok(None),
        };
        let seed = self.seed.clone().or(disk.seed.clone());
        let mut disk = Disk { id: self.uuid.or(disk.id), seed, ..disk }.with_size(self.size)?;
        for (number, part) in (1..).zip(&mut disk.parts) {
            part.volume.seed.clone_from(&disk.seed);
            part.volume.number = number;
        }
        Ok(Some(disk))
    }

    /// The bare volume that these arguments ask for.
    ///
    /// # Errors
    /// What contradicts what.
    pub fn volume(&self) -> Result<Volume, String> {
        let of_profile = self.profile.map(|profile| Type::Ext(profile.kind()));
        let kind = self.kind.or(of_profile).unwrap_or(Type::Ext(imgfmt::ext::mkfs::Kind::Ext4));
        let size = self.size.unwrap_or(Size::Auto(imgfmt::ext::mkfs::Free::default()));
        let volume = Volume {
            label: self.label.clone(),
            uuid: self.uuid,
            seed: self.seed.clone(),
            features: self.features.clone(),
            profile: self.profile,
            block_size: self.block_size,
            inode_size: self.inode_size,
            inodes: self.inodes.unwrap_or(Inodes::Default),
            journal_size: self.journal_size,
            reserved_percent: self.reserved,
            owners: Owners::parse(self.owner.iter().map(String::as_str))?,
            from: self.sources.clone(),
            ..Volume::new(kind, size)
        };
        volume.check()?;
        match volume.size {
            Size::Rest => Err("`rest` is the size of a partition, not of an image".into()),
            _ => Ok(volume),
        }
    }
}

fn profile(name: &str) -> Result<Profile, String> {
    Profile::named(name).map_err(|error| error.to_string())
}

fn narrow(text: &str) -> Result<u32, String> {
    u32::try_from(bytes(text)?).map_err(|_| "1024 to 65536".into())
}
