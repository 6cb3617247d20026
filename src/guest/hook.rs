//! What starts the runner of the jobs when a guest comes up: the files that its init system reads.
//!
//! Pure text. The files are put into an image without a look at running services, so that none of the programs that
//! usually do this (`systemctl enable`, `chkconfig`, `insserv`, `rc-update`) has to run in the guest.
//!
//! ```text
//! systemd      /etc/systemd/system/autoxen-jobs.service, wanted by multi-user.target
//! upstart      /etc/init/autoxen-jobs.conf; before /etc/init was there, as sysv-debian
//! sysv-redhat  /etc/rc.d/init.d/autoxen-jobs, S99 in runlevels 2 to 5
//! sysv-suse    /etc/init.d/autoxen-jobs, S99 in /etc/init.d/rcN.d
//! sysv-debian  /etc/init.d/autoxen-jobs, S99 in /etc/rcN.d
//! openrc       /etc/init.d/autoxen-jobs, in runlevel default; Debian has no service `local`
//! busybox      a line of /etc/inittab
//! runit        /etc/sv/autoxen-jobs
//! s6           refused: its services are compiled in the guest
//! ```
//!
//! Where insserv has been at work (Debian 6 and 7, SLES 10 and 11, sysvinit of today), startpar runs nothing that
//! `/etc/init.d/.depend.start` does not list, so that file gets the service as well: at the end of `TARGETS`, and behind
//! all others.
//!
//! ```text
//! TARGETS = rsyslog cron              TARGETS = rsyslog cron autoxen-jobs
//! cron: rsyslog                   →   cron: rsyslog
//!                                     autoxen-jobs: rsyslog cron
//! ```

use super::init::Init;

/// The program that is started. It does not lie below `/usr`, which may be another disk.
pub const RUNNER: &str = "/etc/autoxen/run-jobs";

/// The name of the service.
pub const SERVICE: &str = "autoxen-jobs";

/// Where insserv writes the order of services.
pub const DEPEND_START: &str = "/etc/init.d/.depend.start";

/// What BusyBox and System V read first.
pub const INITTAB: &str = "/etc/inittab";

/// What the guest has already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stock<'a> {
    /// [`INITTAB`].
    pub inittab: Option<&'a [u8]>,
    /// [`DEPEND_START`].
    pub depend_start: Option<&'a [u8]>,
    /// Whether there is `/etc/init`, where upstart of release 0.6 and later has its jobs.
    pub has_etc_init: bool,
}

/// One thing to put into the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A file, root's; it replaces what is there.
    File {
        /// Absolute path in the guest.
        path: String,
        /// All of it.
        bytes: Vec<u8>,
        /// Permission bits; `None` keeps those of the file that it replaces.
        mode: Option<u32>,
    },
    /// A symbolic link.
    Link {
        /// Absolute path in the guest.
        path: String,
        /// Where it points, as written.
        target: String,
    },
}

/// Why a guest has no hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its services are compiled into a database, by a program of the guest.
    #[error("the services of s6 are compiled in the guest: no hook can be put into its files")]
    S6,
}

/// What makes `init` start [`RUNNER`] once the guest is up. Done twice is as done once.
///
/// # Errors
/// Where files alone cannot do it.
pub fn pieces(init: Init, stock: Stock<'_>) -> Result<Vec<Piece>, Error> {
    Ok(match init {
        Init::Systemd => systemd(),
        Init::Upstart if stock.has_etc_init => vec![file(
            format!("/etc/init/{SERVICE}.conf"),
            0o644,
            format!(
                "description \"Jobs of this machine\"\n\nstart on stopped rc RUNLEVEL=[2345]\ntask\nconsole output\nexec {RUNNER}\n"
            ),
        )],
        Init::Upstart | Init::SysvDebian => sysv("/etc/init.d", "/etc/rc", "../init.d", stock),
        Init::SysvRedHat => sysv("/etc/rc.d/init.d", "/etc/rc.d/rc", "../init.d", stock),
        Init::SysvSuse => sysv("/etc/init.d", "/etc/init.d/rc", "..", stock),
        Init::OpenRc => vec![
            file(
                format!("/etc/init.d/{SERVICE}"),
                0o755,
                format!(
                    "#!/sbin/openrc-run\n# openrc-run calls these.\n# shellcheck disable=SC2317\n\
                     depend() {{\n    after '*'\n}}\n\n\
                     start() {{\n    {RUNNER} > /dev/console 2>&1\n}}\n"
                ),
            ),
            link(format!("/etc/runlevels/default/{SERVICE}"), &format!("/etc/init.d/{SERVICE}")),
        ],
        Init::BusyBox => inittab(stock.inittab).into_iter().collect(),
        Init::Runit => vec![
            file(
                format!("/etc/sv/{SERVICE}/run"),
                0o755,
                format!("#!/bin/sh\n{RUNNER} > /dev/console 2>&1\nexec sv down .\n"),
            ),
            link(format!("/etc/runit/runsvdir/default/{SERVICE}"), &format!("/etc/sv/{SERVICE}")),
        ],
        Init::S6 => return Err(Error::S6),
    })
}

