//! Writes to the image, made by a thread of their own, so that reading an archive and writing the image overlap.
//!
//! ```text
//! write 4096 at 8192, write 4096 at 12288 …  ─▶  one buffer of 1 MiB  ─▶  channel of 4  ─▶  pwrite
//! ```
//! Writes are made in their order. An error is told by the next write, or when all are waited for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// Bytes that are written at once.
const BUFFER_LEN: usize = 1 << 20;
/// Buffers that wait at most.
const WAITING: usize = 4;

/// A buffer, how many of its bytes are to be written, and where.
type Job = (Vec<u8>, usize, u64);

/// A file that is written in the background.
pub(super) struct Writer {
    file: File,
    running: Option<Running>,
    /// What was written last, and may be followed by more of it.
    held: Vec<u8>,
    held_at: u64,
}

struct Running {
    jobs: SyncSender<Job>,
    /// Buffers that were written.
    spent: Receiver<Vec<u8>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Writer {
    /// Write to `file`, which stays where it is in the file system.
    pub(super) fn new(file: File) -> Self {
        Self { file, running: None, held: Vec::new(), held_at: 0 }
    }

    /// Write `bytes` at `offset`, sooner or later.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let follows = self.held_at + self.held.len() as u64 == offset;
        if !follows || self.held.len() + bytes.len() > BUFFER_LEN {
            self.send_held()?;
            self.held_at = offset;
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Write the first `len` bytes of `buffer` at `offset`. Returns a buffer of the same length.
    pub(super) fn write_buffer(
        &mut self,
        offset: u64,
        buffer: Vec<u8>,
        len: usize,
    ) -> io::Result<Vec<u8>> {
        self.send_held()?;
        let whole = buffer.len();
        self.send((buffer, len, offset))?;
        let spent = self.running.as_ref().and_then(|running| running.spent.try_recv().ok());
        let mut next = spent.unwrap_or_default();
        next.resize(whole, 0);
        Ok(next)
    }

    /// Wait until all is written. Returns the file.
    pub(super) fn wait(&mut self) -> io::Result<&File> {
        self.send_held()?;
        self.join()?;
        Ok(&self.file)
    }

    fn send_held(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let len = held.len();
        self.send((held, len, self.held_at))
    }

    fn send(&mut self, job: Job) -> io::Result<()> {
        let running = match &self.running {
            Some(running) => running,
            None => {
                let running = Running::start(self.file.try_clone()?)?;
                self.running.insert(running)
            }
        };
        match running.jobs.send(job) {
            Ok(()) => Ok(()),
            // It ends early with an error alone.
            Err(_) => Err(self.join().err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn join(&mut self) -> io::Result<()> {
        let Some(Running { jobs, spent, thread }) = self.running.take() else { return Ok(()) };
        drop((jobs, spent));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// The thread ends at the end of what waits. Its file may outlive the name of it, not more.
impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

impl Running {
    fn start(file: File) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Job>(WAITING);
        let (back, spent) = channel();
        let thread = std::thread::Builder::new().name("writer".into()).spawn(move || {
            for (buffer, len, offset) in waiting {
                file.write_all_at(&buffer[..len], offset)?;
                // Nobody waits for the last ones.
                let _ = back.send(buffer);
            }
            Ok(())
        })?;
        Ok(Self { jobs, spent, thread })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::FileExt;

    use super::Writer;

    #[test]
    fn writes_come_in_order_and_errors_come_back() {
        let file = tempfile::tempfile().unwrap();
        let mut writer = Writer::new(file.try_clone().unwrap());
        let buffer = writer.write_buffer(4, vec![1; 8], 3).unwrap();
        assert_eq!(buffer.len(), 8);
        writer.write(6, b"ab").unwrap();
        writer.write(8, b"c").unwrap();
        writer.write(0, b"z").unwrap();
        let mut bytes = Vec::new();
        writer.wait().unwrap();
        (&file).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"z\0\0\0\x01\x01abc");
        file.write_all_at(b"y", 0).unwrap();
        // What is read-only takes no write: the error comes with a later one, or at the end.
        let read_only = std::fs::File::open("/proc/self/exe").unwrap();
        let mut writer = Writer::new(read_only);
        writer.write(0, b"x").unwrap();
        assert!(writer.wait().is_err());
    }
}
