//! Only what an edit touches is read: by the bytes that are asked for, which no machine's speed changes.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use imgfmt::ext::Fs;
use imgfmt::{Changes, Storage, Volume};

use crate::support::{NOW, TestImage};

/// A file, and how many bytes of it were asked for.
struct Counted {
    file: File,
    len: u64,
    read: Cell<u64>,
}

impl Counted {
    fn new(image: &TestImage) -> Self {
        let file = File::open(image.path()).expect("an image");
        let len = file.metadata().expect("it has a length").len();
        Self { file, len, read: Cell::new(0) }
    }
}

impl Storage for Counted {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read.set(self.read.get() + buf.len() as u64);
        self.file.read_exact_at(buf, offset)
    }
}

/// Bytes read to open, to read a file, and to edit as a job does.
fn costs(image: &TestImage) -> [u64; 3] {
    let counted = Counted::new(image);
    let fs = Fs::open(Volume::whole(&counted)).expect("it opens");
    let opened = counted.read.take();
    assert_eq!(fs.read("/etc/fstab").expect("it is there"), b"proc /proc proc defaults 0 0\n");
    let read = counted.read.take();
    edit(&fs);
    [opened, read, counted.read.take()]
}

fn edit(fs: &Fs<'_>) -> Changes {
    let mut tx = fs.begin(NOW).expect("it can be edited");
    tx.write("/etc/fstab", "none /proc proc defaults 0 0\n").expect("room");
    tx.create_dir_all("/etc/xenjobs.d").expect("room");
    tx.write("/etc/xenjobs.d/10-job", vec![b'#'; 100_000]).expect("room");
    tx.set_mode("/etc/xenjobs.d/10-job", 0o755).expect("it is there");
    tx.remove_file("/etc/xenjobs.d/10-job").expect("it is there");
    tx.finish().expect("sound")
}

fn stock(args: &str, mib: u64) -> TestImage {
    let image = TestImage::new(args, mib << 10, 0);
    image
        .edit(|tx| {
            tx.create_dir_all("/etc")?;
            tx.write("/etc/fstab", "proc /proc proc defaults 0 0\n")
        })
        .expect("room");
    image
}

const ARGS: &str = "-t ext4 -b 4096 -J size=4 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard";
/// 1 TiB. 16 of them are in the benches: mke2fs wants 240 MB for those.
const LARGE: u64 = 1 << 20;

#[test]
fn an_image_of_a_tebibyte_costs_what_one_of_64_mebibytes_costs() {
    let [small, medium, large] = [64, 8 << 10, LARGE].map(|mib| costs(&stock(ARGS, mib)));
    assert_eq!(medium, large);
    // The superblock, and nothing else.
    assert_eq!((small[0], large[0]), (1024, 1024));
    assert_eq!(small[1], large[1], "to read a file");
    // 64 MiB are one group; from 2 GiB on, 16 groups share where their tables lie, and an allocation looks at all of them.
    assert!(large[2] <= small[2] + 15 * 4096, "to edit: {small:?} {large:?}");
}

#[test]
fn counting_anew_after_a_replay_reads_each_descriptor_block_once() {
    // 256 groups, 16 descriptors to a block.
    let image = stock("-t ext4 -b 1024 -g 256 -N 4096 -O ^flex_bg,^resize_inode -J size=1", 64);
    image.left_dirty("rw", |root| {
        std::fs::write(root.join("etc/new"), "in the log").expect("the kernel writes");
        let sync = std::process::Command::new("sync").arg("-f").arg(root).status();
        assert!(sync.expect("sync runs").success());
    });
    let counted = Counted::new(&image);
    let fs = Fs::open(Volume::whole(&counted)).expect("it opens");
    assert!(fs.needs_recovery());
    counted.read.take();
    fs.begin(NOW).expect("it can be edited");
    // One of the 16 may have been read to open it, and is kept; and there is one block for the orphans, or two.
    let read = counted.read.get();
    assert!((15..=20).contains(&(read / 1024)), "{read} bytes");
}
