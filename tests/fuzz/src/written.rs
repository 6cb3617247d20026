//! What is written of a domain says the domain, in each language, and nothing else.

use std::path::Path;

use autoxen::domain::libvirt;
use autoxen::domain::xl::{Boot, Config, Domain, File, Parts};
use autoxen::xmf::model::GuestType;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::xl::{self, Value};

/// Write the domain, whose bundle is in `directory`, and look at what was written.
pub fn check(domain: &Domain, directory: &Path) {
    let json = serde_json::to_vec(domain).expect("a domain can be written as JSON");
    let again: Domain = serde_json::from_slice(&json).expect("and read back");
    assert_eq!(again, *domain);
    // The path of a directory may be one that xl cannot be told.
    let Ok(config) = domain.in_directory(directory) else { return };
    let text = config.to_string();
    let read = xl::read(&text).unwrap_or_else(|at| panic!("at byte {at}: {text}"));
    assert_eq!(read, expected(config.parts()), "{text}");
    libvirt_xml(&config);
}

fn path(file: &File) -> String {
    match file {
        File::Bundle(name) => panic!("{name} has no place"),
        File::Host(path) => path.to_string(),
    }
}

fn expected(parts: &Parts) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let text = |key: &str, value: &str| (key.to_owned(), Value::Text(value.to_owned()));
    let kind = match parts.guest_type {
        GuestType::Pv => "pv",
        GuestType::Pvh => "pvh",
        GuestType::Hvm => "hvm",
    };
    all.push(text("name", parts.name.as_str()));
    all.push(text("type", kind));
    all.push(("memory".into(), Value::Number(parts.memory_mib.get().into())));
    all.push(("vcpus".into(), Value::Number(parts.vcpus.get().into())));
    match &parts.boot {
        Boot::Kernel { kernel, ramdisk, cmdline } => {
            all.push(text("kernel", &path(kernel)));
            all.extend(ramdisk.as_ref().map(|ramdisk| text("ramdisk", &path(ramdisk))));
            all.push(text("cmdline", cmdline.as_str()));
        }
        Boot::Bootloader { program, cmdline } => {
            all.push(text("bootloader", program.as_str()));
            all.extend(cmdline.as_ref().map(|cmdline| text("cmdline", cmdline.as_str())));
        }
        Boot::Firmware {} => {}
    }
    let disks = parts.disks.iter().map(|disk| {
        let access = if disk.read_only { "ro" } else { "rw" };
        let target = path(&disk.target);
        // `target` comes last: all that follows is the path.
        format!("format=raw,vdev={},access={access},target={target}", disk.vdev.as_str())
    });
    if !parts.disks.is_empty() {
        all.push(("disk".into(), Value::List(disks.collect())));
    }
    let cards = parts.networks.iter().map(|network| {
        let mac = network.mac.as_ref().map(|mac| format!("mac={}", mac.as_str()));
        let bridge = network.bridge.as_ref().map(|bridge| format!("bridge={}", bridge.as_str()));
        let said: Vec<String> = [mac, bridge].into_iter().flatten().collect();
        // A value with a comma would be two.
        assert!(said.iter().all(|word| !word.contains(',')), "{said:?}");
        said.join(",")
    });
    if !parts.networks.is_empty() {
        all.push(("vif".into(), Value::List(cards.collect())));
    }
    if parts.guest_type == GuestType::Hvm {
        all.push(text("serial", "pty"));
    }
    all.push(text("on_poweroff", "destroy"));
    all.push(text("on_reboot", if parts.restarts { "restart" } else { "destroy" }));
    all.push(text("on_crash", "destroy"));
    all
}

/// The values of strangers that libvirt's XML holds, in their order.
fn libvirt_xml(config: &Config) {
    let parts = config.parts();
    let mut wanted = vec![parts.name.to_string()];
    match &parts.boot {
        Boot::Kernel { kernel, ramdisk, cmdline } => {
            wanted.push(path(kernel));
            wanted.extend(ramdisk.as_ref().map(path));
            wanted.push(cmdline.to_string());
        }
        Boot::Bootloader { program, cmdline } => {
            wanted.push(program.to_string());
            wanted.extend(cmdline.as_ref().map(ToString::to_string));
        }
        Boot::Firmware {} => {}
    }
    for disk in &parts.disks {
        wanted.push(path(&disk.target));
        wanted.push(disk.vdev.to_string());
    }
    for network in &parts.networks {
        wanted.extend(network.mac.as_ref().map(ToString::to_string));
        wanted.extend(network.bridge.as_ref().map(ToString::to_string));
    }
    let xml = match libvirt::xml(config, libvirt::uuid(parts.name.as_str(), "id")) {
        Ok(xml) => xml,
        Err(libvirt::Error::Vcpus(count)) => {
            assert!(count > 65535);
            return;
        }
        Err(libvirt::Error::Char { char, .. }) => {
            assert!(wanted.iter().any(|text| text.contains(char)), "{char:?}");
            return;
        }
    };
    // What XML 1.0 takes for a character.
    let is_char =
        |c: char| matches!(c, '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert!(xml.chars().all(is_char), "{xml:?}");
    assert_eq!(values(&xml), wanted, "{xml}");
}

fn values(xml: &str) -> Vec<String> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = true;
    let mut open: Vec<String> = Vec::new();
    let mut all = Vec::new();
    let mut text = String::new();
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Start(start) => {
                attributes(&start, &mut all);
                open.push(name(&start));
                text.clear();
            }
            Event::Empty(start) => attributes(&start, &mut all),
            Event::Text(part) => text.push_str(&part),
            Event::GeneralRef(reference) => {
                text.push_str(match &*reference {
                    "lt" => "<",
                    "gt" => ">",
                    "amp" => "&",
                    "quot" => "\"",
                    "apos" => "'",
                    other => panic!("an entity `{other}`: {xml}"),
                });
            }
            Event::End(_) => {
                let name = open.pop().expect("the reader checks the names");
                if ["name", "bootloader", "kernel", "initrd", "cmdline"].contains(&name.as_str()) {
                    all.push(std::mem::take(&mut text));
                }
                text.clear();
            }
            Event::Eof => {
                assert!(open.is_empty(), "{xml}");
                return all;
            }
            other => panic!("{other:?}: {xml}"),
        }
    }
}

fn name(start: &BytesStart<'_>) -> String {
    start.name().as_ref().to_owned()
}

fn attributes(start: &BytesStart<'_>, all: &mut Vec<String>) {
    for attribute in start.attributes() {
        let attribute = attribute.expect("well-formed");
        if ["file", "dev", "address", "bridge"].contains(&attribute.key.as_ref())
            && start.name().as_ref() != "boot"
        {
            all.push(
                quick_xml::escape::unescape(&attribute.value).expect("known entities").into_owned(),
            );
        }
    }
}
