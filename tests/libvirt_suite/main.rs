//! The domain XML that is written means the same to libvirt: its schema takes it, a reader of XML finds each value in
//! it, and libvirt's own parser, asked by way of its driver for tests, holds the same domain.

mod judge;
#[path = "../xl/nasty.rs"]
mod nasty;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

use autoxen::domain::libvirt;
use autoxen::domain::value::{
    Bootloader, Bridge, CommandLine, Error, FileName, HostPath, Mac, Name, Vdev,
};
use autoxen::domain::xl::{Boot, Disk, DiskFormat, Domain, File, Network, Parts};
use autoxen::xmf::model::GuestType;

use judge::{Element, Scratch};
use nasty::Chance;

/// How many domains are made up.
const COUNT: usize = 600;

/// Where their bundles are.
const DIRECTORY: &str = "/srv/a & b/<ready> \"it's\" ]]>";

/// A nasty value that can be told.
fn any<T>(chance: &mut Chance, start: &str, make: impl Fn(String) -> Result<T, Error>) -> T {
    loop {
        let mut text = chance.nasty(start);
        // These mean something to XML.
        for piece in ["&", "<", ">", "'", "&amp;", "]]>", "<!--", "<![CDATA[", "&#10;", "  "] {
            if chance.below(9) == 0 {
                text.push_str(piece);
            }
        }
        if let Ok(value) = make(text) {
            return value;
        }
    }
}

fn made_up(chance: &mut Chance, nr: usize) -> Domain {
    let host = |chance: &mut Chance| File::Host(any(chance, "/", HostPath::new));
    let file = |chance: &mut Chance| File::Bundle(any(chance, "f", FileName::new));
    let name = Name::new(format!("x{nr}-{}", chance.below(1000))).expect("a name");
    let guest_type = [GuestType::Pv, GuestType::Pvh, GuestType::Hvm][nr % 3];
    let boot = match chance.below(3) {
        0 if guest_type == GuestType::Hvm => Boot::Firmware {},
        0 => Boot::Bootloader {
            program: match chance.below(2) {
                0 => Bootloader::new("pygrub").expect("plain"),
                _ => any(chance, "/", Bootloader::new),
            },
            cmdline: (chance.below(2) == 0).then(|| any(chance, "", CommandLine::new)),
        },
        _ => Boot::Kernel {
            kernel: if chance.below(2) == 0 { host(chance) } else { file(chance) },
            ramdisk: (chance.below(2) == 0).then(|| file(chance)),
            cmdline: any(chance, "", CommandLine::new),
        },
    };
    let mut vdevs = Vec::new();
    for (kind, partitions) in [("xvd", 255), ("hd", 63), ("sd", 15)] {
        for letter in ["a", "b"] {
            match chance.below(4) {
                0 => vdevs.push(format!("{kind}{letter}")),
                1 => vdevs.extend([1, 2, partitions].map(|nr| format!("{kind}{letter}{nr}"))),
                _ => {}
            }
        }
    }
    let disks = vdevs.into_iter().map(|vdev| Disk {
        vdev: Vdev::new(vdev).expect("a device"),
        read_only: chance.below(2) == 0,
        format: if chance.below(4) == 0 { DiskFormat::Qcow2 } else { DiskFormat::Raw },
        target: if chance.below(2) == 0 { host(chance) } else { file(chance) },
    });
    let disks = disks.collect();
    let networks = (0..chance.below(3)).map(|card| Network {
        mac: (chance.below(2) == 0)
            .then(|| Mac::new(format!("00:16:3e:00:0{card}:{:02x}", nr % 256)).expect("a mac")),
        bridge: (chance.below(2) == 0).then(|| any(chance, "br", Bridge::new)),
    });
    let networks = networks.collect();
    let parts = Parts {
        name,
        guest_type,
        memory_mib: NonZeroU32::new(u32::MAX >> (nr % 32)).expect("not zero"),
        vcpus: NonZeroU32::new(1 + u32::try_from(nr % 128).expect("small")).expect("not zero"),
        boot,
        disks,
        networks,
        restarts: chance.below(2) == 0,
    };
    Domain::new(parts).expect("the parts fit each other")
}

