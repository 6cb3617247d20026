//! What a guest starts its services with, told by its files.
//!
//! `/sbin/init` leads to the program that the kernel starts; where that is the `init` of System V, of which several
//! systems of scripts hang, directories tell which. The kernel's command line may name another program: that is not known
//! here.
//!
//! ```text
//! systemd      /sbin/init → …/systemd                    Debian 8, RHEL 7, SLES 12 and later
//! upstart      /sbin/init, /etc/init or /etc/event.d     Ubuntu 6.10 to 14.10, RHEL 6
//! sysv-suse    /etc/init.d/rc3.d                         asked before Red Hat: /etc/rc.d is a link to init.d
//! sysv-redhat  /etc/rc.d/rc3.d                           asked before Debian: /etc/rc2.d is a link to rc.d/rc2.d
//! sysv-debian  /etc/rc2.d
//! openrc       /etc/runlevels and a program openrc       Alpine, where BusyBox is init; Gentoo
//! busybox      /sbin/init → busybox
//! runit, s6    /sbin/init → …/runit-init, s6-linux-init
//! ```

use std::path::{Path, PathBuf};

/// A way to start services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Init {
    /// Units below `/etc/systemd/system`.
    Systemd,
    /// Jobs in `/etc/init`, with the links of System V beside them.
    Upstart,
    /// `/etc/rc.d/rcN.d`: Red Hat and those that follow it.
    SysvRedHat,
    /// `/etc/init.d/rcN.d`: SuSE.
    SysvSuse,
    /// `/etc/rcN.d`: Debian and those that follow it.
    SysvDebian,
    /// `/etc/runlevels`.
    OpenRc,
    /// `/etc/inittab` and `/etc/init.d/rcS`.
    BusyBox,
    /// `/etc/runit`.
    Runit,
    /// s6-rc and s6-linux-init.
    S6,
}

impl Init {
    /// Those that a file can hook a program into.
    pub const ALL: [Self; 8] = [
        Self::Systemd,
        Self::Upstart,
        Self::SysvRedHat,
        Self::SysvSuse,
        Self::SysvDebian,
        Self::OpenRc,
        Self::BusyBox,
        Self::Runit,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Upstart => "upstart",
            Self::SysvRedHat => "sysv-redhat",
            Self::SysvSuse => "sysv-suse",
            Self::SysvDebian => "sysv-debian",
            Self::OpenRc => "openrc",
            Self::BusyBox => "busybox",
            Self::Runit => "runit",
            Self::S6 => "s6",
        }
    }
}

/// The program that the kernel starts, behind all links; `link` is where a symbolic link points, `None` for what is none,
/// `is_there` says whether a path, itself perhaps a link, is there.
pub fn program(
    is_there: &dyn Fn(&Path) -> bool,
    link: &dyn Fn(&Path) -> Option<PathBuf>,
) -> Option<PathBuf> {
    let first = ["/sbin/init", "/usr/sbin/init", "/etc/init", "/bin/init"];
    let mut path = first.into_iter().map(Path::new).find(|path| is_there(path))?.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        let Some(target) = link(&path) else { return Some(path) };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    None
}

/// The init systems of a guest, the one that is started first of all; others that are installed follow, so that whoever
/// hooks into all of them is ready for a switch.
///
/// `target` is where `/sbin/init` leads, behind all links; `is_there` says whether a path, behind links, is there.
pub fn recognise(target: Option<&str>, is_there: &dyn Fn(&str) -> bool) -> Vec<Init> {
    let any = |paths: &[&str]| paths.iter().any(|path| is_there(path));
    let sysv = [
        (Init::SysvSuse, &["/etc/init.d/rc3.d"][..]),
        (Init::SysvRedHat, &["/etc/rc.d/rc3.d"]),
        (Init::SysvDebian, &["/etc/rc2.d"]),
    ];
    let sysv = sysv.into_iter().find(|(_, paths)| any(paths)).map(|(init, _)| init);
    let has_openrc = any(&["/etc/runlevels"])
        && any(&[
            "/sbin/openrc",
            "/sbin/openrc-run",
            "/usr/sbin/openrc",
            "/usr/bin/openrc",
            "/sbin/rc",
        ]);
    let has_upstart = any(&[
        "/etc/init/rc.conf",
        "/etc/init/rc-sysinit.conf",
        "/etc/event.d/rc2",
        "/etc/event.d/rcS",
    ]);
    let name = target.map(|path| path.rsplit('/').next().unwrap_or(path));
    let started = match name {
        Some("systemd") => Some(Init::Systemd),
        Some("openrc-init") => Some(Init::OpenRc),
        Some("runit" | "runit-init") => Some(Init::Runit),
        Some(name) if name.starts_with("s6-") => Some(Init::S6),
        Some(name) if name.starts_with("busybox") => {
            Some(if has_openrc { Init::OpenRc } else { Init::BusyBox })
        }
        Some("upstart") => Some(Init::Upstart),
        Some(_) if has_upstart => Some(Init::Upstart),
        Some(_) if has_openrc => Some(Init::OpenRc),
        Some(_) => sysv,
        None => None,
    };
    let systemd = ["/lib/systemd/systemd", "/usr/lib/systemd/systemd"];
    let installed = [
        any(&systemd).then_some(Init::Systemd),
        has_upstart.then_some(Init::Upstart),
        has_openrc.then_some(Init::OpenRc),
        sysv,
        any(&["/etc/runit/2"]).then_some(Init::Runit),
    ];
    let mut all: Vec<Init> = started.into_iter().collect();
    for init in installed.into_iter().flatten() {
        if !all.contains(&init) {
            all.push(init);
        }
    }
    all
}

