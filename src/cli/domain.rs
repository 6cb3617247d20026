//! Arguments of `domain`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Examples of `domain`.
const EXAMPLES: &str = "\
Examples:
  autoxen domain ready                  what domain.cfg says, from the bundle as it lies here now
  autoxen domain ready > moved.cfg      the bundle was moved: its paths are new
  autoxen domain --format libvirt ready > job.xml
  virsh -c xen:///system create job.xml

It is written again from the manifest, with the paths that the bundle's files have now. The domain of libvirt has the same \
UUID each time. Digests are not checked.";

/// Arguments of `domain`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DomainArgs {
    /// The bundle that `prepare` made
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Whose language
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    pub format: DomainFormat,
}

/// In whose language a domain is described.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DomainFormat {
    /// A configuration for xl
    #[default]
    Xl,
    /// Domain XML for libvirt's driver of Xen
    Libvirt,
}
