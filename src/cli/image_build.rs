//! What may be typed behind `autoxen image build`.

use std::path::PathBuf;

use clap::Args;
use imgfmt::ext::mkfs::{Inodes, Profile};
use uuid::Uuid;

use crate::build::{Format, Owners, Size, Type, Volume, bytes};

const BUILD_EXAMPLES: &str = "\
Examples:
  autoxen image build -o root.img root.tar.zst
  autoxen image build -o root.img --size auto+1G --label root base.tar local/
  docker save app | autoxen image build -o app.img --format oci -
  autoxen image build -o old.img --for rhel3 --size 2G rhel3.tar
  autoxen image build -o swap.img --type swap --size 512M

Sources go in one after another: a tar (plain, gzip, zstd, xz), a directory, an OCI layout or archive, what `docker save`
writes; `-` is standard input. Where two have the same path, the later one counts. Owners, modes, device nodes, hard
links, holes and extended attributes are those of the source; no privilege is needed. A directory gives its files as the
host has them: `--owner root:root` makes them root's, `--owner 1000:1000=0:0` those of user and group 1000.

The same sources and options make the same bytes. UUIDs that are not given come from --seed, without it from the
options and the beginning of the sources; times that no source gives are --time, SOURCE_DATE_EPOCH, or 1970.

The image appears under its name when it is whole, and is as readable for others as its sources.

JSON: one object with `image`, `bytes`, `entries`, `warnings` and `volumes`, each with `type`, `start`, `bytes`, `uuid`,
`label`, and of ext `block_size`, `inodes`, `features`.

Exit status: 0 done; 2 failed, and there is no image; 130 interrupted.";

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

fn uuid(text: &str) -> Result<Uuid, String> {
    let short = text.split_once('-').filter(|(high, low)| high.len() == 4 && low.len() == 4);
    let number =
        short.and_then(|(high, low)| u32::from_str_radix(&format!("{high}{low}"), 16).ok());
    match number {
        Some(number) => Ok(Uuid::from_fields(number, 0, 0, &[0; 8])),
        None => Uuid::parse_str(text).map_err(|_| "no UUID, nor eight digits of a FAT's".into()),
    }
}

fn narrow(text: &str) -> Result<u32, String> {
    u32::try_from(bytes(text)?).map_err(|_| "1024 to 65536".into())
}

fn inodes(text: &str) -> Result<Inodes, String> {
    match text.strip_prefix("per") {
        Some(ratio) => match bytes(ratio)? {
            0 => Err("one inode for no byte".into()),
            ratio => Ok(Inodes::Ratio(ratio)),
        },
        None => text.parse().map(Inodes::Count).map_err(|_| "a number, or as in `per16K`".into()),
    }
}
