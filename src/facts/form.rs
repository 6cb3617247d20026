//! In which form a file holds a disk. Its first bytes tell, never its name.

use std::path::Path;

use imgfmt::compressed::Compression;
use imgfmt::{Error, Image, Storage, qcow2};

/// The form of an image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Byte for byte, or what is not known.
    Raw,
    /// Raw, and then compressed.
    Compressed(Compression),
    /// In QEMU's format.
    Qcow2,
}

impl Form {
    /// The form of `image`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a compression that is known but not unpacked.
    pub fn of(image: &Image) -> imgfmt::Result<Self> {
        let mut first = [0; 8];
        let len = usize::try_from(image.len()).map_or(first.len(), |len| len.min(first.len()));
        let first = &mut first[..len];
        image.read_at(0, first).map_err(|e| Error::io("cannot read it", e))?;
        Ok(match Compression::detect(first)? {
            Some(compression) => Self::Compressed(compression),
            None if qcow2::is_qcow2(image)? => Self::Qcow2,
            None => Self::Raw,
        })
    }

    /// Its name, where it is not raw: `zstd`, `gzip`, `xz`, `qcow2`.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Raw => None,
            Self::Compressed(compression) => Some(compression.name()),
            Self::Qcow2 => Some("qcow2"),
        }
    }

    /// What keeps the image at `path` from being written to, and how to come to one that can be.
    pub fn obstacle(self, path: &Path) -> Option<(String, String)> {
        let image = format!("image `{}`", path.display());
        match self {
            Self::Raw => None,
            Self::Compressed(compression) => {
                let name = compression.name();
                Some((
                    format!("{image} is compressed ({name})"),
                    format!("unpack it with `{name} -d`"),
                ))
            }
            Self::Qcow2 => Some((
                format!("{image} is qcow2, not raw"),
                "make a raw image of it with `autoxen image convert`".into(),
            )),
        }
    }

    /// The program that says more of damage.
    pub fn judge(self) -> Option<String> {
        match self {
            Self::Raw => None,
            Self::Compressed(compression) => Some(format!("{} -t", compression.name())),
            Self::Qcow2 => Some("qemu-img check".into()),
        }
    }
}
