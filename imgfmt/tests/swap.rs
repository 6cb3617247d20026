//! Swap headers, against mkswap, blkid, swaplabel and the kernel.

use std::fs;
use std::os::unix::fs::FileExt;

use imgfmt::{Error, swap};
use uuid::Uuid;

mod judge;
use judge::{run, sparse_file, text};

const MIB: u64 = 1 << 20;
const UUID: &str = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9fa";

#[test]
fn a_header_is_the_one_that_mkswap_writes() {
    let directory = tempfile::tempdir().unwrap();
    let uuid = Uuid::parse_str(UUID).unwrap();
    for (len, label) in
        [(40_960, None), (MIB + 100, Some("swap")), (64 * MIB, Some("fifteen letters"))]
    {
        let path = sparse_file(directory.path(), "swap", len);
        let named = label.map_or(vec![], |label| vec!["-L", label]);
        run("mkswap", &[&["-U", UUID], &*named, &[text(&path)]].concat());
        let theirs = fs::read(&path).unwrap();
        let ours = swap::header(len, uuid, label).unwrap();
        assert!(ours == theirs[..4096], "{len} {label:?}");
        let read = swap::read(&theirs).unwrap().unwrap();
        assert_eq!((read.len, read.uuid), (len / 4096 * 4096 - 4096, uuid));
        assert_eq!(read.label.as_deref(), label);
    }
}

#[test]
fn blkid_swaplabel_and_the_kernel_take_our_header() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "swap", 4 * MIB);
    let header = swap::header(4 * MIB, Uuid::parse_str(UUID).unwrap(), Some("a label")).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&header, 0).unwrap();
    let said = run("swaplabel", &[text(&path)]);
    assert_eq!(said, format!("LABEL: a label\nUUID:  {UUID}\n"));
    let said = run("blkid", &["-p", "-o", "export", "-s", "TYPE", "-s", "VERSION", text(&path)]);
    assert!(said.contains("TYPE=swap") && said.contains("VERSION=1"), "{said}");
    // The kernel takes no file with holes, but it takes a loop device.
    let device = run("losetup", &["--find", "--show", text(&path)]).trim().to_string();
    let swapped = judge::outcome("swapon", &[&device]);
    if swapped.status.success() {
        run("swapoff", &[&device]);
    }
    run("losetup", &["--detach", &device]);
    assert!(swapped.status.success(), "{}", String::from_utf8_lossy(&swapped.stderr));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let uuid = Uuid::nil();
    let message = |len, label| swap::header(len, uuid, label).unwrap_err().to_string();
    assert_eq!(message(40_959, None), "swap of 40959 bytes, at least 40960 are needed");
    assert_eq!(message(1 << 45, None), "swap of 35184372088832 bytes, more than 2^32 pages");
    assert_eq!(
        message(MIB, Some("sixteen letters!")),
        "swap label `sixteen letters!`: 1 to 15 bytes"
    );
    assert_eq!(message(MIB, Some("")), "swap label ``: 1 to 15 bytes");
}

#[test]
fn a_header_that_lies_is_an_error_and_no_header_is_none() {
    let mut volume = swap::header(MIB, Uuid::nil(), None).unwrap();
    volume.resize(MIB as usize, 0);
    assert!(swap::read(&volume).unwrap().is_some());
    let error = swap::read(&volume[..MIB as usize - 1].to_vec()).unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)));
    assert_eq!(error.to_string(), "corrupt image: swap with page 255 in a volume of 255 pages");
    volume[1028..1032].fill(0xff);
    assert!(swap::read(&volume).is_err());
    volume[1024] = 2;
    assert_eq!(swap::read(&volume).unwrap_err().to_string(), "swap of version 2");
    assert_eq!(swap::read(&vec![0; 8192]).unwrap(), None);
    assert_eq!(swap::read(&vec![0; 100]).unwrap(), None);
}