/// What a domain says, an element a line of this list, in the order of the document.
fn meaning(parts: &Parts, uuid: &str) -> Vec<Element> {
    let mut all = Vec::new();
    let mut say = |path: &str, attributes: &[(&str, &str)], text: &str| {
        all.push(Element {
            path: path.into(),
            attributes: attributes.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            text: text.into(),
        });
    };
    let path = |file: &File| match file {
        File::Bundle(name) => format!("{DIRECTORY}/{name}"),
        File::Host(path) => path.to_string(),
    };
    let is_hvm = parts.guest_type == GuestType::Hvm;
    say("domain", &[("type", "xen")], "");
    say("domain/name", &[], parts.name.as_str());
    say("domain/uuid", &[], uuid);
    say("domain/memory", &[("unit", "MiB")], &parts.memory_mib.to_string());
    say("domain/vcpu", &[], &parts.vcpus.to_string());
    if let Boot::Bootloader { program, .. } = &parts.boot {
        say("domain/bootloader", &[], program.as_str());
    }
    say("domain/os", &[], "");
    let (machine, kind) = match parts.guest_type {
        GuestType::Pv => ("xenpv", "xen"),
        GuestType::Pvh => ("xenpvh", "xenpvh"),
        GuestType::Hvm => ("xenfv", "hvm"),
    };
    say("domain/os/type", &[("arch", "x86_64"), ("machine", machine)], kind);
    match &parts.boot {
        Boot::Kernel { kernel, ramdisk, cmdline } => {
            say("domain/os/kernel", &[], &path(kernel));
            if let Some(ramdisk) = ramdisk {
                say("domain/os/initrd", &[], &path(ramdisk));
            }
            say("domain/os/cmdline", &[], cmdline.as_str());
        }
        Boot::Bootloader { cmdline: Some(cmdline), .. } => {
            say("domain/os/cmdline", &[], cmdline.as_str());
        }
        Boot::Bootloader { cmdline: None, .. } => {}
        Boot::Firmware {} => say("domain/os/boot", &[("dev", "hd")], ""),
    }
    if is_hvm {
        say("domain/features", &[], "");
        for name in ["acpi", "apic", "pae"] {
            say(&format!("domain/features/{name}"), &[], "");
        }
    }
    say("domain/on_poweroff", &[], "destroy");
    say("domain/on_reboot", &[], if parts.restarts { "restart" } else { "destroy" });
    say("domain/on_crash", &[], "destroy");
    say("domain/devices", &[], "");
    for disk in &parts.disks {
        say("domain/devices/disk", &[("type", "file"), ("device", "disk")], "");
        let format = if disk.format == DiskFormat::Qcow2 { "qcow2" } else { "raw" };
        say("domain/devices/disk/driver", &[("type", format)], "");
        say("domain/devices/disk/source", &[("file", &path(&disk.target))], "");
        let bus = match disk.vdev.as_str() {
            "hda" | "hdb" if is_hvm => "ide",
            "sda" | "sdb" if is_hvm => "scsi",
            _ => "xen",
        };
        say("domain/devices/disk/target", &[("dev", disk.vdev.as_str()), ("bus", bus)], "");
        if disk.read_only {
            say("domain/devices/disk/readonly", &[], "");
        }
    }
    for network in &parts.networks {
        let kind = if network.bridge.is_some() { "bridge" } else { "ethernet" };
        say("domain/devices/interface", &[("type", kind)], "");
        if let Some(mac) = &network.mac {
            say("domain/devices/interface/mac", &[("address", mac.as_str())], "");
        }
        if let Some(bridge) = &network.bridge {
            say("domain/devices/interface/source", &[("bridge", bridge.as_str())], "");
        }
    }
    if is_hvm {
        say("domain/devices/serial", &[("type", "pty")], "");
        say("domain/devices/serial/target", &[("port", "0")], "");
    }
    say("domain/devices/console", &[("type", "pty")], "");
    let console = if is_hvm { "serial" } else { "xen" };
    say("domain/devices/console/target", &[("type", console), ("port", "0")], "");
    all
}

