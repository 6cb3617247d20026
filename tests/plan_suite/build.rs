//! Documents and facts in few words. Spans are unlike each other, so that a test sees which one a finding has.

use std::ops::Range;
use std::path::PathBuf;

use autoxen::diagnostic::Diagnostic;
use autoxen::facts::{Facts, HostFile, ImageFacts, InputFacts, RootFacts, VolumeFacts};
use autoxen::plan::{Disk, Edit, Options, Plan, Runner, plan};
use autoxen::xmf::model::{
    BlockDevice, Document, FileContent, FileEntry, General, Identify, ImageFile, Input, InputKind,
    InputPlace, Job, MountPoint, OnFailure, Spanned, WhenDone,
};

/// The span of `memory`, which stands for `general`.
pub(crate) const MEMORY: Range<usize> = 10..12;
pub(crate) const NAME: Range<usize> = 20..22;
pub(crate) const KERNEL: Range<usize> = 30..32;
pub(crate) const CMDLINE: Range<usize> = 40..42;
pub(crate) const BOOTLOADER: Range<usize> = 50..52;
pub(crate) const JOB: Range<usize> = 60..62;

/// The spans of image number n begin here.
pub(crate) fn at(image: usize) -> usize {
    1000 + 100 * image
}

pub(crate) fn image_span(image: usize) -> Range<usize> {
    at(image)..at(image) + 1
}

pub(crate) fn filesystem_span(image: usize) -> Range<usize> {
    at(image) + 10..at(image) + 11
}

pub(crate) fn mountpoint_span(image: usize) -> Range<usize> {
    at(image) + 20..at(image) + 21
}

pub(crate) fn device_span(image: usize) -> Range<usize> {
    at(image) + 30..at(image) + 31
}

pub(crate) fn url_span(image: usize) -> Range<usize> {
    at(image) + 40..at(image) + 41
}

/// The span of any other part.
pub(crate) fn other_span(image: usize) -> Range<usize> {
    at(image) + 50..at(image) + 51
}

pub(crate) fn spanned<T>(value: T, span: Range<usize>) -> Spanned<T> {
    Spanned { value, span }
}

/// A document and the world around it.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) document: Document,
    pub(crate) facts: Facts,
    pub(crate) options: Options,
}

impl Case {
    /// A document without an image, with one job.
    pub(crate) fn new() -> Self {
        Self {
            document: Document {
                general: General {
                    memory_mib: spanned(256, MEMORY),
                    name: None,
                    vcpus: None,
                    guest_type: None,
                    kernel: None,
                    ramdisk: None,
                    cmdline: None,
                    bootloader: None,
                    networks: Vec::new(),
                    limit: None,
                },
                images: Vec::new(),
                jobs: vec![job("echo hello")],
                results: None,
                when_done: WhenDone::Poweroff,
            },
            facts: Facts::default(),
            // What starts the jobs has tests of its own.
            options: Options {
                name_default: "guest".into(),
                runner: Runner::None,
                ..Options::default()
            },
        }
    }

    /// A bare ext3 root at `device` with a kernel of today.
    pub(crate) fn with_root(device: &str) -> Self {
        let mut case = Self::new();
        case.image("ext3", "/", device);
        case.facts.images[0].root = Some(RootFacts {
            boot: names(&["vmlinuz-6.1.0-18-amd64", "initrd.img-6.1.0-18-amd64"]),
            modules: names(&["6.1.0-18-amd64"]),
            ..RootFacts::default()
        });
        case
    }

    /// Add a bare stock image that holds what its type says. Its mount point is there.
    pub(crate) fn image(&mut self, filesystem: &str, mountpoint: &str, device: &str) -> usize {
        let nr = self.document.images.len();
        let digits = device.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (disk, partition) = device.split_at(device.len() - digits);
        self.document.images.push(ImageFile {
            span: image_span(nr),
            filesystem: spanned(filesystem.into(), filesystem_span(nr)),
            mountpoint: spanned(
                if mountpoint == "none" {
                    MountPoint::None
                } else {
                    MountPoint::Path(mountpoint.into())
                },
                mountpoint_span(nr),
            ),
            device: spanned(
                BlockDevice { disk: disk.into(), partition: partition.parse().ok() },
                device_span(nr),
            ),
            url: Some(spanned(format!("{device}.img"), url_span(nr))),
            read_only: false,
            partition: None,
            options: None,
            identify: Identify::Device,
            sha256: None,
            signedby: None,
            size: None,
            label: None,
            files: Vec::new(),
            hostname: None,
            authorized_keys: Vec::new(),
        });
        self.facts.images.push(ImageFacts {
            path: Some(PathBuf::from(format!("/stock/{device}.img"))),
            len: 1 << 26,
            volumes: vec![VolumeFacts {
                filesystem: Some(filesystem.into()),
                ..VolumeFacts::default()
            }],
            ..ImageFacts::default()
        });
        if let Some(root) = self.facts.images.first_mut().filter(|_| nr > 0) {
            root.directories.push(mountpoint.into());
        }
        nr
    }

