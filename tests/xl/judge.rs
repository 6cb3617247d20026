//! xl's own parser as a judge: configurations in, what it understood out. `xlread.c` beside this file asks it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use autoxen::domain::xl::{Boot, DiskFormat, File, Parts};
use autoxen::xmf::model::GuestType;

/// What xl is to understand: strings and numbers by their key, list items, and disks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) strings: BTreeMap<String, String>,
    pub(crate) lists: BTreeMap<String, Vec<String>>,
    /// Target, vdev, `rw` or `ro`.
    pub(crate) disks: Vec<(String, String, String, &'static str)>,
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the test")
}

pub(crate) fn compile(directory: &Path) -> PathBuf {
    let program = directory.join("xlread");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/xl/xlread.c");
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(&source)
        .args(["-lxlutil", "-lxenlight", "-lxentoollog"])
        .output()
        .expect("cc runs: install the packages gcc and libxen-dev");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "xlread.c does not compile, is libxen-dev installed?\n{errors}"
    );
    program
}

/// Write the configurations, let xl's parser read them, and say what it understood.
pub(crate) fn read_back(configurations: &[String]) -> Vec<Result<Meaning, String>> {
    let scratch = scratch();
    let directory = scratch.path();
    let program = compile(directory);
    let mut names = Vec::new();
    for (index, text) in configurations.iter().enumerate() {
        names.push(format!("{index}.cfg"));
        std::fs::write(directory.join(&names[index]), text).expect("the configuration is written");
    }
    let output =
        Command::new(program).current_dir(directory).args(&names).output().expect("xlread runs");
    assert!(output.status.success(), "xlread: {}", String::from_utf8_lossy(&output.stderr));

    let mut meanings = Vec::new();
    for line in String::from_utf8(output.stdout).expect("xlread prints ASCII").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "file" {
            meanings.push(Ok(Meaning::default()));
            continue;
        }
        let last = meanings.last_mut().expect("a file comes first");
        let Ok(meaning) = last else { continue };
        match words.as_slice() {
            ["string", key, text] => drop(meaning.strings.insert((*key).into(), unhex(text))),
            // Where xl asks for a number, the number that it gets counts, not its text.
            ["long", key @ ("memory" | "vcpus"), number] => {
                drop(meaning.strings.insert((*key).into(), (*number).into()))
            }
            ["long", ..] => {}
            ["list", key, _] => drop(meaning.lists.insert((*key).into(), Vec::new())),
            ["item", key, _, text] => {
                meaning.lists.get_mut(*key).expect("its list comes first").push(unhex(text))
            }
            ["disk", _, target, vdev, format, "unknown", access, "-", "0", "0", "-"] => {
                let access = if *access == "rw" { "rw" } else { "ro" };
                meaning.disks.push((unhex(target), unhex(vdev), (*format).to_owned(), access));
            }
            _ => *last = Err(line.to_owned()),
        }
    }
    assert_eq!(meanings.len(), configurations.len());
    meanings
}

fn unhex(word: &str) -> String {
    let digits = word.strip_prefix('x').expect("a string begins with x").as_bytes();
    let bytes = digits.chunks(2).map(|pair| {
        u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16)
            .expect("two hexadecimal digits")
    });
    String::from_utf8(bytes.collect()).expect("we wrote UTF-8")
}

/// What the parts mean, said without a word of the configuration's language.
pub(crate) fn meaning(parts: &Parts, directory: &str) -> Meaning {
    let mut meaning = Meaning::default();
    let mut set = |key: &str, value: &str| drop(meaning.strings.insert(key.into(), value.into()));
    let path = |file: &File| match file {
        File::Bundle(name) => format!("{directory}/{name}"),
        File::Host(path) => path.as_str().to_owned(),
    };
    set("name", parts.name.as_str());
    set("memory", &parts.memory_mib.to_string());
    set("vcpus", &parts.vcpus.to_string());
    set(
        "type",
        match parts.guest_type {
            GuestType::Pv => "pv",
            GuestType::Pvh => "pvh",
            GuestType::Hvm => "hvm",
        },
    );
    if parts.guest_type == GuestType::Hvm {
        set("serial", "pty");
        set("vnc", "0");
    }
    for event in ["on_poweroff", "on_reboot", "on_crash"] {
        set(event, "destroy");
    }
    match &parts.boot {
        Boot::Kernel { kernel, ramdisk, cmdline } => {
            set("kernel", &path(kernel));
            set("cmdline", cmdline.as_str());
            if let Some(ramdisk) = ramdisk {
                set("ramdisk", &path(ramdisk));
            }
        }
        Boot::Bootloader { program, cmdline } => {
            set("bootloader", program.as_str());
            if let Some(cmdline) = cmdline {
                set("cmdline", cmdline.as_str());
            }
        }
        Boot::Firmware {} => {}
    }
    let mut disk_items = Vec::new();
    for disk in &parts.disks {
        let access = if disk.read_only { "ro" } else { "rw" };
        let target = path(&disk.target);
        let format = match disk.format {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        };
        let vdev = disk.vdev.to_string();
        disk_items.push(format!("format={format},vdev={vdev},access={access},target={target}"));
        meaning.disks.push((target, vdev, format.to_owned(), access));
    }
    if !disk_items.is_empty() {
        meaning.lists.insert("disk".into(), disk_items);
    }
    let cards = parts.networks.iter().map(|network| match (&network.mac, &network.bridge) {
        (Some(mac), Some(bridge)) => format!("mac={mac},bridge={bridge}"),
        (Some(mac), None) => format!("mac={mac}"),
        (None, Some(bridge)) => format!("bridge={bridge}"),
        (None, None) => String::new(),
    });
    if !parts.networks.is_empty() {
        meaning.lists.insert("vif".into(), cards.collect());
    }
    meaning
}
