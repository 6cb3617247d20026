//! `general`: the domain.

use std::collections::HashSet;

use super::Checker;
use super::value::{self, Bad};
use crate::xmf::model::{BootFile, General, GuestType, Network, Spanned};
use crate::xmf::xml::{Element, chars};
use crate::xmf::xsd::integer;

/// COMMAND_LINE_SIZE of Linux on x86 is 2048, its terminating NUL included.
const CMDLINE_MAX: usize = 2047;

impl Checker<'_> {
    pub(super) fn general(&mut self, general: &Element) -> Option<General> {
        let memory_mib = general.child("memory").and_then(|memory| self.memory(memory));
        let vcpus = general.child("vcpus").and_then(|vcpus| {
            let number = integer(chars::trim(&vcpus.text()))?;
            let value = u32::try_from(number).ok()?;
            Some(Spanned { value, span: vcpus.value_span(self.source) })
        });
        let guest_type = general.child("guesttype").and_then(|guest_type| {
            let value = match chars::trim(&guest_type.text()) {
                "pv" => GuestType::Pv,
                "pvh" => GuestType::Pvh,
                "hvm" => GuestType::Hvm,
                _ => return None,
            };
            Some(Spanned { value, span: guest_type.value_span(self.source) })
        });
        let name = self.child(general, "name", value::domain_name);
        let kernel = general.child("kernel").and_then(|kernel| self.boot_file(kernel));
        let ramdisk = general.child("ramdisk").and_then(|ramdisk| self.boot_file(ramdisk));
        let cmdline = self.child(general, "cmdline", cmdline);
        let bootloader = self.child(general, "bootloader", bootloader);
        let networks = self.networks(general);
        let limit = general.child("limit").and_then(|limit| self.seconds(limit));
        let hvm = guest_type.as_ref().is_some_and(|guest_type| guest_type.value == GuestType::Hvm);
        self.boot_choice(general, hvm);
        Some(General {
            memory_mib: memory_mib?,
            name,
            vcpus,
            guest_type,
            kernel,
            ramdisk,
            cmdline,
            bootloader,
            networks,
            limit,
        })
    }

    fn memory(&mut self, memory: &Element) -> Option<Spanned<u32>> {
        // What is no number at all the schema has refused.
        let number = integer(chars::trim(&memory.text()))?;
        self.text(memory, |_| value::memory(number))
    }

    fn seconds(&mut self, element: &Element) -> Option<Spanned<u32>> {
        let number = integer(chars::trim(&element.text()))?;
        self.text(element, |_| value::seconds(number))
    }

    fn boot_file(&mut self, element: &Element) -> Option<Spanned<BootFile>> {
        let from = element.attribute("from").map(|from| chars::trim(&from.value).to_owned());
        self.text(element, |path| match (from.as_deref(), path) {
            (Some("image"), "") => Ok(BootFile::NewestInImage),
            (Some("image"), path) => value::absolute_path(path).map(BootFile::InImage),
            (_, "") => Err(Bad::new("the path is empty")
                .expected("a file of this host")
                .hint("`from=\"image\"` takes the newest in the root image's /boot")),
            (_, path) => value::host_path(path).map(BootFile::Host),
        })
    }

    /// Which of the ways to boot go together.
    fn boot_choice(&mut self, general: &Element, hvm: bool) {
        let has = |name: &str| general.child(name);
        if let (Some(bootloader), Some(_)) = (has("bootloader"), has("kernel")) {
            let message = "`bootloader` and `kernel` exclude each other";
            self.error(bootloader.name.span.clone(), message);
        }
        if let (Some(ramdisk), None) = (has("ramdisk"), has("kernel")) {
            self.error(ramdisk.name.span.clone(), "`ramdisk` needs `kernel`");
        }
        if !hvm {
            return;
        }
        if let Some(bootloader) = has("bootloader") {
            let message = "`bootloader` is for pv and pvh: an hvm guest boots from its disk";
            self.error(bootloader.name.span.clone(), message);
        }
        if let (Some(cmdline), None) = (has("cmdline"), has("kernel")) {
            let message =
                "`cmdline` of an hvm guest needs `kernel`: its disk's boot loader has its own";
            self.error(cmdline.name.span.clone(), message);
        }
    }

    fn networks(&mut self, general: &Element) -> Vec<Network> {
        let mut seen = HashSet::new();
        let mut networks = Vec::new();
        for network in general.named("network") {
            let bridge = self.attribute(network, "bridge", value::bridge);
            let mac = self.attribute(network, "mac", value::mac);
            if let Some(mac) = &mac
                && !seen.insert(mac.value.clone())
            {
                let message = format!("two interfaces with the address `{}`", mac.value);
                self.error(mac.span.clone(), message);
            }
            networks.push(Network { span: network.start_tag.clone(), bridge, mac });
        }
        networks
    }
}

fn cmdline(value: &str) -> Result<String, Bad> {
    value::one_line(value)?;
    if value.len() > CMDLINE_MAX {
        let message = format!("the command line is {} bytes long", value.len());
        return Err(Bad::new(message).expected(format!("at most {CMDLINE_MAX} bytes")));
    }
    Ok(value.to_owned())
}

fn bootloader(value: &str) -> Result<String, Bad> {
    if value == "pygrub" {
        return Ok(value.to_owned());
    }
    value::absolute_path(value)
        .map_err(|bad| bad.expected("`pygrub`, or the absolute path of a boot loader of the host"))
}
