//! Writing that begins early: what a file holds goes to the disk while the rest of it is still being made.
//!
//! A new image is synced before it gets its name, and a kernel that was never told otherwise keeps all of it in memory
//! until then: the disk idles while we work, and we idle while the disk does. So a thread of its own syncs the file
//! whenever some megabytes more have been written. The sync at the end is as needed as ever, and finds little left to do.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// How much is written between two syncs, in bytes: enough for the disk to take in one go, little enough that the sync
/// at the end has not much more to wait for.
const STEP: u64 = 16 << 20;

/// A file that goes to the disk as it grows. No thread is there until it is worth one.
#[derive(Debug, Default)]
pub struct Writeback {
    unsynced: u64,
    syncing: Option<Syncing>,
}

/// The thread that syncs, and what tells it to.
#[derive(Debug)]
struct Syncing {
    steps: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Writeback {
    /// `file` has got that many bytes more.
    ///
    /// # Errors
    /// Where the process may have no file or thread more.
    pub fn wrote(&mut self, file: &File, bytes: u64) -> io::Result<()> {
        self.unsynced += bytes;
        if self.unsynced < STEP {
            return Ok(());
        }
        self.unsynced = 0;
        let syncing = match self.syncing.take() {
            Some(syncing) => syncing,
            None => Syncing::begin(file.try_clone()?)?,
        };
        // One step may wait. Where the disk is slower than we are, the sync that waits takes this one along.
        let _ = syncing.steps.try_send(());
        self.syncing = Some(syncing);
        Ok(())
    }

    /// Wait until nothing is under way.
    ///
    /// # Errors
    /// What the disk said to any sync. The kernel says it once (`errseq_t`): a sync after this one would hear nothing.
    pub fn finish(self) -> io::Result<()> {
        let Some(Syncing { steps, thread }) = self.syncing else { return Ok(()) };
        drop(steps);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs has failed")))
    }
}

impl Syncing {
    /// Sync once for each step told, until nobody can tell any more or the disk has failed.
    fn begin(file: File) -> io::Result<Self> {
        let (steps, told) = sync_channel::<()>(1);
        let thread = thread::Builder::new()
            .name("writeback".into())
            .spawn(move || told.iter().try_for_each(|()| file.sync_data()))?;
        Ok(Self { steps, thread })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{self, ErrorKind};
    use std::os::fd::OwnedFd;

    use super::{STEP, Writeback};

    /// A file that no sync succeeds on: a pipe (`EINVAL`, fsync(2)).
    fn unsyncable() -> (File, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        (File::from(OwnedFd::from(writer)), reader)
    }

    #[test]
    fn what_a_sync_said_while_more_was_written_is_told_at_the_end() {
        let (file, _reader) = unsyncable();
        let mut writeback = Writeback::default();
        for _ in 0..3 {
            writeback.wrote(&file, STEP).unwrap();
        }
        assert_eq!(writeback.finish().unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_small_file_is_left_to_the_sync_at_the_end() {
        let (file, _reader) = unsyncable();
        let mut writeback = Writeback::default();
        writeback.wrote(&file, STEP - 1).unwrap();
        writeback.finish().unwrap();
    }
}
