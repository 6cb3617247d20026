//! Keys of other programs sign here, and what is signed here is verified by them; and the other way round.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::site::{Site, run, text};

/// What is signed: a small image.
const IMAGE: &str = "an image, as far as anybody here knows\n";

/// A key that ssh-keygen made in the site: `NAME` and `NAME.pub`.
pub(crate) fn ssh_key(site: &Site, name: &str, kind: &[&str], passphrase: &str) -> PathBuf {
    let path = site.path(name);
    let file = path.to_str().unwrap();
    let args = [&["-q", "-N", passphrase, "-C", "alice@site", "-f", file], kind].concat();
    run("ssh-keygen", "openssh-client", &args);
    path
}

/// Type and key in base64 of a public key's file.
pub(crate) fn public(path: &Path) -> String {
    let line = fs::read_to_string(format!("{}.pub", path.display())).unwrap();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// `ssh-keygen -Y verify` of `message` in the site; more arguments may follow.
pub(crate) fn ssh_verify(site: &Site, namespace: &str, message: &str, more: &[&str]) -> Output {
    let input = fs::File::open(site.path(message)).unwrap();
    Command::new("ssh-keygen")
        .args(["-Y", "verify", "-f", "signers", "-I", "alice@site", "-n", namespace, "-s"])
        .arg(format!("{message}.sig"))
        .args(more)
        .current_dir(site.path(""))
        .env("TZ", "UTC")
        .stdin(Stdio::from(input))
        .output()
        .expect("ssh-keygen (Debian: openssh-client) runs")
}

/// A key of minisign in the site: `minisign.key`, and its public key in base64. It has no passphrase: minisign asks on a
/// terminal alone.
pub(crate) fn minisign_key(site: &Site) -> String {
    let [public, secret] = ["minisign.pub", "minisign.key"].map(|name| site.path(name));
    let args = ["-G", "-W", "-p", public.to_str().unwrap(), "-s", secret.to_str().unwrap()];
    run("minisign", "minisign", &args);
    fs::read_to_string(public).unwrap().lines().nth(1).unwrap().to_owned()
}

const VERIFY: [&str; 4] = ["verify", "root.img", "--allowed-signers", "signers"];

/// A site with an image and such a key, which we can read: of those of ECDSA, some have a short number, and are refused.
fn readable(name: &str, kind: &[&str], passphrase: &str) -> (Site, PathBuf) {
    for _ in 0..64 {
        let site = Site::new();
        site.write("root.img", IMAGE);
        site.write("passphrase", "open sesame\n");
        let key = ssh_key(&site, name, kind, passphrase);
        let sign = ["sign", "root.img", "--key", name, "--passphrase-file", "passphrase"];
        let output = site.autoxen(&sign);
        if output.status.success() {
            fs::remove_file(site.path("root.img.manifest")).unwrap();
            fs::remove_file(site.path("root.img.manifest.sig")).unwrap();
            return (site, key);
        }
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains("one of ECDSA with a short number") && kind[1] == "ecdsa",
            "{stderr}"
        );
    }
    panic!("{name}: no key can be read");
}

