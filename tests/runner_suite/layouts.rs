//! Old guests that no mirror has any more: trees after their documentation ([`fixtures/init`]), into which a hook is put. What
//! their init would start is started in a fake root, and the runner is among it once, behind all others, and runs its job.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use autoxen::guest::hook::{self, Piece, Stock, pieces};
use autoxen::guest::init;

use crate::fake::{Guest, each_shell};

/// A tree, and how its init starts what is in it.
#[derive(Default)]
struct Fixture {
    init: String,
    order: Vec<String>,
    /// Lines of sh that do what the init does.
    start: String,
}

fn words(line: &str) -> (&str, &str, &str) {
    let mut parts = line.splitn(3, ' ');
    let mut next = || parts.next().unwrap_or_default();
    (next(), next(), next())
}

/// Make the tree in the guest.
fn tree(guest: &Guest, text: &str) -> Fixture {
    let mut fixture = Fixture::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (word, path, rest) = words(line);
        let at = guest.path(path.trim_start_matches('/'));
        if path.starts_with('/') && !path.contains('*') {
            fs::create_dir_all(at.parent().expect("a parent")).expect("directories");
        }
        match word {
            "init" => path.clone_into(&mut fixture.init),
            "order" => fixture.order = line.split(' ').skip(1).map(str::to_owned).collect(),
            "file" => fs::write(&at, "").expect("a file"),
            "link" => symlink(rest, &at).expect("a link"),
            "text" => {
                let old = fs::read_to_string(&at).unwrap_or_default();
                fs::write(&at, format!("{old}{rest}\n")).expect("a file");
            }
            "service" => {
                let name = path.rsplit('/').next().expect("a name");
                fs::write(&at, format!("#!/bin/sh\necho \"{name} $1\" >> /started\n")).expect("a file");
                fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).expect("a mode");
            }
            "start" => fixture.start.push_str(&format!(
                "for script in {path}; do [ ! -x \"$script\" ] || $SHELL_OF_GUEST \"$script\" start; done\n"
            )),
            // startpar starts what has no dependency left; here each service waits for those before it.
            "startpar" => fixture.start.push_str(&format!(
                "for name in $(sed -n 's/^TARGETS = //p' {path}); do $SHELL_OF_GUEST /etc/init.d/$name start; done\n"
            )),
            // openrc-run reads the service, and calls what is asked for.
            "openrc" => fixture.start.push_str(&format!(
                "for script in {path}/*; do $SHELL_OF_GUEST -c '. $1; if type start > /dev/null 2>&1; then start; fi' openrc-run $script; done\n"
            )),
            "upstart" => fixture.start.push_str(&format!(
                "for job in {path}/*.conf; do $(sed -n 's/^exec //p' \"$job\"); done\n"
            )),
            "inittab" => fixture.start.push_str(&format!(
                "for program in $(sed -n -e 's/^::sysinit://p' -e 's/^::once://p' {path}); do $program; done\n"
            )),
            other => panic!("{other}"),
        }
    }
    fixture
}

/// Put the hook of this init system into the guest.
fn install(guest: &Guest, init: init::Init) {
    let read = |path: &str| fs::read(guest.path(path.trim_start_matches('/'))).ok();
    let (inittab, depend_start) = (read(hook::INITTAB), read(hook::DEPEND_START));
    let stock = Stock {
        inittab: inittab.as_deref(),
        depend_start: depend_start.as_deref(),
        has_etc_init: guest.path("etc/init").exists(),
    };
    for piece in pieces(init, stock).expect("a hook") {
        match piece {
            Piece::File { path, bytes, mode } => {
                let path = guest.path(path.trim_start_matches('/'));
                fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
                fs::write(&path, bytes).expect("a file");
                if let Some(mode) = mode {
                    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
                }
            }
            Piece::Link { path, target } => {
                let path = guest.path(path.trim_start_matches('/'));
                fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
                let _ = fs::remove_file(&path);
                symlink(target, path).expect("a link");
            }
        }
    }
}

#[test]
fn the_runner_is_started_once_behind_all_others_in_each_layout() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/init");
    let mut names: Vec<_> = fs::read_dir(&directory)
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 9, "{names:?}");
    each_shell(|shell| {
        for name in &names {
            let text = fs::read_to_string(directory.join(name)).expect("text");
            let guest = Guest::new(shell);
            // The host's programs are no part of these trees.
            let fixture = tree(&guest, &text);
            let is_there =
                |path: &str| fs::metadata(guest.path(path.trim_start_matches('/'))).is_ok();
            let link = |path: &Path| {
                fs::read_link(guest.path(path.strip_prefix("/").ok()?.to_str()?)).ok()
            };
            let exists = |path: &Path| {
                path.strip_prefix("/").is_ok_and(|path| {
                    fs::symlink_metadata(guest.path(path.to_str().expect("UTF-8"))).is_ok()
                })
            };
            let program = init::program(&exists, &link);
            let inits = init::recognise(program.as_deref().and_then(Path::to_str), &is_there);
            let init = *inits.first().unwrap_or_else(|| panic!("{name}: no init"));
            assert_eq!(init.name(), fixture.init, "{name}");
            install(&guest, init);
            install(&guest, init);
            guest.script("10-job", "#!/bin/sh\necho runner >> /started\n");
            let start = fixture.start.replace("$SHELL_OF_GUEST", shell);
            // `sv` of runit ends the service; there is no supervisor here.
            guest.tool("sv", "#!/bin/sh\n");
            let console = guest.boot_with(&start);
            let started: Vec<String> = guest
                .read("started")
                .lines()
                .map(|line| line.split(' ').next().unwrap_or_default().into())
                .collect();
            assert_eq!(
                started.iter().filter(|one| *one == "runner").count(),
                1,
                "{shell} {name}: {console}"
            );
            let before: Vec<_> =
                started.iter().take_while(|one| *one != "runner").cloned().collect();
            for service in &fixture.order {
                assert!(before.contains(service), "{shell} {name}: {service} not in {started:?}");
            }
            assert_eq!(guest.poweroffs(), ["poweroff"], "{shell} {name}: {console}");
            assert_eq!(guest.job("10-job")["exit"], 0);
            // The next start finds the job done.
            guest.boot_with(&start);
            assert_eq!(guest.read("started").matches("runner").count(), 1, "{shell} {name}");
        }
    });
}
