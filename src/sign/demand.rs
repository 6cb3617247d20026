//! What is asked of images before they are used: by the job description, by the site.
//!
//! Nothing here reads a policy: whoever does makes [`Demands`] of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::Signers;

/// Whose signatures count, and where the site asks for one.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// Whose signatures count; without a file of them, a signature that is asked for is refused.
    pub signers: Option<Signers>,
    /// Whose signatures count for the site. A file that a user names does not widen it.
    pub site_signers: Option<Signers>,
    /// What the site asks for. All rules that fit an image hold.
    pub site: Vec<SiteDemand>,
    /// The time by which is judged what is valid, in seconds since 1970.
    pub now: i64,
}

/// The site asks for signatures of the images in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteDemand {
    /// Where the images lie, at any depth.
    pub directory: PathBuf,
    /// Who must have signed them: lists of patterns.
    pub signers: Vec<String>,
}

impl Demands {
    /// What the site asks of the image at `path`, which is absolute and without symbolic links.
    pub fn of_site(&self, path: &Path) -> impl Iterator<Item = &SiteDemand> {
        self.site.iter().filter(move |demand| {
            // The site may name a directory by way of a link.
            let real = fs::canonicalize(&demand.directory);
            path.starts_with(&demand.directory) || real.is_ok_and(|real| path.starts_with(real))
        })
    }
}
