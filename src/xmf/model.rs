//! What an XMF says, typed. Every value here has passed the schema and the rules: what this module's types cannot
//! hold was refused with its place in the text.

use std::ops::{Deref, Range};

/// A value and where it stands in the (decoded) source text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its text, without the tags around it.
    pub span: Range<usize>,
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A whole job description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The domain.
    pub general: General,
    /// The disks, in the order of the document; at least one.
    pub images: Vec<ImageFile>,
    /// The jobs, in the order in which they run; at least one.
    pub jobs: Vec<Job>,
    /// `results`: the disk that carries results home.
    pub results: Option<Results>,
    /// `whendone`: what becomes of the guest when its jobs have ended.
    pub when_done: WhenDone,
}

/// `general`: the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct General {
    /// `memory`, in MiB, at least 1.
    pub memory_mib: Spanned<u32>,
    /// `name` of the domain; without it, one is made from the file's name.
    pub name: Option<Spanned<String>>,
    /// `vcpus`, at least 1.
    pub vcpus: Option<Spanned<u32>>,
    /// `guesttype`; pv without it.
    pub guest_type: Option<Spanned<GuestType>>,
    /// `kernel`.
    pub kernel: Option<Spanned<BootFile>>,
    /// `ramdisk`.
    pub ramdisk: Option<Spanned<BootFile>>,
    /// `cmdline` of the kernel, one line.
    pub cmdline: Option<Spanned<String>>,
    /// `bootloader`: `pygrub` or an absolute path on the host.
    pub bootloader: Option<Spanned<String>>,
    /// `network` interfaces.
    pub networks: Vec<Network>,
    /// `limit`: the longest that the guest may run, in seconds, at least 1.
    pub limit: Option<Spanned<u32>>,
}

/// How Xen runs the guest; xl's `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestType {
    /// Paravirtualised.
    Pv,
    /// Hardware container without emulated devices.
    Pvh,
    /// Fully emulated machine.
    Hvm,
}

/// Where a kernel or ramdisk comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootFile {
    /// A file of the host; relative paths are relative to the XMF.
    Host(String),
    /// `from="image"` and no path: the newest version in the root image's `/boot`.
    NewestInImage,
    /// `from="image"`: this absolute path inside the root image.
    InImage(String),
}

/// `network`: one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Where the element stands.
    pub span: Range<usize>,
    /// `bridge` of the host.
    pub bridge: Option<Spanned<String>>,
    /// `mac`, six octets in lower-case hexadecimal, joined by colons.
    pub mac: Option<Spanned<String>>,
}

/// `imagefile`: one file system that the guest mounts, or one swap space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFile {
    /// Where the element's start tag stands.
    pub span: Range<usize>,
    /// `filesystemtype`, as `mount -t` and fstab name it.
    pub filesystem: Spanned<String>,
    /// `mountpoint`.
    pub mountpoint: Spanned<MountPoint>,
    /// `blockdevice`.
    pub device: Spanned<BlockDevice>,
    /// `url`: a path (relative ones are relative to the XMF), or `file:` and an absolute path, decoded.
    pub url: Option<Spanned<String>>,
    /// `access="ro"`: the guest cannot write to it.
    pub read_only: bool,
    /// `partition`: the number of the partition, from 1 on.
    pub partition: Option<Spanned<u32>>,
    /// `options` of the mount, as in fstab's fourth field.
    pub options: Option<Spanned<String>>,
    /// `identify`: how fstab names the disk.
    pub identify: Identify,
    /// `sha256` of the file that `url` names, in lower-case hexadecimal.
    pub sha256: Option<Spanned<String>>,
    /// `signedby`: who must have signed that file, as a list of patterns.
    pub signedby: Option<Spanned<String>>,
    /// `size` in bytes: of a new disk where there is no `url`.
    pub size: Option<Spanned<u64>>,
    /// `label` of the file system that `size` makes, or that the image must have.
    pub label: Option<Spanned<String>>,
    /// `file` elements: what is put into this image.
    pub files: Vec<FileEntry>,
    /// `hostname`, for `/etc/hostname`.
    pub hostname: Option<Spanned<String>>,
    /// `authorizedkey`: lines for root's `authorized_keys`.
    pub authorized_keys: Vec<Spanned<String>>,
}

