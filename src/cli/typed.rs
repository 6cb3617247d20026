//! The command line where it begins with the names of verbs, as nearly each does: those verbs alone are described to clap.
//! To describe all, even without their arguments, takes as long as to read a file out of an image.
//!
//! Whatever clap then has to say (an error, a help page), it says of the whole command line, that is read for it once more.
//! So verbs that are not described change no message, and what is read is what the whole would have read: verbs are not
//! abbreviated, and `tests` holds this table against all verbs.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use clap::{Args, Command, Error, FromArgMatches, Parser};

use super::{
    CatArgs, CheckArgs, ChmodArgs, ChownArgs, Cli, CollectArgs, CpArgs, CreateArgs, DestroyArgs,
    DiffArgs, DomainArgs, EditArgs, EditVerb, EveryArgs, ImageBuildArgs, ImageConvertArgs,
    ImageExportArgs, ImageGrowArgs, ImageImportArgs, ImageInfoArgs, ImageKernelArgs,
    ImageRecoverArgs, KeyArgs, ListArgs, LnArgs, LsArgs, MkdirArgs, MvArgs, PlanArgs, PolicyArgs,
    PrepareArgs, RmArgs, RunArgs, ScriptLine, SignArgs, VerifyArgs, WaitArgs,
};

/// Verbs before the arguments, at most: `image`, and one of its own.
const DEPTH_MAX: usize = 2;

/// The command line of this process; one that is wrong, or that asks for help, ends it.
pub fn parse() -> Cli {
    let words: Vec<OsString> = std::env::args_os().collect();
    read(&words).unwrap_or_else(Cli::parse)
}

/// What `words` say behind the name of the program, if the verbs that they begin with are all there is to know.
fn read(words: &[OsString]) -> Option<Cli> {
    let names: Vec<&str> =
        words.iter().skip(1).take(DEPTH_MAX).map_while(|word| word.to_str()).collect();
    let command = EveryArgs::augment_args(alone("autoxen", verb(&names)?));
    let mut matches = command.try_get_matches_from(words).ok()?;
    Cli::from_arg_matches_mut(&mut matches).ok()
}

/// The verb that `names` begin with.
fn verb(names: &[&str]) -> Option<Command> {
    let (name, behind) = names.split_first()?;
    Some(match *name {
        "check" => described::<CheckArgs>("check"),
        "collect" => described::<CollectArgs>("collect"),
        "create" => described::<CreateArgs>("create"),
        "destroy" => described::<DestroyArgs>("destroy"),
        "domain" => described::<DomainArgs>("domain"),
        "image" => alone("image", image_verb(behind.first()?)?),
        "key" => described::<KeyArgs>("key"),
        "list" => described::<ListArgs>("list"),
        "plan" => described::<PlanArgs>("plan"),
        "policy" => described::<PolicyArgs>("policy"),
        "prepare" => described::<PrepareArgs>("prepare"),
        "run" => described::<RunArgs>("run"),
        "sign" => described::<SignArgs>("sign"),
        "verify" => described::<VerifyArgs>("verify"),
        "wait" => described::<WaitArgs>("wait"),
        _ => return None,
    })
}

/// The verb `name` of `image`.
fn image_verb(name: &str) -> Option<Command> {
    Some(match name {
        "build" => described::<ImageBuildArgs>("build"),
        "cat" => described::<CatArgs>("cat"),
        "convert" => described::<ImageConvertArgs>("convert"),
        "diff" => described::<DiffArgs>("diff"),
        "edit" => described::<EditArgs>("edit"),
        "export" => described::<ImageExportArgs>("export"),
        "grow" => described::<ImageGrowArgs>("grow"),
        "import" => described::<ImageImportArgs>("import"),
        "info" => described::<ImageInfoArgs>("info"),
        "kernel" => described::<ImageKernelArgs>("kernel"),
        "ls" => described::<LsArgs>("ls").disable_help_flag(true),
        "recover" => described::<ImageRecoverArgs>("recover"),
        _ => return edit_verb(name),
    })
}

