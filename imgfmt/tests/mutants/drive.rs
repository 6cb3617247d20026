//! What is done with an image, and what has to hold whatever it holds.

use imgfmt::ext::{Fs, Transaction};
use imgfmt::in_place::Guard;
use imgfmt::{Changes, Volume};

use super::image::{Fixture, Image, dirty_fixtures, fixtures};
use super::input::Input;
use super::mutate::mutated;
use super::operate::Operation;
use super::walk::{bounded, check, read_all};

const NOW: i64 = 1_767_225_600;
/// Operations of an edit, at most.
const OPERATIONS_MAX: usize = 16;

/// What an input says first.
#[derive(Clone, Copy)]
pub(crate) struct Options(u8);

impl Options {
    /// The checksums over what was changed are made right again.
    pub(crate) fn seals(self) -> bool {
        self.0 & 1 != 0
    }

    /// So are those of the log.
    pub(crate) fn seals_log(self) -> bool {
        self.0 & 2 != 0
    }

    /// A read is followed by a check.
    fn checks(self) -> bool {
        self.0 & 4 != 0
    }

    /// An edit is done in place as well.
    fn is_in_place(self) -> bool {
        self.0 & 0x18 == 0x18
    }
}

/// Open an image and read all there is.
pub(crate) fn open_and_walk(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let fixture = pick(fixtures(), &mut input);
    let options = Options(input.byte());
    let image = mutated(fixture, options, &mut input);
    read_all(&image);
    if options.checks() {
        check(&image);
    }
}

/// Replay a log, in memory to read and with an empty edit to write.
pub(crate) fn replay(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let fixture = pick(dirty_fixtures(), &mut input);
    let options = Options(input.byte());
    let image = mutated(fixture, options, &mut input);
    read_all(&image);
    if let Some(after) = edited(&image, &[], options) {
        let fs = Fs::open(Volume::whole(&after)).expect("it could be edited");
        assert!(!fs.needs_recovery(), "the log was emptied");
    }
}

/// Edit an image, then read what came of it.
pub(crate) fn edit_then_check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let fixture = pick(fixtures(), &mut input);
    let options = Options(input.byte());
    let image = mutated(fixture, options, &mut input);
    let mut operations = Vec::new();
    while !input.is_empty() && operations.len() < OPERATIONS_MAX {
        operations.push(Operation::new(&fixture.paths, &mut input));
    }
    edited(&image, &operations, options);
}

fn pick(fixtures: &'static [Fixture], input: &mut Input<'_>) -> &'static Fixture {
    &fixtures[usize::from(input.byte()) % fixtures.len()]
}

/// The image after an edit, if it is not refused as a whole. What was consistent still is.
fn edited<'a>(image: &Image<'a>, operations: &[Operation], options: Options) -> Option<Image<'a>> {
    let (changes, accepted) = edit(image, operations)?;
    let mut after = image.clone();
    after.apply(&changes);
    read_all(&after);
    let found = check(&after).map_or("it does not open".to_owned(), |report| {
        if report.is_clean() { String::new() } else { report.to_string() }
    });
    assert!(found.is_empty() || !is_sound(image), "{accepted:?} left this: {found}");
    if options.is_in_place() {
        edit_in_place(image, &after, &accepted);
    }
    Some(after)
}

/// Whether a check has nothing to say, so that what an edit leaves is its own doing.
fn is_sound(image: &Image<'_>) -> bool {
    check(image).is_some_and(|report| report.is_clean())
}

/// What an edit writes, and the operations that were not refused.
///
/// One that is refused must leave no trace: the edit without it writes the same.
fn edit<'o>(
    image: &Image<'_>,
    operations: &'o [Operation],
) -> Option<(Changes, Vec<&'o Operation>)> {
    let fs = bounded(image, || Fs::open(Volume::whole(image))).ok()?;
    let mut tx = bounded(image, || fs.begin(NOW)).ok()?;
    let mut accepted = Vec::new();
    for operation in operations {
        if bounded(image, || operation.apply(&mut tx)).is_ok() {
            accepted.push(operation);
        }
    }
    let changes = bounded(image, || tx.finish());
    if accepted.len() < operations.len() {
        let again = begun_again(&fs, &accepted).finish();
        assert!(
            again.as_ref().ok() == changes.as_ref().ok(),
            "a refused operation left something behind"
        );
    }
    Some((changes.ok()?, accepted))
}

/// The same edit, before its end.
fn begun_again<'a>(fs: &'a Fs<'a>, accepted: &[&Operation]) -> Transaction<'a> {
    let mut tx = fs.begin(NOW).expect("it began before");
    for operation in accepted {
        let outcome = operation.apply(&mut tx);
        assert!(outcome.is_ok(), "{operation:?} was accepted before: {outcome:?}");
    }
    tx
}

/// Do an edit in its steps. It ends as `after` does, and whoever comes between two of them reads either that or what was
/// there before.
fn edit_in_place(image: &Image<'_>, after: &Image<'_>, accepted: &[&Operation]) {
    let fs = Fs::open(Volume::whole(image)).expect("it opened before");
    let tx = begun_again(&fs, accepted);
    let Ok(edit) = bounded(image, || tx.finish_in_place()) else { return };
    // Where a block belongs to a file and to the log, nothing can hold.
    let is_sound = is_sound(image);
    let (was, is) = (read_all(image), read_all(after));
    let mut now = image.clone();
    for (nth, step) in edit.steps().enumerate() {
        now.apply(step);
        let found = read_all(&now);
        // Too much of it was not read to the end.
        let is_whole =
            found.is_none() || found == was || found == is || edit.guard() == Guard::Undo;
        assert!(is_whole || !is_sound, "neither before nor after: step {nth} of {accepted:?}");
    }
    if is_sound {
        let ends = read_all(&now);
        assert!(
            ends == is || ends.is_none() || is.is_none(),
            "in place it ends otherwise: {accepted:?}"
        );
        let fs = Fs::open(Volume::whole(&now)).expect("it opened before");
        assert!(!fs.needs_recovery(), "the log was emptied");
        assert!(self::is_sound(&now), "in place it leaves this: {:?}", check(&now));
    }
}
