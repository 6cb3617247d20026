//! Fixtures that lie, made from bytes: what the fuzz targets and the mutation test share.
//!
//! An [`input::Input`] decides everything: which fixture, which of its bytes change and to what, whether the checksums
//! over them are made right again, and what is done with the image. So a crash of the fuzzer is a string of bytes, and
//! [`drive`] does the same with it anywhere. Images are never copied: [`image::Image`] keeps what differs from its
//! fixture, and counts what is read.
//!
//! ```text
//! fixture:1 options:1 edits:1  { what:1 target:2 at:2 value… }  operations…
//! ```
//! Nothing here judges an image. That nothing panics, hangs, takes much memory or changes what it refused is what
//! [`drive`] asserts; and that an edit leaves an image consistent in which a check found nothing before.

pub(crate) mod drive;
mod image;
mod input;
mod layout;
mod mutate;
mod operate;
mod seal;
mod walk;

#[cfg(test)]
pub(crate) use sound::seal_all_changes_nothing;

#[cfg(test)]
mod sound {
    use super::image::{Image, fixtures};
    use super::seal::{seal, seal_log};

    /// The checksums of a sound image are what `seal` makes: else no lie would get behind them.
    pub(crate) fn seal_all_changes_nothing() {
        for fixture in fixtures() {
            let mut image = Image::new(&fixture.pages);
            let targets = fixture.layout.targets.iter().flatten();
            // A copy in the log may be of another time than its inode.
            for &target in targets.filter(|&&target| !fixture.layout.is_copy(target)) {
                seal(&mut image, &fixture.layout, target);
                assert!(image.is_unchanged(), "{}: {target:?}", fixture.name);
            }
            seal_log(&mut image, &fixture.layout);
            assert!(image.is_unchanged(), "{}: the log", fixture.name);
            assert!(fixture.paths.len() > 10, "{}: {:?}", fixture.name, fixture.paths);
        }
    }
}
