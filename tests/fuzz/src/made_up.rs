//! Domains that are made up of any texts: each is offered to the type that checks it, and where that refuses, a plain one
//! stands in.

use std::num::NonZeroU32;
use std::path::PathBuf;

use autoxen::domain::value::{
    Bootloader, Bridge, CommandLine, Error, FileName, HostPath, Mac, Name, Vdev,
};
use autoxen::domain::xl::{Boot, Disk, DiskFormat, Domain, File, Network, Parts};
use autoxen::xmf::model::GuestType;
use libfuzzer_sys::arbitrary::{Result, Unstructured};

use crate::written;

/// Make a domain of `data`, and look at what is written of it.
pub fn check(data: &[u8]) {
    // Bytes that end early make no domain.
    if let Ok((parts, directory)) = made(&mut Unstructured::new(data))
        && let Ok(domain) = Domain::new(parts)
    {
        written::check(&domain, &directory);
    }
}

fn made(data: &mut Unstructured<'_>) -> Result<(Parts, PathBuf)> {
    let guest_type = *data.choose(&[GuestType::Pv, GuestType::Pvh, GuestType::Hvm])?;
    let name = value(data, Name::new, "x")?;
    let boot = match data.int_in_range(0..=3)? {
        0 => Boot::Firmware {},
        1 => Boot::Bootloader {
            program: value(data, Bootloader::new, "pygrub")?,
            cmdline: line(data)?,
        },
        _ => Boot::Kernel {
            kernel: file(data)?,
            ramdisk: if data.arbitrary()? { Some(file(data)?) } else { None },
            cmdline: value(data, CommandLine::new, "")?,
        },
    };
    let mut disks = Vec::new();
    for nr in 0..data.int_in_range(0..=4)? {
        disks.push(Disk {
            vdev: value(data, Vdev::new, ["xvda", "xvdb1", "hdc", "sdd2"][nr % 4])?,
            read_only: data.arbitrary()?,
            format: if data.arbitrary()? { DiskFormat::Raw } else { DiskFormat::Qcow2 },
            target: file(data)?,
        });
    }
    let mut networks = Vec::new();
    for _ in 0..data.int_in_range(0..=2)? {
        networks.push(Network {
            mac: if data.arbitrary()? {
                Some(value(data, Mac::new, "00:16:3e:00:00:01")?)
            } else {
                None
            },
            bridge: if data.arbitrary()? { Some(value(data, Bridge::new, "br0")?) } else { None },
        });
    }
    let parts = Parts {
        name,
        guest_type,
        memory_mib: number(data)?,
        vcpus: number(data)?,
        boot,
        disks,
        networks,
        restarts: data.arbitrary()?,
    };
    Ok((parts, PathBuf::from(format!("/{}", data.arbitrary::<&str>()?))))
}

fn value<T>(
    data: &mut Unstructured<'_>,
    make: impl Fn(String) -> std::result::Result<T, Error>,
    plain: &str,
) -> Result<T> {
    let text: String = data.arbitrary()?;
    Ok(match make(text) {
        Ok(value) => value,
        Err(error) => {
            // A refusal is shown to people, on one line.
            let said = error.to_string();
            assert!(!said.contains(char::is_control), "{said:?}");
            make(plain.to_owned()).expect("a plain value")
        }
    })
}

fn line(data: &mut Unstructured<'_>) -> Result<Option<CommandLine>> {
    if data.arbitrary()? { value(data, CommandLine::new, "").map(Some) } else { Ok(None) }
}

fn file(data: &mut Unstructured<'_>) -> Result<File> {
    Ok(if data.arbitrary()? {
        File::Bundle(value(data, FileName::new, "f")?)
    } else {
        File::Host(value(data, |text| HostPath::new(format!("/{text}")), "f")?)
    })
}

fn number(data: &mut Unstructured<'_>) -> Result<NonZeroU32> {
    Ok(NonZeroU32::new(data.arbitrary()?).unwrap_or(NonZeroU32::MIN))
}
