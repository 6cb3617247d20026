//! All that is known before the edits are decided.

use super::disks::Layout;
use super::volume::Held;
use crate::facts::Facts;
use crate::xmf::model::Document;

/// The document, the world, and what was decided so far.
pub(super) struct Known<'a> {
    pub(super) document: &'a Document,
    pub(super) facts: &'a Facts,
    /// What each `imagefile` holds, in their order.
    pub(super) held: &'a [Held],
    pub(super) layout: &'a Layout,
    /// Index of the image that is mounted at `/`.
    pub(super) root: usize,
}
