//! Signatures of security tokens, put together as a token would: PROTOCOL.u2f and PROTOCOL.sshsig of OpenSSH. ssh-keygen
//! judges that they are right, without a token.

use std::fs;

use base64ct::{Base64, Encoding};
use ssh_key::private::KeypairData;
use ssh_key::sha2::{Digest, Sha256};
use ssh_key::{HashAlg, PrivateKey, SigningKey, SshSig};

use crate::keys::{ssh_key, ssh_verify};
use crate::site::{Site, text};

/// A length, and the bytes.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// The bytes of a signature, without its algorithm.
fn raw(key: &impl SigningKey, message: &[u8]) -> Vec<u8> {
    key.try_sign(message).unwrap().as_bytes().to_vec()
}

/// What a token signs of `message`: the user was there (1), and it is its 7th signature.
fn touched(message: &[u8]) -> Vec<u8> {
    [&Sha256::digest(b"ssh:")[..], &TRAILER, &Sha256::digest(message)[..]].concat()
}

const TRAILER: [u8; 5] = [1, 0, 0, 0, 7];

#[test]
fn signatures_of_tokens_are_verified() {
    for (kind, name) in
        [("ed25519", "sk-ssh-ed25519@openssh.com"), ("ecdsa", "sk-ecdsa-sha2-nistp256@openssh.com")]
    {
        let site = Site::new();
        site.write("root.img", "bytes");
        site.succeeds(&["sign", "root.img", "--manifest-only", "--creator", "alice@site"]);
        let manifest = fs::read(site.path("root.img.manifest")).unwrap();
        let signed = SshSig::signed_data("autoxen-image", HashAlg::Sha512, &manifest).unwrap();
        // One key of ECDSA in 256 is not read (see `keys::readable`).
        let key = (0..64)
            .find_map(|nr| {
                let path = ssh_key(&site, &format!("key{nr}"), &["-t", kind], "");
                PrivateKey::from_openssh(fs::read(path).unwrap()).ok()
            })
            .unwrap();
        let signature = raw(&key, &touched(&signed));
        let public = match key.key_data() {
            KeypairData::Ed25519(pair) => string(&pair.public.0),
            KeypairData::Ecdsa(pair) => {
                [string(b"nistp256"), string(pair.public_key_bytes())].concat()
            }
            _ => unreachable!("one of both was made"),
        };
        let public = [string(name.as_bytes()), public, string(b"ssh:")].concat();
        let signature = [string(name.as_bytes()), string(&signature), TRAILER.to_vec()].concat();
        let blob = [
            b"SSHSIG\0\0\0\x01".to_vec(),
            string(&public),
            string(b"autoxen-image"),
            string(b""),
            string(b"sha512"),
            string(&signature),
        ];
        let armor = Base64::encode_string(&blob.concat());
        let lines: Vec<&str> =
            armor.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let armor = format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
            lines.join("\n")
        );
        site.write("root.img.manifest.sig", &armor);
        site.write("signers", format!("alice@site {name} {}\n", Base64::encode_string(&public)));
        let judged = ssh_verify(&site, "autoxen-image", "root.img.manifest", &[]);
        assert!(judged.status.success(), "{name}: {}", text(&judged.stderr));
        let verify = ["verify", "root.img", "--allowed-signers", "signers"];
        site.succeeds(&verify);
        // Each letter of the armor counts.
        for at in 0..armor.len() {
            let mut other = armor.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let signers = autoxen::sign::Signers::read(&site.path("signers"), None).unwrap();
            let found =
                signers.verify(autoxen::sign::Namespace::Image, &manifest, &other, 1_800_000_000);
            assert!(found.is_err(), "{name}: letter {at}");
        }
    }
}