#[test]
fn keys_of_ssh_keygen_sign_and_ssh_keygen_verifies() {
    let kinds: [(&str, &[&str]); 6] = [
        ("ed25519", &["-t", "ed25519"]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("p521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("rsa4096", &["-t", "rsa", "-b", "4096"]),
    ];
    for (name, kind) in kinds {
        for passphrase in ["", "open sesame"] {
            if name == "rsa4096" && !passphrase.is_empty() {
                // Its length is what is new, and takes its time.
                continue;
            }
            let (site, key) = readable(name, kind, passphrase);
            site.write("signers", format!("alice@site {}\n", public(&key)));
            site.write("passphrase", "open sesame\n");
            let written = site.succeeds(&[
                "sign",
                "root.img",
                "--key",
                name,
                "--passphrase-file",
                "passphrase",
            ]);
            assert_eq!(written, "root.img.manifest\nroot.img.manifest.sig\n", "{name}");
            let judged = ssh_verify(&site, "autoxen-image", "root.img.manifest", &[]);
            assert!(judged.status.success(), "{name}: {}", text(&judged.stderr));
            let other = ssh_verify(&site, "autoxen-bundle", "root.img.manifest", &[]);
            assert!(!other.status.success(), "{name}");
            site.succeeds(&VERIFY);
            // Theirs, by ours.
            fs::remove_file(site.path("root.img.manifest.sig")).unwrap();
            if passphrase.is_empty() {
                let manifest = site.path("root.img.manifest");
                let args = [
                    "-Y",
                    "sign",
                    "-q",
                    "-n",
                    "autoxen-image",
                    "-f",
                    key.to_str().unwrap(),
                    manifest.to_str().unwrap(),
                ];
                run("ssh-keygen", "openssh-client", &args);
                let found = site.succeeds(&VERIFY);
                assert!(
                    found.starts_with("root.img: signed by alice@site, key SHA256:"),
                    "{found}"
                );
            }
        }
    }
}

#[test]
fn signatures_over_sha256_count_as_well() {
    let site = Site::new();
    site.write("root.img", IMAGE);
    let key = ssh_key(&site, "key", &["-t", "ed25519"], "");
    site.write("signers", format!("alice@site {}\n", public(&key)));
    site.succeeds(&["sign", "root.img", "--manifest-only", "--creator", "alice@site"]);
    let manifest = site.path("root.img.manifest");
    let args = [
        "-Y",
        "sign",
        "-q",
        "-O",
        "hashalg=sha256",
        "-n",
        "autoxen-image",
        "-f",
        key.to_str().unwrap(),
        manifest.to_str().unwrap(),
    ];
    run("ssh-keygen", "openssh-client", &args);
    site.succeeds(&VERIFY);
}

#[test]
fn a_wrong_passphrase_and_no_terminal_are_told() {
    let site = Site::new();
    site.write("root.img", IMAGE);
    ssh_key(&site, "key", &["-t", "ed25519"], "open sesame");
    site.write("wrong", "close sesame\n");
    let sign = ["sign", "root.img", "--key", "key"];
    let stderr = site.fails(&[&sign[..], &["--passphrase-file", "wrong"]].concat());
    assert_eq!(stderr, "error: key `key`: wrong passphrase\n");
    // setsid takes the terminal away, where the tests have one.
    let output = Command::new("setsid")
        .args(["-w", env!("CARGO_BIN_EXE_autoxen")])
        .args(sign)
        .current_dir(site.path(""))
        .stdin(Stdio::null())
        .output()
        .expect("setsid (Debian: util-linux) runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr)
            .contains("there is no terminal to ask for a passphrase\nhint: `--passphrase-file"),
        "{}",
        text(&output.stderr)
    );
    assert!(!site.path("root.img.manifest").exists());
}

#[test]
fn a_key_that_is_open_to_others_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    site.write("root.img", IMAGE);
    let key = ssh_key(&site, "key", &["-t", "ed25519"], "");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let stderr = site.fails(&["sign", "root.img", "--key", "key"]);
    assert_eq!(
        stderr,
        "error: key `key` is open to others: its mode is 0640\nhint: chmod 600 key\n"
    );
}

#[test]
fn keys_of_minisign_sign_and_minisign_verifies() {
    let site = Site::new();
    site.write("root.img", IMAGE);
    let public = minisign_key(&site);
    let [key, manifest] = ["minisign.key", "root.img.manifest"].map(|name| site.path(name));
    let (key, manifest) = (key.to_str().unwrap(), manifest.to_str().unwrap());
    site.write("signers", format!("alice@site minisign {public}\n"));
    let written =
        site.succeeds(&["sign", "root.img", "--key", "minisign.key", "--creator", "alice"]);
    assert_eq!(written, "root.img.manifest\nroot.img.manifest.minisig\n");
    let judged = run("minisign", "minisign", &["-Vm", manifest, "-P", &public]);
    assert!(judged.contains("Trusted comment: autoxen-image"), "{judged}");
    let found = site.succeeds(&VERIFY);
    let name = site.succeeds(&["key", "show", "--json", "minisign.pub"]);
    let name: serde_json::Value = serde_json::from_str(&name).unwrap();
    let name = name["fingerprint"].as_str().unwrap();
    assert!(found.starts_with(&format!("root.img: signed by alice@site, key {name}\n")), "{found}");
    // Theirs, by ours.
    fs::remove_file(site.path("root.img.manifest.minisig")).unwrap();
    run("minisign", "minisign", &["-Sm", manifest, "-s", key]);
    assert_eq!(site.succeeds(&VERIFY), found);
    // The signature of something else is none of an image.
    site.write("ready/manifest.json", fs::read(manifest).unwrap());
    fs::copy(format!("{manifest}.minisig"), site.path("ready/manifest.json.minisig")).unwrap();
    let stderr = site.fails(&["verify", "ready", "--allowed-signers", "signers"]);
    assert!(stderr.contains("wrong namespace"), "{stderr}");
    // Legacy ones sign the message itself.
    fs::remove_file(site.path("root.img.manifest.minisig")).unwrap();
    run("minisign", "minisign", &["-S", "-l", "-m", manifest, "-s", key]);
    let stderr = site.fails(&VERIFY);
    assert!(stderr.contains("not supported: a legacy signature of minisign"), "{stderr}");
}

/// minisign asks on a terminal alone: python is one.
const AT_A_TERMINAL: &str = "\
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp('minisign', ['minisign', '-G', '-p', sys.argv[1], '-s', sys.argv[2]])
said, answers = b'', 0
while True:
    try:
        more = os.read(terminal, 1024)
    except OSError:
        break
    if not more:
        break
    said += more
    while answers < said.count(b'Password') and answers < 2:
        os.write(terminal, b'open sesame\\n')
        answers += 1
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn encrypted_keys_of_minisign_sign() {
    let site = Site::new();
    site.write("root.img", IMAGE);
    let [public, secret] = ["minisign.pub", "minisign.key"].map(|name| site.path(name));
    let args = ["-c", AT_A_TERMINAL, public.to_str().unwrap(), secret.to_str().unwrap()];
    run("python3", "python3", &args);
    let sign = ["sign", "root.img", "--key", "minisign.key", "--creator", "a", "--passphrase-file"];
    site.write("wrong", "close sesame\n");
    let stderr = site.fails(&[&sign[..], &["wrong"]].concat());
    assert!(stderr.starts_with("error: key `minisign.key`: wrong passphrase"), "{stderr}");
    site.write("passphrase", "open sesame\n");
    site.succeeds(&[&sign[..], &["passphrase"]].concat());
    let manifest = site.path("root.img.manifest");
    let args = ["-Vm", manifest.to_str().unwrap(), "-p", public.to_str().unwrap()];
    run("minisign", "minisign", &args);
}

#[test]
fn new_keys_are_closed_and_serve_ssh_keygen() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    site.write("root.img", IMAGE);
    site.write("passphrase", "open sesame\nsecond line\n");
    let line =
        site.succeeds(&["key", "new", "-o", "key", "--comment", "alice@site", "--no-passphrase"]);
    assert_eq!(fs::metadata(site.path("key")).unwrap().permissions().mode() & 0o777, 0o600);
    let expected = format!(
        "alice@site namespaces=\"autoxen-image,autoxen-bundle\" {}\n",
        public(&site.path("key"))
    );
    assert_eq!(line, expected);
    site.write("signers", &line);
    site.succeeds(&["sign", "root.img", "--key", "key"]);
    assert!(ssh_verify(&site, "autoxen-image", "root.img.manifest", &[]).status.success());
    let key = site.path("key");
    let shown = run("ssh-keygen", "openssh-client", &["-y", "-f", key.to_str().unwrap()]);
    assert!(shown.starts_with(&public(&key)), "{shown}");
    let fingerprint = run("ssh-keygen", "openssh-client", &["-l", "-f", key.to_str().unwrap()]);
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();
    for file in ["key", "key.pub"] {
        assert_eq!(site.succeeds(&["key", "show", file]), format!("# {fingerprint}\n{expected}"));
    }
    let stderr = site.fails(&["key", "new", "-o", "key", "--no-passphrase"]);
    assert!(stderr.starts_with("error: `key` is there already\n"), "{stderr}");
    // An encrypted one is decrypted by ssh-keygen.
    site.succeeds(&[
        "key",
        "new",
        "-o",
        "locked",
        "--comment",
        "alice@site",
        "--passphrase-file",
        "passphrase",
    ]);
    let locked = site.path("locked");
    let args = ["-y", "-P", "open sesame", "-f", locked.to_str().unwrap()];
    assert!(run("ssh-keygen", "openssh-client", &args).starts_with(&public(&locked)));
    let stderr = site.fails(&["sign", "root.img", "--key", "key.pub"]);
    assert!(stderr.contains("a public key"), "{stderr}");
    assert_eq!(
        site.names(),
        [
            "key",
            "key.pub",
            "locked",
            "locked.pub",
            "passphrase",
            "root.img",
            "root.img.manifest",
            "root.img.manifest.sig",
            "signers"
        ]
    );
}
