//! libxlutil, which is xl's own parser, reads back every value that a configuration holds, and nothing else.
//! The judge is `tests/xl/xlread.c`, compiled against Debian's libxen-dev.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;

use autoxen::domain::value::{
    Bootloader, Bridge, CommandLine, Error, FileName, HostPath, Mac, Name, Vdev,
};
use autoxen::domain::xl::{Boot, Disk, Domain, File, Network, Parts};
use autoxen::xmf::model::GuestType;

/// What xl is to understand: strings and numbers by their key, list items, and disks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Meaning {
    strings: BTreeMap<String, String>,
    lists: BTreeMap<String, Vec<String>>,
    /// Target, vdev, `rw` or `ro`.
    disks: Vec<(String, String, &'static str)>,
}

fn scratch() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("xl-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a directory for the test");
    path
}

fn compile(directory: &Path) -> PathBuf {
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
fn read_back(configurations: &[String]) -> Vec<Result<Meaning, String>> {
    let directory = scratch();
    let program = compile(&directory);
    let mut names = Vec::new();
    for (index, text) in configurations.iter().enumerate() {
        names.push(format!("{index}.cfg"));
        std::fs::write(directory.join(&names[index]), text).expect("the configuration is written");
    }
    let output =
        Command::new(program).current_dir(&directory).args(&names).output().expect("xlread runs");
    assert!(output.status.success(), "xlread: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_dir_all(&directory).expect("the test's directory goes");

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
            ["disk", _, target, vdev, "raw", "unknown", access, "-", "0", "0", "-"] => {
                let access = if *access == "rw" { "rw" } else { "ro" };
                meaning.disks.push((unhex(target), unhex(vdev), access));
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
fn meaning(parts: &Parts, directory: &str) -> Meaning {
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
        disk_items.push(format!("format=raw,vdev={},access={access},target={target}", disk.vdev));
        meaning.disks.push((target, disk.vdev.to_string(), access));
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

fn plain() -> Parts {
    Parts {
        name: Name::new("plain").expect("a name"),
        guest_type: GuestType::Pv,
        memory_mib: NonZeroU32::new(64).expect("not zero"),
        vcpus: NonZeroU32::MIN,
        boot: Boot::Kernel {
            kernel: File::Bundle(FileName::new("vmlinuz").expect("a file name")),
            ramdisk: None,
            cmdline: CommandLine::new("ro").expect("a command line"),
        },
        disks: vec![Disk {
            vdev: Vdev::new("xvda").expect("a device"),
            read_only: false,
            target: File::Bundle(FileName::new("xvda.img").expect("a file name")),
        }],
        networks: Vec::new(),
    }
}

/// Numbers that look random and are the same in each run (xorshift64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("below a usize")
    }

    /// A text of some pieces that mean something to a parser, a shell or a path.
    fn nasty(&mut self, start: &str) -> String {
        const PIECES: [&str; 58] = [
            "\"",
            "'",
            "\\",
            "\\\"",
            "\\n",
            "\\x41",
            "\\101",
            "\\0",
            "#",
            "# x",
            ";",
            "=",
            ",",
            ",,",
            "[",
            "]",
            "[\"",
            "\" ]",
            "\", \"",
            "(",
            "+=",
            "\n",
            "\r",
            "\r\n",
            "\t",
            "\0",
            "\u{1b}[31m",
            "\u{7f}",
            "\u{85}",
            "\u{a0}",
            "\u{2028}",
            "é",
            "日本",
            "😀",
            "\u{202e}",
            "script=/bin/sh",
            ",script=x,",
            "nbd:",
            "raw:",
            "qcow2:",
            "phy:/dev/sda",
            "aio:",
            "access=ro",
            "vdev=xvdz",
            "format=qcow2",
            "backendtype=phy",
            "backend=1",
            "target=/etc/shadow",
            "\nkernel = \"/x\"",
            "\"\nbootloader = \"/bin/sh",
            ";name=\"x\"",
            "..",
            "/",
            "/../",
            "%s%n",
            "$(id)",
            " ",
            "010",
        ];
        let mut text = start.to_owned();
        for _ in 0..=self.below(4) {
            if self.below(3) == 0 {
                text.push_str("word");
            }
            text.push_str(PIECES[self.below(PIECES.len())]);
        }
        if self.below(50) == 0 {
            text.push_str(&"long".repeat(2000));
        }
        text
    }
}

/// How many nasty values were taken and how many refused.
#[derive(Default)]
struct Tally {
    taken: usize,
    refused: usize,
}

impl Tally {
    /// The value if it can be told to xl. A refusal has to name what it is about.
    fn offer<T>(&mut self, made: Result<T, Error>, what: &str, fallback: T) -> T {
        match made {
            Ok(value) => {
                self.taken += 1;
                value
            }
            Err(error) => {
                self.refused += 1;
                let text = error.to_string();
                assert!(text.contains(what), "{text:?} does not name the {what}");
                assert!(!text.contains(char::is_control), "{text:?}");
                fallback
            }
        }
    }
}

#[test]
fn xl_reads_back_two_thousand_nasty_domains_or_we_refuse_the_value_by_name() {
    let mut chance = Chance(0x2006_1207);
    let mut tally = Tally::default();
    let mut texts = Vec::new();
    let mut meanings = Vec::new();
    for round in 0..2000 {
        let mut parts = plain();
        let name = chance.nasty(if round % 2 == 0 { "x" } else { "" });
        parts.name = tally.offer(Name::new(name), "domain name", parts.name);
        let cmdline = CommandLine::new("x").expect("plain");
        let cmdline = tally.offer(CommandLine::new(chance.nasty("")), "command line", cmdline);
        let host = |chance: &mut Chance, tally: &mut Tally| {
            let path = chance.nasty(if round % 5 == 0 { "" } else { "/" });
            let fallback = HostPath::new("/plain").expect("plain");
            File::Host(tally.offer(HostPath::new(path), "path", fallback))
        };
        let file = |chance: &mut Chance, tally: &mut Tally| {
            let name = chance.nasty("f");
            File::Bundle(tally.offer(
                FileName::new(name),
                "file name",
                FileName::new("plain").expect("plain"),
            ))
        };
        parts.guest_type = [GuestType::Pv, GuestType::Pvh, GuestType::Hvm][round % 3];
        parts.boot = match round % 7 {
            0 if parts.guest_type == GuestType::Hvm => Boot::Firmware {},
            1 if parts.guest_type != GuestType::Hvm => {
                let program = Bootloader::new("pygrub").expect("plain");
                let program =
                    tally.offer(Bootloader::new(chance.nasty("/")), "boot loader", program);
                Boot::Bootloader { program, cmdline: (round % 2 == 0).then_some(cmdline) }
            }
            _ => Boot::Kernel {
                kernel: host(&mut chance, &mut tally),
                ramdisk: (round % 2 == 0).then(|| file(&mut chance, &mut tally)),
                cmdline,
            },
        };
        parts.memory_mib = NonZeroU32::new(u32::MAX >> (round % 32)).expect("not zero");
        parts.vcpus = NonZeroU32::new(1 + (round as u32 % 128)).expect("not zero");
        parts.disks.clear();
        for letter in ["a", "b", "c"] {
            let written = format!("xvd{letter}{}", chance.below(300));
            let vdev = if chance.below(3) == 0 { chance.nasty("xvd") } else { written };
            let vdev = tally.offer(
                Vdev::new(vdev),
                "device",
                Vdev::new(format!("xvd{letter}")).expect("plain"),
            );
            parts.disks.push(Disk {
                vdev,
                read_only: chance.below(2) == 0,
                target: host(&mut chance, &mut tally),
            });
        }
        for _ in 0..chance.below(3) {
            let bridge = tally.offer(
                Bridge::new(chance.nasty("")),
                "bridge",
                Bridge::new("br0").expect("plain"),
            );
            let mac = tally.offer(
                Mac::new(chance.nasty("00:16:3e:00:00:0")),
                "mac",
                Mac::new("00:16:3e:00:00:01").expect("plain"),
            );
            parts.networks.push(Network {
                mac: (chance.below(2) == 0).then_some(mac),
                bridge: (chance.below(2) == 0).then_some(bridge),
            });
        }

        let domain = Domain::new(parts).expect("the parts fit each other");
        let json = serde_json::to_string(&domain).expect("a domain can be written as JSON");
        assert_eq!(serde_json::from_str::<Domain>(&json).expect("and read back"), domain);
        let directory = chance.nasty("/srv/");
        let config = match domain.in_directory(Path::new(&directory)) {
            Ok(config) => {
                tally.taken += 1;
                meanings.push(meaning(domain.parts(), directory.trim_end_matches('/')));
                config
            }
            Err(error) => {
                tally.refused += 1;
                assert!(error.to_string().contains("path"), "{error}");
                meanings.push(meaning(domain.parts(), "/plain"));
                domain.in_directory(Path::new("/plain")).expect("a plain directory")
            }
        };
        texts.push(config.to_string());
    }
    // Else the pieces are too tame, or nothing passes.
    assert!(
        tally.taken > 4000 && tally.refused > 4000,
        "{} taken, {} refused",
        tally.taken,
        tally.refused
    );
    for ((read, meant), text) in read_back(&texts).into_iter().zip(meanings).zip(&texts) {
        assert_eq!(read.as_ref(), Ok(&meant), "{text}");
    }
}

#[test]
fn the_judge_sees_what_gets_out_of_a_value() {
    let texts = [
        // One raw newline in a value, and one in a disk.
        "name = \"a\"\nkernel = \"/x\"\n".to_owned(),
        "disk = [\n    \"format=raw,vdev=xvda,access=rw,target=/a,\",\n]\n".to_owned(),
        "disk = [\n    \"vdev=xvda,script=x,format=raw,target=/a\",\n]\n".to_owned(),
        "memory = 010\n".to_owned(),
        "name = \"a\" # no newline".to_owned(),
    ];
    let read = read_back(&texts);
    assert_eq!(read[0].as_ref().expect("two keys").strings.len(), 2);
    assert_eq!(read[1].as_ref().expect("a disk").disks[0].0, "/a");
    assert_eq!(read[2].as_ref().expect_err("a script").split(' ').nth(7), Some("x78"));
    assert_eq!(read[3].as_ref().expect("a number").strings["memory"], "8");
    assert!(read[4].is_err());
}
