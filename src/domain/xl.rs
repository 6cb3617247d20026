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
//! item or a line. Whatever ends a job's domain frees its memory; it starts again only where the job says so. `target` is the last word of a
//! disk because xl takes all that follows as the path.
//!
//! A [`Domain`] may name files of its bundle without saying where the bundle is; [`Domain::in_directory`] says it and
//! gives the [`Config`] that can be written. Nothing is looked up on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
    /// Whether it starts again when the guest asks for it; without it, that is its end.
    #[serde(default)]
    pub restarts: bool,
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
    /// What the image is.
    #[serde(default, skip_serializing_if = "DiskFormat::is_raw")]
    pub format: DiskFormat,
    /// The image.
    pub target: File,
}

/// What an image is (xl-disk-configuration(5), `format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// Byte for byte.
    #[default]
    Raw,
    /// In QEMU's format, laid over another image: QEMU serves it to the guest.
    Qcow2,
}

impl DiskFormat {
    /// The word for it, of xl and of libvirt.
    pub fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }

    fn is_raw(&self) -> bool {
        *self == Self::Raw
    }
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
        // A stranger's manifest may name very many.
        let mut devices = BTreeSet::new();
        let mut kinds = BTreeMap::new();
        for Disk { vdev, .. } in &parts.disks {
            if !devices.insert(vdev) {
                return Err(Error::SameDevice(vdev.to_string()));
            }
            let is_partition = vdev.is_partition();
            if *kinds.entry(vdev.disk()).or_insert(is_partition) != is_partition {
                return Err(Error::WholeAndPart(vdev.disk().to_owned()));
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
        Ok(Config { parts, uuid: None })
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
pub struct Config {
    parts: Parts,
    uuid: Option<Uuid>,
}

impl Config {
    /// The same, for a domain that is to have this UUID; else xl draws one.
    #[must_use]
    pub fn with_uuid(self, uuid: Uuid) -> Self {
        Self { uuid: Some(uuid), ..self }
    }

    /// What it is made of; each file is one of the host.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.parts;
        string(f, "name", parts.name.as_str())?;
        if let Some(uuid) = self.uuid {
            string(f, "uuid", &uuid.to_string())?;
        }
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
                    "format={},vdev={},access={access},target={}",
                    disk.format.word(),
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
            // xl's default is a screen without a password, for every user of the host.
            writeln!(f, "vnc = 0")?;
        }
        let on_reboot = if parts.restarts { "restart" } else { "destroy" };
        string(f, "on_poweroff", "destroy")?;
        string(f, "on_reboot", on_reboot)?;
        string(f, "on_crash", "destroy")
    }
}

impl File {
    /// The name in the bundle, or the path.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Bundle(name) => name.as_str(),
            Self::Host(path) => path.as_str(),
        }
    }
}

