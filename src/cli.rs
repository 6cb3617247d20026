//! The command line: what may be typed, and what `--help` and the man pages say of it.

mod collect;
mod convert;
mod create;
mod domain;
mod grow;
mod image;
mod image_build;
mod inside;
mod lazy;
mod run;
mod sign;
mod transfer;
mod typed;

use std::num::NonZeroUsize;
use std::path::PathBuf;

pub use collect::CollectArgs;
pub use convert::{ImageConvertArgs, ImageFormat};
pub use create::{
    CreateArgs, DestroyArgs, ListArgs, PolicyArgs, PolicyCommand, SiteArgs, WaitArgs,
};
pub use domain::{DomainArgs, DomainFormat};
pub use grow::{GrowTo, ImageGrowArgs};
pub use image::{ImageArgs, ImageCommand, ImageInfoArgs, ImageKernelArgs, ImageRecoverArgs};
pub use image_build::ImageBuildArgs;
pub use inside::{
    CatArgs, ChmodArgs, ChownArgs, CpArgs, DiffArgs, EditArgs, EditVerb, LnArgs, LsArgs, MkdirArgs,
    MvArgs, ReadVerb, RmArgs, ScriptLine, TimeStyle,
};
use lazy::Lazy;
pub use run::RunArgs;
pub use sign::{
    KeyArgs, KeyCommand, KeyNewArgs, KeyShowArgs, PassphraseArgs, SignArgs, SignersArgs, VerifyArgs,
};
pub use transfer::{Compress, ImageExportArgs, ImageImportArgs};
pub use typed::{ScriptReader, parse};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::guest::init::Init;
use crate::plan::{self, Runner};

const EXAMPLES: &str = "\
Examples:
  autoxen check job.xml                 is the job description right?
  autoxen plan job.xml                  what would be done to the image?
  autoxen prepare job.xml -o ready      do it, on a copy
  autoxen image info --deep root.img    what is this image, and is it whole?
  autoxen image kernel root.img -o boot take its kernel and ramdisk out
  autoxen image recover root.img        bring it back after a crash
  autoxen image convert a.qcow2 a.img   make a raw image of it
  sudo autoxen create ready             start the guest
  autoxen verify root.img               who signed it, and is it what they signed?
  autoxen collect ready -o results      what did its jobs write?
  autoxen run job.xml -o results        all of it at once

Exit status:
  0  done
  1  done, with findings (`check --strict`, `image info --deep`)
  2  failed: the last lines say what, where, and a way out; nothing is left half done
  130  interrupted; nothing is left half done, but that `image cp` leaves what it has copied to the host";