/// The domains that are made up, their XML, and their UUIDs.
fn all() -> Vec<(Domain, String, String)> {
    let mut chance = Chance(0x2026_1129);
    let each = (0..COUNT).map(|nr| {
        let domain = made_up(&mut chance, nr);
        let config = domain.in_directory(Path::new(DIRECTORY)).expect("a path for xl");
        let uuid = libvirt::uuid(domain.parts().name.as_str(), "id");
        let xml = libvirt::xml(&config, uuid).expect("libvirt can be told");
        (domain, xml, uuid.to_string())
    });
    each.collect()
}

#[test]
fn libvirts_schema_takes_each_domain_and_a_reader_finds_each_value() {
    let all = all();
    let scratch = Scratch::new();
    let files = scratch.write_all(all.iter().map(|(_, xml, _)| xml.as_str()));
    judge::schema(&files);
    for ((domain, xml, uuid), found) in all.iter().zip(judge::read(&files)) {
        assert_eq!(found, meaning(domain.parts(), uuid), "{xml}");
    }
}

#[test]
fn libvirts_parser_holds_the_same_domain() {
    let all = all();
    let scratch = Scratch::new();
    let files = scratch.write_all(all.iter().map(|(_, xml, _)| judge::for_test_driver(xml)));
    let names = all.iter().map(|(domain, _, _)| domain.parts().name.as_str());
    let held = scratch.write_all(judge::virsh(&files, names));
    assert_eq!(held.len(), COUNT);
    for ((domain, xml, uuid), held) in all.iter().zip(judge::read(&held)) {
        assert_eq!(settled(held), settled(meaning(domain.parts(), uuid)), "{xml}");
    }
}

/// What counts of a domain that libvirt holds: it adds defaults (a boot device, too), and writes numbers its own way.
/// A disk is one element here, for it keeps those of a bus in the order of their names.
fn settled(elements: Vec<Element>) -> Vec<Element> {
    const KEPT: [&str; 19] = [
        "domain/name",
        "domain/uuid",
        "domain/memory",
        "domain/vcpu",
        "domain/bootloader",
        "domain/os/type",
        "domain/os/kernel",
        "domain/os/initrd",
        "domain/os/cmdline",
        "domain/features/acpi",
        "domain/features/apic",
        "domain/features/pae",
        "domain/on_poweroff",
        "domain/on_reboot",
        "domain/on_crash",
        "domain/devices/disk",
        "domain/devices/interface",
        "domain/devices/interface/source",
        "domain/devices/console/target",
    ];
    let mut settled: Vec<Element> = Vec::new();
    for mut element in elements {
        if let Some(part) = element.path.strip_prefix("domain/devices/disk/") {
            let disk = settled.last_mut().expect("its disk comes first");
            match part {
                "source" | "target" => disk.attributes.append(&mut element.attributes),
                "readonly" => drop(disk.attributes.insert("readonly".into(), String::new())),
                _ => {}
            }
            continue;
        }
        if !KEPT.contains(&element.path.as_str()) {
            continue;
        }
        match element.path.as_str() {
            "domain/memory" if element.attributes["unit"] == "MiB" => {
                let mib: u64 = element.text.parse().expect("a number");
                element.text = (mib * 1024).to_string();
                element.attributes = BTreeMap::from([("unit".into(), "KiB".into())]);
            }
            "domain/vcpu" | "domain/os/type" => element.attributes.clear(),
            // None and an empty one are the same to Xen.
            "domain/os/cmdline" if element.text.is_empty() => continue,
            _ => {}
        }
        if element.text == "xenpvh" {
            element.text = "xen".into();
        }
        settled.push(element);
    }
    settled.sort_by_key(|element| (element.path.clone(), element.attributes.get("dev").cloned()));
    settled
}
