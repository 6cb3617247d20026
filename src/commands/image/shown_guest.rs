//! What lives in a root, as text for people and as JSON for programs. Every value is a stranger's.
//!
//! ```text
//!   guest: Debian GNU/Linux 12 (bookworm), x86_64, hostname `stock`
//!     init: systemd 252
//!     kernel: 6.1.0-18-amd64: /boot/vmlinuz-6.1.0-18-amd64, ramdisk initrd.img-6.1.0-18-amd64
//!     boot: `Debian GNU/Linux` starts /boot/vmlinuz-6.1.0-18-amd64 (/boot/grub/grub.cfg)
//!     fstab: UUID=6a1d2c3b-… (partition 2) on / as ext4, errors=remount-ro
//! ```

use serde_json::{Value, json};

use super::about::GuestAbout;
use super::boot::partition_of;
use crate::inside::guest::Mount;
use crate::visible::visible;

/// For people.
pub(super) fn text(about: &GuestAbout) -> String {
    let guest = &about.guest;
    let mut parts = vec![match &guest.release {
        Some(release) => visible(&release.name).into_owned(),
        None => "a Linux of unknown release".into(),
    }];
    parts.extend(guest.machine.map(str::to_owned));
    parts.extend(guest.hostname.as_ref().map(|name| format!("hostname `{}`", visible(name))));
    let mut text = format!("  guest: {}\n", parts.join(", "));
    let mut inits = guest.inits.iter().map(|init| init.name());
    if let Some(first) = inits.next() {
        let version = guest.systemd.as_ref().filter(|_| first == "systemd");
        let version = version.map_or(String::new(), |version| format!(" {}", visible(version)));
        let others: Vec<&str> = inits.collect();
        let others = match &others[..] {
            [] => String::new(),
            others => format!(", also there: {}", others.join(", ")),
        };
        text += &format!("    init: {first}{version}{others}\n");
    }
    for kernel in &about.kernels {
        text += &format!("    kernel: {kernel}\n");
    }
    for entry in &about.entries {
        text += &format!("    boot: {entry}\n");
    }
    for mount in &guest.fstab {
        text += &format!("    fstab: {}\n", visible(&mount_text(mount)));
    }
    for warning in &guest.warnings {
        text += &format!("    cannot be told: {}\n", visible(warning));
    }
    text
}

fn mount_text(mount: &Mount) -> String {
    let [source, target, fstype, options] = fields(mount);
    let place = match partition_of(mount.device.as_ref()) {
        Some(0) => " (this image)".into(),
        Some(number) => format!(" (partition {number})"),
        None => String::new(),
    };
    format!("{source}{place} on {target} as {fstype}, {options}")
}

fn fields(mount: &Mount) -> [String; 4] {
    let entry = &mount.entry;
    [&entry.source, &entry.target, &entry.fstype, &entry.options]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// For programs.
pub(super) fn json(about: &GuestAbout) -> Value {
    let guest = &about.guest;
    let release = guest.release.as_ref().map(|release| {
        json!({
            "name": release.name,
            "id": release.id,
            "version": release.version,
            "source": release.source,
        })
    });
    let mount = |mount: &Mount| {
        let [source, target, fstype, options] = fields(mount);
        json!({
            "source": source,
            "target": target,
            "type": fstype,
            "options": options,
            "freq": mount.entry.freq,
            "passno": mount.entry.passno,
            "partition": partition_of(mount.device.as_ref()),
        })
    };
    json!({
        "release": release,
        "machine": guest.machine,
        "init": guest.inits.iter().map(|init| init.name()).collect::<Vec<_>>(),
        "systemd": guest.systemd,
        "hostname": guest.hostname,
        "kernels": about.kernels_json,
        "boot_entries": about.entries_json,
        "fstab": guest.fstab.iter().map(mount).collect::<Vec<_>>(),
        "warnings": guest.warnings,
    })
}