/// The verb `name` that edits, on the command line or in a script.
fn edit_verb(name: &str) -> Option<Command> {
    Some(match name {
        "chmod" => described::<ChmodArgs>("chmod"),
        "chown" => described::<ChownArgs>("chown").disable_help_flag(true),
        "cp" => described::<CpArgs>("cp"),
        "ln" => described::<LnArgs>("ln"),
        "mkdir" => described::<MkdirArgs>("mkdir"),
        "mv" => described::<MvArgs>("mv"),
        "rm" => described::<RmArgs>("rm"),
        _ => return None,
    })
}

fn described<T: Args>(name: &'static str) -> Command {
    T::augment_args(Command::new(name))
}

/// A command with one verb.
fn alone(name: &'static str, verb: Command) -> Command {
    Command::new(name).subcommand_required(true).disable_help_subcommand(true).subcommand(verb)
}

/// The commands of a script, of which those verbs are described that it has.
#[derive(Debug, Default)]
pub struct ScriptReader {
    described: HashMap<String, Command>,
}

impl ScriptReader {
    /// What the words of one line say.
    pub fn read(&mut self, words: Vec<OsString>) -> Result<EditVerb, Error> {
        if let Some(verb) = words.first().and_then(|word| self.known(word, &words)) {
            return Ok(verb);
        }
        ScriptLine::try_parse_from(words).map(|line| line.verb)
    }

    fn known(&mut self, name: &OsStr, words: &[OsString]) -> Option<EditVerb> {
        let name = name.to_str()?;
        if !self.described.contains_key(name) {
            let line = alone("", edit_verb(name)?).no_binary_name(true).disable_help_flag(true);
            self.described.insert(name.to_owned(), line);
        }
        let matches = self.described.get_mut(name)?.try_get_matches_from_mut(words);
        ScriptLine::from_arg_matches(&matches.ok()?).ok().map(|line| line.verb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What decides how the words behind a verb are read.
    fn reading(command: &Command) -> (bool, Vec<String>) {
        let mut arguments: Vec<String> =
            command.get_arguments().map(|argument| format!("{argument:?}")).collect();
        arguments.sort();
        arguments.extend(command.get_groups().map(|group| format!("{group:?}")));
        let below = command
            .get_subcommands()
            .map(|verb| format!("{} {:?}", verb.get_name(), reading(verb)));
        arguments.extend(below);
        (command.is_disable_help_flag_set(), arguments)
    }

    #[test]
    fn each_verb_is_described_as_in_the_whole() {
        let whole = crate::cli::described();
        for known in whole.get_subcommands() {
            let name = known.get_name();
            if name == "image" {
                for known in known.get_subcommands() {
                    let name = known.get_name();
                    let typed = image_verb(name).map(|typed| reading(&typed));
                    assert_eq!(typed, Some(reading(known)), "image {name}");
                }
            } else if let Some(typed) = verb(&[name]) {
                assert_eq!(reading(&typed), reading(known), "{name}");
            } else {
                // Whoever asks for these has asked for the whole.
                assert!(["completions", "man"].contains(&name), "{name} is not in the table");
            }
        }
        for known in <ScriptLine as clap::CommandFactory>::command().get_subcommands() {
            assert!(edit_verb(known.get_name()).is_some(), "{}", known.get_name());
        }
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn what_is_wrong_is_left_to_the_whole() {
        for line in [
            "autoxen",
            "autoxen image",
            "autoxen image cat",
            "autoxen image cat --help",
            "autoxen image cats a.img:/x",
            "autoxen help image",
            "autoxen --version",
            "autoxen image ls -l --no-such-flag a.img",
        ] {
            assert!(read(&words(line)).is_none(), "{line}");
        }
        for line in [
            "autoxen image ls -lh a.img",
            "autoxen image cat --color never a.img:/x b.img:/y",
            "autoxen check --strict job.xml",
            "autoxen prepare job.xml -o ready --progress json",
            "autoxen key show id",
        ] {
            let (typed, whole) = (read(&words(line)), Cli::try_parse_from(words(line)).unwrap());
            assert_eq!(format!("{:?}", typed.unwrap()), format!("{whole:?}"), "{line}");
        }
    }
}
