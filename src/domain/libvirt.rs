//! The domain XML of libvirt, for its driver of Xen (libxl).
//!
//! ```text
//! <domain type='xen'>
//!   <name>job-7</name>
//!   <uuid>…</uuid>
//!   <memory unit='MiB'>256</memory>
//!   <vcpu>1</vcpu>
//!   <os>
//!     <type arch='x86_64' machine='xenpv'>xen</type>
//!     <kernel>/srv/ready/vmlinuz</kernel>
//!     <cmdline>root=/dev/xvda1 ro console=hvc0</cmdline>
//!   </os>
//!   <on_poweroff>destroy</on_poweroff>
//!   …
//!   <devices>
//!     <disk type='file' device='disk'>
//!       <driver type='raw'/>
//!       <source file='/srv/ready/xvda1.img'/>
//!       <target dev='xvda1' bus='xen'/>
//!     </disk>
//!   …
//! ```
//!
//! It means what the configuration of xl ([`super::xl`]) means, told to another program; what xl would choose by itself
//! is left to libxl here too: the firmware of an hvm guest, its device model, the bridge of an interface that names
//! none. Some defaults differ, and so are written out: libvirt turns ACPI, APIC and PAE off where an hvm guest does not
//! ask for them. One stays different: xl shows the screen of an hvm guest by VNC on the loopback interface, libvirt
//! gives it no screen. And libvirt keeps the disks of one bus in the order of their names, so that a boot loader of the
//! host looks into the disk whose name comes first.

use std::io;

use quick_xml::Writer;
use quick_xml::events::BytesText;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::value::Vdev;
use super::xl::{Boot, Config, Disk, Network, Parts};
use crate::xmf::model::GuestType;

/// The most processors that libvirt counts.
const VCPUS_MAX: u32 = u16::MAX as u32;

/// Why a domain cannot be told to libvirt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// XML has no way to write the character.
    #[error("a character that XML cannot hold (U+{code:04X}) in the {what}", code = u32::from(*.char))]
    Char {
        /// Which value.
        what: &'static str,
        /// The character.
        char: char,
    },
    /// More processors than libvirt counts.
    #[error("{0} vcpus, and libvirt counts {VCPUS_MAX} at most")]
    Vcpus(u32),
}

