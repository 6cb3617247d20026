//! libxlutil, which is xl's own parser, reads back every value that a configuration holds, and nothing else.
//! The judge is `tests/xl/xlread.c`, compiled against Debian's libxen-dev.

#[path = "xl/judge.rs"]
mod judge;
#[path = "xl/nasty.rs"]
mod nasty;

use std::num::NonZeroU32;
use std::path::Path;

use autoxen::domain::value::{
    Bootloader, Bridge, CommandLine, Error, FileName, HostPath, Mac, Name, Vdev,
};
use autoxen::domain::xl::{Boot, Disk, DiskFormat, Domain, File, Network, Parts};
use autoxen::xmf::model::GuestType;

use judge::{meaning, read_back};
use nasty::Chance;

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
            format: DiskFormat::Raw,
            target: File::Bundle(FileName::new("xvda.img").expect("a file name")),
        }],
        networks: Vec::new(),
        restarts: false,
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
                format: [DiskFormat::Raw, DiskFormat::Qcow2][usize::from(chance.below(4) == 0)],
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
