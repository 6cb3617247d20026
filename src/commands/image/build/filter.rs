//! What stands between a source and the image: owners are changed, times that are only the host's are left out, and a
//! signal is heard.

use imgfmt::archive::{Content, Entry, Sink, Time, Warn};
use imgfmt::{Error, Result};

use super::input::Input;
use crate::build::Owners;
use crate::interrupt;
use crate::progress::Bar;

/// A filter before a sink.
pub(in crate::commands::image) struct Filter<'a> {
    to: &'a mut dyn Sink,
    owners: &'a Owners,
    /// Of every change of an inode that the source does not tell.
    time: Option<i64>,
    is_host: bool,
    entries: u64,
    /// Hears of content where the source itself does not tell how far it has come.
    bar: Option<&'a Bar>,
    bytes: u64,
}

impl<'a> Filter<'a> {
    pub(in crate::commands::image) fn new(
        to: &'a mut dyn Sink,
        input: &Input,
        owners: &'a Owners,
        time: Option<i64>,
        bar: &'a Bar,
    ) -> Self {
        let (is_host, bar) = (input.is_host(), input.is_walked().then_some(bar));
        Self { to, owners, time, is_host, entries: 0, bar, bytes: 0 }
    }

    /// How many entries there were.
    pub(in crate::commands::image) fn entries(&self) -> u64 {
        self.entries
    }
}

impl Sink for Filter<'_> {
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> Result<()> {
        if interrupt::asked() {
            return Err(Error::Stopped);
        }
        self.entries += 1;
        let mut entry = entry.clone();
        let meta = &mut entry.meta;
        (meta.uid, meta.gid) = self.owners.map(meta.uid, meta.gid);
        if self.is_host {
            // Reading changes the one, copying the other: the same files would not make the same image.
            (meta.atime, meta.ctime) = (None, None);
        }
        if meta.ctime.is_none() {
            meta.ctime = Some(self.time.map_or(meta.mtime, |secs| Time { secs, nanos: 0 }));
        }
        self.to.entry(&entry, content, warn)?;
        self.bytes = self.bytes.saturating_add(entry.content_len());
        if let Some(bar) = self.bar {
            bar.set(self.bytes, 0);
        }
        Ok(())
    }
}