/// `sh` is named because SELinux lets no service begin with a file of `/etc`.
///
/// `multi-user.target.wants` and not that of `default.target`, which some distributions point elsewhere. A limit of 0 is
/// none for every release; `infinity` is known from 229 on only.
fn systemd() -> Vec<Piece> {
    let unit = format!(
        "[Unit]\nDescription=Jobs of this machine\nWants=network-online.target\nAfter=network-online.target local-fs.target\n\n\
         [Service]\nType=oneshot\nExecStart=/bin/sh {RUNNER}\nTimeoutStartSec=0\nStandardOutput=journal+console\n\
         StandardError=journal+console\n\n[Install]\nWantedBy=multi-user.target\n"
    );
    vec![
        file(format!("/etc/systemd/system/{SERVICE}.service"), 0o644, unit),
        link(
            format!("/etc/systemd/system/multi-user.target.wants/{SERVICE}.service"),
            &format!("/etc/systemd/system/{SERVICE}.service"),
        ),
    ]
}

/// `scripts` holds the script, `levels` and `N.d` its links, from which `up` leads to `scripts`.
fn sysv(scripts: &str, levels: &str, up: &str, stock: Stock<'_>) -> Vec<Piece> {
    let text = format!(
        "#!/bin/sh\n# chkconfig: 2345 99 01\n# description: runs the jobs of this machine\n### BEGIN INIT INFO\n\
         # Provides:          {SERVICE}\n# Required-Start:    $all\n# Required-Stop:\n# Default-Start:     2 3 4 5\n\
         # Default-Stop:\n# Short-Description: runs the jobs of this machine\n### END INIT INFO\n\
         case $1 in\n    start) exec {RUNNER} > /dev/console 2>&1 ;;\nesac\n"
    );
    let mut pieces = vec![file(format!("{scripts}/{SERVICE}"), 0o755, text)];
    pieces.extend(
        (2..=5).map(|level| {
            link(format!("{levels}{level}.d/S99{SERVICE}"), &format!("{up}/{SERVICE}"))
        }),
    );
    if let Some(bytes) = stock.depend_start.and_then(with_dependency) {
        pieces.push(Piece::File { path: DEPEND_START.into(), bytes, mode: None });
    }
    pieces
}

/// insserv's order of services with ours behind all others; `None` where it is there, or there is no order.
fn with_dependency(order: &[u8]) -> Option<Vec<u8>> {
    const TARGETS: &[u8] = b"TARGETS =";
    let mut edited = Vec::with_capacity(order.len() + 64);
    let mut others = None;
    for line in order.split_inclusive(|byte| *byte == b'\n') {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        edited.extend_from_slice(body);
        if let Some(list) = body.strip_prefix(TARGETS)
            && others.is_none()
        {
            let names = list.split(u8::is_ascii_whitespace).filter(|name| !name.is_empty());
            if names.clone().any(|name| name == SERVICE.as_bytes()) {
                return None;
            }
            edited.extend_from_slice(format!(" {SERVICE}").as_bytes());
            others = Some(names.collect::<Vec<_>>().join(&b' '));
        }
        edited.push(b'\n');
    }
    let others = others.filter(|names| !names.is_empty())?;
    edited.extend_from_slice(format!("{SERVICE}: ").as_bytes());
    edited.extend_from_slice(&others);
    edited.push(b'\n');
    Some(edited)
}

/// The line goes last: BusyBox starts what is `once` when all of `sysinit` and `wait` has ended. Without a file it does what
/// is written out here, and no more once there is one.
fn inittab(old: Option<&[u8]>) -> Option<Piece> {
    const BUILT_IN: &[u8] =
        b"::sysinit:/etc/init.d/rcS\n::askfirst:-/bin/sh\n::ctrlaltdel:/sbin/reboot\n\
        ::shutdown:/sbin/swapoff -a\n::shutdown:/bin/umount -a -r\n::restart:/sbin/init\n";
    let ours = format!("::once:{RUNNER}");
    let mut bytes = old.unwrap_or(BUILT_IN).to_vec();
    if bytes.split(|byte| *byte == b'\n').any(|line| line == ours.as_bytes()) {
        return None;
    }
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(ours.as_bytes());
    bytes.push(b'\n');
    let mode = if old.is_some() { None } else { Some(0o644) };
    Some(Piece::File { path: INITTAB.into(), bytes, mode })
}

