//! A stock image is hashed while its copy is made: other cores do it, and while the disk is waited for there is time.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use imgfmt::Storage;

use super::provenance::sound;
use crate::facts::stock::Stock;
use crate::failure::Result;
use crate::interrupt;
use crate::progress::Progress;

/// How far the work is beside which an image is hashed.
const UNDER_WAY: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;

/// Do `work`, and hash the file of `stock` meanwhile: `stock.known` has its tree then.
///
/// # Errors
/// Those of `work`; where the image cannot be read, or was changed meanwhile.
pub fn hashed<T>(stock: &Stock, progress: Progress, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let image = stock.file();
    let state = AtomicU8::new(UNDER_WAY);
    let bar = OnceLock::new();
    let step = |done| {
        match state.load(Ordering::Relaxed) {
            FAILED => return Err(io::ErrorKind::Interrupted.into()),
            // One bar at a time: the work has its own.
            DONE => bar.get_or_init(|| progress.bar("digest")).set(done, image.len()),
            _ => {}
        }
        interrupt::check_io()
    };
    let hash = || stock.known.tree(image, &step);
    let (outcome, tree) = thread::scope(|scope| {
        let hashing = thread::Builder::new().name("digest".into()).spawn_scoped(scope, hash);
        let outcome = work();
        let now = if outcome.is_ok() { DONE } else { FAILED };
        state.store(now, Ordering::Relaxed);
        let tree = match hashing {
            Ok(hashing) => hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // Where the host gives no more threads, one does it all.
            Err(_) => hash(),
        };
        (outcome, tree)
    });
    let outcome = outcome?;
    sound(image, tree)?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::time::UNIX_EPOCH;

    use imgfmt::Image;

    use super::hashed;
    use crate::digest::tree;
    use crate::facts::stock::Stock;
    use crate::failure::Failure;
    use crate::progress::Progress;

    #[test]
    fn an_image_is_hashed_beside_the_work_and_must_not_change_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.img");
        std::fs::write(&path, [7; 4096]).unwrap();
        let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
        let stock = || Stock::of_raw(Image::open(&path).unwrap());
        let quiet = Progress::new(true);
        let first = stock();
        assert_eq!(hashed(&first, quiet, || Ok(5)).unwrap(), 5);
        let never = |_| panic!("it is known");
        let known = first.known.tree(first.file(), &never).unwrap();
        assert_eq!(known.digest(), tree::of(&file, 4096, &|_| Ok(())).unwrap());
        let error = hashed(&stock(), quiet, || Err::<(), _>(Failure::new("no room"))).unwrap_err();
        assert_eq!(error.to_string(), "no room");
        let changes = || {
            file.write_all_at(b"x", 0).unwrap();
            Ok(())
        };
        let error = hashed(&stock(), quiet, changes).unwrap_err().to_string();
        assert!(error.contains("it was changed while it was read"), "{error}");
    }
}
