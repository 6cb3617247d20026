//! The configuration text of xl(1).
//!
//! ```text
//! name = "job-7"
//! type = "pv"
//! memory = 256
//! vcpus = 1
//! kernel = "/srv/ready/vmlinuz-6.1.0-18-amd64"
//! ramdisk = "/srv/ready/initrd.img-6.1.0-18-amd64"
//! cmdline = "root=/dev/xvda1 ro console=hvc0"
//! disk = [
//!     "format=raw,vdev=xvda1,access=rw,target=/srv/ready/xvda1.img",
//! ]
//! vif = [
//!     "mac=00:16:3e:00:00:01,bridge=xenbr0",
//! ]
//! on_poweroff = "destroy"
//! on_reboot = "destroy"
//! on_crash = "destroy"
//! ```
//!
//! Every value is of a type that was checked when it was made ([`super::value`]), so that no text can add a key, a list
//! item or a line. A job's domain never restarts: whatever ends it frees its memory. `target` is the last word of a
//! disk because xl takes all that follows as the path.
//!
//! A [`Domain`] may name files of its bundle without saying where the bundle is; [`Domain::in_directory`] says it and
//! gives the [`Config`] that can be written. Nothing is looked up on the host.

use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::value::{Bootloader, Bridge, CommandLine, Error, FileName, HostPath, Mac, Name, Vdev};
use crate::xmf::model::GuestType;

/// The parts of a domain's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// `name`.
    pub name: Name,
    /// `type`.
    #[serde(with = "guest_type_word")]
    pub guest_type: GuestType,
    /// `memory`, MiB.
    pub memory_mib: NonZeroU32,
    /// `vcpus`.
    pub vcpus: NonZeroU32,
    /// How the guest starts.
    pub boot: Boot,
    /// `disk`, in the order in which the guest gets them.
    pub disks: Vec<Disk>,
    /// `vif`.
    pub networks: Vec<Network>,
}

/// How the guest starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Boot {
    /// Xen loads a kernel.
    Kernel {
        /// `kernel`.
        kernel: File,
        /// `ramdisk`.
        ramdisk: Option<File>,
        /// `cmdline`.
        cmdline: CommandLine,
    },
    /// A program of the host takes the kernel out of the guest's first disk.
    Bootloader {
        /// `bootloader`.
        program: Bootloader,
        /// `cmdline`: added to what the disk's own configuration says.
        cmdline: Option<CommandLine>,
    },
    /// The firmware of an hvm guest starts the boot loader on the first disk.
    Firmware {},
}

/// A file of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum File {
    /// In the bundle, by its name there.
    Bundle(FileName),
    /// Elsewhere.
    Host(HostPath),
}

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The guest's device.
    pub vdev: Vdev,
    /// The guest cannot write to it.
    pub read_only: bool,
    /// The raw image.
    pub target: File,
}

/// One network interface; where both are missing, the host's defaults hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// `mac`.
    pub mac: Option<Mac>,
    /// `bridge`.
    pub bridge: Option<Bridge>,
}

/// A domain whose parts fit each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Domain(Parts);

impl Domain {
    /// Check that the parts fit each other.
    ///
    /// # Errors
    /// Two disks claim one device, or a disk and its partition are both attached; or the type cannot start as `boot`
    /// says: firmware is for hvm alone, a boot loader for all but hvm.
    pub fn new(parts: Parts) -> Result<Self, Error> {
        for (index, disk) in parts.disks.iter().enumerate() {
            for other in &parts.disks[..index] {
                if disk.vdev == other.vdev {
                    return Err(Error::SameDevice(disk.vdev.to_string()));
                }
                if disk.vdev.disk() == other.vdev.disk()
                    && disk.vdev.is_partition() != other.vdev.is_partition()
                {
                    return Err(Error::WholeAndPart(disk.vdev.disk().to_owned()));
                }
            }
        }
        match (&parts.boot, parts.guest_type) {
            (Boot::Firmware {}, GuestType::Pv | GuestType::Pvh) => {
                Err(Error::Boot(word(parts.guest_type), "from firmware"))
            }
            (Boot::Bootloader { .. }, GuestType::Hvm) => {
                Err(Error::Boot("hvm", "by a boot loader of the host"))
            }
            _ => Ok(Self(parts)),
        }
    }

    /// What it is made of.
    pub fn parts(&self) -> &Parts {
        &self.0
    }