fn file(path: String, mode: u32, text: String) -> Piece {
    Piece::File { path, bytes: text.into_bytes(), mode: Some(mode) }
}

fn link(path: String, target: &str) -> Piece {
    Piece::Link { path, target: target.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(init: Init, stock: Stock<'_>) -> Vec<String> {
        let pieces = pieces(init, stock).expect("a hook");
        let show = |piece| match piece {
            Piece::File { path, .. } => path,
            Piece::Link { path, target } => format!("{path} -> {target}"),
        };
        pieces.into_iter().map(show).collect()
    }

    fn content(init: Init, stock: Stock<'_>, at: &str) -> Option<String> {
        pieces(init, stock).expect("a hook").into_iter().find_map(|piece| match piece {
            Piece::File { path, bytes, .. } if path == at => {
                Some(String::from_utf8(bytes).expect("text"))
            }
            _ => None,
        })
    }

    #[test]
    fn each_family_of_system_v_has_its_own_places() {
        let none = Stock::default();
        for (init, script, first, last) in [
            (
                Init::SysvRedHat,
                "/etc/rc.d/init.d/autoxen-jobs",
                "/etc/rc.d/rc2.d/S99autoxen-jobs -> ../init.d/autoxen-jobs",
                "/etc/rc.d/rc5.d/S99autoxen-jobs -> ../init.d/autoxen-jobs",
            ),
            (
                Init::SysvSuse,
                "/etc/init.d/autoxen-jobs",
                "/etc/init.d/rc2.d/S99autoxen-jobs -> ../autoxen-jobs",
                "/etc/init.d/rc5.d/S99autoxen-jobs -> ../autoxen-jobs",
            ),
            (
                Init::SysvDebian,
                "/etc/init.d/autoxen-jobs",
                "/etc/rc2.d/S99autoxen-jobs -> ../init.d/autoxen-jobs",
                "/etc/rc5.d/S99autoxen-jobs -> ../init.d/autoxen-jobs",
            ),
        ] {
            let paths = paths(init, none);
            assert_eq!(paths.len(), 5, "{init:?}");
            assert_eq!([&paths[0], &paths[1], &paths[4]], [script, first, last], "{init:?}");
        }
    }

    #[test]
    fn upstart_before_etc_init_goes_by_the_links_of_system_v() {
        let stock = Stock { has_etc_init: true, ..Stock::default() };
        assert_eq!(paths(Init::Upstart, stock), ["/etc/init/autoxen-jobs.conf"]);
        let old = paths(Init::Upstart, Stock::default());
        assert_eq!(old, paths(Init::SysvDebian, Stock::default()));
    }

    #[test]
    fn the_order_of_insserv_gets_the_service_behind_all_others_and_once() {
        let old = b"TARGETS = rsyslog cron\nINTERACTIVE = cron\ncron: rsyslog";
        let stock = Stock { depend_start: Some(old), ..Stock::default() };
        let new = content(Init::SysvDebian, stock, DEPEND_START).expect("an edit");
        assert_eq!(
            new,
            "TARGETS = rsyslog cron autoxen-jobs\nINTERACTIVE = cron\ncron: rsyslog\nautoxen-jobs: rsyslog cron\n"
        );
        for same in [new.as_bytes(), b"", b"TARGETS =\n", b"cron: rsyslog\n"] {
            let stock = Stock { depend_start: Some(same), ..Stock::default() };
            assert_eq!(content(Init::SysvDebian, stock, DEPEND_START), None);
        }
    }

    #[test]
    fn busybox_keeps_its_lines_and_gets_ours_once() {
        let line = "::once:/etc/autoxen/run-jobs\n";
        let old = b"::sysinit:/etc/rcS\n::shutdown:/bin/umount -a -r";
        let stock = Stock { inittab: Some(old), ..Stock::default() };
        let new = content(Init::BusyBox, stock, INITTAB).expect("an edit");
        assert_eq!(new, format!("::sysinit:/etc/rcS\n::shutdown:/bin/umount -a -r\n{line}"));
        let again = Stock { inittab: Some(new.as_bytes()), ..Stock::default() };
        assert_eq!(content(Init::BusyBox, again, INITTAB), None);
        let fresh = content(Init::BusyBox, Stock::default(), INITTAB).expect("a file");
        assert!(fresh.starts_with("::sysinit:/etc/init.d/rcS\n") && fresh.ends_with(line));
    }

    #[test]
    fn s6_is_refused_by_name() {
        assert_eq!(pieces(Init::S6, Stock::default()), Err(Error::S6));
    }
}