/// Where a file system is mounted in the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountPoint {
    /// An absolute, normal path.
    Path(String),
    /// `none` or `swap`, for swap spaces.
    None,
}

/// How fstab names a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identify {
    /// `/dev/…`
    #[default]
    Device,
    /// `UUID=…`
    Uuid,
    /// `LABEL=…`
    Label,
}

/// A block device's name in the guest, as Xen accepts it: `xvda`, `hda1`, `sdb2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockDevice {
    /// The disk: `xvda`, `hda`, `sdb`.
    pub disk: String,
    /// The partition number that the name ends in.
    pub partition: Option<u32>,
}

/// `file`: something put into an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Where the element stands.
    pub span: Range<usize>,
    /// `path`: absolute and normal, inside the image.
    pub path: Spanned<String>,
    /// What stands there afterwards.
    pub content: FileContent,
    /// `mode`: the twelve permission bits.
    pub mode: Option<u32>,
    /// `owner`: user and group by number.
    pub owner: Option<(u32, u32)>,
}

/// What a `file` element makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// The element's own text.
    Text(String),
    /// `source`: a file of the host; relative paths are relative to the XMF.
    Host(Spanned<String>),
    /// `type="directory"`.
    Directory,
    /// `type="symlink"` with `target`.
    Symlink(String),
}

/// `job`: one command, run when the guest starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Where the element's start tag stands.
    pub span: Range<usize>,
    /// `command`: a shell command, or a whole script that begins with `#!`.
    pub command: Spanned<String>,
    /// `name` for the script's file name.
    pub name: Option<Spanned<String>>,
    /// `environment`: variables of the job.
    pub environment: Vec<(String, String)>,
    /// `workdir`: absolute path inside the guest.
    pub workdir: Option<Spanned<String>>,
    /// `user` of the guest who runs it; root without it.
    pub user: Option<Spanned<String>>,
    /// `timeout` in seconds, at least 1.
    pub timeout: Option<Spanned<u32>>,
    /// `onfailure`.
    pub on_failure: OnFailure,
    /// `again="yes"`: it runs at each start of the guest, not once.
    pub again: bool,
    /// `input`: what is staged in before the guest starts.
    pub inputs: Vec<Input>,
    /// `output`: absolute paths or patterns of the guest, staged out when the job has ended.
    pub outputs: Vec<Spanned<String>>,
}

/// What a job that fails means for those behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// They run all the same.
    #[default]
    Continue,
    /// They do not run.
    Stop,
}

/// `input`: files of the host that the guest finds at a path of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Where the element's start tag stands.
    pub span: Range<usize>,
    /// `source`: a path of the host; relative paths are relative to the XMF.
    pub source: Spanned<String>,
    /// `path`: absolute and normal, in the guest.
    pub path: Spanned<String>,
    /// `type`.
    pub kind: InputKind,
    /// `sha256` of the file that `source` names, in lower-case hexadecimal.
    pub sha256: Option<Spanned<String>>,
    /// `place`.
    pub place: InputPlace,
}

/// What an `input` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InputKind {
    /// A file, which will be `path`.
    #[default]
    File,
    /// A directory, which will be `path`, with all that is in it.
    Directory,
    /// A tar archive, plain or compressed, unpacked in the directory `path`.
    Tar,
}

impl InputKind {
    /// Its word in a document.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Tar => "tar",
        }
    }
}

/// Where an `input` is put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InputPlace {
    /// By its size.
    #[default]
    Auto,
    /// Into the root image.
    Root,
    /// On a new disk with an ext file system.
    Ext,
    /// On a new disk with a FAT.
    Vfat,
}

/// `results`: a new disk that the jobs' results are written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// Where the element's start tag stands.
    pub span: Range<usize>,
    /// `size` in bytes.
    pub size: Spanned<u64>,
    /// `blockdevice`; the first free one without it.
    pub device: Option<Spanned<BlockDevice>>,
}

/// What becomes of the guest when its jobs have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDone {
    /// It is powered off.
    #[default]
    Poweroff,
    /// It starts again, and stays.
    Reboot,
    /// It stays.
    Keep,
}