/// The word of xl for the type.
pub fn word(guest_type: GuestType) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(vdev: &str) -> Disk {
        Disk {
            vdev: Vdev::new(vdev).expect("a device"),
            read_only: vdev.ends_with('2'),
            format: DiskFormat::Raw,
            target: File::Bundle(FileName::new(format!("{vdev}.img")).expect("a file name")),
        }
    }

    fn parts(guest_type: GuestType, boot: Boot, disks: &[&str]) -> Parts {
        Parts {
            name: Name::new("job-7").expect("a name"),
            guest_type,
            memory_mib: NonZeroU32::new(256).expect("not zero"),
            vcpus: NonZeroU32::MIN,
            boot,
            disks: disks.iter().map(|vdev| disk(vdev)).collect(),
            networks: Vec::new(),
            restarts: false,
        }
    }

    fn kernel() -> Boot {
        Boot::Kernel {
            kernel: File::Bundle(FileName::new("vmlinuz").expect("a file name")),
            ramdisk: Some(File::Host(HostPath::new("/boot/initrd").expect("a path"))),
            cmdline: CommandLine::new(r#"root=/dev/xvda1 dyndbg="file \x +p""#).expect("a line"),
        }
    }

    fn loader() -> Boot {
        Boot::Bootloader { program: Bootloader::new("pygrub").expect("a program"), cmdline: None }
    }

    #[test]
    fn a_domain_is_written_with_the_files_of_its_directory() {
        let mut parts = parts(GuestType::Pv, kernel(), &["xvda1", "xvda2"]);
        parts.networks = vec![
            Network { mac: None, bridge: Some(Bridge::new("br0").expect("a bridge")) },
            Network::default(),
        ];
        let domain = Domain::new(parts).expect("the parts fit");
        let config = domain.in_directory(Path::new("/srv/my \"jobs\"")).expect("a path for xl");
        let expected = r#"name = "job-7"
type = "pv"
memory = 256
vcpus = 1
kernel = "/srv/my \"jobs\"/vmlinuz"
ramdisk = "/boot/initrd"
cmdline = "root=/dev/xvda1 dyndbg=\"file \\x +p\""
disk = [
    "format=raw,vdev=xvda1,access=rw,target=/srv/my \"jobs\"/xvda1.img",
    "format=raw,vdev=xvda2,access=ro,target=/srv/my \"jobs\"/xvda2.img",
]
vif = [
    "bridge=br0",
    "",
]
on_poweroff = "destroy"
on_reboot = "destroy"
on_crash = "destroy"
"#;
        assert_eq!(config.to_string(), expected);
        for directory in ["ready", "", "/a/../b", "/a\nb"] {
            assert!(domain.in_directory(Path::new(directory)).is_err(), "{directory:?}");
        }
    }

    #[test]
    fn a_device_is_attached_once_and_a_disk_whole_or_by_partitions() {
        let new = |disks: &[&str]| Domain::new(parts(GuestType::Pv, kernel(), disks)).map(drop);
        assert_eq!(new(&["xvda1", "xvda2", "xvdb", "xvdaa"]), Ok(()));
        assert_eq!(new(&["xvda1", "xvda1"]), Err(Error::SameDevice("xvda1".into())));
        assert_eq!(new(&["xvda", "xvda1"]), Err(Error::WholeAndPart("xvda".into())));
        assert_eq!(new(&["xvda1", "xvdb", "xvda"]), Err(Error::WholeAndPart("xvda".into())));
    }

    #[test]
    fn each_type_starts_only_as_it_can() {
        use GuestType::{Hvm, Pv, Pvh};
        for (guest_type, boot, fits) in [
            (Pv, kernel(), true),
            (Pv, loader(), true),
            (Pvh, loader(), true),
            (Hvm, kernel(), true),
            (Hvm, Boot::Firmware {}, true),
            (Hvm, loader(), false),
            (Pv, Boot::Firmware {}, false),
            (Pvh, Boot::Firmware {}, false),
        ] {
            let parts = parts(guest_type, boot, &["xvda"]);
            let json = serde_json::to_string(&parts).expect("parts can be written");
            assert_eq!(Domain::new(parts).is_ok(), fits, "{json}");
            // What a stranger wrote passes the same check.
            assert_eq!(serde_json::from_str::<Domain>(&json).is_ok(), fits, "{json}");
        }
    }

    #[test]
    fn unknown_words_in_json_are_refused() {
        let domain =
            Domain::new(parts(GuestType::Hvm, Boot::Firmware {}, &["xvda"])).expect("fits");
        let json = serde_json::to_string(&domain).expect("a domain can be written");
        assert_eq!(serde_json::from_str::<Domain>(&json).expect("and read back"), domain);
        for (old, new) in [
            ("\"vcpus\":1", "\"vcpus\":1,\"device_model_override\":\"/bin/sh\""),
            ("\"vdev\":\"xvda\"", "\"vdev\":\"xvda\",\"script\":\"x\""),
            ("\"hvm\"", "\"pvx\""),
            ("\"memory_mib\":256", "\"memory_mib\":0"),
        ] {
            let changed = json.replace(old, new);
            assert_ne!(changed, json);
            assert!(serde_json::from_str::<Domain>(&changed).is_err(), "{changed}");
        }
    }
}
