//! The kernels of a guest, told by the names of their files in `/boot`.
//!
//! ```text
//! vmlinuz-6.1.0-18-amd64        initrd.img-6.1.0-18-amd64       Debian
//! vmlinuz-2.6.18-8.el5xen       initrd-2.6.18-8.el5xen.img      Red Hat; later initramfs-….img
//! vmlinuz-2.6.5-7.97-xen        initrd-2.6.5-7.97-xen           SuSE
//! vmlinuz-virt                  initramfs-virt                  Alpine: a flavour, no version
//! ```
//!
//! Nothing is opened: whether the file is a kernel, and one for Xen, shows when it is booted.

use std::cmp::Ordering;

use crate::xmf::model::GuestType;

/// A kernel and the ramdisk of the same version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// File name in `/boot`.
    pub file: String,
    /// What follows `vmlinuz-`: `2.6.18-8.el5xen`; empty for a plain `vmlinuz`.
    pub version: String,
    /// File name of its ramdisk in `/boot`, if there is one.
    pub ramdisk: Option<String>,
}

/// The newest kernel of those files that suits the guest type, if there is any kernel.
pub fn newest(files: &[String], guest_type: GuestType) -> Option<Kernel> {
    all(files, guest_type).into_iter().next()
}

/// The kernels of those files, the newest that suits the guest type first.
///
/// Before 3.0 a kernel for paravirtual guests was built apart, with `xen` in its version, and such a kernel boots on
/// nothing else. So it goes before the others for pv, however old, and behind them for pvh and hvm.
pub fn all(files: &[String], guest_type: GuestType) -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> = files.iter().filter_map(|file| kernel_of(file, files)).collect();
    kernels.sort_by(|a, b| {
        let fits = |kernel: &Kernel| {
            let old_xen = is_legacy(&kernel.version) && kernel.version.contains("xen");
            match guest_type {
                GuestType::Pv => old_xen || !is_legacy(&kernel.version),
                GuestType::Pvh | GuestType::Hvm => !old_xen,
            }
        };
        // Of two names for one version, `vmlinuz` sorts behind `vmlinux`: it is the smaller file.
        let (a_key, b_key) = ((fits(a), has_number(&a.version)), (fits(b), has_number(&b.version)));
        a_key
            .cmp(&b_key)
            .then_with(|| compare_versions(&a.version, &b.version))
            .then_with(|| a.file.cmp(&b.file))
    });
    kernels.reverse();
    kernels
}

/// The kernel in the file of this name, with its ramdisk out of `files`; `None` where the name is not a kernel's.
pub fn kernel_of(file: &str, files: &[String]) -> Option<Kernel> {
    let rest = file.strip_prefix("vmlinuz").or_else(|| file.strip_prefix("vmlinux"))?;
    let version = match rest.strip_prefix('-') {
        Some(version) if !version.is_empty() => version,
        None if rest.is_empty() => "",
        _ => return None,
    };
    if is_left_over(version) {
        return None;
    }
    Some(Kernel {
        file: file.to_owned(),
        version: version.to_owned(),
        ramdisk: ramdisk_for(version, files),
    })
}

/// The ramdisk of this version among the files of `/boot`.
pub fn ramdisk_for(version: &str, files: &[String]) -> Option<String> {
    let names = if version.is_empty() {
        ["initrd.img", "initrd", "initramfs.img", "initramfs"].map(str::to_owned)
    } else {
        [
            format!("initrd.img-{version}"),
            format!("initramfs-{version}.img"),
            format!("initrd-{version}.img"),
            format!("initrd-{version}"),
        ]
    };
    let alpine = format!("initramfs-{version}");
    names.into_iter().chain([alpine]).find(|name| files.contains(name))
}

/// Is this a kernel from before 3.0, whose disks keep the names that the configuration gives them? Names without a
/// number (`virt`) belong to distributions of today.
pub fn is_legacy(version: &str) -> bool {
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    matches!(major.as_str(), "1" | "2") && version[major.len()..].starts_with('.')
}

/// The order of versions: runs of digits by their number, the rest letter by letter, `-rc` before its release.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let candidates = (a.starts_with("-rc"), b.starts_with("-rc"));
        if candidates.0 != candidates.1 {
            return candidates.1.cmp(&candidates.0);
        }
        let (a_run, a_rest) = run(a);
        let (b_run, b_rest) = run(b);
        if a_run.is_empty() || b_run.is_empty() {
            return a_run.len().cmp(&b_run.len());
        }
        let digits = |run: &str| run.starts_with(|c: char| c.is_ascii_digit());
        let order = if digits(a_run) && digits(b_run) {
            let (a_nr, b_nr) = (a_run.trim_start_matches('0'), b_run.trim_start_matches('0'));
            a_nr.len().cmp(&b_nr.len()).then_with(|| a_nr.cmp(b_nr))
        } else {
            a_run.cmp(b_run)
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
}

