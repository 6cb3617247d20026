//! Arguments of a verb that are described to clap only once that verb is typed: to describe those of all verbs takes longer
//! than a small edit of an image. Examples belong to the arguments for the same reason, and not to the verb that is listed.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::Resettable;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

/// Whether all is described at once: for what tells of all verbs.
static AT_ONCE: AtomicBool = AtomicBool::new(false);

/// From here on describe all at once.
pub(super) fn describe_at_once() {
    AT_ONCE.store(true, Ordering::Relaxed);
}

/// Arguments of one verb.
#[derive(Clone, Debug)]
pub struct Lazy<T>(Box<T>);

impl<T> Deref for Lazy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: FromArgMatches> FromArgMatches for Lazy<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(|args| Self(Box::new(args)))
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches_mut(matches).map(|args| Self(Box::new(args)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for Lazy<T> {
    fn augment_args(command: Command) -> Command {
        match AT_ONCE.load(Ordering::Relaxed) {
            true => described::<T>(command),
            false => command.defer(described::<T>),
        }
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

/// `command` with the arguments of `T`. What the verb is for was said where the verb is listed, and stays.
fn described<T: Args>(command: Command) -> Command {
    let about = Resettable::from(command.get_about().cloned());
    let long_about = Resettable::from(command.get_long_about().cloned());
    T::augment_args(command).about(about).long_about(long_about)
}