    /// The configuration of the domain whose bundle lies in `directory`.
    ///
    /// # Errors
    /// Where a path in this directory cannot be told to xl; see [`HostPath`].
    pub fn in_directory(&self, directory: &Path) -> Result<Config, Error> {
        let mut parts = self.0.clone();
        let place = |file: &mut File| {
            if let File::Bundle(name) = file {
                *file = File::Host(HostPath::from_path(&directory.join(name.as_str()))?);
            }
            Ok(())
        };
        if let Boot::Kernel { kernel, ramdisk, .. } = &mut parts.boot {
            place(kernel)?;
            ramdisk.as_mut().map_or(Ok(()), place)?;
        }
        parts.disks.iter_mut().try_for_each(|disk| place(&mut disk.target))?;
        Ok(Config(parts))
    }
}

impl TryFrom<Parts> for Domain {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self, Error> {
        Self::new(parts)
    }
}

impl From<Domain> for Parts {
    fn from(domain: Domain) -> Self {
        domain.0
    }
}

/// A configuration in which every file has its place; [`fmt::Display`] writes `domain.cfg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config(Parts);

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.0;
        string(f, "name", parts.name.as_str())?;
        string(f, "type", word(parts.guest_type))?;
        writeln!(f, "memory = {}", parts.memory_mib)?;
        writeln!(f, "vcpus = {}", parts.vcpus)?;
        match &parts.boot {
            Boot::Kernel { kernel, ramdisk, cmdline } => {
                string(f, "kernel", kernel.as_str())?;
                if let Some(ramdisk) = ramdisk {
                    string(f, "ramdisk", ramdisk.as_str())?;
                }
                string(f, "cmdline", cmdline.as_str())?;
            }
            Boot::Bootloader { program, cmdline } => {
                string(f, "bootloader", program.as_str())?;
                if let Some(cmdline) = cmdline {
                    string(f, "cmdline", cmdline.as_str())?;
                }
            }
            Boot::Firmware {} => {}
        }
        list(
            f,
            "disk",
            parts.disks.iter().map(|disk| {
                let access = if disk.read_only { "ro" } else { "rw" };
                format!(
                    "format=raw,vdev={},access={access},target={}",
                    disk.vdev,
                    disk.target.as_str()
                )
            }),
        )?;
        list(
            f,
            "vif",
            parts.networks.iter().map(|network| {
                let mac = network.mac.iter().map(|mac| format!("mac={mac}"));
                let bridge = network.bridge.iter().map(|bridge| format!("bridge={bridge}"));
                mac.chain(bridge).collect::<Vec<_>>().join(",")
            }),
        )?;
        if parts.guest_type == GuestType::Hvm {
            // An emulated machine has no console of Xen's; `xl console` shows its serial port.
            string(f, "serial", "pty")?;
        }
        for event in ["on_poweroff", "on_reboot", "on_crash"] {
            string(f, event, "destroy")?;
        }
        Ok(())
    }
}

impl File {
    fn as_str(&self) -> &str {
        match self {
            Self::Bundle(name) => name.as_str(),
            Self::Host(path) => path.as_str(),
        }
    }
}

/// The word of xl for the type.
fn word(guest_type: GuestType) -> &'static str {
    match guest_type {
        GuestType::Pv => "pv",
        GuestType::Pvh => "pvh",
        GuestType::Hvm => "hvm",
    }
}

fn string(f: &mut fmt::Formatter<'_>, key: &str, value: &str) -> fmt::Result {
    writeln!(f, "{key} = {}", quote(value))
}

fn list(f: &mut fmt::Formatter<'_>, key: &str, items: impl Iterator<Item = String>) -> fmt::Result {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return Ok(());
    }
    writeln!(f, "{key} = [")?;
    for item in items {
        writeln!(f, "    {},", quote(&item))?;
    }
    writeln!(f, "]")
}

fn quote(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The guest type in JSON is xl's word for it.
mod guest_type_word {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::{GuestType, word};

    pub(super) fn serialize<S: Serializer>(
        value: &GuestType,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(word(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<GuestType, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "pv" => Ok(GuestType::Pv),
            "pvh" => Ok(GuestType::Pvh),
            "hvm" => Ok(GuestType::Hvm),
            other => Err(de::Error::unknown_variant(other, &["pv", "pvh", "hvm"])),
        }
    }
}
