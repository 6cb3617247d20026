//! Job scripts: what the guest runs from `/etc/xenjobs.d`, in the order of their names.
//!
//! `10-NAME`, `11-NAME`, … in the order of the document; NAME is the job's `name`, or `job`. Ninety jobs fit. The names
//! are of letters that every run-parts takes, `^[0-9]{2}-[a-z0-9_-]+$`. Scripts that the image has already stay and run
//! as well, unless one has exactly our name; then ours takes its place, and the plan says so.
//!
//! A command whose first characters past white space are `#!` is a whole script and is written as it is (without that
//! white space: the kernel wants `#!` in front). Any other becomes a script of `/bin/sh`:
//!
//! ```text
//! <job name="fit">                         #!/bin/sh
//!   <environment name="WHO">it's me</…>    cd '/data' || exit 1
//!   <workdir>/data</workdir>           →   export WHO='it'\''s me'
//!   <command>./fit &amp;&amp; echo done</command>   ./fit && echo done
//! </job>
//! ```
//!
//! A whole script that wants an environment or a directory cannot have lines put before its first. It goes to
//! `/etc/autoxen/jobs/NN-NAME`, and the file in `/etc/xenjobs.d` sets these up and then becomes it by `exec`. It does
//! not lie beside: some runners take every executable of the directory. It does not lie below `/usr`, which may be
//! another disk.
//!
//! What the command does is not looked at: it is a program, not data. All else that stands in a script is data, and
//! single quotes keep it so.

use crate::xmf::model::Job;

/// Where the guest looks for jobs.
pub const DIRECTORY: &str = "/etc/xenjobs.d";

/// Where whole scripts lie that need a wrapper.
pub const WRAPPED: &str = "/etc/autoxen/jobs";

/// The number of the first job, so that an image may have its own before ours.
const FIRST_NR: usize = 10;

/// Variables that some shell keeps for itself: it would stop at the assignment, or pass on another value.
const OWNED_BY_SHELL: [&str; 19] = [
    "BASHOPTS",
    "BASHPID",
    "BASH_COMMAND",
    "BASH_VERSINFO",
    "DIRSTACK",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "LINENO",
    "OPTIND",
    "PIPESTATUS",
    "PPID",
    "PWD",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "UID",
    "_",
];

/// An executable file of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Absolute path in the guest.
    pub path: String,
    /// All of the file.
    pub text: String,
}

/// Why a job has no script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More jobs than two digits can number.
    #[error("a guest runs at most 90 jobs")]
    TooManyJobs,
    /// The name has other characters than a runner takes.
    #[error(
        "the job's name has other characters than `a-z`, `0-9`, `_` and `-`, or more than 60: `{0}`"
    )]
    Name(String),
    /// There is nothing to run.
    #[error("the command is empty")]
    Empty,
    /// The name is not that of a variable.
    #[error("not the name of an environment variable: `{0}`")]
    Variable(String),
    /// The shell of the guest sets this one.
    #[error("the shell of the guest keeps this variable for itself: `{0}`")]
    OwnedByShell(String),
    /// A NUL cannot stand in a variable, a path or a script.
    #[error("a NUL character in {0}")]
    Nul(&'static str),
    /// The working directory is not an absolute path.
    #[error("the working directory is not an absolute path: `{0}`")]
    Workdir(String),
}

/// The scripts of a job, that which the runner starts last. `index` counts the jobs of the document from 0.
///
/// # Errors
/// Where no script can say what the job says.
pub fn scripts(index: usize, job: &Job) -> Result<Vec<Script>, Error> {
    let file = file_name(index, job)?;
    let body = body(&job.command.value)?;
    let setup = setup(job)?;
    let path = format!("{DIRECTORY}/{file}");
    if !body.starts_with("#!") {
        return Ok(vec![Script { path, text: format!("#!/bin/sh\n{setup}{body}") }]);
    }
    if setup.is_empty() {
        return Ok(vec![Script { path, text: body }]);
    }
    let inner = format!("{WRAPPED}/{file}");
    // The file name needs no quotes.
    let text = format!("#!/bin/sh\n{setup}exec {inner} \"$@\"\n");
    Ok(vec![Script { path: inner, text: body }, Script { path, text }])
}

/// The file name of a job's script: `10-fit`. `index` counts the jobs of the document from 0.
///
/// # Errors
/// Where there is none.
pub fn file_name(index: usize, job: &Job) -> Result<String, Error> {
    let nr = index.checked_add(FIRST_NR).filter(|nr| *nr < 100).ok_or(Error::TooManyJobs)?;
    let name = job.name.as_ref().map_or("job", |name| name.value.as_str());
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if name.is_empty() || name.len() > 60 || !name.bytes().all(fits) {
        return Err(Error::Name(name.to_owned()));
    }
    Ok(format!("{nr}-{name}"))
}

/// The command as lines: no white space before it, LF at the end of each line, also of the last.
fn body(command: &str) -> Result<String, Error> {
    if command.contains('\0') {
        return Err(Error::Nul("the command"));
    }
    let text = command.replace("\r\n", "\n");
    let mut text = text.trim_start();
    // A blank last line is the indentation of the end tag. Blanks behind a command may belong to it: `echo \ `.
    while let Some((before, last)) = text.rsplit_once('\n') {
        if !last.trim().is_empty() {
            break;
        }
        text = before;
    }
    if text.is_empty() { Err(Error::Empty) } else { Ok(format!("{text}\n")) }
}