    /// Add an image that is partition `partition` of the GPT disk in `/stock/disk.img`, which holds these types.
    pub(crate) fn partition(
        &mut self,
        partition: u32,
        mountpoint: &str,
        device: &str,
        held: &[&str],
    ) -> usize {
        let nr = self.image(held[partition as usize - 1], mountpoint, device);
        self.document.images[nr].partition = Some(spanned(partition, other_span(nr)));
        self.facts.images[nr].path = Some(PathBuf::from("/stock/disk.img"));
        self.facts.images[nr].table = Some("gpt");
        self.facts.images[nr].volumes = (1..)
            .zip(held)
            .map(|(nr, held)| VolumeFacts {
                partition: Some(nr),
                filesystem: Some((*held).into()),
                uuid: Some(format!("0000-{nr}")),
                ..VolumeFacts::default()
            })
            .collect();
        nr
    }

    /// Add a new disk.
    pub(crate) fn blank(
        &mut self,
        filesystem: &str,
        mountpoint: &str,
        device: &str,
        size: u64,
    ) -> usize {
        let nr = self.image(filesystem, mountpoint, device);
        self.document.images[nr].url = None;
        self.document.images[nr].size = Some(spanned(size, other_span(nr)));
        self.facts.images[nr] = ImageFacts::default();
        nr
    }

    pub(crate) fn root(&mut self) -> &mut RootFacts {
        self.facts.images[0].root.as_mut().expect("the first image is the root")
    }

    pub(crate) fn host_file(&mut self, name: &str, path: &str) {
        self.facts.host_files.push(HostFile { name: name.into(), path: path.into(), len: 1 });
    }

    /// Give the first job an input of `len` bytes.
    pub(crate) fn input(
        &mut self,
        source: &str,
        path: &str,
        kind: InputKind,
        place: InputPlace,
        len: u64,
    ) {
        self.document.jobs[0].inputs.push(Input {
            span: JOB,
            source: spanned(source.into(), JOB),
            path: spanned(path.into(), JOB),
            kind,
            sha256: None,
            place,
        });
        let path = PathBuf::from(format!("/stock/{source}"));
        self.facts.inputs.push(InputFacts { path, len, mode: 0o644 });
    }

    pub(crate) fn plan(&self) -> Plan {
        plan(&self.document, &self.facts, &self.options).expect("nothing stands in the way")
    }

    pub(crate) fn errors(&self) -> Vec<Diagnostic> {
        plan(&self.document, &self.facts, &self.options).expect_err("something stands in the way")
    }

    /// The configuration, with `/b` as the bundle's directory.
    pub(crate) fn config(&self) -> String {
        self.plan().domain.in_directory("/b".as_ref()).expect("a plain directory").to_string()
    }

    /// The line of the configuration that begins with this key.
    pub(crate) fn config_line(&self, key: &str) -> Option<String> {
        self.config().lines().find(|line| line.starts_with(&format!("{key} = "))).map(str::to_owned)
    }

    /// The new `/etc/fstab`.
    pub(crate) fn fstab(&self) -> String {
        let plan = self.plan();
        match &edit(&plan, "/etc/fstab").action {
            autoxen::plan::Action::Write {
                content: autoxen::plan::Content::Bytes(bytes), ..
            } => String::from_utf8(bytes.clone()).expect("text"),
            other => panic!("{other:?}"),
        }
    }
}

/// The one edit of this path.
pub(crate) fn edit<'a>(plan: &'a Plan, path: &str) -> &'a Edit {
    let mut found = edits(plan).into_iter().filter(|(_, _, edit)| edit.path == path);
    let (_, _, edit) = found.next().unwrap_or_else(|| panic!("no edit of {path}"));
    assert!(found.next().is_none(), "two edits of {path}");
    edit
}

/// All edits with their disk and partition.
pub(crate) fn edits(plan: &Plan) -> Vec<(&Disk, Option<u32>, &Edit)> {
    plan.disks
        .iter()
        .flat_map(|disk| disk.edits.iter().map(move |volume| (disk, volume)))
        .flat_map(|(disk, volume)| {
            volume.edits.iter().map(move |edit| (disk, volume.partition, edit))
        })
        .collect()
}

/// `vdev[partition] path` of each edit.
pub(crate) fn edited_paths(plan: &Plan) -> Vec<String> {
    let nr = |nr: Option<u32>| nr.map(|nr| format!("#{nr}")).unwrap_or_default();
    edits(plan)
        .iter()
        .map(|(disk, partition, edit)| format!("{}{} {}", disk.vdev, nr(*partition), edit.path))
        .collect()
}

pub(crate) fn job(command: &str) -> Job {
    Job {
        span: JOB,
        command: spanned(command.into(), JOB),
        name: None,
        environment: Vec::new(),
        workdir: None,
        user: None,
        timeout: None,
        on_failure: OnFailure::Continue,
        again: false,
        inputs: Vec::new(),
        outputs: Vec::new(),
    }
}

pub(crate) fn file(path: &str, content: FileContent, span: Range<usize>) -> FileEntry {
    FileEntry {
        span: span.clone(),
        path: spanned(path.into(), span),
        content,
        mode: None,
        owner: None,
    }
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
