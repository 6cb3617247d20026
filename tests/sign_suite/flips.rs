//! What was changed after it was signed is refused, wherever it was changed.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use autoxen::sign::beside::{self, Signed};
use autoxen::sign::image::{self, Error, Vouched};
use autoxen::sign::{Refusal, Signers};
use imgfmt::Image;

use crate::keys::{minisign_key, public, ssh_key};
use crate::site::Site;

const NOW: i64 = 1_800_000_000;

/// A signed image of these bytes, with who may sign.
fn signed(site: &Site, bytes: &[u8], kind: &str) -> Signers {
    site.write("root.img", bytes);
    let (key, line) = match kind {
        "minisign" => ("minisign.key", format!("minisign {}", minisign_key(site))),
        kind => ("key", public(&ssh_key(site, "key", &["-t", kind], ""))),
    };
    let sign = ["sign", "root.img", "--key", key, "--creator", "alice@site", "--force"];
    let output = site.autoxen_at("1700000000", &sign);
    assert!(output.status.success(), "{}", crate::site::text(&output.stderr));
    Signers::parse(format!("alice@site {line}\n").as_bytes(), "signers", None).unwrap()
}

fn refusal(path: &Path, signers: &Signers, signed: &Signed) -> Option<Refusal> {
    let image = Image::open(path).unwrap();
    match image::verify(&image, signed, signers, NOW, &|_| Ok(())) {
        Ok(_) => None,
        Err(Error::Refused(refusal)) => Some(refusal),
        Err(Error::Host(e)) => panic!("{e}"),
    }
}

#[test]
fn each_flipped_bit_of_a_small_image_is_noticed() {
    let site = Site::new();
    let bytes: Vec<u8> = (0..600_u32).map(|nr| (nr * 7) as u8).collect();
    let signers = signed(&site, &bytes, "ed25519");
    let path = site.path("root.img");
    let about = Signed::of_image(&path).unwrap();
    assert_eq!(refusal(&path, &signers, &about), None);
    let vouched = Vouched::new(&signers, &about, NOW).unwrap();
    let mut other = bytes.clone();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            other[at] ^= 1 << bit;
            let found = vouched.check(&other, &|_| Ok(()));
            assert!(matches!(found, Err(Error::Refused(Refusal::Digest))), "byte {at}, bit {bit}");
            other[at] ^= 1 << bit;
        }
    }
    assert!(vouched.check(&other, &|_| Ok(())).is_ok());
    for len in [0, 599, 601] {
        let mut other = bytes.clone();
        other.resize(len, 0);
        fs::write(&path, &other).unwrap();
        let expected = Refusal::Size { found: len as u64, signed: 600 };
        assert_eq!(refusal(&path, &signers, &about), Some(expected));
    }
}

#[test]
fn each_flipped_bit_of_manifest_and_signature_is_noticed() {
    for kind in ["ed25519", "ecdsa", "rsa", "minisign"] {
        let site = Site::new();
        let signers = signed(&site, b"bytes", kind);
        let path = site.path("root.img");
        let about = Signed::of_image(&path).unwrap();
        assert_eq!(refusal(&path, &signers, &about), None);
        let flipped = |bytes: &[u8], at: usize, bit: u32| {
            let mut other = bytes.to_vec();
            other[at] ^= 1 << bit;
            other
        };
        // Of the slower kinds, one bit of each byte.
        let bits = |at: usize| match kind {
            "ed25519" => 0..8,
            _ => at as u32 % 8..at as u32 % 8 + 1,
        };
        for at in 0..about.message.len() {
            for bit in bits(at) {
                let other = Signed { message: flipped(&about.message, at, bit), ..about.clone() };
                let found = Vouched::new(&signers, &other, NOW).err();
                assert!(found.is_some(), "{kind}: byte {at} of the manifest, bit {bit}");
            }
        }
        let signature = &about.signatures[0];
        // The text of minisign's untrusted comment is signed by nobody.
        let comment = match kind {
            "minisign" => {
                "untrusted comment: ".len()..signature.iter().position(|c| *c == b'\n').unwrap()
            }
            _ => 0..0,
        };
        for at in 0..signature.len() {
            for bit in 0..8 {
                let other = flipped(signature, at, bit);
                let is_comment = comment.contains(&at)
                    && std::str::from_utf8(&other).is_ok()
                    && !matches!(other[at], b'\n' | b'\r');
                let other = Signed { signatures: vec![other], ..about.clone() };
                let found = Vouched::new(&signers, &other, NOW).err();
                assert!(
                    found.is_some() || is_comment,
                    "{kind}: byte {at} of the signature, bit {bit}"
                );
            }
        }
        for cut in 0..signature.len() {
            for part in [&signature[..cut], &signature[cut + 1..]] {
                let other = Signed { signatures: vec![part.to_vec()], ..about.clone() };
                let found = Vouched::new(&signers, &other, NOW).err();
                assert!(
                    found.is_some() || kind == "minisign" && cut == 0 && part.is_empty(),
                    "{kind}: cut at {cut}"
                );
            }
        }
        let longer = [signature.as_slice(), b"\n"].concat();
        let other = Signed { signatures: vec![longer], ..about.clone() };
        assert!(Vouched::new(&signers, &other, NOW).is_err(), "{kind}");
    }
}

#[test]
fn sampled_bits_of_a_large_sparse_image_are_noticed() {
    let site = Site::new();
    let len: u64 = 64 << 30;
    let runs = [0, 5 << 20, (3 << 30) + 77, (40 << 30) + 4096, len - 9];
    let signers = {
        let file = File::create(site.path("root.img")).unwrap();
        file.set_len(len).unwrap();
        for start in runs {
            file.write_all_at(b"some data", start).unwrap();
        }
        drop(file);
        let key = public(&ssh_key(&site, "key", &["-t", "ed25519"], ""));
        site.succeeds(&["sign", "root.img", "--key", "key"]);
        Signers::parse(format!("alice@site {key}\n").as_bytes(), "signers", None).unwrap()
    };
    let path = site.path("root.img");
    let about = Signed::of_image(&path).unwrap();
    assert_eq!(refusal(&path, &signers, &about), None);
    // In data, behind it in its piece, and in holes.
    let holes = [1 << 20, (2 << 30) + 5, len / 2];
    let sampled = runs.iter().flat_map(|run| [*run, run + 8]).chain(holes);
    for at in sampled {
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
        assert_eq!(refusal(&path, &signers, &about), Some(Refusal::Digest), "byte {at}");
        file.write_all_at(&byte, at).unwrap();
    }
    assert_eq!(refusal(&path, &signers, &about), None, "a hole that was filled with zeros");
}

#[test]
fn files_of_other_kinds_and_lengths_are_refused_before_they_are_read() {
    let site = Site::new();
    signed(&site, b"bytes", "ed25519");
    let path = site.path("root.img");
    let signature = beside::ssh_signature_of(&beside::manifest_of(&path));
    let told = |site: &Site| site.fails(&["verify", "root.img", "--allowed-signers", "signers"]);
    site.write("signers", "");
    fs::write(&signature, vec![b'a'; (64 << 10) + 1]).unwrap();
    assert_eq!(told(&site), "error: `root.img`: garbled signature: more than 65536 bytes\n");
    fs::remove_file(&signature).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &signature, rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(told(&site), "error: `root.img`: garbled signature: it is not a regular file\n");
    fs::write(site.path("root.img.manifest"), vec![b'a'; (16 << 10) + 1]).unwrap();
    assert_eq!(told(&site), "error: `root.img`: garbled manifest: more than 16384 bytes\n");
}