/// The lines that go before the command. The directory comes first, so that no variable has a say in it.
fn setup(job: &Job) -> Result<String, Error> {
    let mut lines = String::new();
    if let Some(directory) = &job.workdir {
        if !directory.starts_with('/') {
            return Err(Error::Workdir(directory.value.clone()));
        }
        let quoted = quote(directory).ok_or(Error::Nul("the working directory"))?;
        lines.push_str(&format!("cd {quoted} || exit 1\n"));
    }
    for (name, value) in &job.environment {
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !first || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Error::Variable(name.clone()));
        }
        if OWNED_BY_SHELL.contains(&name.as_str()) {
            return Err(Error::OwnedByShell(name.clone()));
        }
        let quoted = quote(value).ok_or(Error::Nul("an environment variable"))?;
        lines.push_str(&format!("export {name}={quoted}\n"));
    }
    Ok(lines)
}

/// The text as one word of sh(1); `None` where it holds a NUL.
///
/// Between single quotes nothing is special but the single quote: `it's` is `'it'\''s'`.
pub fn quote(text: &str) -> Option<String> {
    (!text.contains('\0')).then(|| format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xmf::model::{OnFailure, Spanned};

    fn spanned(text: &str) -> Spanned<String> {
        Spanned { value: text.to_owned(), span: 0..0 }
    }

    fn job(command: &str) -> Job {
        Job {
            span: 0..0,
            command: spanned(command),
            name: None,
            environment: Vec::new(),
            workdir: None,
            user: None,
            timeout: None,
            on_failure: OnFailure::Continue,
            again: false,
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    fn only(job: &Job) -> Script {
        let mut scripts = scripts(0, job).expect("a script");
        assert_eq!(scripts.len(), 1);
        scripts.remove(0)
    }

    #[test]
    fn a_command_becomes_a_script_of_sh() {
        let script = only(&job("echo hello"));
        assert_eq!(script.path, "/etc/xenjobs.d/10-job");
        assert_eq!(script.text, "#!/bin/sh\necho hello\n");
    }

    #[test]
    fn a_command_that_begins_with_hash_bang_is_the_script_without_the_indentation_of_its_element() {
        let script = only(&job("\n    #!/usr/bin/python3\nif 1:\n    print(1)\n  "));
        assert_eq!(script.text, "#!/usr/bin/python3\nif 1:\n    print(1)\n");
    }

    #[test]
    fn lines_end_in_lf_and_a_blank_behind_a_backslash_stays() {
        assert_eq!(only(&job("#!/bin/sh\r\necho a\r\n")).text, "#!/bin/sh\necho a\n");
        assert_eq!(only(&job("  echo a\\ ")).text, "#!/bin/sh\necho a\\ \n");
        assert_eq!(only(&job("cat <<E\n  x\nE\n \t\n  ")).text, "#!/bin/sh\ncat <<E\n  x\nE\n");
    }

    #[test]
    fn jobs_are_numbered_from_ten_to_ninety_nine() {
        let named = Job { name: Some(spanned("fit_2-a")), ..job("x") };
        assert_eq!(scripts(89, &named).expect("the last")[0].path, "/etc/xenjobs.d/99-fit_2-a");
        assert_eq!(scripts(90, &named), Err(Error::TooManyJobs));
        assert_eq!(scripts(usize::MAX, &named), Err(Error::TooManyJobs));
    }

    #[test]
    fn directory_and_environment_go_before_the_command() {
        let job = Job {
            environment: vec![("WHO".into(), "it's me".into()), ("_a1".into(), String::new())],
            workdir: Some(spanned("/data/my job")),
            ..job("./fit && echo done")
        };
        assert_eq!(
            only(&job).text,
            "#!/bin/sh\ncd '/data/my job' || exit 1\nexport WHO='it'\\''s me'\nexport _a1=''\n./fit && echo done\n"
        );
    }

    #[test]
    fn a_whole_script_with_an_environment_lies_elsewhere_and_is_started_by_a_wrapper() {
        let job = Job {
            environment: vec![("N".into(), "7".into())],
            name: Some(spanned("fit")),
            ..job("#!/usr/bin/perl\nprint $ENV{N};")
        };
        let scripts = scripts(1, &job).expect("two scripts");
        assert_eq!(scripts[0].path, "/etc/autoxen/jobs/11-fit");
        assert_eq!(scripts[0].text, "#!/usr/bin/perl\nprint $ENV{N};\n");
        assert_eq!(scripts[1].path, "/etc/xenjobs.d/11-fit");
        assert_eq!(
            scripts[1].text,
            "#!/bin/sh\nexport N='7'\nexec /etc/autoxen/jobs/11-fit \"$@\"\n"
        );
    }

    #[test]
    fn what_no_script_can_say_is_refused_by_name() {
        let with_name = |name: &str| Job { name: Some(spanned(name)), ..job("x") };
        for name in ["", "a.sh", "A", "é", "a b", "a/b", "..", &"a".repeat(61)] {
            assert_eq!(scripts(0, &with_name(name)), Err(Error::Name(name.into())));
        }
        let with_variable =
            |name: &str| Job { environment: vec![(name.into(), "v".into())], ..job("x") };
        for name in ["", "1A", "A B", "A=B", "A;rm", "é"] {
            assert_eq!(scripts(0, &with_variable(name)), Err(Error::Variable(name.into())));
        }
        assert_eq!(scripts(0, &with_variable("UID")), Err(Error::OwnedByShell("UID".into())));
        assert_eq!(scripts(0, &job(" \n ")), Err(Error::Empty));
        assert_eq!(scripts(0, &job("a\0b")), Err(Error::Nul("the command")));
        let relative = Job { workdir: Some(spanned("-P")), ..job("x") };
        assert_eq!(scripts(0, &relative), Err(Error::Workdir("-P".into())));
    }
}
