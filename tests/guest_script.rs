//! Generated job scripts, run by the shells that guests have: dash, bash, and the ash of BusyBox.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use autoxen::guest::script::{Script, WRAPPED, scripts};
use autoxen::xmf::model::{Job, OnFailure, Spanned};

const SHELLS: [(&str, &[&str], &str); 4] = [
    ("dash", &[], "dash"),
    ("bash", &[], "bash"),
    ("bash", &["--posix"], "bash"),
    ("busybox", &["ash"], "busybox"),
];

const NASTY: [&str; 24] = [
    "",
    " ",
    "it's",
    "'",
    "''",
    "'\\''",
    "\"",
    "\\",
    "\\\\'",
    "$HOME",
    "${x:-y}",
    "$(id)",
    "`id`",
    "a\nb",
    "\n",
    "tail\n\n",
    "\ttab",
    "!event!",
    "# no comment",
    "*?[a-z]~",
    "é日本😀",
    "-n",
    "%s\\n",
    "\u{1}\u{7f}",
];

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the test")
}

fn spanned(text: &str) -> Spanned<String> {
    Spanned { value: text.to_owned(), span: 0..0 }
}

fn job(command: &str, environment: &[(&str, &str)], workdir: Option<&str>) -> Job {
    Job {
        span: 0..0,
        command: spanned(command),
        name: None,
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        workdir: workdir.map(spanned),
        user: None,
        timeout: None,
        on_failure: OnFailure::Continue,
        again: false,
        inputs: Vec::new(),
        outputs: Vec::new(),
    }
}

/// Run the script's text by this shell, after it has passed `-n`.
fn run(shell: (&str, &[&str], &str), directory: &Path, text: &str) -> Output {
    let (program, arguments, package) = shell;
    let file = directory.join("script");
    std::fs::write(&file, text).expect("the script is written");
    let start = |more: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).args(more).arg(&file).env_clear().env("PATH", "/usr/bin:/bin");
        command.output().unwrap_or_else(|_| panic!("{program} runs: install the package {package}"))
    };
    let checked = start(&["-n"]);
    assert!(
        checked.status.success(),
        "{program} -n: {}\n{text}",
        String::from_utf8_lossy(&checked.stderr)
    );
    start(&[])
}

#[test]
fn every_shell_gives_the_job_its_variables_and_its_directory_unchanged() {
    let scratch = scratch();
    let directory = scratch.path();
    for (index, value) in NASTY.iter().enumerate() {
        // A directory's name is a nasty value, too.
        let workdir = directory.join(format!("d{index}{}", value.replace('/', "_")));
        std::fs::create_dir_all(&workdir).expect("the directory is made");
        let workdir = workdir.to_str().expect("UTF-8");
        // A program that the job starts prints them.
        let command =
            "sh -c 'printf \"%s|\" \"$FIRST\" \"$_2nd\"; printf \"%s|\" \"$(/bin/pwd; echo x)\"'";
        let job =
            job(command, &[("FIRST", value), ("_2nd", &format!("{value}{value}"))], Some(workdir));
        let script = scripts(0, &job).expect("a script").remove(0);
        for shell in SHELLS {
            let output = run(shell, directory, &script.text);
            let expected = format!("{value}|{value}{value}|{workdir}\nx|");
            let shown = (shell, &script.text, String::from_utf8_lossy(&output.stderr).into_owned());
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{shown:?}");
            assert!(output.status.success() && output.stderr.is_empty(), "{shown:?}");
        }
    }
}

#[test]
fn a_directory_that_is_not_there_stops_the_job_before_its_command() {
    let scratch = scratch();
    let directory = scratch.path();
    let missing = directory.join("no such");
    let job = job("echo ran", &[], Some(missing.to_str().expect("UTF-8")));
    let script = scripts(0, &job).expect("a script").remove(0);
    for shell in SHELLS {
        let output = run(shell, directory, &script.text);
        assert_eq!(
            (output.status.code(), output.stdout.as_slice()),
            (Some(1), &b""[..]),
            "{shell:?}"
        );
        assert!(String::from_utf8_lossy(&output.stderr).contains("no such"), "{shell:?}");
    }
}

#[test]
fn the_exit_status_of_the_script_is_that_of_the_command() {
    let scratch = scratch();
    let directory = scratch.path();
    let script =
        scripts(0, &job("\n  (exit 7)\n  ", &[("A", "b")], Some("/"))).expect("a script").remove(0);
    for shell in SHELLS {
        assert_eq!(run(shell, directory, &script.text).status.code(), Some(7), "{shell:?}");
    }
}

#[test]
fn a_wrapped_script_runs_once_with_its_own_interpreter_and_its_arguments() {
    let scratch = scratch();
    let directory = scratch.path();
    let value = "it's \"$HOME\"\n";
    let job = job(
        "\n #!/bin/bash\nprintf '%s|' \"$BASH_VERSION\" \"$VALUE\" \"$PWD\" \"$@\"\nexit 3",
        &[("VALUE", value)],
        Some("/usr"),
    );
    let Ok([inner, outer]) = <[Script; 2]>::try_from(scripts(0, &job).expect("scripts")) else {
        panic!("a script and its wrapper")
    };
    // The guest's root is this directory.
    let place = |path: &str| directory.join(path.trim_start_matches('/'));
    for (path, text) in [
        (inner.path.as_str(), inner.text.clone()),
        (outer.path.as_str(), outer.text.replace(WRAPPED, place(WRAPPED).to_str().expect("UTF-8"))),
    ] {
        let path = place(path);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .expect("executable");
    }
    for (shell, arguments, _) in SHELLS {
        let output = Command::new(shell)
            .args(arguments)
            .arg(place(&outer.path))
            .arg("a b")
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rest = text.split_once('|').expect("a version first");
        assert!(!rest.0.is_empty(), "bash ran it");
        assert_eq!(
            (rest.1, output.status.code()),
            (format!("{value}|/usr|a b|").as_str(), Some(3))
        );
    }
    // run-parts(8) takes the wrapper, and nothing else.
    let output = Command::new("run-parts").arg("--test").arg(place("/etc/xenjobs.d")).output();
    let output = output.expect("run-parts runs: install the package debianutils");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{}\n", place(&outer.path).display())
    );
}
