//! An image's errors in the words of the tool: what is wrong, with the image's path once, and the way out.

use std::io;
use std::path::Path;

use crate::diagnostic::Diagnostic;
use crate::failure::{FILE_TOO_LARGE, plain};
use crate::xmf::model::Spanned;

/// An image that cannot serve, at its place in the document.
pub(super) fn finding(url: &Spanned<String>, path: &Path, error: &imgfmt::Error) -> Diagnostic {
    let what = about(path, error);
    let finding = Diagnostic::error(url.span.clone(), what);
    match hint(error) {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

/// `error` in words, with the image's path once.
pub fn about(path: &Path, error: &imgfmt::Error) -> String {
    let named = path.display();
    match error {
        imgfmt::Error::NotAnImage { what, .. } => format!("image `{named}` {what}"),
        imgfmt::Error::Busy(who) => {
            // The library names the path itself: it does not know that we do.
            let who = who.strip_prefix(&format!("`{named}`: ")).unwrap_or(who);
            format!("image `{named}` is in use: {who}")
        }
        imgfmt::Error::Io { what, source } if what.contains(&format!("`{named}`")) => {
            format!("image `{named}`: {}", plain(source))
        }
        imgfmt::Error::Io { what, source } => format!("image `{named}`: {what}: {}", plain(source)),
        imgfmt::Error::Interrupted(_) => {
            format!("image `{named}`: an edit of it was interrupted and has to be undone first")
        }
        other => format!("image `{named}`: {other}"),
    }
}

/// The way out of an image's error, where one is known.
pub fn hint(error: &imgfmt::Error) -> Option<&'static str> {
    use imgfmt::Error as E;
    Some(match error {
        E::NeedsRecovery(_) => {
            "shut the guest down cleanly, or replay the journal of a copy with `e2fsck -p`"
        }
        E::NotClean(_) => "repair a copy of the image with `e2fsck -f`",
        E::Corrupt(_) => "`e2fsck -fn` and `sfdisk --verify` say more; use a copy that is whole",
        E::Busy(_) => "wait until it is free, or copy it while nobody writes to it",
        E::NoSpace(_) => "enlarge the image with `autoxen image grow`, or remove files in it",
        E::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => FILE_TOO_LARGE,
        E::Io { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
            "`qemu-img check` says more; use a copy that is whole"
        }
        E::BackingElsewhere { .. } => {
            "move it beside the image, or allow its directory: `autoxen image convert --backing-dir DIR`"
        }
        E::Interrupted(_) => {
            "`autoxen image recover` undoes what is half done; `autoxen prepare --in-place` does, too, and goes on"
        }
        E::ForeignUndo { .. } => "move that file away, if you know what it is",
        E::HostFull(_) => "make room there, or choose another place with `-o`",
        _ => return None,
    })
}