/// Split off the digits, or the one character that is none, at the start.
fn run(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let len = if digits > 0 { digits } else { text.chars().next().map_or(0, char::len_utf8) };
    text.split_at(len)
}

fn has_number(version: &str) -> bool {
    version.starts_with(|c: char| c.is_ascii_digit())
}

/// Is this no kernel to boot: a rescue or debugging system, or what a package manager or an editor left behind?
fn is_left_over(version: &str) -> bool {
    let endings = [
        "+debug", ".debug", ".old", ".bak", ".orig", ".gz", ".sig", ".hmac", ".rpmsave", ".rpmnew",
        "~",
    ];
    version.contains("rescue")
        || version.contains("kdump")
        || version.contains(".dpkg-")
        || endings.iter().any(|ending| version.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str]) -> Vec<String> {
        files.iter().map(|file| (*file).to_owned()).collect()
    }

    fn pick(files: &[&str], guest_type: GuestType) -> (String, Option<String>) {
        let kernel = newest(&names(files), guest_type).expect("there is a kernel");
        (kernel.file, kernel.ramdisk)
    }

    #[test]
    fn versions_sort_by_their_numbers() {
        let sorted = [
            "2.6.9-5.EL",
            "2.6.18-8.el5",
            "2.6.18-8.el5xen",
            "2.6.18-128.el5",
            "3.0.0",
            "6.1.0-rc1",
            "6.1.0",
            "6.1.0-9",
            "6.1.0-18-amd64",
            "6.10.0",
        ];
        for pair in sorted.windows(2) {
            assert_eq!(compare_versions(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare_versions(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare_versions("6.01", "6.1"), Ordering::Equal);
    }

    #[test]
    fn the_newest_kernel_comes_with_its_own_ramdisk() {
        let debian = [
            "vmlinuz-6.1.0-9-amd64",
            "initrd.img-6.1.0-9-amd64",
            "vmlinuz-6.1.0-18-amd64",
            "initrd.img-6.1.0-18-amd64",
            "config-6.1.0-18-amd64",
            "System.map-6.1.0-18-amd64",
        ];
        let (kernel, ramdisk) = pick(&debian, GuestType::Pv);
        assert_eq!(kernel, "vmlinuz-6.1.0-18-amd64");
        assert_eq!(ramdisk.as_deref(), Some("initrd.img-6.1.0-18-amd64"));
        let fedora = [
            "vmlinuz-0-rescue-12ab",
            "vmlinuz-5.14.0-362.el9.x86_64+debug",
            "initramfs-0-rescue-12ab.img",
            "vmlinuz-5.4.1",
            "initramfs-5.4.1.img",
        ];
        assert_eq!(
            pick(&fedora, GuestType::Pv),
            ("vmlinuz-5.4.1".into(), Some("initramfs-5.4.1.img".into()))
        );
        let alpine = ["vmlinuz-virt", "initramfs-virt"];
        assert_eq!(
            pick(&alpine, GuestType::Pvh),
            ("vmlinuz-virt".into(), Some("initramfs-virt".into()))
        );
        let plain = ["vmlinuz", "initrd"];
        assert_eq!(pick(&plain, GuestType::Pv), ("vmlinuz".into(), Some("initrd".into())));
        assert_eq!(pick(&["vmlinux-5.4.1", "vmlinuz-5.4.1"], GuestType::Pv).0, "vmlinuz-5.4.1");
    }

    #[test]
    fn an_old_kernel_for_xen_goes_first_for_pv_and_last_for_others() {
        let centos5 =
            ["vmlinuz-2.6.18-8.el5xen", "vmlinuz-2.6.18-128.el5", "initrd-2.6.18-8.el5xen.img"];
        let xen =
            ("vmlinuz-2.6.18-8.el5xen".to_owned(), Some("initrd-2.6.18-8.el5xen.img".to_owned()));
        assert_eq!(pick(&centos5, GuestType::Pv), xen);
        assert_eq!(pick(&centos5, GuestType::Hvm).0, "vmlinuz-2.6.18-128.el5");
        assert_eq!(
            pick(&["vmlinuz-2.6.18-8.el5xen", "vmlinuz-6.1.0"], GuestType::Pv).0,
            "vmlinuz-6.1.0"
        );
    }

    #[test]
    fn leftovers_are_no_kernels() {
        let files = [
            "vmlinuz-6.1.0.old",
            "vmlinuz-6.1.0.dpkg-bak",
            "vmlinuz.old",
            "vmlinuz-",
            ".vmlinuz-6.hmac",
            "x",
        ];
        assert_eq!(newest(&names(&files), GuestType::Pv), None);
    }

    #[test]
    fn kernels_before_3_0_are_legacy() {
        for (version, legacy) in [
            ("2.6.18-8.el5xen", true),
            ("2.4.21", true),
            ("3.0.0", false),
            ("20.1", false),
            ("2", false),
            ("virt", false),
            ("", false),
        ] {
            assert_eq!(is_legacy(version), legacy, "{version}");
        }
    }
}
