//! Entries of other owners than the source says.

use super::entry::{Content, Entry, Sink, Warn};
use crate::error::Result;

/// A filter before a sink: all is owned by one user, one group, or both.
pub struct Owned<'a> {
    to: &'a mut dyn Sink,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl<'a> Owned<'a> {
    /// All that goes to `to` is owned by `uid` and `gid`; `None` leaves what the source says.
    pub fn new(to: &'a mut dyn Sink, uid: Option<u32>, gid: Option<u32>) -> Self {
        Self { to, uid, gid }
    }
}

impl Sink for Owned<'_> {
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> Result<()> {
        let mut entry = entry.clone();
        entry.meta.uid = self.uid.unwrap_or(entry.meta.uid);
        entry.meta.gid = self.gid.unwrap_or(entry.meta.gid);
        self.to.entry(&entry, content, warn)
    }
}
