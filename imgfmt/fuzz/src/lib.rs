//! What the fuzz targets do, which the mutation test does too: see `tests/mutants`.

#[path = "../../tests/mutants/mod.rs"]
mod mutants;

/// Open an image and read all there is.
pub fn open_and_walk(bytes: &[u8]) {
    mutants::drive::open_and_walk(bytes);
}

/// Replay a log.
pub fn replay(bytes: &[u8]) {
    mutants::drive::replay(bytes);
}

/// Edit an image, then read what came of it.
pub fn edit_then_check(bytes: &[u8]) {
    mutants::drive::edit_then_check(bytes);
}