/// The UUID of a domain that has this name in the preparation `id`: the same each time, so that who defines it again
/// changes it and makes no second one.
pub fn uuid(name: &str, id: &str) -> Uuid {
    let digest = Sha256::digest(format!("autoxen libvirt domain\0{name}\0{id}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The domain XML of a configuration.
///
/// # Errors
/// Where a value cannot be told to libvirt, though xl can be told it.
pub fn xml(config: &Config, uuid: Uuid) -> Result<String, Error> {
    let parts = config.parts();
    check(parts)?;
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    domain(&mut writer, parts, uuid).expect("a vector takes all that is written");
    let mut text = String::from_utf8(writer.into_inner()).expect("all of it was text");
    text.push('\n');
    Ok(text)
}

fn check(parts: &Parts) -> Result<(), Error> {
    if parts.vcpus.get() > VCPUS_MAX {
        return Err(Error::Vcpus(parts.vcpus.get()));
    }
    let mut texts: Vec<(&'static str, &str)> = Vec::new();
    match &parts.boot {
        Boot::Kernel { kernel, ramdisk, cmdline } => {
            texts.push(("path of the kernel", kernel.as_str()));
            texts.extend(ramdisk.as_ref().map(|file| ("path of the ramdisk", file.as_str())));
            texts.push(("kernel command line", cmdline.as_str()));
        }
        Boot::Bootloader { program, cmdline } => {
            texts.push(("path of the boot loader", program.as_str()));
            texts.extend(cmdline.as_ref().map(|line| ("kernel command line", line.as_str())));
        }
        Boot::Firmware {} => {}
    }
    texts.extend(parts.disks.iter().map(|disk| ("path of a disk", disk.target.as_str())));
    for (what, text) in texts {
        // Control characters were refused when the values were made; these two are what else XML 1.0 leaves out.
        if let Some(char) = text.chars().find(|c| matches!(c, '\u{fffe}' | '\u{ffff}')) {
            return Err(Error::Char { what, char });
        }
    }
    Ok(())
}

type Xml = Writer<Vec<u8>>;

fn domain(out: &mut Xml, parts: &Parts, uuid: Uuid) -> io::Result<()> {
    element(out, "domain", &[("type", "xen")], |out| {
        text(out, "name", &[], parts.name.as_str())?;
        text(out, "uuid", &[], &uuid.to_string())?;
        text(out, "memory", &[("unit", "MiB")], &parts.memory_mib.to_string())?;
        text(out, "vcpu", &[], &parts.vcpus.to_string())?;
        if let Boot::Bootloader { program, .. } = &parts.boot {
            text(out, "bootloader", &[], program.as_str())?;
        }
        element(out, "os", &[], |out| os(out, parts))?;
        if parts.guest_type == GuestType::Hvm {
            element(out, "features", &[], |out| {
                ["acpi", "apic", "pae"].iter().try_for_each(|name| empty(out, name, &[]))
            })?;
        }
        text(out, "on_poweroff", &[], "destroy")?;
        text(out, "on_reboot", &[], if parts.restarts { "restart" } else { "destroy" })?;
        text(out, "on_crash", &[], "destroy")?;
        element(out, "devices", &[], |out| {
            parts.disks.iter().try_for_each(|each| disk(out, each, parts.guest_type))?;
            parts.networks.iter().try_for_each(|each| interface(out, each))?;
            console(out, parts.guest_type)
        })
    })
}

fn os(out: &mut Xml, parts: &Parts) -> io::Result<()> {
    let (machine, kind) = match parts.guest_type {
        GuestType::Pv => ("xenpv", "xen"),
        GuestType::Pvh => ("xenpvh", "xenpvh"),
        GuestType::Hvm => ("xenfv", "hvm"),
    };
    text(out, "type", &[("arch", "x86_64"), ("machine", machine)], kind)?;
    match &parts.boot {
        Boot::Kernel { kernel, ramdisk, cmdline } => {
            text(out, "kernel", &[], kernel.as_str())?;
            if let Some(ramdisk) = ramdisk {
                text(out, "initrd", &[], ramdisk.as_str())?;
            }
            text(out, "cmdline", &[], cmdline.as_str())
        }
        Boot::Bootloader { cmdline, .. } => match cmdline {
            Some(cmdline) => text(out, "cmdline", &[], cmdline.as_str()),
            None => Ok(()),
        },
        Boot::Firmware {} => empty(out, "boot", &[("dev", "hd")]),
    }
}

fn disk(out: &mut Xml, disk: &Disk, guest_type: GuestType) -> io::Result<()> {
    element(out, "disk", &[("type", "file"), ("device", "disk")], |out| {
        // No name: libxl chooses what serves it, as it does for xl.
        empty(out, "driver", &[("type", disk.format.word())])?;
        empty(out, "source", &[("file", disk.target.as_str())])?;
        let bus = bus(&disk.vdev, guest_type);
        empty(out, "target", &[("dev", disk.vdev.as_str()), ("bus", bus)])?;
        if disk.read_only { empty(out, "readonly", &[]) } else { Ok(()) }
    })
}

/// What the guest finds its disk on. libxl goes by the name alone; libvirt gives a place on the bus to each disk of an
/// emulated one, and the partitions of one disk would get the same place.
fn bus(vdev: &Vdev, guest_type: GuestType) -> &'static str {
    let is_emulated = guest_type == GuestType::Hvm && !vdev.is_partition();
    match vdev.as_str().as_bytes() {
        [b'h', ..] if is_emulated => "ide",
        [b's', ..] if is_emulated => "scsi",
        _ => "xen",
    }
}

fn interface(out: &mut Xml, network: &Network) -> io::Result<()> {
    // libvirt wants a bridge where the type is `bridge`; with `ethernet` libxl takes its own, as it does for xl.
    let kind = if network.bridge.is_some() { "bridge" } else { "ethernet" };
    if *network == Network::default() {
        return empty(out, "interface", &[("type", kind)]);
    }
    element(out, "interface", &[("type", kind)], |out| {
        if let Some(mac) = &network.mac {
            empty(out, "mac", &[("address", mac.as_str())])?;
        }
        match &network.bridge {
            Some(bridge) => empty(out, "source", &[("bridge", bridge.as_str())]),
            None => Ok(()),
        }
    })
}

fn console(out: &mut Xml, guest_type: GuestType) -> io::Result<()> {
    let target = if guest_type == GuestType::Hvm {
        // An emulated machine has no console of Xen's, but a serial port.
        let port = |out: &mut Xml| empty(out, "target", &[("port", "0")]);
        element(out, "serial", &[("type", "pty")], port)?;
        "serial"
    } else {
        "xen"
    };
    element(out, "console", &[("type", "pty")], |out| {
        empty(out, "target", &[("type", target), ("port", "0")])
    })
}

type Attributes<'a> = [(&'a str, &'a str)];

fn text(out: &mut Xml, name: &str, attributes: &Attributes<'_>, text: &str) -> io::Result<()> {
    let element = out.create_element(name).with_attributes(attributes.iter().copied());
    element.write_text_content(BytesText::new(text)).map(drop)
}

fn empty(out: &mut Xml, name: &str, attributes: &Attributes<'_>) -> io::Result<()> {
    let element = out.create_element(name).with_attributes(attributes.iter().copied());
    element.write_empty().map(drop)
}

fn element(
    out: &mut Xml,
    name: &str,
    attributes: &Attributes<'_>,
    content: impl FnOnce(&mut Xml) -> io::Result<()>,
) -> io::Result<()> {
    let element = out.create_element(name).with_attributes(attributes.iter().copied());
    element.write_inner_content(content).map(drop)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::path::Path;

    use super::*;
    use crate::domain::value::{Bridge, CommandLine, FileName, HostPath, Mac, Name};
    use crate::domain::xl::{DiskFormat, Domain, File};

    fn parts() -> Parts {
        Parts {
            name: Name::new("job-7").expect("a name"),
            guest_type: GuestType::Pv,
            memory_mib: NonZeroU32::new(256).expect("not zero"),
            vcpus: NonZeroU32::MIN,
            boot: Boot::Kernel {
                kernel: File::Bundle(FileName::new("vmlinuz").expect("a file name")),
                ramdisk: Some(File::Host(HostPath::new("/boot/a & b").expect("a path"))),
                cmdline: CommandLine::new(r#"a="<]]>" b='&amp;' "#).expect("a line"),
            },
            disks: vec![Disk {
                vdev: Vdev::new("xvda1").expect("a device"),
                read_only: true,
                format: DiskFormat::Raw,
                target: File::Bundle(FileName::new("xvda1.img").expect("a file name")),
            }],
            networks: vec![
                Network {
                    mac: Some(Mac::new("00:16:3e:00:00:01").expect("an address")),
                    bridge: Some(Bridge::new("br0").expect("a bridge")),
                },
                Network::default(),
            ],
            restarts: true,
        }
    }

    fn written(parts: Parts) -> Result<String, Error> {
        let domain = Domain::new(parts).expect("the parts fit");
        let config = domain.in_directory(Path::new("/srv/'s")).expect("a path");
        xml(&config, uuid("job-7", "id"))
    }

    #[test]
    fn a_domain_is_written_with_all_its_parts() {
        let expected = r#"<domain type="xen">
  <name>job-7</name>
  <uuid>UUID</uuid>
  <memory unit="MiB">256</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch="x86_64" machine="xenpv">xen</type>
    <kernel>/srv/&apos;s/vmlinuz</kernel>
    <initrd>/boot/a &amp; b</initrd>
    <cmdline>a=&quot;&lt;]]&gt;&quot; b=&apos;&amp;amp;&apos; </cmdline>
  </os>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type="file" device="disk">
      <driver type="raw"/>
      <source file="/srv/&apos;s/xvda1.img"/>
      <target dev="xvda1" bus="xen"/>
      <readonly/>
    </disk>
    <interface type="bridge">
      <mac address="00:16:3e:00:00:01"/>
      <source bridge="br0"/>
    </interface>
    <interface type="ethernet"/>
    <console type="pty">
      <target type="xen" port="0"/>
    </console>
  </devices>
</domain>
"#;
        let expected = expected.replace("UUID", &uuid("job-7", "id").to_string());
        assert_eq!(written(parts()), Ok(expected));
    }

    #[test]
    fn what_xml_or_libvirt_cannot_hold_is_refused_by_name() {
        let mut with_char = parts();
        with_char.disks[0].target = File::Host(HostPath::new("/a\u{ffff}").expect("xl takes it"));
        let refused = written(with_char).expect_err("XML does not").to_string();
        assert_eq!(refused, "a character that XML cannot hold (U+FFFF) in the path of a disk");
        let mut with_many = parts();
        with_many.vcpus = NonZeroU32::new(65536).expect("not zero");
        assert_eq!(written(with_many), Err(Error::Vcpus(65536)));
    }

    #[test]
    fn a_uuid_tells_names_and_preparations_apart() {
        assert_eq!(uuid("a", "1"), uuid("a", "1"));
        assert_ne!(uuid("a", "1"), uuid("a", "2"));
        assert_ne!(uuid("a", "1"), uuid("b", "1"));
    }

    #[test]
    fn only_whole_disks_of_an_emulated_machine_have_an_emulated_bus() {
        for (vdev, guest_type, expected) in [
            ("hda", GuestType::Hvm, "ide"),
            ("sda", GuestType::Hvm, "scsi"),
            ("xvda", GuestType::Hvm, "xen"),
            ("hda1", GuestType::Hvm, "xen"),
            ("hda", GuestType::Pv, "xen"),
            ("sda", GuestType::Pvh, "xen"),
        ] {
            let vdev = Vdev::new(vdev).expect("a device");
            assert_eq!(bus(&vdev, guest_type), expected, "{vdev} {guest_type:?}");
        }
    }
}