const CHECK_EXAMPLES: &str = "\
Examples:
  autoxen check job.xml
  autoxen check --json jobs/*.xml > findings.json
  autoxen check --strict job.xml        warnings count, too

Exit status: 0 all are right; 1 warnings under --strict; 2 a document is refused.";

const PLAN_EXAMPLES: &str = "\
Examples:
  autoxen plan job.xml
  autoxen plan --json job.xml | jq '.disks[].volumes'
  autoxen plan --in-place job.xml       what would be done to the image itself?

A plan writes nothing. A compressed or qcow2 image is unpacked into a temporary directory ($TMPDIR) to be looked at.";

const PREPARE_EXAMPLES: &str = "\
Examples:
  autoxen prepare job.xml -o ready
  autoxen prepare job.xml -o ready --kernel vmlinuz --ramdisk initrd.img
  SOURCE_DATE_EPOCH=1700000000 autoxen prepare job.xml -o ready    the same bytes, every time
  autoxen prepare job.xml -o ready --overlay       make no copy: lay a small qcow2 image over it
  autoxen prepare job.xml -o ready --in-place      edit the image itself, make no copy
  autoxen prepare jobs/*.xml --into bundles        a bundle of each, many at a time
  sudo xl create ready/domain.cfg

Without --in-place a stock image is opened read-only and never changes. The bundle appears whole or not at all.

With --overlay each disk that would be a copy is a qcow2 image whose backing file is the stock image, by its absolute path: \
it holds what the edit changes and what the guest will write. The stock image is raw or qcow2, and must not change or move \
as long as there is the bundle. `autoxen create` refuses such bundles, since it opens nothing that a bundle names as root; \
`xl create` starts them.

With --into a job that cannot be prepared is told of and keeps no other from being prepared; JSON has a line for each bundle.

The manifest has the digest of each stock image. It is made while the image is copied, and remembered in \
$XDG_CACHE_HOME/autoxen (~/.cache/autoxen) for images that nobody has changed for a minute.

With --in-place the images that the job description names are edited where they lie, and the guest uses them there. Each \
image is edited whole or not at all, whatever ends the work: through its own journal, or, where that cannot be (no \
journal, FAT, several partitions at once), with an undo file IMAGE.autoxen-undo beside it while it lasts. Several images \
are edited one after another. After an interruption the same command finishes the work: done twice is as done once. \
`autoxen image recover IMAGE` brings an image back without going on.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "autoxen",
    version,
    about = "Prepare virtual machine images for Xen: no root, no mount, no helper VM",
    after_help = EXAMPLES,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What any verb may be told
    #[command(flatten)]
    pub every: EveryArgs,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What any verb may be told.
#[derive(Debug, Args)]
pub struct EveryArgs {
    /// When to colour messages
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// How to show the progress of long work, on standard error
    #[arg(long, global = true, value_enum, default_value_t, value_name = "HOW")]
    pub progress: ProgressFormat,
}

/// The whole command line with all arguments of all verbs, for what tells of them.
pub fn described() -> clap::Command {
    lazy::describe_at_once();
    Cli::command()
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressFormat {
    /// A bar on a terminal, nothing elsewhere
    #[default]
    Auto,
    /// For programs: a JSON object a line, with `what`, `done`, `total`, `bytes_per_second`, `seconds_left`
    Json,
}

/// When messages are coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// One verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Validate job descriptions (XMF) against the schema and the rules
    Check(Lazy<CheckArgs>),
    /// Show each edit, file and disk that `prepare` would make; write nothing
    Plan(Lazy<PlanArgs>),
    /// Make a bundle that Xen can start: customised images, domain.cfg, manifest
    Prepare(Lazy<PrepareArgs>),
    /// Prepare a job, start its guest, wait for its end, and bring its results home
    Run(Lazy<RunArgs>),
    /// Start the guest of a bundle, as the site's policy allows it (as root: the one privileged step)
    Create(Lazy<CreateArgs>),
    /// Wait until a domain has gone, and bring its results back into its bundle
    Wait(Lazy<WaitArgs>),
    /// List the domains that you have created
    List(Lazy<ListArgs>),
    /// End one of your domains at once
    Destroy(Lazy<DestroyArgs>),
    /// Look at the policy of a site: who may start what
    Policy(Lazy<PolicyArgs>),
    /// Take the results of a guest out of its bundle
    Collect(Lazy<CollectArgs>),
    /// Print the configuration of a bundle's domain, for xl or for libvirt
    Domain(Lazy<DomainArgs>),
    /// Make keys to sign with, and show them
    Key(Lazy<KeyArgs>),
    /// Sign an image or a bundle
    Sign(Lazy<SignArgs>),
    /// Say who signed an image or a bundle, and whether it is whole
    Verify(Lazy<VerifyArgs>),
    /// Look into disk images, work inside them, and bring them back after a crash
    Image(Lazy<ImageArgs>),
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a directory
    Man {
        /// The directory; it is created where it is missing
        directory: PathBuf,
    },
}

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct CheckArgs {
    /// The job descriptions
    #[arg(required = true, value_name = "JOB.XML")]
    pub files: Vec<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
    /// Exit with status 1 where there are warnings
    #[arg(long)]
    pub strict: bool,
}

/// What `plan` and `prepare` are told alike.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The job description
    #[arg(value_name = "JOB.XML")]
    pub file: PathBuf,
    /// What is said beside it
    #[command(flatten)]
    pub options: JobOptions,
}

/// What may be said beside a job description.
#[derive(Debug, Args)]
pub struct JobOptions {
    /// Boot this kernel of the host, whatever the job description says
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Use this initial ramdisk of the host, whatever the job description says
    #[arg(long, value_name = "FILE")]
    pub ramdisk: Option<PathBuf>,
    /// Give the kernel this command line, whatever the job description says
    #[arg(long, value_name = "WORDS")]
    pub cmdline: Option<String>,
    /// Keep device names such as hda1 and sda1: do not rename them to xvda1
    #[arg(long)]
    pub keep_device_names: bool,
    /// Edit the images themselves, where they lie: no copies
    #[arg(long, conflicts_with = "overlay")]
    pub in_place: bool,
    /// Make no copies: disks of the bundle are qcow2 images laid over the stock images, which must not change any more
    #[arg(long)]
    pub overlay: bool,
    /// What starts the jobs: `auto`, `none`, or AutoXen's runner in this init system
    #[arg(long, default_value = "auto", value_parser = runner, value_name = "NAME")]
    pub runner: Runner,
    /// How the jobs get into the guest
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub deliver: Deliver,
    /// Whose signatures of images count, where one is asked for
    #[command(flatten)]
    pub signers: SignersArgs,
    /// Leave the digests of images and files out of the manifest
    #[arg(long)]
    pub no_digests: bool,
}

/// How the jobs get into the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Deliver {
    /// Into the root image
    #[default]
    Image,
    /// On a seed disk for cloud-init, labelled CIDATA
    Nocloud,
}

impl From<Deliver> for plan::Deliver {
    fn from(deliver: Deliver) -> Self {
        match deliver {
            Deliver::Image => Self::Image,
            Deliver::Nocloud => Self::NoCloud,
        }
    }
}

fn runner(name: &str) -> Result<Runner, String> {
    match name {
        "auto" => Ok(Runner::Auto),
        "none" => Ok(Runner::None),
        _ => Init::ALL.into_iter().find(|init| init.name() == name).map(Runner::For).ok_or_else(
            || {
                let names = Init::ALL.map(Init::name).join("`, `");
                format!("there are `auto`, `none`, `{names}`")
            },
        ),
    }
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
#[command(after_help = PLAN_EXAMPLES)]
pub struct PlanArgs {
    /// The job
    #[command(flatten)]
    pub job: JobArgs,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `prepare`.
#[derive(Debug, Args)]
#[command(after_help = PREPARE_EXAMPLES)]
pub struct PrepareArgs {
    /// The job description; with --into, any number of them
    #[arg(required = true, value_name = "JOB.XML")]
    pub files: Vec<PathBuf>,
    /// What is said beside it
    #[command(flatten)]
    pub options: JobOptions,
    /// The bundle to make; it must not exist yet
    #[arg(short, long, value_name = "DIR", required_unless_present = "into")]
    pub output: Option<PathBuf>,
    /// Make a bundle of each job description, in this directory, by the name of its file without `.xml`
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "in_place"])]
    pub into: Option<PathBuf>,
    /// With --into, how many bundles are made at a time [default: twice the number of cores]
    #[arg(long, value_name = "N", requires = "into")]
    pub parallel: Option<NonZeroUsize>,
    /// Print the bundle's manifest as JSON
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::described().debug_assert();
    }
}