/// Directories in which systemd has a library whose name tells its version.
pub const SYSTEMD_LIBRARIES: [&str; 4] = [
    "/lib/systemd",
    "/usr/lib/systemd",
    "/usr/lib/x86_64-linux-gnu/systemd",
    "/usr/lib/aarch64-linux-gnu/systemd",
];

/// The version of systemd, by the names of files in one of [`SYSTEMD_LIBRARIES`]: `libsystemd-shared-252.so`, from
/// release 231 on.
pub fn systemd_version<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    names.into_iter().find_map(|name| {
        let version = name.strip_prefix("libsystemd-shared-")?.strip_suffix(".so")?;
        version.starts_with(|letter: char| letter.is_ascii_digit()).then(|| version.to_owned())
    })
}

/// The version of systemd in its own program, of releases before 231: `systemd 219`, a newline, and the list of what it
/// was built with.
pub fn systemd_version_in(program: &[u8]) -> Option<String> {
    let mark = b"systemd ";
    program.windows(mark.len()).enumerate().filter(|(_, bytes)| *bytes == mark).find_map(
        |(at, _)| {
            let rest = &program[at + mark.len()..];
            let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let is_version = (1..=4).contains(&len)
                && matches!(rest.get(len..len + 2), Some([b'\n', b'+' | b'-']));
            is_version.then(|| String::from_utf8_lossy(&rest[..len]).into_owned())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{recognise, systemd_version, systemd_version_in};

    /// Names of what is found, in order.
    fn found(target: Option<&str>, paths: &[&str]) -> String {
        let all = recognise(target, &|path| paths.contains(&path));
        all.into_iter().map(super::Init::name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_layout_is_recognised() {
        let init = Some("/sbin/init");
        for (target, paths, expected) in [
            (
                Some("/usr/lib/systemd/systemd"),
                &["/usr/lib/systemd/systemd", "/etc/rc2.d"][..],
                "systemd sysv-debian",
            ),
            // RHEL 3 to 5: the links of System V at both places.
            (init, &["/etc/rc.d/rc3.d", "/etc/rc2.d"], "sysv-redhat"),
            // SLES 9: /etc/rc.d leads to /etc/init.d.
            (init, &["/etc/init.d/rc3.d", "/etc/rc.d/rc3.d"], "sysv-suse"),
            (init, &["/etc/rc2.d"], "sysv-debian"),
            (init, &["/etc/rc2.d", "/lib/systemd/systemd"], "sysv-debian systemd"),
            (init, &["/etc/init/rc.conf", "/etc/rc.d/rc3.d", "/etc/rc2.d"], "upstart sysv-redhat"),
            (Some("/sbin/upstart"), &["/etc/rc2.d"], "upstart sysv-debian"),
            (Some("/bin/busybox"), &["/etc/runlevels", "/sbin/openrc"], "openrc"),
            (init, &["/etc/runlevels", "/sbin/openrc"], "openrc"),
            (Some("/bin/busybox"), &["/etc/inittab"], "busybox"),
            (Some("/sbin/runit-init"), &["/etc/runit/2", "/etc/rc2.d"], "runit sysv-debian"),
            (Some("/bin/s6-linux-init"), &[], "s6"),
            // A container's root: nothing starts it, something is installed.
            (None, &["/lib/systemd/systemd"], "systemd"),
            (init, &[], ""),
            (None, &[], ""),
        ] {
            assert_eq!(found(target, paths), expected, "{target:?} {paths:?}");
        }
    }

    #[test]
    fn systemd_tells_its_version() {
        let version = |names: &[&str]| systemd_version(names.iter().copied());
        assert_eq!(version(&["systemd", "libsystemd-shared-252.so"]).as_deref(), Some("252"));
        assert_eq!(
            version(&["libsystemd-shared-255.4-1.fc40.so"]).as_deref(),
            Some("255.4-1.fc40")
        );
        assert_eq!(version(&["libsystemd-shared-.so", "libsystemd-core-252.so"]), None);
        let old = b"\0started systemd unit\0systemd 219\n+PAM +AUDIT\0";
        assert_eq!(systemd_version_in(old).as_deref(), Some("219"));
        for none in [&b"systemd 219"[..], b"systemd 12345\n+", b"systemd \n+PAM", b"systemd", b""] {
            assert_eq!(systemd_version_in(none), None);
        }
    }
}
